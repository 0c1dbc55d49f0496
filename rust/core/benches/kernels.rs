//! The inner loops of the codec beside their peers: `gearhash` as `hf_xet` calls it, `blake3`, liblz4,
//! `lz4_flex`, memcpy.
//!
//! `cargo bench -p xetway-core --bench kernels -- [--rounds N] [--only KERNEL] [NAME=FILE]...` prints a line of JSON for each side
//! of each kernel on each file. One thread. The sides take turns; what they give is compared before they are timed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench that panics has found a wrong answer"
)]

use std::hint::black_box;
use std::time::Instant;

use lz4_flex::block::{CompressTable, compress_into_with_table};
use xetway_core::codec::{self, Scheme};
use xetway_core::{MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, bg4, chunker, gear, hash, lz4};

/// What the deployed client jumps over at the start of each chunk.
const PEER_SKIPS_BYTES: usize = MIN_CHUNK_BYTES - 64 - 1;

/// Magic, two bytes of description and a check: what stands before the first block of our frames.
const FRAME_HEADER_BYTES: usize = 7;

/// So many chunks, and what they are regrouped into, fit into a second-level cache.
const NEAR_CHUNKS: usize = 4;

/// The key of chunk hashes.
const DATA_KEY: [u8; 32] = [
    0x66, 0x97, 0xf5, 0x77, 0x5b, 0x95, 0x50, 0xde, 0x31, 0x35, 0xcb, 0xac, 0xa5, 0x97, 0x18, 0x1c, 0x9d, 0xe4, 0x21,
    0x10, 0x9b, 0xeb, 0x2b, 0x58, 0xb4, 0xd0, 0xb0, 0x4b, 0x93, 0xad, 0xf2, 0x29,
];

type Side<'a> = (&'static str, Box<dyn FnMut() + 'a>);

struct Contest<'a> {
    corpus: &'a str,
    data: &'a [u8],
    rounds: usize,
}

impl Contest<'_> {
    /// Time the sides in turn; what is worked on has so many bytes.
    fn run(&self, kernel: &str, bytes: usize, mut sides: Vec<Side<'_>>) {
        let mut seconds = vec![Vec::new(); sides.len()];
        for round in 0..=self.rounds {
            for ((_, work), seconds) in sides.iter_mut().zip(&mut seconds) {
                let began = Instant::now();
                work();
                if round > 0 {
                    seconds.push(began.elapsed().as_secs_f64());
                }
            }
        }
        for ((side, _), seconds) in sides.iter().zip(seconds) {
            let corpus = self.corpus;
            println!(
                r#"{{"kernel": "{kernel}", "corpus": "{corpus}", "side": "{side}", "bytes": {bytes}, "seconds": {seconds:?}}}"#
            );
        }
    }

    fn gear(&self) {
        let data = self.data;
        let wanted = scalar_boundaries(data);
        assert_eq!(chunker::boundaries(data), wanted);
        assert_eq!(peer_boundaries(data), wanted);
        let mut copy = vec![0; data.len()];
        let sides = vec![
            side("xetway", || given(chunker::boundaries(black_box(data)))),
            side("gearhash", || given(peer_boundaries(black_box(data)))),
            side("scalar", || given(scalar_boundaries(black_box(data)))),
            side("memcpy", || black_box(&mut copy).copy_from_slice(black_box(data))),
        ];
        self.run("gear", data.len(), sides);
    }

    fn blake3(&self) {
        let chunks: Vec<&[u8]> = self.data.chunks(chunker::TARGET_CHUNK_BYTES).collect();
        for chunk in &chunks {
            assert_eq!(
                hash::chunk_hash(chunk).as_bytes(),
                blake3::keyed_hash(&DATA_KEY, chunk).as_bytes()
            );
        }
        let sides = vec![
            side("xetway", || {
                for chunk in &chunks {
                    given(hash::chunk_hash(chunk));
                }
            }),
            side("blake3", || {
                for chunk in &chunks {
                    given(blake3::keyed_hash(&DATA_KEY, chunk));
                }
            }),
        ];
        self.run("blake3", self.data.len(), sides);
    }

    /// Chunks as the codec would compress them, grouped where it groups.
    fn lz4(&self, encode: bool) {
        let plain: Vec<(Scheme, Vec<u8>)> = chunker::chunks(self.data).map(grouped).collect();
        let mut encoder = lz4::Encoder::default();
        let mut frames = Vec::new();
        for (scheme, chunk) in &plain {
            let mut frame = Vec::new();
            encode_as(*scheme, &mut encoder, chunk, &mut frame);
            frames.push(frame);
        }
        let (mut ours, mut theirs) = (vec![0; MAX_CHUNK_BYTES], vec![0; MAX_CHUNK_BYTES]);
        // What would not become smaller is stored, and there is no block to decode.
        let blocks: Vec<(&[u8], &[u8], &[u8])> = frames
            .iter()
            .zip(&plain)
            .filter_map(|(frame, (_, chunk))| Some((frame.as_slice(), only_block(frame)?, chunk.as_slice())))
            .collect();
        for (frame, block, chunk) in &blocks {
            lz4::decode(frame, &mut ours[..chunk.len()]).unwrap();
            assert_eq!(peer_decode(block, &mut theirs[..chunk.len()]), chunk.len());
            assert!(ours[..chunk.len()] == **chunk && theirs[..chunk.len()] == **chunk);
        }
        if encode {
            let (mut frame, mut block, mut other_block) =
                (Vec::new(), vec![0; 2 * MAX_CHUNK_BYTES], vec![0; 2 * MAX_CHUNK_BYTES]);
            let mut table = CompressTable::large();
            let sides = vec![
                side("xetway", || {
                    for (scheme, chunk) in &plain {
                        frame.clear();
                        encode_as(*scheme, &mut encoder, chunk, black_box(&mut frame));
                    }
                }),
                side("liblz4", || {
                    for (_, chunk) in &plain {
                        given(::lz4::block::compress_to_buffer(chunk, None, false, &mut block).unwrap());
                    }
                }),
                side("lz4_flex", || {
                    for (_, chunk) in &plain {
                        given(compress_into_with_table(chunk, &mut other_block, &mut table).unwrap());
                    }
                }),
            ];
            self.run("lz4_encode", self.data.len(), sides);
        } else if !blocks.is_empty() {
            let bytes = blocks.iter().map(|(_, _, chunk)| chunk.len()).sum();
            let sides = vec![
                side("xetway", || {
                    for (frame, _, chunk) in &blocks {
                        lz4::decode(frame, black_box(&mut ours[..chunk.len()])).unwrap();
                    }
                }),
                side("liblz4", || {
                    for (_, block, chunk) in &blocks {
                        given(peer_decode(block, black_box(&mut theirs[..chunk.len()])));
                    }
                }),
            ];
            self.run("lz4_decode", bytes, sides);
        }
    }

    /// The codec groups chunks that were just hashed, so the goal is for chunks in a processor's own cache.
    fn bg4(&self) {
        let chunks: Vec<&[u8]> = chunker::chunks(self.data).collect();
        let planes: Vec<Vec<u8>> = chunks.iter().map(|chunk| split(chunk)).collect();
        for (chunk, planes) in chunks.iter().zip(&planes) {
            let mut merged = vec![0; chunk.len()];
            assert!(*planes == plain_split(chunk));
            assert!(bg4::merge(planes, &mut merged) && merged == *chunk);
        }
        let near = chunks.len().min(NEAR_CHUNKS);
        self.regroup("", &chunks[..near], &planes[..near]);
        self.regroup("_from_memory", &chunks, &planes);
    }

    fn regroup(&self, from: &str, chunks: &[&[u8]], planes: &[Vec<u8>]) {
        let bytes: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        let times = (self.data.len() / bytes.max(1)).max(1);
        let (mut out, mut copy) = (vec![0; MAX_CHUNK_BYTES], vec![0; MAX_CHUNK_BYTES]);
        let sides = vec![
            side("xetway", || {
                for chunk in chunks.iter().cycle().take(times * chunks.len()) {
                    assert!(bg4::split(chunk, black_box(&mut out[..chunk.len()])));
                }
            }),
            side("memcpy", || copy_all(chunks, times, &mut copy)),
        ];
        self.run(&format!("bg4_split{from}"), times * bytes, sides);
        let (mut merged, mut copy) = (vec![0; MAX_CHUNK_BYTES], vec![0; MAX_CHUNK_BYTES]);
        let sides = vec![
            side("xetway", || {
                for planes in planes.iter().cycle().take(times * planes.len()) {
                    assert!(bg4::merge(planes, black_box(&mut merged[..planes.len()])));
                }
            }),
            side("memcpy", || copy_all(planes, times, &mut copy)),
        ];
        self.run(&format!("bg4_merge{from}"), times * bytes, sides);
    }
}

fn side<'a>(name: &'static str, work: impl FnMut() + 'a) -> Side<'a> {
    (name, Box::new(work))
}

/// Take a result as if it were used.
fn given<T>(value: T) {
    let _ = black_box(value);
}

fn copy_all(pieces: &[impl AsRef<[u8]>], times: usize, target: &mut [u8]) {
    for piece in pieces.iter().cycle().take(times * pieces.len()).map(AsRef::as_ref) {
        black_box(&mut target[..piece.len()]).copy_from_slice(piece);
    }
}

/// The definition, byte by byte.
fn scalar_boundaries(data: &[u8]) -> Vec<u64> {
    let (mut ends, mut start, mut hash) = (Vec::new(), 0, 0_u64);
    for (index, byte) in data.iter().enumerate() {
        hash = gear::step(hash, *byte);
        let size = index - start + 1;
        if size >= MIN_CHUNK_BYTES && (size >= MAX_CHUNK_BYTES || hash & gear::MASK == 0) {
            ends.push(index as u64 + 1);
            (start, hash) = (index + 1, 0);
        }
    }
    if start < data.len() {
        ends.push(data.len() as u64);
    }
    ends
}

/// The crate's search as the deployed client uses it: skip the start of a chunk, go on after a match that is too early.
fn peer_boundaries(data: &[u8]) -> Vec<u64> {
    let (mut ends, mut start) = (Vec::new(), 0);
    while start < data.len() {
        let longest = (data.len() - start).min(MAX_CHUNK_BYTES);
        let mut hasher = gearhash::Hasher::default();
        let mut size = PEER_SKIPS_BYTES.min(longest);
        while size < longest {
            match hasher.next_match(&data[start + size..start + longest], gear::MASK) {
                Some(used) => size += used,
                None => size = longest,
            }
            if size >= MIN_CHUNK_BYTES {
                break;
            }
        }
        start += size;
        ends.push(start as u64);
    }
    ends
}

fn peer_decode(block: &[u8], target: &mut [u8]) -> usize {
    let room = i32::try_from(target.len()).unwrap();
    ::lz4::block::decompress_to_buffer(block, Some(room), target).unwrap()
}

/// The block of a frame that has one, if it is compressed.
fn only_block(frame: &[u8]) -> Option<&[u8]> {
    let (length, rest) = frame.get(FRAME_HEADER_BYTES..)?.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length);
    (length >> 31 == 0 && rest.len() == length as usize + 4).then(|| &rest[..length as usize])
}

fn grouped(chunk: &[u8]) -> (Scheme, Vec<u8>) {
    match codec::choose(chunk) {
        Scheme::ByteGrouping4Lz4 => (Scheme::ByteGrouping4Lz4, split(chunk)),
        scheme => (scheme, chunk.to_vec()),
    }
}

fn encode_as(scheme: Scheme, encoder: &mut lz4::Encoder, data: &[u8], frame: &mut Vec<u8>) {
    match scheme {
        Scheme::ByteGrouping4Lz4 => encoder.encode_planes(data, frame),
        Scheme::None | Scheme::Lz4 => encoder.encode(data, frame),
    }
}

fn split(chunk: &[u8]) -> Vec<u8> {
    let mut out = vec![0; chunk.len()];
    assert!(bg4::split(chunk, &mut out));
    out
}

fn plain_split(chunk: &[u8]) -> Vec<u8> {
    (0..4)
        .flat_map(|plane| chunk.iter().skip(plane).step_by(4).copied())
        .collect()
}

/// Bytes without any pattern.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let words = (0..size.div_ceil(8)).flat_map(|_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)).to_le_bytes()
    });
    words.take(size).collect()
}

fn main() {
    let (mut rounds, mut only, mut corpora) = (5, None, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {} // cargo says so
            "--rounds" => rounds = arguments.next().unwrap().parse().unwrap(),
            "--only" => only = arguments.next(),
            _ => {
                let (name, path) = argument.split_once('=').expect("NAME=FILE");
                corpora.push((name.to_owned(), std::fs::read(path).unwrap()));
            }
        }
    }
    if corpora.is_empty() {
        corpora.push(("random".to_owned(), noise(64 << 20)));
    }
    for (corpus, data) in &corpora {
        let contest = Contest { corpus, data, rounds };
        for (kernel, run) in [
            ("gear", &(|| contest.gear()) as &dyn Fn()),
            ("blake3", &|| contest.blake3()),
            ("lz4_encode", &|| contest.lz4(true)),
            ("lz4_decode", &|| contest.lz4(false)),
            ("bg4", &|| contest.bg4()),
        ] {
            if only.as_deref().is_none_or(|name| name == kernel) {
                run();
            }
        }
    }
}
