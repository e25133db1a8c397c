//! What concerns the process as a whole: becoming a daemon, file descriptors, other processes.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd as _;

use rustix::process::{Pid, Resource, getrlimit, setrlimit, test_kill_process};

/// Leaves the terminal: the parent process ends with status 0 at once, the child goes on in a
/// session of its own, in `/`, with standard streams that lead nowhere.
///
/// # Errors
/// The system refuses one of the steps.
pub fn daemonize() -> io::Result<()> {
    // SAFETY: only one thread exists yet (the caller sees to it), so the child inherits no lock
    // that somebody else held.
    match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {}
        // SAFETY: ends the parent without running exit handlers, which are the child's.
        _ => unsafe { libc::_exit(0) },
    }
    rustix::process::setsid()?;
    std::env::set_current_dir("/")?;
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    for stream in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: both descriptors are open, and nobody has borrowed the standard ones.
        if unsafe { libc::dup2(null.as_raw_fd(), stream) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Puts stars over these texts wherever they are arguments of the process or values of long
/// options among them, so that other users do not read passwords in the process list. Where the
/// system has no such list, nothing happens.
pub fn hide_arguments(secrets: &[&str]) {
    if secrets.is_empty() {
        return;
    }
    #[cfg(target_os = "linux")]
    if let Some((start, len)) = argument_area() {
        // SAFETY: the kernel says that the arguments lie there, in writable memory of this
        // process that lives as long as it does. The standard library reads them only when
        // asked for arguments, which has been done, and no other thread exists yet.
        let area = unsafe { std::slice::from_raw_parts_mut(start as *mut u8, len) };
        cover(area, secrets);
    }
}

/// Address and length of the arguments in memory (proc_pid_stat(5), fields 48 and 49).
#[cfg(target_os = "linux")]
fn argument_area() -> Option<(usize, usize)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    // The first field behind the name is the third.
    let mut fields = after_name.split_ascii_whitespace().skip(48 - 3);
    let start: usize = fields.next()?.parse().ok()?;
    let end: usize = fields.next()?.parse().ok()?;
    let len = end.checked_sub(start)?;
    (start != 0 && len > 0).then_some((start, len))
}

/// Replaces the secrets among arguments that end with a zero each.
fn cover(area: &mut [u8], secrets: &[&str]) {
    for argument in area.split_mut(|byte| *byte == 0) {
        let value_at = match argument.strip_prefix(b"--") {
            Some(long) => long.iter().position(|byte| *byte == b'=').map(|at| at + 3),
            None => Some(0),
        };
        let Some(value) = value_at.and_then(|at| argument.get_mut(at..)) else {
            continue;
        };
        if secrets.iter().any(|secret| secret.as_bytes() == value) {
            value.fill(b'*');
        }
    }
}

/// Has the allocator keep one pool on a small machine and two on others, instead of eight a core:
/// sources hand their buffers from thread to thread, and each pool would keep a set of them. And
/// has it take those buffers, of up to 408 KiB, from a pool that is not given back to the system
/// at once: a page that comes anew with each buffer costs a fault. To be called while there is one
/// thread.
pub fn share_memory() {
    #[cfg(target_env = "gnu")]
    {
        const SMALL_MACHINE_CORES: usize = 4;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let pools = if cores <= SMALL_MACHINE_CORES { 1 } else { 2 };
        // SAFETY: sets numbers of the C library; no other thread exists to see them change.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, pools);
            libc::mallopt(libc::M_MMAP_THRESHOLD, 448 << 10);
            libc::mallopt(libc::M_TRIM_THRESHOLD, 4 << 20);
        }
    }
}

/// Allows `count` open files at least; never lowers the limit.
///
/// # Errors
/// The system does not grant that many.
pub fn allow_open_files(count: u64) -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= count) {
        return Ok(());
    }
    limit.current = Some(count);
    limit.maximum = limit.maximum.map(|maximum| maximum.max(count));
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// Whether a process with this number exists.
pub fn is_alive(process: u32) -> bool {
    let Some(pid) = i32::try_from(process).ok().and_then(Pid::from_raw) else {
        return false;
    };
    match test_kill_process(pid) {
        Ok(()) => true,
        Err(error) => error == rustix::io::Errno::PERM,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_covered_and_nothing_else() {
        let mut area = *b"aria2c\0--rpc-secret=hush\0--http-passwd\0pw\0-ohush.bin\0hush=\0";
        cover(&mut area, &["hush", "pw"]);
        let wanted = *b"aria2c\0--rpc-secret=****\0--http-passwd\0**\0-ohush.bin\0hush=\0";
        assert_eq!(area, wanted);
    }

    #[test]
    fn knows_its_own_process_and_keeps_its_limit() {
        assert!(is_alive(std::process::id()));
        assert!(!is_alive(0));
        assert!(!is_alive(u32::MAX));
        let before = getrlimit(Resource::Nofile).current;
        allow_open_files(1).unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current, before);
    }
}
