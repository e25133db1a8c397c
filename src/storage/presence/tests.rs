use std::fs::OpenOptions;
use std::io::IoSlice;
use std::path::Path;

use super::*;
use crate::storage::{DiskSettings, FileAllocation, Layout, LayoutFile, OpenMode};

fn open(layout: Layout, allocation: FileAllocation, mode: OpenMode) -> Files {
    let settings = DiskSettings {
        allocation,
        allocation_len_min: 0,
        cache_len_max: 1 << 20,
        open_files_max: 10,
    };
    let files = Files::open(layout, &settings, mode).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    files.allocate(&|_| {}, &stop).unwrap();
    files
}

fn single(dir: &Path, len: Option<u64>, mode: OpenMode) -> Files {
    open(
        Layout::single(dir.join("a"), len),
        FileAllocation::None,
        mode,
    )
}

fn write(files: &Files, at: u64, bytes: &[u8]) {
    files.write_at(at, &mut [IoSlice::new(bytes)]).unwrap();
}

fn truncate(path: &Path, len: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(len).unwrap();
}

/// What `change` does to a half-written file, as `verify_running` and `verify_in_place` see it.
fn tampered(change: impl FnOnce(&Path)) -> (Option<String>, Option<String>) {
    let dir = tempfile::tempdir().unwrap();
    let files = single(dir.path(), Some(10), OpenMode::Fresh);
    write(&files, 0, b"01234567");
    files.verify_running().unwrap();
    change(&dir.path().join("a"));
    let running = files.verify_running().err().map(|failure| failure.message);
    write(&files, 8, b"89");
    let ended = files.verify_in_place().err().map(|failure| failure.message);
    (running, ended)
}

#[test]
fn a_file_changed_under_us_is_noticed() {
    let (running, ended) = tampered(|_| {});
    assert_eq!((running, ended), (None, None));
    let told = |pair: (Option<String>, Option<String>), word: &str| {
        for message in [pair.0.unwrap(), pair.1.unwrap()] {
            assert!(message.contains(word), "{message}");
        }
    };
    told(
        tampered(|path| std::fs::remove_file(path).unwrap()),
        "removed",
    );
    told(
        tampered(|path| {
            std::fs::copy(path, path.with_extension("new")).unwrap();
            std::fs::rename(path.with_extension("new"), path).unwrap();
        }),
        "replaced",
    );
    let truncated = tampered(|path| truncate(path, 3));
    assert!(truncated.0.unwrap().contains("truncated"));
}

#[test]
fn what_a_truncation_took_is_found_as_a_hole() {
    const MIB: u64 = 1 << 20;
    for allocation in [FileAllocation::None, FileAllocation::Prealloc] {
        let dir = tempfile::tempdir().unwrap();
        let list = ["a", "b"].map(|name| LayoutFile::new(dir.path().join(name), 2 * MIB));
        let files = open(Layout::multi(list.into()), allocation, OpenMode::Fresh);
        let bytes = vec![7; MIB as usize];
        let mut written = RangeSet::new();
        for at in [0, MIB, 2 * MIB, 3 * MIB] {
            if at == 3 * MIB {
                assert!(files.holes(&written).unwrap().is_empty());
                truncate(&dir.path().join("b"), 0);
            }
            write(&files, at, &bytes);
            written.insert(Span::new(at, at + MIB));
        }
        files.verify_in_place().unwrap();
        let holes: Vec<Span> = files.holes(&written).unwrap().iter().collect();
        assert_eq!(holes, [Span::new(2 * MIB, 3 * MIB)], "{allocation:?}");
        let file = std::fs::File::open(dir.path().join("b")).unwrap();
        if keeps_zeros(&file) {
            let failure = files.verify_dense().unwrap_err();
            assert!(
                failure.message.contains("/b lost bytes from 0 on"),
                "{failure}"
            );
        }
        write(&files, 2 * MIB, &bytes);
        files.verify_dense().unwrap();
        truncate(&dir.path().join("b"), 0);
        assert_eq!(files.holes(&written).unwrap().total(), 2 * MIB);
    }
}

#[test]
fn the_tail_of_an_older_file_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), b"0123456789").unwrap();
    let files = single(dir.path(), Some(4), OpenMode::Existing);
    files.verify_running().unwrap();
    assert!(files.verify_in_place().is_err());
    files.cut_trailing().unwrap();
    files.verify_in_place().unwrap();
    assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"0123");
    single(dir.path(), None, OpenMode::Existing)
        .cut_trailing()
        .unwrap();
    assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"0123");
}
