use std::fs;

use crate::program::{Home, run, stderr, stdout};
use crate::torrent::Torrent;

#[test]
fn show_files_lists_what_is_in_a_torrent() {
    let home = Home::new();
    let torrent = Torrent::multi(
        "dir x",
        &[("a.txt", 20_000), ("b/c.bin", 3_000_000)],
        "8:announce10:http://h/a7:comment5:hello13:creation datei1234567890e",
    );
    fs::write(home.file("x.torrent"), &torrent.bytes).unwrap();
    let hash = &torrent.info_hash;
    let rule = "-".repeat(75);
    let block = format!(
        "*** BitTorrent File Information ***\n\
         Comment: hello\n\
         Creation Date: Fri, 13 Feb 2009 23:31:30 GMT\n\
         Mode: multi\n\
         Announce:\n http://h/a\n\
         Info Hash: {hash}\n\
         Piece Length: 16KiB\n\
         The Number of Pieces: 185\n\
         Total Length: 2.8MiB (3,020,000)\n\
         Name: dir x\n\
         Magnet URI: magnet:?xt=urn:btih:{}&dn=dir%20x&tr=http%3A%2F%2Fh%2Fa\n\
         Files:\nidx|path/length\n===+{}\n\
         \u{20} 1|./dir x/a.txt\n   |19KiB (20,000)\n---+{rule}\n\
         \u{20} 2|./dir x/b/c.bin\n   |2.8MiB (3,000,000)\n---+{rule}\n",
        hash.to_uppercase(),
        "=".repeat(75),
    );
    let output = run(&mut home.arioso(), &["--no-conf", "-S", "x.torrent"]);
    let told = format!(">>> Printing the contents of file 'x.torrent'...\n{block}");
    assert_eq!((stdout(&output), output.status.code()), (told, Some(0)));
    let output = run(&mut home.arioso(), &["--no-conf", "-S", "-T", "x.torrent"]);
    assert_eq!(stdout(&output), block);
}

#[test]
fn show_files_lists_a_metalink_as_aria2_does() {
    let home = Home::new();
    let file = |name: &str| {
        format!("<file name=\"{name}\"><size>2048</size><url>http://h/{name}</url></file>")
    };
    let head = "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">";
    let text = format!("{head}{}{}</metalink>", file("a"), file("b"));
    fs::write(home.file("x.meta4"), text).unwrap();
    let rule = "-".repeat(75);
    let table = format!(
        "Files:\nidx|path/length\n===+{}\n\
         \u{20} 1|a\n   |2.0KiB (2,048)\n---+{rule}\n\
         \u{20} 2|b\n   |2.0KiB (2,048)\n---+{rule}\n\n",
        "=".repeat(75),
    );
    let output = run(&mut home.arioso(), &["--no-conf", "-S", "x.meta4"]);
    let told = format!(">>> Printing the contents of file 'x.meta4'...\n{table}");
    assert_eq!((stdout(&output), output.status.code()), (told, Some(0)));
    let output = run(&mut home.arioso(), &["--no-conf", "-S", "-M", "x.meta4"]);
    assert_eq!(stdout(&output), table);
}

#[test]
fn a_file_that_is_no_torrent_is_no_uri_either() {
    let home = Home::new();
    fs::write(home.file("bad.torrent"), "zz").unwrap();
    for name in ["bad.torrent", "nowhere.torrent"] {
        let output = run(&mut home.arioso(), &["--no-conf", name]);
        let text = stderr(&output);
        assert!(
            text.contains("Unrecognized URI or unsupported protocol"),
            "{text}"
        );
        assert_eq!(output.status.code(), Some(1));
    }
}
