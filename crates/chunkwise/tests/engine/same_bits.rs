//! A request gives the same bits on any threads, in any budget, and in any partitions.

use crate::fixture::{bits, in_memory, planned, prepared, reduce, run, schedules, stage};
use chunkwise::exec::{Counters, RunOptions, finish, run_partition};
use chunkwise::job::{Prepared, Request};
use chunkwise::open::OpenCube;
use chunkwise::sink::memory::MemorySink;
use chunkwise_core::cube::Packing;
use chunkwise_core::plan::Stage;
use chunkwise_core::plan::partition::Partition;
use chunkwise_core::stat::Statistic;
use chunkwise_core::stat::tree::Node;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::LazyLock;

const SHAPE: [u64; 4] = [41, 3, 101, 97];

fn over_time() -> Request {
    reduce(&["time"], &[Statistic::Mean, Statistic::Std, Statistic::Median])
}

fn by_band() -> Request {
    use Statistic::{Count, Max, Mean, Min, Missing, Std};
    reduce(&["time", "y", "x"], &[Count, Missing, Min, Max, Mean, Std])
}

/// Runs a request on 1, 2 and 8 threads in three budgets each; how many schedules differ.
fn check(cube: &OpenCube, request: &Request) -> BTreeSet<(usize, u64, usize)> {
    let prepared = prepared(cube, request);
    let mut seen = BTreeSet::new();
    let mut first = None;
    for threads in [1, 2, 8] {
        for schedule in schedules(&prepared, threads) {
            seen.insert((schedule.threads, schedule.tile_count(), schedule.window));
            let found = run(cube, &prepared, &planned(schedule), &Counters::default());
            assert!(found.iter().flatten().any(Option::is_some));
            assert_eq!(first.get_or_insert_with(|| found.clone()), &found, "{threads} threads");
        }
    }
    seen
}

#[test]
fn statistics_over_time_have_the_same_bits_on_any_threads_in_any_budget() {
    let seen = check(&in_memory(&SHAPE, &[7, 2, 33, 29]), &over_time());
    let threads: BTreeSet<usize> = seen.iter().map(|s| s.0).collect();
    assert!(threads.is_superset(&[1, 2, 8].into()), "{seen:?}");
    assert!(seen.iter().any(|s| s.1 > 1) && seen.iter().any(|s| s.1 == 1), "tiles differ: {seen:?}");
}

#[test]
fn statistics_by_band_have_the_same_bits_on_any_threads_in_any_budget() {
    let seen = check(&in_memory(&SHAPE, &[7, 2, 33, 29]), &by_band());
    let threads: BTreeSet<usize> = seen.iter().map(|s| s.0).collect();
    assert!(threads.is_superset(&[1, 2, 8].into()), "{seen:?}");
}

#[test]
fn a_formula_over_several_segments_has_the_same_bits_on_any_threads_in_any_budget() {
    let mut request = over_time();
    request.formulas = vec!["t = sqrt(abs(data)) * 0.1 + 1e3".to_owned()];
    check(&in_memory(&[41, 2, 20, 30], &[1, 2, 7, 30]), &request);
}

/// A cube of 41 chunks, three segments, through time.
static FINE: LazyLock<OpenCube> = LazyLock::new(|| in_memory(&SHAPE, &[1, 2, 60, 60]));

/// Runs partitions of `each` segments from a stage that was serialised, in an order that `seed` shuffles.
fn dealt_out(cube: &OpenCube, prepared: &Prepared, each: &[u64], seed: u64) -> crate::fixture::Bits {
    let text = serde_json::to_string(stage(prepared)).unwrap();
    let stage: Stage = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&stage).unwrap(), text, "a fill value of NaN equals nothing");
    let mut parts: Vec<(Partition, Vec<u8>)> = Vec::new();
    for (p, whole) in stage.partitions(u64::MAX).enumerate() {
        // Every patch is dealt out in its own way.
        let (mut from, to) = whole.segments;
        let mut k = p;
        while from < to {
            let end = (from + each[k % each.len()]).min(to);
            parts.push((Partition { patch: whole.patch.clone(), segments: (from, end) }, Vec::new()));
            (from, k) = (end, k + 1);
        }
    }
    parts.sort_by_key(|(p, _)| crate::fixture::hash(&[seed, p.segments.0, p.patch[0], p.patch[1], p.patch[2]]));
    let options = RunOptions::default();
    for (partition, nodes) in &mut parts {
        let text = serde_json::to_string(partition).unwrap();
        let partition: Partition = serde_json::from_str(&text).unwrap();
        let found = run_partition(&stage, &partition, &cube.store, &Counters::default(), &options).unwrap();
        *nodes = postcard::to_stdvec(&found).unwrap();
    }
    let sink = MemorySink::new(&stage);
    for whole in stage.partitions(u64::MAX) {
        let of_patch = parts.iter().filter(|(p, _)| p.patch == whole.patch);
        let nodes = of_patch.flat_map(|(_, n)| postcard::from_bytes::<Vec<Node>>(n).unwrap()).collect();
        finish(&stage, &whole.patch, nodes, &sink, &options).unwrap();
    }
    bits(&sink.into_columns())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn partitions_dealt_out_in_any_way_have_the_same_bits(
        each in proptest::collection::vec(1u64..4, 1..5),
        seed in any::<u64>(),
    ) {
        for request in [over_time(), by_band()] {
            let prepared = prepared(&FINE, &request);
            let [.., large] = schedules(&prepared, 2);
            let whole = run(&FINE, &prepared, &planned(large), &Counters::default());
            prop_assert!(dealt_out(&FINE, &prepared, &each, seed) == whole, "each {:?}", each);
        }
    }
}

#[test]
fn packing_in_a_serialised_plan_keeps_its_bits() {
    for i in 0..10_000 {
        let bits = crate::fixture::hash(&[i]) >> 2;
        let packing = Packing { scale: f64::from_bits(bits), offset: 1.0 / (i + 3) as f64 };
        let text = serde_json::to_string(&packing).unwrap();
        assert_eq!(serde_json::from_str::<Packing>(&text).unwrap(), packing, "{text}");
    }
}

#[test]
fn a_plan_of_another_format_is_refused() {
    let prepared = prepared(&FINE, &over_time());
    let mut stage = stage(&prepared).clone();
    stage.format += 1;
    let partition = stage.partitions(1).next().unwrap();
    let run = run_partition(&stage, &partition, &FINE.store, &Counters::default(), &RunOptions::default());
    assert_eq!(run.unwrap_err().to_string(), "the plan is of format 2; this version runs format 1");
}
