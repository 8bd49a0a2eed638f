//! What the computing commands share: from arguments to a request, its run, its summary, its explanation.

use crate::args::{Common, DecodeArgs, JobArgs, LayoutArgs, SelectArgs};
use crate::bytes::format_bytes;
use crate::cmd::create::{element_type, place};
use crate::cmd::info::decode_options;
use crate::exit::{CliError, interrupted, leaving_at_once};
use crate::output::{self, Json, Overwrite, Record, TableFile};
use crate::progress;
use chunkwise::error::OpenError;
use chunkwise::exec::{Counters, RunOptions};
use chunkwise::job::output::OutputOptions;
use chunkwise::job::plan::{Bounds, Certainty, Explained, Limits, Planned, TooMuch};
use chunkwise::job::{JobError, MOST_ROWS, OtherAxes, Prepared, Request, plane};
use chunkwise::memory;
use chunkwise::open::{OpenCube, OpenOptions, open_with};
use chunkwise::store::secret::{mask, mask_option};
use chunkwise::store::{Access, Store as _};
use chunkwise::write::{Existing, Place, WriteError, ZarrVersion, lies_within};
use chunkwise_core::crs::Crs;
use chunkwise_core::plan::fetch::Prices;
use chunkwise_core::plan::schedule::{Redecode, Target};
use chunkwise_core::select::{BoxQuery, parse_isel, parse_sel};
use chunkwise_core::stat::Statistic;
use indexmap::IndexMap;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
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
            JobError::Write(e) => match e.downcast::<WriteError>() {
                Ok(e) => (*e).into(),
                Err(e) => CliError::of(JobError::Write(e)),
            },
            other => CliError::of(other),
        }
    }
}

/// Opens a cube; an interrupt ends the process at once, also while a server does not answer.
pub(crate) fn open_cube(location: &str, options: &OpenOptions) -> Result<OpenCube, OpenError> {
    leaving_at_once(|| open_with(location, options))
}

/// Opens the cube and reads what is asked of it.
pub(crate) fn request(
    location: &str,
    select: &SelectArgs,
    decode: &DecodeArgs,
    job: &JobArgs,
    common: &Common,
) -> Result<(OpenCube, Request), CliError> {
    let cube = open_cube(location, &OpenOptions { decode: decode_options(decode)?, storage: common.storage()? })?;
    cube.set_memory_limit(job.resources.memory_limit());
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
        request.bbox = Some(bbox(text, &select.bbox_crs, select, &cube)?);
    }
    Ok((cube, request))
}

/// `--bbox`, in the axes of what the job works on: cells whose centre lies in the rectangle around the box.
fn bbox(text: &str, crs: &str, select: &SelectArgs, cube: &OpenCube) -> Result<BoxQuery, CliError> {
    let numbers: Option<Vec<f64>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
    let Some(Ok(bounds)) = numbers.map(<[f64; 4]>::try_from) else {
        return Err(CliError::says(format!("`--bbox {text}` is not four numbers W,S,E,N")));
    };
    let given = match crs.trim().eq_ignore_ascii_case("cube") {
        true => None,
        false => Some(Crs::parse(crs).map_err(CliError::of)?),
    };
    let found = plane(&cube.cube, &select.var, &select.calc).map_err(|OtherAxes { one, other }| {
        CliError::says(format!("`--bbox` with `{one}` and `{other}`, which lie along other axes"))
            .hint("name one of them with `--var`")
    })?;
    let georeference = found.unwrap_or_default();
    // Without labels a box would be one of indices.
    let dims = georeference.dims.iter().flat_map(|d| [&d.x, &d.y]);
    if let Some(dim) = dims.into_iter().find(|d| cube.cube.coordinate(d).is_none()) {
        return Err(CliError::says(format!(
            "`--bbox {text}`: `{dim}` has no coordinate, so its cells cannot be placed"
        ))
        .hint(format!("select by index: `--isel {dim}=A:B`")));
    }
    georeference.box_query(bounds, given.as_ref()).map_err(|e| CliError::says(format!("`--bbox {text}`: {e}")))
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

/// Where the result of a job goes.
pub(crate) enum Destination {
    /// Nowhere: for measuring.
    Nothing,
    /// A table on stdout.
    Screen,
    /// A table in a file.
    Table { path: String, kind: TableFile, replace: Overwrite },
    /// A cube.
    Cube(Box<OutputOptions>),
}

/// Where `-o` says that the result goes. Commands without a layout write tables only.
pub(crate) fn destination(
    out: Option<&str>,
    layout: Option<&LayoutArgs>,
    overwrite: bool,
    cube: &OpenCube,
    common: &Common,
) -> Result<Destination, CliError> {
    let Some(out) = out else { return Ok(Destination::Screen) };
    if out == "none" {
        return Ok(Destination::Nothing);
    }
    if let Some(kind) = TableFile::of(out) {
        let input = cube.store.location();
        if Path::new(&input).exists() && lies_within(Path::new(out), Path::new(&input)) {
            return Err(WriteError::WithinInput { location: out.to_owned(), input }.into());
        }
        let replace = if overwrite { Overwrite::Yes } else { Overwrite::No };
        return Ok(Destination::Table { path: out.to_owned(), kind, replace });
    }
    let ending = Path::new(out).extension().and_then(|e| e.to_str()).unwrap_or("zarr");
    let ends = |with: &str| ending.eq_ignore_ascii_case(with);
    if layout.is_some() && !ends("zarr") && !ends("zip") && ending.chars().all(char::is_alphabetic) {
        return Err(CliError::says(format!("`-o {out}`: no output is written as `.{ending}`"))
            .hint("a cube ends in `.zarr`, `.zarr.zip` or in nothing, a table in `.csv` or `.json`; `-o none` drops the result"));
    }
    let Some(layout) = layout else {
        return Err(CliError::says(format!("`-o {out}`: a table ends in `.csv` or `.json`")));
    };
    let (place, group) = place(out, common)?;
    if !group.is_empty() {
        return Err(CliError::says(format!("`-o {out}`: a result is written as a cube of its own, not into a group"))
            .hint("write beside it, as in `-o OUT.zarr`"));
    }
    let sizes = |text: &Option<String>| -> Result<IndexMap<String, u64>, CliError> {
        match text {
            None => Ok(IndexMap::new()),
            Some(text) => Ok(chunkwise::create::parse_sizes(text)?),
        }
    };
    Ok(Destination::Cube(Box::new(OutputOptions {
        place,
        existing: if overwrite { Existing::Overwrite } else { Existing::Refuse },
        inputs: vec![cube.store.location()],
        zarr: layout.zarr.and_then(ZarrVersion::from_number).unwrap_or(ZarrVersion::V3),
        chunks: sizes(&layout.chunk)?,
        shards: sizes(&layout.shard)?,
        codec: layout.codec.as_deref().map(str::parse).transpose()?,
        dtype: layout.dtype.as_deref().map(element_type).transpose()?,
        history: format!("chunkwise {}: {}", env!("CARGO_PKG_VERSION"), words()),
    })))
}

/// A job that is ready to run within its memory.
pub(crate) struct Ready {
    cube: Arc<OpenCube>,
    prepared: Prepared,
    destination: Destination,
    options: RunOptions,
    counters: Arc<Counters>,
    plan: Planned,
    began: Instant,
}

impl Ready {
    /// Checks the job against its budget.
    pub(crate) fn new(
        cube: impl Into<Arc<OpenCube>>,
        prepared: Prepared,
        destination: Destination,
        job: &JobArgs,
        ddof: u32,
        min_count: Option<u64>,
    ) -> Result<Ready, CliError> {
        let cube = cube.into();
        let targets = match &destination {
            Destination::Nothing => vec![Target::Nothing; prepared.chains.len()],
            // Told as it would run with an output; the run itself needs one.
            Destination::Screen | Destination::Table { .. } if job.explain && prepared.rows() > MOST_ROWS => {
                output::note(&format!(
                    "a table of {} rows is not printed: to run, write a cube with `-o OUT.zarr`",
                    prepared.rows()
                ));
                vec![Target::Nothing; prepared.chains.len()]
            }
            Destination::Screen | Destination::Table { .. } => vec![Target::Memory; prepared.chains.len()],
            Destination::Cube(options) => prepared.arrays(&cube, options)?.targets(),
        };
        let plan = |prepared: &Prepared, cube: &OpenCube, limits| prepared.plan(cube, &targets, limits);
        Ready::planned(cube, prepared, destination, job, ddof, min_count, plan)
    }

    /// Checks a job against its budget that is planned in a way of its own.
    pub(crate) fn planned(
        cube: Arc<OpenCube>,
        prepared: Prepared,
        destination: Destination,
        job: &JobArgs,
        ddof: u32,
        min_count: Option<u64>,
        plan: impl FnOnce(&Prepared, &OpenCube, Limits) -> Result<Planned, JobError>,
    ) -> Result<Ready, CliError> {
        let threads = job.resources.threads().get();
        let memory = job.resources.memory_limit();
        let redecode = if job.allow_redecode { Redecode::Allowed } else { Redecode::Bounded };
        let refuse = |needed: u64| {
            let (needs, has) = (format_bytes(needed.into()), format_bytes(memory.into()));
            CliError::says(format!("the job needs {needs}, the budget is {has}"))
                .hint(format!("pass `--memory {}MiB`", needed.div_ceil(1 << 20)))
        };
        let usual = Prices::default();
        let prices = Prices {
            egress_per_gb: job.egress_price.unwrap_or(usual.egress_per_gb),
            requests_per_1000: job.request_price.unwrap_or(usual.requests_per_1000),
        };
        let limits = Limits { memory, threads, redecode, prices };
        let mut plan = plan(&prepared, &cube, limits).map_err(|e| match e {
            JobError::Memory(refused) => refuse(refused.needed),
            other => other.into(),
        })?;
        plan.memory = plan.memory.max(memory::peak());
        let bounds = Bounds { requests: job.max_requests, bytes: job.max_bytes.map(|b| b.0) };
        if bounds.requests.is_some() || bounds.bytes.is_some() {
            let hint = |what: &str| format!("select less of the cube, or raise `--max-{what}`");
            prepared.explain(&cube, &plan)?.check(bounds).map_err(|e| match e {
                TooMuch::Requests { .. } => CliError::of(e).hint(hint("requests")),
                TooMuch::Bytes { .. } => CliError::of(e).hint(hint("bytes")),
            })?;
        }
        let options = RunOptions { ddof: ddof.into(), min_count: min_count.unwrap_or(1), cancel: interrupted() };
        let counters = Arc::new(Counters::default());
        Ok(Ready { cube, prepared, destination, options, counters, plan, began: Instant::now() })
    }

    /// Goes on with the counters and the clock of another job: of the two, one summary is given.
    pub(crate) fn after(mut self, other: &Ready) -> Ready {
        other.counters.end_job();
        self.counters = Arc::clone(&other.counters);
        self.began = other.began;
        self
    }

    /// Where the result goes.
    pub(crate) fn destination(&self) -> &Destination {
        &self.destination
    }

    /// The plan's figures.
    pub(crate) fn explained(&self) -> Result<Explained, CliError> {
        Ok(self.prepared.explain(&self.cube, &self.plan)?)
    }

    /// Prints the plan's figures.
    pub(crate) fn explain(&self, json: Json) -> Result<ExitCode, CliError> {
        self.print(&self.explained()?, json)
    }

    /// Prints figures of a plan that runs as this one does.
    pub(crate) fn print(&self, explained: &Explained, json: Json) -> Result<ExitCode, CliError> {
        match json {
            Json::Yes => output::print_json(explained)?,
            Json::No => output::stdout(|out| {
                for s in &explained.stages {
                    let f = &s.figures;
                    writeln!(
                        out,
                        "stage {}: {} chunks, {}{} requests, {} decoded ({:.1} ×), {} partitions, output {}",
                        s.name,
                        f.chunks,
                        match f.requests_are {
                            Certainty::Exact => "",
                            Certainty::AtMost => "at most ",
                            Certainty::About => "about ",
                        },
                        f.requests,
                        format_bytes(f.decoded_bytes.into()),
                        f.amplification,
                        f.partitions,
                        format_bytes(f.output_bytes.into())
                    )?;
                }
                if let Some(gap) = explained.coalesced_gap_bytes {
                    let gap = format_bytes(gap.into());
                    writeln!(out, "chunks of a shard no more than {gap} apart are fetched in one request")?;
                }
                if let Some(requests) = explained.requests_at_once {
                    writeln!(out, "at most {requests} requests at once")?;
                }
                let threads = self.plan.schedules.iter().map(|s| s.threads).max().unwrap_or(1);
                writeln!(out, "memory {} on {threads} threads", format_bytes(explained.total.memory_bytes.into()))
            })?,
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Runs and gives rows.
    pub(crate) fn records(&self) -> Result<Vec<Record>, CliError> {
        Ok(self.prepared.records(&self.cube, &self.plan, &self.counters, &self.options)?)
    }

    /// Runs in a way of its own.
    ///
    /// # Errors
    /// As the way.
    pub(crate) fn run<T>(
        &self,
        way: impl FnOnce(&OpenCube, &Prepared, &Planned, &Counters, &RunOptions) -> Result<T, JobError>,
    ) -> Result<T, CliError> {
        Ok(way(&self.cube, &self.prepared, &self.plan, &self.counters, &self.options)?)
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
        let repeated = self.cube.store.repeated();
        let again = if repeated > 0 { format!(" ({repeated} of them again)") } else { String::new() };
        let beside = match (self.cube.store.access(), self.cube.overhead()) {
            (Access::Polled, (requests, bytes)) => {
                format!(" (and {requests} requests, {} for metadata and labels)", format_bytes(bytes.into()))
            }
            (Access::Inline, _) => String::new(),
        };
        output::note(&format!(
            "{chunks} chunks{absent}, {} requests{again}, {} read{beside}, {} decoded in {seconds:.2} s ({:.0} MB/s), peak memory {}",
            get(&self.counters.requests) + repeated,
            format_bytes(get(&self.counters.encoded_bytes).into()),
            format_bytes(decoded.into()),
            decoded as f64 / 1e6 / seconds.max(1e-9),
            format_bytes(memory::peak().into()),
        ));
        note_outside(&self.counters.outside());
    }

    /// Runs in a way of its own, with progress and the summary.
    pub(crate) fn deliver_by(
        &self,
        common: &Common,
        way: impl FnOnce(&OpenCube, &Prepared, &Planned, &Counters, &RunOptions) -> Result<(), CliError>,
    ) -> Result<ExitCode, CliError> {
        self.warn_of_amplification(common);
        let leaves = self.prepared.leaves(&self.plan);
        let work = || way(&self.cube, &self.prepared, &self.plan, &self.counters, &self.options);
        progress::shown(common, &self.counters, leaves, work)?;
        self.summary(common);
        Ok(ExitCode::SUCCESS)
    }

    /// Runs to where the result goes; `shape` makes its table.
    pub(crate) fn deliver(
        &self,
        common: &Common,
        shape: impl Fn(Vec<Record>) -> Vec<Record>,
    ) -> Result<ExitCode, CliError> {
        self.deliver_by(common, |_, _, _, _, _| self.deliver_to(common, shape))
    }

    fn deliver_to(&self, common: &Common, shape: impl Fn(Vec<Record>) -> Vec<Record>) -> Result<(), CliError> {
        match &self.destination {
            Destination::Nothing => {
                self.prepared.run_dry(&self.cube, &self.plan, &self.counters, &self.options)?;
            }
            Destination::Screen => output::print(&shape(self.records()?), common.json())?,
            Destination::Table { path, kind, replace } => {
                output::save(&shape(self.records()?), path, *kind, *replace)?;
            }
            Destination::Cube(options) => {
                warn_of_removal(&options.place, "", options.existing, common)?;
                self.prepared.write(&self.cube, options, &self.plan, &self.counters, &self.options)?;
            }
        }
        Ok(())
    }

    /// Says how often chunks are decoded, where the budget makes that more than once.
    fn warn_of_amplification(&self, common: &Common) {
        let most = self.plan.schedules.iter().map(|s| s.amplification).fold(1.0, f64::max);
        if most >= 1.005 && !common.quiet {
            output::note(&format!(
                "within this budget chunks are decoded {most:.1} × (more memory would decode fewer)"
            ));
        }
    }
}

/// Says that an old cube goes first, where the store cannot swap.
pub(crate) fn warn_of_removal(place: &Place, group: &str, existing: Existing, common: &Common) -> Result<(), CliError> {
    if existing == Existing::Overwrite && !common.quiet && place.goes_first(group)? {
        output::note(&format!("what lies at `{}` is removed before the new cube is written", place.location()));
    }
    Ok(())
}

/// Says how many cells lie outside of a valid range that was not applied.
fn note_outside(found: &BTreeMap<String, u64>) {
    for (name, cells) in found {
        let what = if *cells == 1 { "cell of" } else { "cells of" };
        let lies = if *cells == 1 { "lies" } else { "lie" };
        output::note(&format!("{cells} {what} `{name}` {lies} outside its valid range; `--valid` leaves them out"));
    }
}

/// The command line, for the history of what is written.
pub(crate) fn words() -> String {
    let quoted = |w: String| if w.contains(' ') { format!("'{w}'") } else { w };
    let mut words = Vec::new();
    let mut given = std::env::args().skip(1);
    while let Some(word) = given.next() {
        // What a later reader of the cube has no use for, and may not know.
        match word.strip_prefix("--storage") {
            Some("") => words.push(format!("--storage {}", mask_option(&given.next().unwrap_or_default()))),
            Some(option) => words.push(format!("--storage={}", mask_option(option.trim_start_matches('=')))),
            None => words.push(quoted(mask(&word))),
        }
    }
    words.join(" ")
}
