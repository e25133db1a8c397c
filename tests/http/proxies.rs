//! Proxies: what they are told and who is reached without them.

use std::net::SocketAddr;

use arioso::base::error::ErrorCode;
use arioso::base::secret::Secret;
use arioso::option::value::ProxyMethod;
use arioso::source::Opening;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::origin::{Origin, Reply, pattern};
use crate::rig::Setup;

fn through(proxy: &str) -> Setup {
    let mut setup = Setup::default();
    setup.settings.proxies.http = Some(Secret::new(proxy));
    setup.settings.proxies.https = Some(Secret::new(proxy));
    setup
}

#[tokio::test(flavor = "multi_thread")]
async fn http_is_asked_for_by_its_whole_url() {
    let data = pattern(1000);
    let proxy = Origin::with_file(data.clone());
    let uri = proxy.url("").replace("http://", "http://u:p%40@");
    let mut rig = through(&uri).start("http://host.invalid/f?q", Opening::Whole);
    rig.opened().await;
    rig.fetch(0, 1000);
    rig.idle().await;
    rig.close().await;
    rig.check(&data, &[(0, 1000)]);
    let seen = &proxy.seen()[0];
    assert_eq!(seen.path, "http://host.invalid/f?q");
    assert_eq!(seen.header("host"), Some("host.invalid"));
    assert_eq!(seen.header("proxy-authorization"), Some("Basic dTpwQA=="));
    assert_eq!(seen.header("authorization"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn https_goes_through_a_tunnel() {
    let proxy = Origin::start(|_| Reply::status("407 Proxy Authentication Required"));
    let mut rig = through(&proxy.url("")).start("https://host.invalid/f", Opening::Whole);
    assert_eq!(rig.failure().await.code, ErrorCode::HttpAuthFailed);
    let seen = &proxy.seen()[0];
    assert_eq!(
        (seen.method.as_str(), seen.path.as_str()),
        ("CONNECT", "host.invalid:443")
    );
}

/// An HTTP proxy that connects everybody to `origin`; gives the heads of what it was asked.
async fn connecting_proxy(origin: SocketAddr) -> (String, UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://u:p@{}", listener.local_addr().unwrap());
    let (heads_out, heads) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await.unwrap());
            }
            heads_out.send(String::from_utf8(head).unwrap()).unwrap();
            let mut server = TcpStream::connect(origin).await.unwrap();
            let yes = b"HTTP/1.1 200 Connection established\r\n\r\n";
            client.write_all(yes).await.unwrap();
            tokio::spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (uri, heads)
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_goes_through_a_tunnel_where_that_is_wanted() {
    let data = pattern(1000);
    let origin = Origin::with_file(data.clone());
    let (proxy, mut heads) = connecting_proxy(origin.address()).await;
    let mut setup = through(&proxy);
    setup.settings.proxies.method = ProxyMethod::Tunnel;
    let mut rig = setup.start("http://host.invalid/f?q", Opening::Lease);
    for (start, end) in [(0, 500), (700, 1000)] {
        rig.fetch(start, end);
        if start == 0 {
            rig.opened().await;
        }
        rig.idle().await;
    }
    rig.close().await;
    rig.check(&data, &[(0, 500), (700, 1000)]);
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("CONNECT host.invalid:80 HTTP/1.1\r\n"));
    assert!(head.contains("Proxy-Authorization: Basic dTpw\r\n"));
    // The tunnel is kept for the second range.
    assert!(heads.try_recv().is_err());
    for seen in origin.seen() {
        assert_eq!(seen.path, "/f?q");
        assert_eq!(seen.header("host"), Some("host.invalid"));
        assert_eq!(seen.header("proxy-authorization"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_tunnel_is_told() {
    for (status, code) in [
        (
            "407 Proxy Authentication Required",
            ErrorCode::HttpAuthFailed,
        ),
        ("403 Forbidden", ErrorCode::Unknown),
    ] {
        let proxy = Origin::start(move |_| Reply::status(status));
        let mut setup = through(&proxy.url(""));
        setup.settings.proxies.method = ProxyMethod::Tunnel;
        let mut rig = setup.start("http://host.invalid/f", Opening::Whole);
        assert_eq!(rig.failure().await.code, code);
        assert_eq!(proxy.seen()[0].method, "CONNECT");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exempt_hosts_are_reached_directly() {
    let origin = Origin::with_file(pattern(10));
    let mut setup = through("http://127.0.0.1:1");
    setup.settings.proxies.exempt = ["127.0.0.0/8".into()].into();
    setup
        .start(&origin.url("/f"), Opening::Whole)
        .opened()
        .await;
    assert_eq!(origin.seen()[0].path, "/f");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_wants_a_login_is_code_24() {
    let proxy = Origin::start(|_| Reply::status("407 Proxy Authentication Required"));
    let mut rig = through(&proxy.url("")).start("http://host.invalid/f", Opening::Whole);
    assert_eq!(rig.failure().await.code, ErrorCode::HttpAuthFailed);
}

/// A SOCKS server for one connection: no login, then CONNECT. Gives what was asked for.
async fn socks5(listener: TcpListener, origin: SocketAddr) -> (u8, Vec<u8>) {
    let (mut client, _) = listener.accept().await.unwrap();
    let mut hello = [0; 2];
    client.read_exact(&mut hello).await.unwrap();
    let mut methods = vec![0; usize::from(hello[1])];
    client.read_exact(&mut methods).await.unwrap();
    client.write_all(&[5, 0]).await.unwrap();
    let mut head = [0; 4];
    client.read_exact(&mut head).await.unwrap();
    let len = match head[3] {
        1 => 4,
        4 => 16,
        _ => usize::from(client.read_u8().await.unwrap()),
    };
    let mut host = vec![0; len];
    client.read_exact(&mut host).await.unwrap();
    client.read_u16().await.unwrap();
    let granted = [5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    client.write_all(&granted).await.unwrap();
    let mut server = TcpStream::connect(origin).await.unwrap();
    tokio::spawn(async move {
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    });
    (head[3], host)
}

#[tokio::test(flavor = "multi_thread")]
async fn socks5_resolves_here_and_socks5h_there() {
    const ADDRESS_V4: u8 = 1;
    const NAME: u8 = 3;
    for (scheme, host, kind) in [
        ("socks5", "127.0.0.1", ADDRESS_V4),
        ("socks5h", "host.invalid", NAME),
    ] {
        let data = pattern(1000);
        let origin = Origin::with_file(data.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = format!("{scheme}://{}", listener.local_addr().unwrap());
        let asked = tokio::spawn(socks5(listener, origin.address()));
        let mut rig = through(&proxy).start(&format!("http://{host}/f"), Opening::Whole);
        rig.opened().await;
        rig.fetch(0, 1000);
        rig.idle().await;
        rig.close().await;
        rig.check(&data, &[(0, 1000)]);
        let (got, name) = asked.await.unwrap();
        assert_eq!(got, kind, "{scheme}");
        assert!(got != NAME || name == host.as_bytes());
    }
}
