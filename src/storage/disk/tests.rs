use super::*;
use crate::option::value::FileAllocation;
use crate::storage::LayoutFile;
use std::path::PathBuf;

fn settings() -> DiskSettings {
    DiskSettings {
        allocation: FileAllocation::None,
        allocation_len_min: 0,
        cache_len_max: 1 << 20,
        open_files_max: 3,
    }
}

fn write(files: &Files, at: u64, parts: &[&[u8]]) -> Result<(), Failure> {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    files.write_at(at, &mut slices)
}

fn read(files: &Files, at: u64, len: usize) -> Result<Vec<u8>, Failure> {
    let mut buf = vec![0xee; len];
    files.read_at(at, &mut buf)?;
    Ok(buf)
}

fn single(dir: &Path, len: Option<u64>, mode: OpenMode) -> Result<Files, Failure> {
    Files::open(Layout::single(dir.join("a"), len), &settings(), mode)
}

fn multi(dir: &Path, lens: &[u64], mode: OpenMode) -> Files {
    let list = lens
        .iter()
        .enumerate()
        .map(|(number, len)| LayoutFile::new(dir.join(format!("sub/{number}")), *len));
    Files::open(Layout::multi(list.collect()), &settings(), mode).unwrap()
}

#[test]
fn writes_anywhere_and_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let files = single(dir.path(), Some(10), OpenMode::New).unwrap();
    write(&files, 5, &[b"fgh", b"", b"ij", b"beyond the end"]).unwrap();
    write(&files, 0, &[b"abcde"]).unwrap();
    assert_eq!(read(&files, 0, 10).unwrap(), b"abcdefghij");
    files.sync().unwrap();
    files.verify_in_place().unwrap();
    assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"abcdefghij");
    assert_eq!(read(&files, 5, 6).unwrap_err().code, ErrorCode::FileIo);
}

#[test]
fn more_slices_than_the_kernel_takes() {
    let dir = tempfile::tempdir().unwrap();
    let files = single(dir.path(), None, OpenMode::Fresh).unwrap();
    let bytes: Vec<u8> = (0..2500).map(|number| number as u8).collect();
    let parts: Vec<&[u8]> = bytes.chunks(1).collect();
    write(&files, 3, &parts).unwrap();
    assert_eq!(read(&files, 3, 2500).unwrap(), bytes);
}

#[test]
fn many_files_through_few_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let lens: Vec<u64> = (0..200).map(|number| number % 7).collect();
    let files = multi(dir.path(), &lens, OpenMode::Fresh);
    let total = files.total().unwrap();
    let bytes: Vec<u8> = (0..total).map(|at| at as u8).collect();
    for (index, chunk) in bytes.chunks(10).enumerate().rev() {
        let (left, right) = chunk.split_at(chunk.len() / 3);
        write(&files, index as u64 * 10, &[left, right]).unwrap();
    }
    files.sync().unwrap();
    files.verify_in_place().unwrap();
    assert_eq!(read(&files, 0, total as usize).unwrap(), bytes);
    let open = (0..lens.len())
        .filter(|index| files.shared.slots[*index].open_file().is_some())
        .count();
    assert!(open <= 3, "{open}");
    assert!(
        dir.path().join("sub/0").exists(),
        "files of no length are made"
    );
    let again = multi(dir.path(), &lens, OpenMode::Existing);
    assert_eq!(read(&again, 0, total as usize).unwrap(), bytes);
}

#[test]
fn unselected_files_and_padding_are_made_only_for_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut list: Vec<LayoutFile> = (0..4)
        .map(|number| LayoutFile::new(dir.path().join(number.to_string()), 4))
        .collect();
    list[1].selected = false;
    list[2].padding = true;
    let files = Files::open(Layout::multi(list), &settings(), OpenMode::Fresh).unwrap();
    assert_eq!(read(&files, 4, 8).unwrap(), [0; 8]);
    assert!(!dir.path().join("1").exists());
    write(&files, 0, &[b"0000111122223333"]).unwrap();
    assert_eq!(read(&files, 0, 16).unwrap(), b"00001111\0\0\0\x003333");
    assert!(dir.path().join("1").exists());
    assert!(!dir.path().join("2").exists());
}

#[test]
fn modes_treat_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let open = |mode| single(dir.path(), Some(5), mode);
    assert_eq!(
        open(OpenMode::Existing).err().map(|failure| failure.code),
        Some(ErrorCode::OpenFailed)
    );
    write(&open(OpenMode::New).unwrap(), 0, &[b"hello"]).unwrap();
    assert_eq!(
        open(OpenMode::New).err().map(|failure| failure.code),
        Some(ErrorCode::FileExists)
    );
    assert_eq!(
        read(&open(OpenMode::Existing).unwrap(), 0, 5).unwrap(),
        b"hello"
    );
    let reader = open(OpenMode::ReadOnly).unwrap();
    assert_eq!(
        write(&reader, 0, &[b"x"]).unwrap_err().code,
        ErrorCode::FileIo
    );
    open(OpenMode::Fresh).unwrap();
    assert_eq!(dir.path().join("a").metadata().unwrap().len(), 0);
}

#[test]
fn failures_have_aria2s_codes_and_the_path() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), b"").unwrap();
    let open = |path: PathBuf| {
        Files::open(Layout::single(path, None), &settings(), OpenMode::Fresh)
            .err()
            .unwrap()
    };
    let failure = open(dir.path().join("file/below"));
    assert_eq!(failure.code, ErrorCode::DirCreateFailed);
    assert!(failure.message.contains("/file"), "{failure}");
    let failure = open(dir.path().join("x".repeat(260)));
    assert_eq!(failure.code, ErrorCode::CreateFailed);
    assert!(failure.message.contains("xxx"), "{failure}");
    assert_eq!(open(dir.path().into()).code, ErrorCode::CreateFailed);
}

#[test]
fn a_full_disk_is_code_9() {
    let full = Files::open(
        Layout::single("/dev/full", Some(100)),
        &settings(),
        OpenMode::Existing,
    )
    .unwrap();
    let failure = write(&full, 0, &[b"x"]).unwrap_err();
    assert_eq!(failure.code, ErrorCode::DiskFull);
    assert!(
        failure.message.starts_with("cannot write to /dev/full: "),
        "{failure}"
    );
}

#[test]
fn dev_null_takes_everything() {
    let null = Files::open(
        Layout::single("/dev/null", None),
        &settings(),
        OpenMode::Fresh,
    )
    .unwrap();
    write(&null, 1 << 40, &[b"x"]).unwrap();
    null.set_total(1).unwrap();
    null.set_modified(0).unwrap();
    null.sync().unwrap();
    null.verify_in_place().unwrap();
}

#[test]
fn an_unknown_length_ends_where_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let files = single(dir.path(), None, OpenMode::Fresh).unwrap();
    write(&files, 0, &[b"0123456789"]).unwrap();
    assert_eq!(files.total(), None);
    files.set_total(4).unwrap();
    assert_eq!(files.total(), Some(4));
    files.verify_in_place().unwrap();
    assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"0123");
}

#[test]
fn the_servers_time_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let files = single(dir.path(), Some(1), OpenMode::Fresh).unwrap();
    for seconds in [1_000_000_000, -5] {
        files.set_modified(seconds).unwrap();
        assert_eq!(dir.path().join("a").metadata().unwrap().mtime(), seconds);
    }
    files.set_modified(i64::MIN).unwrap_or_default();
}

#[test]
fn threads_that_open_a_file_at_once_lose_nothing() {
    const THREADS: usize = 8;
    for mode in [OpenMode::New, OpenMode::Fresh] {
        for _ in 0..50 {
            let dir = tempfile::tempdir().unwrap();
            let mut list =
                [0, 1].map(|number| LayoutFile::new(dir.path().join(format!("{number}")), 64));
            list[1].selected = false;
            let files = Files::open(Layout::multi(list.into()), &settings(), mode).unwrap();
            let start = std::sync::Barrier::new(THREADS);
            std::thread::scope(|scope| {
                for thread in 0..THREADS {
                    let (files, start) = (&files, &start);
                    scope.spawn(move || {
                        start.wait();
                        let mut data = [IoSlice::new(b"12345678")];
                        // As the writer thread of a slow device does it.
                        files
                            .shared
                            .write_now(64 + 8 * thread as u64, &mut data)
                            .unwrap();
                    });
                }
            });
            assert_eq!(read(&files, 64, 64).unwrap(), b"12345678".repeat(8));
        }
    }
}
