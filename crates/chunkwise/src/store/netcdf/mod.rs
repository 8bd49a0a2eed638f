//! NetCDF files as stores: classic ones, and NetCDF-4, which is HDF5.
//!
//! A file looks like a folder of Zarr v3: its metadata are made when it is opened, its chunks are read when they are asked for.
//! Chunks of HDF5 are given as they lie in the file, and what was done to them as the codecs of Zarr, as kerchunk does;
//! where there is no such codec the library undoes it. Cells that are not chunked are cut into rows.

mod attrs;
mod classic;
mod hdf5;
mod index;
mod rows;
mod source;
mod tree;

use super::{Access, ByteRange, Entry, Store, StoreError, check_key, directly_below, join, resolve};
use crate::codec::step::Size;
use chunkwise_core::cube::Codec;
use hdf5_reader::filters::apply_pipeline_with_limit;
use netcdf_reader::NcFormat;
use source::Source;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tree::{Data, Group, Variable};

/// Endings that NetCDF and HDF5 files have.
const ENDINGS: [&str; 9] = ["nc", "nc3", "nc4", "cdf", "netcdf", "h5", "hdf5", "he5", "hdf"];

/// Begins an HDF5 file, or stands behind a user block.
const HDF5: [u8; 8] = *b"\x89HDF\r\n\x1a\n";

/// Whether a path or address ends as those of NetCDF and HDF5 files do.
pub(super) fn is_named(path: &str) -> bool {
    let ending = path.rsplit(['/', '.']).next().unwrap_or_default();
    path.contains('.') && ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// Whether a local file is one, by its name or its first bytes.
pub(super) fn is_netcdf(path: &Path) -> bool {
    let begins = || {
        let mut first = [0; 8];
        let read = std::fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut first));
        read.is_ok() && (first == HDF5 || classic::format(&first).is_some())
    };
    path.to_str().is_some_and(is_named) || begins()
}

/// A NetCDF or HDF5 file.
#[derive(Debug)]
pub struct NetcdfStore {
    source: Arc<Source>,
    form: &'static str,
    hdf5: Option<hdf5::File>,
    documents: BTreeMap<String, Vec<u8>>,
    variables: BTreeMap<String, Variable>,
}

impl NetcdfStore {
    /// A file of the local file system.
    ///
    /// # Errors
    /// There is no such file, or it cannot be understood.
    pub fn open(path: impl AsRef<Path>) -> Result<NetcdfStore, StoreError> {
        NetcdfStore::of(Source::file(path.as_ref())?)
    }

    /// An object of another store; `location` is for messages.
    ///
    /// # Errors
    /// As [`NetcdfStore::open`].
    pub fn open_in(store: Arc<dyn Store>, key: &str, location: &str) -> Result<NetcdfStore, StoreError> {
        NetcdfStore::of(Source::object(store, key, location)?)
    }

    fn of(source: Source) -> Result<NetcdfStore, StoreError> {
        let source = Arc::new(source);
        let magic = source.read(0, source.len.min(8))?;
        let (form, hdf5, root) = match classic::format(&magic) {
            Some(format) => {
                let root = guarded(&source, || classic::tree(&source, format))?;
                let form = match format {
                    NcFormat::Cdf5 => "NetCDF-3 (CDF-5)",
                    NcFormat::Offset64 => "NetCDF-3 (64-bit offset)",
                    _ => "NetCDF-3",
                };
                (form, None, root)
            }
            None => {
                let (file, root) = guarded(&source, || {
                    let file = hdf5::File::open(&source)?;
                    let root = file.tree()?;
                    Ok::<_, hdf5_reader::error::Error>((file, root))
                })?;
                (if file.is_netcdf() { "NetCDF-4" } else { "HDF5" }, Some(file), root)
            }
        };
        let mut store = NetcdfStore { source, form, hdf5, documents: BTreeMap::new(), variables: BTreeMap::new() };
        store.take("", root);
        Ok(store)
    }

    fn take(&mut self, path: &str, group: Group) {
        self.documents.insert(join(path, "zarr.json"), group.document().to_string().into_bytes());
        for variable in group.variables {
            let at = join(path, &variable.name);
            self.documents.insert(join(&at, "zarr.json"), variable.document().to_string().into_bytes());
            self.variables.insert(at, variable);
        }
        for (name, below) in group.groups {
            self.take(&join(path, &name), below);
        }
    }

    /// The bytes of a chunk by its key; `None` where it was never written, or there is none.
    fn chunk(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let Some((path, index)) = split(key) else { return Ok(None) };
        let Some(variable) = self.variables.get(path) else { return Ok(None) };
        let within = index.iter().zip(&variable.shape).zip(&variable.chunks);
        if index.len() != variable.shape.len()
            || within.into_iter().any(|((&at, &length), &chunk)| at >= length.div_ceil(chunk.max(1)))
        {
            return Ok(None);
        }
        match (&variable.data, &self.hdf5) {
            (Data::Nothing, _) => Ok(None),
            (Data::Inline(bytes), _) => Ok(Some(bytes.clone())),
            (Data::Rows(rows), _) => rows.chunk(&index, &self.source).map(Some),
            (Data::Text(path), Some(file)) => self.texts(file, path, variable).map(Some),
            (Data::Chunked(chunks), Some(file)) => {
                let Some(stored) = guarded(&self.source, || chunks.find(file, &index))? else { return Ok(None) };
                let bytes = self.source.read(file.base.saturating_add(stored.at), stored.len)?;
                match &chunks.decode {
                    Some(filters) => guarded(&self.source, || {
                        let most = usize::try_from(chunks.whole).unwrap_or(usize::MAX);
                        apply_pipeline_with_limit(&bytes, filters, stored.skipped, chunks.item, None, Some(most))
                    })
                    .map(Some),
                    None if stored.skipped == 0 => Ok(Some(bytes)),
                    None => self.completed(variable, bytes, stored.skipped, chunks.whole).map(Some),
                }
            }
            (Data::Text(_) | Data::Chunked(_), None) => Ok(None),
        }
    }

    /// Does to a chunk what its writer left out: HDF5 leaves chunks as they are that a filter does not make smaller.
    fn completed(&self, variable: &Variable, bytes: Vec<u8>, skipped: u32, whole: u64) -> Result<Vec<u8>, StoreError> {
        let codecs: Result<Vec<Codec>, _> =
            variable.filters.iter().map(|codec| serde_json::from_value::<Codec>(codec.clone())).collect();
        let item = variable.cell.size();
        let codecs = codecs.map_err(|e| self.damaged(e))?;
        crate::codec::complete(&codecs, item, bytes, skipped, Size::Exact(whole)).map_err(|e| self.damaged(e))
    }

    /// Texts as `vlen-utf8` has them.
    fn texts(&self, file: &hdf5::File, path: &str, variable: &Variable) -> Result<Vec<u8>, StoreError> {
        let cells = variable.shape.iter().fold(1u64, |n, &c| n.saturating_mul(c));
        if cells > hdf5::TEXTS {
            return Err(self.damaged(format!("`{path}` has {cells} texts, more than {} are not read", hdf5::TEXTS)));
        }
        let texts = guarded(&self.source, || file.hdf5.dataset(path)?.read_strings())?;
        let mut bytes = (texts.len() as u32).to_le_bytes().to_vec();
        for text in texts {
            bytes.extend((text.len() as u32).to_le_bytes());
            bytes.extend(text.as_bytes());
        }
        Ok(bytes)
    }

    fn damaged(&self, reason: impl std::fmt::Display) -> StoreError {
        damaged(&self.source, &reason)
    }
}

fn damaged(source: &Source, reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::BadFile { location: source.location.clone(), kind: "NetCDF or HDF5 file", reason: reason.to_string() }
}

/// Runs the library. What it makes of damaged files is an error; should it panic, that is one too, and nothing of it is used.
fn guarded<T, E: std::fmt::Display>(source: &Source, work: impl FnOnce() -> Result<T, E>) -> Result<T, StoreError> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(damaged(source, &error)),
        Err(_) => Err(damaged(source, &"its metadata are damaged")),
    }
}

/// `PATH/c/1/0` as the path of an array and the index of a chunk.
fn split(key: &str) -> Option<(&str, Vec<u64>)> {
    let (path, index) = match key.strip_suffix("/c") {
        Some(path) => (path, ""),
        None => key.rsplit_once("/c/")?,
    };
    let index = index.split('/').filter(|at| !at.is_empty()).map(str::parse).collect::<Result<_, _>>().ok()?;
    Some((path, index))
}

impl Store for NetcdfStore {
    fn location(&self) -> String {
        self.source.location.clone()
    }

    /// Chunks are read by the thread that decodes them, of remote files too: where they are is found out in the file.
    fn access(&self) -> Access {
        Access::Inline
    }

    fn form(&self) -> Option<&'static str> {
        Some(self.form)
    }

    fn get(&self, key: &str, range: ByteRange) -> Result<Option<Vec<u8>>, StoreError> {
        check_key(&|| self.location(), key)?;
        let found = match self.documents.get(key) {
            Some(document) => Some(document.clone()),
            None => self.chunk(key)?,
        };
        let Some(mut bytes) = found else { return Ok(None) };
        if range != ByteRange::Whole {
            let size = bytes.len() as u64;
            let (start, len) = resolve(range, size).map_err(|(start, len)| StoreError::Short {
                location: self.location(),
                key: key.to_owned(),
                start,
                len,
                size,
            })?;
            // Both fit: they lie within bytes in memory.
            bytes.truncate((start + len) as usize);
            bytes.drain(..start as usize);
        }
        Ok(Some(bytes))
    }

    /// Metadata and variables; chunks are not listed.
    fn list_dir(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        let below = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(directly_below(&below, self.documents.range(below.clone()..).map(|(key, _)| key.as_str())))
    }

    fn put(&self, _: &str, _: &[u8]) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly { location: self.location(), kind: "a NetCDF file" })
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
