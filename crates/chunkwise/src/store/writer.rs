//! Objects that are written piece by piece.

use super::{Store, StoreError};
use std::fmt::Debug;
use std::sync::Arc;

/// Bytes of a part, but of the last, of an object in an object store: S3 and Google take no less than 5 MiB.
pub(crate) const PART: usize = 8 << 20;
/// Parts of such an object, at most: S3, Google; Azure takes more.
pub(crate) const MOST_PARTS: usize = 10_000;
/// What these two make.
pub(crate) const MOST: &str = "object stores take 10,000 parts of 8 MiB for an object (78.1 GiB)";

/// An object in the making: readers see nothing of it until it is finished.
///
/// Dropped without [`finish`](ObjectWriter::finish) or [`abort`](ObjectWriter::abort), nothing appears under its key
/// either, but a store may keep the pieces until it tidies up (an upload in parts that is never completed).
pub trait ObjectWriter: Send + Debug {
    /// Adds bytes to the end. Pieces may be of any size: what a store wants in larger parts it gathers itself.
    ///
    /// # Errors
    /// They cannot be written; the object is then to be aborted.
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// Makes the object appear whole under its key: readers see the old bytes or the new ones.
    ///
    /// # Errors
    /// It cannot be written; what lay under the key still does.
    fn finish(self: Box<Self>) -> Result<(), StoreError>;

    /// Gives the object up and removes what was stored of it.
    ///
    /// # Errors
    /// It cannot be removed.
    fn abort(self: Box<Self>) -> Result<(), StoreError>;
}

/// Begins an object that is written piece by piece: the store's own way, or pieces that are kept until the end and put
/// as a whole.
///
/// # Errors
/// As [`Store::writer`].
pub fn writer(store: &Arc<dyn Store>, key: &str) -> Result<Box<dyn ObjectWriter>, StoreError> {
    let kept = || Kept { store: Arc::clone(store), key: key.to_owned(), bytes: Vec::new() };
    Ok(store.writer(key)?.unwrap_or_else(|| Box::new(kept())))
}

/// Pieces that are kept until the end.
#[derive(Debug)]
struct Kept {
    store: Arc<dyn Store>,
    key: String,
    bytes: Vec<u8>,
}

impl ObjectWriter for Kept {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        self.store.put(&self.key, &self.bytes)
    }

    fn abort(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}
