use super::*;
use crate::base::rng::Rng;
use crate::bittorrent::wire::BLOCK_LEN;
use crate::option::OptionSet;
use crate::storage::digest::DigestKind;
use crate::storage::{ContentFile, DiskSettings, Layout, OpenMode, PieceHashes};
use proptest::prelude::*;
use std::sync::OnceLock;

const PIECE: u32 = 3 * BLOCK_LEN;
/// Four pieces; the last one is short, and so is its last block.
const TOTAL: u32 = 3 * PIECE + BLOCK_LEN + 100;
const PIECES: u32 = 4;

fn truth() -> &'static [u8] {
    static TRUTH: OnceLock<Vec<u8>> = OnceLock::new();
    TRUTH.get_or_init(|| (0..TOTAL).map(|at| (at / 7 % 251) as u8 + 1).collect())
}

fn peer(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 1))
}

struct Rig {
    _dir: tempfile::TempDir,
    assembler: Assembler,
    memory: Memory,
}

impl Rig {
    fn new(memory_max: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut hashes = Vec::new();
        for piece in truth().chunks(PIECE as usize) {
            let mut hasher = Hasher::new(DigestKind::Sha1);
            hasher.update(piece);
            hashes.extend(hasher.finish());
        }
        let file = |path: &str, len: u32| ContentFile {
            path: path.into(),
            len: u64::from(len),
            padding: false,
        };
        let content = Content {
            name: "t".into(),
            multi: true,
            files: vec![file("t/a", 50_000), file("t/b", TOTAL - 50_000)],
            total: Some(u64::from(TOTAL)),
            pieces: Some(PieceHashes {
                kind: DigestKind::Sha1,
                piece_len: u64::from(PIECE),
                digests: hashes.into(),
            }),
            proofs: Vec::new(),
            doubts: Vec::new(),
            chosen: Vec::new(),
            torrent: None,
        };
        let options = OptionSet::new();
        let layout = Layout::of_content(&content, dir.path(), &(&options).into()).unwrap();
        let settings = DiskSettings {
            cache_len_max: memory_max,
            ..DiskSettings::from(&options)
        };
        let files = Files::open(layout, &settings, OpenMode::Fresh).unwrap();
        let memory = Memory::default();
        let have = Bitfield::new(PIECES);
        let assembler =
            Assembler::with_memory(files.into(), content.into(), have, memory.clone()).unwrap();
        Self {
            _dir: dir,
            assembler,
            memory,
        }
    }

    fn open_all(&self) {
        for piece in 0..PIECES {
            self.assembler.open(PieceIdx(piece), &RangeSet::new());
        }
    }

    fn put(&self, block: Block, by: u8, good: bool) -> Put {
        self.assembler
            .put(block, data_of(block, by, good), peer(by))
            .unwrap()
    }

    /// Puts all blocks of a piece but those in `without`; the result, if it became full.
    fn put_piece(&self, piece: u32, by: u8, bad: &[u32]) -> Option<PieceResult> {
        let mut result = None;
        for (index, block) in blocks(piece).into_iter().enumerate() {
            if let Put::Full(full) = self.put(block, by, !bad.contains(&(index as u32))) {
                result = Some(self.assembler.complete(full).unwrap());
            }
        }
        result
    }

    /// What the files hold of the span.
    fn on_disk(&self, span: Span) -> Vec<u8> {
        let mut buf = vec![0; span.len() as usize];
        self.assembler
            .files
            .read_some(span.start, &mut buf)
            .unwrap();
        buf
    }
}

fn data_of(block: Block, by: u8, good: bool) -> Bytes {
    let span = block.span(PIECE);
    match good {
        true => Bytes::copy_from_slice(&truth()[span.start as usize..span.end as usize]),
        // Never twice the same: an attacker need not be consistent.
        false => Bytes::from(vec![by.wrapping_mul(37) | 1; block.len as usize]),
    }
}

fn blocks(piece: u32) -> Vec<Block> {
    let len = PIECE.min(TOTAL - piece * PIECE);
    (0..len.div_ceil(BLOCK_LEN))
        .map(|index| {
            let begin = index * BLOCK_LEN;
            Block::new(piece, begin, BLOCK_LEN.min(len - begin))
        })
        .collect()
}

fn kind(put: &Put) -> char {
    match put {
        Put::Kept => 'k',
        Put::Known | Put::Closed => '-',
        Put::Full(_) => 'F',
    }
}

/// Known-bugs 53.
#[test]
fn a_piece_is_written_when_it_is_whole_and_right() {
    let rig = Rig::new(1 << 20);
    let list = blocks(3);
    // Not open yet: nobody asked for it.
    assert_eq!(kind(&rig.put(list[0], 1, true)), '-');
    rig.open_all();
    assert_eq!(kind(&rig.put(list[1], 1, true)), 'k');
    assert_eq!(kind(&rig.put(list[1], 2, false)), '-');
    // Odd blocks are nobody's need.
    assert_eq!(kind(&rig.put(Block::new(3, 16, BLOCK_LEN), 1, true)), '-');
    assert_eq!(kind(&rig.put(Block::new(3, 0, 100), 1, true)), '-');
    assert_eq!(kind(&rig.put(Block::new(3, 1 << 20, 100), 1, false)), '-');
    let Put::Full(full) = rig.put(list[0], 2, true) else {
        panic!("not full");
    };
    let span = rig.assembler.span_of(PieceIdx(3));
    assert!(rig.on_disk(span).iter().all(|byte| *byte == 0));
    // While it is hashed, nothing of it is needed.
    assert_eq!(kind(&rig.put(list[0], 2, true)), '-');
    let result = rig.assembler.complete(full).unwrap();
    assert_eq!((result.good, result.guilty), (true, vec![]));
    assert!(rig.assembler.has(PieceIdx(3)));
    assert_eq!(rig.on_disk(span), truth()[span.start as usize..]);
    assert_eq!(rig.memory.blocks(), 0);
    rig.assembler.open(PieceIdx(3), &RangeSet::new());
    assert_eq!(kind(&rig.put(list[0], 2, false)), '-');
}

#[test]
fn a_bad_piece_never_reaches_the_disk_and_is_missing_again() {
    let rig = Rig::new(1 << 20);
    rig.open_all();
    let result = rig.put_piece(0, 7, &[1]).unwrap();
    assert_eq!((result.good, result.guilty), (false, vec![peer(7)]));
    let span = rig.assembler.span_of(PieceIdx(0));
    assert!(rig.on_disk(span).iter().all(|byte| *byte == 0));
    assert_eq!(rig.memory.blocks(), 0);
    assert!(rig.put_piece(0, 8, &[]).unwrap().good);
}

#[test]
fn of_several_senders_the_good_piece_names_the_guilty_one() {
    for memory_max in [0, 1 << 20] {
        let rig = Rig::new(memory_max);
        rig.open_all();
        let list = blocks(1);
        rig.put(list[0], 1, true);
        rig.put(list[1], 2, false);
        let Put::Full(full) = rig.put(list[2], 3, true) else {
            panic!("not full");
        };
        let result = rig.assembler.complete(full).unwrap();
        assert_eq!((result.good, result.guilty), (false, vec![]));
        let result = rig.put_piece(1, 4, &[]).unwrap();
        assert_eq!((result.good, result.guilty), (true, vec![peer(2)]));
    }
}

#[test]
fn without_memory_every_block_is_written_at_once() {
    let rig = Rig::new(0);
    rig.open_all();
    let list = blocks(2);
    for block in &list[..2] {
        rig.put(*block, 1, true);
        assert_eq!(rig.memory.blocks(), 0);
        let span = block.span(PIECE);
        let bytes = &truth()[span.start as usize..span.end as usize];
        assert_eq!(rig.on_disk(span), bytes);
    }
    assert!(rig.put_piece(2, 1, &[]).unwrap().good);
    // A piece whose bad blocks were written is missing as a whole, and not claimed.
    assert!(!rig.put_piece(0, 1, &[0]).unwrap().good);
    let kept = rig.assembler.flush(Duration::ZERO).unwrap();
    assert!(kept.is_empty(), "{kept:?}");
    assert!(rig.put_piece(0, 1, &[]).unwrap().good);
}

#[test]
fn what_is_flushed_or_given_back_is_on_the_disk() {
    let rig = Rig::new(1 << 20);
    rig.open_all();
    let (first, second) = (blocks(0)[1], blocks(1)[0]);
    rig.put(first, 1, true);
    rig.put(second, 1, true);
    let day = Duration::from_secs(86_400);
    assert!(rig.assembler.flush(day).unwrap().is_empty());
    let saved = rig.assembler.flush(Duration::ZERO).unwrap();
    let spans = [first.span(PIECE), second.span(PIECE)];
    assert_eq!(saved, RangeSet::from_iter(spans));
    for span in spans {
        let bytes = &truth()[span.start as usize..span.end as usize];
        assert_eq!(rig.on_disk(span), bytes);
    }
    rig.put(blocks(0)[2], 1, true);
    let back = rig.assembler.give_back(PieceIdx(0)).unwrap();
    assert_eq!(back.total(), 2 * u64::from(BLOCK_LEN));
    assert_eq!(kind(&rig.put(blocks(0)[0], 1, true)), '-');
    // A mirror wrote the rest of a block meanwhile: only whole blocks count.
    let mut on_disk = back.clone();
    on_disk.insert(Span::new(0, 100));
    rig.assembler.open(PieceIdx(0), &on_disk);
    assert_eq!(kind(&rig.put(blocks(0)[2], 1, true)), '-');
    assert_eq!(kind(&rig.put(blocks(0)[0], 1, true)), 'F');
}

#[test]
fn a_full_piece_that_nobody_completes_is_missing_again() {
    let rig = Rig::new(1 << 20);
    rig.open_all();
    let list = blocks(3);
    rig.put(list[0], 1, true);
    drop(rig.put(list[1], 1, true));
    assert_eq!(rig.memory.blocks(), 0);
    assert!(rig.put_piece(3, 1, &[]).unwrap().good);
}

#[test]
fn uploads_read_only_what_is_had() {
    let rig = Rig::new(1 << 20);
    rig.open_all();
    let block = Block::new(0, 100, 20_000);
    assert!(rig.assembler.read(block).is_err());
    assert!(rig.put_piece(0, 1, &[]).unwrap().good);
    assert!(rig.assembler.read_cached(block).is_none());
    assert_eq!(rig.assembler.read(block).unwrap(), truth()[100..20_100]);
    let other = Block::new(0, BLOCK_LEN, BLOCK_LEN);
    let span = other.span(PIECE);
    let bytes = &truth()[span.start as usize..span.end as usize];
    assert_eq!(rig.assembler.read_cached(other).unwrap(), bytes);
    assert!(rig.assembler.read(Block::new(0, PIECE - 10, 11)).is_err());
    assert!(rig.assembler.read(Block::new(1, 0, 10)).is_err());
    let second = rig.assembler.span_of(PieceIdx(1));
    let bytes = &truth()[second.start as usize..second.end as usize];
    let slices = &mut [IoSlice::new(bytes)];
    rig.assembler.files.write_at(second.start, slices).unwrap();
    rig.assembler.mark_have(PieceIdx(1));
    assert_eq!(
        rig.assembler.read(Block::new(1, 0, 10)).unwrap(),
        bytes[..10]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Peers 1 to 3 tell the truth; 4 and 5 lie now and then. Whatever is flushed, given back and
    /// doubled between, the files come out right, no honest peer is named, memory is bounded and
    /// what is verified stays.
    #[test]
    fn whatever_happens_the_files_come_out_right(seed in any::<u64>(), memory_max in 0u64..6) {
        let memory_max = memory_max * u64::from(BLOCK_LEN);
        let rig = Rig::new(memory_max);
        let mut rng = Rng::seeded(seed);
        let mut kept: HashMap<PieceIdx, RangeSet> = HashMap::new();
        rig.open_all();
        for _ in 0..5_000 {
            if rig.assembler.state.lock().have.all() {
                break;
            }
            let piece = PieceIdx(rng.below(u64::from(PIECES)) as u32);
            match rng.below(20) {
                0 => {
                    let back = rig.assembler.give_back(piece).unwrap();
                    kept.insert(piece, back);
                }
                1 => { rig.assembler.flush(Duration::ZERO).unwrap(); }
                2 => rig.assembler.open(piece, kept.get(&piece).unwrap_or(&RangeSet::new())),
                _ => {
                    let list = blocks(piece.0);
                    let block = list[rng.below(list.len() as u64) as usize];
                    let by = 1 + rng.below(5) as u8;
                    let good = by < 4 || rng.below(4) > 0;
                    if let Put::Full(full) = rig.put(block, by, good) {
                        kept.remove(&piece);
                        let result = rig.assembler.complete(full).unwrap();
                        for liar in result.guilty.iter().filter(|by| **by < peer(4)) {
                            // Only who had a hand in bad pieces all the time is named unproven.
                            prop_assert!(!result.good, "{liar} is innocent");
                        }
                    }
                    prop_assert!(rig.memory.blocks() <= memory_max.max(u64::from(BLOCK_LEN)));
                }
            }
            for had in 0..PIECES {
                if rng.below(10) == 0 && rig.assembler.has(PieceIdx(had)) {
                    let span = rig.assembler.span_of(PieceIdx(had));
                    prop_assert_eq!(&rig.on_disk(span)[..], &truth()[span.start as usize..span.end as usize]);
                }
            }
        }
        prop_assert!(rig.assembler.state.lock().have.all());
        prop_assert_eq!(rig.memory.blocks(), 0);
        prop_assert_eq!(rig.on_disk(Span::new(0, u64::from(TOTAL))), truth());
    }
}
