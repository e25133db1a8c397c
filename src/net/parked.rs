//! Connections that wait for their next use. HTTP's have a pool in reqwest; these are FTP's.

use std::any::Any;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// As long as HTTP connections are kept.
const IDLE_TIME_MAX: Duration = Duration::from_secs(15);
const COUNT_MAX: usize = 32;

type Entry = (Instant, Box<dyn Any + Send>);

/// Idle connections by a key that says whom they reach, as whom, and how; it holds passwords and
/// is never shown.
#[derive(Default)]
pub struct Parked {
    connections: Mutex<HashMap<String, Vec<Entry>>>,
}

impl Parked {
    /// The connection parked last under this key, unless it is too old.
    pub fn take<T: Send + 'static>(&self, key: &str) -> Option<T> {
        let mut connections = self.connections.lock();
        sweep(&mut connections);
        let (_, connection) = connections.get_mut(key)?.pop()?;
        connection.downcast().ok().map(|connection| *connection)
    }

    pub fn put<T: Send + 'static>(&self, key: String, connection: T) {
        let mut connections = self.connections.lock();
        sweep(&mut connections);
        let waiting = connections.entry(key).or_default();
        if waiting.len() < COUNT_MAX {
            waiting.push((Instant::now(), Box::new(connection)));
        }
    }
}

fn sweep(connections: &mut HashMap<String, Vec<Entry>>) {
    connections.retain(|_, waiting| {
        waiting.retain(|(since, _)| since.elapsed() < IDLE_TIME_MAX);
        !waiting.is_empty()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_parked_is_used_first() {
        let parked = Parked::default();
        for number in 0..COUNT_MAX + 1 {
            parked.put("a".to_owned(), number);
        }
        assert_eq!(parked.take::<usize>("b"), None);
        assert_eq!(parked.take::<usize>("a"), Some(COUNT_MAX - 1));
        assert_eq!(parked.take::<u8>("a"), None);
        let mut count = 0;
        while parked.take::<usize>("a").is_some() {
            count += 1;
        }
        assert_eq!(count, COUNT_MAX - 2);
    }
}
