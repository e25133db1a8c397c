//! Connections to mirrors: what they answer, send and break off.

use std::fmt::Write as _;
use std::time::Duration;

use arioso::base::error::{ErrorCode, Failure, Retry};
use arioso::base::units::{SourceId, Span};
use arioso::source::{Facts, Identity, Opening, Report};
use arioso::transfer::plan::Plan;

use super::{Happening, World};
use crate::ground::{CHUNK, WRONG, mirror_of};
use crate::mirror::Fault;

pub(super) struct Connection {
    pub(super) mirror: usize,
    pub(super) rate: u64,
    pub(super) opening: Opening,
    pub(super) opened: bool,
    /// Position of the open body and where the response ends.
    pub(super) body: Option<Span>,
    pub(super) lease: Option<Span>,
    /// Bumped when the connection turns to something else: older events are void.
    pub(super) turn: u32,
}

impl World {
    pub(super) fn open(&mut self, source: SourceId, uri: &str, opening: Opening) {
        let index = mirror_of(uri);
        let mirror = &mut self.mirrors[index];
        let slow = mirror.slow_connection == Some(mirror.dialled);
        mirror.dialled += 1;
        let rate = if slow {
            mirror.rate / 1000
        } else {
            mirror.rate
        };
        let latency = mirror.latency;
        let connection = Connection {
            mirror: index,
            rate: rate.max(100),
            opening,
            opened: false,
            body: None,
            lease: None,
            turn: 0,
        };
        self.connections.insert(source, connection);
        self.connections_most = self.connections_most.max(self.connections.len());
        if opening != Opening::Lease {
            self.after(latency, Happening::Respond(source, 0));
        }
    }

    pub(super) fn fetch(&mut self, source: SourceId, span: Span) {
        let Some(connection) = self.connections.get_mut(&source) else {
            return;
        };
        connection.lease = Some(span);
        connection.turn += 1;
        let turn = connection.turn;
        let latency = self.mirrors[connection.mirror].latency;
        if connection.body.is_some_and(|body| body.start == span.start) {
            self.after(Duration::ZERO, Happening::Chunk(source, turn));
        } else {
            connection.body = None;
            self.after(latency, Happening::Respond(source, turn));
        }
    }

    pub(super) fn is_current(&self, source: SourceId, turn: u32) -> bool {
        self.connections
            .get(&source)
            .is_some_and(|connection| connection.turn == turn)
    }

    pub(super) fn close(
        &mut self,
        plan: &mut Plan,
        source: SourceId,
        code: ErrorCode,
        retry: Retry,
        text: &str,
    ) {
        self.connections.remove(&source);
        let _ = writeln!(self.log, "{:?} {source:?} closed: {text}", self.elapsed());
        plan.handle_report(
            self.clock.now(),
            source,
            Report::Closed(Err(Failure::new(code, retry, text))),
            &(),
        );
    }

    pub(super) fn respond(&mut self, plan: &mut Plan, source: SourceId) {
        let Some(connection) = self.connections.get(&source) else {
            return;
        };
        let mirror = self.mirrors[connection.mirror].clone();
        if self.rng.chance(mirror.busy) {
            let code = ErrorCode::HttpServiceUnavailable;
            return self.close(plan, source, code, Retry::After(Duration::ZERO), "503");
        }
        if mirror.fault == Some(Fault::NotFound) {
            return self.close(
                plan,
                source,
                ErrorCode::ResourceNotFound,
                Retry::OtherMirror,
                "404",
            );
        }
        // A first mirror that has another file can't be told from an honest one.
        if mirror.fault == Some(Fault::OtherFile) {
            return self.close(
                plan,
                source,
                ErrorCode::HttpProtocol,
                Retry::OtherMirror,
                "another file",
            );
        }
        let total = self.origin.len() as u64;
        let Some(connection) = self.connections.get_mut(&source) else {
            return;
        };
        let wanted = match (connection.lease, connection.opening) {
            (Some(lease), _) => lease,
            (None, Opening::From(at)) => Span::new(at, total),
            (None, _) => Span::new(0, total),
        };
        let body = if mirror.ranges {
            Span::new(wanted.start, wanted.end.min(total))
        } else {
            Span::new(0, total)
        };
        let probe = connection.opening == Opening::Probe;
        connection.body = (!probe).then_some(body);
        if !connection.opened {
            connection.opened = true;
            let facts = Facts {
                identity: Identity {
                    len: mirror.tells_length.then_some(total),
                    ..Identity::default()
                },
                body_from: (!probe).then_some(body.start),
                ranges: mirror.ranges,
                final_uri: "http://m/f".to_owned(),
                ..Facts::default()
            };
            plan.handle_report(
                self.clock.now(),
                source,
                Report::Opened(Box::new(facts)),
                &(),
            );
        }
        if probe {
            self.connections.remove(&source);
            return plan.handle_report(self.clock.now(), source, Report::Closed(Ok(())), &());
        }
        let Some(connection) = self.connections.get(&source) else {
            return;
        };
        let Some(lease) = connection.lease else {
            return;
        };
        let (turn, proven) = (
            connection.turn,
            connection
                .body
                .is_some_and(|body| body.start == lease.start),
        );
        if proven {
            self.after(Duration::ZERO, Happening::Chunk(source, turn));
        } else {
            self.close(
                plan,
                source,
                ErrorCode::CannotResume,
                Retry::OtherMirror,
                "200 instead of 206",
            );
        }
    }

    pub(super) fn chunk(&mut self, plan: &mut Plan, source: SourceId) {
        let Some(connection) = self.connections.get_mut(&source) else {
            return;
        };
        let mirror = &self.mirrors[connection.mirror];
        let (Some(lease), Some(body)) = (connection.lease, connection.body) else {
            return;
        };
        if self.rng.chance(mirror.loss) {
            return self.close(
                plan,
                source,
                ErrorCode::Network,
                Retry::After(Duration::ZERO),
                "broken",
            );
        }
        if self.rng.chance(mirror.stall) {
            let turn = connection.turn;
            return self.after(Duration::from_secs(60), Happening::Break(source, turn));
        }
        let wrong = mirror.fault == Some(Fault::WrongBytes);
        let at = lease.start;
        let end = (at + CHUNK).min(lease.end).min(body.end);
        if self.rng.chance(self.disk_faults) {
            return self.close(plan, source, ErrorCode::FileIo, Retry::Never, "disk");
        }
        let range = at as usize..end as usize;
        self.disk[range.clone()].copy_from_slice(&self.origin[range.clone()]);
        if wrong {
            self.disk[range].iter_mut().for_each(|byte| *byte ^= WRONG);
        }
        self.bytes_sent += end - at;
        self.bytes_to_disk += end - at;
        let (rate, turn) = (connection.rate, connection.turn);
        connection.lease = Some(Span::new(end, lease.end));
        connection.body = Some(Span::new(end, body.end));
        if end > at {
            plan.handle_report(
                self.clock.now(),
                source,
                Report::Wrote(Span::new(at, end)),
                &(),
            );
        }
        let Some(connection) = self.connections.get_mut(&source) else {
            return;
        };
        let lease_end = connection.lease.map_or(0, |lease| lease.end);
        if end == body.end && lease_end == u64::MAX {
            self.connections.remove(&source);
            plan.handle_report(self.clock.now(), source, Report::Ended(end), &());
        } else if end >= lease_end {
            connection.lease = None;
            connection.body = None;
            connection.turn += 1;
            plan.handle_report(self.clock.now(), source, Report::Idle, &());
        } else {
            let wait = Duration::from_secs_f64((end - at).max(1) as f64 / rate as f64);
            self.after(wait, Happening::Chunk(source, turn));
        }
    }
}
