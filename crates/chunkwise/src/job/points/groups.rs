//! Which points are read together.

use super::PointAt;
use crate::job::Prepared;
use chunkwise_core::cube::ChunkSizes;
use chunkwise_core::plan::Axis;
use std::collections::HashMap;

/// Points that share chunks.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) kind: usize,
    pub(super) points: Vec<usize>,
    /// The cells of all of them along each dimension, in order.
    pub(super) cells: Vec<(String, Vec<u64>)>,
}

/// Groups of points of which none shares a chunk with another.
pub(super) fn sharing(points: &[PointAt], places: &[(usize, usize)], kinds: &[&Prepared]) -> Vec<Group> {
    let mut sets = Sets((0..points.len()).collect());
    // The first point of each chunk of each array.
    let mut first: HashMap<(usize, usize, usize, Vec<u64>), usize> = HashMap::new();
    for (n, (point, place)) in points.iter().zip(places).enumerate() {
        for (s, stage) in kinds[place.0].results().enumerate() {
            for view in &stage.inputs {
                let chunk = view.axes.iter().zip(&stage.arrays[view.array].chunks).filter_map(|(axis, chunks)| {
                    let Axis::Walk(d) = axis else { return None };
                    let (_, cell) = point.iter().find(|(dim, _)| *dim == stage.dims[*d].name)?;
                    Some(chunk_of(chunks, *cell))
                });
                let key = (place.0, s, view.array, chunk.collect());
                let with = *first.entry(key).or_insert(n);
                sets.join(with, n);
            }
        }
    }
    let mut groups: Vec<Group> = Vec::new();
    let mut of: HashMap<usize, usize> = HashMap::new();
    for (n, place) in places.iter().enumerate() {
        let group = *of.entry(sets.root(n)).or_insert_with(|| {
            groups.push(Group { kind: place.0, points: Vec::new(), cells: Vec::new() });
            groups.len() - 1
        });
        groups[group].points.push(n);
    }
    for group in &mut groups {
        for (dim, _) in &points[group.points[0]] {
            let along = |&n: &usize| points[n].iter().find(|(d, _)| d == dim).map(|(_, cell)| *cell);
            let mut cells: Vec<u64> = group.points.iter().filter_map(along).collect();
            cells.sort_unstable();
            cells.dedup();
            group.cells.push((dim.clone(), cells));
        }
    }
    groups
}

fn chunk_of(chunks: &ChunkSizes, cell: u64) -> u64 {
    match chunks {
        ChunkSizes::Regular(n) => cell / (*n).max(1),
        ChunkSizes::Listed(sizes) => {
            let mut end = 0;
            sizes
                .iter()
                .take_while(|&&n| {
                    end += n;
                    end <= cell
                })
                .count() as u64
        }
    }
}

/// Disjoint sets, each known by its least member.
struct Sets(Vec<usize>);

impl Sets {
    fn root(&mut self, n: usize) -> usize {
        let mut at = n;
        while self.0[at] != at {
            self.0[at] = self.0[self.0[at]];
            at = self.0[at];
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}
