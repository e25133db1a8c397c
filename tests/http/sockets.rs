//! Options of HTTP's sockets: `dscp` and `socket-recv-buffer-size`.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use arioso::option::settings::ConnectionSettings;
use arioso::source::Opening;
use rustls::version::TLS13;
use socket2::SockRef;

use crate::origin::{Origin, pattern};
use crate::rig::Setup;
use crate::tls_front::TlsFront;

/// Type of service and receive buffer of this process's connections to `peer`. There may be
/// earlier ones that have not quite ended.
fn options_of_connections_to(peer: SocketAddr) -> Vec<(u32, usize)> {
    let numbers = std::fs::read_dir("/proc/self/fd").unwrap();
    let numbers = numbers.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let options_of = |number| {
        // SAFETY: nothing is done to it but asking, whatever it has become by then.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        let socket = SockRef::from(&fd);
        let is_it = socket.peer_addr().ok()?.as_socket()? == peer;
        let options = (socket.tos_v4().ok()?, socket.recv_buffer_size().ok()?);
        is_it.then_some(options)
    };
    numbers.filter_map(options_of).collect()
}

async fn check(uri: &str, server: SocketAddr, change: impl Fn(&mut ConnectionSettings)) {
    let mut setup = Setup::default();
    setup.settings.tls.check_certificate = false;
    change(&mut setup.settings.connection);
    let tos = u32::from(setup.settings.connection.dscp) << 2;
    // Linux doubles it, for its own use.
    let buffer = setup.settings.connection.receive_buffer_len;
    let buffer = buffer.map(|len| 2 * len);
    let mut rig = setup.start(uri, Opening::Whole);
    let len = rig.opened().await.identity.len.unwrap();
    let found = options_of_connections_to(server);
    let is_it = |one: &(u32, usize)| one.0 == tos && buffer.is_none_or(|len| one.1 == len);
    assert!(found.iter().any(is_it), "{uri}: {tos} {buffer:?} {found:?}");
    rig.fetch(0, len);
    rig.idle().await;
    rig.close().await;
    rig.check(&pattern(1_000_000), &[(0, len)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_of_http_have_the_options_that_are_set() {
    let origin = Origin::with_file(pattern(1_000_000));
    let front = TlsFront::start(origin.address(), "server.pem", &TLS13);
    for (uri, server) in [
        (origin.url("/f"), origin.address()),
        (format!("https://{}/f", front.address), front.address),
    ] {
        check(&uri, server, |_| {}).await;
        check(&uri, server, |settings| settings.dscp = 8).await;
        check(&uri, server, |settings| {
            settings.receive_buffer_len = Some(20_000)
        })
        .await;
    }
}
