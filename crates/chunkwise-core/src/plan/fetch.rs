//! In what order a polled store is asked for the chunks of a stage, and which it is asked for together.
//!
//! Chunks are looked at in batches, in the order of their first use. Inner chunks of one shard in a batch are fetched
//! together: where nothing lies between them that would cost more than another request, in one request.

use super::Stage;
use super::touched::Uses;
use crate::cube::ShardOf;
use std::collections::{HashMap, VecDeque};

/// One request is for this much at most, unless one chunk alone is more: a store that is asked for larger pieces is no
/// faster, and fewer are on their way at once.
///
/// Source: Amazon S3, performance guidelines ("typical sizes for byte-range requests are 8 MB or 16 MB").
const LARGEST: u64 = 8 << 20;

/// Bytes of one chunk in the index of its shard.
pub(super) const INDEX_ENTRY: u64 = 16;

/// An array of a stage, and a chunk of it.
pub type Key = (usize, Vec<u64>);

/// What is worth a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prices {
    /// Price of a gigabyte (10⁹ bytes) that leaves the store; 0: only time counts.
    pub egress_per_gb: f64,
    /// Price of 1,000 requests, in the same currency.
    pub requests_per_1000: f64,
}

impl Default for Prices {
    /// Nothing for bytes; requests as Amazon S3 has them (us-east-1, GET): 0.0004 dollars for 1,000.
    fn default() -> Prices {
        Prices { egress_per_gb: 0.0, requests_per_1000: 0.0004 }
    }
}

/// Bytes between two chunks that are read rather than asked around, where a request waits `latency` seconds and then gets
/// `bandwidth` bytes a second: what would have come in that time; where bytes have a price, no more than a request costs.
pub fn gap(latency: f64, bandwidth: f64, prices: Prices) -> u64 {
    let by_time = latency * bandwidth;
    let by_price = match prices.egress_per_gb > 0.0 {
        true => prices.requests_per_1000 / 1e3 / (prices.egress_per_gb / 1e9),
        false => f64::INFINITY,
    };
    by_time.min(by_price) as u64
}

/// Chunks that are fetched together: one that is no part of a shard, or several of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Which array of the stage.
    pub array: usize,
    /// The chunks, in the order of their first use.
    pub chunks: Vec<Vec<u64>>,
    /// Bytes that they take at most as they are stored, with the index of their shard.
    pub bytes: u64,
}

/// All chunks of a stage in the order in which they are asked for.
#[derive(Debug)]
pub struct Fetches<'a> {
    stage: &'a Stage,
    needed: Needed<'a>,
    room: u64,
    next: Option<Key>,
    ready: VecDeque<Fetch>,
}

impl<'a> Fetches<'a> {
    /// For patches swept in `order`, with `room` bytes for what is on its way or waits. A batch takes half of it, so
    /// that a batch can be waited for whole while the next is on its way.
    pub fn new(stage: &'a Stage, order: &'a [usize], room: u64) -> Fetches<'a> {
        Fetches { stage, needed: Needed::new(stage, order), room, next: None, ready: VecDeque::new() }
    }

    fn fill(&mut self) {
        let (batch, largest) = (self.room / 2, LARGEST.min(self.room / 4));
        let mut total = 0u64;
        let mut open: HashMap<(usize, Vec<u64>), usize> = HashMap::new();
        while let Some((array, chunk)) = self.next.take().or_else(|| self.needed.next()) {
            let shard = self.stage.arrays[array].shard_of(&chunk);
            // The index comes with the first chunk of a shard; a part of it is held twice while it is looked through.
            let entries = |shard: &ShardOf| shard.count().unwrap_or(u64::MAX).saturating_mul(2 * INDEX_ENTRY);
            let index = shard.as_ref().map_or(0, entries);
            let shard = shard.map(|shard| (array, shard.index));
            let begun = shard.as_ref().is_some_and(|shard| open.contains_key(shard));
            let bytes = self.stage.stored_bytes(array, &chunk).saturating_add(if begun { 0 } else { index });
            if total > 0 && total.saturating_add(bytes) > batch {
                self.next = Some((array, chunk));
                return;
            }
            total = total.saturating_add(bytes);
            let with = shard.as_ref().and_then(|shard| open.get(shard)).and_then(|&at| self.ready.get_mut(at));
            match with.filter(|fetch| fetch.bytes.saturating_add(bytes) <= largest) {
                Some(fetch) => {
                    fetch.bytes += bytes;
                    fetch.chunks.push(chunk);
                }
                None => {
                    if let Some(shard) = shard {
                        open.insert(shard, self.ready.len());
                    }
                    self.ready.push_back(Fetch { array, chunks: vec![chunk], bytes });
                }
            }
        }
    }
}

impl Iterator for Fetches<'_> {
    type Item = Fetch;
    fn next(&mut self) -> Option<Fetch> {
        if self.ready.is_empty() {
            self.fill();
        }
        self.ready.pop_front()
    }
}

/// Requests of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// How many, where all chunks exist and lie in C order in their shards.
    pub count: u64,
    /// Whether it may be fewer: what lies between chunks of a shard may be little enough to be read with them.
    pub at_most: bool,
}

impl Stage {
    /// Bytes that a chunk takes at most as it is stored: compression may add a little.
    fn stored_bytes(&self, array: usize, chunk: &[u64]) -> u64 {
        let array = &self.arrays[array];
        let size = array.view.map_or(1, |d| d.size() as u64);
        let cells = array.chunks.iter().zip(chunk).map(|(sizes, &c)| sizes.length(c));
        let bytes = cells.fold(size, u64::saturating_mul);
        bytes.saturating_add(bytes / 64).saturating_add(4096)
    }

    /// Requests to a polled store, when the stage is walked in one tile. Every chunk is looked at.
    pub fn requests(&self, order: &[usize], room: u64) -> Requests {
        let mut requests = Requests::default();
        for a in 0..self.arrays.len() {
            requests.count += self.touched(a).shards;
        }
        for fetch in Fetches::new(self, order, room) {
            let array = &self.arrays[fetch.array];
            let mut shards: Vec<_> = fetch.chunks.iter().filter_map(|c| array.shard_of(c)).collect();
            shards.sort_by_key(|shard| shard.position());
            requests.count += 1;
            for pair in shards.windows(2) {
                let (from, to) = (pair[0].position(), pair[1].position());
                if (from + 1..to).any(|between| pair[0].holds_cells(between, &array.shape, &array.chunks)) {
                    requests.count += 1;
                    requests.at_most = true;
                }
            }
        }
        requests
    }
}

/// The chunks of a stage in the order of their first use.
#[derive(Debug)]
struct Needed<'a> {
    stage: &'a Stage,
    order: &'a [usize],
    uses: Uses,
    /// Chunks that later leaves need too, and how many.
    again: HashMap<Key, u64>,
    patch: u64,
    leaf: u64,
    /// Intervals of the patch in work, and its leaves.
    open: Option<(Vec<(u64, u64)>, u64)>,
    found: Vec<Key>,
}

impl<'a> Needed<'a> {
    fn new(stage: &'a Stage, order: &'a [usize]) -> Needed<'a> {
        let (uses, again, found) = (Uses::new(stage), HashMap::new(), Vec::new());
        Needed { stage, order, uses, again, patch: 0, leaf: 0, open: None, found }
    }

    /// The first uses of the next leaf, last first; `false` where no leaf is left.
    fn advance(&mut self) -> bool {
        loop {
            let (intervals, leaves) = match &self.open {
                Some(open) => open,
                None if self.patch == self.stage.patch_count() => return false,
                None => {
                    let intervals = self.stage.patch_intervals(&self.stage.patch_at(self.order, self.patch));
                    let leaves = self.stage.leaf_count(&intervals);
                    self.patch += 1;
                    self.leaf = 0;
                    self.open.insert((intervals, leaves))
                }
            };
            if self.leaf == *leaves {
                self.open = None;
                continue;
            }
            let leaf = self.stage.leaf_at(intervals, self.leaf);
            self.leaf += 1;
            let mut here: Vec<Key> = Vec::new();
            for view in &self.stage.inputs {
                let key = (view.array, self.stage.chunk_of(view, &leaf));
                if !here.contains(&key) {
                    here.push(key);
                }
            }
            for key in here {
                if self.uses.once(key.0) {
                    self.found.push(key);
                } else if let Some(left) = self.again.get_mut(&key) {
                    *left -= 1;
                    if *left == 0 {
                        self.again.remove(&key);
                    }
                } else {
                    let left = self.uses.of(self.stage, key.0, &key.1) - 1;
                    if left > 0 {
                        self.again.insert(key.clone(), left);
                    }
                    self.found.push(key);
                }
            }
            self.found.reverse();
            return true;
        }
    }
}

impl Iterator for Needed<'_> {
    type Item = Key;
    fn next(&mut self) -> Option<Key> {
        while self.found.is_empty() {
            if !self.advance() {
                return None;
            }
        }
        self.found.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_between_is_read_where_that_is_faster_and_no_dearer_than_a_request() {
        let near = |prices| gap(0.02, 90e6, prices);
        assert_eq!(near(Prices::default()), 1_800_000);
        // 0.0004 / 1000 a request, 0.09 / 10⁹ a byte: 4,444 bytes cost what a request does.
        assert_eq!(near(Prices { egress_per_gb: 0.09, ..Prices::default() }), 4_444);
        assert_eq!(near(Prices { egress_per_gb: 1e-9, requests_per_1000: 5.0 }), 1_800_000);
        assert_eq!(near(Prices { egress_per_gb: 0.09, requests_per_1000: 0.0 }), 0);
        assert_eq!(gap(0.0, f64::MAX, Prices::default()), 0);
    }
}
