use std::fs;
use std::io::IoSlice;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::base::error::ErrorCode;
use crate::option::OptionSet;
use crate::storage::digest::{DigestKind, Hasher};
use crate::storage::{ContentFile, DiskSettings, LayoutFile, OpenMode, PieceHashes};

const LEN: u64 = 40_000;
const PIECE: u64 = 30_000;

struct Rig {
    dir: tempfile::TempDir,
    settings: TransferSettings,
    end: ContentEnd,
    files: Files,
}

impl Rig {
    /// `top/a`, `top/sub/b` (not wanted) and `else/c`, all written but for `zeros`.
    fn new(zeros: std::ops::Range<usize>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut data: Vec<u8> = (0..3 * LEN).map(|at| (at % 250) as u8 + 1).collect();
        data[zeros].fill(0);
        let mut digests = Vec::new();
        for piece in data.chunks(PIECE as usize) {
            let mut hasher = Hasher::new(DigestKind::Sha256);
            hasher.update(piece);
            digests.extend(hasher.finish());
        }
        let list = ["top/a", "top/sub/b", "else/c"];
        let content = Content {
            name: "top".into(),
            multi: true,
            files: Vec::from(list.map(|path| ContentFile {
                path: path.into(),
                len: LEN,
                padding: false,
            })),
            total: Some(3 * LEN),
            pieces: Some(PieceHashes {
                kind: DigestKind::Sha256,
                piece_len: PIECE,
                digests: digests.into(),
            }),
            proofs: Vec::new(),
            doubts: Vec::new(),
            chosen: Vec::new(),
            torrent: None,
        };
        let mut parts = Vec::from(list.map(|path| LayoutFile::new(dir.path().join(path), LEN)));
        parts[1].selected = false;
        let options = OptionSet::new();
        let disk = DiskSettings::from(&options);
        let files = Files::open(Layout::multi(parts), &disk, OpenMode::Existing).unwrap();
        files.write_at(0, &mut [IoSlice::new(&data)]).unwrap();
        let mut settings = TransferSettings::from(&options);
        settings.dir = dir.path().to_owned();
        let end = ContentEnd {
            content: Arc::new(content),
            root: dir.path().join("top"),
            remove_unselected: true,
        };
        Self {
            dir,
            settings,
            end,
            files,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn verify(&self) -> Result<(), Failure> {
        self.end
            .verify(&self.files, &|_| (), &AtomicBool::new(false))
    }
}

/// Takes the blocks of these bytes away and leaves the length.
fn punch(path: &Path, start: u64, len: u64) {
    use rustix::fs::{FallocateFlags, fallocate};
    let file = fs::File::options().write(true).open(path).unwrap();
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, flags, start, len).unwrap();
}

#[test]
fn lost_bytes_are_found_and_honest_zeros_are_not_taken_for_them() {
    let rig = Rig::new(8192..16_384);
    rig.verify().unwrap();
    punch(&rig.path("top/a"), 8192, 8192);
    rig.verify().unwrap();
    punch(&rig.path("else/c"), 16_384, 4096);
    assert_eq!(rig.verify().unwrap_err().code, ErrorCode::FileIo);
}

#[test]
fn a_file_that_was_cut_is_found() {
    let rig = Rig::new(0..0);
    let file = fs::File::options().write(true).open(rig.path("top/a"));
    file.unwrap().set_len(LEN - 1).unwrap();
    assert_eq!(rig.verify().unwrap_err().code, ErrorCode::FileIo);
}

#[test]
fn files_left_out_are_deleted_with_their_directories() {
    let rig = Rig::new(0..0);
    assert!(rig.end.keeps_control_file(&rig.files));
    rig.end.remove_unselected(&rig.files);
    assert!(!rig.path("top/sub").exists());
    assert!(rig.path("top/a").exists() && rig.path("else/c").exists());
}

#[test]
fn a_directory_moves_as_a_whole_and_other_files_with_it() {
    let rig = &mut Rig::new(0..0);
    assert!(
        rig.end
            .relocate(&rig.files, &rig.settings)
            .unwrap()
            .is_none()
    );
    rig.settings.complete_dir = Some(rig.path("done"));
    fs::write(rig.path("top/note"), b"the user's").unwrap();
    fs::write(rig.path("top.aria2"), b"state").unwrap();
    fs::create_dir_all(rig.path("done/top")).unwrap();
    let moved = rig
        .end
        .relocate(&rig.files, &rig.settings)
        .unwrap()
        .unwrap();
    assert_eq!(moved.root, rig.path("done/top.1"));
    let paths: Vec<&Path> = moved
        .layout
        .files()
        .iter()
        .map(|file| &*file.path)
        .collect();
    let expected = ["done/top.1/a", "done/top.1/sub/b", "done/else/c"];
    assert_eq!(paths, expected.map(|name| rig.path(name)));
    assert!(paths.iter().all(|path| path.exists()));
    assert!(rig.path("done/top.1/note").exists() && rig.path("done/top.1.aria2").exists());
    assert!(!rig.path("top").exists() && !rig.path("top.aria2").exists());
}
