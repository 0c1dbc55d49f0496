//! Small ranges of a xorb that one URL serves, fetched by one request where the host can do that.
//!
//! Large ranges are better off alone: they are read at the same time, and each goes on where it was cut.

use std::collections::HashMap;
use std::ops::Range;

use xetway_core::Hash;

use super::job::{Begun, Download};
use super::layout::{Job, Layout};
use crate::error::{Error, Result};
use crate::fetch::SharedParts;
use crate::http::{Parts, is_refused_url};
use crate::reconstruction::Reconstruction;
use crate::secret::Secret;

/// Longest range that is fetched with others.
const MAX_RANGE_BYTES: u64 = 4 << 20;
/// Most bytes fetched by one request for several ranges.
const MAX_GROUP_BYTES: u64 = 16 << 20;
/// Most ranges of one request.
const MAX_RANGES: usize = 32;

/// Jobs that may be fetched together, ascending, none overlapping another.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) jobs: Vec<usize>,
    ranges: Vec<Range<u64>>,
}

impl Group {
    fn has_room(&self, wanted: &Range<u64>) -> bool {
        let bytes: u64 = self.ranges.iter().map(length).sum();
        let overlaps = |range: &Range<u64>| range.start < wanted.end && wanted.start < range.end;
        self.jobs.len() < MAX_RANGES
            && bytes.saturating_add(length(wanted)) <= MAX_GROUP_BYTES
            && !self.ranges.iter().any(overlaps)
    }

    fn add(&mut self, job: usize, range: Range<u64>) {
        let place = self.ranges.partition_point(|other| other.start < range.start);
        self.jobs.insert(place, job);
        self.ranges.insert(place, range);
    }
}

fn length(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}

/// Group the jobs of `layout`, which is made of `plan`; in the order of first use.
pub(super) fn groups(plan: &Reconstruction, layout: &Layout) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut growing: HashMap<(Hash, &Secret), usize> = HashMap::new();
    for (index, job) in layout.jobs.iter().enumerate() {
        let key = url_of(plan, job)
            .filter(|_| length(&job.bytes) <= MAX_RANGE_BYTES)
            .map(|url| (job.xorb, url));
        let known = key.and_then(|key| growing.get(&key)).and_then(|at| groups.get_mut(*at));
        if let Some(group) = known.filter(|group| group.has_room(&job.bytes)) {
            group.add(index, job.bytes.clone());
            continue;
        }
        let mut group = Group::default();
        group.add(index, job.bytes.clone());
        if let Some(key) = key {
            growing.insert(key, groups.len());
        }
        groups.push(group);
    }
    groups
}

fn url_of<'a>(plan: &'a Reconstruction, job: &Job) -> Option<&'a Secret> {
    let fetches = plan.fetches.get(&job.xorb)?;
    let at = fetches.binary_search_by_key(&job.chunks.start, |fetch| fetch.chunks.start);
    Some(&fetches.get(at.ok()?)?.url)
}

/// Bring `begun`, the jobs of a group, to disk by one request; returns those that are left.
pub(super) async fn fetch(download: &Download, begun: Vec<Begun>) -> Result<Vec<Begun>> {
    let Some(parts) = open(download, &begun).await else {
        return Ok(begun);
    };
    let shared = SharedParts::new(parts);
    let mut begun = begun.into_iter();
    while !shared.is_empty()
        && let Some(job) = begun.next()
    {
        job.fetch(Some(shared.clone())).await?;
    }
    if let Some(parts) = shared.take() {
        parts.finish().await;
    }
    Ok(begun.collect())
}

/// Open the missing ranges; `None` if they have to be fetched one by one.
async fn open(download: &Download, begun: &[Begun]) -> Option<Parts> {
    let http = &download.http;
    let ranges = merged(begun.iter().map(|job| job.missing().1));
    let (mut attempt, mut is_renewed) = (1, false);
    loop {
        let url = shared_url(download, begun).await?;
        if ranges.len() < 2 || http.gives_single_ranges_only(url.expose()) {
            return None;
        }
        let error = match http.open_parts(url.expose(), &ranges).await {
            Ok(parts) => return Some(parts),
            Err(error) => error,
        };
        match error {
            Error::Status { status, .. } if is_refused_url(status) => {
                if is_renewed {
                    http.expect_single_ranges(url.expose());
                    return None;
                }
                let (xorb, bytes) = begun.first()?.missing();
                download.source.renew(&url, &xorb, &bytes).await.ok()?;
                is_renewed = true;
            }
            error if error.is_unreachable() => return None,
            error => {
                if http.gives_single_ranges_only(url.expose()) {
                    return None;
                }
                http.back_off(attempt, http.options().attempts, error).await.ok()?;
                attempt += 1;
            }
        }
    }
}

/// The URL of all missing ranges; `None` if they have several.
async fn shared_url(download: &Download, begun: &[Begun]) -> Option<Secret> {
    let mut shared = None;
    for (xorb, bytes) in begun.iter().map(Begun::missing) {
        let url = download.source.url(&xorb, &bytes).await.ok()?.url;
        if shared.get_or_insert_with(|| url.clone()) != &url {
            return None;
        }
    }
    shared
}

/// Join ranges that touch. They are ascending.
fn merged(ranges: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::{Group, MAX_GROUP_BYTES, MAX_RANGE_BYTES, MAX_RANGES, merged};

    #[test]
    fn ranges_that_touch_are_one() {
        let ranges = |list: &[Range<u64>]| merged(list.iter().cloned());
        assert_eq!(ranges(&[0..5, 5..9, 10..11, 11..12]), [0..9, 10..12]);
        assert_eq!(ranges(&[]), []);
    }

    #[test]
    fn a_group_is_ascending_and_bounded() {
        let mut group = Group::default();
        for (job, range) in [20..30, 0..10, 10..20, 40..50].into_iter().enumerate() {
            assert!(group.has_room(&range));
            group.add(job, range);
        }
        assert_eq!(group.jobs, [1, 2, 0, 3]);
        assert!(!group.has_room(&(49..51)) && !group.has_room(&(25..26)) && group.has_room(&(30..40)));
        let full = |count: u64, bytes: u64| {
            let mut group = Group::default();
            (0..count).for_each(|at| group.add(0, at * bytes..(at + 1) * bytes));
            !group.has_room(&(1 << 40..(1 << 40) + bytes))
        };
        assert!(full(MAX_RANGES as u64, 1) && !full(MAX_RANGES as u64 - 1, 1));
        let most = MAX_GROUP_BYTES / MAX_RANGE_BYTES;
        assert!(full(most, MAX_RANGE_BYTES) && !full(most - 1, MAX_RANGE_BYTES));
    }
}
