//! Every way in which FTP and FTPS can fail: which code, what words, how many tries.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use arioso::option::find;
use arioso::{Engine, EngineConfig, OptionSet};
use rustls::HandshakeKind;
use rustls::version::TLS13;

use crate::cases::{Case, TRIES_MAX, check, check_in, data, replying, small};
use crate::fetch;
use crate::server::{self, DataFault, Script};
use crate::tls_front::{server_config, tls_file};

/// Tries in vain are one.
const ONE: usize = 1;
const ALL: usize = TRIES_MAX;

/// Command, reply to it, code, connections, words of the message.
const REFUSALS: &str = "
    GREETING | 500 go away         | 21 | 1 | answers 500 to the connection: go away
    GREETING | 421 busy            | 21 | 3 | 421 to the connection: busy
    GREETING | SSH-2.0-x           | 21 | 1 | not FTP
    GREETING | \u{0}\u{1}\u{fffd}   | 21 | 1 | not FTP
    USER     | 530 no              | 21 | 1 | 530 to the login: no
    USER     | nonsense            | 21 | 1 | not FTP
    PASS     | 530 not\u{7} you    | 21 | 1 | 530 to the login: not you
    PASS     | 530 user:wr0ng? no  | 21 | 1 | 530 to the login
    PASS     | 332 account?        | 21 | 1 | 332 to the login
    PASS     | 530-many~ words~530 | 21 | 1 | 530 to the login: many
    PASS     | 451 later           | 21 | 3 | 451 to the login
    TYPE     | 504 no              | 21 | 1 | 504 to TYPE
    TYPE     | 451 later           | 21 | 3 | 451 to TYPE
    CWD      | 550 none            |  3 | 1 | Resource not found: none
    CWD      | 530 no              | 21 | 1 | 530 to CWD
    CWD      | 450 later           | 21 | 3 | 450 to CWD
    CWD      | 421 idle            | 21 | 3 | 421 to the connection: idle
    RETR     | 550 none            |  3 | 1 | Resource not found: none
    RETR     | 553 no              | 21 | 1 | 553 to RETR
    RETR     | 200 what            | 21 | 1 | 200 to RETR
    RETR     | 425 no way          | 21 | 3 | 425 to RETR
    RETR     | 450 later           | 21 | 3 | 450 to RETR
    RETR     | 452 full            | 21 | 3 | 452 to RETR
    PASV     | 500 no              | 21 | 1 | 502 to EPSV
    PASV     | 425 later           | 21 | 1 | 502 to EPSV
    PASV     | 227 (1,2)           | 21 | 1 | names no port
    PASV     | 227 (127,0,0,1,0,0) | 21 | 1 | names no port
    PASV     | 227 go              | 21 | 1 | names no port
    PORT     | 500 no              | 21 | 1 | 500 to PORT
    PORT     | 425 no              | 21 | 3 | 425 to PORT
";

/// The columns of the rows of a table.
fn rows<const N: usize>(table: &'static str) -> impl Iterator<Item = [&'static str; N]> {
    table.lines().filter(|line| !line.is_empty()).map(|line| {
        let columns: Vec<&str> = line
            .split('|')
            .map(|column| column.trim_matches(' '))
            .collect();
        columns.try_into().expect(line)
    })
}

#[test]
fn refusals_and_nonsense() {
    let mut cases = Vec::new();
    for [command, reply, code, tries, words] in rows(REFUSALS) {
        let script = replying(command, reply.replace('~', "\r\n").leak());
        let (code, tries) = (code.parse().unwrap(), tries.parse().unwrap());
        let name = format!("{reply:?} to {command}");
        let case = Case::ftp(&name, script, code, &[words], tries);
        let passive = if command == "PORT" { "false" } else { "true" };
        cases.push(case.with("ftp-pasv", passive));
    }
    let long = format!("220 {}", "x".repeat(70_000)).leak();
    let script = replying("GREETING", long);
    cases.push(Case::ftp("a long reply", script, 21, &["too long"], ONE));
    for (name, path, words) in [
        ("no name", "d/", ["names a directory"]),
        ("root", "", ["names a directory"]),
        ("line break", "f%0D%0ADELE%20f", ["line break"]),
        ("zero", "f%00", ["zero byte"]),
    ] {
        let mut case = Case::ftp(name, small(), 1, &words, 0);
        case.uri = case.uri.replace("d/f", path);
        cases.push(case);
    }
    check(&cases);
}

#[test]
fn connections_that_end() {
    let commands = [
        "GREETING", "USER", "PASS", "PWD", "CWD", "TYPE", "SIZE", "MDTM", "PASV", "REST", "RETR",
    ];
    let mut cases: Vec<Case> = commands
        .iter()
        .map(|command| {
            let close = Some(*command);
            let script = Script { close, ..small() };
            let words = ["FTP server closed the connection"];
            Case::ftp(&format!("closed at {command}"), script, 1, &words, ALL)
        })
        .collect();
    let no_size = || replying("SIZE", "502 what?");
    let script = Script {
        close: Some("END"),
        ..no_size()
    };
    // How long the file is nobody knows: its end may be missing.
    let words = ["FTP server closed the connection"];
    cases.push(Case::ftp("closed at the end", script, 1, &words, ALL));
    let mut script = no_size();
    script.replies.insert("END", ("451 disk", 99));
    cases.push(Case::ftp(
        "fails at the end",
        script,
        21,
        &["451 to the transfer: disk"],
        ALL,
    ));
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let uri = format!("ftp://{nobody}/f");
    cases.push(Case::of_uri(
        "nobody listens",
        uri,
        1,
        &["Connection refused"],
    ));
    let uri = "ftp://no.such.host.invalid/f".to_owned();
    cases.push(Case::of_uri(
        "no such host",
        uri,
        19,
        &["no.such.host.invalid"],
    ));
    check(&cases);
}

#[test]
fn silence() {
    let commands = [
        "GREETING", "USER", "PASS", "PWD", "CWD", "TYPE", "SIZE", "MDTM", "PASV", "REST", "RETR",
    ];
    let mut cases: Vec<Case> = commands
        .iter()
        .map(|command| {
            let hang = Some((*command, 99));
            let script = Script { hang, ..small() };
            Case::ftp(
                &format!("silent at {command}"),
                script,
                2,
                &["Timeout."],
                ALL,
            )
            .impatient()
        })
        .collect();
    let endless = |command, line| Script {
        endless: Some((command, line)),
        ..small()
    };
    let long = format!("220-{}", "x".repeat(8000)).leak();
    for (name, script, code, words, tries) in [
        (
            "soon, soon",
            endless("GREETING", "120 soon"),
            2,
            "Timeout.",
            ALL,
        ),
        (
            "more and more",
            endless("GREETING", long),
            21,
            "too long",
            ONE,
        ),
        (
            "soon, then silence",
            replying("GREETING", "120 soon"),
            2,
            "Timeout.",
            ALL,
        ),
    ] {
        cases.push(Case::ftp(name, script, code, &[words], tries).impatient());
    }
    check(&cases);
}

#[test]
fn data_connections() {
    let faulty = |data_fault| Script {
        data_fault,
        ..small()
    };
    let no_data = &["No data connection", "Connection refused"];
    let cases = [
        Case::ftp(
            "nobody at the port",
            faulty(DataFault::Closed),
            1,
            no_data,
            ALL,
        ),
        Case::ftp(
            "silent data",
            faulty(DataFault::Silent),
            2,
            &["Timeout."],
            ALL,
        )
        .impatient(),
        // It says so long before the time is over.
        Case::ftp(
            "refused",
            faulty(DataFault::Refused),
            21,
            &["425 to the transfer"],
            ALL,
        ),
        Case::ftp(
            "refused, active",
            faulty(DataFault::Refused),
            21,
            &["425 to the transfer"],
            ALL,
        )
        .with("ftp-pasv", "false"),
        Case::ftp(
            "nobody comes",
            faulty(DataFault::Absent),
            2,
            &["No data", "Timeout."],
            ALL,
        )
        .with("ftp-pasv", "false")
        .impatient(),
    ];
    check(&cases);
}

#[test]
fn files_that_are_not_what_they_were_said_to_be() {
    let len = small().data.len();
    let sized = |size, data_len| Script {
        size,
        data_len,
        ..small()
    };
    let more = Some(len as u64 + 5);
    let changing = Script {
        changes: true,
        reset: Some((40_000, 1)),
        ..small()
    };
    let huge = Some(u64::MAX);
    let mut cases = vec![
        Case::ftp(
            "SIZE is too big",
            sized(more, None),
            1,
            &["early, at byte 300000"],
            0,
        ),
        Case::ftp(
            "too few come",
            sized(None, Some(len - 5)),
            1,
            &["early, at byte 299995"],
            0,
        ),
        Case::ftp(
            "SIZE is too small",
            sized(Some(5), None),
            1,
            &["more than the 5 bytes"],
            0,
        ),
        Case::ftp(
            "too many come",
            sized(None, Some(len + 5)),
            1,
            &["more than the 300000"],
            0,
        ),
        Case::ftp("SIZE is absurd", sized(huge, None), 28, &["too big"], 0),
        Case::ftp("it changes", changing, 8, &["another one"], 0),
    ];
    cases = cases
        .into_iter()
        .map(|case| case.any_tries().misleading())
        .collect();
    check(&cases);
}

#[test]
fn tls() {
    let config = || Some(Arc::new(server_config("server.pem", &TLS13)));
    let trusted = tls_file("authority.pem").to_string_lossy().into_owned();
    let encrypted = |script: Script| Script {
        tls: config(),
        ..script
    };
    let implicit = |script: Script| Script {
        implicit: true,
        ..encrypted(script)
    };
    let clear = Script {
        data_fault: DataFault::Clear,
        ..small()
    };
    let refused = Script {
        data_fault: DataFault::Refused,
        ..small()
    };
    let plain = Script {
        implicit: true,
        ..small()
    };
    let closing = Script {
        close: Some("AUTH"),
        ..small()
    };
    let silent = Script {
        hang: Some(("GREETING", 99)),
        ..plain.clone()
    };
    let case = |name, script, code, word, tries| {
        Case::ftp(name, script, code, &[word], tries).with("ftp-tls", "require")
    };
    let cases = [
        case("AUTH is not known", small(), 21, "502 to AUTH TLS", ONE),
        case(
            "AUTH later",
            replying("AUTH", "431 later"),
            21,
            "431 to AUTH TLS",
            ALL,
        ),
        case("closed at AUTH", closing, 1, "closed the connection", ALL),
        case(
            "closed in TLS",
            replying("AUTH", "234 go"),
            1,
            "connection broke",
            ALL,
        ),
        case(
            "words before TLS",
            replying("AUTH", "234 go\r\n220 hi"),
            21,
            "before TLS",
            ONE,
        ),
        case(
            "no PROT",
            encrypted(replying("PROT", "536 no")),
            21,
            "536 to PROT P",
            ONE,
        ),
        case("data in the clear", encrypted(clear), 1, "without TLS", ONE),
        case(
            "no data",
            encrypted(refused),
            21,
            "425 to the transfer",
            ALL,
        ),
        case(
            "reuse wanted",
            encrypted(replying("RETR", "522 reuse")),
            21,
            "522 to RETR",
            ONE,
        ),
        case("ftps to FTP", plain, 1, "without TLS", ONE),
        case("silent TLS", silent, 2, "Timeout.", ALL).impatient(),
    ];
    check_in(&[("ca-certificate", &trusted)], &cases);
    let unknown = |name, script| case(name, script, 1, "TLS: invalid peer certificate", ONE);
    check(&[
        unknown("ftp", encrypted(small())),
        unknown("ftps", implicit(small())),
    ]);
    let missing = "/no/such.pem";
    let cases = [case(
        "no file of authorities",
        implicit(small()),
        1,
        missing,
        ONE,
    )];
    check_in(&[("ca-certificate", missing)], &cases);
}

/// Servers insist on it lest somebody else makes the data connection.
#[test]
fn data_connections_go_on_with_the_tls_session() {
    let script = Script {
        tls: Some(Arc::new(server_config("server.pem", &TLS13))),
        ..small()
    };
    for (scheme, implicit) in [("ftp", false), ("ftps", true)] {
        let server = server::start(Script {
            implicit,
            ..script.clone()
        });
        let mut options = OptionSet::new();
        let trusted = tls_file("authority.pem").to_string_lossy().into_owned();
        options
            .set_text(find("ca-certificate").unwrap(), &trusted)
            .unwrap();
        let config = EngineConfig {
            options,
            ..EngineConfig::default()
        };
        let engine = Engine::start(config).unwrap();
        let uri = format!("{scheme}://127.0.0.1:{}/d/f", server.port);
        let outcome = fetch(&engine, uri, &[("ftp-tls", "require")]);
        assert_eq!(outcome.code, 0, "{}", outcome.message);
        assert!(outcome.file == Some(data()));
        let handshakes = server.handshakes.lock();
        let resumed = |kind: &HandshakeKind| *kind == HandshakeKind::Resumed;
        assert!(
            !handshakes.is_empty() && handshakes.iter().all(resumed),
            "{handshakes:?}"
        );
    }
}

/// A proxy that says this to whoever asks.
fn proxy(answer: Vec<u8>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let count: Arc<AtomicUsize> = Arc::default();
    let counter = count.clone();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            counter.fetch_add(1, Ordering::Relaxed);
            let answer = answer.clone();
            thread::spawn(move || {
                let mut asked = [0; 4096];
                let _ = stream.read(&mut asked);
                let _ = stream.write_all(&answer);
                // One that has nothing to say holds the line.
                while answer.is_empty() && stream.read(&mut asked).is_ok_and(|len| len > 0) {}
            });
        }
    });
    (address, count)
}

/// How a proxy is asked, what it answers, code, connections, words of the message.
const PROXIES: &str = "
    tunnel http   | HTTP/1.1 407 No~~                    | 24 | 1 | proxy wants a user name
    tunnel http   | HTTP/1.1 403 No~~                    |  1 | 1 | the proxy: it answers 403
    tunnel http   | HTTP/1.1 502 No~~                    |  1 | 3 | the proxy: it answers 502
    tunnel http   | nonsense~~                           |  1 | 1 | the proxy: its answer cannot be read
    tunnel http   | HTTP/1.1 20                          |  1 | 3 | the proxy: it closes
    tunnel http   | HTTP/1.1 200 Go~~                    |  1 | 3 | FTP server closed the connection
    tunnel socks5 | \x05\u{ff}                           | 24 | 1 | proxy wants a user name
    tunnel socks5 | \x04\x00                             |  1 | 1 | does not speak SOCKS 5
    tunnel socks5 | \x05\x00\x05\x02\x00\x01             |  1 | 1 | not allowed by its rules
    tunnel socks5 | \x05\x00\x05\x05\x00\x01             |  1 | 3 | connection refused
    tunnel socks5 | \x05                                 |  1 | 3 | the proxy: it closes
    get    http   | HTTP/1.1 407 No~Content-Length: 0~~  | 24 | 1 | proxy wants a user name
    get    http   | HTTP/1.1 404 No~Content-Length: 0~~  |  3 | 1 | not found
    get    http   | nonsense~~                           | 22 | 1 | proxy's response cannot be read
    get    http   | HTTP/1.1 20                          |  1 | 3 | connection to the proxy broke
";

#[test]
fn proxies() {
    let mut cases = Vec::new();
    for [how, answer, code, tries, words] in rows(PROXIES) {
        let (method, scheme) = how.split_once(' ').unwrap();
        let bytes = answer.replace('~', "\r\n");
        let (address, count) = proxy(bytes.chars().map(|byte| byte as u8).collect());
        let uri = "ftp://user:wr0ng@192.0.2.1/f".to_owned();
        let name = format!("{how} {answer:?}");
        let (code, tries) = (code.parse().unwrap(), tries.parse().unwrap());
        let scheme = scheme.trim_start();
        cases.push(
            Case::of_uri(&name, uri, code, &[words])
                .counted(count, tries)
                .with("ftp-proxy", format!("{scheme}://me:wr0ng@{address}"))
                .with("proxy-method", method)
                .with("no-proxy", "127.0.0.1"),
        );
    }
    for method in ["tunnel", "get"] {
        let (address, _) = proxy(Vec::new());
        let uri = "ftp://192.0.2.1/f".to_owned();
        let case = Case::of_uri("a silent proxy", uri, 2, &["Timeout."]).impatient();
        cases.push(
            case.with("ftp-proxy", format!("http://{address}"))
                .with("proxy-method", method)
                .with("no-proxy", "127.0.0.1"),
        );
    }
    let uri = "ftp://192.0.2.1/f".to_owned();
    cases.push(
        Case::of_uri("no proxy there", uri, 1, &["Connection refused"])
            .with("ftp-proxy", "http://127.0.0.1:1")
            .with("proxy-method", "tunnel")
            .with("no-proxy", "127.0.0.1"),
    );
    check(&cases);
}
