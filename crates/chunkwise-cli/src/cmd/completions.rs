//! `chunkwise completions`: what a shell needs to complete commands and options.

use crate::args::Cli;
use crate::failed::Failed;
use crate::output;
use clap::{Args, CommandFactory as _};
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(after_help = "Example (on what `chunkwise demo` made):\n  chunkwise completions bash")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

pub(crate) fn run(args: &CompletionsArgs) -> Result<ExitCode, Failed> {
    // The generators do not expect that stdout may close: they write to memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "chunkwise", &mut script);
    output::stdout(|out| out.write_all(&script))?;
    Ok(ExitCode::SUCCESS)
}
