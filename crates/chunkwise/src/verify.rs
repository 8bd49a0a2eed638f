//! Whether a cube is whole: every chunk decodes, labels can be used, metadata agree with each other.
//!
//! Chunks that are absent hold the fill value; they are counted and are no problem. Nothing is written.

mod cf;
mod chunks;
mod labels;
mod stored;

use crate::chunk::{ChunkError, ChunkReader};
use crate::error::in_full;
use crate::exec::{Counters, ExecError};
use crate::memory;
use crate::open::OpenCube;
use chunkwise_core::cube::Variable;
use serde::Serialize;
use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// Problems that are kept; all are counted.
pub const KEPT: usize = 1000;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Name of the variable; of the group, empty.
    pub variable: String,
    /// Index of the chunk; of labels, of the label.
    pub chunk: Option<Vec<u64>>,
    /// Key of the stored object.
    pub key: Option<String>,
    /// What is wrong.
    pub problem: String,
}

/// How a cube is looked through.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// Only these variables; all where there are none.
    pub variables: Vec<String>,
    /// Peak memory of the process that is allowed, in bytes.
    pub memory: u64,
    /// Threads that decode.
    pub threads: usize,
    /// Set from outside to end the run.
    pub cancel: &'static AtomicBool,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// The first [`KEPT`] problems, in order of variable and chunk.
    pub problems: Vec<Problem>,
    /// All problems.
    pub count: u64,
    /// What could not be looked at, and is no problem: a store that cannot list.
    pub notes: Vec<String>,
}

/// What will be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyPlan {
    /// Variables whose chunks are read.
    pub variables: usize,
    /// Their chunks.
    pub chunks: u64,
    /// Bytes of their cells.
    pub decoded_bytes: u64,
    /// Peak memory of the process, at most.
    pub memory_bytes: u64,
}

/// Why a cube cannot be looked through.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// No such variable.
    #[error("`{location}` has no variable `{asked}`; it has `{}`", .has.join("`, `"))]
    NoVariable {
        /// The cube.
        location: String,
        /// The name asked for.
        asked: String,
        /// Those that there are.
        has: Vec<String>,
    },
    /// A budget that one chunk does not fit.
    #[error("a chunk of `{variable}` needs {} MiB, the budget is {} MiB", needed.div_ceil(1 << 20), limit >> 20)]
    Memory {
        /// The variable.
        variable: String,
        /// Bytes that the process would take.
        needed: u64,
        /// Bytes that it may take.
        limit: u64,
    },
    /// A store that does not answer: nothing can be said of what it holds.
    #[error(transparent)]
    Store(Box<ChunkError>),
    /// The system gives no threads, or the run was ended from outside.
    #[error(transparent)]
    Run(#[from] ExecError),
}

/// Problems as they are found, by many threads.
#[derive(Debug, Default)]
struct Found {
    problems: Mutex<(Vec<Problem>, u64)>,
}

impl Found {
    fn add(&self, problem: Problem) {
        let mut found = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        found.1 += 1;
        if found.0.len() < KEPT {
            found.0.push(problem);
        }
    }

    /// A problem of a variable as a whole.
    fn of(&self, variable: &str, problem: String) {
        self.add(Problem { variable: variable.to_owned(), chunk: None, key: None, problem });
    }

    /// A problem of an object.
    fn at(&self, variable: &str, key: String, problem: String) {
        self.add(Problem { variable: variable.to_owned(), chunk: None, key: Some(key), problem });
    }

    fn chunk(&self, variable: &Variable, chunk: &[u64], error: &ChunkError) {
        let key = match error {
            ChunkError::Fetch { key, .. } | ChunkError::Decode { key, .. } => Some(key.clone()),
            _ => None,
        };
        let (chunk, problem) = (Some(chunk.to_vec()), in_full(error));
        self.add(Problem { variable: variable.name.clone(), chunk, key, problem });
    }

    /// The chunks that have a problem.
    fn chunks(&self) -> Vec<Vec<u64>> {
        let found = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        found.0.iter().filter_map(|problem| problem.chunk.clone()).collect()
    }

    fn count(&self) -> u64 {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

/// A cube that is ready to be looked through.
#[derive(Debug)]
pub struct Verification<'a> {
    cube: &'a OpenCube,
    options: VerifyOptions,
    variables: Vec<&'a Variable>,
    readers: Vec<Option<(Arc<ChunkReader>, chunks::Room)>>,
}

/// Finds what is to be read, and checks it against the budget.
///
/// # Errors
/// A variable that is not there, a budget that a chunk does not fit.
pub fn prepare<'a>(cube: &'a OpenCube, options: VerifyOptions) -> Result<Verification<'a>, VerifyError> {
    let all = &cube.cube.variables;
    let variables = match options.variables.as_slice() {
        [] => all.values().collect(),
        asked => {
            let found = |name: &String| {
                all.get(name).ok_or_else(|| VerifyError::NoVariable {
                    location: cube.cube.location.clone(),
                    asked: name.clone(),
                    has: all.keys().cloned().collect(),
                })
            };
            let mut variables: Vec<&Variable> = Vec::new();
            for name in asked {
                let variable = found(name)?;
                if !variables.iter().any(|v| v.name == *name) {
                    variables.push(variable);
                }
            }
            variables
        }
    };
    let readers = variables.iter().map(|variable| {
        // What cannot be read is a problem, told when the cube is looked through.
        let Ok(reader) = ChunkReader::new(variable, cube.store.clone()) else { return Ok(None) };
        let room = chunks::Room::new(variable, &reader, &options)?;
        Ok(Some((Arc::new(reader.with_index_bytes(room.index_bytes).with_most(room.encoded)), room)))
    });
    let readers = readers.collect::<Result<_, VerifyError>>()?;
    Ok(Verification { cube, options, variables, readers })
}

impl Verification<'_> {
    /// What will be read.
    pub fn plan(&self) -> VerifyPlan {
        let mut plan = VerifyPlan { memory_bytes: memory::base(), ..VerifyPlan::default() };
        for (reader, room) in self.readers.iter().flatten() {
            plan.variables += 1;
            let chunks = reader.grid().iter().fold(1u64, |a, &n| a.saturating_mul(n));
            plan.chunks = plan.chunks.saturating_add(chunks);
            plan.decoded_bytes = plan.decoded_bytes.saturating_add(chunks.saturating_mul(room.decoded));
            plan.memory_bytes = plan.memory_bytes.max(room.needed);
        }
        plan
    }

    /// Looks the cube through. `counters` counts chunks; its leaves are those that are done.
    ///
    /// # Errors
    /// Interruption; a system that gives no threads.
    pub fn run(&self, counters: &Counters) -> Result<Verified, VerifyError> {
        let mut done = Verified::default();
        self.cube.set_memory_limit(self.options.memory);
        let group = Found::default();
        cf::group(&self.cube.cube, &group);
        stored::consolidated(self.cube, &self.variables, &group);
        done.take(group);
        let mut all = Vec::with_capacity(self.variables.len());
        let mut broken = labels::Broken::new();
        for (variable, reader) in self.variables.iter().zip(&self.readers) {
            let found = Found::default();
            match (reader, &variable.problem) {
                (Some((reader, room)), _) => chunks::read(variable, reader, *room, &self.options, counters, &found)?,
                (None, Some(problem)) => found.of(&variable.name, format!("it cannot be read: {problem}")),
                (None, None) => found.of(&variable.name, "it cannot be read".to_owned()),
            }
            if found.count() > 0 {
                broken.insert(variable.name.clone(), found.chunks());
            }
            all.push(found);
        }
        let mut placed = HashSet::new();
        for ((variable, reader), found) in self.variables.iter().zip(&self.readers).zip(all) {
            if let Some((reader, _)) = reader {
                if let Some(note) = stored::strays(self.cube, variable, reader, &found)
                    && !done.notes.contains(&note)
                {
                    done.notes.push(note);
                }
                labels::check(self.cube, variable, &broken, &found);
            }
            cf::check(&self.cube.cube, variable, &found);
            labels::transform(self.cube, variable, &mut placed, &broken, &found);
            done.take(found);
        }
        Ok(done)
    }
}

impl Verified {
    fn take(&mut self, found: Found) {
        let (mut problems, count) = found.problems.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Threads find them in any order.
        problems.sort_by(|a, b| (a.chunk.is_none(), &a.chunk).cmp(&(b.chunk.is_none(), &b.chunk)));
        self.count += count;
        let room = KEPT.saturating_sub(self.problems.len());
        self.problems.extend(problems.into_iter().take(room));
    }
}

#[cfg(test)]
mod tests;
