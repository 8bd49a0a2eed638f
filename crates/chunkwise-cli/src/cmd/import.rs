//! `chunkwise import`: a cube from files.

use crate::args::{Common, LayoutArgs, ResourceArgs};
use crate::bytes::format_bytes;
use crate::cmd::create::{element_type, place};
use crate::exit::{interrupted, leaving_at_once};
use crate::failed::Failed;
use crate::job::{open_cube, warn_of_removal, words};
use crate::output::{self, Json};
use crate::progress;
use chunkwise::create::parse_sizes;
use chunkwise::exec::Counters;
use chunkwise::import::geotiff::{GeoTiff, Masks, OpenFiles};
use chunkwise::import::{
    BandPattern, Explained, GridRequest, Import, ImportError, ImportOptions, Mosaic, Nodata, Resampling, Source,
    Target, TimePattern, grid_of, open_all,
};
use chunkwise::memory;
use chunkwise::open::OpenOptions;
use chunkwise::write::{CodecChoice, Existing, Output, WriteError, ZarrVersion};
use chunkwise_core::crs::Crs;
use clap::Args;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Files that the history of a cube names one by one.
const NAMED: usize = 4;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples (on what `chunkwise demo` made):\n  chunkwise calc chunkwise-demo/mean.zarr 'mean = data' -o mean.tif\n  chunkwise import mean.tif -o imported.zarr"
)]
pub(crate) struct ImportArgs {
    /// GeoTIFFs; or cubes: NetCDF files, references, Zarr.
    #[arg(required = true, value_name = "FILES")]
    pub(crate) files: Vec<String>,
    /// The new cube.
    #[arg(short, long, value_name = "CUBE")]
    pub(crate) output: String,
    /// Name of the variable of GeoTIFFs [default: data]; of cubes: only this variable and its coordinates (may be given again).
    #[arg(long, value_name = "NAME")]
    pub(crate) var: Vec<String>,
    /// Of several cubes: the dimension along which they lie one behind the other, in the order of their labels.
    #[arg(long, value_name = "DIM", help_heading = "Cubes")]
    pub(crate) concat: Option<String>,
    /// Of cubes that are packed in different ways: decode values to floats.
    #[arg(long, help_heading = "Cubes")]
    pub(crate) decode: bool,
    /// Of cubes: where the budget makes it necessary, decode chunks more than 4 times on average.
    #[arg(long, help_heading = "Cubes")]
    pub(crate) allow_redecode: bool,
    /// Where the time is in the name of a file: as `strptime` writes it, `%Y%m%d`, or a regular expression with one group.
    #[arg(long, value_name = "PATTERN", help_heading = "Files")]
    pub(crate) time_from: Option<String>,
    /// Where the band is in the name of a file that holds one: a regular expression with one group, `_(B\d+)\.TIF$`.
    #[arg(long, value_name = "REGEX", help_heading = "Files")]
    pub(crate) band_from: Option<String>,
    /// Only these bands, in this order.
    #[arg(long, value_name = "BAND,…", value_delimiter = ',', help_heading = "Files")]
    pub(crate) bands: Vec<String>,
    /// The stored value that marks missing cells, instead of what the files say; `none`: there is no mark.
    #[arg(long, value_name = "VALUE|none", allow_hyphen_values = true, help_heading = "Files")]
    pub(crate) nodata: Option<String>,
    /// Whether cells that masks and alpha bands leave out are missing, or stay as they are stored.
    #[arg(long, value_name = "HOW", value_parser = ["use", "ignore"], default_value = "use", help_heading = "Files")]
    pub(crate) masks: String,
    /// Which value counts where several files of one time have one.
    #[arg(long, value_name = "RULE", value_parser = ["first", "last", "min", "max", "mean", "median"], help_heading = "Mosaic")]
    pub(crate) mosaic: Option<String>,
    /// The band that says for all bands of a scene which cells are missing; else each says it for itself.
    #[arg(long, value_name = "BAND", help_heading = "Mosaic")]
    pub(crate) mosaic_by: Option<String>,
    /// The grid of another cube.
    #[arg(long, value_name = "CUBE", conflicts_with_all = ["crs", "res", "bounds"], help_heading = "Grid")]
    pub(crate) like: Option<String>,
    /// CRS of the grid: a code, WKT, PROJJSON [default: that of the files].
    #[arg(long, value_name = "CRS", requires = "res", help_heading = "Grid")]
    pub(crate) crs: Option<String>,
    /// Width of cells in units of the CRS, or width and height; lines of the grid are multiples of it.
    #[arg(long, value_name = "W[,H]", help_heading = "Grid")]
    pub(crate) res: Option<String>,
    /// A box in the CRS of the grid, instead of one around all files.
    #[arg(long, value_name = "W,S,E,N", requires = "res", allow_hyphen_values = true, help_heading = "Grid")]
    pub(crate) bounds: Option<String>,
    /// How values get to the grid [default: nearest].
    #[arg(long, value_name = "HOW", value_parser = ["nearest", "bilinear", "average"], help_heading = "Grid")]
    pub(crate) resampling: Option<String>,
    #[command(flatten)]
    pub(crate) layout: LayoutArgs,
    #[command(flatten)]
    pub(crate) resources: ResourceArgs,
    /// Tell files, cells, chunks, bytes and memory, and read none.
    #[arg(long)]
    pub(crate) explain: bool,
    /// Replace a cube that is there.
    #[arg(long, conflicts_with = "resume")]
    pub(crate) overwrite: bool,
    /// Go on with an import that was stopped.
    #[arg(long)]
    pub(crate) resume: bool,
    /// In the end, read all files again and compare each chunk with what they give.
    #[arg(long)]
    pub(crate) verify: bool,
}

impl From<ImportError> for Failed {
    fn from(error: ImportError) -> Failed {
        let hint = error.hint();
        let failed = match error {
            ImportError::Write(e) => return e.into(),
            ImportError::Create(e) => return e.into(),
            ImportError::Open(e) => return e.into(),
            other => Failed::of(other),
        };
        match hint {
            Some(hint) => failed.with_hint(hint),
            None => failed,
        }
    }
}

pub(crate) fn run(args: &ImportArgs, common: &Common) -> Result<ExitCode, Failed> {
    let began = Instant::now();
    if crate::cmd::cubes::are_cubes(&args.files)? {
        return crate::cmd::cubes::run(args, common);
    }
    let variable = match args.var.as_slice() {
        [] => "data",
        [one] => one,
        _ => return Err(Failed::says("GeoTIFFs make one variable, and several names were given with `--var`")),
    };
    let (place, group) = place(&args.output, common)?;
    if !group.is_empty() {
        return Err(Failed::says(format!("`-o {}`: an import is a cube of its own, not a group", args.output))
            .with_hint("write beside it, as in `-o OUT.zarr`"));
    }
    let (memory, threads) = (args.resources.memory_limit(), args.resources.threads().get());
    let mut inputs = Vec::new();
    let options = options(args, variable, &mut inputs, common)?;
    let masks = if args.masks == "use" { Masks::Use } else { Masks::Ignore };
    let files = OpenFiles::new(2 * threads);
    let open = |file: &str| GeoTiff::open(Path::new(file), masks, &files).map(|f| Arc::new(f) as Arc<dyn Source>);
    let opened = leaving_at_once(|| open_all(&args.files, threads, open))?;
    let import = Import::plan(opened, &options, memory, threads)?;
    let plan = import.explain();
    if args.explain {
        match common.json() {
            Json::Yes => output::print_json(&plan)?,
            Json::No => output::stdout(|out| told(&plan).iter().try_for_each(|line| writeln!(out, "{line}")))?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let existing = match (args.overwrite, args.resume) {
        (true, _) => Existing::Overwrite,
        (_, true) => Existing::Resume,
        _ => Existing::Refuse,
    };
    warn_of_removal(&place, "", existing, common)?;
    if plan.widened && !common.quiet {
        output::note(&format!(
            "no value marks missing cells, so that values are decoded to {} with NaN; `--nodata VALUE` keeps them as they are stored",
            plan.dtype
        ));
    }
    let output = Output {
        existing,
        inputs,
        zarr: args.layout.zarr.and_then(ZarrVersion::from_number).unwrap_or_default(),
        ..Output::new(place)
    };
    let counters = Counters::default();
    let work = || import.run(output, &counters, interrupted());
    let written = progress::shown(common, &counters, plan.chunks, work).map_err(|e| {
        // What is written under a hidden name, beside another cube, is not kept when a write fails.
        let goes_on = match &e {
            ImportError::Interrupted | ImportError::Write(WriteError::Unfinished { .. }) => true,
            ImportError::Write(WriteError::Object { .. }) => unfinished(&args.output),
            _ => false,
        };
        let failed = Failed::from(e);
        if goes_on { failed.with_hint("the same command with `--resume` goes on where it ended") } else { failed }
    })?;
    if args.verify {
        let cube = open_cube(&args.output, &OpenOptions { storage: common.storage()?, ..OpenOptions::default() })?;
        let checked = Counters::default();
        progress::shown(common, &checked, plan.chunks, || import.verify(&cube, &checked, interrupted()))?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let read = counters.decoded_bytes.load(Ordering::Relaxed);
    if common.json() == Json::Yes {
        let mut report = serde_json::to_value(&plan).map_err(Failed::of)?;
        if let Value::Object(report) = &mut report {
            for (key, value) in [
                ("location", json!(args.output)),
                ("variable", json!(variable)),
                ("empty_chunks", json!(written.empty)),
                ("written_bytes", json!(written.bytes)),
                ("verified", json!(args.verify)),
                ("seconds", json!(seconds)),
                ("peak_memory_bytes", json!(memory::peak())),
            ] {
                report.insert(key.to_owned(), value);
            }
        }
        output::print_json(&report)?;
    } else if !common.quiet {
        for line in told(&plan).iter().take(2) {
            output::note(line);
        }
        output::note(&format!(
            "{} chunks ({} empty), {} read, {} written in {seconds:.2} s{}{}",
            plan.chunks,
            written.empty,
            format_bytes(read.into()),
            format_bytes(written.bytes.into()),
            output::peak_memory(),
            if args.verify { "; each chunk holds what the files give" } else { "" },
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether an unfinished cube lies in a folder.
pub(crate) fn unfinished(location: &str) -> bool {
    Path::new(location).join(chunkwise::write::JOURNAL).exists()
}

/// The plan, for people.
fn told(plan: &Explained) -> Vec<String> {
    let shape: Vec<String> = plan.dims.iter().zip(&plan.shape).map(|(d, n)| format!("{d}={n}")).collect();
    vec![
        format!("{} files ({}), {} scenes", plan.files, format_bytes(plan.encoded_bytes.into()), plan.scenes),
        format!(
            "{} ({}), {} in {} chunks",
            plan.dtype,
            shape.join(", "),
            format_bytes(plan.output_bytes.into()),
            plan.chunks
        ),
        format!(
            "{} pieces of work, memory {} on {} threads",
            plan.partitions,
            format_bytes(plan.memory_bytes.into()),
            plan.threads
        ),
    ]
}

/// What the command line asks for.
fn options(
    args: &ImportArgs,
    variable: &str,
    inputs: &mut Vec<String>,
    common: &Common,
) -> Result<ImportOptions, Failed> {
    let target = match (&args.like, &args.res) {
        (Some(like), _) => {
            let cube = open_cube(like, &OpenOptions { storage: common.storage()?, ..OpenOptions::default() })?;
            inputs.push(cube.store.location());
            Target::Like(grid_of(&cube)?)
        }
        (None, Some(res)) => Target::Asked(GridRequest {
            crs: args.crs.as_deref().map(Crs::parse).transpose().map_err(Failed::of)?,
            resolution: resolution(res)?,
            bounds: args.bounds.as_deref().map(bounds).transpose()?,
        }),
        (None, None) => Target::Files,
    };
    if args.resampling.is_some() && matches!(target, Target::Files) {
        return Err(Failed::says("`--resampling` says how cells get to another grid, and none is asked for")
            .with_hint("ask for one with `--like CUBE`, or with `--crs` and `--res`"));
    }
    let codec = args.layout.codec.as_deref().map(str::parse::<CodecChoice>).transpose()?;
    Ok(ImportOptions {
        variable: variable.to_owned(),
        time: args.time_from.as_deref().map(TimePattern::new).transpose()?,
        band: args.band_from.as_deref().map(BandPattern::new).transpose()?,
        bands: args.bands.clone(),
        nodata: args.nodata.as_deref().map(|text| match text {
            "none" => Nodata::Nothing,
            value => Nodata::Value(value.to_owned()),
        }),
        dtype: args.layout.dtype.as_deref().map(element_type).transpose()?,
        mosaic: args.mosaic.as_deref().and_then(Mosaic::from_name),
        mosaic_by: args.mosaic_by.clone(),
        target,
        resampling: args.resampling.as_deref().and_then(Resampling::from_name).unwrap_or_default(),
        chunks: args.layout.chunk.as_deref().map(parse_sizes).transpose()?.unwrap_or_default(),
        shards: args.layout.shard.as_deref().map(parse_sizes).transpose()?,
        codec: codec.unwrap_or_default(),
        history: history(&args.files),
        ..ImportOptions::default()
    })
}

/// The command line, without the names of many files.
pub(crate) fn history(files: &[String]) -> String {
    let mut words = words();
    if let [first, .., last] = files
        && files.len() > NAMED
    {
        let others = words.split(' ').filter(|w| !files.iter().any(|f| f == w));
        words = others.collect::<Vec<_>>().join(" ");
        words.push_str(&format!(" (of {} files from {first} to {last})", files.len()));
    }
    format!("chunkwise {}: {words}", env!("CARGO_PKG_VERSION"))
}

fn resolution(text: &str) -> Result<(f64, f64), Failed> {
    let numbers: Result<Vec<f64>, _> = text.split(',').map(|n| n.trim().parse()).collect();
    match numbers.as_deref() {
        Ok([both]) => Ok((*both, *both)),
        Ok([width, height]) => Ok((*width, *height)),
        _ => Err(Failed::says(format!("`--res {text}` is not one number, or two")).with_hint("write `--res 30`")),
    }
}

fn bounds(text: &str) -> Result<[f64; 4], Failed> {
    let numbers: Option<Vec<f64>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
    match numbers.map(<[f64; 4]>::try_from) {
        Some(Ok(bounds)) if bounds.iter().all(|v| v.is_finite()) => Ok(bounds),
        _ => Err(Failed::says(format!("`--bounds {text}` is not four numbers W,S,E,N"))),
    }
}
