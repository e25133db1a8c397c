//! What the peer did: told to the transfer, and blocks put where they belong.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use bytes::Bytes;

use super::Driver;
use crate::base::units::PieceIdx;
use crate::bittorrent::assembler::{FullPiece, Put};
use crate::bittorrent::link::PeerReport;
use crate::bittorrent::metadata::{self, MetadataMessage};
use crate::bittorrent::peer::{PeerEvent, allowed_fast_set};
use crate::bittorrent::peer_source::ending::End;
use crate::bittorrent::swarm::Parting;
use crate::bittorrent::wire::Block;

/// Bytes that may wait to be written before requests for metadata are refused: each is a thousandth
/// of its answer.
const METADATA_AHEAD_MAX: usize = 1 << 20;
/// Pieces a poor peer may have while it is choked (BEP 6).
const ALLOWED_FAST_COUNT: usize = 10;

impl Driver {
    /// Turns events into reports.
    pub(super) fn heed(&mut self, now: Instant) -> Result<(), End> {
        while let Some(event) = self.peer.poll_event() {
            // These are not for the transfer, or the answer to its own orders.
            let own = matches!(
                event,
                PeerEvent::Block { .. } | PeerEvent::Released(_) | PeerEvent::Asks
            );
            self.said += u32::from(!own);
            match event {
                PeerEvent::Block { block, data } => self.take(block, data)?,
                PeerEvent::Released(block) => self.reporter.released([block]),
                PeerEvent::Has(_) if self.peer.is_seeder() => {
                    self.reporter.tell(PeerReport::HasAll)
                }
                PeerEvent::Has(pieces) => self.reporter.tell(PeerReport::Has(pieces)),
                PeerEvent::Choked(choked) => {
                    if choked {
                        self.window_told = 0;
                        self.release_waiting();
                    }
                    self.reporter.tell(PeerReport::Choked(choked));
                }
                PeerEvent::Interested(interested) => {
                    if interested {
                        self.allow_fast();
                    }
                    self.reporter.tell(PeerReport::Interested(interested));
                }
                PeerEvent::Snubbed => {
                    self.snub_told = true;
                    self.reporter.released(self.waiting.drain(..));
                    self.reporter.tell(PeerReport::Snubbed(true));
                }
                // Looked at in `settle`.
                PeerEvent::Asks => {}
                PeerEvent::AllowedFast(piece) => self.reporter.tell(PeerReport::AllowedFast(piece)),
                PeerEvent::Suggests(piece) => self.reporter.tell(PeerReport::Suggests(piece)),
                PeerEvent::DhtPort(port) => {
                    // Once: whoever names port after port has us knock at all of them.
                    let dht = self.net.dht().filter(|_| self.torrent.in_dht());
                    if let (Some(dht), false) = (dht, std::mem::replace(&mut self.node_told, true))
                    {
                        dht.add_node(SocketAddr::new(self.address.ip(), port));
                    }
                }
                PeerEvent::Extensions(said) => {
                    self.reporter.tell(PeerReport::Extensions(Box::new(said)));
                }
                PeerEvent::Metadata(payload) => self.heed_metadata(payload),
                PeerEvent::Pex(payload) => self.reporter.tell(PeerReport::Pex(payload)),
            }
        }
        if self.snub_told && !self.peer.is_snubbing() {
            self.snub_told = false;
            self.reporter.tell(PeerReport::Snubbed(false));
        }
        let _ = now;
        Ok(())
    }

    /// Requests are answered here.
    fn heed_metadata(&mut self, payload: Bytes) {
        match MetadataMessage::decode(&payload) {
            Some(MetadataMessage::Request { part }) => {
                let ahead = self.output.len() + self.metadata_len;
                let answer = match &self.torrent.info {
                    Some(info) if ahead < METADATA_AHEAD_MAX => metadata::answer(info, part),
                    _ => MetadataMessage::Reject { part },
                };
                let answer = answer.encode();
                self.metadata_len += answer.len();
                self.peer.send_metadata(answer);
            }
            Some(_) => self.reporter.tell(PeerReport::Metadata(payload)),
            None => {}
        }
    }

    /// Puts a block where it belongs.
    fn take(&mut self, block: Block, data: Bytes) -> Result<(), End> {
        let Some(assembler) = &self.assembler else {
            self.reporter.took(block);
            return Ok(());
        };
        match assembler.put(block, data, self.address) {
            Ok(Put::Kept | Put::Known) => self.reporter.took(block),
            // Somebody may begin the piece anew before this is heard: it must not count.
            Ok(Put::Closed) => self.reporter.released([block]),
            Ok(Put::Full(full)) => {
                self.reporter.took(block);
                self.complete(full);
            }
            Err(failure) => {
                self.reporter.took(block);
                self.reporter.tell(PeerReport::Disk(failure.clone()));
                return Err((Parting::Lost, failure));
            }
        }
        Ok(())
    }

    /// Hashing and writing are no work for the thread that reads; the result is reported even if
    /// this connection has ended by then.
    fn complete(&mut self, full: FullPiece) {
        self.reporter.flush();
        let Some(assembler) = self.assembler.clone() else {
            return;
        };
        let (id, reports) = (self.link.id, self.link.reports.clone());
        tokio::task::spawn_blocking(move || {
            let report = match assembler.complete(full) {
                Ok(result) => PeerReport::Piece {
                    piece: result.piece,
                    good: result.good,
                    guilty: result.guilty,
                },
                Err(failure) => PeerReport::Disk(failure),
            };
            let _ = reports.send((id, report));
        });
    }

    /// A peer that has next to nothing gets a start (BEP 6).
    fn allow_fast(&mut self) {
        let IpAddr::V4(ip) = self.address.ip() else {
            return;
        };
        let rich = self.peer.pieces().count_ones() as usize >= ALLOWED_FAST_COUNT;
        if self.allowed_told || rich || self.have.none() {
            return;
        }
        self.allowed_told = true;
        let count = self.have.len();
        let set = allowed_fast_set(
            ip.octets(),
            self.torrent.info_hash,
            count,
            ALLOWED_FAST_COUNT,
        );
        let here = |piece: &PieceIdx| self.have.get(piece.0);
        self.peer.allow_fast(set.into_iter().filter(here).collect());
    }
}
