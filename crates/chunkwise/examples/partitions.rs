//! A plan as a value: its partitions run by workers that share nothing but the cube, and their states are merged here.
//!
//! `cargo run --example partitions -- reflectance.zarr`. The workers are threads here, and could be machines: they are
//! given text, and give bytes back.

#![allow(clippy::print_stdout, reason = "an example prints what it did")]

use chunkwise::exec::{finish, run_partition};
use chunkwise::sink::memory::MemorySink;
use chunkwise::{Counters, Node, Partition, Request, RunOptions, Stage, Statistic, open, prepare};
use std::error::Error;

/// What a worker does with a stage and a partition.
fn work(location: &str, stage: &str, partition: &str) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
    let (stage, partition): (Stage, Partition) = (serde_json::from_str(stage)?, serde_json::from_str(partition)?);
    let store = open(location)?.store;
    let nodes = run_partition(&stage, &partition, &store, &Counters::default(), &RunOptions::default())?;
    // States hold floats of every kind: a binary format keeps their bits, JSON has no NaN.
    Ok(postcard::to_stdvec(&nodes)?)
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let location = std::env::args().nth(1).ok_or("usage: partitions CUBE.zarr")?;
    let cube = open(&location)?;
    let prepared = prepare(&cube, &Request::reduce(&["time"], &[Statistic::Mean, Statistic::Std]))?;
    for stage in prepared.results() {
        let text = serde_json::to_string(stage)?;
        let sink = MemorySink::new(stage);
        for patch in stage.partitions(u64::MAX) {
            // One segment for each worker; the states come back in any order.
            let parts: Vec<Partition> = stage.partitions(1).filter(|p| p.patch == patch.patch).collect();
            let states = std::thread::scope(|scope| {
                let spawn = |p| {
                    Ok(scope.spawn({
                        let (part, location, text) = (serde_json::to_string(p)?, &location, &text);
                        move || work(location, text, &part)
                    }))
                };
                let workers = parts.iter().map(spawn).collect::<Result<Vec<_>, serde_json::Error>>()?;
                workers.into_iter().map(|w| w.join().map_err(|_| "a worker panicked")?).collect::<Result<Vec<_>, _>>()
            })?;
            let mut nodes: Vec<Node> = Vec::new();
            for bytes in &states {
                nodes.extend(postcard::from_bytes::<Vec<Node>>(bytes)?);
            }
            finish(stage, &patch.patch, nodes, &sink, &RunOptions::default())?;
        }
        let columns = sink.into_columns();
        for (folded, columns) in stage.folded.iter().zip(&columns) {
            let first: Vec<f64> = columns.iter().map(|c| c.values.f64_at(0)).collect();
            println!("{}: mean and standard deviation of the first cell {first:?}", folded.name);
        }
    }
    Ok(())
}
