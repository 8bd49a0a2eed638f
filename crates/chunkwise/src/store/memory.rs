//! A store in the memory of the process.

use super::{Access, ByteRange, Entry, ObjectWriter, Store, StoreError, check_key, directly_below, resolve};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock};

/// Objects in memory, by key.
#[derive(Debug, Default)]
pub struct MemoryStore {
    name: String,
    objects: Objects,
}

type Objects = Arc<RwLock<BTreeMap<String, Arc<[u8]>>>>;

static NAMED: LazyLock<Mutex<HashMap<String, Arc<MemoryStore>>>> = LazyLock::new(Mutex::default);

impl MemoryStore {
    /// An empty store that no location names.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// The store that `memory:NAME` names in this process, made where there is none.
    pub fn create(name: &str) -> Arc<MemoryStore> {
        let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
        let store = named.entry(name.to_owned());
        store.or_insert_with(|| Arc::new(MemoryStore { name: name.to_owned(), objects: Objects::default() })).clone()
    }

    /// The store that `memory:NAME` names, if it was made.
    pub fn find(name: &str) -> Option<Arc<MemoryStore>> {
        NAMED.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Forgets a name; the store lives on where it is in use.
    pub fn forget(name: &str) {
        NAMED.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    fn check(&self, key: &str) -> Result<(), StoreError> {
        check_key(&|| self.location(), key)
    }

    fn object(&self, key: &str) -> Result<Option<Arc<[u8]>>, StoreError> {
        self.check(key)?;
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = objects.get(key) {
            return Ok(Some(found.clone()));
        }
        let below = format!("{key}/");
        let next = objects.range(below.clone()..).next();
        if next.is_some_and(|(found, _)| found.starts_with(&below)) {
            return Err(StoreError::Folder { location: self.location(), key: key.to_owned() });
        }
        Ok(None)
    }
}

impl Store for MemoryStore {
    fn location(&self) -> String {
        format!("memory:{}", self.name)
    }

    fn access(&self) -> Access {
        Access::Inline
    }

    fn get(&self, key: &str, range: ByteRange) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(object) = self.object(key)? else { return Ok(None) };
        let size = object.len() as u64;
        let (start, len) = resolve(range, size).map_err(|(start, len)| StoreError::Short {
            location: self.location(),
            key: key.to_owned(),
            start,
            len,
            size,
        })?;
        // Both fit: they lie within an object in memory.
        Ok(Some(object[start as usize..(start + len) as usize].to_vec()))
    }

    fn get_into(&self, key: &str, buffer: &mut Vec<u8>) -> Result<bool, StoreError> {
        buffer.clear();
        let Some(object) = self.object(key)? else { return Ok(false) };
        buffer.extend_from_slice(&object);
        Ok(true)
    }

    fn list_dir(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        let below = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        Ok(directly_below(&below, objects.range(below.clone()..).map(|(key, _)| key.as_str())))
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.check(key)?;
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        objects.insert(key.to_owned(), bytes.into());
        Ok(())
    }

    fn writer(&self, key: &str) -> Result<Option<Box<dyn ObjectWriter>>, StoreError> {
        self.check(key)?;
        Ok(Some(Box::new(Pieces { objects: Arc::clone(&self.objects), key: key.to_owned(), bytes: Vec::new() })))
    }

    /// The pieces are in memory as the object will be: nothing is kept beside it.
    fn writer_bytes(&self) -> Option<u64> {
        Some(0)
    }

    fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        self.check(key)?;
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let free = !objects.contains_key(key);
        if free {
            objects.insert(key.to_owned(), bytes.into());
        }
        Ok(free)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.check(key)?;
        self.objects.write().unwrap_or_else(PoisonError::into_inner).remove(key);
        Ok(())
    }

    fn delete_prefix(&self, prefix: &str) -> Result<(), StoreError> {
        let below = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        objects.retain(|key, _| !key.starts_with(&below));
        Ok(())
    }
}

/// An object in the making.
#[derive(Debug)]
struct Pieces {
    objects: Objects,
    key: String,
    bytes: Vec<u8>,
}

impl ObjectWriter for Pieces {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        objects.insert(self.key, self.bytes.into());
        Ok(())
    }

    fn abort(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}
