//! Decoding and hashing held chunks: the check that trusts no checksum.

use std::fs::File;

use xetway_core::codec::Decoder;
use xetway_core::hash::chunk_hash;
use xetway_core::xorb::ChunkHeader;

use super::read::Span;
use crate::disk;
use crate::error::{Error, Result};
use crate::records::Placed;
use crate::xorb::CachedXorb;

/// A chunk whose bytes are not those of its hash.
#[derive(Debug)]
pub(crate) struct Damaged {
    pub(crate) index: u32,
    pub(crate) epoch: u64,
    pub(crate) problem: String,
}

impl CachedXorb {
    /// Check every chunk that is held; returns how many bytes that was, and what is damaged.
    pub(crate) fn check(&self) -> Result<(u64, Vec<Damaged>)> {
        let spans = self.held_spans();
        let file = disk::if_there(File::open(self.data_path())).map_err(Error::io("open cached chunks"))?;
        let mut decoder = Decoder::new();
        let (mut stored, mut raw) = (Vec::new(), Vec::new());
        let mut checked_bytes = 0;
        let mut damaged = Vec::new();
        for Span { placed, held, .. } in spans {
            stored.resize((placed.end - placed.start) as usize, 0);
            let filled = file
                .as_ref()
                .map_or(0, |file| disk::read_up_to(file, &mut stored, u64::from(placed.start)));
            stored.truncate(filled);
            checked_bytes += stored.len() as u64;
            let Some(problem) = problem_of(&mut decoder, &placed, &stored, &mut raw) else {
                continue;
            };
            // It may have been dropped and fetched again meanwhile.
            let still = self.table().get(placed.index).and_then(|slot| slot.held) == Some(held);
            if still {
                damaged.push(Damaged {
                    index: placed.index,
                    epoch: held.epoch,
                    problem,
                });
            }
        }
        Ok((checked_bytes, damaged))
    }

    fn held_spans(&self) -> Vec<Span> {
        let table = self.table();
        let spans = table.slots().iter().filter_map(|slot| {
            slot.held.map(|held| Span {
                placed: slot.placed,
                held,
                proven: slot.proven,
            })
        });
        spans.collect()
    }

    /// Count the chunks that are held, and those of them that are proven.
    pub(crate) fn held_and_proven(&self) -> (u32, u32) {
        self.held_spans().iter().fold((0, 0), |(held, proven), span| {
            (held + 1, proven + u32::from(span.proven))
        })
    }
}

fn problem_of(decoder: &mut Decoder, placed: &Placed, stored: &[u8], raw: &mut Vec<u8>) -> Option<String> {
    let Some((head, payload)) = stored.split_first_chunk::<{ ChunkHeader::BYTES }>() else {
        return Some("its bytes are not there".to_owned());
    };
    let header = match ChunkHeader::parse(head) {
        Ok(header) => header,
        Err(error) => return Some(error.to_string()),
    };
    if header.raw_bytes != placed.raw_bytes || header.stored_bytes() != placed.end - placed.start {
        return Some(format!(
            "its lengths are {} raw and {} stored, not {} and {}",
            header.raw_bytes,
            header.stored_bytes(),
            placed.raw_bytes,
            placed.end - placed.start
        ));
    }
    raw.resize(header.raw_bytes as usize, 0);
    if let Err(error) = decoder.decompress_into(header.scheme, payload, raw) {
        return Some(error.to_string());
    }
    let actual = chunk_hash(raw);
    (actual != placed.hash).then(|| format!("it hashes to {actual}, not {}", placed.hash))
}
