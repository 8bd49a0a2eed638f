//! Of which kind an error is, for those who act on it.

use chunkwise::attrs::AttrsError;
use chunkwise::chunk::ChunkError;
use chunkwise::codec::DecodeError;
use chunkwise::compare::CompareError;
use chunkwise::create::{BadArgument, CreateError};
use chunkwise::error::OpenError;
use chunkwise::exec::ExecError;
use chunkwise::export::ExportError;
use chunkwise::import::ImportError;
use chunkwise::job::JobError;
use chunkwise::job::plan::{Refused, TooMuch};
use chunkwise::job::zonal::ZonesError;
use chunkwise::store::StoreError;
#[cfg(feature = "parquet")]
use chunkwise::table::TableError;
use chunkwise::vector::VectorError;
use chunkwise::verify::VerifyError;
use chunkwise::write::{BadCodec, RegionError, WriteError};
use chunkwise_core::cf::encode::EncodeError;
use chunkwise_core::cf::time::TimeError;
use chunkwise_core::crs::CrsError;
use chunkwise_core::expr::{EvalError, ExprError, Problem};
use chunkwise_core::group::GroupError;
use chunkwise_core::plan::lower::LowerError;
use chunkwise_core::select::SelectError;
use chunkwise_core::stat::finish::FinishError;
use chunkwise_core::zonal::tally::NoStatistic;
use std::error::Error;
use std::io;
use std::sync::Arc;

/// What kind of error ended a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// There is no such path, cube, file or object.
    NotFound,
    /// There is no such variable, dimension, label, index, band, statistic, cycle or attribute.
    Key,
    /// An argument or a request that makes no sense, or none for its cube.
    Value,
    /// The plan does not fit its budget, or labels are too many for it.
    Memory,
    /// The output exists.
    Exists,
    /// The system or the server does not allow it.
    Permission,
    /// It was stopped from outside.
    Interrupted,
    /// More requests or bytes than `--max-requests` or `--max-bytes` allow.
    TooMuch,
    /// A chunk, a file or metadata that is damaged or cannot be decoded.
    Corrupt,
    /// Another failure of a store, the network or the disk.
    Io,
    /// The command line was not understood.
    Usage,
    /// Anything else.
    Other,
}

/// The kind of an error: of the first in its chain of causes that has one.
pub(super) fn of(error: &(dyn Error + 'static)) -> Option<Kind> {
    std::iter::successors(Some(error), |&error| error.source()).find_map(own)
}

/// That of a cause; where it has none, what its effect says.
fn below(cause: &(dyn Error + 'static), effect: Kind) -> Option<Kind> {
    Some(of(cause).unwrap_or(effect))
}

/// What an error says by itself. Those that pass on the words of another hide it from the chain, so they are opened.
fn own(error: &(dyn Error + 'static)) -> Option<Kind> {
    fn is<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
        let boxed = || error.downcast_ref::<Box<T>>().map(|e| &**e);
        let shared = || error.downcast_ref::<Arc<T>>().map(|e| &**e);
        error.downcast_ref().or_else(boxed).or_else(shared)
    }
    macro_rules! first {
        ($($error:ty => $kind:expr),* $(,)?) => {
            $(if let Some(error) = is::<$error>(error) {
                return ($kind)(error);
            })*
        };
    }
    first! {
        OpenError => opened,
        StoreError => stored,
        WriteError => written,
        JobError => asked,
        ExecError => run,
        ChunkError => read,
        LowerError => lowered,
        SelectError => |e| Some(selected(e)),
        ExprError => |e: &ExprError| Some(formula(e.problem())),
        GroupError => |e: &GroupError| {
            Some(if matches!(e, GroupError::UnknownCycle { .. }) { Kind::Key } else { Kind::Value })
        },
        ZonesError => zones,
        CreateError => created,
        ImportError => imported,
        RegionError => region,
        AttrsError => attributes,
        CompareError => compared,
        VerifyError => verified,
        ExportError => exported,
        VectorError => |e: &VectorError| match e {
            VectorError::Read { source, .. } => below(&**source, Kind::Corrupt),
            VectorError::NoField { .. } => Some(Kind::Key),
            _ => Some(Kind::Value),
        },
        csv::Error => |e: &csv::Error| match e.kind() {
            csv::ErrorKind::Io(e) => system(e),
            _ => Some(Kind::Corrupt),
        },
        io::Error => system,
        Refused => |_| Some(Kind::Memory),
        TooMuch => |_| Some(Kind::TooMuch),
        DecodeError => |e: &DecodeError| {
            Some(if matches!(e, DecodeError::Memory { .. }) { Kind::Memory } else { Kind::Corrupt })
        },
        NoStatistic => |_| Some(Kind::Key),
        BadArgument => |_| Some(Kind::Value),
        BadCodec => |_| Some(Kind::Value),
        CrsError => |_| Some(Kind::Value),
        TimeError => |_| Some(Kind::Value),
        EncodeError => |_| Some(Kind::Value),
        EvalError => |_| Some(Kind::Value),
        FinishError => |_| Some(Kind::Value),
        serde_json::Error => |_| Some(Kind::Corrupt),
    }
    #[cfg(feature = "parquet")]
    if let Some(error) = is::<TableError>(error) {
        return match error {
            TableError::Io(e) => system(e),
            TableError::Value { .. } => Some(Kind::Value),
            _ => None,
        };
    }
    None
}

/// What the system said.
fn system(error: &io::Error) -> Option<Kind> {
    match error.kind() {
        io::ErrorKind::NotFound => Some(Kind::NotFound),
        io::ErrorKind::PermissionDenied => Some(Kind::Permission),
        io::ErrorKind::AlreadyExists => Some(Kind::Exists),
        // What a library wraps as an error of the system is none of it.
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Some(Kind::Corrupt),
        _ => match error.get_ref() {
            Some(inner) => below(inner, Kind::Io),
            None => Some(Kind::Io),
        },
    }
}

fn opened(error: &OpenError) -> Option<Kind> {
    Some(match error {
        OpenError::Store(e) => return stored(e),
        OpenError::NotZarr { .. } => Kind::NotFound,
        OpenError::NoDim { .. } => Kind::Key,
        OpenError::TooManyCells { .. } | OpenError::Memory { .. } => Kind::Memory,
        OpenError::Chunks { source, .. } | OpenError::Chunk { source, .. } => return below(&**source, Kind::Corrupt),
        // An unfinished cube, metadata, labels that are no times.
        _ => Kind::Corrupt,
    })
}

fn stored(error: &StoreError) -> Option<Kind> {
    Some(match error {
        StoreError::NotFound { .. } | StoreError::Status { status: 404, .. } => Kind::NotFound,
        StoreError::NoProfile { .. } => Kind::Key,
        StoreError::Permission { .. } | StoreError::Status { status: 401 | 403, .. } => Kind::Permission,
        StoreError::BadZip { .. }
        | StoreError::BadFile { .. }
        | StoreError::Short { .. }
        | StoreError::Large { .. } => Kind::Corrupt,
        StoreError::Status { .. }
        | StoreError::Network { .. }
        | StoreError::NoList { .. }
        | StoreError::Folder { .. } => Kind::Io,
        StoreError::Io { source, .. } => return system(source),
        // Locations and options, and what a store cannot do.
        _ => Kind::Value,
    })
}

fn written(error: &WriteError) -> Option<Kind> {
    Some(match error {
        WriteError::Store(e) => return stored(e),
        WriteError::Object { source, .. } => return stored(source),
        WriteError::Io { source, .. } => return system(source),
        WriteError::Exists { .. }
        | WriteError::NodeExists { .. }
        | WriteError::NotACube { .. }
        | WriteError::Unfinished { .. } => Kind::Exists,
        WriteError::BadGroup { .. } => Kind::Corrupt,
        WriteError::Busy { .. } => Kind::Io,
        _ => Kind::Value,
    })
}

fn asked(error: &JobError) -> Option<Kind> {
    Some(match error {
        JobError::Open(e) => return opened(e),
        JobError::Select(e) => selected(e),
        JobError::Group(e) => return own(e),
        JobError::Lower(e) => return lowered(e),
        JobError::Exec(e) => return run(e),
        JobError::Memory(_) => Kind::Memory,
        JobError::NoDim { .. } => Kind::Key,
        JobError::Write(e) => return below(&**e, Kind::Io),
        _ => Kind::Value,
    })
}

fn run(error: &ExecError) -> Option<Kind> {
    Some(match error {
        ExecError::Chunk(e) => return read(e),
        ExecError::Interrupted => Kind::Interrupted,
        ExecError::Sink(e) => return below(&**e, Kind::Io),
        ExecError::Threads(_) => Kind::Io,
        // Values that cannot be given, plans and states of another.
        _ => Kind::Value,
    })
}

fn read(error: &ChunkError) -> Option<Kind> {
    Some(match error {
        ChunkError::Fetch { source, .. } => return stored(source),
        ChunkError::OutOfGrid { .. } | ChunkError::WrongKind { .. } => Kind::Value,
        ChunkError::Decode { source, .. } => return own(&**source),
        _ => Kind::Corrupt,
    })
}

fn lowered(error: &LowerError) -> Option<Kind> {
    Some(match error {
        LowerError::NoVariable { .. } | LowerError::NoDim { .. } => Kind::Key,
        LowerError::Unreadable { .. } => Kind::Corrupt,
        LowerError::Expr(e) => formula(e.problem()),
        _ => Kind::Value,
    })
}

fn selected(error: &SelectError) -> Kind {
    match error {
        SelectError::NoDim { .. }
        | SelectError::OutOfRange { .. }
        | SelectError::Empty { .. }
        | SelectError::NotFound { .. }
        | SelectError::Outside { .. }
        | SelectError::NoLabel { .. } => Kind::Key,
        _ => Kind::Value,
    }
}

fn formula(problem: &Problem) -> Kind {
    match problem {
        Problem::UnknownName { .. } | Problem::UnknownFlag { .. } | Problem::NoDim { .. } | Problem::NoLabel { .. } => {
            Kind::Key
        }
        _ => Kind::Value,
    }
}

fn zones(error: &ZonesError) -> Option<Kind> {
    match error {
        ZonesError::Job(e) => asked(e),
        #[cfg(feature = "geotiff")]
        ZonesError::GeoTiff(e) => imported(e),
        _ => Some(Kind::Value),
    }
}

fn created(error: &CreateError) -> Option<Kind> {
    match error {
        CreateError::Write(e) => written(e),
        CreateError::NoDim { .. } | CreateError::NoVariable { .. } => Some(Kind::Key),
        _ => Some(Kind::Value),
    }
}

fn imported(error: &ImportError) -> Option<Kind> {
    Some(match error {
        ImportError::Read { source, .. } => return below(&**source, Kind::Corrupt),
        ImportError::Memory { .. } => Kind::Memory,
        ImportError::Changed { .. } => Kind::Io,
        ImportError::Unequal { .. } => Kind::Corrupt,
        ImportError::Interrupted => Kind::Interrupted,
        ImportError::Open(e) => return opened(e),
        ImportError::Create(e) => return created(e),
        ImportError::Write(e) => return written(e),
        ImportError::Region(e) => return region(e),
        ImportError::Store(e) => return stored(e),
        _ => Kind::Value,
    })
}

fn region(error: &RegionError) -> Option<Kind> {
    match error {
        RegionError::Write(e) => written(e),
        RegionError::NoArray { .. } => Some(Kind::Key),
        RegionError::Decode { .. } => Some(Kind::Corrupt),
        _ => Some(Kind::Value),
    }
}

fn attributes(error: &AttrsError) -> Option<Kind> {
    match error {
        AttrsError::Open(e) => opened(e),
        AttrsError::Store(e) => stored(e),
        AttrsError::Write(e) => written(e),
        AttrsError::NoAttribute { .. } => Some(Kind::Key),
        AttrsError::Document { .. } => Some(Kind::Corrupt),
        AttrsError::Both { .. } => Some(Kind::Value),
    }
}

fn compared(error: &CompareError) -> Option<Kind> {
    match error {
        CompareError::Open { source, .. } => opened(source),
        CompareError::Unreadable { .. } => Some(Kind::Corrupt),
        CompareError::NoVariable { .. } => Some(Kind::Key),
        _ => Some(Kind::Value),
    }
}

fn verified(error: &VerifyError) -> Option<Kind> {
    match error {
        VerifyError::NoVariable { .. } => Some(Kind::Key),
        VerifyError::Memory { .. } => Some(Kind::Memory),
        VerifyError::Store(e) => read(e),
        VerifyError::Run(e) => run(e),
    }
}

fn exported(error: &ExportError) -> Option<Kind> {
    Some(match error {
        ExportError::Open(e) => return opened(e),
        ExportError::Chunk(e) => return read(e),
        ExportError::Interrupted => Kind::Interrupted,
        ExportError::Write { source, .. } => return below(&**source, Kind::Io),
        _ => Kind::Value,
    })
}
