//! Pure: a document of version 4.

use std::fmt::Write as _;

use base64::Engine as _;
use quick_xml::escape::escape;

use super::{INLINE, MetalinkFile, PRIORITY_LAST};

/// See [`super::Metalink::document`].
pub fn write(files: &[MetalinkFile], torrent: Option<&[u8]>) -> String {
    // aria2 knows a Metalink by these first bytes.
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    out.push_str("<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">");
    let mut torrent = torrent.map(|bytes| {
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        format!("{INLINE}{text}")
    });
    for file in files {
        // Once is enough: the files of a document that has it are of one torrent.
        push_file(&mut out, file, torrent.take());
    }
    out.push_str("</metalink>");
    out
}

fn push_file(out: &mut String, file: &MetalinkFile, mut inline: Option<String>) {
    let _ = write!(out, "<file name=\"{}\">", escape(&file.name));
    if let Some(size) = file.size {
        let _ = write!(out, "<size>{size}</size>");
    }
    for hash in &file.hashes {
        let (kind, hex) = (escape(&hash.kind), escape(&hash.hex));
        let _ = write!(out, "<hash type=\"{kind}\">{hex}</hash>");
    }
    for pieces in &file.pieces {
        let (kind, len) = (escape(&pieces.kind), pieces.piece_len);
        let _ = write!(out, "<pieces type=\"{kind}\" length=\"{len}\">");
        for digest in pieces.digests.chunks(pieces.digest_len.max(1)) {
            out.push_str("<hash>");
            for byte in digest {
                let _ = write!(out, "{byte:02x}");
            }
            out.push_str("</hash>");
        }
        out.push_str("</pieces>");
    }
    for torrent in &file.torrents {
        let held = torrent.is_inline().then(|| inline.take()).flatten();
        let uri = held.as_ref().unwrap_or(&torrent.uri);
        push_torrent(out, uri, torrent.priority, torrent.name.as_deref());
    }
    if let Some(uri) = inline {
        // Programs that cannot read it find another one first.
        let first = file.torrents.first();
        let name = first.and_then(|torrent| torrent.name.as_deref());
        push_torrent(out, &uri, PRIORITY_LAST, name);
    }
    for mirror in &file.resources {
        let (priority, uri) = (mirror.priority, escape(&mirror.uri));
        let _ = write!(out, "<url priority=\"{priority}\">{uri}</url>");
    }
    out.push_str("</file>");
}

fn push_torrent(out: &mut String, uri: &str, priority: u32, name: Option<&str>) {
    let _ = write!(
        out,
        "<metaurl mediatype=\"torrent\" priority=\"{priority}\""
    );
    if let Some(name) = name {
        let _ = write!(out, " name=\"{}\"", escape(name));
    }
    let _ = write!(out, ">{}</metaurl>", escape(uri));
}
