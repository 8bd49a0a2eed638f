//! `chunkwise create`: a new, empty cube.

use crate::args::{Common, LayoutArgs};
use crate::call;
use crate::failed::{Failed, Kind};
use crate::job::{open_cube, warn_of_removal};
use crate::output::{self, TableFile};
use chunkwise::create::{CreateSpec, CrsAttrs, create, parse_coord, parse_dim, parse_scalar, parse_sizes};
use chunkwise::error::OpenError;
use chunkwise::export::FileFormat;
use chunkwise::open::{OpenCube, OpenOptions, open_in};
use chunkwise::store::secret::mask;
use chunkwise::store::{LocalStore, Store};
use chunkwise::write::{CodecChoice, Existing, JournalHead, Output, Place, WriteError, ZarrVersion};
use chunkwise_core::cf::decode::DecodeOptions;
use chunkwise_core::crs::Crs;
use chunkwise_core::cube::{Attrs, Labels};
use chunkwise_core::dtype::DType;
use clap::Args;
use indexmap::IndexMap;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// Name of the variable where none is given.
const VARIABLE: &str = "data";

#[derive(Debug, Args)]
#[command(
    after_help = "Example (on what `chunkwise demo` made):\n  chunkwise create -o empty.zarr --dim time=12 --dim y=100 --dim x=100 --dtype uint16 --chunk time=1,y=50,x=50"
)]
pub(crate) struct CreateArgs {
    /// The new cube: `CUBE` or `CUBE:GROUP`.
    #[arg(short, long, value_name = "CUBE[:GROUP]")]
    pub(crate) output: String,
    /// Name of the variable [default: `data`; with `--like`, its only one].
    #[arg(long, value_name = "NAME")]
    pub(crate) var: Option<String>,
    /// A dimension in order, with its length or labels: `time=12`, `band=red,nir`.
    #[arg(long, value_name = "NAME=LENGTH|LABELS", allow_hyphen_values = true)]
    pub(crate) dim: Vec<String>,
    /// Labels of a dimension: `x=600000:30`, `time=2024-01-15:1month`.
    #[arg(long, value_name = "NAME=START:STEP", allow_hyphen_values = true)]
    pub(crate) coord: Vec<String>,
    #[command(flatten)]
    pub(crate) layout: LayoutArgs,
    /// What cells that are not written hold.
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    pub(crate) fill: Option<String>,
    /// The stored value that marks missing cells.
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    pub(crate) missing: Option<String>,
    /// `EPSG:CODE`, or WKT.
    #[arg(long)]
    pub(crate) crs: Option<String>,
    /// A JSON file with attributes: of the cube, and under `variables` of variables and coordinates by name.
    #[arg(long, value_name = "FILE")]
    pub(crate) attrs: Option<String>,
    /// Dimensions, layout, type, attributes and CRS of another cube.
    #[arg(long, value_name = "CUBE")]
    pub(crate) like: Option<String>,
    /// Replace a cube that is there.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

pub(crate) fn run(args: &CreateArgs, common: &Common) -> Result<ExitCode, Failed> {
    let (place, group) = place(&args.output, common)?;
    let there = if args.overwrite { None } else { existing(&place, &group)? };
    if there.is_some() && args.var.is_none() {
        return Err(WriteError::Exists { location: mask(&args.output) }.into());
    }
    let mut inputs = Vec::new();
    let mut spec = match &args.like {
        Some(like) => like_another(args, like, &mut inputs, common)?,
        None => from_dims(args)?,
    };
    options(args, &mut spec)?;
    let asked = args.layout.zarr.and_then(ZarrVersion::from_number);
    let (existing, zarr) = match &there {
        // A variable that is named is added to a cube; a cube is never replaced unasked.
        Some(cube) if args.var.is_some() => {
            agrees(&spec, cube)?;
            (Existing::Extend, ZarrVersion::from_number(cube.cube.zarr_format))
        }
        _ if args.overwrite => (Existing::Overwrite, None),
        _ => (Existing::Refuse, None),
    };
    warn_of_removal(&place, &group, existing, common)?;
    let location = mask(&args.output);
    let output = Output {
        place,
        group,
        existing,
        inputs,
        job: JournalHead {
            plan: String::new(),
            request: format!("create {location}"),
            inputs: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        zarr: asked.or(zarr).unwrap_or_default(),
        attrs: Attrs::new(),
    };
    let layout = spec.layout()?;
    create(&spec, output)?;
    if common.json() == output::Json::Yes {
        output::print_json(&json!({
            "location": location, "variable": spec.variable,
            "dims": spec.dims.keys().collect::<Vec<_>>(), "shape": layout.shape, "dtype": spec.dtype.name(),
            "chunks": layout.chunks, "shards": layout.shards,
        }))?;
    } else if !common.quiet {
        let dims: Vec<String> = spec.dims.keys().zip(&layout.shape).map(|(d, n)| format!("{d}={n}")).collect();
        let chunks: Vec<String> = layout.chunks.iter().map(u64::to_string).collect();
        let (made, name) = (&location, &spec.variable);
        output::note(&format!(
            "made `{made}`: `{name}` {} ({}) in chunks of {}",
            spec.dtype,
            dims.join(", "),
            chunks.join(" × ")
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Where a new cube is to lie, and its group there.
///
/// # Errors
/// A location that cannot be written, or that would be gone with this process.
pub(crate) fn place(location: &str, common: &Common) -> Result<(Place, String), Failed> {
    let ends_with_process = call::here(|_| ()).is_none();
    if ends_with_process && location.starts_with("memory:") && !Path::new(location).exists() {
        return Err(
            Failed::says(format!("`{location}` would be gone when the command ends")).with_hint("write to a folder")
        );
    }
    if location.is_empty() {
        return Err(Failed::says("the output has no name"));
    }
    if (FileFormat::of(location).is_some() || TableFile::of(location).is_some()) && !Path::new(location).is_dir() {
        return Err(Failed::says(format!("`-o {location}`: what this command writes is a Zarr cube")).with_hint(
            "a cube ends in `.zarr`, `.zarr.zip` or in nothing; `calc` and `reduce` write `.tif` and `.nc` of it",
        ));
    }
    Ok(Place::find(location, &common.storage()?)?)
}

/// The group that is written, where it is a cube already.
fn existing(place: &Place, group: &str) -> Result<Option<OpenCube>, Failed> {
    let store: Arc<dyn Store> = match place {
        Place::Folder(folder) if folder.is_dir() => Arc::new(LocalStore::open(folder)?),
        Place::Store(store) => store.clone(),
        // A zip file is written as a whole.
        Place::Folder(_) | Place::Zip(_) => return Ok(None),
    };
    match open_in(store, group, &place.location(), &DecodeOptions::default()) {
        Ok(cube) => Ok(Some(cube)),
        // The writer says what is in its way.
        Err(OpenError::NotZarr { .. } | OpenError::Unfinished { .. }) => Ok(None),
        Err(OpenError::Store(_)) if matches!(place, Place::Folder(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A new variable shares the dimensions of the cube that it is added to.
fn agrees(spec: &CreateSpec, cube: &OpenCube) -> Result<(), Failed> {
    for (dim, labels) in &spec.dims {
        if let Some(&has) = cube.cube.dims.get(dim).filter(|&&has| has != labels.len()) {
            return Err(Failed::says(format!(
                "dimension `{dim}` has length {has} in `{}` and {} in the new variable",
                cube.cube.location,
                labels.len()
            ))
            .with_hint("choose another name for the dimension, or write to a group of its own (`CUBE:GROUP`)"));
        }
    }
    Ok(())
}

fn from_dims(args: &CreateArgs) -> Result<CreateSpec, Failed> {
    let dims = dims(args)?;
    if dims.is_empty() {
        return Err(Failed::says("the cube has no dimensions").with_hint(
            "name each with its length, as in `--dim time=12 --dim y=1000 --dim x=1000`, or pass `--like CUBE`",
        ));
    }
    let Some(dtype) = &args.layout.dtype else {
        return Err(Failed::says("the element type is not given").with_hint("pass `--dtype`, as in `--dtype float32`"));
    };
    Ok(CreateSpec::new(args.var.as_deref().unwrap_or(VARIABLE), dims, element_type(dtype)?))
}

fn dims(args: &CreateArgs) -> Result<IndexMap<String, Labels>, Failed> {
    let mut dims = IndexMap::new();
    for text in &args.dim {
        let (name, labels) = parse_dim(text)?;
        if dims.contains_key(&name) {
            return Err(Failed::says(format!("dimension `{name}` is given twice")));
        }
        dims.insert(name, labels);
    }
    Ok(dims)
}

/// An element type by name.
///
/// # Errors
/// There is none of that name.
pub(crate) fn element_type(name: &str) -> Result<DType, Failed> {
    DType::from_name(name.trim()).ok_or_else(|| {
        let names: Vec<&str> = DType::ALL.iter().map(|d| d.name()).collect();
        Failed::says(format!("`{name}` is no element type; there are `{}`", names.join("`, `")))
    })
}

/// The specification of a cube like another; `--var` names its variable where it has several, else the new one.
fn like_another(
    args: &CreateArgs,
    like: &str,
    inputs: &mut Vec<String>,
    common: &Common,
) -> Result<CreateSpec, Failed> {
    let source = open_cube(like, &OpenOptions { storage: common.storage()?, ..OpenOptions::default() })?;
    inputs.push(source.store.location());
    let data: Vec<&str> = source.cube.data_variables().map(|v| v.name.as_str()).collect();
    let (from, name) = match (&args.var, data.as_slice()) {
        (Some(var), names) if names.contains(&var.as_str()) => (var.as_str(), var.as_str()),
        (Some(var), [only]) => (*only, var.as_str()),
        (None, [only]) => (*only, *only),
        (_, names) => {
            let shown = if names.is_empty() { "none".to_owned() } else { format!("`{}`", names.join("`, `")) };
            return Err(Failed::says(format!("`{like}` has not one variable to be like; it has {shown}"))
                .with_hint("name one with `--var NAME`"));
        }
    };
    let mut labels = IndexMap::new();
    for dim in source.cube.variables.get(from).map_or(&[][..], |v| v.dims.as_slice()) {
        labels.insert(dim.clone(), (*source.labels(dim)?).clone());
    }
    let mut spec = CreateSpec::like(&source.cube, from, &labels)?;
    if name != from {
        if let Some(attrs) = spec.variable_attrs.shift_remove(from) {
            spec.variable_attrs.insert(name.to_owned(), attrs);
        }
        name.clone_into(&mut spec.variable);
    }
    // A dimension given again has another length or other labels.
    for (dim, labels) in dims(args)? {
        if !spec.dims.contains_key(&dim) {
            let has: Vec<&str> = spec.dims.keys().map(String::as_str).collect();
            return Err(Failed::says(format!("`{like}` has no dimension `{dim}`; it has `{}`", has.join("`, `")))
                .with_kind(Kind::Key));
        }
        spec.dims.insert(dim, labels);
    }
    if let Some(dtype) = &args.layout.dtype {
        let dtype = element_type(dtype)?;
        if dtype != spec.dtype {
            // Marks and fill values are those of the other type.
            (spec.fill, spec.missing) = (None, None);
        }
        spec.dtype = dtype;
    }
    Ok(spec)
}

/// What else the command line says.
fn options(args: &CreateArgs, spec: &mut CreateSpec) -> Result<(), Failed> {
    if let Some(chunk) = &args.layout.chunk {
        spec.chunks = parse_sizes(chunk)?;
        if args.like.is_some() && args.layout.shard.is_none() {
            // Shards of the other cube need not be multiples.
            spec.shards = None;
        }
    }
    if let Some(shard) = &args.layout.shard {
        spec.shards = Some(parse_sizes(shard)?);
    }
    if let Some(codec) = &args.layout.codec {
        spec.codec = codec.parse::<CodecChoice>()?;
    }
    for text in &args.coord {
        let (dim, coord) = parse_coord(text)?;
        if args.like.is_some()
            && let Some(labels) = spec.dims.get_mut(&dim)
        {
            *labels = Labels::Index(labels.len());
        }
        if spec.coords.insert(dim.clone(), coord).is_some() {
            return Err(Failed::says(format!("`--coord` names `{dim}` twice")));
        }
    }
    if let Some(fill) = &args.fill {
        spec.fill = Some(parse_scalar(fill, spec.dtype)?);
    }
    if let Some(missing) = &args.missing {
        spec.missing = Some(parse_scalar(missing, spec.dtype)?);
    }
    if let Some(crs) = &args.crs {
        spec.crs = Some(crs_attrs(crs)?);
    }
    if let Some(file) = &args.attrs {
        let mut attrs = read_attrs(file)?;
        match attrs.shift_remove("variables") {
            Some(Value::Object(variables)) => {
                for (name, own) in variables {
                    let Value::Object(own) = own else {
                        return Err(Failed::says(format!("`variables.{name}` in `{file}` is no JSON object")));
                    };
                    spec.variable_attrs.entry(name).or_default().extend(own);
                }
            }
            Some(other) => {
                attrs.insert("variables".to_owned(), other);
            }
            None => {}
        }
        spec.attrs.extend(attrs);
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
#[error("cannot read attributes from `{file}`")]
struct AttrsFile {
    file: String,
    source: std::io::Error,
}

fn read_attrs(file: &str) -> Result<Attrs, Failed> {
    let failed = |source| Failed::of(AttrsFile { file: file.to_owned(), source });
    let text = std::fs::read(file).map_err(failed)?;
    match serde_json::from_slice(&text) {
        Ok(Value::Object(attrs)) => Ok(attrs),
        Ok(_) => Err(Failed::says(format!("`{file}` holds no JSON object"))),
        Err(error) => Err(failed(error.into())),
    }
}

/// A CRS as the attributes of a grid mapping and of the coordinates: `EPSG:CODE`, WKT or PROJJSON.
pub(crate) fn crs_attrs(text: &str) -> Result<CrsAttrs, Failed> {
    let crs = Crs::parse(text).map_err(|e| {
        Failed::says(format!("`{text}` is no CRS: {e}")).with_hint("write `EPSG:CODE`, WKT or PROJJSON")
    })?;
    Ok(CrsAttrs::of(&crs))
}
