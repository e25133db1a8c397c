use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::file_server::{FileServer, bytes};
use crate::program::{Home, wait_for};
use crate::server::Server;
use crate::torrent::Torrent;

/// A command that notes its name, its arguments and what the environment says of the outcome.
fn hook(home: &Home, name: &str) -> String {
    let script = format!(
        "#!/bin/sh\necho \"{name} $1 $2 $3 $ARIOSO_STATUS $ARIOSO_ERROR_CODE \
         $ARIOSO_INFO_HASH\" >> {}\n",
        home.path("calls").display()
    );
    let path = home.path(name);
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn every_turn_of_a_download_has_its_hook() {
    let (home, files) = (Home::new(), FileServer::start());
    let hooks = [
        ("pause", "--on-download-pause"),
        ("stop", "--on-download-stop"),
        ("error", "--on-download-error"),
        ("complete", "--on-download-complete"),
        ("verified", "--on-bt-download-complete"),
    ];
    let args = hooks.map(|(name, option)| format!("{option}={}", hook(&home, name)));
    let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
    args.push("--state-dir=");
    let server = Server::start(home.arioso(), &args);
    let gid = |digit: &str| digit.repeat(16);
    let dir = home.path("dl").display().to_string();
    let called = |line: String| {
        wait_for(&line, || {
            let calls = fs::read_to_string(home.path("calls")).ok()?;
            calls
                .lines()
                .any(|call| call.trim_end() == line)
                .then_some(())
        });
    };

    let uri = files.page("/a", &bytes(1000, 1));
    files.set_gate("/a", 500);
    server.call("aria2.addUri", json!([[uri], {"gid": gid("a")}]));
    server.wait_for_status(&gid("a"), "completedLength", &["500"]);
    server.call("aria2.pause", json!([gid("a")]));
    called(format!("pause {} 1 {dir}/a paused 0", gid("a")));
    server.call("aria2.unpause", json!([gid("a")]));
    server.wait_for_status(&gid("a"), "status", &["active"]);
    server.call("aria2.remove", json!([gid("a")]));
    called(format!("stop {} 1 {dir}/a removed 31", gid("a")));

    let missing = files.uri("/missing");
    server.call(
        "aria2.addUri",
        json!([[missing], {"gid": gid("b"), "out": "x"}]),
    );
    called(format!("error {} 1 {dir}/x error 3", gid("b")));

    let torrent = Torrent::single("whole.bin", 40_000, "");
    fs::write(home.file("whole.bin"), &torrent.data).unwrap();
    let options = json!({"gid": gid("c"), "check-integrity": "true", "seed-time": "0"});
    server.call("aria2.addTorrent", json!([torrent.base64(), [], options]));
    let (gid, hash) = (gid("c"), &torrent.info_hash);
    called(format!("verified {gid} 1 {dir}/whole.bin active 0 {hash}"));
    called(format!(
        "complete {gid} 1 {dir}/whole.bin complete 0 {hash}"
    ));
    assert_eq!(server.stop(), 3);
}
