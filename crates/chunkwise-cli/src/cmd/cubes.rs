//! `chunkwise import` of cubes: NetCDF files, references and Zarr cubes.

use super::import::{ImportArgs, history, unfinished};
use crate::args::Common;
use crate::bytes::format_bytes;
use crate::cmd::create::place;
use crate::exit::interrupted;
use crate::failed::{Failed, Kind};
use crate::job::{open_cube, warn_of_removal};
use crate::output::{self, Json};
use crate::progress;
use chunkwise::create::parse_sizes;
use chunkwise::exec::Counters;
use chunkwise::import::ImportError;
use chunkwise::import::cubes::{CubeImport, CubeOptions, CubesExplained};
use chunkwise::memory;
use chunkwise::open::OpenOptions;
use chunkwise::write::{CodecChoice, Existing, Output, ZarrVersion};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Whether files are cubes; GeoTIFFs go by their ending.
pub(crate) fn are_cubes(files: &[String]) -> Result<bool, Failed> {
    let is_tiff = |file: &&String| {
        let ending = file.rsplit('.').next().unwrap_or_default();
        ["tif", "tiff"].iter().any(|known| ending.eq_ignore_ascii_case(known))
    };
    match (files.iter().find(is_tiff), files.iter().find(|file| !is_tiff(file))) {
        (Some(tiff), Some(other)) => Err(Failed::says(format!("`{tiff}` is a GeoTIFF, and `{other}` is none"))
            .with_hint("import the one and the other by themselves")),
        (tiff, _) => Ok(tiff.is_none()),
    }
}

/// Refuses options that say something of GeoTIFFs only.
fn no_geotiff_options(args: &ImportArgs) -> Result<(), Failed> {
    let given = [
        ("--time-from", args.time_from.is_some()),
        ("--band-from", args.band_from.is_some()),
        ("--bands", !args.bands.is_empty()),
        ("--nodata", args.nodata.is_some()),
        ("--mosaic", args.mosaic.is_some()),
        ("--mosaic-by", args.mosaic_by.is_some()),
        ("--like", args.like.is_some()),
        ("--res", args.res.is_some()),
        ("--resampling", args.resampling.is_some()),
        ("--dtype", args.layout.dtype.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(Failed::says(format!("`{option}` is for GeoTIFFs, and `{}` is none", args.files[0]))
            .with_hint(
                "values and grids of cubes are kept as they are; `--var`, `--concat` and `--decode` are for them",
            )),
        None => Ok(()),
    }
}

pub(crate) fn run(args: &ImportArgs, common: &Common) -> Result<ExitCode, Failed> {
    let began = Instant::now();
    no_geotiff_options(args)?;
    let (place, group) = place(&args.output, common)?;
    let codec = args.layout.codec.as_deref().map(str::parse::<CodecChoice>).transpose()?;
    let zarr = args.layout.zarr.and_then(ZarrVersion::from_number).unwrap_or_default();
    let options = CubeOptions {
        variables: args.var.clone(),
        along: args.concat.clone(),
        decode: args.decode,
        chunks: args.layout.chunk.as_deref().map(parse_sizes).transpose()?.unwrap_or_default(),
        shards: args.layout.shard.as_deref().map(parse_sizes).transpose()?,
        codec: codec.unwrap_or_default(),
        zarr,
        redecode: args.allow_redecode,
        history: history(&args.files),
    };
    let open = OpenOptions { storage: common.storage()?, ..OpenOptions::default() };
    let (memory, threads) = (args.resources.memory_limit(), args.resources.threads().get());
    let import = CubeImport::plan(&args.files, &open, &options, memory, threads)?;
    let plan = import.explain();
    for dim in options.chunks.keys().chain(options.shards.iter().flat_map(|shards| shards.keys())) {
        if !plan.dims.contains_key(dim) {
            let dims: Vec<&str> = plan.dims.keys().map(String::as_str).collect();
            return Err(Failed::says(format!("there is no dimension `{dim}`; there are `{}`", dims.join("`, `")))
                .with_kind(Kind::Key));
        }
    }
    if args.explain {
        return explain(&plan, common);
    }
    notes(import.notes(), common);
    let existing = match (args.overwrite, args.resume) {
        (true, _) => Existing::Overwrite,
        (_, true) => Existing::Resume,
        _ => Existing::Refuse,
    };
    warn_of_removal(&place, &group, existing, common)?;
    let output = Output { existing, zarr, group, ..Output::new(place) };
    let counters = Counters::default();
    let work = || import.run(output, &counters, interrupted());
    let done = progress::shown(common, &counters, plan.chunks, work).map_err(|e| {
        let stays = matches!(e, ImportError::Interrupted | ImportError::Write(_)) && unfinished(&args.output);
        let failed = Failed::from(e);
        if stays { failed.with_hint("what is done stays: the same command with `--resume` goes on") } else { failed }
    })?;
    if args.verify {
        let cube = open_cube(&args.output, &open)?;
        let checked = Counters::default();
        progress::shown(common, &checked, plan.chunks, || import.verify(cube, &checked, interrupted()))?;
    }
    let more = [
        ("location", json!(args.output)),
        ("empty_chunks", json!(done.empty)),
        ("written_bytes", json!(done.bytes)),
        ("verified", json!(args.verify)),
        ("notes", json!(import.notes())),
    ];
    report(&plan, &more, &counters, began, common)?;
    if !common.quiet && common.json() == Json::No {
        let verified = if args.verify { "; each chunk holds what the files give" } else { "" };
        output::note(&format!("{} written{verified}", format_bytes(done.bytes.into())));
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells what will be done.
pub(crate) fn explain(plan: &CubesExplained, common: &Common) -> Result<ExitCode, Failed> {
    match common.json() {
        Json::Yes => output::print_json(plan)?,
        Json::No => output::stdout(|out| told(plan).iter().try_for_each(|line| writeln!(out, "{line}")))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What is left out, on stderr.
pub(crate) fn notes(notes: &[String], common: &Common) {
    if !common.quiet {
        notes.iter().for_each(|note| output::note(note));
    }
}

/// The plan and what came of it.
pub(crate) fn report(
    plan: &CubesExplained,
    more: &[(&str, Value)],
    counters: &Counters,
    began: Instant,
    common: &Common,
) -> Result<(), Failed> {
    let (read, seconds) = (counters.encoded_bytes.load(Ordering::Relaxed), began.elapsed().as_secs_f64());
    if common.json() == Json::Yes {
        let mut report = serde_json::to_value(plan).map_err(Failed::of)?;
        report["encoded_bytes"] = json!(read);
        report["seconds"] = json!(seconds);
        report["peak_memory_bytes"] = json!(memory::peak());
        for (key, value) in more {
            report[*key] = value.clone();
        }
        return output::print_json(&report);
    }
    if !common.quiet {
        told(plan).iter().take(1).for_each(|line| output::note(line));
        output::note(&format!(
            "{} chunks, {} read in {seconds:.2} s{}",
            plan.chunks,
            format_bytes(read.into()),
            output::peak_memory(),
        ));
    }
    Ok(())
}

/// The plan, for people.
fn told(plan: &CubesExplained) -> Vec<String> {
    let shape: Vec<String> = plan.dims.iter().map(|(d, n)| format!("{d}={n}")).collect();
    let files = if plan.files == 1 { "1 file".to_owned() } else { format!("{} files", plan.files) };
    let output = format_bytes(plan.output_bytes.into());
    vec![
        format!("{files}: {} ({}), {output} in {} chunks", plan.variables.join(", "), shape.join(", "), plan.chunks),
        format!("{} chunks of the files decoded ({:.1} ×)", plan.decoded_chunks, plan.amplification),
        format!(
            "{} pieces of work, memory {} on {} threads",
            plan.partitions,
            format_bytes(plan.memory_bytes.into()),
            plan.threads
        ),
    ]
}
