//! The cells of a cube from its scenes: made piece by piece, written, or compared with what was written.

use super::align::{Aligner, Coordinates, Patch, Rect, Values};
use super::grid::Way;
use super::mosaic::{Mosaic, Pile, Second};
use super::stack::{Layer, Scene};
use super::units::{Four, as_stored, counts, layers, runs};
use super::{Import, ImportError};
use crate::chunk::{ChunkReader, Scratch};
use crate::exec::Counters;
use crate::exec::each::each;
use crate::open::OpenCube;
use crate::write::CubeWriter;
use crate::write::block::{At, copy};
use chunkwise_core::dtype::{Element, ForElement};
use std::sync::atomic::{AtomicBool, Ordering};

/// A box of the cube: first cells and numbers of cells.
pub(super) type Cube = (Four, Four);

impl Import {
    /// Fills the variable of `writer`, its first array: what its journal says is done is left as it is.
    pub(super) fn fill(
        &self,
        writer: &CubeWriter,
        counters: &Counters,
        cancel: &AtomicBool,
    ) -> Result<(), ImportError> {
        let units = &self.units;
        each(units.count(), units.threads, Coordinates::default, |kept, number| {
            let unit = units.part(number, units.whole(), units.unit);
            let objects = units.objects(unit);
            if objects.iter().all(|&o| writer.is_done(o)) {
                counters.leaves.fetch_add(self.chunks_in(unit), Ordering::Relaxed);
                return Ok(());
            }
            self.pieces(unit, kept, counters, cancel, |chunk, cells| Ok(writer.write_chunk(0, chunk, cells)?))?;
            objects.iter().try_for_each(|&o| writer.partition_done(o))?;
            Ok(())
        })
    }

    /// Makes all cells again and compares them with those of the cube, bit for bit.
    ///
    /// # Errors
    /// The first chunk that differs; files or chunks that cannot be read.
    pub fn verify(&self, cube: &OpenCube, counters: &Counters, cancel: &AtomicBool) -> Result<(), ImportError> {
        let name = &self.spec.variable;
        let unequal = |chunk: &[u64]| ImportError::Unequal { variable: name.clone(), chunk: chunk.to_vec() };
        let variable = cube.cube.variables.get(name).ok_or_else(|| unequal(&[]))?;
        let read =
            |e: crate::chunk::ChunkError| ImportError::Read { location: cube.store.location(), source: e.into() };
        let reader = ChunkReader::new(variable, cube.store.clone()).map_err(read)?;
        let units = &self.units;
        let state = || (Coordinates::default(), Scratch::new(), Vec::new());
        each(units.count(), units.threads, state, |(kept, scratch, found), number| {
            let unit = units.part(number, units.whole(), units.unit);
            self.pieces(unit, kept, counters, cancel, |chunk, cells| {
                reader.read(chunk, scratch, found).map_err(read)?;
                self.same(chunk, cells, found).then_some(()).ok_or_else(|| unequal(chunk))
            })
        })
    }

    /// Whether the cells of a chunk within the array are those that are expected.
    fn same(&self, chunk: &[u64], expected: &[u8], found: &[u8]) -> bool {
        let skip = 4 - chunk.len();
        let size = self.stack.dtype.size();
        let whole = &self.units.chunk[skip..];
        let cells: Vec<u64> = (skip..4)
            .map(|d| self.units.chunk[d].min(self.units.shape[d] - chunk[d - skip] * self.units.chunk[d]))
            .collect();
        if found.len() != whole.iter().product::<u64>() as usize * size {
            return false;
        }
        let mut inside = vec![0; expected.len()];
        let zeros = vec![0; cells.len()];
        let target = At { shape: &cells, start: &zeros };
        copy(found, At { shape: whole, start: &zeros }, &mut inside, target, &cells, size);
        inside == expected
    }

    fn chunks_in(&self, unit: Cube) -> u64 {
        counts(unit.1, self.units.chunk).iter().product()
    }

    /// Makes the pieces of a unit and gives their chunks, in C order, to `take`.
    fn pieces(
        &self,
        unit: Cube,
        kept: &mut Coordinates,
        counters: &Counters,
        cancel: &AtomicBool,
        mut take: impl FnMut(&[u64], &[u8]) -> Result<(), ImportError>,
    ) -> Result<(), ImportError> {
        let units = &self.units;
        let size = self.stack.dtype.size();
        for number in 0..counts(unit.1, units.piece).iter().product::<u64>() {
            if cancel.load(Ordering::Relaxed) {
                return Err(ImportError::Interrupted);
            }
            let piece = units.part(number, unit, units.piece);
            let cells = self.stack.dtype.dispatch(Make { import: self, piece, kept, counters })?;
            for number in 0..self.chunks_in(piece) {
                let (start, count) = units.part(number, piece, units.chunk);
                let mut chunk = vec![0; count.iter().product::<u64>() as usize * size];
                let from: Four = std::array::from_fn(|d| start[d] - piece.0[d]);
                let target = At { shape: &count, start: &[0; 4] };
                copy(&cells, At { shape: &piece.1, start: &from }, &mut chunk, target, &count, size);
                let index: Four = std::array::from_fn(|d| start[d] / units.chunk[d]);
                take(&index[usize::from(self.stack.times.is_none())..], &chunk)?;
                counters.leaves.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

struct Make<'a> {
    import: &'a Import,
    piece: Cube,
    kept: &'a mut Coordinates,
    counters: &'a Counters,
}

impl ForElement for Make<'_> {
    type Output = Result<Vec<u8>, ImportError>;
    fn run<T: Element>(mut self) -> Self::Output {
        let (start, count) = self.piece;
        let fill = self.import.stack.mark.and_then(|m| m.to_element()).unwrap_or_default();
        let mut cells: Vec<T> = vec![fill; count.iter().product::<u64>() as usize];
        let layer = (count[1] * count[2] * count[3]) as usize;
        for (time, out) in cells.chunks_exact_mut(layer).enumerate() {
            self.slot::<T>(start[0] as usize + time, out)?;
        }
        Ok(bytemuck::allocation::try_cast_vec(cells).unwrap_or_else(|(_, cells)| bytemuck::cast_slice(&cells).to_vec()))
    }
}

impl Make<'_> {
    /// The scenes of one time.
    fn slot<T: Element>(&mut self, time: usize, out: &mut [T]) -> Result<(), ImportError> {
        let stack = &self.import.stack;
        let (start, count) = self.piece;
        let rect = Rect { row: start[2], column: start[3], rows: count[2], columns: count[3] };
        let scenes = &stack.slots[time];
        let lies = |scene: &&Scene| scene.layers.iter().any(|l| rect.meets(&stack.mappings[l.source]));
        let here: Vec<(u32, &Scene)> = (0..).zip(scenes).filter(|(_, s)| lies(s)).collect();
        if let [(_, scene)] = here.as_slice()
            && scenes.len() == 1
            && self.copies(scene)
        {
            return self.copy(scene, rect, out);
        }
        let mut pile = Pile::new(self.import.rule, out.len());
        for (number, scene) in here {
            let patch = self.scene::<T>(scene, rect)?;
            pile.add(number, patch).map_err(|Second { cell, before }| {
                let (band, cell) = (cell / rect.cells(), (cell % rect.cells()) as u64);
                let (row, column) = (rect.row + cell / rect.columns, rect.column + cell % rect.columns);
                let label = match &stack.bands {
                    chunkwise_core::cube::Labels::Text(names) => names[start[1] as usize + band].clone(),
                    _ => (start[1] as usize + band + 1).to_string(),
                };
                ImportError::Overlap {
                    one: scenes[before as usize].name.clone(),
                    other: scene.name.clone(),
                    at: format!("band `{label}`, row {row}, column {column} of the cube"),
                }
            })?;
        }
        pile.finish(stack.mark, out);
        Ok(())
    }

    /// Whether the cells of a scene are those of the cube, bit for bit.
    fn copies(&self, scene: &Scene) -> bool {
        let stack = &self.import.stack;
        scene.by.is_none()
            && scene.layers.iter().all(|l| {
                let masked = self.import.sources[l.source].variables()[l.variable].masked;
                matches!(stack.mappings[l.source].way, Way::Copy { .. }) && as_stored(&stack.values[l.source], masked)
            })
    }

    /// Copies a scene, marks and all.
    fn copy<T: Element>(&mut self, scene: &Scene, rect: Rect, out: &mut [T]) -> Result<(), ImportError> {
        let (start, count) = self.piece;
        for (band, source, lead, variable, n) in runs(scene, start[1], count[1]) {
            let mut aligner = self.import.aligner(source);
            aligner.values = Values::Bits;
            let source = &*self.import.sources[source];
            let patch: Patch<T> = aligner.read(layers(source, variable, &lead, n), rect, self.kept)?;
            self.count(aligner.read);
            let at = (band - start[1]) as usize * rect.cells();
            let cells = patch.values.iter().zip(&patch.valid).zip(&mut out[at..]);
            cells.filter(|((_, valid), _)| **valid).for_each(|((value, _), target)| *target = *value);
        }
        Ok(())
    }

    /// The bands of a scene.
    fn scene<T: Element>(&mut self, scene: &Scene, rect: Rect) -> Result<Patch<T>, ImportError> {
        let (start, count) = self.piece;
        let by: Option<Patch<T>> = match &scene.by {
            None => None,
            Some(Layer { source, variable, lead }) => {
                let mut aligner = self.import.aligner(*source);
                let found =
                    aligner.read(layers(&*self.import.sources[*source], *variable, lead, 1), rect, self.kept)?;
                self.count(aligner.read);
                Some(found)
            }
        };
        let mut all: Patch<T> = Patch { values: Vec::new(), valid: Vec::new() };
        for (_, source, lead, variable, n) in runs(scene, start[1], count[1]) {
            let mut aligner = self.import.aligner(source);
            let source = &*self.import.sources[source];
            let patch = aligner.read(layers(source, variable, &lead, n), rect, self.kept)?;
            self.count(aligner.read);
            all = if all.values.is_empty() { patch } else { joined(all, patch) };
        }
        if let Some(by) = by {
            let mark: T = self.import.stack.mark.and_then(|m| m.to_element()).unwrap_or_default();
            // Where one scene is chosen, its missing cells are chosen with it.
            let chooses = matches!(self.import.rule, None | Some(Mosaic::First | Mosaic::Last));
            let planes = all.valid.chunks_exact_mut(by.valid.len()).zip(all.values.chunks_exact_mut(by.valid.len()));
            for (valid, values) in planes {
                for ((valid, value), by) in valid.iter_mut().zip(values).zip(&by.valid) {
                    if chooses && !*valid {
                        *value = mark;
                    }
                    *valid = *by && (*valid || chooses);
                }
            }
        }
        Ok(all)
    }

    fn count(&self, bytes: u64) {
        self.counters.decoded_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
    }
}

fn joined<T>(mut one: Patch<T>, mut other: Patch<T>) -> Patch<T> {
    one.values.append(&mut other.values);
    one.valid.append(&mut other.valid);
    one
}

impl Import {
    fn aligner(&self, source: usize) -> Aligner<'_> {
        Aligner {
            mapping: &self.stack.mappings[source],
            number: self.same_grid[source],
            resampling: self.resampling,
            window: self.units.window,
            values: self.stack.values[source],
            mark: self.stack.mark,
            read: 0,
        }
    }
}
