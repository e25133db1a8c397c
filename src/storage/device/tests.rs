use std::path::Path;
use std::time::Duration;

use super::*;
use crate::base::error::ErrorCode;
use crate::base::units::Span;
use crate::storage::{DiskSettings, FileAllocation, Files, Layout, OpenMode};

const CHUNK: usize = 64 * 1024;
const CACHE: u64 = 1 << 20;

fn open(path: &Path, len: u64, mode: OpenMode, device: &Arc<Device>) -> Files {
    let settings = DiskSettings {
        allocation: FileAllocation::None,
        allocation_len_min: 0,
        cache_len_max: CACHE,
        open_files_max: 10,
    };
    Files::open(Layout::single(path, Some(len)), &settings, mode)
        .unwrap()
        .on_device(device)
}

fn device(number: u64, delay_ms: u64) -> Arc<Device> {
    let device = Device::new(number);
    device.delay_ms.store(delay_ms, Ordering::Release);
    Arc::new(device)
}

fn write(files: &Files, at: u64, bytes: &[u8]) {
    files.write_at(at, &mut [IoSlice::new(bytes)]).unwrap();
}

fn pattern(at: u64) -> Vec<u8> {
    (at..at + CHUNK as u64).map(|at| (at / 7) as u8).collect()
}

/// Eight connections fill one file on a disk that takes `delay_ms` a write.
async fn download_to(files: Arc<Files>, device: Arc<Device>, chunks: u64) -> usize {
    let mut connections = Vec::new();
    for first in 0..8 {
        let (files, device) = (Arc::clone(&files), Arc::clone(&device));
        connections.push(tokio::spawn(async move {
            let mut queued_max = 0;
            for index in (first * chunks)..((first + 1) * chunks) {
                let at = index * CHUNK as u64;
                write(&files, at, &pattern(at));
                queued_max = queued_max.max(device.bytes.load(Ordering::Acquire));
                files.ready().await;
                tokio::task::yield_now().await;
            }
            queued_max
        }));
    }
    let mut queued_max = 0;
    for connection in connections {
        queued_max = queued_max.max(connection.await.unwrap());
    }
    queued_max
}

#[test]
fn a_stalled_disk_holds_only_its_own_downloads() {
    let dir = tempfile::tempdir().unwrap();
    let stalled = device(1001, 500);
    let healthy = device(1002, 0);
    let chunks = 16;
    let len = 8 * chunks * CHUNK as u64;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let (queued_max, gap_max) = runtime.block_on(async {
        let slow = Arc::new(open(
            &dir.path().join("slow"),
            len,
            OpenMode::Fresh,
            &stalled,
        ));
        let fast = open(&dir.path().join("fast"), len, OpenMode::Fresh, &healthy);
        let began = Instant::now();
        let job = tokio::spawn(download_to(Arc::clone(&slow), Arc::clone(&stalled), chunks));
        let other = tokio::spawn(async move {
            let (mut gap_max, mut last) = (Duration::ZERO, began);
            for index in 0..100 {
                write(&fast, index * 10, b"0123456789");
                tokio::time::sleep(Duration::from_millis(5)).await;
                gap_max = gap_max.max(last.elapsed());
                last = Instant::now();
            }
            gap_max
        });
        let gap_max = other.await.unwrap();
        stalled.delay_ms.store(10, Ordering::Release);
        let queued_max = job.await.unwrap();
        slow.flush().unwrap();
        let mut read = vec![0; CHUNK];
        for index in 0..8 * chunks {
            let at = index * CHUNK as u64;
            slow.read_at(at, &mut read).unwrap();
            assert!(read == pattern(at), "chunk {index}");
        }
        (queued_max, gap_max)
    });
    assert!(gap_max < Duration::from_millis(450), "{gap_max:?}");
    // The limit, and what each of the eight connections had in hand.
    assert!(queued_max <= CACHE as usize + 8 * CHUNK, "{queued_max}");
    assert!(queued_max > 0);
    assert_eq!(stalled.bytes.load(Ordering::Acquire), 0);
}

#[test]
fn queued_neighbours_become_one_write_and_are_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let device = device(1003, 100);
    let files = open(&dir.path().join("a"), 1 << 20, OpenMode::Fresh, &device);
    device.note_stall(Instant::now());
    write(&files, 500_000, b"first");
    std::thread::sleep(Duration::from_millis(30));
    for index in [0u64, 2, 1, 3, 4, 5] {
        write(&files, index * 4, &index.to_string().repeat(4).into_bytes());
    }
    let mut read = [0; 24];
    files.read_at(0, &mut read).unwrap();
    assert_eq!(read, *b"000011112222333344445555");
    // "first", then 0 1 3 4 5 cannot all follow each other: 2 was queued before 1.
    let writes = device.writes.load(Ordering::Acquire);
    assert!(writes <= 3, "{writes}");
}

#[test]
fn a_queued_write_that_fails_is_reported_and_named() {
    let device = device(1004, 1);
    let files = open(Path::new("/dev/full"), 1000, OpenMode::Existing, &device);
    device.note_stall(Instant::now());
    write(&files, 100, b"0123456789");
    for failure in [files.flush(), files.sync()] {
        assert_eq!(failure.unwrap_err().code, ErrorCode::DiskFull);
    }
    let again = files.write_at(0, &mut [IoSlice::new(b"x")]).unwrap_err();
    assert_eq!(again.code, ErrorCode::DiskFull);
    assert_eq!(files.lost(), [Span::new(100, 110)]);
    assert_eq!(files.take_lost(), [Span::new(100, 110)]);
    assert_eq!(files.flush(), Ok(()));
    assert_eq!(files.take_lost(), []);
}

#[test]
fn a_disk_that_recovers_is_written_inline_again() {
    let dir = tempfile::tempdir().unwrap();
    let device = device(1005, 200);
    let files = open(&dir.path().join("a"), 100, OpenMode::Fresh, &device);
    write(&files, 0, b"a");
    assert!(device.is_slow());
    device.delay_ms.store(0, Ordering::Release);
    write(&files, 1, b"b");
    assert!(device.queue.lock().writer_runs);
    let patience = Instant::now();
    while device.is_slow() || device.queue.lock().writer_runs {
        assert!(patience.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(50));
    }
    write(&files, 2, b"c");
    let mut read = [0; 3];
    files.read_at(0, &mut read).unwrap();
    assert_eq!(read, *b"abc");
}

#[test]
fn queued_bytes_are_written_although_the_download_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let device = device(1006, 30);
    let files = open(&path, 10, OpenMode::Fresh, &device);
    device.note_stall(Instant::now());
    write(&files, 0, b"0123456789");
    drop(files);
    let patience = Instant::now();
    while std::fs::read(&path).unwrap() != b"0123456789" {
        assert!(patience.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn what_waited_for_a_core_does_not_make_the_disk_slow() {
    let began = Instant::now();
    let slept = sleep::times_slept();
    let disk = Device::new(1101);
    while began.elapsed() < SLOW_WRITE * 8 {
        std::hint::spin_loop();
    }
    disk.note_write(began, slept);
    // Even so the system may have put this thread to sleep, for a page of the program's.
    assert!(!disk.is_slow() || sleep::times_slept() != slept);

    std::thread::sleep(Duration::from_millis(1));
    disk.note_write(began, slept);
    assert!(disk.is_slow());
}
