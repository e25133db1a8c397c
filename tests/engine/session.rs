//! One engine after another on the same state directory.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use arioso::{AddRequest, Engine, EngineConfig, EngineHandle, Gid, OptionSet, keys};

/// Gives `count` kilobytes to anyone who asks, from whatever byte, 10 of them each 10 ms.
fn slow_server(count: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            std::thread::spawn(move || serve(socket, count * 1024));
        }
    });
    address
}

fn serve(mut socket: impl Read + Write, total: usize) {
    let mut request = vec![0; 4096];
    let len = socket.read(&mut request).unwrap_or(0);
    let request = String::from_utf8_lossy(&request[..len]).to_lowercase();
    let from = request
        .split_once("range: bytes=")
        .and_then(|(_, range)| range.split('-').next()?.parse::<usize>().ok());
    let head = match from {
        Some(from) => format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{}/{total}\r\nContent-Length: {}\r\nETag: \"x\"\r\n\r\n",
            total - 1,
            total - from,
        ),
        None => format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {total}\r\nAccept-Ranges: bytes\r\nETag: \"x\"\r\n\r\n"
        ),
    };
    let body: Vec<u8> = (from.unwrap_or(0)..total)
        .map(|at| (at / 1024) as u8)
        .collect();
    let mut sent = socket.write_all(head.as_bytes());
    for part in body.chunks(10 * 1024) {
        if sent.is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
        sent = socket.write_all(part);
    }
}

fn start(dir: &Path) -> Engine {
    let mut options = OptionSet::new();
    options
        .set_text(keys::DIR.id, &dir.to_string_lossy())
        .unwrap();
    options
        .set_text(keys::MAX_CONCURRENT_DOWNLOADS.id, "2")
        .unwrap();
    Engine::start(EngineConfig {
        options,
        state_dir: Some(dir.join("state")),
    })
    .unwrap()
}

fn gid(number: u64) -> Gid {
    Gid::new(number).unwrap()
}

fn add(engine: &Engine, address: SocketAddr, number: u64, pause: &str) {
    let request = AddRequest::uris([format!("http://{address}/f{number}")])
        .with(keys::GID, gid(number).to_string())
        .with(keys::PAUSE, pause);
    let handle = engine.handle();
    assert_eq!(
        engine.block_on(handle.add(request, None)),
        Ok(vec![gid(number)])
    );
}

fn statuses(handle: &EngineHandle, count: u64) -> Vec<&'static str> {
    (1..=count)
        .map(|number| {
            handle
                .snapshot(gid(number))
                .map_or("gone", |now| now.status)
        })
        .collect()
}

fn wait_for(what: impl Fn() -> bool) {
    let begin = Instant::now();
    while !what() {
        assert!(begin.elapsed() < Duration::from_secs(60), "waited too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn downloads_go_on_where_the_last_process_left_them() {
    let dir = tempfile::tempdir().unwrap();
    let address = slow_server(600);
    let engine = start(dir.path());
    let handle = engine.handle();
    for (number, pause) in [(1, "false"), (2, "false"), (3, "false"), (4, "true")] {
        add(&engine, address, number, pause);
    }
    let some_done = |number| {
        handle
            .snapshot(gid(number))
            .is_some_and(|now| now.completed_len > 100 * 1024)
    };
    wait_for(|| some_done(1) && some_done(2));
    engine.block_on(handle.pause(gid(1), false)).unwrap();
    // Its place is free once its transfer has ended.
    wait_for(|| statuses(&handle, 4) == ["paused", "active", "active", "paused"]);
    wait_for(|| some_done(3));
    let begin = Instant::now();
    engine.block_on(async { handle.shutdown(false).await.unwrap() });
    engine.block_on(handle.ended());
    let end = begin.elapsed();
    assert!(end < Duration::from_secs(10), "{end:?}");
    let paused = handle.snapshot(gid(1)).unwrap();
    drop(engine);

    let engine = start(dir.path());
    let handle = engine.handle();
    wait_for(|| handle.counts().borrow().active == 2);
    assert_eq!(
        statuses(&handle, 4),
        ["paused", "active", "active", "paused"]
    );
    let again = handle.snapshot(gid(1)).unwrap();
    assert_eq!(
        (again.total_len, again.completed_len),
        (600 * 1024, paused.completed_len)
    );
    engine.block_on(handle.unpause_all()).unwrap();
    engine.block_on(handle.until_idle());
    assert_eq!(statuses(&handle, 4), ["complete"; 4]);
    let expected: Vec<u8> = (0..600 * 1024).map(|at| (at / 1024) as u8).collect();
    for number in 1..=4 {
        let file = std::fs::read(dir.path().join(format!("f{number}"))).unwrap();
        assert!(file == expected, "f{number}");
    }
    engine.block_on(handle.purge_results()).unwrap();
    drop(engine);
    let engine = start(dir.path());
    assert_eq!(statuses(&engine.handle(), 4), ["gone"; 4]);
}

#[test]
fn an_idle_end_is_quick_and_the_directory_free_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let ends = (0..5).map(|_| {
        let engine = start(dir.path());
        let begin = Instant::now();
        drop(engine);
        begin.elapsed()
    });
    // sled alone would take half a second each time; a busy machine makes some of them slow.
    let quickest = ends.min().unwrap();
    assert!(quickest < Duration::from_millis(430), "{quickest:?}");
}

#[test]
fn events_tell_the_story() {
    let dir = tempfile::tempdir().unwrap();
    let address = slow_server(20);
    let engine = start(dir.path());
    let handle = engine.handle();
    let mut events = handle.events();
    add(&engine, address, 7, "false");
    let kinds = engine.block_on(async {
        let mut kinds = Vec::new();
        for _ in 0..2 {
            kinds.push(format!("{:?}", events.recv().await.unwrap().kind));
        }
        kinds
    });
    assert_eq!(kinds, ["Started", "Complete"]);
    let result = engine.block_on(handle.until_stopped(gid(7))).unwrap();
    assert_eq!((result.status, result.total_len), ("complete", 20 * 1024));
    assert_eq!(result.files[0].completed, 20 * 1024);
    assert!(result.files[0].path.ends_with("/f7"), "{:?}", result.files);
}
