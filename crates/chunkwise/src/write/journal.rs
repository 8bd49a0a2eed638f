//! The journal of a cube that is being written: while it lies there, the output is no cube.

use crate::store::{Access, ByteRange, Store, StoreError, join};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Name of the journal below the group that is written.
pub const JOURNAL: &str = ".chunkwise-job.json";

/// Form of the journal.
const FORMAT: u32 = 1;

/// How often the journal is stored at most: what was done since is done again after a kill.
const PAUSE: Duration = Duration::from_millis(100);
/// The same where each time is a request.
const REMOTE_PAUSE: Duration = Duration::from_secs(5);

/// What a job is: a run with another head cannot go on with its output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalHead {
    /// Hash of the plan.
    pub plan: String,
    /// The request, for people.
    pub request: String,
    /// What is read.
    pub inputs: Vec<InputIdentity>,
    /// Version of chunkwise that writes.
    pub version: String,
}

/// An input and what tells its present content from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputIdentity {
    /// Location as the user wrote it.
    pub location: String,
    /// A hash of its metadata, a snapshot, a time of change: whatever the store has.
    pub identity: String,
}

/// A journal as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// Form of the journal.
    pub chunkwise_job: u32,
    /// What the job is.
    pub head: JournalHead,
    /// Partitions that are done, as first and last of runs, in order.
    pub done: Vec<(u64, u64)>,
}

/// What the journal at an output says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// There is none: the output is complete, or nothing was begun.
    None,
    /// A job that did not finish.
    Unfinished(Journal),
    /// A job that did not finish, and whose journal cannot be read: of another version, or damaged.
    Unreadable,
}

/// Looks for the journal of a group.
///
/// # Errors
/// The store cannot be read.
pub fn unfinished(store: &dyn Store, group: &str) -> Result<Found, StoreError> {
    let Some(bytes) = store.get(&join(group, JOURNAL), ByteRange::Whole)? else {
        return Ok(Found::None);
    };
    Ok(match serde_json::from_slice::<Journal>(&bytes) {
        Ok(journal) if journal.chunkwise_job == FORMAT => Found::Unfinished(journal),
        _ => Found::Unreadable,
    })
}

impl Journal {
    pub(crate) fn new(head: JournalHead) -> Journal {
        Journal { chunkwise_job: FORMAT, head, done: Vec::new() }
    }

    /// Whether a partition is done.
    pub fn is_done(&self, partition: u64) -> bool {
        let behind = self.done.partition_point(|&(first, _)| first <= partition);
        behind > 0 && self.done[behind - 1].1 >= partition
    }

    fn add(&mut self, partition: u64) {
        if self.is_done(partition) {
            return;
        }
        let at = self.done.partition_point(|&(first, _)| first <= partition);
        let joins_left = at > 0 && self.done[at - 1].1.checked_add(1) == Some(partition);
        let joins_right = at < self.done.len() && partition.checked_add(1) == Some(self.done[at].0);
        match (joins_left, joins_right) {
            (true, true) => {
                self.done[at - 1].1 = self.done[at].1;
                self.done.remove(at);
            }
            (true, false) => self.done[at - 1].1 = partition,
            (false, true) => self.done[at].0 = partition,
            (false, false) => self.done.insert(at, (partition, partition)),
        }
    }
}

impl JournalHead {
    /// What differs between a stored head and this one; `None` where the job is the same.
    pub(crate) fn changed(&self, stored: &JournalHead) -> Option<String> {
        if self.version != stored.version {
            return Some(format!("the version of chunkwise (`{}`, now `{}`)", stored.version, self.version));
        }
        for input in &self.inputs {
            match stored.inputs.iter().find(|i| i.location == input.location) {
                Some(same) if same == input => {}
                _ => return Some(format!("input `{}`", input.location)),
            }
        }
        if self.inputs.len() != stored.inputs.len() {
            return Some("the inputs".to_owned());
        }
        (self.plan != stored.plan).then(|| "the request".to_owned())
    }
}

/// A journal that is being kept.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) journal: Journal,
    stored: Instant,
}

impl Keeper {
    /// Stores the journal for the first time.
    pub(crate) fn begin(journal: Journal, store: &dyn Store, group: &str) -> Result<Keeper, StoreError> {
        let mut keeper = Keeper { journal, stored: Instant::now() };
        keeper.store(store, group)?;
        Ok(keeper)
    }

    /// Stores a journal for the first time where there is none; `None` where there is one.
    ///
    /// Servers that cannot make an object on condition are looked at first.
    pub(crate) fn claim(journal: Journal, store: &dyn Store, group: &str) -> Result<Option<Keeper>, StoreError> {
        let key = join(group, JOURNAL);
        let claimed = match store.put_if_absent(&key, &text(&journal)) {
            Err(StoreError::Status { status: 501, .. }) => {
                let free = store.get(&key, ByteRange::Whole)?.is_none();
                if free {
                    store.put(&key, &text(&journal))?;
                }
                free
            }
            claimed => claimed?,
        };
        Ok(claimed.then(|| Keeper { journal, stored: Instant::now() }))
    }

    /// Notes a partition, and stores the journal unless that was just done.
    pub(crate) fn done(&mut self, partition: u64, store: &dyn Store, group: &str) -> Result<(), StoreError> {
        self.journal.add(partition);
        let pause = if store.access() == Access::Polled { REMOTE_PAUSE } else { PAUSE };
        if self.stored.elapsed() < pause {
            return Ok(());
        }
        self.store(store, group)
    }

    fn store(&mut self, store: &dyn Store, group: &str) -> Result<(), StoreError> {
        store.put(&join(group, JOURNAL), &text(&self.journal))?;
        self.stored = Instant::now();
        Ok(())
    }
}

fn text(journal: &Journal) -> Vec<u8> {
    let mut text = serde_json::to_vec(journal).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_done_in_any_order_are_kept_as_runs() {
        let mut journal = Journal::new(JournalHead::default());
        for p in [5, 3, 4, 0, 9, 1, 4] {
            journal.add(p);
        }
        assert_eq!(journal.done, [(0, 1), (3, 5), (9, 9)]);
        let done: Vec<u64> = (0..11).filter(|&p| journal.is_done(p)).collect();
        assert_eq!(done, [0, 1, 3, 4, 5, 9]);
        journal.add(2);
        assert_eq!(journal.done, [(0, 5), (9, 9)]);
        journal.add(u64::MAX);
        assert!(journal.is_done(u64::MAX));
    }

    #[test]
    fn another_job_is_told_apart_by_what_changed() {
        let head = |plan: &str, identity: &str, version: &str| JournalHead {
            plan: plan.to_owned(),
            request: String::new(),
            inputs: vec![InputIdentity { location: "a.zarr".into(), identity: identity.into() }],
            version: version.to_owned(),
        };
        let now = head("p", "i", "1");
        assert_eq!(now.changed(&head("p", "i", "1")), None);
        assert_eq!(now.changed(&head("q", "i", "1")), Some("the request".into()));
        assert_eq!(now.changed(&head("p", "j", "1")), Some("input `a.zarr`".into()));
        let other = now.changed(&head("p", "i", "0"));
        assert_eq!(other, Some("the version of chunkwise (`0`, now `1`)".into()));
    }
}
