//! Pure: positional parameters with aria2's error texts.

use super::error::RpcError;
use super::value::{Members, Value};

/// The parameters of a call, taken one after the other; the token is already out.
#[derive(Debug)]
pub struct Params {
    values: std::vec::IntoIter<Value>,
    /// Position of the next one, from 0.
    position: usize,
}

impl Params {
    pub fn new(values: Vec<Value>) -> Self {
        Self {
            values: values.into_iter(),
            position: 0,
        }
    }

    /// A string.
    pub fn text(&mut self) -> Result<String, RpcError> {
        let value = self.optional(into_text)?;
        self.required(value)
    }

    /// A string of bytes: base64 text in JSON, typed base64 (already decoded) in XML.
    pub fn upload(&mut self) -> Result<Upload, RpcError> {
        let value = self.optional(|value| match value {
            Value::Bytes(bytes) => Some(Upload::Decoded(bytes)),
            Value::Text(text) => Some(Upload::Base64(text)),
            _ => None,
        })?;
        self.required(value)
    }

    /// A whole number; fractions are cut off.
    pub fn int(&mut self) -> Result<i64, RpcError> {
        let value = self.optional(|value| value.as_int())?;
        self.required(value)
    }

    /// A whole number not below `least`.
    pub fn int_from(&mut self, least: i64) -> Result<i64, RpcError> {
        let number = self.int()?;
        if number < least {
            return Err(RpcError::refused(format!(
                "The integer parameter at {} has invalid value: the value must be greater than \
                 or equal to {least}.",
                self.position - 1
            )));
        }
        Ok(number)
    }

    pub fn optional_int(&mut self) -> Result<Option<i64>, RpcError> {
        self.optional(|value| value.as_int())
    }

    /// A list; what is not a string in it is left out.
    pub fn texts(&mut self) -> Result<Vec<String>, RpcError> {
        let value = self.optional_texts()?;
        self.required(value)
    }

    pub fn optional_texts(&mut self) -> Result<Option<Vec<String>>, RpcError> {
        let items = self.optional(|value| match value {
            Value::List(items) => Some(items),
            _ => None,
        })?;
        Ok(items.map(|items| items.into_iter().filter_map(into_text).collect()))
    }

    pub fn list(&mut self) -> Result<Vec<Value>, RpcError> {
        let value = self.optional(|value| match value {
            Value::List(items) => Some(items),
            _ => None,
        })?;
        self.required(value)
    }

    pub fn members(&mut self) -> Result<Members, RpcError> {
        let value = self.optional_members()?;
        self.required(value)
    }

    pub fn optional_members(&mut self) -> Result<Option<Members>, RpcError> {
        self.optional(|value| match value {
            Value::Struct(members) => Some(members),
            _ => None,
        })
    }

    fn optional<T>(
        &mut self,
        take: impl FnOnce(Value) -> Option<T>,
    ) -> Result<Option<T>, RpcError> {
        let position = self.position;
        self.position += 1;
        match self.values.next() {
            None | Some(Value::Missing) => Ok(None),
            Some(value) => take(value).map(Some).ok_or_else(|| {
                RpcError::refused(format!("The parameter at {position} has wrong type."))
            }),
        }
    }

    fn required<T>(&self, value: Option<T>) -> Result<T, RpcError> {
        value.ok_or_else(|| {
            RpcError::refused(format!(
                "The parameter at {} is required but missing.",
                self.position - 1
            ))
        })
    }
}

/// A file sent along with a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Upload {
    Base64(String),
    Decoded(Vec<u8>),
}

impl Upload {
    /// The bytes; bad base64 gives none, which no parser takes for a file.
    pub fn into_bytes(self) -> Vec<u8> {
        use base64::Engine as _;
        match self {
            Upload::Decoded(bytes) => bytes,
            Upload::Base64(text) => base64::engine::general_purpose::STANDARD
                .decode(text)
                .unwrap_or_default(),
        }
    }
}

/// Turns a position in a queue into an index.
///
/// # Errors
/// It is negative.
pub fn index(position: Option<i64>) -> Result<Option<usize>, RpcError> {
    position
        .map(|position| {
            usize::try_from(position)
                .map_err(|_| RpcError::refused("Position must be greater than or equal to 0."))
        })
        .transpose()
}

fn into_text(value: Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text),
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<T: std::fmt::Debug>(result: Result<T, RpcError>) -> String {
        result.unwrap_err().message.into_owned()
    }

    #[test]
    fn says_which_parameter_is_wrong() {
        let mut params = Params::new(vec![
            Value::from("a"),
            Value::Null,
            Value::Int(-1),
            Value::Missing,
        ]);
        assert_eq!(params.text().unwrap(), "a");
        assert_eq!(message(params.text()), "The parameter at 1 has wrong type.");
        assert_eq!(
            message(params.int_from(0)),
            "The integer parameter at 2 has invalid value: the value must be greater than or equal to 0."
        );
        assert_eq!(
            message(params.list()),
            "The parameter at 3 is required but missing."
        );
        assert_eq!(
            message(params.members()),
            "The parameter at 4 is required but missing."
        );
        assert_eq!(params.optional_texts().unwrap(), None);
        assert_eq!(
            message(index(Some(-1))),
            "Position must be greater than or equal to 0."
        );
    }
}
