//! SFTP: every way in which it can fail (which code, what words, how many tries), and what has to
//! be borne.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arioso::{Engine, EngineConfig};
use md5::Md5;
use russh::keys::ssh_key::LineEnding;
use russh_sftp::protocol::StatusCode;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::cases::{Case, PASSWORD, TRIES_MAX, check, data};
use crate::fetch;
use crate::sftp_server::{self, Fault, RIGHT_PASSWORD, SftpServer, Step, USER, key};

const ONE: usize = 1;
const ALL: usize = TRIES_MAX;
/// A key with a passphrase, made by ssh-keygen.
const LOCKED_KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABB70xqhyv
iFYR1QC0Gs96lGAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIO9yleBJY3r+ciWc
n02MjlEikEzginlPe0NPht7qB9HPAAAAkEeNGUi9lTSP0HyUesZYVJsMYTrDk8C5S9hFpq
RnB5ntsKMAOx9Rpspa/cYAZJfefzuFbbLWJZocjPa/4lVNq4YnLMaoSFGNCEHlgE3691rq
e7nRi6u3YEVU9THExLD/9+kfx8Pqye+z8YUfzlXRn5fkBqBVAgJT7a3Rh/+fEtStT+exGG
iu1plw2DeyUBQdTQ==
-----END OPENSSH PRIVATE KEY-----
";

fn uri(server: &SftpServer, login: &str) -> String {
    format!("sftp://{login}@127.0.0.1:{}/d/f", server.port)
}

fn right_login() -> String {
    format!("{USER}:{RIGHT_PASSWORD}")
}

/// A server with this fault.
fn case(fault: Fault, code: u8, words: &[&'static str], tries: usize) -> Case {
    let server = sftp_server::start(data(), fault);
    let uri = uri(&server, &right_login());
    let name: String = format!("{fault:?}").chars().take(50).collect();
    Case::of_uri(&name, uri, code, words).counted(server.connections, tries)
}

#[test]
fn refusals_and_nonsense() {
    use Fault::{Directory, EndsAt, Refuses, Says};
    use StatusCode as Code;
    let refuses = "The SFTP server refuses: ";
    let denied = "Permission denied (so it is)";
    let hung_up = &["The SSH server closed the connection"];
    let broke_off = &["broke off"];
    let mut cases = vec![
        case(Says("220 FTP here\r\n"), 1, hung_up, ALL),
        case(Says("SSH-1.5-old\r\n"), 1, hung_up, ALL),
        case(
            Says(&*"x".repeat(5000).leak()),
            1,
            &["does not speak SSH"],
            ONE,
        ),
        case(Says("SSH-2.0-x\r\n"), 1, hung_up, ALL),
        case(
            Refuses(Step::Channel, Code::Failure),
            1,
            &["ResourceShortage"],
            ALL,
        ),
        case(
            Refuses(Step::Channel, Code::BadMessage),
            1,
            &["opens no channel"],
            ONE,
        ),
        case(
            Refuses(Step::Subsystem, Code::Failure),
            1,
            &["offers no SFTP"],
            ONE,
        ),
        case(Refuses(Step::Init, Code::Failure), 1, broke_off, ALL),
        case(
            Refuses(Step::Open, Code::NoSuchFile),
            3,
            &["no such file"],
            ONE,
        ),
        case(
            Refuses(Step::Open, Code::PermissionDenied),
            1,
            &[refuses, denied],
            ONE,
        ),
        case(
            Refuses(Step::Open, Code::Failure),
            1,
            &[refuses, "Failure"],
            ONE,
        ),
        case(
            Refuses(Step::Open, Code::ConnectionLost),
            1,
            &["Connection lost"],
            ALL,
        ),
        case(Directory, 3, &["it is a directory"], ONE),
        case(
            Refuses(Step::Stat, Code::OpUnsupported),
            1,
            &[refuses, "unsupported"],
            ONE,
        ),
        case(
            Refuses(Step::Read, Code::PermissionDenied),
            1,
            &[refuses],
            ONE,
        ),
        case(Refuses(Step::Read, Code::Failure), 1, &[refuses], ALL).any_tries(),
        case(EndsAt(Step::Login), 1, hung_up, ALL),
        case(EndsAt(Step::Channel), 1, hung_up, ALL),
        case(EndsAt(Step::Subsystem), 1, hung_up, ALL),
        case(EndsAt(Step::Init), 1, broke_off, ALL),
        case(EndsAt(Step::Open), 1, broke_off, ALL),
        case(EndsAt(Step::Stat), 1, broke_off, ALL),
        case(EndsAt(Step::Read), 1, broke_off, ALL).any_tries(),
    ];
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let at_nobody = format!("sftp://u:p@{nobody}/f");
    cases.push(Case::of_uri(
        "nobody",
        at_nobody,
        1,
        &["Connection refused"],
    ));
    for (path, words) in [("d/", &["names a directory"]), ("", &["names a directory"])] {
        let mut case = case(Fault::None, 1, words, 0);
        case.uri = case.uri.replace("d/f", path);
        cases.push(case);
    }
    check(&cases);
}

#[test]
fn silence() {
    let steps = [
        Step::Login,
        Step::Channel,
        Step::Subsystem,
        Step::Init,
        Step::Open,
        Step::Stat,
    ];
    let faults = steps.map(Fault::WaitsAt).into_iter().chain([
        Fault::SaysAndWaits(""),
        Fault::SaysAndWaits("SSH-2.0-x\r\n"),
        Fault::SaysAndWaits("hello\r\n"),
    ]);
    let mut cases: Vec<Case> = faults
        .map(|fault| case(fault, 2, &["Timeout."], ALL).impatient())
        .collect();
    let reading = case(Fault::WaitsAt(Step::Read), 2, &["Timeout."], ALL);
    cases.push(reading.any_tries().impatient());
    check(&cases);
}

/// A server that stops talking in the middle of the handshake keeps no socket of ours.
#[test]
fn what_is_given_up_is_closed() {
    let server = sftp_server::start(data(), Fault::SaysAndWaits("SSH-2.0-x\r\n"));
    let engine = Engine::start(EngineConfig::default()).unwrap();
    let outcome = fetch(&engine, uri(&server, &right_login()), &[("max-tries", "2")]);
    assert_eq!(outcome.code, 2, "{}", outcome.message);
    let deadline = Instant::now() + Duration::from_secs(30);
    while server.ended.load(Ordering::Relaxed) < 2 {
        assert!(Instant::now() < deadline, "a connection is still open");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn files_that_are_not_what_they_were_said_to_be() {
    let cases = [
        case(Fault::Size(5), 1, &["early, at byte 300000"], 0),
        case(Fault::Size(-5), 1, &["more than the 299995 bytes"], 0),
        case(Fault::Size(i64::MAX), 28, &["too big"], 0),
    ];
    check(&cases.map(|case| case.any_tries().misleading()));
}

#[test]
fn logins() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let openssh = |seed| key(seed).to_openssh(LineEnding::LF).unwrap().to_string();
    let [wrong, locked, junk] = [
        file("wrong", &openssh(3)),
        file("locked", LOCKED_KEY),
        file("junk", "junk"),
    ];
    let login = |name, login: &str, words: &[&'static str]| {
        let server = sftp_server::start(data(), Fault::None);
        let uri = uri(&server, login);
        Case::of_uri(name, uri, 1, words).counted(server.connections, ONE)
    };
    let bad = format!("{USER}:{PASSWORD}");
    let failure = "SSH authentication failure";
    let cases = [
        login("wrong password", &bad, &[failure, "user", "the password"]),
        login("nothing to show", USER, &[failure, "user"]),
        login("wrong key", USER, &[failure, "the key file"]).with("ssh-private-key", wrong),
        login("no key file", USER, &["/no/key", "No such file"]).with("ssh-private-key", "/no/key"),
        login("locked key", USER, &["locked", "passphrase"]).with("ssh-private-key", locked),
        login("no key", USER, &["junk", "cannot be used"]).with("ssh-private-key", junk),
    ];
    check(&cases);
    let right = file("right", &openssh(2));
    let server = sftp_server::start(data(), Fault::None);
    let engine = Engine::start(EngineConfig::default()).unwrap();
    let outcome = fetch(&engine, uri(&server, USER), &[("ssh-private-key", &right)]);
    assert_eq!(outcome.code, 0, "{}", outcome.message);
}

/// Hex digits of the server's key by each kind of digest.
fn digests() -> [(&'static str, String); 3] {
    let blob = key(1).public_key().to_bytes().unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [
        ("md5", hex(&Md5::digest(&blob))),
        ("sha-1", hex(&Sha1::digest(&blob))),
        ("sha-256", hex(&Sha256::digest(&blob))),
    ]
}

#[test]
fn the_hosts_key_is_the_one_that_was_named() {
    let engine = Engine::start(EngineConfig::default()).unwrap();
    let mut cases = Vec::new();
    for (kind, digest) in digests() {
        let server = sftp_server::start(data(), Fault::None);
        let pin = format!("{kind}={}", digest.to_uppercase());
        let options = [("ssh-host-key-md", pin.as_str())];
        let outcome = fetch(&engine, uri(&server, &right_login()), &options);
        assert_eq!(outcome.code, 0, "{kind}: {}", outcome.message);
        let other = format!("{kind}={}", "0".repeat(digest.len()));
        // The key that was found can be compared with what the host's owner says.
        let words = ["Unexpected SSH host key", &*digest.leak()];
        let case = case(Fault::None, 1, &words, ONE).any_tries();
        cases.push(case.with("ssh-host-key-md", other));
    }
    check(&cases);
}

#[test]
fn servers_may_do_as_they_like_within_the_rules() {
    let engine = Engine::start(EngineConfig::default()).unwrap();
    for fault in [
        Fault::None,
        Fault::NoSize,
        Fault::ReadsUpTo(1000),
        Fault::ReadsTooMuch(100),
        // Several are in flight.
        Fault::HoldsReads(8),
    ] {
        for split in ["1", "3"] {
            let server = sftp_server::start(data(), fault);
            let options = [("split", split)];
            let outcome = fetch(&engine, uri(&server, &right_login()), &options);
            assert_eq!(outcome.code, 0, "{fault:?}: {}", outcome.message);
            assert!(outcome.file == Some(data()), "{fault:?}");
        }
    }
}
