//! Slots, order and lists.

use super::*;

#[tokio::test]
async fn free_slots_are_filled_in_order() {
    let mut rig = Rig::new(&[("max-concurrent-downloads", "2")]);
    rig.add('a', &[]).await;
    assert_eq!(rig.lists(), "a||", "active in the very answer");
    rig.add('b', &[("pause", "true")]).await;
    rig.add_all("cde").await;
    assert_eq!(rig.lists(), "ac|(b)de|");
    assert_eq!(rig.events().await, "a:Started c:Started");
    rig.end('a', Ended::Complete);
    assert_eq!(rig.events().await, "a:Complete d:Started");
    rig.fail('c', ErrorCode::ResourceNotFound);
    assert_eq!(rig.events().await, "c:Failed e:Started");
    assert_eq!(rig.lists(), "de|(b)|acce");
}

#[tokio::test]
async fn pause_goes_to_the_front_and_removal_of_waiting_leaves_no_trace() {
    let mut rig = Rig::new(&[("max-concurrent-downloads", "1")]);
    rig.add_all("abc").await;
    rig.handle.pause(gid('a'), false).await.unwrap();
    assert_eq!(rig.lists(), "b|(a)c|");
    assert_eq!(rig.events().await, "a:Started b:Started a:Paused");
    assert_eq!(
        rig.handle
            .pause(gid('a'), true)
            .await
            .unwrap_err()
            .to_string(),
        "GID#a000000000000001 cannot be paused now"
    );
    rig.handle.remove(gid('a'), false).await.unwrap();
    rig.handle.pause(gid('c'), false).await.unwrap();
    assert_eq!(rig.events().await, "", "nothing is told of those that wait");
    assert_eq!(rig.lists(), "b|(c)|");
    rig.handle.remove(gid('b'), false).await.unwrap();
    assert_eq!(rig.lists(), "|(c)|br");
    assert_eq!(rig.events().await, "b:Stopped");
    let error = rig.handle.read(|registry| {
        let download = registry.find("b").unwrap();
        download
            .error()
            .map(|(code, text)| (code.code(), text.to_owned()))
    });
    assert_eq!(error, Some((31, String::new())));
    assert_eq!(
        rig.handle
            .remove(gid('b'), true)
            .await
            .unwrap_err()
            .to_string(),
        "Active Download not found for GID#b000000000000001"
    );
    assert_eq!(
        rig.handle.unpause(gid('b')).await.unwrap_err().to_string(),
        "GID#b000000000000001 cannot be unpaused now"
    );
}

#[tokio::test]
async fn everything_at_once() {
    let mut rig = Rig::new(&[("max-concurrent-downloads", "3")]);
    rig.add_all("abcde").await;
    rig.handle.pause_all(false).await.unwrap();
    assert_eq!(rig.lists(), "|(c)(b)(a)(d)(e)|");
    let events = rig.events().await;
    assert_eq!(
        events,
        "a:Started b:Started c:Started a:Paused b:Paused c:Paused"
    );
    rig.handle.unpause_all().await.unwrap();
    assert_eq!(rig.events().await, "c:Started b:Started a:Started");
    assert_eq!(rig.lists(), "cba|de|");
}

#[tokio::test]
async fn a_slow_stop_shows_at_once_and_keeps_its_gid() {
    let mut rig = Rig::new(&[]);
    rig.script.lock().deaf = true;
    rig.add_all("ab").await;
    rig.handle.pause(gid('a'), false).await.unwrap();
    rig.handle.remove(gid('b'), false).await.unwrap();
    assert_eq!(rig.lists(), "|(a)|br");
    assert_eq!(rig.events().await, "a:Started b:Started");
    // Unpaused before it has stopped: it must not run twice.
    rig.handle.unpause(gid('a')).await.unwrap();
    assert_eq!(rig.lists(), "|a|br");
    rig.end('a', Ended::Stopped);
    assert_eq!(rig.events().await, "a:Paused a:Started");
    // The result is forgotten before the transfer has ended.
    rig.handle.remove_result(gid('b')).await.unwrap();
    let again = AddRequest::uris(["http://h/b"]).with(option("gid"), gid('b').to_string());
    assert_eq!(
        rig.handle.add(again.clone(), None).await,
        Err(RequestError::NoUsableUri)
    );
    rig.end('b', Ended::Stopped);
    assert_eq!(rig.events().await, "b:Stopped");
    assert_eq!(rig.handle.add(again, None).await, Ok(vec![gid('b')]));
}

#[tokio::test]
async fn positions() {
    let rig = Rig::new(&[("max-concurrent-downloads", "1")]);
    rig.add_all("abcd").await;
    let at_front = AddRequest::uris(["http://h/e"]).with(option("gid"), gid('e').to_string());
    rig.handle.add(at_front, Some(0)).await.unwrap();
    assert_eq!(rig.lists(), "a|ebcd|");
    for (digit, offset, how, place, lists) in [
        ('e', 2, How::Set, 2, "a|bced|"),
        ('e', 1, How::Current, 3, "a|bcde|"),
        ('e', -9, How::Current, 0, "a|ebcd|"),
        ('b', 0, How::End, 3, "a|ecdb|"),
    ] {
        assert_eq!(
            rig.handle.change_position(gid(digit), offset, how).await,
            Ok(place)
        );
        assert_eq!(rig.lists(), lists);
    }
    assert_eq!(
        rig.handle
            .change_position(gid('a'), 0, How::Set)
            .await
            .unwrap_err()
            .to_string(),
        "GID#a000000000000001 not found in the waiting queue."
    );
    // Enough moves to the same gap to use the order numbers up.
    for _ in 0..60 {
        rig.handle
            .change_position(gid('b'), 1, How::Set)
            .await
            .unwrap();
        rig.handle
            .change_position(gid('c'), 1, How::Set)
            .await
            .unwrap();
        rig.check();
    }
}

/// Known-bugs 39.
#[tokio::test]
async fn fewer_slots_park_the_latest_more_start_again() {
    let mut rig = Rig::new(&[("max-concurrent-downloads", "3")]);
    rig.add_all("abcd").await;
    rig.events().await;
    let change = |count: &str| {
        rig.handle
            .change_global_option(texts(&[("max-concurrent-downloads", count)]))
    };
    change("1").await.unwrap();
    assert_eq!(rig.lists(), "a|bcd|");
    change("4").await.unwrap();
    let events = rig.events().await;
    assert_eq!(events, "b:Started c:Started d:Started");
    assert_eq!(
        (rig.lists().as_str(), rig.launched().as_str()),
        ("abcd||", "abcbcd")
    );
}

#[tokio::test]
async fn who_pauses_a_download_that_has_run_out_of_space_is_heeded() {
    let dir = tempfile::tempdir().unwrap();
    let full = Failure::fatal(ErrorCode::DiskFull, "text");
    let pairs = [("retry-on-disk-full", "true"), ("file-allocation", "none")];
    let mut rig = Rig::with_dir(&pairs, Some(dir.path()));
    rig.script.lock().deaf = true;
    rig.add('a', &[]).await;
    rig.handle.pause(gid('a'), false).await.unwrap();
    rig.end('a', Ended::Failed(full));
    assert_eq!(rig.events().await, "a:Started a:Paused");
    let is_held = |registry: &Registry| registry.get(gid('a')).unwrap().held().is_some();
    assert!(!rig.handle.read(is_held));
    rig.shutdown().await;
    // The next process does not begin it either.
    let rig = Rig::with_dir(&pairs, Some(dir.path()));
    settle().await;
    assert_eq!(rig.lists(), "|(a)|");
    rig.shutdown().await;
}

#[tokio::test]
async fn skipping_in_a_long_queue_and_many_paused_in_front() {
    let rig = Rig::new(&[("max-concurrent-downloads", "1")]);
    for number in 1..=2000u64 {
        let request = AddRequest::uris(["http://h/f"])
            .with(option("gid"), format!("{number:016x}"))
            .with(
                option("pause"),
                if number < 2000 { "true" } else { "false" },
            );
        rig.handle.add(request, None).await.unwrap();
    }
    rig.handle.read(|registry| {
        assert_eq!(
            (registry.counts().active, registry.counts().waiting),
            (1, 1999)
        );
        let page: Vec<u64> = registry
            .waiting()
            .skip(1000)
            .take(2)
            .map(|download| download.gid().value())
            .collect();
        assert_eq!(page, [1001, 1002]);
        let back: Vec<u64> = registry
            .waiting()
            .rev()
            .skip(5)
            .take(2)
            .map(|download| download.gid().value())
            .collect();
        assert_eq!(back, [1994, 1993]);
    });
    rig.check();
}
