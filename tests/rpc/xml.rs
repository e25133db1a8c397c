//! XML-RPC.

use super::server::{Server, filtered};

fn call(method: &str, params: &[&str]) -> String {
    let params: String = params
        .iter()
        .map(|param| format!("<param><value>{param}</value></param>"))
        .collect();
    format!(
        "<?xml version=\"1.0\"?><methodCall><methodName>{method}</methodName><params>{params}</params></methodCall>"
    )
}

fn fault(message: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><methodResponse><fault><value><struct><member><name>faultCode</name><value><int>1</int></value></member><member><name>faultString</name><value><string>{message}</string></value></member></struct></value></fault></methodResponse>"
    )
}

fn success(value: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><methodResponse><params><param><value>{value}</value></param></params></methodResponse>"
    )
}

#[test]
fn answers_and_faults() {
    let server = Server::start();
    let pos = ["<string>1</string>", "<int>9</int>", "POS_SET"];
    let add = [
        "<array><data><value><string>http://h/f?a&amp;b</string></value></data></array>",
        "<struct><member><name>pause</name><value>true</value></member><member><name>gid</name><value>1000000000000001</value></member></struct>",
    ];
    for (body, answer) in [
        (call("aria2.pauseAll", &[]), success("<string>OK</string>")),
        (
            call("aria2.addUri", &add),
            success("<string>1000000000000001</string>"),
        ),
        (call("aria2.changePosition", &pos), success("<int>0</int>")),
        (
            call("aria2.getUris", &["1000"]),
            success(
                "<array><data><value><struct><member><name>status</name><value><string>waiting</string></value></member><member><name>uri</name><value><string>http://h/f?a&amp;b</string></value></member></struct></value></data></array>",
            ),
        ),
        (
            call("aria2.tellStopped", &["<int>0</int>", "<i4>9</i4>"]),
            success("<array><data></data></array>"),
        ),
        (
            call("aria2.tellStatus", &["zz&lt;"]),
            fault("Invalid GID zz&lt;"),
        ),
        (
            call("aria2.tellStatus", &["<int>1</int>"]),
            fault("The parameter at 0 has wrong type."),
        ),
        (
            call("aria2.tellStatus", &[""]),
            fault("The parameter at 0 is required but missing."),
        ),
        (call("aria2.foo", &[]), fault("No such method: aria2.foo")),
        ("<foo/>".to_owned(), fault("No such method: ")),
        (
            call("aria2.addTorrent", &["<base64>eHh4eA==</base64>"]),
            fault("Bencode decoding failed"),
        ),
    ] {
        let response = server.xml(&body);
        assert_eq!(
            (response.status, response.header("Content-Type")),
            (200, Some("text/xml"))
        );
        assert_eq!(filtered(&response.text()), answer, "{body}");
    }
}

#[test]
fn multicall_mixes_results_and_faults() {
    let server = Server::start();
    let inner = |name: &str| {
        format!(
            "<value><struct><member><name>methodName</name><value>{name}</value></member></struct></value>"
        )
    };
    let calls = format!(
        "<array><data>{}{}</data></array>",
        inner("aria2.pauseAll"),
        inner("aria2.foo")
    );
    assert_eq!(
        server.xml(&call("system.multicall", &[&calls])).text(),
        success(
            "<array><data><value><array><data><value><string>OK</string></value></data></array></value><value><struct><member><name>faultCode</name><value><int>1</int></value></member><member><name>faultString</name><value><string>No such method: aria2.foo</string></value></member></struct></value></data></array>"
        )
    );
}

#[test]
fn malformed_is_a_400_without_body() {
    let server = Server::start();
    for body in ["", "5", "<methodCall>", "<a></b>", "<a/>x"] {
        let response = server.xml(body);
        assert_eq!(
            response.head,
            "HTTP/1.1 400 Bad Request\nDate: T\nContent-Length: 0\nExpires: T\nCache-Control: no-cache",
            "{body}"
        );
    }
}
