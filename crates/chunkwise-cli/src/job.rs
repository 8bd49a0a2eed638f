//! What the computing commands share: from arguments to a request, its run, its summary, its explanation.

mod destination;

pub(crate) use destination::{Destination, destination, export_to, refuse_ending};

use crate::args::{Common, DecodeArgs, JobArgs, SelectArgs};
use crate::bytes::format_bytes;
use crate::call;
use crate::cmd::info::decode_options;
use crate::exit::{interrupted, leaving_at_once};
use crate::failed::{Failed, Kind};
#[cfg(feature = "parquet")]
use crate::output::CallerTable;
use crate::output::{self, Json, Record, TableWriter};
use crate::progress;
use chunkwise::error::OpenError;
use chunkwise::exec::{Counters, RunOptions};
use chunkwise::export::ExportError;
use chunkwise::job::plan::{Bounds, Certainty, Explained, Limits, Planned, Refused, TooMuch};
use chunkwise::job::{JobError, MOST_ROWS, OtherAxes, Prepared, Request, plane};
use chunkwise::memory;
use chunkwise::open::{OpenCube, OpenOptions, open_with};
use chunkwise::store::secret::{mask, mask_option};
use chunkwise::store::{Access, Store as _};
use chunkwise::write::{Existing, Place, WriteError};
use chunkwise_core::crs::Crs;
use chunkwise_core::plan::fetch::Prices;
use chunkwise_core::plan::schedule::{Redecode, Target};
use chunkwise_core::select::{BoxQuery, parse_isel, parse_sel};
use chunkwise_core::stat::Statistic;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

impl From<JobError> for Failed {
    fn from(error: JobError) -> Failed {
        match error {
            JobError::Open(e) => e.into(),
            JobError::Lower(chunkwise_core::plan::lower::LowerError::Expr(e)) => {
                let hint = e.hint();
                let failed = Failed::of(e);
                match hint {
                    Some(hint) => failed.with_hint(hint),
                    None => failed,
                }
            }
            JobError::TooManyRows { .. } => Failed::of(error).with_hint("write a cube with `-o OUT.zarr`"),
            JobError::Write(e) => match e.downcast::<WriteError>() {
                Ok(e) => (*e).into(),
                Err(e) => Failed::of(JobError::Write(e)),
            },
            other => Failed::of(other),
        }
    }
}

impl From<ExportError> for Failed {
    fn from(error: ExportError) -> Failed {
        match error {
            ExportError::Interrupted => JobError::Exec(chunkwise::exec::ExecError::Interrupted).into(),
            ExportError::Mixed { .. } => Failed::of(error).with_hint("name one of them with `--var`"),
            other => Failed::of(other),
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
) -> Result<(OpenCube, Request), Failed> {
    let cube = open_cube(location, &OpenOptions { decode: decode_options(decode)?, storage: common.storage()? })?;
    cube.set_memory_limit(job.resources.memory_limit());
    let mut request = Request {
        variables: select.var.clone(),
        formulas: select.calc.clone(),
        mask: select.mask.clone(),
        ..Request::default()
    };
    for text in &select.sel {
        request.sel.extend(parse_sel(text).map_err(Failed::of)?);
    }
    for text in &select.isel {
        request.isel.extend(parse_isel(text).map_err(Failed::of)?);
    }
    if let Some(text) = &select.bbox {
        request.bbox = Some(bbox(text, &select.bbox_crs, select, &cube)?);
    }
    Ok((cube, request))
}

/// `--bbox`, in the axes of what the job works on: cells whose centre lies in the rectangle around the box.
fn bbox(text: &str, crs: &str, select: &SelectArgs, cube: &OpenCube) -> Result<BoxQuery, Failed> {
    let numbers: Option<Vec<f64>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
    let Some(Ok(bounds)) = numbers.map(<[f64; 4]>::try_from) else {
        return Err(Failed::says(format!("`--bbox {text}` is not four numbers W,S,E,N")));
    };
    let given = match crs.trim().eq_ignore_ascii_case("cube") {
        true => None,
        false => Some(Crs::parse(crs).map_err(Failed::of)?),
    };
    let found = plane(&cube.cube, &select.var, &select.calc).map_err(|OtherAxes { one, other }| {
        Failed::says(format!("`--bbox` with `{one}` and `{other}`, which lie along other axes"))
            .with_hint("name one of them with `--var`")
    })?;
    let georeference = found.unwrap_or_default();
    // Without labels a box would be one of indices.
    let dims = georeference.dims.iter().flat_map(|d| [&d.x, &d.y]);
    if let Some(dim) = dims.into_iter().find(|d| cube.cube.coordinate(d).is_none()) {
        return Err(Failed::says(format!("`--bbox {text}`: `{dim}` has no coordinate, so its cells cannot be placed"))
            .with_hint(format!("select by index: `--isel {dim}=A:B`")));
    }
    georeference.box_query(bounds, given.as_ref()).map_err(|e| Failed::says(format!("`--bbox {text}`: {e}")))
}

/// The statistics by name.
pub(crate) fn statistics(names: &[String]) -> Result<Vec<Statistic>, Failed> {
    let mut found = Vec::new();
    for name in names {
        let Some(s) = Statistic::from_name(name.trim()) else {
            let has: Vec<&str> = Statistic::ALL.iter().map(|s| s.name()).collect();
            return Err(
                Failed::says(format!("no statistic `{name}`; there are {}", has.join(", "))).with_kind(Kind::Key)
            );
        };
        if !found.contains(&s) {
            found.push(s);
        }
    }
    Ok(found)
}

/// A job that is ready to run within its memory.
pub(crate) struct Ready {
    cube: Arc<OpenCube>,
    prepared: Prepared,
    destination: Destination,
    options: RunOptions,
    counters: Arc<Counters>,
    plan: Planned,
    /// Where one job stands for many: what all of them cost, and their leaves.
    all: Option<(Explained, u64)>,
    began: Instant,
}

/// What a job may take.
pub(crate) fn limits(job: &JobArgs) -> Limits {
    let redecode = if job.allow_redecode { Redecode::Allowed } else { Redecode::Bounded };
    let usual = Prices::default();
    let prices = Prices {
        egress_per_gb: job.egress_price.unwrap_or(usual.egress_per_gb),
        requests_per_1000: job.request_price.unwrap_or(usual.requests_per_1000),
    };
    Limits { memory: job.resources.memory_limit(), threads: job.resources.threads().get(), redecode, prices }
}

/// Plans beside what takes `own` bytes.
pub(crate) fn beside<T>(
    own: u64,
    limits: Limits,
    plan: impl FnOnce(Limits) -> Result<T, JobError>,
) -> Result<T, JobError> {
    plan(Limits { memory: limits.memory.saturating_sub(own), ..limits }).map_err(|error| match error {
        JobError::Memory(refused) => {
            let needed = refused.needed.saturating_add(own).checked_next_multiple_of(1 << 20).unwrap_or(u64::MAX);
            Refused { needed }.into()
        }
        other => other,
    })
}

/// Why a job is not run, where that is its memory with the budget that would do.
pub(crate) fn unplanned(error: JobError, job: &JobArgs) -> Failed {
    let JobError::Memory(refused) = error else { return error.into() };
    let needs = format_bytes(refused.needed.into());
    let has = format_bytes(job.resources.memory_limit().into());
    Failed::says(format!("the job needs {needs}, the budget is {has}"))
        .with_kind(Kind::Memory)
        .with_hint(format!("pass `--memory {}MiB`", refused.needed.div_ceil(1 << 20)))
}

/// Whether a job stays within `--max-requests` and `--max-bytes`; `explained` is asked only where there are such.
fn check_bounds(job: &JobArgs, explained: impl FnOnce() -> Result<Explained, Failed>) -> Result<(), Failed> {
    let bounds = Bounds { requests: job.max_requests, bytes: job.max_bytes.map(|b| b.0) };
    if bounds.requests.is_none() && bounds.bytes.is_none() {
        return Ok(());
    }
    let hint = |what: &str| format!("select less of the cube, or raise `--max-{what}`");
    explained()?.check(bounds).map_err(|e| match e {
        TooMuch::Requests { .. } => Failed::of(e).with_hint(hint("requests")),
        TooMuch::Bytes { .. } => Failed::of(e).with_hint(hint("bytes")),
    })
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
    ) -> Result<Ready, Failed> {
        let cube = cube.into();
        let mut destination = destination;
        if let Destination::File(options, export) = &mut destination {
            for stage in prepared.results() {
                let dims: Vec<&str> = stage.output_dims().map(|d| prepared.output_name(&stage.dims[d].name)).collect();
                export.lay_out(&dims, options);
            }
        }
        let targets = match &destination {
            Destination::Nothing => vec![Target::Nothing; prepared.chains.len()],
            // Told as it would run with an output; the run itself needs one.
            to if to.is_table() && job.explain && prepared.rows() > MOST_ROWS => {
                output::note(&format!(
                    "a table of {} rows is not printed: to run, write a cube with `-o OUT.zarr`",
                    prepared.rows()
                ));
                vec![Target::Nothing; prepared.chains.len()]
            }
            Destination::Cube(options) | Destination::File(options, ..) => prepared.arrays(&cube, options)?.targets(),
            _ => vec![Target::Memory; prepared.chains.len()],
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
    ) -> Result<Ready, Failed> {
        let mut plan = plan(&prepared, &cube, limits(job)).map_err(|e| unplanned(e, job))?;
        plan.memory = plan.memory.max(memory::peak());
        check_bounds(job, || Ok(prepared.explain(&cube, &plan)?))?;
        let options = RunOptions { ddof: ddof.into(), min_count: min_count.unwrap_or(1), cancel: interrupted() };
        let counters = Arc::new(Counters::default());
        Ok(Ready { cube, prepared, destination, options, counters, plan, all: None, began: Instant::now() })
    }

    /// Stands for many jobs, which cost so much together and have so many leaves.
    ///
    /// # Errors
    /// Together they ask more of the store than they may.
    pub(crate) fn of_all(mut self, mut all: Explained, leaves: u64, job: &JobArgs) -> Result<Ready, Failed> {
        check_bounds(job, || Ok(all.clone()))?;
        all.total.memory_bytes = all.total.memory_bytes.max(self.plan.memory);
        self.all = Some((all, leaves));
        Ok(self)
    }

    /// The plan's figures.
    pub(crate) fn explained(&self) -> Result<Explained, Failed> {
        match &self.all {
            Some((all, _)) => Ok(all.clone()),
            None => Ok(self.prepared.explain(&self.cube, &self.plan)?),
        }
    }

    /// Prints the plan's figures.
    pub(crate) fn explain(&self, json: Json) -> Result<ExitCode, Failed> {
        let explained = self.explained()?;
        match json {
            Json::Yes => output::print_json(&explained)?,
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
    pub(crate) fn records(&self) -> Result<Vec<Record>, Failed> {
        Ok(self.prepared.records(&self.cube, &self.plan, &self.counters, &self.options)?)
    }

    /// Runs in a way of its own.
    ///
    /// # Errors
    /// As the way.
    pub(crate) fn run<T>(
        &self,
        way: impl FnOnce(&OpenCube, &Prepared, &Planned, &Counters, &RunOptions) -> Result<T, JobError>,
    ) -> Result<T, Failed> {
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
            "{chunks} chunks{absent}, {} requests{again}, {} read{beside}, {} decoded in {seconds:.2} s ({:.0} MB/s){}",
            get(&self.counters.requests) + repeated,
            format_bytes(get(&self.counters.encoded_bytes).into()),
            format_bytes(decoded.into()),
            decoded as f64 / 1e6 / seconds.max(1e-9),
            output::peak_memory(),
        ));
        note_outside(&self.counters.outside());
    }

    /// Runs in a way of its own, with progress and the summary.
    pub(crate) fn deliver_by(
        &self,
        common: &Common,
        way: impl FnOnce(&OpenCube, &Prepared, &Planned, &Counters, &RunOptions) -> Result<(), Failed>,
    ) -> Result<ExitCode, Failed> {
        self.warn_of_amplification(common);
        let leaves = self.all.as_ref().map_or_else(|| self.prepared.leaves(&self.plan), |(_, leaves)| *leaves);
        let work = || way(&self.cube, &self.prepared, &self.plan, &self.counters, &self.options);
        progress::shown(common, &self.counters, leaves, work)?;
        self.summary(common);
        Ok(ExitCode::SUCCESS)
    }

    /// Runs a job that gives rows, to where these go; of one column all values are known before, and some hold counts.
    pub(crate) fn rows<'a>(
        &self,
        common: &Common,
        (column, values): (&str, impl Iterator<Item = &'a Value>),
        counts: impl Iterator<Item = &'a str>,
        run: impl FnOnce(&mut dyn FnMut(Record) -> Result<(), Failed>) -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        match &self.destination {
            Destination::Nothing => run(&mut |_| Ok(())),
            Destination::Table(to) => {
                let mut table = TableWriter::create(to)?;
                table.holds(column, values);
                counts.for_each(|column| table.counts(column));
                run(&mut |record| table.write(&record))?;
                table.finish()
            }
            #[cfg(feature = "parquet")]
            Destination::Caller(times) => {
                let mut table = CallerTable::new(times);
                table.holds(column, values);
                counts.for_each(|column| table.counts(column));
                run(&mut |record| table.write(record))?;
                table.finish()
            }
            Destination::Screen | Destination::Cube(_) | Destination::File(..) => {
                let mut records = Vec::new();
                run(&mut |record| {
                    records.push(record);
                    Ok(())
                })?;
                output::print(&records, common.json())
            }
        }
    }

    /// Runs to where the result goes; `shape` makes its table.
    pub(crate) fn deliver(
        &self,
        common: &Common,
        shape: impl Fn(Vec<Record>) -> Vec<Record>,
    ) -> Result<ExitCode, Failed> {
        self.deliver_by(common, |_, _, _, _, _| self.deliver_to(common, shape))
    }

    fn deliver_to(&self, common: &Common, shape: impl Fn(Vec<Record>) -> Vec<Record>) -> Result<(), Failed> {
        match &self.destination {
            Destination::Nothing => {
                self.prepared.run_dry(&self.cube, &self.plan, &self.counters, &self.options)?;
            }
            Destination::Screen => output::print(&shape(self.records()?), common.json())?,
            Destination::Table(to) => output::save(&shape(self.records()?), to)?,
            #[cfg(feature = "parquet")]
            Destination::Caller(times) => {
                let mut table = CallerTable::new(times);
                shape(self.records()?).into_iter().try_for_each(|record| table.write(record))?;
                table.finish()?;
            }
            Destination::Cube(options) => {
                warn_of_removal(&options.place, "", options.existing, common)?;
                self.prepared.write(&self.cube, options, &self.plan, &self.counters, &self.options)?;
            }
            Destination::File(options, export) => {
                self.prepared.write(&self.cube, options, &self.plan, &self.counters, &self.options)?;
                export.run(options, &self.counters, &self.options)?;
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
pub(crate) fn warn_of_removal(place: &Place, group: &str, existing: Existing, common: &Common) -> Result<(), Failed> {
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
    let mut given = call::words().into_iter();
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
