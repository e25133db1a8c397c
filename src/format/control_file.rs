//! Pure: aria2's control file, the progress of a download beside its data (`<file>.aria2`).
//!
//! Format: aria2 manual, "Control File"; integers are big-endian in version 1 and in the byte
//! order of the writing machine in version 0, which is only read.

use std::collections::BTreeMap;
use std::fmt;

use crate::base::bitfield::Bitfield;
use crate::base::range_set::RangeSet;
use crate::base::units::{BLOCK_LEN, Span};

/// Bit of the extension word that demands an equal info hash (BitTorrent).
const CHECK_INFO_HASH: u32 = 1;
const INFO_HASH_LEN: u32 = 20;

/// What a control file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControlFile {
    /// Of a torrent download (BEP 3).
    pub info_hash: Option<[u8; 20]>,
    /// Bytes of every piece but the last one; never 0.
    pub piece_len: u32,
    /// Bytes of the whole download.
    pub total: u64,
    /// Bytes given to peers so far.
    pub uploaded: u64,
    /// Pieces that are there as a whole.
    pub have: Bitfield,
    /// Pieces that are there in part, in ascending order of index.
    pub in_flight: Vec<InFlight>,
}

/// A piece of which some 16 KiB blocks are there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InFlight {
    pub index: u32,
    /// Bytes of the piece.
    pub len: u32,
    /// One bit a block; the last block may be shorter.
    pub blocks: Bitfield,
}

/// Why the bytes are not a control file that can be believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ControlFileError {
    /// The bytes end inside this field.
    Truncated(&'static str),
    /// Neither 0 nor 1.
    Version(u16),
    /// A field contradicts another one.
    Contradiction(String),
}

impl fmt::Display for ControlFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated(field) => write!(f, "the control file ends inside its {field}"),
            Self::Version(version) => {
                write!(f, "control file version {version} is not known")
            }
            Self::Contradiction(what) => write!(f, "the control file contradicts itself: {what}"),
        }
    }
}

impl std::error::Error for ControlFileError {}

impl ControlFile {
    /// The progress that a set of written bytes makes: whole pieces, and whole blocks of the
    /// others. `None` when `piece_len` is 0 or the pieces are too many to number.
    pub fn from_ranges(written: &RangeSet, total: u64, piece_len: u32) -> Option<Self> {
        let pieces = piece_count(total, piece_len)?;
        let mut have = Bitfield::new(pieces);
        let mut partial: BTreeMap<u32, InFlight> = BTreeMap::new();
        for span in written.within(Span::new(0, total)) {
            let first = index_at(span.start, piece_len);
            let last = index_at(span.end - 1, piece_len);
            for index in first..=last {
                let piece = piece_span(index, piece_len, total);
                if span.intersect(piece) == piece {
                    have.set(index, true);
                } else {
                    let entry = partial
                        .entry(index)
                        .or_insert_with(|| InFlight::empty(index, piece.len()));
                    entry.mark(span.intersect(piece), piece.start);
                }
            }
        }
        Some(Self {
            info_hash: None,
            piece_len,
            total,
            uploaded: 0,
            have,
            in_flight: partial
                .into_values()
                .filter(|piece| !piece.blocks.none())
                .collect(),
        })
    }

    /// The bytes that are there.
    pub fn to_ranges(&self) -> RangeSet {
        let mut written = RangeSet::new();
        let mut run: Option<Span> = None;
        for index in self.have.ones() {
            let piece = piece_span(index, self.piece_len, self.total);
            match &mut run {
                Some(run) if run.end == piece.start => run.end = piece.end,
                _ => {
                    if let Some(done) = run.replace(piece) {
                        written.insert(done);
                    }
                }
            }
        }
        if let Some(done) = run {
            written.insert(done);
        }
        for piece in &self.in_flight {
            let span = piece_span(piece.index, self.piece_len, self.total);
            for block in piece.blocks.ones() {
                let start = span.start + u64::from(block) * BLOCK_LEN;
                written.insert(Span::new(start, start + BLOCK_LEN).intersect(span));
            }
        }
        written
    }

    /// The same progress less these bytes: blocks that touch them are there no more.
    pub fn without(&self, lost: &[Span]) -> Self {
        let mut written = self.to_ranges();
        for span in lost {
            written.remove(*span);
        }
        let less = Self::from_ranges(&written, self.total, self.piece_len);
        Self {
            info_hash: self.info_hash,
            uploaded: self.uploaded,
            ..less.unwrap_or_else(|| self.clone())
        }
    }

    /// The file's bytes, version 1.
    pub fn encode(&self) -> Vec<u8> {
        let blocks_len: usize = self
            .in_flight
            .iter()
            .map(|piece| 12 + piece.blocks.as_bytes().len())
            .sum();
        let mut out = Vec::with_capacity(58 + self.have.as_bytes().len() + blocks_len);
        out.extend_from_slice(&1u16.to_be_bytes());
        match &self.info_hash {
            Some(hash) => {
                out.extend_from_slice(&CHECK_INFO_HASH.to_be_bytes());
                out.extend_from_slice(&INFO_HASH_LEN.to_be_bytes());
                out.extend_from_slice(hash);
            }
            None => out.extend_from_slice(&[0; 8]),
        }
        out.extend_from_slice(&self.piece_len.to_be_bytes());
        out.extend_from_slice(&self.total.to_be_bytes());
        out.extend_from_slice(&self.uploaded.to_be_bytes());
        put_bits(&mut out, &self.have);
        out.extend_from_slice(&(self.in_flight.len() as u32).to_be_bytes());
        for piece in &self.in_flight {
            out.extend_from_slice(&piece.index.to_be_bytes());
            out.extend_from_slice(&piece.len.to_be_bytes());
            put_bits(&mut out, &piece.blocks);
        }
        out
    }

    /// Reads version 1 and, in this machine's byte order, version 0.
    ///
    /// # Errors
    /// Truncated, unknown or contradictory input. Nothing is allocated by a length that the
    /// input does not hold.
    pub fn decode(bytes: &[u8]) -> Result<Self, ControlFileError> {
        let mut input = Reader::new(bytes)?;
        let extension = input.u32("extension")?;
        let info_hash = input.info_hash(extension)?;
        let piece_len = input.u32("piece length")?;
        let total = input.u64("total length")?;
        let uploaded = input.u64("upload length")?;
        let pieces = piece_count(total, piece_len).ok_or_else(|| {
            contradiction(format!("{total} bytes in pieces of {piece_len} bytes"))
        })?;
        let have = input.bits(pieces, "bitfield")?;
        let count = input.u32("number of in-flight pieces")?;
        if count > pieces {
            return Err(contradiction(format!(
                "{count} in-flight pieces of {pieces}"
            )));
        }
        let mut in_flight: BTreeMap<u32, InFlight> = BTreeMap::new();
        for _ in 0..count {
            let piece = input.in_flight(pieces, piece_len, total)?;
            let index = piece.index;
            if in_flight.insert(index, piece).is_some() {
                return Err(contradiction(format!("piece {index} is in flight twice")));
            }
        }
        Ok(Self {
            info_hash,
            piece_len,
            total,
            uploaded,
            in_flight: in_flight
                .into_values()
                .filter(|piece| !have.get(piece.index))
                .collect(),
            have,
        })
    }
}

impl InFlight {
    fn empty(index: u32, len: u64) -> Self {
        Self {
            index,
            len: len as u32,
            blocks: Bitfield::new(len.div_ceil(BLOCK_LEN) as u32),
        }
    }

    /// Sets the blocks that lie wholly inside `part` of the piece that begins at `start`.
    fn mark(&mut self, part: Span, start: u64) {
        let first = (part.start - start).div_ceil(BLOCK_LEN);
        let to_end = part.end - start == u64::from(self.len);
        let end = if to_end {
            u64::from(self.blocks.len())
        } else {
            (part.end - start) / BLOCK_LEN
        };
        for block in first..end {
            self.blocks.set(block as u32, true);
        }
    }
}

/// Number of pieces; `None` when it is no number of 32 bits.
fn piece_count(total: u64, piece_len: u32) -> Option<u32> {
    if piece_len == 0 {
        return None;
    }
    u32::try_from(total.div_ceil(u64::from(piece_len))).ok()
}

fn index_at(at: u64, piece_len: u32) -> u32 {
    (at / u64::from(piece_len)) as u32
}

fn piece_span(index: u32, piece_len: u32, total: u64) -> Span {
    let start = u64::from(index) * u64::from(piece_len);
    Span::new(start, (start + u64::from(piece_len)).min(total))
}

fn put_bits(out: &mut Vec<u8>, bits: &Bitfield) {
    out.extend_from_slice(&(bits.as_bytes().len() as u32).to_be_bytes());
    out.extend_from_slice(bits.as_bytes());
}

fn contradiction(what: String) -> ControlFileError {
    ControlFileError::Contradiction(what)
}

struct Reader<'a> {
    rest: &'a [u8],
    /// Version 0 wrote integers as the machine keeps them.
    native: bool,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, ControlFileError> {
        let mut input = Self {
            rest: bytes,
            native: false,
        };
        match u16::from_be_bytes(input.array("version")?) {
            0 => input.native = true,
            1 => {}
            other => return Err(ControlFileError::Version(other)),
        }
        Ok(input)
    }

    fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], ControlFileError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(ControlFileError::Truncated(field))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], ControlFileError> {
        let taken = self.take(N, field)?;
        taken
            .try_into()
            .map_err(|_| ControlFileError::Truncated(field))
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, ControlFileError> {
        let bytes = self.array(field)?;
        Ok(if self.native {
            u32::from_ne_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    }

    fn u64(&mut self, field: &'static str) -> Result<u64, ControlFileError> {
        let bytes = self.array(field)?;
        Ok(if self.native {
            u64::from_ne_bytes(bytes)
        } else {
            u64::from_be_bytes(bytes)
        })
    }

    fn info_hash(&mut self, extension: u32) -> Result<Option<[u8; 20]>, ControlFileError> {
        // The word is bytes, not a number: its last byte holds bit 0 in either version.
        let check = if self.native {
            u32::from_be_bytes(extension.to_ne_bytes())
        } else {
            extension
        } & CHECK_INFO_HASH
            != 0;
        match self.u32("info hash length")? {
            0 if check => Err(contradiction("it demands an info hash and has none".into())),
            0 => Ok(None),
            INFO_HASH_LEN => Ok(Some(self.array("info hash")?)),
            other => Err(contradiction(format!("an info hash of {other} bytes"))),
        }
    }

    fn bits(&mut self, len: u32, field: &'static str) -> Result<Bitfield, ControlFileError> {
        let told = self.u32(field)?;
        if told != len.div_ceil(8) {
            return Err(contradiction(format!(
                "a {field} of {told} bytes for {len} bits"
            )));
        }
        let bytes = self.take(told as usize, field)?;
        Bitfield::from_bytes(bytes.to_vec(), len)
            .ok_or_else(|| contradiction(format!("its {field} has bits past its end")))
    }

    fn in_flight(
        &mut self,
        pieces: u32,
        piece_len: u32,
        total: u64,
    ) -> Result<InFlight, ControlFileError> {
        let index = self.u32("in-flight piece index")?;
        if index >= pieces {
            return Err(contradiction(format!(
                "in-flight piece {index} of {pieces}"
            )));
        }
        let len = self.u32("in-flight piece length")?;
        let expected = piece_span(index, piece_len, total).len();
        if u64::from(len) != expected {
            return Err(contradiction(format!(
                "in-flight piece {index} of {len} bytes instead of {expected}"
            )));
        }
        let blocks = expected.div_ceil(BLOCK_LEN) as u32;
        Ok(InFlight {
            index,
            len,
            blocks: self.bits(blocks, "block bitfield")?,
        })
    }
}

#[cfg(test)]
mod tests;
