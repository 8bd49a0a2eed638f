//! `chunkwise demo`: the example cube, and what can be asked of it.

mod cube;
mod folder;

use crate::args::{Common, JobArgs};
use crate::bytes::format_bytes;
use crate::cmd::info;
use crate::exit::CliError;
use crate::job::{Destination, Ready};
use crate::output::{self, Json, Record, printable};
use chunkwise::job::output::OutputOptions;
use chunkwise::job::{Over, Request, label_values, prepare};
use chunkwise::memory;
use chunkwise::open::{OpenCube, open};
use chunkwise::write::{Existing, Place, ZarrVersion};
use chunkwise_core::select::parse_isel;
use chunkwise_core::stat::Statistic;
use clap::Args;
use folder::DemoFolder;
use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// The least memory in which all steps run.
const LEAST: u64 = 64 << 20;
/// What `chunkwise stats` tells.
const SUMMARY: [Statistic; 6] =
    [Statistic::Count, Statistic::Missing, Statistic::Min, Statistic::Max, Statistic::Mean, Statistic::Std];
const NDVI: &str = "ndvi = (nir - red) / (nir + red)";
/// The pixel whose series is shown, by row and column.
const PIXEL: &str = "y=500,x=500";

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Folder that is made; one that an earlier run made is made anew.
    #[arg(short, long, default_value = "chunkwise-demo")]
    pub(crate) output: String,
    #[command(flatten)]
    pub(crate) job: JobArgs,
}

pub(crate) fn run(args: &DemoArgs, common: &Common) -> Result<ExitCode, CliError> {
    if args.job.explain {
        return Err(CliError::says("`demo` is no single job to explain")
            .hint("its output shows the command of each step; `--explain` works behind those"));
    }
    let limit = args.job.resources.memory_limit();
    if limit < LEAST {
        return Err(CliError::says(format!(
            "the demo needs {}, the budget is {}",
            format_bytes(LEAST.into()),
            format_bytes(limit.into())
        ))
        .hint(format!("pass `--memory {}MiB`", LEAST >> 20)));
    }
    let folder = DemoFolder::take(&args.output)?;
    let demo = Demo { args, common, cube: shown(&folder.cube()), mean: shown(&folder.mean()) };
    let began = Instant::now();
    let steps = [
        demo.make(&folder)?,
        demo.structure()?,
        demo.access()?,
        demo.mean(&folder)?,
        demo.series()?,
        demo.statistics()?,
    ];
    if common.json() == Json::Yes {
        let mut about = Map::new();
        about.insert("location".to_owned(), args.output.clone().into());
        about.insert("seconds".to_owned(), began.elapsed().as_secs_f64().into());
        about.insert("memory_bytes".to_owned(), limit.into());
        about.insert("peak_memory_bytes".to_owned(), memory::peak().into());
        about.extend(steps);
        output::print_json(&Value::Object(about))?;
    } else if !common.quiet {
        let seconds = began.elapsed().as_secs_f64();
        let peak = format_bytes(memory::peak().into());
        output::note(&format!("all in {seconds:.2} s, peak memory {peak} of {}", format_bytes(limit.into())));
    }
    Ok(ExitCode::SUCCESS)
}

/// Name of a step, and what it gave.
type Step = (String, Value);

/// What a step read or wrote.
#[derive(Clone, Copy, Debug)]
struct Moved {
    chunks: u64,
    decoded_bytes: u64,
}

struct Demo<'a> {
    args: &'a DemoArgs,
    common: &'a Common,
    cube: String,
    mean: String,
}

impl Demo<'_> {
    fn make(&self, folder: &DemoFolder) -> Result<Step, CliError> {
        let began = Instant::now();
        let chunks = folder.make_cube(|part| cube::make(part, self.args.job.resources.threads()))?;
        let made = open(&self.cube)?;
        let cells = made.cube.variables.get(cube::VARIABLE).map_or(0, |v| v.cells());
        let moved = Moved { chunks, decoded_bytes: 2 * cells as u64 };
        let command = cube::command(&quoted(&self.cube));
        self.step(
            "make",
            "The cube, filled through the library (`write_region`)",
            began,
            &[command],
            Some(moved),
            |_| Ok(json!({ "location": self.cube })),
        )
    }

    fn structure(&self) -> Result<Step, CliError> {
        let began = Instant::now();
        let about = info::describe(&open(&self.cube)?)?;
        let command = format!("chunkwise info {}", quoted(&self.cube));
        self.step("structure", "What it is", began, &[command], None, |json| {
            if json == Json::No {
                output::stdout(|out| info::screen::write(&about, out))?;
            }
            Ok(Value::Object(about))
        })
    }

    /// How many chunks are needed for what.
    fn access(&self) -> Result<Step, CliError> {
        let began = Instant::now();
        let everything = Request { statistics: SUMMARY.to_vec(), over: Over::All, ..Request::default() };
        let within = |isel: &str, request: &Request| -> Result<Request, CliError> {
            Ok(Request { isel: parse_isel(isel).map_err(CliError::of)?, ..request.clone() })
        };
        let map = Request {
            over: Over::Dims(vec!["band".to_owned()]),
            statistics: vec![Statistic::Mean],
            ..Request::default()
        };
        let corner = "y=0:500,x=0:500";
        let asked = [
            ("series of a pixel", format!("series CUBE --iat {PIXEL}"), within(PIXEL, &Request::default())?),
            (
                "map of a month",
                "reduce CUBE --over band --with mean --isel time=0 -o none".to_owned(),
                within("time=0", &map)?,
            ),
            ("500 × 500 through time", format!("stats CUBE --isel {corner}"), within(corner, &everything)?),
            ("everything", "stats CUBE".to_owned(), everything),
        ];
        let (mut rows, mut commands): (Vec<Record>, Vec<String>) = Default::default();
        for (access, words, request) in asked {
            let ready = self.ready(&request, Destination::Nothing)?;
            let total = ready.run(|cube, prepared, plan, _, _| prepared.explain(cube, plan))?.total;
            let mut row = Record::new();
            row.insert("access".to_owned(), access.into());
            row.insert("chunks".to_owned(), total.chunks.into());
            row.insert("decoded_bytes".to_owned(), total.decoded_bytes.into());
            rows.push(row);
            commands.push(format!("chunkwise {} --explain", words.replace("CUBE", &quoted(&self.cube))));
        }
        self.step("access", "What an answer takes", began, &commands, None, |json| {
            if json == Json::No {
                let readable = |row: &Record| {
                    let mut row = row.clone();
                    let bytes = row.shift_remove("decoded_bytes").and_then(|b| b.as_f64()).unwrap_or_default();
                    row.insert("decoded".to_owned(), megabytes(bytes).into());
                    row
                };
                output::print(&rows.iter().map(readable).collect::<Vec<_>>(), json)?;
            }
            Ok(rows.into())
        })
    }

    fn mean(&self, folder: &DemoFolder) -> Result<Step, CliError> {
        let began = Instant::now();
        let options = OutputOptions {
            place: Place::Folder(folder.mean()),
            existing: Existing::Refuse,
            inputs: vec![folder.cube().display().to_string()],
            zarr: ZarrVersion::V3,
            chunks: IndexMap::new(),
            shards: IndexMap::new(),
            codec: None,
            dtype: None,
            // Not the folder's name: the bytes are the same wherever the demo runs.
            history: format!(
                "chunkwise {}: reduce cube.zarr --over time --with mean -o mean.zarr",
                env!("CARGO_PKG_VERSION")
            ),
        };
        let over_time = Request {
            over: Over::Dims(vec!["time".to_owned()]),
            statistics: vec![Statistic::Mean],
            ..Request::default()
        };
        let ready = self.ready(&over_time, Destination::Cube(Box::new(options.clone())))?;
        let moved = ready.run(|cube, prepared, plan, counters, how| {
            prepared.write(cube, &options, plan, counters, how)?;
            Ok(Moved::of(counters))
        })?;
        let (cube, mean) = (quoted(&self.cube), quoted(&self.mean));
        let command = format!("chunkwise reduce {cube} --over time --with mean -o {mean}");
        self.step("mean", "Mean over time, as a cube", began, &[command], Some(moved), |json| {
            if json == Json::No {
                let written = open(&self.mean)?;
                let dims: Vec<String> = written.cube.dims.iter().map(|(d, n)| format!("{d}={n}")).collect();
                let text = format!("{}  ({})", printable(&self.mean), dims.join(", "));
                output::stdout(|out| writeln!(out, "{text}"))?;
            }
            Ok(json!({ "location": self.mean }))
        })
    }

    fn series(&self) -> Result<Step, CliError> {
        let began = Instant::now();
        let at = parse_isel(PIXEL).map_err(CliError::of)?;
        let request = Request { formulas: vec![NDVI.to_owned()], isel: at.clone(), ..Request::default() };
        let ready = self.ready(&request, Destination::Screen)?;
        let found = ready.records()?;
        let moved = ready.run(|_, _, _, counters, _| Ok(Moved::of(counters)))?;
        let cube = open(&self.cube)?;
        let mut rows = Vec::new();
        for mut record in found {
            let mut row = Record::new();
            row.insert("point".to_owned(), 0.into());
            for (dim, query) in &at {
                if let chunkwise_core::select::IndexQuery::One(i) = query {
                    row.insert(dim.clone(), label_values(&*cube.labels(dim)?).swap_remove(*i as usize));
                }
            }
            let value = record.shift_remove("value").unwrap_or(Value::Null);
            record.shift_remove("variable");
            row.extend(record);
            row.insert("ndvi".to_owned(), value);
            rows.push(row);
        }
        let command = format!("chunkwise series {} --iat {PIXEL} --calc '{NDVI}'", quoted(&self.cube));
        self.step("series", "NDVI of a pixel by month", began, &[command], Some(moved), |json| {
            if json == Json::No {
                output::print(&rows, json)?;
            }
            Ok(rows.into())
        })
    }

    fn statistics(&self) -> Result<Step, CliError> {
        let began = Instant::now();
        let request =
            Request { statistics: SUMMARY.to_vec(), over: Over::AllBut(vec!["band".to_owned()]), ..Request::default() };
        let ready = self.ready(&request, Destination::Screen)?;
        let rows = ready.records()?;
        let moved = ready.run(|_, _, _, counters, _| Ok(Moved::of(counters)))?;
        let command = format!("chunkwise stats {} --by band", quoted(&self.cube));
        self.step("stats", "Statistics of each band", began, &[command], Some(moved), |json| {
            if json == Json::No {
                output::print(&rows, json)?;
            }
            Ok(rows.into())
        })
    }

    fn ready(&self, request: &Request, to: Destination) -> Result<Ready, CliError> {
        let cube: OpenCube = open(&self.cube)?;
        let prepared = prepare(&cube, request)?;
        Ready::new(cube, prepared, to, &self.args.job, 0, None)
    }

    /// Shows a step that is done: its commands, its result, its time and memory.
    fn step(
        &self,
        name: &str,
        title: &str,
        began: Instant,
        commands: &[String],
        moved: Option<Moved>,
        result: impl FnOnce(Json) -> Result<Value, CliError>,
    ) -> Result<Step, CliError> {
        let (seconds, peak) = (began.elapsed().as_secs_f64(), memory::peak());
        let json = self.common.json();
        if json == Json::No {
            let commands: Vec<String> = commands.iter().map(|c| format!("$ {}", printable(c))).collect();
            output::stdout(|out| writeln!(out, "# {title}\n{}", commands.join("\n")))?;
        }
        let result = result(json)?;
        if json == Json::No {
            let moved = moved
                .map_or_else(String::new, |m| format!("{} chunks, {}, ", m.chunks, megabytes(m.decoded_bytes as f64)));
            let peak = format_bytes(peak.into());
            output::stdout(|out| writeln!(out, "({moved}{seconds:.2} s, peak memory {peak})\n"))?;
        }
        let command: Value = match commands {
            [one] => one.as_str().into(),
            many => many.to_vec().into(),
        };
        let about = json!({
            "command": command,
            "seconds": seconds,
            "peak_memory_bytes": peak,
            "chunks": moved.map(|m| m.chunks),
            "decoded_bytes": moved.map(|m| m.decoded_bytes),
            "result": result,
        });
        Ok((name.to_owned(), about))
    }
}

impl Moved {
    fn of(counters: &chunkwise::exec::Counters) -> Moved {
        Moved {
            chunks: counters.chunks.load(Ordering::Relaxed),
            decoded_bytes: counters.decoded_bytes.load(Ordering::Relaxed),
        }
    }
}

fn megabytes(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%,=".contains(c);
    if path.chars().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}
