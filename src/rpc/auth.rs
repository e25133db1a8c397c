//! Pure: who may call: the secret token in the first parameter, and HTTP Basic.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::base::secret::Secret;

use super::value::Value;

/// Methods that need no token; each call inside `system.multicall` needs its own.
const EXEMPT: [&str; 3] = [
    "system.multicall",
    "system.listMethods",
    "system.listNotifications",
];

const TOKEN_PREFIX: &str = "token:";

/// What the token of a call says about its caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// The method asks for no token.
    Exempt,
    /// No secret is set, or the token is right.
    Granted,
    Refused,
}

/// The secrets of the server.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    secret: Option<Secret>,
    /// The value an `Authorization` header has to have.
    basic: Option<Secret>,
}

impl Gate {
    /// `user` and `password` guard the whole of HTTP, `secret` every call.
    pub fn new(secret: Option<Secret>, user: Option<&str>, password: Option<&Secret>) -> Self {
        let basic = user.filter(|user| !user.is_empty()).map(|user| {
            let password = password.map_or("", Secret::reveal);
            Secret::new(BASE64.encode(format!("{user}:{password}")))
        });
        Self { secret, basic }
    }

    /// Whether calls need a token.
    pub fn has_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// Judges a call and takes the token out of its parameters. A token is taken out where no
    /// secret is set, too: many clients always send one.
    pub fn admit(&self, method: &str, params: &mut Vec<Value>) -> Admission {
        if EXEMPT.contains(&method) {
            return Admission::Exempt;
        }
        let offered = match params.first() {
            Some(Value::Text(text)) if text.starts_with(TOKEN_PREFIX) => match params.remove(0) {
                Value::Text(text) => Some(text),
                _ => None,
            },
            _ => None,
        };
        let Some(secret) = &self.secret else {
            return Admission::Granted;
        };
        match offered {
            Some(token) if secret.matches(&token[TOKEN_PREFIX.len()..]) => Admission::Granted,
            _ => Admission::Refused,
        }
    }

    /// Whether a request with this `Authorization` header may come in (RFC 7617).
    pub fn admits_basic(&self, header: Option<&[u8]>) -> bool {
        let Some(wanted) = &self.basic else {
            return true;
        };
        let offered = header
            .and_then(|header| std::str::from_utf8(header).ok())
            .and_then(|header| header.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
        offered.is_some_and(|(_, credentials)| wanted.matches(credentials.trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(secret: Option<&str>, method: &str, params: &[&str]) -> (Admission, usize) {
        let gate = Gate::new(secret.map(Secret::new), None, None);
        let mut params = params.iter().map(|text| Value::from(*text)).collect();
        (gate.admit(method, &mut params), params.len())
    }

    #[test]
    fn token_is_taken_out_once() {
        use Admission::*;
        for (secret, method, params, admission, left) in [
            (None, "m", &["token:x", "a"][..], Granted, 1),
            (None, "m", &["token:x", "token:y"], Granted, 1),
            (None, "m", &["a"], Granted, 1),
            (Some("x"), "m", &["token:x"], Granted, 0),
            (Some("x"), "m", &["token:y"], Refused, 0),
            (Some("x"), "m", &["a", "token:x"], Refused, 2),
            (Some("x"), "m", &[], Refused, 0),
            (Some("x"), "system.multicall", &["token:x"], Exempt, 1),
            (Some("x"), "system.listMethods", &[], Exempt, 0),
        ] {
            assert_eq!(
                admit(secret, method, params),
                (admission, left),
                "{secret:?} {method} {params:?}"
            );
        }
    }

    #[test]
    fn basic_wants_both() {
        let gate = Gate::new(None, Some("u"), Some(&Secret::new("p")));
        assert!(gate.admits_basic(Some(b"Basic dTpw")));
        assert!(gate.admits_basic(Some(b"basic dTpw")));
        assert!(!gate.admits_basic(Some(b"Basic dTpx")));
        assert!(!gate.admits_basic(Some(b"dTpw")));
        assert!(!gate.admits_basic(None));
        assert!(Gate::default().admits_basic(None));
    }
}
