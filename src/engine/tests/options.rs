//! What is asked for and how that changes: URIs and options.

use super::*;

#[tokio::test]
async fn uris_change() {
    let rig = Rig::new(&[]);
    let request = AddRequest::uris(["http://h/1", "http://h/2", "http://h/1", "nonsense"])
        .with(option("gid"), gid('a').to_string())
        .with(option("pause"), "true");
    rig.handle.add(request, None).await.unwrap();
    let uris = || {
        rig.handle.read(|registry| {
            let download = registry.get(gid('a')).unwrap();
            let last = |uri: &Arc<str>| uri[uri.len() - 1..].to_owned();
            download.uris().iter().map(last).collect::<String>()
        })
    };
    assert_eq!(uris(), "121");
    let list = |digits: &str| {
        digits
            .chars()
            .map(|digit| format!("http://h/{digit}"))
            .collect()
    };
    for (remove, add, at, counts, after) in [
        ("1", "34", Some(1), (1, 2), "2341"),
        ("9", "x5", Some(99), (0, 2), "2341x5"),
        ("2x11", "", None, (3, 0), "345"),
    ] {
        let changed = rig
            .handle
            .change_uri(gid('a'), 1, list(remove), list(add), at)
            .await;
        assert_eq!((changed, uris().as_str()), (Ok(counts), after));
    }
    let bad = rig
        .handle
        .change_uri(gid('a'), 1, vec![], vec!["bad".to_owned()], None)
        .await;
    assert_eq!(bad, Ok((0, 0)));
    let far = rig
        .handle
        .change_uri(gid('a'), 2, vec![], vec![], None)
        .await;
    assert_eq!(far.unwrap_err().to_string(), "fileIndex is out of range");
}

#[tokio::test]
async fn options_apply_live_or_by_restart_or_not_at_all() {
    let mut rig = Rig::new(&[]);
    rig.add_all("ab").await;
    rig.events().await;
    let live = texts(&[("max-download-limit", "10K"), ("enable-rpc", "nonsense")]);
    rig.handle.change_option(gid('a'), live).await.unwrap();
    assert_eq!(rig.events().await, "");
    assert_eq!(
        rig.script.lock().controls,
        [(gid('a'), "Options".to_owned())]
    );
    let restart = texts(&[("split", "3"), ("header", "A: 1"), ("header", "B: 2")]);
    rig.handle.change_option(gid('a'), restart).await.unwrap();
    assert_eq!(rig.events().await, "a:Started", "no pause is told");
    assert_eq!(rig.lists(), "ba||");
    let shown = rig.handle.read(|registry| {
        let options = registry.get(gid('a')).unwrap().options();
        ["split", "max-download-limit", "header"].map(|name| options.text(option(name)).unwrap())
    });
    assert_eq!(shown, ["3", "10240", "A: 1\nB: 2\n"]);
    let bad = texts(&[("split", "4"), ("max-tries", "x")]);
    assert_eq!(
        rig.handle
            .change_option(gid('a'), bad)
            .await
            .unwrap_err()
            .to_string(),
        "We encountered a problem while processing the option '--max-tries'."
    );
    let split = rig.handle.read(|registry| {
        registry
            .get(gid('a'))
            .unwrap()
            .options()
            .text(option("split"))
    });
    assert_eq!(split.as_deref(), Some("3"), "all or nothing");
    rig.handle.remove(gid('a'), false).await.unwrap();
    assert_eq!(
        rig.handle
            .change_option(gid('a'), vec![])
            .await
            .unwrap_err()
            .to_string(),
        "Cannot change option for GID#a000000000000001"
    );
}

#[tokio::test]
async fn a_new_directory_shows_at_once() {
    let rig = Rig::new(&[("dir", "/old")]);
    rig.add('a', &[("out", "f"), ("pause", "true")]).await;
    let path = || {
        let look = |registry: &Registry| registry.get(gid('a')).unwrap().path();
        rig.handle.read(look)
    };
    assert_eq!(path(), "/old/f");
    rig.handle.unpause(gid('a')).await.unwrap();
    settle().await;
    let live = rig.script.lock().lives[&gid('a')].clone();
    live.detail().path = Some("/old/f.1".into());
    live.set_total(10);
    assert_eq!(path(), "/old/f.1");
    rig.handle.pause(gid('a'), false).await.unwrap();
    settle().await;
    let changes = texts(&[("dir", "/new")]);
    rig.handle.change_option(gid('a'), changes).await.unwrap();
    assert_eq!(path(), "/new/f");
    assert_eq!(rig.handle.snapshot(gid('a')).unwrap().total_len, 0);
}

#[tokio::test]
async fn global_options_reach_later_downloads_only() {
    let rig = Rig::new(&[("split", "2")]);
    rig.add('a', &[]).await;
    rig.handle
        .change_global_option(texts(&[("split", "7"), ("gid", "x")]))
        .await
        .unwrap();
    rig.add('b', &[]).await;
    let splits = rig.handle.read(|registry| {
        registry
            .active()
            .map(|download| download.options().text(option("split")).unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!(splits, ["2", "7"]);
    let bad = rig
        .handle
        .change_global_option(texts(&[("split", "0")]))
        .await;
    assert_eq!(
        bad.unwrap_err().to_string(),
        "We encountered a problem while processing the option '--split'."
    );
}

#[tokio::test]
async fn what_cannot_be_added() {
    let rig = Rig::new(&[]);
    rig.add('a', &[("pause", "true")]).await;
    let usable = "http://h/f";
    for (uris, pairs, text) in [
        (&[][..], &[][..], "URI is not provided."),
        (&["f"], &[], "No URI to download."),
        (&["magnet:?xt=urn:btih:00"], &[], "No URI to download."),
        (
            &[usable],
            &[("gid", "a000000000000001")],
            "No URI to download.",
        ),
        (&[usable], &[("gid", "a")], "No URI to download."),
        (
            &[usable],
            &[("gid", "0000000000000000")],
            "No URI to download.",
        ),
        (
            &[usable],
            &[("gid", "a"), ("split", "x")],
            "We encountered a problem while processing the option '--split'.",
        ),
    ] {
        let mut request = AddRequest::uris(uris.iter().copied());
        request.options = texts(pairs);
        let error = rig.handle.add(request, None).await.unwrap_err();
        assert_eq!(error.to_string(), text);
    }
    // What is not for one download is not even looked at.
    let request = AddRequest::uris([usable]).with(option("enable-rpc"), "nonsense");
    assert_eq!(rig.handle.add(request, None).await.unwrap().len(), 1);
}
