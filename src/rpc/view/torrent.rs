//! Pure: what RPC shows of torrents and their peers.

use std::sync::atomic::Ordering;
use std::time::Instant;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

use super::super::sink::{Sink, pair, texts};
use super::word;
use crate::engine::Brief;
use crate::format::metainfo::Metainfo;
use crate::transfer::{Job, PeerEntry};

/// Writes the member `bittorrent`, if there is something to tell.
pub(super) fn about(brief: &Brief, name: &str, out: &mut dyn Sink) {
    match (&brief.job, brief.metainfo()) {
        (Job::Magnet(magnet), _) => {
            out.key(name);
            out.open_struct();
            let trackers = magnet.trackers.iter();
            tiers(trackers.map(std::slice::from_ref), out);
            out.close_struct();
        }
        (_, Some(metainfo)) => {
            out.key(name);
            known(metainfo, out);
        }
        _ => {}
    }
}

fn known(metainfo: &Metainfo, out: &mut dyn Sink) {
    out.open_struct();
    tiers(metainfo.tiers.iter().map(Vec::as_slice), out);
    if let Some(comment) = &metainfo.comment {
        pair(out, "comment", comment);
    }
    if let Some(date) = metainfo.creation_date {
        out.key("creationDate");
        out.int(date);
    }
    out.key("info");
    out.open_struct();
    pair(out, "name", &metainfo.info.name);
    out.close_struct();
    let mode = if metainfo.info.multi {
        "multi"
    } else {
        "single"
    };
    pair(out, "mode", mode);
    out.close_struct();
}

fn tiers<'a>(tiers: impl Iterator<Item = &'a [String]>, out: &mut dyn Sink) {
    out.key("announceList");
    out.open_list();
    for tier in tiers {
        texts(out, tier.iter().map(String::as_str));
    }
    out.close_list();
}

/// Writes what `getPeers` shows.
pub fn peers(peers: &[impl AsRef<PeerEntry>], now: Instant, out: &mut dyn Sink) {
    out.open_list();
    for peer in peers {
        one_peer(peer.as_ref(), now, out);
    }
    out.close_list();
}

fn one_peer(peer: &PeerEntry, now: Instant, out: &mut dyn Sink) {
    let figures = &peer.figures;
    let is = |flag: &std::sync::atomic::AtomicBool| word(flag.load(Ordering::Relaxed));
    out.open_struct();
    pair(out, "amChoking", is(&figures.am_choking));
    let bitfield = figures.pieces.lock().hex();
    pair(out, "bitfield", &bitfield);
    out.key("downloadSpeed");
    out.digits(figures.down.speed(now));
    pair(out, "ip", &peer.address.ip().to_canonical().to_string());
    pair(out, "peerChoking", is(&figures.peer_choking));
    let id = percent_encode(&peer.id.0, NON_ALPHANUMERIC);
    pair(out, "peerId", &id.to_string());
    out.key("port");
    out.digits(u64::from(peer.address.port()));
    pair(out, "seeder", is(&figures.seeder));
    out.key("uploadSpeed");
    out.digits(figures.up.speed(now));
    out.close_struct();
}
