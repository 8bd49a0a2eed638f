//! The words of the command line. What they mean for a cube is found in `cmd`.

use crate::bytes::Bytes;
use crate::exit::CliError;
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
    pub(crate) fn storage(&self) -> Result<StorageOptions, CliError> {
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

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Folder that is made; one that an earlier run made is made anew.
    #[arg(short, long, default_value = "chunkwise-demo")]
    pub(crate) output: String,
    #[command(flatten)]
    pub(crate) job: JobArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// A cube, `CUBE:GROUP` or `CUBE:VARIABLE`.
    pub(crate) cube: String,
    #[command(flatten)]
    pub(crate) decode: DecodeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// A cube, or `CUBE:GROUP`.
    pub(crate) cube: String,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The new cube: `CUBE` or `CUBE:GROUP`.
    #[arg(short, long, value_name = "CUBE[:GROUP]")]
    pub(crate) output: String,
    /// Name of the variable [default: `data`; with `--like`, its only one].
    #[arg(long, value_name = "NAME")]
    pub(crate) var: Option<String>,
    /// A dimension in order, with its length or labels: `time=12`, `band=red,nir`.
    #[arg(long, value_name = "NAME=LENGTH|LABELS", allow_hyphen_values = true)]
    pub(crate) dim: Vec<String>,
    /// Labels of a dimension: `x=600000:30`, `time=2024-01-15:1month`.
    #[arg(long, value_name = "NAME=START:STEP", allow_hyphen_values = true)]
    pub(crate) coord: Vec<String>,
    #[command(flatten)]
    pub(crate) layout: LayoutArgs,
    /// What cells that are not written hold.
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    pub(crate) fill: Option<String>,
    /// The stored value that marks missing cells.
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    pub(crate) missing: Option<String>,
    /// `EPSG:CODE`, or WKT.
    #[arg(long)]
    pub(crate) crs: Option<String>,
    /// A JSON file with attributes: of the cube, and under `variables` of variables and coordinates by name.
    #[arg(long, value_name = "FILE")]
    pub(crate) attrs: Option<String>,
    /// Dimensions, layout, type, attributes and CRS of another cube.
    #[arg(long, value_name = "CUBE")]
    pub(crate) like: Option<String>,
    /// Replace a cube that is there.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// The cube.
    pub(crate) cube: String,
    /// One row for each label of this dimension.
    #[arg(long, value_name = "DIM")]
    pub(crate) by: Option<String>,
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    pub(crate) decode: DecodeArgs,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// A table as `.csv` or `.json` instead of stdout.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<String>,
    /// Replace an output that is there.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReduceArgs {
    /// The cube.
    pub(crate) cube: String,
    /// Dimensions that go: `time`, `y,x`, `all` (may be left out with `--group` or `--every`).
    #[arg(long, value_name = "DIM,…|all", value_delimiter = ',')]
    pub(crate) over: Vec<String>,
    /// Statistics: `mean`, `std,count`, `median`, `trend` …
    #[arg(long = "with", value_name = "STAT,…", value_delimiter = ',', required = true)]
    pub(crate) stats: Vec<String>,
    /// A cycle of time: `month`, `season`, `dayofyear`, `monthday`, `weekday`, `hour`.
    #[arg(long, value_name = "CYCLE")]
    pub(crate) group: Option<String>,
    /// Windows: `1month`, `10d`, `season`, `year`, `y=10,x=10`.
    #[arg(long, value_name = "WINDOW", conflicts_with = "group")]
    pub(crate) every: Option<String>,
    /// Each cell less the statistic of its group.
    #[arg(long)]
    pub(crate) anomaly: bool,
    /// Delta degrees of freedom of `std` and `var`.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) ddof: u32,
    /// The sum of fewer valid cells is missing [default: 1]; 0: the sum of nothing is 0.
    #[arg(long, value_name = "N")]
    pub(crate) min_count: Option<u64>,
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    pub(crate) decode: DecodeArgs,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    #[command(flatten)]
    pub(crate) layout: LayoutArgs,
    /// A cube (`.zarr`), a table (`.csv`, `.json`), `none` to compute and write nothing [default: a table to stdout].
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<String>,
    /// Replace an output that is there.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CalcArgs {
    /// The cube.
    pub(crate) cube: String,
    /// `ndvi = (nir - red) / (nir + red)`
    #[arg(value_name = "NAME = EXPR", required = true)]
    pub(crate) formulas: Vec<String>,
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    pub(crate) decode: DecodeArgs,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    #[command(flatten)]
    pub(crate) layout: LayoutArgs,
    /// The new cube, or `none` to compute and write nothing.
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: String,
    /// Replace a cube that is there.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("where_to_look").args(["at", "iat", "points"]).required(true).multiple(true))]
pub(crate) struct SeriesArgs {
    /// The cube.
    pub(crate) cube: String,
    /// A point in coordinates, nearest cell: `y=500,x=500` (may be given again).
    #[arg(long, value_name = "DIM=VALUE,…", allow_hyphen_values = true)]
    pub(crate) at: Vec<String>,
    /// A point by index: `y=0,x=-1` (may be given again).
    #[arg(long, value_name = "DIM=INDEX,…", allow_hyphen_values = true)]
    pub(crate) iat: Vec<String>,
    /// A CSV file with a column for each dimension, and `point` or `name` where points have names.
    #[arg(long, value_name = "FILE")]
    pub(crate) points: Option<String>,
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    pub(crate) decode: DecodeArgs,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// A table as `.csv` or `.json` instead of stdout.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<String>,
    /// Replace an output that is there.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ZonalArgs {
    /// The cube.
    pub(crate) cube: String,
    /// Polygons of a GeoJSON, GeoPackage, FlatGeobuf or shapefile; or zones cell by cell: a variable, `CUBE:VARIABLE`, a formula such as
    /// `floor(dem / 100)`.
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
    /// A table as `.csv` or `.json` instead of stdout.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<String>,
    /// Replace an output that is there.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// A cube.
    pub(crate) a: String,
    /// The cube that it is compared with.
    pub(crate) b: String,
    /// Only this variable (may be given again).
    #[arg(long, value_name = "NAME")]
    pub(crate) var: Vec<String>,
    #[command(flatten)]
    pub(crate) decode: DecodeArgs,
    #[command(flatten)]
    pub(crate) job: JobArgs,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The cube.
    pub(crate) cube: String,
    /// Only this variable (may be given again).
    #[arg(long, value_name = "NAME")]
    pub(crate) var: Vec<String>,
    #[command(flatten)]
    pub(crate) resources: ResourceArgs,
    /// Tell variables, chunks, bytes and memory, and read none.
    #[arg(long)]
    pub(crate) explain: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The page of this command to stdout [default: that of `chunkwise`].
    #[arg(conflicts_with = "output")]
    pub(crate) command: Option<String>,
    /// Write all pages into this folder; those of an earlier version are replaced.
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) output: Option<std::path::PathBuf>,
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
