//! What ends a command without an answer: the error in words, what would work, and of which kind it is.

mod kind;

pub use kind::Kind;

use chunkwise::create::{BadArgument, CreateError};
use chunkwise::error::OpenError;
use chunkwise::store::StoreError;
use chunkwise::store::secret::mask;
use chunkwise::write::{BadCodec, WriteError};
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// A request that cannot be met, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

/// A command line that was not understood, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// An error of a part of what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct Within {
    what: String,
    source: Box<dyn Error + Send + Sync>,
}

/// What ends a command without an answer: the error, what would work, and of which kind it is.
///
/// Displayed as [`Failed::message`].
#[derive(Debug)]
pub struct Failed {
    error: Box<dyn Error + Send + Sync>,
    hint: Option<String>,
    /// Where it is known better than by the error.
    kind: Option<Kind>,
}

impl Failed {
    /// Another layer's error.
    pub fn of(error: impl Error + Send + Sync + 'static) -> Failed {
        // Whichever part of a request needed them, labels that take too much have one remedy.
        let first: &(dyn Error + 'static) = &error;
        let causes = std::iter::successors(Some(first), |&error| error.source());
        let needed = causes.filter_map(|error| error.downcast_ref()).find_map(|error| match error {
            OpenError::Memory { needed, .. } => Some(needed.div_ceil(1 << 20)),
            _ => None,
        });
        let hint = needed.map(|mib| format!("pass `--memory {mib}MiB` or more"));
        Failed { hint, error: Box::new(error), kind: None }
    }

    /// A request that cannot be met, in words; of kind [`Kind::Value`], if not said otherwise.
    pub(crate) fn says(message: impl Into<String>) -> Failed {
        Failed::of(Refusal(message.into())).with_kind(Kind::Value)
    }

    /// A command line that was not understood.
    pub(crate) fn usage(error: &clap::Error) -> Failed {
        let text = error.render().to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let first = text.split("\n\n").next().unwrap_or(text);
        let words: Vec<&str> = first.split_whitespace().collect();
        let failed = Failed::of(Usage(words.join(" "))).with_kind(Kind::Usage);
        failed.with_hint("see `chunkwise --help`, or `--help` behind the command")
    }

    /// Of this kind, whatever the error is.
    pub(crate) fn with_kind(self, kind: Kind) -> Failed {
        Failed { kind: Some(kind), ..self }
    }

    /// With what it befell.
    pub(crate) fn within(mut self, what: impl Into<String>) -> Failed {
        self.error = Box::new(Within { what: what.into(), source: self.error });
        self
    }

    /// With what would work, after what is known to.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Failed {
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

    /// The error and its causes, each once; without secrets.
    pub fn message(&self) -> String {
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
        mask(&message)
    }

    /// What would work, where that is known.
    pub fn hint(&self) -> Option<String> {
        self.hint.clone().or_else(|| self.hint_of_store())
    }

    /// What kind of error it is.
    pub fn kind(&self) -> Kind {
        self.kind.or_else(|| kind::of(&*self.error)).unwrap_or(Kind::Other)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

impl Error for Failed {}

impl From<OpenError> for Failed {
    fn from(error: OpenError) -> Failed {
        match error {
            OpenError::Store(store) => store.into(),
            other => Failed::of(other),
        }
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Failed {
        let hint = error.hint();
        let failed = Failed::of(error);
        match hint {
            Some(hint) => failed.with_hint(hint),
            None => failed,
        }
    }
}

impl From<WriteError> for Failed {
    fn from(error: WriteError) -> Failed {
        let hint = error.hint().map(str::to_owned);
        Failed { error: Box::new(error), hint, kind: None }
    }
}

impl From<CreateError> for Failed {
    fn from(error: CreateError) -> Failed {
        match error {
            CreateError::Write(write) => write.into(),
            other => Failed::of(other),
        }
    }
}

impl From<BadArgument> for Failed {
    fn from(error: BadArgument) -> Failed {
        Failed::of(error)
    }
}

impl From<BadCodec> for Failed {
    fn from(error: BadCodec) -> Failed {
        Failed::of(error)
    }
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
        assert_eq!(Failed::of(outer()).message(), told);
        assert_eq!(Failed::of(Same(outer())).message(), told);
    }
}
