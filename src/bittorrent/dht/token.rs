//! Pure: tokens (BEP 5): who announces proves by one that he asked from the same address a few
//! minutes before.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use sha1::{Digest, Sha1};

use crate::format::info_hash::InfoHash;

/// The secret changes so often; the one before is still good.
pub const SECRET_TIME: Duration = Duration::from_secs(300);
const TOKEN_LEN: usize = 8;

/// Makes and checks tokens.
#[derive(Debug)]
pub struct Tokens {
    secret: [u8; 16],
    before: [u8; 16],
    changed_at: Instant,
}

impl Tokens {
    /// Both secrets come from the operating system.
    pub fn new(now: Instant, secret: [u8; 16], before: [u8; 16]) -> Self {
        Self {
            secret,
            before,
            changed_at: now,
        }
    }

    /// Whether it is time for [`Self::rotate`].
    pub fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.changed_at) >= SECRET_TIME
    }

    /// Takes a new secret, from the operating system.
    pub fn rotate(&mut self, now: Instant, secret: [u8; 16]) {
        self.before = std::mem::replace(&mut self.secret, secret);
        self.changed_at = now;
    }

    pub fn token(&self, ip: IpAddr, info_hash: InfoHash) -> Vec<u8> {
        make(&self.secret, ip, info_hash)
    }

    pub fn is_valid(&self, token: &[u8], ip: IpAddr, info_hash: InfoHash) -> bool {
        [&self.secret, &self.before]
            .iter()
            .any(|secret| make(secret, ip, info_hash) == token)
    }
}

fn make(secret: &[u8; 16], ip: IpAddr, info_hash: InfoHash) -> Vec<u8> {
    let mut sha1 = Sha1::new();
    sha1.update(secret);
    match ip.to_canonical() {
        IpAddr::V4(ip) => sha1.update(ip.octets()),
        IpAddr::V6(ip) => sha1.update(ip.octets()),
    }
    sha1.update(info_hash.0);
    sha1.finalize()[..TOKEN_LEN].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lives_for_two_secrets_and_one_address() {
        let now = Instant::now();
        let (ip, other): (IpAddr, IpAddr) = ([1, 2, 3, 4].into(), [1, 2, 3, 5].into());
        let hash = InfoHash([1; 20]);
        let mut tokens = Tokens::new(now, [1; 16], [2; 16]);
        let token = tokens.token(ip, hash);
        assert!(tokens.is_valid(&token, ip, hash));
        assert!(!tokens.is_valid(&token, other, hash));
        assert!(!tokens.is_valid(&token, ip, InfoHash([2; 20])));
        assert!(!tokens.is_valid(b"", ip, hash));
        assert!(!tokens.is_due(now) && tokens.is_due(now + SECRET_TIME));
        tokens.rotate(now, [3; 16]);
        assert!(tokens.is_valid(&token, ip, hash));
        tokens.rotate(now, [4; 16]);
        assert!(!tokens.is_valid(&token, ip, hash));
    }
}
