//! Downloads that are paused at the worst moment, and go on.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use arioso::base::units::Span;
use arioso::storage::digest::DigestKind;
use arioso::storage::origin_note;
use arioso::storage::progress::control_path;
use arioso::transfer::{Ended, Live, Phase};
use tokio::runtime::{Builder, Runtime};

use super::origin::{Origin, content};
use super::run::Run;
use super::{LEN, MIB, digest};

/// The transfer stands still while the test does not wait for it.
fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn wait_until(is_so: impl Fn() -> bool) {
    let patience = Instant::now();
    while !is_so() {
        assert!(patience.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn is_whole(path: &Path) -> bool {
    !control_path(path).exists() && std::fs::read(path).unwrap() == content(Span::new(0, LEN))
}

#[test]
fn a_pause_before_the_file_is_open_makes_nobody_elses_file_ours() {
    let origin = Origin::start(LEN);
    let url = origin.url("a.bin");
    // Whether the pause comes in time is chance.
    for last in (0..10).map(|round| round == 9) {
        let dir = tempfile::tempdir().unwrap();
        let (theirs, ours) = (dir.path().join("a.bin"), dir.path().join("a.1.bin"));
        std::fs::write(&theirs, b"precious").unwrap();
        let (target, live) = ((dir.path(), &*url), Live::new());
        let mut run = Run::start(one_thread(), target, &[], &live);
        run.until(Phase::Allocating);
        wait_until(|| control_path(&ours).exists());
        run.stop();
        assert_eq!(run.end(), Ended::Stopped);
        let mut run = Run::start(one_thread(), target, &[], &live);
        if last {
            assert_eq!(run.end(), Ended::Complete);
            assert!(is_whole(&ours));
        } else {
            run.until(Phase::Fetching);
            run.stop();
            assert_eq!(run.end(), Ended::Stopped);
        }
        assert_eq!(std::fs::read(&theirs).unwrap(), b"precious");
    }
}

#[test]
fn a_pause_after_the_last_step_is_too_late() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::start(LEN);
    let path = dir.path().join("a.bin");
    let checksum = digest(DigestKind::Sha1, &content(Span::new(0, LEN)));
    let checksum: String = checksum.iter().map(|byte| format!("{byte:02x}")).collect();
    let options = [("checksum", &*format!("sha-1={checksum}"))];
    let url = origin.url("a.bin");
    let target = (dir.path(), &*url);
    let mut run = Run::start(one_thread(), target, &options, &Live::new());
    run.until(Phase::Checking);
    wait_until(|| !control_path(&path).exists());
    run.stop();
    assert_eq!(run.end(), Ended::Complete);
    assert!(is_whole(&path));
}

#[test]
fn a_pause_before_the_server_answers_loses_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::start(LEN);
    let (url, live) = (origin.url("a.bin"), Live::new());
    let target = (dir.path(), &*url);
    let mut run = Run::start(one_thread(), target, &[], &live);
    run.until(Phase::Fetching);
    run.until_so(|| live.completed() > MIB);
    run.stop();
    assert_eq!(run.end(), Ended::Stopped);
    let figures = || {
        let detail = live.detail();
        (
            live.completed(),
            detail.written.clone(),
            detail.bitfield.clone(),
        )
    };
    let before = figures();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = format!("http://{}/a.bin", silent.local_addr().unwrap());
    let run = Run::start(one_thread(), (dir.path(), &nowhere), &[], &live);
    // It dials.
    run.until_so(|| live.connections() > 0);
    assert_eq!(live.completed(), before.0);
    run.stop();
    assert_eq!(run.end(), Ended::Stopped);
    assert_eq!(figures(), before);
    let run = Run::start(one_thread(), target, &[], &live);
    assert_eq!(run.end(), Ended::Complete);
    assert!(is_whole(&dir.path().join("a.bin")));
}

#[test]
fn a_file_that_changed_meanwhile_is_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::start(LEN);
    let (url, live) = (origin.url("a.bin"), Live::new());
    let target = (dir.path(), &*url);
    let run = Run::start(one_thread(), target, &[], &live);
    run.until_so(|| live.completed() > MIB);
    run.stop();
    assert_eq!(run.end(), Ended::Stopped);
    origin.replace();
    // As on a file system without attributes.
    origin_note::remove(&dir.path().join("a.bin"));
    let run = Run::start(one_thread(), target, &[], &live);
    assert!(matches!(run.end(), Ended::Failed(_)));
}

#[test]
fn what_another_download_finished_meanwhile_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::start(LEN);
    let (url, paused) = (origin.url("a.bin"), Live::new());
    let target = (dir.path(), &*url);
    let run = Run::start(one_thread(), target, &[], &paused);
    run.until_so(|| paused.completed() > MIB);
    run.stop();
    assert_eq!(run.end(), Ended::Stopped);
    let other = Run::start(one_thread(), target, &[], &Live::new());
    assert_eq!(other.end(), Ended::Complete);
    let mut run = Run::start(one_thread(), target, &[], &paused);
    run.until(Phase::Fetching);
    run.stop();
    assert_eq!(run.end(), Ended::Stopped);
    assert!(is_whole(&dir.path().join("a.bin")));
}
