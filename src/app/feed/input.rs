//! The input file, read entry by entry.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::thread;

use tokio::sync::mpsc::{Receiver, channel};

use crate::base::error::{ErrorCode, Failure};
use crate::format::input_file::{Entry, Reader};

/// Entries read ahead of the engine.
const READ_AHEAD: usize = 256;

/// The input file that is standard input.
pub(super) const STDIN: &str = "-";

pub(super) struct Input {
    pub name: String,
    lines: Box<dyn BufRead + Send>,
}

pub(super) fn open(path: &Path) -> Result<Input, Failure> {
    let name = path.display().to_string();
    let lines: Box<dyn BufRead + Send> = match name.as_str() {
        STDIN => Box::new(BufReader::new(io::stdin())),
        _ => {
            let file = File::open(path).map_err(|error| unreadable(&name, &error))?;
            Box::new(BufReader::new(file))
        }
    };
    Ok(Input { name, lines })
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    let text = format!("The input file {name} cannot be read: {error}");
    Failure::fatal(ErrorCode::Unknown, text)
}

/// Reads on a thread of its own: standard input may be a slow pipe.
pub(super) fn read_elsewhere(input: Input) -> Result<Receiver<Result<Entry, Failure>>, Failure> {
    let (send, entries) = channel(READ_AHEAD);
    let name = input.name.clone();
    thread::Builder::new()
        .name("arioso-input".into())
        .spawn(move || {
            for entry in Reader::new(input.lines.split(b'\n')) {
                let entry = entry.map_err(|error| unreadable(&input.name, &error));
                if send.blocking_send(entry).is_err() {
                    return;
                }
            }
        })
        .map_err(|error| unreadable(&name, &error))?;
    Ok(entries)
}
