//! Stored chunks out of a stream of bytes: framing only, nothing is decoded here.
//!
//! A stored chunk is its 8-byte header and its payload. Lengths are checked against the limits of
//! the format before anything is waited for, so a lie costs at most one chunk of memory.
//!
//! Source: draft-denis-xet-03, "Xorb Format".

use bytes::{Buf, Bytes, BytesMut};
use xetway_core::Hash;
use xetway_core::xorb::ChunkHeader;

use crate::error::Result;

/// One chunk as stored.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Where it starts in the xorb.
    pub start: u64,
    /// Its header, within the limits of the format.
    pub header: ChunkHeader,
    /// Header and payload. Mostly a slice of the buffer it came in, which it keeps alive.
    pub stored: Bytes,
}

/// One chunk, decoded and hashed.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// Where it starts in the xorb.
    pub start: u64,
    /// Header and payload.
    pub stored: Bytes,
    /// The raw bytes.
    pub raw: Vec<u8>,
    /// Their hash.
    pub hash: Hash,
}

/// Cuts pushed bytes into whole stored chunks.
///
/// A chunk that lies inside one buffer is a slice of it; only one across buffers is copied.
#[derive(Debug)]
pub struct FrameParser {
    /// Offset of the first byte of the unfinished chunk.
    position: u64,
    /// The beginning of the unfinished chunk.
    pending: BytesMut,
}

impl FrameParser {
    /// Make a parser for bytes that begin with a chunk at offset `start` of their xorb.
    pub fn new(start: u64) -> Self {
        Self {
            position: start,
            pending: BytesMut::new(),
        }
    }

    /// Feed the next bytes and return the chunks they complete.
    ///
    /// After an error start anew: what was pushed is in an unknown state.
    pub fn push(&mut self, mut bytes: Bytes) -> Result<Vec<Frame>> {
        let mut frames = Vec::new();
        if !self.pending.is_empty() {
            let missing = ChunkHeader::BYTES.saturating_sub(self.pending.len());
            self.fill(&mut bytes, missing);
            let Some(header) = self.header(&self.pending)? else {
                return Ok(frames);
            };
            let stored_bytes = header.stored_bytes() as usize;
            self.fill(&mut bytes, stored_bytes.saturating_sub(self.pending.len()));
            if self.pending.len() < stored_bytes {
                return Ok(frames);
            }
            let stored = std::mem::take(&mut self.pending).freeze();
            frames.push(self.finish_frame(header, stored));
        }
        while let Some(header) = self.header(&bytes)? {
            let stored_bytes = header.stored_bytes() as usize;
            if bytes.len() < stored_bytes {
                // The whole chunk is coming: one allocation for it.
                self.pending.reserve(stored_bytes);
                break;
            }
            let stored = bytes.split_to(stored_bytes);
            frames.push(self.finish_frame(header, stored));
        }
        self.pending.extend_from_slice(&bytes);
        Ok(frames)
    }

    /// End the stream; a chunk that is not whole is an error.
    pub fn finish(&self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let wanted = self
            .header(&self.pending)?
            .map_or(ChunkHeader::BYTES as u64, |header| u64::from(header.stored_bytes()));
        Err(xetway_core::Error::Truncated {
            format: "stored chunk",
            offset: self.position,
            wanted,
            got: self.pending.len() as u64,
        }
        .into())
    }

    /// Return the offset after the last whole chunk.
    pub fn position(&self) -> u64 {
        self.position
    }

    fn fill(&mut self, bytes: &mut Bytes, wanted: usize) {
        let taken = wanted.min(bytes.len());
        self.pending.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        bytes.advance(taken);
    }

    fn header(&self, bytes: &[u8]) -> Result<Option<ChunkHeader>> {
        let Some(header) = bytes.first_chunk::<{ ChunkHeader::BYTES }>() else {
            return Ok(None);
        };
        let header = ChunkHeader::parse(header).map_err(|error| error.shifted(self.position))?;
        Ok(Some(header))
    }

    fn finish_frame(&mut self, header: ChunkHeader, stored: Bytes) -> Frame {
        let start = self.position;
        self.position = start.saturating_add(u64::from(header.stored_bytes()));
        Frame { start, header, stored }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use xetway_core::codec::encode_chunk;

    use super::{Frame, FrameParser};

    fn chunks() -> Vec<u8> {
        let mut stored = Vec::new();
        for length in [1_usize, 9, 70_000, 131_072, 300] {
            encode_chunk(&vec![b'x'; length], &mut stored).unwrap();
            encode_chunk(
                &(0..length).map(|at| (at * 31 % 251) as u8).collect::<Vec<_>>(),
                &mut stored,
            )
            .unwrap();
        }
        stored
    }

    fn parse(stored: &[u8], piece_bytes: usize) -> Vec<Frame> {
        let mut parser = FrameParser::new(100);
        let mut frames = Vec::new();
        for piece in stored.chunks(piece_bytes) {
            frames.extend(parser.push(Bytes::copy_from_slice(piece)).unwrap());
        }
        parser.finish().unwrap();
        assert_eq!(parser.position(), 100 + stored.len() as u64);
        frames
    }

    #[test]
    fn splits_do_not_matter() {
        let stored = chunks();
        for piece_bytes in [1, 7, 8, 37, 255, 4096, stored.len()] {
            let frames = parse(&stored, piece_bytes);
            assert_eq!(frames.len(), 10);
            let mut at = 100;
            for frame in &frames {
                assert_eq!(frame.start, at);
                assert_eq!(frame.stored.len(), frame.header.stored_bytes() as usize);
                at += frame.stored.len() as u64;
            }
            assert_eq!(
                frames
                    .iter()
                    .flat_map(|frame| frame.stored.to_vec())
                    .collect::<Vec<_>>(),
                stored
            );
        }
    }

    #[test]
    fn a_chunk_inside_one_buffer_is_not_copied() {
        let buffer = Bytes::from(chunks());
        let frames = FrameParser::new(0).push(buffer.clone()).unwrap();
        assert_eq!(frames[3].stored.as_ptr(), buffer[frames[3].start as usize..].as_ptr());
    }

    #[test]
    fn a_partial_chunk_is_an_error_at_every_byte() {
        let mut stored = Vec::new();
        encode_chunk(b"Hello World!", &mut stored).unwrap();
        for end in 1..stored.len() {
            let mut parser = FrameParser::new(0);
            assert!(parser.push(Bytes::copy_from_slice(&stored[..end])).unwrap().is_empty());
            assert_eq!(parser.finish().unwrap_err().code(), "truncated", "cut at {end}");
            assert_eq!(parser.position(), 0);
        }
    }

    #[test]
    fn lengths_over_the_limit_are_refused_at_the_header() {
        for header in [
            [1, 12, 0, 0, 0, 12, 0, 0],
            [0, 0, 0, 0, 0, 12, 0, 0],
            [0, 12, 0, 0, 0, 0, 0, 0],
            [0, 12, 0, 0, 3, 12, 0, 0],
            [0, 1, 0, 4, 1, 12, 0, 0],
            [0, 12, 0, 0, 1, 1, 0, 2],
            *b"XETBLOB\x01",
        ] {
            assert!(FrameParser::new(0).push(Bytes::copy_from_slice(&header)).is_err());
        }
    }
}
