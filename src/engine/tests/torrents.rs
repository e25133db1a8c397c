//! Torrents and magnet links among the other downloads.

use super::*;
use crate::format::metainfo::Metainfo;

const LINK: &str = "magnet:?xt=urn:btih:";

/// A torrent of one file of five bytes; the name tells torrents apart.
fn torrent(name: &str) -> Vec<u8> {
    let pieces = "x".repeat(20);
    let len = name.len();
    format!("d4:infod6:lengthi5e4:name{len}:{name}12:piece lengthi16384e6:pieces20:{pieces}ee")
        .into_bytes()
}

impl Rig {
    async fn add_torrent(&self, digit: char, name: &str) {
        let request =
            AddRequest::torrent(torrent(name)).with(option("gid"), gid(digit).to_string());
        assert_eq!(self.handle.add(request, None).await, Ok(vec![gid(digit)]));
        self.check();
    }

    fn report(&self, digit: char, report: TransferReport) {
        let script = self.script.lock();
        script.running[&gid(digit)]
            .send((gid(digit), report))
            .unwrap();
    }

    fn status(&self, digit: char) -> (&'static str, Option<ErrorCode>) {
        self.handle.read(|registry| {
            let download = registry.get(gid(digit)).unwrap();
            (download.status(), download.error().map(|(code, _)| code))
        })
    }
}

#[tokio::test]
async fn a_magnet_link_leads_to_its_torrent() {
    let mut rig = Rig::new(&[("max-concurrent-downloads", "1"), ("seed-time", "7")]);
    let metainfo = Arc::new(Metainfo::parse(&torrent("linked"), "").unwrap());
    let link = format!("{LINK}{}&tr=http%3A%2F%2Ft%2F", metainfo.info.hash);
    let request = AddRequest::uris([link])
        .with(option("gid"), gid('1').to_string())
        .with(option("select-file"), "1");
    rig.handle.add(request, None).await.unwrap();
    rig.add('2', &[]).await;
    assert_eq!(rig.events().await, "1:Started");
    rig.report('1', TransferReport::Metadata(metainfo));
    rig.end('1', Ended::Complete);
    let events = rig.events().await;
    let child = rig.handle.read(|registry| {
        let parent = registry.get(gid('1')).unwrap();
        let child = registry.get(parent.followed_by()[0]).unwrap();
        assert_eq!(child.following(), Some(gid('1')));
        assert_eq!(
            child.options().text(option("select-file")).as_deref(),
            Some("1")
        );
        assert!(child.brief().unwrap().metainfo().is_some());
        // It went before the one that waited.
        assert_eq!(child.status(), "active");
        child.gid()
    });
    let first = &child.to_string()[..1];
    assert_eq!(events, format!("1:Complete {first}:Started"));
    rig.shutdown().await;
}

/// The metadata comes just when somebody pauses or removes the link.
#[tokio::test]
async fn what_a_link_leads_to_is_paused_or_removed_with_it() {
    for (removed, told, lists) in [(true, "1:Stopped", 0), (false, "1:Complete", 1)] {
        let mut rig = Rig::new(&[]);
        rig.script.lock().deaf = true;
        let metainfo = Arc::new(Metainfo::parse(&torrent("linked"), "").unwrap());
        let request = AddRequest::uris([format!("{LINK}{}", metainfo.info.hash)])
            .with(option("gid"), gid('1').to_string());
        rig.handle.add(request, None).await.unwrap();
        rig.events().await;
        match removed {
            true => rig.handle.remove(gid('1'), false).await.unwrap(),
            false => rig.handle.pause(gid('1'), false).await.unwrap(),
        }
        rig.report('1', TransferReport::Metadata(metainfo));
        rig.end('1', Ended::Complete);
        assert_eq!(rig.events().await, told);
        let paused = rig.handle.read(|registry| {
            let waiting = registry.waiting();
            waiting.map(Download::status).collect::<Vec<_>>()
        });
        assert_eq!(paused, vec!["paused"; lists]);
    }
}

#[tokio::test]
async fn metadata_only_leads_nowhere() {
    let mut rig = Rig::new(&[("bt-metadata-only", "true")]);
    let metainfo = Arc::new(Metainfo::parse(&torrent("linked"), "").unwrap());
    let request = AddRequest::uris([format!("{LINK}{}", metainfo.info.hash)])
        .with(option("gid"), gid('1').to_string());
    rig.handle.add(request, None).await.unwrap();
    rig.report('1', TransferReport::Metadata(metainfo));
    rig.end('1', Ended::Complete);
    assert_eq!(rig.events().await, "1:Started 1:Complete");
    assert_eq!(rig.lists(), "||1c");
    rig.shutdown().await;
}

#[tokio::test]
async fn one_torrent_is_not_downloaded_twice_at_a_time() {
    let mut rig = Rig::new(&[]);
    rig.add_torrent('1', "same").await;
    rig.add_torrent('2', "same").await;
    rig.add_torrent('3', "other").await;
    assert_eq!(rig.events().await, "1:Started 2:Started 2:Failed 3:Started");
    assert_eq!(
        rig.status('2'),
        ("error", Some(ErrorCode::DuplicateInfoHash))
    );
    // While the first one says good-bye, the next one waits.
    rig.script.lock().deaf = true;
    rig.handle.remove(gid('1'), false).await.unwrap();
    rig.add_torrent('4', "same").await;
    assert_eq!(
        (rig.events().await.as_str(), rig.status('4').0),
        ("", "waiting")
    );
    rig.script.lock().deaf = false;
    rig.end('1', Ended::Stopped);
    assert_eq!(rig.events().await, "1:Stopped 4:Started");
    // So it does where the first one is forgotten by then: as a result, and removed while paused.
    for (digit, next, told, paused) in [('4', '5', "4:Stopped", false), ('5', '6', "", true)] {
        rig.script.lock().deaf = true;
        if paused {
            rig.handle.pause(gid(digit), false).await.unwrap();
        }
        rig.handle.remove(gid(digit), false).await.unwrap();
        if !paused {
            rig.handle.remove_result(gid(digit)).await.unwrap();
        }
        rig.add_torrent(next, "same").await;
        assert_eq!(
            (rig.events().await.as_str(), rig.status(next).0),
            ("", "waiting")
        );
        rig.script.lock().deaf = false;
        rig.end(digit, Ended::Stopped);
        let started = format!("{told} {next}:Started");
        assert_eq!(rig.events().await, started.trim_start());
    }
    rig.shutdown().await;
}

#[tokio::test]
async fn seeding_is_told_and_takes_no_slot_if_so_wished() {
    let mut rig = Rig::new(&[
        ("bt-detach-seed-only", "true"),
        ("max-concurrent-downloads", "1"),
    ]);
    rig.add_torrent('1', "one").await;
    rig.add('2', &[]).await;
    assert_eq!(rig.events().await, "1:Started");
    rig.report('1', TransferReport::Phase(Phase::Fetching));
    rig.report('1', TransferReport::Phase(Phase::Seeding));
    assert_eq!(rig.events().await, "1:BtComplete 2:Started");
    assert_eq!(rig.lists(), "12||");
    // Removed while it seeds, it is complete, as in aria2.
    rig.handle.remove(gid('1'), false).await.unwrap();
    assert_eq!(rig.events().await, "1:Complete");
    assert_eq!(rig.status('1'), ("complete", Some(ErrorCode::Success)));
    // Without seeding both are told at once.
    rig.add_torrent('3', "three").await;
    rig.end('2', Ended::Complete);
    assert_eq!(rig.events().await, "2:Complete 3:Started");
    rig.end('3', Ended::Complete);
    assert_eq!(rig.events().await, "3:BtComplete 3:Complete");
    rig.shutdown().await;
}

#[tokio::test]
async fn what_was_complete_before_may_be_quiet() {
    let (hashed, known) = (Some(Phase::Checking), None);
    for (option, phase, told) in [
        ("true", hashed, "1:Started 1:BtComplete"),
        ("false", hashed, "1:Started"),
        ("true", known, "1:Started"),
    ] {
        let mut rig = Rig::new(&[("bt-enable-hook-after-hash-check", option)]);
        rig.add_torrent('1', "one").await;
        for phase in phase.into_iter().chain([Phase::Seeding]) {
            rig.report('1', TransferReport::Phase(phase));
        }
        assert_eq!(rig.events().await, told);
        rig.shutdown().await;
    }
}

const METALINK: &str = "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\"><file name=\"b\">\
    <size>5</size><metaurl mediatype=\"torrent\">http://t/b.torrent</metaurl>\
    <url>http://h/b</url></file></metalink>";

/// What a file of a Metalink and its torrent are doing.
fn pair_of(rig: &Rig, pair: &[Gid]) -> Vec<&'static str> {
    rig.check();
    let status = |registry: &Registry, gid| registry.get(gid).map_or("", Download::status);
    rig.handle
        .read(|registry| pair.iter().map(|gid| status(registry, *gid)).collect())
}

#[tokio::test]
async fn a_file_of_a_metalink_waits_for_its_torrent_in_the_next_process_too() {
    let dir = tempfile::tempdir().unwrap();
    let session = dir.path().join("session");
    let pairs = [("save-session", session.to_str().unwrap())];
    let rig = Rig::with_dir(&pairs, Some(dir.path()));
    let pair = rig
        .handle
        .add(AddRequest::metalink(METALINK), None)
        .await
        .unwrap();
    settle().await;
    assert_eq!(pair_of(&rig, &pair), ["active", "waiting"]);
    rig.shutdown().await;
    // The document is not named by anything, and its torrent alone would be another download.
    assert_eq!(
        std::fs::read_to_string(&session)
            .unwrap()
            .matches("b.torrent")
            .count(),
        0
    );

    let rig = Rig::with_dir(&pairs, Some(dir.path()));
    settle().await;
    assert_eq!(pair_of(&rig, &pair), ["active", "waiting"]);
    let bytes = torrent("b");
    let metainfo = Arc::new(Metainfo::parse(&bytes, "").unwrap());
    let document = Box::new(Document::Torrent(metainfo, bytes.into()));
    let report = (pair[0], TransferReport::Document(document));
    rig.script.lock().running[&pair[0]].send(report).unwrap();
    end(&mut rig.script.lock(), pair[0], Ended::Complete);
    settle().await;
    assert_eq!(pair_of(&rig, &pair), ["complete", "active"]);
    assert!(has_torrent(&rig, pair[1]));
    rig.shutdown().await;

    // It is kept with the download.
    let rig = Rig::with_dir(&pairs, Some(dir.path()));
    settle().await;
    assert_eq!(pair_of(&rig, &pair), ["complete", "active"]);
    assert!(has_torrent(&rig, pair[1]));
    rig.shutdown().await;
}

fn has_torrent(rig: &Rig, gid: Gid) -> bool {
    rig.handle.read(|registry| {
        let brief = registry.get(gid).and_then(Download::brief);
        brief.and_then(Brief::metainfo).is_some()
    })
}

#[tokio::test]
async fn without_its_torrent_a_file_of_a_metalink_has_its_mirrors() {
    for (ended, status) in [
        // What came is no torrent.
        (Ended::Complete, "complete"),
        (
            Ended::Failed(Failure::fatal(ErrorCode::ResourceNotFound, "text")),
            "error",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let rig = Rig::with_dir(&[], Some(dir.path()));
        let request = AddRequest::metalink(METALINK);
        let pair = rig.handle.add(request, None).await.unwrap();
        settle().await;
        end(&mut rig.script.lock(), pair[0], ended);
        settle().await;
        assert_eq!(pair_of(&rig, &pair), [status, "active"]);
        rig.shutdown().await;
        let rig = Rig::with_dir(&[], Some(dir.path()));
        settle().await;
        assert_eq!(pair_of(&rig, &pair), [status, "active"]);
        assert!(!has_torrent(&rig, pair[1]));
        rig.shutdown().await;
    }
}

#[tokio::test]
async fn who_unpauses_a_file_of_a_metalink_unpauses_its_torrent() {
    let rig = Rig::new(&[]);
    let request = AddRequest::metalink(METALINK).with(option("pause"), "true".to_owned());
    let pair = rig.handle.add(request, None).await.unwrap();
    assert_eq!(pair_of(&rig, &pair), ["paused", "paused"]);
    rig.handle.unpause(pair[1]).await.unwrap();
    settle().await;
    assert_eq!(pair_of(&rig, &pair), ["active", "waiting"]);
    rig.shutdown().await;
}
