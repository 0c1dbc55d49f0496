//! Parse a xorb as it arrives, decoding and hashing every chunk.

use crate::codec::Decoder;
use crate::error::{Error, Result};
use crate::hash::{Hash, chunk_hash};
use crate::merkle::MerkleHasher;
use crate::xorb::footer::{IDENT, LENGTH_BYTES, parse_footer, v1_bytes};
use crate::xorb::meta::{ChunkList, check_root};
use crate::xorb::{ChunkHeader, XorbMeta, too_many_chunks};
use crate::xorb::{MAX_CHUNKS, MAX_RAW_BYTES, too_many_bytes};

const FORMAT: &str = "xorb";

/// A chunk the parser has verified.
#[derive(Clone, Copy, Debug)]
pub struct ParsedChunk<'a> {
    /// Position in the xorb, from 0.
    pub index: usize,
    /// Its header.
    pub header: ChunkHeader,
    /// Hash of its raw bytes.
    pub hash: Hash,
    /// The chunk as stored: header and payload.
    pub stored: &'a [u8],
    /// The decoded bytes.
    pub raw: &'a [u8],
}

/// Parses a chunk sequence, with or without a footer, that is pushed in pieces of any size.
///
/// Memory: one stored and one raw chunk, the list of chunks, and the footer if there is one. Each
/// byte is copied at most once. After an error the parser stays failed: every later call returns
/// the same error.
#[derive(Debug, Default)]
pub struct XorbParser {
    expected: Option<Hash>,
    /// The chunk, or the footer, whose end has not arrived yet.
    pending: Vec<u8>,
    raw: Vec<u8>,
    decoder: Decoder,
    chunks: ChunkList,
    merkle: MerkleHasher,
    in_footer: bool,
    failed: Option<Error>,
}

/// What the bytes at the current position are.
enum Next {
    Incomplete,
    Chunk(ChunkHeader),
    Footer,
}

impl XorbParser {
    /// Make a parser; `expected` is the hash the xorb must turn out to have.
    pub fn new(expected: Option<Hash>) -> Self {
        Self {
            expected,
            ..Self::default()
        }
    }

    /// Return the length of the chunks verified so far.
    pub fn accepted(&self) -> u64 {
        self.chunks.as_slice().last().map_or(0, |chunk| u64::from(chunk.end))
    }

    /// Return the number of chunks verified so far.
    pub fn len(&self) -> usize {
        self.chunks.as_slice().len()
    }

    /// Say whether no chunk was verified yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Feed the next bytes; calls `sink` with each chunk they complete, in order.
    ///
    /// An error of the sink ends parsing as well; it is returned here and later calls fail with
    /// code `parser_stopped`.
    pub fn push<E: From<Error>>(
        &mut self,
        data: &[u8],
        sink: &mut impl FnMut(ParsedChunk<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(error) = &self.failed {
            return Err(error.clone().into());
        }
        // Replaced below: by nothing on success, by the error itself if it is ours.
        self.failed = Some(Error::Malformed {
            format: FORMAT,
            offset: self.accepted(),
            code: "parser_stopped",
            reason: "the receiver of the chunks failed",
        });
        match self.consume(data, sink) {
            Ok(()) => {
                self.failed = None;
                Ok(())
            }
            Err(Stop::Format(error)) => {
                self.failed = Some(error.clone());
                Err(error.into())
            }
            Err(Stop::Sink(error)) => Err(error),
        }
    }

    fn consume<E>(
        &mut self,
        mut data: &[u8],
        sink: &mut impl FnMut(ParsedChunk<'_>) -> Result<(), E>,
    ) -> Result<(), Stop<E>> {
        while !data.is_empty() {
            if self.in_footer {
                return Ok(self.extend_footer(data)?);
            }
            if self.pending.is_empty() {
                // Whole chunks are taken from the caller's buffer without a copy.
                match self.classify(data)? {
                    Next::Chunk(header) if data.len() >= header.stored_bytes() as usize => {
                        let (stored, rest) = split(data, header.stored_bytes() as usize);
                        self.accept(header, stored, sink)?;
                        data = rest;
                        continue;
                    }
                    Next::Footer => {
                        self.in_footer = true;
                        continue;
                    }
                    Next::Chunk(_) | Next::Incomplete => {}
                }
            }
            data = self.fill(data, sink)?;
        }
        Ok(())
    }

    /// Move bytes to the pending buffer until its chunk is whole; returns what is left of `data`.
    fn fill<'a, E>(
        &mut self,
        data: &'a [u8],
        sink: &mut impl FnMut(ParsedChunk<'_>) -> Result<(), E>,
    ) -> Result<&'a [u8], Stop<E>> {
        let header_missing = ChunkHeader::BYTES.saturating_sub(self.pending.len());
        let (head, data) = split(data, header_missing);
        self.pending.extend_from_slice(head);
        let header = match self.classify(&self.pending)? {
            Next::Incomplete => return Ok(data),
            Next::Footer => {
                self.in_footer = true;
                return Ok(data);
            }
            Next::Chunk(header) => header,
        };
        let stored_bytes = header.stored_bytes() as usize;
        let (body, data) = split(data, stored_bytes.saturating_sub(self.pending.len()));
        self.pending.extend_from_slice(body);
        if self.pending.len() == stored_bytes {
            let mut pending = std::mem::take(&mut self.pending);
            let outcome = self.accept(header, &pending, sink);
            pending.clear();
            self.pending = pending;
            outcome?;
        }
        Ok(data)
    }

    /// Look at the bytes at the start of a chunk or footer, as far as they are there.
    fn classify(&self, bytes: &[u8]) -> Result<Next> {
        if bytes.first() == IDENT.first() {
            return match bytes.first_chunk::<7>() {
                Some(ident) if *ident == IDENT => Ok(Next::Footer),
                None if IDENT.starts_with(bytes) => Ok(Next::Incomplete),
                _ => Err(self.malformed("chunk_version", "neither a chunk nor a footer starts here")),
            };
        }
        let Some(header) = bytes.first_chunk::<{ ChunkHeader::BYTES }>() else {
            return match bytes.first() {
                Some(0) | None => Ok(Next::Incomplete),
                Some(_) => Err(self.malformed("chunk_version", "version is not 0")),
            };
        };
        let header = ChunkHeader::parse(header).map_err(|error| error.shifted(self.accepted()))?;
        // Refused before its payload is waited for.
        if self.len() >= MAX_CHUNKS {
            return Err(too_many_chunks(MAX_CHUNKS as u64 + 1, self.accepted()));
        }
        let raw_before = self
            .chunks
            .as_slice()
            .last()
            .map_or(0, |chunk| u64::from(chunk.raw_end));
        let raw_end = raw_before.saturating_add(u64::from(header.raw_bytes));
        if raw_end > MAX_RAW_BYTES {
            return Err(too_many_bytes(raw_end, self.accepted()));
        }
        Ok(Next::Chunk(header))
    }

    fn accept<E>(
        &mut self,
        header: ChunkHeader,
        stored: &[u8],
        sink: &mut impl FnMut(ParsedChunk<'_>) -> Result<(), E>,
    ) -> Result<(), Stop<E>> {
        let payload_offset = self.accepted().saturating_add(ChunkHeader::BYTES as u64);
        let payload = stored.get(ChunkHeader::BYTES..).unwrap_or_default();
        self.raw.resize(header.raw_bytes as usize, 0);
        self.decoder
            .decompress_into(header.scheme, payload, &mut self.raw)
            .map_err(|error| error.shifted(payload_offset))?;
        let hash = chunk_hash(&self.raw);
        let index = self.len();
        self.chunks.push(hash, header.raw_bytes, header.stored_bytes())?;
        self.merkle.push(hash, u64::from(header.raw_bytes));
        sink(ParsedChunk {
            index,
            header,
            hash,
            stored,
            raw: &self.raw,
        })
        .map_err(Stop::Sink)
    }

    fn extend_footer(&mut self, data: &[u8]) -> Result<()> {
        // Version 1 is the longer of the two.
        let limit = v1_bytes(self.len()) + LENGTH_BYTES;
        let total = self.pending.len().saturating_add(data.len());
        if total > limit {
            return Err(self.malformed("xorb_trailing_bytes", "more bytes follow the chunks than a footer has"));
        }
        self.pending.extend_from_slice(data);
        Ok(())
    }

    /// End the xorb and return its description.
    ///
    /// An unfinished chunk, no chunk at all, a hash other than the expected one, or a footer that
    /// does not describe the chunks is an error.
    pub fn finish(self) -> Result<XorbMeta> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let offset = self.accepted();
        if !self.in_footer && !self.pending.is_empty() {
            return Err(partial_chunk(&self.pending, offset));
        }
        let meta = self.chunks.finish(self.merkle.root())?;
        if let Some(expected) = self.expected {
            check_root(expected, meta.hash())?;
        }
        if self.in_footer {
            check_footer(&self.pending, &meta).map_err(|error| error.shifted(offset))?;
        }
        Ok(meta)
    }

    fn malformed(&self, code: &'static str, reason: &'static str) -> Error {
        Error::Malformed {
            format: FORMAT,
            offset: self.accepted(),
            code,
            reason,
        }
    }
}

/// Why parsing ended: its own error, or one of the receiver.
enum Stop<E> {
    Format(Error),
    Sink(E),
}

impl<E> From<Error> for Stop<E> {
    fn from(error: Error) -> Self {
        Self::Format(error)
    }
}

/// Split at `at`, or at the end of a shorter slice.
fn split(data: &[u8], at: usize) -> (&[u8], &[u8]) {
    data.split_at_checked(at).unwrap_or((data, &[]))
}

fn partial_chunk(pending: &[u8], offset: u64) -> Error {
    let header = pending.first_chunk::<{ ChunkHeader::BYTES }>();
    let wanted = header.and_then(|header| ChunkHeader::parse(header).ok());
    Error::Truncated {
        format: FORMAT,
        offset,
        wanted: wanted.map_or(ChunkHeader::BYTES as u64, |header| u64::from(header.stored_bytes())),
        got: pending.len() as u64,
    }
}

fn check_footer(bytes: &[u8], meta: &XorbMeta) -> Result<()> {
    let truncated = Error::Truncated {
        format: "xorb footer",
        offset: 0,
        wanted: (v1_bytes(meta.len()) + LENGTH_BYTES) as u64,
        got: bytes.len() as u64,
    };
    let (footer, length) = bytes.split_last_chunk::<LENGTH_BYTES>().ok_or(truncated)?;
    let parsed = parse_footer(footer)?;
    if u32::from_le_bytes(*length) as usize != footer.len() {
        return Err(Error::Malformed {
            format: "xorb footer",
            offset: footer.len() as u64,
            code: "footer_length",
            reason: "length field is not the length of the footer",
        });
    }
    parsed.check_against(meta)
}

/// Parse a whole xorb, with a footer of version 0 or 1 or without one, verifying every chunk.
///
/// `expected` is the hash it must turn out to have.
pub fn parse_xorb(bytes: &[u8], expected: Option<Hash>) -> Result<XorbMeta> {
    let mut parser = XorbParser::new(expected);
    parser.push(bytes, &mut |_| Ok::<(), Error>(()))?;
    parser.finish()
}
