//! `chunkwise verify`: whether a cube is whole, or what is wrong with it.

use crate::args::{Common, ResourceArgs};
use crate::bytes::format_bytes;
use crate::exit::{NO, interrupted};
use crate::failed::Failed;
use crate::job::open_cube;
use crate::output::{self, Json, printable};
use crate::progress;
use chunkwise::exec::Counters;
use chunkwise::open::OpenOptions;
use chunkwise::verify::{Problem, VerifyError, VerifyOptions, prepare};
use clap::Args;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

#[derive(Debug, Args)]
#[command(after_help = "Example (on what `chunkwise demo` made):\n  chunkwise verify chunkwise-demo/cube.zarr")]
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

pub(crate) fn run(args: &VerifyArgs, common: &Common) -> Result<ExitCode, Failed> {
    let began = Instant::now();
    let cube = open_cube(&args.cube, &OpenOptions { storage: common.storage()?, ..OpenOptions::default() })?;
    let (memory, threads) = (args.resources.memory_limit(), args.resources.threads().get());
    let options = VerifyOptions { variables: args.var.clone(), memory, threads, cancel: interrupted() };
    let verification = prepare(&cube, options).map_err(|error| match error {
        VerifyError::Memory { needed, .. } => {
            Failed::of(error).with_hint(format!("pass `--memory {}MiB`", needed.div_ceil(1 << 20)))
        }
        other => Failed::of(other),
    })?;
    let plan = verification.plan();
    if args.explain {
        match common.json() {
            Json::Yes => output::print_json(&plan)?,
            Json::No => output::stdout(|out| {
                let (decoded, memory) =
                    (format_bytes(plan.decoded_bytes.into()), format_bytes(plan.memory_bytes.into()));
                writeln!(
                    out,
                    "{} variables, {} chunks, {decoded} decoded, memory {memory}",
                    plan.variables, plan.chunks
                )
            })?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let counters = Counters::default();
    let found = progress::shown(common, &counters, plan.chunks, || verification.run(&counters)).map_err(Failed::of)?;
    match common.json() {
        Json::Yes => output::print_json(&found.problems)?,
        Json::No => output::stdout(|out| found.problems.iter().try_for_each(|p| writeln!(out, "{}", line(p))))?,
    }
    let untold = found.count - found.problems.len() as u64;
    if untold > 0 {
        output::note(&format!("{untold} more problems are not listed"));
    }
    if !common.quiet && (common.json() == Json::No || common.verbose > 0) {
        found.notes.iter().for_each(|note| output::note(note));
        let get = |c: &std::sync::atomic::AtomicU64| c.load(Ordering::Relaxed);
        let verdict = match found.count {
            0 => "nothing is wrong".to_owned(),
            1 => "1 problem".to_owned(),
            n => format!("{n} problems"),
        };
        let repeated = cube.store.repeated();
        let again = if repeated > 0 { format!(" ({repeated} of them again)") } else { String::new() };
        output::note(&format!(
            "{verdict}: {} variables, {} chunks ({} absent), {} requests{again}, {} read, {} decoded in {:.2} s{}",
            plan.variables,
            get(&counters.chunks),
            get(&counters.absent),
            get(&counters.requests) + repeated,
            format_bytes(get(&counters.encoded_bytes).into()),
            format_bytes(get(&counters.decoded_bytes).into()),
            began.elapsed().as_secs_f64(),
            output::peak_memory(),
        ));
    }
    Ok(if found.count == 0 { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

/// `VARIABLE  [CHUNK]  KEY  what is wrong`.
fn line(problem: &Problem) -> String {
    let variable = if problem.variable.is_empty() { "(group)" } else { &problem.variable };
    let chunk = problem.chunk.as_ref().map_or_else(|| "-".to_owned(), |chunk| format!("{chunk:?}"));
    let key = problem.key.as_deref().unwrap_or("-");
    printable(&[variable, &chunk, key, &problem.problem].join("  "))
}
