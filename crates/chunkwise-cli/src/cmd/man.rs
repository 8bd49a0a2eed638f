//! `chunkwise man`: manual pages, one to stdout or all into a folder.

use crate::args::Cli;
use crate::failed::{Failed, Kind};
use crate::output;
use clap::{Args, Command, CommandFactory as _};
use clap_mangen::Man;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, thiserror::Error)]
#[error("cannot write manual pages into `{}`", .folder.display())]
struct Pages {
    folder: PathBuf,
    source: std::io::Error,
}

#[derive(Debug, Args)]
#[command(after_help = "Example (on what `chunkwise demo` made):\n  chunkwise man reduce")]
pub(crate) struct ManArgs {
    /// The page of this command to stdout [default: that of `chunkwise`].
    #[arg(conflicts_with = "output")]
    pub(crate) command: Option<String>,
    /// Write all pages into this folder; those of an earlier version are replaced.
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) output: Option<std::path::PathBuf>,
}

pub(crate) fn run(args: &ManArgs) -> Result<ExitCode, Failed> {
    let mut chunkwise = Cli::command().disable_help_subcommand(true);
    // So that each command knows its whole name and the options of all.
    chunkwise.build();
    match &args.output {
        Some(folder) => {
            write_all(chunkwise, folder).map_err(|source| Failed::of(Pages { folder: folder.clone(), source }))?
        }
        None => {
            let page = Man::new(found(chunkwise, args.command.as_deref())?);
            output::stdout(|out| page.render(out))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write_all(chunkwise: Command, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(chunkwise, folder)
}

fn found(chunkwise: Command, name: Option<&str>) -> Result<Command, Failed> {
    let Some(name) = name else { return Ok(chunkwise) };
    chunkwise.find_subcommand(name).cloned().ok_or_else(|| {
        let has: Vec<&str> = chunkwise.get_subcommands().map(Command::get_name).collect();
        Failed::says(format!("no command `{name}`; there are {}", has.join(", "))).with_kind(Kind::Key)
    })
}
