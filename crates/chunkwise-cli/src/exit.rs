//! How a command ends: errors on stderr, exit codes, signals.

use crate::call;
use crate::failed::Failed;
use crate::output::Json;
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

/// The answer is no: a difference, a conflict.
pub(crate) const NO: u8 = 1;
/// Done, or the answer is yes.
const DONE: u8 = 0;
/// An error.
const FAILED: u8 = 2;
/// The user or the system ended the command.
const INTERRUPTED: u8 = 130;

static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
/// Whether the process may end at any moment.
static LEAVE: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Whether the user asked to stop: set by SIGINT and SIGTERM, or in a call by who calls. To be asked on the command's own
/// thread.
pub(crate) fn interrupted() -> &'static AtomicBool {
    call::here(|call| call.cancel).unwrap_or_else(|| &STOP)
}

/// Sets [`interrupted`] at the first SIGINT or SIGTERM; the second ends the process at once. Once for a process.
///
/// # Errors
/// The system refuses the handlers.
pub(crate) fn watch_signals() -> Result<(), Failed> {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if WATCHED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    // So that a file that grows past the limit is an error of its write, and not the end of the process.
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map_err(|e| Failed::of(Signals { source: e }))?;
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag unset, and sets it.
        signal_hook::flag::register_conditional_shutdown(signal, i32::from(INTERRUPTED), Arc::clone(&STOP))
            .and_then(|_| {
                signal_hook::flag::register_conditional_shutdown(signal, i32::from(INTERRUPTED), Arc::clone(&LEAVE))
            })
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&STOP)))
            .map_err(|e| Failed::of(Signals { source: e }))?;
    }
    Ok(())
}

/// Does what only reads, such as opening a cube: the first SIGINT or SIGTERM ends the process at once, also while it
/// waits for a server. A call goes on to its end.
pub(crate) fn leaving_at_once<T>(work: impl FnOnce() -> T) -> T {
    if call::here(|_| ()).is_some() {
        return work();
    }
    LEAVE.store(true, Ordering::Relaxed);
    let done = work();
    LEAVE.store(false, Ordering::Relaxed);
    done
}

#[derive(Debug, thiserror::Error)]
#[error("cannot watch for interrupts")]
struct Signals {
    source: std::io::Error,
}

/// The number of what a command says: done, or the answer is no.
pub(crate) fn number(code: ExitCode) -> u8 {
    if code == ExitCode::SUCCESS { DONE } else { NO }
}

/// Tells the error on stderr and gives the exit code: 130 where the user had asked to stop, else 2.
pub(crate) fn report(error: &Failed, json: Json) -> u8 {
    tell(&error.message(), error.hint().as_deref(), json);
    if interrupted().load(Ordering::Relaxed) { INTERRUPTED } else { FAILED }
}

/// Ends a command line that was not understood, or that asked for help or the version.
pub(crate) fn usage(error: &clap::Error, words: &[OsString]) -> u8 {
    if !error.use_stderr() {
        // Help into a pager that was closed is no failure.
        let _ = error.print();
        return DONE;
    }
    if words.iter().any(|word| word == "--json") {
        let failed = Failed::usage(error);
        tell(&failed.message(), failed.hint().as_deref(), Json::Yes);
    } else {
        let _ = error.print();
    }
    FAILED
}

fn tell(message: &str, hint: Option<&str>, json: Json) {
    let text = match json {
        Json::Yes => format!("{}\n", json!({ "error": message, "hint": hint.map_or(Value::Null, Value::from) })),
        Json::No => match hint {
            Some(hint) => format!("error: {message}\nhint: {hint}\n"),
            None => format!("error: {message}\n"),
        },
    };
    // There is nowhere left to complain.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
