use proptest::prelude::*;

use super::*;

const V4: &str = "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">";
const V3: &str = "<metalink version=\"3.0\" xmlns=\"http://www.metalinker.org/\"><files>";
const URL: &str = "<url>http://h/x</url>";

fn v4(body: &str) -> Result<Vec<MetalinkFile>, String> {
    parse(&format!("{V4}{body}</metalink>"))
}

fn v3(body: &str) -> Result<Vec<MetalinkFile>, String> {
    parse(&format!("{V3}{body}</files></metalink>"))
}

fn parse(document: &str) -> Result<Vec<MetalinkFile>, String> {
    let read = Metalink::parse(document.as_bytes(), Some("http://base/dir/m.meta4"));
    read.map(|metalink| metalink.files)
        .map_err(|error| error.to_string())
}

fn uris(list: &[Resource]) -> Vec<(&str, u32)> {
    list.iter()
        .map(|one| (one.uri.as_str(), one.priority))
        .collect()
}

fn torrents(file: &MetalinkFile) -> Vec<(&str, u32, Option<&str>)> {
    let torrents = file.torrents.iter();
    torrents
        .map(|one| (one.uri.as_str(), one.priority, one.name.as_deref()))
        .collect()
}

#[test]
fn a_document_may_hold_its_torrent() {
    let torrent = vec![b'd'; 100_000];
    let named = |name: &str| {
        format!(
            "<file name=\"{name}\"><metaurl mediatype=\"torrent\" name=\"t/{name}\">http://h/t</metaurl></file>"
        )
    };
    let mut files = v4(&format!("{}{}", named("a"), named("b"))).unwrap();
    for fetchable in [true, false] {
        let document = Metalink::document(&files, Some(&torrent));
        let mut again = Metalink::parse(document.as_bytes(), None).unwrap().files;
        assert_eq!(again[0].inline_torrent().as_ref(), Some(&torrent));
        assert_eq!(again[1].inline_torrent(), None);
        // Read and written so often as one likes.
        again.iter_mut().for_each(MetalinkFile::forget_inline);
        assert_eq!(again, files);
        assert_eq!(Metalink::document(&again, Some(&torrent)), document);
        if fetchable {
            // As if it named nothing else.
            for file in &mut files {
                file.torrents[0].uri = INLINE.to_owned();
            }
        }
    }
    assert_eq!(files[0].inline_torrent(), None);
}

#[test]
fn version_4_is_read() {
    let digest = "0".repeat(40);
    let files = v4(&format!(
        "<published>2026-01-01T00:00:00Z</published>\
         <file name=\"a/b.bin\"><identity>x</identity><publisher name=\"p\"/>\
         <size> 10 </size><language>en</language><language>de</language><os>Linux-x86</os>\
         <version>1.0</version><hash type=\"sha-256\"> ab </hash>\
         <pieces length=\"5\" type=\"sha-1\"><hash>{digest}</hash><hash>{digest}</hash></pieces>\
         <url location=\"de\" priority=\"2\">http://h/?a=1&amp;b=<!-- x -->2</url>\
         <url><![CDATA[ftp://h/x]]></url><url priority=\"1\">sub/x</url>\
         <metaurl mediatype=\"torrent\" priority=\"9\">http://h/9.torrent</metaurl>\
         <metaurl mediatype=\"torrent\" priority=\"1\" name=\"t//b\">http://h/1.torrent</metaurl>\
         <metaurl mediatype=\"other\">http://h/other</metaurl>\
         <unknown><url>http://h/no</url></unknown></file>"
    ));
    let file = &files.unwrap()[0];
    assert_eq!((file.name.as_str(), file.size), ("a/b.bin", Some(10)));
    assert_eq!(file.languages, ["en", "de"]);
    assert_eq!(file.systems, ["Linux-x86"]);
    assert_eq!(file.version.as_deref(), Some("1.0"));
    assert_eq!(
        (file.hashes[0].kind.as_str(), file.hashes[0].hex.as_str()),
        ("sha-256", "ab")
    );
    let pieces = &file.pieces[0];
    assert_eq!(
        (pieces.piece_len, pieces.digest_len, pieces.digests.len()),
        (5, 20, 40)
    );
    assert_eq!(
        uris(&file.resources),
        [
            ("http://h/?a=1&b=2", 2),
            ("ftp://h/x", PRIORITY_LAST),
            ("http://base/dir/sub/x", 1)
        ]
    );
    assert_eq!(file.resources[0].location.as_deref(), Some("de"));
    assert_eq!(file.resources[1].protocol, "ftp");
    assert_eq!(
        torrents(file),
        [
            ("http://h/1.torrent", 1, Some("t/b")),
            ("http://h/9.torrent", 9, None)
        ]
    );
}

#[test]
fn version_3_is_read() {
    let digest = "1".repeat(40);
    let files = v3(&format!(
        "<file name=\"x\"><size>10</size><verification><hash type=\"md5\">ab</hash>\
         <pieces length=\"5\" type=\"sha1\"><hash piece=\"0\">{digest}</hash>\
         <hash piece=\"1\">{digest}</hash></pieces></verification>\
         <resources maxconnections=\"2\"><url type=\"http\" preference=\"10\">http://h/10</url>\
         <url type=\"ftp\" preference=\"100\">ftp://h/100</url><url>http://h/no-type</url>\
         <url type=\"http\">http://h/none</url>\
         <url type=\"bittorrent\">http://h/t</url></resources></file>\
         <file name=\"../y\"><resources/></file><file><resources/></file>"
    ));
    let files = files.unwrap();
    assert_eq!(files.len(), 1);
    let file = &files[0];
    assert_eq!((file.size, file.connections_max), (Some(10), Some(2)));
    assert_eq!(
        uris(&file.resources),
        [
            ("http://h/10", 91),
            ("ftp://h/100", 1),
            ("http://h/none", PRIORITY_LAST)
        ]
    );
    assert_eq!(torrents(file), [("http://h/t", PRIORITY_LAST, None)]);
    assert_eq!(file.pieces[0].digests.len(), 40);
    assert_eq!(file.hashes[0].kind, "md5");
}

#[test]
fn names_stay_below_the_directory() {
    for name in [
        "../x", "/etc/x", "a/", "./a", "a/../b", "a&#10;b", ".", "..", "/",
    ] {
        let refused = v4(&format!("<file name=\"{name}\">{URL}</file>"));
        assert_eq!(
            refused.unwrap_err(),
            "Specification violation: Bad file@name, ",
            "{name}"
        );
    }
    for (name, safe) in [
        ("a/b", "a/b"),
        ("a//b", "a/b"),
        (" x ", " x "),
        ("C:\\..\\x", "C:\\..\\x"),
    ] {
        let files = v4(&format!("<file name=\"{name}\">{URL}</file>"));
        assert_eq!(files.unwrap()[0].name, safe);
    }
}

#[test]
fn violations_are_told_as_aria2_tells_them() {
    let cases = [
        ("<file/>", "Missing file@name, "),
        ("<file name=\"\"/>", "Missing file@name, "),
        ("<file name=\"x\"><size>-1</size></file>", "Bad size, "),
        (
            "<file name=\"x\"><size>99999999999999999999</size></file>",
            "Bad size, ",
        ),
        (
            "<file name=\"x\"><hash>00</hash></file>",
            "Missing hash@type, ",
        ),
        (
            "<file name=\"x\"><pieces length=\"5\"/></file>",
            "Missing pieces@type, ",
        ),
        (
            "<file name=\"x\"><pieces type=\"md5\"/></file>",
            "Missing pieces@length, ",
        ),
        (
            "<file name=\"x\"><pieces type=\"md5\" length=\"a\"/></file>",
            "Bad pieces@length, ",
        ),
        (
            "<file name=\"x\"><metaurl>http://h/t</metaurl></file>",
            "Missing metaurl@mediatype, ",
        ),
        (
            "<file name=\"x\"><metaurl mediatype=\"torrent\" name=\"../y\">http://h/t</metaurl></file>",
            "Bad metaurl@name, ",
        ),
        (
            "<file name=\"../x\"><size>a</size><url priority=\"0\">http://h/x</url>\
             <url priority=\"z\">http://h/x</url></file><file/>",
            "Bad file@name, Bad size, url@priority is out of range, Bad url@priority, Missing file@name, ",
        ),
    ];
    for (body, text) in cases {
        assert_eq!(
            v4(body).unwrap_err(),
            format!("Specification violation: {text}"),
            "{body}"
        );
    }
}

#[test]
fn useless_piece_hashes_are_known_to_be_so() {
    for pieces in [
        "<pieces length=\"5\" type=\"sha-1\"><hash>zz</hash></pieces>",
        "<pieces length=\"0\" type=\"sha-1\"><hash>00</hash></pieces>",
        "<pieces length=\"5\" type=\"sha-1\"><hash>00</hash><hash>0000</hash></pieces>",
        "<pieces length=\"5\" type=\"sha-1\"></pieces>",
    ] {
        let files = v4(&format!("<file name=\"x\">{pieces}{URL}</file>")).unwrap();
        let read = &files[0].pieces[0];
        assert_eq!(
            (read.digest_len, &read.digests[..]),
            (0, &[][..]),
            "{pieces}"
        );
    }
}

#[test]
fn what_is_no_xml_is_refused() {
    let file = format!("<file name=\"x\">{URL}</file>");
    let whole = format!("{V4}{file}</metalink>");
    for document in [
        String::new(),
        "nonsense".to_owned(),
        format!("{V4}{file}"),
        format!("{whole}junk"),
        format!("{whole}<a/>"),
        format!("{V4}<file name=x></file></metalink>"),
        format!("{V4}<file name=\"x\" name=\"y\"></file></metalink>"),
    ] {
        let refused = parse(&document).unwrap_err();
        assert_eq!(
            refused, "Could not parse Metalink XML document.",
            "{document}"
        );
    }
    let mut bytes = whole.into_bytes();
    let place = bytes.iter().position(|byte| *byte == b'x').unwrap();
    bytes.insert(place, 0xff);
    assert_eq!(Metalink::parse(&bytes, None), Err(MetalinkError::NotXml));
}

#[test]
fn what_is_beyond_all_bounds_is_refused_with_its_reason() {
    let entity = "<file name=\"x\"><url>&e;</url></file></metalink>";
    let long = "x".repeat(70_000);
    let many = "<file name=\"x\"/>".repeat(66_000);
    for (document, why) in [
        (
            format!("{V4}{}", "<a>".repeat(200)),
            "its elements are nested too deep",
        ),
        (format!("{V4}{entity}"), "it uses entities of its own"),
        (
            format!("<!DOCTYPE m [<!ENTITY e \"http://h/\">]>{V4}{entity}"),
            "it uses entities of its own",
        ),
        (
            format!("{V4}<file name=\"x\"><url>{long}"),
            "a text in it is too long",
        ),
        (
            format!("{V4}<file name=\"{long}\">"),
            "a text in it is too long",
        ),
        (format!("{V4}{many}"), "it names too many files"),
        ("\u{1f}\u{8b}".to_owned(), "it is compressed by gzip"),
    ] {
        let bytes: Vec<u8> = document.chars().map(|letter| letter as u8).collect();
        let refused = Metalink::parse(&bytes, None).unwrap_err().to_string();
        let wanted = format!("Could not parse Metalink XML document: {why}.");
        assert_eq!(refused, wanted);
    }
}

#[test]
fn other_documents_hold_no_files() {
    for document in [
        format!("<metalink xmlns=\"other\"><file name=\"x\">{URL}</file></metalink>"),
        format!("<metalink><file name=\"x\">{URL}</file></metalink>"),
        format!("{V4}<FILE name=\"x\">{URL}</FILE></metalink>"),
        format!("{V4}</metalink>"),
        "<html><body/></html>".to_owned(),
    ] {
        assert_eq!(parse(&document).unwrap(), [], "{document}");
    }
    let prefixed = "<m:metalink xmlns:m=\"urn:ietf:params:xml:ns:metalink\"><m:file name=\"x\">\
                    <m:url>http://h/p</m:url></m:file></m:metalink>";
    assert_eq!(parse(prefixed).unwrap()[0].resources[0].uri, "http://h/p");
}

#[test]
fn declared_encodings_are_understood() {
    let body = format!("{V4}<file name=\"\u{e9}\">{URL}</file></metalink>");
    let latin = format!("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>{body}");
    let latin: Vec<u8> = latin.chars().map(|letter| letter as u8).collect();
    let mut utf16 = vec![0xff, 0xfe];
    utf16.extend(body.encode_utf16().flat_map(u16::to_le_bytes));
    let mut marked = vec![0xef, 0xbb, 0xbf];
    marked.extend(body.as_bytes());
    for document in [latin, utf16, marked] {
        assert_eq!(
            Metalink::parse(&document, None).unwrap().files[0].name,
            "\u{e9}"
        );
    }
}

/// Documents with something wrong here and there.
fn mangled() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(V4.to_owned()),
        Just(V3.to_owned()),
        Just("</metalink>".to_owned()),
        Just("</files>".to_owned()),
        Just("</file>".to_owned()),
        Just("<resources>".to_owned()),
        Just("</resources>".to_owned()),
        Just("<verification><pieces length=\"3\" type=\"md5\"><hash piece=\"0\">00".to_owned()),
        Just("</hash></pieces></verification>".to_owned()),
        Just("<url type=\"http\" preference=\"5\">http://h/x</url>".to_owned()),
        Just("<size>3</size>".to_owned()),
        "<file name=\"[./a%]{0,8}\">".prop_map(|text| text),
        "<(url|size|hash|metaurl) [a-z]{0,4}=\"[0-9&;#x]{0,6}\">[ -~]{0,8}",
        "[<>&;a-z!\\[\\]\\-?/\" =]{0,10}",
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn nothing_breaks_it(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Metalink::parse(&bytes, None);
    }

    #[test]
    fn whatever_is_taken_is_safe(document in mangled()) {
        for file in Metalink::parse(&document, Some("http://h/")).unwrap_or_default().files {
            prop_assert!(!file.name.starts_with('/') && !file.name.is_empty());
            let bad = |segment: &str| matches!(segment, "" | "." | "..");
            prop_assert!(!file.name.split('/').any(bad));
            let document = Metalink::document(std::slice::from_ref(&file), None);
            let again = Metalink::parse(document.as_bytes(), None).unwrap();
            let told = |file: &MetalinkFile| {
                let file = file.clone();
                let mirrors = uris(&file.resources).into_iter();
                let mirrors: Vec<_> = mirrors.map(|(uri, priority)| (uri.to_owned(), priority)).collect();
                (file.name, file.size, file.hashes, file.pieces, file.torrents, mirrors)
            };
            prop_assert_eq!(told(&again.files[0]), told(&file));
            for pieces in file.pieces {
                prop_assert!(pieces.piece_len > 0);
                prop_assert_eq!(pieces.digests.is_empty(), pieces.digest_len == 0);
                prop_assert_eq!(pieces.digests.len() % pieces.digest_len.max(1), 0);
            }
            let torrents = file.torrents.iter().map(|torrent| torrent.priority);
            for priority in file.resources.iter().map(|one| one.priority).chain(torrents) {
                prop_assert!((1..=PRIORITY_LAST).contains(&priority));
            }
        }
    }

    #[test]
    fn a_damaged_document_is_read_or_refused(at in 0_usize..400, byte: u8) {
        let mut document = format!(
            "{V4}<file name=\"x\"><size>1</size><url priority=\"1\">http://h/x</url></file></metalink>"
        ).into_bytes();
        let at = at % document.len();
        document[at] = byte;
        let _ = Metalink::parse(&document, None);
    }
}
