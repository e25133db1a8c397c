//! The readers, each with good samples.

use std::time::{Duration, Instant};

use arioso::base::rng::Rng;
use arioso::bittorrent::dht::file::DhtFile;
use arioso::bittorrent::{
    blocklist, compact, dht, extension, handshake, lpd, metadata, mse, pex, tracker, wire,
};
use arioso::format::{
    bencode, control_file, cookies, expand, info_hash, input_file, magnet, metainfo, metalink,
    netrc, server_stat, uri,
};
use arioso::option::{self, OptionSet};
use arioso::rpc::{get_query, json_reader, jsonrpc, xmlrpc};
use arioso::source::ftp::{path, reply};
use arioso::source::http::{content_range, disposition, link_header, request, response};
use arioso::source::identity::Identity;
use arioso::store;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

pub struct Target {
    pub name: &'static str,
    /// Things it understands.
    pub samples: &'static [&'static [u8]],
    /// Reads, and tells whether it understood.
    pub read: fn(&[u8]) -> bool,
}

macro_rules! targets {
    ($($name:literal: [$($sample:expr),+ $(,)?] => $read:expr;)+) => {
        &[$(Target { name: $name, samples: &[$($sample),+], read: $read }),+]
    };
}

const HASH: info_hash::InfoHash = info_hash::InfoHash([7; 20]);

/// Texts come from files and sockets, where they may be no UTF-8.
fn text(input: &[u8]) -> String {
    String::from_utf8_lossy(input).into_owned()
}

/// Every value below this one.
fn walk(value: bencode::Value<'_>) {
    let _ = (value.int(), value.text());
    if let Some(list) = value.list() {
        list.iter().for_each(walk);
    }
    if let Some(dict) = value.dict() {
        dict.iter().for_each(|(_, value)| walk(value));
    }
}

pub const TARGETS: &[Target] = targets! {
    "bencode": [b"d1:ai-5e1:bl1:xi0eee", b"de", b"3:abc"] => |input| {
        bencode::parse(input).map(walk).is_ok()
    };
    "metainfo": [
        b"d8:announce10:http://h/a13:announce-listll3:u:/el3:v:/ee7:comment1:c13:creation datei9e4:infod6:lengthi20e4:name1:n12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae8:url-listl9:http://w/ee",
        b"d4:infod9:file treed1:ad0:d6:lengthi3e11:pieces root32:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaeee5:filesld6:lengthi3e4:pathl1:a0:eed4:attr1:p6:lengthi9e4:pathl4:.pad1:9eee12:meta versioni2e4:name1:n10:name.utf-82:nn12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaa7:privatei1eee",
    ] => |input| metainfo::Metainfo::parse(input, "x").is_ok();
    "magnet link": [
        b"magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567&dn=a%20b&tr=http%3A%2F%2Fh%2Fa&tr.1=udp://h:1&x.pe=127.0.0.1:1&x.pe=[::1]:2&so=0,2-4&ws=http://w/",
        b"magnet:?xt=urn:btih:YNCKHTQCWBTRNJIV4WNAE52SJUQCZO5C",
    ] => |input| {
        let text = text(input);
        let _ = info_hash::InfoHash::parse(&text);
        magnet::is_magnet(&text) && magnet::Magnet::parse(&text).is_ok()
    };
    "Metalink": [
        b"<?xml version=\"1.0\" encoding=\"UTF-8\"?><metalink xmlns=\"urn:ietf:params:xml:ns:metalink\"><file name=\"a/b\"><size>9</size><hash type=\"sha-256\">0000000000000000000000000000000000000000000000000000000000000000</hash><pieces type=\"sha-1\" length=\"4\"><hash>0000000000000000000000000000000000000000</hash></pieces><language>en</language><url priority=\"1\" location=\"de\">http://h/&#x61;</url><metaurl mediatype=\"torrent\">http://h/t</metaurl></file></metalink>",
        b"<metalink version=\"3.0\" xmlns=\"http://www.metalinker.org/\"><files><file name=\"a\"><size>9</size><verification><hash type=\"md5\">00000000000000000000000000000000</hash></verification><resources maxconnections=\"2\"><url type=\"http\" preference=\"9\"><![CDATA[http://h/a]]></url></resources></file></files></metalink>",
    ] => |input| metalink::Metalink::parse(input, Some("http://h/d/x.meta4")).is_ok();
    "control file": [
        b"\0\x01\0\0\0\0\0\0\0\0\0\0\x80\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x80\0\0\0\x01\0\0\0\x01\0\0\x80\0\0\0\0\x01\x80",
        b"\0\x01\0\0\0\x01\0\0\0\x14aaaaaaaaaaaaaaaaaaaa\0\0\x40\0\0\0\0\0\0\0\x40\0\0\0\0\0\0\0\0\x05\0\0\0\x01\x80\0\0\0\0",
    ] => |input| {
        let Ok(file) = control_file::ControlFile::decode(input) else {
            return false;
        };
        let _ = file.to_ranges();
        assert_eq!(control_file::ControlFile::decode(&file.encode()), Ok(file));
        true
    };
    "session or input file": [
        b"http://a/x\thttp://b/x\n gid=0123456789abcdef\n dir=/d\n header=A: b\n header=C: d\n# no\n\nmagnet:?xt=urn:btih:1\n pause=true\n",
    ] => |input| !input_file::parse(&text(input)).is_empty();
    "netrc": [b"machine h login l password p\ndefault login d password \"q r\"\nmacdef m\n x\n\n"] => |input| {
        let netrc = netrc::Netrc::parse(&text(input));
        netrc.find("h").is_some()
    };
    "Set-Cookie header": [
        b"a=b; Domain=.h; Path=/; Expires=Wed, 09 Jun 2100 10:18:14 GMT; Max-Age=100; Secure; HttpOnly",
    ] => |input| {
        let text = text(input);
        let place = cookies::Place { host: "h", path: "/a/b", secure: true, now: 1_000_000_000 };
        let mut jar = cookies::Jar::default();
        jar.handle_set_cookie(&text, place);
        let _ = (cookies::parse_date(&text), jar.to_netscape(place.now));
        jar.header(place).is_some()
    };
    "cookie file": [
        b"# Netscape HTTP Cookie File\n.h\tTRUE\t/\tFALSE\t4000000000\ta\tb\n#HttpOnly_h\tFALSE\t/p\tTRUE\t0\tc\t\n",
    ] => |input| !cookies::parse_netscape(&text(input)).is_empty();
    "server statistics": [
        b"host=h, protocol=http, dl_speed=32000, sc_avg_speed=0, mc_avg_speed=1, last_updated=1222491640, counter=9, status=OK\n",
    ] => |input| {
        let rows = server_stat::parse(&text(input));
        let _ = server_stat::to_text(&rows);
        !rows.is_empty()
    };
    "URI": [b"http://u:p%40@h:80/a/../b%20c?d=e#f", b"ftp://[fe80::1%25lo]:21/%2Fx;type=i", b"sftp://h/"] => |input| {
        let text = text(input);
        let _ = (uri::normalise(&text), uri::without_fragment(&text));
        uri::Uri::parse(&text).is_some_and(|uri| {
            let _ = (uri.host_port(), uri.path_and_query(), uri.file_name(), uri.port_or_default());
            true
        })
    };
    "URI expansion": [b"http://{a,b}.h/[01-12:3]/[a-f]x"] => |input| {
        expand::expand(&text(input)).is_ok_and(|uris| {
            assert!(uris.len() <= 65_536);
            true
        })
    };
    "conf file": [b"# c\nsplit=5\nheader=A: b\n\n dir = ${HOME}/x \nnonsense\n"] => |input| {
        option::conf::lines(&text(input)).count() > 0
    };
    "command line": [b"-s5\n-x\n4\n--dir=/d\n-Z\nhttp://h/\n--no-conf\n-i-\n--\n-o"] => |input| {
        option::argv::parse(text(input).split('\n').map(str::to_owned)).is_ok()
    };
    "option values": [
        b"1M", b"5-9,12", b"http://u:p@h:80", b"1=a/b", b"true", b"sha-1=0000000000000000000000000000000000000000", b"head=1M,tail",
    ] => |input| {
        let text = text(input);
        let taken = option::all().iter().filter(|id| OptionSet::new().set_text(**id, &text).is_ok());
        taken.count() > 0
    };
    "JSON": [
        b"{\"a\":[1,-2.5e3,null,true,\"\\u00e9\\ud83d\\ude00\\n\"],\"b\":{}}", b"[]", b"[9007199254740993]",
    ] => |input| json_reader::read(input).is_ok();
    "JSON-RPC": [
        b"{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"aria2.addUri\",\"params\":[[\"http://h\"],{\"split\":\"1\"}]}",
        b"[{\"id\":1,\"method\":\"a\"},{\"id\":null,\"method\":\"b\",\"params\":{}}]",
    ] => |input| {
        jsonrpc::parse(input);
        json_reader::read(input).is_ok()
    };
    "JSON-RPC by GET": [b"method=aria2.tellActive&id=x&params=W10%3D&jsoncallback=f"] => |input| {
        get_query::parse(&text(input));
        true
    };
    "XML-RPC": [
        b"<?xml version=\"1.0\"?><methodCall><methodName>m</methodName><params><param><value><struct><member><name>a</name><value><i4>5</i4></value></member></struct></value></param><param><value><array><data><value>t</value><value><base64>YQ==</base64></value><value><boolean>1</boolean></value></data></array></value></param></params></methodCall>",
    ] => |input| xmlrpc::parse(input).is_ok();
    "peer messages": [
        b"\0\0\0\x05\x04\0\0\0\x07\0\0\0\0\0\0\0\x0d\x06\0\0\0\x01\0\0\x40\0\0\0\x40\0\0\0\0\x01\x02\0\0\0\x03\x05\xf0\x0f",
        b"\0\0\0\x0c\x07\0\0\0\x01\0\0\0\0abc\0\0\0\x03\x09\x1a\xe1\0\0\0\x04\x14\0de\0\0\0\x01\x0e\0\0\0\x05\x11\0\0\0\x02",
    ] => |input| {
        let mut buffer = BytesMut::from(input);
        let mut any = false;
        while let Ok(Some(message)) = wire::decode(&mut buffer) {
            any = true;
            if matches!(message, wire::Message::Unknown(_)) {
                continue; // is never written
            }
            let mut out = BytesMut::new();
            message.encode(&mut out);
            assert_eq!(wire::decode(&mut out), Ok(Some(message)));
        }
        any
    };
    "peer handshake": [
        b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x05aaaaaaaaaaaaaaaaaaaa-LT2010-bbbbbbbbbbbb",
    ] => |input| {
        let _ = mse::is_plain(input);
        input.first_chunk().is_some_and(|bytes| handshake::Handshake::decode(bytes).is_some())
    };
    "encrypted handshake": [&[0x41; 200]] => |input| {
        let policy = mse::CryptoPolicy::new(false, option::value::CryptoLevel::Plain, false);
        let mut rng = Rng::seeded(1);
        let _ = mse::Initiator::new(HASH, policy, [3; 20], Vec::new(), &mut rng)
            .handle_input(&mut BytesMut::from(input));
        mse::Responder::new([3; 20], &mut rng)
            .handle_input(&mut BytesMut::from(input), |_| Some((HASH, policy)))
            .is_ok()
    };
    "extension handshake": [
        b"d1:ei0e1:md11:ut_metadatai3e6:ut_pexi1ee13:metadata_sizei31235e1:pi6881e4:reqqi250e1:v5:x 1.06:yourip4:\x7f\0\0\x01e",
    ] => |input| extension::ExtendedHandshake::decode(input).is_some();
    "peer exchange": [
        b"d5:added12:\x7f\0\0\x01\x1a\xe1\x7f\0\0\x02\x1a\xe17:added.f2:\x10\x026:added618:\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x1a\xe17:dropped6:\x7f\0\0\x03\x1a\xe1e",
    ] => |input| pex::PexMessage::decode(input).is_some();
    "metadata message": [
        b"d8:msg_typei1e5:piecei0e10:total_sizei3eeabc", b"d8:msg_typei0e5:piecei2ee", b"d8:msg_typei2e5:piecei0ee",
    ] => |input| metadata::MetadataMessage::decode(&Bytes::copy_from_slice(input)).is_some();
    "local discovery": [
        b"BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\nInfohash: 0123456789abcdef0123456789abcdef01234567\r\ncookie: x\r\n\r\n\r\n",
    ] => |input| lpd::LocalAnnounce::decode(input).is_some();
    "DHT message": [
        b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token1:te1:q13:announce_peer1:t2:aa1:y1:qe",
        b"d1:rd2:id20:abcdefghij01234567895:nodes26:mnopqrstuvwxyz123456\x01\x02\x03\x04\x1a\xe15:token8:aoeusnth6:valuesl6:axje.uee1:t2:aa1:y1:re",
        b"d1:eli201e5:errore1:t2:aa1:y1:ee",
    ] => |input| {
        let Some(message) = dht::message::Message::decode(input) else {
            return false;
        };
        let again = dht::message::Message::decode(&message.encode());
        assert!(again.is_some(), "what we write is read again: {message:?}");
        true
    };
    "DHT file": [
        b"\xa1\xa2\x02\0\0\0\0\x03\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0aaaaaaaaaaaaaaaaaaaa\0\0\0\0\0\0\0\x01\0\0\0\0\x06\0\0\0\0\0\0\0\x7f\0\0\x01\x1a\xe1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0bbbbbbbbbbbbbbbbbbbb\0\0\0\0",
    ] => |input| DhtFile::decode(input).is_ok_and(|file| DhtFile::decode(&file.encode()).is_ok());
    "HTTP tracker": [
        b"d8:completei3e10:incompletei4e8:intervali1800e12:min intervali1e5:peers6:\x0a\0\0\x01\x1a\xe16:peers618:\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x1a\xe110:tracker id1:t15:warning message1:we",
        b"d8:intervali9e5:peersld2:ip9:127.0.0.14:porti80eeee",
        b"d5:filesd20:\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07d8:completei1e10:downloadedi2e10:incompletei3eeee",
    ] => |input| {
        let scrape = tracker::http::parse_scrape(input, HASH);
        tracker::http::parse_announce(input).is_ok() || scrape.is_ok()
    };
    "UDP tracker": [
        b"\0\0\0\0\0\0\0\x05\0\0\0\x06", b"\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\0\0\x03", b"\0\0\0\x03no",
    ] => |input| {
        let now = Instant::now();
        let question = tracker::udp::Question::Scrape(HASH);
        let connection = Some((1, now - Duration::from_secs(1)));
        let mut exchange =
            tracker::udp::Exchange::new(now, question, false, connection, &mut Rng::seeded(1));
        exchange.poll_datagram(now);
        let transaction = exchange.transaction().to_be_bytes();
        let (action, body) = input.split_at(input.len().min(4));
        exchange.handle_datagram(now, &[action, &transaction, body].concat());
        true
    };
    "compact addresses": [b"\x7f\0\0\x01\x1a\xe1"] => |input| {
        compact::read_v4(input).count() + compact::read_v6(input).count() > 0
    };
    "blocklist": [
        b"# c\n1.2.3.0/24\nName:5.6.7.8-5.6.7.9\n001.002.003.004 - 001.002.003.005 , 000 , x\n::1\n",
    ] => |input| {
        let _ = blocklist::Blocklist::parse(input);
        true
    };
    "HTTP head": [
        b"206\nContent-Range: bytes 5-9/10\nContent-Length: 5\nETag: \"x\"\nLast-Modified: Wed, 09 Jun 2021 10:18:14 GMT\nContent-Disposition: attachment; filename=\"a b\"; filename*=UTF-8''%e2%82%ac",
        b"200\nTransfer-Encoding: chunked\nContent-Encoding: gzip\nDigest: SHA-256=YQ==",
        b"302\nLocation: ../x?y#z\nLink: <http://m/x>; rel=duplicate; pri=1; geo=de; pref, </y>; rel=\"describedby duplicate\"",
    ] => |input| {
        let text = text(input);
        let mut lines = text.lines();
        let status = lines.next().and_then(|status| StatusCode::from_bytes(status.as_bytes()).ok());
        let Some(status) = status else {
            return false;
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
                headers.append(name, value);
            }
        }
        let mut settings = option::settings::HttpSettings::from(&OptionSet::new());
        settings.link_mirrors = true;
        let url = url::Url::parse("http://h/a/b").expect("a URL");
        link_header::Told::default().read(&headers, &url, &settings);
        let range = request::RangeAsk { start: 5, end: Some(10) };
        let asked = [None, Some(range)].map(|range| request::Ask { range, ..Default::default() });
        let read = |ask: &request::Ask| {
            response::Head {
                status,
                headers: &headers,
                ask,
                settings: &settings,
                expect: &Identity::default(),
                server: Some("h"),
                now: std::time::SystemTime::UNIX_EPOCH,
            }
            .read()
            .is_ok()
        };
        asked.iter().any(read)
    };
    "Content-Range": [b"bytes 5-9/10", b"bytes */10", b"bytes 0-0/*"] => |input| {
        content_range::parse(input).is_some()
    };
    "Content-Disposition": [
        b"attachment; filename=\"a\\\"b\"; filename*=UTF-8''%e2%82%ac;", b"inline; filename=x.bin",
    ] => |input| {
        let _ = disposition::file_name(input, false);
        disposition::file_name(input, true).is_some()
    };
    "FTP replies": [
        b"227 Entering Passive Mode (127,0,0,1,4,1)\r\n", b"229 x (|||6446|)\r\n", b"211-a\r\n b\r\n211 end\r\n",
        b"213 20210609101814.5\r\n", b"257 \"/a\"\"b\" is\r\n",
    ] => |input| {
        let text = text(input);
        let _ = (reply::pasv_port(&text), reply::epsv_port(&text), reply::size(&text));
        let _ = (reply::mdtm(&text), reply::pwd(&text));
        matches!(reply::parse(input), Ok(Some(_)))
    };
    "FTP path": [b"/a/%2Fb/c;type=a", b"/x"] => |input| path::FtpPath::parse(&text(input)).is_ok();
    "store record": [
        b"{\"place\":\"Waiting\",\"order\":1,\"uris\":[\"http://h\"],\"options\":[[\"a\",\"b\"]]}",
    ] => |input| {
        let _ = store::Record::decode(&[1; 8], input);
        store::Record::position(&[1; 8], input);
        true
    };
};
