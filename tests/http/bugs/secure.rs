//! 25-31: names, addresses, TLS.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};

use crate::chain::{Chain, download};
use crate::name_server::{self, Answer};
use crate::origin::{Origin, Reply, pattern};
use crate::program::{Home, run, stdout};
use crate::tls_front::{TlsFront, tls_file};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

fn download_by(names: SocketAddr, args: &[&str], uri: &str) -> Chain {
    let server = format!("--async-dns-server={names}");
    download(&[args, &[&server]].concat(), &[uri])
}

/// An address that takes no connection and refuses none: its queue is full.
fn black_hole(port: u16) -> (socket2::Socket, Vec<TcpStream>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
    socket.set_only_v6(true).unwrap();
    let address = SocketAddr::new(V6, port);
    socket.bind(&address.into()).unwrap();
    socket.listen(0).unwrap();
    let mut kept = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        kept.push(stream);
    }
    (socket, kept)
}

#[test]
fn bug_25_a_failing_question_for_ipv4_does_not_hide_ipv6() {
    let data = pattern(1000);
    let origin = Origin::start_at("[::1]:0", {
        let data = data.clone();
        move |seen| Reply::file(&data, seen, &[])
    });
    for fails in [true, false] {
        let names = name_server::start(move |_, six| match six {
            true => Answer::Address(V6),
            false if fails => Answer::Failure,
            false => Answer::Empty,
        });
        let uri = format!("http://six.test:{}/f", origin.address().port());
        download_by(names, &[], &uri).is_complete(&data);
    }
}

#[test]
fn bug_26_an_ipv6_black_hole_costs_a_moment() {
    let data = pattern(1000);
    let origin = Origin::with_file(data.clone());
    let port = origin.address().port();
    let _hole = black_hole(port);
    let names = name_server::start(|_, six| Answer::Address(if six { V6 } else { V4 }));
    let chain = download_by(names, &[], &format!("http://both.test:{port}/f"));
    chain.is_complete(&data);
    // 300 ms, and starting the program on a busy machine; the hole itself would cost a minute.
    assert!(chain.took < Duration::from_secs(15), "{:?}", chain.took);
}

#[test]
fn name_servers_and_ipv6_are_left_out_where_that_is_said() {
    let data = pattern(1000);
    let origin = Origin::start_at("[::1]:0", {
        let data = data.clone();
        move |seen| Reply::file(&data, seen, &[])
    });
    let uri = format!("http://six.test:{}/f", origin.address().port());
    let asked = Arc::new(AtomicBool::new(false));
    let names = name_server::start({
        let asked = asked.clone();
        move |_, six| {
            asked.store(true, Ordering::Relaxed);
            if six {
                Answer::Address(V6)
            } else {
                Answer::Empty
            }
        }
    });
    let chain = download_by(names, &["--async-dns=false", "--max-tries=1"], &uri);
    assert!(chain.code > 0, "{}", chain.text);
    assert!(!asked.load(Ordering::Relaxed), "{}", chain.text);
    download_by(names, &["--disable-ipv6", "--max-tries=1"], &uri).failed(19);
    assert!(asked.load(Ordering::Relaxed));
    assert!(origin.seen().is_empty());
    download_by(names, &[], &uri).is_complete(&data);
}

#[test]
fn connections_leave_from_the_interface_they_are_given() {
    let data = pattern(4 * 1024 * 1024);
    let body = data.clone();
    let origin = Origin::start(move |seen| {
        Reply::file(&body, seen, &[]).slowly(100_000, Duration::from_millis(40))
    });
    let mut looked_at = 0;
    let mut peers = |args: &[&str]| {
        let all = ["-x2", "-s2", "--allow-overwrite"];
        download(&[&all, args].concat(), &[&origin.url("/f")]).is_complete(&data);
        let seen = origin.seen();
        let peers: BTreeSet<String> = seen[looked_at..]
            .iter()
            .map(|seen| seen.peer.to_string())
            .collect();
        looked_at = seen.len();
        Vec::from_iter(peers)
    };
    assert_eq!(peers(&["--interface=127.0.0.2"]), ["127.0.0.2"]);
    assert_eq!(peers(&["--interface=lo"]), ["127.0.0.1"]);
    let both = "--multiple-interface=127.0.0.2,127.0.0.3";
    assert_eq!(peers(&[both]), ["127.0.0.2", "127.0.0.3"]);
    assert_eq!(peers(&[both, "--interface=127.0.0.4"]), ["127.0.0.4"]);
    // Nothing on this machine is reached by way of another interface than lo.
    let interfaces = std::fs::read_dir("/sys/class/net").unwrap();
    let mut names = interfaces.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let other = names.find(|name| name != "lo" && name != "bonding_masters");
    let Some(other) = other else {
        eprintln!("skipped: this machine has no network interface but lo");
        return;
    };
    let through = format!("--interface={other}");
    let args = [&through, "--connect-timeout=1", "--max-tries=1"];
    let chain = download(&args, &[&origin.url("/f")]);
    assert!(chain.code > 0, "{}", chain.text);
    assert_eq!(origin.seen().len(), looked_at);
}

#[test]
fn bug_27_a_bad_ipv6_address_is_refused_and_a_zone_is_kept() {
    let began = Instant::now();
    let chain = download(&[], &["http://[::g]/f"]);
    assert!(chain.code > 0, "{}", chain.text);
    assert!(began.elapsed() < Duration::from_secs(20));
    let data = pattern(1000);
    let origin = Origin::start_at("[::1]:0", {
        let data = data.clone();
        move |seen| Reply::file(&data, seen, &[])
    });
    let uri = format!("http://[::1%25lo]:{}/f", origin.address().port());
    download(&[], &[&uri]).is_complete(&data);
    let host = format!("[::1]:{}", origin.address().port());
    assert_eq!(origin.seen()[0].header("host"), Some(host.as_str()));
}

#[test]
fn bug_28_a_redirect_to_another_name_of_the_same_address_gets_its_own_tls() {
    let data = pattern(1000);
    let names = name_server::start(|_, six| match six {
        true => Answer::Empty,
        false => Answer::Address(V4),
    });
    let body = data.clone();
    let origin = Origin::start(move |seen| match seen.header("host") {
        Some(host) if host.starts_with("a.test") => {
            Reply::redirect(&format!("https://{}/f", host.replace("a.test", "b.test")))
        }
        _ => Reply::file(&body, seen, &[]),
    });
    let front = TlsFront::start(origin.address(), "server.pem", &TLS13);
    let uri = format!("https://a.test:{}/f", front.address.port());
    download_by(names, &["--check-certificate=false"], &uri).is_complete(&data);
    assert_eq!(front.names(), ["a.test", "b.test"]);
}

#[test]
fn bug_29_an_unreadable_certificate_file_is_named() {
    let chain = download(
        &["--ca-certificate=/no/such.pem"],
        &["https://127.0.0.1:1/f"],
    );
    assert!(chain.code > 0);
    assert!(chain.text.contains("/no/such.pem"), "{}", chain.text);
}

#[test]
fn bug_30_and_31_old_tls_and_certificates_for_another_purpose_are_refused() {
    let data = pattern(1000);
    let origin = Origin::with_file(data.clone());
    let authority = format!("--ca-certificate={}", tls_file("authority.pem").display());
    for (identity, version, least, good) in [
        ("server.pem", &TLS12, "TLSv1.2", true),
        ("server.pem", &TLS13, "TLSv1.3", true),
        ("server.pem", &TLS12, "TLSv1.3", false),
        ("client.pem", &TLS13, "TLSv1.2", false),
    ] {
        let front = TlsFront::start(origin.address(), identity, version);
        let least = format!("--min-tls-version={least}");
        let args = [authority.as_str(), &least, "--max-tries=1"];
        let chain = download(&args, &[&format!("https://{}/f", front.address)]);
        match good {
            true => chain.is_complete(&data),
            false => chain.failed(1),
        }
    }
    // Nobody vouches for it where the authority is not named.
    let front = TlsFront::start(origin.address(), "server.pem", &TLS13);
    download(&[], &[&format!("https://{}/f", front.address)]).failed(1);
}

/// The system's authorities are trusted; where there are none, Mozilla's, which have not signed ours.
#[test]
fn the_systems_authorities_are_trusted_and_bundled_ones_stand_in() {
    let data = pattern(1000);
    let origin = Origin::with_file(data.clone());
    let front = TlsFront::start(origin.address(), "server.pem", &TLS13);
    let uri = format!("https://{}/f", front.address);
    let ours = tls_file("authority.pem");
    for (roots, argument, code, stands_in) in [
        (
            ours.as_path(),
            "--check-certificate=true".to_owned(),
            0,
            false,
        ),
        (
            Path::new("/no/such"),
            "--check-certificate=true".to_owned(),
            1,
            true,
        ),
        (
            Path::new("/no/such"),
            format!("--ca-certificate={}", ours.display()),
            0,
            false,
        ),
    ] {
        let home = Home::new();
        let mut program = home.arioso();
        program
            .env("SSL_CERT_FILE", roots)
            .env("SSL_CERT_DIR", "/no/such");
        let output = run(
            &mut program,
            &["--no-conf", "--max-tries=1", &argument, &uri],
        );
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert_eq!(text.contains("Mozilla's are used"), stands_in, "{text}");
    }
}
