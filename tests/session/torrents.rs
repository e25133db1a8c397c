use std::fs;

use serde_json::{Value, json};

use crate::program::{Home, wait_for};
use crate::server::Server;
use crate::torrent::Torrent;

const LINK: &str = "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567&dn=linked";

fn add(server: &Server, torrent: &Torrent) -> [String; 2] {
    let options = json!({"pause": "true", "select-file": "2", "seed-ratio": "2.5"});
    let params = json!([torrent.base64(), ["http://s:1/w"], options]);
    let one = server.call("aria2.addTorrent", params);
    let change = json!([one, 2, [], ["http://mirror/2"]]);
    server.call("aria2.changeUri", change);
    let two = server.call("aria2.addUri", json!([[LINK], {"pause": "true"}]));
    [one, two].map(|gid| gid.as_str().unwrap().to_owned())
}

fn look(server: &Server, gids: &[String]) -> Vec<Value> {
    let status = |gid: &String| server.call("aria2.tellStatus", json!([gid]));
    gids.iter().map(status).collect()
}

#[test]
fn torrents_and_links_are_back_without_their_files() {
    let home = Home::new();
    let state = format!("--state-dir={}", home.path("state").display());
    let session = home.path("session");
    let save = format!("--save-session={}", session.display());
    let torrent = Torrent::multi("dir", &[("a", 20_000), ("b", 30_000)], "");
    let server = Server::start(home.arioso(), &[&state, &save]);
    let gids = add(&server, &torrent);
    server.call("aria2.saveSession", json!([]));
    let before = look(&server, &gids);
    let upload = home.file(&torrent.upload_name());
    let text = fs::read_to_string(&session).unwrap();
    assert!(
        text.starts_with(&format!(
            "{}\n gid={}\n pause=true\n",
            upload.display(),
            gids[0]
        )),
        "{text}"
    );
    assert!(
        text.contains(&format!("{LINK}\n gid={}\n", gids[1])),
        "{text}"
    );
    assert!(text.contains("\n select-file=2\n"), "{text}");
    server.kill();
    fs::remove_file(upload).unwrap();

    let server = Server::start(home.arioso(), &[&state]);
    assert_eq!(look(&server, &gids), before);
    assert_eq!(server.stop(), 0);
    // The text beside the store names the copies, which outlive the store.
    fs::remove_dir_all(home.path("state/store")).unwrap();
    let server = Server::start(home.arioso(), &[&state]);
    let again = look(&server, &gids);
    assert_eq!(again[0]["infoHash"], before[0]["infoHash"]);
    assert_eq!(again[0]["files"][1]["selected"], "true");
    assert_eq!(again[1]["infoHash"], before[1]["infoHash"]);

    let copies = || fs::read_dir(home.path("state/torrents")).map_or(0, Iterator::count);
    assert_eq!(copies(), 1);
    server.call("aria2.remove", json!([gids[0]]));
    wait_for("no copy of a removed torrent", || {
        (copies() == 0).then_some(())
    });
}

#[test]
fn an_input_file_names_torrents() {
    let home = Home::new();
    let torrent = Torrent::single("one.bin", 40_000, "");
    fs::write(home.file("t"), &torrent.bytes).unwrap();
    let gid = "00000000000000ab";
    let input = home.path("input");
    fs::write(
        &input,
        format!("t\n gid={gid}\n pause=true\n{LINK}\n pause=true\n"),
    )
    .unwrap();
    let input = format!("--input-file={}", input.display());
    let server = Server::start(home.arioso(), &[&input]);
    let status = wait_for("the torrent", || {
        let waiting = server.call("aria2.tellWaiting", json!([0, 9]));
        (waiting.as_array()?.len() == 2).then(|| waiting[0].clone())
    });
    assert_eq!(
        (&status["gid"], &status["infoHash"]),
        (&json!(gid), &json!(torrent.info_hash))
    );
}

#[test]
fn a_metalink_of_two_files_is_one_line_of_a_session() {
    let home = Home::new();
    let (session, document) = (home.path("session"), home.path("two.meta4"));
    let files = ["a", "b"].map(|name| {
        format!("<file name=\"{name}\"><size>9</size><url>http://127.0.0.1:1/{name}</url></file>")
    });
    let head = "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">";
    fs::write(&document, format!("{head}{}</metalink>", files.concat())).unwrap();
    fs::write(&session, "").unwrap();
    let save = format!("--save-session={}", session.display());
    let input = format!("--input-file={}", session.display());
    let first = format!("--metalink-file={}", document.display());
    for source in [&first, &input, &input] {
        let server = Server::start(
            home.arioso(),
            &["--state-dir=", "--pause=true", &save, source],
        );
        wait_for("both files", || {
            let waiting = server.call("aria2.tellWaiting", json!([0, 9]));
            let count = waiting.as_array().unwrap().len();
            assert!(count <= 2, "{waiting}");
            (count == 2).then_some(())
        });
        server.call("aria2.saveSession", json!([]));
        let text = fs::read_to_string(&session).unwrap();
        assert_eq!(text.matches("two.meta4").count(), 1, "{text}");
        assert_eq!(server.stop(), 0);
    }
}
