//! Reads one array whole and writes its cells to standard output: `cargo run --example read_array -- cube.zarr:ndvi`.
//!
//! First a line of JSON with data type and shape, then the cells in C order and the byte order of this machine; of text,
//! a JSON list. Chunk by chunk, as every job reads them.

use chunkwise::chunk::{ChunkReader, Scratch};
use chunkwise_core::cube::DataType;
use serde_json::json;
use std::error::Error;
use std::io::Write;
use std::sync::Arc;

type Failure = Box<dyn Error + Send + Sync>;

/// Cells of one chunk.
enum Cells {
    Numbers(Vec<u8>, usize),
    Text(Vec<String>),
}

fn main() -> Result<(), Failure> {
    let location = std::env::args().nth(1).ok_or("usage: read_array LOCATION")?;
    let opened = chunkwise::open(&location)?;
    let variable = opened.cube.variables.values().next().ok_or("no array there")?;
    let reader = ChunkReader::new(variable, Arc::clone(&opened.store))?;
    let cells = usize::try_from(variable.cells())?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", json!({"dtype": variable.dtype.name(), "shape": variable.shape}))?;
    let mut numbers = Vec::new();
    let mut texts = vec![String::new(); if variable.dtype.number().is_none() { cells } else { 0 }];
    let mut scratch = Scratch::new();
    let mut chunk = vec![0; reader.grid().len()];
    let mut start = vec![0; chunk.len()];
    loop {
        if !reader.grid().contains(&0) {
            let shape = reader.shape(&chunk)?;
            let block = match (&variable.dtype, variable.dtype.number()) {
                (DataType::Text(_), _) => Cells::Text(reader.read_text(&chunk)?),
                (_, Some(dtype)) => {
                    let mut bytes = Vec::new();
                    reader.read(&chunk, &mut scratch, &mut bytes)?;
                    Cells::Numbers(bytes, dtype.size())
                }
                (other, None) => return Err(format!("{} cannot be read", other.name()).into()),
            };
            if let Cells::Numbers(_, size) = &block {
                numbers.resize(cells * size, 0);
            }
            each_cell(&shape, &start, &variable.shape, |from, to| match &block {
                Cells::Numbers(bytes, n) => {
                    numbers[to * n..(to + 1) * n].copy_from_slice(&bytes[from * n..(from + 1) * n]);
                }
                Cells::Text(cells) => texts[to].clone_from(&cells[from]),
            });
        }
        // The next chunk in C order; each begins where the one before it ends.
        let Some(axis) = (0..chunk.len()).rev().find(|&axis| chunk[axis] + 1 < reader.grid()[axis]) else {
            break;
        };
        start[axis] += reader.shape(&chunk)?[axis];
        chunk[axis] += 1;
        chunk[axis + 1..].fill(0);
        start[axis + 1..].fill(0);
    }
    match variable.dtype.number() {
        Some(_) => out.write_all(&numbers)?,
        None => serde_json::to_writer(&mut out, &texts)?,
    }
    Ok(out.flush()?)
}

/// Positions of each cell of a chunk, in the chunk and in the array; cells behind the end of the array are left out.
fn each_cell(shape: &[u64], start: &[u64], array: &[u64], mut put: impl FnMut(usize, usize)) {
    let mut index = vec![0; shape.len()];
    for from in 0..shape.iter().product::<u64>() as usize {
        let place = |to: Option<u64>, ((i, s), n): ((&u64, &u64), &u64)| Some(to? * n + (i + s)).filter(|_| i + s < *n);
        if let Some(to) = index.iter().zip(start).zip(array).fold(Some(0), place) {
            put(from, to as usize);
        }
        for (i, n) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < *n {
                break;
            }
            *i = 0;
        }
    }
}
