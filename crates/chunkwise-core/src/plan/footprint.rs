//! What a stage holds in memory while it is walked.

use super::schedule::{AHEAD, Cut, Fetch, OutputArray, Sharing, Target, gcd};
use super::{Axis, Folded, Stage};
use crate::cube::ChunkSizes;
use crate::grid::{Cuts, Indices, Role, WalkDim};
use crate::stat::Statistic;
use crate::stat::finish::states_for;
use crate::stat::state::{State, StateKind};
use std::borrow::Cow;

/// Decoders and encoders of one thread.
const CODECS: u64 = 2 << 20;

/// Bytes of one inner chunk in the index of an open shard, and what it takes to wait there.
const INDEX_ENTRY: u64 = 24;

/// A way to walk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held<'a> {
    pub(super) order: &'a [usize],
    pub(super) sharing: Sharing,
    pub(super) threads: usize,
    pub(super) window: usize,
}

/// One loop over pieces of a dimension, and the chunks of an array along it.
#[derive(Clone, Debug)]
struct Loop {
    /// Of each piece, without repeats: chunks that lie across its ends, and chunks within it.
    pieces: Vec<(u64, u64)>,
    /// Chunks along the whole loop.
    all: u64,
    /// Most chunks of one piece.
    most: u64,
    /// Number of pieces, where they are patches.
    patches: u64,
}

/// The loop over the parts of a dimension, and the chunks of an array along it (`None`: the array lacks it).
type LoopOf = fn(&[Cow<'_, WalkDim>], Option<&ChunkSizes>) -> Loop;

/// The figures of a stage, from which the bytes of any way to walk it follow.
#[derive(Debug)]
pub(super) struct Footprint<'a> {
    stage: &'a Stage,
    target: &'a Target,
    /// Bytes of the states of a patch, of a leaf in work, and of a patch's finished values.
    state: u64,
    leaf: u64,
    finished: u64,
    /// Cells of the output of a tile.
    output_cells: u64,
    /// For each view: bytes of a chunk, patch loops and leaf loops by dimension.
    inputs: Vec<(u64, Vec<Loop>, Vec<Loop>)>,
    /// For each output array: bytes of a chunk, and loops by dimension (`None`: not in the output).
    outputs: Vec<(u64, Vec<Option<Loop>>)>,
    /// Leaves of a patch, at most.
    patch_leaves: u64,
    /// For each output array that is sharded.
    shards: Vec<Shards>,
    /// Bytes of shards on their way, of all arrays together.
    sending: u64,
    /// Bytes of the largest output chunk.
    output_chunk: u64,
    patches: u64,
}

impl<'a> Footprint<'a> {
    pub(super) fn new(stage: &'a Stage, tiles: &[Cut], target: &'a Target) -> Footprint<'a> {
        let parts: Vec<Vec<Cow<'_, WalkDim>>> = stage
            .dims
            .iter()
            .zip(tiles)
            .map(|(d, t)| match t.as_slice() {
                [one] if *one == (0, d.len()) => vec![Cow::Borrowed(d)],
                many => many.iter().map(|&(a, b)| Cow::Owned(d.tile(a, b))).collect(),
            })
            .collect();
        let most = |f: &dyn Fn(&WalkDim) -> u64| -> Vec<u64> {
            parts.iter().map(|t| t.iter().map(|d| f(d)).max().unwrap_or(0)).collect()
        };
        let product = |v: Vec<u64>| v.into_iter().fold(1, u64::saturating_mul);
        let leaf_cells = product(most(&|d| d.cuts.longest()));
        let patch_cells = product(most(&WalkDim::longest_patch));
        let inputs = stage
            .inputs
            .iter()
            .map(|view| {
                let array = &stage.arrays[view.array];
                let cells = array.chunks.iter().map(ChunkSizes::longest).fold(1, u64::saturating_mul);
                let bytes = cells.saturating_mul(array.view.map_or(1, |d| d.size() as u64));
                let loops = |of: LoopOf| -> Vec<Loop> {
                    parts
                        .iter()
                        .enumerate()
                        .map(|(d, part)| {
                            let axis = view.axes.iter().position(|a| *a == Axis::Walk(d));
                            of(part, axis.map(|a| &array.chunks[a]))
                        })
                        .collect()
                };
                (bytes, loops(patch_loop), loops(leaf_loop))
            })
            .collect();
        let arrays: &[OutputArray] = match target {
            Target::Arrays(arrays) => arrays,
            _ => &[],
        };
        let outputs = arrays.iter().map(|a| (bytes_of(&a.chunks, a), output_loops(stage, &parts, &a.chunks))).collect();
        let sharded = arrays.iter().filter(|a| a.shards.is_some());
        let largest = arrays.iter().map(|a| bytes_of(&a.chunks, a)).max().unwrap_or(0);
        Footprint {
            stage,
            target,
            state: state_bytes(stage, patch_cells),
            leaf: leaf_bytes(stage, leaf_cells),
            finished: patch_cells.saturating_mul(2 * 9).saturating_add(sorted_bytes(stage)),
            output_cells: product(most(&WalkDim::output_len)),
            inputs,
            outputs,
            shards: arrays.iter().filter_map(|a| Shards::of(stage, &parts, a)).collect(),
            sending: sharded.map(|a| a.sending_bytes).max().unwrap_or(0),
            output_chunk: largest,
            patches: product(most(&WalkDim::patch_count)),
            patch_leaves: product(most(&WalkDim::most_intervals)).max(1),
        }
    }

    /// What a thread may take: patches where there are enough, and leaves; the faster first.
    pub(super) fn sharings(&self, threads: usize, fetch: Fetch) -> Vec<Sharing> {
        match (threads, self.patches >= 2 * threads as u64) {
            _ if fetch == Fetch::Ahead => vec![Sharing::Leaves],
            (1, _) => vec![Sharing::Patches],
            (_, true) => vec![Sharing::Patches, Sharing::Leaves],
            (_, false) => vec![Sharing::Leaves],
        }
    }

    /// Bytes of the whole output of a tile, kept for a later stage.
    pub(super) fn kept(&self) -> u64 {
        let columns: u64 = self.stage.folded.iter().map(|f| f.statistics.len() as u64).sum();
        self.output_cells.saturating_mul(9 * columns)
    }

    /// Bytes that a walk takes at most.
    pub(super) fn bytes(&self, walk: Held<'_>) -> u64 {
        let threads = walk.threads as u64;
        let own = match walk.sharing {
            Sharing::Patches => {
                threads.saturating_mul(self.state.saturating_add(self.leaf).saturating_add(self.finished))
            }
            Sharing::Leaves => {
                let leaf = self.leaf.saturating_add(self.state.min(self.leaf));
                let window = walk.window as u64;
                // Patches of fewer leaves than the window are finished by several threads at once.
                let open = window.div_ceil(self.patch_leaves).min(threads).min(self.patches).max(1);
                let finished = self.finished.saturating_mul(open);
                window.saturating_mul(leaf).saturating_add(self.state).saturating_add(finished)
            }
        };
        let mut bytes = own.saturating_add(threads * CODECS);
        for (size, patches, leaves) in &self.inputs {
            bytes = bytes.saturating_add(shared(patches, leaves, walk).saturating_mul(*size));
        }
        match self.target {
            Target::Nothing => {}
            Target::Memory => bytes = bytes.saturating_add(self.kept()),
            Target::Arrays(_) => {
                bytes = bytes.saturating_add(threads.saturating_mul(3 * self.output_chunk));
                for (size, loops) in &self.outputs {
                    bytes = bytes.saturating_add(frontier(loops, walk).saturating_mul(*size));
                }
                for shards in &self.shards {
                    bytes = bytes.saturating_add(shards.bytes(walk));
                }
                bytes = bytes.saturating_add(self.sending);
            }
        }
        bytes
    }
}

/// Decoded chunks of one view that are held for later leaves.
fn shared(patches: &[Loop], leaves: &[Loop], walk: Held<'_>) -> u64 {
    // Within a patch, leaves are in C order.
    let mut in_patch = 0u64;
    let mut inner = 1u64;
    for l in leaves.iter().rev() {
        in_patch = l.pieces.iter().map(|&(s, w)| s * inner + if w > 0 { in_patch } else { 0 }).max().unwrap_or(0);
        inner = inner.saturating_mul(l.all);
    }
    let mut held = in_patch;
    for (k, &d) in walk.order.iter().enumerate().rev() {
        let inside = walk.order[k + 1..].iter().map(|&j| patches[j].all).fold(1, u64::saturating_mul);
        let outside = walk.order[..k].iter().map(|&j| patches[j].most).fold(1, u64::saturating_mul);
        let across = inside.saturating_mul(outside);
        held = patches[d]
            .pieces
            .iter()
            .map(|&(s, w)| s.saturating_mul(across).saturating_add(if w > 0 { held } else { 0 }))
            .max()
            .unwrap_or(0);
    }
    // Threads that take patches have a patch each in work.
    let more = if walk.sharing == Sharing::Patches { walk.threads as u64 - 1 } else { 0 };
    held.saturating_add(in_patch.saturating_mul(more))
}

/// Output chunks of one array that are partly filled.
fn frontier(loops: &[Option<Loop>], walk: Held<'_>) -> u64 {
    let mut held = 0u64;
    let mut inner = 1u64;
    let mut touched = 1u64;
    for l in walk.order.iter().rev().filter_map(|&d| loops[d].as_ref()) {
        held = l
            .pieces
            .iter()
            .map(|&(s, w)| s.saturating_mul(inner).saturating_add(w.saturating_mul(held)))
            .max()
            .unwrap_or(0);
        inner = inner.saturating_mul(l.all);
        touched = touched.saturating_mul(l.most);
    }
    if held == 0 {
        return 0;
    }
    let others = if walk.sharing == Sharing::Patches { walk.threads as u64 - 1 } else { 0 };
    held.saturating_add(touched.saturating_mul(others)).min(inner)
}

/// The patches of a dimension, and the chunks of an array along it (`None`: the array lacks it).
fn patch_loop(parts: &[Cow<'_, WalkDim>], chunks: Option<&ChunkSizes>) -> Loop {
    let mut l = Loop { pieces: Vec::new(), all: 0, most: 0, patches: 0 };
    for dim in parts {
        let patches = dim.patch_count();
        let Some(sizes) = chunks else {
            l.add(if patches > 1 { (1, 0) } else { (0, 1) }, 1);
            continue;
        };
        let touched = dim.chunks_touched(sizes);
        if let Indices::List(_) = dim.indices {
            let again = dim.cuts.count() > touched && patches > 1;
            l.add(if again { (touched, 0) } else { (0, 1) }, touched);
            continue;
        }
        let chunk = |interval: u64| sizes.locate(dim.indices.at(dim.cuts.start(interval))).0;
        if matches!(dim.role, Role::Reduce | Role::Cycle { .. }) {
            l.add((0, touched), touched);
            continue;
        }
        if patches == dim.cuts.count() && touched == patches {
            // Every patch is a chunk of its own.
            l.add((0, 1), touched);
            continue;
        }
        for p in 0..patches {
            let (a, b) = dim.patch_intervals(p);
            if a == b {
                continue;
            }
            let (first, last) = (chunk(a), chunk(b - 1));
            let before = a > 0 && chunk(a - 1) == first;
            let after = b < dim.cuts.count() && chunk(b) == last;
            let count = last - first + 1;
            let across = match count {
                1 => u64::from(before || after),
                _ => u64::from(before) + u64::from(after),
            };
            l.add((across, count - across), touched);
        }
    }
    l
}

/// The intervals of one patch of a dimension, and the chunks of an array along it.
fn leaf_loop(parts: &[Cow<'_, WalkDim>], chunks: Option<&ChunkSizes>) -> Loop {
    let mut l = Loop { pieces: Vec::new(), all: 0, most: 0, patches: 0 };
    for dim in parts {
        let intervals = dim.most_intervals();
        match chunks {
            None => l.add(if intervals > 1 { (1, 0) } else { (0, 1) }, 1),
            Some(sizes) => {
                let touched = dim.chunks_touched(sizes);
                let again = dim.cuts.count() > touched && intervals > 1;
                l.add(if again { (1, 0) } else { (0, 1) }, touched.min(intervals));
            }
        }
    }
    l
}

impl Loop {
    fn add(&mut self, piece: (u64, u64), all: u64) {
        if !self.pieces.contains(&piece) {
            self.pieces.push(piece);
        }
        self.all = self.all.max(all);
        self.most = self.most.max(piece.0 + piece.1);
    }
}

/// The loops over the pieces of `sizes` cells that an output array is made of, by dimension of the stage.
fn output_loops(stage: &Stage, parts: &[Vec<Cow<'_, WalkDim>>], sizes: &[u64]) -> Vec<Option<Loop>> {
    let mut axis = sizes.iter();
    let loops = |(d, part): (&WalkDim, &Vec<Cow<'_, WalkDim>>)| match d.is_output() {
        true => axis.next().map(|&size| output_loop(part, size)),
        false => None,
    };
    stage.dims.iter().zip(parts).map(loops).collect()
}

/// Patches of a dimension among which are all the ways in which its patches lie to chunks of `size` cells.
///
/// Between the first and the last, even patches lie to the chunks as one of the first few does: of 10⁷ patches, few are
/// looked at.
fn unlike_patches(dim: &WalkDim, size: u64) -> impl Iterator<Item = u64> {
    let patches = dim.patch_count();
    let first = match (&dim.role, &dim.cuts) {
        (Role::Keep, Cuts::Even { size: step, .. }) => (size / gcd(size, *step) + 1).min(patches),
        _ => patches,
    };
    (0..first).chain((first < patches).then(|| patches - 1))
}

/// The patches of a dimension, and the chunks of `size` cells that they fill.
fn output_loop(parts: &[Cow<'_, WalkDim>], size: u64) -> Loop {
    let mut l = Loop { pieces: Vec::new(), all: 0, most: 0, patches: 0 };
    for dim in parts {
        let len = dim.output_len();
        let all = len.div_ceil(size);
        l.patches = l.patches.max(dim.patch_count());
        for p in unlike_patches(dim, size) {
            let (a, b) = dim.patch_output(p);
            if a == b {
                continue;
            }
            let (first, last) = (a / size, (b - 1) / size);
            let starts = a % size == 0;
            let ends = b % size == 0 || b == len;
            let count = last - first + 1;
            let across = match count {
                1 => u64::from(!(starts && ends)),
                _ => u64::from(!starts) + u64::from(!ends),
            };
            l.add((across, count - across), all);
        }
    }
    l
}

/// The shards of one output array. Inner chunks are stored in C order: those that come before their turn wait.
#[derive(Debug)]
struct Shards {
    loops: Vec<Option<Loop>>,
    /// Bytes of an inner chunk, encoded as badly as can be.
    chunk: u64,
    /// Inner chunks of a shard, and most that one patch touches.
    inner: u64,
    patch: u64,
    /// Inner chunks that wait in a shard while it is swept in C order.
    slab: u64,
    /// What one open shard keeps beside them; `None` where it is kept whole.
    open: Option<u64>,
}

impl Shards {
    fn of(stage: &Stage, parts: &[Vec<Cow<'_, WalkDim>>], array: &OutputArray) -> Option<Shards> {
        let shape = array.shards.as_ref()?;
        let per: Vec<u64> = shape.iter().zip(&array.chunks).map(|(s, c)| (s / c).max(1)).collect();
        let inner = per.iter().fold(1u64, |a, &b| a.saturating_mul(b));
        let chunk = bytes_of(&array.chunks, array);
        let mut slab = 0;
        let mut patch = 1u64;
        // From the innermost dimension: whether patches cut it, and inner chunks of a shard within it.
        let (mut cut, mut within) = (false, 1u64);
        let dims: Vec<usize> = stage.output_dims().collect();
        for ((&d, &size), per) in dims.iter().zip(&array.chunks).zip(&per).rev() {
            let mut most = 0;
            for dim in &parts[d] {
                let len = dim.output_len();
                // Chunks that end at or before a cell.
                let ended = |to: u64| if to == len { len.div_ceil(size) } else { to / size };
                for p in 0..dim.patch_count() {
                    let (a, b) = dim.patch_output(p);
                    most = most.max(ended(b).saturating_sub(ended(a)));
                }
            }
            if cut && most > 1 {
                slab = most.min(*per).saturating_mul(within);
            }
            patch = patch.saturating_mul(most.max(1));
            cut |= parts[d].iter().any(|dim| dim.patch_count() > 1);
            within = within.saturating_mul(*per);
        }
        let open = array.writer_bytes.map(|bytes| bytes.saturating_add(inner.saturating_mul(INDEX_ENTRY)));
        let chunk = chunk.saturating_add(chunk / 64 + 4096);
        Some(Shards { loops: output_loops(stage, parts, shape), chunk, inner, patch, slab, open })
    }

    fn bytes(&self, walk: Held<'_>) -> u64 {
        let loops = || walk.order.iter().filter_map(|&d| self.loops[d].as_ref().map(|l| (d, l)));
        let product = |f: &dyn Fn(&Loop) -> u64| loops().map(|(_, l)| f(l)).fold(1, u64::saturating_mul);
        let touched = product(&|l| l.most);
        let ahead = AHEAD * walk.threads as u64;
        let open = frontier(&self.loops, walk).saturating_add(touched.saturating_mul(ahead)).min(product(&|l| l.all));
        let whole = open.saturating_mul(self.inner.saturating_mul(self.chunk).saturating_add(self.inner * INDEX_ENTRY));
        let Some(own) = self.open else { return whole };
        let swept: Vec<usize> = loops().filter(|(_, l)| l.patches > 1).map(|(d, _)| d).collect();
        if !swept.is_sorted() {
            return whole;
        }
        let waiting = self.slab.saturating_mul(touched).saturating_add(self.patch.saturating_mul(ahead));
        open.saturating_mul(own).saturating_add(waiting.saturating_mul(self.chunk)).min(whole)
    }
}

fn bytes_of(sizes: &[u64], array: &OutputArray) -> u64 {
    sizes.iter().fold(array.cell_bytes, |a, &b| a.saturating_mul(b))
}

/// Bytes of the states of a patch of `cells` cells.
fn state_bytes(stage: &Stage, cells: u64) -> u64 {
    let most = stage.most_per_cell();
    let mut bytes = 0u64;
    for f in &stage.folded {
        for kind in states_for(&f.statistics, f.element, f.packing).0 {
            let one = State::bytes_per_cell(kind, f.element, most);
            let exact = State::empty(kind, f.element, 0, most).is_associative();
            let copies = if exact || kind == StateKind::Series { 1 } else { 3 + tree_depth(stage) };
            bytes = bytes.saturating_add(one.saturating_mul(cells).saturating_mul(copies));
        }
    }
    bytes
}

/// Bytes of the series of one cell while it is sorted.
fn sorted_bytes(stage: &Stage) -> u64 {
    let sorted = |f: &&Folded| f.statistics.contains(&Statistic::Median);
    let size = stage.folded.iter().filter(sorted).map(|f| f.element.size() as u64).max();
    size.map_or(0, |size| stage.most_per_cell().saturating_mul(size))
}

fn tree_depth(stage: &Stage) -> u64 {
    let Some(i) = stage.outermost_folded() else { return 0 };
    let segments = (stage.dims[i].cuts.count() >> super::SEGMENT) + 1;
    u64::from(u64::BITS - segments.leading_zeros())
}

/// Bytes of a leaf while it is read and folded: its chunks, encoded and decoded, and its columns.
fn leaf_bytes(stage: &Stage, cells: u64) -> u64 {
    let mut bytes = 0u64;
    let mut seen: Vec<(usize, Vec<Option<u64>>)> = Vec::new();
    for view in &stage.inputs {
        let array = &stage.arrays[view.array];
        let picks = view.axes.iter().zip(&array.chunks).map(|(axis, c)| match axis {
            Axis::Pick(i) => Some(c.locate(*i).0),
            Axis::Walk(_) => None,
        });
        let key = (view.array, picks.collect());
        if seen.contains(&key) {
            continue;
        }
        seen.push(key);
        let size = array.view.map_or(1, |d| d.size() as u64);
        let chunk = array.chunks.iter().map(ChunkSizes::longest).fold(size, u64::saturating_mul);
        bytes = bytes.saturating_add(chunk.saturating_mul(2));
        // A leaf that is a part of a chunk is gathered.
        bytes = bytes.saturating_add(cells.saturating_mul(size));
    }
    // Formulas hold all their inputs at once, as stored; a fold holds a mask.
    let stored = |&i: &usize| stage.arrays[stage.inputs[i].array].view.map_or(8, |d| d.size() as u64);
    let inputs: u64 = stage.formula_inputs.iter().map(stored).sum();
    let outputs = stage.formulas.as_ref().map_or(0, |f| f.outputs.len()) as u64;
    bytes.saturating_add(cells.saturating_mul(inputs + 8 * outputs + 1))
}
