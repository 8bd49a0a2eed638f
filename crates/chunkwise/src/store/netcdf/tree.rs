//! What a file holds, as Zarr v3 says it: groups, variables, and how the chunks of each are found.

use super::index::Index;
use super::rows::Rows;
use base64::Engine as _;
use serde_json::{Map, Value, json};

/// A group of a file.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) attrs: Map<String, Value>,
    pub(super) variables: Vec<Variable>,
    pub(super) groups: Vec<(String, Group)>,
}

/// A variable of a file.
#[derive(Debug)]
pub(super) struct Variable {
    pub(super) name: String,
    /// `None`: the file does not name the dimension.
    pub(super) dims: Vec<Option<String>>,
    pub(super) shape: Vec<u64>,
    /// The dimensions by the place of their scale in the file, where they may be longer than the variable.
    pub(super) scales: Vec<Option<u64>>,
    pub(super) chunks: Vec<u64>,
    pub(super) cell: Cell,
    /// One cell as it is stored, which chunks that were never written hold.
    pub(super) fill: Vec<u8>,
    pub(super) attrs: Map<String, Value>,
    /// What was done to the bytes of a chunk, in this order.
    pub(super) filters: Vec<Value>,
    pub(super) data: Data,
}

/// What a cell is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    /// A number, by its name in Zarr.
    Number { name: &'static str, size: usize, big: bool },
    /// So many bytes of text.
    Bytes(usize),
    /// Text of any length.
    Text,
    /// What cannot be read, and what it is.
    Other(String),
}

impl Cell {
    /// Bytes of a cell.
    pub(super) fn size(&self) -> usize {
        match self {
            Cell::Number { size, .. } | Cell::Bytes(size) => *size,
            Cell::Text | Cell::Other(_) => 1,
        }
    }
}

/// Where the chunks of a variable are.
#[derive(Debug)]
pub(super) enum Data {
    /// Chunks of HDF5.
    Chunked(Box<Index>),
    /// Rows that lie one behind the other.
    Rows(Rows),
    /// One chunk, in the metadata of the file.
    Inline(Vec<u8>),
    /// Text of any length: the path of the dataset, which the library reads.
    Text(String),
    /// Nothing was written.
    Nothing,
}

impl Variable {
    /// A variable of which only the name is known, and why it cannot be read.
    pub(super) fn unreadable(name: &str, what: String) -> Variable {
        Variable {
            name: name.to_owned(),
            dims: Vec::new(),
            shape: Vec::new(),
            scales: Vec::new(),
            chunks: Vec::new(),
            cell: Cell::Other(what),
            fill: Vec::new(),
            attrs: Map::new(),
            filters: Vec::new(),
            data: Data::Nothing,
        }
    }

    /// Its `zarr.json`.
    pub(super) fn document(&self) -> Value {
        let (data_type, fill) = match &self.cell {
            Cell::Number { name, big, .. } => (json!(name), fill(name, *big, &self.fill)),
            Cell::Bytes(n) => {
                let text = base64::engine::general_purpose::STANDARD.encode(&self.fill);
                (json!({"name": "null_terminated_bytes", "configuration": {"length_bytes": n}}), json!(text))
            }
            Cell::Text => (json!("string"), json!("")),
            Cell::Other(what) => (json!(what), json!(0)),
        };
        let first = match &self.cell {
            Cell::Number { size, big, .. } if *size > 1 => {
                json!({"name": "bytes", "configuration": {"endian": if *big { "big" } else { "little" }}})
            }
            Cell::Text => json!({"name": "vlen-utf8"}),
            _ => json!({"name": "bytes"}),
        };
        let codecs: Vec<&Value> = std::iter::once(&first).chain(&self.filters).collect();
        json!({
            "zarr_format": 3,
            "node_type": "array",
            "shape": self.shape,
            "data_type": data_type,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": self.chunks}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": fill,
            "codecs": codecs,
            "dimension_names": self.dims,
            "attributes": self.attrs,
        })
    }
}

impl Group {
    /// Its `zarr.json`, with those of what lies directly below.
    pub(super) fn document(&self) -> Value {
        let mut below = Map::new();
        for variable in &self.variables {
            below.insert(variable.name.clone(), variable.document());
        }
        for (name, group) in &self.groups {
            below.insert(name.clone(), group.alone());
        }
        let mut document = self.alone();
        document["consolidated_metadata"] = json!({"kind": "inline", "must_understand": false, "metadata": below});
        document
    }

    fn alone(&self) -> Value {
        json!({"zarr_format": 3, "node_type": "group", "attributes": self.attrs})
    }
}

/// A number as it is stored, as the fill value of Zarr v3; zero where there is none.
fn fill(name: &str, big: bool, cell: &[u8]) -> Value {
    let mut bytes = [0; 8];
    let size = cell.len().min(8);
    bytes[..size].copy_from_slice(&cell[..size]);
    if big {
        bytes[..size].reverse();
    }
    let bits = u64::from_le_bytes(bytes);
    match (name, size) {
        (_, 0) => json!(0),
        // Bits are exact, whatever the value.
        ("float32", 4) => json!(format!("0x{:08x}", bits as u32)),
        ("float64", 8) => json!(format!("0x{bits:016x}")),
        (name, _) if name.starts_with('u') => json!(bits),
        // The sign is that of the highest of its bytes.
        (_, size) => json!((bits << (64 - 8 * size)) as i64 >> (64 - 8 * size)),
    }
}
