//! A zip file: read here, written from a folder when all of it is there.

use super::{
    Access, BoxFuture, ByteRange, Entry, LocalStore, Store, StoreError, check_key, directly_below, large, resolve,
};
use ::zip::result::ZipError;
use ::zip::{CompressionMethod, ZipArchive};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Whether a path names a zip file.
pub(crate) fn is_zip(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("zip"))
}

/// A zip file of the local file system; keys are the names of its members. Its directory is read once.
#[derive(Debug)]
pub struct ZipStore {
    path: PathBuf,
    members: BTreeMap<String, Member>,
    archive: Mutex<ZipArchive<File>>,
    file: File,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    index: usize,
    size: u64,
    crc: u32,
    stored: bool,
    readable: bool,
}

impl ZipStore {
    /// A zip file that exists.
    ///
    /// # Errors
    /// There is no such file, it is no zip file, or its directory is damaged.
    pub fn open(path: impl Into<PathBuf>) -> Result<ZipStore, StoreError> {
        let path = path.into();
        let location = path.display().to_string();
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => StoreError::NotFound { location: location.clone() },
            _ => StoreError::Io { action: "read", location: location.clone(), key: ".".to_owned(), source },
        };
        let file = File::open(&path).map_err(failed)?;
        let damaged = |error: ZipError| StoreError::BadZip { location: location.clone(), reason: error.to_string() };
        let mut archive = ZipArchive::new(file.try_clone().map_err(failed)?).map_err(damaged)?;
        let mut members = BTreeMap::new();
        for index in 0..archive.len() {
            let member = archive.by_index_raw(index).map_err(damaged)?;
            if member.is_dir() {
                continue;
            }
            let method = member.compression();
            let about = Member {
                index,
                size: member.size(),
                crc: member.crc32(),
                stored: method == CompressionMethod::Stored && !member.encrypted(),
                readable: matches!(method, CompressionMethod::Stored | CompressionMethod::Deflated)
                    && !member.encrypted(),
            };
            members.insert(member.name().trim_start_matches('/').to_owned(), about);
        }
        let members = without_wrapping(members);
        Ok(ZipStore { path, members, archive: Mutex::new(archive), file })
    }

    fn member(&self, key: &str) -> Result<Option<Member>, StoreError> {
        check_key(&|| self.location(), key)?;
        if let Some(member) = self.members.get(key) {
            return Ok(Some(*member));
        }
        let below = format!("{key}/");
        let next = self.members.range(below.clone()..).next();
        if next.is_some_and(|(name, _)| name.starts_with(&below)) {
            return Err(StoreError::Folder { location: self.location(), key: key.to_owned() });
        }
        Ok(None)
    }

    fn damaged(&self, key: &str, reason: impl std::fmt::Display) -> StoreError {
        StoreError::BadZip { location: self.location(), reason: format!("`{key}`: {reason}") }
    }

    /// All of a member, checked by its checksum.
    fn whole(&self, key: &str, member: Member) -> Result<Vec<u8>, StoreError> {
        if !member.readable {
            return Err(self.damaged(key, "it is encrypted, or compressed in another way than deflate"));
        }
        let mut bytes = Vec::new();
        if member.stored {
            self.stored(key, member, 0, member.size, &mut bytes)?;
        } else {
            let mut archive = self.archive.lock().unwrap_or_else(PoisonError::into_inner);
            let mut raw = Vec::new();
            archive
                .by_index_raw(member.index)
                .map_err(|e| self.damaged(key, e))?
                .read_to_end(&mut raw)
                .map_err(|e| self.damaged(key, e))?;
            drop(archive);
            let mut inflated = flate2::read::DeflateDecoder::new(raw.as_slice()).take(member.size + 1);
            inflated.read_to_end(&mut bytes).map_err(|e| self.damaged(key, e))?;
        }
        if bytes.len() as u64 != member.size || crc32fast::hash(&bytes) != member.crc {
            return Err(self.damaged(key, "its checksum is another"));
        }
        Ok(bytes)
    }

    /// Bytes of a member that is not compressed.
    fn stored(&self, key: &str, member: Member, start: u64, len: u64, bytes: &mut Vec<u8>) -> Result<(), StoreError> {
        let first = {
            let mut archive = self.archive.lock().unwrap_or_else(PoisonError::into_inner);
            let member = archive.by_index_raw(member.index).map_err(|e| self.damaged(key, e))?;
            member.data_start()
        };
        let end = self.file.metadata().map_err(|e| self.damaged(key, e))?.len();
        if first.saturating_add(start).saturating_add(len) > end {
            return Err(self.damaged(key, "it ends behind the end of the file"));
        }
        bytes.resize(usize::try_from(len).map_err(|e| self.damaged(key, e))?, 0);
        read_at(&self.file, bytes, first + start).map_err(|e| self.damaged(key, e))
    }
}

/// The members by their keys: where all lie in one folder that is a Zarr node, as a folder is zipped from its parent,
/// those below it.
fn without_wrapping(members: BTreeMap<String, Member>) -> BTreeMap<String, Member> {
    let Some((folder, _)) = members.keys().next().and_then(|name| name.split_once('/')) else { return members };
    let folder = format!("{folder}/");
    let node = ["zarr.json", ".zgroup", ".zarray"].iter().any(|name| members.contains_key(&format!("{folder}{name}")));
    if !node || !members.keys().all(|name| name.starts_with(&folder)) {
        return members;
    }
    members.into_iter().map(|(name, member)| (name[folder.len()..].to_owned(), member)).collect()
}

/// Fills a buffer with the bytes of a file from a position.
#[cfg(unix)]
pub(super) fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(not(unix))]
pub(super) fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    // The position of the handle is shared: one at a time.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut file = file;
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(bytes)
}

impl Store for ZipStore {
    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn access(&self) -> Access {
        Access::Inline
    }

    fn get(&self, key: &str, range: ByteRange) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(member) = self.member(key)? else { return Ok(None) };
        let (start, len) = resolve(range, member.size).map_err(|(start, len)| StoreError::Short {
            location: self.location(),
            key: key.to_owned(),
            start,
            len,
            size: member.size,
        })?;
        if !member.stored || len == member.size {
            let mut bytes = self.whole(key, member)?;
            bytes.truncate((start + len) as usize);
            bytes.drain(..start as usize);
            return Ok(Some(bytes));
        }
        let mut bytes = Vec::new();
        self.stored(key, member, start, len, &mut bytes)?;
        Ok(Some(bytes))
    }

    fn get_within<'a>(&'a self, key: &'a str, most: u64) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        Box::pin(async move {
            match self.member(key)?.map_or(0, |member| member.size) {
                size if size > most => Err(large(self.location(), key, size, most)),
                _ => self.get(key, ByteRange::Whole),
            }
        })
    }

    fn list_dir(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        let below = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(directly_below(&below, self.members.range(below.clone()..).map(|(key, _)| key.as_str())))
    }

    fn put(&self, _: &str, _: &[u8]) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly { location: self.location(), kind: "a zip file that exists" })
    }

    fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        self.put(key, bytes).map(|()| true)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.put(key, b"")
    }

    fn delete_prefix(&self, prefix: &str) -> Result<(), StoreError> {
        self.put(prefix, b"")
    }
}

/// Packs a folder into a new zip file: members as they are, in order of name, the same bytes from the same objects. They
/// are copied piece by piece, whatever their size.
///
/// # Errors
/// An object cannot be read, or the file not be written.
pub(crate) fn pack<W: Write + Seek>(store: &LocalStore, to: W) -> Result<W, PackError> {
    let mut folders = vec![String::new()];
    let mut keys = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in store.list_dir(&folder)? {
            match entry {
                Entry::Object(name) => keys.insert(super::join(&folder, &name)),
                Entry::Folder(name) => {
                    folders.push(super::join(&folder, &name));
                    true
                }
            };
        }
    }
    let mut writer = ::zip::ZipWriter::new(UntilError { to, failed: false, at: 0, end: 0 });
    for key in keys {
        let failed = |source| PackError::Member { key: key.clone(), source };
        let Some(member) = store.file(&key)? else { continue };
        let size = member.metadata().map_err(failed)?.len();
        let options = ::zip::write::SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(::zip::DateTime::default())
            .unix_permissions(0o644)
            .large_file(size >= u64::from(u32::MAX));
        writer.start_file(key.as_str(), options).map_err(|e| failed(e.into()))?;
        io::copy(&mut io::BufReader::with_capacity(PIECE, member), &mut writer).map_err(failed)?;
    }
    Ok(writer.finish().map_err(|e| PackError::End(e.into()))?.to)
}

/// Bytes of a member that are copied at once.
const PIECE: usize = 256 << 10;

/// A file up to its first error. From then on nothing is written and nothing fails: `ZipWriter` completes the file when it
/// is dropped, whatever happened before, and tells failures on stderr.
struct UntilError<W> {
    to: W,
    failed: bool,
    at: u64,
    end: u64,
}

impl<W> UntilError<W> {
    fn noted<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        self.failed = done.as_ref().is_err_and(|e| e.kind() != io::ErrorKind::Interrupted);
        done
    }
}

impl<W: Write> Write for UntilError<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = if self.failed {
            bytes.len()
        } else {
            let done = self.to.write(bytes);
            self.noted(done)?
        };
        self.at += count as u64;
        self.end = self.end.max(self.at);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.failed {
            Ok(())
        } else {
            let done = self.to.flush();
            self.noted(done)
        }
    }
}

impl<W: Seek> Seek for UntilError<W> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            _ if !self.failed => {
                let done = self.to.seek(to);
                self.noted(done)?
            }
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => self.at.saturating_add_signed(by),
            SeekFrom::End(by) => self.end.saturating_add_signed(by),
        };
        Ok(self.at)
    }
}

/// Why a folder was not packed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackError {
    /// An object cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A member cannot be copied: the disk is full, say.
    #[error("cannot pack `{key}`")]
    Member { key: String, source: io::Error },
    /// The directory behind the members cannot be written.
    #[error("cannot complete the zip file")]
    End(#[source] io::Error),
}
