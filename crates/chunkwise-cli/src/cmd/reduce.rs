//! `chunkwise reduce`: statistics over dimensions, cycles and windows.

use crate::args::{Common, DecodeArgs, JobArgs, LayoutArgs, SelectArgs};
use crate::failed::Failed;
use crate::job::{Ready, destination, request, statistics};
use chunkwise::job::{Anomaly, Over, prepare};
use chunkwise_core::group::{Cycle, Window};
use clap::Args;
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples (on what `chunkwise demo` made):\n  chunkwise reduce chunkwise-demo/cube.zarr --over time --with mean,std -o mean-std.zarr\n  chunkwise reduce chunkwise-demo/cube.zarr --group season --with max --calc 'ndvi = (nir - red) / (nir + red)' -o seasons.nc"
)]
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
    /// A cube (`.zarr`), a file (`.tif`, `.nc`), a table (`.csv`, `.json`, `.parquet`, `.arrow`), `none` to compute and write nothing [default: a table to stdout].
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<String>,
    /// Replace an output that is there.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

pub(crate) fn run(args: &ReduceArgs, common: &Common) -> Result<ExitCode, Failed> {
    let (cube, mut request) = request(&args.cube, &args.select, &args.decode, &args.job, common)?;
    request.anomaly = if args.anomaly { Anomaly::Yes } else { Anomaly::No };
    request.min_count = args.min_count;
    request.statistics = statistics(&args.stats)?;
    request.cycle = args.group.as_deref().map(Cycle::parse).transpose().map_err(Failed::of)?;
    if let Some(text) = &args.every {
        request.windows = vec![Window::parse(text).map_err(Failed::of)?];
    }
    request.over = match args.over.as_slice() {
        [] if request.cycle.is_none() && request.windows.is_empty() => {
            return Err(
                Failed::says("nothing is reduced").with_hint("pass `--over DIM`, `--over all`, `--group` or `--every`")
            );
        }
        [] => Over::None,
        [all] if all == "all" => Over::All,
        dims => Over::Dims(dims.iter().map(|d| d.trim().to_owned()).collect()),
    };
    let prepared = prepare(&cube, &request)?;
    let to = destination(args.output.as_deref(), Some(&args.layout), args.overwrite, &cube, common)?;
    let ready = Ready::new(cube, prepared, to, &args.job, args.ddof, args.min_count)?;
    if args.job.explain {
        return ready.explain(common.json());
    }
    ready.deliver(common, |r| r)
}
