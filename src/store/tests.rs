//! The store as a process after another sees it.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::*;

fn gid(number: u64) -> Gid {
    Gid::new(number).unwrap()
}

fn record(number: u64, place: Place, order: i64) -> Record {
    let mut record = Record::new(
        gid(number),
        place,
        order,
        vec![format!("http://h/{number}")],
    );
    record.options = vec![
        ("dir".into(), "/dl".into()),
        ("header".into(), "A: 1".into()),
    ];
    record
}

fn group_of(records: impl IntoIterator<Item = Record>) -> Group {
    let mut group = Group::default();
    for record in records {
        group.put(record.gid, Box::new(move || record));
    }
    group
}

fn put(store: &Store, record: Record) {
    store.change(group_of([record]));
}

fn remove(store: &Store, number: u64) {
    let mut group = Group::default();
    group.remove(gid(number));
    store.change(group);
}

fn numbers(restored: &Restored) -> Vec<u64> {
    restored
        .records
        .iter()
        .map(|record| record.gid.value())
        .collect()
}

fn sync(store: &Store) {
    let (done, synced) = mpsc::channel();
    store.sync(Box::new(move |result| done.send(result).unwrap()));
    synced.recv().unwrap().unwrap();
}

#[test]
fn everything_is_back_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (store, restored) = Store::open(dir.path()).unwrap();
    assert!(restored.records.is_empty());
    put(&store, record(1, Place::Waiting, 5));
    put(&store, record(2, Place::Paused, -5));
    put(&store, record(3, Place::Active, 1));
    put(&store, record(4, Place::Complete, 9));
    put(&store, record(5, Place::Error, 8));
    put(&store, record(6, Place::Waiting, 6));
    remove(&store, 6);
    put(&store, record(1, Place::Waiting, -9));
    sync(&store);
    drop(store);
    let (store, restored) = Store::open(dir.path()).unwrap();
    assert_eq!(numbers(&restored), [5, 4, 3, 1, 2]);
    assert!(restored.forgotten.contains(&gid(6)));
    let mut back = restored.records[4].clone();
    assert!(back.at > 0);
    back.at = 0;
    assert_eq!(back, record(2, Place::Paused, -5));
    put(&store, record(6, Place::Waiting, 6));
    store.close().unwrap();
    let (_store, restored) = Store::open(dir.path()).unwrap();
    assert_eq!(numbers(&restored), [5, 4, 3, 1, 2, 6]);
    assert!(restored.forgotten.is_empty(), "an orderly end starts anew");
}

#[test]
fn a_second_opener_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let begin = Instant::now();
    let Err(refused) = Store::open(dir.path()) else {
        panic!("two have the same directory");
    };
    assert!(
        refused.message.contains("in use by another process"),
        "{refused}"
    );
    assert_eq!(refused.code.code(), 1);
    assert!(
        begin.elapsed() >= Duration::from_secs(1),
        "it waits a little"
    );
    // One that ends within the time is waited for.
    let waiter = std::thread::spawn({
        let dir = dir.path().to_owned();
        move || Store::open(&dir).map(drop)
    });
    std::thread::sleep(Duration::from_millis(200));
    store.close().unwrap();
    assert!(waiter.join().unwrap().is_ok());
}

/// Garbage in the middle of sled's file, or its end cut off.
fn damage(dir: &Path, cut: bool) {
    let path = dir.join("store/db");
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    let len = file.metadata().unwrap().len();
    if cut {
        file.set_len(len / 3).unwrap();
        return;
    }
    let garbage: Vec<u8> = (0..len / 2).map(|n| (n * 31 % 251) as u8).collect();
    file.seek(SeekFrom::Start(len / 10)).unwrap();
    file.write_all(&garbage).unwrap();
}

#[test]
fn damage_is_set_aside_and_the_session_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    for number in 1..=3000 {
        let place = if number == 2 {
            Place::Paused
        } else {
            Place::Waiting
        };
        put(&store, record(number, place, number as i64));
    }
    put(&store, record(9000, Place::Complete, 1));
    store.close().unwrap();
    damage(dir.path(), false);
    let (store, restored) = Store::open(dir.path()).unwrap();
    let unfinished = restored
        .records
        .iter()
        .filter(|record| record.place != Place::Complete);
    assert_eq!(unfinished.count(), 3000);
    let paused = restored
        .records
        .iter()
        .find(|record| record.place == Place::Paused)
        .unwrap();
    assert_eq!((paused.gid, paused.option("dir")), (gid(2), Some("/dl")));
    store.close().unwrap();
    let aside: Vec<String> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("store.corrupt-"))
        .collect();
    assert_eq!(aside.len(), 1);
    let (_store, restored) = Store::open(dir.path()).unwrap();
    assert!(restored.records.len() >= 3000);
}

#[test]
fn a_torn_file_does_not_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    for number in 1..=500 {
        put(&store, record(number, Place::Waiting, number as i64));
    }
    store.close().unwrap();
    damage(dir.path(), true);
    // Whether sled still reads some of it or it is rebuilt: it opens.
    let (store, _) = Store::open(dir.path()).unwrap();
    store.close().unwrap();
}

#[test]
fn one_bad_entry_costs_only_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    put(&store, record(1, Place::Waiting, 1));
    put(&store, record(2, Place::Waiting, 2));
    store.close().unwrap();
    {
        let db = sled::open(dir.path().join("store")).unwrap();
        let tree = db.open_tree("downloads").unwrap();
        tree.insert(Record::key(gid(1)), "not json").unwrap();
        db.flush().unwrap();
    }
    let (_store, restored) = Store::open(dir.path()).unwrap();
    assert_eq!(numbers(&restored), [2]);
}

#[test]
fn a_newer_store_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    Store::open(dir.path()).unwrap().0.close().unwrap();
    {
        let db = sled::open(dir.path().join("store")).unwrap();
        db.open_tree("meta")
            .unwrap()
            .insert("schema", &7u32.to_be_bytes())
            .unwrap();
        db.flush().unwrap();
    }
    let Err(refused) = Store::open(dir.path()) else {
        panic!("opened what it does not know");
    };
    assert!(refused.message.contains("newer version"), "{refused}");
}

#[test]
fn session_text_names_what_is_unfinished() {
    let mut records = vec![
        record(1, Place::Complete, 1),
        record(2, Place::Removed, 2),
        record(3, Place::Error, 3),
        record(4, Place::Error, 4),
        record(5, Place::Complete, 5),
        record(6, Place::Waiting, 1),
        record(7, Place::Active, 1),
        record(8, Place::Paused, 2),
    ];
    records[2].error = Some((2, String::new()));
    records[3].error = Some((3, String::new()));
    records[3]
        .options
        .push(("save-not-found".into(), "false".into()));
    records[4]
        .options
        .push(("force-save".into(), "true".into()));
    records[4].uris.push("http://mirror/5".into());
    Record::sort(&mut records);
    let mut text = String::new();
    for record in &records {
        push_entry(
            &mut text,
            record,
            Naming::Origins(None),
            &mut HashSet::new(),
        );
    }
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
    let uris = [
        "http://h/3",
        "http://h/5\thttp://mirror/5",
        "http://h/7",
        "http://h/6",
        "http://h/8",
    ];
    assert_eq!(lines, uris.map(|uri| format!("{uri}\t")));
    let last = "http://h/8\t\n gid=0000000000000008\n pause=true\n dir=/dl\n header=A: 1\n";
    assert!(text.ends_with(last), "{text}");
}

const CHILD_DIR: &str = "ARIOSO_STORE_TEST_DIR";

/// Not a test of its own: the process that [`nothing_older_than_a_second_is_lost`] kills.
#[test]
fn child() {
    let Ok(dir) = std::env::var(CHILD_DIR) else {
        return;
    };
    let (store, _) = Store::open(Path::new(&dir)).unwrap();
    for number in 1..=300 {
        put(&store, record(number, Place::Waiting, number as i64));
    }
    remove(&store, 300);
    println!("PUT");
    std::thread::sleep(Duration::from_secs(60));
    drop(store);
}

#[test]
fn nothing_older_than_a_second_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::child", "--nocapture"])
        .env(CHILD_DIR, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("PUT")));
    std::thread::sleep(Duration::from_secs(1));
    child.kill().unwrap();
    child.wait().unwrap();
    let (_store, restored) = Store::open(dir.path()).unwrap();
    assert_eq!(restored.records.len(), 299);
}

/// GIDs in the history, the latest first.
fn history(store: &Store, before: Option<HistoryKey>, skip: usize, take: usize) -> Vec<u64> {
    look(store, before, skip, take)
        .records
        .iter()
        .map(|record| record.gid.value())
        .collect()
}

fn look(store: &Store, before: Option<HistoryKey>, skip: usize, take: usize) -> Found {
    let (found, answer) = mpsc::channel();
    store.search(Search {
        admits: Box::new(|record| record.gid.value() != 13),
        before,
        skip,
        take,
        done: Box::new(move |page| found.send(page).unwrap()),
    });
    answer.recv().unwrap()
}

fn archive(store: &Store, number: u64, stays: bool) {
    let record = Record {
        at: 1000 + number,
        ..record(number, Place::Complete, number as i64)
    };
    archive_record(store, record, stays);
}

fn archive_record(store: &Store, record: Record, stays: bool) {
    let mut group = Group::default();
    group.archive(record.gid, Box::new(move || record), stays);
    store.change(group);
}

/// A kill between two batches would leave a part.
#[test]
fn what_belongs_together_is_written_together() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open::open(dir.path()).unwrap();
    let mut changes = writer::Changes::default();
    let some = |numbers: std::ops::Range<u64>| {
        group_of(numbers.map(|number| record(number, Place::Waiting, number as i64)))
    };
    writer.gather(some(1..1000), &mut changes).unwrap();
    assert_eq!(changes.by_gid.len(), 999);
    writer.gather(some(2000..2003), &mut changes).unwrap();
    assert_eq!((changes.by_gid.len(), writer.tally.count), (3, 999));
    // More than memory is to hold goes in parts.
    writer.gather(some(3000..5500), &mut changes).unwrap();
    assert_eq!((changes.by_gid.len(), writer.tally.count), (500, 3002));
}

/// The process is killed while sled waits for its disk.
#[test]
fn what_the_store_cannot_take_is_kept_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open::open(dir.path()).unwrap();
    let mut changes = writer::Changes::default();
    let old = (1..5).map(|number| record(number, Place::Waiting, number as i64));
    writer.gather(group_of(old), &mut changes).unwrap();
    writer.close(&mut changes).unwrap();
    let mut torrent = record(6, Place::Paused, 6);
    torrent.origin = Some(Origin::new(OriginKind::Torrent));
    torrent.payload = Arc::new(parking_lot::Mutex::new(Some("d4:infoe".into())));
    let mut later = group_of([record(1, Place::Paused, 9), torrent]);
    later.remove(gid(2));
    let ended = record(3, Place::Complete, 3);
    later.archive(gid(3), Box::new(move || ended), false);
    writer.gather(later, &mut changes).unwrap();
    writer.write_beside(&mut changes);
    // As after a flush by which one of the same GID went.
    writer.drop_payloads(vec![gid(6)], &changes).unwrap();
    drop(writer);

    let spilled = dir.path().join("spilled.log");
    let copy = fs::read(&spilled).unwrap();
    let (store, restored) = Store::open(dir.path()).unwrap();
    assert_eq!(numbers(&restored), [3, 4, 6, 1]);
    assert!(restored.forgotten.contains(&gid(2)));
    let payload = restored.records[2].payload.lock().clone();
    assert_eq!(payload.as_deref(), Some(&b"d4:infoe"[..]));
    sync(&store);
    assert!(!spilled.exists(), "the store has it all");
    // One that the process could not remove any more has nothing to add.
    put(&store, record(1, Place::Waiting, 0));
    sync(&store);
    drop(store);
    fs::write(&spilled, copy).unwrap();
    let (_store, restored) = Store::open(dir.path()).unwrap();
    assert_eq!(numbers(&restored), [3, 1, 4, 6]);
}

#[test]
fn results_move_to_the_history_and_are_not_loaded_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    for number in 10..20 {
        put(&store, record(number, Place::Complete, number as i64));
    }
    sync(&store);
    (10..19).for_each(|number| archive(&store, number, number == 10));
    assert_eq!(history(&store, None, 0, 3), [18, 17, 16]);
    sync(&store);
    // As after a kill.
    drop(store);
    let (store, restored) = Store::open(dir.path()).unwrap();
    assert_eq!(numbers(&restored), [10, 19]);
    assert!(
        restored.forgotten.contains(&gid(11)),
        "an old session file names it"
    );
    let page = look(&store, None, 1, 2);
    assert_eq!(page.records[0].option("dir"), Some("/dl"));
    assert_eq!(history(&store, page.next, 0, 9), [15, 14, 12, 11, 10]);
    assert_eq!(look(&store, None, 0, 0).count, 8);
    // Moving it once more makes no second one of it.
    archive(&store, 10, true);
    remove(&store, 17);
    store.set_history_max(5);
    assert_eq!(history(&store, None, 0, 9), [18, 16, 15, 14]);
    remove(&store, 18);
    store.close().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    assert_eq!(history(&store, None, 0, 9), [16, 15, 14]);
    store.clear_history();
    assert_eq!(look(&store, None, 0, 0).count, 0);
    store.close().unwrap();
    let (store, restored) = Store::open(dir.path()).unwrap();
    assert_eq!(numbers(&restored), [10, 19]);
    assert_eq!(look(&store, None, 0, 0).count, 0);
}

#[test]
fn the_history_keeps_torrents() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let mut torrent = record(7, Place::Complete, 7);
    torrent.origin = Some(Origin::new(OriginKind::Torrent));
    torrent.payload = Arc::new(parking_lot::Mutex::new(Some("d4:infoe".into())));
    let again = torrent.clone();
    put(&store, torrent);
    sync(&store);
    archive_record(&store, again, false);
    sync(&store);
    assert_eq!(
        fs::read_dir(dir.path().join("torrents")).unwrap().count(),
        0
    );
    drop(store);
    let (store, _) = Store::open(dir.path()).unwrap();
    let found = look(&store, None, 0, 1);
    assert_eq!(
        found.records[0].payload.lock().as_deref(),
        Some(&b"d4:infoe"[..])
    );
    remove(&store, 7);
    sync(&store);
    assert_eq!(fs::read_dir(dir.path().join("history")).unwrap().count(), 0);
}

/// A kill while a torrent is written once more must not leave a part of it: what is there is
/// never written into.
#[test]
fn a_torrent_that_is_there_is_replaced_in_one_step() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let of = |bytes: &'static str| {
        let mut torrent = record(7, Place::Waiting, 7);
        torrent.origin = Some(Origin::new(OriginKind::Torrent));
        torrent.payload = Arc::new(parking_lot::Mutex::new(Some(bytes.into())));
        torrent
    };
    put(&store, of("d4:infode"));
    sync(&store);
    let [entry] = &fs::read_dir(dir.path().join("torrents"))
        .unwrap()
        .collect::<Vec<_>>()[..]
    else {
        panic!("one torrent");
    };
    let (path, other) = (entry.as_ref().unwrap().path(), dir.path().join("other"));
    fs::hard_link(&path, &other).unwrap();
    put(&store, of("d4:infoe"));
    sync(&store);
    assert_eq!(fs::read(path).unwrap(), b"d4:infoe");
    assert_eq!(fs::read(other).unwrap(), b"d4:infode");
}
