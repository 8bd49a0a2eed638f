//! A store that counts what is asked of it.

use super::{Access, BoxFuture, ByteRange, Entry, ObjectWriter, PutDone, Store, StoreError};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Wraps a store and counts requests and bytes; for tests, and for the summary of a run.
#[derive(Debug)]
pub struct Counted<S> {
    inner: S,
    gets: AtomicU64,
    absent: AtomicU64,
    lists: AtomicU64,
    bytes: AtomicU64,
}

impl<S> Counted<S> {
    /// Counts from nought.
    pub fn new(inner: S) -> Counted<S> {
        let zero = || AtomicU64::new(0);
        Counted { inner, gets: zero(), absent: zero(), lists: zero(), bytes: zero() }
    }

    /// Requests for objects, those for absent ones included.
    pub fn gets(&self) -> u64 {
        self.gets.load(Relaxed)
    }

    /// Requests for objects that are absent.
    pub fn absent(&self) -> u64 {
        self.absent.load(Relaxed)
    }

    /// Listings.
    pub fn lists(&self) -> u64 {
        self.lists.load(Relaxed)
    }

    /// Encoded bytes given.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Counts from nought again.
    pub fn reset(&self) {
        for counter in [&self.gets, &self.absent, &self.lists, &self.bytes] {
            counter.store(0, Relaxed);
        }
    }

    /// The store within.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn note(&self, found: Option<usize>) {
        self.gets.fetch_add(1, Relaxed);
        match found {
            Some(len) => self.bytes.fetch_add(len as u64, Relaxed),
            None => self.absent.fetch_add(1, Relaxed),
        };
    }
}

impl<S: Store> Store for Counted<S> {
    fn location(&self) -> String {
        self.inner.location()
    }
    fn access(&self) -> Access {
        self.inner.access()
    }
    fn get(&self, key: &str, range: ByteRange) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.inner.get(key, range)?;
        self.note(found.as_ref().map(Vec::len));
        Ok(found)
    }
    fn get_into(&self, key: &str, buffer: &mut Vec<u8>) -> Result<bool, StoreError> {
        let found = self.inner.get_into(key, buffer)?;
        self.note(found.then_some(buffer.len()));
        Ok(found)
    }
    fn get_async<'a>(&'a self, key: &'a str, range: ByteRange) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        Box::pin(async move {
            let found = self.inner.get_async(key, range).await?;
            self.note(found.as_ref().map(Vec::len));
            Ok(found)
        })
    }
    fn get_within<'a>(&'a self, key: &'a str, most: u64) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        Box::pin(async move {
            let found = self.inner.get_within(key, most).await?;
            self.note(found.as_ref().map(Vec::len));
            Ok(found)
        })
    }
    fn get_small(&self, key: &str, most: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.inner.get_small(key, most)?;
        self.note(found.as_ref().map(Vec::len));
        Ok(found)
    }
    fn suffix_requests(&self) -> u64 {
        self.inner.suffix_requests()
    }
    fn list_dir(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        self.lists.fetch_add(1, Relaxed);
        self.inner.list_dir(prefix)
    }
    fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.inner.put(key, bytes)
    }
    fn put_later(&self, key: &str, bytes: Vec<u8>, done: PutDone) {
        self.inner.put_later(key, bytes, done);
    }
    fn writer(&self, key: &str) -> Result<Option<Box<dyn ObjectWriter>>, StoreError> {
        self.inner.writer(key)
    }
    fn writer_bytes(&self) -> Option<u64> {
        self.inner.writer_bytes()
    }
    fn sending_bytes(&self) -> u64 {
        self.inner.sending_bytes()
    }
    fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        self.inner.put_if_absent(key, bytes)
    }
    fn repeated(&self) -> u64 {
        self.inner.repeated()
    }
    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner.delete(key)
    }
    fn delete_prefix(&self, prefix: &str) -> Result<(), StoreError> {
        self.inner.delete_prefix(prefix)
    }
}
