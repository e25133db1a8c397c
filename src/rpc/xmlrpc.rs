//! Pure: the XML-RPC envelope (xmlrpc.com/spec), read as loosely as aria2 reads it.
//!
//! All types of the specification are taken, and `i8`; a value of a type that is not known, or
//! that does not fit its type, counts as missing. What is not well-formed is refused whole.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

use super::error::RpcError;
use super::sink::{Sink, XmlSink};
use super::value::{Members, Real, Value};

/// Elements nested deeper than this are refused.
const DEPTH_MAX: usize = 200;

/// A call as it stood in its envelope.
#[derive(Clone, PartialEq, Debug)]
pub struct XmlCall {
    pub method: String,
    pub params: Vec<Value>,
}

/// The text is not well-formed XML.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotXml;

/// Reads a `methodCall`. Another root or no name gives the empty method name.
///
/// # Errors
/// [`NotXml`].
pub fn parse(body: &[u8]) -> Result<XmlCall, NotXml> {
    let text = decode(body)?;
    let root = document(&text)?;
    let mut call = XmlCall {
        method: String::new(),
        params: Vec::new(),
    };
    if root.tag != Tag::MethodCall {
        return Ok(call);
    }
    for child in root.children {
        match child.tag {
            Tag::MethodName => call.method = child.text,
            Tag::Params => call.params = params(child),
            _ => {}
        }
    }
    Ok(call)
}

/// The whole answer around a written result.
pub fn success_text(result: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><methodResponse><params><param>{result}</param></params></methodResponse>"
    )
}

/// The whole answer that reports an error.
pub fn fault_text(error: &RpcError) -> String {
    let mut out = XmlSink::new();
    error.write(&mut out);
    format!(
        "<?xml version=\"1.0\"?><methodResponse><fault>{}</fault></methodResponse>",
        out.take()
    )
}

/// The body as text: UTF-8, or the encoding its declaration names.
fn decode(body: &[u8]) -> Result<String, NotXml> {
    let head = String::from_utf8_lossy(&body[..body.len().min(200)]);
    let declared = head
        .split_once("?>")
        .filter(|(declaration, _)| declaration.trim_start().starts_with("<?xml"))
        .and_then(|(declaration, _)| declaration.split_once("encoding"))
        .and_then(|(_, rest)| rest.split(['"', '\'']).nth(1))
        .and_then(|label| encoding_rs::Encoding::for_label(label.as_bytes()))
        .unwrap_or(encoding_rs::UTF_8);
    let (text, _, bad) = declared.decode(body);
    if bad || text.chars().any(is_forbidden) {
        return Err(NotXml);
    }
    Ok(text.into_owned())
}

/// Characters XML 1.0 section 2.2 leaves out.
fn is_forbidden(character: char) -> bool {
    matches!(character, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}')
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tag {
    MethodCall,
    MethodName,
    Params,
    Param,
    Value,
    Text,
    Int,
    Boolean,
    Double,
    Base64,
    Struct,
    Member,
    Name,
    Array,
    Data,
    Other,
}

impl Tag {
    fn of(name: &str) -> Tag {
        match name {
            "methodCall" => Tag::MethodCall,
            "methodName" => Tag::MethodName,
            "params" => Tag::Params,
            "param" => Tag::Param,
            "value" => Tag::Value,
            "string" | "dateTime.iso8601" => Tag::Text,
            "int" | "i4" | "i8" => Tag::Int,
            "boolean" => Tag::Boolean,
            "double" => Tag::Double,
            "base64" => Tag::Base64,
            "struct" => Tag::Struct,
            "member" => Tag::Member,
            "name" => Tag::Name,
            "array" => Tag::Array,
            "data" => Tag::Data,
            _ => Tag::Other,
        }
    }
}

/// An element with its own text in one piece.
struct Element {
    tag: Tag,
    text: String,
    children: Vec<Element>,
}

impl Element {
    fn new(tag: Tag) -> Self {
        Self {
            tag,
            text: String::new(),
            children: Vec::new(),
        }
    }
}

/// The root element; nothing but comments and white space may stand beside it.
fn document(text: &str) -> Result<Element, NotXml> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        match reader.read_event().map_err(|_| NotXml)? {
            Event::Start(tag) if root.is_none() && open.len() < DEPTH_MAX => {
                open.push(Element::new(Tag::of(tag.local_name().as_ref())));
            }
            Event::Empty(tag) if root.is_none() => {
                close(
                    &mut open,
                    &mut root,
                    Element::new(Tag::of(tag.local_name().as_ref())),
                );
            }
            Event::End(_) => {
                let element = open.pop().ok_or(NotXml)?;
                close(&mut open, &mut root, element);
            }
            Event::Text(text) => add_text(&mut open, &text.xml10_content())?,
            Event::CData(text) => add_text(&mut open, &text.xml10_content())?,
            Event::GeneralRef(reference) => {
                let character = resolve(&reference)?;
                add_text(&mut open, character.encode_utf8(&mut [0; 4]))?;
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            Event::Eof if open.is_empty() => return root.ok_or(NotXml),
            Event::Start(_) | Event::Empty(_) | Event::Eof => return Err(NotXml),
        }
    }
}

fn close(open: &mut [Element], root: &mut Option<Element>, element: Element) {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => *root = Some(element),
    }
}

fn add_text(open: &mut [Element], text: &str) -> Result<(), NotXml> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err(NotXml),
    }
    Ok(())
}

/// Entities a DTD would define are refused: nothing outside the call is ever looked at.
fn resolve(reference: &BytesRef) -> Result<char, NotXml> {
    if let Some(character) = reference.resolve_char_ref().map_err(|_| NotXml)? {
        return Some(character).filter(|c| !is_forbidden(*c)).ok_or(NotXml);
    }
    match reference.xml10_content().as_ref() {
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "amp" => Ok('&'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(NotXml),
    }
}

fn params(params: Element) -> Vec<Value> {
    params
        .children
        .into_iter()
        .filter(|child| child.tag == Tag::Param)
        .map(inner_value)
        .collect()
}

/// The value a `param` or `member` holds.
fn inner_value(parent: Element) -> Value {
    parent
        .children
        .into_iter()
        .rfind(|child| child.tag == Tag::Value)
        .map_or(Value::Missing, value)
}

fn value(mut element: Element) -> Value {
    let Some(typed) = element.children.pop() else {
        return match element.text.is_empty() {
            true => Value::Missing,
            false => Value::Text(element.text),
        };
    };
    match typed.tag {
        Tag::Text => Value::Text(typed.text),
        Tag::Int => typed.text.trim().parse().map_or(Value::Missing, Value::Int),
        Tag::Boolean => match typed.text.trim() {
            "1" | "true" => Value::Bool(true),
            "0" | "false" => Value::Bool(false),
            _ => Value::Missing,
        },
        Tag::Double => double(typed.text.trim()),
        Tag::Base64 => base64(&typed.text),
        Tag::Array => Value::List(array(typed)),
        Tag::Struct => Value::Struct(members(typed)),
        _ => Value::Missing,
    }
}

fn double(text: &str) -> Value {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Value::Real(Real {
            whole: number as i64,
            text: text.to_owned(),
        }),
        _ => Value::Missing,
    }
}

/// Lines may be broken anywhere; what is not base64 reads as no bytes.
fn base64(text: &str) -> Value {
    let text: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    Value::Bytes(BASE64.decode(text).unwrap_or_default())
}

fn array(array: Element) -> Vec<Value> {
    array
        .children
        .into_iter()
        .filter(|child| child.tag == Tag::Data)
        .flat_map(|data| data.children)
        .filter(|child| child.tag == Tag::Value)
        .map(value)
        .collect()
}

fn members(parent: Element) -> Members {
    parent
        .children
        .into_iter()
        .filter(|child| child.tag == Tag::Member)
        .filter_map(|mut member| {
            let at = member
                .children
                .iter()
                .rposition(|child| child.tag == Tag::Name)?;
            let name = member.children.swap_remove(at).text;
            Some((name, inner_value(member)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(param: &str) -> Result<Value, NotXml> {
        let body = format!(
            "<?xml version=\"1.0\"?><methodCall><methodName>m</methodName><params><param>{param}</param></params></methodCall>"
        );
        let mut call = parse(body.as_bytes())?;
        assert_eq!((call.method.as_str(), call.params.len()), ("m", 1));
        Ok(call.params.remove(0))
    }

    #[test]
    fn every_type_is_read() {
        let list = |items: &[Value]| Value::List(items.to_vec());
        for (param, value) in [
            ("<value>zz</value>", Value::from("zz")),
            ("<value> <string>zz</string> </value>", Value::from("zz")),
            ("<value><string/></value>", Value::from("")),
            ("<value></value>", Value::Missing),
            ("", Value::Missing),
            ("<value><nil/></value>", Value::Missing),
            ("<value><int>5</int></value>", Value::Int(5)),
            ("<value><i4>-5</i4></value>", Value::Int(-5)),
            (
                "<value><i8>9223372036854775807</i8></value>",
                Value::Int(i64::MAX),
            ),
            ("<value><int>x</int></value>", Value::Missing),
            ("<value><boolean>1</boolean></value>", Value::Bool(true)),
            (
                "<value><double>-1.5</double></value>",
                Value::Real(Real {
                    whole: -1,
                    text: "-1.5".into(),
                }),
            ),
            (
                "<value><dateTime.iso8601>19980717T14:08:55</dateTime.iso8601></value>",
                Value::from("19980717T14:08:55"),
            ),
            (
                "<value><base64>en\n p6</base64></value>",
                Value::Bytes(b"zzz".to_vec()),
            ),
            (
                "<value><base64>!</base64></value>",
                Value::Bytes(Vec::new()),
            ),
            (
                "<value>&lt;&#65;&#x42;&amp;<![CDATA[<]]></value>",
                Value::from("<AB&<"),
            ),
            (
                "<value><array><data><value>a</value><value><int>1</int></value></data></array></value>",
                list(&[Value::from("a"), Value::Int(1)]),
            ),
            (
                "<value><struct><member><name>k</name><value>v</value></member></struct></value>",
                Value::Struct([("k".to_owned(), Value::from("v"))].into()),
            ),
        ] {
            assert_eq!(one(param), Ok(value), "{param}");
        }
    }

    #[test]
    fn malformed_is_refused() {
        for body in [
            "",
            "5",
            "<methodCall>",
            "<a><b></a></b>",
            "<a/>trailing",
            "<a/><b/>",
            "<a>&undefined;</a>",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
            "<a>\u{1}</a>",
            "<a>&#0;</a>",
            "</a>",
        ] {
            assert_eq!(parse(body.as_bytes()), Err(NotXml), "{body}");
        }
        assert!(parse("<a>".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn odd_roots_name_no_method() {
        for body in [
            "<foo/>",
            "<methodCall/>",
            "<methodCall><params/></methodCall>",
        ] {
            assert_eq!(parse(body.as_bytes()).unwrap().method, "", "{body}");
        }
        let latin = b"<?xml version='1.0' encoding='iso-8859-1'?><methodCall><methodName>\xe9</methodName></methodCall>";
        assert_eq!(parse(latin).unwrap().method, "é");
    }

    proptest! {
        #[test]
        fn never_panics(parts in prop::collection::vec(prop_oneof![
            Just("<value>"), Just("</value>"), Just("<struct>"), Just("<member>"), Just("<name>"),
            Just("</name>"), Just("</member>"), Just("</struct>"), Just("<int>"), Just("</int>"),
            Just("&lt;"), Just("&#"), Just("<!["), Just("<!--"), Just("<?"), Just(">"), Just("9"),
        ], 0..40), noise in any::<Vec<u8>>()) {
            let mut body = b"<methodCall><params><param>".to_vec();
            parts.iter().for_each(|part| body.extend_from_slice(part.as_bytes()));
            let _ = parse(&body);
            body.extend_from_slice(&noise);
            let _ = parse(&body);
            body.extend_from_slice(b"</param></params></methodCall>");
            let _ = parse(&body);
        }
    }
}
