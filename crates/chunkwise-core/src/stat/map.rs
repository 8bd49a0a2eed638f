//! Which output cell each element of a leaf folds into, as runs that a kernel takes whole.

/// One dimension of a leaf, outermost first.
#[derive(Clone, Debug, PartialEq)]
pub struct MapDim {
    /// Elements along the dimension.
    pub len: usize,
    /// Where they go.
    pub to: To,
}

/// Where the elements along one dimension of a leaf go.
#[derive(Clone, Debug, PartialEq)]
pub enum To {
    /// Each to its own cell; neighbours lie `stride` cells apart.
    Keep {
        /// Cells between neighbours.
        stride: usize,
    },
    /// All to the same cell.
    One,
    /// Listed: the offset in cells of each, `None` where it is left out.
    Table(Vec<Option<usize>>),
}

/// How the elements of one run go to cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunKind {
    /// Element `i` to cell `cell + i`.
    Across,
    /// All to cell `cell`.
    Into,
}

/// Neighbouring elements that a kernel takes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First element, in C order of the leaf.
    pub offset: usize,
    /// First cell.
    pub cell: usize,
    /// Number of elements.
    pub len: usize,
    /// Across cells, or into one.
    pub kind: RunKind,
    /// Position of the first element along the dimension that is folded (0 if several are).
    pub position: u64,
}

/// The map from the elements of a leaf (C order) to the cells of its patch (C order).
#[derive(Clone, Debug, PartialEq)]
pub struct CellMap {
    outer: Vec<MapDim>,
    inner: Inner,
    /// Number of cells of the patch.
    pub cells: usize,
    /// Number of elements of the leaf.
    pub elements: usize,
    /// Whether no cell takes more than one element of this leaf.
    pub single: bool,
    /// Elements of this leaf that each cell takes, where all take as many.
    pub each: Option<u64>,
    /// The folded dimension among `outer` (`outer.len()` for the innermost), and the position of its first element.
    position: Option<(usize, u64)>,
    /// Where several dimensions are folded: where each element stands among the values of its cell.
    pub places: Option<Places>,
}

/// Where the elements of a leaf stand among the values of their cell, in C order of the folded dimensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// For each dimension of the leaf: its elements, the position of the first, and the distance of neighbours; both 0 along
    /// dimensions that are kept.
    pub dims: Vec<(usize, u64, u64)>,
}

impl Places {
    /// Place of element `offset` (C order of the leaf).
    pub fn of(&self, offset: usize) -> u64 {
        let mut rest = offset;
        let mut place = 0;
        for &(len, first, weight) in self.dims.iter().rev() {
            place += (first + (rest % len) as u64) * weight;
            rest /= len;
        }
        place
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Inner {
    kind: RunKind,
    /// (start, length, cell offset) of each run along the innermost dimension.
    runs: Vec<(usize, usize, usize)>,
    len: usize,
}

impl CellMap {
    /// A map over `dims` (outermost first) into `cells` cells. `first_position` is the position of the leaf's first element
    /// along the folded dimension.
    pub fn new(dims: &[MapDim], cells: usize, first_position: u64) -> CellMap {
        let elements = dims.iter().map(|d| d.len).product();
        let folded: Vec<usize> = (0..dims.len()).filter(|&i| !matches!(dims[i].to, To::Keep { .. })).collect();
        let single = dims.iter().all(|d| match &d.to {
            To::Keep { .. } => true,
            To::One => d.len <= 1,
            To::Table(t) => {
                let mut seen: Vec<usize> = t.iter().flatten().copied().collect();
                seen.sort_unstable();
                seen.windows(2).all(|w| w[0] != w[1])
            }
        });
        let kept: usize = dims.iter().filter(|d| matches!(d.to, To::Keep { .. })).map(|d| d.len).product();
        let listed = dims.iter().any(|d| matches!(d.to, To::Table(_)));
        let each = (!listed && kept == cells && cells > 0).then(|| (elements / cells) as u64);
        // Neighbouring dimensions become one where memory and cells both run on.
        let mut merged: Vec<MapDim> = Vec::new();
        for d in dims {
            let joined = match (merged.last(), d) {
                (
                    Some(MapDim { len: outer, to: To::Keep { stride: far } }),
                    MapDim { len, to: To::Keep { stride } },
                ) if *far == len * stride => Some(MapDim { len: outer * len, to: To::Keep { stride: *stride } }),
                (Some(MapDim { len: outer, to: To::One }), MapDim { len, to: To::One }) => {
                    Some(MapDim { len: outer * len, to: To::One })
                }
                _ => None,
            };
            match joined {
                Some(j) => {
                    merged.pop();
                    merged.push(j);
                }
                None => merged.push(d.clone()),
            }
        }
        let position = match folded.as_slice() {
            [_] => merged.iter().position(|d| !matches!(d.to, To::Keep { .. })).map(|i| (i, first_position)),
            _ => None,
        };
        let last = merged.pop().unwrap_or(MapDim { len: 1, to: To::One });
        let inner = match &last.to {
            To::Keep { stride: 1 } => Inner { kind: RunKind::Across, runs: vec![(0, last.len, 0)], len: last.len },
            To::Keep { stride } => Inner {
                kind: RunKind::Across,
                runs: (0..last.len).map(|i| (i, 1, i * stride)).collect(),
                len: last.len,
            },
            To::One => Inner { kind: RunKind::Into, runs: vec![(0, last.len, 0)], len: last.len },
            To::Table(table) => Inner { kind: RunKind::Into, runs: table_runs(table), len: last.len },
        };
        CellMap { outer: merged, inner, cells, elements, single, each, position, places: None }
    }

    /// Calls `each` with every run, in C order of the leaf.
    #[inline(always)]
    pub fn runs(&self, mut each: impl FnMut(Run)) {
        if self.elements == 0 {
            return;
        }
        let mut at = vec![0usize; self.outer.len()];
        let mut row = 0usize;
        'rows: loop {
            let mut cell = 0usize;
            let mut left_out = false;
            for (d, &i) in self.outer.iter().zip(&at) {
                match &d.to {
                    To::Keep { stride } => cell += i * stride,
                    To::One => {}
                    To::Table(t) => match t[i] {
                        Some(c) => cell += c,
                        None => left_out = true,
                    },
                }
            }
            if !left_out {
                let (axis, first) = self.position.unwrap_or((usize::MAX, 0));
                let base = first + at.get(axis).map_or(0, |&i| i as u64);
                for &(start, len, offset) in &self.inner.runs {
                    each(Run {
                        offset: row * self.inner.len + start,
                        cell: cell + offset,
                        len,
                        kind: self.inner.kind,
                        position: if axis == self.outer.len() { base + start as u64 } else { base },
                    });
                }
            }
            row += 1;
            for i in (0..at.len()).rev() {
                at[i] += 1;
                if at[i] < self.outer[i].len {
                    continue 'rows;
                }
                at[i] = 0;
            }
            break;
        }
    }
}

/// Runs of equal targets along a listed dimension.
fn table_runs(table: &[Option<usize>]) -> Vec<(usize, usize, usize)> {
    let mut runs: Vec<(usize, usize, usize)> = Vec::new();
    let mut i = 0;
    while i < table.len() {
        let mut end = i + 1;
        while end < table.len() && table[end] == table[i] {
            end += 1;
        }
        if let Some(cell) = table[i] {
            runs.push((i, end - i, cell));
        }
        i = end;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(len: usize, stride: usize) -> MapDim {
        MapDim { len, to: To::Keep { stride } }
    }
    fn one(len: usize) -> MapDim {
        MapDim { len, to: To::One }
    }
    fn runs(map: &CellMap) -> Vec<(usize, usize, usize, u64)> {
        let mut all = Vec::new();
        map.runs(|r| all.push((r.offset, r.cell, r.len, r.position)));
        all
    }

    #[test]
    fn a_mean_over_time_runs_across_all_cells_of_each_step() {
        let map = CellMap::new(&[one(2), keep(3, 20), keep(4, 5), keep(5, 1)], 60, 7);
        assert_eq!(runs(&map), [(0, 0, 60, 7), (60, 0, 60, 8)]);
        assert!(!map.single);
    }

    #[test]
    fn statistics_by_band_run_into_one_cell_per_band() {
        let map = CellMap::new(&[one(1), keep(2, 1), one(3), one(4)], 2, 0);
        assert_eq!(runs(&map), [(0, 0, 12, 0), (12, 1, 12, 0)]);
    }

    #[test]
    fn windows_of_the_innermost_dimension_are_runs() {
        let table = vec![Some(0), Some(0), None, Some(1), Some(1)];
        let map = CellMap::new(&[keep(2, 2), MapDim { len: 5, to: To::Table(table) }], 4, 10);
        assert_eq!(runs(&map), [(0, 0, 2, 10), (3, 1, 2, 13), (5, 2, 2, 10), (8, 3, 2, 13)]);
    }

    #[test]
    fn months_that_differ_are_single_even_though_the_dimension_folds() {
        let table = vec![Some(0), Some(6), Some(12)];
        let map = CellMap::new(&[MapDim { len: 3, to: To::Table(table) }, keep(6, 1)], 18, 0);
        assert!(map.single);
        assert_eq!(runs(&map)[2], (12, 12, 6, 2));
    }
}
