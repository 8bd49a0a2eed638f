//! Files that are open: a few at a time, however many there are.

use crate::import::ImportError;
use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;
use tiff_reader::{OpenOptions, ParseBudgets, TiffFile};

/// Bytes of tags that are read of one file, at most: tables of two million blocks.
const MOST_TAGS: usize = 32 << 20;
/// Images of a file (overviews, masks, pages), at most.
const MOST_IMAGES: usize = 1024;

/// Files that are open between reads.
#[derive(Default)]
pub struct OpenFiles {
    most: AtomicUsize,
    keep: AtomicU64,
    numbers: AtomicUsize,
    open: Mutex<VecDeque<(usize, Arc<TiffFile>)>>,
}

impl fmt::Debug for OpenFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenFiles").field("most", &self.most).field("keep", &self.keep).finish_non_exhaustive()
    }
}

impl OpenFiles {
    /// Keeps up to `most` files open.
    pub fn new(most: usize) -> Arc<OpenFiles> {
        let files = OpenFiles::default();
        files.most.store(most.max(1), Ordering::Relaxed);
        Arc::new(files)
    }

    /// Lets each file keep so many bytes of decoded blocks.
    pub(super) fn keep(&self, bytes: u64) {
        self.keep.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn number(&self) -> usize {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Opens a file that is not kept open.
    pub(super) fn open(&self, path: &Path, location: &str) -> Result<TiffFile, ImportError> {
        let options = OpenOptions {
            block_cache_bytes: usize::try_from(self.keep.load(Ordering::Relaxed)).unwrap_or(0),
            block_cache_slots: 1 << 16,
            parse_budgets: ParseBudgets {
                max_ifds: MOST_IMAGES,
                max_tag_value_bytes: MOST_TAGS,
                max_metadata_value_bytes: MOST_TAGS,
                ..ParseBudgets::default()
            },
            ..OpenOptions::default()
        };
        TiffFile::open_with_options(path, options)
            .map_err(|e| ImportError::Read { location: location.to_owned(), source: e.into() })
    }

    /// The file of this number, open; others that were not used for longest are closed for it.
    pub(super) fn get(
        &self,
        number: usize,
        path: &Path,
        location: &str,
        stamp: &Stamp,
    ) -> Result<Arc<TiffFile>, ImportError> {
        {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = open.iter().position(|(n, _)| *n == number)
                && let Some(found) = open.remove(at)
            {
                let file = Arc::clone(&found.1);
                open.push_back(found);
                return Ok(file);
            }
        }
        if Stamp::of(path, location)? != *stamp {
            return Err(ImportError::Changed { location: location.to_owned() });
        }
        let file = Arc::new(self.open(path, location)?);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        while open.len() >= self.most.load(Ordering::Relaxed) {
            open.pop_front();
        }
        open.push_back((number, Arc::clone(&file)));
        Ok(file)
    }
}

/// What tells the content of a file from another: its size, and when it was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) bytes: u64,
    changed: u128,
}

impl Stamp {
    pub(super) fn of(path: &Path, location: &str) -> Result<Stamp, ImportError> {
        let read = |e: std::io::Error| ImportError::Read { location: location.to_owned(), source: e.into() };
        let told = std::fs::metadata(path).map_err(read)?;
        let changed = told.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        Ok(Stamp { bytes: told.len(), changed: changed.map_or(0, |t| t.as_nanos()) })
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, changed {}", self.bytes, self.changed)
    }
}
