//! Input files that are longer than memory should be.

use std::fmt::Write as _;
use std::fs;
use std::process::Child;

use crate::file_server::FileServer;
use crate::program::{Home, kill, wait_for};
use crate::write;

/// Resident memory in KiB; `None` once the process has ended.
fn memory(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn a_deferred_input_file_is_read_as_the_queue_drains() {
    let (home, server) = (Home::new(), FileServer::start());
    let mut list = String::new();
    for number in 0..200_000 {
        let _ = writeln!(list, "{}\n out=file-{number}", server.uri("/none"));
    }
    let list = write(&home, "list", &list);
    let child = home
        .arioso()
        .args(["--no-conf", "-q", "--deferred-input=true", "-i"])
        .args([list.to_str().unwrap(), "--max-download-result=10", "-j20"])
        .spawn()
        .unwrap();
    let memory_after = |requests: usize| {
        wait_for("so many requests", || {
            (server.request_count() >= requests).then_some(())
        });
        memory(&child).expect("it runs for long")
    };
    let (early, late) = (memory_after(2_000), memory_after(12_000));
    kill(&child, "KILL");
    child.wait_with_output().unwrap();
    // A debug build without any download takes some 40 MiB.
    assert!(early < 80 * 1024, "{early} KiB");
    // Ten thousand failures that nobody will ask for leave nothing behind.
    assert!(late < early + 10 * 1024, "{early} KiB, then {late} KiB");
}
