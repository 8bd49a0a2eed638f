//! The bytes of one file, by position: of a local file, or of an object.

use crate::store::{ByteRange, Store, StoreError};
use hdf5_reader::error::Error as Hdf5Error;
use hdf5_reader::{BlockCacheStorage, RangeRequestStorage, Storage};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Local files that are kept open, of all sources together; those beyond are opened for each read, as systems allow few.
const KEPT_OPEN: usize = 256;
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// Blocks in which the metadata of a remote file are asked for, and how many are kept.
const BLOCK: usize = 64 << 10;
const BLOCKS: usize = 32;

/// A file that is read at any position, by several threads at once. It is never mapped: mapped pages count as resident memory.
#[derive(Debug)]
pub(super) struct Source {
    /// As people write it.
    pub(super) location: String,
    pub(super) len: u64,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    File(File),
    Path(PathBuf),
    Object { store: Arc<dyn Store>, key: String },
}

impl Source {
    /// A file of the local file system.
    pub(super) fn file(path: &Path) -> Result<Source, StoreError> {
        let location = path.display().to_string();
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => StoreError::NotFound { location: location.clone() },
            io::ErrorKind::PermissionDenied => {
                StoreError::Permission { location: location.clone(), key: ".".to_owned(), source }
            }
            _ => StoreError::Io { action: "read", location: location.clone(), key: ".".to_owned(), source },
        };
        let file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        let bytes = if OPEN.fetch_add(1, Relaxed) < KEPT_OPEN {
            Bytes::File(file)
        } else {
            OPEN.fetch_sub(1, Relaxed);
            Bytes::Path(path.to_owned())
        };
        Ok(Source { location: location.clone(), len, bytes })
    }

    /// An object of a store, `location` for messages.
    pub(super) fn object(store: Arc<dyn Store>, key: &str, location: &str) -> Result<Source, StoreError> {
        let len = match store.get_small(key, 0) {
            Ok(Some(_)) => 0,
            Ok(None) => return Err(StoreError::NotFound { location: location.to_owned() }),
            Err(StoreError::Large { size, .. }) => size,
            Err(other) => return Err(other),
        };
        Ok(Source { location: location.to_owned(), len, bytes: Bytes::Object { store, key: key.to_owned() } })
    }

    /// So many bytes from a position.
    pub(super) fn read(&self, at: u64, len: u64) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        self.read_onto(at, len, &mut bytes)?;
        Ok(bytes)
    }

    /// Appends so many bytes from a position. What the file does not hold is found out before memory is taken.
    pub(super) fn read_onto(&self, at: u64, len: u64, onto: &mut Vec<u8>) -> Result<(), StoreError> {
        let (location, key) = (self.location.clone(), ".".to_owned());
        if at.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(StoreError::Short { location, key, start: at, len, size: self.len });
        }
        let failed = |source: io::Error| StoreError::Io {
            action: "read",
            location: self.location.clone(),
            key: ".".to_owned(),
            source,
        };
        let opened;
        let file = match &self.bytes {
            Bytes::File(file) => Some(file),
            Bytes::Path(path) => {
                opened = File::open(path).map_err(failed)?;
                Some(&opened)
            }
            Bytes::Object { .. } => None,
        };
        match (file, &self.bytes) {
            (Some(file), _) => {
                let size = usize::try_from(len).map_err(|e| failed(io::Error::other(e)))?;
                onto.try_reserve_exact(size).map_err(|e| failed(io::Error::other(e)))?;
                let start = onto.len();
                onto.resize(start + size, 0);
                crate::store::zip::read_at(file, &mut onto[start..], at).map_err(failed)
            }
            (None, Bytes::Object { store, key }) => {
                let range = ByteRange::Bounded { start: at, len };
                let found = store.get(key, range)?.ok_or(StoreError::NotFound { location })?;
                onto.extend_from_slice(&found);
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }

    /// The same for the library that reads HDF5.
    pub(super) fn storage(self: &Arc<Source>) -> Arc<dyn Storage> {
        let source = Arc::clone(self);
        let read = move |at: u64, len: usize| {
            source.read(at, len as u64).map_err(|e| Hdf5Error::Io(io::Error::other(crate::error::in_full(&e))))
        };
        let plain = Arc::new(RangeRequestStorage::new(self.len, read));
        match self.bytes {
            Bytes::File(_) | Bytes::Path(_) => plain,
            Bytes::Object { .. } => Arc::new(BlockCacheStorage::new(plain, BLOCK, BLOCKS)),
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Bytes::File(_) = self.bytes {
            OPEN.fetch_sub(1, Relaxed);
        }
    }
}
