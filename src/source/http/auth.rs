//! Pure: which credentials go with a request (RFC 7617, Basic).

use ::http::header::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use url::Url;

use super::redirect;
use crate::format::netrc::Netrc;
use crate::option::settings::HttpSettings;

/// The `Authorization` of a request for `url`, which a request for `origin` has led to.
/// Credentials in the URL itself go first and at once; those of the options go to the origin's
/// server only, then come those of netrc; both wait in challenge mode until the server has asked
/// for them (`challenged`).
pub fn authorization(
    settings: &HttpSettings,
    url: &Url,
    origin: &Url,
    challenged: bool,
    netrc: Option<&Netrc>,
) -> Option<HeaderValue> {
    if !url.username().is_empty() || url.password().is_some() {
        return basic(
            &decoded(url.username()),
            &decoded(url.password().unwrap_or_default()),
        );
    }
    if settings.auth_challenge && !challenged {
        return None;
    }
    if redirect::same_server(origin, url) {
        // A redirect inside the server keeps the credentials of the URI it began with.
        if !origin.username().is_empty() {
            return basic(
                &decoded(origin.username()),
                &decoded(origin.password().unwrap_or_default()),
            );
        }
        if let Some(user) = &settings.user {
            let password = settings
                .password
                .as_ref()
                .map_or("", |secret| secret.reveal());
            return basic(user.as_bytes(), password.as_bytes());
        }
    }
    let login = netrc?.find(url.host_str()?)?;
    basic(login.user.as_bytes(), login.password.reveal().as_bytes())
}

fn basic(user: &[u8], password: &[u8]) -> Option<HeaderValue> {
    let credentials = [user, b":", password].concat();
    let mut value =
        HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn decoded(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;
    use crate::option::OptionSet;

    fn sent(settings: &HttpSettings, url: &str, origin: &str, challenged: bool) -> String {
        let (url, origin) = (Url::parse(url).unwrap(), Url::parse(origin).unwrap());
        let netrc = Netrc::parse("machine n login net password rc");
        let sent = authorization(settings, &url, &origin, challenged, Some(&netrc));
        let Some(value) = sent else {
            return String::new();
        };
        assert!(value.is_sensitive());
        let text = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
        String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
    }

    #[test]
    fn who_is_told_what() {
        let plain = HttpSettings::from(&OptionSet::new());
        let mut option = plain.clone();
        option.user = Some("opt".to_owned());
        option.password = Some(Secret::new("pw"));
        let mut challenge = option.clone();
        challenge.auth_challenge = true;
        for (settings, url, origin, challenged, wanted) in [
            (&plain, "http://h/", "http://h/", false, ""),
            (
                &plain,
                "http://a%40b:c%3Ad@h/",
                "http://h/",
                false,
                "a@b:c:d",
            ),
            (&plain, "http://n/", "http://n/", false, "net:rc"),
            (&plain, "http://n/", "http://h/", false, "net:rc"),
            (&plain, "http://h/x", "http://u:p@h/", false, "u:p"),
            (&plain, "http://evil/x", "http://u:p@h/", false, ""),
            (&option, "http://h/", "http://h/", false, "opt:pw"),
            (&option, "http://evil/", "http://h/", false, ""),
            (&option, "http://n/", "http://h/", false, "net:rc"),
            (&option, "http://u:p@h/", "http://u:p@h/", false, "u:p"),
            (&challenge, "http://h/", "http://h/", false, ""),
            (&challenge, "http://h/", "http://h/", true, "opt:pw"),
            (&challenge, "http://u:p@h/", "http://u:p@h/", false, "u:p"),
            (&challenge, "http://evil/", "http://h/", true, ""),
        ] {
            assert_eq!(sent(settings, url, origin, challenged), wanted, "{url}");
        }
    }
}
