//! Sends a request, answers a challenge and follows redirects until there is a body or a failure.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_LENGTH, HOST, HeaderValue, SET_COOKIE};
use reqwest::{Client, Method, Request, Response, StatusCode, Version};
use tokio::time::timeout;
use tracing::debug;
use url::Url;

use super::link_header::Told;
use super::request::{self, Ask, Private};
use super::response::{self, Answer, Found, Head};
use super::{HttpShared, auth, body, fault, ftp_proxy, piece_seed, redirect, zone};
use crate::base::error::{ErrorCode, Failure, Retry};
use crate::base::secret::SafeUrl;
use crate::net::{HttpClient, Way};
use crate::source::Identity;
use crate::source::fault::timed_out;

/// A busy mirror's excuse is not waited for any longer.
const BUSY_TIME_MAX: Duration = Duration::from_secs(5);
/// So often a request is sent that the server does not look at; each time there may be a new
/// connection.
const SHARED_TRIES_MAX: u32 = 4;

/// One mirror as it is reached now.
pub struct Exchange {
    shared: Arc<HttpShared>,
    /// Picks the network interface where several take turns.
    turn: u32,
    /// The user's URI; its server alone gets the user's credentials.
    origin: Url,
    /// Where redirects have led; asked directly as long as it answers.
    url: Url,
    /// The server has asked for credentials.
    challenged: bool,
    last_status: Option<StatusCode>,
    /// Whether the next request may share a connection; the first one of a download may.
    may_share: bool,
    /// The server whose shared connection carries the last answer.
    sharing: Option<String>,
}

impl Exchange {
    /// # Errors
    /// Not an http, https or ftp URL (code 1).
    pub fn new(uri: &str, turn: u32, shared: Arc<HttpShared>) -> Result<Self, Failure> {
        let unusable = |why: String| {
            let text = format!("The URI cannot be used: {why}");
            Failure::new(ErrorCode::Unknown, Retry::OtherMirror, text)
        };
        let zone = zone::split(uri);
        let (uri, shared) = match &zone {
            Some((uri, interface)) => (uri.as_str(), bound_to(&shared, interface)),
            None => (uri, shared),
        };
        let mut origin = Url::parse(uri).map_err(|error| unusable(error.to_string()))?;
        if !matches!(origin.scheme(), "http" | "https" | "ftp") || !origin.has_host() {
            return Err(unusable(format!("scheme {}", origin.scheme())));
        }
        origin.set_fragment(None);
        Ok(Self {
            shared,
            turn,
            url: origin.clone(),
            origin,
            challenged: false,
            last_status: None,
            may_share: false,
            sharing: None,
        })
    }

    /// The next answer is the download's first one: it may share a connection.
    pub fn share(&mut self) {
        let settings = &self.shared.settings;
        // HTTP/2 names the server by its URL and has nothing like `Connection: close`.
        self.may_share = settings.keep_alive && !request::names_host(settings);
    }

    /// From now on every request gets a connection of its own.
    pub fn share_no_more(&mut self) {
        self.may_share = false;
    }

    /// The server whose HTTP/2 connection carries the last answer.
    pub fn shared_server(&self) -> Option<&str> {
        self.sharing.as_deref()
    }

    /// The connection of the last answer failed.
    pub fn handle_broken(&mut self) {
        if let Some(server) = self.sharing.take() {
            self.shared.net.handle_shared_failure(&server);
        }
    }

    /// Host and port of the server that is asked next.
    pub fn server(&self) -> String {
        request::host_of(&self.url)
    }

    /// Whether the last answer was that the server does not know the method.
    pub fn method_was_refused(&self) -> bool {
        let unknown = [StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_IMPLEMENTED];
        self.last_status
            .is_some_and(|status| unknown.contains(&status))
    }

    /// Whether the last answer was that the file has no such bytes.
    pub fn range_was_refused(&self) -> bool {
        self.last_status == Some(StatusCode::RANGE_NOT_SATISFIABLE)
    }

    /// The answer and its body. Where a redirect was followed earlier and its target refuses by
    /// now (signed URLs expire), the original URI is asked once more.
    ///
    /// # Errors
    /// What the network, the server or the user's settings have against it.
    pub async fn ask(
        &mut self,
        ask: &Ask,
        expect: &Identity,
    ) -> Result<(Found, Response), Failure> {
        if let Some(piece) = &ask.piece {
            self.url = piece.url(&self.origin);
            return self.follow(ask, expect).await;
        }
        let was_redirected = self.url != self.origin;
        match self.follow(ask, expect).await {
            Err(failure) if was_redirected && self.target_is_gone() => {
                debug!(%failure, "asking the original URI again");
                self.url = self.origin.clone();
                self.follow(ask, expect).await
            }
            other => other,
        }
    }

    fn target_is_gone(&self) -> bool {
        let status = self.last_status.map(|status| status.as_u16());
        matches!(status, Some(401 | 403 | 404 | 410))
    }

    async fn follow(&mut self, ask: &Ask, expect: &Identity) -> Result<(Found, Response), Failure> {
        let mut redirects = 0;
        let mut told = Told::default();
        loop {
            let response = self.send(ask).await?;
            self.last_status = Some(response.status());
            self.keep_cookies(&response);
            let server = request::host_of(&self.url);
            let head = Head {
                status: response.status(),
                headers: response.headers(),
                ask,
                settings: &self.shared.settings,
                expect,
                server: Some(&server),
                now: SystemTime::now(),
            };
            told.read(response.headers(), &self.url, &self.shared.settings);
            debug!(status = %response.status(), url = %SafeUrl(self.url.as_str()), "answer");
            let answer = match head.read() {
                Err(failure) if ask.piece.is_some() => return Err(busy(failure, response).await),
                answer => answer?,
            };
            match answer {
                Answer::Found(mut found) => {
                    found.facts.final_uri = match self.url.scheme() {
                        _ if ask.piece.is_some() => self.origin.to_string(),
                        // Its credentials may come from elsewhere than the URI.
                        "ftp" => request::bare(&self.url),
                        _ => self.url.to_string(),
                    };
                    found.facts.mirrors = told.mirrors;
                    let digest = &mut found.facts.identity.digest;
                    *digest = digest.take().or(told.digest);
                    return Ok((*found, response));
                }
                Answer::Redirect(_) if redirects == redirect::REDIRECTS_MAX => {
                    return Err(redirect::too_many());
                }
                Answer::Redirect(location) => {
                    self.url = redirect::next(&self.url, &location)?;
                    redirects += 1;
                }
                Answer::Unauthorized => self.handle_challenge()?,
            }
            body::drain(response).await;
        }
    }

    fn handle_challenge(&mut self) -> Result<(), Failure> {
        let may_answer = self.shared.settings.auth_challenge && !self.challenged;
        self.challenged = true;
        if may_answer && self.authorization().is_some() {
            return Ok(());
        }
        Err(response::unauthorized())
    }

    async fn send(&mut self, ask: &Ask) -> Result<Response, Failure> {
        self.sharing = None;
        let server = match self.url.port_or_known_default() {
            Some(port) => format!("{}:{port}", self.url.host_str().unwrap_or_default()),
            None => String::new(),
        };
        let first = self.may_share && self.url.scheme() == "https";
        let way = match first {
            true => self.shared.net.way_of_first(&server).await,
            false => Way::Own,
        };
        let sent = self.send_by(ask, way).await;
        if !first {
            return sent;
        }
        match &sent {
            Ok(response) => {
                let is_http2 = response.version() == Version::HTTP_2;
                let len = response.headers().get(CONTENT_LENGTH);
                let len = len.and_then(|len| len.to_str().ok()?.parse().ok());
                let net = &self.shared.net;
                net.handle_first_answer(&server, way, is_http2, len);
                self.sharing = is_http2.then_some(server);
            }
            Err(_) if way == Way::Shared => self.shared.net.handle_shared_failure(&server),
            Err(_) => {}
        }
        sent
    }

    async fn send_by(&self, ask: &Ask, way: Way) -> Result<Response, Failure> {
        let settings = &self.shared.settings;
        let method = if ask.head { Method::HEAD } else { Method::GET };
        let mut url = self.url.clone();
        // They travel as a header; `Url` refuses only where there is no host.
        let _ = url.set_username("").and(url.set_password(None));
        let mut request = Request::new(method, url);
        let own = Private {
            authorization: self.authorization(),
            cookie: self.cookie(),
        };
        *request.headers_mut() = request::headers(ask, settings, &self.url, &self.origin, own);
        if self.url.scheme() == "ftp" {
            return ftp_proxy::send(request, settings).await;
        }
        if way == Way::Shared {
            // HTTP/2 has it in the URL; for HTTP/1.1 it is put back.
            request.headers_mut().remove(HOST);
        }
        let net = &self.shared.net;
        let client = net.http_client(settings, &self.url, self.turn, way)?;
        // Dialling has a limit of its own; this one ends servers that trickle their headers.
        let connection = &settings.connection;
        let patience = connection.connect_timeout + connection.timeout;
        let sent = async {
            match client {
                HttpClient::Direct(client) => execute(&client, request, way).await,
                HttpClient::Dialled(client) => {
                    let sent = client.execute(request).await;
                    sent.map_err(|error| fault::failure_of_dialled(&*error))
                }
            }
        };
        match timeout(patience, sent).await {
            Ok(answer) => answer,
            Err(_) => Err(timed_out()),
        }
    }

    fn cookie(&self) -> Option<HeaderValue> {
        let text = self.shared.net.cookies().header(&self.url)?;
        let mut value = HeaderValue::from_bytes(text.as_bytes()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn keep_cookies(&self, response: &Response) {
        for value in response.headers().get_all(SET_COOKIE) {
            let text = String::from_utf8_lossy(value.as_bytes());
            self.shared
                .net
                .cookies()
                .handle_set_cookie(&text, &self.url);
        }
    }

    fn authorization(&self) -> Option<HeaderValue> {
        let settings = &self.shared.settings;
        let netrc = self.shared.net.netrc(settings);
        auth::authorization(
            settings,
            &self.url,
            &self.origin,
            self.challenged,
            netrc.as_deref(),
        )
    }
}

/// A mirror of pieces that is busy says in the body how long it will be.
async fn busy(failure: Failure, mut response: Response) -> Failure {
    let (StatusCode::SERVICE_UNAVAILABLE, Retry::After(asked)) = (response.status(), failure.retry)
    else {
        return failure;
    };
    let mut body = Vec::new();
    let read = async {
        while body.len() <= piece_seed::BUSY_LEN_MAX
            && let Ok(Some(chunk)) = response.chunk().await
        {
            body.extend_from_slice(&chunk);
        }
    };
    let _ = timeout(BUSY_TIME_MAX, read).await;
    Failure {
        retry: Retry::After(piece_seed::busy_for(&body, asked)),
        ..failure
    }
}

async fn execute(client: &Client, mut request: Request, way: Way) -> Result<Response, Failure> {
    let mut tries_left = if way == Way::Shared {
        SHARED_TRIES_MAX
    } else {
        1
    };
    loop {
        tries_left -= 1;
        let again = request.try_clone().filter(|_| tries_left > 0);
        match (client.execute(request).await, again) {
            (Err(error), Some(again)) if fault::was_not_looked_at(&error) => request = again,
            (sent, _) => return sent.map_err(|error| fault::failure_of(&error)),
        }
    }
}

/// The same, but on one interface: how the system takes a link-local address without its zone.
fn bound_to(shared: &HttpShared, interface: &str) -> Arc<HttpShared> {
    let mut settings = shared.settings.clone();
    settings.connection.interfaces = vec![interface.to_owned()];
    Arc::new(HttpShared {
        gid: shared.gid,
        settings,
        net: Arc::clone(&shared.net),
        modified_since: shared.modified_since,
    })
}
