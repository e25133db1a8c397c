//! The option table against what aria2c was observed to do (`aria2-options.json`).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use arioso::cli::help;
use arioso::option::argv;
use arioso::option::load::{Surroundings, load};
use arioso::option::spec::{ADD, GLOBAL, HOME, LIST, LIVE, OURS, QUEUED};
use arioso::option::{Kind, OptionSet, OptionSpec, all, find};
use serde_json::Value;

/// Lower and upper bounds that are wider than aria2's on purpose.
const WIDER: &[(&str, i64, i64)] = &[
    // More than 16 connections help where a server limits the speed of each.
    ("max-connection-per-server", 1, 128),
    // Small files are worth splitting too.
    ("min-split-size", 1 << 10, 1 << 30),
    ("piece-length", 1 << 10, 1 << 30),
];

/// Defaults that differ on purpose: where we name ourselves.
const OTHER_DEFAULTS: &[(&str, &str)] = &[
    ("user-agent", concat!("arioso/", env!("CARGO_PKG_VERSION"))),
    ("peer-agent", concat!("arioso/", env!("CARGO_PKG_VERSION"))),
    ("peer-id-prefix", "-Ai0100-"),
];

/// Defaults that depend on the machine; `load` sets them.
const MACHINE_DEFAULTS: &[&str] = &[
    "ca-certificate",
    "conf-path",
    "dht-file-path",
    "dht-file-path6",
    "dir",
    "netrc-path",
    "rlimit-nofile",
];

fn facts() -> Vec<Value> {
    serde_json::from_str(include_str!("aria2-options.json")).unwrap()
}

fn name(fact: &Value) -> &str {
    fact["name"].as_str().unwrap()
}

/// aria2's rows with ours.
fn rows() -> Vec<(Value, &'static OptionSpec)> {
    facts()
        .into_iter()
        .map(|fact| {
            let id = find(name(&fact)).unwrap_or_else(|| panic!("--{} is missing", name(&fact)));
            (fact, id.spec())
        })
        .collect()
}

fn take(name: &str, text: &str) -> Result<String, String> {
    let id = find(name).unwrap();
    let mut set = OptionSet::new();
    set.set_text(id, text).map_err(|error| error.to_string())?;
    Ok(set.text(id).unwrap_or_default())
}

#[test]
fn every_option_of_aria2_is_there_and_the_others_are_marked() {
    let aria2: Vec<_> = rows().iter().map(|(_, spec)| spec.name).collect();
    assert_eq!(aria2.len(), 198);
    for id in all() {
        assert_ne!(
            aria2.contains(&id.name()),
            id.spec().scope.has(OURS),
            "{id:?}"
        );
    }
}

#[test]
fn scopes_are_equal() {
    for (fact, spec) in rows() {
        let live = fact["change_active"] == "yes";
        for (flag, key, expected) in [
            (ADD, "per_download", fact["per_download"] == true),
            (QUEUED, "change_waiting", fact["change_waiting"] == true),
            (LIVE, "change_active", live),
            (GLOBAL, "change_global", fact["change_global"] == true),
            (LIST, "cumulative", fact["cumulative"] == true),
            (HOME, "expands_HOME", fact["expands_HOME"] == true),
        ] {
            assert_eq!(spec.scope.has(flag), expected, "{} {key}", spec.name);
        }
    }
}

#[test]
fn what_rpc_shows_by_default_is_equal() {
    let set = OptionSet::new();
    let own: Vec<_> = set.shown_for_download().map(|(id, _)| id.name()).collect();
    let global: Vec<_> = set.shown_globally().map(|(id, _)| id.name()).collect();
    for (fact, spec) in rows() {
        if MACHINE_DEFAULTS.contains(&spec.name) {
            continue;
        }
        let since_1_37 = spec.name == "no-want-digest-header";
        assert_eq!(
            (global.contains(&spec.name), own.contains(&spec.name)),
            (
                fact["in_getGlobalOption_by_default"] == true || since_1_37,
                fact["in_getOption_by_default"] == true || since_1_37,
            ),
            "{}",
            spec.name
        );
    }
}

#[test]
fn defaults_are_equal() {
    for (fact, spec) in rows() {
        let shown = OptionSet::new().text(find(spec.name).unwrap());
        if let Some((_, ours)) = OTHER_DEFAULTS.iter().find(|(name, _)| *name == spec.name) {
            assert_eq!(shown.as_deref(), Some(*ours));
        } else if MACHINE_DEFAULTS.contains(&spec.name) {
            assert_eq!(shown, None, "{}", spec.name);
        } else if spec.name == "event-poll" {
            assert_eq!(shown.as_deref(), Some("epoll"));
        } else {
            let given = fact["default_as_shown_by_rpc"]
                .as_str()
                .or(fact["default"].as_str());
            let expected = given.map(|text| take(spec.name, text).unwrap());
            assert_eq!(shown, expected, "{}", spec.name);
        }
    }
}

#[test]
fn choices_are_equal() {
    for (fact, spec) in rows() {
        let Some(words) = fact["choices"].as_array() else {
            assert!(!matches!(spec.kind, Kind::Choice(_)), "{}", spec.name);
            continue;
        };
        for word in words.iter().filter_map(Value::as_str) {
            let word = if word == "A:B" { "1:2.5" } else { word };
            assert!(take(spec.name, word).is_ok(), "{} {word}", spec.name);
        }
        assert!(
            take(spec.name, "nothing-of-that-sort").is_err(),
            "{}",
            spec.name
        );
        if let Kind::Choice(ours) = spec.kind {
            let theirs: Vec<_> = words.iter().filter_map(Value::as_str).collect();
            assert_eq!(ours, theirs, "{}", spec.name);
        }
    }
}

/// A bound of the facts: numbers, or texts for those beyond what JSON holds exactly.
fn bound(fact: &Value, key: &str) -> Option<f64> {
    fact[key]
        .as_f64()
        .or_else(|| fact[key].as_str()?.parse().ok())
}

#[test]
fn values_beyond_the_bounds_are_refused_and_the_bounds_are_taken() {
    let mut tried = 0;
    for (fact, spec) in rows() {
        let wider = WIDER.iter().find(|(name, ..)| *name == spec.name);
        let (min, max) = match wider {
            Some((_, min, max)) => (Some(*min as f64), Some(*max as f64)),
            None => (bound(&fact, "min"), bound(&fact, "max")),
        };
        for (edge, step) in [(min, -1.0), (max, 1.0)] {
            let Some(edge) = edge else { continue };
            tried += 1;
            assert!(
                take(spec.name, &edge.to_string()).is_ok(),
                "{} {edge}",
                spec.name
            );
            let beyond = (edge + step).to_string();
            let error = take(spec.name, &beyond).expect_err(&format!("{} {beyond}", spec.name));
            let sentence = match (min, max) {
                _ if beyond.starts_with('-') && matches!(spec.kind, Kind::Size(..)) => {
                    "must be a size".to_owned()
                }
                (Some(min), Some(max)) => format!("{} must be between {min} and {max}.", spec.name),
                _ => format!("{} must be greater than or equal to ", spec.name),
            };
            assert!(error.contains(&sentence), "{error}");
            assert!(
                error.contains(&format!("'--{}'", spec.name)) && error.contains(&beyond),
                "{error}"
            );
        }
    }
    assert!(tried > 60, "{tried}");
}

#[test]
fn short_forms_are_aria2s() {
    let ours: BTreeMap<_, _> = all()
        .iter()
        .filter_map(|id| Some((id.spec().short?, id.name())))
        .collect();
    let theirs: BTreeMap<_, _> = [
        ('v', "version"),
        ('h', "help"),
        ('t', "timeout"),
        ('m', "max-tries"),
        ('l', "log"),
        ('d', "dir"),
        ('o', "out"),
        ('s', "split"),
        ('D', "daemon"),
        ('V', "check-integrity"),
        ('c', "continue"),
        ('n', "no-netrc"),
        ('i', "input-file"),
        ('j', "max-concurrent-downloads"),
        ('Z', "force-sequential"),
        ('P', "parameterized-uri"),
        ('q', "quiet"),
        ('R', "remote-time"),
        ('x', "max-connection-per-server"),
        ('k', "min-split-size"),
        ('p', "ftp-pasv"),
        ('U', "user-agent"),
        ('S', "show-files"),
        ('u', "max-upload-limit"),
        ('T', "torrent-file"),
        ('O', "index-out"),
        ('M', "metalink-file"),
    ]
    .into();
    assert_eq!(ours, theirs);
}

/// Names of other builds that stand in people's configuration files (clients.md).
#[test]
fn names_of_other_builds_are_taken() {
    for (name, text) in [
        ("retry-on-400", "true"),
        ("retry-on-403", "true"),
        ("retry-on-406", "true"),
        ("retry-on-unknown", "true"),
        ("http-want-digest", "false"),
        ("enable-sqlite3-persistence", "true"),
        ("sqlite3-db-path", "/x"),
        ("sqlite3-history-limit", "100"),
        ("bt-peer-blocklist", "/x"),
        ("detach-share-only", "true"),
        ("log-max-size", "10M"),
        ("log-max-files", "3"),
    ] {
        take(name, text).unwrap();
    }
}

/// Settings as they stand in the configuration files of common container images and front ends.
const PRESET: &str = "\
## a comment\n\
dir=${HOME}/Download\n\
disk-cache=64M\nfile-allocation=none\nno-file-allocation-limit=64M\ncontinue=true\nalways-resume=false\n\
max-resume-failure-tries=0\nremote-time=true\ninput-file=/c/aria2.session\nsave-session=/c/aria2.session\n\
save-session-interval=1\nauto-save-interval=20\nforce-save=false\nmax-file-not-found=10\nmax-tries=0\nretry-wait=10\n\
connect-timeout=10\ntimeout=10\nmax-concurrent-downloads=5\nmax-connection-per-server=64\nsplit=64\n\
min-split-size=4M\npiece-length=1M\nallow-piece-length-change=true\nlowest-speed-limit=0\n\
max-overall-download-limit=0\nmax-download-limit=0\ndisable-ipv6=true\nhttp-accept-gzip=true\nreuse-uri=false\n\
no-netrc=true\nallow-overwrite=false\nauto-file-renaming=true\ncontent-disposition-default-utf8=true\n\
netrc-path=/c/.netrc\nload-cookies=/c/cookies\nlisten-port=51413\ndht-listen-port=51413,51415-51420\n\
enable-dht=true\nenable-dht6=false\ndht-file-path=/c/dht.dat\ndht-file-path6=/c/dht6.dat\n\
dht-entry-point=dht.transmissionbt.com:6881\ndht-entry-point6=dht.transmissionbt.com:6881\n\
bt-enable-lpd=true\nenable-peer-exchange=true\nbt-max-peers=128\nbt-request-peer-speed-limit=10M\n\
max-overall-upload-limit=2M\nmax-upload-limit=0\nseed-ratio=1.0\nseed-time=0\nbt-hash-check-seed=true\n\
bt-seed-unverified=false\nbt-tracker-connect-timeout=10\nbt-tracker-timeout=10\nbt-prioritize-piece=head=32M,tail=32M\n\
rpc-save-upload-metadata=true\nfollow-torrent=true\npause-metadata=false\nbt-save-metadata=true\n\
bt-load-saved-metadata=true\nbt-remove-unselected-file=true\nbt-force-encryption=true\nbt-detach-seed-only=true\n\
user-agent=Mozilla/5.0 (X11; Linux x86_64)\npeer-agent=Deluge 1.3.15\npeer-id-prefix=-DE13F0-\n\
on-download-stop=/c/delete.sh\non-download-complete=/c/clean.sh\nenable-rpc=true\nrpc-allow-origin-all=true\n\
rpc-listen-all=true\nrpc-listen-port=6800\nrpc-secret=P3TERX\nrpc-max-request-size=10M\nrpc-secure=false\n\
async-dns=true\nasync-dns-server=119.29.29.29,8.8.8.8\nevent-poll=select\nbt-exclude-tracker=\nbt-tracker=udp://a:1/announce,http://b/announce\n\
console-log-level=notice\nquiet=false\nsummary-interval=0\nshow-console-readout=false\nlog-level=warn\nlog=\n\
retry-on-400=true\nretry-on-403=true\nretry-on-406=true\nretry-on-unknown=true\nhttp-want-digest=true\n\
optimize-concurrent-downloads=true\ncheck-certificate=false\nuri-selector=inorder\nstream-piece-selector=geom\n\
some-option-of-tomorrow=1\n";

struct Container;

impl Surroundings for Container {
    fn env(&self, name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }
    fn current_dir(&self) -> Option<PathBuf> {
        Some("/".into())
    }
    fn open_files_limit(&self) -> Option<u64> {
        None
    }
    fn exists(&self, _: &Path) -> bool {
        false
    }
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Ok(PRESET.as_bytes().to_vec())
    }
}

#[test]
fn presets_load() {
    let argv = argv::parse(["--conf-path=/c/aria2.conf".to_owned()]).unwrap();
    let loaded = load(argv, "aria2c", &Container).unwrap();
    let last = PRESET.lines().count();
    assert_eq!(
        loaded.warnings,
        [format!(
            "Unknown option: some-option-of-tomorrow=1 (/c/aria2.conf, line {last})"
        )]
    );
    let text = |name| loaded.global.text(find(name).unwrap()).unwrap();
    assert_eq!(text("dir"), "/root/Download");
    assert_eq!(text("max-connection-per-server"), "64");
    assert_eq!(text("bt-exclude-tracker"), "");
}

/// Command lines that front ends start the program with.
const FLAG_LINES: &[(&str, &str)] = &[
    (
        "Motrix 1",
        "--conf-path=/c/aria2.conf --save-session=/c/s --input-file=/c/s --allow-overwrite=false \
         --auto-file-renaming=true --bt-exclude-tracker= --bt-force-encryption=false \
         --bt-load-saved-metadata=true --bt-save-metadata=true --bt-tracker=udp://a:1/announce \
         --continue=true --dht-file-path=/c/dht.dat --dht-file-path6=/c/dht6.dat \
         --dht-listen-port=26701 --dir=/d --enable-dht6=true --follow-metalink=true \
         --follow-torrent=true --listen-port=21301 --max-concurrent-downloads=5 \
         --max-connection-per-server=64 --max-download-limit=0 --max-overall-download-limit=0 \
         --max-overall-upload-limit=262144 --no-proxy= --pause-metadata=false --pause=true \
         --rpc-listen-port=16800 --rpc-secret=x --seed-ratio=2 --seed-time=2880 --split=64 \
         --user-agent=Transmission/2.94 --all-proxy=",
    ),
    (
        "Motrix 2",
        "--enable-rpc=true --rpc-listen-all=false --rpc-allow-origin-all=true --split=16 \
         --max-connection-per-server=17 --min-split-size=1M --min-split-size=2M \
         --bt-detach-seed-only=true --rpc-secret=x --stop-with-process=1 --quiet=true",
    ),
    (
        "Persepolis",
        "--no-conf --enable-rpc --rpc-listen-port=6801 --rpc-max-request-size=2M \
         --rpc-listen-all --quiet=true",
    ),
    (
        "Kiwix",
        "--enable-rpc --rpc-secret=x --rpc-listen-port=6802 --dir=/d --log=/d/log \
         --allow-overwrite=true --disable-ipv6=true --quiet=true --always-resume=true \
         --max-concurrent-downloads=42 --min-split-size=1M --rpc-max-request-size=6M \
         --file-allocation=none --save-session=/d/s --save-session-interval=10 \
         --stop-with-process=1 --dht-entry-point6=h:6881",
    ),
    ("uGet", "--enable-rpc=true -D --check-certificate=false"),
    (
        "yt-dlp",
        "-c --no-conf --console-log-level=warn --summary-interval=0 --download-result=hide \
         --http-accept-gzip=true --file-allocation=none -x16 -j16 -s16 --min-split-size 1M \
         --load-cookies=/c --header A:b --max-overall-download-limit 1000 --interface lo \
         --all-proxy http://p:1 --check-certificate=true --remote-time=true \
         --show-console-readout=true --remove-control-file --allow-overwrite=true \
         --always-resume=false --auto-file-renaming=false --force-save=false --dir ./d/ \
         --out ./f --auto-save-interval=10 -- http://h/x",
    ),
    (
        "winetricks",
        "--input-file= --save-session= --daemon=false --enable-rpc=false \
         --stream-piece-selector=geom http://h/x",
    ),
    (
        "Scoop",
        "--input-file=/i --user-agent=x --allow-overwrite=true --auto-file-renaming=false \
         --retry-wait=2 --split=5 --max-connection-per-server=5 --min-split-size=5M \
         --console-log-level=warn --enable-color=false --no-conf=true --follow-metalink=true \
         --metalink-preferred-protocol=https --min-tls-version=TLSv1.2 --stop-with-process=1 \
         --continue",
    ),
    (
        "mirror-leech bot",
        "--allow-overwrite=true --auto-file-renaming=true --bt-enable-lpd=true \
         --bt-detach-seed-only=true --bt-max-peers=0 --bt-remove-unselected-file=true \
         --bt-tracker=[a,b,] --check-certificate=false --check-integrity=true --content-disposition-default-utf8=true \
         --disk-cache=40M --enable-rpc=true --follow-torrent=mem --force-save=true \
         --http-accept-gzip=true --max-concurrent-downloads=1000 --max-file-not-found=0 \
         --max-tries=20 --optimize-concurrent-downloads=true --peer-agent=qBittorrent/4.5.2 \
         --peer-id-prefix=-qB4520- --quiet=true --reuse-uri=true --rpc-max-request-size=1024M \
         --seed-ratio=0 --max-connection-per-server=10 --min-split-size=10M --split=10 \
         --summary-interval=0 --user-agent=Wget/1.12",
    ),
];

#[test]
fn flag_lines_of_front_ends_load() {
    for (name, line) in FLAG_LINES {
        let argv = argv::parse(line.split_whitespace().map(str::to_owned));
        let argv = argv.unwrap_or_else(|error| panic!("{name}: {error}"));
        let loaded = load(argv, "aria2c", &Container);
        let loaded = loaded.unwrap_or_else(|failure| panic!("{name}: {failure}"));
        let text = |option| loaded.global.text(find(option).unwrap());
        match *name {
            "Motrix 2" => assert_eq!(text("min-split-size").unwrap(), "2097152"),
            "winetricks" => assert_eq!(loaded.uris, ["http://h/x"]),
            "yt-dlp" => assert_eq!(text("out").unwrap(), "./f"),
            _ => {}
        }
    }
}

/// What README says of the options is made from the table and cannot drift from it.
#[test]
fn readme_has_the_option_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let (_, rest) = readme.split_once("<!-- options -->\n").unwrap();
    let (table, _) = rest.split_once("<!-- end of options -->\n").unwrap();
    assert!(
        table == help::text("#markdown"),
        "README.md is not up to date: run scripts/reference"
    );
}

#[test]
fn man_page_and_completions_name_every_option() {
    for topic in ["#man", "#bash", "#zsh", "#fish"] {
        let text = help::text(topic).replace("\\-", "-");
        for id in all() {
            assert!(text.contains(id.name()), "{topic}: {}", id.name());
        }
    }
}
