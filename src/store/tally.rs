//! Pure: how the loss of something that was written is noticed. sled opens some damaged files as
//! if they had always been emptier, or as they were an hour ago.

/// Written with each batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Downloads in the store.
    pub count: u64,
    /// Number of batches so far. `session.txt` names it too.
    pub state: u64,
}

const HEAD: &str = "# arioso session, state ";

impl Tally {
    /// The key among those of the downloads, which are eight bytes long.
    pub const KEY: &[u8] = b"tally";

    pub fn encode(self) -> [u8; 16] {
        let mut value = [0; 16];
        value[..8].copy_from_slice(&self.count.to_be_bytes());
        value[8..].copy_from_slice(&self.state.to_be_bytes());
        value
    }

    pub fn decode(value: &[u8]) -> Option<Self> {
        let (count, state) = value.split_at_checked(8)?;
        Some(Self {
            count: u64::from_be_bytes(count.try_into().ok()?),
            state: u64::from_be_bytes(state.try_into().ok()?),
        })
    }

    /// The first line of `session.txt`, a comment to aria2c.
    pub fn head_line(self) -> String {
        format!("{HEAD}{}\n", self.state)
    }

    /// The state a `session.txt` was written in; 0 if it does not say.
    pub fn state_of(text: &str) -> u64 {
        let line = text.lines().next().and_then(|line| line.strip_prefix(HEAD));
        line.and_then(|state| state.parse().ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back() {
        let tally = Tally {
            count: 3,
            state: 99,
        };
        assert_eq!(Tally::decode(&tally.encode()), Some(tally));
        assert_eq!(Tally::decode(b"short"), None);
        assert_eq!(Tally::state_of(&(tally.head_line() + "http://h/\t\n")), 99);
        assert_eq!((Tally::state_of(""), Tally::state_of("# other\n")), (0, 0));
    }
}
