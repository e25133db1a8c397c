//! Pure: the global options of the process. Precedence: table default, configuration file,
//! environment, command line.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::argv::Argv;
use super::conf;
use super::keys;
use super::set::{Ambient, OptionSet};
use super::spec::{Key, OptionId, find};
use super::value::{OptionError, Text};
use crate::base::error::{ErrorCode, Failure};

/// What loading asks the machine.
pub trait Surroundings {
    /// An environment variable; `None` where it is unset or not UTF-8.
    fn env(&self, name: &str) -> Option<String>;
    fn current_dir(&self) -> Option<PathBuf>;
    /// The soft limit of open files.
    fn open_files_limit(&self) -> Option<u64>;
    fn exists(&self, path: &Path) -> bool;
    /// The whole file.
    ///
    /// # Errors
    /// As the system says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// The options of the process, and what was left over.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub global: OptionSet,
    pub uris: Vec<String>,
    /// Sentences for the log, as soon as there is one.
    pub warnings: Vec<String>,
}

impl From<OptionError> for Failure {
    fn from(error: OptionError) -> Self {
        Failure::fatal(ErrorCode::Option, error.to_string())
    }
}

/// Puts the layers together. `program` is the name the process was called by: as `aria2c` it only
/// keeps state where that is asked for.
///
/// # Errors
/// A bad option (code 28), or a configuration file that was named but cannot be read (code 1).
pub fn load(argv: Argv, program: &str, machine: &dyn Surroundings) -> Result<Loaded, Failure> {
    let home = machine.env("HOME").filter(|home| !home.is_empty());
    let mut ambient = ambient(home, machine)?;
    let mut warnings = Vec::new();
    let mut global = OptionSet::on(Arc::new(ambient.clone()));

    if let Some(path) = conf_path(&argv, &global, machine)? {
        read_conf(&path, &mut global, machine, &mut warnings)?;
    }
    read_env(&mut global, machine)?;
    for (id, text) in &argv.sets {
        global.set_text(*id, text).map_err(|error| match *id {
            // aria2 does not look at it before it makes the download.
            id if id == keys::GID.id => {
                Failure::fatal(ErrorCode::Unknown, format!("{text} is invalid for GID."))
            }
            _ => error.into(),
        })?;
    }
    check_files(&global, machine)?;
    if global.get(keys::FORCE_SEQUENTIAL) || global.get(keys::INPUT_FILE).is_some() {
        // One name for several downloads: aria2 drops it, the input file has its own.
        global.unset(keys::OUT.id);
    }

    if let Some(dir) = default_state_dir(&global, program, machine) {
        ambient.set_text(keys::STATE_DIR.id, &dir)?;
        global = global.on_machine(Arc::new(ambient));
    }
    Ok(Loaded {
        global,
        uris: argv.uris,
        warnings,
    })
}

/// Defaults that only this machine and this user can tell.
fn ambient(home: Option<String>, machine: &dyn Surroundings) -> Result<Ambient, OptionError> {
    let mut ambient = Ambient::new(home.clone());
    let mut default = |id: OptionId, path: Option<PathBuf>| match path {
        Some(path) => match path.to_str() {
            Some(text) => ambient.set_text(id, text),
            None => Ok(()),
        },
        None => Ok(()),
    };
    default(keys::DIR.id, machine.current_dir())?;
    let home_dir = home.as_ref().map(PathBuf::from);
    default(
        keys::NETRC_PATH.id,
        home_dir.as_ref().map(|home| home.join(".netrc")),
    )?;
    for (key, name, base) in [
        (
            keys::CONF_PATH,
            "aria2.conf",
            ("XDG_CONFIG_HOME", ".config"),
        ),
        (keys::DHT_FILE_PATH, "dht.dat", ("XDG_CACHE_HOME", ".cache")),
        (
            keys::DHT_FILE_PATH6,
            "dht6.dat",
            ("XDG_CACHE_HOME", ".cache"),
        ),
    ] {
        let old = home_dir.as_ref().map(|home| home.join(".aria2").join(name));
        let path = match old.filter(|path| machine.exists(path)) {
            Some(path) => Some(path),
            None => xdg_dir(base, machine).map(|dir| dir.join("aria2").join(name)),
        };
        default(key.id, path)?;
    }
    if let Some(limit) = machine.open_files_limit() {
        ambient
            .set_text(keys::RLIMIT_NOFILE.id, &limit.to_string())
            .ok();
    }
    Ok(ambient)
}

/// A base directory of the user (XDG Base Directory Specification): variable, or below home.
fn xdg_dir((variable, below_home): (&str, &str), machine: &dyn Surroundings) -> Option<PathBuf> {
    let set = machine
        .env(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    set.or_else(|| {
        let home = machine.env("HOME").filter(|home| !home.is_empty())?;
        Some(Path::new(&home).join(below_home))
    })
}

/// The configuration file to read, if there is one.
fn conf_path(
    argv: &Argv,
    global: &OptionSet,
    machine: &dyn Surroundings,
) -> Result<Option<PathBuf>, Failure> {
    // Only the command line can say where the file is, so these two are looked at beforehand.
    let mut early = OptionSet::over(Arc::new(global.clone()));
    for key in [keys::NO_CONF.id, keys::CONF_PATH.id] {
        if let Some(text) = argv.last(key) {
            early.set_text(key, text)?;
        }
    }
    if early.get(keys::NO_CONF) {
        return Ok(None);
    }
    let Some(path) = early
        .get(keys::CONF_PATH)
        .map(|path| PathBuf::from(path.as_ref()))
    else {
        return Ok(None);
    };
    let named = early.is_set(keys::CONF_PATH.id);
    if named || machine.exists(&path) {
        Ok(Some(path))
    } else {
        Ok(None)
    }
}

fn read_conf(
    path: &Path,
    global: &mut OptionSet,
    machine: &dyn Surroundings,
    warnings: &mut Vec<String>,
) -> Result<(), Failure> {
    let shown = path.display();
    let bytes = machine.read(path).map_err(|error| {
        let text = format!("The configuration file {shown} cannot be read: {error}");
        Failure::fatal(ErrorCode::Unknown, text)
    })?;
    for line in conf::lines(&String::from_utf8_lossy(&bytes)) {
        match find(line.name) {
            // The command line decided this already.
            Some(id) if id == keys::CONF_PATH.id || id == keys::NO_CONF.id => {}
            Some(id) => global.set_text(id, line.value).map_err(|error| {
                let text = format!("{shown}, line {}: {error}", line.number);
                Failure::fatal(ErrorCode::Option, text)
            })?,
            None => warnings.push(format!(
                "Unknown option: {}={} ({shown}, line {})",
                line.name, line.value, line.number
            )),
        }
    }
    Ok(())
}

/// Files that must be there when they are named. aria2 does not ask this of others.
fn check_files(global: &OptionSet, machine: &dyn Surroundings) -> Result<(), OptionError> {
    for key in [
        keys::TORRENT_FILE,
        keys::METALINK_FILE,
        keys::CERTIFICATE,
        keys::RPC_CERTIFICATE,
    ] {
        // A metalink may come from standard input.
        if let Some(path) = global.get(key)
            && &*path != "-"
            && !machine.exists(Path::new(&*path))
        {
            return Err(OptionError {
                name: key.id.name().to_owned(),
                message: format!("There is no file {path}."),
                value: String::new(),
            });
        }
    }
    Ok(())
}

/// The usual variables for proxies (manual, section ENVIRONMENT).
const PROXY_VARIABLES: &[(&str, Key<Text>)] = &[
    ("http_proxy", keys::HTTP_PROXY),
    ("https_proxy", keys::HTTPS_PROXY),
    ("ftp_proxy", keys::FTP_PROXY),
    ("all_proxy", keys::ALL_PROXY),
];

fn read_env(global: &mut OptionSet, machine: &dyn Surroundings) -> Result<(), Failure> {
    let ids = PROXY_VARIABLES.iter().map(|(name, key)| (*name, key.id));
    for (name, id) in ids.chain([("no_proxy", keys::NO_PROXY.id)]) {
        let Some(text) = machine.env(name).filter(|text| !text.is_empty()) else {
            continue;
        };
        global.set_text(id, &text).map_err(|error| {
            let text = format!("Environment variable {name}: {error}");
            Failure::fatal(ErrorCode::Option, text)
        })?;
    }
    Ok(())
}

/// A server keeps its state, one directory a port. Called as `aria2c` it only does so when a
/// session file is asked for, so that a script's short-lived server never finds old downloads.
fn default_state_dir(
    global: &OptionSet,
    program: &str,
    machine: &dyn Surroundings,
) -> Option<String> {
    let asked = program != "aria2c" || global.get(keys::SAVE_SESSION).is_some();
    if !global.get(keys::ENABLE_RPC) || !asked || global.is_set(keys::STATE_DIR.id) {
        return None;
    }
    let base = xdg_dir(("XDG_STATE_HOME", ".local/state"), machine)?;
    let port = global.get(keys::RPC_LISTEN_PORT).to_string();
    base.join("arioso").join(port).to_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::argv;
    use super::*;

    #[derive(Default)]
    struct Fake {
        env: HashMap<&'static str, &'static str>,
        files: HashMap<&'static str, &'static str>,
    }

    impl Surroundings for Fake {
        fn env(&self, name: &str) -> Option<String> {
            self.env.get(name).map(|text| (*text).to_owned())
        }
        fn current_dir(&self) -> Option<PathBuf> {
            Some("/start".into())
        }
        fn open_files_limit(&self) -> Option<u64> {
            Some(1024)
        }
        fn exists(&self, path: &Path) -> bool {
            self.read(path).is_ok()
        }
        fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
            let text = path.to_str().and_then(|path| self.files.get(path));
            text.map(|text| text.as_bytes().to_vec())
                .ok_or_else(|| io::ErrorKind::NotFound.into())
        }
    }

    fn fake(env: &[(&'static str, &'static str)], files: &[(&'static str, &'static str)]) -> Fake {
        Fake {
            env: env.iter().copied().chain([("HOME", "/h")]).collect(),
            files: files.iter().copied().collect(),
        }
    }

    fn run(line: &str, machine: &Fake) -> Result<Loaded, Failure> {
        let argv = argv::parse(line.split_whitespace().map(str::to_owned)).unwrap();
        load(argv, "arioso", machine)
    }

    #[test]
    fn each_layer_goes_over_the_one_below() {
        let conf =
            "split=2\nmax-tries=2\nhttp-proxy=c:1\nall-proxy=c:1\nheader=A: 1\ndir=${HOME}/d\n";
        let machine = fake(
            &[
                ("http_proxy", "e:2"),
                ("all_proxy", "e:2"),
                ("no_proxy", "x"),
            ],
            &[("/h/.aria2/aria2.conf", conf)],
        );
        let global = run("--split=3 --all-proxy=a:3 --header=B:2", &machine)
            .unwrap()
            .global;
        let text = |key: OptionId| global.text(key).unwrap_or_default();
        assert_eq!(text(keys::TIMEOUT.id), "60");
        assert_eq!(text(keys::MAX_TRIES.id), "2");
        assert_eq!(text(keys::SPLIT.id), "3");
        assert_eq!(text(keys::HTTP_PROXY.id), "http://e:2/");
        assert_eq!(text(keys::ALL_PROXY.id), "http://a:3/");
        assert_eq!(text(keys::NO_PROXY.id), "x");
        assert_eq!(text(keys::HEADER.id), "A: 1\nB:2\n");
        assert_eq!(text(keys::DIR.id), "/h/d");
        assert_eq!(text(keys::CONF_PATH.id), "/h/.aria2/aria2.conf");
        assert_eq!(text(keys::NETRC_PATH.id), "/h/.netrc");
        assert_eq!(text(keys::DHT_FILE_PATH.id), "/h/.cache/aria2/dht.dat");
    }

    #[test]
    fn conf_is_found_named_or_left_out() {
        let xdg = ("/x/aria2/aria2.conf", "split=4\n");
        let machine = fake(
            &[("XDG_CONFIG_HOME", "/x")],
            &[xdg, ("/c", "split=6\nfoo=1\n")],
        );
        let split = |line| run(line, &machine).map(|loaded| loaded.global.get(keys::SPLIT));
        assert_eq!(split("").unwrap(), 4);
        assert_eq!(split("--no-conf").unwrap(), 5);
        assert_eq!(split("--conf-path=/c").unwrap(), 6);
        assert_eq!(
            split("--conf-path=/none").unwrap_err().code,
            ErrorCode::Unknown
        );
        assert_eq!(split("--no-conf --conf-path=/none").unwrap(), 5);
        let warnings = run("--conf-path=/c", &machine).unwrap().warnings;
        assert_eq!(warnings, ["Unknown option: foo=1 (/c, line 2)"]);
        assert_eq!(
            run("", &Fake::default()).unwrap().global.get(keys::SPLIT),
            5
        );
    }

    #[test]
    fn bad_values_are_code_28_wherever_they_stand() {
        for (env, conf, line) in [
            ("e:1", "split=0", ""),
            ("e:x", "", ""),
            ("e:1", "", "--split=0"),
            ("e:1", "", "--rpc-secret="),
        ] {
            let machine = Fake {
                env: [("HOME", "/h"), ("http_proxy", env)].into(),
                files: [("/h/.aria2/aria2.conf", conf)].into(),
            };
            let failure = run(line, &machine).unwrap_err();
            assert_eq!(failure.code, ErrorCode::Option, "{failure}");
        }
    }

    #[test]
    fn state_is_kept_where_it_is_wanted() {
        let machine = fake(&[("XDG_STATE_HOME", "/s")], &[]);
        let dir = |program: &str, line: &str| {
            let argv = argv::parse(line.split_whitespace().map(str::to_owned)).unwrap();
            let loaded = load(argv, program, &machine).unwrap();
            loaded
                .global
                .get(keys::STATE_DIR)
                .map(|dir| dir.to_string())
        };
        assert_eq!(dir("arioso", ""), None);
        assert_eq!(
            dir("arioso", "--enable-rpc").as_deref(),
            Some("/s/arioso/6800")
        );
        assert_eq!(dir("arioso", "--enable-rpc --state-dir="), None);
        assert_eq!(dir("aria2c", "--enable-rpc"), None);
        assert_eq!(
            dir("aria2c", "--enable-rpc --save-session=x").as_deref(),
            Some("/s/arioso/6800")
        );
        assert_eq!(dir("aria2c", "--state-dir=/d").as_deref(), Some("/d"));
    }
}
