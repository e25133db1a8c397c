//! The end of a process and the beginning of the next.

use super::super::ending::CLOSE_FORCED_MAX;
use super::*;

#[tokio::test]
async fn shutdown_saves_active_ones_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("session");
    let path = file.to_str().unwrap().to_owned();
    let mut rig = Rig::new(&[
        ("save-session", &path),
        ("max-concurrent-downloads", "1"),
        ("dir", "/dl"),
    ]);
    rig.add('f', &[("split", "2")]).await;
    rig.fail('f', ErrorCode::Timeout);
    settle().await;
    rig.add('c', &[]).await;
    rig.end('c', Ended::Complete);
    settle().await;
    rig.add('a', &[("header", "A: 1"), ("header", "B: 2")])
        .await;
    rig.add('b', &[]).await;
    rig.add('d', &[("pause", "true")]).await;
    rig.handle.save_session().await.unwrap();
    let saved = std::fs::read_to_string(&file).unwrap();
    rig.events().await;
    let handle = rig.handle.clone();
    let mut events = handle.events();
    rig.shutdown().await;
    assert_eq!(
        events.try_recv().map(|event| event.kind),
        Ok(EventKind::Interrupted)
    );
    assert_eq!(
        handle.add(AddRequest::uris(["http://h/"]), None).await,
        Err(RequestError::ShutDown)
    );
    assert_eq!(handle.read(Registry::exit_code), ErrorCode::Timeout);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), saved);
    let expected = "\
http://h/f\t
 gid=f000000000000001
 dir=/dl
 split=2
http://h/a\t
 gid=a000000000000001
 dir=/dl
 header=A: 1
 header=B: 2
http://h/b\t
 gid=b000000000000001
 dir=/dl
http://h/d\t
 gid=d000000000000001
 pause=true
 dir=/dl
"
    .to_owned();
    assert_eq!(saved, expected);
}

/// A failure that is no result any more is still named by session files, and its GID is free.
#[tokio::test]
async fn a_session_file_has_each_gid_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("session");
    let path = file.to_str().unwrap().to_owned();
    let rig = Rig::new(&[("save-session", &path), ("max-download-result", "0")]);
    rig.add('a', &[]).await;
    rig.fail('a', ErrorCode::Timeout);
    settle().await;
    assert_eq!(rig.lists(), "||");
    let count = || {
        let saved = std::fs::read_to_string(&file).unwrap();
        saved.matches("gid=a000000000000001").count()
    };
    rig.handle.save_session().await.unwrap();
    assert_eq!(count(), 1);
    rig.add('a', &[]).await;
    rig.handle.save_session().await.unwrap();
    assert_eq!(count(), 1);
}

#[tokio::test]
async fn session_without_file_or_store() {
    let rig = Rig::new(&[]);
    assert_eq!(
        rig.handle.save_session().await.unwrap_err().to_string(),
        "Filename is not given."
    );
}

#[tokio::test]
async fn a_transfer_that_does_not_stop_does_not_hold_up_the_end_for_long() {
    let rig = Rig::new(&[]);
    rig.script.lock().deaf = true;
    rig.add('a', &[]).await;
    let begin = std::time::Instant::now();
    rig.handle.shutdown(false).await.unwrap();
    rig.handle.shutdown(true).await.unwrap();
    rig.handle.ended().await;
    assert!(begin.elapsed() < CLOSE_FORCED_MAX + Duration::from_secs(5));
}

#[tokio::test]
async fn the_next_process_has_everything_again() {
    let dir = tempfile::tempdir().unwrap();
    let pairs = [("max-concurrent-downloads", "2"), ("dir", "/dl")];
    let mut rig = Rig::with_dir(&pairs, Some(dir.path()));
    rig.add_all("ab").await;
    rig.add('c', &[("split", "9"), ("out", "x.bin")]).await;
    rig.add('d', &[("pause", "true")]).await;
    rig.add_all("ef").await;
    rig.handle
        .change_position(gid('f'), 0, How::Set)
        .await
        .unwrap();
    rig.fail('a', ErrorCode::Timeout);
    settle().await;
    rig.end('b', Ended::Complete);
    settle().await;
    assert_eq!(rig.lists(), "fc|(d)e|aebc");
    let live = rig.script.lock().lives[&gid('c')].clone();
    live.set_total(1000);
    live.set_completed(300);
    rig.handle.pause(gid('c'), false).await.unwrap();
    rig.events().await;
    rig.handle.remove_result(gid('b')).await.unwrap();
    assert_eq!(rig.lists(), "fe|(c)(d)|ae");
    rig.shutdown().await;

    let mut rig = Rig::with_dir(&pairs, Some(dir.path()));
    settle().await;
    assert_eq!(rig.lists(), "fe|(c)(d)|ae");
    assert_eq!(rig.events().await, "f:Started e:Started");
    rig.handle.read(|registry| {
        let paused = registry.get(gid('c')).unwrap();
        assert_eq!((paused.total_len(), paused.completed_len()), (1000, 300));
        assert_eq!(paused.options().text(option("split")).as_deref(), Some("9"));
        assert_eq!(paused.files()[0].path, "/dl/x.bin");
        let own: Vec<_> = paused.options().own().map(|(id, _)| id.name()).collect();
        assert_eq!(
            own,
            ["split", "out"],
            "what the process says is not repeated"
        );
        let failed = registry.get(gid('a')).unwrap();
        assert_eq!(failed.error(), Some((ErrorCode::Timeout, "text")));
    });
    assert!(rig.handle.knows(gid('c')) && rig.handle.knows(gid('a')));
    rig.shutdown().await;
}
