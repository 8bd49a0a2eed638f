//! Two stores as one.

use crate::store::{Access, BoxFuture, ByteRange, Entry, Store, StoreError};
use std::sync::Arc;

/// Where the keys of the first store begin.
pub(super) const A: &str = "A";
/// Where the keys of the second store begin.
pub(super) const B: &str = "B";

/// The objects of one store below `A/`, those of another below `B/`.
#[derive(Debug)]
pub(super) struct PairStore {
    a: Arc<dyn Store>,
    b: Arc<dyn Store>,
}

impl PairStore {
    pub(super) fn new(a: Arc<dyn Store>, b: Arc<dyn Store>) -> PairStore {
        PairStore { a, b }
    }

    /// Which store holds a key, and its key there.
    fn at<'a>(&self, key: &'a str) -> (&Arc<dyn Store>, &'a str) {
        let (cube, within) = key.split_once('/').unwrap_or((key, ""));
        (if cube == A { &self.a } else { &self.b }, within)
    }
}

impl Store for PairStore {
    fn location(&self) -> String {
        format!("{}, {}", self.a.location(), self.b.location())
    }
    fn access(&self) -> Access {
        match (self.a.access(), self.b.access()) {
            (Access::Inline, Access::Inline) => Access::Inline,
            _ => Access::Polled,
        }
    }
    fn get(&self, key: &str, range: ByteRange) -> Result<Option<Vec<u8>>, StoreError> {
        let (store, key) = self.at(key);
        store.get(key, range)
    }
    fn get_into(&self, key: &str, buffer: &mut Vec<u8>) -> Result<bool, StoreError> {
        let (store, key) = self.at(key);
        store.get_into(key, buffer)
    }
    fn get_async<'a>(&'a self, key: &'a str, range: ByteRange) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        let (store, key) = self.at(key);
        store.get_async(key, range)
    }
    fn get_within<'a>(&'a self, key: &'a str, most: u64) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        let (store, key) = self.at(key);
        store.get_within(key, most)
    }
    fn list_dir(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        let (store, prefix) = self.at(prefix);
        store.list_dir(prefix)
    }
    fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let (store, key) = self.at(key);
        store.put(key, bytes)
    }
    fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        let (store, key) = self.at(key);
        store.put_if_absent(key, bytes)
    }
    fn suffix_requests(&self) -> u64 {
        self.a.suffix_requests().max(self.b.suffix_requests())
    }
    fn get_small(&self, key: &str, most: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let (store, key) = self.at(key);
        store.get_small(key, most)
    }
    fn repeated(&self) -> u64 {
        self.a.repeated() + self.b.repeated()
    }
    fn delete(&self, key: &str) -> Result<(), StoreError> {
        let (store, key) = self.at(key);
        store.delete(key)
    }
    fn delete_prefix(&self, prefix: &str) -> Result<(), StoreError> {
        let (store, prefix) = self.at(prefix);
        store.delete_prefix(prefix)
    }
}
