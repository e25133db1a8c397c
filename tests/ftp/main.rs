//! FTP against a server with faults: never a wrong file, never a hang.

mod server;

use std::collections::HashMap;
use std::time::Duration;

use arioso::{AddRequest, Engine, EngineConfig, keys};

use self::server::{Script, Server};

/// Nothing here may take longer.
const PATIENCE: Duration = Duration::from_secs(60);

fn data() -> Vec<u8> {
    (0..3_000_000u32)
        .map(|number| (number * 7 % 251) as u8)
        .collect()
}

fn script() -> Script {
    Script {
        data: data(),
        ..Script::default()
    }
}

/// Code, message and the file as it is then.
struct Outcome {
    code: u8,
    message: String,
    file: Option<Vec<u8>>,
}

fn download(server: &Server, path: &str, options: &[(&str, &str)]) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(EngineConfig::default()).unwrap();
    let handle = engine.handle();
    let uri = format!("ftp://user:wr0ng@127.0.0.1:{}/{path}", server.port);
    let mut request = AddRequest::uris([uri])
        .with(keys::DIR, dir.path().to_string_lossy())
        .with(keys::OUT, "f")
        .with(keys::TIMEOUT, "2")
        .with(keys::MAX_TRIES, "4")
        .with(keys::MIN_SPLIT_SIZE, "1M");
    for (name, value) in options {
        request = match *name {
            "split" => request
                .with(keys::SPLIT, *value)
                .with(keys::MAX_CONNECTION_PER_SERVER, *value),
            _ => request.with(keys::FTP_REUSE_CONNECTION, *value),
        };
    }
    let result = engine.block_on(async {
        let gid = handle.add(request, None).await.unwrap()[0];
        tokio::time::timeout(PATIENCE, handle.until_stopped(gid)).await
    });
    let result = result.expect("it hangs").expect("it is forgotten");
    let (code, message) = match result.error {
        Some((code, message)) => (code.code(), message),
        None => (0, String::new()),
    };
    let file = std::fs::read(dir.path().join("f")).ok();
    Outcome {
        code,
        message,
        file,
    }
}

fn comes_right(script: Script, split: &str) -> Server {
    let data = script.data.clone();
    let server = server::start(script);
    let outcome = download(&server, "d/f", &[("split", split)]);
    assert_eq!(outcome.code, 0, "{}", outcome.message);
    assert!(outcome.file.as_ref() == Some(&data));
    server
}

fn fails(script: Script, code: u8) -> Server {
    let server = server::start(script);
    let outcome = download(&server, "d/f", &[("split", "1")]);
    assert_eq!(outcome.code, code, "{}", outcome.message);
    assert!(!outcome.message.contains("wr0ng"), "{}", outcome.message);
    server
}

fn replying(command: &'static str, reply: &'static str, count: usize) -> Script {
    Script {
        replies: HashMap::from([(command, (reply, count))]),
        ..script()
    }
}

#[test]
fn one_connection_and_several() {
    for split in ["1", "3"] {
        comes_right(script(), split);
    }
}

#[test]
fn a_busy_server_is_asked_again() {
    for command in ["GREETING", "USER", "PASS", "TYPE", "SIZE", "PASV", "RETR"] {
        comes_right(replying(command, "421 busy", 2), "1");
    }
    fails(replying("GREETING", "421 busy", 99), 21);
}

#[test]
fn what_only_some_servers_know_may_be_missing() {
    for command in ["SIZE", "MDTM", "REST", "PWD", "PASS"] {
        let reply = match command {
            "PASS" => "202 superfluous",
            _ => "502 what?",
        };
        for split in ["1", "3"] {
            comes_right(replying(command, reply, 99), split);
        }
    }
}

#[test]
fn a_silent_server_is_given_up_and_asked_again() {
    for command in [
        "GREETING", "USER", "PASS", "CWD", "TYPE", "SIZE", "MDTM", "PASV", "REST", "RETR",
    ] {
        let hang = Some((command, 1));
        comes_right(Script { hang, ..script() }, "1");
    }
    let hang = Some(("USER", 99));
    fails(Script { hang, ..script() }, 2);
}

#[test]
fn refusals_have_their_codes() {
    for (command, reply, code) in [
        ("GREETING", "500 go away", 21),
        ("GREETING", "SSH-2.0-x", 21),
        ("USER", "530 no", 21),
        ("PASS", "530 no", 21),
        ("TYPE", "504 no", 21),
        ("CWD", "550 none", 3),
        ("RETR", "550 none", 3),
        ("RETR", "425 no way", 21),
        ("PASV", "500 no", 21),
        ("PASV", "227 (1,2)", 21),
    ] {
        fails(replying(command, reply, 99), code);
    }
}

#[test]
fn a_connection_that_breaks_is_resumed() {
    for split in ["1", "3"] {
        let reset = Some((400_000, 3));
        let server = comes_right(Script { reset, ..script() }, split);
        let commands = server.commands.lock();
        let resumed = commands.iter().any(|line| {
            let at = line.strip_prefix("REST ").and_then(|at| at.parse().ok());
            at.is_some_and(|at: u64| at > 1)
        });
        assert!(resumed);
    }
}

#[test]
fn a_length_that_is_wrong_makes_no_file() {
    let len = data().len();
    for script in [
        Script {
            size: Some(len as u64 + 5),
            ..script()
        },
        Script {
            size: Some(len as u64 - 5),
            ..script()
        },
        Script {
            data_len: Some(len - 5),
            ..script()
        },
        Script {
            data_len: Some(len + 5),
            ..script()
        },
    ] {
        fails(script, 1);
    }
}

#[test]
fn a_connection_serves_more_than_one_file() {
    let server = comes_right(script(), "1");
    assert_eq!(
        server
            .connections
            .load(std::sync::atomic::Ordering::Relaxed),
        1
    );
}

#[test]
fn nothing_is_smuggled_into_commands() {
    let server = server::start(script());
    let outcome = download(&server, "a%0D%0ADELE%20f", &[]);
    assert_eq!(outcome.code, 1);
    assert!(
        !server
            .commands
            .lock()
            .iter()
            .any(|line| line.starts_with("DELE"))
    );
}
