//! Pure: who we are to an FTP or SFTP server.

use crate::base::secret::Secret;
use crate::format::netrc::Netrc;
use crate::format::uri::Uri;
use crate::option::settings::FtpSettings;

/// Who logs in where nobody is named; the password is what aria2 sends, too.
const ANONYMOUS: (&str, &str) = ("anonymous", "ARIA2USER@");

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Login {
    pub user: String,
    pub password: Secret,
    /// For servers that ask for one (ACCT).
    pub account: Option<Secret>,
    /// Somebody set the password; it is not a mere default.
    pub has_password: bool,
}

impl Login {
    /// The user of the URI goes first, with its own password, netrc's for the same user, or that
    /// of the options; then netrc's entry of the host; then the options; then anonymous.
    pub fn choose(uri: &Uri<'_>, netrc: Option<&Netrc>, settings: &FtpSettings) -> Self {
        let known = netrc.and_then(|netrc| netrc.find(&uri.host));
        let given = |user: &str, password: Option<&Secret>| Self {
            user: user.to_owned(),
            password: password
                .cloned()
                .unwrap_or_else(|| Secret::new(ANONYMOUS.1)),
            account: None,
            has_password: password.is_some(),
        };
        if let Some(user) = &uri.user {
            if let Some(password) = &uri.password {
                return given(user, Some(&Secret::new(password.as_ref())));
            }
            return match known.filter(|known| known.user == **user) {
                Some(known) => Self {
                    account: known.account.clone(),
                    ..given(user, Some(&known.password))
                },
                None => given(user, settings.password.as_ref()),
            };
        }
        if let Some(known) = known {
            return Self {
                account: known.account.clone(),
                ..given(&known.user, Some(&known.password))
            };
        }
        match &settings.user {
            Some(user) => given(user, settings.password.as_ref()),
            None => given(ANONYMOUS.0, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::option::OptionSet;

    #[test]
    fn the_most_particular_source_wins() {
        let netrc = Netrc::parse("machine n login net password rc account acc");
        let mut options = FtpSettings::from(&OptionSet::new());
        let chosen = |uri: &str, settings: &FtpSettings| {
            let login = Login::choose(&Uri::parse(uri).unwrap(), Some(&netrc), settings);
            format!("{}:{}", login.user, login.password.reveal())
        };
        assert_eq!(chosen("ftp://h/f", &options), "anonymous:ARIA2USER@");
        options.user = Some("opt".to_owned());
        options.password = Some(Secret::new("word"));
        for (uri, login) in [
            ("ftp://h/f", "opt:word"),
            ("ftp://n/f", "net:rc"),
            ("ftp://u:p%40@n/f", "u:p@"),
            ("ftp://u@n/f", "u:word"),
            ("ftp://net@n/f", "net:rc"),
            ("ftp://u:@h/f", "u:"),
        ] {
            assert_eq!(chosen(uri, &options), login, "{uri}");
        }
    }
}
