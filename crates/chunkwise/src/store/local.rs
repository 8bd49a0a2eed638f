//! A folder of the local file system.

use super::{Access, BoxFuture, ByteRange, Entry, ObjectWriter, Store, StoreError, check_key, large, resolve};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Names of files that are being written; they are renamed when complete, and never listed.
const ASIDE: &str = ".chunkwise-aside-";

/// A folder; keys are paths below it. Symbolic links are followed.
#[derive(Clone, Debug)]
pub struct LocalStore {
    root: PathBuf,
}

impl LocalStore {
    /// A folder that exists.
    ///
    /// # Errors
    /// There is no such folder, it is a file, or it may not be looked at.
    pub fn open(root: impl Into<PathBuf>) -> Result<LocalStore, StoreError> {
        let store = LocalStore { root: root.into() };
        match fs::metadata(&store.root) {
            Ok(found) if found.is_dir() => Ok(store),
            Ok(_) => Err(StoreError::Io {
                action: "read",
                location: store.location(),
                key: ".".to_owned(),
                source: io::Error::from(ErrorKind::NotADirectory),
            }),
            Err(e) if e.kind() == ErrorKind::NotFound => Err(StoreError::NotFound { location: store.location() }),
            Err(e) => Err(store.failed("read", ".", e)),
        }
    }

    /// A folder for writing, made where there is none.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(root: impl Into<PathBuf>) -> Result<LocalStore, StoreError> {
        let store = LocalStore { root: root.into() };
        fs::create_dir_all(&store.root).map_err(|e| store.failed("write", ".", e))?;
        Ok(store)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, key: &str) -> Result<PathBuf, StoreError> {
        check_key(&|| self.location(), key)?;
        Ok(self.root.join(key))
    }

    fn folder(&self, prefix: &str) -> Result<PathBuf, StoreError> {
        if prefix.is_empty() { Ok(self.root.clone()) } else { self.path(prefix) }
    }

    fn failed(&self, action: &'static str, key: &str, source: io::Error) -> StoreError {
        let (location, key) = (self.location(), key.to_owned());
        match source.kind() {
            ErrorKind::PermissionDenied => StoreError::Permission { location, key, source },
            ErrorKind::IsADirectory => StoreError::Folder { location, key },
            _ => StoreError::Io { action, location, key, source },
        }
    }

    /// A new file beside `path`, whose folder is made where there is none.
    fn aside(&self, path: &Path) -> io::Result<tempfile::NamedTempFile> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(ASIDE);
        #[cfg(unix)]
        {
            // The process' own mask decides, as for any file: not the 0600 of temporary files.
            use std::os::unix::fs::PermissionsExt as _;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let folder = path.parent().unwrap_or(&self.root);
        match builder.tempfile_in(folder) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(folder)?;
                builder.tempfile_in(folder)
            }
            made => made,
        }
    }

    /// The open file of a key; `None` where there is none.
    pub(super) fn file(&self, key: &str) -> Result<Option<File>, StoreError> {
        match File::open(self.path(key)?) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.failed("read", key, e)),
        }
    }
}

/// Appends the rest of a file to a buffer without asking for its length: two reads where the buffer is large enough.
#[cfg(unix)]
fn read_rest(file: &mut File, buffer: &mut Vec<u8>) -> io::Result<()> {
    loop {
        if buffer.spare_capacity_mut().len() < 64 {
            buffer.reserve(buffer.capacity().clamp(64 << 10, 64 << 20));
        }
        match rustix::io::read(&*file, rustix::buffer::spare_capacity(buffer)) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

#[cfg(not(unix))]
fn read_rest(file: &mut File, buffer: &mut Vec<u8>) -> io::Result<()> {
    file.read_to_end(buffer).map(|_| ())
}

impl Store for LocalStore {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    fn access(&self) -> Access {
        Access::Inline
    }

    fn get(&self, key: &str, range: ByteRange) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(mut file) = self.file(key)? else { return Ok(None) };
        let mut bytes = Vec::new();
        if range == ByteRange::Whole {
            read_rest(&mut file, &mut bytes).map_err(|e| self.failed("read", key, e))?;
            return Ok(Some(bytes));
        }
        let found = file.metadata().map_err(|e| self.failed("read", key, e))?;
        if found.is_dir() {
            return Err(StoreError::Folder { location: self.location(), key: key.to_owned() });
        }
        let size = found.len();
        let short =
            |(start, len)| StoreError::Short { location: self.location(), key: key.to_owned(), start, len, size };
        let (start, len) = resolve(range, size).map_err(short)?;
        let mut read = || -> io::Result<()> {
            file.seek(SeekFrom::Start(start))?;
            bytes.reserve_exact(usize::try_from(len).map_err(io::Error::other)?);
            (&file).take(len).read_to_end(&mut bytes)?;
            Ok(())
        };
        read().map_err(|e| self.failed("read", key, e))?;
        if (bytes.len() as u64) < len {
            return Err(short((start, len)));
        }
        Ok(Some(bytes))
    }

    fn get_into(&self, key: &str, buffer: &mut Vec<u8>) -> Result<bool, StoreError> {
        buffer.clear();
        let Some(mut file) = self.file(key)? else { return Ok(false) };
        read_rest(&mut file, buffer).map_err(|e| self.failed("read", key, e))?;
        Ok(true)
    }

    fn get_within<'a>(&'a self, key: &'a str, most: u64) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        Box::pin(async move {
            let Some(file) = self.file(key)? else { return Ok(None) };
            match file.metadata().map_err(|e| self.failed("read", key, e))?.len() {
                size if size > most => Err(large(self.location(), key, size, most)),
                _ => self.get(key, ByteRange::Whole),
            }
        })
    }

    fn list_dir(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        let shown = if prefix.is_empty() { "." } else { prefix };
        let folder = match fs::read_dir(self.folder(prefix)?) {
            Ok(folder) => folder,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            Err(e) => return Err(self.failed("list", shown, e)),
        };
        let mut entries = Vec::new();
        for entry in folder {
            let entry = entry.map_err(|e| self.failed("list", shown, e))?;
            // Names that are not Unicode cannot be keys.
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with(ASIDE) {
                continue;
            }
            let kind = entry.file_type().map_err(|e| self.failed("list", shown, e))?;
            let folder = if kind.is_symlink() { entry.path().is_dir() } else { kind.is_dir() };
            entries.push(if folder { Entry::Folder(name) } else { Entry::Object(name) });
        }
        entries.sort_by(|a, b| name_of(a).cmp(name_of(b)));
        Ok(entries)
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path(key)?;
        let write = || -> io::Result<()> {
            let mut aside = self.aside(&path)?;
            aside.write_all(bytes)?;
            aside.persist(&path).map_err(|e| e.error)?;
            Ok(())
        };
        write().map_err(|e| self.failed("write", key, e))
    }

    fn writer(&self, key: &str) -> Result<Option<Box<dyn ObjectWriter>>, StoreError> {
        let path = self.path(key)?;
        let aside = self.aside(&path).map_err(|e| self.failed("write", key, e))?.into_temp_path();
        Ok(Some(Box::new(Aside { store: self.clone(), key: key.to_owned(), path, aside })))
    }

    fn writer_bytes(&self) -> Option<u64> {
        Some(0)
    }

    fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        let path = self.path(key)?;
        let write = || -> io::Result<bool> {
            let mut aside = self.aside(&path)?;
            aside.write_all(bytes)?;
            match aside.persist_noclobber(&path) {
                Ok(_) => Ok(true),
                Err(e) if e.error.kind() == ErrorKind::AlreadyExists => Ok(false),
                Err(e) => Err(e.error),
            }
        };
        write().map_err(|e| self.failed("write", key, e))
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        match fs::remove_file(self.path(key)?) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(self.failed("remove", key, e)),
            _ => Ok(()),
        }
    }

    fn delete_prefix(&self, prefix: &str) -> Result<(), StoreError> {
        if prefix.is_empty() {
            for entry in self.list_dir("")? {
                match entry {
                    Entry::Object(name) => self.delete(&name)?,
                    Entry::Folder(name) => self.delete_prefix(&name)?,
                }
            }
            return Ok(());
        }
        match fs::remove_dir_all(self.path(prefix)?) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(self.failed("remove", prefix, e)),
            _ => Ok(()),
        }
    }
}

fn name_of(entry: &Entry) -> &str {
    match entry {
        Entry::Object(name) | Entry::Folder(name) => name,
    }
}

/// A file in the making, beside its place. It is open only while bytes are added: many shards may be in the making.
#[derive(Debug)]
struct Aside {
    store: LocalStore,
    key: String,
    path: PathBuf,
    aside: tempfile::TempPath,
}

impl ObjectWriter for Aside {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let write = || File::options().append(true).open(&self.aside)?.write_all(bytes);
        write().map_err(|e| self.store.failed("write", &self.key, e))
    }

    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        let Aside { store, key, path, aside } = *self;
        aside.persist(path).map_err(|e| store.failed("write", &key, e.error))
    }

    fn abort(self: Box<Self>) -> Result<(), StoreError> {
        let Aside { store, key, aside, .. } = *self;
        aside.close().map_err(|e| store.failed("remove", &key, e))
    }
}
