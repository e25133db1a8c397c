//! What methods answer: results, and every error text of rpc.md section 3.

use super::server::{Server, filtered};

/// A server with three paused downloads, `...01` to `...03`.
fn server() -> Server {
    let server = Server::start();
    for number in 1..=3 {
        let params = format!(
            r#"[["http://h:8000/f","http://h:8000/g h"],{{"pause":"true","gid":"aaaa00000000000{number}","out":"f{number}"}}]"#
        );
        assert_eq!(
            server.call("aria2.addUri", &params),
            format!(r#"200 "result":"aaaa00000000000{number}""#)
        );
    }
    server
}

fn error(message: &str) -> String {
    format!(r#"400 "error":{{"code":1,"message":"{message}"}}"#)
}

fn result(json: &str) -> String {
    format!(r#"200 "result":{json}"#)
}

const ONE: &str = "aaaa000000000001";

#[test]
fn parameters_are_judged_before_anything_else() {
    let server = server();
    for (method, params, message) in [
        (
            "aria2.tellStatus",
            "[]",
            "The parameter at 0 is required but missing.",
        ),
        (
            "aria2.tellStatus",
            "[null]",
            "The parameter at 0 has wrong type.",
        ),
        (
            "aria2.tellStatus",
            r#"["zz",5]"#,
            "The parameter at 1 has wrong type.",
        ),
        (
            "aria2.tellWaiting",
            "[0,-1]",
            "The integer parameter at 1 has invalid value: the value must be greater than or equal to 0.",
        ),
        (
            "aria2.tellWaiting",
            r#"[0,"1"]"#,
            "The parameter at 1 has wrong type.",
        ),
        (
            "aria2.tellStopped",
            "[0]",
            "The parameter at 1 is required but missing.",
        ),
        (
            "aria2.changeUri",
            r#"["zz",0,[],[]]"#,
            "The integer parameter at 1 has invalid value: the value must be greater than or equal to 1.",
        ),
        (
            "aria2.changeUri",
            r#"["zz",1,[]]"#,
            "The parameter at 3 is required but missing.",
        ),
        (
            "aria2.changePosition",
            r#"["zz","0","POS_SET"]"#,
            "The parameter at 1 has wrong type.",
        ),
        (
            "aria2.addUri",
            "[]",
            "The parameter at 0 is required but missing.",
        ),
        (
            "aria2.addUri",
            r#"["x"]"#,
            "The parameter at 0 has wrong type.",
        ),
        (
            "aria2.addUri",
            r#"[["http://h/"],[]]"#,
            "The parameter at 1 has wrong type.",
        ),
        (
            "aria2.addUri",
            r#"[["http://h/"],{},"0"]"#,
            "The parameter at 2 has wrong type.",
        ),
        (
            "aria2.addTorrent",
            r#"["x",{}]"#,
            "The parameter at 1 has wrong type.",
        ),
        (
            "aria2.addMetalink",
            r#"["x",[],{}]"#,
            "The parameter at 1 has wrong type.",
        ),
        (
            "aria2.changeOption",
            r#"["zz"]"#,
            "The parameter at 1 is required but missing.",
        ),
        (
            "aria2.changeGlobalOption",
            "[[]]",
            "The parameter at 0 has wrong type.",
        ),
        (
            "system.multicall",
            "[5]",
            "The parameter at 0 has wrong type.",
        ),
    ] {
        assert_eq!(
            server.call(method, params),
            error(message),
            "{method} {params}"
        );
    }
}

/// Known-bugs 40.
#[test]
fn refusals_have_their_texts() {
    let server = server();
    for (method, params, message) in [
        ("aria2.tellStatus", r#"["zz"]"#, "Invalid GID zz"),
        (
            "aria2.tellStatus",
            r#"["00000000000000001"]"#,
            "Invalid GID 00000000000000001",
        ),
        (
            "aria2.tellStatus",
            r#"["0123456789abcdef"]"#,
            "GID 0123456789abcdef is not found",
        ),
        ("aria2.tellStatus", r#"["aaaa"]"#, "GID aaaa is not unique"),
        (
            "aria2.pause",
            r#"["aaaa000000000001"]"#,
            "GID#aaaa000000000001 cannot be paused now",
        ),
        (
            "aria2.changePosition",
            r#"["aaaa000000000001",0,"X"]"#,
            "Illegal argument.",
        ),
        (
            "aria2.changeUri",
            r#"["aaaa000000000001",2,[],[]]"#,
            "fileIndex is out of range",
        ),
        (
            "aria2.changeUri",
            r#"["aaaa000000000001",1,[],[],-1]"#,
            "Position must be greater than or equal to 0.",
        ),
        (
            "aria2.removeDownloadResult",
            r#"["aaaa000000000001"]"#,
            "Could not remove download result of GID#aaaa000000000001",
        ),
        (
            "aria2.getServers",
            r#"["aaaa000000000001"]"#,
            "No active download for GID#aaaa000000000001",
        ),
        (
            "aria2.changeOption",
            r#"["aaaa000000000001",{"split":"0"}]"#,
            "We encountered a problem while processing the option '--split'.",
        ),
        (
            "aria2.changeOption",
            r#"["1234",{"split":"0"}]"#,
            "GID 1234 is not found",
        ),
        (
            "aria2.changeGlobalOption",
            r#"[{"max-concurrent-downloads":"0"}]"#,
            "We encountered a problem while processing the option '--max-concurrent-downloads'.",
        ),
        (
            "aria2.addUri",
            r#"[["bad"],{"split":"x","max-tries":"z"},-1]"#,
            "We encountered a problem while processing the option '--max-tries'.",
        ),
        (
            "aria2.addUri",
            r#"[["http://h/"],{},-1]"#,
            "Position must be greater than or equal to 0.",
        ),
        ("aria2.addUri", "[[]]", "URI is not provided."),
        (
            "aria2.addUri",
            r#"[[5],{"split":"0"}]"#,
            "URI is not provided.",
        ),
        ("aria2.addUri", r#"[["bad"]]"#, "No URI to download."),
        (
            "aria2.addUri",
            r#"[["http://h/"],{"gid":"aaaa000000000001"}]"#,
            "No URI to download.",
        ),
        (
            "aria2.addUri",
            r#"[["http://h/"],{"gid":"zz"}]"#,
            "No URI to download.",
        ),
        ("aria2.addTorrent", r#"["eHh4"]"#, "Bencode decoding failed"),
        ("aria2.addTorrent", r#"["!!"]"#, "Bencode decoding failed"),
        (
            "aria2.addTorrent",
            r#"["x",[],{},-1]"#,
            "Position must be greater than or equal to 0.",
        ),
        (
            "aria2.addMetalink",
            r#"["eHh4"]"#,
            "Could not parse Metalink XML document.",
        ),
        ("aria2.saveSession", "[]", "Filename is not given."),
    ] {
        assert_eq!(
            server.call(method, params),
            error(message),
            "{method} {params}"
        );
    }
}

#[test]
fn waiting_downloads_are_shown_from_either_end() {
    let server = server();
    let gids = |params: &str| {
        server
            .call("aria2.tellWaiting", params)
            .replace(r#"{"gid":"aaaa00000000000"#, "")
            .replace(r#""}"#, "")
    };
    for (params, shown) in [
        ("[0,10,[\"gid\"]]", "1,2,3"),
        ("[1,1,[\"gid\"]]", "2"),
        ("[1.9,1.9,[\"gid\",\"nope\",5]]", "2"),
        ("[3,1,[\"gid\"]]", ""),
        ("[-1,10,[\"gid\"]]", "3,2,1"),
        ("[-1,2,[\"gid\"]]", "3,2"),
        ("[-3,10,[\"gid\"]]", "1"),
        ("[-4,10,[\"gid\"]]", ""),
        ("[9223372036854775807,9223372036854775807,[\"gid\"]]", ""),
        ("[-9223372036854775807,9223372036854775807,[\"gid\"]]", ""),
    ] {
        assert_eq!(gids(params), result(&format!("[{shown}]")), "{params}");
    }
    assert_eq!(server.call("aria2.tellActive", "[]"), result("[]"));
    assert_eq!(server.call("aria2.tellStopped", "[-1,9]"), result("[]"));
}

#[test]
fn status_has_aria2s_keys_in_order() {
    let server = server();
    let dir = server.call("aria2.tellStatus", &format!(r#"["{ONE}",["dir"]]"#));
    let dir = dir
        .trim_start_matches(r#"200 "result":{"dir":""#)
        .trim_end_matches(r#""}"#);
    let uris = r#"[{"status":"waiting","uri":"http:\/\/h:8000\/f"},{"status":"waiting","uri":"http:\/\/h:8000\/g%20h"}]"#;
    let files = format!(
        r#"[{{"completedLength":"0","index":"1","length":"0","path":"{dir}\/f1","selected":"true","uris":{uris}}}]"#
    );
    let status = format!(
        r#"{{"completedLength":"0","connections":"0","dir":"{dir}","downloadSpeed":"0","files":{files},"gid":"{ONE}","numPieces":"0","pieceLength":"1048576","status":"paused","totalLength":"0","uploadLength":"0","uploadSpeed":"0"}}"#
    );
    for keys in ["", ",[]", ",[5]"] {
        assert_eq!(
            server.call("aria2.tellStatus", &format!(r#"["{ONE}"{keys}]"#)),
            result(&status)
        );
    }
    assert_eq!(
        server.call("aria2.getUris", &format!(r#"["{ONE}"]"#)),
        result(uris)
    );
    assert_eq!(
        server.call("aria2.getFiles", &format!(r#"["{ONE}"]"#)),
        result(&files)
    );
    assert_eq!(
        server.call("aria2.getPeers", &format!(r#"["{ONE}"]"#)),
        result("[]")
    );
    assert_eq!(
        server.call("aria2.tellStatus", &format!(r#"["{ONE}",["nope"]]"#)),
        result("{}")
    );
}

#[test]
fn the_queue_is_rearranged() {
    let server = server();
    for (params, place) in [
        (r#"["aaaa000000000001",9,"POS_SET"]"#, 2),
        (r#"["aaaa000000000001",-5,"POS_SET"]"#, 0),
        (r#"["aaaa000000000001",1,"POS_CUR"]"#, 1),
        (r#"["aaaa000000000001",-1,"POS_END"]"#, 1),
        (r#"["aaaa000000000001",0,"POS_END"]"#, 2),
    ] {
        assert_eq!(
            server.call("aria2.changePosition", params),
            result(&place.to_string()),
            "{params}"
        );
    }
    assert_eq!(
        server
            .call("aria2.addUri", r#"[["http://h/"],{"pause":true},0]"#)
            .len(),
        result(r#""0123456789abcdef""#).len()
    );
    assert_eq!(
        server.call(
            "aria2.changeUri",
            r#"["aaaa000000000002",1,["http://h:8000/f","nope"],["http://h/a","bad"],0]"#
        ),
        result("[1,1]")
    );
    assert_eq!(
        server.call("aria2.remove", r#"["aaaa000000000002"]"#),
        result(r#""aaaa000000000002""#)
    );
    assert_eq!(
        server.call("aria2.getGlobalStat", "[]"),
        result(
            r#"{"downloadSpeed":"0","numActive":"0","numStopped":"0","numStoppedTotal":"0","numWaiting":"3","uploadSpeed":"0"}"#
        )
    );
}

#[test]
fn options_read_back_normalised() {
    let server = server();
    let changed = format!(
        r#"["{ONE}",{{"split":7,"max-download-limit":"2m","header":["A: 1","B: 2"],"daemon":"maybe","zz":1}}]"#
    );
    assert_eq!(
        server.call("aria2.changeOption", &changed),
        result(r#""OK""#)
    );
    let options = server.call("aria2.getOption", &format!(r#"["{ONE}"]"#));
    for part in [
        r#""split":"7""#,
        r#""max-download-limit":"2097152""#,
        r#""header":"A: 1\nB: 2\n""#,
    ] {
        assert!(options.contains(part), "{part} in {options}");
    }
    assert_eq!(
        server.call(
            "aria2.changeGlobalOption",
            r#"[{"max-concurrent-downloads":3,"gid":"x"}]"#
        ),
        result(r#""OK""#)
    );
    let options = server.call("aria2.getGlobalOption", "[]");
    assert!(
        options.contains(r#""max-concurrent-downloads":"3""#),
        "{options}"
    );
    for hidden in ["rpc-secret", "\"gid\"", "\"pause\"", "\"out\""] {
        assert!(!options.contains(hidden), "{hidden} in {options}");
    }
}

#[test]
fn multicall_results_are_lists_and_errors_structs() {
    let server = Server::start();
    assert_eq!(
        server.call(
            "system.multicall",
            r#"[[{"methodName":"system.multicall","params":[[]]},{"methodName":5},{},{"methodName":"aria2.pauseAll","params":5},{"methodName":"aria2.tellStatus"},{"methodName":"aria2.tellActive"},null]]"#
        ),
        result(
            r#"[{"code":1,"message":"Recursive system.multicall forbidden."},{"code":1,"message":"Missing methodName."},{"code":1,"message":"Missing methodName."},["OK"],{"code":1,"message":"The parameter at 0 is required but missing."},[[]],{"code":1,"message":"system.multicall expected struct."}]"#
        )
    );
}

#[test]
fn the_server_introduces_itself() {
    let server = Server::start();
    let own = format!(
        r#""product":"arioso","productVersion":"{}""#,
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(
        server.call("aria2.getVersion", "[]"),
        result(&format!(
            r#"{{"enabledFeatures":["Async DNS","BitTorrent","Firefox3 Cookie","GZip","HTTPS","Message Digest","Metalink","XML-RPC","SFTP"],{own},"version":"1.37.0"}}"#
        ))
    );
    assert_eq!(
        filtered(&server.call("aria2.getSessionInfo", "[]")),
        result(&format!(r#"{{{own},"sessionId":"SESSION"}}"#))
    );
    assert_eq!(
        server.call("system.listMethods", "[5]"),
        result(
            r#"["aria2.addUri","aria2.addTorrent","aria2.getPeers","aria2.addMetalink","aria2.remove","aria2.pause","aria2.forcePause","aria2.pauseAll","aria2.forcePauseAll","aria2.unpause","aria2.unpauseAll","aria2.forceRemove","aria2.changePosition","aria2.tellStatus","aria2.getUris","aria2.getFiles","aria2.getServers","aria2.tellActive","aria2.tellWaiting","aria2.tellStopped","aria2.getOption","aria2.changeUri","aria2.changeOption","aria2.getGlobalOption","aria2.changeGlobalOption","aria2.purgeDownloadResult","aria2.removeDownloadResult","aria2.getVersion","aria2.getSessionInfo","aria2.shutdown","aria2.forceShutdown","aria2.getGlobalStat","aria2.saveSession","system.multicall","system.listMethods","system.listNotifications","aria2.getDownloadResultCount","aria2.searchDownloadResult","aria2.requeueDownloadResult","aria2.exportSession","arioso.removeWithFiles","arioso.setPeerBlocklist","arioso.getPeerBlocklist"]"#
        )
    );
}
