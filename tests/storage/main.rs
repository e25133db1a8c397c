//! Control files exchanged with the real aria2c, both ways. Without aria2c the tests say so and
//! pass.

mod full_disk;
mod origin;
mod pauses;
mod run;
mod whole;

use std::io::IoSlice;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use arioso::base::range_set::RangeSet;
use arioso::base::units::{BLOCK_LEN, Span};
use arioso::format::control_file::ControlFile;
use arioso::option::value::FileAllocation;
use arioso::storage::digest::{DigestKind, Hasher};
use arioso::storage::progress::{self, Durability};
use arioso::storage::{DiskSettings, Files, Layout, OpenMode};

use origin::{Origin, content};

const MIB: u64 = 1 << 20;
const LEN: u64 = 6 * MIB + 12_345;

fn has_aria2c() -> bool {
    let found = Command::new("aria2c")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok();
    if !found {
        eprintln!("no aria2c here: nothing to exchange control files with");
    }
    found
}

fn aria2c(dir: &Path, args: &[&str]) -> Child {
    Command::new("aria2c")
        .args(["--no-conf", "-q", "-k1M", "-x4", "-s4"])
        .args(["--file-allocation=none", "--bt-hash-check-seed=false"])
        .args([
            "--seed-time=0",
            "--enable-dht=false",
            "--bt-enable-lpd=false",
        ])
        .arg("-d")
        .arg(dir)
        .args(args)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Ends aria2c in an orderly way once `sent` bytes have left the origin.
fn stop_after(mut child: Child, origin: &Origin, sent: u64) {
    let patience = Instant::now();
    while origin.sent() < sent {
        assert!(patience.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    child.wait().unwrap();
}

fn files(path: &Path, mode: OpenMode) -> Files {
    let settings = DiskSettings {
        allocation: FileAllocation::None,
        allocation_len_min: 0,
        cache_len_max: MIB,
        open_files_max: 10,
    };
    Files::open(Layout::single(path, Some(LEN)), &settings, mode).unwrap()
}

/// What aria2c left half-done: read by us, with every claimed byte right, and written by us to
/// the very same bytes.
fn check_left_by_aria2c(data: &Path) -> ControlFile {
    let bytes = std::fs::read(progress::control_path(data)).unwrap();
    let control = progress::load(data).unwrap().unwrap();
    assert_eq!(control.total, LEN);
    let written = control.to_ranges();
    assert!(
        written.total() >= MIB && written.total() < LEN,
        "{written:?}"
    );
    let files = files(data, OpenMode::Existing);
    for span in written.iter() {
        let mut read = vec![0; span.len() as usize];
        files.read_at(span.start, &mut read).unwrap();
        assert!(read == content(span), "{span:?}");
    }
    // aria2c lists its pieces in no order: sorted they are ours.
    let ours = control.encode();
    assert_eq!(ours.len(), bytes.len());
    assert_eq!(ControlFile::decode(&ours).unwrap(), control);
    let head = 34 + control.have.as_bytes().len() + control.info_hash.map_or(0, |hash| hash.len());
    assert_eq!(ours[..head], bytes[..head]);
    control
}

#[test]
fn reads_what_aria2c_leaves() {
    if !has_aria2c() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::start(LEN);
    let child = aria2c(dir.path(), &[&origin.url("a.bin")]);
    stop_after(child, &origin, 3 * MIB);
    let control = check_left_by_aria2c(&dir.path().join("a.bin"));
    assert_eq!(control.piece_len, MIB as u32);
    assert_eq!(control.info_hash, None);
    assert!(!control.in_flight.is_empty());
}

#[test]
fn reads_what_aria2c_leaves_of_a_torrent() {
    if !has_aria2c() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::start(LEN);
    let (torrent, info_hash) = torrent(&origin.url("a.bin"));
    let path = dir.path().join("a.torrent");
    std::fs::write(&path, torrent).unwrap();
    let child = aria2c(dir.path(), &[path.to_str().unwrap()]);
    stop_after(child, &origin, 3 * MIB);
    let control = check_left_by_aria2c(&dir.path().join("a.bin"));
    assert_eq!(control.piece_len, 1 << 18);
    assert_eq!(control.info_hash, Some(info_hash));
}

/// A torrent of the origin's file whose only source is the origin (BEP 19), and its info hash.
fn torrent(url: &str) -> (Vec<u8>, [u8; 20]) {
    let digests: Vec<u8> = content(Span::new(0, LEN))
        .chunks(1 << 18)
        .flat_map(|piece| digest(DigestKind::Sha1, piece))
        .collect();
    let mut info = format!(
        "d6:lengthi{LEN}e4:name5:a.bin12:piece lengthi262144e6:pieces{}:",
        digests.len()
    )
    .into_bytes();
    info.extend_from_slice(&digests);
    info.push(b'e');
    let info_hash = digest(DigestKind::Sha1, &info).try_into().unwrap();
    let mut torrent = b"d4:info".to_vec();
    torrent.extend_from_slice(&info);
    torrent.extend_from_slice(format!("8:url-list{}:{url}e", url.len()).as_bytes());
    (torrent, info_hash)
}

fn digest(kind: DigestKind, bytes: &[u8]) -> Vec<u8> {
    let mut hasher = Hasher::new(kind);
    hasher.update(bytes);
    hasher.finish()
}

#[test]
fn aria2c_resumes_what_we_leave() {
    if !has_aria2c() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("a.bin");
    let written: RangeSet = [
        Span::new(0, 2 * MIB + 100_000),
        Span::new(4 * MIB - 40_000, 4 * MIB + 40_000),
        Span::new(6 * MIB, LEN),
    ]
    .into_iter()
    .collect();
    let control = leave(&data, &written, MIB as u32);
    let origin = Origin::start(LEN);
    let status = aria2c(dir.path(), &[&origin.url("a.bin")]).wait().unwrap();
    assert!(status.success());
    assert!(std::fs::read(&data).unwrap() == content(Span::new(0, LEN)));
    assert!(!progress::control_path(&data).exists());
    // aria2c's first request is for the whole and dropped once the length is known; all others
    // begin where a claimed span ends.
    let claimed = control.to_ranges();
    let missing = LEN - claimed.total();
    assert!(written.total() - claimed.total() < 6 * BLOCK_LEN);
    let whole = Span::new(0, LEN);
    for span in origin.asked().into_iter().filter(|span| *span != whole) {
        assert!(!claimed.contains(span.start), "{span:?} of {claimed:?}");
    }
    assert!(
        origin.sent() < missing + MIB,
        "{} of {missing}",
        origin.sent()
    );
}

/// Half a download as we leave it.
fn leave(data: &Path, written: &RangeSet, piece_len: u32) -> ControlFile {
    let files = files(data, OpenMode::New);
    for span in written.iter() {
        let bytes = content(span);
        files
            .write_at(span.start, &mut [IoSlice::new(&bytes)])
            .unwrap();
    }
    let control = ControlFile::from_ranges(written, LEN, piece_len).unwrap();
    progress::checkpoint(&files, data, &control, Durability::Power).unwrap();
    control
}
