//! Pure: a plan whose content is known before it begins, and the peers that may bring it.

use std::time::{Duration, Instant};

use super::{Action, Member, Mirror, Outcome, Plan, PlanSettings, SourceStage, Stage};
use crate::base::range_set::RangeSet;
use crate::base::rng::Rng;
use crate::base::units::{PieceIdx, SourceId, Span};
use crate::source::{Facts, Identity};
use crate::transfer::piece_map::PieceMap;
use crate::transfer::uri_pool::HostSpeeds;

/// Beside peers a mirror gets what it brings in so many seconds…
const LEASE_SECONDS: f64 = 4.0;
/// …and so much while nothing is known of it, in bytes…
const LEASE_FIRST: u64 = 1 << 20;
/// …but never more than this, in bytes.
const LEASE_MAX: u64 = 32 << 20;
/// A mirror whose lease would take longer, in seconds, loses it to peers that wait for it.
const CRAWL_SECONDS: f64 = 15.0;
/// A mirror that needs longer for its last piece than this, in seconds…
const OVERTAKE_SECONDS: f64 = 2.0;
/// …and so many times what peers would need loses it, too.
const OVERTAKE_FACTOR: f64 = 1.5;
/// What was taken from mirrors waits for peers no longer than this.
const RESERVED_MAX: Duration = Duration::from_secs(3);
/// So long after the last wanted byte has come, peers are waited for that have the rest of its
/// piece.
const EDGE_PATIENCE: Duration = Duration::from_secs(5);
/// So long it gets nothing then.
const BENCH: Duration = Duration::from_secs(20);

/// What is known of a download before it begins.
#[derive(Clone, Debug)]
pub struct Known {
    /// Bytes of all files.
    pub total: u64,
    /// Bytes; not 0.
    pub piece_len: u64,
    /// Bytes that are wanted, of the selected files; whole pieces are fetched. `None`: all.
    pub wanted: Option<RangeSet>,
    /// Filler that is nowhere stored and never fetched (BEP 47); counts as there.
    pub padding: RangeSet,
    /// A piece that reaches beyond what is wanted need not be whole where nobody has the rest of
    /// it: the wanted files come from a Metalink, and most of its mirrors have nothing else.
    pub edges_may_lack: bool,
}

impl Plan {
    /// A plan for content that is known: it begins with [`Action::Prepare`] (whose facts carry the
    /// length alone). A Metalink without a size goes through [`Plan::new`], with `hashed` set where
    /// it has piece hashes.
    pub fn known(
        now: Instant,
        mirrors: &[Mirror],
        known: Known,
        settings: PlanSettings,
        rng: Rng,
    ) -> Self {
        let mut plan = Self::new(now, &[], settings, rng);
        plan.pool.extend(mirrors);
        let identity = Identity {
            len: Some(known.total),
            ..Identity::default()
        };
        plan.expect = Some(identity.clone());
        // What is shown until the files have been looked at.
        let nothing = RangeSet::new();
        plan.map = PieceMap::new(
            Some(known.total),
            known.piece_len,
            nothing,
            plan.settings.hashed,
        );
        plan.map.set_wanted(known.wanted.as_ref());
        plan.known = Some(known);
        plan.stage = Stage::Preparing;
        plan.actions.clear();
        plan.actions.push_back(Action::Prepare {
            facts: Facts {
                identity,
                ..Facts::default()
            },
            discard: false,
        });
        plan
    }

    /// The map is new: what is known of the content shapes it.
    pub(super) fn apply_known(&mut self) {
        let Some(known) = &self.known else { return };
        self.map.set_wanted(known.wanted.as_ref());
        let full = self.map.set_padding(&known.padding);
        self.actions.extend(full.into_iter().map(Action::Hash));
    }

    /// Adds mirrors, as those a tracker or a Metalink brought later.
    pub fn add_mirrors(&mut self, now: Instant, mirrors: &[Mirror], speeds: &dyn HostSpeeds) {
        self.pool.extend(mirrors);
        self.advance(now, speeds);
    }

    /// So many peers that have what we want are connected. While there are any, mirrors get modest
    /// leases.
    pub fn handle_peers(&mut self, now: Instant, count: usize, speeds: &dyn HostSpeeds) {
        let first = self.peers == 0 && count > 0;
        self.peers = count;
        if !first || self.stage != Stage::Fetching {
            return;
        }
        let sources: Vec<SourceId> = self.members.keys().copied().collect();
        for source in sources {
            let rate = self.members.get(&source).and_then(|m| m.pace.rate(now));
            if let Some(len_max) = self.lease_len_max(rate)
                && let Some(end) = self.map.cut(source, len_max)
            {
                self.actions.push_back(Action::Shrink(source, end));
            }
        }
        self.advance(now, speeds);
    }

    /// Beside peers mirrors work in modest steps, so that one does not check out everything.
    pub(super) fn lease_len_max(&self, rate: Option<f64>) -> Option<u64> {
        let modest = || {
            let bytes = rate.map_or(LEASE_FIRST, |rate| (rate * LEASE_SECONDS) as u64);
            bytes.clamp(1, LEASE_MAX)
        };
        (self.peers > 0).then(modest)
    }

    /// While peers have nothing else left to do: gives them of what mirrors hold and have not
    /// begun, and takes the last pieces from mirrors that are much slower.
    pub fn make_way(&mut self, now: Instant) {
        if self.map.has_reserved() && now >= self.reserved_at + RESERVED_MAX {
            self.map.end_reservation();
        }
        let Some(idle_rate) = self.map.contended().filter(|_| self.peers > 0) else {
            return;
        };
        if self.share_leases(now, idle_rate) {
            return;
        }
        let crawls = |source: &SourceId, member: &Member| {
            let rest = self.map.lease_of(*source).map_or(0, Span::len) as f64;
            if !member.accepted {
                return member.pace.silence(now).as_secs_f64() > CRAWL_SECONDS;
            }
            let peers_need = OVERTAKE_SECONDS + OVERTAKE_FACTOR * rest / idle_rate.max(1.0);
            let patience = CRAWL_SECONDS.min(peers_need);
            let rate = member.pace.rate(now);
            rest > 0.0 && rate.is_some_and(|rate| rest / rate.max(1.0) > patience)
        };
        let crawling: Vec<SourceId> = self
            .members
            .iter()
            .filter(|(_, member)| member.stage == SourceStage::Fetching)
            .filter(|(source, member)| crawls(source, member))
            .map(|(source, _)| *source)
            .collect();
        for source in crawling {
            let mirror = self.members.get(&source).map(|member| member.mirror);
            // It may hang in a read: only without it nothing of it is written any more.
            self.drop_source(source);
            if let Some(mirror) = mirror {
                self.pool.bench(mirror, now + BENCH);
            }
        }
    }

    /// Takes pieces that have not been begun from the mirror that would hold them longest, so many
    /// that it and the peers end together. False when there are none.
    fn share_leases(&mut self, now: Instant, idle_rate: f64) -> bool {
        let mut holders: Vec<(f64, SourceId, u64)> = Vec::new();
        for (source, member) in &self.members {
            let rest = self.map.lease_of(*source).map_or(0, Span::len);
            let rate = member.pace.rate(now);
            let seconds = rest as f64 / rate.unwrap_or(1.0).max(1.0);
            let part = match rate {
                Some(rate) if idle_rate > 0.0 => rate / (rate + idle_rate),
                // Nobody knows who is the faster one.
                _ => 0.5,
            };
            holders.push((seconds, *source, (rest as f64 * part) as u64));
        }
        holders.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (_, source, kept) in holders {
            if let Some(end) = self.map.reserve(source, kept) {
                self.reserved_at = now;
                self.actions.push_back(Action::Shrink(source, end));
                return true;
            }
        }
        false
    }

    /// The crowd's piece was hashed.
    pub fn handle_swarm_piece(
        &mut self,
        now: Instant,
        piece: PieceIdx,
        good: bool,
        speeds: &dyn HostSpeeds,
    ) {
        let before = self.map.written().total();
        let writers = self.map.writers_of(piece);
        if good {
            self.acquit(&writers);
        } else {
            // It holds what mirrors had begun.
            self.suspect_of_swarm(piece, &writers);
        }
        if self.map.swarm_hashed(piece, good) {
            self.actions.push_back(Action::Hash(piece));
        }
        let new_bytes = self.map.written().total().saturating_sub(before);
        self.bytes_since_save += new_bytes;
        self.advance(now, speeds);
    }

    /// A piece the crowd gave up: mirrors may have it. These bytes of it are on disk now.
    pub fn handle_given_back(
        &mut self,
        now: Instant,
        piece: PieceIdx,
        on_disk: &RangeSet,
        speeds: &dyn HostSpeeds,
    ) {
        if self.map.give_back(piece, on_disk) {
            self.actions.push_back(Action::Hash(piece));
        }
        self.advance(now, speeds);
    }

    /// Where a mirror could work but finds nothing to do, so that slow peers are to give up pieces:
    /// what idle mirrors have shown they can bring, in bytes a second.
    pub fn mirrors_idle(&self) -> Option<f64> {
        let idle = |member: &&Member| matches!(member.stage, SourceStage::Idle { .. });
        let idle = self.members.values().filter(idle);
        let rate = idle.filter_map(|member| member.pace.last_rate()).sum();
        (self.stage == Stage::Fetching && self.hungry).then_some(rate)
    }

    /// Ends the wait for bytes that nobody asked for and nobody has.
    pub(super) fn waive_edges(&mut self, now: Instant) {
        let known = self.known.as_ref().filter(|known| known.edges_may_lack);
        let Some(wanted) = known.and_then(|known| known.wanted.as_ref()) else {
            return;
        };
        let is_busy = self.peers > 0
            || self.map.is_hashing()
            || self.map.swarm_count() > 0
            || !wanted.iter().all(|span| self.map.written().covers(span))
            || self
                .members
                .values()
                .any(|it| it.stage == SourceStage::Fetching);
        if is_busy {
            self.edges_since = None;
        } else if now >= *self.edges_since.get_or_insert(now) + EDGE_PATIENCE {
            self.map.waive_missing();
            self.complete();
        }
    }

    /// Whether everything wanted is there and finished, and we only give.
    pub fn is_seeding(&self) -> bool {
        self.stage == Stage::Seeding
    }

    pub(super) fn handle_completed(&mut self) {
        if self.settings.swarm {
            // Should more have been wanted meanwhile, it goes on from there.
            self.stage = Stage::Seeding;
        } else {
            self.end(Outcome::Complete);
        }
    }

    /// Enough was given: the download ends as complete.
    pub fn handle_seeding_over(&mut self) {
        self.end(Outcome::Complete);
    }

    /// Bytes of a source's resource, as bytes of the download.
    pub(super) fn in_download(&self, source: SourceId, span: Span) -> Span {
        let origin = self.origins.get(source.0 as usize);
        let base = origin.map_or(0, |origin| origin.base);
        Span::new(span.start + base, span.end.saturating_add(base))
    }

    /// Takes in what a source still wrote before it was ended.
    pub fn handle_last_write(&mut self, source: SourceId, span: Span) {
        let span = self.in_download(source, span);
        self.map.wrote(source, span);
    }
}
