//! FTP and SFTP against servers with faults: never a wrong file, never a hang, and each failure with
//! its code and a sentence.

mod cases;
mod errors;
mod metalinks;
#[path = "../support/origin.rs"]
mod origin;
mod server;
#[cfg(feature = "sftp")]
mod sftp;
#[cfg(feature = "sftp")]
mod sftp_server;
#[path = "../support/tls_front.rs"]
#[allow(dead_code)] // the program's tests use more of it
mod tls_front;

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use arioso::option::find;
use arioso::{AddRequest, Engine, EngineConfig, OptionSet, keys};

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
    modified: Option<SystemTime>,
}

fn download(server: &Server, path: &str, options: &[(&str, &str)]) -> Outcome {
    let uri = format!("ftp://user:wr0ng@127.0.0.1:{}/{path}", server.port);
    let engine = Engine::start(EngineConfig::default()).unwrap();
    fetch(&engine, uri, options)
}

fn fetch(engine: &Engine, uri: String, options: &[(&str, &str)]) -> Outcome {
    run(engine, AddRequest::uris([uri]), options)
}

fn run(engine: &Engine, request: AddRequest, options: &[(&str, &str)]) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let handle = engine.handle();
    let mut request = request
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
            name => request.with(find(name).unwrap(), *value),
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
    let path = dir.path().join("f");
    let modified = std::fs::metadata(&path).and_then(|about| about.modified());
    Outcome {
        code,
        message,
        file: std::fs::read(path).ok(),
        modified: modified.ok(),
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
    let commands = [
        "GREETING", "USER", "PASS", "CWD", "TYPE", "SIZE", "MDTM", "PASV", "REST", "RETR",
    ];
    std::thread::scope(|scope| {
        for command in commands {
            let hang = Some((command, 1));
            scope.spawn(move || comes_right(Script { hang, ..script() }, "1"));
        }
    });
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
    for (reuse, logins) in [("true", 1), ("false", 3)] {
        let server = server::start(script());
        let engine = Engine::start(EngineConfig::default()).unwrap();
        for path in ["d/f", "d/g", "f"] {
            let uri = format!("ftp://127.0.0.1:{}/{path}", server.port);
            let options = [("split", "1"), ("ftp-reuse-connection", reuse)];
            let outcome = fetch(&engine, uri, &options);
            assert_eq!(outcome.code, 0, "{}", outcome.message);
        }
        assert_eq!(
            server.connections.load(Ordering::Relaxed),
            logins,
            "{reuse}"
        );
    }
}

#[test]
fn netrc_names_the_user() {
    let home = tempfile::tempdir().unwrap();
    let netrc = home.path().join("netrc");
    std::fs::write(&netrc, "machine 127.0.0.1 login Jane password s3cret\n").unwrap();
    std::fs::set_permissions(&netrc, std::fs::Permissions::from_mode(0o600)).unwrap();
    let netrc = netrc.to_str().unwrap();
    for (user, no_netrc, login) in [
        ("", "false", ["USER Jane", "PASS s3cret"]),
        ("Jane@", "false", ["USER Jane", "PASS s3cret"]),
        ("Joe:own@", "false", ["USER Joe", "PASS own"]),
        ("", "true", ["USER anonymous", "PASS ARIA2USER@"]),
    ] {
        let server = server::start(script());
        let mut options = OptionSet::new();
        options
            .set_text(find("netrc-path").unwrap(), netrc)
            .unwrap();
        let config = EngineConfig {
            options,
            ..EngineConfig::default()
        };
        let engine = Engine::start(config).unwrap();
        let uri = format!("ftp://{user}127.0.0.1:{}/f", server.port);
        let outcome = fetch(&engine, uri, &[("no-netrc", no_netrc)]);
        assert_eq!(outcome.code, 0, "{}", outcome.message);
        let commands = server.commands.lock();
        assert!(
            login
                .iter()
                .all(|line| commands.contains(&(*line).to_owned())),
            "{commands:?}"
        );
    }
}

#[test]
fn a_connection_that_trickles_is_given_up() {
    let server = server::start(Script {
        slow: 1,
        ..script()
    });
    let options = [
        ("split", "1"),
        ("lowest-speed-limit", "1K"),
        ("timeout", "30"),
    ];
    let outcome = download(&server, "f", &options);
    assert_eq!(outcome.code, 0, "{}", outcome.message);
    assert!(outcome.file == Some(data()));
    let server = server::start(Script {
        slow: 99,
        ..script()
    });
    let options = [&options[..], &[("max-tries", "1")]].concat();
    assert_eq!(download(&server, "f", &options).code, 5);
}

#[test]
fn the_file_gets_the_time_it_has_there() {
    let there = SystemTime::UNIX_EPOCH + Duration::from_secs(1_704_067_200);
    for (wanted, same) in [("true", true), ("false", false)] {
        let server = server::start(script());
        let outcome = download(&server, "f", &[("remote-time", wanted)]);
        assert_eq!(outcome.modified == Some(there), same);
    }
}

#[test]
fn the_server_connects_back_and_ipv6_is_spoken() {
    for (on_v6, passive, command) in [
        (false, "true", "PASV"),
        (false, "false", "PORT"),
        (true, "true", "EPSV"),
        (true, "false", "EPRT"),
    ] {
        let server = server::start(Script { on_v6, ..script() });
        let host = if on_v6 { "[::1]" } else { "127.0.0.1" };
        let engine = Engine::start(EngineConfig::default()).unwrap();
        let uri = format!("ftp://{host}:{}/f", server.port);
        for split in ["1", "3"] {
            let options = [("split", split), ("ftp-pasv", passive)];
            let outcome = fetch(&engine, uri.clone(), &options);
            assert_eq!(outcome.code, 0, "{}", outcome.message);
            assert!(outcome.file == Some(data()));
        }
        let commands = server.commands.lock();
        let agreed = commands.iter().filter(|line| {
            ["PASV", "EPSV", "PORT", "EPRT"]
                .iter()
                .any(|word| line.starts_with(word))
        });
        assert!(agreed.clone().count() > 0 && agreed.clone().all(|line| line.starts_with(command)));
    }
}

/// How long a text is nobody knows: its lines end otherwise where it is.
#[test]
fn a_text_comes_over_one_connection() {
    for (kind, command, connections) in [("ascii", "TYPE A", 1), ("binary", "TYPE I", 3)] {
        let server = server::start(script());
        let options = [("split", "3"), ("ftp-type", kind)];
        let outcome = download(&server, "f", &options);
        assert_eq!(outcome.code, 0, "{}", outcome.message);
        assert!(outcome.file == Some(data()));
        let commands = server.commands.lock();
        let count = |word: &str| {
            commands
                .iter()
                .filter(|line| line.starts_with(word))
                .count()
        };
        assert!(commands.contains(&command.to_owned()), "{commands:?}");
        assert_eq!(count("SIZE") > 0, kind == "binary");
        assert!(server.connections.load(Ordering::Relaxed) <= connections);
    }
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

#[cfg(not(feature = "sftp"))]
#[test]
fn sftp_is_refused_with_a_sentence() {
    let engine = Engine::start(EngineConfig::default()).unwrap();
    let outcome = fetch(&engine, "sftp://127.0.0.1:1/f".to_owned(), &[]);
    let expected = (1, "This arioso was built without SFTP");
    assert_eq!((outcome.code, outcome.message.as_str()), expected);
}

#[test]
fn a_server_that_ignores_where_it_is_to_begin_gives_no_part() {
    let ignores_rest = || {
        server::start(Script {
            ignores_rest: true,
            ..script()
        })
    };
    let engine = Engine::start(EngineConfig::default()).unwrap();
    for mirror in [None, Some(server::start(script()))] {
        let uris = [ignores_rest()].into_iter().chain(mirror);
        let uris = uris.map(|server| format!("ftp://127.0.0.1:{}/f", server.port));
        let options = [("split", "3"), ("uri-selector", "inorder")];
        let outcome = run(&engine, AddRequest::uris(uris), &options);
        assert_eq!(outcome.code, 0, "{}", outcome.message);
        assert!(outcome.file == Some(data()));
    }
    let reset = Script {
        ignores_rest: true,
        reset: Some((400_000, 1)),
        ..script()
    };
    fails(reset, 8);
}
