//! What a terminal gets, which is not what a pipe gets.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::FromRawFd as _;

use crate::file_server::{FileServer, bytes};
use crate::program::Home;

/// Both ends of a pseudo terminal of 60 columns: ours, the program's.
fn terminal() -> (File, File) {
    let (mut ours, mut theirs) = (0, 0);
    let size = libc::winsize {
        ws_row: 24,
        ws_col: 60,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let no_settings = std::ptr::null();
    // SAFETY: the pointers are valid, and the descriptors are owned by nobody else.
    unsafe {
        let name = std::ptr::null_mut();
        assert_eq!(
            libc::openpty(&mut ours, &mut theirs, name, no_settings, &size),
            0
        );
        (File::from_raw_fd(ours), File::from_raw_fd(theirs))
    }
}

/// What two downloads of 3 MB, a third of each done, look like until they are stopped.
fn shown(args: &[&str]) -> String {
    let (home, server) = (Home::new(), FileServer::start());
    let uri = server.page("/a", &bytes(3_000_000, 1));
    let other = server.page("/b", &bytes(3_000_000, 2));
    server.set_gate("/a", 1_048_576);
    server.set_gate("/b", 1_048_576);
    let (mut ours, theirs) = terminal();
    let mut child = {
        let mut command = home.arioso();
        command.args(["--stop=2", "--summary-interval=0", "-Z", &uri, &other]);
        command.args(args).stdout(theirs).spawn().unwrap()
    };
    let mut seen = Vec::new();
    // Ends with an error when the program has closed its end.
    let _ = ours.read_to_end(&mut seen);
    assert_eq!(child.wait().unwrap().code(), Some(7));
    String::from_utf8(seen).unwrap()
}

/// The first line of progress, where a line has so many columns.
fn line(text: &str) -> Option<&str> {
    let blank = format!("\r{}\r", " ".repeat(59));
    text.split(&blank).nth(1)?.split('\r').next()
}

#[test]
fn one_line_is_overwritten_in_colour_and_cut_to_the_width() {
    let text = shown(&[]);
    let line = line(&text).unwrap_or_else(|| panic!("{text:?}"));
    assert!(line.starts_with("\x1b[35m[\x1b[0mDL:\x1b[32m"), "{line:?}");
    let mut in_escape = false;
    let visible = line.chars().filter(|ch| {
        let shown = !in_escape && *ch != '\x1b';
        in_escape = *ch == '\x1b' || in_escape && *ch != 'm';
        shown
    });
    assert_eq!(visible.count(), 59, "{line:?}");
    assert!(text.contains("[\x1b[1;32mNOTICE\x1b[0m]"), "{text:?}");
    assert!(text.contains("|\x1b[1;34mINPR\x1b[0m|"), "{text:?}");
}

#[test]
fn the_line_is_plain_long_and_exact_where_that_is_asked_for() {
    let text = shown(&[
        "--truncate-console-readout=false",
        "--enable-color=false",
        "--human-readable=false",
    ]);
    let line = line(&text).unwrap_or_else(|| panic!("{text:?}"));
    assert!(line.starts_with("[DL:"), "{line:?}");
    assert!(
        line.len() > 59 && line.trim_end().ends_with("(34%)]"),
        "{line:?}"
    );
    assert_eq!(
        line.matches("1048576B/3000000B(34%)").count(),
        2,
        "{line:?}"
    );
    assert!(!text.contains('\x1b'), "{text:?}");
}

#[test]
fn the_line_can_be_left_out() {
    let text = shown(&["--show-console-readout=false"]);
    assert_eq!(line(&text), None, "{text:?}");
    assert!(text.contains("Download Results:"), "{text:?}");
}
