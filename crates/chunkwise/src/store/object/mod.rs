//! Object stores and web servers: `s3://`, `gs://`, `az://`, `abfss://`, `http(s)://`.
//!
//! Built on `object_store`, which signs requests and knows the services. What an answer must be to count as data, when
//! a request is repeated, and what an error says, is decided here.

mod connect;
mod place;
mod profile;
mod retry;
mod upload;
mod wire;

pub(super) use connect::{knows_option, open};
pub(super) use place::{is_remote, split};

use super::{
    Access, Asked, BoxFuture, ByteRange, Contact, Entry, ObjectWriter, PutDone, Store, StoreError, check_key, large,
    secret,
};
use crate::error::BoxError;
use crate::runtime;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::StatusCode;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use retry::{Failure, Tries, judge};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use upload::Upload;
use wire::{MOST, SEEN, Seen};

/// Whole objects above this size are written in parts.
const MULTIPART: usize = 32 << 20;
/// Parts on their way at once, of all objects of a store.
const PARTS: usize = 3;
/// Objects that one call of `delete_prefix` removes at once.
const DELETES: usize = 16;

/// A kind of service, for what differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    S3,
    Gcs,
    Azure,
    Http,
}

/// A bucket or container below a prefix, or a folder of a web server.
#[derive(Clone, Debug)]
pub struct RemoteStore {
    inner: Arc<Inner>,
}

struct Inner {
    client: Arc<dyn ObjectStore>,
    /// The same, for objects in parts; web servers have none.
    multipart: Option<Arc<dyn MultipartStore>>,
    service: Service,
    /// As people write it, without secrets.
    location: String,
    /// Before each key; without slashes at its ends.
    prefix: String,
    absent_on: Vec<u16>,
    anonymous: bool,
    retry_timeout: Duration,
    /// The same of a server that has never answered.
    first_contact: Duration,
    requests: Semaphore,
    /// Room for parts on their way.
    parts: Arc<Semaphore>,
    handle: Handle,
    /// Whether the server has answered, whatever it said.
    contact: AtomicBool,
    /// Requests that callers do not know of.
    repeated: AtomicU64,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The client holds credentials.
        f.debug_struct("RemoteStore").field("location", &self.location).finish_non_exhaustive()
    }
}

impl Inner {
    fn asked(&self, action: &'static str, key: String, range: String) -> Asked {
        Asked { action, location: self.location.clone(), key, range }
    }

    fn path(&self, key: &str) -> Result<Path, StoreError> {
        let whole = super::join(&self.prefix, key);
        Path::parse(&whole).map_err(|_| StoreError::BadKey {
            location: self.location.clone(),
            key: key.to_owned(),
            reason: "object stores have no such names",
        })
    }

    /// Repeats `attempt` while it may help.
    async fn tried<T, F>(&self, asked: &Asked, attempt: impl Fn() -> F) -> Result<Option<T>, StoreError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        self.tried_within(self.retry_timeout, asked, attempt).await
    }

    async fn tried_within<T, F>(
        &self,
        within: Duration,
        asked: &Asked,
        attempt: impl Fn() -> F,
    ) -> Result<Option<T>, StoreError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut tries = Tries::new(within, self.first_contact);
        loop {
            let (failure, seen) = {
                let _permit = self.requests.acquire().await;
                let attempt = async {
                    let done = attempt().await;
                    (done, SEEN.with(|seen| seen.borrow().clone()))
                };
                let (done, seen) = SEEN.scope(RefCell::default(), attempt).await;
                if seen.status.is_some() {
                    self.contact.store(true, Relaxed);
                }
                match done {
                    Ok(value) => return Ok(Some(value)),
                    Err(failure) => (failure, seen),
                }
            };
            if self.is_absent(asked, &failure, &seen) {
                return Ok(None);
            }
            let verdict = judge(&failure, &seen);
            match tries.again(verdict, seen.retry_after, self.contact.load(Relaxed)) {
                Some(pause) => {
                    let error = self.error(asked, &failure, &seen, &tries);
                    tracing::debug!("{}; again in {:.1} s", told(&error), pause.as_secs_f64());
                    self.repeated.fetch_add(1, Relaxed);
                    tokio::time::sleep(pause).await;
                }
                None => return Err(self.error(asked, &failure, &seen, &tries)),
            }
        }
    }

    /// Whether an answer says that there is no such object; a missing bucket is something else.
    fn is_absent(&self, asked: &Asked, failure: &Failure, seen: &Seen) -> bool {
        let Failure::Request(error) = failure else { return false };
        let Some(status) = seen.status else { return false };
        if asked.action == "read" && self.absent_on.contains(&status.as_u16()) {
            return true;
        }
        let gone = ["NoSuchBucket", "ContainerNotFound", "AccountNotFound", "FilesystemNotFound"];
        let no_bucket = seen.code.as_deref().is_some_and(|code| gone.contains(&code))
            || seen.message.as_deref().is_some_and(|text| text.contains("bucket does not exist"));
        let not_found = matches!(error, object_store::Error::NotFound { .. }) || status == StatusCode::GONE;
        not_found && !no_bucket
    }

    fn error(&self, asked: &Asked, failure: &Failure, seen: &Seen, tries: &Tries) -> StoreError {
        let tried = tried(tries);
        match (failure, seen.status) {
            (Failure::Short { size }, _) => {
                let (location, key) = (asked.location.clone(), asked.key.clone());
                StoreError::Short { location, key, start: 0, len: 0, size: *size }
            }
            (Failure::Large { size }, _) => large(asked.location.clone(), &asked.key, *size, 0),
            (Failure::Request(_), Some(status)) if !status.is_success() => {
                let said: Vec<String> = [&seen.code, &seen.message].into_iter().flatten().cloned().collect();
                let reason = status.canonical_reason().unwrap_or_default();
                let said = if said.is_empty() { reason.to_owned() } else { format!("{reason}: {}", said.join(", ")) };
                StoreError::Status {
                    asked: Box::new(asked.clone()),
                    status: status.as_u16(),
                    said: format!("{}{tried}", secret::mask(said.trim())),
                    anonymous: self.anonymous,
                }
            }
            (failure, _) => {
                let cause = match failure {
                    failure if retry::is_not_partial(failure) => {
                        "the server sends all of the object where a part was asked for".to_owned()
                    }
                    Failure::Request(error) if seen.transport.is_some() => retry::root(error),
                    Failure::Request(error) => retry::chain(error),
                    Failure::Truncated { came, expected } => {
                        format!("the answer ended after {came} of {expected} bytes")
                    }
                    Failure::Part => "the server sends a part where all of the object was asked for".to_owned(),
                    Failure::Short { .. } | Failure::Large { .. } => String::new(),
                };
                let source = BoxError::from(format!("{}{tried}", secret::mask(&cause)));
                let contact = match seen.status {
                    Some(_) => Contact::Answered,
                    None if self.contact.load(Relaxed) => Contact::Lost,
                    None => Contact::Never,
                };
                StoreError::Network { asked: Box::new(asked.clone()), contact, source }
            }
        }
    }

    /// The bytes of one answer, all of them or a failure; of a whole object no more than `most`.
    async fn fetch(&self, path: &Path, range: ByteRange, most: u64) -> Result<Vec<u8>, Failure> {
        let (range, asked) = match range {
            ByteRange::Whole => (None, None),
            ByteRange::Suffix(len) if self.service == Service::Azure && len > 0 => {
                // Azure has no suffix ranges.
                self.repeated.fetch_add(1, Relaxed);
                let size = self.client.head(path).await.map_err(Failure::Request)?.size;
                if size == 0 {
                    return Ok(Vec::new());
                }
                (Some(GetRange::Bounded(size.saturating_sub(len)..size)), None)
            }
            ByteRange::Suffix(0) => {
                self.client.head(path).await.map_err(Failure::Request)?;
                return Ok(Vec::new());
            }
            ByteRange::Suffix(len) => (Some(GetRange::Suffix(len)), None),
            ByteRange::Bounded { start, len } => match start.checked_add(len) {
                Some(end) if len > 0 => (Some(GetRange::Bounded(start..end)), Some((end, len))),
                end => {
                    let size = self.client.head(path).await.map_err(Failure::Request)?.size;
                    let within = end.is_some_and(|end| end <= size);
                    return if within { Ok(Vec::new()) } else { Err(Failure::Short { size }) };
                }
            },
        };
        let (whole, suffix) = (range.is_none(), matches!(range, Some(GetRange::Suffix(_))));
        let most_of_body = match &range {
            None => most,
            Some(GetRange::Suffix(len)) => *len,
            Some(GetRange::Bounded(range)) => range.end - range.start,
            Some(GetRange::Offset(_)) => u64::MAX,
        };
        let options = GetOptions { range, ..GetOptions::default() };
        let found = match MOST.scope(most_of_body, self.client.get_opts(path, options)).await {
            Ok(found) => found,
            Err(error) => return self.refused(error, whole, suffix, asked),
        };
        // The length of a part is no length of the object.
        if whole && SEEN.with(|seen| seen.borrow().status) == Some(StatusCode::PARTIAL_CONTENT) {
            return Err(Failure::Part);
        }
        if whole && found.meta.size > most {
            return Err(Failure::Large { size: found.meta.size });
        }
        if let Some((end, _)) = asked
            && found.meta.size < end
        {
            return Err(Failure::Short { size: found.meta.size });
        }
        let expected = found.range.end - found.range.start;
        let mut bytes = Vec::with_capacity(usize::try_from(expected.min(1 << 30)).unwrap_or_default());
        let mut stream = found.into_stream();
        while let Some(part) = stream.next().await {
            bytes.extend_from_slice(&part.map_err(Failure::Request)?);
        }
        let came = bytes.len() as u64;
        if came != expected || asked.is_some_and(|(_, len)| came != len) {
            return Err(Failure::Truncated { came, expected: asked.map_or(expected, |(_, len)| len) });
        }
        Ok(bytes)
    }

    /// A range that begins behind the end of the object; other errors as they are.
    fn refused(
        &self,
        error: object_store::Error,
        whole: bool,
        suffix: bool,
        asked: Option<(u64, u64)>,
    ) -> Result<Vec<u8>, Failure> {
        let seen = SEEN.with(|seen| seen.borrow().clone());
        if let Some(size) = seen.too_many.filter(|_| whole) {
            return Err(Failure::Large { size });
        }
        if seen.status == Some(StatusCode::RANGE_NOT_SATISFIABLE) {
            match (suffix, asked, seen.size) {
                (true, _, None | Some(0)) => return Ok(Vec::new()),
                (_, Some((end, _)), size) if size.is_none_or(|size| size < end) => {
                    return Err(Failure::Short { size: size.unwrap_or_default() });
                }
                _ => {}
            }
        }
        Err(Failure::Request(error))
    }

    async fn get(&self, key: &str, range: ByteRange) -> Result<Option<Vec<u8>>, StoreError> {
        self.get_within(key, range, u64::MAX).await
    }

    async fn get_within(&self, key: &str, range: ByteRange, most: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(key)?;
        let told = match range {
            ByteRange::Whole => String::new(),
            ByteRange::Suffix(len) => format!(" (the last {len} bytes)"),
            ByteRange::Bounded { start, len } => {
                format!(" (bytes {start}–{})", start.saturating_add(len).saturating_sub(1))
            }
        };
        let asked = self.asked("read", key.to_owned(), told);
        let found = self.tried(&asked, || self.fetch(&path, range, most)).await;
        match (found, range) {
            (Err(StoreError::Short { location, key, size, .. }), ByteRange::Bounded { start, len }) => {
                Err(StoreError::Short { location, key, start, len, size })
            }
            (Err(StoreError::Large { location, key, size, .. }), _) => Err(large(location, &key, size, most)),
            (found, _) => found,
        }
    }

    async fn put(&self, key: &str, bytes: PutPayload, mode: PutMode) -> Result<Put, StoreError> {
        let path = self.path(key)?;
        let asked = self.asked("write", key.to_owned(), String::new());
        let create = mode == PutMode::Create;
        let attempts = AtomicU64::new(0);
        let put = || async {
            attempts.fetch_add(1, Relaxed);
            let options = PutOptions { mode: mode.clone(), ..PutOptions::default() };
            match self.client.put_opts(&path, bytes.clone(), options).await {
                Ok(_) => Ok(Put::Done),
                Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) if create => {
                    Ok(Put::Exists)
                }
                Err(error) => Err(Failure::Request(error)),
            }
        };
        match self.tried(&asked, put).await? {
            // The answer to an earlier attempt may have been lost, and the object be ours.
            Some(Put::Exists) if attempts.load(Relaxed) > 1 => {
                let found = self.get(key, ByteRange::Whole).await?.unwrap_or_default();
                let ours = bytes.iter().flatten().eq(&found);
                Ok(if ours { Put::Done } else { Put::Exists })
            }
            Some(done) => Ok(done),
            // 404 to a write: no such bucket.
            None => Err(self.nowhere(&asked)),
        }
    }

    fn nowhere(&self, asked: &Asked) -> StoreError {
        StoreError::Status {
            asked: Box::new(asked.clone()),
            status: 404,
            said: "Not Found".to_owned(),
            anonymous: self.anonymous,
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<Entry>, StoreError> {
        if self.service == Service::Http {
            return Err(StoreError::NoList { location: self.location.clone() });
        }
        let prefix = super::join(&self.prefix, folder);
        let path = if prefix.is_empty() { None } else { Some(self.path(folder)?) };
        let shown = if folder.is_empty() { "." } else { folder };
        let asked = self.asked("list", shown.to_owned(), String::new());
        let list = || async { self.client.list_with_delimiter(path.as_ref()).await.map_err(Failure::Request) };
        let Some(found) = self.tried(&asked, list).await? else { return Ok(Vec::new()) };
        let name = |path: &Path| path.filename().map(str::to_owned);
        let mut entries: BTreeSet<(String, bool)> = BTreeSet::new();
        entries.extend(found.common_prefixes.iter().filter_map(name).map(|name| (name, true)));
        // A service may tell the folder itself, an empty object whose name ends in `/`.
        let own = |path: &Path| path.as_ref() == prefix;
        entries.extend(
            found
                .objects
                .iter()
                .filter(|o| !own(&o.location))
                .filter_map(|o| name(&o.location))
                .map(|name| (name, false)),
        );
        Ok(entries
            .into_iter()
            .map(|(name, folder)| if folder { Entry::Folder(name) } else { Entry::Object(name) })
            .collect())
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let path = self.path(key)?;
        let asked = self.asked("remove", key.to_owned(), String::new());
        self.tried(&asked, || async { self.client.delete(&path).await.map_err(Failure::Request) }).await.map(|_| ())
    }

    async fn delete_prefix(&self, folder: &str) -> Result<(), StoreError> {
        if self.service == Service::Http {
            return Err(StoreError::NoList { location: self.location.clone() });
        }
        let prefix = super::join(&self.prefix, folder);
        let path = if prefix.is_empty() { None } else { Some(self.path(folder)?) };
        let shown = if folder.is_empty() { "." } else { folder };
        let asked = self.asked("remove", shown.to_owned(), String::new());
        // Listed anew after a failure: what has gone is not there again.
        let remove = || async {
            let found = self.client.list(path.as_ref()).map_ok(|object| object.location);
            found
                .try_for_each_concurrent(DELETES, |location| async move {
                    match self.client.delete(&location).await {
                        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                        Err(error) => Err(error),
                    }
                })
                .await
                .map_err(Failure::Request)
        };
        self.tried(&asked, remove).await.map(|_| ())
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Put {
    Done,
    /// There is such an object, and it was to be new.
    Exists,
}

/// ` (after 4 tries in 3.1 s)`, where there were several.
fn tried(tries: &Tries) -> String {
    match tries.count() {
        1 => String::new(),
        n => format!(" (after {n} tries in {:.1} s)", tries.elapsed().as_secs_f64()),
    }
}

fn told(error: &StoreError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

impl RemoteStore {
    fn check(&self, key: &str) -> Result<(), StoreError> {
        check_key(&|| self.location(), key)
    }

    /// A get on the runtime of all requests.
    fn task<'a>(
        &'a self,
        key: &'a str,
        range: ByteRange,
        most: u64,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        Box::pin(async move {
            self.check(key)?;
            if runtime::is_on(&self.inner.handle) {
                return self.inner.get_within(key, range, most).await;
            }
            let (inner, key) = (self.inner.clone(), key.to_owned());
            let get = async move { inner.get_within(&key, range, most).await };
            let task = runtime::Task::start(&self.inner.handle, get);
            task.await.expect("requests do not panic, and their task ends with whoever waits for it")
        })
    }

    fn writable(&self) -> Result<(), StoreError> {
        match self.inner.service {
            Service::Http => Err(self.read_only()),
            _ => Ok(()),
        }
    }

    fn read_only(&self) -> StoreError {
        StoreError::ReadOnly { location: self.location(), kind: "a web server" }
    }

    fn put_as(&self, key: &str, bytes: &[u8], mode: PutMode) -> Result<Put, StoreError> {
        self.check(key)?;
        self.writable()?;
        let (inner, key, bytes) = (self.inner.clone(), key.to_owned(), upload::payload(bytes.to_vec()));
        runtime::wait(&self.inner.handle, async move { inner.put(&key, bytes, mode).await })
    }
}

impl Store for RemoteStore {
    fn location(&self) -> String {
        self.inner.location.clone()
    }

    fn access(&self) -> Access {
        Access::Polled
    }

    fn get(&self, key: &str, range: ByteRange) -> Result<Option<Vec<u8>>, StoreError> {
        self.check(key)?;
        let (inner, key) = (self.inner.clone(), key.to_owned());
        runtime::wait(&self.inner.handle, async move { inner.get(&key, range).await })
    }

    fn get_async<'a>(&'a self, key: &'a str, range: ByteRange) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        self.task(key, range, u64::MAX)
    }

    fn get_within<'a>(&'a self, key: &'a str, most: u64) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        self.task(key, ByteRange::Whole, most)
    }

    fn get_small(&self, key: &str, most: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.check(key)?;
        let (inner, key) = (self.inner.clone(), key.to_owned());
        runtime::wait(&self.inner.handle, async move { inner.get_within(&key, ByteRange::Whole, most).await })
    }

    fn suffix_requests(&self) -> u64 {
        if self.inner.service == Service::Azure { 2 } else { 1 }
    }

    fn list_dir(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        let (inner, prefix) = (self.inner.clone(), prefix.to_owned());
        runtime::wait(&self.inner.handle, async move { inner.list(&prefix).await })
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        if bytes.len() > MULTIPART {
            let mut upload = Upload::new(self, key)?;
            upload.append(bytes)?;
            return Box::new(upload).finish();
        }
        self.put_as(key, bytes, PutMode::Overwrite).map(|_| ())
    }

    fn put_later(&self, key: &str, bytes: Vec<u8>, done: PutDone) {
        if bytes.len() > MULTIPART {
            return done(self.put(key, &bytes));
        }
        if let Err(error) = self.check(key).and_then(|()| self.writable()) {
            return done(Err(error));
        }
        let (inner, key) = (self.inner.clone(), key.to_owned());
        self.inner.handle.spawn(async move {
            let put = inner.put(&key, upload::payload(bytes), PutMode::Overwrite).await;
            done(put.map(|_| ()));
        });
    }

    fn writer(&self, key: &str) -> Result<Option<Box<dyn ObjectWriter>>, StoreError> {
        Ok(Some(Box::new(Upload::new(self, key)?)))
    }

    fn writer_bytes(&self) -> Option<u64> {
        Some(upload::PART as u64)
    }

    fn sending_bytes(&self) -> u64 {
        upload::SENDING
    }

    fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        Ok(self.put_as(key, bytes, PutMode::Create)? == Put::Done)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.check(key)?;
        self.writable()?;
        let (inner, key) = (self.inner.clone(), key.to_owned());
        runtime::wait(&self.inner.handle, async move { inner.delete(&key).await })
    }

    fn delete_prefix(&self, prefix: &str) -> Result<(), StoreError> {
        self.writable()?;
        if !prefix.is_empty() {
            self.check(prefix)?;
        }
        let (inner, prefix) = (self.inner.clone(), prefix.to_owned());
        runtime::wait(&self.inner.handle, async move { inner.delete_prefix(&prefix).await })
    }

    fn repeated(&self) -> u64 {
        self.inner.repeated.load(Relaxed)
    }
}

#[cfg(test)]
mod tests;
