//! Cubes into one cube: NetCDF files, references and Zarr cubes, one behind the other along a dimension, or one alone.
//!
//! Stored values are kept bit for bit. What differs between files so that values would mean something else is refused with
//! both values, or decoded where that is asked for; times that count from another date are counted from the first file's.

mod append;
mod arrays;
mod boxes;
mod check;
mod fill;
mod order;
mod values;

pub use append::Append;

use super::ImportError;
use crate::codec::CodecChoice;
use crate::exec::Counters;
use crate::open::{OpenCube, OpenOptions, open_with};
use crate::write::{CubeWriter, InputIdentity, JournalHead, Output, Written, ZarrVersion};
use arrays::Array;
use boxes::Boxes;
use chunkwise_core::cf::encode::append_history;
use chunkwise_core::cube::Attrs;
use indexmap::IndexMap;
use serde::Serialize;
use std::sync::atomic::AtomicBool;

/// What is to become of several cubes.
#[derive(Clone, Debug)]
pub struct CubeOptions {
    /// Data variables; empty: all. What they name as coordinates comes along.
    pub variables: Vec<String>,
    /// The dimension along which files lie one behind the other.
    pub along: Option<String>,
    /// Decode values to floats where files are packed in different ways.
    pub decode: bool,
    /// Cells of a chunk by dimension, where asked for; else the chunks of the first file.
    pub chunks: IndexMap<String, u64>,
    /// Cells of a shard by dimension, where asked for.
    pub shards: Option<IndexMap<String, u64>>,
    /// Compression.
    pub codec: CodecChoice,
    /// Version of the format.
    pub zarr: ZarrVersion,
    /// Decode chunks more than 4 times on average where the budget makes it necessary.
    pub redecode: bool,
    /// A line for the history.
    pub history: String,
}

impl Default for CubeOptions {
    fn default() -> CubeOptions {
        CubeOptions {
            variables: Vec::new(),
            along: None,
            decode: false,
            chunks: IndexMap::new(),
            shards: None,
            codec: CodecChoice::default(),
            zarr: ZarrVersion::V3,
            redecode: false,
            history: String::new(),
        }
    }
}

/// A file: a cube, and where it lies along the dimension that files are joined along.
#[derive(Debug)]
struct Part {
    cube: OpenCube,
    identity: InputIdentity,
    /// First cell, and number of cells.
    at: u64,
    len: u64,
}

/// An import of cubes that is ready to run within its memory.
#[derive(Debug)]
pub struct CubeImport {
    parts: Vec<Part>,
    arrays: Vec<Array>,
    boxes: Boxes,
    attrs: Attrs,
    request: String,
    history: String,
    /// What is left out, for people.
    notes: Vec<String>,
}

/// What an import of cubes will do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CubesExplained {
    /// Files.
    pub files: u64,
    /// Variables that are written, coordinates among them.
    pub variables: Vec<String>,
    /// Dimensions and their lengths.
    pub dims: IndexMap<String, u64>,
    /// Chunks that are written.
    pub chunks: u64,
    /// Chunks of the files that are decoded, as often as that is.
    pub decoded_chunks: u64,
    /// Decoded chunks for each that there is.
    pub amplification: f64,
    /// Bytes of all cells that are decoded.
    pub decoded_bytes: u64,
    /// Bytes of the cells of the cube, before they are compressed.
    pub output_bytes: u64,
    /// Stored objects.
    pub partitions: u64,
    /// Threads.
    pub threads: u64,
    /// Peak memory of the process.
    pub memory_bytes: u64,
}

/// Opens files as cubes, and keeps what tells their present content.
fn open_parts(files: &[String], options: &OpenOptions) -> Result<Vec<Part>, ImportError> {
    let open = |file: &String| -> Result<Part, ImportError> {
        let cube = open_with(file, options)?;
        let root = cube.store.location();
        let about = std::fs::metadata(&root).ok().filter(std::fs::Metadata::is_file);
        let changed = about.map(|m| format!("{} {:?}", m.len(), m.modified().ok()));
        let text = format!("{changed:?} {:?}", cube.cube);
        let identity = format!("{:08x}{:08x}", crc32fast::hash(text.as_bytes()), crc32c::crc32c(text.as_bytes()));
        let identity = InputIdentity { location: cube.cube.location.clone(), identity };
        Ok(Part { cube, identity, at: 0, len: 0 })
    };
    files.iter().map(open).collect()
}

impl CubeImport {
    /// Opens the files, checks that they go together, and plans the import within a budget.
    ///
    /// # Errors
    /// Files that cannot be read, or do not go together; a layout that cannot be; a budget that is too small.
    pub fn plan(
        files: &[String],
        open: &OpenOptions,
        options: &CubeOptions,
        memory: u64,
        threads: usize,
    ) -> Result<CubeImport, ImportError> {
        let mut parts = open_parts(files, open)?;
        if let Some(part) = parts.first().filter(|_| files.len() > 1 && options.along.is_none()) {
            let dims: Vec<&str> = part.cube.cube.dims.keys().map(String::as_str).collect();
            let problem = format!("{} files were given, and no dimension along which they lie", files.len());
            return Err(ImportError::asked(problem, format!("name it with `--concat`: `{}`", dims.join("`, `"))));
        }
        if let Some(along) = &options.along {
            order::sort(&mut parts, along)?;
        }
        let names = check::names(&parts, &options.variables)?;
        let (arrays, notes) = arrays::of_parts(&parts, &names, options)?;
        let boxes = Boxes::plan(&arrays, memory, threads, options.redecode)?;
        let mut attrs = parts.first().map(|part| part.cube.cube.attrs.clone()).unwrap_or_default();
        let written = |name: &str| arrays.iter().any(|a| a.spec.path == name);
        chunkwise_core::cf::encode::keep_references(&mut attrs, written);
        let specs: Vec<_> = arrays.iter().map(|a| &a.spec).collect();
        // Without the line of history, which names the command: `--resume` changes it.
        let text = format!("{specs:?} {:?} {attrs:?}", parts.iter().map(|p| (p.at, p.len)).collect::<Vec<_>>());
        append_history(&mut attrs, &options.history);
        let request = format!("{:08x}{:08x}", crc32fast::hash(text.as_bytes()), crc32c::crc32c(text.as_bytes()));
        Ok(CubeImport { parts, arrays, boxes, attrs, request, history: options.history.clone(), notes })
    }

    /// What it will do.
    pub fn explain(&self) -> CubesExplained {
        self.boxes.explain(&self.arrays, self.parts.len())
    }

    /// What is left out, as sentences.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Writes the cube; `output` says where. What was interrupted stays as an unfinished cube that is gone on with by
    /// [`Existing::Resume`](crate::write::Existing::Resume).
    ///
    /// # Errors
    /// A file cannot be read, or is damaged; the output cannot be written; `cancel` was set.
    pub fn run(&self, mut output: Output, counters: &Counters, cancel: &AtomicBool) -> Result<Written, ImportError> {
        output.job = JournalHead {
            plan: self.request.clone(),
            request: self.history.clone(),
            inputs: self.parts.iter().map(|part| part.identity.clone()).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        output.inputs.extend(self.parts.iter().map(|part| part.cube.store.location()));
        output.attrs.clone_from(&self.attrs);
        let specs = self.arrays.iter().map(|array| array.spec.clone()).collect();
        let writer = CubeWriter::begin(output, specs)?;
        match self.fill(&writer, counters, cancel) {
            Ok(()) => Ok(writer.finish()?),
            Err(ImportError::Interrupted) => Err(ImportError::Interrupted),
            Err(error) => {
                // What can be gone on with stays; the first error is the one to tell.
                if !matches!(error, ImportError::Write(_)) {
                    let _ = writer.abort();
                }
                Err(error)
            }
        }
    }
}
