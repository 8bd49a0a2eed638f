//! How a command ends: errors on stderr, exit codes, signals.

use crate::output::Json;
use chunkwise::create::{BadArgument, CreateError};
use chunkwise::error::OpenError;
use chunkwise::store::StoreError;
use chunkwise::store::secret::mask;
use chunkwise::write::{BadCodec, WriteError};
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

/// The answer is no: a difference, a conflict.
pub(crate) const NO: u8 = 1;
/// An error.
const FAILED: u8 = 2;
/// The user or the system ended the command.
const INTERRUPTED: u8 = 130;

static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
/// Whether the process may end at any moment.
static LEAVE: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Whether the user asked to stop: set by SIGINT and SIGTERM.
pub(crate) fn interrupted() -> &'static AtomicBool {
    &STOP
}

/// Sets [`interrupted`] at the first SIGINT or SIGTERM; the second ends the process at once.
///
/// # Errors
/// The system refuses the handlers.
pub(crate) fn watch_signals() -> Result<(), CliError> {
    // So that a file that grows past the limit is an error of its write, and not the end of the process.
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map_err(|e| CliError::of(Signals { source: e }))?;
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag unset, and sets it.
        signal_hook::flag::register_conditional_shutdown(signal, i32::from(INTERRUPTED), Arc::clone(&STOP))
            .and_then(|_| {
                signal_hook::flag::register_conditional_shutdown(signal, i32::from(INTERRUPTED), Arc::clone(&LEAVE))
            })
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&STOP)))
            .map_err(|e| CliError::of(Signals { source: e }))?;
    }
    Ok(())
}

/// Does what only reads, such as opening a cube: the first SIGINT or SIGTERM ends the process at once, also while it
/// waits for a server.
pub(crate) fn leaving_at_once<T>(work: impl FnOnce() -> T) -> T {
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

/// A request that cannot be met, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

/// An error of a part of what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct Within {
    what: String,
    source: Box<dyn Error + Send + Sync>,
}

/// What ends a command without an answer: the error, and what would work.
#[derive(Debug)]
pub(crate) struct CliError {
    error: Box<dyn Error + Send + Sync>,
    hint: Option<String>,
}

impl CliError {
    /// Another layer's error.
    pub(crate) fn of(error: impl Error + Send + Sync + 'static) -> CliError {
        // Whichever part of a request needed them, labels that take too much have one remedy.
        let first: &(dyn Error + 'static) = &error;
        let causes = std::iter::successors(Some(first), |&error| error.source());
        let needed = causes.filter_map(|error| error.downcast_ref()).find_map(|error| match error {
            OpenError::Memory { needed, .. } => Some(needed.div_ceil(1 << 20)),
            _ => None,
        });
        CliError { hint: needed.map(|mib| format!("pass `--memory {mib}MiB` or more")), error: Box::new(error) }
    }

    /// An error of the command line itself.
    pub(crate) fn says(message: impl Into<String>) -> CliError {
        CliError::of(Refusal(message.into()))
    }

    /// With what it befell.
    pub(crate) fn within(mut self, what: impl Into<String>) -> CliError {
        self.error = Box::new(Within { what: what.into(), source: self.error });
        self
    }

    /// With what would work, after what is known to.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> CliError {
        self.hint = Some(match self.hint {
            Some(known) => format!("{known}; {}", hint.into()),
            None => hint.into(),
        });
        self
    }

    /// What would work, where a store is at the bottom of it.
    fn hint_of_store(&self) -> Option<String> {
        let error: &(dyn Error + 'static) = &*self.error;
        let mut cause = Some(error);
        while let Some(error) = cause {
            let boxed = error.downcast_ref::<Box<StoreError>>().map(|e| &**e);
            let shared = error.downcast_ref::<Arc<StoreError>>().map(|e| &**e);
            let store = error.downcast_ref::<StoreError>().or(boxed).or(shared);
            // What only passes on the words of a store's error hides it from the chain.
            let passed = error
                .downcast_ref::<WriteError>()
                .and_then(|e| if let WriteError::Store(e) = e { Some(e) } else { None });
            let opened = error
                .downcast_ref::<OpenError>()
                .and_then(|e| if let OpenError::Store(e) = e { Some(e) } else { None });
            if let Some(hint) = store.or(passed).or(opened).and_then(StoreError::hint) {
                return Some(hint);
            }
            cause = error.source();
        }
        None
    }

    /// The error and its causes, each once.
    pub(crate) fn message(&self) -> String {
        let mut message = self.error.to_string();
        let mut last = message.clone();
        let mut cause = self.error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // An error that passes on the words of its cause says them itself.
            if !last.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            last = text;
            cause = error.source();
        }
        message
    }
}

impl From<OpenError> for CliError {
    fn from(error: OpenError) -> CliError {
        match error {
            OpenError::Store(store) => store.into(),
            other => CliError::of(other),
        }
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> CliError {
        let hint = error.hint();
        let failed = CliError::of(error);
        match hint {
            Some(hint) => failed.hint(hint),
            None => failed,
        }
    }
}

impl From<WriteError> for CliError {
    fn from(error: WriteError) -> CliError {
        let hint = error.hint().map(str::to_owned);
        CliError { error: Box::new(error), hint }
    }
}

impl From<CreateError> for CliError {
    fn from(error: CreateError) -> CliError {
        match error {
            CreateError::Write(write) => write.into(),
            other => CliError::of(other),
        }
    }
}

impl From<BadArgument> for CliError {
    fn from(error: BadArgument) -> CliError {
        CliError::of(error)
    }
}

impl From<BadCodec> for CliError {
    fn from(error: BadCodec) -> CliError {
        CliError::of(error)
    }
}

/// Tells the error on stderr and gives the exit code: 130 where the user had asked to stop, else 2.
pub(crate) fn report(error: &CliError, json: Json) -> ExitCode {
    let hint = error.hint.clone().or_else(|| error.hint_of_store());
    tell(&mask(&error.message()), hint.as_deref(), json);
    ExitCode::from(if interrupted().load(Ordering::Relaxed) { INTERRUPTED } else { FAILED })
}

/// Ends a command line that was not understood, or that asked for help or the version.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Help into a pager that was closed is no failure.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if std::env::args_os().any(|arg| arg == "--json") {
        let text = error.render().to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let first = text.split("\n\n").next().unwrap_or(text);
        let words: Vec<&str> = first.split_whitespace().collect();
        tell(&words.join(" "), Some("see `chunkwise --help`, or `--help` behind the command"), Json::Yes);
    } else {
        let _ = error.print();
    }
    ExitCode::from(FAILED)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read chunk [0] of `t2m`")]
    struct Outer {
        source: std::io::Error,
    }

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Same(#[from] Outer);

    #[test]
    fn each_cause_is_told_once() {
        let outer = || Outer { source: std::io::Error::other("the disk is gone") };
        let told = "cannot read chunk [0] of `t2m`: the disk is gone";
        assert_eq!(CliError::of(outer()).message(), told);
        assert_eq!(CliError::of(Same(outer())).message(), told);
    }
}
