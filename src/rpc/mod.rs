//! Rank 9: JSON-RPC, XML-RPC and WebSocket.
//!
//! Everything here runs on the control thread beside the engine, so that looking something up
//! is a borrow and no message. A message comes in by `http` or `websocket`; `answer` runs it: an
//! envelope (`jsonrpc`, `get_query`, `xmlrpc`) takes it apart, `dispatch` checks the token and
//! calls the row of its table, `method` reads parameters and writes the result into a `sink`.

pub mod answer;
pub mod auth;
pub mod dispatch;
pub mod error;
pub mod get_query;
pub mod guard;
mod http;
pub mod jail;
pub mod json_reader;
pub mod jsonrpc;
mod listen;
pub mod method;
pub mod notify;
pub mod params;
mod request_room;
pub mod sink;
mod stall_guard;
mod tls;
pub mod value;
pub mod view;
mod websocket;
pub mod xmlrpc;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::warn;

use crate::base::error::{ErrorCode, Failure};
use crate::engine::EngineHandle;
use crate::option::settings::RpcSettings;

use auth::Gate;
use dispatch::{Backend, Dispatcher};
use guard::Guard;
use http::Site;
use jail::Jail;
use request_room::RequestRoom;

/// How long [`RpcServer::close`] waits for calls that are being answered.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// Connections that are told at the same time that there is no place for them.
const FAREWELLS_MAX: usize = 16;

/// How many connections there may be. Downloads need files and sockets, too.
fn connections_max(settings: &RpcSettings) -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let half = files.map_or(usize::MAX, |files| {
        usize::try_from(files / 2).unwrap_or(usize::MAX)
    });
    let wanted = settings.connections_max.unwrap_or(half.max(8));
    wanted.min(Semaphore::MAX_PERMITS)
}

/// A running server. Dropping it closes its sockets.
pub struct RpcServer {
    addresses: Vec<SocketAddr>,
    tls: Option<TlsAcceptor>,
    site: Arc<Site>,
    /// Sockets that nobody is let in by yet.
    closed: Vec<TcpListener>,
    /// Listeners with their connections, and the teller of events.
    tasks: JoinSet<()>,
}

/// Binds and serves until the server is dropped. Runs on the current runtime, which is to be the
/// engine's control runtime.
///
/// # Errors
/// No address can be listened on, or the certificate or the jail cannot be used (code 1).
pub fn serve(engine: EngineHandle, settings: &RpcSettings) -> Result<RpcServer, Failure> {
    let mut server = bind(engine, settings)?;
    server.open();
    Ok(server)
}

/// As [`serve`], but callers wait until [`RpcServer::open`].
///
/// # Errors
/// Those of [`serve`].
pub fn bind(engine: EngineHandle, settings: &RpcSettings) -> Result<RpcServer, Failure> {
    let tls = tls::acceptor(settings)?;
    let listeners = listen::bind(settings)?;
    let addresses = listeners
        .iter()
        .filter_map(|listener| listener.local_addr().ok())
        .collect();
    if settings.secret.is_none() && settings.user.is_none() {
        warn!("no rpc-secret is set: whoever reaches the RPC port may use it");
    }
    let events = engine.events();
    let guard = Guard::new(
        settings.secret.is_some(),
        settings.allow_origin_all,
        settings.allowed_hosts.iter().map(String::as_str),
    );
    let gate = Gate::new(
        settings.secret.clone(),
        settings.user.as_deref(),
        settings.password.as_ref(),
    );
    let jail = settings.jail.as_deref().map(Jail::open).transpose()?;
    let backend = Backend {
        engine,
        allow_hooks: settings.allow_hooks,
        jail: jail.map(Arc::new),
    };
    let dispatcher = Dispatcher::new(backend, gate)
        .map_err(|error| Failure::fatal(ErrorCode::Unknown, error.to_string()))?;
    let site = Arc::new(Site {
        dispatcher,
        notices: notify::notices(),
        allow_origin_all: settings.allow_origin_all,
        guard,
        told_of_refusal: AtomicBool::new(false),
        request_len_max: settings.request_len_max,
        room: RequestRoom::new(settings.requests_len_max, settings.request_len_max),
        patience: settings.patience,
        busy: AtomicUsize::new(0),
        places: Arc::new(Semaphore::new(connections_max(settings))),
        farewells: Arc::new(Semaphore::new(FAREWELLS_MAX)),
        told_of_crowd: AtomicBool::new(false),
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(notify::run(events, site.notices.clone()));
    Ok(RpcServer {
        addresses,
        tls,
        site,
        closed: listeners,
        tasks,
    })
}

impl std::fmt::Debug for RpcServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RpcServer")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl RpcServer {
    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Lets callers in; once is enough. Has to be called on the runtime that serves.
    pub fn open(&mut self) {
        for listener in self.closed.drain(..) {
            let (tls, site) = (self.tls.clone(), Arc::clone(&self.site));
            self.tasks.spawn(listen::accept(listener, tls, site));
        }
    }

    /// Whether it speaks TLS.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Lets calls that are being answered come to their end, then closes everything.
    pub async fn close(self) {
        let quiet = async {
            while self.site.busy.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // The last answer is written by its connection's own task.
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let _ = tokio::time::timeout(CLOSE_MAX, quiet).await;
    }
}
