//! Pure: a session as aria2 writes it with `--save-session` and reads it with `-i`.

use std::collections::HashSet;
use std::path::Path;

use super::payloads::payload_path;
use super::record::{Place, Record};
use crate::base::gid::Gid;
use crate::format::input_file;

/// What a session names in the place of a torrent or Metalink.
#[derive(Clone, Copy, Debug)]
pub enum Naming<'a> {
    /// The copies in this directory: nothing else is needed to go on.
    Copies(&'a Path),
    /// What the user knows, as aria2 does; a copy in the directory where that is nothing.
    Origins(Option<&'a Path>),
}

/// What a session says of a record: the places it is had from, and the GID.
type Named = (Vec<String>, Gid);

/// Appends a download to the text of a session, if a session names it: what is unfinished or
/// failed, what has `force-save`, and what was not found only with `save-not-found`. What several
/// downloads come from is said once; `said` remembers it.
pub fn push_entry(
    text: &mut String,
    record: &Record,
    naming: Naming<'_>,
    said: &mut HashSet<(String, Gid)>,
) {
    let Some((uris, gid)) = named(record, naming).filter(|_| is_saved(record)) else {
        return;
    };
    if record.origin.is_some()
        && let [uri] = &uris[..]
        && !said.insert((uri.clone(), gid))
    {
        return;
    }
    let gid = gid.to_string();
    let pause = (record.place == Place::Paused).then_some(("pause", "true"));
    let options = record.options.iter();
    let options = options.map(|(name, value)| (name.as_str(), value.as_str()));
    let uris = uris.iter().map(String::as_str);
    let pairs = [("gid", gid.as_str())]
        .into_iter()
        .chain(pause)
        .chain(options);
    let line_start = text.len();
    input_file::write_entry(text, uris, pairs);
    if record.origin.is_some()
        && let Some(tab) = text[line_start..].find("\t\n")
    {
        // aria2 ends only lists of mirrors with a tabulator.
        text.remove(line_start + tab);
    }
}

/// `None`: there is nothing a session could name.
fn named(record: &Record, naming: Naming<'_>) -> Option<Named> {
    let Some(origin) = &record.origin else {
        return (!record.uris.is_empty()).then(|| (record.uris.clone(), record.gid));
    };
    let copy = |dir: &Path| {
        let path = payload_path(dir, record)?;
        Some((vec![path.to_str()?.to_owned()], record.gid))
    };
    let line = || {
        let gid = origin.line_gid.and_then(Gid::new);
        Some((vec![origin.line.clone()?], gid.unwrap_or(record.gid)))
    };
    match naming {
        Naming::Copies(dir) => copy(dir).or_else(line),
        Naming::Origins(dir) => line().or_else(|| copy(dir?)),
    }
}

const NOT_FOUND: u8 = 3;

fn is_saved(record: &Record) -> bool {
    let has_led_on = !record.followed_by.is_empty();
    match record.place {
        // A torrent that was fetched for a file of a Metalink comes with that file.
        _ if record.belongs_to.is_some() => false,
        // What it led to is named instead.
        Place::Complete if record.origin.is_some() && has_led_on => false,
        Place::Active | Place::Waiting | Place::Paused => true,
        Place::Complete | Place::Removed => record.option("force-save") == Some("true"),
        Place::Error => {
            let not_found = matches!(record.error, Some((NOT_FOUND, _)));
            !not_found || record.option("save-not-found") != Some("false")
        }
    }
}
