use super::*;
use crate::option::find;

const DOCUMENT: &str = "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">\
    <file name=\"a\"><language>en</language><os>Linux</os><version>1</version>\
    <url priority=\"1\" location=\"de\">http://h0/x</url>\
    <url priority=\"2\" location=\"us\">https://h1/x</url>\
    <url priority=\"3\" location=\"jp\">ftp://h2/x</url>\
    <url priority=\"100\" location=\"de\">ftp://h3/x</url>\
    <url>rsync://h4/x</url></file>\
    <file name=\"b\"><language>de</language><language>fr</language>\
    <metaurl mediatype=\"torrent\">http://t/b.torrent</metaurl>\
    <url>http://h/b</url></file></metalink>";

fn specs(options: &[(&str, &str)]) -> Vec<DownloadSpec> {
    let changes: Vec<_> = options
        .iter()
        .filter_map(|(name, text)| Some((find(name)?, (*text).to_owned())))
        .collect();
    let base = Arc::new(OptionSet::new());
    let upload = Upload {
        file: DOCUMENT.into(),
        ..Upload::default()
    };
    of_upload(&upload, Given::read(&changes, &base).unwrap()).unwrap()
}

fn names(options: &[(&str, &str)]) -> Vec<String> {
    let name = |spec: DownloadSpec| match spec.brief {
        Some(brief) => brief.content().unwrap().name.clone(),
        None => spec.uris[0].to_string(),
    };
    specs(options).into_iter().map(name).collect()
}

#[test]
fn files_are_chosen_by_what_they_are_for() {
    let b = ["http://t/b.torrent", "b"];
    assert_eq!(names(&[]), ["a", b[0], b[1]]);
    assert_eq!(names(&[("metalink-language", "en")]), ["a"]);
    assert_eq!(names(&[("metalink-language", "fr")]), b);
    assert_eq!(names(&[("metalink-language", "EN")]), [""; 0]);
    assert_eq!(names(&[("metalink-os", "Linux")]), ["a"]);
    assert_eq!(names(&[("metalink-version", "2")]), [""; 0]);
    assert_eq!(names(&[("select-file", "2")]), b);
    // Numbers count what fits otherwise.
    assert_eq!(
        names(&[("select-file", "1"), ("metalink-language", "fr")]),
        b
    );
    assert!(specs(&[])[1].for_next);
}

#[test]
fn mirrors_are_ordered_as_aria2_orders_them() {
    let hosts = |options: &[(&str, &str)]| -> String {
        let uris = specs(options)[0].uris.clone();
        uris.iter()
            .filter_map(|uri| uri.split('h').next_back()?.chars().next())
            .collect()
    };
    assert_eq!(hosts(&[]), "0123");
    assert_eq!(hosts(&[("metalink-location", "jp")]), "2013");
    assert_eq!(hosts(&[("metalink-location", "jp,us")]), "1203");
    assert_eq!(hosts(&[("metalink-preferred-protocol", "ftp")]), "2301");
    let both = [
        ("metalink-location", "de"),
        ("metalink-preferred-protocol", "ftp"),
    ];
    assert_eq!(hosts(&both), "3021");
}

/// A file of five bytes in the torrent `t`, with a mirror.
fn part(name: &str, torrent: &str, inside: &str) -> String {
    format!(
        "<file name=\"{name}\"><size>5</size><hash type=\"md5\">{}</hash>\
         <metaurl mediatype=\"torrent\" name=\"{inside}\">http://t/{torrent}</metaurl>\
         <url>http://h/{name}</url></file>",
        "0".repeat(32)
    )
}

fn of(entries: &[String], options: &[(&str, &str)]) -> Vec<DownloadSpec> {
    let head = "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">";
    let document = format!("{head}{}</metalink>", entries.concat());
    let mut base = OptionSet::new();
    for (name, text) in options {
        base.set_text(find(name).unwrap(), text).unwrap();
    }
    let metalink = Metalink::parse(document.as_bytes(), None).unwrap();
    of_document(&metalink, &base, false, None)
}

/// The files of each download; of one that fetches a torrent its URI.
fn drawn(specs: &[DownloadSpec]) -> Vec<String> {
    let files = |spec: &DownloadSpec| match &spec.brief {
        None => spec.uris[0].to_string(),
        Some(brief) => {
            let files = &brief.content().unwrap().files;
            let names: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
            names.join(" ")
        }
    };
    specs.iter().map(files).collect()
}

#[test]
fn files_of_one_torrent_are_one_download() {
    let plain = "<file name=\"p\"><url>http://h/p</url></file>".to_owned();
    let nameless = part("n", "1", "x").replace(" name=\"x\"", "");
    let entries = [
        part("a", "1", "t/a"),
        plain,
        part("d/b", "1", "t/b"),
        part("c", "2", "t/c"),
        // Where its bytes are, nobody could tell.
        part("u", "1", "t/u").replace("<size>5</size>", ""),
        nameless,
    ];
    let (one, two) = ("http://t/1", "http://t/2");
    assert_eq!(
        drawn(&of(&entries, &[])),
        [one, "a d/b", "p", two, "c", one, "u", one, "n"]
    );
    // The numbers are those of the document.
    assert_eq!(
        drawn(&of(&entries, &[("select-file", "2-4")])),
        ["p", one, "d/b", two, "c"]
    );
}

/// A torrent `t` of files of five bytes.
fn torrent(names: &[&str]) -> Fetched {
    let entry = |name: &&str| format!("d6:lengthi5e4:pathl{}:{name}ee", name.len());
    let entries: String = names.iter().map(entry).collect();
    let pieces = "x".repeat(20);
    let file = format!(
        "d4:infod5:filesl{entries}e4:name1:t12:piece lengthi16384e6:pieces20:{pieces}e\
         8:url-listl9:http://w/ee"
    );
    let metainfo = Metainfo::parse(file.as_bytes(), "").unwrap();
    (Arc::new(metainfo), file.into())
}

fn seeds(brief: &Brief) -> Vec<(usize, &str)> {
    let seeds = brief.web_seeds.iter();
    seeds.map(|seed| (seed.file, &*seed.uri)).collect()
}

#[test]
fn the_torrent_gives_its_files_the_names_and_mirrors_of_the_metalink() {
    let specs = of(&[part("b", "1", "t/y"), part("a", "1", "t/x")], &[]);
    let [_, spec] = &specs[..] else {
        panic!("{:?}", drawn(&specs))
    };
    let mut brief = (**spec.brief.as_ref().unwrap()).clone();
    assert_eq!(seeds(&brief), [(0, "http://h/b"), (1, "http://h/a")]);
    // Somebody has changed the mirrors meanwhile.
    brief.web_seeds[0].uri = "http://h/B".into();
    let (uris, joined) = joined(&spec.uris, &brief, torrent(&["x", "-", "y"])).unwrap();
    let after_the_store = || {
        let bytes = joined.payload.as_ref().unwrap().bytes.lock().clone();
        of_kept(&bytes.unwrap()).unwrap()
    };
    for (uris, brief) in [(uris, joined.clone()), after_the_store()] {
        let content = brief.content().unwrap();
        let paths: Vec<&str> = content.files.iter().map(|file| &*file.path).collect();
        assert_eq!(paths, ["a", "t/-", "b"]);
        assert_eq!(
            (&*content.name, &content.chosen[..]),
            ("t", &[1..=1, 3..=3][..])
        );
        let proven: Vec<usize> = content.proofs.iter().map(|proof| proof.file).collect();
        assert_eq!(proven, [0, 2]);
        assert!(uris.is_empty() && brief.awaited_torrent().is_none());
        assert_eq!(
            seeds(&brief),
            [
                (0, "http://h/a"),
                (0, "http://w/t/x"),
                (1, "http://w/t/-"),
                (2, "http://h/B"),
                (2, "http://w/t/y")
            ]
        );
    }
}

#[test]
fn a_torrent_of_something_else_changes_nothing() {
    for (first, second, names, why) in [
        ("t/x", "t/z", &["x", "y"][..], "it has no file t/z"),
        ("t/x", "t/x", &["x", "y"], "it has no file t/x"),
        ("x", "y", &["x", "y"], "it has no file x"),
        ("t/x", "t/y", &["x", "y", "a"], "two files would be t/a"),
    ] {
        let entries = [part("t/a", "1", first), part("b", "1", second)];
        let specs = of(&entries, &[]);
        let brief = specs[1].brief.as_ref().unwrap();
        let refused = joined(&specs[1].uris, brief, torrent(names)).unwrap_err();
        assert_eq!(refused.to_string(), why);
        let (_, left) = without_torrent(&specs[1].uris, brief);
        assert_eq!(left.content(), brief.content());
        assert_eq!((left.awaited_torrent(), seeds(&left)), (None, seeds(brief)));
    }
    let longer = part("a", "1", "t/x").replace("<size>5", "<size>6");
    let specs = of(&[longer], &[]);
    let brief = specs[1].brief.as_ref().unwrap();
    let refused = joined(&specs[1].uris, brief, torrent(&["x", "y"])).unwrap_err();
    assert_eq!(refused.to_string(), "t/x has 5 bytes in it, not 6");
}

#[test]
fn one_file_of_several_has_its_mirrors_for_itself() {
    let specs = of(&[part("a", "1", "t/x")], &[]);
    assert_eq!(&*specs[1].uris, ["http://h/a".into()]);
    let brief = specs[1].brief.as_ref().unwrap();
    let (uris, joined) = joined(&specs[1].uris, brief, torrent(&["-", "x"])).unwrap();
    assert!(uris.is_empty());
    assert_eq!(seeds(&joined)[1], (1, "http://h/a"));
}
