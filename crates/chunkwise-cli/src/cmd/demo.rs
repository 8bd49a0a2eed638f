//! `chunkwise demo`: the example cube, and what can be asked of it.

mod cube;
mod folder;
mod report;
mod zones;

use crate::args::{Cli, Command, Common, JobArgs};
use crate::bytes::format_bytes;
use crate::cmd::info::access::megabytes;
use crate::cmd::zonal::polygons;
use crate::cmd::{info, plot};
use crate::exit::interrupted;
use crate::failed::{Failed, Kind};
use crate::job::{Destination, Ready, limits, unplanned};
use crate::output::{self, Json, Record, printable};
use chunkwise::exec::{Counters, RunOptions};
use chunkwise::job::output::OutputOptions;
use chunkwise::job::points::PointSeries;
use chunkwise::job::zonal::{PlacedZones, ZonalRequest, ZonesOf};
use chunkwise::job::{JobError, Over, Request, label_values, prepare};
use chunkwise::memory;
use chunkwise::open::{OpenCube, open};
use chunkwise_core::select::{IndexQuery, parse_isel};
use chunkwise_core::stat::Statistic;
use chunkwise_core::zonal::{Touch, ZonalStatistic};
use clap::{Args, Parser as _};
use folder::DemoFolder;
use report::Page;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// The least memory in which all steps run.
const LEAST: u64 = 96 << 20;
/// What `chunkwise stats` tells.
const SUMMARY: [Statistic; 6] =
    [Statistic::Count, Statistic::Missing, Statistic::Min, Statistic::Max, Statistic::Mean, Statistic::Std];
const NDVI: &str = "ndvi = (nir - red) / (nir + red)";
/// The pixel whose series is shown, by row and column.
const PIXEL: &str = "y=500,x=500";

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  chunkwise demo -o chunkwise-demo")]
pub(crate) struct DemoArgs {
    /// Folder that is made; one that an earlier run made is made anew.
    #[arg(short, long, default_value = "chunkwise-demo")]
    pub(crate) output: String,
    #[command(flatten)]
    pub(crate) job: JobArgs,
}

pub(crate) fn run(args: &DemoArgs, common: &Common) -> Result<ExitCode, Failed> {
    if args.job.explain {
        return Err(Failed::says("`demo` is no single job to explain")
            .with_hint("its output shows the command of each step; `--explain` works behind those"));
    }
    let limit = args.job.resources.memory_limit();
    if limit < LEAST {
        return Err(Failed::says(format!(
            "the demo needs {}, the budget is {}",
            format_bytes(LEAST.into()),
            format_bytes(limit.into())
        ))
        .with_kind(Kind::Memory)
        .with_hint(format!("pass `--memory {}MiB`", LEAST >> 20)));
    }
    let folder = DemoFolder::take(&args.output)?;
    let cube = shown(&folder.cube());
    let mut demo =
        Demo { args, common, folder: &folder, cube, page: Page::default(), steps: Map::new(), files: Vec::new() };
    let began = Instant::now();
    demo.make()?;
    demo.structure()?;
    let card = demo.access()?;
    demo.mean()?;
    let series = demo.series()?;
    let (last_month, all_months) = demo.zones()?;
    let green = demo.statistics()?;
    demo.pictures()?;
    let report = folder.file("report.html");
    demo.page.save(&report, "chunkwise: a datacube, chunk by chunk")?;
    demo.files.push(shown(&report));
    let seconds = began.elapsed().as_secs_f64();
    if common.json() == Json::Yes {
        output::print_json(&json!({
            "cube": demo.cube,
            "chunks": card,
            "ndvi_series": series,
            "zones_last_month": last_month,
            "zones_all_months": all_months,
            "green_mean": green,
            "files": demo.files,
            "seconds": seconds,
            "memory_bytes": limit,
            "peak_memory_bytes": memory::peak(),
            "steps": demo.steps,
        }))?;
    } else {
        output::stdout(|out| writeln!(out, "open {}", printable(&shown(&report))))?;
        if !common.quiet {
            let peak = format_bytes(memory::peak().into());
            output::note(&format!("all in {seconds:.2} s, peak memory {peak} of {}", format_bytes(limit.into())));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What a step read or wrote.
#[derive(Clone, Copy, Debug)]
struct Moved {
    chunks: u64,
    decoded_bytes: u64,
}

/// A step that is done.
struct Step<'a> {
    name: &'a str,
    title: &'a str,
    began: Instant,
    commands: Vec<String>,
    moved: Option<Moved>,
}

/// What a step shows to people.
enum Shows {
    Nothing,
    Text(String),
    Table(Vec<Record>),
    Rows(Vec<Vec<String>>, Vec<String>),
    Picture(PathBuf, &'static str),
}

struct Demo<'a> {
    args: &'a DemoArgs,
    common: &'a Common,
    folder: &'a DemoFolder,
    cube: String,
    page: Page,
    steps: Map<String, Value>,
    files: Vec<String>,
}

impl Demo<'_> {
    fn make(&mut self) -> Result<(), Failed> {
        let began = Instant::now();
        let chunks = self.folder.make_cube(|part| cube::make(part, self.args.job.resources.threads()))?;
        let made = open(&self.cube)?;
        let cells = made.cube.variables.get(cube::VARIABLE).map_or(0, |v| v.cells());
        let moved = Moved { chunks, decoded_bytes: 2 * cells as u64 };
        let step = Step {
            name: "make",
            title: "The cube, filled through the library (`write_region`)",
            began,
            commands: vec![cube::command(&quoted(&self.cube))],
            moved: Some(moved),
        };
        self.files.push(self.cube.clone());
        self.done(step, Shows::Nothing, json!({ "location": self.cube }))
    }

    fn structure(&mut self) -> Result<(), Failed> {
        let began = Instant::now();
        let about = info::describe(&open(&self.cube)?)?;
        let mut text = Vec::new();
        // Into memory nothing fails.
        let _ = info::screen::write(&about, &mut text);
        let commands = vec![format!("chunkwise info {}", quoted(&self.cube))];
        let step = Step { name: "structure", title: "What it is", began, commands, moved: None };
        self.done(step, Shows::Text(String::from_utf8_lossy(&text).into_owned()), Value::Object(about))
    }

    /// How many chunks are needed for what.
    fn access(&mut self) -> Result<Value, Failed> {
        let began = Instant::now();
        let cube = open(&self.cube)?;
        let cards = info::access::cards(&cube.cube);
        let Some(card) = cards.first() else { return Err(Failed::says("the cube of the demo has no chunks")) };
        let quoted = quoted(&self.cube);
        let mut commands = vec![format!("chunkwise info {quoted} --access")];
        let asked = [
            format!("series CUBE --iat {PIXEL}"),
            "reduce CUBE --over band --with mean --isel time=0 -o none".to_owned(),
            "stats CUBE --isel y=0:500,x=0:500".to_owned(),
            "stats CUBE".to_owned(),
        ];
        commands.extend(asked.map(|words| format!("chunkwise {} --explain", words.replace("CUBE", &quoted))));
        let rows = card.rows().into_iter().map(|row| row.to_vec()).collect();
        let mut says = vec![card.title()];
        says.extend(card.advised());
        let step = Step { name: "access", title: "Chunks, and what an answer takes", began, commands, moved: None };
        let json = card.json();
        self.done(step, Shows::Rows(rows, says), json.clone())?;
        Ok(json)
    }

    fn mean(&mut self) -> Result<(), Failed> {
        let began = Instant::now();
        let place = self.folder.mean();
        let mut options = OutputOptions::new(place.clone());
        options.inputs = vec![self.cube.clone()];
        // Not the folder's name: the bytes are the same wherever the demo runs.
        options.history =
            format!("chunkwise {}: reduce cube.zarr --over time --with mean -o mean.zarr", env!("CARGO_PKG_VERSION"));
        let over_time = Request::reduce(&["time"], &[Statistic::Mean]);
        let ready = self.ready(&over_time, Destination::Cube(Box::new(options.clone())))?;
        let moved = ready.run(|cube, prepared, plan, counters, how| {
            prepared.write(cube, &options, plan, counters, how)?;
            Ok(Moved::of(counters))
        })?;
        let mean = shown(&place);
        let written = open(&mean)?;
        let dims: Vec<String> = written.cube.dims.iter().map(|(d, n)| format!("{d}={n}")).collect();
        let text = format!("{}  ({})", printable(&mean), dims.join(", "));
        let command = format!("chunkwise reduce {} --over time --with mean -o {}", quoted(&self.cube), quoted(&mean));
        let step = Step {
            name: "mean",
            title: "Mean over time, as a cube",
            began,
            commands: vec![command],
            moved: Some(moved),
        };
        self.files.push(mean.clone());
        self.done(step, Shows::Text(text), json!({ "location": mean }))
    }

    fn series(&mut self) -> Result<Vec<Value>, Failed> {
        let began = Instant::now();
        let at = parse_isel(PIXEL).map_err(Failed::of)?;
        let cube = open(&self.cube)?;
        let mut point = Vec::new();
        for (dim, query) in at {
            if let IndexQuery::One(i) = query {
                point.push((dim, i as u64));
            }
        }
        let of = Request { formulas: vec![NDVI.to_owned()], ..Request::default() };
        let series = PointSeries::new(&cube, &of, vec![point.clone()])?;
        let limits = limits(&self.args.job);
        let (plan, ..) = series.plan(&cube, limits, 100).map_err(|e| unplanned(e, &self.args.job))?;
        let mut head = Record::new();
        head.insert("point".to_owned(), 0.into());
        for (dim, i) in &point {
            head.insert(dim.clone(), label_values(&*cube.labels(dim)?).swap_remove(*i as usize));
        }
        let (counters, options) = (Counters::default(), RunOptions { cancel: interrupted(), ..RunOptions::default() });
        let mut rows = Vec::new();
        series.run(
            &cube,
            &plan,
            &counters,
            &options,
            |_| head.clone(),
            |row| {
                rows.push(row);
                Ok::<_, Failed>(())
            },
        )?;
        let values = rows.iter().map(|row| row.get("ndvi").cloned().unwrap_or(Value::Null)).collect();
        let command = format!("chunkwise series {} --iat {PIXEL} --calc '{NDVI}'", quoted(&self.cube));
        let step = Step {
            name: "series",
            title: "NDVI of a pixel by month",
            began,
            commands: vec![command],
            moved: Some(Moved::of(&counters)),
        };
        self.done(step, Shows::Table(rows.clone()), rows.into())?;
        Ok(values)
    }

    /// NDVI of five elevation zones, in the last month and over all.
    fn zones(&mut self) -> Result<(Vec<Value>, Vec<Value>), Failed> {
        let began = Instant::now();
        let file = self.folder.file("elevation_zones.geojson");
        zones::write(&file)?;
        self.files.push(shown(&file));
        let (rows, moved) = self.zonal(&shown(&file))?;
        let last = |row: &&Record| row.get("time").and_then(Value::as_str) == Some("2024-12-15");
        let last: Vec<Record> = rows.iter().filter(last).cloned().collect();
        let (last_month, all_months) = (zones::over_months(&last), zones::over_months(&rows));
        let words = |isel: &str| {
            let (cube, zones) = (quoted(&self.cube), quoted(&shown(&file)));
            format!("chunkwise zonal {cube} --zones {zones} --zone-id label --calc '{NDVI}' --with mean,count{isel}")
        };
        let commands = vec![words(" --isel time=-1:"), words("")];
        let table: Vec<Record> = last_month
            .iter()
            .zip(&all_months)
            .map(|(last, all)| {
                let mut row = Record::new();
                for key in ["zone", "label"] {
                    row.insert(key.to_owned(), last[key].clone());
                }
                row.insert("last month".to_owned(), last["mean"].clone());
                row.insert("pixels".to_owned(), last["count"].clone());
                row.insert("all months".to_owned(), all["mean"].clone());
                row.insert("values".to_owned(), all["count"].clone());
                row
            })
            .collect();
        let title = "NDVI by five elevation zones, in the last month and over all months";
        let step = Step { name: "zones", title, began, commands, moved: Some(moved) };
        let json = json!({ "last_month": last_month, "all_months": all_months, "rows": rows });
        self.done(step, Shows::Table(table), json)?;
        Ok((last_month, all_months))
    }

    /// Mean and count of NDVI by zone and month.
    fn zonal(&self, file: &str) -> Result<(Vec<Record>, Moved), Failed> {
        let cube = open(&self.cube)?;
        let zones = polygons(file, Some("label"), None)?;
        let named = |name: &str| ZonalStatistic::parse(name).map(|s| (name.to_owned(), s)).map_err(Failed::of);
        let of = ZonalRequest {
            of: Request { formulas: vec![NDVI.to_owned()], ..Request::default() },
            statistics: vec![named("mean")?, named("count")?],
            touch: Touch::default(),
        };
        let (placed, prepared) = PlacedZones::new(&cube, &of, &ZonesOf::Polygons(zones))?;
        let plan = |prepared: &_, cube: &_, limits| placed.plan(prepared, cube, limits);
        let ready = Ready::planned(Arc::new(cube), prepared, Destination::Screen, &self.args.job, 0, None, plan)?;
        let mut rows = Vec::new();
        let moved = ready.run(|cube, prepared, plan, counters, options| {
            placed.run(prepared, cube, plan, counters, options, |row| {
                rows.push(row);
                Ok::<_, JobError>(())
            })?;
            Ok(Moved::of(counters))
        })?;
        Ok((rows, moved))
    }

    fn statistics(&mut self) -> Result<Value, Failed> {
        let began = Instant::now();
        let request =
            Request { statistics: SUMMARY.to_vec(), over: Over::AllBut(vec!["band".to_owned()]), ..Request::default() };
        let ready = self.ready(&request, Destination::Screen)?;
        let rows = ready.records()?;
        let moved = ready.run(|_, _, _, counters, _| Ok(Moved::of(counters)))?;
        let commands = vec![format!("chunkwise stats {} --by band", quoted(&self.cube))];
        let green = rows.iter().find(|row| row.get("band").and_then(Value::as_str) == Some("green"));
        let green = green.and_then(|row| row.get("mean").cloned()).unwrap_or(Value::Null);
        let step = Step { name: "stats", title: "Statistics of each band", began, commands, moved: Some(moved) };
        self.done(step, Shows::Table(rows.clone()), rows.into())?;
        Ok(green)
    }

    /// Two maps and two charts, each as the command beside it draws it.
    fn pictures(&mut self) -> Result<(), Failed> {
        let (cube, mean) = (self.cube.clone(), shown(&self.folder.mean()));
        let zones = shown(&self.folder.file("elevation_zones.geojson"));
        let pictures: [(&str, &'static str, Vec<&str>); 4] = [
            (
                "red_month_12.png",
                "Red Band - Month 12",
                vec![&cube, "--sel", "time=2024-12-15,band=red", "--palette", "viridis", "--width", "640"],
            ),
            (
                "green_mean.png",
                "Green Band - Temporal Mean",
                vec![&mean, "--sel", "band=green", "--palette", "greens", "--width", "640"],
            ),
            (
                "ndvi_series.png",
                "NDVI at row 500, column 500",
                vec![&cube, "--calc", NDVI, "--isel", PIXEL, "--range", "-1,1"],
            ),
            (
                "ndvi_zones.png",
                "NDVI by elevation zone - Month 12",
                vec![
                    &cube,
                    "--calc",
                    NDVI,
                    "--isel",
                    "time=-1",
                    "--zones",
                    &zones,
                    "--zone-id",
                    "label",
                    "--with",
                    "mean",
                ],
            ),
        ];
        for (name, title, words) in pictures {
            let began = Instant::now();
            let path = self.folder.file(name);
            let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
            words.extend(["--title".to_owned(), title.to_owned(), "-o".to_owned(), shown(&path)]);
            let command = words.iter().map(|w| quoted(w)).collect::<Vec<_>>().join(" ");
            self.draw(&words)?;
            let commands = vec![format!("chunkwise plot {command}")];
            self.files.push(shown(&path));
            let key = name.trim_end_matches(".png");
            let step = Step { name: key, title, began, commands, moved: None };
            let json = json!({ "location": shown(&path) });
            self.done(step, Shows::Picture(path, title), json)?;
        }
        Ok(())
    }

    /// Runs `chunkwise plot` with these words, in the memory and on the threads of the demo.
    fn draw(&self, words: &[String]) -> Result<(), Failed> {
        let resources = &self.args.job.resources;
        let (memory, threads) = (resources.memory_limit().to_string(), resources.threads().to_string());
        let more = ["--quiet", "--memory", &memory, "--threads", &threads].map(str::to_owned);
        let line = ["chunkwise", "plot"].map(str::to_owned).into_iter().chain(words.iter().cloned()).chain(more);
        let cli = Cli::try_parse_from(line).map_err(|e| Failed::says(e.to_string()))?;
        match &cli.command {
            Command::Plot(args) => plot::run(args, &cli.common).map(drop),
            _ => Ok(()),
        }
    }

    fn ready(&self, request: &Request, to: Destination) -> Result<Ready, Failed> {
        let cube: OpenCube = open(&self.cube)?;
        let prepared = prepare(&cube, request)?;
        Ready::new(cube, prepared, to, &self.args.job, 0, None)
    }

    /// Shows a step that is done: its commands, its result, its time and memory.
    fn done(&mut self, step: Step<'_>, shows: Shows, result: Value) -> Result<(), Failed> {
        let (seconds, peak) = (step.began.elapsed().as_secs_f64(), memory::peak());
        let Step { name, title, commands, moved, .. } = step;
        let took =
            moved.map_or_else(String::new, |m| format!("{} chunks, {}, ", m.chunks, megabytes(m.decoded_bytes as f64)));
        let cost = format!("{took}{seconds:.2} s, peak memory {}", format_bytes(peak.into()));
        self.page.step(title, &commands, &cost);
        match &shows {
            Shows::Nothing => {}
            Shows::Text(text) => self.page.text(text),
            Shows::Table(rows) => self.page.table(&output::cells(rows)),
            Shows::Rows(rows, says) => {
                self.page.table(rows);
                self.page.list(says);
            }
            Shows::Picture(path, what) => self.page.picture(path, what)?,
        }
        if self.common.json() == Json::No {
            let commands: Vec<String> = commands.iter().map(|c| format!("$ {}", printable(c))).collect();
            output::stdout(|out| writeln!(out, "# {title}\n{}", commands.join("\n")))?;
            match shows {
                Shows::Nothing => {}
                Shows::Text(text) => output::stdout(|out| writeln!(out, "{}", text.trim_end()))?,
                Shows::Table(rows) => output::print(&rows, Json::No)?,
                Shows::Rows(rows, says) => {
                    output::stdout(|out| says.iter().try_for_each(|line| writeln!(out, "{line}")))?;
                    output::aligned(&rows)?;
                }
                Shows::Picture(path, _) => output::stdout(|out| writeln!(out, "{}", printable(&shown(&path))))?,
            }
            output::stdout(|out| writeln!(out, "({cost})\n"))?;
        }
        let command: Value = match commands.as_slice() {
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
        self.steps.insert(name.to_owned(), about);
        Ok(())
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

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%,=".contains(c);
    if path.chars().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}
