//! Pure: typed views of an option set, built once for those who use them. Below `engine/` nobody
//! looks an option up by its name.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::keys;
use super::set::OptionSet;
use super::value::{
    DownloadResult, EventPoll, FileAllocation, FtpTls, FtpType, LogLevel, PieceSelector,
    ProxyMethod, TlsVersion, UriSelector, split_digest,
};
use crate::base::secret::Secret;
use crate::base::units::Rate;

/// How one download is split, retried, checked and named.
#[derive(Clone, Debug)]
pub struct TransferSettings {
    /// Connections of the download, all mirrors together.
    pub split: usize,
    pub per_server_max: usize,
    /// A span is only divided if both halves have this many bytes.
    pub split_len_min: u64,
    pub piece_len: u64,
    /// `None`: no limit.
    pub tries_max: Option<u32>,
    pub retry_wait: Duration,
    pub lowest_speed: Rate,
    /// `None`: a missing file ends its mirror at once.
    pub not_found_max: Option<u32>,
    pub uri_selector: UriSelector,
    pub piece_selector: PieceSelector,
    pub reuse_uri: bool,
    pub always_resume: bool,
    /// `None`: every mirror may refuse once.
    pub resume_failures_max: Option<u32>,
    pub resume_without_control_file: bool,
    pub allow_overwrite: bool,
    pub auto_file_renaming: bool,
    pub remove_control_file: bool,
    pub allow_piece_length_change: bool,
    pub dir: PathBuf,
    pub out: Option<String>,
    /// `type=hex`, in lower case.
    pub checksum: Option<String>,
    pub check_integrity: bool,
    /// Pieces of a Metalink are hashed as they become complete.
    pub realtime_chunk_checksum: bool,
    pub hash_check_only: bool,
    pub dry_run: bool,
    pub remote_time: bool,
    pub conditional_get: bool,
    pub keep_control_file: bool,
    pub retry_on_disk_full: bool,
    /// Finished files are moved here.
    pub complete_dir: Option<PathBuf>,
    /// Largest age of the control file; `None`: it is saved at pause and stop only.
    pub save_interval: Option<Duration>,
    pub down_limit: Rate,
    pub up_limit: Rate,
}

impl From<&OptionSet> for TransferSettings {
    fn from(set: &OptionSet) -> Self {
        Self {
            split: count(set.get(keys::SPLIT)),
            per_server_max: count(set.get(keys::MAX_CONNECTION_PER_SERVER)),
            split_len_min: bytes(set.get(keys::MIN_SPLIT_SIZE)),
            piece_len: bytes(set.get(keys::PIECE_LENGTH)),
            tries_max: limit(set.get(keys::MAX_TRIES)),
            retry_wait: seconds(set.get(keys::RETRY_WAIT)),
            lowest_speed: rate(set.get(keys::LOWEST_SPEED_LIMIT)),
            not_found_max: limit(set.get(keys::MAX_FILE_NOT_FOUND)),
            uri_selector: set.get(keys::URI_SELECTOR),
            piece_selector: set.get(keys::STREAM_PIECE_SELECTOR),
            reuse_uri: set.get(keys::REUSE_URI),
            always_resume: set.get(keys::ALWAYS_RESUME),
            resume_failures_max: limit(set.get(keys::MAX_RESUME_FAILURE_TRIES)),
            resume_without_control_file: set.get(keys::CONTINUE),
            allow_overwrite: set.get(keys::ALLOW_OVERWRITE),
            auto_file_renaming: set.get(keys::AUTO_FILE_RENAMING),
            remove_control_file: set.get(keys::REMOVE_CONTROL_FILE),
            allow_piece_length_change: set.get(keys::ALLOW_PIECE_LENGTH_CHANGE),
            dir: path(set.get(keys::DIR)).unwrap_or_else(|| PathBuf::from(".")),
            out: text(set.get(keys::OUT)),
            checksum: set
                .get(keys::CHECKSUM)
                .and_then(|text| split_digest(&text))
                .map(|(kind, hex)| format!("{kind}={hex}")),
            check_integrity: set.get(keys::CHECK_INTEGRITY),
            realtime_chunk_checksum: set.get(keys::REALTIME_CHUNK_CHECKSUM),
            hash_check_only: set.get(keys::HASH_CHECK_ONLY),
            dry_run: set.get(keys::DRY_RUN),
            remote_time: set.get(keys::REMOTE_TIME),
            conditional_get: set.get(keys::CONDITIONAL_GET),
            keep_control_file: set.get(keys::FORCE_SAVE),
            retry_on_disk_full: set.get(keys::RETRY_ON_DISK_FULL),
            complete_dir: path(set.get(keys::COMPLETE_DIR)),
            save_interval: interval(set.get(keys::AUTO_SAVE_INTERVAL)),
            down_limit: rate(set.get(keys::MAX_DOWNLOAD_LIMIT)),
            up_limit: rate(set.get(keys::MAX_UPLOAD_LIMIT)),
        }
    }
}

/// How HTTP requests look and what is accepted.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    pub user_agent: String,
    /// `*` stands for the URI that is asked for.
    pub referer: Option<String>,
    /// Whole header lines, `Name: value`.
    pub headers: Arc<[Arc<str>]>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// Credentials are sent only after a 401.
    pub auth_challenge: bool,
    pub no_netrc: bool,
    pub netrc_path: Option<PathBuf>,
    pub accept_gzip: bool,
    pub no_cache: bool,
    pub keep_alive: bool,
    pub use_head: bool,
    pub want_digest: bool,
    /// Mirrors that `Link` headers name are used.
    pub link_mirrors: bool,
    /// Countries whose mirrors go first.
    pub locations: Arc<[String]>,
    pub content_disposition_utf8: bool,
    pub retry_on_400: bool,
    pub retry_on_403: bool,
    pub retry_on_406: bool,
    pub retry_on_unknown: bool,
    /// Slower connections are given up.
    pub lowest_speed: Rate,
    pub proxies: ProxySettings,
    pub connection: ConnectionSettings,
    pub tls: TlsSettings,
}

impl From<&OptionSet> for HttpSettings {
    fn from(set: &OptionSet) -> Self {
        Self {
            user_agent: text(set.get(keys::USER_AGENT)).unwrap_or_default(),
            referer: text(set.get(keys::REFERER)),
            headers: set.get(keys::HEADER),
            user: text(set.get(keys::HTTP_USER)),
            password: text(set.get(keys::HTTP_PASSWD)).map(Secret::new),
            auth_challenge: set.get(keys::HTTP_AUTH_CHALLENGE),
            no_netrc: set.get(keys::NO_NETRC),
            netrc_path: path(set.get(keys::NETRC_PATH)),
            accept_gzip: set.get(keys::HTTP_ACCEPT_GZIP),
            no_cache: set.get(keys::HTTP_NO_CACHE),
            keep_alive: set.get(keys::ENABLE_HTTP_KEEP_ALIVE),
            use_head: set.get(keys::USE_HEAD),
            want_digest: set.get(keys::HTTP_WANT_DIGEST) && !set.get(keys::NO_WANT_DIGEST_HEADER),
            link_mirrors: set.get(keys::HTTP_LINK_MIRRORS),
            locations: set
                .get(keys::METALINK_LOCATION)
                .iter()
                .map(|code| code.trim().to_owned())
                .collect(),
            content_disposition_utf8: set.get(keys::CONTENT_DISPOSITION_DEFAULT_UTF8),
            retry_on_400: set.get(keys::RETRY_ON_400),
            retry_on_403: set.get(keys::RETRY_ON_403),
            retry_on_406: set.get(keys::RETRY_ON_406),
            retry_on_unknown: set.get(keys::RETRY_ON_UNKNOWN),
            lowest_speed: rate(set.get(keys::LOWEST_SPEED_LIMIT)),
            proxies: ProxySettings::from(set),
            connection: ConnectionSettings::from(set),
            tls: TlsSettings::from(set),
        }
    }
}

/// How FTP and SFTP servers are spoken to.
#[derive(Clone, Debug)]
pub struct FtpSettings {
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub no_netrc: bool,
    pub netrc_path: Option<PathBuf>,
    /// We open data connections; otherwise the server does.
    pub passive: bool,
    pub transfer_type: FtpType,
    pub encrypt: FtpTls,
    /// Connections are kept for the next file.
    pub reuse_connection: bool,
    /// `type=hex`, in lower case, of the only host key that is taken.
    pub host_key_digest: Option<(&'static str, String)>,
    pub private_key: Option<PathBuf>,
    /// Slower connections are given up.
    pub lowest_speed: Rate,
    pub proxies: ProxySettings,
    pub connection: ConnectionSettings,
    pub tls: TlsSettings,
}

impl From<&OptionSet> for FtpSettings {
    fn from(set: &OptionSet) -> Self {
        Self {
            user: text(set.get(keys::FTP_USER)),
            password: text(set.get(keys::FTP_PASSWD)).map(Secret::new),
            no_netrc: set.get(keys::NO_NETRC),
            netrc_path: path(set.get(keys::NETRC_PATH)),
            passive: set.get(keys::FTP_PASV),
            transfer_type: set.get(keys::FTP_TYPE),
            encrypt: set.get(keys::FTP_TLS),
            reuse_connection: set.get(keys::FTP_REUSE_CONNECTION),
            host_key_digest: set
                .get(keys::SSH_HOST_KEY_MD)
                .and_then(|text| split_digest(&text)),
            private_key: path(set.get(keys::SSH_PRIVATE_KEY)),
            lowest_speed: rate(set.get(keys::LOWEST_SPEED_LIMIT)),
            proxies: ProxySettings::from(set),
            connection: ConnectionSettings::from(set),
            tls: TlsSettings::from(set),
        }
    }
}

/// Which proxy serves which scheme. A proxy is a URI with its credentials inside, so it is secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxySettings {
    pub http: Option<Secret>,
    pub https: Option<Secret>,
    pub ftp: Option<Secret>,
    /// For everything else that can use one (peers, trackers, SFTP).
    pub all: Option<Secret>,
    /// Host names, domains with a leading dot, addresses and CIDR blocks that need none.
    pub exempt: Arc<[Arc<str>]>,
    pub method: ProxyMethod,
}

impl From<&OptionSet> for ProxySettings {
    fn from(set: &OptionSet) -> Self {
        let all = proxy(
            set,
            keys::ALL_PROXY,
            keys::ALL_PROXY_USER,
            keys::ALL_PROXY_PASSWD,
        );
        // `--http-proxy=` takes the proxy away even where all-proxy is set.
        let or_all = |key, user, password| match set.is_set(key_id(key)) {
            true => proxy(set, key, user, password),
            false => all.clone(),
        };
        Self {
            http: or_all(
                keys::HTTP_PROXY,
                keys::HTTP_PROXY_USER,
                keys::HTTP_PROXY_PASSWD,
            ),
            https: or_all(
                keys::HTTPS_PROXY,
                keys::HTTPS_PROXY_USER,
                keys::HTTPS_PROXY_PASSWD,
            ),
            ftp: or_all(
                keys::FTP_PROXY,
                keys::FTP_PROXY_USER,
                keys::FTP_PROXY_PASSWD,
            ),
            all,
            exempt: set.get(keys::NO_PROXY),
            method: set.get(keys::PROXY_METHOD),
        }
    }
}

/// How sockets and names are opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionSettings {
    pub connect_timeout: Duration,
    /// Longest silence of an open connection.
    pub timeout: Duration,
    /// Interface names or addresses; several take turns.
    pub interfaces: Vec<String>,
    pub disable_ipv6: bool,
    pub async_dns: bool,
    pub dns_servers: Arc<[Arc<str>]>,
    /// Differentiated services code point of outgoing packets; 0 leaves it alone.
    pub dscp: u8,
    /// `None`: as the system has it.
    pub receive_buffer_len: Option<usize>,
}

impl From<&OptionSet> for ConnectionSettings {
    fn from(set: &OptionSet) -> Self {
        let interfaces = match text(set.get(keys::INTERFACE)) {
            Some(interface) => vec![interface],
            None => set
                .get(keys::MULTIPLE_INTERFACE)
                .iter()
                .map(|name| name.to_string())
                .collect(),
        };
        Self {
            connect_timeout: seconds(set.get(keys::CONNECT_TIMEOUT)),
            timeout: seconds(set.get(keys::TIMEOUT)),
            interfaces,
            disable_ipv6: set.get(keys::DISABLE_IPV6),
            async_dns: set.get(keys::ASYNC_DNS),
            dns_servers: set.get(keys::ASYNC_DNS_SERVER),
            dscp: u8::try_from(set.get(keys::DSCP)).unwrap_or(0),
            receive_buffer_len: Some(count(set.get(keys::SOCKET_RECV_BUFFER_SIZE)))
                .filter(|len| *len > 0),
        }
    }
}

/// Whom TLS trusts and who we are.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TlsSettings {
    pub check_certificate: bool,
    pub ca_certificate: Option<PathBuf>,
    pub certificate: Option<PathBuf>,
    pub private_key: Option<PathBuf>,
    pub version_min: TlsVersion,
}

impl From<&OptionSet> for TlsSettings {
    fn from(set: &OptionSet) -> Self {
        Self {
            check_certificate: set.get(keys::CHECK_CERTIFICATE),
            ca_certificate: path(set.get(keys::CA_CERTIFICATE)),
            certificate: path(set.get(keys::CERTIFICATE)),
            private_key: path(set.get(keys::PRIVATE_KEY)),
            version_min: set.get(keys::MIN_TLS_VERSION),
        }
    }
}

/// How files are laid on the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskSettings {
    pub allocation: FileAllocation,
    /// Smaller files are not allocated.
    pub allocation_len_min: u64,
    /// Bytes of write cache of the whole process; 0 means none.
    pub cache_len_max: u64,
    pub open_files_max: usize,
}

impl From<&OptionSet> for DiskSettings {
    fn from(set: &OptionSet) -> Self {
        Self {
            allocation: set.get(keys::FILE_ALLOCATION),
            allocation_len_min: bytes(set.get(keys::NO_FILE_ALLOCATION_LIMIT)),
            cache_len_max: bytes(set.get(keys::DISK_CACHE)),
            open_files_max: count(set.get(keys::BT_MAX_OPEN_FILES)),
        }
    }
}

/// The queue, the results and the session files.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    pub concurrent_max: usize,
    /// A and B of `A + B * log10(Mbit/s)`, where the queue adapts to the line.
    pub concurrent_by_speed: Option<(f64, f64)>,
    pub seeders_are_free: bool,
    pub down_limit: Rate,
    pub up_limit: Rate,
    /// Stopped downloads that RPC shows.
    pub results_max: usize,
    /// Stopped downloads that the store keeps, those that RPC shows among them.
    pub history_max: usize,
    /// Failures stay for the session file even when they are no results any more; only where one
    /// may be written.
    pub keep_unfinished_results: bool,
    pub state_dir: Option<PathBuf>,
    pub save_session: Option<PathBuf>,
    /// `None`: at the end and when asked.
    pub save_session_interval: Option<Duration>,
    pub input_file: Option<PathBuf>,
    pub deferred_input: bool,
    pub server_stat_in: Option<PathBuf>,
    pub server_stat_out: Option<PathBuf>,
    pub server_stat_timeout: Duration,
    pub load_cookies: Option<PathBuf>,
    pub save_cookies: Option<PathBuf>,
    /// `None`: no time limit.
    pub stop_after: Option<Duration>,
    /// Process whose end is ours.
    pub stop_with_process: Option<u32>,
    pub hooks: HookSettings,
}

impl EngineSettings {
    /// Stopped downloads that the store keeps beyond those that RPC shows.
    pub fn history_len(&self) -> usize {
        self.history_max - self.results_max
    }
}

impl From<&OptionSet> for EngineSettings {
    fn from(set: &OptionSet) -> Self {
        let shown = count(set.get(keys::MAX_DOWNLOAD_RESULT));
        let history = match set.get(keys::SQLITE3_HISTORY_LIMIT) {
            Some(number) if !set.is_set(keys::HISTORY_LIMIT.id) => number,
            _ => set.get(keys::HISTORY_LIMIT),
        };
        Self {
            concurrent_max: count(set.get(keys::MAX_CONCURRENT_DOWNLOADS)),
            concurrent_by_speed: set.get(keys::OPTIMIZE_CONCURRENT_DOWNLOADS),
            seeders_are_free: set.get(keys::BT_DETACH_SEED_ONLY)
                || set.get(keys::DETACH_SHARE_ONLY),
            down_limit: rate(set.get(keys::MAX_OVERALL_DOWNLOAD_LIMIT)),
            up_limit: rate(set.get(keys::MAX_OVERALL_UPLOAD_LIMIT)),
            results_max: shown,
            history_max: count(history).max(shown),
            keep_unfinished_results: set.get(keys::KEEP_UNFINISHED_DOWNLOAD_RESULT)
                && (set.get(keys::ENABLE_RPC)
                    || set.get(keys::SAVE_SESSION).is_some()
                    || set.get(keys::STATE_DIR).is_some()),
            state_dir: path(set.get(keys::STATE_DIR)),
            save_session: path(set.get(keys::SAVE_SESSION)),
            save_session_interval: interval(set.get(keys::SAVE_SESSION_INTERVAL)),
            input_file: path(set.get(keys::INPUT_FILE)),
            deferred_input: set.get(keys::DEFERRED_INPUT),
            server_stat_in: path(set.get(keys::SERVER_STAT_IF)),
            server_stat_out: path(set.get(keys::SERVER_STAT_OF)),
            server_stat_timeout: seconds(set.get(keys::SERVER_STAT_TIMEOUT)),
            load_cookies: path(set.get(keys::LOAD_COOKIES)),
            save_cookies: path(set.get(keys::SAVE_COOKIES)),
            stop_after: interval(set.get(keys::STOP)),
            stop_with_process: set
                .get(keys::STOP_WITH_PROCESS)
                .and_then(|pid| u32::try_from(pid).ok())
                .filter(|pid| *pid > 0),
            hooks: HookSettings::from(set),
        }
    }
}

/// Commands that are run on events.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HookSettings {
    pub start: Option<PathBuf>,
    pub pause: Option<PathBuf>,
    pub stop: Option<PathBuf>,
    pub complete: Option<PathBuf>,
    pub error: Option<PathBuf>,
    pub bt_complete: Option<PathBuf>,
}

impl From<&OptionSet> for HookSettings {
    fn from(set: &OptionSet) -> Self {
        Self {
            start: path(set.get(keys::ON_DOWNLOAD_START)),
            pause: path(set.get(keys::ON_DOWNLOAD_PAUSE)),
            stop: path(set.get(keys::ON_DOWNLOAD_STOP)),
            complete: path(set.get(keys::ON_DOWNLOAD_COMPLETE)),
            error: path(set.get(keys::ON_DOWNLOAD_ERROR)),
            bt_complete: path(set.get(keys::ON_BT_DOWNLOAD_COMPLETE)),
        }
    }
}

/// The RPC server.
#[derive(Clone, Debug)]
pub struct RpcSettings {
    pub enabled: bool,
    pub port: u16,
    pub listen_all: bool,
    pub disable_ipv6: bool,
    pub secret: Option<Secret>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub secure: bool,
    pub certificate: Option<PathBuf>,
    pub private_key: Option<PathBuf>,
    pub tls_version_min: TlsVersion,
    pub allow_origin_all: bool,
    pub request_len_max: u64,
    /// Whether hook commands may be set over RPC.
    pub allow_hooks: bool,
    /// Names the server may be called by where no secret is set.
    pub allowed_hosts: Vec<String>,
    /// Where all files that clients name have to be.
    pub jail: Option<PathBuf>,
    /// Connections at a time; `None`: as many as half the files that may be open.
    pub connections_max: Option<usize>,
    pub patience: RpcPatience,
}

/// How long the RPC server waits for its clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RpcPatience {
    /// A connection without a request, or a request without its next bytes.
    pub idle: Duration,
    /// A body may take this long, and one second more for each KiB of it.
    pub body: Duration,
    /// An answer of which nothing is taken.
    pub write: Duration,
}

impl Default for RpcPatience {
    fn default() -> Self {
        let all = Duration::from_secs(30);
        Self {
            idle: all,
            body: all,
            write: all,
        }
    }
}

impl From<&OptionSet> for RpcSettings {
    fn from(set: &OptionSet) -> Self {
        Self {
            enabled: set.get(keys::ENABLE_RPC),
            port: u16::try_from(set.get(keys::RPC_LISTEN_PORT)).unwrap_or(6800),
            listen_all: set.get(keys::RPC_LISTEN_ALL),
            disable_ipv6: set.get(keys::DISABLE_IPV6),
            secret: text(set.get(keys::RPC_SECRET)).map(Secret::new),
            user: text(set.get(keys::RPC_USER)),
            password: text(set.get(keys::RPC_PASSWD)).map(Secret::new),
            secure: set.get(keys::RPC_SECURE),
            certificate: path(set.get(keys::RPC_CERTIFICATE)),
            private_key: path(set.get(keys::RPC_PRIVATE_KEY)),
            tls_version_min: set.get(keys::MIN_TLS_VERSION),
            allow_origin_all: set.get(keys::RPC_ALLOW_ORIGIN_ALL),
            request_len_max: bytes(set.get(keys::RPC_MAX_REQUEST_SIZE)),
            allow_hooks: set.get(keys::RPC_ALLOW_HOOKS),
            allowed_hosts: set
                .get(keys::RPC_ALLOWED_HOST)
                .iter()
                .map(|name| name.to_string())
                .collect(),
            jail: path(set.get(keys::RPC_DIR_JAIL)).filter(|jail| !jail.as_os_str().is_empty()),
            connections_max: Some(count(set.get(keys::RPC_MAX_CONNECTIONS)))
                .filter(|count| *count > 0),
            patience: RpcPatience::default(),
        }
    }
}

/// What the terminal and the log show, and how the process runs.
#[derive(Clone, Debug)]
pub struct ConsoleSettings {
    pub quiet: bool,
    /// Everything goes to standard error instead of standard output.
    pub stderr: bool,
    pub level: LogLevel,
    /// `-` is standard output.
    pub log: Option<PathBuf>,
    pub log_level: LogLevel,
    /// The log file is put aside at this many bytes; `None`: never.
    pub log_len_max: Option<u64>,
    pub log_files_max: usize,
    pub color: bool,
    pub human_readable: bool,
    pub truncate_readout: bool,
    pub show_readout: bool,
    /// `None`: no summaries.
    pub summary_interval: Option<Duration>,
    pub results: DownloadResult,
    pub daemon: bool,
    /// `None`: as the system has it.
    pub open_files_max: Option<u64>,
    pub event_poll: EventPoll,
}

impl From<&OptionSet> for ConsoleSettings {
    fn from(set: &OptionSet) -> Self {
        Self {
            quiet: set.get(keys::QUIET),
            stderr: set.get(keys::STDERR),
            level: set.get(keys::CONSOLE_LOG_LEVEL),
            log: path(set.get(keys::LOG)),
            log_level: set.get(keys::LOG_LEVEL),
            log_len_max: Some(bytes(set.get(keys::LOG_MAX_SIZE))).filter(|len| *len > 0),
            log_files_max: count(set.get(keys::LOG_MAX_FILES)),
            color: set.get(keys::ENABLE_COLOR),
            human_readable: set.get(keys::HUMAN_READABLE),
            truncate_readout: set.get(keys::TRUNCATE_CONSOLE_READOUT),
            show_readout: set.get(keys::SHOW_CONSOLE_READOUT),
            summary_interval: interval(set.get(keys::SUMMARY_INTERVAL)),
            results: set.get(keys::DOWNLOAD_RESULT),
            daemon: set.get(keys::DAEMON),
            open_files_max: set
                .get(keys::RLIMIT_NOFILE)
                .filter(|_| set.is_set(keys::RLIMIT_NOFILE.id))
                .map(bytes),
            event_poll: set.get(keys::EVENT_POLL),
        }
    }
}

type TextKey = super::spec::Key<super::value::Text>;

fn key_id(key: TextKey) -> super::spec::OptionId {
    key.id
}

/// A proxy with the credentials of the options beside it; those inside its URI give way.
fn proxy(set: &OptionSet, key: TextKey, user: TextKey, password: TextKey) -> Option<Secret> {
    let uri = set.get(key)?;
    let Some(user) = set.get(user) else {
        return Some(Secret::new(uri.as_ref()));
    };
    let (scheme, rest) = uri.split_once("://")?;
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let escape = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let credentials = match set.get(password) {
        Some(password) => format!("{}:{}", escape(&user), escape(&password)),
        None => escape(&user),
    };
    Some(Secret::new(format!("{scheme}://{credentials}@{host}")))
}

fn text(text: Option<Arc<str>>) -> Option<String> {
    text.map(|text| text.to_string())
}

fn path(text: Option<Arc<str>>) -> Option<PathBuf> {
    text.map(|text| PathBuf::from(text.as_ref()))
}

fn seconds(number: i64) -> Duration {
    Duration::from_secs(bytes(number))
}

/// Where 0 means never.
fn interval(number: i64) -> Option<Duration> {
    Some(seconds(number)).filter(|time| !time.is_zero())
}

/// Where 0 means no limit.
fn limit(number: i64) -> Option<u32> {
    (number > 0).then(|| u32::try_from(number).unwrap_or(u32::MAX))
}

fn rate(number: i64) -> Rate {
    Rate(bytes(number))
}

fn bytes(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn count(number: i64) -> usize {
    usize::try_from(number).unwrap_or(0)
}
