//! The binary tree in which segments merge.
//!
//! Segments stand at absolute indices. A node at level `l`, index `i` is the merge of segments
//! `i·2^l … (i+1)·2^l`; where one side does not exist the other passes through. So any run of
//! segments is carried as a few nodes, and however segments are dealt out the same pairs merge.

use super::state::State;
use serde::{Deserialize, Serialize};

/// A node of the tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Level above the segments.
    pub level: u32,
    /// Index at that level.
    pub index: u64,
    /// The states of all statistics of one patch.
    pub states: Vec<State>,
}

/// Adds a finished segment, merging what is complete. Segments must come in ascending order.
pub fn push(nodes: &mut Vec<Node>, mut node: Node) {
    while let Some(last) = nodes.last() {
        if last.level != node.level || last.index ^ 1 != node.index || last.index & 1 == 1 {
            break;
        }
        let Some(mut left) = nodes.pop() else { break };
        for (a, b) in left.states.iter_mut().zip(&node.states) {
            a.merge(b);
        }
        left.level += 1;
        left.index >>= 1;
        node = left;
    }
    nodes.push(node);
}

/// Merges those of a patch's nodes that are neighbours in the tree, from wherever they come: as few nodes as say the same.
pub fn join(mut nodes: Vec<Node>) -> Vec<Node> {
    // Nodes do not overlap, so their first segment orders them.
    nodes.sort_by_key(|n| u128::from(n.index) << n.level);
    let mut joined = Vec::with_capacity(nodes.len());
    nodes.into_iter().for_each(|node| push(&mut joined, node));
    joined
}

/// Merges all nodes of a patch, from wherever they come, into its states; `None` of none.
pub fn collapse(mut nodes: Vec<Node>) -> Option<Vec<State>> {
    let mut level = nodes.iter().map(|n| n.level).min()?;
    while nodes.len() > 1 {
        // Nodes do not overlap, so their first segment orders them.
        nodes.sort_by_key(|n| u128::from(n.index) << n.level);
        let mut lifted: Vec<Node> = Vec::with_capacity(nodes.len());
        for mut node in nodes {
            if node.level > level {
                lifted.push(node);
                continue;
            }
            let (parent, is_right) = (node.index >> 1, node.index & 1 == 1);
            match lifted.last_mut() {
                Some(left) if is_right && left.level == level + 1 && left.index == parent => {
                    for (a, b) in left.states.iter_mut().zip(&node.states) {
                        a.merge(b);
                    }
                }
                _ => {
                    node.level += 1;
                    node.index = parent;
                    lifted.push(node);
                }
            }
        }
        nodes = lifted;
        level += 1;
    }
    nodes.pop().map(|n| n.states)
}
