//! Pure: the control file format, against aria2's sizes, damage and random sets.

use super::*;
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

fn ranges(spans: &[(u64, u64)]) -> RangeSet {
    spans
        .iter()
        .map(|(start, end)| Span::new(*start, *end))
        .collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect()
}

#[test]
fn six_megabytes_have_the_sizes_aria2_writes() {
    let none = ControlFile::from_ranges(&RangeSet::new(), 6_000_000, MIB as u32).unwrap();
    assert_eq!(none.encode().len(), 39);
    let some = ControlFile::from_ranges(&ranges(&[(0, 16_384)]), 6_000_000, MIB as u32).unwrap();
    assert_eq!(some.encode().len(), 59);
    let last = ControlFile::from_ranges(&ranges(&[(5_242_880, 5_300_000)]), 6_000_000, MIB as u32)
        .unwrap();
    assert_eq!(last.in_flight[0].len, 757_120);
    assert_eq!(last.in_flight[0].blocks.as_bytes().len(), 6);
}

#[test]
fn only_whole_blocks_and_pieces_count() {
    let control = ControlFile::from_ranges(
        &ranges(&[
            (0, 100_000),
            (MIB - 1, 2 * MIB + 1),
            (2 * MIB + 50_000, 2 * MIB + 60_000),
        ]),
        2 * MIB + 60_000,
        MIB as u32,
    )
    .unwrap();
    assert_eq!(control.have.ones().collect::<Vec<_>>(), [1]);
    let blocks: Vec<(u32, Vec<u32>)> = control
        .in_flight
        .iter()
        .map(|piece| (piece.index, piece.blocks.ones().collect()))
        .collect();
    // The last piece of 60,000 bytes has a last block of 10,848; 50,000..60,000 holds no block.
    assert_eq!(blocks, [(0, (0..6).collect())]);
    assert_eq!(control.to_ranges(), ranges(&[(0, 98_304), (MIB, 2 * MIB)]));
}

#[test]
fn short_last_block_counts_when_it_is_there() {
    let written = ranges(&[(49_152, 60_000)]);
    let control = ControlFile::from_ranges(&written, 60_000, MIB as u32).unwrap();
    assert_eq!(control.in_flight[0].blocks.ones().collect::<Vec<_>>(), [3]);
    assert_eq!(control.to_ranges(), written);
}

#[test]
fn refuses_what_cannot_be_numbered() {
    assert!(ControlFile::from_ranges(&RangeSet::new(), 10, 0).is_none());
    assert!(ControlFile::from_ranges(&RangeSet::new(), u64::MAX, 1).is_none());
}

fn example() -> ControlFile {
    let mut control = ControlFile::from_ranges(
        &ranges(&[(0, MIB), (MIB, MIB + 40_000)]),
        3 * MIB + 5,
        1 << 20,
    )
    .unwrap();
    control.info_hash = Some(*b"0123456789abcdefghij");
    control.uploaded = 77;
    control
}

#[test]
fn every_truncation_is_refused() {
    let bytes = example().encode();
    assert_eq!(ControlFile::decode(&bytes).unwrap(), example());
    for len in 0..bytes.len() {
        let error = ControlFile::decode(&bytes[..len]).unwrap_err();
        assert!(
            matches!(error, ControlFileError::Truncated(_)),
            "{len}: {error}"
        );
    }
}

#[test]
fn version_0_is_read_in_this_machines_order() {
    let mut out = vec![0, 0, 0, 0, 0, 1];
    out.extend_from_slice(&20u32.to_ne_bytes());
    out.extend_from_slice(b"0123456789abcdefghij");
    out.extend_from_slice(&(1u32 << 20).to_ne_bytes());
    out.extend_from_slice(&(3 * MIB + 5).to_ne_bytes());
    out.extend_from_slice(&77u64.to_ne_bytes());
    out.extend_from_slice(&1u32.to_ne_bytes());
    out.push(0x80);
    out.extend_from_slice(&1u32.to_ne_bytes());
    for number in [1, 1 << 20, 8u32] {
        out.extend_from_slice(&number.to_ne_bytes());
    }
    out.extend_from_slice(&[0xc0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(ControlFile::decode(&out).unwrap(), example());
}

#[test]
fn contradictions_are_named() {
    let cases = [
        ("0002", "control file version 2 is not known"),
        (
            "0001 00000001 00000000",
            "demands an info hash and has none",
        ),
        ("0001 00000000 00000005", "an info hash of 5 bytes"),
        (
            "0001 00000000 00000000 00000000 0000000000000001 0000000000000000 00000000",
            "1 bytes in pieces of 0 bytes",
        ),
        (
            "0001 00000000 00000000 00000001 ffffffffffffffff 0000000000000000 00000000",
            "18446744073709551615 bytes in pieces of 1 bytes",
        ),
        (
            "0001 00000000 00000000 00100000 0000000000300000 0000000000000000 ffffffff",
            "a bitfield of 4294967295 bytes for 3 bits",
        ),
        (
            "0001 00000000 00000000 00100000 0000000000300000 0000000000000000 00000001 10",
            "bits past its end",
        ),
        (
            "0001 00000000 00000000 00100000 0000000000300000 0000000000000000 00000001 00 00000004",
            "4 in-flight pieces of 3",
        ),
        (
            "0001 00000000 00000000 00100000 0000000000300000 0000000000000000 00000001 00 00000001 00000003",
            "in-flight piece 3 of 3",
        ),
        (
            "0001 00000000 00000000 00100000 0000000000300000 0000000000000000 00000001 00 00000001 00000002 00000010",
            "in-flight piece 2 of 16 bytes instead of 1048576",
        ),
    ];
    for (hex, text) in cases {
        let error = ControlFile::decode(&from_hex(hex)).unwrap_err().to_string();
        assert!(error.contains(text), "{hex}: {error}");
    }
}

#[test]
fn a_piece_that_is_whole_is_not_in_flight() {
    let mut control = example();
    control.have.set(1, true);
    let read = ControlFile::decode(&control.encode()).unwrap();
    assert!(read.in_flight.is_empty());
    assert_eq!(read.have.count_ones(), 2);
}

#[test]
fn lost_bytes_take_their_blocks_with_them() {
    let less = example().without(&[Span::new(20_000, 20_001)]);
    assert_eq!((less.info_hash, less.uploaded), (example().info_hash, 77));
    let blocks: Vec<(u32, u32)> = less
        .in_flight
        .iter()
        .map(|piece| (piece.index, piece.blocks.count_ones()))
        .collect();
    assert_eq!(blocks, [(0, 63), (1, 2)]);
    assert_eq!(example().without(&[]), example());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = ControlFile::decode(&bytes);
    }

    #[test]
    fn damage_never_panics_and_never_claims_more_than_the_total(at in 0usize..200, value in any::<u8>()) {
        let mut bytes = example().encode();
        let at = at % bytes.len();
        bytes[at] = value;
        if let Ok(control) = ControlFile::decode(&bytes) {
            prop_assert!(control.to_ranges().total() <= control.total);
        }
    }

    #[test]
    fn written_bytes_survive_as_whole_blocks(
        total in 1u64..5_000_000,
        piece_len in prop::sample::select(vec![16_384u32, 20_000, 65_536, 1 << 20]),
        spans in prop::collection::vec((0u64..5_000_000, 1u64..900_000), 0..12),
    ) {
        let written: RangeSet = spans.iter()
            .map(|(start, len)| Span::new(*start, start + len).intersect(Span::new(0, total)))
            .collect();
        let control = ControlFile::from_ranges(&written, total, piece_len).unwrap();
        let read = ControlFile::decode(&control.encode()).unwrap();
        prop_assert_eq!(&read, &control);
        let kept = read.to_ranges();
        for span in kept.iter() {
            prop_assert!(written.covers(span));
        }
        // What is lost are block edges: less than two blocks a span and piece it touches.
        let mut lost = written.clone();
        for span in kept.iter() {
            lost.remove(span);
        }
        for span in lost.iter() {
            prop_assert!(span.len() < 2 * BLOCK_LEN, "{:?} of {:?}", span, written);
        }
        prop_assert_eq!(ControlFile::from_ranges(&kept, total, piece_len).unwrap(), control);
    }
}
