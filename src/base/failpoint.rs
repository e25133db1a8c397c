//! Named places at which a test has the process die, to show that nothing is lost there.
//!
//! `ARIOSO_FAILPOINT=NAME:COUNT` ends the process by SIGKILL when it comes to NAME for the
//! COUNTth time. Compiled into every build, but only debug builds and those with the feature
//! `failpoints` look at the variable: elsewhere [`hit`] does nothing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

struct Armed {
    name: String,
    left: AtomicU32,
}

static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

/// The process comes to this place.
pub fn hit(name: &str) {
    if !cfg!(any(debug_assertions, feature = "failpoints")) {
        return;
    }
    let armed = ARMED.get_or_init(|| parse(&std::env::var("ARIOSO_FAILPOINT").ok()?));
    if let Some(armed) = armed
        && armed.name == name
        && armed.left.fetch_sub(1, Ordering::AcqRel) == 1
    {
        // SIGKILL: no destructor, no buffer and no thread gets another turn.
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

fn parse(text: &str) -> Option<Armed> {
    let (name, count) = text.split_once(':').unwrap_or((text, "1"));
    let left: u32 = count.parse().ok().filter(|count| *count > 0)?;
    Some(Armed {
        name: name.to_owned(),
        left: AtomicU32::new(left),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_counts_are_read() {
        let read = |text| parse(text).map(|armed| (armed.name, armed.left.into_inner()));
        assert_eq!(read("store.commit:3"), Some(("store.commit".into(), 3)));
        assert_eq!(read("store.commit"), Some(("store.commit".into(), 1)));
        assert!(read("a:0").is_none() && read("a:b").is_none());
    }
}
