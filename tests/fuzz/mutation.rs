//! How a sample is damaged.

use arioso::base::rng::Rng;

/// Inputs that were understood are kept, to be damaged further: so many beside the samples.
const KEPT_MAX: usize = 64;
const LEN_MAX: usize = 200_000;

/// What readers are known to stumble over.
const WORDS: &[&[u8]] = &[
    b"0",
    b"-1",
    b"+",
    b"00",
    b"65536",
    b"4294967295",
    b"4294967296",
    b"9223372036854775807",
    b"9223372036854775808",
    b"18446744073709551615",
    b"99999999999999999999999",
    b"1e999",
    b"NaN",
    b"..",
    b"../",
    b"/",
    b"\\",
    b"\0",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"%",
    b"%00",
    b"%2e",
    b"%zz",
    b"&",
    b"=",
    b";",
    b",",
    b":",
    b"\"",
    b"'",
    b"{",
    b"}",
    b"[",
    b"]",
    b"<",
    b">",
    b"]]>",
    b"&#0;",
    b"&#x110000;",
    b"d",
    b"l",
    b"i",
    b"e",
    b"1:",
    b"99999999999:",
    b"null",
    b"true",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\x7f\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xae",
    b"\xf0\x9f\x92\xa9",
    b"\xc3",
    b"\xed\xa0\x80",
];

/// What there is to damage.
pub struct Pool {
    samples: Vec<Vec<u8>>,
    kept: Vec<Vec<u8>>,
}

impl Pool {
    pub fn new(samples: &[&[u8]]) -> Self {
        Self {
            samples: samples.iter().map(|sample| sample.to_vec()).collect(),
            kept: Vec::new(),
        }
    }

    /// Keeps what was understood, in place of another where there is much.
    pub fn keep(&mut self, input: Vec<u8>, rng: &mut Rng) {
        if self.kept.len() < KEPT_MAX {
            self.kept.push(input);
        } else {
            let at = below(rng, KEPT_MAX);
            self.kept[at] = input;
        }
    }

    /// Something damaged.
    pub fn next(&self, rng: &mut Rng) -> Vec<u8> {
        let mut input = self.any(rng).to_vec();
        for _ in 0..=below(rng, 4) {
            self.damage(&mut input, rng);
        }
        input.truncate(LEN_MAX);
        input
    }

    fn any(&self, rng: &mut Rng) -> &[u8] {
        let from = match self.kept.is_empty() || rng.chance(0.5) {
            true => &self.samples,
            false => &self.kept,
        };
        &from[below(rng, from.len())]
    }

    fn damage(&self, input: &mut Vec<u8>, rng: &mut Rng) {
        let at = below(rng, input.len() + 1);
        let end = (at + 1 + below(rng, 16)).min(input.len());
        let word = WORDS[below(rng, WORDS.len())];
        match below(rng, 10) {
            0 if at < input.len() => input[at] ^= 1 << below(rng, 8),
            1 if at < input.len() => input[at] = rng.next_u64() as u8,
            2 => drop(input.drain(at..end.max(at))),
            3 => drop(input.splice(at..at, input[at..end.max(at)].to_vec())),
            4 => drop(input.splice(at..at, word.iter().copied())),
            5 => drop(input.splice(at..end.max(at), word.iter().copied())),
            6 => input.truncate(at),
            7 => {
                let other = self.any(rng);
                let from = below(rng, other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            // Nesting, and lists without end.
            8 if rng.chance(0.2) => {
                let part = input[at..end.max(at)].repeat(below(rng, 4_000));
                input.splice(at..at, part);
            }
            _ => number(input, word, rng),
        }
    }
}

/// Puts something else in the place of a number.
fn number(input: &mut Vec<u8>, word: &[u8], rng: &mut Rng) {
    let starts: Vec<usize> = (0..input.len())
        .filter(|&at| input[at].is_ascii_digit() && (at == 0 || !input[at - 1].is_ascii_digit()))
        .collect();
    if let Some(&start) = starts.get(below(rng, starts.len() + 1)) {
        let digits = input[start..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit());
        let end = start + digits.count();
        input.splice(start..end, word.iter().copied());
    }
}

/// A number below `bound`; 0 where there is none.
fn below(rng: &mut Rng, bound: usize) -> usize {
    match bound {
        0 => 0,
        bound => rng.below(bound as u64) as usize,
    }
}
