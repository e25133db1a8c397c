use super::*;
use crate::option::OptionSet;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

fn settings() -> ConnectionSettings {
    ConnectionSettings::from(&OptionSet::new())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// A server that answers each step of a script: what it must read, what it then writes.
async fn scripted(script: Vec<(Vec<u8>, Vec<u8>)>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for (wanted, answer) in script {
            let mut read = vec![0; wanted.len()];
            stream.read_exact(&mut read).await.unwrap();
            assert_eq!(read, wanted);
            stream.write_all(&answer).await.unwrap();
        }
    });
    port
}

async fn dialled(proxy: String) -> Result<String, Failure> {
    let proxy = Secret::new(proxy);
    let mut stream = tcp("name.test", 258, &settings(), Some(&proxy), soon()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    Ok(text)
}

#[tokio::test]
async fn names_addresses_interfaces_and_options() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut settings = settings();
    settings.interfaces = vec!["127.0.0.1".to_owned(), "127.0.0.1".to_owned()];
    settings.dscp = 8;
    settings.receive_buffer_len = Some(64 * 1024);
    for host in ["127.0.0.1", "localhost"] {
        settings.disable_ipv6 = host == "localhost";
        let stream = tcp(host, port, &settings, None, soon()).await.unwrap();
        let socket = SockRef::from(&stream);
        assert_eq!(socket.tos_v4().unwrap(), 32);
        assert!(socket.recv_buffer_size().unwrap() >= 64 * 1024);
    }
    settings.interfaces = vec!["no such thing".to_owned()];
    let failure = tcp("127.0.0.1", port, &settings, None, soon()).await;
    assert_eq!(failure.unwrap_err().code, ErrorCode::Unknown);
}

#[tokio::test]
async fn failures_have_their_codes() {
    let settings = settings();
    let unknown = tcp("host.invalid", 9, &settings, None, soon()).await;
    assert_eq!(unknown.unwrap_err().code, ErrorCode::NameResolution);
    // A listener that never accepts, behind a proxy handshake that never ends.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Secret::new(format!("socks5://{}", listener.local_addr().unwrap()));
    let deadline = Instant::now() + Duration::from_millis(100);
    let late = tcp("127.0.0.1", 9, &settings, Some(&proxy), deadline).await;
    assert_eq!(late.unwrap_err().code, ErrorCode::Timeout);
    drop(listener);
    let refused = tcp("127.0.0.1", 9, &settings, Some(&proxy), soon()).await;
    let refused = refused.unwrap_err();
    assert_eq!((refused.code, refused.retry), (ErrorCode::Unknown, AT_ONCE));
    assert!(refused.message.ends_with("Connection refused"));
}

#[tokio::test]
async fn http_proxies_are_asked_for_a_tunnel() {
    let request = "CONNECT name.test:258 HTTP/1.1\r\nHost: name.test:258\r\n\
                   Proxy-Authorization: Basic dTpwQA==\r\n\r\n";
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\nA: b\r\n\r\n220 hi", Ok("220 hi")),
        ("HTTP/1.0 407 No\r\n\r\n", Err(ErrorCode::HttpAuthFailed)),
        ("HTTP/1.1 502 Bad\r\n\r\n", Err(ErrorCode::Unknown)),
        ("nonsense\r\n\r\n", Err(ErrorCode::Unknown)),
        ("HTTP/1.1 200 OK\r\n", Err(ErrorCode::Unknown)),
    ] {
        let port = scripted(vec![(request.into(), answer.into())]).await;
        let found = dialled(format!("http://u:p%40@127.0.0.1:{port}")).await;
        match expected {
            Ok(text) => assert_eq!(found.unwrap(), text),
            Err(code) => {
                let failure = found.unwrap_err();
                assert_eq!(failure.code, code, "{answer}");
                assert!(!failure.message.contains("p@"));
            }
        }
    }
}

#[tokio::test]
async fn socks5_with_and_without_login() {
    let ask = b"\x05\x01\x00\x03\x09name.test\x01\x02".to_vec();
    let done = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00220 hi".to_vec();
    let port = scripted(vec![
        (vec![5, 1, 0], vec![5, 0]),
        (ask.clone(), done.clone()),
    ])
    .await;
    let found = dialled(format!("socks5h://127.0.0.1:{port}")).await;
    assert_eq!(found.unwrap(), "220 hi");
    for (login, expected) in [(0, true), (1, false)] {
        let port = scripted(vec![
            (vec![5, 2, 0, 2], vec![5, 2]),
            (b"\x01\x01u\x02p@".to_vec(), vec![1, login]),
            (ask.clone(), done.clone()),
        ])
        .await;
        let found = dialled(format!("socks5h://u:p%40@127.0.0.1:{port}")).await;
        assert_eq!(found.is_ok(), expected);
    }
    let port = scripted(vec![(vec![5, 1, 0], vec![5, 0]), (ask, vec![5, 5, 0, 1])]).await;
    let failure = dialled(format!("socks5h://127.0.0.1:{port}"))
        .await
        .unwrap_err();
    assert!(failure.message.contains("connection refused"));
}

#[tokio::test]
async fn socks4a_sends_the_name() {
    let ask = b"\x04\x01\x01\x02\x00\x00\x00\x01u\x00name.test\x00".to_vec();
    let port = scripted(vec![(ask, b"\x00\x5a\0\0\0\0\0\x00220 hi".to_vec())]).await;
    let found = dialled(format!("socks4a://u@127.0.0.1:{port}")).await;
    assert_eq!(found.unwrap(), "220 hi");
}

#[test]
fn families_take_turns() {
    let parse = |text: &str| -> SocketAddr { text.parse().unwrap() };
    let (a6, b6, c6) = (parse("[::1]:1"), parse("[::2]:1"), parse("[::3]:1"));
    let (a4, b4) = (parse("1.1.1.1:1"), parse("2.2.2.2:1"));
    assert_eq!(alternate(vec![a6, b6, c6, a4]), [a6, a4, b6, c6]);
    assert_eq!(alternate(vec![a4, b4, a6]), [a4, a6, b4]);
    assert!(alternate(Vec::new()).is_empty());
}

#[test]
fn proxies_have_their_ports() {
    for (proxy, place) in [
        ("http://h", ("h", 80)),
        ("socks5://h", ("h", 1080)),
        ("socks5h://[::1]:9", ("::1", 9)),
        ("http://[::1]:9", ("::1", 9)),
    ] {
        let (host, port) = place_of(&Url::parse(proxy).unwrap()).unwrap();
        assert_eq!((host.as_str(), port), place);
    }
}
