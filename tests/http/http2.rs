//! HTTP/2: what shares a connection, what does not, and that nothing is lost by it.

use std::time::Duration;

use arioso::base::units::Rate;
use arioso::net::Net;
use arioso::source::Opening;

use crate::chain;
use crate::h2_origin::H2Origin;
use crate::origin::{Reply, Step, pattern};
use crate::program::Home;
use crate::rig::Setup;
use crate::tls_front::tls_file;

const MIB: usize = 1024 * 1024;

fn trusting() -> Setup {
    let mut setup = Setup::default();
    setup.settings.tls.ca_certificate = Some(tls_file("authority.pem"));
    setup
}

fn authority() -> String {
    format!("--ca-certificate={}", tls_file("authority.pem").display())
}

/// The whole program: these paths of the origin, each to a file of its name.
async fn download_all(origin: &H2Origin, paths: &[String], args: &[&str]) -> Home {
    let home = Home::new();
    let list: String = paths
        .iter()
        .map(|path| format!("{}\n", origin.url(path)))
        .collect();
    std::fs::write(home.file("list"), list).unwrap();
    let input = format!("--input-file={}", home.file("list").display());
    let args: Vec<String> = [authority(), input]
        .into_iter()
        .chain(args.iter().map(|arg| (*arg).to_owned()))
        .collect();
    let done = tokio::task::spawn_blocking(move || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        chain::download_in(home, &args, &[])
    });
    let done = done.await.unwrap();
    assert_eq!(done.code, 0, "{}", done.text);
    done.home
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_files_share_a_connection() {
    let data = |path: &str| path.repeat(3_000).into_bytes();
    let origin = H2Origin::start(move |seen| Reply::file(&data(&seen.path), seen, &[])).await;
    let paths: Vec<String> = (0..30).map(|number| format!("/small{number}")).collect();
    let home = download_all(&origin, &paths, &["-j30"]).await;
    for path in &paths {
        assert_eq!(std::fs::read(home.file(&path[1..])).unwrap(), data(path));
    }
    // Who waits a second in vain for the first answer, on a busy machine, dials.
    assert_eq!(origin.seen_h2().len() + origin.seen_h1().len(), 30);
    assert!(origin.seen_h2().len() > 15, "{}", origin.seen_h2().len());
    assert!(origin.used_h2_connection_count() <= 2);
    for seen in origin.seen_h2() {
        assert_eq!(
            (seen.header("host"), seen.header("connection")),
            (None, None)
        );
        assert_eq!(seen.header("accept"), Some("*/*"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_have_connections_of_their_own() {
    let data = pattern(24 * MIB);
    let served = data.clone();
    let origin = H2Origin::start(move |seen| {
        Reply::file(&served, seen, &[]).slowly(256 * 1024, Duration::from_millis(10))
    })
    .await;
    let home = download_all(&origin, &["/big".to_owned()], &["-x4", "-s4"]).await;
    assert!(std::fs::read(home.file("big")).unwrap() == data);
    assert_eq!(origin.seen_h2().len(), 1, "the first request");
    assert!(origin.used_h1_connection_count() >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_files_at_once_do_not_share() {
    let data = pattern(6 * MIB);
    let served = data.clone();
    let origin = H2Origin::start(move |seen| match &*seen.path {
        "/small" => Reply::file(b"small", seen, &[]),
        _ => Reply::file(&served, seen, &[]).slowly(MIB, Duration::from_millis(100)),
    })
    .await;
    let net = Net::new();
    let start = |path: &str| {
        let setup = Setup {
            net: net.clone(),
            ..trusting()
        };
        setup.start(&origin.url(path), Opening::Whole)
    };
    // After a small file it looks as if sharing were good.
    start("/small").opened().await;
    let mut rigs: Vec<_> = (0..3).map(|_| start("/long")).collect();
    for rig in &mut rigs {
        rig.opened().await;
        rig.fetch(0, data.len() as u64);
    }
    for rig in &mut rigs {
        rig.idle().await;
        rig.check(&data, &[(0, data.len() as u64)]);
    }
    let long = |seen: &&crate::origin::Seen| seen.path == "/long";
    assert_eq!(origin.seen_h1().iter().filter(long).count(), 2);
    assert_eq!(origin.used_h1_connection_count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_reset_in_mid_body_is_fetched_again() {
    for broken in [Step::Reset, Step::Close] {
        let data = pattern(3 * MIB);
        let served = data.clone();
        let origin = H2Origin::start(move |seen| {
            let reply = Reply::file(&served, seen, &["ETag: \"one\""]);
            match seen.range() {
                None => reply.cut(MIB, broken.clone()),
                Some(_) => reply,
            }
        })
        .await;
        let home = download_all(&origin, &["/f".to_owned()], &[]).await;
        assert!(std::fs::read(home.file("f")).unwrap() == data);
        // The connection that failed is left alone.
        let again = &origin.seen_h1()[0];
        assert!(again.range().is_some_and(|(start, _)| start <= MIB as u64));
        assert_eq!(origin.seen_h2().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_stream_is_tried_again() {
    let refused = std::sync::atomic::AtomicBool::new(false);
    let origin = H2Origin::start(move |seen| {
        match refused.swap(true, std::sync::atomic::Ordering::Relaxed) {
            false => Reply::default(),
            true => Reply::file(b"hello", seen, &[]),
        }
    })
    .await;
    let home = download_all(&origin, &["/f".to_owned()], &[]).await;
    assert_eq!(std::fs::read(home.file("f")).unwrap(), b"hello");
    assert!(origin.seen_h1().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_times_out_and_another_goes_on() {
    let origin = H2Origin::start(|seen| match &*seen.path {
        "/silent" => Reply::file(&pattern(1000), seen, &[]).cut(500, Step::Stall),
        _ => Reply::file(&pattern(1000), seen, &[]),
    })
    .await;
    let net = Net::new();
    let start = |path: &str| {
        let mut setup = Setup {
            net: net.clone(),
            ..trusting()
        };
        setup.settings.connection.timeout = Duration::from_secs(2);
        setup.start(&origin.url(path), Opening::Whole)
    };
    let mut silent = start("/silent");
    silent.opened().await;
    silent.fetch(0, 1000);
    silent.wrote().await;
    let mut good = start("/good");
    good.opened().await;
    good.fetch(0, 1000);
    good.idle().await;
    good.check(&pattern(1000), &[(0, 1000)]);
    assert_eq!(silent.failure().await.message, "Timeout.");
    assert_eq!(origin.used_h2_connection_count(), 1);
    // Asked again, it is asked over another connection.
    start("/good").opened().await;
    assert_eq!(origin.seen_h1().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_do_not_starve_the_others() {
    let data = pattern(4 * MIB);
    let served = data.clone();
    let origin = H2Origin::start(move |seen| Reply::file(&served, seen, &[])).await;
    let net = Net::new();
    let start = |rate| {
        let setup = Setup {
            net: net.clone(),
            rate,
            ..trusting()
        };
        setup.start(&origin.url("/f"), Opening::Whole)
    };
    let mut slow = Vec::new();
    for _ in 0..4 {
        // Whose body waits unread, more of it than both windows together are by default.
        let mut rig = start(Rate(1024));
        rig.opened().await;
        rig.fetch(0, data.len() as u64);
        slow.push(rig);
    }
    let mut fast = start(Rate::UNLIMITED);
    fast.opened().await;
    fast.fetch(0, data.len() as u64);
    fast.idle().await;
    fast.check(&data, &[(0, data.len() as u64)]);
    assert_eq!(origin.used_h2_connection_count(), 1);
    assert_eq!(origin.seen_h1().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_s_host_header_is_sent_by_http_1() {
    let origin = H2Origin::start(|seen| Reply::file(b"hello", seen, &[])).await;
    let mut setup = trusting();
    setup.settings.headers = ["Host: other".into()].into();
    setup
        .start(&origin.url("/f"), Opening::Whole)
        .opened()
        .await;
    assert_eq!(origin.seen_h1()[0].header("host"), Some("other"));
}
