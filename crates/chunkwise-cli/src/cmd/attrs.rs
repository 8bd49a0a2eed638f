//! `chunkwise attrs`: attributes of groups and variables, shown and changed in place.

use crate::args::Common;
use crate::failed::Failed;
use crate::output::{self, Json, printable, shown};
use chunkwise::attrs::{AttrsError, Change, Changed, Node, find, parse_value};
use chunkwise_core::cube::Attrs;
use clap::Args;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read as _;
use std::process::ExitCode;

/// Most bytes of a file of attributes.
const MOST: u64 = 16 << 20;

#[derive(Debug, Args)]
#[command(
    after_help = "Example (on what `chunkwise demo` made):\n  chunkwise attrs chunkwise-demo/mean.zarr 'title=Mean of 2024'"
)]
pub(crate) struct AttrsArgs {
    /// A cube, `CUBE:GROUP` or `CUBE:VARIABLE`.
    pub(crate) cube: String,
    /// Attributes to set. A value that is JSON is taken so (`3`, `[0, 1]`, `"3"` as text); anything else is text.
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// An attribute to remove (may be given again).
    #[arg(long, value_name = "KEY")]
    pub(crate) delete: Vec<String>,
    /// A JSON file whose members are set, before those of the command line.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<String>,
}

pub(crate) fn run(args: &AttrsArgs, common: &Common) -> Result<ExitCode, Failed> {
    let change = change(args)?;
    let node = find(&args.cube, &common.storage()?).map_err(failed)?;
    if change.is_empty() {
        show(&node, common)?;
        return Ok(ExitCode::SUCCESS);
    }
    let changed = node.change(&change).map_err(failed)?;
    tell(&node, &changed, common)?;
    for note in &changed.notes {
        output::note(&format!("note: {note}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn failed(error: AttrsError) -> Failed {
    match error {
        AttrsError::Open(error) => error.into(),
        AttrsError::Store(error) => error.into(),
        AttrsError::Write(error) => error.into(),
        other => Failed::of(other),
    }
}

/// What the words and the file ask for.
fn change(args: &AttrsArgs) -> Result<Change, Failed> {
    let mut set = match &args.file {
        Some(path) => from_file(path)?,
        None => Attrs::new(),
    };
    for word in &args.set {
        let Some((key, value)) = word.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            let error = Failed::says(format!("`{word}` is not `KEY=VALUE`"));
            return Err(error.with_hint("`--delete KEY` removes an attribute"));
        };
        set.insert(key.to_owned(), parse_value(value));
    }
    let mut delete = args.delete.clone();
    delete.dedup();
    Ok(Change { set, delete })
}

fn from_file(path: &str) -> Result<Attrs, Failed> {
    let failed = |why: String| Failed::says(format!("cannot read attributes from `{path}`: {why}"));
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MOST + 1).read_to_string(&mut text));
    read.map_err(|e| failed(e.to_string()).with_kind(Failed::of(e).kind()))?;
    if text.len() as u64 > MOST {
        return Err(failed(format!("it is larger than {} MiB", MOST >> 20)));
    }
    match serde_json::from_str(&text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(failed("it is no JSON object".to_owned())),
        Err(error) => Err(failed(error.to_string())),
    }
}

fn show(node: &Node, common: &Common) -> Result<(), Failed> {
    let attrs = node.shown();
    match common.json() {
        Json::Yes => output::print_json(&about(node, &attrs)),
        Json::No => output::stdout(|out| {
            let width = attrs.keys().map(|key| printable(key).chars().count()).max().unwrap_or(0);
            attrs.iter().try_for_each(|(key, value)| writeln!(out, "{:width$}  {}", printable(key), shown(value)))
        }),
    }
}

fn about(node: &Node, attrs: &Attrs) -> Value {
    json!({
        "location": node.location,
        "kind": if node.is_array { "array" } else { "group" },
        "zarr_format": node.zarr_format,
        "attrs": attrs,
    })
}

fn tell(node: &Node, changed: &Changed, common: &Common) -> Result<(), Failed> {
    if common.json() == Json::Yes {
        let mut about = about(node, &changed.attrs);
        about["changed"] = changed.record();
        about["notes"] = json!(changed.notes);
        return output::print_json(&about);
    }
    output::stdout(|out| {
        let value = |value: &Option<Value>| value.as_ref().map_or_else(|| "(none)".to_owned(), shown);
        changed
            .keys
            .iter()
            .try_for_each(|(key, from, to)| writeln!(out, "{}: {} → {}", printable(key), value(from), value(to)))
    })?;
    if changed.keys.is_empty() && !common.quiet {
        output::note("nothing is another than before");
    }
    Ok(())
}
