//! A disk without space: a small tmpfs, where this process may mount one.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;

use arioso::base::error::ErrorCode;
use arioso::base::range_set::RangeSet;
use arioso::base::units::Span;
use arioso::format::control_file::ControlFile;
use arioso::option::value::FileAllocation;
use arioso::storage::progress;
use arioso::storage::{DiskSettings, Files, Layout, OpenMode};

/// Unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// 1 MiB; `None` without the right to mount.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("no right to mount a small disk here");
            return None;
        }
        Some(Self(dir))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

fn open(path: &Path, len: u64, allocation: FileAllocation) -> Files {
    let settings = DiskSettings {
        allocation,
        allocation_len_min: 0,
        cache_len_max: 1 << 20,
        open_files_max: 10,
    };
    Files::open(Layout::single(path, Some(len)), &settings, OpenMode::Fresh).unwrap()
}

#[test]
fn allocation_finds_the_disk_too_small() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    for allocation in [FileAllocation::Prealloc, FileAllocation::Falloc] {
        let files = open(&disk.path("a"), 2 << 20, allocation);
        let failure = files
            .allocate(&|_| {}, &AtomicBool::new(false))
            .unwrap_err();
        assert_eq!(failure.code, ErrorCode::DiskFull);
        assert!(failure.message.contains("/a: No space left"), "{failure}");
    }
}

/// Known-bugs 52.
#[test]
fn data_and_control_file_survive_a_full_disk_and_go_on() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let data = disk.path("a");
    let ballast = disk.path("ballast");
    std::fs::write(&ballast, vec![1; 700_000]).unwrap();
    let files = open(&data, 600_000, FileAllocation::None);
    let block = vec![7; 100_000];
    let mut written = RangeSet::new();
    let save = |written: &RangeSet| {
        let control = ControlFile::from_ranges(written, 600_000, 1 << 20).unwrap();
        progress::save(&data, &control)
    };
    save(&written).unwrap();
    let mut at = 0;
    let failure = loop {
        match files.write_at(at, &mut [IoSlice::new(&block)]) {
            Ok(()) => written.insert(Span::new(at, at + 100_000)),
            Err(failure) => break failure,
        };
        at += 100_000;
    };
    assert_eq!(failure.code, ErrorCode::DiskFull);
    assert!(written.total() >= 200_000);
    // There may be no room even for the new control file: the old one stays whole then.
    let saved = save(&written);
    if let Err(failure) = &saved {
        assert_eq!(failure.code, ErrorCode::DiskFull);
    }
    assert!(progress::load(&data).unwrap().is_some());
    std::fs::remove_file(&ballast).unwrap();
    while at < 600_000 {
        files.write_at(at, &mut [IoSlice::new(&block)]).unwrap();
        at += 100_000;
    }
    files.sync().unwrap();
    files.verify_in_place().unwrap();
    assert!(std::fs::read(&data).unwrap() == vec![7; 600_000]);
}
