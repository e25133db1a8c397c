//! Pure: layers of option values. A look-up goes own layer, base layer, what the machine implies,
//! the table's default.

use std::fmt;
use std::sync::{Arc, LazyLock};

use super::keys;
use super::spec::{ADD, Key, Kind, LIST, OURS, OptionId, OptionSpec, all, by_position, find};
use super::value::{OptionError, Typed, Value, parse};

/// Values by option. Cheap to clone: layers are shared. The own layer is a sorted slice, so that
/// ten thousand waiting downloads with a few options each stay small.
#[derive(Clone, Default)]
pub struct OptionSet {
    own: Arc<[(OptionId, Value)]>,
    base: Base,
}

#[derive(Clone, Default)]
enum Base {
    #[default]
    Table,
    Machine(Arc<Ambient>),
    Layer(Arc<OptionSet>),
}

/// Defaults that depend on machine and user (current directory, home, descriptor limit). They are
/// effective values, but nobody set them.
#[derive(Clone, Debug, Default)]
pub struct Ambient {
    /// What `${HOME}` stands for.
    pub home: Option<String>,
    values: Vec<(OptionId, Value)>,
}

impl Ambient {
    pub fn new(home: Option<String>) -> Self {
        Self {
            home,
            values: Vec::new(),
        }
    }

    /// # Errors
    /// The value does not fit the option.
    pub fn set_text(&mut self, id: OptionId, text: &str) -> Result<(), OptionError> {
        let value = parse(id.spec(), text, self.home.as_deref())?;
        self.values.retain(|(other, _)| *other != id);
        self.values.push((id, value));
        Ok(())
    }

    fn value(&self, id: OptionId) -> Option<&Value> {
        self.values
            .iter()
            .find(|(other, _)| *other == id)
            .map(|(_, value)| value)
    }
}

/// What was set, without secrets.
impl fmt::Debug for OptionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |(id, text): (OptionId, String)| {
            (
                id,
                if id.spec().is_secret() {
                    "***".to_owned()
                } else {
                    text
                },
            )
        };
        f.debug_map().entries(self.explicit().map(show)).finish()
    }
}

static DEFAULTS: LazyLock<Box<[Option<Value>]>> = LazyLock::new(|| {
    by_position()
        .map(|id| {
            let spec = id.spec();
            // A test holds every default against its own row.
            spec.default.and_then(|text| parse(spec, text, None).ok())
        })
        .collect()
});

impl OptionSet {
    /// Nothing set: the table's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty layer on top of `base`.
    pub fn over(base: Arc<OptionSet>) -> Self {
        Self {
            own: Arc::default(),
            base: Base::Layer(base),
        }
    }

    /// An empty layer on top of what the machine implies.
    pub fn on(machine: Arc<Ambient>) -> Self {
        Self {
            own: Arc::default(),
            base: Base::Machine(machine),
        }
    }

    /// The same values on top of what the machine implies.
    pub fn on_machine(&self, machine: Arc<Ambient>) -> Self {
        Self {
            own: Arc::clone(&self.own),
            base: Base::Machine(machine),
        }
    }

    /// The effective value.
    pub fn get<T: Typed>(&self, key: Key<T>) -> T::Out {
        T::read(self.effective_value(key.id))
    }

    /// Takes a value as a user types it; cumulative options get one more line, after those of the
    /// base layer. (To put a saved value back, use [`Self::replace_text`].)
    ///
    /// # Errors
    /// The value does not fit the option; nothing changes.
    pub fn set_text(&mut self, id: OptionId, text: &str) -> Result<(), OptionError> {
        let value = parse(id.spec(), text, self.home())?;
        let value = match (self.set_value(id), value) {
            (Some(Value::Lines(had)), Value::Lines(new)) if id.spec().scope.has(LIST) => {
                Value::Lines(had.iter().chain(new.iter()).cloned().collect())
            }
            (_, value) => value,
        };
        self.put(id, value);
        Ok(())
    }

    /// As [`Self::set_text`], but a cumulative option's own lines are replaced (`changeOption`).
    /// Several lines are separated by newlines.
    ///
    /// # Errors
    /// The value does not fit the option; nothing changes.
    pub fn replace_text(&mut self, id: OptionId, text: &str) -> Result<(), OptionError> {
        let value = parse(id.spec(), text, self.home())?;
        self.put(id, value);
        Ok(())
    }

    /// Takes back what the own layer says.
    pub fn unset(&mut self, id: OptionId) {
        if self.own_value(id).is_some() {
            self.own = self
                .own
                .iter()
                .filter(|(other, _)| *other != id)
                .cloned()
                .collect();
        }
    }

    /// Whether somebody set it, here or in the base layer.
    pub fn is_set(&self, id: OptionId) -> bool {
        self.set_value(id).is_some()
    }

    /// What was set in the own layer, in the order of the tables, as `getOption` prints it.
    pub fn own(&self) -> impl Iterator<Item = (OptionId, String)> + '_ {
        self.own
            .iter()
            .map(|(id, value)| (*id, value.print(id.spec())))
    }

    /// What was set in any layer, in name order; defaults are left out.
    pub fn explicit(&self) -> impl Iterator<Item = (OptionId, String)> + '_ {
        all().iter().filter_map(|id| {
            let value = self.set_value(*id)?;
            Some((*id, value.print(id.spec())))
        })
    }

    /// What a session file says about a download: everything that was set for it in any layer, one
    /// pair a line of a cumulative option, and always `dir`. `gid` and `pause` are left to the
    /// caller, who knows them better.
    pub fn session_pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        for id in all() {
            let spec = id.spec();
            let unwanted = [keys::GID.id, keys::PAUSE.id].contains(id) || !spec.scope.has(ADD);
            let value = if *id == keys::DIR.id {
                self.effective_value(*id)
            } else {
                self.set_value(*id)
            };
            match value {
                Some(_) if unwanted => {}
                Some(Value::Lines(lines)) => {
                    pairs.extend(lines.iter().map(|line| (spec.name, line.to_string())));
                }
                Some(value) => pairs.push((spec.name, value.print(spec))),
                None => {}
            }
        }
        pairs
    }

    /// Takes the options of an input file's entry into the own layer. Names that no download can
    /// have are returned as warnings.
    ///
    /// # Errors
    /// The first value that does not fit.
    pub fn set_entry<'a>(
        &mut self,
        options: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Vec<String>, OptionError> {
        let mut warnings = Vec::new();
        for (name, value) in options {
            match find(name).filter(|id| id.spec().scope.has(ADD)) {
                Some(id) => self.set_text(id, value)?,
                None if name.is_empty() && value.is_empty() => {}
                None => warnings.push(format!("Unknown option: {name}={value}")),
            }
        }
        Ok(warnings)
    }

    /// Everything that is set or has a default, in name order.
    pub fn effective(&self) -> impl Iterator<Item = (OptionId, String)> + '_ {
        all().iter().filter_map(|id| Some((*id, self.text(*id)?)))
    }

    /// The answer of `aria2.getOption`.
    pub fn shown_for_download(&self) -> impl Iterator<Item = (OptionId, String)> + '_ {
        self.shown(OptionSpec::shown_for_download)
    }

    /// The answer of `aria2.getGlobalOption`.
    pub fn shown_globally(&self) -> impl Iterator<Item = (OptionId, String)> + '_ {
        self.shown(OptionSpec::shown_globally)
    }

    fn shown(
        &self,
        wanted: fn(&OptionSpec) -> bool,
    ) -> impl Iterator<Item = (OptionId, String)> + '_ {
        all()
            .iter()
            .filter(move |id| {
                wanted(id.spec()) && (!id.spec().scope.has(OURS) || self.is_set(**id))
            })
            .filter_map(|id| Some((*id, self.text(*id)?)))
    }

    /// One effective value, as `getOption` prints it.
    pub fn text(&self, id: OptionId) -> Option<String> {
        let text = self.effective_value(id)?.print(id.spec());
        // aria2 takes a list of nothing as not given.
        let nothing = matches!(id.spec().kind, Kind::Ranges(..)) && text.is_empty();
        (!nothing).then_some(text)
    }

    fn put(&mut self, id: OptionId, value: Value) {
        let mut own: Vec<_> = self.own.to_vec();
        match own.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(at) => own[at].1 = value,
            Err(at) => own.insert(at, (id, value)),
        }
        self.own = own.into();
    }

    fn own_value(&self, id: OptionId) -> Option<&Value> {
        let at = self.own.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(&self.own[at].1)
    }

    fn set_value(&self, id: OptionId) -> Option<&Value> {
        self.own_value(id).or_else(|| match &self.base {
            Base::Layer(base) => base.set_value(id),
            Base::Machine(_) | Base::Table => None,
        })
    }

    fn effective_value(&self, id: OptionId) -> Option<&Value> {
        self.set_value(id)
            .or_else(|| self.machine()?.value(id))
            .or_else(|| DEFAULTS[id.position()].as_ref())
    }

    fn machine(&self) -> Option<&Ambient> {
        match &self.base {
            Base::Layer(base) => base.machine(),
            Base::Machine(machine) => Some(machine),
            Base::Table => None,
        }
    }

    fn home(&self) -> Option<&str> {
        self.machine()?.home.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_fits_its_own_row() {
        for id in all() {
            if let Some(text) = id.spec().default {
                parse(id.spec(), text, None).unwrap();
                assert!(OptionSet::new().text(*id).is_some(), "{id:?}");
            }
        }
    }

    #[test]
    fn layers_answer_from_the_top() {
        let mut machine = Ambient::new(Some("/home/u".into()));
        machine.set_text(keys::DIR.id, "/start").unwrap();
        let mut global = OptionSet::on(Arc::new(machine));
        assert_eq!(global.get(keys::DIR).as_deref(), Some("/start"));
        assert!(!global.is_set(keys::DIR.id));
        global.set_text(keys::SPLIT.id, "9").unwrap();
        global.set_text(keys::HEADER.id, "A: 1").unwrap();
        global.set_text(keys::HEADER.id, "B: 2").unwrap();
        let mut own = OptionSet::over(Arc::new(global));
        assert_eq!((own.get(keys::SPLIT), own.get(keys::TIMEOUT)), (9, 60));
        own.set_text(keys::DIR.id, "${HOME}/x").unwrap();
        own.set_text(keys::HEADER.id, "C: 3").unwrap();
        assert_eq!(
            own.text(keys::HEADER.id).as_deref(),
            Some("A: 1\nB: 2\nC: 3\n")
        );
        own.replace_text(keys::HEADER.id, "D: 4\nE: 5").unwrap();
        assert_eq!(own.get(keys::HEADER).len(), 2);
        assert_eq!(own.get(keys::DIR).as_deref(), Some("/home/u/x"));
        let explicit: Vec<_> = own.explicit().map(|(id, _)| id.name()).collect();
        assert_eq!(explicit, ["dir", "header", "split"]);
        own.unset(keys::DIR.id);
        assert_eq!(own.get(keys::DIR).as_deref(), Some("/start"));
    }

    #[test]
    fn session_text_is_an_entry_again() {
        let mut global = OptionSet::new();
        global.set_text(keys::SPLIT.id, "9").unwrap();
        global.set_text(keys::ENABLE_RPC.id, "true").unwrap();
        let mut own = OptionSet::over(Arc::new(global));
        let entry = [
            ("header", "A: 1"),
            ("header", "B: 2"),
            ("foo", "1"),
            ("dir", "/d"),
            ("gid", "00000000000000ab"),
        ];
        assert_eq!(own.set_entry(entry).unwrap(), ["Unknown option: foo=1"]);
        let pairs = own.session_pairs();
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(name, text)| (*name, text.as_str()))
            .collect();
        assert_eq!(
            pairs,
            [
                ("dir", "/d"),
                ("header", "A: 1"),
                ("header", "B: 2"),
                ("split", "9")
            ]
        );
        assert!(own.set_entry([("split", "0")]).is_err());
    }

    #[test]
    fn secrets_are_not_printed() {
        let mut set = OptionSet::new();
        for (name, text) in [
            ("rpc-secret", "hush"),
            ("http-passwd", "hush"),
            ("all-proxy", "u:hush@h"),
            ("header", "Cookie: hush"),
            ("split", "7"),
        ] {
            set.set_text(find(name).unwrap(), text).unwrap();
        }
        let text = format!("{set:?}");
        assert!(
            !text.contains("hush") && text.contains("split: \"7\""),
            "{text}"
        );
        let error = set.set_text(keys::ALL_PROXY.id, "u:hush@h:x").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hush"));
    }

    #[test]
    fn rpc_sees_what_it_may() {
        let mut set = OptionSet::new();
        for (name, text) in [
            ("rpc-secret", "s"),
            ("out", "o"),
            ("input-file", "i"),
            ("rpc-passwd", "p"),
        ] {
            set.set_text(find(name).unwrap(), text).unwrap();
        }
        let global: Vec<_> = set.shown_globally().map(|(id, _)| id.name()).collect();
        let own: Vec<_> = set.shown_for_download().map(|(id, _)| id.name()).collect();
        for (name, in_global, in_own) in [
            ("rpc-secret", false, false),
            ("input-file", false, false),
            ("out", false, true),
            ("rpc-passwd", true, false),
            ("split", true, true),
            ("history-limit", false, false),
            ("help", true, false),
            ("select-file", false, false),
        ] {
            assert_eq!(
                (global.contains(&name), own.contains(&name)),
                (in_global, in_own),
                "{name}"
            );
        }
    }

    #[test]
    fn a_waiting_download_with_four_options_is_small() {
        assert!(size_of::<(OptionId, Value)>() <= 32 && size_of::<OptionSet>() <= 32);
    }

    #[test]
    fn bounds_and_words_are_named_in_the_error() {
        let mut set = OptionSet::new();
        let mut refuse = |name: &str, text: &str| {
            set.set_text(find(name).unwrap(), text)
                .unwrap_err()
                .to_string()
        };
        assert!(refuse("max-connection-per-server", "129").contains("must be between 1 and 128."));
        assert!(refuse("split", "0").contains("split must be greater than or equal to 1."));
        assert!(refuse("file-allocation", "x").contains("'none' 'prealloc' 'trunc' 'falloc'"));
        assert!(!refuse("rpc-secret", "hush\0").contains("hush"));
    }
}
