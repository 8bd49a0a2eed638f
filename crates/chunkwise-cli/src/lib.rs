//! The `chunkwise` command line, as a library: [`main`] is the command itself, and [`call`] runs one command within a
//! process that has other things to do, and gives back what would have been printed.
//!
//! ```no_run
//! use chunkwise_cli::{Call, Kind, call};
//!
//! let words = ["stats", "cube.zarr", "--by", "band"];
//! match call(Call::new(words)) {
//!     Ok(answer) => assert!(answer.text.is_empty()),
//!     Err(failed) => assert_eq!(failed.kind(), Kind::NotFound),
//! }
//! ```

mod args;
mod bytes;
mod call;
mod cmd;
mod commands;
mod exit;
mod failed;
mod job;
mod output;
mod progress;

pub use call::{Answer, Call, Progress, call};
#[cfg(feature = "parquet")]
pub use chunkwise::table::Table;
pub use commands::commands;
pub use failed::{Failed, Kind};

use args::{Cli, Command};
use clap::Parser as _;
use std::ffi::OsString;
use std::process::ExitCode;

/// The command of this process: its words, signals, stdout and stderr.
pub fn main() -> ExitCode {
    ExitCode::from(process(std::env::args_os().collect()))
}

/// The same of these words, which are without the program's name; gives the exit code.
pub fn main_with(words: impl IntoIterator<Item = OsString>) -> u8 {
    process(std::iter::once("chunkwise".into()).chain(words).collect())
}

/// Does what the words say; the first is the program's name.
fn process(words: Vec<OsString>) -> u8 {
    chunkwise::memory::return_freed_buffers();
    let cli = match Cli::try_parse_from(&words) {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error, &words),
    };
    let _running = call::of_process(&words);
    let json = cli.common.json();
    let done = exit::watch_signals().and_then(|()| {
        log_to_stderr(cli.common.verbose);
        run(&cli)
    });
    match done {
        Ok(code) => exit::number(code),
        Err(error) => exit::report(&error, json),
    }
}

fn run(cli: &Cli) -> Result<ExitCode, Failed> {
    let common = &cli.common;
    match &cli.command {
        Command::Demo(args) => cmd::demo::run(args, common),
        Command::Info(args) => cmd::info::run(args, common),
        Command::Ls(args) => cmd::ls::run(args, common),
        Command::Attrs(args) => cmd::attrs::run(args, common),
        #[cfg(feature = "geotiff")]
        Command::Append(args) => cmd::append::run(args, common),
        Command::Create(args) => cmd::create::run(args, common),
        #[cfg(feature = "geotiff")]
        Command::Import(args) => cmd::import::run(args, common),
        Command::Stats(args) => cmd::stats::run(args, common),
        Command::Reduce(args) => cmd::reduce::run(args, common),
        Command::Calc(args) => cmd::calc::run(args, common),
        Command::Series(args) => cmd::series::run(args, common),
        Command::Zonal(args) => cmd::zonal::run(args, common),
        Command::Rasterize(args) => cmd::rasterize::run(args, common),
        Command::Plot(args) => cmd::plot::run(args, common),
        Command::Compare(args) => cmd::compare::run(args, common),
        Command::Verify(args) => cmd::verify::run(args, common),
        Command::Completions(args) => cmd::completions::run(args),
        Command::Man(args) => cmd::man::run(args),
    }
}

/// Messages of the libraries: none but with `-v`, or as `RUST_LOG` says.
fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => "off",
        1 => "chunkwise=debug,chunkwise_core=debug",
        // Libraries of the network tell headers, which are not for logs.
        _ => "chunkwise=trace,chunkwise_core=trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    // A process that runs a second command goes on as it began.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Masked::default).try_init();
}

/// Standard error, a line at a time and without secrets: whatever `RUST_LOG` asks the libraries to tell.
#[derive(Default)]
struct Masked(Vec<u8>);

impl std::io::Write for Masked {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let text = chunkwise::store::secret::mask(&String::from_utf8_lossy(&self.0));
        self.0.clear();
        std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes())
    }
}

impl Drop for Masked {
    fn drop(&mut self) {
        // There is nowhere left to complain.
        let _ = std::io::Write::flush(self);
    }
}
