//! `chunkwise compare`: whether two cubes are equal, or where not.

use crate::args::{Common, DecodeArgs, JobArgs};
use crate::cmd::info::decode_options;
use crate::exit::NO;
use crate::failed::Failed;
use crate::job::{Destination, Ready};
use crate::output::{self, Json, Record};
use chunkwise::compare::{CompareError, Compared, prepare};
use chunkwise::open::{OpenOptions, open_with};
use clap::Args;
use serde_json::Value;
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(
    after_help = "Example (on what `chunkwise demo` made):\n  chunkwise compare chunkwise-demo/cube.zarr chunkwise-demo/cube.zarr"
)]
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

pub(crate) fn run(args: &CompareArgs, common: &Common) -> Result<ExitCode, Failed> {
    let options = OpenOptions { decode: decode_options(&args.decode)?, storage: common.storage()? };
    let a = open_with(&args.a, &options)?;
    let b = open_with(&args.b, &options)?;
    for cube in [&a, &b] {
        cube.set_memory_limit(args.job.resources.memory_limit());
    }
    let comparison = prepare(&a, &b, &args.var).map_err(|error| match error {
        CompareError::Open { .. } => Failed::of(error).with_hint(which(args)),
        other => Failed::of(other),
    })?;
    let ready = Ready::new(comparison.cubes, comparison.prepared, Destination::Nothing, &args.job, 0, None)?;
    if args.job.explain {
        return ready.explain(common.json());
    }
    let found = ready
        .run(|cubes, prepared, plan, counters, options| comparison.pairs.run(cubes, prepared, plan, counters, options))
        .map_err(|error| error.with_hint(which(args)))?;
    match common.json() {
        Json::Yes => output::print(&found.iter().map(Compared::record).collect::<Vec<_>>(), Json::Yes)?,
        Json::No => output::print(&found.iter().map(row).collect::<Vec<_>>(), Json::No)?,
    }
    if !common.quiet && common.json() == Json::No {
        let apart = found.iter().filter(|pair| !pair.is_equal()).count();
        output::note(&match apart {
            0 => format!("`{}` and `{}` are equal", args.a, args.b),
            n => format!("`{}` and `{}` differ: {n} of {} variables", args.a, args.b, found.len()),
        });
    }
    ready.summary(common);
    Ok(if found.iter().all(Compared::is_equal) { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

/// Which cube messages mean by `A` and `B`.
fn which(args: &CompareArgs) -> String {
    format!("A is `{}`, B is `{}`", args.a, args.b)
}

/// A row for people.
fn row(pair: &Compared) -> Record {
    let mut row = Record::new();
    row.insert("variable".to_owned(), pair.variable.clone().into());
    row.insert("equal".to_owned(), if pair.is_equal() { "yes" } else { "no" }.into());
    let counted = |n: u64| if pair.cells.is_some() { Value::from(n) } else { Value::Null };
    row.insert("cells".to_owned(), pair.cells.into());
    row.insert("different".to_owned(), counted(pair.different));
    row.insert("missing in one".to_owned(), counted(pair.missing_in_one));
    row.insert("largest difference".to_owned(), pair.max_abs_diff.map_or(Value::Null, |d| output::float(d).into()));
    let labels = pair.first.iter().map(|(dim, label)| format!("{dim}={}", output::shown(label)));
    let first = labels.collect::<Vec<_>>().join(", ");
    row.insert("first at".to_owned(), if first.is_empty() { Value::Null } else { first.into() });
    // That cells differ is said by their number.
    let why: Vec<&str> = pair.why.iter().map(String::as_str).filter(|w| !w.ends_with(" cells differ")).collect();
    row.insert("why".to_owned(), if why.is_empty() { Value::Null } else { why.join("; ").into() });
    row
}
