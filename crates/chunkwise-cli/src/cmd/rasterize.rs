//! `chunkwise rasterize`: polygons as a cube of zones.

use crate::args::{Common, LayoutArgs, ResourceArgs};
use crate::bytes::format_bytes;
use crate::cmd::create::{element_type, place};
use crate::cmd::zonal::{note_wide, polygons};
use crate::exit::interrupted;
use crate::failed::{Failed, Kind};
use crate::job::{export_to, open_cube, refuse_ending, warn_of_removal, words};
use crate::output::{self, Json};
use crate::progress;
use chunkwise::create::parse_sizes;
use chunkwise::exec::{Counters, RunOptions};
use chunkwise::export::FileFormat;
use chunkwise::job::output::OutputOptions;
use chunkwise::job::zonal::Burn;
use chunkwise::memory;
use chunkwise::open::OpenOptions;
use chunkwise::write::{Existing, JournalHead, Output, ZarrVersion};
use chunkwise_core::zonal::Touch;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(
    after_help = "Example (on what `chunkwise demo` made):\n  chunkwise rasterize chunkwise-demo/elevation_zones.geojson --like chunkwise-demo/cube.zarr -o zones.zarr"
)]
pub(crate) struct RasterizeArgs {
    /// Polygons: GeoJSON, GeoPackage, FlatGeobuf, GeoParquet or a shapefile.
    pub(crate) zones: String,
    /// The cube whose grid and CRS the new one has.
    #[arg(long, value_name = "CUBE")]
    pub(crate) like: String,
    /// A variable of that cube, where these lie on several grids.
    #[arg(long, value_name = "NAME")]
    pub(crate) var: Vec<String>,
    /// Name of the new variable.
    #[arg(long, value_name = "NAME", default_value = "zone")]
    pub(crate) name: String,
    /// The property that names zones; else they have their ids, or numbers from 0.
    #[arg(long, value_name = "FIELD")]
    pub(crate) zone_id: Option<String>,
    /// CRS of the polygons, whatever their file says: a code, WKT, PROJJSON; `cube`: that of the cube.
    #[arg(long, value_name = "CRS")]
    pub(crate) zones_crs: Option<String>,
    /// Which cells belong to a polygon: those whose centre is inside, or all that are touched. Of several polygons the last
    /// has the cell.
    #[arg(long, value_name = "HOW", value_parser = ["centre", "all"], default_value = "centre")]
    pub(crate) touch: String,
    #[command(flatten)]
    pub(crate) layout: LayoutArgs,
    #[command(flatten)]
    pub(crate) resources: ResourceArgs,
    /// Tell cells, chunks and memory, and write nothing.
    #[arg(long)]
    pub(crate) explain: bool,
    /// The new cube, or a file (`.tif`, `.nc`).
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: String,
    /// Replace a cube that is there.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

pub(crate) fn run(args: &RasterizeArgs, common: &Common) -> Result<ExitCode, Failed> {
    let cube = open_cube(&args.like, &OpenOptions { storage: common.storage()?, ..OpenOptions::default() })?;
    cube.set_memory_limit(args.resources.memory_limit());
    let zones = polygons(&args.zones, args.zone_id.as_deref(), args.zones_crs.as_deref())?;
    let touch = if args.touch == "all" { Touch::All } else { Touch::Centre };
    let mut burn = Burn::new(&cube, &args.var, &zones, touch, &args.name)?;
    if burn.crs_is_taken && !common.quiet {
        output::note("the cube has no CRS: the zones are taken to be in its own coordinates");
    }
    note_wide(&burn.wide, common);
    if let Some(chunk) = &args.layout.chunk {
        burn.spec.chunks.extend(parse_sizes(chunk)?);
    }
    burn.spec.shards = args.layout.shard.as_deref().map(parse_sizes).transpose()?;
    if let Some(codec) = &args.layout.codec {
        burn.spec.codec = codec.parse()?;
    }
    if let Some(dtype) = &args.layout.dtype {
        burn.set_dtype(element_type(dtype)?)?;
    }
    let threads = args.resources.threads().get();
    let cost = burn.cost(threads)?;
    let needs = memory::base().saturating_add(cost.bytes).max(memory::peak());
    if needs > args.resources.memory_limit() {
        let has = format_bytes(args.resources.memory_limit().into());
        return Err(Failed::says(format!("the job needs {}, the budget is {has}", format_bytes(needs.into())))
            .with_kind(Kind::Memory)
            .with_hint(format!(
                "pass `--memory {}MiB`, or make chunks smaller with `--chunk`",
                needs.div_ceil(1 << 20)
            )));
    }
    if args.explain {
        let zones = zones.ids.len();
        match common.json() {
            Json::Yes => output::print_json(&json!({
                "zones": zones, "output_chunks": cost.chunks, "output_bytes": cost.output_bytes, "memory_bytes": needs,
            }))?,
            Json::No => output::stdout(|out| {
                let (output, memory) = (format_bytes(cost.output_bytes.into()), format_bytes(needs.into()));
                writeln!(
                    out,
                    "{zones} zones, {} chunks, output {output}, memory {memory} on {threads} threads",
                    cost.chunks
                )
            })?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    refuse_ending(&args.output)?;
    let file = match FileFormat::of(&args.output) {
        None => None,
        Some(format) => {
            Some(export_to(&args.output, format, OutputOptions::new(PathBuf::new()), args.overwrite.into())?)
        }
    };
    let (place, group) = match &file {
        Some((options, _)) => (options.place.clone(), String::new()),
        None => place(&args.output, common)?,
    };
    let existing = if args.overwrite { Existing::Overwrite } else { Existing::Refuse };
    warn_of_removal(&place, &group, existing, common)?;
    let mut to = Output::new(place);
    (to.group, to.existing, to.inputs) = (group, existing, vec![cube.store.location(), args.zones.clone()]);
    to.zarr = args.layout.zarr.and_then(ZarrVersion::from_number).unwrap_or(ZarrVersion::V3);
    let history = format!("chunkwise {}: {}", env!("CARGO_PKG_VERSION"), words());
    to.job = JournalHead {
        request: history.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..JournalHead::default()
    };
    to.attrs.insert("history".to_owned(), history.into());
    let counters = Counters::default();
    let run = RunOptions { cancel: interrupted(), ..RunOptions::default() };
    let burnt = progress::shown(common, &counters, cost.chunks, || burn.run(to, threads, &counters, &run))?;
    if let Some((options, export)) = &file {
        export.run(options, &counters, &run)?;
    }
    if !common.quiet && common.json() == Json::No {
        let shared = match burnt.shared {
            0 => String::new(),
            n => format!(", {n} of them in several: the last has them"),
        };
        output::note(&format!("{} cells lie in {} zones{shared}", burnt.cells, zones.ids.len()));
        if burnt.cells == 0 {
            output::note("check the CRS of the zones: `--zones-crs EPSG:…` names it");
        }
    }
    Ok(ExitCode::SUCCESS)
}
