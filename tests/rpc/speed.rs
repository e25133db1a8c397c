//! Times that are printed and never judged: `cargo test --release --test rpc -- --ignored --nocapture`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::server::Server;

#[test]
#[ignore = "prints times, judges nothing"]
fn print_times() {
    let server = Server::start();
    let calls: Vec<String> = (0..1000)
        .map(|number| {
            format!(r#"{{"id":{number},"method":"aria2.addUri","params":[["http://h:8000/file{number}"],{{"pause":"true"}}]}}"#)
        })
        .collect();
    let started = Instant::now();
    server.post(format!("[{}]", calls.join(",")));
    println!("addUri, 1,000 in a batch: {:?}", started.elapsed());
    let mut socket = server.websocket();
    for (name, message) in [
        (
            "getGlobalStat",
            r#"{"id":1,"method":"aria2.getGlobalStat"}"#,
        ),
        (
            "tellWaiting(0,1000)",
            r#"{"id":1,"method":"aria2.tellWaiting","params":[0,1000]}"#,
        ),
        (
            "tellWaiting(0,1000,[gid])",
            r#"{"id":1,"method":"aria2.tellWaiting","params":[0,1000,["gid"]]}"#,
        ),
    ] {
        let mut times: Vec<_> = (0..200)
            .map(|_| {
                let started = Instant::now();
                let len = socket.ask(message).len();
                (started.elapsed(), len)
            })
            .collect();
        times.sort();
        println!("{name}: median {:?}, {} bytes", times[100].0, times[100].1);
    }
}

/// How long others wait at most while requests about 100,000 downloads are worked off.
/// Known-bugs 42.
#[test]
#[ignore = "prints times, judges nothing"]
fn print_times_with_many() {
    const MANY: usize = 100_000;
    let server = Server::with(&[
        ("max-concurrent-downloads", "1"),
        ("rpc-max-request-size", "64M"),
    ]);
    let mut socket = server.websocket();
    for from in (0..MANY).step_by(1000) {
        let calls: Vec<String> = (from..from + 1000)
            .map(|number| {
                format!(r#"{{"id":1,"method":"aria2.addUri","params":[["http://127.0.0.1:1/file{number}"],{{"pause":"true"}}]}}"#)
            })
            .collect();
        socket.ask(&format!("[{}]", calls.join(",")));
    }
    let mut times: Vec<Duration> = (0..500)
        .map(|_| {
            let started = Instant::now();
            socket.ask(r#"{"id":1,"method":"aria2.tellWaiting","params":[0,1000]}"#);
            started.elapsed()
        })
        .collect();
    times.sort();
    println!(
        "tellWaiting(0,1000) of {MANY}: median {:?}, p99 {:?}",
        times[250], times[494]
    );
    for (name, message) in [
        (
            "tellWaiting(0,100000,[gid,status])",
            r#"{"id":1,"method":"aria2.tellWaiting","params":[0,100000,["gid","status"]]}"#,
        ),
        // With retries the one that is started does not end at once.
        ("unpauseAll", r#"{"id":1,"method":"aria2.unpauseAll"}"#),
        ("pauseAll", r#"{"id":1,"method":"aria2.pauseAll"}"#),
    ] {
        let over = AtomicBool::new(false);
        let worst = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let mut other = server.websocket();
                let mut worst = Duration::ZERO;
                while !over.load(Ordering::Relaxed) {
                    let started = Instant::now();
                    while !other
                        .ask(r#"{"id":1,"method":"aria2.getGlobalStat"}"#)
                        .contains("numWaiting")
                    {}
                    worst = worst.max(started.elapsed());
                }
                worst
            });
            let started = Instant::now();
            while !socket.ask(message).contains(r#""id":1"#) {}
            println!("{name}: {:?}", started.elapsed());
            over.store(true, Ordering::Relaxed);
            other.join().expect("times")
        });
        println!("  others waited at most {worst:?}");
    }
}
