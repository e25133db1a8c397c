use std::fs;

use serde_json::json;

use crate::program::{Home, wait_for};
use crate::server::Server;

#[test]
fn the_session_file_is_written_from_time_to_time() {
    let home = Home::new();
    let session = home.path("session");
    let save = format!("--save-session={}", session.display());
    let args = [&save, "--save-session-interval=1", "--state-dir="];
    let server = Server::start(home.arioso(), &args);
    let add = |digit: &str| {
        let options = json!({"gid": digit.repeat(16), "pause": "true"});
        server.call("aria2.addUri", json!([["http://127.0.0.1:1/x"], options]));
        let told = format!("\n gid={}\n pause=true\n", digit.repeat(16));
        wait_for(&told, || {
            let text = fs::read_to_string(&session).ok()?;
            text.contains(&told).then_some(())
        });
    };
    add("a");
    add("b");
    server.kill();

    // The file may be the input file as well, and what was written survives its reader.
    let input = format!("--input-file={}", session.display());
    let server = Server::start(home.arioso(), &[&save, &input, "--state-dir="]);
    let waiting = server.call("aria2.tellWaiting", json!([0, 9, ["gid", "status"]]));
    let row = |digit: &str| json!({"gid": digit.repeat(16), "status": "paused"});
    assert_eq!(waiting, json!([row("a"), row("b")]));
    let before = fs::read_to_string(&session).unwrap();
    assert_eq!(server.stop(), 0);
    assert_eq!(fs::read_to_string(&session).unwrap(), before);
}
