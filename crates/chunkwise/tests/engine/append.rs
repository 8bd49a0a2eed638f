//! What is appended leaves states as they were.

use crate::fixture::{in_memory, prepared, reduce, stage};
use chunkwise::exec::{Counters, RunOptions, run_partition};
use chunkwise_core::plan::partition::Partition;
use chunkwise_core::stat::Statistic;

#[test]
fn chunks_appended_in_time_leave_earlier_segments_and_tree_nodes_byte_equal() {
    let statistics =
        [Statistic::Mean, Statistic::Std, Statistic::Median, Statistic::Max, Statistic::Last, Statistic::ArgMin];
    let request = reduce(&["time"], &statistics);
    // 37 chunks are segments 0, 1 and a part of 2; 53 make 2 complete, and begin 3.
    let (short, long) = (in_memory(&[37, 2, 10, 12], &[1, 2, 10, 7]), in_memory(&[53, 2, 10, 12], &[1, 2, 10, 7]));
    let states = |cube, patch: u64, segments| {
        let prepared = prepared(cube, &request);
        let partition = Partition { patch: vec![0, 0, 0, patch], segments };
        let (counters, options) = (Counters::default(), RunOptions::default());
        let nodes = run_partition(stage(&prepared), &partition, &cube.store, &counters, &options).unwrap();
        assert!(nodes.iter().all(|n| !n.states.is_empty()));
        postcard::to_stdvec(&nodes).unwrap()
    };
    for patch in 0..2 {
        assert_eq!(states(&short, patch, (0, 1)), states(&long, patch, (0, 1)));
        assert_eq!(states(&short, patch, (1, 2)), states(&long, patch, (1, 2)));
        assert_eq!(states(&short, patch, (0, 2)), states(&long, patch, (0, 2)), "the tree node of both");
        assert_ne!(states(&short, patch, (2, 3)), states(&long, patch, (2, 3)), "what grew differs");
    }
}
