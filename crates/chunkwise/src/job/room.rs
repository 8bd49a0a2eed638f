//! Room for what is on its way: chunks that are fetched ahead, connections, chunks that are written.

use crate::exec::Ahead;
use crate::store::Access;
use chunkwise_core::plan::fetch::{Prices, gap};

/// Encoded bytes of polled stores that are on their way or wait, at most.
const FEED: u64 = 64 << 20;
/// What an open connection holds: its answers are read into a buffer that grows to 400 KiB.
const CONNECTION: u64 = 416 << 10;
/// Requests on their way at once, at most and at least.
const REQUESTS: (u64, u64) = (64, 4);

/// How much of the budget goes to what is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// So much that no time is lost.
    Usual,
    /// As little as there can be, where the job does not fit otherwise.
    Least,
}

/// Room for what is on its way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Room {
    pub(super) fetch: Ahead,
    /// Bytes of chunks that are written.
    pub(super) sending: u64,
}

impl Room {
    /// In a budget of `memory`, of a store that is asked in this way (`None`: it answers at once), and one that keeps up to
    /// `sends` bytes of what is written.
    pub(super) fn of(polled: Option<Access>, sends: u64, prices: Prices, memory: u64, way: Way) -> Room {
        let (feed, connections, sending) = match way {
            Way::Usual => (memory / 4, memory / 10, memory / 16),
            Way::Least => (memory / 16, 0, memory / 64),
        };
        let fetch = polled.map(|access| {
            let (latency, bandwidth) = access.pace();
            let requests = (connections / CONNECTION).clamp(REQUESTS.1, REQUESTS.0);
            Ahead { bytes: FEED.min(feed), gap: gap(latency, bandwidth, prices), requests: requests as usize }
        });
        Room { fetch: fetch.unwrap_or_default(), sending: sends.min(sending) }
    }

    /// All of it.
    pub(super) fn bytes(self) -> u64 {
        self.fetch.bytes + CONNECTION * self.fetch.requests as u64 + self.sending
    }
}
