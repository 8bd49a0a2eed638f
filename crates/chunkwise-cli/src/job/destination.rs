//! Where the result of a job goes.

use super::words;
use crate::args::{Common, LayoutArgs};
#[cfg(feature = "parquet")]
use crate::call;
use crate::cmd::create::{element_type, place};
use crate::failed::{Failed, Kind};
#[cfg(feature = "parquet")]
use crate::output::caller_bytes;
use crate::output::{Overwrite, TableFile, TableTo};
use chunkwise::export::{Export, FileFormat};
use chunkwise::job::output::OutputOptions;
use chunkwise::open::OpenCube;
use chunkwise::write::{Existing, Place, WriteError, ZarrVersion, lies_within};
use chunkwise_core::cf::time::Calendar;
use chunkwise_core::cube::{Labels, Variable};
use indexmap::IndexMap;
use std::path::Path;

/// Where the result of a job goes.
pub(crate) enum Destination {
    /// Nowhere: for measuring.
    Nothing,
    /// A table on stdout.
    Screen,
    /// A table to who calls, with the columns that hold times of the real calendar.
    #[cfg(feature = "parquet")]
    Caller(Vec<String>),
    /// A table in a file.
    Table(TableTo),
    /// A cube.
    Cube(Box<OutputOptions>),
    /// A file of another format, made from a cube beside it.
    File(Box<OutputOptions>, Export),
}

impl Destination {
    /// Bytes that a table takes there, which grows row by row.
    pub(crate) fn holds_bytes(&self, rows: u64, columns: u64) -> u64 {
        match self {
            #[cfg(feature = "parquet")]
            Destination::Caller(_) => caller_bytes(rows, columns),
            _ => {
                let _ = (rows, columns);
                0
            }
        }
    }

    /// Whether the result goes there as rows.
    pub(crate) fn is_table(&self) -> bool {
        !matches!(self, Destination::Nothing | Destination::Cube(_) | Destination::File(..))
    }
}

/// Where `-o` says that the result goes. Commands without a layout write tables only.
pub(crate) fn destination(
    out: Option<&str>,
    layout: Option<&LayoutArgs>,
    overwrite: bool,
    cube: &OpenCube,
    common: &Common,
) -> Result<Destination, Failed> {
    let Some(out) = out else { return Ok(shown(cube)) };
    if out == "none" {
        return Ok(Destination::Nothing);
    }
    if let Some(kind) = TableFile::of(out) {
        let input = cube.store.location();
        if Path::new(&input).exists() && lies_within(Path::new(out), Path::new(&input)) {
            return Err(WriteError::WithinInput { location: out.to_owned(), input }.into());
        }
        let replace = if overwrite { Overwrite::Yes } else { Overwrite::No };
        let times = if kind.has_times() { real_times(cube)? } else { Vec::new() };
        return Ok(Destination::Table(TableTo { path: out.to_owned(), kind, replace, times }));
    }
    if layout.is_some() {
        refuse_ending(out)?;
    }
    let format = FileFormat::of(out);
    let Some(layout) = layout else {
        return Err(Failed::says(format!("`-o {out}`: a table ends in {}", TableFile::ENDINGS)));
    };
    let (place, group) = match format {
        Some(_) => (Place::Folder(out.into()), String::new()),
        None => place(out, common)?,
    };
    if !group.is_empty() {
        return Err(Failed::says(format!("`-o {out}`: a result is written as a cube of its own, not into a group"))
            .with_hint("write beside it, as in `-o OUT.zarr`"));
    }
    let sizes = |text: &Option<String>| -> Result<IndexMap<String, u64>, Failed> {
        match text {
            None => Ok(IndexMap::new()),
            Some(text) => Ok(chunkwise::create::parse_sizes(text)?),
        }
    };
    let options = OutputOptions {
        place,
        existing: if overwrite { Existing::Overwrite } else { Existing::Refuse },
        inputs: vec![cube.store.location()],
        zarr: layout.zarr.and_then(ZarrVersion::from_number).unwrap_or(ZarrVersion::V3),
        chunks: sizes(&layout.chunk)?,
        shards: sizes(&layout.shard)?,
        codec: layout.codec.as_deref().map(str::parse).transpose()?,
        dtype: layout.dtype.as_deref().map(element_type).transpose()?,
        history: format!("chunkwise {}: {}", env!("CARGO_PKG_VERSION"), words()),
        job: String::new(),
    };
    match format {
        None => Ok(Destination::Cube(Box::new(options))),
        Some(format) => {
            let (options, export) = export_to(out, format, options, overwrite.into())?;
            Ok(Destination::File(Box::new(options), export))
        }
    }
}

/// A table on stdout, or to who calls.
fn shown(cube: &OpenCube) -> Destination {
    #[cfg(feature = "parquet")]
    if call::here(|_| ()).is_some() {
        // Labels that cannot be read are in no table either.
        return Destination::Caller(real_times(cube).unwrap_or_default());
    }
    let _ = cube;
    Destination::Screen
}

/// Refuses a path that ends as neither a cube nor a file that is written does.
pub(crate) fn refuse_ending(out: &str) -> Result<(), Failed> {
    let ending = Path::new(out).extension().and_then(|e| e.to_str()).unwrap_or("zarr");
    let ends = |with: &str| ending.eq_ignore_ascii_case(with);
    if FileFormat::of(out).is_some() || ends("zarr") || ends("zip") || !ending.chars().all(char::is_alphabetic) {
        return Ok(());
    }
    Err(Failed::says(format!("`-o {out}`: no output is written as `.{ending}`")).with_hint(format!(
        "a cube ends in `.zarr`, `.zarr.zip` or in nothing, a file in `.tif` or `.nc`, a table in {}; `-o none` drops the result",
        TableFile::ENDINGS
    )))
}

/// A file of another format, and the cube from which it is made.
pub(crate) fn export_to(
    out: &str,
    format: FileFormat,
    options: OutputOptions,
    replace: Overwrite,
) -> Result<(OutputOptions, Export), Failed> {
    let path = Path::new(out);
    if let Some(input) = options.inputs.iter().find(|i| Path::new(i).exists() && lies_within(path, Path::new(i))) {
        return Err(WriteError::WithinInput { location: out.to_owned(), input: input.clone() }.into());
    }
    if out.contains("://") {
        return Err(Failed::says(format!("`-o {out}`: such a file is written to a folder of this machine")));
    }
    if path.is_dir() || (replace == Overwrite::No && path.symlink_metadata().is_ok()) {
        return Err(Failed::says(format!("the output `{out}` exists"))
            .with_kind(Kind::Exists)
            .with_hint("pass `--overwrite` to replace it, or write elsewhere"));
    }
    if !options.shards.is_empty() {
        return Err(Failed::says(format!("`-o {out}`: only Zarr has shards")));
    }
    let export = Export { path: path.to_owned(), format, codec: options.codec.clone() };
    Ok((export.cube(options), export))
}

/// Dimensions of times of the real calendar.
fn real_times(cube: &OpenCube) -> Result<Vec<String>, Failed> {
    let mut times = Vec::new();
    for dim in cube.cube.dims.keys().filter(|dim| cube.cube.coordinate(dim).is_some_and(Variable::is_time)) {
        let labels = cube.labels(dim)?;
        if let Labels::Time(axis) = &*labels
            && matches!(axis.calendar, Calendar::Standard | Calendar::ProlepticGregorian)
        {
            times.push(dim.clone());
        }
    }
    Ok(times)
}
