//! Pure: a document about one file alone.

use std::fmt::Write as _;
use std::sync::Arc;

use quick_xml::escape::escape;

use super::{MetalinkFile, PRIORITY_LAST};

/// What is known of a file's content, as a document of version 4: name, size, hashes, and these
/// `mirrors`, the best first. What the file is for is left out.
pub fn write(file: &MetalinkFile, mirrors: &[Arc<str>]) -> String {
    // aria2 knows a Metalink by these first bytes.
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    out.push_str("<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">");
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
    for (priority, uri) in (1..=PRIORITY_LAST).zip(mirrors) {
        let _ = write!(out, "<url priority=\"{priority}\">{}</url>", escape(&**uri));
    }
    out.push_str("</file></metalink>");
    out
}
