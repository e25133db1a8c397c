//! METHODS, the table of methods, and how a call finds its row.
//!
//! The rows are registered in jsonrpsee's `RpcModule`, which looks names up and calls. What a
//! handler needs of one call (parameters, output, caller) travels in its extensions, and the
//! result is written straight to the output: jsonrpsee's own result says nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::Extensions;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::types::{Id, Params as RawParams};
use jsonrpsee::{ConnectionId, MethodCallback, Methods, RpcModule};
use parking_lot::Mutex;

use crate::engine::EngineHandle;

use super::auth::{Admission, Gate};
use super::error::RpcError;
use super::jail::Jail;
use super::method::{
    self, add, control, export, files, history, option, peers, queue, status, system, uris,
};
use super::params::Params;
use super::sink::Sink;
use super::value::Value;

/// Every method, in the order `system.listMethods` tells them: aria2's order, then ours.
pub static METHODS: &[Row] = &[
    change::<add::AddUri>(),
    change::<add::AddTorrent>(),
    read::<status::GetPeers>(),
    change::<add::AddMetalink>(),
    change::<control::Remove>(),
    change::<control::Pause>(),
    change::<control::ForcePause>(),
    change::<control::PauseAll>(),
    change::<control::ForcePauseAll>(),
    change::<control::Unpause>(),
    change::<control::UnpauseAll>(),
    change::<control::ForceRemove>(),
    change::<queue::ChangePosition>(),
    read::<status::TellStatus>(),
    read::<uris::GetUris>(),
    read::<uris::GetFiles>(),
    read::<uris::GetServers>(),
    read::<status::TellActive>(),
    long::<status::TellWaiting>(),
    long::<status::TellStopped>(),
    read::<option::GetOption>(),
    change::<uris::ChangeUri>(),
    change::<option::ChangeOption>(),
    read::<option::GetGlobalOption>(),
    change::<option::ChangeGlobalOption>(),
    change::<queue::PurgeDownloadResult>(),
    change::<queue::RemoveDownloadResult>(),
    read::<system::GetVersion>(),
    read::<system::GetSessionInfo>(),
    change::<system::Shutdown>(),
    change::<system::ForceShutdown>(),
    read::<status::GetGlobalStat>(),
    change::<system::SaveSession>(),
    MULTICALL,
    read::<system::ListMethods>(),
    read::<system::ListNotifications>(),
    // Not aria2's.
    long::<history::GetDownloadResultCount>(),
    long::<history::SearchDownloadResult>(),
    change::<history::RequeueDownloadResult>(),
    change::<export::ExportSession>(),
    change::<files::RemoveWithFiles>(),
    change::<peers::SetPeerBlocklist>(),
    read::<peers::GetPeerBlocklist>(),
];

const MULTICALL: Row = Row {
    name: system::MULTICALL,
    register: |module| {
        module.register_async_method(system::MULTICALL, |_, _, extensions| async move {
            if let (Some(slot), Some(context)) = (Slot::of(&extensions), Context::of(&extensions)) {
                system::multicall(&slot, &context).await;
            }
        })?;
        Ok(())
    },
};

/// One method.
pub struct Row {
    pub name: &'static str,
    register: fn(&mut RpcModule<Backend>) -> Result<(), RegisterMethodError>,
}

/// A method that only looks: it answers in one go.
const fn read<M: method::Read>() -> Row {
    Row {
        name: M::NAME,
        register: |module| {
            module.register_method(M::NAME, |_, backend, extensions| {
                if let Some(slot) = Slot::of(extensions) {
                    slot.fill(|params, out| M::parse(params)?.read(backend, out));
                }
            })?;
            Ok(())
        },
    }
}

/// A method that asks the engine for something and waits for its answer.
const fn change<M: method::Change>() -> Row {
    Row {
        name: M::NAME,
        register: |module| {
            module.register_async_method(M::NAME, |_, backend, extensions| async move {
                let Some(slot) = Slot::of(&extensions) else {
                    return;
                };
                let parsed = M::parse(&mut slot.0.lock().params);
                let reply = match parsed {
                    Ok(method) => method.call(&backend).await,
                    Err(error) => Err(error),
                };
                slot.fill(|_, out| {
                    reply?.write(out);
                    Ok(())
                });
            })?;
            Ok(())
        },
    }
}

/// A method that looks at much, in turns.
const fn long<M: method::Long>() -> Row {
    Row {
        name: M::NAME,
        register: |module| {
            module.register_async_method(M::NAME, |_, backend, extensions| async move {
                let Some(slot) = Slot::of(&extensions) else {
                    return;
                };
                let Some((method, mut out)) = slot.open(M::parse) else {
                    return;
                };
                let written = method.write(&backend, out.as_mut()).await;
                slot.close(out);
                slot.fill(|_, _| written);
            })?;
            Ok(())
        },
    }
}

/// What methods work on.
#[derive(Clone)]
pub struct Backend {
    pub engine: EngineHandle,
    /// Whether hook commands may be set over RPC.
    pub allow_hooks: bool,
    /// Where files that clients name have to be.
    pub jail: Option<Arc<Jail>>,
}

/// One call on its way through jsonrpsee.
#[derive(Clone)]
pub struct Slot(Arc<Mutex<Exchange>>);

struct Exchange {
    params: Params,
    /// Taken out by a method that hands it on.
    out: Option<Box<dyn Sink>>,
    outcome: Result<(), RpcError>,
}

impl Slot {
    fn new(params: Vec<Value>, out: Box<dyn Sink>) -> Self {
        Slot(Arc::new(Mutex::new(Exchange {
            params: Params::new(params),
            out: Some(out),
            outcome: Ok(()),
        })))
    }

    fn of(extensions: &Extensions) -> Option<Slot> {
        extensions.get::<Slot>().cloned()
    }

    /// Lets a method write its result or its error.
    fn fill(&self, method: impl FnOnce(&mut Params, &mut dyn Sink) -> Result<(), RpcError>) {
        let Exchange {
            params,
            out,
            outcome,
        } = &mut *self.0.lock();
        if let Some(out) = out {
            *outcome = method(params, out.as_mut());
        }
    }

    /// Reads parameters and takes the output out, for a method that writes on between waits.
    pub fn open<T>(
        &self,
        parse: impl FnOnce(&mut Params) -> Result<T, RpcError>,
    ) -> Option<(T, Box<dyn Sink>)> {
        let Exchange {
            params,
            out,
            outcome,
        } = &mut *self.0.lock();
        match parse(params) {
            Ok(parsed) => Some((parsed, out.take()?)),
            Err(error) => {
                *outcome = Err(error);
                None
            }
        }
    }

    /// Gives the output back.
    pub fn close(&self, out: Box<dyn Sink>) {
        self.0.lock().out = Some(out);
    }
}

/// What calls of one message have in common.
#[derive(Clone)]
pub struct Context {
    pub dispatcher: Arc<Dispatcher>,
    pub caller: Arc<Caller>,
}

impl Context {
    fn of(extensions: &Extensions) -> Option<Context> {
        extensions.get::<Context>().cloned()
    }
}

/// What has come to light about who sent a message.
#[derive(Debug, Default)]
pub struct Caller {
    granted: AtomicBool,
    refused: AtomicBool,
}

impl Caller {
    /// Whether a call came in that was allowed and needed to be.
    pub fn was_granted(&self) -> bool {
        self.granted.load(Ordering::Relaxed)
    }

    /// Whether a token was missing or wrong, so that the answer has to wait.
    pub fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}

/// Looks methods up and calls them.
pub struct Dispatcher {
    methods: Methods,
    gate: Gate,
}

impl Dispatcher {
    /// # Errors
    /// Two rows have the same name.
    pub fn new(backend: Backend, gate: Gate) -> Result<Arc<Self>, RegisterMethodError> {
        let mut module = RpcModule::new(backend);
        for row in METHODS {
            (row.register)(&mut module)?;
        }
        Ok(Arc::new(Self {
            methods: module.into(),
            gate,
        }))
    }

    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Runs one call. The output comes back with the result behind what it held, or as it was
    /// beside an error.
    pub async fn call(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        name: &str,
        mut params: Vec<Value>,
        out: Box<dyn Sink>,
    ) -> (Box<dyn Sink>, Result<(), RpcError>) {
        match self.gate.admit(name, &mut params) {
            Admission::Exempt => {}
            Admission::Granted => caller.granted.store(true, Ordering::Relaxed),
            Admission::Refused => {
                caller.refused.store(true, Ordering::Relaxed);
                return (out, Err(RpcError::UNAUTHORIZED));
            }
        }
        let Some(method) = self.methods.method(name) else {
            return (
                out,
                Err(RpcError::refused(format!("No such method: {name}"))),
            );
        };
        self.run(method, caller, params, out).await
    }

    async fn run(
        self: &Arc<Self>,
        method: &MethodCallback,
        caller: &Arc<Caller>,
        params: Vec<Value>,
        out: Box<dyn Sink>,
    ) -> (Box<dyn Sink>, Result<(), RpcError>) {
        let start = out.mark();
        let slot = Slot::new(params, out);
        let mut extensions = Extensions::new();
        extensions.insert(slot.clone());
        let raw = RawParams::new(None);
        match method {
            MethodCallback::Sync(call) => drop(call(Id::Null, raw, usize::MAX, extensions)),
            MethodCallback::Async(call) => {
                extensions.insert(Context {
                    dispatcher: Arc::clone(self),
                    caller: Arc::clone(caller),
                });
                drop(call(Id::Null, raw, ConnectionId(0), usize::MAX, extensions).await);
            }
            // Only the two kinds above are ever registered.
            MethodCallback::Subscription(_) | MethodCallback::Unsubscription(_) => {}
        }
        let mut exchange = slot.0.lock();
        let outcome = std::mem::replace(&mut exchange.outcome, Ok(()));
        let mut out = exchange
            .out
            .take()
            .unwrap_or_else(|| Box::new(super::sink::JsonSink::new()));
        if outcome.is_err() {
            out.rewind(start);
        }
        (out, outcome)
    }
}

/// Keeps long batches from holding up other callers.
pub struct Pace {
    since: Instant,
}

impl Pace {
    const TURN: Duration = Duration::from_micros(500);

    pub fn new() -> Self {
        Self {
            since: Instant::now(),
        }
    }

    /// Lets others have a turn when this one has lasted long enough.
    pub async fn step(&mut self) {
        if self.since.elapsed() >= Self::TURN {
            tokio::task::yield_now().await;
            self.since = Instant::now();
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new()
    }
}
