//! Results and names.

use super::*;

#[tokio::test]
async fn results_are_capped_and_the_exit_status_remembers_the_last_failure() {
    let mut rig = Rig::new(&[("max-download-result", "2")]);
    let exit = |rig: &Rig| rig.handle.read(Registry::exit_code).code();
    assert_eq!(exit(&rig), 0);
    rig.add_all("abcd").await;
    assert_eq!(exit(&rig), 7);
    rig.fail('a', ErrorCode::ResourceNotFound);
    rig.fail('b', ErrorCode::Timeout);
    rig.end('c', Ended::Complete);
    settle().await;
    assert_eq!(rig.lists(), "d||becc");
    assert_eq!(
        (exit(&rig), rig.handle.read(Registry::stopped_total)),
        (2, 3)
    );
    rig.handle
        .change_global_option(texts(&[("max-download-result", "0")]))
        .await
        .unwrap();
    assert_eq!(rig.lists(), "d||");
    rig.events().await;
    rig.end('d', Ended::Complete);
    assert_eq!(rig.events().await, "d:Complete");
    assert_eq!(rig.lists(), "||");
    rig.handle.purge_results().await.unwrap();
    assert_eq!(
        (exit(&rig), rig.handle.read(Registry::stopped_total)),
        (0, 4)
    );
}

#[tokio::test]
async fn gids_by_prefix() {
    let rig = Rig::new(&[("pause", "true")]);
    rig.add_all("ab").await;
    let second = AddRequest::uris(["http://h/"]).with(option("gid"), "a000000000000002");
    rig.handle.add(second, None).await.unwrap();
    let find = |text: &str| {
        rig.handle.read(|registry| match registry.find(text) {
            Ok(download) => download.gid().to_string(),
            Err(error) => error.to_string(),
        })
    };
    for (text, found) in [
        ("B", "b000000000000001"),
        ("a000000000000002", "a000000000000002"),
        ("a0", "GID a0 is not unique"),
        ("0", "GID 0 is not found"),
        ("aBc", "GID aBc is not found"),
        ("zz", "Invalid GID zz"),
        ("", "Invalid GID "),
        ("00000000000000000", "Invalid GID 00000000000000000"),
    ] {
        assert_eq!(find(text), found);
    }
}
