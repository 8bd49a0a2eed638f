//! Buffers that are used again from chunk to chunk: a fresh large one costs a page fault for every 4 KiB of it.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Buffers that are free.
///
/// There are never more of them than were in use at once, so that what the plan counts for those in use holds for all.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    free: Arc<Mutex<Vec<Vec<T>>>>,
}

/// A buffer that goes back to its pool when it is dropped.
#[derive(Debug)]
pub(crate) struct Pooled<T> {
    buffer: Vec<T>,
    free: Arc<Mutex<Vec<Vec<T>>>>,
}

impl<T> Pool<T> {
    /// With no buffer yet.
    pub(crate) fn new() -> Pool<T> {
        Pool { free: Arc::default() }
    }

    /// A buffer that holds anything, or nothing.
    pub(crate) fn take(&self) -> Pooled<T> {
        let buffer = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        Pooled { buffer, free: self.free.clone() }
    }
}

impl<T> Drop for Pooled<T> {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

impl<T> Deref for Pooled<T> {
    type Target = Vec<T>;
    fn deref(&self) -> &Vec<T> {
        &self.buffer
    }
}

impl<T> DerefMut for Pooled<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.buffer
    }
}
