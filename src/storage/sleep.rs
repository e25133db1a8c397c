//! Whether threads sleep, as the kernel tells.
//!
//! A write that takes long and never sleeps was not held by the disk: its thread waited for a
//! core, or for memory to be made ready. On a busy machine that is common.

/// How often this thread has gone to sleep; `None` where the system does not say.
#[cfg(target_os = "linux")]
pub fn times_slept() -> Option<u64> {
    // SAFETY: a structure of numbers, for which zeros are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills in the structure, which outlives the call.
    let answer = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
    (answer == 0).then_some(usage.ru_nvcsw as u64)
}

#[cfg(not(target_os = "linux"))]
pub fn times_slept() -> Option<u64> {
    None
}

/// The kernel's number of this thread; 0 where it has none.
#[cfg(target_os = "linux")]
pub fn this_thread() -> u32 {
    // SAFETY: a system call without arguments that cannot fail.
    thread_local!(static NUMBER: u32 = unsafe { libc::gettid() } as u32);
    NUMBER.with(|number| *number)
}

#[cfg(not(target_os = "linux"))]
pub fn this_thread() -> u32 {
    0
}

/// Whether a thread of this process sleeps now; true where the system does not say
/// (proc_pid_stat(5): the state follows the name).
pub fn is_asleep(thread: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")) else {
        return true;
    };
    let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
    !state.is_some_and(|state| state.starts_with('R'))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    #[test]
    fn work_is_not_sleep() {
        assert!(!is_asleep(this_thread()));
        let before = times_slept();
        std::thread::sleep(Duration::from_millis(1));
        assert!(times_slept() > before && before.is_some());
    }

    #[test]
    fn a_sleeping_thread_is_told_from_a_working_one() {
        let (tell, told) = mpsc::channel();
        let (wake, woken) = mpsc::channel::<()>();
        let sleeper = std::thread::spawn(move || {
            tell.send(this_thread()).unwrap();
            let _ = woken.recv();
        });
        let thread = told.recv().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_asleep(thread) {
            assert!(Instant::now() < deadline, "it never sleeps");
            std::thread::yield_now();
        }
        drop(wake);
        sleeper.join().unwrap();
        assert!(is_asleep(u32::MAX));
    }
}
