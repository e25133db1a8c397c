//! Pure: JSON-RPC over GET: `method`, `id`, base64 `params` and the JSONP `jsoncallback`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::percent_decode_str;

use super::error::RpcError;
use super::json_reader;
use super::jsonrpc::{self, Message};
use super::value::{Members, Value};

/// What a query string asks for.
#[derive(PartialEq, Debug)]
pub struct Query<'a> {
    pub message: Message,
    /// The function a script wants called with the answer.
    pub callback: Option<&'a str>,
}

/// Reads the part behind the `?`. Of a name given twice the last value counts; `method` and `id`
/// are taken raw, only `params` is percent-decoded.
pub fn parse(query: &str) -> Query<'_> {
    let (mut method, mut id, mut params, mut callback) = ("", "", "", "");
    for field in query.split('&') {
        match field.split_once('=') {
            Some(("method", value)) => method = value,
            Some(("id", value)) => id = value,
            Some(("params", value)) => params = value,
            Some(("jsoncallback", value)) => callback = value,
            _ => {}
        }
    }
    Query {
        message: message(method, id, params)
            .unwrap_or_else(|| Message::unreadable(RpcError::INVALID_REQUEST)),
        callback: Some(callback).filter(|name| !name.is_empty()),
    }
}

fn message(method: &str, id: &str, params: &str) -> Option<Message> {
    let params: Vec<u8> = percent_decode_str(params).collect();
    let params = BASE64.decode(params).ok()?;
    let params = match params.is_empty() {
        true => None,
        false => Some(json_reader::read(&params).ok()?),
    };
    if method.is_empty() && id.is_empty() {
        return Some(jsonrpc::message(params?));
    }
    let mut members = Members::new();
    for (name, text) in [("method", method), ("id", id)] {
        members.insert(name.to_owned(), pasted(text)?);
    }
    if let Some(params) = params {
        members.insert("params".to_owned(), params);
    }
    Some(jsonrpc::message(Value::Struct(members)))
}

/// aria2 pastes both texts into JSON, so that a backslash escapes there, too.
fn pasted(text: &str) -> Option<Value> {
    if text.is_empty() || text.contains('"') {
        return None;
    }
    json_reader::read(format!("\"{text}\"").as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::super::jsonrpc::{BadCall, Call};
    use super::*;

    fn one(query: &str) -> Result<Call, BadCall> {
        match parse(query).message {
            Message::One(one) => one,
            Message::Batch(_) => panic!("{query} is no batch"),
        }
    }

    #[test]
    fn method_and_id_are_raw_and_params_is_base64() {
        let call = one("method=a%2Eb&id=f%20o&params=WzAsMTAgXQ%3D%3D").unwrap();
        assert_eq!(call.method, "a%2Eb");
        assert_eq!(call.id, Value::from("f%20o"));
        assert_eq!(call.params, [Value::Int(0), Value::Int(10)]);
        assert_eq!(
            one("&&method=m&id=a&id=b=c").unwrap().id,
            Value::from("b=c")
        );
    }

    #[test]
    fn bad_queries_have_no_id() {
        for query in [
            "",
            "id=1",
            "method=m",
            "method=m&id=",
            "method=m&id=1&params=WzAsMTAgXQ",
            "method=m&id=1&params=W3td",
            "method=m&id=a\"b",
            "jsoncallback=cb",
        ] {
            let bad = one(query).unwrap_err();
            assert_eq!(bad.error, RpcError::INVALID_REQUEST, "{query}");
            assert_eq!(bad.id, Value::Null, "{query}");
        }
        assert_eq!(
            one("method=m&id=x&params=InMi").unwrap_err().error,
            RpcError::INVALID_PARAMS
        );
    }

    #[test]
    fn whole_messages_may_stand_in_params() {
        let query = parse("params=W3siaWQiOjEsIm1ldGhvZCI6Im0ifV0=&jsoncallback=cb");
        assert_eq!(query.callback, Some("cb"));
        assert!(matches!(query.message, Message::Batch(calls) if calls.len() == 1));
    }
}
