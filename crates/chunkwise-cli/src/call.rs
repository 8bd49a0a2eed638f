//! One command within a process that has other things to do: what it would print and tell goes to who calls.
//!
//! What a command runs in is known to its thread; what it hands to other threads, it takes from there before.

use crate::args::Cli;
use crate::exit;
use crate::failed::{Failed, Kind};
#[cfg(feature = "parquet")]
use chunkwise::table::Table;
use clap::Parser as _;
use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Is told how many parts of a job are done, and of how many; about ten times a second, on a thread of its own.
pub type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// A command to be run by [`call`].
#[derive(Clone)]
pub struct Call {
    /// The words, without the program's name.
    pub words: Vec<OsString>,
    /// Set to stop the command, from any thread.
    pub cancel: &'static AtomicBool,
    /// Who is told how far it is.
    pub progress: Option<Progress>,
}

impl Call {
    /// A command that nobody stops or watches.
    pub fn new(words: impl IntoIterator<Item = impl Into<OsString>>) -> Call {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Call { words: words.into_iter().map(Into::into).collect(), cancel: &NEVER, progress: None }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("words", &self.words).field("cancel", &self.cancel).finish_non_exhaustive()
    }
}

/// What a command gave.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// 0, or 1 where the answer is no: cubes that differ, a cube with problems.
    pub code: u8,
    /// What goes to stdout and is no table.
    pub text: String,
    /// The lines that go to stderr: notes, and without `--quiet` summaries.
    pub notes: Vec<String>,
    /// Records, with or without `--json`, in the columns of `.arrow` files. Builds without tables of columns give text.
    #[cfg(feature = "parquet")]
    pub table: Option<Table>,
}

/// Runs one command and touches the process in nothing else: no signal handlers, nothing on stdout or stderr, no exit.
///
/// Files and cubes are written as ever. Any number of calls may run at once, each on a thread of its own.
///
/// # Errors
/// As the command; [`Kind::Usage`] where the words are not understood, [`Kind::Interrupted`] where it was cancelled.
pub fn call(call: Call) -> Result<Answer, Failed> {
    let Call { words, cancel, progress } = call;
    let stopped = |failed: Failed| match cancel.load(Ordering::Relaxed) {
        true => failed.with_kind(Kind::Interrupted),
        false => failed,
    };
    if cancel.load(Ordering::Relaxed) {
        return Err(stopped(Failed::says("interrupted")));
    }
    let name = OsString::from("chunkwise");
    let cli = match Cli::try_parse_from(std::iter::once(&name).chain(&words)) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return Err(Failed::usage(&error)),
        Err(told) => return Ok(Answer { text: told.render().to_string(), ..Answer::default() }),
    };
    let caller = Rc::new(InCall { cancel, progress, answer: RefCell::default() });
    let running = enter(Running { words: texts(&words), call: Some(Rc::clone(&caller)) });
    let done = crate::run(&cli);
    drop(running);
    let code = done.map_err(stopped)?;
    let answer = caller.answer.take();
    Ok(Answer { code: exit::number(code), ..answer })
}

/// What the command of this thread runs in.
struct Running {
    words: Vec<String>,
    call: Option<Rc<InCall>>,
}

/// Who called the command of this thread.
pub(crate) struct InCall {
    pub(crate) cancel: &'static AtomicBool,
    pub(crate) progress: Option<Progress>,
    pub(crate) answer: RefCell<Answer>,
}

thread_local! {
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

/// While it lives, the thread runs a command.
pub(crate) struct Entered(Option<Running>);

impl Drop for Entered {
    fn drop(&mut self) {
        RUNNING.replace(self.0.take());
    }
}

fn enter(running: Running) -> Entered {
    Entered(RUNNING.replace(Some(running)))
}

/// Says that this thread runs the command of its process; the first word is the program's name.
pub(crate) fn of_process(words: &[OsString]) -> Entered {
    enter(Running { words: texts(words.get(1..).unwrap_or_default()), call: None })
}

fn texts(words: &[OsString]) -> Vec<String> {
    words.iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

/// Words of the command that this thread runs, without the program's name.
pub(crate) fn words() -> Vec<String> {
    RUNNING.with_borrow(|running| running.as_ref().map(|r| r.words.clone()).unwrap_or_default())
}

/// Asks who called the command of this thread; `None` where it is that of the process.
pub(crate) fn here<T>(ask: impl FnOnce(&InCall) -> T) -> Option<T> {
    let call = RUNNING.with_borrow(|running| running.as_ref().and_then(|r| r.call.clone()));
    call.map(|call| ask(&call))
}
