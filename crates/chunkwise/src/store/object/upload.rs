//! Objects that are written part by part.
//!
//! Bytes are gathered into parts; a full one is sent while the next is gathered, and kept until the service has taken it,
//! so that it can be sent again. Readers see nothing before the last step, which names the parts in order.

use super::retry::Failure;
use super::{Inner, PARTS, Put, RemoteStore};
use crate::runtime;
pub(super) use crate::store::PART;
use crate::store::{Asked, Contact, MOST_PARTS, ObjectWriter, StoreError};
use bytes::Bytes;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, ObjectStoreExt as _, PutMode, PutPayload};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Bytes that are handed to the connection at once.
const PIECE: usize = 256 << 10;
/// An upload that is given up is taken back for so long.
const ABORT: Duration = Duration::from_secs(5);

/// The bytes as a payload that copies none of them.
pub(super) fn payload(bytes: Vec<u8>) -> PutPayload {
    let bytes = Bytes::from(bytes);
    (0..bytes.len()).step_by(PIECE).map(|at| bytes.slice(at..bytes.len().min(at + PIECE))).collect()
}

/// An object in the making.
pub(super) struct Upload {
    inner: Arc<Inner>,
    multipart: Arc<dyn MultipartStore>,
    key: String,
    path: Path,
    /// Of the upload, which begins with the first full part.
    id: Option<MultipartId>,
    gathered: Vec<u8>,
    /// Parts that were sent, and of those the first ones, which were taken.
    sent: usize,
    taken: Vec<PartId>,
    /// The others, in order.
    running: VecDeque<JoinHandle<Result<PartId, StoreError>>>,
    size: u64,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("key", &self.key).field("sent", &self.sent).finish_non_exhaustive()
    }
}

impl Upload {
    pub(super) fn new(store: &RemoteStore, key: &str) -> Result<Upload, StoreError> {
        store.check(key)?;
        let inner = store.inner.clone();
        let Some(multipart) = inner.multipart.clone() else { return Err(store.read_only()) };
        Ok(Upload {
            path: inner.path(key)?,
            multipart,
            inner,
            key: key.to_owned(),
            id: None,
            gathered: Vec::new(),
            sent: 0,
            taken: Vec::new(),
            running: VecDeque::new(),
            size: 0,
        })
    }

    fn asked(&self) -> Asked {
        self.inner.asked("write", self.key.clone(), String::new())
    }

    /// Adds bytes, as far as the part has room; how many there were.
    fn gather(&mut self, bytes: &[u8]) -> usize {
        let (len, count) = (self.gathered.len(), bytes.len().min(PART - self.gathered.len()));
        if self.gathered.capacity() < len + count {
            // A small object takes no more than twice its size, and no part more than its own.
            let wanted = (2 * len).max(len + count).clamp(PIECE, PART);
            self.gathered.reserve_exact(wanted - len);
        }
        self.gathered.extend_from_slice(&bytes[..count]);
        self.size += count as u64;
        count
    }

    fn begin(&mut self) -> Result<MultipartId, StoreError> {
        if let Some(id) = &self.id {
            return Ok(id.clone());
        }
        let (inner, multipart, path, asked) =
            (self.inner.clone(), self.multipart.clone(), self.path.clone(), self.asked());
        let begun = runtime::wait(&self.inner.handle, async move {
            let begin = || async { multipart.create_multipart(&path).await.map_err(Failure::Request) };
            // 404 to a write: no such bucket.
            inner.tried(&asked, begin).await?.ok_or_else(|| inner.nowhere(&asked))
        })?;
        Ok(self.id.insert(begun).clone())
    }

    /// Sends what was gathered; waits until few enough parts are on their way.
    fn send(&mut self) -> Result<(), StoreError> {
        if self.sent == MOST_PARTS {
            return Err(StoreError::ManyParts { location: self.inner.location.clone(), key: self.key.clone() });
        }
        let id = self.begin()?;
        while self.running.front().is_some_and(JoinHandle::is_finished) {
            self.take_first()?;
        }
        let (number, parts) = (self.sent, self.inner.parts.clone());
        let room = runtime::wait(&self.inner.handle, parts.acquire_owned());
        let payload = payload(std::mem::take(&mut self.gathered));
        let (inner, multipart, path) = (self.inner.clone(), self.multipart.clone(), self.path.clone());
        let asked = inner.asked("write", self.key.clone(), format!(" (part {})", number + 1));
        self.sent += 1;
        self.running.push_back(self.inner.handle.spawn(async move {
            let put =
                || async { multipart.put_part(&path, &id, number, payload.clone()).await.map_err(Failure::Request) };
            let taken = inner.tried(&asked, put).await;
            drop((payload, room));
            taken?.ok_or_else(|| inner.nowhere(&asked))
        }));
        Ok(())
    }

    /// Waits for the first of the parts that are on their way.
    fn take_first(&mut self) -> Result<(), StoreError> {
        let Some(part) = self.running.pop_front() else { return Ok(()) };
        let done = runtime::wait(&self.inner.handle, part);
        let done = done.map_err(|e| StoreError::Network {
            asked: Box::new(self.asked()),
            contact: Contact::Answered,
            source: e.into(),
        })?;
        self.taken.push(done?);
        Ok(())
    }

    /// Makes an object of the parts.
    fn complete(&mut self, id: MultipartId) -> Result<(), StoreError> {
        let (inner, multipart, path, asked) =
            (self.inner.clone(), self.multipart.clone(), self.path.clone(), self.asked());
        let (parts, size) = (std::mem::take(&mut self.taken), self.size);
        runtime::wait(&self.inner.handle, async move {
            let attempts = AtomicU64::new(0);
            let complete = || async {
                attempts.fetch_add(1, Relaxed);
                let done = multipart.complete_multipart(&path, &id, parts.clone()).await;
                done.map(|_| ()).map_err(Failure::Request)
            };
            let failed = match inner.tried(&asked, complete).await {
                Ok(Some(())) => return Ok(()),
                Ok(None) => inner.nowhere(&asked),
                Err(error) => error,
            };
            // The answer to an earlier attempt may have been lost: then there is no such upload any more, and the object.
            if attempts.load(Relaxed) > 1 && matches!(failed, StoreError::Status { status: 400 | 404, .. }) {
                let look = || async { inner.client.head(&path).await.map_err(Failure::Request) };
                if inner.tried(&asked, look).await?.is_some_and(|found| found.size == size) {
                    return Ok(());
                }
            }
            Err(failed)
        })
    }

    fn give_up(&mut self) -> Result<(), StoreError> {
        let Some(id) = self.id.take() else { return Ok(()) };
        let (inner, multipart, path) = (self.inner.clone(), self.multipart.clone(), self.path.clone());
        let asked = self.inner.asked("remove", self.key.clone(), " (what was sent of it)".to_owned());
        let running = std::mem::take(&mut self.running);
        runtime::wait(&self.inner.handle, async move {
            for part in &running {
                part.abort();
            }
            for part in running {
                let _ = part.await;
            }
            let abort = || async { multipart.abort_multipart(&path, &id).await.map_err(Failure::Request) };
            inner.tried_within(ABORT.min(inner.retry_timeout), &asked, abort).await.map(|_| ())
        })
    }
}

impl ObjectWriter for Upload {
    fn append(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            // An object of one part is put whole.
            if self.gathered.len() == PART {
                self.send()?;
            }
            bytes = &bytes[self.gather(bytes)..];
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        if self.id.is_none() {
            let (inner, key) = (self.inner.clone(), self.key.clone());
            let payload = payload(std::mem::take(&mut self.gathered));
            let put = async move { inner.put(&key, payload, PutMode::Overwrite).await };
            return runtime::wait(&self.inner.handle, put).map(|done| debug_assert_eq!(done, Put::Done));
        }
        self.send()?;
        while !self.running.is_empty() {
            self.take_first()?;
        }
        if let Some(id) = self.id.clone() {
            self.complete(id)?;
        }
        self.id = None;
        Ok(())
    }

    fn abort(mut self: Box<Self>) -> Result<(), StoreError> {
        self.give_up()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // It is given up because of another error, which is the one to tell.
        let _ = self.give_up();
    }
}

/// Bytes of parts on their way, of all objects of a store.
pub(super) const SENDING: u64 = (PARTS * PART) as u64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StorageOptions;

    #[test]
    fn an_object_of_more_parts_than_a_store_takes_is_an_error_of_its_own() {
        let options = StorageOptions::parse(["endpoint=http://127.0.0.1:9", "anonymous=true"]).unwrap();
        let store = super::super::open("s3://box/a.zarr", &options).unwrap();
        let mut upload = Upload::new(&store, "b/c/0").unwrap();
        upload.gathered = vec![0; PART];
        upload.sent = MOST_PARTS;
        let error = upload.append(b"more").unwrap_err();
        assert!(matches!(&error, StoreError::ManyParts { key, .. } if key == "b/c/0"), "{error:?}");
        assert!(error.to_string().contains("10,000 parts") && error.hint().unwrap().contains("--shard"), "{error}");
    }
}
