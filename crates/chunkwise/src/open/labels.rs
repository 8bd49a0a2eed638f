//! Labels of dimensions, and other arrays that are small enough to be read whole.

use super::OpenCube;
use crate::chunk::{ChunkError, ChunkReader, Scratch};
use crate::error::OpenError;
use crate::memory;
use crate::store::{Counted, Store};
use bytemuck::pod_read_unaligned;
use chunkwise_core::cf::time::{TimeAxis, TimeError, TimeUnits, is_time_units};
use chunkwise_core::cube::{ChunkSizes, DataType, Labels, TextKind, Variable};
use chunkwise_core::dtype::{DType, Element, ForElement};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Most bytes of an array, or of one of its chunks, that is read whole.
const LIMIT_MIB: u64 = 64;

/// Bytes of labels that are read whatever the budget.
const FEW: u128 = 1 << 20;

/// All cells of a small array, in C order.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Stored numbers, `_Unsigned` applied, packing not.
    Stored {
        /// Their type.
        dtype: DType,
        /// Their bytes, in the order of this machine.
        bytes: Vec<u8>,
    },
    /// Text.
    Text(Vec<String>),
}

impl Values {
    /// Decoded numbers: packing applied, `NaN` where missing. `None` for text.
    pub fn decoded(&self, variable: &Variable) -> Option<Vec<f64>> {
        match self {
            Values::Stored { dtype, bytes } => Some(dtype.dispatch(Decode { bytes, variable })),
            Values::Text(_) => None,
        }
    }

    /// Stored integers, exact; `None` for floats, text, and what does not fit in 64 signed bits.
    pub fn integers(&self) -> Option<Vec<i64>> {
        match self {
            Values::Stored { dtype, bytes } if !dtype.is_float() => dtype.dispatch(Exact { bytes }),
            _ => None,
        }
    }
}

struct Decode<'a> {
    bytes: &'a [u8],
    variable: &'a Variable,
}

impl ForElement for Decode<'_> {
    type Output = Vec<f64>;
    fn run<T: Element>(self) -> Vec<f64> {
        let marks: Vec<T> = self.variable.missing.marks.iter().filter_map(|mark| mark.to_element()).collect();
        let packing = self.variable.packing;
        let value = |cell: &[u8]| {
            let stored: T = pod_read_unaligned(cell);
            if stored.is_nan() || marks.contains(&stored) {
                f64::NAN
            } else if packing.is_none() {
                stored.to_f64()
            } else {
                stored.to_f64() * packing.scale + packing.offset
            }
        };
        self.bytes.chunks_exact(size_of::<T>()).map(value).collect()
    }
}

struct Exact<'a> {
    bytes: &'a [u8],
}

impl ForElement for Exact<'_> {
    type Output = Option<Vec<i64>>;
    fn run<T: Element>(self) -> Option<Vec<i64>> {
        let cells = self.bytes.chunks_exact(size_of::<T>());
        cells.map(|cell| i64::try_from(pod_read_unaligned::<T>(cell).to_i128()).ok()).collect()
    }
}

/// Labels that were read, and what may be taken for them.
#[derive(Debug)]
pub(crate) struct LabelCache {
    read: Mutex<HashMap<String, Arc<Labels>>>,
    /// Peak memory of the process that is allowed.
    limit: AtomicU64,
    /// What metadata and labels took.
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// A store whose requests are counted.
pub(super) type Requests = Counted<Arc<dyn Store>>;

impl LabelCache {
    /// Adds what was asked for.
    pub(super) fn note(&self, counted: &Requests) {
        self.requests.fetch_add(counted.gets() + counted.lists(), Ordering::Relaxed);
        self.bytes.fetch_add(counted.bytes(), Ordering::Relaxed);
    }
}

impl Default for LabelCache {
    fn default() -> LabelCache {
        let zero = AtomicU64::default;
        LabelCache { read: Mutex::default(), limit: AtomicU64::new(u64::MAX), requests: zero(), bytes: zero() }
    }
}

impl OpenCube {
    /// Requests and bytes that metadata and labels took so far; those that were sent again are not among them.
    pub fn overhead(&self) -> (u64, u64) {
        let cache = &self.label_cache;
        (cache.requests.load(Ordering::Relaxed), cache.bytes.load(Ordering::Relaxed))
    }

    /// What tells this cube from another one of its place: a hash of its metadata, and of the labels of dimensions of no
    /// more than 65,536 cells. Cells are not among it.
    ///
    /// # Errors
    /// Labels that cannot be read.
    pub fn identity(&self) -> Result<String, OpenError> {
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        for variable in self.cube.variables.values() {
            add(&serde_json::to_string(variable).unwrap_or_default());
        }
        for (dim, &length) in &self.cube.dims {
            add(dim);
            if length <= 1 << 16 && self.cube.coordinate(dim).is_some() {
                add(&serde_json::to_string(&*self.labels(dim)?).unwrap_or_default());
            }
        }
        Ok(hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
    }

    /// Bounds the memory of the process: labels that would take more are refused before they are read.
    pub fn set_memory_limit(&self, bytes: u64) {
        self.label_cache.limit.store(bytes, Ordering::Relaxed);
    }

    /// Labels of a dimension: of the coordinate of its name, or 0 … n − 1 where there is none. Read once.
    ///
    /// Integers stay exact; packed and floating-point numbers are decoded; counts `since` a date, and `datetime64`,
    /// become times.
    ///
    /// # Errors
    /// No such dimension; the coordinate cannot be read, is larger than 64 MiB or than the memory that is allowed, or
    /// its times cannot be understood.
    pub fn labels(&self, dim: &str) -> Result<Arc<Labels>, OpenError> {
        let Some(&length) = self.cube.dims.get(dim) else {
            return Err(OpenError::NoDim {
                location: self.cube.location.clone(),
                asked: dim.to_owned(),
                has: self.cube.dims.keys().cloned().collect(),
            });
        };
        let Some(coordinate) = self.cube.coordinate(dim) else {
            return Ok(Arc::new(Labels::Index(length)));
        };
        // Held while reading: another thread waits for the labels and does not read them too.
        let mut read = self.label_cache.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(labels) = read.get(dim) {
            return Ok(labels.clone());
        }
        let labels = Arc::new(self.labels_of(coordinate)?);
        read.insert(dim.to_owned(), labels.clone());
        Ok(labels)
    }

    /// The values of a coordinate as labels, in C order; see [`OpenCube::labels`].
    ///
    /// # Errors
    /// As [`OpenCube::labels`].
    pub fn labels_of(&self, variable: &Variable) -> Result<Labels, OpenError> {
        self.labels_without(variable, &[])
    }

    /// As [`OpenCube::labels_of`]; the labels of some chunks are left out, and mean nothing.
    pub(crate) fn labels_without(&self, variable: &Variable, chunks: &[Vec<u64>]) -> Result<Labels, OpenError> {
        check_readable(variable)?;
        self.check_memory(variable)?;
        if variable.view.is_none() {
            return match read_text(self, variable, chunks)? {
                Values::Text(text) => Ok(Labels::Text(text)),
                Values::Stored { .. } => Ok(Labels::Text(Vec::new())),
            };
        }
        let cells = variable.cells() as usize;
        let failed = |source: TimeError| OpenError::Time { variable: variable.name.clone(), source: Box::new(source) };
        let mut whole: Option<Labels> = None;
        each_block(self, variable, chunks, |at, values| {
            let part = match decode_times(variable, &values) {
                Some(times) => Labels::Time(times.map_err(failed)?),
                None => numbers(variable, &values),
            };
            place(&mut whole, part, at, cells);
            Ok(())
        })?;
        match whole {
            Some(labels) => Ok(labels),
            // Of no cells: what it would be.
            None => {
                let none = Values::Stored { dtype: variable.view.unwrap_or(DType::Float64), bytes: Vec::new() };
                match decode_times(variable, &none) {
                    Some(times) => times.map(Labels::Time).map_err(failed),
                    None => Ok(numbers(variable, &none)),
                }
            }
        }
    }

    /// Refuses labels that would pass the memory that is allowed, with what would work.
    fn check_memory(&self, variable: &Variable) -> Result<(), OpenError> {
        let size = match &variable.dtype {
            DataType::Text(_) => cell_size(&variable.dtype) as u128 + 24,
            _ if variable.is_time() => 16,
            _ => 8,
        };
        let chunk = variable.chunks.iter().map(largest).fold(cell_size(&variable.dtype) as u128, u128::saturating_mul);
        // Kept twice, as read and as selected, with the group of each; a chunk is there encoded and decoded.
        let takes = variable.cells().saturating_mul(2 * size + 16).saturating_add(chunk.saturating_mul(2));
        // A few are in the reserve of every plan, which tells what the job needs.
        if takes <= FEW {
            return Ok(());
        }
        let limit = self.label_cache.limit.load(Ordering::Relaxed);
        let needed = u64::try_from(takes).unwrap_or(u64::MAX).saturating_add(memory::base());
        if needed > limit {
            return Err(OpenError::Memory { variable: variable.name.clone(), cells: variable.cells(), needed, limit });
        }
        Ok(())
    }

    /// All cells of an array of at most 64 MiB decoded; absent chunks hold the fill value.
    ///
    /// # Errors
    /// The variable has a `problem`, is too large, or a chunk cannot be read.
    pub fn read_all(&self, variable: &Variable) -> Result<Values, OpenError> {
        check_readable(variable)?;
        let Some(dtype) = variable.view else { return read_text(self, variable, &[]) };
        let size = dtype.size();
        let mut bytes = vec![0; variable.cells() as usize * size];
        each_run(self, variable, &[], size, |at, run| {
            bytes[at * size..at * size + run.len()].copy_from_slice(run);
            Ok(())
        })?;
        Ok(Values::Stored { dtype, bytes })
    }
}

fn check_readable(variable: &Variable) -> Result<(), OpenError> {
    if let Some(problem) = &variable.problem {
        return Err(OpenError::Unusable { variable: variable.name.clone(), problem: problem.clone() });
    }
    if !is_small(variable) {
        return Err(OpenError::TooManyCells {
            variable: variable.name.clone(),
            cells: variable.cells(),
            limit_mib: LIMIT_MIB,
        });
    }
    Ok(())
}

/// Numbers as labels: integers exact where they are stored so and all are there.
fn numbers(variable: &Variable, values: &Values) -> Labels {
    let numbers = values.decoded(variable).unwrap_or_default();
    let whole = variable.packing.is_none() && !numbers.iter().any(|n| n.is_nan());
    match values.integers().filter(|_| whole) {
        Some(integers) => Labels::Integer(integers),
        None => Labels::Number(numbers),
    }
}

/// Puts a part of the labels in its place; integers become numbers where a part has others.
fn place(whole: &mut Option<Labels>, part: Labels, at: usize, cells: usize) {
    let all = whole.get_or_insert_with(|| match &part {
        Labels::Time(times) => Labels::Time(TimeAxis { calendar: times.calendar, nanos: vec![i128::MIN; cells] }),
        Labels::Integer(_) => Labels::Integer(vec![0; cells]),
        _ => Labels::Number(vec![f64::NAN; cells]),
    });
    if let (Labels::Integer(integers), Labels::Number(_)) = (&*all, &part) {
        *all = Labels::Number(integers.iter().map(|&n| n as f64).collect());
    }
    match (all, part) {
        (Labels::Time(all), Labels::Time(part)) => all.nanos[at..at + part.len()].copy_from_slice(&part.nanos),
        (Labels::Integer(all), Labels::Integer(part)) => all[at..at + part.len()].copy_from_slice(&part),
        (Labels::Number(all), Labels::Number(part)) => all[at..at + part.len()].copy_from_slice(&part),
        (Labels::Number(all), Labels::Integer(part)) => {
            all[at..].iter_mut().zip(part).for_each(|(to, n)| *to = n as f64);
        }
        _ => {}
    }
}

/// Whether an array, and each of its chunks, is small enough to be read whole.
pub(crate) fn is_small(variable: &Variable) -> bool {
    let size = cell_size(&variable.dtype);
    let chunk = variable.chunks.iter().map(largest).fold(1u128, |n, c| n.saturating_mul(c));
    // A short array may lie in a longer chunk, which must be decoded whole.
    variable.cells().max(chunk).saturating_mul(size as u128) <= u128::from(LIMIT_MIB << 20)
}

/// Bytes of a cell; of text of any length, a guess at what it takes in memory.
fn cell_size(dtype: &DataType) -> usize {
    match dtype {
        DataType::Text(TextKind::Utf32(n)) => n.saturating_mul(4).max(24),
        DataType::Text(TextKind::Bytes(n)) => (*n).max(24),
        DataType::Text(TextKind::Variable) => 32,
        other => other.number().map_or(1, DType::size),
    }
}

fn largest(sizes: &ChunkSizes) -> u128 {
    match sizes {
        ChunkSizes::Regular(length) => u128::from(*length),
        ChunkSizes::Listed(lengths) => lengths.iter().copied().max().unwrap_or(1).into(),
    }
}

/// The times of a variable that counts them; `None` where it does not.
fn decode_times(variable: &Variable, values: &Values) -> Option<Result<TimeAxis, TimeError>> {
    if let DataType::DateTime(unit) = &variable.dtype {
        return Some(TimeAxis::from_datetime64(&unit.unit, unit.step, &values.integers()?));
    }
    let units = variable.units().filter(|units| is_time_units(units))?;
    let calendar = variable.attrs.get("calendar").and_then(|value| value.as_str());
    let units = match TimeUnits::parse(units, calendar) {
        Ok(units) => units,
        Err(error) => return Some(Err(error)),
    };
    Some(match values.integers().filter(|_| variable.packing.is_none()) {
        Some(counts) => {
            let marks: Vec<i64> = variable.missing.marks.iter().filter_map(|mark| mark.to_element()).collect();
            let counts: Vec<Option<i64>> =
                counts.into_iter().map(|count| (!marks.contains(&count)).then_some(count)).collect();
            units.decode_i64(&counts)
        }
        None => units.decode_f64(&values.decoded(variable)?),
    })
}

/// First cell and length of a chunk along an axis; `None` past the end.
fn span(sizes: &ChunkSizes, at: u64, length: u64) -> Option<(u64, u64)> {
    let (start, size) = match sizes {
        ChunkSizes::Regular(size) => (at.checked_mul(*size)?, *size),
        ChunkSizes::Listed(sizes) => {
            let at = usize::try_from(at).ok()?;
            (sizes.get(..at)?.iter().sum(), *sizes.get(at)?)
        }
    };
    (start < length).then_some((start, size))
}

/// One chunk within an array.
struct Piece {
    /// Index of the chunk.
    index: Vec<u64>,
    /// First cell of each axis, and length of the chunk as stored.
    span: Vec<(u64, u64)>,
}

/// The chunks of an array in C order of their index, one at a time.
fn pieces(variable: &Variable) -> impl Iterator<Item = Piece> {
    let (chunks, shape) = (&variable.chunks, &variable.shape);
    let place = move |axis: usize, at: u64| span(&chunks[axis], at, shape[axis]);
    let index = vec![0; shape.len()];
    let first = (0..shape.len()).map(|axis| place(axis, 0)).collect::<Option<Vec<_>>>();
    std::iter::successors(first.map(|span| Piece { index, span }), move |piece| {
        let (mut index, mut span) = (piece.index.clone(), piece.span.clone());
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            if let Some(next) = place(axis, index[axis]) {
                span[axis] = next;
                return Some(Piece { index, span });
            }
            index[axis] = 0;
            span[axis] = place(axis, 0)?;
        }
        None
    })
}

/// The runs along the last axis that a chunk shares with the array: cell in the chunk, cell in the array, length.
///
/// The array and the chunk lie within the limit of what is read whole, so all fit.
fn runs<'a>(piece: &'a Piece, shape: &'a [u64]) -> impl Iterator<Item = (usize, usize, usize)> + 'a {
    let count = |axis: usize| {
        let (start, size) = piece.span[axis];
        size.min(shape[axis] - start)
    };
    let outer = shape.len().saturating_sub(1);
    let total: u64 = (0..outer).map(count).product();
    let length = if shape.is_empty() { 1 } else { count(outer) };
    (0..total).map(move |run| {
        let (mut rest, mut from, mut to) = (run, 0, 0);
        let (mut chunk_stride, mut array_stride) = (1, 1);
        for axis in (0..shape.len()).rev() {
            let (start, size) = piece.span[axis];
            let at = match axis == outer {
                true => 0,
                false => {
                    let at = rest % count(axis);
                    rest /= count(axis);
                    at
                }
            };
            from += at * chunk_stride;
            to += (start + at) * array_stride;
            chunk_stride *= size;
            array_stride *= shape[axis];
        }
        (from as usize, to as usize, length as usize)
    })
}

/// A reader, and what counts its requests.
fn reader(cube: &OpenCube, variable: &Variable) -> Result<(ChunkReader, Arc<Requests>), OpenError> {
    let counted = Arc::new(Requests::new(cube.store.clone()));
    ChunkReader::new(variable, counted.clone())
        .map(|reader| (reader, counted))
        .map_err(|source| OpenError::Chunks { variable: variable.name.clone(), source: Box::new(source) })
}

fn failed(variable: &Variable) -> impl Fn(ChunkError) -> OpenError + '_ {
    |source| OpenError::Chunk { variable: variable.name.clone(), source: Box::new(source) }
}

fn read_text(cube: &OpenCube, variable: &Variable, without: &[Vec<u64>]) -> Result<Values, OpenError> {
    let (reader, counted) = reader(cube, variable)?;
    let mut texts = vec![String::new(); variable.cells() as usize];
    for piece in pieces(variable).filter(|piece| !without.contains(&piece.index)) {
        let mut chunk = reader.read_text(&piece.index).map_err(failed(variable))?;
        for (from, to, n) in runs(&piece, &variable.shape) {
            texts[to..to + n].swap_with_slice(&mut chunk[from..from + n]);
        }
    }
    cube.label_cache.note(&counted);
    Ok(Values::Text(texts))
}

/// Reads an array a chunk at a time, some of them left out, and gives each run of cells that lie side by side: its first cell, its bytes.
fn each_run(
    cube: &OpenCube,
    variable: &Variable,
    without: &[Vec<u64>],
    size: usize,
    mut each: impl FnMut(usize, &[u8]) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    let (reader, counted) = reader(cube, variable)?;
    let (mut scratch, mut chunk) = (Scratch::new(), Vec::new());
    for piece in pieces(variable).filter(|piece| !without.contains(&piece.index)) {
        reader.read(&piece.index, &mut scratch, &mut chunk).map_err(failed(variable))?;
        for (from, to, n) in runs(&piece, &variable.shape) {
            each(to, &chunk[from * size..(from + n) * size])?;
        }
    }
    cube.label_cache.note(&counted);
    Ok(())
}

/// As [`each_run`], in blocks that are small, as values.
fn each_block(
    cube: &OpenCube,
    variable: &Variable,
    without: &[Vec<u64>],
    mut each: impl FnMut(usize, Values) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    const CELLS: usize = 1 << 16;
    let dtype = variable.view.unwrap_or(DType::Float64);
    let size = dtype.size();
    each_run(cube, variable, without, size, |at, run| {
        run.chunks(CELLS * size)
            .enumerate()
            .try_for_each(|(i, bytes)| each(at + i * CELLS, Values::Stored { dtype, bytes: bytes.to_vec() }))
    })
}
