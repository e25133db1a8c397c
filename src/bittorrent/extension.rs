//! Pure: the handshake of the extension protocol (BEP 10) with what rides on it: metadata size
//! (BEP 9), upload only (BEP 21), our view of the peer's address.

use std::net::IpAddr;

use crate::format::bencode::{self, Writer};

/// Numbers by which peers address our extensions.
pub const UT_PEX: u8 = 1;
pub const UT_METADATA: u8 = 2;
/// The handshake itself.
pub const HANDSHAKE: u8 = 0;

/// Requests a peer may have open with us at once (`reqq`).
pub const REQUEST_COUNT_MAX: u32 = 512;
/// A name of a program is cut here.
const AGENT_LEN_MAX: usize = 128;

/// What one side says about its extensions. A later handshake only changes what it names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExtendedHandshake {
    /// Number for ut_pex messages to the sender; 0 turns it off.
    pub ut_pex: Option<u8>,
    /// Number for ut_metadata messages to the sender; 0 turns it off.
    pub ut_metadata: Option<u8>,
    /// Bytes of the info dictionary, where the sender has it.
    pub metadata_size: Option<u32>,
    /// TCP port the sender listens at.
    pub port: Option<u16>,
    /// Name and version of the program.
    pub agent: Option<String>,
    /// Requests the sender holds open for one peer.
    pub request_count_max: Option<u32>,
    /// The sender wants nothing more (BEP 21).
    pub upload_only: Option<bool>,
    /// The receiver's address as the sender sees it.
    pub your_ip: Option<IpAddr>,
    /// The sender prefers encryption.
    pub encryption: Option<bool>,
}

impl ExtendedHandshake {
    /// Takes what a later handshake names; the rest stays as it was (BEP 10).
    pub fn update(&mut self, said: Self) {
        let known = std::mem::take(self);
        *self = Self {
            ut_pex: said.ut_pex.or(known.ut_pex),
            ut_metadata: said.ut_metadata.or(known.ut_metadata),
            metadata_size: said.metadata_size.or(known.metadata_size),
            port: said.port.or(known.port),
            agent: said.agent.or(known.agent),
            request_count_max: said.request_count_max.or(known.request_count_max),
            upload_only: said.upload_only.or(known.upload_only),
            your_ip: said.your_ip.or(known.your_ip),
            encryption: said.encryption.or(known.encryption),
        };
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.dict(|dict| {
            if let Some(on) = self.encryption {
                dict.bytes("e").int(i64::from(on));
            }
            dict.bytes("m").dict(|names| {
                if let Some(id) = self.ut_metadata {
                    names.bytes("ut_metadata").int(i64::from(id));
                }
                if let Some(id) = self.ut_pex {
                    names.bytes("ut_pex").int(i64::from(id));
                }
            });
            if let Some(size) = self.metadata_size {
                dict.bytes("metadata_size").int(i64::from(size));
            }
            if let Some(port) = self.port {
                dict.bytes("p").int(i64::from(port));
            }
            if let Some(count) = self.request_count_max {
                dict.bytes("reqq").int(i64::from(count));
            }
            if let Some(on) = self.upload_only {
                dict.bytes("upload_only").int(i64::from(on));
            }
            if let Some(agent) = &self.agent {
                dict.bytes("v").bytes(agent);
            }
            match self.your_ip {
                Some(IpAddr::V4(ip)) => _ = dict.bytes("yourip").bytes(ip.octets()),
                Some(IpAddr::V6(ip)) => _ = dict.bytes("yourip").bytes(ip.octets()),
                None => {}
            }
        });
        writer.finish()
    }

    /// Values out of range count as not given. `None` when it is no dictionary.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let dict = bencode::parse(payload).ok()?.dict()?;
        let names = dict.dict("m");
        let id = |name| u8::try_from(names?.int(name)?).ok();
        let flag = |name| dict.int(name).map(|value| value != 0);
        let agent = dict.bytes("v").map(|bytes| {
            let bytes = &bytes[..bytes.len().min(AGENT_LEN_MAX)];
            let text = String::from_utf8_lossy(bytes);
            text.chars().filter(|letter| !letter.is_control()).collect()
        });
        Some(Self {
            ut_pex: id("ut_pex"),
            ut_metadata: id("ut_metadata"),
            metadata_size: dict
                .int("metadata_size")
                .and_then(|size| u32::try_from(size).ok())
                .filter(|size| *size > 0),
            port: dict
                .int("p")
                .and_then(|port| u16::try_from(port).ok())
                .filter(|port| *port > 0),
            agent,
            request_count_max: dict
                .int("reqq")
                .and_then(|count| u32::try_from(count).ok())
                .filter(|count| *count > 0),
            upload_only: flag("upload_only"),
            your_ip: dict.bytes("yourip").and_then(address_of),
            encryption: flag("e"),
        })
    }
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(octets.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn everything_said_is_understood() {
        let handshake = ExtendedHandshake {
            ut_pex: Some(UT_PEX),
            ut_metadata: Some(UT_METADATA),
            metadata_size: Some(31_235),
            port: Some(6881),
            agent: Some("arioso/0.1".into()),
            request_count_max: Some(512),
            upload_only: Some(true),
            your_ip: Some([127, 0, 0, 1].into()),
            encryption: Some(false),
        };
        assert_eq!(
            ExtendedHandshake::decode(&handshake.encode()),
            Some(handshake)
        );
    }

    #[test]
    fn handshakes_of_the_wild_and_of_the_hostile() {
        // The example of BEP 10.
        let bep = b"d1:md11:LT_metadatai1e7:\xc2\xb5T_PEXi2ee1:pi6881e1:v13:\xc2\xb5Torrent 1.2e";
        let read = ExtendedHandshake::decode(bep).unwrap();
        assert_eq!(
            (read.port, read.agent.as_deref()),
            (Some(6881), Some("\u{b5}Torrent 1.2"))
        );
        let hostile = b"d1:md11:ut_metadatai256e6:ut_pexi-1ee13:metadata_sizei-5e1:pi70000e4:reqqi0e1:v3:a\nb6:yourip3:abce";
        let read = ExtendedHandshake::decode(hostile).unwrap();
        assert_eq!(
            read,
            ExtendedHandshake {
                agent: Some("ab".into()),
                ..Default::default()
            }
        );
        assert_eq!(ExtendedHandshake::decode(b"le"), None);
        assert_eq!(ExtendedHandshake::decode(b""), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = ExtendedHandshake::decode(&bytes);
        }
    }
}
