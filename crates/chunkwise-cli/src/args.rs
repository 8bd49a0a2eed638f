//! The words of the command line. What they mean for a cube is found in `cmd`.

use crate::bytes::Bytes;
#[cfg(feature = "geotiff")]
use crate::cmd::append::AppendArgs;
use crate::cmd::attrs::AttrsArgs;
use crate::cmd::calc::CalcArgs;
use crate::cmd::compare::CompareArgs;
use crate::cmd::completions::CompletionsArgs;
use crate::cmd::create::CreateArgs;
use crate::cmd::demo::DemoArgs;
#[cfg(feature = "geotiff")]
use crate::cmd::import::ImportArgs;
use crate::cmd::info::InfoArgs;
use crate::cmd::ls::LsArgs;
use crate::cmd::man::ManArgs;
use crate::cmd::plot::PlotArgs;
use crate::cmd::rasterize::RasterizeArgs;
use crate::cmd::reduce::ReduceArgs;
use crate::cmd::series::SeriesArgs;
use crate::cmd::stats::StatsArgs;
use crate::cmd::verify::VerifyArgs;
use crate::cmd::zonal::ZonalArgs;
use crate::failed::Failed;
use crate::output::Json;
use chunkwise::store::StorageOptions;
use clap::{ArgAction, Args, Parser, Subcommand};
use std::num::NonZeroUsize;

/// What `--version` says: the version, what is built in, and the libraries that decode and encode.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\nstores: folders, zip files, memory, s3://, gs://, az://, abfss://, http(s)://\nlibraries: ",
    env!("CHUNKWISE_LIBRARIES")
);

/// Create, read and compute over Zarr datacubes larger than memory.
#[derive(Debug, Parser)]
#[command(name = "chunkwise", version, long_version = VERSION, max_term_width = 120, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// Answer in JSON; errors too, as one object on stderr.
    #[arg(long = "json", global = true)]
    json: bool,
    /// Neither progress nor summary.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Tell on stderr what is done; twice for more.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// An option of the store: `region=eu-central-1`, `endpoint=URL`, `profile=NAME`, `anonymous=true` (may be given again).
    #[arg(long, value_name = "KEY=VALUE", global = true, help_heading = "Stores")]
    storage: Vec<String>,
    /// Answers with this status mean that an object is absent: `403` (may be given again).
    #[arg(long, value_name = "STATUS", global = true, value_delimiter = ',', help_heading = "Stores",
          value_parser = clap::value_parser!(u16).range(400..500))]
    absent_on: Vec<u16>,
}

impl Common {
    /// What stores are opened with.
    ///
    /// # Errors
    /// An option that no store knows.
    pub(crate) fn storage(&self) -> Result<StorageOptions, Failed> {
        let mut options = StorageOptions::parse(&self.storage)?;
        options.absent_on.clone_from(&self.absent_on);
        Ok(options)
    }

    /// Whether the answer is for programs.
    pub(crate) fn json(&self) -> Json {
        self.json.into()
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make the example cube and show what can be asked of it, each step with its command, time and memory.
    Demo(DemoArgs),
    /// What a cube is: dimensions, coordinates, variables, chunks.
    Info(InfoArgs),
    /// The tree of groups and arrays.
    Ls(LsArgs),
    /// Make an empty cube.
    Create(CreateArgs),
    /// Make a cube of files: GeoTIFFs as stacks and mosaics on one grid, NetCDF, references, Zarr.
    #[cfg(feature = "geotiff")]
    Import(ImportArgs),
    /// Add NetCDF files, references or Zarr cubes to the end of a cube.
    #[cfg(feature = "geotiff")]
    Append(AppendArgs),
    /// Show or change attributes of a group or variable, in place.
    Attrs(AttrsArgs),
    /// Count, missing, min, max, mean and std of each variable.
    Stats(StatsArgs),
    /// Statistics over dimensions, cycles and windows.
    Reduce(ReduceArgs),
    /// New variables from formulas.
    Calc(CalcArgs),
    /// Values at points, along the dimensions that are left.
    Series(SeriesArgs),
    /// Statistics of zones: polygons, or the cells of a raster.
    Zonal(ZonalArgs),
    /// Polygons as a cube of zones, on the grid of another cube.
    Rasterize(RasterizeArgs),
    /// Maps, charts and histograms as PNG, SVG or Vega-Lite.
    Plot(PlotArgs),
    /// Whether two cubes are equal, or where they differ.
    Compare(CompareArgs),
    /// Whether a cube is whole: each chunk decodes, labels and metadata agree.
    Verify(VerifyArgs),
    /// A completion script for a shell, to stdout.
    Completions(CompletionsArgs),
    /// Manual pages.
    Man(ManArgs),
}

/// Which part of a cube, and what of it.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct SelectArgs {
    /// Only this variable (may be given again).
    #[arg(long, value_name = "NAME")]
    pub(crate) var: Vec<String>,
    /// By label, both ends included: `time=2024-01..2024-06`, `band=nir,red`.
    #[arg(long, value_name = "DIM=LABELS", allow_hyphen_values = true)]
    pub(crate) sel: Vec<String>,
    /// By index, the last excluded: `y=0:250:2`, `time=-1`.
    #[arg(long, value_name = "DIM=INDICES", allow_hyphen_values = true)]
    pub(crate) isel: Vec<String>,
    /// A box in longitude and latitude, or in the CRS of `--bbox-crs`.
    #[arg(long, value_name = "W,S,E,N", allow_hyphen_values = true)]
    pub(crate) bbox: Option<String>,
    /// CRS of `--bbox`: a code, WKT, PROJJSON; `cube`: that of the axes of the cube.
    #[arg(long, value_name = "CRS", default_value = "EPSG:4326", requires = "bbox")]
    pub(crate) bbox_crs: String,
    /// Only cells for which this holds; others count as missing.
    #[arg(long = "where", value_name = "EXPR", allow_hyphen_values = true)]
    pub(crate) mask: Option<String>,
    /// Work on what this formula gives, `ndvi = (nir - red) / (nir + red)` (may be given again).
    #[arg(long, value_name = "NAME = EXPR")]
    pub(crate) calc: Vec<String>,
}

/// How stored values are to be understood.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Values")]
pub(crate) struct DecodeArgs {
    /// The stored value that marks missing cells, instead of those that the cube names; `none`: there is no mark.
    #[arg(long, value_name = "VALUE|none", allow_hyphen_values = true)]
    pub(crate) nodata: Option<String>,
    /// Stored values: no packing, no missing marks.
    #[arg(long)]
    pub(crate) raw: bool,
    /// Cells outside of `valid_min`, `valid_max` or `valid_range` count as missing.
    #[arg(long, conflicts_with = "raw")]
    pub(crate) valid: bool,
}

/// A price: a number that is not negative.
fn price(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|p| p.is_finite() && *p >= 0.0);
    number.ok_or_else(|| "a price is a number such as 0.09".to_owned())
}

/// How a job runs.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Running")]
pub(crate) struct JobArgs {
    #[command(flatten)]
    pub(crate) resources: ResourceArgs,
    /// Tell stages, chunks, bytes and memory, and run nothing.
    #[arg(long)]
    pub(crate) explain: bool,
    /// What a gigabyte (10⁹ bytes) from the store costs, such as 0.09: chunks of a shard that lie apart are then fetched
    /// together only where what is between them costs less than a request.
    #[arg(long, value_name = "PRICE", value_parser = price)]
    pub(crate) egress_price: Option<f64>,
    /// What 1,000 requests cost, in the same currency [default: 0.0004].
    #[arg(long, value_name = "PRICE", value_parser = price, requires = "egress_price")]
    pub(crate) request_price: Option<f64>,
    /// Refuse a job that takes more requests for chunks.
    #[arg(long, value_name = "N")]
    pub(crate) max_requests: Option<u64>,
    /// Refuse a job that reads more bytes, such as `10GiB`; decoded ones where it is not known how many are stored.
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_bytes: Option<Bytes>,
    /// Where the budget makes it necessary, decode chunks more than 4 times on average.
    #[arg(long)]
    pub(crate) allow_redecode: bool,
}

/// What a command may take.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ResourceArgs {
    /// Most memory that the process takes, such as `2GiB` [default: a quarter of the machine's, at most 2 GiB].
    #[arg(long, value_name = "SIZE", env = "CHUNKWISE_MEMORY", hide_env_values = true)]
    pub(crate) memory: Option<Bytes>,
    /// Threads that decode and compute [default: the processors].
    #[arg(long, value_name = "N", env = "CHUNKWISE_THREADS", hide_env_values = true, value_parser = threads)]
    pub(crate) threads: Option<NonZeroUsize>,
}

fn threads(text: &str) -> Result<NonZeroUsize, String> {
    let number = text.trim().parse::<usize>().map_err(|_| "expected a number of threads".to_owned())?;
    NonZeroUsize::new(number).ok_or_else(|| "a job needs at least one thread".to_owned())
}

impl ResourceArgs {
    /// Most memory that the process may take.
    pub(crate) fn memory_limit(&self) -> u64 {
        self.memory.map_or_else(chunkwise::memory::default_limit, |bytes| bytes.0)
    }

    /// Threads that decode and compute.
    pub(crate) fn threads(&self) -> NonZeroUsize {
        self.threads.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
    }
}

/// The layout of a new cube.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Layout of a new cube")]
pub(crate) struct LayoutArgs {
    /// Element type: `uint16`, `float32` …
    #[arg(long, value_name = "TYPE")]
    pub(crate) dtype: Option<String>,
    /// Cells of a chunk: `time=1,y=250,x=250`.
    #[arg(long, value_name = "DIM=CELLS,…")]
    pub(crate) chunk: Option<String>,
    /// Cells of a shard, multiples of the chunk.
    #[arg(long, value_name = "DIM=CELLS,…")]
    pub(crate) shard: Option<String>,
    /// `auto`, `none`, `zstd:LEVEL`, `gzip:LEVEL`, `blosc:NAME:LEVEL:SHUFFLE`, `zlib:LEVEL`, `bz2:LEVEL`, `lz4`,
    /// `lzma:PRESET`, `pcodec:LEVEL`; `delta+`, `bitround:BITS+`, `quantize:DIGITS+` or `packbits+` before it, `+crc32c` behind it.
    #[arg(long)]
    pub(crate) codec: Option<String>,
    /// Version of the Zarr format.
    #[arg(long, value_name = "3|2", value_parser = clap::value_parser!(u8).range(2..=3))]
    pub(crate) zarr: Option<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parse(line: &str) -> Cli {
        Cli::try_parse_from(std::iter::once("chunkwise").chain(line.split('|'))).unwrap()
    }

    #[test]
    fn the_definitions_agree_with_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn json_stands_before_and_behind_the_command() {
        assert_eq!(parse("--json|info|a.zarr").common.json(), Json::Yes);
        assert_eq!(parse("info|a.zarr|--json").common.json(), Json::Yes);
        assert_eq!(parse("info|--json|a.zarr").common.json(), Json::Yes);
        assert_eq!(parse("info|a.zarr").common.json(), Json::No);
    }

    #[test]
    fn values_may_begin_with_a_minus() {
        let Command::Stats(args) = parse("stats|a.zarr|--bbox|-75,-10,-70,10|--nodata|-9999").command else { panic!() };
        assert_eq!(args.select.bbox.as_deref(), Some("-75,-10,-70,10"));
        assert_eq!(args.decode.nodata.as_deref(), Some("-9999"));
    }

    #[test]
    fn lists_are_split_at_commas() {
        let Command::Reduce(args) = parse("reduce|a.zarr|--over|y,x|--with|mean,std|--memory|1GiB").command else {
            panic!()
        };
        assert_eq!(args.over, ["y", "x"]);
        assert_eq!(args.stats, ["mean", "std"]);
        assert_eq!(args.job.resources.memory, Some(Bytes(1 << 30)));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "",
            "reduce|a.zarr",
            "series|a.zarr",
            "stats|a|--threads|0",
            "stats|a|--memory|much",
            "create|-o|a|--zarr|4",
        ] {
            let words = std::iter::once("chunkwise").chain(line.split('|').filter(|w| !w.is_empty()));
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }
}
