use super::*;
use crate::storage::{DiskSettings, Files, Layout, LayoutFile, OpenMode};
use std::cell::RefCell;
use std::os::unix::fs::MetadataExt;

const LEN: u64 = 600_000;

fn settings(allocation: FileAllocation, allocation_len_min: u64) -> DiskSettings {
    DiskSettings {
        allocation,
        allocation_len_min,
        cache_len_max: 1 << 20,
        open_files_max: 2,
    }
}

/// Length and allocated bytes of a file that was allocated after 5 bytes had been written.
fn allocated(allocation: FileAllocation, allocation_len_min: u64) -> (u64, u64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    std::fs::write(&path, b"hello").unwrap();
    let files = Files::open(
        Layout::single(&path, Some(LEN)),
        &settings(allocation, allocation_len_min),
        OpenMode::Existing,
    )
    .unwrap();
    files.allocate(&|_| {}, &AtomicBool::new(false)).unwrap();
    assert_eq!(std::fs::read(&path).unwrap()[..5], *b"hello");
    let data = std::fs::metadata(&path).unwrap();
    (data.len(), data.blocks() * 512)
}

#[test]
fn each_method_makes_its_kind_of_file() {
    assert_eq!(allocated(FileAllocation::None, 0).0, 5);
    let (len, blocks) = allocated(FileAllocation::Trunc, 0);
    assert!(len == LEN && blocks < LEN, "{blocks}");
    let (len, blocks) = allocated(FileAllocation::Prealloc, 0);
    assert!(len == LEN && blocks >= LEN, "{blocks}");
}

#[test]
fn short_downloads_are_not_allocated() {
    assert_eq!(allocated(FileAllocation::Prealloc, LEN + 1).0, 5);
    assert_eq!(allocated(FileAllocation::Prealloc, LEN).0, LEN);
}

#[test]
fn zeros_are_written_behind_what_is_there_until_stopped() {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(b"hello", 0).unwrap();
    let told = RefCell::new(Vec::new());
    let stop = AtomicBool::new(false);
    let done = |at: u64| {
        told.borrow_mut().push(at);
        stop.store(at > 500_000, Ordering::Release);
    };
    write_zeros(&file, 5, 1_000_000, &done, &stop).unwrap();
    assert_eq!(*told.borrow(), [262_149, 524_293]);
    let mut start = [1; 10];
    file.read_exact_at(&mut start, 0).unwrap();
    assert_eq!(start, *b"hello\0\0\0\0\0");
    stop.store(false, Ordering::Release);
    write_zeros(&file, 524_293, 600_001, &|_| {}, &stop).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 600_001);
}

#[test]
fn falloc_says_when_the_file_system_cannot() {
    let refused = io::Error::from(Errno::OPNOTSUPP);
    let failure = explain(
        &refused,
        FileAllocation::Falloc,
        std::path::Path::new("/d/a"),
    );
    assert_eq!(failure.code, ErrorCode::CreateFailed);
    assert!(failure.message.contains("/d/a cannot allocate"));
    let full = io::Error::from(Errno::NOSPC);
    let failure = explain(&full, FileAllocation::Falloc, std::path::Path::new("/d/a"));
    assert_eq!(failure.code, ErrorCode::DiskFull);
}

#[test]
fn progress_counts_through_all_selected_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut list: Vec<LayoutFile> = (0..4)
        .map(|number| LayoutFile::new(dir.path().join(number.to_string()), 100))
        .collect();
    list[1].selected = false;
    let files = Files::open(
        Layout::multi(list),
        &settings(FileAllocation::Trunc, 0),
        OpenMode::Fresh,
    )
    .unwrap();
    let told = RefCell::new(Vec::new());
    files
        .allocate(&|at| told.borrow_mut().push(at), &AtomicBool::new(false))
        .unwrap();
    assert_eq!(*told.borrow(), [100, 200, 300]);
    assert!(!dir.path().join("1").exists());
    assert_eq!(dir.path().join("3").metadata().unwrap().len(), 100);
}
