//! `chunkwise reduce`: statistics over dimensions, cycles and windows.

use crate::args::{Common, ReduceArgs};
use crate::exit::CliError;
use crate::job::{Ready, destination, request, statistics};
use chunkwise::job::{Anomaly, Over, prepare};
use chunkwise_core::group::{Cycle, Window};
use std::process::ExitCode;

pub(crate) fn run(args: &ReduceArgs, common: &Common) -> Result<ExitCode, CliError> {
    let (cube, mut request) = request(&args.cube, &args.select, &args.decode, &args.job, common)?;
    request.anomaly = if args.anomaly { Anomaly::Yes } else { Anomaly::No };
    request.min_count = args.min_count;
    request.statistics = statistics(&args.stats)?;
    request.cycle = args.group.as_deref().map(Cycle::parse).transpose().map_err(CliError::of)?;
    if let Some(text) = &args.every {
        request.windows = vec![Window::parse(text).map_err(CliError::of)?];
    }
    request.over = match args.over.as_slice() {
        [] if request.cycle.is_none() && request.windows.is_empty() => {
            return Err(
                CliError::says("nothing is reduced").hint("pass `--over DIM`, `--over all`, `--group` or `--every`")
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
