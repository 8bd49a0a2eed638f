//! Objects on their way to a store that answers after a while: several at once, bounded in number and bytes.

use crate::store::{Store, StoreError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Objects on their way at once, at most.
const OBJECTS: usize = 32;

/// An object that was not stored, and why.
pub(crate) type Failed = (String, Arc<StoreError>);

/// What is on its way. An object that fails is told to all who ask; nothing is taken any more, and nothing counts as stored.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Bytes on their way, at most: one object alone is let through whatever its size.
    most: u64,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    now: Mutex<Now>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Now {
    objects: usize,
    bytes: u64,
    /// The first object that failed.
    failed: Option<Failed>,
}

impl Outbox {
    /// Room for so many bytes.
    pub(crate) fn new(most: u64) -> Outbox {
        Outbox { most, shared: Arc::default() }
    }

    /// Sends an object as soon as there is room for it.
    ///
    /// # Errors
    /// This one or an earlier one cannot be stored.
    pub(crate) fn put(&self, store: &dyn Store, key: &str, bytes: Vec<u8>) -> Result<(), Failed> {
        let size = bytes.len() as u64;
        let fits = |now: &Now| now.objects == 0 || (now.objects < OBJECTS && now.bytes + size <= self.most);
        let mut now = self.wait(fits)?;
        now.objects += 1;
        now.bytes += size;
        drop(now);
        let (shared, own) = (self.shared.clone(), key.to_owned());
        let done = move |done: Result<(), StoreError>| {
            let mut now = lock(&shared.now);
            now.objects -= 1;
            now.bytes -= size;
            if let Err(error) = done {
                now.failed.get_or_insert((own, Arc::new(error)));
            }
            shared.changed.notify_all();
        };
        store.put_later(key, bytes, Box::new(done));
        Ok(())
    }

    /// Waits until all is stored.
    ///
    /// # Errors
    /// Something is not.
    pub(crate) fn flush(&self) -> Result<(), Failed> {
        self.wait(|now| now.objects == 0).map(|_| ())
    }

    /// Waits until nothing is on its way, stored or not.
    pub(crate) fn settle(&self) {
        let mut now = lock(&self.shared.now);
        while now.objects > 0 {
            now = self.shared.changed.wait(now).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn wait(&self, until: impl Fn(&Now) -> bool) -> Result<MutexGuard<'_, Now>, Failed> {
        let mut now = lock(&self.shared.now);
        loop {
            if let Some(failed) = &now.failed {
                return Err(failed.clone());
            }
            if until(&now) {
                return Ok(now);
            }
            now = self.shared.changed.wait(now).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn lock(mutex: &Mutex<Now>) -> MutexGuard<'_, Now> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Access, ByteRange, Entry};
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use std::time::Duration;

    /// A store that takes its time, and refuses keys that begin with `bad`.
    #[derive(Debug, Default)]
    struct Slow {
        now: Arc<AtomicU64>,
        most: Arc<AtomicU64>,
        stored: Arc<AtomicU64>,
    }

    impl Store for Slow {
        fn location(&self) -> String {
            "slow".to_owned()
        }
        fn access(&self) -> Access {
            Access::Polled
        }
        fn get(&self, _: &str, _: ByteRange) -> Result<Option<Vec<u8>>, StoreError> {
            Ok(None)
        }
        fn list_dir(&self, _: &str) -> Result<Vec<Entry>, StoreError> {
            Ok(Vec::new())
        }
        fn put(&self, _: &str, _: &[u8]) -> Result<(), StoreError> {
            Ok(())
        }
        fn put_later(&self, key: &str, bytes: Vec<u8>, done: crate::store::PutDone) {
            let (now, most, stored) = (self.now.clone(), self.most.clone(), self.stored.clone());
            let bad = key.starts_with("bad").then(|| StoreError::NoList { location: key.to_owned() });
            let size = bytes.len() as u64;
            most.fetch_max(now.fetch_add(size, Relaxed) + size, Relaxed);
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(3));
                now.fetch_sub(size, Relaxed);
                stored.fetch_add(1, Relaxed);
                done(bad.map_or(Ok(()), Err));
            });
        }
        fn delete(&self, _: &str) -> Result<(), StoreError> {
            Ok(())
        }
        fn delete_prefix(&self, _: &str) -> Result<(), StoreError> {
            Ok(())
        }
    }

    #[test]
    fn objects_overlap_within_their_bytes_and_a_large_one_goes_alone() {
        let (store, outbox) = (Slow::default(), Outbox::new(100));
        for i in 0..40 {
            outbox.put(&store, &format!("k{i}"), vec![0; 30]).unwrap();
        }
        outbox.put(&store, "large", vec![0; 300]).unwrap();
        outbox.put(&store, "last", vec![0; 30]).unwrap();
        outbox.flush().unwrap();
        assert_eq!((store.stored.load(Relaxed), store.most.load(Relaxed)), (42, 300));
        let (store, outbox) = (Slow::default(), Outbox::new(100));
        for i in 0..20 {
            outbox.put(&store, &format!("k{i}"), vec![0; 30]).unwrap();
        }
        outbox.flush().unwrap();
        assert!((60..=100).contains(&store.most.load(Relaxed)), "{:?}", store.most);
    }

    #[test]
    fn an_object_that_fails_is_told_by_name_and_nothing_counts_as_stored_from_then_on() {
        let (store, outbox) = (Slow::default(), Outbox::new(100));
        outbox.put(&store, "bad", vec![0; 30]).unwrap();
        let (key, error) = outbox.flush().unwrap_err();
        assert!(key == "bad" && matches!(*error, StoreError::NoList { .. }), "as the store told it: {error}");
        let (key, error) = outbox.put(&store, "good", vec![0; 30]).unwrap_err();
        assert!(key == "bad" && matches!(*error, StoreError::NoList { .. }), "as the store told it: {error}");
        assert!(outbox.flush().is_err());
        outbox.settle();
    }
}
