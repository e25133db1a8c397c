//! What becomes of a half-done file when mirrors cannot resume (`always-resume` and
//! `max-resume-failure-tries`) or its control file is not wanted.

use crate::chain::{Chain, download_in};
use crate::origin::{Origin, Reply, Step, pattern};
use crate::program::Home;

const LEN: usize = 3 << 20;
const THERE: usize = 1 << 20;

/// Serves the whole file whatever is asked for.
fn without_ranges() -> Origin {
    Origin::start(|_| {
        let len = format!("Content-Length: {LEN}");
        Reply::new("200 OK", &[&len], &pattern(LEN))
    })
}

/// Goes on with the first mebibyte of a file.
fn resume(args: &[&str], mirrors: &[&Origin]) -> Chain {
    let home = Home::new();
    std::fs::write(home.file("f"), &pattern(LEN)[..THERE]).unwrap();
    let uris: Vec<String> = mirrors.iter().map(|mirror| mirror.url("/f")).collect();
    let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
    let common = ["--continue=true", "--uri-selector=inorder", "-s1"];
    download_in(home, &[&common[..], args].concat(), &uris)
}

#[test]
fn without_always_resume_it_starts_over() {
    let mirror = without_ranges();
    let kept = resume(&[], &[&mirror]);
    kept.failed(8);
    assert_eq!(std::fs::read(kept.home.file("f")).unwrap().len(), THERE);
    resume(&["--always-resume=false"], &[&mirror]).is_complete(&pattern(LEN));
}

#[test]
fn a_file_that_is_all_there_is_complete_whatever_is_said_of_bytes_past_its_end() {
    let mute = Origin::start(|seen| match seen.range() {
        Some(_) => Reply::status("416 Range Not Satisfiable"),
        None => Reply::file(&pattern(LEN), seen, &[]),
    });
    for origin in [without_ranges(), mute, Origin::with_file(pattern(LEN))] {
        let home = Home::new();
        std::fs::write(home.file("f"), pattern(LEN)).unwrap();
        let args = ["--continue=true", "-s1"];
        download_in(home, &args, &[&origin.url("/f")]).is_complete(&pattern(LEN));
    }
}

#[test]
fn every_mirror_may_try_to_resume_unless_told_how_many() {
    let (bad, good) = (without_ranges(), Origin::with_file(pattern(LEN)));
    resume(&["--always-resume=false"], &[&bad, &good]).is_complete(&pattern(LEN));
    let asked = good.seen().pop().expect("the second mirror was asked");
    assert_eq!(asked.range().map(|(start, _)| start), Some(THERE as u64));

    let (bad, good) = (without_ranges(), Origin::with_file(pattern(LEN)));
    let args = ["--always-resume=false", "--max-resume-failure-tries=1"];
    resume(&args, &[&bad, &good]).is_complete(&pattern(LEN));
    let resumed = |origin: &Origin| {
        origin
            .seen()
            .iter()
            .filter(|seen| seen.range().is_some())
            .count()
    };
    assert_eq!(
        (resumed(&bad), resumed(&good)),
        (1, 0),
        "one try, then from the start"
    );
}

#[test]
fn without_its_control_file_it_starts_over() {
    for (remove, from) in [
        ("--remove-control-file=false", THERE),
        ("--remove-control-file", 0),
    ] {
        let origin = Origin::start(|seen| {
            let whole = Reply::file(&pattern(LEN), seen, &[]);
            match seen.number {
                0 => whole.cut(THERE, Step::Close),
                _ => whole,
            }
        });
        let cut = download_in(Home::new(), &["--max-tries=1"], &[&origin.url("/f")]);
        cut.failed(1);
        assert!(cut.home.file("f.aria2").exists());
        let args = [remove, "--allow-overwrite"];
        download_in(cut.home, &args, &[&origin.url("/f")]).is_complete(&pattern(LEN));
        let start = origin.seen()[1].range().map_or(0, |(start, _)| start);
        assert_eq!(start, from as u64, "{remove}");
    }
}
