//! Requests as JSON, and jobs: requests that fit a cube.

use crate::arrays::give;
use crate::errors::Told;
use crate::output::{Shared, To};
use crate::parts::{from_bytes, to_bytes};
use crate::table::Table;
use crate::wait::{Watch, wait};
use chunkwise::exec::{Counters, RunOptions};
use chunkwise::export::Export;
use chunkwise::job::output::OutputOptions;
use chunkwise::job::parts::Part;
use chunkwise::job::plan::{Bounds, Limits, Planned, TooMuch};
use chunkwise::job::{Anomaly, Over, Prepared, Request};
use chunkwise::open::OpenCube;
use chunkwise::store::MemoryStore;
use chunkwise::write::Place;
use chunkwise_cli::Failed;
use chunkwise_core::dtype::DType;
use chunkwise_core::group::{Cycle, Window};
use chunkwise_core::plan::fetch::Prices;
use chunkwise_core::plan::schedule::{Redecode, Target};
use chunkwise_core::select::IndexQuery;
use chunkwise_core::stat::Statistic;
use indexmap::IndexMap;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A request as the Python package writes it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Spec {
    variables: Vec<String>,
    formulas: Vec<String>,
    mask: Option<String>,
    isel: IndexMap<String, Cells>,
    over: Option<Dims>,
    but: Vec<String>,
    statistics: Vec<String>,
    cycle: Option<String>,
    windows: Vec<String>,
    min_count: Option<u64>,
    ddof: u64,
    anomaly: bool,
}

/// Cells of one dimension.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Cells {
    One(i64),
    List(Vec<i64>),
    Range { start: i64, stop: i64, step: u64 },
}

/// Dimensions that go.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Dims {
    /// `all`, or `but`: all but those of the field of that name.
    Word(String),
    Named(Vec<String>),
}

impl Spec {
    /// The request.
    pub(crate) fn request(&self) -> Result<Request, Told> {
        let statistic = |name: &String| {
            Statistic::from_name(name).ok_or_else(|| {
                let has: Vec<&str> = Statistic::ALL.iter().map(|s| s.name()).collect();
                Told::value(format!("no statistic `{name}`; there are {}", has.join(", ")))
            })
        };
        let cells = |(dim, cells): (&String, &Cells)| {
            let query = match cells {
                Cells::One(i) => IndexQuery::One(*i),
                Cells::List(list) => IndexQuery::List(list.clone()),
                Cells::Range { start, stop, step } => {
                    IndexQuery::Range { start: Some(*start), stop: Some(*stop), step: *step }
                }
            };
            (dim.clone(), query)
        };
        let over = match &self.over {
            None => Over::None,
            Some(Dims::Word(word)) if word == "but" => Over::AllBut(self.but.clone()),
            Some(Dims::Word(_)) => Over::All,
            Some(Dims::Named(dims)) => Over::Dims(dims.clone()),
        };
        let group = |e| Told::from(chunkwise::job::JobError::Group(e));
        Ok(Request {
            variables: self.variables.clone(),
            formulas: self.formulas.clone(),
            mask: self.mask.clone(),
            sel: Vec::new(),
            isel: self.isel.iter().map(cells).collect(),
            bbox: None,
            over,
            statistics: self.statistics.iter().map(statistic).collect::<Result<_, _>>()?,
            cycle: self.cycle.as_deref().map(Cycle::parse).transpose().map_err(group)?,
            windows: self.windows.iter().map(|w| Window::parse(w)).collect::<Result<_, _>>().map_err(group)?,
            min_count: self.min_count,
            anomaly: if self.anomaly { Anomaly::Yes } else { Anomaly::No },
        })
    }
}

/// What a job may take, as Python gives it.
#[derive(Clone, Copy, Debug, FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct May {
    memory: u64,
    threads: usize,
    redecode: bool,
    max_requests: Option<u64>,
    max_bytes: Option<u64>,
    egress_price: Option<f64>,
    request_price: Option<f64>,
}

impl May {
    pub(crate) fn limits(self) -> Limits {
        let redecode = if self.redecode { Redecode::Allowed } else { Redecode::Bounded };
        let usual = Prices::default();
        let prices = Prices {
            egress_per_gb: self.egress_price.unwrap_or(usual.egress_per_gb),
            requests_per_1000: self.request_price.unwrap_or(usual.requests_per_1000),
        };
        Limits { memory: self.memory, threads: self.threads.max(1), redecode, prices }
    }
}

/// A request that fits a cube.
#[pyclass(frozen, module = "chunkwise._chunkwise")]
#[derive(Clone, Debug)]
pub(crate) struct Job {
    cube: Arc<OpenCube>,
    prepared: Arc<Prepared>,
    ddof: u64,
    min_count: u64,
}

/// How results in memory are typed: as they would be written.
fn in_memory(dtype: Option<&str>) -> Result<OutputOptions, Told> {
    let mut options = OutputOptions::new(Place::Store(std::sync::Arc::new(MemoryStore::new())));
    options.dtype = dtype.map(element).transpose()?;
    options.history = String::new();
    Ok(options)
}

/// An element type by name.
pub(crate) fn element(name: &str) -> Result<DType, Told> {
    DType::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = DType::ALL.iter().map(|d| d.name()).collect();
        Told::value(format!("`{name}` is no element type; there are {}", names.join(", ")))
    })
}

impl Job {
    pub(crate) fn new(cube: Arc<OpenCube>, prepared: Prepared, spec: &Spec) -> Job {
        let min_count = prepared.min_count;
        Job { cube, prepared: Arc::new(prepared), ddof: spec.ddof, min_count }
    }

    fn run_options(&self, watch: &Watch) -> RunOptions {
        RunOptions { ddof: self.ddof, min_count: self.min_count, cancel: watch.cancel() }
    }

    /// Whether the plan stays within what may be asked of the store.
    fn check(&self, plan: &Planned, may: May) -> Result<(), Told> {
        let bounds = Bounds { requests: may.max_requests, bytes: may.max_bytes };
        if bounds.requests.is_none() && bounds.bytes.is_none() {
            return Ok(());
        }
        self.prepared.explain(&self.cube, plan)?.check(bounds).map_err(|e| {
            let word = if matches!(e, TooMuch::Requests { .. }) { "max_requests" } else { "max_bytes" };
            Failed::of(e).with_hint(format!("select less of the cube, or raise `{word}`")).into()
        })
    }

    /// Runs `work`, while what it counts is told.
    fn counted<T>(
        &self,
        watch: &Watch,
        leaves: u64,
        work: impl FnOnce(&Counters, &RunOptions) -> Result<T, Told>,
    ) -> Result<(T, String), Told> {
        let counters = Counters::default();
        let ended = std::sync::atomic::AtomicBool::new(false);
        let result = std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    watch.tell(counters.leaves.load(Ordering::Relaxed).min(leaves), leaves);
                    std::thread::park_timeout(Duration::from_millis(50));
                }
            });
            let result =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&counters, &self.run_options(watch))));
            ended.store(true, Ordering::Relaxed);
            watcher.thread().unpark();
            result
        });
        let result = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        watch.tell(leaves, leaves);
        let get = |c: &std::sync::atomic::AtomicU64| c.load(Ordering::Relaxed);
        let told = json!({
            "chunks": get(&counters.chunks), "absent": get(&counters.absent),
            "requests": get(&counters.requests) + self.cube.store.repeated(),
            "encoded_bytes": get(&counters.encoded_bytes), "decoded_bytes": get(&counters.decoded_bytes),
            "outside": counters.outside(),
        });
        Ok((result, told.to_string()))
    }

    /// Where values go, as plans know it; `None`: into memory.
    fn targets(&self, options: Option<&OutputOptions>) -> Result<Vec<Target>, Told> {
        match options {
            None => Ok(vec![Target::Nothing; self.prepared.chains.len()]),
            Some(options) => Ok(self.prepared.arrays(&self.cube, options)?.targets()),
        }
    }
}

#[pymethods]
impl Job {
    /// What the plan says, as JSON. `to` is where the result goes; `None`: into memory; nowhere with `dry`.
    #[pyo3(signature = (may, to=None, dry=false))]
    fn explain(&self, py: Python<'_>, may: May, to: Option<To>, dry: bool) -> PyResult<String> {
        let job = self.clone();
        wait(py, None, move |_| {
            let plan = match to {
                Some(to) => {
                    let (options, _) = to.options(&job.cube, &job.prepared)?;
                    job.prepared.plan(&job.cube, &job.targets(Some(&options))?, may.limits())?
                }
                None if dry => job.prepared.plan(&job.cube, &job.targets(None)?, may.limits())?,
                None => job.prepared.plan_arrays(&job.cube, &in_memory(None)?, may.limits())?,
            };
            let explained = job.prepared.explain(&job.cube, &plan)?;
            let mut told = serde_json::to_value(&explained).map_err(|e| Told::value(e.to_string()))?;
            told["threads"] = json!(plan.schedules.iter().map(|s| s.threads).max().unwrap_or(1));
            Ok(told.to_string())
        })
    }

    /// Number of values of the result.
    fn values(&self) -> u64 {
        self.prepared.rows()
    }

    /// Runs and gives the arrays of the result, those that describe it, and what was counted.
    #[pyo3(signature = (may, dtype=None, progress=None))]
    fn compute<'py>(
        &self,
        py: Python<'py>,
        may: May,
        dtype: Option<String>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<(Bound<'py, PyAny>, String)> {
        let job = self.clone();
        let (found, told) = wait(py, progress, move |watch| {
            let options = in_memory(dtype.as_deref())?;
            let plan = job.prepared.plan_arrays(&job.cube, &options, may.limits())?;
            job.check(&plan, may)?;
            job.counted(watch, job.prepared.leaves(&plan), |counters, run| {
                Ok(job.prepared.run_arrays(&job.cube, &options, &plan, counters, run)?)
            })
        })?;
        Ok((give(py, found)?, told))
    }

    /// The shape of the result without its values: the arrays that would be computed, and those that describe them.
    #[pyo3(signature = (dtype=None))]
    fn outline<'py>(&self, py: Python<'py>, dtype: Option<String>) -> PyResult<Bound<'py, PyAny>> {
        let job = self.clone();
        let found = wait(py, None, move |_| Ok(job.prepared.outline(&job.cube, &in_memory(dtype.as_deref())?)?))?;
        give(py, found)
    }

    /// Runs and writes a cube or a file; nothing is kept with `to=None`.
    #[pyo3(signature = (may, to=None, progress=None))]
    fn write(&self, py: Python<'_>, may: May, to: Option<To>, progress: Option<Py<PyAny>>) -> PyResult<String> {
        let job = self.clone();
        let (_, told) = wait(py, progress, move |watch| {
            let Some(to) = to else {
                let plan = job.prepared.plan(&job.cube, &job.targets(None)?, may.limits())?;
                job.check(&plan, may)?;
                return job.counted(watch, job.prepared.leaves(&plan), |counters, run| {
                    Ok(job.prepared.run_dry(&job.cube, &plan, counters, run)?)
                });
            };
            let (options, export): (OutputOptions, Option<Export>) = to.options(&job.cube, &job.prepared)?;
            let plan = job.prepared.plan(&job.cube, &job.targets(Some(&options))?, may.limits())?;
            job.check(&plan, may)?;
            job.counted(watch, job.prepared.leaves(&plan), |counters, run| {
                job.prepared.write(&job.cube, &options, &plan, counters, run)?;
                match export {
                    None => Ok(()),
                    Some(export) => {
                        export.run(&options, counters, run).map_err(|e| Told::from(chunkwise_cli::Failed::from(e)))
                    }
                }
            })
        })?;
        Ok(told)
    }

    /// Runs and gives a row for each value.
    #[pyo3(signature = (may, progress=None))]
    fn records(&self, py: Python<'_>, may: May, progress: Option<Py<PyAny>>) -> PyResult<Table> {
        let job = self.clone();
        let (table, _) = wait(py, progress, move |watch| {
            let plan = job.prepared.plan_records(&job.cube, may.limits())?;
            job.check(&plan, may)?;
            job.counted(watch, job.prepared.leaves(&plan), |counters, run| {
                let records = job.prepared.records(&job.cube, &plan, counters, run)?;
                Table::of(&job.cube, &records)
            })
        })?;
        Ok(table)
    }

    /// The parts of the job, as JSON: about `wanted`.
    #[pyo3(signature = (wanted, to=None))]
    fn parts(&self, py: Python<'_>, wanted: u64, to: Option<To>) -> PyResult<Vec<String>> {
        let job = self.clone();
        wait(py, None, move |_| {
            let options = to.map(|to| to.options(&job.cube, &job.prepared)).transpose()?.map(|o| o.0);
            let targets = job.targets(options.as_ref())?;
            let text = |part: &Part| serde_json::to_string(part).map_err(|e| Told::value(e.to_string()));
            job.prepared.parts(&targets, wanted).iter().map(text).collect()
        })
    }

    /// Output cells of a part along each dimension of its chain.
    fn region(&self, part: &str) -> PyResult<Vec<(u64, u64)>> {
        let part = Python::attach(|py| part_of(part).map_err(|e| e.raise(py)))?;
        Ok(self.prepared.region_of(&part))
    }

    /// Runs a part; gives bytes, or with `shared` writes what it can.
    #[pyo3(signature = (part, may, shared=None, dtype=None, progress=None))]
    fn run_part<'py>(
        &self,
        py: Python<'py>,
        part: String,
        may: May,
        shared: Option<Py<Shared>>,
        dtype: Option<String>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let job = self.clone();
        let bytes = wait(py, progress, move |watch| {
            let part = part_of(&part)?;
            let leaves = job.prepared.leaves_of(&part);
            let (result, _) = job.counted(watch, leaves, |counters, run| match shared {
                None => {
                    let options = in_memory(dtype.as_deref())?;
                    Ok(job.prepared.run_part(&job.cube, &part, (&options, None), may.limits(), counters, run)?)
                }
                Some(shared) => shared.get().with(|options, shared| {
                    let to = (options, Some(shared));
                    Ok(job.prepared.run_part(&job.cube, &part, to, may.limits(), counters, run)?)
                }),
            })?;
            to_bytes(&result)
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Makes cells of the states of a tile; gives bytes, or with `shared` writes them.
    #[pyo3(signature = (part, states, shared=None, dtype=None))]
    fn finish_part<'py>(
        &self,
        py: Python<'py>,
        part: String,
        states: Vec<u8>,
        shared: Option<Py<Shared>>,
        dtype: Option<String>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let job = self.clone();
        let bytes = wait(py, None, move |watch| {
            let part = part_of(&part)?;
            let run = job.run_options(watch);
            let states = crate::parts::states(from_bytes(&states)?)?;
            let result = match shared {
                None => {
                    let options = in_memory(dtype.as_deref())?;
                    job.prepared.finish_part(&job.cube, &part, states, (&options, None), &run)?
                }
                Some(shared) => shared.get().with(|options, shared| {
                    Ok(job.prepared.finish_part(&job.cube, &part, states, (options, Some(shared)), &run)?)
                })?,
            };
            to_bytes(&result)
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Makes an output ready that several processes write.
    fn share(&self, py: Python<'_>, to: To, may: May) -> PyResult<Shared> {
        let job = self.clone();
        wait(py, None, move |_| {
            let (options, _) = to.options(&job.cube, &job.prepared)?;
            let plan = job.prepared.plan(&job.cube, &job.targets(Some(&options))?, may.limits())?;
            job.check(&plan, may)?;
            let shared = job.prepared.share(&job.cube, &options, &plan)?;
            Ok(Shared::new(options, shared))
        })
    }

    /// Goes on with an output that another process has made ready.
    #[pyo3(signature = (to, work=None))]
    fn join(&self, py: Python<'_>, to: To, work: Option<String>) -> PyResult<Shared> {
        let job = self.clone();
        wait(py, None, move |_| {
            let (options, _) = to.options(&job.cube, &job.prepared)?;
            let shared = job.prepared.join(&job.cube, &options, work.map(Into::into))?;
            Ok(Shared::new(options, shared))
        })
    }
}

fn part_of(text: &str) -> Result<Part, Told> {
    serde_json::from_str(text).map_err(|e| Told::value(format!("this is no part of a plan: {e}")))
}
