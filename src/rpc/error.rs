//! Pure: what a refused call answers, and the HTTP status that goes with it.

use std::borrow::Cow;

use super::sink::Sink;

/// An error as both envelopes carry it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RpcError {
    /// JSON-RPC 2.0 section 5.1 for bad messages, 1 for everything a method refuses.
    pub code: i64,
    pub message: Cow<'static, str>,
}

impl RpcError {
    pub const PARSE: RpcError = RpcError::new(-32700, "Parse error.");
    pub const INVALID_REQUEST: RpcError = RpcError::new(-32600, "Invalid Request.");
    pub const INVALID_PARAMS: RpcError = RpcError::new(-32602, "Invalid params.");
    pub const UNAUTHORIZED: RpcError = RpcError::new(1, "Unauthorized");

    const fn new(code: i64, message: &'static str) -> Self {
        Self {
            code,
            message: Cow::Borrowed(message),
        }
    }

    /// A method's refusal, code 1.
    pub fn refused(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code: 1,
            message: message.into(),
        }
    }

    /// aria2 answers messages it cannot take apart with 500 and everything else with 400.
    pub fn http_status(&self) -> u16 {
        match self.code {
            -32700 | -32602 => 500,
            _ => 400,
        }
    }

    /// Writes the error as the struct of its envelope.
    pub fn write(&self, out: &mut dyn Sink) {
        let (code, message) = out.fault_keys();
        out.open_struct();
        out.key(code);
        out.int(self.code);
        out.key(message);
        out.text(&self.message);
        out.close_struct();
    }
}
