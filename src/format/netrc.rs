//! Pure: `.netrc`, user names and passwords by machine (ftp(1); curl's reading of it).

use crate::base::secret::Secret;

/// A user and the password for a machine.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Login {
    pub user: String,
    pub password: Secret,
    pub account: Option<Secret>,
}

/// The entries of a file, in its order.
#[derive(Clone, Debug, Default)]
pub struct Netrc {
    machines: Vec<(String, Login)>,
    default: Option<Login>,
}

impl Netrc {
    /// Reads what it understands; words out of place are skipped.
    pub fn parse(text: &str) -> Self {
        let mut netrc = Self::default();
        let mut words = Words {
            rest: text,
            at_line_start: true,
        };
        let mut current: Option<(Option<String>, Login)> = None;
        while let Some(word) = words.next() {
            match word {
                "machine" => {
                    netrc.close(current.take());
                    current = words
                        .next()
                        .map(|host| (Some(host.to_owned()), Login::default()));
                }
                "default" => {
                    netrc.close(current.take());
                    current = Some((None, Login::default()));
                }
                "macdef" => {
                    netrc.close(current.take());
                    words.skip_macro();
                }
                "login" | "password" | "account" => {
                    if let (Some(value), Some((_, login))) = (words.next(), &mut current) {
                        match word {
                            "login" => login.user = value.to_owned(),
                            "password" => login.password = Secret::new(value),
                            _ => login.account = Some(Secret::new(value)),
                        }
                    }
                }
                _ => {}
            }
        }
        netrc.close(current);
        netrc
    }

    /// The first entry for this host. An entry that begins with a dot is for all hosts of that
    /// domain; `default` is for everybody else.
    pub fn find(&self, host: &str) -> Option<&Login> {
        let host = host.to_ascii_lowercase();
        let fits = |entry: &str| {
            entry == host
                || (entry.starts_with('.') && host.len() > entry.len() && host.ends_with(entry))
        };
        let found = self
            .machines
            .iter()
            .find(|(entry, _)| fits(entry))
            .map(|(_, login)| login);
        found.or(self.default.as_ref())
    }

    fn close(&mut self, entry: Option<(Option<String>, Login)>) {
        match entry {
            Some((Some(host), login)) => self.machines.push((host.to_ascii_lowercase(), login)),
            Some((None, login)) => self.default = self.default.take().or(Some(login)),
            None => {}
        }
    }
}

/// Words between white space. Only a line that begins with `#` is a comment, since a password may
/// begin so too.
struct Words<'a> {
    rest: &'a str,
    at_line_start: bool,
}

impl<'a> Words<'a> {
    /// A macro ends with an empty line.
    fn skip_macro(&mut self) {
        let end = ["\n\n", "\n\r\n"]
            .iter()
            .filter_map(|gap| Some(self.rest.find(gap)? + gap.len()))
            .min();
        self.rest = &self.rest[end.unwrap_or(self.rest.len())..];
        self.at_line_start = true;
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            let start = self.rest.trim_start();
            let gap = &self.rest[..self.rest.len() - start.len()];
            let at_line_start = self.at_line_start || gap.contains('\n');
            self.at_line_start = false;
            if at_line_start && start.starts_with('#') {
                self.rest = start.find('\n').map_or("", |end| &start[end..]);
                continue;
            }
            let end = start.find(char::is_whitespace).unwrap_or(start.len());
            let (word, rest) = start.split_at(end);
            self.rest = rest;
            return (!word.is_empty()).then_some(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = "# comment machine x\nmachine Host login me password #se\n  account a\n\
        macdef init\ncd machine y login no\n\nmachine .example.org\n\tlogin dom\n# password no\n\
        default login anyone password mail@\nmachine host login second password x";

    #[test]
    fn finds_machine_domain_and_default() {
        let netrc = Netrc::parse(FILE);
        let user = |host| {
            netrc
                .find(host)
                .map(|login| (login.user.as_str(), login.password.reveal()))
        };
        assert_eq!(user("host"), Some(("me", "#se")));
        assert_eq!(user("a.EXAMPLE.org"), Some(("dom", "")));
        assert_eq!(user("example.org"), Some(("anyone", "mail@")));
        assert_eq!(user("x"), Some(("anyone", "mail@")));
        assert_eq!(user("y"), Some(("anyone", "mail@")));
        assert_eq!(netrc.find("host").unwrap().account, Some(Secret::new("a")));
        assert_eq!(Netrc::parse("machine a login b").find("c"), None);
    }

    proptest! {
        #[test]
        fn never_panics(text in "((machine|default|login|password|macdef|#|x|\n| |\r\n|\u{e4}) ?){0,30}|\\PC{0,60}") {
            let _ = Netrc::parse(&text).find("x");
        }
    }
}
