//! Several downloads: how many of them run at a time (`optimize-concurrent-downloads`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::chain::{download_in, spawn};
use crate::origin::{Origin, Reply, pattern};
use crate::program::{Home, wait_for};

#[test]
fn without_any_factor_the_number_of_downloads_is_fixed() {
    let (open, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen_most = most.clone();
    let origin = Origin::start(move |seen| {
        let now = open.fetch_add(1, Ordering::SeqCst) + 1;
        seen_most.fetch_max(now, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(300));
        open.fetch_sub(1, Ordering::SeqCst);
        Reply::file(&pattern(1000), seen, &[])
    });
    let uris = ["/a", "/b", "/c"].map(|path| origin.url(path));
    let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
    let args = ["-Z", "-j8", "--optimize-concurrent-downloads=1:0"];
    let chain = download_in(Home::new(), &args, &uris);
    assert_eq!(chain.code, 0, "{}", chain.text);
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[test]
fn the_faster_the_line_the_more_downloads() {
    let long = vec![7; 60 << 20];
    let origin = Origin::start(move |seen| match seen.path.as_str() {
        // 16 Mbit/s for half a minute.
        "/long" => Reply::file(&long, seen, &[]).slowly(100_000, Duration::from_millis(50)),
        _ => Reply::file(&pattern(1000), seen, &[]),
    });
    let uris = ["/long", "/b", "/c"].map(|path| origin.url(path));
    let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
    let home = Home::new();
    let args = ["-Z", "-j8", "--optimize-concurrent-downloads=1:10"];
    let mut child = spawn(&home, &args, &uris);
    wait_for("the other two", || {
        let done = home.file("b").exists() && home.file("c").exists();
        done.then_some(())
    });
    let ended = child.try_wait().unwrap();
    assert_eq!(ended, None, "the long one should go on");
    child.kill().unwrap();
    child.wait().unwrap();
}
