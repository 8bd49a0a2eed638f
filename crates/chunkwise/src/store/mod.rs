//! Where bytes lie: one trait, and the stores that a build has.
//!
//! A store gives encoded bytes for (key, range). Keys are paths below the root of the store, with `/` between
//! segments and none at the ends; `""` is the root itself. Local and memory stores answer on the calling thread.

mod counted;
mod key;
mod lent;
mod local;
mod location;
mod memory;
#[cfg(feature = "netcdf")]
mod netcdf;
#[cfg(feature = "cloud")]
mod object;
mod options;
mod refs;
pub mod secret;
mod writer;
mod zip;

pub use counted::Counted;
pub use key::join;
pub(crate) use key::{check_key, directly_below};
pub use lent::{Loan, lend};
pub use local::LocalStore;
pub use location::{Located, locate, locate_with};
pub use memory::MemoryStore;
#[cfg(feature = "netcdf")]
pub use netcdf::NetcdfStore;
#[cfg(feature = "cloud")]
pub use object::RemoteStore;
pub use options::StorageOptions;
pub use refs::ReferenceStore;
pub(crate) use writer::{MOST, MOST_PARTS, PART};
pub use writer::{ObjectWriter, writer};
pub use zip::ZipStore;
pub(crate) use zip::{PackError, is_zip, pack};

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Part of a stored object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// All of it.
    Whole,
    /// `len` bytes from `start`; an error where the object ends before.
    Bounded {
        /// First byte.
        start: u64,
        /// How many.
        len: u64,
    },
    /// The last bytes; all of a shorter object.
    Suffix(u64),
}

/// How a store wants to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// [`Store::get`] on the thread that decodes: the answer comes at once.
    Inline,
    /// [`Store::get_async`], many at a time: each answer waits for a network.
    Polled,
}

impl Access {
    /// Seconds that a request waits, and bytes a second that come then.
    ///
    /// Of a network: an object store in the same region, whose first byte comes after some 20 ms and the rest at 90 MB/s a
    /// connection. Source: Amazon S3, performance design patterns ("85–90 MB/s" a request).
    pub fn pace(self) -> (f64, f64) {
        match self {
            Access::Inline => (0.0, f64::MAX),
            Access::Polled => (0.02, 90e6),
        }
    }
}

/// What a folder of a store holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    /// An object, by its last segment.
    Object(String),
    /// A folder, by its last segment.
    Folder(String),
}

/// A future on the heap, as [`Store::get_async`] gives it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What is called when an object is stored, as [`Store::put_later`] does.
pub type PutDone = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Encoded bytes by key.
///
/// An object that is absent is `Ok(None)`; one that cannot be read is an error. The two are never confused.
pub trait Store: Send + Sync + Debug {
    /// The location as people write it, for messages.
    fn location(&self) -> String;

    /// How the store wants to be asked.
    fn access(&self) -> Access;

    /// What it is, where it is no Zarr: `NetCDF-4`, say.
    fn form(&self) -> Option<&'static str> {
        None
    }

    /// Bytes of an object; `None` where there is no such object.
    ///
    /// # Errors
    /// The object exists and cannot be read, the key is no key, or a bounded range reaches past the end.
    fn get(&self, key: &str, range: ByteRange) -> Result<Option<Vec<u8>>, StoreError>;

    /// Reads a whole object into a buffer that is used again; `false` (and an empty buffer) where there is none.
    ///
    /// # Errors
    /// As [`Store::get`].
    fn get_into(&self, key: &str, buffer: &mut Vec<u8>) -> Result<bool, StoreError> {
        buffer.clear();
        let Some(bytes) = self.get(key, ByteRange::Whole)? else { return Ok(false) };
        *buffer = bytes;
        Ok(true)
    }

    /// As [`Store::get`], for stores that are polled.
    fn get_async<'a>(&'a self, key: &'a str, range: ByteRange) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        Box::pin(async move { self.get(key, range) })
    }

    /// A whole object that is to have `most` bytes or fewer.
    ///
    /// # Errors
    /// As [`Store::get`]; [`StoreError::Large`] where it has more, which is found out without reading all of it.
    fn get_small(&self, key: &str, most: u64) -> Result<Option<Vec<u8>>, StoreError> {
        // A suffix bounds what is read.
        let found = self.get(key, ByteRange::Suffix(most.saturating_add(1)))?;
        let size = found.as_ref().map_or(0, |bytes| bytes.len() as u64);
        if size > most { Err(large(self.location(), key, size, most)) } else { Ok(found) }
    }

    /// Requests that the end of an object costs: more than one where its size must be asked for first.
    fn suffix_requests(&self) -> u64 {
        1
    }

    /// As [`Store::get_async`], of a whole object that is to have `most` bytes or fewer.
    ///
    /// # Errors
    /// As there; [`StoreError::Large`] where it has more, which stores say without reading them.
    fn get_within<'a>(&'a self, key: &'a str, most: u64) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        Box::pin(async move {
            let found = self.get_async(key, ByteRange::Whole).await?;
            let size = found.as_ref().map_or(0, |bytes| bytes.len() as u64);
            if size > most { Err(large(self.location(), key, size, most)) } else { Ok(found) }
        })
    }

    /// What lies directly below a folder, in order of name; nothing where there is no such folder.
    ///
    /// # Errors
    /// The folder exists and cannot be listed.
    fn list_dir(&self, prefix: &str) -> Result<Vec<Entry>, StoreError>;

    /// Stores an object whole: readers see the old bytes or the new ones.
    ///
    /// # Errors
    /// It cannot be written.
    fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError>;

    /// Stores an object whole and calls `done` when that is so, or has failed: at once, or later from another thread.
    fn put_later(&self, key: &str, bytes: Vec<u8>, done: PutDone) {
        done(self.put(key, &bytes));
    }

    /// Begins an object that is written piece by piece; `None` where the store has no way to do so, and whole objects
    /// are [put](Store::put). Ask [`writer`], which then keeps the pieces until the end.
    ///
    /// # Errors
    /// The key is no key, or it cannot be begun.
    fn writer(&self, key: &str) -> Result<Option<Box<dyn ObjectWriter>>, StoreError> {
        let _ = key;
        Ok(None)
    }

    /// Bytes that one writer of [`Store::writer`] keeps at most beside what it is given; `None` where there are none.
    fn writer_bytes(&self) -> Option<u64> {
        None
    }

    /// Bytes of objects on their way that the store keeps at most, of all its writers together.
    fn sending_bytes(&self) -> u64 {
        0
    }

    /// Stores an object where there is none of that key; `false` where there is one.
    ///
    /// # Errors
    /// It cannot be written.
    fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        // Stores that others may write at the same time do it in one step.
        let free = self.get(key, ByteRange::Whole)?.is_none();
        if free {
            self.put(key, bytes)?;
        }
        Ok(free)
    }

    /// Removes an object; nothing happens where there is none.
    ///
    /// # Errors
    /// It cannot be removed.
    fn delete(&self, key: &str) -> Result<(), StoreError>;

    /// Removes all objects below a folder, and the folder; of the root, all that it holds.
    ///
    /// # Errors
    /// Something cannot be removed.
    fn delete_prefix(&self, prefix: &str) -> Result<(), StoreError>;

    /// Requests beside one for each call: those that were sent again, and those for a size.
    fn repeated(&self) -> u64 {
        0
    }
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn location(&self) -> String {
        (**self).location()
    }
    fn access(&self) -> Access {
        (**self).access()
    }
    fn form(&self) -> Option<&'static str> {
        (**self).form()
    }
    fn get(&self, key: &str, range: ByteRange) -> Result<Option<Vec<u8>>, StoreError> {
        (**self).get(key, range)
    }
    fn get_into(&self, key: &str, buffer: &mut Vec<u8>) -> Result<bool, StoreError> {
        (**self).get_into(key, buffer)
    }
    fn get_async<'a>(&'a self, key: &'a str, range: ByteRange) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        (**self).get_async(key, range)
    }
    fn get_within<'a>(&'a self, key: &'a str, most: u64) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        (**self).get_within(key, most)
    }
    fn list_dir(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        (**self).list_dir(prefix)
    }
    fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        (**self).put(key, bytes)
    }
    fn put_later(&self, key: &str, bytes: Vec<u8>, done: PutDone) {
        (**self).put_later(key, bytes, done);
    }
    fn writer(&self, key: &str) -> Result<Option<Box<dyn ObjectWriter>>, StoreError> {
        (**self).writer(key)
    }
    fn writer_bytes(&self) -> Option<u64> {
        (**self).writer_bytes()
    }
    fn sending_bytes(&self) -> u64 {
        (**self).sending_bytes()
    }
    fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        (**self).put_if_absent(key, bytes)
    }
    fn repeated(&self) -> u64 {
        (**self).repeated()
    }
    fn get_small(&self, key: &str, most: u64) -> Result<Option<Vec<u8>>, StoreError> {
        (**self).get_small(key, most)
    }
    fn suffix_requests(&self) -> u64 {
        (**self).suffix_requests()
    }
    fn delete(&self, key: &str) -> Result<(), StoreError> {
        (**self).delete(key)
    }
    fn delete_prefix(&self, prefix: &str) -> Result<(), StoreError> {
        (**self).delete_prefix(prefix)
    }
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing at this location.
    #[error("there is nothing at `{location}`")]
    NotFound {
        /// Location as asked for.
        location: String,
    },
    /// A location that cannot be understood.
    #[error("`{location}` is no location: {reason}")]
    BadLocation {
        /// Location as asked for, without secrets.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An option that no store has, or of a value that is none.
    #[error("`--storage {key}`: {reason}")]
    BadOption {
        /// The key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A profile of `~/.aws` that is not there.
    #[error("there is no profile `{profile}` in `~/.aws`; {}", profiles(.has))]
    NoProfile {
        /// The name asked for.
        profile: String,
        /// Those that there are.
        has: Vec<String>,
    },
    /// A profile whose credentials are not in the files.
    #[error("the profile's credentials come from its `{way}`, which is not followed")]
    ProfileElsewhere {
        /// The key of the profile.
        way: String,
    },
    /// Azure without an account.
    #[error("the storage account of container `{container}` is not known")]
    NoAccount {
        /// The container.
        container: String,
    },
    /// A zip file that is damaged, or holds what cannot be read.
    #[error("`{location}` is no zip file that can be read: {reason}")]
    BadZip {
        /// Location of the file.
        location: String,
        /// What is wrong.
        reason: String,
    },
    /// A file that is damaged, or holds what cannot be read.
    #[error("`{location}` cannot be read as a {kind}: {reason}")]
    BadFile {
        /// Location of the file.
        location: String,
        /// What it was taken for.
        kind: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A server that cannot list what it holds.
    #[error("`{location}` cannot be listed: web servers give objects by name only")]
    NoList {
        /// Location of the store.
        location: String,
    },
    /// A store that is not written to.
    #[error("cannot write to `{location}`: {kind} is only read")]
    ReadOnly {
        /// Location of the store.
        location: String,
        /// What it is.
        kind: &'static str,
    },
    /// An answer that says why not.
    #[error("cannot {asked}: the server answered {status} {said}")]
    Status {
        /// What was asked for.
        asked: Box<Asked>,
        /// The status code.
        status: u16,
        /// What the server said.
        said: String,
        /// Whether the request was not signed.
        anonymous: bool,
    },
    /// No answer, or none that can be data.
    #[error("cannot {asked}")]
    Network {
        /// What was asked for.
        asked: Box<Asked>,
        /// Whether there is a server.
        contact: Contact,
        /// What went wrong, and how often it was tried.
        source: crate::error::BoxError,
    },
    /// A file, and what it is, that holds cells and is no cube.
    #[error("`{0}` is {1}, which is no cube")]
    NoCube(String, &'static str),
    /// A kind of location that this build has no store for.
    #[error("`{location}`: {kind} is not built in; what works is a folder, a `.zip` file or `memory:NAME`")]
    NotBuiltIn {
        /// Location as asked for.
        location: String,
        /// What it would need: `s3://`, a zip file.
        kind: String,
    },
    /// The object exists, but may not be touched.
    #[error("no permission for `{key}` in `{location}`")]
    Permission {
        /// Location of the store.
        location: String,
        /// Key of the object, `.` for the root.
        key: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A key that could lead out of the store or name no object.
    #[error("`{key}` is no key in `{location}`: {reason}")]
    BadKey {
        /// Location of the store.
        location: String,
        /// The key.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A folder where an object was asked for.
    #[error("`{key}` in `{location}` is a folder, not an object")]
    Folder {
        /// Location of the store.
        location: String,
        /// The key.
        key: String,
    },
    /// An object that is shorter than what was asked of it.
    #[error("`{key}` in `{location}` holds {size} bytes, asked for {len} from {start}")]
    Short {
        /// Location of the store.
        location: String,
        /// The key.
        key: String,
        /// First byte asked for.
        start: u64,
        /// Bytes asked for.
        len: u64,
        /// Bytes that there are.
        size: u64,
    },
    /// An object that is larger than what was asked for can be.
    #[error("`{key}` in `{location}` holds {size} bytes, which are more than the {most} that it can have")]
    Large {
        /// Location of the store.
        location: String,
        /// The key.
        key: String,
        /// Its bytes.
        size: u64,
        /// The most that it can have.
        most: u64,
    },
    /// An object of more parts than an object store takes.
    #[error("cannot write `{key}` in `{location}`: {MOST}")]
    ManyParts {
        /// Location of the store.
        location: String,
        /// The key.
        key: String,
    },
    /// Any other failure of the system.
    #[error("cannot {action} `{key}` in `{location}`")]
    Io {
        /// `read`, `write`, `list`, `remove`.
        action: &'static str,
        /// Location of the store.
        location: String,
        /// The key, `.` for the root.
        key: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What is known of a server that gave no answer that can be data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// It never answered.
    Never,
    /// It answered earlier requests, and this one no more.
    Lost,
    /// It answered, and the answer is none.
    Answered,
}

/// What a server was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `read`, `write`, `list`, `remove`.
    pub action: &'static str,
    /// Location of the store.
    pub location: String,
    /// The key, `.` for the root.
    pub key: String,
    /// ` (bytes 0–9)`, or nothing.
    pub range: String,
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} `{}`{} in `{}`", self.action, self.key, self.range, self.location)
    }
}

impl StoreError {
    /// What would work, as a sentence for the user.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            StoreError::NoCube(location, _) => format!("make it one: `chunkwise import {location} -o CUBE.zarr`"),
            StoreError::NotFound { .. } => "check the path; `chunkwise create -o CUBE` makes a new cube".to_owned(),
            StoreError::Status { status: status @ (401 | 403), anonymous: true, asked, .. } => {
                let credentials = match asked.location.split("://").next().unwrap_or_default() {
                    "s3" => {
                        "set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, name a profile with `--storage profile=NAME`"
                    }
                    "gs" => "set `GOOGLE_APPLICATION_CREDENTIALS`",
                    "http" | "https" => "write them into the address, `https://USER:PASSWORD@HOST/…`",
                    _ => "set `AZURE_STORAGE_ACCOUNT_KEY`",
                };
                format!(
                    "no credentials were found, so the request was not signed: {credentials}, or pass `--absent-on {status}` \
                     where the server answers so for objects that are absent"
                )
            }
            StoreError::Status { status: 401 | 403, .. } => {
                "check the credentials; a public bucket needs none: `--storage anonymous=true`".to_owned()
            }
            StoreError::Status { status: 404, .. } => "check the name of the bucket, and the endpoint and region".to_owned(),
            StoreError::Status { status: 301 | 307 | 400, .. } => {
                "check the region and endpoint: `--storage region=NAME`, `--storage endpoint=URL`".to_owned()
            }
            StoreError::Network { contact: Contact::Lost, .. } => {
                "the server has answered before: try again when it does, or for longer with `--storage retry_timeout=5m`"
                    .to_owned()
            }
            StoreError::Network { contact: Contact::Answered, .. } => {
                "the server, or a proxy before it, cuts or delays its answers: try again, or for longer with \
                 `--storage retry_timeout=5m`"
                    .to_owned()
            }
            StoreError::Status { status: 429 | 500..=599, .. } => {
                "the server is busy or out of order: try again, or for longer with `--storage retry_timeout=5m`".to_owned()
            }
            StoreError::Network { contact: Contact::Never, .. } => {
                "check the name and port; `--storage endpoint=URL` names another server, `--storage retry_timeout=60s` how \
                 long to try"
                    .to_owned()
            }
            StoreError::NoList { .. } => {
                "name an array, as in `http://HOST/CUBE.zarr:VARIABLE`, or write consolidated metadata beside the cube"
                    .to_owned()
            }
            StoreError::NoAccount { .. } => {
                "set `AZURE_STORAGE_ACCOUNT_NAME`, pass `--storage account_name=NAME`, or write \
                 `abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/…`"
                    .to_owned()
            }
            StoreError::ManyParts { .. } => "make shards smaller with `--shard`".to_owned(),
            StoreError::ProfileElsewhere { .. } => {
                "export them into the environment: `aws configure export-credentials --format env`".to_owned()
            }
            _ => return None,
        })
    }
}

fn profiles(has: &[String]) -> String {
    if has.is_empty() { "there are none".to_owned() } else { format!("there are `{}`", has.join("`, `")) }
}

/// Whether some store of this build has an option of this name.
fn knows_option(key: &str) -> bool {
    #[cfg(feature = "cloud")]
    return object::knows_option(key);
    #[cfg(not(feature = "cloud"))]
    return key.is_empty();
}

/// An object of more bytes than it can have.
pub(crate) fn large(location: String, key: &str, size: u64, most: u64) -> StoreError {
    StoreError::Large { location, key: key.to_owned(), size, most }
}

/// The part of an object of `size` bytes that a range names: start and length.
pub(crate) fn resolve(range: ByteRange, size: u64) -> Result<(u64, u64), (u64, u64)> {
    match range {
        ByteRange::Whole => Ok((0, size)),
        ByteRange::Suffix(len) => Ok((size.saturating_sub(len), len.min(size))),
        ByteRange::Bounded { start, len } => match start.checked_add(len) {
            Some(end) if end <= size => Ok((start, len)),
            _ => Err((start, len)),
        },
    }
}

#[cfg(test)]
mod tests;
