use super::*;
use crate::base::range_set::RangeSet;
use crate::base::units::Span;

fn control(bytes: u64) -> ControlFile {
    let written: RangeSet = [Span::new(0, bytes)].into_iter().collect();
    ControlFile::from_ranges(&written, 5 << 20, 1 << 20).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn saved_loaded_replaced_removed() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("a.bin");
    assert_eq!(load(&data), Ok(None));
    save(&data, &control(1 << 20)).unwrap();
    save(&data, &control(3 << 20)).unwrap();
    assert_eq!(names(dir.path()), ["a.bin.aria2"]);
    assert_eq!(load(&data), Ok(Some(control(3 << 20))));
    remove(&data).unwrap();
    remove(&data).unwrap();
    assert_eq!(load(&data), Ok(None));
}

#[test]
fn what_a_crash_left_is_cleared_away_and_never_read() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("a.bin");
    save(&data, &control(1 << 20)).unwrap();
    std::fs::write(temporary_path(&data), b"torn").unwrap();
    assert_eq!(load(&data), Ok(Some(control(1 << 20))));
    assert_eq!(names(dir.path()), ["a.bin.aria2"]);
    std::fs::write(temporary_path(&data), b"torn").unwrap();
    save(&data, &control(2 << 20)).unwrap();
    assert_eq!(names(dir.path()), ["a.bin.aria2"]);
}

#[test]
fn a_link_left_under_the_temporary_name_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("a.bin");
    let victim = dir.path().join("victim");
    std::fs::write(&victim, b"keep").unwrap();
    std::os::unix::fs::symlink(&victim, temporary_path(&data)).unwrap();
    save(&data, &control(1 << 20)).unwrap();
    assert_eq!(std::fs::read(&victim).unwrap(), b"keep");
    assert_eq!(load(&data), Ok(Some(control(1 << 20))));
}

#[test]
fn damage_is_told_with_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("a.bin");
    let bytes = control(1 << 20).encode();
    std::fs::write(control_path(&data), &bytes[..20]).unwrap();
    let failure = load(&data).unwrap_err();
    assert_eq!(failure.code, ErrorCode::Unknown);
    assert!(
        failure
            .message
            .contains("a.bin.aria2: the control file ends inside")
    );
}

#[test]
fn names_of_the_greatest_length_work() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("x".repeat(249));
    save(&data, &control(1 << 20)).unwrap();
    assert_eq!(load(&data), Ok(Some(control(1 << 20))));
    let data = dir.path().join("x".repeat(250));
    let failure = save(&data, &control(1 << 20)).unwrap_err();
    assert_eq!(failure.code, ErrorCode::RenameFailed);
    assert_eq!(names(dir.path()).len(), 1);
}

#[test]
fn a_checkpoint_leaves_out_lost_writes_and_refuses_a_cut_file() {
    use crate::storage::{DiskSettings, FileAllocation, Layout, OpenMode};
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("a.bin");
    let settings = DiskSettings {
        allocation: FileAllocation::Trunc,
        allocation_len_min: 0,
        cache_len_max: 0,
        open_files_max: 1,
    };
    let files = Files::open(
        Layout::single(&data, Some(5 << 20)),
        &settings,
        OpenMode::New,
    )
    .unwrap();
    files
        .allocate(&|_| {}, &std::sync::atomic::AtomicBool::new(false))
        .unwrap();
    let full = Failure::fatal(ErrorCode::DiskFull, "full");
    files.shared.record_lost(1 << 20, 2 << 20, full.clone());
    let told = checkpoint(&files, &data, &control(3 << 20), Durability::Process);
    assert_eq!(told, Err(full));
    let saved = load(&data).unwrap().unwrap();
    assert_eq!(saved.have.ones().collect::<Vec<_>>(), [0, 2]);
    files.take_lost();
    checkpoint(&files, &data, &control(3 << 20), Durability::Power).unwrap();
    assert_eq!(load(&data), Ok(Some(control(3 << 20))));
    let file = OpenOptions::new().write(true).open(&data).unwrap();
    file.set_len(100).unwrap();
    let told = checkpoint(&files, &data, &control(4 << 20), Durability::Process);
    assert_eq!(told.unwrap_err().code, ErrorCode::FileIo);
    assert_eq!(load(&data), Ok(Some(control(3 << 20))));
}
