//! The cells of the new cube: put together box by box, written, or compared with what was written.

use super::arrays::{Array, From};
use super::check::Way;
use super::{CubeImport, ImportError, Part};
use crate::chunk::Scratch;
use crate::exec::Counters;
use crate::exec::each::each;
use crate::open::OpenCube;
use crate::write::CubeWriter;
use crate::write::block::{At, copy, index, step};
use std::sync::atomic::{AtomicBool, Ordering};

/// Buffers of one thread.
#[derive(Default)]
pub(super) struct Buffers {
    scratch: Scratch,
    chunk: Vec<u8>,
    made: Vec<u8>,
}

impl Array {
    /// The cells of a box, from all files that have some of them.
    pub(super) fn cells(
        &self,
        start: &[u64],
        count: &[u64],
        buffers: &mut Buffers,
        counters: &Counters,
    ) -> Result<Vec<u8>, ImportError> {
        let size = self.dtype.size();
        let mut out = vec![0; count.iter().product::<u64>() as usize * size];
        for from in &self.from {
            self.take(from, (start, count), &mut out, buffers, counters)?;
        }
        Ok(out)
    }

    fn take(
        &self,
        from: &From,
        (start, count): (&[u64], &[u64]),
        out: &mut [u8],
        buffers: &mut Buffers,
        counters: &Counters,
    ) -> Result<(), ImportError> {
        // The box in cells of the file.
        let (mut low, mut high) = (Vec::with_capacity(start.len()), Vec::with_capacity(start.len()));
        for axis in 0..start.len() {
            let at = if self.axis == Some(axis) { from.at } else { 0 };
            low.push(start[axis].max(at) - at);
            high.push((start[axis] + count[axis]).saturating_sub(at).min(from.shape[axis]));
        }
        if low.iter().zip(&high).any(|(l, h)| l >= h) {
            return Ok(());
        }
        let failed = |source: crate::error::BoxError| ImportError::Read { location: from.location.clone(), source };
        let first: Vec<u64> = low.iter().zip(&from.chunks).map(|(&l, c)| c.locate(l).0).collect();
        let grid: Vec<u64> =
            high.iter().zip(&from.chunks).zip(&first).map(|((&h, c), f)| c.locate(h - 1).0 - f + 1).collect();
        let mut at = vec![0; grid.len()];
        loop {
            let chunk: Vec<u64> = first.iter().zip(&at).map(|(f, a)| f + a).collect();
            let fetched =
                from.reader.read(&chunk, &mut buffers.scratch, &mut buffers.chunk).map_err(|e| failed(e.into()))?;
            counters.requests.fetch_add(u64::from(fetched.requests), Ordering::Relaxed);
            counters.encoded_bytes.fetch_add(fetched.encoded_bytes, Ordering::Relaxed);
            counters.decoded_bytes.fetch_add(buffers.chunk.len() as u64, Ordering::Relaxed);
            let cells = if from.values.are_bits() {
                &buffers.chunk
            } else {
                let exact = from.values.convert(&buffers.chunk, &mut buffers.made);
                exact.ok_or_else(|| {
                    failed("its times cannot be counted exactly from the date of the first file".into())
                })?;
                &buffers.made
            };
            let shape = from.reader.shape(&chunk).map_err(|e| failed(e.into()))?;
            let (mut in_chunk, mut in_box, mut some) = (Vec::new(), Vec::new(), Vec::new());
            for axis in 0..chunk.len() {
                let begin = first_cell(&from.chunks[axis], chunk[axis]);
                let (a, b) = (low[axis].max(begin), high[axis].min(begin + shape[axis]));
                let offset = if self.axis == Some(axis) { from.at } else { 0 };
                in_chunk.push(a - begin);
                in_box.push(a + offset - start[axis]);
                some.push(b.saturating_sub(a));
            }
            let source = At { shape: &shape, start: &in_chunk };
            copy(cells, source, out, At { shape: count, start: &in_box }, &some, self.dtype.size());
            if !step(&mut at, &grid) {
                return Ok(());
            }
        }
    }
}

fn first_cell(sizes: &chunkwise_core::cube::ChunkSizes, chunk: u64) -> u64 {
    match sizes {
        chunkwise_core::cube::ChunkSizes::Regular(size) => chunk * size,
        chunkwise_core::cube::ChunkSizes::Listed(sizes) => sizes.iter().take(chunk as usize).sum(),
    }
}

impl CubeImport {
    /// Fills the arrays of `writer`; what its journal says is done is left as it is.
    pub(super) fn fill(
        &self,
        writer: &CubeWriter,
        counters: &Counters,
        cancel: &AtomicBool,
    ) -> Result<(), ImportError> {
        for (number, array) in self.arrays.iter().enumerate() {
            if let Some(cells) = &array.whole {
                writer.write_whole(number, cells)?;
            }
        }
        each(self.boxes.count(&self.arrays), self.boxes.threads, Buffers::default, |buffers, number| {
            if cancel.load(Ordering::Relaxed) {
                return Err(ImportError::Interrupted);
            }
            let Some((at, number)) = self.boxes.find(&self.arrays, number) else { return Ok(()) };
            let (array, cut) = (&self.arrays[at], &self.boxes.of[at]);
            let (start, count) = cut.part(number);
            let objects = cut.objects(&start, &count);
            let chunks = chunks_of(array, &start, &count);
            if objects.iter().all(|&object| writer.is_done(object)) {
                counters.leaves.fetch_add(chunks.1.iter().product(), Ordering::Relaxed);
                return Ok(());
            }
            let cells = array.cells(&start, &count, buffers, counters)?;
            write(writer, at, array, (&start, &count), &cells, counters)?;
            objects.iter().try_for_each(|&object| writer.partition_done(object))?;
            Ok(())
        })
    }

    /// Makes all cells again and compares them with those of the cube, bit for bit.
    ///
    /// # Errors
    /// The first box that differs; files or chunks that cannot be read.
    pub fn verify(&self, cube: OpenCube, counters: &Counters, cancel: &AtomicBool) -> Result<(), ImportError> {
        verify(&self.arrays, &self.boxes, cube, counters, cancel)
    }
}

/// Compares what the files give with what a cube holds.
pub(super) fn verify(
    arrays: &[Array],
    boxes: &super::Boxes,
    cube: OpenCube,
    counters: &Counters,
    cancel: &AtomicBool,
) -> Result<(), ImportError> {
    let identity = crate::write::InputIdentity { location: String::new(), identity: String::new() };
    let part = Part { cube, identity, at: 0, len: 0 };
    let unequal = |array: &Array, start: &[u64]| {
        let chunk = start.iter().zip(&array.spec.chunks).map(|(s, c)| s / c).collect();
        ImportError::Unequal { variable: array.spec.path.clone(), chunk }
    };
    let mut written = Vec::new();
    for array in arrays {
        let variable = part.cube.cube.variables.get(&array.spec.path).ok_or_else(|| unequal(array, &[]))?;
        let from = match array.whole {
            Some(_) => Vec::new(),
            None => vec![From::of(&part, variable, Way::Bits, array.dtype, 0)?],
        };
        written.push(Array { spec: array.spec.clone(), axis: None, dtype: array.dtype, from, whole: None });
    }
    each(boxes.count(arrays), boxes.threads, Buffers::default, |buffers, number| {
        if cancel.load(Ordering::Relaxed) {
            return Err(ImportError::Interrupted);
        }
        let Some((at, number)) = boxes.find(arrays, number) else { return Ok(()) };
        let (start, count) = boxes.of[at].part(number);
        let (array, size) = (&arrays[at], arrays[at].dtype.size());
        let made = array.cells(&start, &count, buffers, counters)?;
        // A chunk at a time, so that it takes no more memory than writing them did.
        let (first, grid) = chunks_of(array, &start, &count);
        for inner in 0..grid.iter().product::<u64>() {
            let chunk: Vec<u64> = index(inner, &grid).iter().zip(&first).map(|(i, f)| i + f).collect();
            let (mut from, mut some) = (Vec::new(), Vec::new());
            for axis in 0..chunk.len() {
                let (begin, length) = (chunk[axis] * array.spec.chunks[axis], array.spec.chunks[axis]);
                from.push(begin.max(start[axis]));
                some.push((begin + length).min(start[axis] + count[axis]) - from[axis]);
            }
            let found = written[at].cells(&from, &some, buffers, &Counters::default())?;
            let mut cut = vec![0; found.len()];
            let (zeros, within) =
                (vec![0; some.len()], from.iter().zip(&start).map(|(f, s)| f - s).collect::<Vec<_>>());
            copy(
                &made,
                At { shape: &count, start: &within },
                &mut cut,
                At { shape: &some, start: &zeros },
                &some,
                size,
            );
            if cut != found {
                return Err(unequal(array, &from));
            }
            counters.leaves.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    })
}

/// First chunk and number of chunks of a box along each dimension.
fn chunks_of(array: &Array, start: &[u64], count: &[u64]) -> (Vec<u64>, Vec<u64>) {
    let axes = start.iter().zip(count).zip(&array.spec.chunks);
    axes.map(|((&s, &n), &c)| (s / c, (s + n).div_ceil(c) - s / c)).unzip()
}

/// Writes the chunks of a box: object by object, those of each in C order.
fn write(
    writer: &CubeWriter,
    number: usize,
    array: &Array,
    (start, count): (&[u64], &[u64]),
    cells: &[u8],
    counters: &Counters,
) -> Result<(), ImportError> {
    let spec = &array.spec;
    let object = spec.shards.as_ref().unwrap_or(&spec.chunks);
    let objects: Vec<u64> = count.iter().zip(object).map(|(&n, &o)| n.div_ceil(o)).collect();
    let size = array.dtype.size();
    for at in 0..objects.iter().product::<u64>() {
        let of: Vec<u64> = index(at, &objects).iter().zip(object).zip(start).map(|((i, o), s)| s + i * o).collect();
        let behind = |axis: usize| (of[axis] + object[axis]).min(start[axis] + count[axis]);
        let first: Vec<u64> = of.iter().zip(&spec.chunks).map(|(o, c)| o / c).collect();
        let ends = (0..of.len()).map(|axis| behind(axis).div_ceil(spec.chunks[axis]));
        let grid: Vec<u64> = ends.zip(&first).map(|(end, first)| end - first).collect();
        for inner in 0..grid.iter().product::<u64>() {
            let chunk: Vec<u64> = index(inner, &grid).iter().zip(&first).map(|(i, f)| i + f).collect();
            let (mut from, mut some) = (Vec::new(), Vec::new());
            for axis in 0..chunk.len() {
                let begin = chunk[axis] * spec.chunks[axis];
                from.push(begin - start[axis]);
                some.push((begin + spec.chunks[axis]).min(behind(axis)) - begin);
            }
            let mut cut = vec![0; some.iter().product::<u64>() as usize * size];
            let zeros = vec![0; some.len()];
            copy(cells, At { shape: count, start: &from }, &mut cut, At { shape: &some, start: &zeros }, &some, size);
            writer.write_chunk(number, &chunk, &cut)?;
            counters.leaves.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}
