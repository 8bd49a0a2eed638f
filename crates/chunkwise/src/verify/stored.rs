//! What is stored: consolidated metadata against those of the arrays, and objects that are no chunks.

use super::Found;
use crate::chunk::ChunkReader;
use crate::error::in_full;
use crate::open::{OpenCube, fetch_document};
use crate::store::{Entry, StoreError, join};
use chunkwise_core::cube::{ChunkKeys, Variable};
use serde_json::{Map, Value};

/// Folders of one array that are listed.
const FOLDERS: usize = 100_000;

/// Compares consolidated metadata with the documents of the arrays.
pub(super) fn consolidated(cube: &OpenCube, variables: &[&Variable], found: &Found) {
    let read = |key: &str| fetch_document(&*cube.store, key);
    let document = |name: &str| match read(&join(&cube.path, name)) {
        Ok(document) => document,
        Err(error) => {
            found.at("", join(&cube.path, name), in_full(&error));
            None
        }
    };
    let kinds: &[&str] = if cube.cube.zarr_format == 2 { &[".zarray", ".zattrs"] } else { &["zarr.json"] };
    let held = match kinds {
        ["zarr.json"] => document("zarr.json").and_then(|mut d| match d.remove("consolidated_metadata") {
            Some(Value::Object(mut held)) => held.remove("metadata"),
            _ => None,
        }),
        _ => document(".zmetadata").and_then(|mut d| d.remove("metadata")),
    };
    let Some(Value::Object(held)) = held else { return };
    for variable in variables {
        for kind in kinds {
            let key = join(&variable.path, kind);
            let copy = match *kind {
                "zarr.json" => held.get(&variable.name),
                kind => held.get(&format!("{}/{kind}", variable.name)),
            };
            let own = match read(&key) {
                Ok(own) => own,
                Err(error) => {
                    found.at(&variable.name, key, in_full(&error));
                    continue;
                }
            };
            if let Some(problem) = differs(copy, own.map(Value::Object)) {
                found.at(&variable.name, key, problem);
            }
        }
    }
}

/// How the copy differs from the document.
fn differs(copy: Option<&Value>, own: Option<Value>) -> Option<String> {
    let empty = Value::Object(Map::new());
    match (copy, own) {
        // No attributes are the same as none at all.
        (None, None) => None,
        (Some(copy), None) if *copy == empty => None,
        (None, Some(own)) if own == empty => None,
        (Some(_), None) => Some("consolidated metadata name it, and it is not there".to_owned()),
        (None, Some(_)) => Some("consolidated metadata do not hold it".to_owned()),
        (Some(Value::Object(copy)), Some(Value::Object(own))) => {
            let keys = own.keys().chain(copy.keys());
            let other = |key: &&String| copy.get(*key) != own.get(*key) && key.as_str() != "consolidated_metadata";
            keys.into_iter().find(other).map(|key| format!("`{key}` is another in the consolidated metadata"))
        }
        (Some(copy), Some(own)) => (*copy != own).then(|| "it is another in the consolidated metadata".to_owned()),
    }
}

/// Looks for objects in the folder of an array that are none of its chunks; what could not be looked at.
pub(super) fn strays(cube: &OpenCube, variable: &Variable, reader: &ChunkReader, found: &Found) -> Option<String> {
    let objects = reader.objects();
    let mut folders = vec![String::new()];
    let mut listed = 0;
    while let Some(folder) = folders.pop() {
        listed += 1;
        if listed > FOLDERS {
            return Some(format!(
                "`{}` has more than {FOLDERS} folders; those behind were not looked into",
                variable.name
            ));
        }
        let entries = match cube.store.list_dir(&join(&variable.path, &folder)) {
            Ok(entries) => entries,
            Err(StoreError::NoList { .. }) => {
                return Some("the store cannot be listed: objects that are no chunks were not looked for".to_owned());
            }
            Err(error) => {
                found.at(&variable.name, join(&variable.path, &folder), in_full(&error));
                continue;
            }
        };
        for entry in entries {
            let (name, is_folder) = match entry {
                Entry::Folder(name) => (name, true),
                Entry::Object(name) => (name, false),
            };
            let within = join(&folder, &name);
            let of_array =
                !is_folder && folder.is_empty() && matches!(name.as_str(), "zarr.json" | ".zarray" | ".zattrs");
            // Of an array at the root of a store.
            let of_array = of_array || (variable.path.is_empty() && name.starts_with(".z"));
            let fits = place(&within, reader.keys(), &objects, is_folder);
            match fits {
                _ if of_array => {}
                Fits::Chunk => {
                    if is_folder {
                        folders.push(within);
                    }
                }
                Fits::Outside => {
                    let problem = format!("it lies outside of the grid of {objects:?} objects");
                    found.at(&variable.name, join(&variable.path, &within), problem);
                }
                Fits::Not => {
                    let what = if is_folder { "a folder" } else { "an object" };
                    found.at(&variable.name, join(&variable.path, &within), format!("{what} that is no chunk"));
                }
            }
        }
    }
    None
}

#[derive(Debug, PartialEq)]
enum Fits {
    Chunk,
    Outside,
    Not,
}

/// Whether a name within the folder of an array is the key of a chunk, or a folder on the way to some.
fn place(name: &str, keys: ChunkKeys, objects: &[u64], is_folder: bool) -> Fits {
    let (rest, separator) = match keys {
        ChunkKeys::Default(separator) => match name.strip_prefix('c') {
            Some("") => return if is_folder || objects.is_empty() { Fits::Chunk } else { Fits::Not },
            Some(rest) => match rest.strip_prefix(separator) {
                Some(rest) => (rest, separator),
                None => return Fits::Not,
            },
            None => return Fits::Not,
        },
        ChunkKeys::V2(_) if objects.is_empty() => return if name == "0" { Fits::Chunk } else { Fits::Not },
        ChunkKeys::V2(separator) => (name, separator),
    };
    let parts: Vec<&str> = rest.split(separator).collect();
    // Leading zeros and signs are no keys.
    let number = |text: &&str| text.parse::<u64>().ok().filter(|n| n.to_string() == **text);
    let Some(numbers) = parts.iter().map(number).collect::<Option<Vec<u64>>>() else { return Fits::Not };
    let whole = numbers.len() == objects.len();
    if numbers.len() > objects.len() || (!is_folder && !whole) || (is_folder && (whole || separator != '/')) {
        return Fits::Not;
    }
    if numbers.iter().zip(objects).all(|(n, count)| n < count) { Fits::Chunk } else { Fits::Outside }
}
