use super::*;
use crate::storage::digest::Checksum;
use crate::storage::{DiskSettings, FileAllocation, Layout, LayoutFile, OpenMode};
use std::cell::Cell;
use std::io::IoSlice;
use std::path::Path;

const PIECE: u32 = 300_000;

fn open(dir: &Path, mode: OpenMode) -> Files {
    let settings = DiskSettings {
        allocation: FileAllocation::None,
        allocation_len_min: 0,
        cache_len_max: 1 << 20,
        open_files_max: 2,
    };
    let list = [400_000, 0, 250_000, 350_000]
        .iter()
        .enumerate()
        .map(|(number, len)| LayoutFile::new(dir.join(number.to_string()), *len));
    Files::open(Layout::multi(list.collect()), &settings, mode).unwrap()
}

fn content() -> Vec<u8> {
    (0..1_000_000u32).map(|at| (at % 251) as u8).collect()
}

fn filled(dir: &Path) -> Files {
    let files = open(dir, OpenMode::Fresh);
    files.write_at(0, &mut [IoSlice::new(&content())]).unwrap();
    files
}

fn digest(bytes: &[u8]) -> Vec<u8> {
    let mut hasher = Hasher::new(DigestKind::Sha1);
    hasher.update(bytes);
    hasher.finish()
}

fn digests() -> Vec<u8> {
    content().chunks(PIECE as usize).flat_map(digest).collect()
}

fn all_of(len: u32) -> Bitfield {
    let mut bits = Bitfield::new(len);
    (0..len).for_each(|index| bits.set(index, true));
    bits
}

/// The pieces found right, drawn: `#` right, `.` wrong.
fn draw(files: &Files, check: &Bitfield) -> String {
    let hashes = PieceHashes {
        kind: DigestKind::Sha1,
        piece_len: u64::from(PIECE),
        digests: digests().into(),
    };
    let watch = Watch {
        done: &|_| {},
        stop: &AtomicBool::new(false),
    };
    let good = check_pieces(files, &hashes, check, &watch)
        .unwrap()
        .unwrap();
    (0..good.len())
        .map(|index| if good.get(index) { '#' } else { '.' })
        .collect()
}

#[test]
fn whole_download_is_hashed_over_its_files_with_progress() {
    let dir = tempfile::tempdir().unwrap();
    let files = filled(dir.path());
    let told = Cell::new(0);
    let watch = Watch {
        done: &|at| {
            assert!(at > told.get());
            told.set(at);
        },
        stop: &AtomicBool::new(false),
    };
    let whole = hash_span(&files, whole(&files).unwrap(), DigestKind::Sha1, &watch)
        .unwrap()
        .unwrap();
    assert_eq!(whole, digest(&content()));
    assert_eq!(told.get(), 1_000_000);
    let wrong = Checksum::from_hex(DigestKind::Sha1, &"0".repeat(40)).unwrap();
    assert!(!wrong.matches(&whole));
}

#[test]
fn a_raised_flag_stops_hashing() {
    let dir = tempfile::tempdir().unwrap();
    let files = filled(dir.path());
    let stop = AtomicBool::new(false);
    let watch = Watch {
        done: &|at| stop.store(at > 500_000, Ordering::Release),
        stop: &stop,
    };
    assert_eq!(
        hash_span(&files, whole(&files).unwrap(), DigestKind::Md5, &watch),
        Ok(None)
    );
}

#[test]
fn damaged_and_missing_pieces_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let files = filled(dir.path());
    assert_eq!(draw(&files, &all_of(4)), "####");
    files
        .write_at(650_000, &mut [IoSlice::new(b"damage")])
        .unwrap();
    assert_eq!(draw(&files, &all_of(4)), "##.#");
    let mut some = Bitfield::new(4);
    some.set(1, true);
    assert_eq!(draw(&files, &some), ".#..");
    drop(files);
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(dir.path().join("0"))
        .unwrap();
    file.set_len(300_000).unwrap();
    assert_eq!(
        draw(&open(dir.path(), OpenMode::Existing), &all_of(4)),
        "#..#"
    );
    std::fs::remove_file(dir.path().join("0")).unwrap();
    assert_eq!(
        draw(&open(dir.path(), OpenMode::Existing), &all_of(4)),
        "...#"
    );
}

#[test]
fn checking_many_pieces_tells_all_bytes_and_can_be_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let files = filled(dir.path());
    let piece_len = 1000;
    let hashes = PieceHashes {
        kind: DigestKind::Sha256,
        piece_len: piece_len as u64,
        digests: content()
            .chunks(piece_len)
            .flat_map(|piece| {
                let mut hasher = Hasher::new(DigestKind::Sha256);
                hasher.update(piece);
                hasher.finish()
            })
            .collect(),
    };
    let (told, stop) = (Cell::new(0), AtomicBool::new(false));
    let watch = Watch {
        done: &|at| told.set(told.get().max(at)),
        stop: &stop,
    };
    let good = check_pieces(&files, &hashes, &all_of(1000), &watch);
    assert!(good.unwrap().unwrap().all());
    assert_eq!(told.get(), 1_000_000);
    let watch = Watch {
        done: &|_| stop.store(true, Ordering::Release),
        stop: &stop,
    };
    let good = check_pieces(&files, &hashes, &all_of(1000), &watch);
    assert_eq!(good, Ok(None));
}

#[test]
fn missing_bytes_fail_the_whole_hash() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(dir.path(), OpenMode::Fresh);
    let watch = Watch {
        done: &|_| {},
        stop: &AtomicBool::new(false),
    };
    let failure = hash_span(&files, whole(&files).unwrap(), DigestKind::Sha1, &watch).unwrap_err();
    assert_eq!(failure.code, ErrorCode::FileIo);
}
