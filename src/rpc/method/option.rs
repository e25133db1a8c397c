//! Options of one download and of the process.

use crate::option::spec::{ADD, GLOBAL, LIST, LIVE, QUEUED};
use crate::option::{OptionError, OptionId, OptionSet, Tag, find, keys};

use super::super::dispatch::Backend;
use super::super::error::RpcError;
use super::super::jail;
use super::super::params::Params;
use super::super::sink::{Sink, pair};
use super::super::value::{Members, Value};
use super::{Change, Method, Read, Reply};

/// Options and their values as texts, in byte order of the names.
pub type Changes = Vec<(OptionId, String)>;

/// `aria2.getOption`.
pub struct GetOption {
    gid: String,
}

impl Method for GetOption {
    const NAME: &'static str = "aria2.getOption";

    fn parse(params: &mut Params) -> Result<Self, RpcError> {
        Ok(Self {
            gid: params.text()?,
        })
    }
}

impl Read for GetOption {
    fn read(self, backend: &Backend, out: &mut dyn Sink) -> Result<(), RpcError> {
        backend.engine.read(|registry| {
            let options = registry.find(&self.gid)?.options();
            write(options.shown_for_download(), out);
            Ok(())
        })
    }
}

/// `aria2.getGlobalOption`.
pub struct GetGlobalOption;

impl Method for GetGlobalOption {
    const NAME: &'static str = "aria2.getGlobalOption";

    fn parse(_: &mut Params) -> Result<Self, RpcError> {
        Ok(Self)
    }
}

impl Read for GetGlobalOption {
    fn read(self, backend: &Backend, out: &mut dyn Sink) -> Result<(), RpcError> {
        backend.engine.read(|registry| {
            write(registry.global_options().shown_globally(), out);
            Ok(())
        })
    }
}

/// `aria2.changeOption`.
pub struct ChangeOption {
    gid: String,
    options: Members,
}

impl Method for ChangeOption {
    const NAME: &'static str = "aria2.changeOption";

    fn parse(params: &mut Params) -> Result<Self, RpcError> {
        Ok(Self {
            gid: params.text()?,
            options: params.members()?,
        })
    }
}

impl Change for ChangeOption {
    async fn call(self, backend: &Backend) -> Result<Reply, RpcError> {
        let (gid, current) = backend.engine.read(|registry| {
            let download = registry.find(&self.gid)?;
            // Of a stopped one nothing can be changed: that is complained of first.
            let options = (!download.is_stopped()).then(|| download.options().clone());
            Ok::<_, RpcError>((download.gid(), options))
        })?;
        let changes = changes(self.options, &[QUEUED, LIVE], backend.allow_hooks);
        if let Some(current) = current {
            check(&changes)?;
            check_files(backend, current, &changes).await?;
        }
        backend.engine.change_option(gid, changes).await?;
        Ok(Reply::Ok)
    }
}

/// `aria2.changeGlobalOption`.
pub struct ChangeGlobalOption {
    options: Members,
}

impl Method for ChangeGlobalOption {
    const NAME: &'static str = "aria2.changeGlobalOption";

    fn parse(params: &mut Params) -> Result<Self, RpcError> {
        Ok(Self {
            options: params.members()?,
        })
    }
}

impl Change for ChangeGlobalOption {
    async fn call(self, backend: &Backend) -> Result<Reply, RpcError> {
        let changes = changes(self.options, &[GLOBAL], backend.allow_hooks);
        check(&changes)?;
        let current = backend
            .engine
            .read(|registry| registry.global_options().clone());
        check_files(backend, current, &changes).await?;
        backend.engine.change_global_option(changes).await?;
        Ok(Reply::Ok)
    }
}

/// What of an options struct may be set: known, in one of the scopes, with a usable value. The
/// rest is dropped without a word, as aria2 does.
pub fn changes(options: Members, scopes: &[u16], allow_hooks: bool) -> Changes {
    let may_set = |id: OptionId| {
        let spec = id.spec();
        match spec.tags.contains(&Tag::Hook) {
            true => allow_hooks,
            false => scopes.iter().any(|scope| spec.scope.has(*scope)),
        }
    };
    options
        .into_iter()
        .filter_map(|(name, value)| {
            let id = find(&name).filter(|id| may_set(*id))?;
            Some((id, text(id, value)?))
        })
        .collect()
}

/// Checks every value against its option, and names of files for leading upwards.
///
/// # Errors
/// The first that does not fit. A bad `gid` is not complained of by name: whoever hands GIDs out
/// refuses the whole download.
pub fn check(changes: &Changes) -> Result<(), RpcError> {
    for (id, text) in changes {
        if id.spec().scope.has(ADD) && *id == keys::GID.id {
            continue;
        }
        OptionSet::new()
            .set_text(*id, text)
            .map_err(|error| RpcError::refused(error.rpc_text()))?;
        if !jail::is_decent(*id, text) {
            return Err(unacceptable(*id));
        }
    }
    Ok(())
}

/// Checks files against the jail, if there is one; `current` are the options without `changes`.
/// Only the caller waits for the disk.
///
/// # Errors
/// The first that would be outside.
pub async fn check_files(
    backend: &Backend,
    mut current: OptionSet,
    changes: &Changes,
) -> Result<(), RpcError> {
    let Some(jail) = backend.jail.clone().filter(|_| jail::names_files(changes)) else {
        return Ok(());
    };
    for (id, text) in changes {
        if *id != keys::GID.id {
            current
                .replace_text(*id, text)
                .map_err(|error| RpcError::refused(error.rpc_text()))?;
        }
    }
    let changes = changes.clone();
    let look = move || jail::first_outside(&jail, &current, &changes);
    match tokio::task::spawn_blocking(look).await {
        Ok(None) => Ok(()),
        Ok(Some(id)) => Err(unacceptable(id)),
        Err(_) => Err(RpcError::refused("The server ends.")),
    }
}

fn unacceptable(id: OptionId) -> RpcError {
    let error = OptionError {
        name: id.name().to_owned(),
        value: String::new(),
        message: String::new(),
    };
    RpcError::refused(error.rpc_text())
}

/// The value as a user would type it. Lists are lines, and only for options that take several.
fn text(id: OptionId, value: Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text),
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Int(number) => Some(number.to_string()),
        Value::Real(real) => Some(real.text),
        Value::List(items) if id.spec().scope.has(LIST) => {
            let lines: Vec<&str> = items.iter().filter_map(Value::as_text).collect();
            (!lines.is_empty()).then(|| lines.join("\n"))
        }
        Value::List(_) | Value::Struct(_) | Value::Null | Value::Missing => None,
    }
}

fn write(options: impl Iterator<Item = (OptionId, String)>, out: &mut dyn Sink) {
    out.open_struct();
    for (id, text) in options {
        pair(out, id.name(), &text);
    }
    out.close_struct();
}

#[cfg(test)]
mod tests {
    use super::super::super::json_reader;
    use super::*;

    fn kept(json: &str, scopes: &[u16]) -> String {
        let Ok(Value::Struct(members)) = json_reader::read(json.as_bytes()) else {
            panic!("{json} is a struct");
        };
        let changes: Vec<String> = changes(members, scopes, false)
            .into_iter()
            .map(|(id, text)| format!("{}={text}", id.name()))
            .collect();
        changes.join(" ")
    }

    /// Known-bugs 36.
    #[test]
    fn values_of_any_plain_type_are_taken() {
        assert_eq!(
            kept(
                r#"{"split":5,"continue":true,"seed-ratio":1.5,"dir":"/d","out":null,"x":"y"}"#,
                &[ADD]
            ),
            "continue=true dir=/d seed-ratio=1.5 split=5"
        );
    }

    #[test]
    fn lists_are_for_options_that_take_several() {
        assert_eq!(
            kept(r#"{"header":["A: 1",5,"B: 2"],"dir":["/a"]}"#, &[ADD]),
            "header=A: 1\nB: 2"
        );
        assert_eq!(kept(r#"{"header":[]}"#, &[ADD]), "");
    }

    #[test]
    fn what_is_out_of_scope_is_dropped() {
        assert_eq!(
            kept(
                r#"{"daemon":"maybe","on-download-stop":"/x","split":"3"}"#,
                &[ADD]
            ),
            "split=3"
        );
        assert_eq!(
            kept(r#"{"max-concurrent-downloads":3,"gid":"x"}"#, &[GLOBAL]),
            "max-concurrent-downloads=3"
        );
    }

    #[test]
    fn the_first_bad_value_is_named() {
        let changes = vec![
            (keys::MAX_TRIES.id, "z".to_owned()),
            (keys::SPLIT.id, "0".to_owned()),
        ];
        assert_eq!(
            check(&changes).unwrap_err().message,
            "We encountered a problem while processing the option '--max-tries'."
        );
    }
}
