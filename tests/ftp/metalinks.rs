//! Which mirrors of a Metalink are asked: `metalink-preferred-protocol` and
//! `metalink-enable-unique-protocol`, with an HTTP and an FTP server on one host.

use std::time::Duration;

use arioso::{AddRequest, Engine, EngineConfig};

use crate::origin::{Origin, Reply};
use crate::server::{self, Server};
use crate::{data, run, script};

struct Site {
    http: Origin,
    ftp: Server,
}

impl Site {
    fn new(http: impl Fn(Reply) -> Reply + Send + Sync + 'static) -> Self {
        let data = data();
        Self {
            http: Origin::start(move |seen| http(Reply::file(&data, seen, &[]))),
            ftp: server::start(script()),
        }
    }

    /// Fetches a file that is there by both protocols, HTTP the better; gives whether each was
    /// asked for it.
    fn asked(&self, options: &[(&str, &str)]) -> (bool, bool) {
        let document = format!(
            "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\"><file name=\"f\">\
             <size>{}</size><url priority=\"1\">{}</url>\
             <url priority=\"2\">ftp://127.0.0.1:{}/f</url></file></metalink>",
            data().len(),
            self.http.url("/f"),
            self.ftp.port,
        );
        let retrieved = || {
            let commands = self.ftp.commands.lock();
            commands.iter().filter(|it| it.starts_with("RETR")).count()
        };
        let before = (self.http.seen().len(), retrieved());
        let engine = Engine::start(EngineConfig::default()).unwrap();
        let outcome = run(&engine, AddRequest::metalink(document), options);
        assert_eq!(outcome.code, 0, "{}", outcome.message);
        assert!(outcome.file == Some(data()));
        (self.http.seen().len() > before.0, retrieved() > before.1)
    }
}

#[test]
fn mirrors_of_the_preferred_protocol_are_asked_first() {
    let site = Site::new(|reply| reply);
    for (protocol, asked) in [
        ("none", (true, false)),
        ("http", (true, false)),
        ("ftp", (false, true)),
        // There are none: the priority counts.
        ("https", (true, false)),
    ] {
        let options = [("metalink-preferred-protocol", protocol), ("split", "1")];
        assert_eq!(site.asked(&options), asked, "{protocol}");
    }
}

#[test]
fn a_host_is_asked_by_one_protocol_at_a_time() {
    // So slowly that a second connection is worth while; each mirror serves one.
    let site = Site::new(|reply| reply.slowly(32 << 10, Duration::from_millis(30)));
    for (unique, asked) in [("true", (true, false)), ("false", (true, true))] {
        let options = [
            ("metalink-enable-unique-protocol", unique),
            ("reuse-uri", "false"),
            ("split", "2"),
        ];
        assert_eq!(site.asked(&options), asked, "{unique}");
    }
}

#[test]
fn the_other_protocol_is_there_for_when_the_first_one_fails() {
    let site = Site::new(|_| Reply::status("404 Not Found"));
    assert_eq!(site.asked(&[("split", "2")]), (true, true));
}
