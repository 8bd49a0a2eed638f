//! `chunkwise zonal`: statistics of zones.

use crate::args::{Common, DecodeArgs, JobArgs, SelectArgs};
use crate::cmd::info::decode_options;
use crate::exit::interrupted;
use crate::failed::{Failed, Kind};
use crate::job::{Destination, Ready, beside, destination, open_cube, request};
use crate::output;
use chunkwise::exec::RunOptions;
use chunkwise::job::plan::Limits;
#[cfg(feature = "geotiff")]
use chunkwise::job::zonal::read_geotiff;
use chunkwise::job::zonal::{PlacedZones, ZonalRequest, Zones, ZonesError, ZonesOf, read_raster};
use chunkwise::job::{JobError, MOST_ROWS, Request};
use chunkwise::open::{OpenCube, OpenOptions};
use chunkwise::vector;
use chunkwise_core::crs::Crs;
use chunkwise_core::zonal::{Touch, ZonalStatistic};
use clap::Args;
use serde_json::Value;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

impl From<ZonesError> for Failed {
    fn from(error: ZonesError) -> Failed {
        match error {
            ZonesError::Job(e) => e.into(),
            ZonesError::Outside { .. } => {
                Failed::of(error).with_hint("check the CRS of the zones: `--zones-crs EPSG:…` names it")
            }
            other => Failed::of(other),
        }
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example (on what `chunkwise demo` made):\n  chunkwise zonal chunkwise-demo/cube.zarr --zones chunkwise-demo/elevation_zones.geojson --zone-id label --with mean,count -o zones.parquet"
)]
pub(crate) struct ZonalArgs {
    /// The cube.
    pub(crate) cube: String,
    /// Polygons of a GeoJSON, GeoPackage, FlatGeobuf, GeoParquet or shapefile; or zones cell by cell on the same grid: a GeoTIFF, a variable,
    /// `CUBE:VARIABLE`, a formula such as `floor(dem / 100)`.
    #[arg(long, value_name = "ZONES")]
    pub(crate) zones: String,
    /// Statistics: `mean,count`; also coverage, missing, sum, std, var, min, max, median, q5 … q97.5, mode, minority, variety.
    #[arg(long = "with", value_name = "STAT,…", value_delimiter = ',', default_value = "mean,count")]
    pub(crate) stats: Vec<String>,
    /// Which cells belong to a polygon: each by the fraction of it inside, those whose centre is, or all that are touched.
    #[arg(long, value_name = "HOW", value_parser = ["coverage", "centre", "all"], default_value = "coverage")]
    pub(crate) touch: String,
    /// The property that names zones; else they have their ids, or numbers from 0.
    #[arg(long, value_name = "FIELD")]
    pub(crate) zone_id: Option<String>,
    /// CRS of the polygons, whatever their file says: a code, WKT, PROJJSON; `cube`: that of the cube.
    #[arg(long, value_name = "CRS")]
    pub(crate) zones_crs: Option<String>,
    /// Variances divide by the coverage less this.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) ddof: u32,
    /// Least number of valid cells for which a sum is not missing.
    #[arg(long, value_name = "N")]
    pub(crate) min_count: Option<u64>,
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    pub(crate) decode: DecodeArgs,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// A table as `.csv`, `.json`, `.parquet` or `.arrow` instead of stdout.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<String>,
    /// Replace an output that is there.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

pub(crate) fn run(args: &ZonalArgs, common: &Common) -> Result<ExitCode, Failed> {
    let (cube, of) = request(&args.cube, &args.select, &args.decode, &args.job, common)?;
    let mut statistics: Vec<(String, ZonalStatistic)> = Vec::new();
    for name in args.stats.iter().map(|name| name.trim()) {
        let statistic = ZonalStatistic::parse(name).map_err(Failed::of)?;
        if !statistics.iter().any(|s| s.0 == name) {
            statistics.push((name.to_owned(), statistic));
        }
    }
    let touch = Touch::ALL.into_iter().find(|t| t.name() == args.touch).unwrap_or_default();
    let from = ZonesFrom {
        text: &args.zones,
        id: args.zone_id.as_deref(),
        crs: args.zones_crs.as_deref(),
        of: &of,
        decode: &args.decode,
        job: &args.job,
    };
    let zones = zones(&from, &cube, common)?;
    let to = destination(args.output.as_deref(), None, args.overwrite, &cube, common)?;
    let named = statistics.len();
    let (placed, prepared) = PlacedZones::new(&cube, &ZonalRequest { of, statistics, touch }, &zones)?;
    let has_crs = matches!(&zones, ZonesOf::Polygons(zones) if zones.crs.is_some());
    if has_crs && placed.crs.is_none() && !common.quiet {
        output::note("the cube has no CRS: the zones are taken to be in its own coordinates");
    }
    note_wide(&placed.wide, common);
    if placed.are_outside() && !common.quiet {
        output::note("no zone has a cell of the cube: check the CRS of the zones (`--zones-crs EPSG:…` names it)");
    }
    let rows = placed.rows(&prepared);
    if rows > MOST_ROWS && matches!(to, Destination::Screen) && !args.job.explain {
        return Err(Failed::of(JobError::TooManyRows { rows }).with_hint("write it to a file with `-o OUT.csv`"));
    }
    // Beside the statistics of a row: its variable, its zone, what that is called, and a label of each dimension.
    let columns = named + 3 + prepared.results().map(|s| s.output_dims().count()).max().unwrap_or(0);
    let own = to.holds_bytes(rows, columns as u64);
    let plan = |prepared: &_, cube: &_, limits| {
        let mut plan = beside(own, limits, |rest| placed.plan(prepared, cube, rest))?;
        plan.memory = plan.memory.saturating_add(own);
        Ok(plan)
    };
    let ready = Ready::planned(Arc::new(cube), prepared, to, &args.job, args.ddof, args.min_count, plan)?;
    if args.job.explain {
        return ready.explain(common.json());
    }
    ready.deliver_by(common, |cube, prepared, plan, counters, options| {
        ready.rows(common, ("zone", placed.ids().iter()), placed.counts(), |each| {
            placed.run(prepared, cube, plan, counters, options, each)
        })
    })
}

/// Says which zones may be meant to cross the seam.
pub(crate) fn note_wide(wide: &[Value], common: &Common) {
    for zone in wide.iter().filter(|_| !common.quiet) {
        output::note(&format!(
            "zone {zone} has an edge of more than 180 degrees: it is taken as it stands; one across the 180th meridian is \
             to be two polygons, or to go on beyond 180"
        ));
    }
}

/// The words that say which zones are meant, and how they are read.
pub(crate) struct ZonesFrom<'a> {
    /// `--zones`.
    pub(crate) text: &'a str,
    /// `--zone-id`.
    pub(crate) id: Option<&'a str>,
    /// `--zones-crs`.
    pub(crate) crs: Option<&'a str>,
    /// What is asked of the cube: what it selects holds for zones of a formula too.
    pub(crate) of: &'a Request,
    pub(crate) decode: &'a DecodeArgs,
    pub(crate) job: &'a JobArgs,
}

/// What `--zones` names: a file of polygons, a variable of the cube or of another, or a formula.
pub(crate) fn zones(args: &ZonesFrom<'_>, cube: &OpenCube, common: &Common) -> Result<ZonesOf, Failed> {
    let text = args.text;
    if vector::is_vector(text) {
        return Ok(ZonesOf::Polygons(polygons(text, args.id, args.crs)?));
    }
    let limits = Limits {
        memory: args.job.resources.memory_limit(),
        threads: args.job.resources.threads().get(),
        ..Limits::default()
    };
    let options = RunOptions { cancel: interrupted(), ..RunOptions::default() };
    #[cfg(feature = "geotiff")]
    if Path::new(text).extension().is_some_and(|e| e.eq_ignore_ascii_case("tif") || e.eq_ignore_ascii_case("tiff")) {
        return Ok(ZonesOf::Raster(read_geotiff(Path::new(text), limits.memory)?));
    }
    if !cube.cube.variables.contains_key(text)
        && let Some((location, variable)) = text.rsplit_once(':')
        && (location.contains("://") || location.starts_with("memory:") || Path::new(location).exists())
    {
        let options_of = OpenOptions { decode: decode_options(args.decode)?, storage: common.storage()? };
        let other = open_cube(location, &options_of)?;
        if !other.cube.variables.contains_key(variable) {
            let has: Vec<&str> = other.cube.data_variables().map(|v| v.name.as_str()).collect();
            return Err(Failed::says(format!("`{location}` has no variable `{variable}`; it has {}", has.join(", ")))
                .with_kind(Kind::Key));
        }
        return Ok(ZonesOf::Raster(read_raster(&other, variable, &Request::default(), limits, &options)?));
    }
    if Path::new(text).exists() {
        return Err(Failed::says(format!("`--zones {text}` is no file of polygons")).with_hint(
            "GeoJSON (`.geojson`, `.json`), GeoPackage (`.gpkg`), FlatGeobuf (`.fgb`), GeoParquet (`.parquet`), shapefiles (`.shp`) and GeoTIFFs \
             (`.tif`) are read; zones of a cube are named by `CUBE:VARIABLE`",
        ));
    }
    Ok(ZonesOf::Raster(read_raster(cube, text, args.of, limits, &options)?))
}

/// The polygons of a file, in the CRS that it says, or in `own`; `id` is the property that names them.
pub(crate) fn polygons(path: &str, id: Option<&str>, own: Option<&str>) -> Result<Zones, Failed> {
    let mut zones = vector::read(path).and_then(|layer| layer.into_zones(path, id)).map_err(Failed::of)?;
    match own {
        Some(own) if own.trim().eq_ignore_ascii_case("cube") => zones.crs = None,
        Some(crs) => zones.crs = Some(Crs::parse(crs).map_err(Failed::of)?),
        None if zones.crs.is_none() => {
            return Err(Failed::says(format!("`{path}` does not say the CRS of its polygons"))
                .with_hint("name it: `--zones-crs EPSG:32633`, or `--zones-crs cube` where it is that of the cube"));
        }
        None => {}
    }
    Ok(zones)
}
