//! Looking at downloads: one, a list of them, all in numbers.

use std::time::Instant;

use crate::base::gid::Gid;
use crate::engine::{Download, RequestError};

use super::super::dispatch::Backend;
use super::super::error::RpcError;
use super::super::params::Params;
use super::super::sink::Sink;
use super::super::view::{self, Keys};
use super::{Long, Method, Read, write_rows};

/// `aria2.tellStatus`.
pub struct TellStatus {
    gid: String,
    keys: Keys,
}

impl Method for TellStatus {
    const NAME: &'static str = "aria2.tellStatus";

    fn parse(params: &mut Params) -> Result<Self, RpcError> {
        Ok(Self {
            gid: params.text()?,
            keys: keys(params)?,
        })
    }
}

impl Read for TellStatus {
    fn read(self, backend: &Backend, out: &mut dyn Sink) -> Result<(), RpcError> {
        backend.engine.read(|registry| {
            view::download(registry.find(&self.gid)?, self.keys, Instant::now(), out);
            Ok(())
        })
    }
}

/// `aria2.tellActive`.
pub struct TellActive {
    keys: Keys,
}

impl Method for TellActive {
    const NAME: &'static str = "aria2.tellActive";

    fn parse(params: &mut Params) -> Result<Self, RpcError> {
        Ok(Self {
            keys: keys(params)?,
        })
    }
}

impl Read for TellActive {
    fn read(self, backend: &Backend, out: &mut dyn Sink) -> Result<(), RpcError> {
        backend
            .engine
            .read(|registry| write_all(registry.active(), self.keys, out));
        Ok(())
    }
}

/// `aria2.tellWaiting`.
pub struct TellWaiting(Window);

impl Method for TellWaiting {
    const NAME: &'static str = "aria2.tellWaiting";

    fn parse(params: &mut Params) -> Result<Self, RpcError> {
        Window::parse(params).map(Self)
    }
}

impl Long for TellWaiting {
    async fn write(self, backend: &Backend, out: &mut dyn Sink) -> Result<(), RpcError> {
        let shown = backend
            .engine
            .read(|registry| self.0.of(registry.waiting()));
        out.open_list();
        write_rows(backend, &shown, self.0.keys, out).await;
        out.close_list();
        Ok(())
    }
}

/// `aria2.tellStopped`.
pub struct TellStopped(Window);

impl Method for TellStopped {
    const NAME: &'static str = "aria2.tellStopped";

    fn parse(params: &mut Params) -> Result<Self, RpcError> {
        Window::parse(params).map(Self)
    }
}

impl Long for TellStopped {
    async fn write(self, backend: &Backend, out: &mut dyn Sink) -> Result<(), RpcError> {
        let shown = backend
            .engine
            .read(|registry| self.0.of(registry.stopped()));
        out.open_list();
        write_rows(backend, &shown, self.0.keys, out).await;
        out.close_list();
        Ok(())
    }
}

/// `aria2.getGlobalStat`.
pub struct GetGlobalStat;

impl Method for GetGlobalStat {
    const NAME: &'static str = "aria2.getGlobalStat";

    fn parse(_: &mut Params) -> Result<Self, RpcError> {
        Ok(Self)
    }
}

impl Read for GetGlobalStat {
    fn read(self, backend: &Backend, out: &mut dyn Sink) -> Result<(), RpcError> {
        let engine = &backend.engine;
        let (counts, stopped, stopped_total) = engine.read(|registry| {
            (
                registry.counts(),
                registry.stopped().len(),
                registry.stopped_total(),
            )
        });
        out.open_struct();
        for (key, number) in [
            ("downloadSpeed", engine.down_speed()),
            ("numActive", counts.active as u64),
            ("numStopped", stopped as u64),
            ("numStoppedTotal", stopped_total),
            ("numWaiting", counts.waiting as u64),
            ("uploadSpeed", engine.up_speed()),
        ] {
            out.key(key);
            out.digits(number);
        }
        out.close_struct();
        Ok(())
    }
}

/// `aria2.getPeers`.
pub struct GetPeers {
    gid: String,
}

impl Method for GetPeers {
    const NAME: &'static str = "aria2.getPeers";

    fn parse(params: &mut Params) -> Result<Self, RpcError> {
        Ok(Self {
            gid: params.text()?,
        })
    }
}

impl Read for GetPeers {
    fn read(self, backend: &Backend, out: &mut dyn Sink) -> Result<(), RpcError> {
        let peers = backend.engine.read(|registry| {
            let download = registry.find(&self.gid)?;
            match download.is_stopped() {
                true => Err(RequestError::NoPeers(download.gid())),
                false => Ok(download.peers()),
            }
        })?;
        view::peers(&peers, Instant::now(), out);
        Ok(())
    }
}

pub(super) fn keys(params: &mut Params) -> Result<Keys, RpcError> {
    Ok(Keys::named(&params.optional_texts()?.unwrap_or_default()))
}

/// A stretch of a list. A negative offset counts from the tail and runs backwards.
struct Window {
    offset: i64,
    len_max: usize,
    keys: Keys,
}

impl Window {
    fn parse(params: &mut Params) -> Result<Self, RpcError> {
        Ok(Self {
            offset: params.int()?,
            len_max: usize::try_from(params.int_from(0)?).unwrap_or(usize::MAX),
            keys: keys(params)?,
        })
    }

    fn of<'a>(
        &self,
        downloads: impl DoubleEndedIterator<Item = &'a Download> + ExactSizeIterator,
    ) -> Vec<Gid> {
        let skip = |distance: u64| usize::try_from(distance).unwrap_or(usize::MAX);
        let distance = skip(self.offset.unsigned_abs());
        if self.offset >= 0 {
            let shown = downloads.skip(distance).take(self.len_max);
            return shown.map(Download::gid).collect();
        }
        // The one the offset names comes first, then those before it.
        let shown = match distance > downloads.len() {
            true => 0,
            false => self.len_max,
        };
        let shown = downloads.rev().skip(distance - 1).take(shown);
        shown.map(Download::gid).collect()
    }
}

fn write_all<'a>(downloads: impl Iterator<Item = &'a Download>, keys: Keys, out: &mut dyn Sink) {
    let now = Instant::now();
    out.open_list();
    for download in downloads {
        view::download(download, keys, now, out);
    }
    out.close_list();
}
