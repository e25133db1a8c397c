use std::cell::Cell;
use std::fs;
use std::sync::Arc;

use sha1::{Digest, Sha1};

use super::*;
use crate::format::control_file::InFlight;
use crate::format::info_hash::InfoHash;
use crate::format::metainfo::{FileEntry, Info, Metainfo};
use crate::option::OptionSet;
use crate::option::value::FileAllocation;

const PIECE: usize = 32_768;
const LENS: [(&str, u64); 5] = [
    ("top/a", 100_000),
    ("top/sub/b", 50),
    ("top/empty", 0),
    ("top/sub/c", 200_000),
    ("top/d", 70_000),
];

fn bytes() -> Vec<u8> {
    (0..370_050u32).map(|at| (at / 3 % 253) as u8 + 1).collect()
}

fn content(lens: &[(&str, u64)], data: &[u8], torrent: bool) -> Content {
    let info = Info {
        hash: InfoHash([7; 20]),
        raw: Vec::new(),
        name: "top".into(),
        multi: lens.len() > 1,
        files: lens
            .iter()
            .map(|(path, len)| FileEntry {
                path: (*path).into(),
                len: *len,
                padding: false,
            })
            .collect(),
        piece_len: PIECE as u32,
        piece_hashes: data
            .chunks(PIECE)
            .map(|piece| Sha1::digest(piece).into())
            .collect(),
        total: data.len() as u64,
        private: false,
        hybrid: false,
    };
    let mut content = Content::of_torrent(Arc::new(Metainfo {
        info,
        tiers: Vec::new(),
        web_seeds: Vec::new(),
        http_seeds: Vec::new(),
        nodes: Vec::new(),
        creation_date: None,
        comment: None,
        created_by: None,
    }));
    if !torrent {
        content.torrent = None;
    }
    content
}

struct Rig {
    dir: tempfile::TempDir,
    settings: TransferSettings,
    bt: BtSettings,
    content: Content,
    mine: bool,
    restored: bool,
    same_boot: bool,
    verified: Cell<Option<Verified>>,
}

impl Rig {
    fn new() -> Self {
        let options = OptionSet::new();
        Self {
            dir: tempfile::tempdir().unwrap(),
            settings: TransferSettings::from(&options),
            bt: BtSettings::from(&options),
            content: content(&LENS, &bytes(), true),
            mine: false,
            restored: false,
            same_boot: false,
            verified: Cell::new(None),
        }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("top")
    }

    /// Makes the files; `None` of them beyond `count`.
    fn write(&self, count: usize) {
        let mut at = 0;
        for (path, len) in &LENS[..count] {
            let path = self.dir.path().join(path);
            make_parent(&path).unwrap();
            fs::write(path, &bytes()[at..at + *len as usize]).unwrap();
            at += *len as usize;
        }
    }

    fn prepare(&self) -> Result<ContentFiles, Failure> {
        self.prepare_as(Gid::new(1).unwrap(), &PathClaims::default())
    }

    fn prepare_as(&self, gid: Gid, claims: &PathClaims) -> Result<ContentFiles, Failure> {
        let disk = DiskSettings {
            allocation: FileAllocation::None,
            ..DiskSettings::from(&OptionSet::new())
        };
        let layout = Layout::of_content(&self.content, self.dir.path(), &self.bt)?;
        let root = crate::storage::root_of(&self.content, &layout, self.dir.path());
        let order = ContentOrder {
            gid,
            settings: &self.settings,
            disk: &disk,
            bt: &self.bt,
            content: &self.content,
            layout: &layout,
            root: &root,
            mine: self.mine,
            restored: self.restored,
            same_boot: self.same_boot,
        };
        let told = ContentTold {
            checking: &|| (),
            allocating: &|| (),
            verified: &|verified| self.verified.set(Some(verified)),
            allocated: &|_| (),
        };
        order.prepare(claims, &told, &AtomicBool::new(false))
    }

    fn code(&self) -> ErrorCode {
        match self.prepare() {
            Ok(_) => panic!("prepared"),
            Err(failure) => failure.code,
        }
    }

    fn control(&self) -> Option<ControlFile> {
        progress::load(&self.root()).unwrap()
    }

    /// A control file that claims these pieces.
    fn claim(&self, pieces: &[u32]) -> ControlFile {
        let mut have = Bitfield::new(12);
        pieces.iter().for_each(|piece| have.set(*piece, true));
        let control = ControlFile {
            info_hash: Some([7; 20]),
            piece_len: PIECE as u32,
            total: 370_050,
            uploaded: 99,
            have,
            in_flight: Vec::new(),
        };
        progress::save(&self.root(), &control).unwrap();
        control
    }
}

#[test]
fn all_files_are_made_and_the_control_file_names_the_torrent() {
    let rig = Rig::new();
    let ready = rig.prepare().unwrap();
    assert!(ready.written.is_empty() && !ready.found_whole);
    for (path, _) in LENS {
        assert_eq!(
            rig.dir.path().join(path).metadata().unwrap().len(),
            0,
            "{path}"
        );
    }
    let control = rig.control().unwrap();
    assert_eq!(control.info_hash, Some([7; 20]));
    assert_eq!((control.total, control.piece_len), (370_050, PIECE as u32));
}

#[test]
fn what_stands_there_is_the_users_unless_something_says_otherwise() {
    let rig = &mut Rig::new();
    rig.write(1);
    assert_eq!(rig.code(), ErrorCode::FileExists);
    // As with aria2c, even a file that is not wanted; and `continue` is not for torrents.
    rig.bt.selected = vec![2..=2];
    rig.settings.resume_without_control_file = true;
    assert_eq!(rig.code(), ErrorCode::FileExists);
    assert!(rig.control().is_none());
    rig.settings.allow_overwrite = true;
    assert!(rig.prepare().unwrap().written.is_empty());
    assert_eq!(
        rig.dir.path().join("top/a").metadata().unwrap().len(),
        100_000
    );
    fs::remove_file(rig.dir.path().join("top.aria2")).unwrap();
    rig.bt.selected = vec![9..=9];
    assert_eq!(rig.code(), ErrorCode::Option);
}

#[test]
fn what_is_there_is_hashed_where_that_is_asked_for_or_it_is_ours() {
    for mine in [false, true] {
        let rig = &mut Rig::new();
        rig.write(5);
        rig.settings.check_integrity = !mine;
        rig.mine = mine;
        let damaged = rig.dir.path().join("top/a");
        let mut data = fs::read(&damaged).unwrap();
        data[40_000] ^= 1;
        fs::write(&damaged, data).unwrap();
        let ready = rig.prepare().unwrap();
        assert!(!ready.found_whole);
        assert_eq!(rig.verified.get(), Some(Verified::Bytes(370_050)));
        assert_eq!(rig.control().unwrap().have.hex(), "bff0");
        assert_eq!(ready.written.total(), 370_050 - PIECE as u64);
    }
}

#[test]
fn what_an_earlier_process_has_finished_is_recognized_and_nothing_else() {
    let rig = &mut Rig::new();
    rig.write(5);
    assert_eq!(rig.code(), ErrorCode::FileExists);
    rig.restored = true;
    assert!(rig.prepare().unwrap().found_whole);
    fs::remove_file(rig.dir.path().join("top.aria2")).unwrap();
    let foreign = rig.dir.path().join("top/a");
    let mut data = fs::read(&foreign).unwrap();
    data[40_000] ^= 1;
    fs::write(&foreign, &data).unwrap();
    assert_eq!(rig.code(), ErrorCode::FileExists);
    assert!(rig.control().is_none());
    assert_eq!(fs::read(&foreign).unwrap(), data);
}

#[test]
fn only_checking_fails_where_pieces_are_missing() {
    let rig = &mut Rig::new();
    rig.settings.check_integrity = true;
    rig.settings.hash_check_only = true;
    rig.write(4);
    assert_eq!(rig.code(), ErrorCode::Unknown);
    assert_eq!(rig.control().unwrap().have.hex(), "ff80");
    // What is wanted is there.
    rig.bt.selected = vec![1..=2];
    assert!(rig.prepare().is_ok());
    rig.bt.selected.clear();
    rig.write(5);
    let ready = rig.prepare().unwrap();
    assert!(ready.found_whole);
    assert_eq!(ready.written.total(), 370_050);
}

#[test]
fn unverified_seeding_believes_files_of_the_right_length_alone() {
    let rig = &mut Rig::new();
    rig.bt.seed_unverified = true;
    assert!(rig.prepare().unwrap().written.is_empty());
    fs::remove_file(rig.dir.path().join("top.aria2")).unwrap();
    rig.write(5);
    fs::write(rig.dir.path().join("top/d"), b"short").unwrap();
    let ready = rig.prepare().unwrap();
    assert_eq!(ready.written.total(), 300_050);
    assert!(!ready.found_whole);
}

#[test]
fn the_control_file_is_resumed_from_less_what_is_gone() {
    let rig = &mut Rig::new();
    rig.write(5);
    rig.claim(&[0, 1, 2, 3, 4, 11]);
    fs::remove_file(rig.dir.path().join("top/d")).unwrap();
    let ready = rig.prepare().unwrap();
    assert_eq!(ready.uploaded, 99);
    assert_eq!(ready.written.total(), 5 * PIECE as u64);
    assert!(!ready.found_whole);
    assert_eq!(rig.control().unwrap().have.hex(), "f800");
    // A control file alone is of no use.
    drop(ready);
    fs::remove_dir_all(rig.root()).unwrap();
    let ready = rig.prepare().unwrap();
    assert_eq!((ready.written.total(), ready.uploaded), (0, 0));
}

#[test]
fn blocks_in_flight_are_kept_and_full_ones_hashed() {
    let rig = &mut Rig::new();
    rig.write(5);
    let mut control = rig.claim(&[0]);
    let partial = |index, count: u32| {
        let mut blocks = Bitfield::new(2);
        (0..count).for_each(|block| blocks.set(block, true));
        InFlight {
            index,
            len: PIECE as u32,
            blocks,
        }
    };
    control.in_flight = vec![partial(1, 1), partial(4, 2), partial(6, 2)];
    progress::save(&rig.root(), &control).unwrap();
    let path = rig.dir.path().join("top/sub/c");
    let mut data = fs::read(&path).unwrap();
    data[6 * PIECE - 100_050] ^= 1;
    fs::write(&path, data).unwrap();
    let ready = rig.prepare().unwrap();
    let block = 16_384;
    let piece = PIECE as u64;
    let expected = [Span::new(0, piece + block), Span::new(4 * piece, 5 * piece)];
    assert_eq!(ready.written, RangeSet::from_iter(expected));
}

#[test]
fn another_torrents_control_file_is_refused() {
    let rig = &mut Rig::new();
    rig.write(5);
    let right = rig.claim(&[0]);
    let cases = [
        (
            ControlFile {
                info_hash: Some([8; 20]),
                ..right.clone()
            },
            ErrorCode::Unknown,
        ),
        (
            ControlFile::from_ranges(&RangeSet::new(), 370_051, PIECE as u32).unwrap(),
            ErrorCode::Unknown,
        ),
        (
            ControlFile::from_ranges(&RangeSet::new(), 370_050, 65_536).unwrap(),
            ErrorCode::PieceLengthChanged,
        ),
    ];
    for (control, code) in cases {
        progress::save(&rig.root(), &control).unwrap();
        assert_eq!(rig.code(), code);
    }
    // One without an info hash, as of a Metalink, will do.
    progress::save(
        &rig.root(),
        &ControlFile {
            info_hash: None,
            ..right
        },
    )
    .unwrap();
    assert_eq!(rig.prepare().unwrap().written.total(), PIECE as u64);
    rig.settings.remove_control_file = true;
    rig.settings.allow_overwrite = true;
    rig.mine = true;
    assert!(rig.prepare().unwrap().written.is_empty());
}

#[test]
fn two_downloads_never_write_the_same_files() {
    let rig = Rig::new();
    let claims = PathClaims::default();
    let first = rig.prepare_as(Gid::new(1).unwrap(), &claims);
    assert!(first.is_ok());
    let second = rig.prepare_as(Gid::new(2).unwrap(), &claims);
    assert_eq!(second.err().unwrap().code, ErrorCode::DuplicateDownload);
}

#[test]
fn a_metalinks_single_file_gets_another_name() {
    let rig = &mut Rig::new();
    rig.content = content(&[("f.bin", 370_050)], &bytes(), false);
    fs::write(rig.dir.path().join("f.bin"), b"the user's").unwrap();
    let ready = rig.prepare().unwrap();
    assert_eq!(ready.root, rig.dir.path().join("f.1.bin"));
    assert!(ready.root.exists());
    rig.settings.auto_file_renaming = false;
    assert_eq!(rig.code(), ErrorCode::FileExists);
    fs::write(rig.dir.path().join("f.bin"), &bytes()[..PIECE + 5]).unwrap();
    rig.settings.resume_without_control_file = true;
    assert_eq!(rig.prepare().unwrap().written.total(), PIECE as u64);
}

/// Ten thousand files: prepared, written through the assembler, resumed and hashed, with a few
/// files open at a time.
#[test]
fn ten_thousand_files() {
    use crate::bittorrent::assembler::{Assembler, Put};
    use crate::bittorrent::wire::{BLOCK_LEN, Block};

    const COUNT: usize = 10_000;
    const LEN: usize = 777;
    let names: Vec<String> = (0..COUNT).map(|n| format!("top/{}/{n}", n % 100)).collect();
    let lens: Vec<(&str, u64)> = names.iter().map(|name| (&**name, LEN as u64)).collect();
    let data: Vec<u8> = (0..COUNT * LEN).map(|at| (at / 5 % 251) as u8).collect();
    let rig = &mut Rig::new();
    rig.content = content(&lens, &data, true);
    let ready = rig.prepare().unwrap();
    let files = Arc::new(ready.files);
    let content = Arc::new(rig.content.clone());
    let pieces = Bitfield::new(data.len().div_ceil(PIECE) as u32);
    let assembler = Assembler::new(files.clone(), content, pieces).unwrap();
    for (index, piece) in data.chunks(PIECE).enumerate() {
        assembler.open(PieceIdx(index as u32), &RangeSet::new());
        for (number, bytes) in piece.chunks(BLOCK_LEN as usize).enumerate() {
            let begin = number as u32 * BLOCK_LEN;
            let block = Block::new(index as u32, begin, bytes.len() as u32);
            let by = std::net::SocketAddr::from(([10, 0, 0, 1], 1));
            let put = assembler.put(block, bytes::Bytes::copy_from_slice(bytes), by);
            if let Put::Full(full) = put.unwrap() {
                assert!(assembler.complete(full).unwrap().good);
            }
        }
    }
    files.verify_in_place().unwrap();
    assert!(open_files_below(rig.dir.path()) <= 101);
    drop((assembler, files));
    rig.settings.check_integrity = true;
    let ready = rig.prepare().unwrap();
    assert_eq!(ready.written.total(), data.len() as u64);
    assert!(open_files_below(rig.dir.path()) <= 101);
}

fn open_files_below(dir: &Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap();
    let links = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.filter(|target| target.starts_with(dir)).count()
}
