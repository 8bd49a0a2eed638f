//! How an import is cut into pieces, and what they take.

use super::ImportError;
use super::align::{Layers, Values};
use super::grid::Way;
use super::mosaic::Mosaic;
use super::source::Source;
use super::stack::{Scene, Stack};
use crate::memory;
use chunkwise_core::dtype::DType;
use std::collections::HashMap;
use std::sync::Arc;

/// Time, band, y, x.
pub(super) type Four = [u64; 4];

/// Bytes of a window of a source that is worth more memory than it takes.
const WINDOW: u64 = 32 << 20;
/// Bytes of decoded blocks that are kept between reads, at most.
const KEPT: u64 = 256 << 20;

/// Chunks, shards, and what of them is in work at once.
#[derive(Clone, Debug)]
pub(super) struct Units {
    pub(super) shape: Four,
    /// Cells of a chunk; of a sharded array, of an inner chunk.
    pub(super) chunk: Four,
    /// Cells of an object: a chunk or a shard.
    pub(super) object: Four,
    /// Cells that one thread does before it takes the next: whole objects.
    pub(super) unit: Four,
    /// Cells that are in memory at once: whole chunks.
    pub(super) piece: Four,
    pub(super) threads: usize,
    /// Bytes that a window of a source may take.
    pub(super) window: u64,
    /// Bytes of decoded blocks to keep, of each file that is open.
    pub(super) keep: u64,
    /// Peak memory of the process.
    pub(super) memory: u64,
}

/// Whole boxes along each dimension.
pub(super) fn counts(shape: Four, part: Four) -> Four {
    std::array::from_fn(|d| shape[d].div_ceil(part[d].max(1)))
}

fn volume(v: Four) -> u64 {
    v.iter().fold(1, |a, &b| a.saturating_mul(b))
}

/// What pieces are made of.
pub(super) struct Made<'a> {
    pub(super) sources: &'a [Arc<dyn Source>],
    pub(super) stack: &'a Stack,
    pub(super) dtype: DType,
    pub(super) rule: Option<Mosaic>,
    /// Of sources that take the same, one.
    kinds: Vec<usize>,
}

impl<'a> Made<'a> {
    pub(super) fn new(sources: &'a [Arc<dyn Source>], stack: &'a Stack, rule: Option<Mosaic>) -> Made<'a> {
        let mut kinds: HashMap<String, usize> = HashMap::new();
        for (number, source) in sources.iter().enumerate() {
            let mapping = &stack.mappings[number];
            let way = match &mapping.way {
                Way::Copy { .. } => None,
                Way::Warp(warp) => Some(warp.scale),
            };
            let takes = [[1, 1, 1], [1, 64, 64], [1, 4096, 4096]].map(|shape| source.read_bytes(0, &shape));
            let block = source.variables().first().map(|v| (&v.block, &v.shape));
            kinds.entry(format!("{takes:?} {block:?} {way:?} {:?}", mapping.size)).or_insert(number);
        }
        Made { sources, stack, dtype: stack.dtype, rule, kinds: kinds.into_values().collect() }
    }

    /// Bytes of a window of one source, of a rectangle of the cube.
    fn window(&self, source: usize, bands: u64, rows: u64, columns: u64) -> u64 {
        let mapping = &self.stack.mappings[source];
        let (rows, columns) = match &mapping.way {
            Way::Copy { .. } => (rows, columns),
            Way::Warp(warp) => {
                let along = |n: u64, scale: f64, most: u64| ((n as f64 / scale).ceil() as u64 + 4).min(most);
                (along(rows, warp.scale.1, mapping.size.1), along(columns, warp.scale.0, mapping.size.0))
            }
        };
        let shape = [bands, rows.min(mapping.size.1), columns.min(mapping.size.0)];
        let own = shape.iter().product::<u64>().saturating_mul(self.dtype.size() as u64 + 1);
        self.sources[source].read_bytes(0, &shape).saturating_add(own)
    }

    /// Bytes of the largest window, of a piece.
    fn windows(&self, piece: Four) -> u64 {
        let all = self.kinds.iter().copied();
        let bands = |s: usize| piece[1].min(self.sources[s].variables().first().map_or(1, |v| v.shape[0]));
        all.map(|s| self.window(s, bands(s), piece[2], piece[3])).max().unwrap_or(0)
    }

    /// The least window that a piece can be made with.
    fn least_window(&self, piece: Four) -> u64 {
        let warps = self.stack.mappings.iter().any(|m| matches!(m.way, Way::Warp(_)));
        let whole = self.windows(piece);
        match warps {
            true => self.windows([1, piece[1], 1, 1]).max(whole.min(WINDOW / 8)),
            false => whole,
        }
    }

    /// Bytes of a piece in work, without the window of its source.
    fn fixed(&self, piece: Four, chunk: Four) -> u64 {
        let size = self.dtype.size() as u64;
        let plane = piece[2].saturating_mul(piece[3]);
        let layer = plane.saturating_mul(piece[1]);
        let pile = layer.saturating_mul(size + Mosaic::cell_bytes(self.rule, self.stack.deepest(), size));
        let patch = layer.saturating_add(plane).saturating_mul(size + 1);
        let points = (piece[2] + 1).saturating_mul(piece[3] + 1).saturating_mul(16);
        // The chunk cut out, as it goes through its codecs, and encoded.
        let encoded = volume(chunk).saturating_mul(size).saturating_mul(4);
        [volume(piece).saturating_mul(size), pile, patch, points, encoded]
            .iter()
            .fold(0, |a: u64, &b| a.saturating_add(b))
    }
}

impl Units {
    /// The largest pieces that fit the budget, on as many threads as fit.
    ///
    /// # Errors
    /// The smallest does not fit on one thread.
    pub(super) fn new(
        made: &Made<'_>,
        [shape, chunk, object]: [Four; 3],
        limit: u64,
        threads: usize,
    ) -> Result<Units, ImportError> {
        let base = memory::base();
        let sharded = object != chunk;
        let takes = |piece: Four| made.fixed(piece, chunk).saturating_add(made.least_window(piece));
        let least = takes(chunk);
        let needed = base.saturating_add(least);
        if needed > limit {
            return Err(ImportError::Memory { needed, limit });
        }
        let objects = volume(counts(shape, object));
        let room = limit - base;
        let most = (threads.max(1) as u64).min(objects.max(1));
        let threads = (1..=most).rev().find(|n| least.saturating_mul(*n) <= room).unwrap_or(1);
        let share = room / threads;
        let mut piece = chunk;
        // In shards, chunks come in their order: a dimension grows when those within it are whole.
        let order = if sharded { [3, 2, 1, 0] } else { [1, 3, 2, 0] };
        for d in order {
            let within = if sharded { object[d].min(shape[d].next_multiple_of(chunk[d])) } else { shape[d] };
            let wanted = made.wanted(d, piece, shape).min(within).div_ceil(chunk[d]);
            let fits = |n: &u64| {
                let mut larger = piece;
                larger[d] = n * chunk[d];
                let enough = sharded || volume(counts(shape, larger)) >= threads;
                enough && takes(larger) <= share
            };
            piece[d] = (2..=wanted).rev().take(4096).find(fits).map_or(piece[d], |n| n * chunk[d]);
            if sharded && piece[d] < within {
                break;
            }
        }
        let fixed = made.fixed(piece, chunk);
        let window = share.saturating_sub(fixed).min(made.windows(piece).max(WINDOW)).max(made.least_window(piece));
        let taken = fixed.saturating_add(made.windows(piece).min(window)).saturating_mul(threads);
        // Two files are open for each thread.
        let keep = (room.saturating_sub(taken) / 2).min(KEPT) / (2 * threads);
        let memory = base.saturating_add(taken).saturating_add(keep * 2 * threads).min(limit);
        let unit = if sharded { object } else { piece };
        Ok(Units { shape, chunk, object, unit, piece, threads: threads as usize, window, keep, memory })
    }

    /// Units of work.
    pub(super) fn count(&self) -> u64 {
        volume(counts(self.shape, self.unit))
    }

    /// Chunks in all.
    pub(super) fn chunks(&self) -> u64 {
        volume(counts(self.shape, self.chunk))
    }

    /// First cell and cells of the part of this number, in C order over `part`s of a box.
    pub(super) fn part(&self, number: u64, (start, within): (Four, Four), part: Four) -> (Four, Four) {
        let grid = counts(within, part);
        let mut at = number;
        let mut index = [0; 4];
        for d in (0..4).rev() {
            index[d] = at % grid[d];
            at /= grid[d];
        }
        let first: Four = std::array::from_fn(|d| start[d] + index[d] * part[d]);
        let cells = std::array::from_fn(|d| part[d].min(start[d] + within[d] - first[d]));
        (first, cells)
    }

    /// The whole cube as a box.
    pub(super) fn whole(&self) -> (Four, Four) {
        ([0; 4], self.shape)
    }

    /// Numbers of the objects of a unit, in the journal.
    pub(super) fn objects(&self, (start, cells): (Four, Four)) -> Vec<u64> {
        let grid = counts(self.shape, self.object);
        let within = counts(cells, self.object);
        (0..volume(within))
            .map(|n| {
                let (first, _) = self.part(n, (start, cells), self.object);
                (0..4).fold(0, |acc, d| acc * grid[d] + first[d] / self.object[d])
            })
            .collect()
    }
}

impl Made<'_> {
    /// Cells along a dimension that are best read at once: those of a block of the sources.
    fn wanted(&self, d: usize, piece: Four, shape: Four) -> u64 {
        let copies = self.stack.mappings.iter().all(|m| matches!(m.way, Way::Copy { .. }));
        let kinds = self.kinds.iter().map(|&s| &self.sources[s]);
        let blocks = kinds.filter_map(|s| s.variables().first().map(|v| &v.block));
        match d {
            0 => piece[0],
            1 => match blocks.map(|b| b[0]).max() {
                Some(n) if n > piece[1] => shape[1],
                _ => piece[1],
            },
            _ if !copies => piece[d],
            _ => blocks.map(|b| b[d - 1]).max().unwrap_or(1).max(piece[d]),
        }
    }
}

/// Bands of a scene that are read together: the first of them in the cube, the layer, how many.
pub(super) fn runs(scene: &Scene, first: u64, count: u64) -> Vec<(u64, usize, Vec<u64>, usize, u64)> {
    let mut found: Vec<(u64, usize, Vec<u64>, usize, u64)> = Vec::new();
    for band in first..first + count {
        let layer = &scene.layers[band as usize];
        if let Some((_, source, lead, variable, n)) = found.last_mut()
            && (*source, *variable) == (layer.source, layer.variable)
            && lead.split_last().zip(layer.lead.split_last()).is_some_and(|((l, a), (m, b))| a == b && l + *n == *m)
        {
            *n += 1;
            continue;
        }
        found.push((band, layer.source, layer.lead.clone(), layer.variable, 1));
    }
    found
}

/// Layers of a source, as an aligner reads them.
pub(super) fn layers<'a>(source: &'a dyn Source, variable: usize, lead: &'a [u64], count: u64) -> Layers<'a> {
    Layers { source, variable, lead, count }
}

/// Whether stored bytes are those of the cube.
pub(super) fn as_stored(values: &Values, masked: bool) -> bool {
    matches!(values, Values::Stored(_)) && !masked
}
