//! Pure: mirrors that give a torrent by its pieces (BEP 17): how they are asked, and what they say
//! when they are busy.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use url::Url;

use crate::base::units::Span;
use crate::format::info_hash::InfoHash;

/// A busy mirror that does not say when is asked again after so long.
const BUSY: Duration = Duration::from_secs(30);
/// Nor is it left alone for longer than this, whatever it says.
const BUSY_MAX: Duration = Duration::from_secs(3600);
/// The answer of a busy mirror is a number and no more.
pub const BUSY_LEN_MAX: usize = 32;

/// The torrent such a mirror is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PieceSeed {
    pub info_hash: InfoHash,
    /// Bytes; not 0.
    pub piece_len: u64,
}

/// One request: bytes of one piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PieceAsk {
    pub seed: PieceSeed,
    /// Of the torrent; inside one piece and not empty.
    pub span: Span,
}

impl PieceAsk {
    /// As much from byte `at` on as one request can bring.
    pub fn new(seed: PieceSeed, at: u64, end: u64) -> Self {
        let piece_end = (at / seed.piece_len + 1).saturating_mul(seed.piece_len);
        Self {
            seed,
            span: Span::new(at, end.min(piece_end)),
        }
    }

    /// What to get from the mirror at `base`.
    pub fn url(&self, base: &Url) -> Url {
        let piece = self.span.start / self.seed.piece_len;
        let first = self.span.start % self.seed.piece_len;
        let last = first + self.span.len().saturating_sub(1);
        let hash = percent_encode(&self.seed.info_hash.0, NON_ALPHANUMERIC);
        let asked = format!("info_hash={hash}&piece={piece}&ranges={first}-{last}");
        let query = match base.query().filter(|query| !query.is_empty()) {
            Some(query) => format!("{query}&{asked}"),
            None => asked,
        };
        let mut url = base.clone();
        url.set_query(Some(&query));
        url
    }
}

/// How long to leave a mirror alone that answered 503 with this body, or said so in its head.
pub fn busy_for(body: &[u8], head: Duration) -> Duration {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let seconds = text.trim().parse().ok().map(Duration::from_secs);
    let asked = seconds.unwrap_or(head).min(BUSY_MAX);
    if asked.is_zero() { BUSY } else { asked }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: PieceSeed = PieceSeed {
        info_hash: InfoHash(*b"abcdefghij \x00\xff3456789"),
        piece_len: 100,
    };

    #[test]
    fn a_request_stays_in_its_piece() {
        let url = |base: &str, at, end| {
            let base = Url::parse(base).unwrap();
            PieceAsk::new(SEED, at, end).url(&base).to_string()
        };
        let hash = "info_hash=abcdefghij%20%00%FF3456789";
        assert_eq!(
            url("http://h/seed.php", 0, 250),
            format!("http://h/seed.php?{hash}&piece=0&ranges=0-99")
        );
        assert_eq!(
            url("http://h/s?k=v", 230, 250),
            format!("http://h/s?k=v&{hash}&piece=2&ranges=30-49")
        );
    }

    #[test]
    fn a_busy_mirror_says_when() {
        let seconds = Duration::from_secs;
        assert_eq!(busy_for(b"75\r\n", seconds(0)), seconds(75));
        assert_eq!(busy_for(b"<html>", seconds(7)), seconds(7));
        assert_eq!(busy_for(b"0", seconds(0)), BUSY);
        assert_eq!(busy_for(b"99999999999", seconds(0)), BUSY_MAX);
    }
}
