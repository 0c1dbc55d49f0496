//! The three files of a xorb, as their only writer sees them.

use std::fs::File;
use std::path::PathBuf;

use xetway_core::Hash;

use crate::cache::Inner;
use crate::disk;
use crate::error::{Error, Result};
use crate::layout::{CHUNKS, DATA, HELD};
use crate::log::{Continuity, Log, Record};
use crate::records::{ChunksRecord, HeldRecord, OnDisk, Placed, chunks_header, held_header};
use crate::table::{Slot, Table};

/// Appends to the files and keeps count of the room they take.
#[derive(Debug)]
pub(crate) struct XorbFiles {
    chunks: Log,
    held: Log,
    data: PathBuf,
    data_bytes: u64,
    /// Whether the xorb is counted among those that hold anything.
    counted: bool,
}

impl XorbFiles {
    pub(crate) fn new(cache: &Inner, hash: &Hash) -> Self {
        Self {
            chunks: Log::new(cache.layout.xorb(hash, CHUNKS), chunks_header(hash)),
            held: Log::new(cache.layout.xorb(hash, HELD), held_header(hash)),
            data: cache.layout.xorb(hash, DATA),
            data_bytes: 0,
            counted: false,
        }
    }

    /// Read the sidecar files.
    pub(crate) fn load(&mut self, hash: &Hash) -> Result<Table> {
        let mut table = Table::default();
        self.chunks
            .load(|kind, body| ChunksRecord::parse(kind, body).is_some_and(|record| replay(&mut table, hash, &record)))
            .map_err(Error::io("read a chunk table"))?;
        self.held
            .load(|kind, body| {
                HeldRecord::parse(kind, body)
                    .map(|record| replay_held(&mut table, &record))
                    .is_some()
            })
            .map_err(Error::io("read the list of held chunks"))?;
        self.data_bytes = disk::allocated_at(&self.data);
        self.counted = !self.held.is_empty();
        Ok(table)
    }

    /// Open `.held` to append.
    pub(crate) fn open_held(&mut self) -> Result<(File, Continuity)> {
        self.held.open().map_err(Error::io("open the list of held chunks"))
    }

    /// Append to `.held`.
    pub(crate) fn record_held(&mut self, cache: &Inner, file: &File, records: &[Record]) -> Result<()> {
        let before = self.held.allocated_bytes();
        let outcome = self.held.append(&cache.disk, file, records);
        cache.usage.resized(before, self.held.allocated_bytes());
        if !self.counted {
            cache.usage.xorbs(0, 1);
            self.counted = true;
        }
        outcome.map_err(Error::io("write the list of held chunks"))
    }

    /// Append to `.chunks`; if earlier records are gone, what `table` knows comes first.
    pub(crate) fn record_chunks(&mut self, cache: &Inner, table: &Table, record: &ChunksRecord) -> Result<()> {
        let (file, continuity) = self.chunks.open().map_err(Error::io("open a chunk table"))?;
        let mut records = match continuity {
            Continuity::Kept => Vec::new(),
            Continuity::Lost | Continuity::StartedOver => table_records(table),
        };
        records.push(record.to_record());
        let before = self.chunks.allocated_bytes();
        let outcome = self.chunks.append(&cache.disk, &file, &records);
        cache.usage.resized(before, self.chunks.allocated_bytes());
        outcome.map_err(Error::io("write a chunk table"))
    }

    /// Write chunks to their places in `.data`.
    pub(crate) fn write_data<'a>(
        &mut self,
        cache: &Inner,
        chunks: impl Iterator<Item = (u64, &'a [u8])>,
    ) -> Result<()> {
        let file = disk::open_or_make(&self.data).map_err(Error::io("open cached chunks"))?;
        let mut outcome = Ok(());
        for (start, stored) in chunks {
            outcome = cache.disk.write_all_at(&file, stored, start);
            if outcome.is_err() {
                break;
            }
        }
        self.count_data(cache);
        outcome.map_err(Error::io("write cached chunks"))
    }

    /// Say whether `.data` is there.
    pub(crate) fn has_data(&self) -> Result<bool> {
        self.data.try_exists().map_err(Error::io("look at cached chunks"))
    }

    /// Look at how much room `.data` takes.
    pub(crate) fn count_data(&mut self, cache: &Inner) {
        let before = std::mem::replace(&mut self.data_bytes, disk::allocated_at(&self.data));
        cache.usage.resized(before, self.data_bytes);
    }

    /// Delete the bytes: first what says that they are there.
    pub(crate) fn remove_bytes(&mut self, cache: &Inner) -> Result<()> {
        let before = self.held.allocated_bytes();
        self.held
            .remove()
            .map_err(Error::io("remove the list of held chunks"))?;
        cache.usage.resized(before, 0);
        if std::mem::take(&mut self.counted) {
            cache.usage.xorbs(1, 0);
        }
        let outcome = disk::remove_if_there(&self.data).map_err(Error::io("remove cached chunks"));
        self.count_data(cache);
        outcome.map(|_| ())
    }

    /// Delete the table.
    pub(crate) fn remove_chunks(&mut self, cache: &Inner) -> Result<()> {
        cache.usage.resized(self.chunks.allocated_bytes(), 0);
        self.chunks.remove().map_err(Error::io("remove a chunk table"))
    }
}

fn replay(table: &mut Table, hash: &Hash, record: &ChunksRecord) -> bool {
    match record {
        ChunksRecord::Table(run) => {
            let fits = table.check_run(hash, run).is_ok();
            if fits {
                table.insert_run(run);
            }
            fits
        }
        ChunksRecord::Proven(chunks) => {
            table.prove(chunks);
            true
        }
        ChunksRecord::Forgotten(chunks) => {
            table.forget(chunks);
            true
        }
        ChunksRecord::Whole(count) => table.set_whole(*count),
    }
}

fn replay_held(table: &mut Table, record: &HeldRecord) {
    match record {
        HeldRecord::Held(chunks) => table.hold(chunks),
        HeldRecord::Dropped(chunks) => {
            table.drop_held(chunks, u64::MAX);
        }
    }
}

/// Records that give the table as it is.
fn table_records(table: &Table) -> Vec<Record> {
    let mut records = Vec::new();
    let runs = table
        .slots()
        .chunk_by(|slot, next| slot.placed.index + 1 == next.placed.index && slot.proven == next.proven);
    for run in runs {
        let placed: Vec<Placed> = run.iter().map(|slot| slot.placed).collect();
        let proven = placed
            .first()
            .zip(placed.last())
            .filter(|_| run.first().is_some_and(|slot| slot.proven))
            .map(|(first, last)| first.index..last.index.saturating_add(1));
        records.push(ChunksRecord::Table(placed).to_record());
        records.extend(proven.map(|chunks| ChunksRecord::Proven(chunks).to_record()));
    }
    records.extend(table.count().map(|count| ChunksRecord::Whole(count).to_record()));
    records
}

/// Records that say which of `slots` are on disk.
pub(crate) fn held_records(slots: &[Slot]) -> Vec<Record> {
    let held: Vec<OnDisk> = slots.iter().filter_map(on_disk).collect();
    runs_on_disk(&held)
}

fn on_disk(slot: &Slot) -> Option<OnDisk> {
    slot.held.map(|held| OnDisk {
        index: slot.placed.index,
        start: slot.placed.start,
        end: slot.placed.end,
        check: held.check,
    })
}

/// Records that say that these chunks are on disk.
pub(crate) fn runs_on_disk(chunks: &[OnDisk]) -> Vec<Record> {
    chunks
        .chunk_by(|chunk, next| chunk.index + 1 == next.index)
        .map(|run| HeldRecord::Held(run.to_vec()).to_record())
        .collect()
}
