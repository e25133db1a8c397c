//! One message in, one answer out, whatever carries them.

use std::sync::Arc;
use std::time::Duration;

use super::dispatch::{Caller, Dispatcher, Pace};
use super::error::RpcError;
use super::jsonrpc::{self, BadCall, Call, Message};
use super::sink::{JsonSink, Sink, XmlSink};
use super::xmlrpc::{self, NotXml};

/// How long the answer to a missing or wrong token waits, once for each message.
pub const REFUSAL_DELAY: Duration = Duration::from_secs(1);

/// The answer to one message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    pub body: String,
}

/// Runs what a JSON message asks for.
pub async fn json(dispatcher: &Arc<Dispatcher>, caller: &Arc<Caller>, message: Message) -> Answer {
    let out: Box<dyn Sink> = Box::new(JsonSink::new());
    let (mut out, status) = match message {
        Message::One(call) => json_call(dispatcher, caller, call, out).await,
        Message::Batch(calls) => (json_batch(dispatcher, caller, calls, out).await, 200),
    };
    Answer {
        status,
        body: out.take(),
    }
}

async fn json_batch(
    dispatcher: &Arc<Dispatcher>,
    caller: &Arc<Caller>,
    calls: Vec<Result<Call, BadCall>>,
    mut out: Box<dyn Sink>,
) -> Box<dyn Sink> {
    let mut pace = Pace::new();
    out.open_list();
    for call in calls {
        (out, _) = json_call(dispatcher, caller, call, out).await;
        pace.step().await;
    }
    out.close_list();
    out
}

async fn json_call(
    dispatcher: &Arc<Dispatcher>,
    caller: &Arc<Caller>,
    call: Result<Call, BadCall>,
    mut out: Box<dyn Sink>,
) -> (Box<dyn Sink>, u16) {
    let call = match call {
        Ok(call) => call,
        Err(bad) => {
            jsonrpc::write_error(out.as_mut(), &bad.id, &bad.error);
            return (out, bad.error.http_status());
        }
    };
    let start = out.mark();
    jsonrpc::begin_answer(out.as_mut(), &call.id);
    out.key("result");
    let (mut out, outcome) = dispatcher
        .call(caller, &call.method, call.params, out)
        .await;
    match outcome {
        Ok(()) => {
            out.close_struct();
            (out, 200)
        }
        Err(error) => {
            out.rewind(start);
            jsonrpc::write_error(out.as_mut(), &call.id, &error);
            (out, error.http_status())
        }
    }
}

/// Runs what an XML message asks for.
///
/// # Errors
/// It is not XML.
pub async fn xml(
    dispatcher: &Arc<Dispatcher>,
    caller: &Arc<Caller>,
    body: &[u8],
) -> Result<Answer, NotXml> {
    let call = xmlrpc::parse(body)?;
    let out = Box::new(XmlSink::new());
    let (mut out, outcome) = dispatcher
        .call(caller, &call.method, call.params, out)
        .await;
    let body = match outcome {
        Ok(()) => xmlrpc::success_text(&out.take()),
        Err(error) => xmlrpc::fault_text(&error),
    };
    Ok(Answer { status: 200, body })
}

/// The answer to a message nobody could read.
pub fn unreadable() -> String {
    jsonrpc::error_text(&RpcError::PARSE)
}
