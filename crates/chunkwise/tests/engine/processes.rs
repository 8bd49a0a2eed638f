//! Every partition in a process of its own.

use crate::fixture::{Bits, bits, planned, prepared, ragged, reduce, run, schedules, stage};
use chunkwise::exec::{Counters, RunOptions, finish, run_partition};
use chunkwise::job::Request;
use chunkwise::open::{OpenCube, open};
use chunkwise::sink::memory::MemorySink;
use chunkwise::store::locate;
use chunkwise::write::Place;
use chunkwise_core::plan::Stage;
use chunkwise_core::plan::partition::Partition;
use chunkwise_core::stat::Statistic;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

/// Folder of the job, and number of the partition: set for workers alone.
const WORK: &str = "CHUNKWISE_TEST_PARTITION";

/// What a worker does; nothing where this process is none.
#[test]
fn partition_worker() {
    let Ok(work) = env::var(WORK) else { return };
    let (folder, number) = work.rsplit_once('|').unwrap();
    let folder = Path::new(folder);
    let stage: Stage = serde_json::from_slice(&fs::read(folder.join("stage.json")).unwrap()).unwrap();
    let text = fs::read(folder.join(format!("{number}.json"))).unwrap();
    let partition: Partition = serde_json::from_slice(&text).unwrap();
    let store = locate(folder.join("cube").to_str().unwrap()).unwrap().store;
    let nodes = run_partition(&stage, &partition, &store, &Counters::default(), &RunOptions::default()).unwrap();
    fs::write(folder.join(format!("{number}.nodes")), postcard::to_stdvec(&nodes).unwrap()).unwrap();
}

fn in_processes(folder: &Path, stage: &Stage) -> Bits {
    fs::write(folder.join("stage.json"), serde_json::to_vec(stage).unwrap()).unwrap();
    let partitions: Vec<Partition> = stage.partitions(1).collect();
    assert!(partitions.len() > stage.patch_count() as usize, "patches are dealt out too");
    for (number, partition) in partitions.iter().enumerate() {
        fs::write(folder.join(format!("{number}.json")), serde_json::to_vec(partition).unwrap()).unwrap();
    }
    for some in (0..partitions.len()).collect::<Vec<_>>().chunks(4) {
        let workers: Vec<_> = some
            .iter()
            .map(|number| {
                let mut command = Command::new(env::current_exe().unwrap());
                command.args(["--exact", "processes::partition_worker"]).stdout(Stdio::null());
                command.env(WORK, format!("{}|{number}", folder.display())).spawn().unwrap()
            })
            .collect();
        for mut worker in workers {
            assert!(worker.wait().unwrap().success());
        }
    }
    let sink = MemorySink::new(stage);
    for whole in stage.partitions(u64::MAX) {
        let mut nodes = Vec::new();
        // The last come first.
        for (number, _) in partitions.iter().enumerate().rev().filter(|(_, p)| p.patch == whole.patch) {
            let bytes = fs::read(folder.join(format!("{number}.nodes"))).unwrap();
            nodes.extend(postcard::from_bytes::<Vec<_>>(&bytes).unwrap());
        }
        finish(stage, &whole.patch, nodes, &sink, &RunOptions::default()).unwrap();
    }
    bits(&sink.into_columns())
}

fn check(request: &Request) {
    let folder = tempfile::tempdir().unwrap();
    ragged(Place::Folder(folder.path().join("cube")), &[41, 3, 61, 47], &[1, 2, 61, 29]);
    let cube: OpenCube = open(folder.path().join("cube").to_str().unwrap()).unwrap();
    let prepared = prepared(&cube, request);
    let [.., large] = schedules(&prepared, 2);
    let here = run(&cube, &prepared, &planned(large), &Counters::default());
    assert!(in_processes(folder.path(), stage(&prepared)) == here, "the bits differ");
}

#[test]
fn statistics_over_time_have_the_same_bits_in_processes_of_their_own() {
    check(&reduce(&["time"], &[Statistic::Mean, Statistic::Std, Statistic::Median]));
}

#[test]
fn statistics_by_band_have_the_same_bits_in_processes_of_their_own() {
    check(&reduce(&["time", "y", "x"], &[Statistic::Mean, Statistic::Std, Statistic::Max, Statistic::Count]));
}
