//! Checking all that is held against the hashes that name it, not only against its checksums.
//!
//! Damage is looked at twice, since a server may replace a chunk just then. What this process may
//! write to loses the damaged chunk alone; beside a server in another process the whole entry is
//! deleted, which the server notices.

use std::sync::Arc;

use xetway_core::Hash;

use crate::cache::Inner;
use crate::disk;
use crate::error::{Error, Result};
use crate::kinds::{Entry, Holding, Kind, PlainKey, Verdict, VerifyReport};
use crate::layout::{DATA, HELD, Name};
use crate::plain::{PlainFile, recorded_size};
use crate::plan;
use crate::scan::{Found, KnownOf, path_of, scan};
use crate::xorb::CachedXorb;

/// What a look at one entry gave.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) bytes: u64,
    pub(crate) problem: Option<String>,
}

/// Check everything; `on` is told of each entry.
pub(crate) fn verify(cache: &Arc<Inner>, mut on: impl FnMut(&Verdict)) -> Result<VerifyReport> {
    let scan = scan(&cache.layout)?;
    let mut report = VerifyReport::default();
    let mut tell = |kind: Kind, name: String, checked: Checked| {
        match kind {
            Kind::Xorb => report.xorbs += 1,
            Kind::Plain => report.plain_files += 1,
            Kind::Plan => report.plans += 1,
        }
        report.bytes += checked.bytes;
        report.damaged += u64::from(checked.problem.is_some());
        on(&Verdict {
            kind,
            name,
            bytes: checked.bytes,
            problem: checked.problem,
        });
    };
    for found in scan.found.iter().filter(|found| found.has_held) {
        let (kind, name) = kind_and_name(&found.name);
        tell(kind, name, check_and_repair(cache, found)?);
    }
    for known in &scan.known {
        if let KnownOf::File(file) = known.of {
            let path = path_of(&cache.layout, &known.of);
            let mut checked = Checked {
                bytes: known.bytes,
                problem: None,
            };
            if plan::read(&path, &file)?.is_none() && path.exists() {
                disk::remove_if_there(&path).map_err(Error::io("remove a damaged plan"))?;
                checked.problem = Some("the plan does not match its checksum".to_owned());
            }
            tell(Kind::Plan, file.to_hex(), checked);
        }
    }
    Ok(report)
}

fn check_and_repair(cache: &Arc<Inner>, found: &Found) -> Result<Checked> {
    if cache.is_locked() {
        return check(cache, &found.name, true);
    }
    let first = check(cache, &found.name, false)?;
    if first.problem.is_none() {
        return Ok(first);
    }
    match cache.lock() {
        Ok(_lock) => check(cache, &found.name, true),
        Err(Error::InUse) => {
            let second = check(cache, &found.name, false)?;
            if second.problem.is_some() {
                for suffix in [HELD, DATA] {
                    let path = cache.layout.named(&found.name, suffix);
                    disk::remove_if_there(&path).map_err(Error::io("remove a damaged file"))?;
                }
            }
            Ok(second)
        }
        Err(error) => Err(error),
    }
}

fn check(cache: &Arc<Inner>, name: &Name, repair: bool) -> Result<Checked> {
    match name {
        Name::Xorb(xorb) => check_xorb(cache, xorb, repair),
        Name::Plain(key) => check_plain(cache, key, repair),
    }
}

fn check_xorb(cache: &Arc<Inner>, xorb: &Hash, repair: bool) -> Result<Checked> {
    let (bytes, damaged) = if repair {
        let xorb = cache.xorb(xorb)?;
        let (bytes, damaged) = xorb.check()?;
        for chunk in &damaged {
            xorb.drop_damaged(chunk.index, chunk.epoch)?;
        }
        (bytes, damaged)
    } else {
        fresh_xorb(cache, xorb)?.check()?
    };
    let problem = damaged.first().map(|first| match damaged.len() {
        1 => format!("chunk {} is damaged: {}", first.index, first.problem),
        several => format!(
            "{several} chunks are damaged, the first is {}: {}",
            first.index, first.problem
        ),
    });
    Ok(Checked { bytes, problem })
}

fn check_plain(cache: &Arc<Inner>, key: &PlainKey, repair: bool) -> Result<Checked> {
    let path = cache.layout.plain(key, HELD);
    let Some(size) = recorded_size(key, &path)? else {
        return Ok(Checked::default());
    };
    if repair {
        cache.plain(key, size)?.check(true)
    } else {
        fresh_plain(cache, key, size)?.check(false)
    }
}

/// A xorb as it is on disk now, whoever uses it.
fn fresh_xorb(cache: &Arc<Inner>, xorb: &Hash) -> Result<CachedXorb> {
    let fresh = CachedXorb::new(Arc::clone(cache), *xorb);
    fresh.load()?;
    Ok(fresh)
}

fn fresh_plain(cache: &Arc<Inner>, key: &PlainKey, size: u64) -> Result<PlainFile> {
    let fresh = PlainFile::new(Arc::clone(cache), *key, size);
    fresh.load()?;
    Ok(fresh)
}

pub(crate) fn kind_and_name(name: &Name) -> (Kind, String) {
    match name {
        Name::Xorb(xorb) => (Kind::Xorb, xorb.to_hex()),
        Name::Plain(key) => (Kind::Plain, key.to_string()),
    }
}

/// List what takes room, least recently used first.
pub(crate) fn entries(cache: &Arc<Inner>) -> Result<Vec<Entry>> {
    let scan = scan(&cache.layout)?;
    let mut entries = Vec::with_capacity(scan.found.len());
    for found in scan.found.iter().filter(|found| found.has_held) {
        let (kind, name) = kind_and_name(&found.name);
        let (chunks, proven_chunks) = match &found.name {
            Name::Xorb(xorb) => fresh_xorb(cache, xorb)?.held_and_proven(),
            Name::Plain(key) => {
                let path = cache.layout.plain(key, HELD);
                let size = recorded_size(key, &path)?.unwrap_or_default();
                (1, u32::from(fresh_plain(cache, key, size)?.is_proven()))
            }
        };
        entries.push(Entry {
            kind,
            name,
            bytes: found.bytes + found.table_bytes,
            last_used_s: disk::seconds(found.used),
            chunks,
            proven_chunks,
        });
    }
    Ok(entries)
}

/// Say how much of a file is held and which xorbs it is made of, if its plan is known.
pub(crate) fn holding(cache: &Arc<Inner>, file: &Hash) -> Result<Option<Holding>> {
    let Some(plan) = plan::read(&cache.layout.plan(file), file)? else {
        return Ok(None);
    };
    let mut terms = plan.terms;
    terms.sort_unstable_by_key(|term| term.xorb);
    let (mut held_bytes, mut xorbs) = (0, Vec::new());
    // The tables of one xorb at a time: those of a large file are many.
    for of_xorb in terms.chunk_by(|one, next| one.xorb == next.xorb) {
        let Some(first) = of_xorb.first() else { continue };
        let xorb = fresh_xorb(cache, &first.xorb)?;
        for term in of_xorb {
            let chunks = xorb.chunks(term.start..term.end);
            let held = chunks.iter().filter(|chunk| chunk.held);
            held_bytes += held.map(|chunk| u64::from(chunk.raw_bytes)).sum::<u64>();
        }
        xorbs.push(first.xorb);
    }
    Ok(Some(Holding { held_bytes, xorbs }))
}
