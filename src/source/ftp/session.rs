//! A control connection that is logged in: greeting, TLS, login, directories.

use std::sync::Arc;
use std::time::Instant;

use rustls::ClientConfig;
use tracing::debug;

use super::control::{Control, Tls};
use super::data::Way;
use super::fault;
use super::path::FtpPath;
use super::reply::{self, Reply};
use super::wire::Wire;
use crate::base::error::Failure;
use crate::base::secret::Secret;
use crate::net::dial;
use crate::option::settings::FtpSettings;
use crate::option::value::{FtpTls, FtpType};
use crate::source::login::Login;

/// Whom to reach, and how.
pub struct Place {
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
    /// `ftps`: encrypted from the first byte on.
    pub implicit: bool,
    pub proxy: Option<Secret>,
    pub login: Login,
    /// Other connections of this download are logged in already.
    pub others_are_in: bool,
}

pub struct Session {
    pub control: Control,
    pub way: Way,
    /// Encrypts data connections.
    pub tls: Option<Tls>,
    /// Where the login led; not all servers say.
    base: Option<String>,
    /// Directories entered since.
    dirs: Vec<Vec<u8>>,
    transfer_type: Option<FtpType>,
    told_utf8: bool,
    /// REST was answered, and no RETR has used it up.
    pub restart_is_set: bool,
}

impl Session {
    /// Connects and logs in. `config` is asked for only where TLS is.
    ///
    /// # Errors
    /// No connection, no TLS, or a refused login (21).
    pub async fn open(
        place: &Place,
        settings: &FtpSettings,
        config: impl Fn() -> Result<Arc<ClientConfig>, Failure>,
    ) -> Result<Self, Failure> {
        let connection = &settings.connection;
        let deadline = Instant::now() + connection.connect_timeout;
        let proxy = place.proxy.as_ref();
        let socket = dial::tcp(&place.host, place.port, connection, proxy, deadline).await?;
        let mut control;
        let mut tls = None;
        if place.implicit {
            let wrapper = Tls::new(config()?.as_ref(), &place.host)?;
            let wire = wrapper.wrap(socket, connection.timeout).await?;
            control = Control::new(wire, connection.timeout)?;
            tls = Some(wrapper);
            greet(&mut control).await?;
        } else {
            control = Control::new(Wire::Plain(socket), connection.timeout)?;
            greet(&mut control).await?;
            if settings.encrypt != FtpTls::Never {
                let reply = control.ask("AUTH", b"TLS").await?;
                if reply.is_success() {
                    let wrapper = Tls::new(config()?.as_ref(), &place.host)?;
                    control = control.encrypt(&wrapper).await?;
                    tls = Some(wrapper);
                } else if settings.encrypt == FtpTls::Require {
                    return Err(fault::refused("AUTH TLS", &reply));
                }
            }
        }
        log_in(&mut control, place).await?;
        if tls.is_some() {
            control.ask("PBSZ", b"0").await?;
            let reply = control.ask("PROT", b"P").await?;
            match (reply.is_success(), settings.encrypt) {
                (true, _) => {}
                (false, FtpTls::Try) if !place.implicit => tls = None,
                (false, _) => return Err(fault::refused("PROT P", &reply)),
            }
        }
        let base = control.ask("PWD", b"").await?;
        let base = (base.code == 257).then(|| reply::pwd(&base.text)).flatten();
        Ok(Self {
            way: Way {
                host: place.host.clone(),
                proxy: place.proxy.clone(),
                connection: connection.clone(),
                passive: settings.passive,
                second_choice: false,
            },
            control,
            tls,
            base,
            dirs: Vec::new(),
            transfer_type: None,
            told_utf8: false,
            restart_is_set: false,
        })
    }

    /// Goes to the file's directory and sets the type of transfer.
    ///
    /// # Errors
    /// A directory that is not there (3), or a type the server does not know (21).
    pub async fn enter(&mut self, path: &FtpPath, kind: FtpType) -> Result<(), Failure> {
        if !path.is_ascii() && !self.told_utf8 {
            // Some servers read names as UTF-8 only once they are asked to. Others do not know
            // the command, which changes nothing.
            self.control.ask("OPTS", b"UTF8 ON").await?;
            self.told_utf8 = true;
        }
        if self.transfer_type != Some(kind) {
            let word: &[u8] = match kind {
                FtpType::Binary => b"I",
                FtpType::Ascii => b"A",
            };
            let reply = self.control.ask("TYPE", word).await?;
            if !reply.is_success() {
                return Err(fault::refused("TYPE", &reply));
            }
            self.transfer_type = Some(kind);
        }
        if self.dirs == path.dirs {
            return Ok(());
        }
        if !self.dirs.is_empty() {
            let Some(base) = self.base.clone() else {
                return Err(fault::hung_up());
            };
            self.change(base.as_bytes()).await?;
            self.dirs.clear();
        }
        for dir in &path.dirs {
            self.change(dir).await?;
            self.dirs.push(dir.clone());
        }
        Ok(())
    }

    async fn change(&mut self, dir: &[u8]) -> Result<(), Failure> {
        let reply = self.control.ask("CWD", dir).await?;
        match reply.is_success() {
            true => Ok(()),
            false => Err(fault::refused_file("CWD", &reply)),
        }
    }

    /// Whether it can serve another file.
    pub fn is_at_rest(&self) -> bool {
        self.control.is_quiet() && !self.restart_is_set
    }
}

async fn greet(control: &mut Control) -> Result<(), Failure> {
    // 120 before it: ready in some minutes, if we wait so long.
    let reply = control.final_reply().await?;
    match reply.is_success() {
        true => Ok(()),
        false => Err(fault::refused("the connection", &reply)),
    }
}

async fn log_in(control: &mut Control, place: &Place) -> Result<(), Failure> {
    let login = &place.login;
    let refuse = |reply: &Reply| fault::refused_login(reply, login, place.others_are_in);
    let forbidden = |text: &str| text.contains(['\r', '\n', '\0']);
    let account = login.account.as_ref().map_or("", |secret| secret.reveal());
    if [login.user.as_str(), login.password.reveal(), account]
        .iter()
        .any(|text| forbidden(text))
    {
        return Err(fault::protocol("User or password hold a line break"));
    }
    let mut reply = control.ask("USER", login.user.as_bytes()).await?;
    if reply.code == 331 {
        reply = control
            .ask("PASS", login.password.reveal().as_bytes())
            .await?;
    }
    if reply.code == 332 && !account.is_empty() {
        reply = control.ask("ACCT", account.as_bytes()).await?;
    }
    debug!(user = %login.user, code = reply.code, "login");
    match reply.is_success() {
        true => Ok(()),
        false => Err(refuse(&reply)),
    }
}
