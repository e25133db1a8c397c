//! Pure: the value a request carries, whichever envelope it came in.

use std::collections::BTreeMap;

use super::sink::Sink;

/// Named members in byte order of their names.
pub type Members = BTreeMap<String, Value>;

/// What JSON-RPC and XML-RPC parameters are made of.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Something was there that could not be taken: a JSON key given twice, an empty XML value.
    /// Methods treat it as a parameter that is not there.
    Missing,
    Null,
    Bool(bool),
    Int(i64),
    Real(Real),
    Text(String),
    /// XML-RPC `base64`, decoded.
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Struct(Members),
}

/// A number with a fraction or an exponent. Methods see its whole part, option values its text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Real {
    /// The digits before the point and the exponent, as aria2 reads such numbers.
    pub whole: i64,
    pub text: String,
}

impl Value {
    /// The whole number this is, fractions cut off.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            Value::Real(real) => Some(real.whole),
            _ => None,
        }
    }

    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Writes the value back, members in byte order; what was missing becomes null.
    pub fn write(&self, out: &mut dyn Sink) {
        match self {
            Value::Missing | Value::Null => out.null(),
            Value::Bool(yes) => out.boolean(*yes),
            Value::Int(number) => out.int(*number),
            Value::Real(real) => out.int(real.whole),
            Value::Text(text) => out.text(text),
            Value::Bytes(bytes) => out.text(&String::from_utf8_lossy(bytes)),
            Value::List(items) => {
                out.open_list();
                items.iter().for_each(|item| item.write(out));
                out.close_list();
            }
            Value::Struct(members) => {
                out.open_struct();
                for (name, value) in members {
                    out.key(name);
                    value.write(out);
                }
                out.close_struct();
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}
