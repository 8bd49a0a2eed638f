//! Errors as Python's own: `chunkwise.errors` has a class for each kind, which derives from that of Python.

use chunkwise::error::OpenError;
use chunkwise::job::JobError;
use chunkwise::store::secret::mask;
use chunkwise_cli::{Failed, Kind};
use pyo3::prelude::*;
use std::error::Error;

/// An error on its way to Python.
#[derive(Debug)]
pub(crate) struct Told {
    kind: &'static str,
    message: String,
    hint: Option<String>,
}

impl Told {
    /// An argument that cannot be understood.
    pub(crate) fn value(message: impl Into<String>) -> Told {
        Told { kind: "value", message: message.into(), hint: None }
    }

    /// Another layer's error.
    pub(crate) fn of(error: impl Error + Send + Sync + 'static) -> Told {
        Failed::of(error).into()
    }

    /// The exception.
    pub(crate) fn raise(self, py: Python<'_>) -> PyErr {
        let made = py
            .import("chunkwise.errors")
            .and_then(|module| module.getattr("of_kind"))
            .and_then(|of_kind| of_kind.call1((self.kind, self.message, self.hint)));
        made.map_or_else(|error| error, PyErr::from_value)
    }
}

impl From<Failed> for Told {
    fn from(failed: Failed) -> Told {
        let kind = match failed.kind() {
            Kind::NotFound => "not_found",
            Kind::Key => "key",
            Kind::Value => "value",
            Kind::Memory => "memory",
            Kind::Exists => "exists",
            Kind::Permission => "permission",
            Kind::Interrupted => "interrupted",
            Kind::TooMuch => "too_much",
            Kind::Corrupt => "corrupt",
            Kind::Io => "io",
            Kind::Usage => "usage",
            _ => "other",
        };
        let hint = failed.hint().map(|hint| mask(&hint));
        Told { kind, message: failed.message(), hint }
    }
}

impl From<OpenError> for Told {
    fn from(error: OpenError) -> Told {
        Failed::from(error).into()
    }
}

impl From<JobError> for Told {
    fn from(error: JobError) -> Told {
        if let JobError::Memory(refused) = &error {
            let mib = refused.needed.div_ceil(1 << 20);
            return Told {
                kind: "memory",
                message: format!(
                    "the job needs {mib} MiB beside what this process holds, which is more than its budget"
                ),
                hint: Some(format!("pass `--memory {mib}MiB`")),
            };
        }
        Failed::from(error).into()
    }
}
