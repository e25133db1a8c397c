//! Pure: the JSON-RPC 2.0 envelope with aria2's habits: notifications are refused, `jsonrpc` is
//! not looked at, an id may be any value, a batch drops what is not an object.

use super::error::RpcError;
use super::json_reader;
use super::sink::{JsonSink, Sink};
use super::value::{Members, Value};

/// A call as it stood in its envelope.
#[derive(Clone, PartialEq, Debug)]
pub struct Call {
    pub id: Value,
    pub method: String,
    pub params: Vec<Value>,
}

/// An envelope that holds no call, and the id its error answer carries.
#[derive(Clone, PartialEq, Debug)]
pub struct BadCall {
    pub id: Value,
    pub error: RpcError,
}

/// What one message asks for.
#[derive(Clone, PartialEq, Debug)]
pub enum Message {
    One(Result<Call, BadCall>),
    Batch(Vec<Result<Call, BadCall>>),
}

impl Message {
    /// The answer to something that is not JSON.
    pub fn unreadable(error: RpcError) -> Message {
        Message::One(Err(BadCall {
            id: Value::Null,
            error,
        }))
    }
}

/// Reads a message; every error is part of it.
pub fn parse(body: &[u8]) -> Message {
    match json_reader::read(body) {
        Ok(value) => message(value),
        Err(_) => Message::unreadable(RpcError::PARSE),
    }
}

/// The message a JSON value is.
pub fn message(value: Value) -> Message {
    match value {
        Value::Struct(members) => Message::One(call(members)),
        Value::List(items) => Message::Batch(
            items
                .into_iter()
                .filter_map(|item| match item {
                    Value::Struct(members) => Some(call(members)),
                    _ => None,
                })
                .collect(),
        ),
        _ => Message::unreadable(RpcError::INVALID_REQUEST),
    }
}

fn call(mut members: Members) -> Result<Call, BadCall> {
    let id = match members.remove("id") {
        None | Some(Value::Missing) => {
            return Err(BadCall {
                id: Value::Null,
                error: RpcError::INVALID_REQUEST,
            });
        }
        Some(id) => id,
    };
    let Some(Value::Text(method)) = members.remove("method") else {
        return Err(BadCall {
            id,
            error: RpcError::INVALID_REQUEST,
        });
    };
    let params = match members.remove("params") {
        None | Some(Value::Missing) => Vec::new(),
        Some(Value::List(params)) => params,
        Some(_) => {
            return Err(BadCall {
                id,
                error: RpcError::INVALID_PARAMS,
            });
        }
    };
    Ok(Call { id, method, params })
}

/// Writes the envelope up to the place of `result` or `error`; the caller goes on with one of
/// those keys, its value, and [`Sink::close_struct`].
pub fn begin_answer(out: &mut dyn Sink, id: &Value) {
    out.open_struct();
    out.key("id");
    id.write(out);
    out.key("jsonrpc");
    out.text("2.0");
}

/// Writes a whole error answer.
pub fn write_error(out: &mut dyn Sink, id: &Value, error: &RpcError) {
    begin_answer(out, id);
    out.key("error");
    error.write(out);
    out.close_struct();
}

/// The text of an error answer without an id.
pub fn error_text(error: &RpcError) -> String {
    let mut out = JsonSink::new();
    write_error(&mut out, &Value::Null, error);
    out.take()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(body: &str) -> String {
        let Message::One(Err(bad)) = parse(body.as_bytes()) else {
            return format!("{:?}", parse(body.as_bytes()));
        };
        let mut out = JsonSink::new();
        write_error(&mut out, &bad.id, &bad.error);
        format!("{} {}", bad.error.http_status(), out.take())
    }

    #[test]
    fn bad_envelopes_answer_as_aria2() {
        let invalid =
            r#"{"id":null,"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request."}}"#;
        for body in [
            r#""text""#,
            "null",
            "{}",
            r#"{"method":"m"}"#,
            r#"{"id":1,"id":2,"method":"m"}"#,
        ] {
            assert_eq!(errors(body), format!("400 {invalid}"), "{body}");
        }
        for (body, answer) in [
            (
                "",
                r#"500 {"id":null,"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error."}}"#,
            ),
            (
                r#"{"id":1.5}"#,
                r#"400 {"id":1,"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request."}}"#,
            ),
            (
                r#"{"id":{"b":[],"a":{}},"method":5}"#,
                r#"400 {"id":{"a":{},"b":[]},"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request."}}"#,
            ),
            (
                r#"{"id":"x","method":"m","params":{}}"#,
                r#"500 {"id":"x","jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params."}}"#,
            ),
            (
                r#"{"id":"x","method":"m","params":null}"#,
                r#"500 {"id":"x","jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params."}}"#,
            ),
        ] {
            assert_eq!(errors(body), answer, "{body}");
        }
    }

    #[test]
    fn batch_drops_what_is_no_object() {
        let Message::Batch(calls) = parse(br#"[{"id":1,"method":"m"},5,[],null,{}]"#) else {
            panic!("a list is a batch");
        };
        assert_eq!(calls.len(), 2);
        assert!(calls[0].is_ok() && calls[1].is_err());
        assert_eq!(parse(b"[]"), Message::Batch(Vec::new()));
    }

    #[test]
    fn params_may_be_absent() {
        let Message::One(Ok(call)) = parse(br#"{"id":null,"method":"m","jsonrpc":2}"#) else {
            panic!("a call");
        };
        assert_eq!((call.id, call.params), (Value::Null, Vec::new()));
    }
}
