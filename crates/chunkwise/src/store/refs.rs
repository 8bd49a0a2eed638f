//! Kerchunk references: a JSON document that says where in other files the chunks of a cube lie.
//!
//! Only what the document names is read, from where it says: inline text, or bytes of a file beside it, of any local file, or of an
//! address that this build has a store for. References in a document from a server stay on servers.
//!
//! Source: kerchunk reference specification, versions 0 and 1; fsspec 2026, `ReferenceFileSystem`.

use super::{
    Access, BoxFuture, ByteRange, Entry, LocalStore, StorageOptions, Store, StoreError, check_key, directly_below,
    resolve,
};
use base64::Engine as _;
use indexmap::IndexSet;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most bytes of a document.
const MOST_MIB: u64 = 512;

/// Where a reference document lies, for what it names relative to itself.
#[derive(Clone, Debug)]
enum Home {
    Folder(PathBuf),
    #[cfg(feature = "cloud")]
    Address(String),
}

/// A chunk or a metadata document.
#[derive(Clone, Debug, PartialEq)]
enum Reference {
    Inline(Box<[u8]>),
    /// Bytes of a file, by its place in the list of files; all where there is no range.
    Of {
        file: u32,
        range: Option<(u64, u64)>,
    },
}

/// A cube of references.
#[derive(Debug)]
pub struct ReferenceStore {
    location: String,
    references: BTreeMap<String, Reference>,
    files: Vec<Target>,
}

/// A file that chunks lie in.
#[derive(Clone, Debug)]
struct Target {
    store: Arc<dyn Store>,
    key: String,
}

impl ReferenceStore {
    /// A document of the local file system.
    ///
    /// # Errors
    /// It cannot be read, is no reference document, or names what this build cannot read.
    pub fn open(path: &Path, options: &StorageOptions) -> Result<ReferenceStore, StoreError> {
        let location = path.display().to_string();
        let failed = |source: std::io::Error| StoreError::Io {
            action: "read",
            location: location.clone(),
            key: ".".to_owned(),
            source,
        };
        let file = std::fs::File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() > MOST_MIB << 20 {
            return Err(bad(&location, format!("it is larger than {MOST_MIB} MiB")));
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let read = std::io::BufReader::with_capacity(256 << 10, file);
        ReferenceStore::parse(read, location, Home::Folder(folder.to_owned()), options)
    }

    /// A document of an object store or web server: `parent` is the address of the folder, `key` the name in it.
    ///
    /// # Errors
    /// As [`ReferenceStore::open`].
    #[cfg(feature = "cloud")]
    pub(super) fn open_in(
        store: &dyn Store,
        parent: &str,
        key: &str,
        location: &str,
        options: &StorageOptions,
    ) -> Result<ReferenceStore, StoreError> {
        let found = store.get_small(key, MOST_MIB << 20)?;
        let bytes = found.ok_or_else(|| StoreError::NotFound { location: location.to_owned() })?;
        ReferenceStore::parse(bytes.as_slice(), location.to_owned(), Home::Address(parent.to_owned()), options)
    }

    fn parse(
        read: impl Read,
        location: String,
        home: Home,
        options: &StorageOptions,
    ) -> Result<ReferenceStore, StoreError> {
        let mut found = Found::default();
        let mut document = serde_json::Deserializer::from_reader(read);
        let parsed = Document(&mut found).deserialize(&mut document).and_then(|()| document.end());
        parsed.map_err(|e| bad(&location, e.to_string()))?;
        let references = found.references;
        if !references.keys().any(|key| ["zarr.json", ".zgroup", ".zarray"].iter().any(|name| ends(key, name))) {
            return Err(bad(&location, "it has no `refs` to the metadata of a cube".to_owned()));
        }
        let mut files = Vec::with_capacity(found.urls.len());
        let mut stores = BTreeMap::new();
        for url in &found.urls {
            let url = filled(url, &found.templates).map_err(|reason| bad(&location, reason))?;
            files.push(target(&url, &home, options, &mut stores).map_err(|e| match e {
                Problem::Store(error) => error,
                Problem::Reason(reason) => bad(&location, reason),
            })?);
        }
        Ok(ReferenceStore { location, references, files })
    }

    /// Where to read, and which part; or the bytes themselves.
    fn resolve(&self, key: &str, range: ByteRange) -> Result<Option<Asked<'_>>, StoreError> {
        check_key(&|| self.location(), key)?;
        let Some(reference) = self.references.get(key) else {
            let below = format!("{key}/");
            let next = self.references.range(below.clone()..).next();
            return match next.is_some_and(|(found, _)| found.starts_with(&below)) {
                true => Err(StoreError::Folder { location: self.location(), key: key.to_owned() }),
                false => Ok(None),
            };
        };
        let part = |size: u64| {
            let (location, key) = (self.location(), key.to_owned());
            resolve(range, size).map_err(|(start, len)| StoreError::Short { location, key, start, len, size })
        };
        Ok(Some(match reference {
            Reference::Inline(bytes) => {
                let (start, len) = part(bytes.len() as u64)?;
                // Both fit: they lie within bytes in memory.
                Asked::Bytes(&bytes[start as usize..(start + len) as usize])
            }
            Reference::Of { file, range: whole } => {
                let target = &self.files[*file as usize];
                let range = match whole {
                    None => range,
                    Some((at, len)) => {
                        let (start, len) = part(*len)?;
                        ByteRange::Bounded { start: at.saturating_add(start), len }
                    }
                };
                Asked::Of(target, range)
            }
        }))
    }

    /// What a file gave: that it is not there is an error, and no absent chunk.
    fn there(target: &Target, found: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, StoreError> {
        found
            .map(Some)
            .ok_or_else(|| StoreError::NotFound { location: super::join(&target.store.location(), &target.key) })
    }
}

/// What a key stands for.
enum Asked<'a> {
    Bytes(&'a [u8]),
    Of(&'a Target, ByteRange),
}

fn ends(key: &str, name: &str) -> bool {
    key.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

fn bad(location: &str, reason: String) -> StoreError {
    StoreError::BadFile { location: location.to_owned(), kind: "kerchunk reference", reason }
}

enum Problem {
    Store(StoreError),
    Reason(String),
}

/// Puts the values of templates in their places.
fn filled(url: &str, templates: &BTreeMap<String, String>) -> Result<String, String> {
    let (mut made, mut rest) = (String::new(), url);
    while let Some((before, behind)) = rest.split_once("{{") {
        let (name, after) = behind.split_once("}}").ok_or_else(|| format!("`{url}` has a template without end"))?;
        let value = templates.get(name.trim());
        let value =
            value.ok_or_else(|| format!("its template `{}` is not known; calls are not supported", name.trim()))?;
        if value.contains("{{") {
            return Err(format!("its template `{}` has parameters, which are not supported", name.trim()));
        }
        made.push_str(before);
        made.push_str(value);
        rest = after;
    }
    made.push_str(rest);
    Ok(made)
}

/// The store and key of an address.
fn target(
    url: &str,
    home: &Home,
    options: &StorageOptions,
    stores: &mut BTreeMap<String, Arc<dyn Store>>,
) -> Result<Target, Problem> {
    let local = url.strip_prefix("file://").or((!url.contains("://")).then_some(url));
    #[cfg(feature = "cloud")]
    {
        let remote = match (local, home) {
            (None, _) if super::object::is_remote(url) => Some(url.to_owned()),
            (Some(path), Home::Address(parent)) => {
                if path.starts_with('/') || path.split('/').any(|segment| segment == "..") {
                    return Err(Problem::Reason(format!("`{url}` leads out of the folder that it was read from")));
                }
                Some(super::join(parent, path))
            }
            _ => None,
        };
        if let Some(remote) = remote {
            let (parent, key) = remote.rsplit_once('/').unwrap_or((&remote, ""));
            if let Some(store) = stores.get(parent) {
                return Ok(Target { store: Arc::clone(store), key: key.to_owned() });
            }
            let store: Arc<dyn Store> = super::object::open(parent, options).map_err(Problem::Store)?;
            stores.insert(parent.to_owned(), Arc::clone(&store));
            return Ok(Target { store, key: key.to_owned() });
        }
    }
    let _ = options;
    let Some(path) = local else {
        let scheme = url.split("://").next().unwrap_or_default();
        return Err(Problem::Reason(format!("it names files at `{scheme}://`, which this build does not read")));
    };
    let path = match home {
        Home::Folder(folder) => folder.join(path),
        #[cfg(feature = "cloud")]
        Home::Address(_) => PathBuf::from(path),
    };
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Err(Problem::Reason(format!("`{url}` names no file")));
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    let store = match stores.get(&folder.display().to_string()) {
        Some(store) => Arc::clone(store),
        None => {
            let store: Arc<dyn Store> = Arc::new(LocalStore::open(folder).map_err(Problem::Store)?);
            stores.insert(folder.display().to_string(), Arc::clone(&store));
            store
        }
    };
    Ok(Target { store, key: name.to_owned() })
}

/// What a document says, as it is read: files by number, so that a million references take little.
#[derive(Default)]
struct Found {
    references: BTreeMap<String, Reference>,
    urls: IndexSet<String>,
    templates: BTreeMap<String, String>,
}

/// The whole document.
struct Document<'a>(&'a mut Found);

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reference document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "version" => {
                    let version: Value = map.next_value()?;
                    if version.as_u64() != Some(1) {
                        return Err(A::Error::custom(format!("its version is {version}, known is 1")));
                    }
                }
                "templates" => self.0.templates = map.next_value()?,
                "gen" => {
                    let rules: Vec<IgnoredAny> = map.next_value()?;
                    if !rules.is_empty() {
                        return Err(A::Error::custom("its `gen` makes references by rules, which is not supported"));
                    }
                }
                "refs" => map.next_value_seed(References(self.0))?,
                // Version 0: references alone.
                _ if key.contains('/') || key.starts_with(".z") || key == "zarr.json" => {
                    let value: Value = map.next_value()?;
                    take(self.0, key, value).map_err(A::Error::custom)?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// `refs`.
struct References<'a>(&'a mut Found);

impl<'de> DeserializeSeed<'de> for References<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for References<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("references by key")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let value: Value = map.next_value()?;
            take(self.0, key, value).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

fn take(found: &mut Found, key: String, value: Value) -> Result<(), String> {
    let reference = match value {
        Value::String(text) => Reference::Inline(match text.strip_prefix("base64:") {
            Some(coded) => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(coded);
                bytes.map_err(|_| format!("`{key}` is no base64"))?.into()
            }
            None => text.into_bytes().into(),
        }),
        // Metadata, as some writers have them.
        Value::Object(_) => Reference::Inline(value.to_string().into_bytes().into()),
        Value::Array(list) => {
            let wrong = || format!("`{key}` is neither text nor `[address, offset, length]`");
            let range = match list.as_slice() {
                [Value::String(_)] => None,
                [Value::String(_), at, len] => Some(at.as_u64().zip(len.as_u64()).ok_or_else(wrong)?),
                _ => return Err(wrong()),
            };
            let url = list[0].as_str().unwrap_or_default();
            let file = match found.urls.get_index_of(url) {
                Some(known) => known,
                None => found.urls.insert_full(url.to_owned()).0,
            };
            Reference::Of { file: u32::try_from(file).map_err(|_| "it names too many files".to_owned())?, range }
        }
        _ => return Err(format!("`{key}` is neither text nor `[address, offset, length]`")),
    };
    found.references.insert(key, reference);
    Ok(())
}

impl Store for ReferenceStore {
    fn location(&self) -> String {
        self.location.clone()
    }

    /// As the files want to be asked.
    fn access(&self) -> Access {
        let polled = self.files.iter().any(|file| file.store.access() == Access::Polled);
        if polled { Access::Polled } else { Access::Inline }
    }

    fn form(&self) -> Option<&'static str> {
        Some("kerchunk reference")
    }

    fn get(&self, key: &str, range: ByteRange) -> Result<Option<Vec<u8>>, StoreError> {
        match self.resolve(key, range)? {
            None => Ok(None),
            Some(Asked::Bytes(bytes)) => Ok(Some(bytes.to_vec())),
            Some(Asked::Of(target, range)) => ReferenceStore::there(target, target.store.get(&target.key, range)?),
        }
    }

    fn get_async<'a>(&'a self, key: &'a str, range: ByteRange) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        Box::pin(async move {
            match self.resolve(key, range)? {
                None => Ok(None),
                Some(Asked::Bytes(bytes)) => Ok(Some(bytes.to_vec())),
                Some(Asked::Of(target, range)) => {
                    ReferenceStore::there(target, target.store.get_async(&target.key, range).await?)
                }
            }
        })
    }

    fn list_dir(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        let below = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(directly_below(&below, self.references.range(below.clone()..).map(|(key, _)| key.as_str())))
    }

    fn put(&self, _: &str, _: &[u8]) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly { location: self.location(), kind: "a reference document" })
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

    fn repeated(&self) -> u64 {
        let mut stores: Vec<&Arc<dyn Store>> = Vec::new();
        for file in &self.files {
            if !stores.iter().any(|known| Arc::ptr_eq(known, &file.store)) {
                stores.push(&file.store);
            }
        }
        stores.iter().map(|store| store.repeated()).sum()
    }
}
