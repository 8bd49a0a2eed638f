//! Metadata documents: fetched within a limit, parsed as JSON with Python's `NaN` and `Infinity`.

use crate::error::OpenError;
use crate::store::{Access, Store, StoreError};
use serde_json::{Map, Value};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

/// Most bytes of a document that may hold consolidated metadata.
pub(super) const CONSOLIDATED_MIB: u64 = 256;
/// Most bytes of any other document.
pub(super) const DOCUMENT_MIB: u64 = 16;

/// Documents that are asked for at once, of stores that answer after a while.
const AT_ONCE: usize = 32;

/// What [`fetch`] gives.
pub(super) type Document = Result<Option<Map<String, Value>>, OpenError>;

/// Small documents by key, in the order of the keys; those of polled stores many at a time.
pub(super) fn fetch_all(store: &dyn Store, keys: &[String]) -> Vec<Document> {
    let found: Vec<OnceLock<Document>> = keys.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let at = next.fetch_add(1, Relaxed);
            let Some((key, slot)) = keys.get(at).zip(found.get(at)) else { return };
            let _ = slot.set(fetch(store, key, DOCUMENT_MIB));
        }
    };
    let helpers = match store.access() {
        Access::Inline => 0,
        Access::Polled => keys.len().min(AT_ONCE).saturating_sub(1),
    };
    thread::scope(|scope| {
        for _ in 0..helpers {
            // Where the system gives no more threads, those that there are do it.
            if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    found.into_iter().map(|slot| slot.into_inner().unwrap_or(Ok(None))).collect()
}

/// A JSON object by key; `None` where there is no such object.
pub(super) fn fetch(store: &dyn Store, key: &str, limit_mib: u64) -> Document {
    let limit = limit_mib << 20;
    let found = store.get_small(key, limit);
    let (location, key) = (store.location(), key.to_owned());
    let bytes = match found {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(StoreError::Large { .. }) => return Err(OpenError::TooLarge { location, key, limit_mib }),
        Err(other) => return Err(other.into()),
    };
    match parse(&bytes) {
        Ok(Value::Object(map)) => Ok(Some(map)),
        Ok(other) => {
            let reason = format!("expected a JSON object, found {}", kind(&other));
            Err(OpenError::BadMetadata { location, key, reason })
        }
        Err(reason) => Err(OpenError::BadMetadata { location, key, reason }),
    }
}

/// JSON; where that fails, JSON as Python writes it, with `NaN` and `Infinity` outside of text (they become text).
pub(super) fn parse(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).or_else(|error| match quoted(bytes, "") {
        Some(mended) => serde_json::from_slice(&mended).map_err(|e| e.to_string()),
        None => Err(error.to_string()),
    })
}

/// What stands before a number that JSON lacks, while a document is changed that has it.
const BARE: &str = "chunkwise: bare ";

/// A document to be changed: what JSON lacks is kept, to be written as it was.
pub(crate) fn parse_kept(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).or_else(|error| match quoted(bytes, BARE) {
        Some(mended) => serde_json::from_slice(&mended).map_err(|e| e.to_string()),
        None => Err(error.to_string()),
    })
}

/// A document as people can read it, with what [`parse_kept`] kept.
pub(crate) fn written(value: &Value) -> Vec<u8> {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    for word in ["NaN", "Infinity", "-Infinity"] {
        text = text.replace(&format!("\"{BARE}{word}\""), word);
    }
    text.push('\n');
    text.into_bytes()
}

/// A value of a document without the signs of [`parse_kept`], for people.
pub(crate) fn plain(value: &Value) -> Value {
    match value {
        Value::String(text) => text.strip_prefix(BARE).unwrap_or(text).into(),
        Value::Array(list) => list.iter().map(plain).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), plain(value))).collect::<Map<_, _>>().into(),
        other => other.clone(),
    }
}

/// The document with the numbers that JSON lacks in quotes, behind `before`; `None` where it has none.
fn quoted(bytes: &[u8], before: &str) -> Option<Vec<u8>> {
    let mut mended = Vec::with_capacity(bytes.len() + 64);
    let (mut at, mut in_text, mut found) = (0, false, false);
    while at < bytes.len() {
        if !in_text {
            let rest = &bytes[at..];
            let words: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
            if let Some(word) = words.into_iter().find(|word| rest.starts_with(word)) {
                mended.push(b'"');
                mended.extend_from_slice(before.as_bytes());
                mended.extend_from_slice(word);
                mended.push(b'"');
                at += word.len();
                found = true;
                continue;
            }
        }
        match bytes[at] {
            b'"' => in_text = !in_text,
            b'\\' if in_text => {
                mended.push(b'\\');
                at += 1;
            }
            _ => {}
        }
        if let Some(&byte) = bytes.get(at) {
            mended.push(byte);
        }
        at += 1;
    }
    found.then_some(mended)
}

/// What a JSON value is, for messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A JSON value for messages, shortened.
pub(super) fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(list) if list.len() > 20 => format!("a list of {}", list.len()),
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string(),
    };
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A list of lengths.
pub(super) fn lengths(value: Option<&Value>, what: &str) -> Result<Vec<u64>, String> {
    let Some(value) = value else {
        return Err(format!("its metadata have no `{what}`"));
    };
    let wrong = || format!("its `{what}` is `{}`, expected a list of lengths", short(value));
    let list = value.as_array().ok_or_else(wrong)?;
    if list.len() > MAX_RANK {
        return Err(format!("it has {} dimensions, more than {MAX_RANK}", list.len()));
    }
    list.iter().map(|n| n.as_u64().ok_or_else(wrong)).collect()
}

/// Most dimensions of an array; numpy has 64.
pub(super) const MAX_RANK: usize = 64;
