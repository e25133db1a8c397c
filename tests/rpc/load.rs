//! What must not cost anything: no file descriptors left. (A stalled disk is in `compat/disk.py`.)

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::server::{Response, post};

/// A server process; killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Clock ticks of processor time so far.
    fn ticks(&self) -> u64 {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap_or_default();
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .split_whitespace()
            .collect();
        let number = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok());
        number(11).unwrap_or(0) + number(12).unwrap_or(0)
    }
}

#[test]
fn running_out_of_file_descriptors_costs_nothing_and_passes() {
    let dir = tempfile::tempdir().expect("a directory");
    let port = 20_000 + (std::process::id() % 20_000) as u16;
    let command = format!(
        "ulimit -n 48; exec {} --enable-rpc --no-conf --state-dir= --rpc-max-connections=10000 \
         --rpc-listen-port={port} --disable-ipv6 --dir={}",
        env!("CARGO_BIN_EXE_arioso"),
        dir.path().display()
    );
    let mut child = Command::new("sh")
        .args(["-c", &command])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a process");
    let output = child.stdout.take().expect("its output");
    let process = Process(child);
    let lines = std::thread::spawn(move || {
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        lines
            .filter(|line| line.contains("cannot take connections"))
            .count()
    });
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        std::io::Result::Ok(stream)
    };
    let started = Instant::now();
    while connect().is_err() {
        assert!(started.elapsed() < Duration::from_secs(20), "no server");
        std::thread::sleep(Duration::from_millis(20));
    }
    let crowd: Vec<TcpStream> = (0..100).filter_map(|_| connect().ok()).collect();
    assert_eq!(crowd.len(), 100, "the kernel queues them");
    std::thread::sleep(Duration::from_millis(500));
    let before = process.ticks();
    std::thread::sleep(Duration::from_secs(2));
    let ticks = process.ticks() - before;
    // A tick is a hundredth of a second: less than five per cent of one core.
    assert!(ticks < 10, "{ticks} ticks in two seconds");
    drop(crowd);
    let mut stream = connect().expect("a connection");
    stream
        .write_all(&post(
            "/jsonrpc",
            "",
            br#"{"id":1,"method":"aria2.getGlobalStat"}"#,
        ))
        .expect("sent");
    assert_eq!(
        Response::read(&mut stream).map(|response| response.status),
        Some(200)
    );
    drop(process);
    assert!(
        lines.join().expect("its lines") <= 2,
        "told once for each time"
    );
}
