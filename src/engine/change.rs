//! Pure: what `changeOption` and `changeGlobalOption` do.

use super::request::RequestError;
use crate::option::keys::{DIR, OUT};
use crate::option::spec::{GLOBAL, LIST, LIVE, QUEUED};
use crate::option::{OptionId, OptionSet, Tag};

/// A changed set of options.
#[derive(Clone, Debug)]
pub struct Change {
    pub options: OptionSet,
    /// Something was changed at all.
    pub any: bool,
    /// An active download has to start again for it.
    pub restart: bool,
    /// The files are to be elsewhere: what is known of the old ones does not hold.
    pub moved: bool,
}

/// The options of a download after `changes`. What may not be changed is ignored.
///
/// # Errors
/// A value does not fit its option; then nothing is to be changed.
pub fn change_download(
    current: &OptionSet,
    changes: &[(OptionId, String)],
) -> Result<Change, RequestError> {
    let (options, changed) = apply(current, changes, |id| {
        let scope = id.spec().scope;
        scope.has(QUEUED) || scope.has(LIVE)
    })?;
    let restart = changed.iter().any(|id| !id.spec().scope.has(LIVE));
    let moved = [DIR.id, OUT.id]
        .iter()
        .any(|id| changed.contains(id) && options.text(*id) != current.text(*id));
    Ok(Change {
        options,
        any: !changed.is_empty(),
        restart,
        moved,
    })
}

/// The options of the process after `changes`, and which of them were given.
///
/// # Errors
/// A value does not fit its option; then nothing is to be changed.
pub fn change_global(
    current: &OptionSet,
    changes: &[(OptionId, String)],
) -> Result<(OptionSet, Vec<OptionId>), RequestError> {
    // aria2 never lets hooks be changed; the RPC server hands them on only with `rpc-allow-hooks`.
    apply(current, changes, |id| {
        let spec = id.spec();
        spec.scope.has(GLOBAL) || spec.tags.contains(&Tag::Hook)
    })
}

fn apply(
    current: &OptionSet,
    changes: &[(OptionId, String)],
    allowed: impl Fn(OptionId) -> bool,
) -> Result<(OptionSet, Vec<OptionId>), RequestError> {
    let mut options = current.clone();
    let mut changed: Vec<OptionId> = Vec::new();
    for (id, text) in changes {
        if !allowed(*id) {
            continue;
        }
        // The first line of a cumulative option takes the place of the old ones.
        if id.spec().scope.has(LIST) && changed.contains(id) {
            options.set_text(*id, text)?;
        } else {
            options.replace_text(*id, text)?;
            changed.push(*id);
        }
    }
    Ok((options, changed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::option::find;

    fn texts(pairs: &[(&str, &str)]) -> Vec<(OptionId, String)> {
        let id = |name: &str| find(name).unwrap();
        pairs
            .iter()
            .map(|(name, value)| (id(name), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn scopes_decide() {
        let mut current = OptionSet::new();
        current.set_text(OUT.id, "a").unwrap();
        for (pairs, any, restart, moved) in [
            (&[][..], false, false, false),
            (
                &[("daemon", "maybe"), ("rpc-secret", "x"), ("gid", "zz")],
                false,
                false,
                false,
            ),
            (
                &[("max-upload-limit", "1K"), ("force-save", "true")],
                true,
                false,
                false,
            ),
            (
                &[("max-upload-limit", "1K"), ("split", "3")],
                true,
                true,
                false,
            ),
            (&[("out", "a")], true, true, false),
            (&[("out", "b")], true, true, true),
            (&[("dir", "/elsewhere")], true, true, true),
        ] {
            let change = change_download(&current, &texts(pairs)).unwrap();
            assert_eq!(
                (change.any, change.restart, change.moved),
                (any, restart, moved),
                "{pairs:?}"
            );
        }
    }

    #[test]
    fn one_bad_value_spoils_all() {
        let error = change_download(&OptionSet::new(), &texts(&[("split", "2"), ("split", "0")]));
        assert_eq!(
            error.unwrap_err().to_string(),
            "We encountered a problem while processing the option '--split'."
        );
        let global = texts(&[("max-overall-download-limit", "x")]);
        assert!(change_global(&OptionSet::new(), &global).is_err());
        let (options, changed) = change_global(
            &OptionSet::new(),
            &texts(&[("max-overall-download-limit", "2K"), ("out", "x")]),
        )
        .unwrap();
        assert_eq!(changed.len(), 1);
        assert_eq!(options.text(changed[0]).as_deref(), Some("2048"));
    }
}
