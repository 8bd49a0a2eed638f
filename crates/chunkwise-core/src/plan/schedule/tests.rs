use super::*;
use crate::cube::{Attrs, ChunkSizes, DataType, Encoding, Missing, Packing, Role as VariableRole, Variable};
use crate::dtype::DType;
use crate::grid::{Indices, WalkDim};
use crate::plan::{FORMAT, Folded, From, InputView};
use crate::stat::Statistic;

pub(crate) fn variable(name: &str, dims: &[&str], shape: &[u64], chunks: &[u64]) -> Variable {
    Variable {
        name: name.to_owned(),
        path: name.to_owned(),
        dims: dims.iter().map(|d| (*d).to_owned()).collect(),
        shape: shape.to_vec(),
        dtype: DataType::Number(DType::UInt16),
        view: Some(DType::UInt16),
        chunks: chunks.iter().map(|&n| ChunkSizes::Regular(n)).collect(),
        shards: None,
        fill_value: None,
        packing: Packing::NONE,
        missing: Missing::default(),
        valid: None,
        attrs: Attrs::new(),
        codecs: String::new(),
        encoding: Encoding::default(),
        zarr_format: 3,
        role: VariableRole::Data,
        problem: None,
    }
}

/// A stage over one variable, a range and a role for each dimension.
pub(crate) fn stage(array: Variable, dims: Vec<(u64, u64, Role)>, statistic: Statistic) -> Stage {
    let walk = dims
        .into_iter()
        .enumerate()
        .map(|(i, (start, end, role))| {
            let indices = Indices::Range { start, step: 1, count: end - start };
            WalkDim::new(&array.dims[i], indices, role, &[&array.chunks[i]])
        })
        .collect();
    let axes = (0..array.dims.len()).map(Axis::Walk).collect();
    Stage {
        format: FORMAT,
        segments: None,
        dims: walk,
        inputs: vec![InputView { array: 0, axes }],
        formulas: None,
        formula_inputs: Vec::new(),
        mask: None,
        folded: vec![Folded {
            name: array.name.clone(),
            from: From::Input(0),
            element: DType::UInt16,
            packing: Packing::NONE,
            statistics: vec![statistic],
        }],
        arrays: vec![array],
    }
}

fn cube() -> Variable {
    variable("v", &["time", "y", "x"], &[120, 2000, 2000], &[1, 250, 250])
}

fn allowed(mib: u64, threads: usize) -> Allowance {
    Allowance { bytes: mib << 20, threads, redecode: Redecode::Bounded, fetch: Fetch::Inline }
}

fn into(chunks: &[u64]) -> Target {
    Target::Arrays(vec![OutputArray {
        chunks: chunks.to_vec(),
        shards: None,
        cell_bytes: 4,
        writer_bytes: Some(0),
        sending_bytes: 0,
    }])
}

#[test]
fn what_fits_is_swept_in_c_order_on_all_threads_in_one_tile() {
    let mean =
        stage(cube(), vec![(0, 120, Role::Reduce), (0, 2000, Role::Keep), (0, 2000, Role::Keep)], Statistic::Mean);
    let s = schedule(&[mean], &into(&[250, 250]), allowed(64, 2)).unwrap();
    assert_eq!((s.threads, s.tile_count(), s.amplification), (2, 1, 1.0));
    assert_eq!(s.walks, [Walk { order: vec![0, 1, 2], sharing: Sharing::Patches }]);
}

#[test]
fn an_output_of_other_chunks_is_swept_so_that_its_frontier_is_small() {
    // Chunks of whole series: with time slowest all of the output would be open.
    let copy = stage(cube(), vec![(0, 120, Role::Keep), (10, 910, Role::Keep), (7, 911, Role::Keep)], Statistic::Value);
    let s = schedule(&[copy], &into(&[120, 100, 100]), allowed(256, 2)).unwrap();
    assert_ne!(s.walks[0].order[0], 0, "time must not be slowest: {s:?}");
    assert_eq!((s.tile_count(), s.amplification), (1, 1.0));
    assert!(s.bytes < 256 << 20);
}

#[test]
fn what_does_not_fit_is_cut_where_source_and_output_chunks_both_end() {
    let copy =
        stage(cube(), vec![(0, 120, Role::Keep), (0, 2000, Role::Keep), (0, 2000, Role::Keep)], Statistic::Value);
    let s = schedule(&[copy], &into(&[120, 100, 100]), allowed(128, 1)).unwrap();
    assert!(s.tile_count() > 1);
    assert_eq!(s.amplification, 1.0, "500 is a border of chunks of 100 and of 250: {s:?}");
    assert!(s.tiles.iter().flatten().all(|t| t.1 % 500 == 0 || t.1 == 120));
}

#[test]
fn amplification_is_what_the_tiles_decode() {
    let copy = stage(cube(), vec![(0, 120, Role::Keep), (10, 910, Role::Keep), (7, 911, Role::Keep)], Statistic::Value);
    let s = schedule(std::slice::from_ref(&copy), &into(&[120, 100, 100]), allowed(40, 1)).unwrap();
    let decoded: u64 = (0..s.tile_count()).map(|t| copy.tile(&s.tile(t)).cost().chunks).sum();
    assert!(s.tile_count() > 1);
    assert!((s.amplification - decoded as f64 / copy.cost().chunks as f64).abs() < 1e-12);
    assert!(s.amplification <= MOST_AMPLIFICATION);
}

#[test]
fn the_tiles_of_a_stage_cover_its_output_once() {
    let copy = stage(cube(), vec![(0, 7, Role::Keep), (10, 910, Role::Keep), (7, 911, Role::Keep)], Statistic::Value);
    let whole: Vec<Cut> = copy.dims.iter().map(|d| vec![(0, d.len())]).collect();
    for tiles in tilings(std::slice::from_ref(&copy), &copy, &whole, &into(&[7, 33, 100])) {
        for (d, t) in tiles.iter().enumerate() {
            assert_eq!((t[0].0, t[t.len() - 1].1), (0, copy.dims[d].len()));
            assert!(t.windows(2).all(|w| w[0].1 == w[1].0 && w[0].0 < w[0].1));
        }
    }
}

#[test]
fn the_budget_of_a_refusal_works_and_one_byte_less_does_not() {
    let median =
        stage(cube(), vec![(0, 120, Role::Reduce), (0, 2000, Role::Keep), (0, 2000, Role::Keep)], Statistic::Median);
    let needed = schedule(std::slice::from_ref(&median), &into(&[250, 250]), allowed(1, 2)).unwrap_err();
    let bytes = |bytes| Allowance { bytes, threads: 2, redecode: Redecode::Bounded, fetch: Fetch::Inline };
    assert!(schedule(std::slice::from_ref(&median), &into(&[250, 250]), bytes(needed)).unwrap().bytes <= needed);
    assert_eq!(schedule(&[median], &into(&[250, 250]), bytes(needed - 1)).unwrap_err(), needed);
}

#[test]
fn an_anomaly_is_tiled_so_that_its_groups_fit() {
    let keep = || vec![(0, 2000, Role::Keep), (0, 2000, Role::Keep)];
    let group = Role::Cycle { group: (0..120).map(|t| t % 12).collect(), count: 12 };
    let first = stage(cube(), [vec![(0, 120, group)], keep()].concat(), Statistic::Mean);
    let second = stage(cube(), [vec![(0, 120, Role::Keep)], keep()].concat(), Statistic::Value);
    let s = schedule(&[first, second], &into(&[1, 250, 250]), allowed(128, 2)).unwrap();
    assert!(s.tile_count() > 1);
    assert_eq!((s.tiles[0].len(), s.amplification), (1, 1.0));
}

#[test]
fn what_is_fetched_ahead_is_planned_as_the_stream_that_it_is_run_as() {
    let calc =
        stage(cube(), vec![(0, 120, Role::Keep), (0, 2000, Role::Keep), (0, 2000, Role::Keep)], Statistic::Value);
    let mean =
        stage(cube(), vec![(0, 120, Role::Reduce), (0, 2000, Role::Keep), (0, 2000, Role::Keep)], Statistic::Mean);
    for stage in [calc, mean] {
        for threads in [1, 2, 8] {
            let chain = [stage.clone()];
            let way = |fetch| {
                let found =
                    schedule(&chain, &into(&[1, 250, 250]), Allowance { fetch, ..allowed(1024, threads) }).unwrap();
                found.walks[0].sharing
            };
            assert_eq!(way(Fetch::Inline), Sharing::Patches);
            assert_eq!(way(Fetch::Ahead), Sharing::Leaves);
        }
    }
}

#[test]
fn long_dimensions_are_planned_from_a_few_of_their_patches() {
    // Ten million chunks along one dimension, against output chunks that they straddle in seven ways.
    let cells = 10_000_000;
    let long = |cells: u64| {
        let array = variable("v", &["time"], &[cells], &[4]);
        stage(array, vec![(3, cells - 3, Role::Keep)], Statistic::Value)
    };
    let began = std::time::Instant::now();
    let bytes = |cells| schedule(&[long(cells)], &into(&[7]), allowed(1024, 2)).unwrap().bytes;
    assert_eq!(bytes(4 * cells), bytes(4000), "what is held at a time does not grow");
    assert!(schedule(&[long(4 * cells)], &into(&[7]), allowed(0, 2)).is_err());
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}
