//! Pure: a session as aria2 writes it with `--save-session` and reads it with `-i`.

use super::record::{Place, Record};
use crate::format::input_file;

/// Appends a download to the text of a session, if a session names it: what is unfinished or
/// failed, what has `force-save`, and what was not found only with `save-not-found`.
pub fn push_entry(text: &mut String, record: &Record) {
    if !is_saved(record) {
        return;
    }
    let gid = record.gid.to_string();
    let pause = (record.place == Place::Paused).then_some(("pause", "true"));
    let options = record.options.iter();
    let options = options.map(|(name, value)| (name.as_str(), value.as_str()));
    let uris = record.uris.iter().map(String::as_str);
    let pairs = [("gid", gid.as_str())]
        .into_iter()
        .chain(pause)
        .chain(options);
    input_file::write_entry(text, uris, pairs);
}

const NOT_FOUND: u8 = 3;

fn is_saved(record: &Record) -> bool {
    if record.uris.is_empty() {
        return false;
    }
    match record.place {
        Place::Active | Place::Waiting | Place::Paused => true,
        Place::Complete | Place::Removed => record.option("force-save") == Some("true"),
        Place::Error => {
            let not_found = matches!(record.error, Some((NOT_FOUND, _)));
            !not_found || record.option("save-not-found") != Some("false")
        }
    }
}
