use super::*;
use crate::grid::Role;
use crate::plan::schedule::tests::{stage, variable};
use crate::stat::Statistic;
use std::collections::{HashMap, HashSet};

/// What leaves need, listed one by one.
fn listed(stage: &Stage) -> HashMap<(usize, Vec<u64>), u64> {
    let all: Vec<(u64, u64)> = stage.dims.iter().map(|d| (0, d.cuts.count())).collect();
    let mut uses = HashMap::new();
    for l in 0..stage.leaf_count(&all) {
        let leaf = stage.leaf_at(&all, l);
        let here: HashSet<_> = stage.inputs.iter().map(|v| (v.array, stage.chunk_of(v, &leaf))).collect();
        for key in here {
            *uses.entry(key).or_insert(0) += 1;
        }
    }
    uses
}

fn views() -> Vec<(&'static str, Stage)> {
    let cube = || variable("v", &["band", "y", "x"], &[4, 100, 90], &[2, 30, 40]);
    let keep = |y: (u64, u64)| vec![(0, 4, Role::Keep), (y.0, y.1, Role::Keep), (5, 77, Role::Reduce)];
    let mut all = vec![("plain", stage(cube(), keep((10, 95)), Statistic::Mean))];
    let mut windows = stage(cube(), keep((10, 95)), Statistic::Mean);
    windows.dims[1] =
        WalkDim::new("y", windows.dims[1].indices.clone(), Role::Blocks { size: 7 }, &[&ChunkSizes::Regular(30)]);
    all.push(("windows", windows));
    let mut picked = stage(cube(), keep((0, 100)), Statistic::Mean);
    for pick in [0, 1, 3] {
        picked.inputs.push(InputView { array: 0, axes: vec![Axis::Pick(pick), Axis::Walk(1), Axis::Walk(2)] });
    }
    all.push(("picked beside walked", picked.clone()));
    picked.inputs.remove(0);
    picked.inputs.push(InputView { array: 0, axes: vec![Axis::Pick(1), Axis::Pick(50), Axis::Walk(2)] });
    all.push(("picked", picked));
    let mut broadcast = stage(cube(), keep((3, 99)), Statistic::Mean);
    broadcast.arrays.push(variable("dem", &["y", "x"], &[100, 90], &[64, 64]));
    broadcast.inputs.push(InputView { array: 1, axes: vec![Axis::Walk(1), Axis::Walk(2)] });
    for (d, grids) in [(1, [30, 64]), (2, [40, 64])] {
        let grids = grids.map(ChunkSizes::Regular);
        let dim = &broadcast.dims[d];
        broadcast.dims[d] = WalkDim::new(&dim.name, dim.indices.clone(), dim.role.clone(), &[&grids[0], &grids[1]]);
    }
    all.push(("broadcast", broadcast));
    let mut list = stage(cube(), keep((0, 100)), Statistic::Mean);
    list.dims[1] = WalkDim::new("y", Indices::List(vec![95, 2, 3, 40, 1, 41]), Role::Keep, &[&ChunkSizes::Regular(30)]);
    all.push(("list", list));
    all
}

#[test]
fn chunks_are_counted_as_if_they_were_listed() {
    for (name, stage) in views() {
        let listed = listed(&stage);
        assert_eq!(stage.cost().chunks, listed.len() as u64, "{name}");
        let cells: u64 = listed
            .keys()
            .map(|(a, c)| stage.arrays[*a].chunks.iter().zip(c).map(|(s, &c)| s.length(c)).product::<u64>())
            .sum();
        assert_eq!(stage.cost().decoded_bytes, 2 * cells, "{name}");
    }
}

#[test]
fn uses_are_counted_as_if_leaves_were_listed() {
    for (name, stage) in views() {
        let uses = Uses::new(&stage);
        for ((array, chunk), n) in listed(&stage) {
            assert_eq!(uses.of(&stage, array, &chunk), n, "{name}, array {array}, chunk {chunk:?}");
        }
    }
}

#[test]
fn the_index_of_each_shard_is_a_request() {
    let mut v = variable("v", &["y", "x"], &[100, 100], &[10, 10]);
    v.shards = Some(vec![ChunkSizes::Regular(50), ChunkSizes::Regular(20)]);
    let s = stage(v, vec![(45, 61, Role::Keep), (0, 100, Role::Reduce)], Statistic::Mean);
    assert_eq!((s.cost().chunks, s.cost().requests), (30, 40));
}
