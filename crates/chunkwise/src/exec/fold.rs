//! The states of one patch while its leaves are folded in order.

use super::ExecError;
use super::leaf::LeafValues;
use chunkwise_core::plan::Stage;
use chunkwise_core::stat::finish::states_for;
use chunkwise_core::stat::map::CellMap;
use chunkwise_core::stat::state::State;
use chunkwise_core::stat::tree::{self, Node};

/// Folds leaves, which come in order, into the nodes of the segments that they lie in.
#[derive(Debug)]
pub(crate) struct Folding {
    patch: Vec<u64>,
    cells: usize,
    /// Complete nodes.
    nodes: Vec<Node>,
    /// The segment in work.
    segment: Option<u64>,
    states: Vec<Vec<State>>,
    /// Whether all states may run on from segment to segment with the same bits.
    runs_on: bool,
    /// The map of the last leaf, kept while leaves have the same shape.
    map: Option<(Vec<u64>, CellMap)>,
}

/// States with nothing in them, by what is folded.
pub(crate) fn empty_states(stage: &Stage, cells: usize) -> Vec<Vec<State>> {
    let most = stage.most_per_cell();
    stage
        .folded
        .iter()
        .map(|f| {
            states_for(&f.statistics, f.element, f.packing)
                .0
                .into_iter()
                .map(|k| State::empty(k, f.element, cells, most))
                .collect()
        })
        .collect()
}

impl Folding {
    pub(crate) fn new(stage: &Stage, patch: &[u64]) -> Folding {
        let cells = stage.patch_cells(patch) as usize;
        let states = empty_states(stage, cells);
        let runs_on = states.iter().flatten().all(State::is_associative);
        Folding { patch: patch.to_vec(), cells, nodes: Vec::new(), segment: None, states, runs_on, map: None }
    }

    /// Makes `leaf`'s segment the one in work.
    fn enter(&mut self, stage: &Stage, leaf: &[u64]) {
        let segment = stage.segment(leaf);
        match self.segment {
            None => self.segment = Some(segment),
            Some(done) if done != segment && !self.runs_on => {
                let states = std::mem::replace(&mut self.states, empty_states(stage, self.cells));
                tree::push(
                    &mut self.nodes,
                    Node { level: 0, index: done, states: states.into_iter().flatten().collect() },
                );
                self.segment = Some(segment);
            }
            Some(_) => {}
        }
    }

    pub(crate) fn fold(&mut self, stage: &Stage, leaf: &[u64], values: &LeafValues) -> Result<(), ExecError> {
        self.enter(stage, leaf);
        if self.map.as_ref().is_none_or(|m| m.0 != leaf) {
            self.map = Some((leaf.to_vec(), stage.cell_map(&self.patch, leaf)));
        }
        match &self.map {
            Some((_, map)) => values.fold(stage, leaf, map, &mut self.states),
            None => Ok(()),
        }
    }

    /// Appends the states of the leaf that follows.
    pub(crate) fn append(&mut self, stage: &Stage, leaf: &[u64], states: Vec<Vec<State>>) {
        self.enter(stage, leaf);
        for (mine, next) in self.states.iter_mut().flatten().zip(states.iter().flatten()) {
            mine.merge(next);
        }
    }

    /// The nodes of what was folded; none where nothing was.
    pub(crate) fn into_nodes(mut self) -> Vec<Node> {
        if let Some(index) = self.segment {
            let states = self.states.into_iter().flatten().collect();
            tree::push(&mut self.nodes, Node { level: 0, index, states });
        }
        self.nodes
    }
}
