//! Polygons burnt into a new cube of zones, on the grid of another.

use super::{Placed, Zones, ZonesError, centres, lies, nowhere};
use crate::create::CreateSpec;
use crate::exec::{Counters, ExecError, RunOptions};
use crate::job::JobError;
use crate::open::OpenCube;
use crate::write::{ArraySpec, CubeWriter, Output, WriteError, Written};
use chunkwise_core::cube::{Attrs, Labels, Variable};
use chunkwise_core::dtype::{DType, Element, ForElement, Scalar};
use chunkwise_core::zonal::{Touch, cover};
use indexmap::{IndexMap, IndexSet};
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering};

/// Polygons on the grid of a cube, ready to be burnt into a new one.
#[derive(Debug)]
pub struct Burn {
    /// The new cube: `zone(y, x)` with the coordinates and the CRS of the other. Chunks, shards and codec may be changed.
    pub spec: CreateSpec,
    /// Zones with an edge of more than half a turn of longitude, which may be meant to cross the seam.
    pub wide: Vec<Value>,
    /// Whether the zones have a CRS and the cube has none.
    pub crs_is_taken: bool,
    placed: Placed,
    touch: Touch,
    numbers: Vec<i64>,
}

/// What burning takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BurnCost {
    /// Bytes of memory, beside what the process has.
    pub bytes: u64,
    /// Bytes of the result before compression.
    pub output_bytes: u64,
    /// Chunks of the result.
    pub chunks: u64,
}

/// What was burnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Burnt {
    /// What was written.
    pub written: Written,
    /// Cells in a zone.
    pub cells: u64,
    /// Cells of these that several zones claim: the last one has them.
    pub shared: u64,
}

impl Burn {
    /// Places `zones` on the grid of `cube`, or of its variables named. Zones called by whole numbers keep them as values;
    /// others are numbered from 1, and `flag_meanings` says what they are called.
    ///
    /// # Errors
    /// A cube without a grid on the Earth, or zones that have no place on it.
    pub fn new(
        cube: &OpenCube,
        variables: &[String],
        zones: &Zones,
        touch: Touch,
        name: &str,
    ) -> Result<Burn, ZonesError> {
        let plane = lies(cube, variables, &[])?;
        let Some(dims) = &plane.dims else { return Err(nowhere(cube)) };
        let (ys, xs) = (centres(cube, &dims.y, &plane)?, centres(cube, &dims.x, &plane)?);
        let mut wide = Vec::new();
        let placed = Placed::new(zones, &plane, (&dims.y, &ys), (&dims.x, &xs), &mut wide)?;
        let has = |v: &&Variable| [&dims.y, &dims.x].iter().all(|d| v.dims.contains(d));
        let like = cube.cube.data_variables().find(|v| has(v) && v.dtype.number().is_some());
        let Some(like) = like else { return Err(nowhere(cube)) };
        let of = |dim: &String, centres: &[f64]| -> Result<Labels, JobError> {
            match cube.cube.coordinate(dim) {
                Some(_) => Ok((*cube.labels(dim)?).clone()),
                None => Ok(Labels::Number(centres.to_vec())),
            }
        };
        let labels: IndexMap<String, Labels> =
            [(dims.y.clone(), of(&dims.y, &ys)?), (dims.x.clone(), of(&dims.x, &xs)?)].into();
        let source = CreateSpec::like(&cube.cube, &like.name, &labels).map_err(|_| nowhere(cube))?;
        let (numbers, meanings) = numbers(&zones.ids);
        let (dtype, outside) = narrowest(&numbers);
        let mut spec = CreateSpec::new(name, labels, dtype);
        let kept = |dim: &String| *dim == dims.y || *dim == dims.x;
        spec.chunks = source.chunks.into_iter().filter(|(dim, _)| kept(dim)).collect();
        spec.missing = Some(Scalar::Int(outside));
        spec.crs = source.crs;
        spec.variable_attrs = source.variable_attrs.into_iter().filter(|(dim, _)| kept(dim)).collect();
        let mut attrs = Attrs::new();
        attrs.insert("long_name".to_owned(), "zone".into());
        if let Some(meanings) = meanings {
            let values: Vec<i64> = (1..=meanings.len() as i64).collect();
            attrs.insert("flag_values".to_owned(), values.into());
            attrs.insert("flag_meanings".to_owned(), words(&meanings).join(" ").into());
        }
        spec.variable_attrs.insert(name.to_owned(), attrs);
        let crs_is_taken = zones.crs.is_some() && plane.crs.is_none();
        Ok(Burn { spec, wide, crs_is_taken, placed, touch, numbers })
    }

    /// Stores numbers of zones as `dtype`; its least value marks cells outside, of an unsigned one the greatest.
    ///
    /// # Errors
    /// It does not hold the numbers.
    pub fn set_dtype(&mut self, dtype: DType) -> Result<(), ZonesError> {
        let (least, most) = dtype.dispatch(Range);
        let outside = if least < 0.0 { least } else { most };
        let fits = |&n: &i64| (least..=most).contains(&(n as f64)) && n as f64 != outside;
        if dtype.is_float() || dtype == DType::Bool || !self.numbers.iter().all(fits) {
            return Err(ZonesError::Numbers { dtype: dtype.name() });
        }
        self.spec.dtype = dtype;
        self.spec.missing = Some(Scalar::Int(outside as i64));
        Ok(())
    }

    /// What burning takes on so many threads.
    ///
    /// # Errors
    /// A layout that does not fit.
    pub fn cost(&self, threads: usize) -> Result<BurnCost, ZonesError> {
        let layout = self.spec.layout().map_err(|e| ZonesError::Job(JobError::Write(e.into())))?;
        let object = layout.shards.as_ref().unwrap_or(&layout.chunks);
        let size = self.spec.dtype.size() as u64;
        let cells: u64 = object.iter().product();
        let corners: usize = self.placed.polygons.iter().flat_map(|p| p.rings()).map(Vec::len).sum();
        // A chunk as it is made and encoded, and the coverage of its largest polygon.
        let each = cells.saturating_mul(3 * size + 24);
        let bytes = each.saturating_mul(threads.max(1) as u64).saturating_add(16 * corners as u64);
        let chunks = layout.shape.iter().zip(&layout.chunks).map(|(n, c)| n.div_ceil(*c)).product();
        Ok(BurnCost { bytes, output_bytes: layout.shape.iter().product::<u64>() * size, chunks })
    }

    /// Burns the polygons, in their order, into a new cube.
    ///
    /// # Errors
    /// The output cannot be written, or cancellation; nothing is left then.
    pub fn run(
        &self,
        output: Output,
        threads: usize,
        counters: &Counters,
        options: &RunOptions,
    ) -> Result<Burnt, ZonesError> {
        let failed = |e: WriteError| ZonesError::Job(JobError::Write(e.into()));
        let (arrays, cells): (Vec<ArraySpec>, Vec<Vec<u8>>) =
            self.spec.arrays(output.zarr).map_err(|e| ZonesError::Job(JobError::Write(e.into())))?.into_iter().unzip();
        let mut output = output;
        output.attrs.entry("Conventions".to_owned()).or_insert_with(|| "CF-1.11".into());
        let writer = CubeWriter::begin(output, arrays).map_err(failed)?;
        let burnt = (|| {
            for (number, cells) in cells.iter().enumerate().skip(1) {
                writer.write_whole(number, cells).map_err(failed)?;
            }
            self.chunks(&writer, threads, counters, options)
        })();
        match burnt {
            Ok(mut burnt) => {
                burnt.written = writer.finish().map_err(failed)?;
                Ok(burnt)
            }
            Err(error) => {
                // The first error is the one to tell.
                let _ = writer.abort();
                Err(error)
            }
        }
    }

    /// All chunks, on threads.
    fn chunks(
        &self,
        writer: &CubeWriter,
        threads: usize,
        counters: &Counters,
        options: &RunOptions,
    ) -> Result<Burnt, ZonesError> {
        let spec = writer.arrays()[0].spec();
        // A shard is made whole: two threads do not write one object.
        let object = spec.shards.as_ref().unwrap_or(&spec.chunks);
        let grid: Vec<u64> = spec.shape.iter().zip(object).map(|(n, c)| n.div_ceil(*c)).collect();
        let (next, all) = (AtomicU64::new(0), grid.iter().product::<u64>());
        let work = || -> Result<Burnt, ZonesError> {
            let mut sum = Burnt::default();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= all {
                    return Ok(sum);
                }
                let first = [n / grid[1] * object[0], n % grid[1] * object[1]];
                let last = [0, 1].map(|d| (first[d] + object[d]).min(spec.shape[d]));
                for y in (first[0]..last[0]).step_by(spec.chunks[0] as usize) {
                    for x in (first[1]..last[1]).step_by(spec.chunks[1] as usize) {
                        if options.cancel.load(Ordering::Relaxed) {
                            return Err(JobError::from(ExecError::Interrupted).into());
                        }
                        let to = [(y + spec.chunks[0]).min(spec.shape[0]), (x + spec.chunks[1]).min(spec.shape[1])];
                        let (bytes, cells, shared) = self.chunk([y, x], to);
                        sum.cells += cells;
                        sum.shared += shared;
                        let index = [y / spec.chunks[0], x / spec.chunks[1]];
                        writer.write_chunk(0, &index, &bytes).map_err(|e| JobError::Write(e.into()))?;
                        counters.leaves.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
            let mut sum = Burnt::default();
            let mut first = None;
            for handle in handles {
                match handle.join() {
                    Ok(Ok(part)) => {
                        sum.cells += part.cells;
                        sum.shared += part.shared;
                    }
                    Ok(Err(error)) => {
                        next.store(all, Ordering::Relaxed);
                        first.get_or_insert(error);
                    }
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            first.map_or(Ok(sum), Err)
        })
    }

    /// The cells of a chunk, those in a zone, and those of several.
    fn chunk(&self, from: [u64; 2], to: [u64; 2]) -> (Vec<u8>, u64, u64) {
        let edges = |edges: &[f64], d: usize| edges[from[d] as usize..=to[d] as usize].to_vec();
        let (ys, xs) = (edges(&self.placed.y_edges, 0), edges(&self.placed.x_edges, 1));
        let bounds = [xs[0], ys[0], xs[xs.len() - 1], ys[ys.len() - 1]];
        let cells = ((to[0] - from[0]) * (to[1] - from[1])) as usize;
        let outside = self.spec.missing.map_or(0, |m| m.to_f64() as i64);
        let mut values = vec![outside; cells];
        let mut claims = vec![0u8; cells];
        for (polygon, &number) in self.placed.polygons.iter().zip(&self.numbers) {
            let Some([west, south, east, north]) = polygon.bounds() else { continue };
            if west > bounds[2] || east < bounds[0] || south > bounds[3] || north < bounds[1] {
                continue;
            }
            for (cell, _) in cover(polygon, &xs, &ys, self.placed.rows, self.touch).cells() {
                values[cell as usize] = number;
                claims[cell as usize] = claims[cell as usize].saturating_add(1);
            }
        }
        let count = |least: u8| claims.iter().filter(|&&c| c >= least).count() as u64;
        (self.spec.dtype.dispatch(Narrow(&values)), count(1), count(2))
    }
}

/// Least and greatest value of a type.
struct Range;

impl ForElement for Range {
    type Output = (f64, f64);
    fn run<T: Element>(self) -> (f64, f64) {
        (T::LEAST.to_f64(), T::GREATEST.to_f64())
    }
}

struct Narrow<'a>(&'a [i64]);

impl ForElement for Narrow<'_> {
    type Output = Vec<u8>;
    fn run<T: Element>(self) -> Vec<u8> {
        let cells: Vec<T> = self.0.iter().map(|&v| T::from_f64(v as f64)).collect();
        bytemuck::cast_slice(&cells).to_vec()
    }
}

/// The number of each zone; and what the numbers are called, from 1, where the zones are not called by whole numbers.
fn numbers(ids: &[Value]) -> (Vec<i64>, Option<Vec<String>>) {
    // Beyond 2⁵³ not all whole numbers are numbers of 64 bits.
    let whole = |id: &Value| id.as_i64().filter(|n| n.unsigned_abs() < 1 << 53);
    if let Some(numbers) = ids.iter().map(whole).collect::<Option<Vec<i64>>>() {
        return (numbers, None);
    }
    let mut names: IndexSet<String> = IndexSet::new();
    let text = |id: &Value| match id {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let numbers = ids.iter().map(|id| names.insert_full(text(id)).0 as i64 + 1).collect();
    (numbers, Some(names.into_iter().collect()))
}

/// Names as words of `flag_meanings`, which blanks part: each is one, and another than those before it.
fn words(names: &[String]) -> Vec<String> {
    let mut words: Vec<String> = Vec::with_capacity(names.len());
    for name in names {
        let own = name.split_whitespace().collect::<Vec<_>>().join("_");
        let own = if own.is_empty() { "unnamed".to_owned() } else { own };
        let mut word = own.clone();
        let mut n = 2;
        while words.contains(&word) {
            word = format!("{own}_{n}");
            n += 1;
        }
        words.push(word);
    }
    words
}

/// The narrowest type that holds all numbers and one more, which marks cells in no zone.
fn narrowest(numbers: &[i64]) -> (DType, i64) {
    let (least, most) = numbers.iter().fold((0, 0), |(a, b), &n| (a.min(n), b.max(n)));
    let types = [
        (DType::UInt8, 0, i64::from(u8::MAX) - 1, i64::from(u8::MAX)),
        (DType::Int16, i64::from(i16::MIN) + 1, i64::from(i16::MAX), i64::from(i16::MIN)),
        (DType::Int32, i64::from(i32::MIN) + 1, i64::from(i32::MAX), i64::from(i32::MIN)),
    ];
    let fits = types.iter().find(|(_, low, high, _)| least >= *low && most <= *high);
    fits.map_or((DType::Int64, i64::MIN), |(dtype, _, _, outside)| (*dtype, *outside))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn zones_called_by_whole_numbers_keep_them() {
        assert_eq!(numbers(&[json!(7), json!(-2)]), (vec![7, -2], None));
        let (found, names) = numbers(&[json!("b"), json!(1.5), json!("b"), json!(null)]);
        assert_eq!(found, [1, 2, 1, 3]);
        assert_eq!(names.unwrap(), ["b", "1.5", ""]);
    }

    #[test]
    fn each_name_is_one_word_and_another_than_those_before_it() {
        let names = ["dry grass", "", "dry_grass", " ", "water"].map(str::to_owned);
        assert_eq!(words(&names), ["dry_grass", "unnamed", "dry_grass_2", "unnamed_2", "water"]);
    }

    #[test]
    fn the_type_leaves_room_for_cells_outside() {
        assert_eq!(narrowest(&[0, 254]), (DType::UInt8, 255));
        assert_eq!(narrowest(&[0, 255]), (DType::Int16, -32768));
        assert_eq!(narrowest(&[-1]), (DType::Int16, -32768));
        assert_eq!(narrowest(&[40_000]), (DType::Int32, i64::from(i32::MIN)));
        assert_eq!(narrowest(&[1 << 40]), (DType::Int64, i64::MIN));
    }
}
