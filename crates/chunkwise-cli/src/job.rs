//! What the computing commands share: from arguments to a request, its run, its summary, its explanation.

use crate::args::{Common, DecodeArgs, JobArgs, LayoutArgs, SelectArgs};
use crate::bytes::format_bytes;
use crate::cmd::create::{element_type, place};
use crate::cmd::info::decode_options;
use crate::exit::{CliError, interrupted};
use crate::output::{self, Json, Overwrite, Record, TableFile};
use chunkwise::exec::{Counters, NoSink, RunOptions};
use chunkwise::job::output::OutputOptions;
use chunkwise::job::{JobError, Prepared, Request};
use chunkwise::memory::{self, Budget};
use chunkwise::open::{OpenCube, open_with};
use chunkwise::write::{Existing, ZarrVersion};
use chunkwise_core::select::{BoxQuery, parse_isel, parse_sel};
use chunkwise_core::stat::Statistic;
use indexmap::IndexMap;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

impl From<JobError> for CliError {
    fn from(error: JobError) -> CliError {
        match error {
            JobError::Open(e) => e.into(),
            JobError::Lower(chunkwise_core::plan::lower::LowerError::Expr(e)) => {
                let hint = e.hint();
                let failed = CliError::of(e);
                match hint {
                    Some(hint) => failed.hint(hint),
                    None => failed,
                }
            }
            JobError::TooManyRows { .. } => CliError::of(error).hint("write a cube with `-o OUT.zarr`"),
            JobError::Write(e) => match e.downcast::<chunkwise::write::WriteError>() {
                Ok(e) => (*e).into(),
                Err(e) => CliError::of(JobError::Write(e)),
            },
            other => CliError::of(other),
        }
    }
}

/// Opens the cube and reads what is asked of it.
pub(crate) fn request(
    location: &str,
    select: &SelectArgs,
    decode: &DecodeArgs,
) -> Result<(OpenCube, Request), CliError> {
    let cube = open_with(location, &decode_options(decode)?)?;
    if decode.valid {
        return Err(CliError::says("`--valid` is not built yet").hint("use `--where` with the range"));
    }
    let mut request = Request {
        variables: select.var.clone(),
        formulas: select.calc.clone(),
        mask: select.mask.clone(),
        ..Request::default()
    };
    for text in &select.sel {
        request.sel.extend(parse_sel(text).map_err(CliError::of)?);
    }
    for text in &select.isel {
        request.isel.extend(parse_isel(text).map_err(CliError::of)?);
    }
    if let Some(text) = &select.bbox {
        request.bbox = Some(bbox(text, &select.bbox_crs, &cube)?);
    }
    Ok((cube, request))
}

/// `--bbox`, in the axes of the cube.
fn bbox(text: &str, crs: &str, cube: &OpenCube) -> Result<BoxQuery, CliError> {
    let numbers: Vec<f64> = text.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    let [west, south, east, north] = numbers[..] else {
        return Err(CliError::says(format!("`--bbox {text}` is not four numbers W,S,E,N")));
    };
    let find = |names: &[&str]| cube.cube.dims.keys().find(|d| names.contains(&d.to_lowercase().as_str())).cloned();
    if crs.eq_ignore_ascii_case("EPSG:4326")
        && let (Some(x), Some(y)) = (find(&["lon", "longitude"]), find(&["lat", "latitude"]))
    {
        return Ok(BoxQuery { x, y, west, south, east, north });
    }
    if crs.eq_ignore_ascii_case("cube")
        && let (Some(x), Some(y)) = (find(&["x"]), find(&["y"]))
    {
        return Ok(BoxQuery { x, y, west, south, east, north });
    }
    Err(CliError::says(format!("cannot take a box in `{crs}` to the axes of `{}` in this build", cube.cube.location))
        .hint("select by the cube's own coordinates: `--sel x=A..B --sel y=A..B`"))
}

/// The statistics by name.
pub(crate) fn statistics(names: &[String]) -> Result<Vec<Statistic>, CliError> {
    let mut found = Vec::new();
    for name in names {
        let Some(s) = Statistic::from_name(name.trim()) else {
            let has: Vec<&str> = Statistic::ALL.iter().map(|s| s.name()).collect();
            return Err(CliError::says(format!("no statistic `{name}`; there are {}", has.join(", "))));
        };
        if !found.contains(&s) {
            found.push(s);
        }
    }
    Ok(found)
}

/// A job that is ready to run within its memory.
pub(crate) struct Ready {
    pub(crate) cube: OpenCube,
    pub(crate) prepared: Prepared,
    pub(crate) options: RunOptions,
    counters: Counters,
    budget: Budget,
    began: Instant,
}

impl Ready {
    /// Checks the job against its budget.
    pub(crate) fn new(
        cube: OpenCube,
        prepared: Prepared,
        job: &JobArgs,
        ddof: u32,
        min_count: Option<u64>,
    ) -> Result<Ready, CliError> {
        let threads = job
            .threads
            .map_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()), std::num::NonZeroUsize::get);
        let asked = job.memory.map_or_else(memory::default_limit, |b| b.0);
        let budget = memory::fit(&prepared.stages, &prepared.groups, asked, threads).map_err(|refused| {
            CliError::says(format!(
                "the job needs {}, the budget is {}",
                format_bytes(refused.needed.into()),
                format_bytes(asked.into())
            ))
            .hint(format!("pass `--memory {}MiB`", refused.needed.div_ceil(1 << 20)))
        })?;
        let options = RunOptions {
            threads: budget.threads,
            ddof: ddof.into(),
            min_count: min_count.unwrap_or(1),
            window: budget.window,
            cancel: interrupted(),
        };
        Ok(Ready { cube, prepared, options, counters: Counters::default(), budget, began: Instant::now() })
    }

    /// Prints the plan's figures.
    pub(crate) fn explain(&self, json: Json) -> Result<ExitCode, CliError> {
        let stages: Vec<_> = self.prepared.groups.iter().chain(&self.prepared.stages).map(|s| (s, s.cost())).collect();
        let one = |chunks: u64, requests: u64, decoded: u64, output: u64, partitions: u64| {
            json!({
                "chunks": chunks, "requests": requests, "encoded_bytes": null, "decoded_bytes": decoded,
                "amplification": 1.0, "output_bytes": output, "partitions": partitions,
                "memory_bytes": self.budget.projected,
            })
        };
        let sum = |f: &dyn Fn(&chunkwise_core::plan::cost::Cost) -> u64| stages.iter().map(|(_, c)| f(c)).sum::<u64>();
        let partitions: u64 = stages.iter().map(|(s, _)| s.patch_count()).sum();
        let mut total = one(
            sum(&|c| c.chunks),
            sum(&|c| c.requests),
            sum(&|c| c.decoded_bytes),
            sum(&|c| c.output_bytes),
            partitions,
        );
        let list: Vec<_> = stages
            .iter()
            .map(|(s, c)| {
                let mut v = one(c.chunks, c.requests, c.decoded_bytes, c.output_bytes, s.patch_count());
                let names: Vec<&str> = s.folded.iter().map(|f| f.name.as_str()).collect();
                v["name"] = names.join(", ").into();
                v
            })
            .collect();
        total["stages"] = list.into();
        match json {
            Json::Yes => output::print_json(&total)?,
            Json::No => output::stdout(|out| {
                for (s, c) in &stages {
                    let names: Vec<&str> = s.folded.iter().map(|f| f.name.as_str()).collect();
                    writeln!(
                        out,
                        "stage {}: {} chunks, {} requests, {} decoded (1.0 ×), {} partitions, output {}",
                        names.join(", "),
                        c.chunks,
                        c.requests,
                        format_bytes(c.decoded_bytes.into()),
                        s.patch_count(),
                        format_bytes(c.output_bytes.into())
                    )?;
                }
                writeln!(
                    out,
                    "memory {} on {} threads",
                    format_bytes(self.budget.projected.into()),
                    self.budget.threads
                )
            })?,
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Runs and gives rows.
    pub(crate) fn records(&self) -> Result<Vec<Record>, CliError> {
        Ok(self.prepared.records(&self.cube, &self.counters, &self.options)?)
    }

    /// Runs and drops everything.
    pub(crate) fn nothing(&self) -> Result<(), CliError> {
        Ok(self.prepared.run(&self.cube, &|_| Box::new(NoSink), &self.counters, &self.options)?)
    }

    /// Runs into a new cube.
    pub(crate) fn write(&self, out: &str, layout: &LayoutArgs, overwrite: bool) -> Result<(), CliError> {
        let (folder, group) = place(out)?;
        if !group.is_empty() {
            return Err(CliError::says(format!("`{out}`: a result is written as a cube of its own, not into a group")));
        }
        let sizes = |text: &Option<String>| -> Result<IndexMap<String, u64>, CliError> {
            match text {
                None => Ok(IndexMap::new()),
                Some(text) => Ok(chunkwise::create::parse_sizes(text)?),
            }
        };
        let (input, _) = place(&self.cube.cube.location).unwrap_or((PathBuf::new(), String::new()));
        let options = OutputOptions {
            folder,
            existing: if overwrite { Existing::Overwrite } else { Existing::Refuse },
            inputs: if input.exists() { vec![input] } else { Vec::new() },
            zarr: layout.zarr.and_then(ZarrVersion::from_number).unwrap_or(ZarrVersion::V3),
            chunks: sizes(&layout.chunk)?,
            shards: sizes(&layout.shard)?,
            codec: layout.codec.as_deref().map(str::parse).transpose()?,
            dtype: layout.dtype.as_deref().map(element_type).transpose()?,
            history: format!("chunkwise {}: {}", env!("CARGO_PKG_VERSION"), words()),
        };
        self.prepared.write(&self.cube, &options, &self.counters, &self.options)?;
        Ok(())
    }

    /// The short summary on stderr.
    pub(crate) fn summary(&self, common: &Common) {
        if common.quiet || (common.json() == Json::Yes && common.verbose == 0) {
            return;
        }
        let seconds = self.began.elapsed().as_secs_f64();
        let get = |c: &std::sync::atomic::AtomicU64| c.load(Ordering::Relaxed);
        let (chunks, absent) = (get(&self.counters.chunks), get(&self.counters.absent));
        let decoded = get(&self.counters.decoded_bytes);
        let absent = if absent > 0 { format!(" ({absent} absent)") } else { String::new() };
        output::note(&format!(
            "{chunks} chunks{absent}, {} requests, {} read, {} decoded in {seconds:.2} s ({:.0} MB/s), peak memory {}",
            get(&self.counters.requests),
            format_bytes(get(&self.counters.encoded_bytes).into()),
            format_bytes(decoded.into()),
            decoded as f64 / 1e6 / seconds.max(1e-9),
            format_bytes(memory::peak().into()),
        ));
    }

    /// Runs to where `-o` says: a cube, a table, nothing, or a table on stdout.
    pub(crate) fn deliver(
        &self,
        out: Option<&str>,
        layout: Option<&LayoutArgs>,
        overwrite: bool,
        common: &Common,
        shape: impl Fn(Vec<Record>) -> Vec<Record>,
    ) -> Result<ExitCode, CliError> {
        match out {
            Some("none") => self.nothing()?,
            Some(path) => match (TableFile::of(path), layout) {
                (Some(kind), _) => {
                    let replace = if overwrite { Overwrite::Yes } else { Overwrite::No };
                    output::save(&shape(self.records()?), path, kind, replace)?;
                }
                (None, Some(layout)) => self.write(path, layout, overwrite)?,
                (None, None) => {
                    return Err(CliError::says(format!("`-o {path}`: a table ends in `.csv` or `.json`")));
                }
            },
            None => output::print(&shape(self.records()?), common.json())?,
        }
        self.summary(common);
        Ok(ExitCode::SUCCESS)
    }
}

/// The command line, for the history of what is written.
fn words() -> String {
    let quoted = |w: String| if w.contains(' ') { format!("'{w}'") } else { w };
    std::env::args().skip(1).map(quoted).collect::<Vec<_>>().join(" ")
}
