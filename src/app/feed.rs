//! The downloads given at the start: URIs of the command line and entries of the input file.

mod input;
mod item;

use std::collections::HashSet;
use std::io;

use tracing::{debug, error, info, warn};

use crate::base::error::{ErrorCode, Failure};
use crate::base::gid::Gid;
use crate::base::rng::Rng;
use crate::base::secret::SafeUrl;
use crate::engine::{EngineHandle, RequestError};
use crate::format::expand::expand;
use crate::format::input_file::Entry;
use crate::option::settings::EngineSettings;
use crate::option::spec::ADD;
use crate::option::{OptionId, OptionSet, find, keys};

use super::local::{self, Kind};
use input::{Input, STDIN, open, read_elsewhere};
use item::{Item, is_uri, items, not_a_uri};

/// With `deferred-input`: no more is read while so many downloads could start.
const READY_MAX: usize = 64;

/// What is to be added once the engine runs.
pub struct Feed {
    entries: Vec<Entry>,
    /// `torrent-file`, to which the URIs of the command line are web seeds, or `metalink-file`.
    document: Option<(String, Kind)>,
    input: Option<Input>,
    /// What was given besides and does not count: a sentence for the log.
    ignored: Option<&'static str>,
    rules: Rules,
}

/// How entries become downloads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Rules {
    /// `force-sequential`: each URI is a download of its own instead of one more mirror.
    each_alone: bool,
    /// `parameterized-uri`
    expand: bool,
    /// `deferred-input`; not while a session file is kept, which would lack what is unread.
    deferred: bool,
    /// Nobody could unpause a download without RPC, so `pause` does not count then.
    ignore_pause: bool,
}

/// Refused entries beyond this are counted only.
const REFUSED_SHOWN_MAX: usize = 1_000;

/// What came of feeding.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fed {
    /// Downloads, refused ones too.
    pub count: u64,
    /// What nobody here can fetch; the first thousand of it.
    pub refused: Vec<Refused>,
    /// GIDs that entries have given themselves.
    gids: HashSet<Gid>,
}

/// A download that never began.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    pub gid: Gid,
    pub uri: String,
}

impl Feed {
    /// Opens the input file of `options`, if there is one; `uris` are the command line's. As for
    /// aria2, one kind of source counts alone: `torrent-file` or `metalink-file`, else the input
    /// file, else URIs.
    ///
    /// # Errors
    /// A URI of the command line makes no sense, its GID is for several downloads, or the input file
    /// cannot be opened.
    pub fn new(uris: Vec<String>, options: &OptionSet) -> Result<Feed, Failure> {
        let settings = EngineSettings::from(options);
        let rules = Rules {
            each_alone: options.get(keys::FORCE_SEQUENTIAL),
            expand: options.get(keys::PARAMETERIZED_URI),
            deferred: settings.deferred_input && settings.save_session.is_none(),
            ignore_pause: !options.get(keys::ENABLE_RPC),
        };
        let given = |path: Option<std::sync::Arc<str>>, kind| Some((path?.to_string(), kind));
        let document = given(options.get(keys::TORRENT_FILE), Kind::Torrent)
            .or_else(|| given(options.get(keys::METALINK_FILE), Kind::Metalink))
            .filter(|(path, _)| !path.is_empty());
        let input = settings.input_file.as_deref();
        let ignored = match (&document, input) {
            (Some(_), Some(_)) => Some(
                "The input file is not read: torrent-file and metalink-file count alone, as for \
                 aria2",
            ),
            (None, Some(_)) if !uris.is_empty() => Some(
                "The URIs of the command line are not fetched: an input file counts alone, as for \
                 aria2",
            ),
            _ => None,
        };
        let input = input.filter(|_| document.is_none());
        let entries = match input.is_some() || uris.is_empty() && document.is_none() {
            true => Vec::new(),
            false => vec![Entry {
                uris,
                options: own_options(options),
                ..Entry::default()
            }],
        };
        let downloads = downloads_of(&entries, rules)?;
        for uri in downloads.iter().flatten() {
            if !is_uri(uri) && local::kind_of(uri).is_none() {
                return Err(Failure::fatal(ErrorCode::Unknown, not_a_uri(uri)));
            }
        }
        let gid = options.text(keys::GID.id).filter(|_| document.is_none());
        if let Some(gid) = gid
            && downloads.into_iter().flat_map(items).nth(1).is_some()
        {
            let text = format!("GID {gid} is not unique: several downloads are given with it.");
            return Err(Failure::fatal(ErrorCode::Unknown, text));
        }
        Ok(Feed {
            entries,
            document,
            input: input.map(open).transpose()?,
            ignored,
            rules,
        })
    }

    /// Whether nothing was given at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.input.is_none()
    }

    /// Whether reading may take as long as it likes: from a pipe, or only as downloads start.
    pub fn may_last(&self) -> bool {
        self.input
            .as_ref()
            .is_some_and(|input| input.name == STDIN || self.rules.deferred)
    }

    /// Adds everything; comes back when all is read.
    ///
    /// # Errors
    /// A bad option value: the program ends with code 28. The input file cannot be read on.
    pub async fn run(self, engine: EngineHandle) -> Result<Fed, Failure> {
        let mut fed = Fed::default();
        if let Some(ignored) = self.ignored {
            warn!("{ignored}");
        }
        for mut entry in self.entries {
            match &self.document {
                Some((path, kind)) => {
                    let seeds = std::mem::take(&mut entry.uris);
                    let items = vec![Item::Local(path.clone(), *kind, seeds)];
                    add(&engine, &entry, items, self.rules, &mut fed).await?;
                }
                None => add_entry(&engine, entry, self.rules, &mut fed).await?,
            }
        }
        let Some(input) = self.input else {
            fed.tell();
            return Ok(fed);
        };
        let mut counts = engine.counts();
        let mut entries = read_elsewhere(input)?;
        while let Some(entry) = entries.recv().await {
            if self.rules.deferred {
                // An error means that the engine has ended, which adding will tell.
                let _ = counts.wait_for(|counts| counts.ready < READY_MAX).await;
            }
            add_entry(&engine, entry?, self.rules, &mut fed).await?;
        }
        if !self.rules.deferred {
            fed.tell();
        }
        Ok(fed)
    }
}

impl Fed {
    fn tell(&self) {
        if self.count > 0 {
            info!("Downloading {} item(s)", self.count);
        }
    }

    fn refuse(&mut self, gid: Option<Gid>, uri: &str) {
        self.count += 1;
        if self.refused.len() < REFUSED_SHOWN_MAX {
            let gid = gid.or_else(|| Gid::new(Rng::from_entropy().next_u64()));
            self.refused.extend(gid.map(|gid| Refused {
                gid,
                uri: SafeUrl(uri).to_string(),
            }));
        }
    }
}

/// What the command line says of its own download only. An absolute
/// `out` stays absolute, whatever `dir` says; elsewhere it is put below `dir`, as by aria2.
fn own_options(options: &OptionSet) -> Vec<(String, String)> {
    let given = |id: OptionId| options.text(id).filter(|_| options.is_set(id));
    let mut own = Vec::new();
    let mut set = |id: OptionId, text: &str| own.push((id.name().to_owned(), text.to_owned()));
    if let Some(gid) = given(keys::GID.id) {
        set(keys::GID.id, &gid);
    }
    let out = given(keys::OUT.id).filter(|out| out.starts_with('/'));
    if let Some((dir, name)) = out.as_deref().and_then(|out| out.rsplit_once('/')) {
        set(keys::DIR.id, if dir.is_empty() { "/" } else { dir });
        set(keys::OUT.id, name);
    }
    own
}

async fn add_entry(
    engine: &EngineHandle,
    entry: Entry,
    rules: Rules,
    fed: &mut Fed,
) -> Result<(), Failure> {
    let uris = downloads(&entry, rules)?;
    let all = match uris.iter().flatten().all(|uri| is_uri(uri)) {
        true => uris.into_iter().flat_map(items).collect(),
        false => off_thread(move || uris.into_iter().flat_map(items).collect()).await,
    };
    add(engine, &entry, all, rules, fed).await
}

/// Runs what looks at local files where it holds nobody up.
async fn off_thread<T: Default + Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    // It does not panic.
    tokio::task::spawn_blocking(work).await.unwrap_or_default()
}

async fn add(
    engine: &EngineHandle,
    entry: &Entry,
    items: Vec<Item>,
    rules: Rules,
    fed: &mut Fed,
) -> Result<(), Failure> {
    let mut options = known_options(entry);
    let given = options.iter().find(|(id, _)| *id == keys::GID.id);
    let mut gid = None;
    if let Some((_, text)) = given {
        let Ok(parsed) = text.parse::<Gid>() else {
            error!("{text} is invalid for GID.");
            return Ok(());
        };
        if !fed.gids.insert(parsed) {
            let line = entry.line;
            error!("GID {parsed} is not unique (input file, entry at line {line})");
            return Ok(());
        }
        if engine.knows(parsed) {
            debug!("GID#{parsed} of the input file is known from the session store");
            return Ok(());
        }
        gid = Some(parsed);
    }
    for item in items {
        let name = item.name().to_owned();
        let is_metalink = matches!(item, Item::Local(_, Kind::Metalink, _));
        let request = match item {
            Item::Uris(_) => item.into_request(),
            Item::Local(..) => off_thread(move || Some(item.into_request()))
                .await
                .unwrap_or_else(|| Err(io::Error::other("not read"))),
        };
        let mut request = match request {
            Ok(request) => request,
            Err(error) => {
                error!("{} cannot be read: {error}", SafeUrl(&name));
                fed.refuse(gid.take(), &name);
                continue;
            }
        };
        request.options.clone_from(&options);
        // Two downloads cannot have one GID.
        options.retain(|(id, _)| *id != keys::GID.id);
        if rules.ignore_pause {
            request = request.with(keys::PAUSE.id, "false");
        }
        match engine.add(request, None).await {
            Ok(_) => fed.count += 1,
            Err(RequestError::ShutDown) => {}
            Err(RequestError::BadOption(bad)) => {
                let line = entry.line;
                let text = format!("Input file, entry at line {line}: {bad}");
                return Err(Failure::fatal(ErrorCode::Option, text));
            }
            Err(RequestError::NoUsableUri) => {
                error!("Unsupported protocol: {}", SafeUrl(&name));
                fed.refuse(gid, &name);
            }
            Err(refused @ RequestError::BadFile(_)) if is_metalink => {
                let text = format!("{refused} ({})", SafeUrl(&name));
                return Err(Failure::fatal(ErrorCode::MetalinkParse, text));
            }
            Err(refused) => {
                error!("{refused} ({})", SafeUrl(&name));
                fed.refuse(gid, &name);
            }
        }
        gid = None;
    }
    Ok(())
}

fn downloads_of(entries: &[Entry], rules: Rules) -> Result<Vec<Vec<String>>, Failure> {
    let mut all = Vec::new();
    for entry in entries {
        all.extend(downloads(entry, rules)?);
    }
    Ok(all)
}

/// The mirrors of each download that an entry stands for.
fn downloads(entry: &Entry, rules: Rules) -> Result<Vec<Vec<String>>, Failure> {
    let mut uris = Vec::with_capacity(entry.uris.len());
    for uri in &entry.uris {
        if rules.expand {
            let expanded = expand(uri).map_err(|error| {
                let text = format!("{}: {error}", SafeUrl(uri));
                Failure::fatal(ErrorCode::Unknown, text)
            })?;
            uris.extend(expanded);
        } else {
            uris.push(uri.clone());
        }
    }
    Ok(match rules.each_alone {
        true => uris.into_iter().map(|uri| vec![uri]).collect(),
        false => vec![uris],
    })
}

fn known_options(entry: &Entry) -> Vec<(OptionId, String)> {
    let mut known = Vec::with_capacity(entry.options.len());
    for (name, value) in &entry.options {
        match find(name).filter(|id| id.spec().scope.has(ADD)) {
            Some(id) => known.push((id, value.clone())),
            None => warn!(
                "Unknown option: {name} (input file, entry at line {})",
                entry.line
            ),
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        each_alone: false,
        expand: false,
        deferred: false,
        ignore_pause: false,
    };

    fn entry(uris: &[&str]) -> Entry {
        Entry {
            uris: uris.iter().map(|uri| (*uri).to_owned()).collect(),
            ..Entry::default()
        }
    }

    #[test]
    fn uris_are_mirrors_or_downloads() {
        let entry = entry(&["http://h/{a,b}", "http://h/c"]);
        assert_eq!(downloads(&entry, RULES).unwrap()[0], entry.uris);
        let expand = Rules {
            expand: true,
            ..RULES
        };
        let all = ["http://h/a", "http://h/b", "http://h/c"];
        assert_eq!(downloads(&entry, expand).unwrap(), [all]);
        let alone = Rules {
            each_alone: true,
            ..expand
        };
        assert_eq!(downloads(&entry, alone).unwrap(), all.map(|uri| [uri]));
    }

    #[test]
    fn options_that_no_download_takes_are_left_out() {
        let mut entry = entry(&["http://h/a"]);
        for (name, value) in [("out", "x"), ("nonsense", "1"), ("enable-rpc", "true")] {
            entry.options.push((name.into(), value.into()));
        }
        assert_eq!(known_options(&entry), [(keys::OUT.id, "x".to_owned())]);
    }
}
