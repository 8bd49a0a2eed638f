//! `chunkwise plot`: maps, charts and histograms.

mod axes;
mod chart;
mod flags;
mod map;
mod picture;
mod words;
mod zones;

use crate::args::{Common, DecodeArgs, JobArgs, SelectArgs};
use crate::failed::Failed;
use crate::job::{request, statistics};
use crate::output::{self, Overwrite};
use chunkwise::job::{Anomaly, Over, Prepared, Request, plane, prepare};
use chunkwise::open::OpenCube;
use chunkwise_core::crs::Georeference;
use chunkwise_core::group::{Cycle, Window};
use chunkwise_core::plan::Stage;
use chunkwise_view::Palette;
use clap::Args;
use picture::Format;
use std::process::ExitCode;
use words::{pair, palette, percentiles, pixels};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples (on what `chunkwise demo` made):\n  chunkwise plot chunkwise-demo/mean.zarr --sel band=green --palette greens -o green.png\n  chunkwise plot chunkwise-demo/cube.zarr --over y,x --with mean -o bands.html"
)]
pub(crate) struct PlotArgs {
    /// The cube.
    pub(crate) cube: String,
    /// The picture: `.png`, `.svg`, or Vega-Lite as a page of its own (`.html`) or as a specification with its data (`.json`); may be
    /// given again for other forms of the same picture.
    #[arg(short, long, value_name = "FILE", required = true)]
    pub(crate) output: Vec<String>,
    /// Replace a picture that is there.
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Dimensions that go before it is drawn: `time`, `y,x`, `all`.
    #[arg(long, value_name = "DIM,…|all", value_delimiter = ',', help_heading = "What is drawn")]
    pub(crate) over: Vec<String>,
    /// Statistics over them, over groups, windows or zones [default: mean].
    #[arg(long = "with", value_name = "STAT,…", value_delimiter = ',', help_heading = "What is drawn")]
    pub(crate) stats: Vec<String>,
    /// A cycle of time: `month`, `season`, `dayofyear`, `monthday`, `weekday`, `hour`.
    #[arg(long, value_name = "CYCLE", help_heading = "What is drawn")]
    pub(crate) group: Option<String>,
    /// Windows: `1month`, `10d`, `season`, `year`, `y=10,x=10`.
    #[arg(long, value_name = "WINDOW", conflicts_with = "group", help_heading = "What is drawn")]
    pub(crate) every: Option<String>,
    /// Each cell less the statistic of its group.
    #[arg(long, help_heading = "What is drawn")]
    pub(crate) anomaly: bool,
    /// Bars of zones, or lines where time is left: polygons of a file, a variable, `CUBE:VARIABLE`, a formula.
    #[arg(long, value_name = "ZONES", conflicts_with_all = ["over", "group", "every", "anomaly", "outlines"], help_heading = "What is drawn")]
    pub(crate) zones: Option<String>,
    /// The property that names zones.
    #[arg(long, value_name = "FIELD", requires = "zones", help_heading = "What is drawn")]
    pub(crate) zone_id: Option<String>,
    /// CRS of the polygons of `--zones` or `--outlines`, whatever their file says; `cube`: that of the cube.
    #[arg(long, value_name = "CRS", help_heading = "What is drawn")]
    pub(crate) zones_crs: Option<String>,
    /// A histogram of all cells.
    #[arg(long, conflicts_with_all = ["zones", "rgb", "outlines"], help_heading = "What is drawn")]
    pub(crate) hist: bool,
    /// Bins of the histogram.
    #[arg(long, value_name = "N", requires = "hist", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000), help_heading = "What is drawn")]
    pub(crate) bins: u32,
    /// Three bands, variables or formulas as red, green and blue.
    #[arg(long, value_name = "RED,GREEN,BLUE", conflicts_with_all = ["zones", "calc", "palette", "anomaly"], help_heading = "What is drawn")]
    pub(crate) rgb: Option<String>,
    /// Colours from low to high: `viridis`, `cividis`, `greens`, `RdYlGn`, `greys` …; `_r` behind the name turns them round.
    #[arg(long, value_name = "NAME", value_parser = palette, help_heading = "How it looks")]
    pub(crate) palette: Option<Palette>,
    /// Values at both ends of the colours, or of the axis of a chart.
    #[arg(long, value_name = "LO,HI", allow_hyphen_values = true, value_parser = pair, conflicts_with = "stretch", help_heading = "How it looks")]
    pub(crate) range: Option<(f64, f64)>,
    /// Percentiles of the values drawn that lie at both ends of the colours [default: 2,98].
    #[arg(long, value_name = "LO,HI", value_parser = percentiles, help_heading = "How it looks")]
    pub(crate) stretch: Option<(f64, f64)>,
    /// Width in pixels.
    #[arg(long, value_name = "PIXELS", value_parser = pixels, help_heading = "How it looks")]
    pub(crate) width: Option<u32>,
    /// Height in pixels.
    #[arg(long, value_name = "PIXELS", value_parser = pixels, help_heading = "How it looks")]
    pub(crate) height: Option<u32>,
    /// What stands above it.
    #[arg(long, value_name = "TEXT", help_heading = "How it looks")]
    pub(crate) title: Option<String>,
    /// How cells share a pixel of a large map [default: mean; of flags mode].
    #[arg(long, value_name = "HOW", value_parser = ["mean", "mode", "nearest"], help_heading = "How it looks")]
    pub(crate) reduce: Option<String>,
    /// Polygons whose outlines are drawn over a map.
    #[arg(long, value_name = "FILE", help_heading = "How it looks")]
    pub(crate) outlines: Option<String>,
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    pub(crate) decode: DecodeArgs,
    #[command(flatten)]
    pub(crate) job: JobArgs,
}

/// What is asked for, understood as far as it is without values.
pub(super) struct Asked<'a> {
    args: &'a PlotArgs,
    common: &'a Common,
    /// Where the picture goes, and in which form.
    files: Vec<(String, Format)>,
    request: Request,
    /// How what is drawn lies on the Earth.
    plane: Georeference,
}

pub(crate) fn run(args: &PlotArgs, common: &Common) -> Result<ExitCode, Failed> {
    let form = |path: &String| Ok::<_, Failed>((path.clone(), Format::of(path)?));
    let files = args.output.iter().map(form).collect::<Result<Vec<_>, _>>()?;
    files.iter().try_for_each(|(path, _)| output::refuse_existing(path, Overwrite::from(args.overwrite)))?;
    let (cube, mut request) = request(&args.cube, &args.select, &args.decode, &args.job, common)?;
    files.iter().try_for_each(|(path, _)| picture::refuse_within(path, &cube))?;
    request.anomaly = if args.anomaly { Anomaly::Yes } else { Anomaly::No };
    request.cycle = args.group.as_deref().map(Cycle::parse).transpose().map_err(Failed::of)?;
    if let Some(text) = &args.every {
        request.windows = vec![Window::parse(text).map_err(Failed::of)?];
    }
    request.over = match args.over.as_slice() {
        [] => Over::None,
        [all] if all == "all" => Over::All,
        dims => Over::Dims(dims.iter().map(|d| d.trim().to_owned()).collect()),
    };
    if let Some(text) = &args.rgb {
        request.formulas = words::channels(text, &cube)?;
    }
    let plane = plane(&cube.cube, &request.variables, &request.formulas).map_err(|e| {
        Failed::says(format!("`{}` and `{}` lie along other axes", e.one, e.other))
            .with_hint("name one of them with `--var`")
    })?;
    let mut asked = Asked { args, common, files, request, plane: plane.unwrap_or_default() };
    if args.zones.is_some() {
        return zones::run(&asked, cube);
    }
    let folds = asked.request.over != Over::None || args.group.is_some() || args.every.is_some();
    if folds {
        let named = if args.stats.is_empty() { vec!["mean".to_owned()] } else { args.stats.clone() };
        asked.request.statistics = statistics(&named)?;
    } else if !args.stats.is_empty() || args.anomaly {
        return Err(Failed::says("`--with` without a dimension to go")
            .with_hint("pass `--over DIM`, `--over all`, `--group`, `--every` or `--zones`"));
    }
    if args.hist {
        return chart::histogram(&asked, cube);
    }
    let prepared = prepare(&cube, &asked.request)?;
    match shape(&asked, &cube, &prepared)? {
        Shape::Map { y, x } => map::run(&asked, cube, prepared, &y, &x),
        Shape::Lines { along } => chart::lines(&asked, cube, prepared, &along),
    }
}

/// What a result is drawn as.
enum Shape {
    /// Dimensions of rows and columns.
    Map { y: String, x: String },
    /// The dimension along the bottom; all others are lines.
    Lines { along: String },
}

/// Lines of a chart, at most.
const MOST_LINES: u64 = 24;
/// A dimension of no more cells than this is lines rather than an axis of a map.
const FEW: u64 = 24;

fn shape(asked: &Asked<'_>, cube: &OpenCube, prepared: &Prepared) -> Result<Shape, Failed> {
    let mut results = prepared.results();
    let Some(first) = results.next() else { return Err(Failed::says("the cube has no variable to draw")) };
    let left = dims_left(first);
    if let Some(other) = results.find(|s| dims_left(s) != left) {
        let name = |s: &Stage| s.folded.first().map(|f| f.name.clone()).unwrap_or_default();
        return Err(Failed::says(format!(
            "`{}` and `{}` have other dimensions, so one picture does not show both",
            name(first),
            name(other)
        ))
        .with_hint("name one of them with `--var`"));
    }
    let has = |dim: &str| left.iter().any(|d| d.0 == dim);
    if let Some(dims) = asked.plane.dims.as_ref().filter(|d| has(&d.y) && has(&d.x)) {
        let others: Vec<&(String, u64)> = left.iter().filter(|d| d.0 != dims.y && d.0 != dims.x).collect();
        if !others.is_empty() {
            return Err(too_many(cube, prepared, &others, dims.y.as_str(), dims.x.as_str()));
        }
        return Ok(Shape::Map { y: dims.y.clone(), x: dims.x.clone() });
    }
    if left.is_empty() {
        return Err(Failed::says("a single value is left, of which there is no picture")
            .with_hint("`chunkwise stats` and `chunkwise reduce` print values"));
    }
    if asked.args.rgb.is_some() {
        return Err(Failed::says("`--rgb` draws maps, and the two dimensions of one are not left"));
    }
    let text = |dim: &str| matches!(prepared.labels.get(dim), Some(chunkwise_core::cube::Labels::Text(_)));
    let time = |dim: &str| matches!(prepared.labels.get(dim), Some(chunkwise_core::cube::Labels::Time(_)));
    if let [(y, rows), (x, columns)] = left.as_slice()
        && (*rows.min(columns) > FEW || ![y, x].iter().any(|d| text(d) || time(d)) && *rows.min(columns) > 1)
        && ![y, x].iter().any(|d| text(d) || time(d))
    {
        return Ok(Shape::Map { y: y.clone(), x: x.clone() });
    }
    let longest = left.iter().max_by_key(|d| (time(&d.0), !text(&d.0), d.1)).cloned().unwrap_or_default();
    let lines = left.iter().filter(|d| d.0 != longest.0).fold(1, |n, d| n * d.1);
    if lines > MOST_LINES {
        let others: Vec<&(String, u64)> = left.iter().filter(|d| d.0 != longest.0).collect();
        let names: Vec<String> = others.iter().map(|d| format!("`{}` ({})", d.0, d.1)).collect();
        return Err(Failed::says(format!(
            "a chart along `{}` would have {lines} lines, of {}; at most {MOST_LINES} are drawn",
            longest.0,
            names.join(" and ")
        ))
        .with_hint(advice(cube, prepared, &others)));
    }
    Ok(Shape::Lines { along: longest.0 })
}

/// Dimensions of a result that have more than one cell, or would be the only one.
fn dims_left(stage: &Stage) -> Vec<(String, u64)> {
    let all: Vec<(String, u64)> =
        stage.output_dims().map(|d| (stage.dims[d].name.clone(), stage.dims[d].output_len())).collect();
    all.into_iter().filter(|d| d.1 != 1).collect()
}

fn too_many(cube: &OpenCube, prepared: &Prepared, others: &[&(String, u64)], y: &str, x: &str) -> Failed {
    let names: Vec<String> = others.iter().map(|d| format!("`{}` ({})", prepared.output_name(&d.0), d.1)).collect();
    let is = if others.len() == 1 { "is" } else { "are" };
    Failed::says(format!("a map has `{y}` and `{x}`; {} {is} left too", names.join(" and ")))
        .with_hint(advice(cube, prepared, others))
}

/// How one cell of some dimensions is selected, or how they go.
fn advice(cube: &OpenCube, prepared: &Prepared, others: &[&(String, u64)]) -> String {
    let one = |(dim, _): &&(String, u64)| {
        let label = prepared.labels.get(dim).filter(|_| cube.cube.coordinate(dim).is_some());
        match label.map(|labels| chunkwise::job::label_value(labels, 0)) {
            Some(serde_json::Value::String(label)) if !label.contains([',', ' ']) => format!("--sel {dim}={label}"),
            _ => format!("--isel {dim}=0"),
        }
    };
    let selected: Vec<String> = others.iter().map(one).collect();
    let dims: Vec<&str> = others.iter().map(|d| d.0.as_str()).collect();
    format!(
        "select one cell of each: `{}`; or reduce them: `--over {} --with mean`",
        selected.join(" "),
        dims.join(",")
    )
}
