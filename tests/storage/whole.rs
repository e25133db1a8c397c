//! Whole transfers against what happens to files: half-done ones swapped with aria2c, and
//! files that somebody removes, replaces or cuts while they are being downloaded.

use std::path::Path;

use arioso::base::error::ErrorCode;
use arioso::base::units::Span;
use arioso::storage::progress;
use arioso::transfer::{Ended, Live};

use super::origin::{Origin, content};
use super::run::Run;
use super::{LEN, MIB, aria2c, has_aria2c, stop_after};

/// Runs a download into `dir`; once `sent` bytes have left the origin, `then` gets its file.
/// True from `then` stops the download.
fn download(dir: &Path, origin: &Origin, sent: u64, then: impl FnOnce(&Path) -> bool) -> Ended {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let run = Run::start(runtime, (dir, &origin.url("a.bin")), &[], &Live::new());
    run.until_so(|| origin.sent() >= sent);
    if then(&dir.join("a.bin")) {
        run.stop();
    }
    run.end()
}

fn is_whole(dir: &Path) {
    assert!(std::fs::read(dir.join("a.bin")).unwrap() == content(Span::new(0, LEN)));
    assert!(!progress::control_path(&dir.join("a.bin")).exists());
}

#[test]
fn aria2c_finishes_what_we_began() {
    if !has_aria2c() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::start(LEN);
    assert_eq!(
        download(dir.path(), &origin, 3 * MIB, |_| true),
        Ended::Stopped
    );
    let before = origin.sent();
    let url = origin.url("a.bin");
    assert!(aria2c(dir.path(), &[&url]).wait().unwrap().success());
    is_whole(dir.path());
    // What both sent twice: sockets' buffers, the first request, blocks begun.
    assert!(
        origin.sent() < LEN + 2 * MIB,
        "{before} + {}",
        origin.sent() - before
    );
}

#[test]
fn we_finish_what_aria2c_began() {
    if !has_aria2c() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::start(LEN);
    let child = aria2c(dir.path(), &[&origin.url("a.bin")]);
    stop_after(child, &origin, 3 * MIB);
    let control = progress::load(&dir.path().join("a.bin")).unwrap().unwrap();
    let missing = LEN - control.to_ranges().total();
    let before = origin.sent();
    assert_eq!(download(dir.path(), &origin, 0, |_| false), Ended::Complete);
    is_whole(dir.path());
    let sent = origin.sent() - before;
    // The first request is open-ended: what socket buffers took in past its lease is lost.
    assert!(sent < missing + 2 * MIB, "{sent} of {missing}");
}

/// The download fails with code 17 after `change`, and the next one makes the file whole.
fn check_tampering(change: impl FnOnce(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::start(LEN);
    let ended = download(dir.path(), &origin, 3 * MIB, |path| {
        change(path);
        false
    });
    let Ended::Failed(failure) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(failure.code, ErrorCode::FileIo, "{failure}");
    assert_eq!(download(dir.path(), &origin, 0, |_| false), Ended::Complete);
    is_whole(dir.path());
}

#[test]
fn a_removed_file_is_not_called_complete() {
    check_tampering(|path| std::fs::remove_file(path).unwrap());
}

#[test]
fn a_replaced_file_is_not_called_complete() {
    check_tampering(|path| {
        std::fs::write(path.with_extension("new"), b"other").unwrap();
        std::fs::rename(path.with_extension("new"), path).unwrap();
    });
}

#[test]
fn a_truncated_file_is_not_called_complete() {
    check_tampering(|path| {
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(MIB / 2).unwrap();
    });
}
