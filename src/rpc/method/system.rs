//! The server itself, and calls about calls.

use crate::base::product::{self, ARIA2_VERSION, FEATURES};

use super::super::dispatch::{Backend, Context, METHODS, Pace, Slot};
use super::super::error::RpcError;
use super::super::notify;
use super::super::params::Params;
use super::super::sink::{Sink, pair, texts};
use super::super::value::Value;
use super::{Change, Method, Read, Reply};

pub const MULTICALL: &str = "system.multicall";

/// Methods without parameters.
macro_rules! plain {
    ($($(#[doc = $doc:literal])+ $name:ident = $wire:literal;)*) => {$(
        $(#[doc = $doc])+
        pub struct $name;

        impl Method for $name {
            const NAME: &'static str = $wire;

            fn parse(_: &mut Params) -> Result<Self, RpcError> {
                Ok(Self)
            }
        }
    )*};
}

plain! {
    /// `aria2.getVersion`.
    GetVersion = "aria2.getVersion";
    /// `aria2.getSessionInfo`.
    GetSessionInfo = "aria2.getSessionInfo";
    /// `aria2.shutdown`.
    Shutdown = "aria2.shutdown";
    /// `aria2.forceShutdown`.
    ForceShutdown = "aria2.forceShutdown";
    /// `aria2.saveSession`.
    SaveSession = "aria2.saveSession";
    /// `system.listMethods`.
    ListMethods = "system.listMethods";
    /// `system.listNotifications`.
    ListNotifications = "system.listNotifications";
}

impl Read for GetVersion {
    fn read(self, _: &Backend, out: &mut dyn Sink) -> Result<(), RpcError> {
        out.open_struct();
        out.key("enabledFeatures");
        texts(out, FEATURES.iter().copied());
        own_name(out);
        pair(out, "version", ARIA2_VERSION);
        out.close_struct();
        Ok(())
    }
}

impl Read for GetSessionInfo {
    fn read(self, backend: &Backend, out: &mut dyn Sink) -> Result<(), RpcError> {
        out.open_struct();
        own_name(out);
        backend
            .engine
            .read(|registry| pair(out, "sessionId", registry.session_id()));
        out.close_struct();
        Ok(())
    }
}

/// Who answers: keys aria2 does not have.
fn own_name(out: &mut dyn Sink) {
    pair(out, "product", product::NAME);
    pair(out, "productVersion", product::VERSION);
}

impl Change for Shutdown {
    async fn call(self, backend: &Backend) -> Result<Reply, RpcError> {
        backend.engine.shutdown(false).await?;
        Ok(Reply::Ok)
    }
}

impl Change for ForceShutdown {
    async fn call(self, backend: &Backend) -> Result<Reply, RpcError> {
        backend.engine.shutdown(true).await?;
        Ok(Reply::Ok)
    }
}

impl Change for SaveSession {
    async fn call(self, backend: &Backend) -> Result<Reply, RpcError> {
        backend.engine.save_session().await?;
        Ok(Reply::Ok)
    }
}

impl Read for ListMethods {
    fn read(self, _: &Backend, out: &mut dyn Sink) -> Result<(), RpcError> {
        texts(out, METHODS.iter().map(|row| row.name));
        Ok(())
    }
}

impl Read for ListNotifications {
    fn read(self, _: &Backend, out: &mut dyn Sink) -> Result<(), RpcError> {
        texts(out, notify::NAMES.iter().map(|(_, name)| *name));
        Ok(())
    }
}

/// `system.multicall`: each call's result in a list of one, or its error as a struct.
pub async fn multicall(slot: &Slot, context: &Context) {
    let Some((calls, mut out)) = slot.open(Params::list) else {
        return;
    };
    let mut pace = Pace::new();
    out.open_list();
    for call in calls {
        out = one_of_many(call, context, out).await;
        pace.step().await;
    }
    out.close_list();
    slot.close(out);
}

async fn one_of_many(call: Value, context: &Context, mut out: Box<dyn Sink>) -> Box<dyn Sink> {
    let (name, params) = match take_apart(call) {
        Ok(call) => call,
        Err(message) => {
            RpcError::refused(message).write(out.as_mut());
            return out;
        }
    };
    let start = out.mark();
    out.open_list();
    let (mut out, outcome) = context
        .dispatcher
        .call(&context.caller, &name, params, out)
        .await;
    match outcome {
        Ok(()) => out.close_list(),
        Err(error) => {
            out.rewind(start);
            error.write(out.as_mut());
        }
    }
    out
}

fn take_apart(call: Value) -> Result<(String, Vec<Value>), &'static str> {
    let Value::Struct(mut call) = call else {
        return Err("system.multicall expected struct.");
    };
    let Some(Value::Text(name)) = call.remove("methodName") else {
        return Err("Missing methodName.");
    };
    if name == MULTICALL {
        return Err("Recursive system.multicall forbidden.");
    }
    let params = match call.remove("params") {
        Some(Value::List(params)) => params,
        _ => Vec::new(),
    };
    Ok((name, params))
}
