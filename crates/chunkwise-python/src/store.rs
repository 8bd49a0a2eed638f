//! A store whose objects a Python object gives: NumPy and dask arrays shown as Zarr.

use chunkwise::store::{Access, ByteRange, Entry, Store, StoreError};
use pyo3::prelude::*;
use std::io;

/// Objects that `get(key)` gives as bytes, or `None` where there is none.
#[derive(Debug)]
pub(crate) struct PyStore {
    pub(crate) objects: Py<PyAny>,
    pub(crate) name: String,
}

impl PyStore {
    fn failed(
        &self,
        action: &'static str,
        key: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StoreError {
        let (location, key) = (self.name.clone(), key.to_owned());
        StoreError::Io { action, location, key, source: io::Error::other(source) }
    }

    fn refused(&self) -> StoreError {
        StoreError::ReadOnly { location: self.name.clone(), kind: "what xarray holds" }
    }
}

impl Store for PyStore {
    fn location(&self) -> String {
        self.name.clone()
    }

    fn access(&self) -> Access {
        Access::Inline
    }

    fn get(&self, key: &str, range: ByteRange) -> Result<Option<Vec<u8>>, StoreError> {
        let found = Python::attach(|py| -> PyResult<Option<Vec<u8>>> {
            let object = self.objects.bind(py).call_method1("get", (key,))?;
            match object.is_none() {
                true => Ok(None),
                false => object.extract::<&[u8]>().map(|bytes| Some(bytes.to_vec())).map_err(Into::into),
            }
        });
        let Some(bytes) = found.map_err(|e| self.failed("read", key, e))? else { return Ok(None) };
        let size = bytes.len() as u64;
        let (start, len) = match range {
            ByteRange::Whole => return Ok(Some(bytes)),
            ByteRange::Suffix(len) => (size.saturating_sub(len), len.min(size)),
            ByteRange::Bounded { start, len } => (start, len),
        };
        match start.checked_add(len).filter(|&end| end <= size) {
            Some(end) => Ok(Some(bytes[start as usize..end as usize].to_vec())),
            None => Err(StoreError::Short { location: self.name.clone(), key: key.to_owned(), start, len, size }),
        }
    }

    fn list_dir(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        let found = Python::attach(|py| -> PyResult<Vec<String>> {
            self.objects.bind(py).call_method1("list_dir", (prefix,))?.extract()
        });
        let names = found.map_err(|e| self.failed("list", prefix, e))?;
        Ok(names.into_iter().map(Entry::Folder).collect())
    }

    fn put(&self, _: &str, _: &[u8]) -> Result<(), StoreError> {
        Err(self.refused())
    }

    fn delete(&self, _: &str) -> Result<(), StoreError> {
        Err(self.refused())
    }

    fn delete_prefix(&self, _: &str) -> Result<(), StoreError> {
        Err(self.refused())
    }
}
