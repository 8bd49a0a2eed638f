//! `chunkwise ls`: the tree of groups and arrays.

use crate::args::Common;
use crate::failed::Failed;
use crate::job::open_cube;
use crate::output::{self, Json, printable};
use chunkwise::open::{OpenCube, OpenOptions, open_in};
use chunkwise_core::cf::decode::DecodeOptions;
use chunkwise_core::cube::Variable;
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Groups below groups that are shown; deeper ones are only counted by name.
const DEEPEST: usize = 32;

/// A group or an array.
struct Node {
    /// Path below what was asked for.
    path: String,
    name: String,
    depth: usize,
    what: What,
}

enum What {
    Group,
    Array(Box<Variable>),
    /// A group that cannot be read, and why.
    Broken(String),
}

#[derive(Debug, Args)]
#[command(after_help = "Example (on what `chunkwise demo` made):\n  chunkwise ls chunkwise-demo/cube.zarr")]
pub(crate) struct LsArgs {
    /// A cube, or `CUBE:GROUP`.
    pub(crate) cube: String,
}

pub(crate) fn run(args: &LsArgs, common: &Common) -> Result<ExitCode, Failed> {
    let cube = open_cube(&args.cube, &OpenOptions { storage: common.storage()?, ..OpenOptions::default() })?;
    let mut nodes = Vec::new();
    walk(&cube, "", 0, &mut nodes);
    match common.json() {
        Json::Yes => output::print_json(&Value::Array(nodes.iter().map(record).collect()))?,
        Json::No => output::stdout(|out| {
            writeln!(out, "{}", printable(&cube.cube.location))?;
            nodes.iter().try_for_each(|node| writeln!(out, "{}", line(node)))
        })?,
    }
    Ok(ExitCode::SUCCESS)
}

fn walk(cube: &OpenCube, below: &str, depth: usize, nodes: &mut Vec<Node>) {
    let path = |name: &str| if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
    for variable in cube.cube.variables.values() {
        let what = What::Array(Box::new(variable.clone()));
        nodes.push(Node { path: path(&variable.name), name: variable.name.clone(), depth, what });
    }
    for name in &cube.groups {
        let within = path(name);
        let node = |what| Node { path: within.clone(), name: name.clone(), depth, what };
        if depth + 1 >= DEEPEST {
            nodes.push(node(What::Broken(format!("more than {DEEPEST} groups deep"))));
            continue;
        }
        let stored = if cube.path.is_empty() { name.clone() } else { format!("{}/{name}", cube.path) };
        let location = format!("{}:{within}", cube.store.location());
        match open_in(cube.store.clone(), &stored, &location, &DecodeOptions::default()) {
            Ok(group) => {
                nodes.push(node(What::Group));
                walk(&group, &within, depth + 1, nodes);
            }
            Err(error) => nodes.push(node(What::Broken(Failed::from(error).message()))),
        }
    }
}

fn record(node: &Node) -> Value {
    match &node.what {
        What::Group => json!({ "path": node.path, "kind": "group" }),
        What::Broken(problem) => json!({ "path": node.path, "kind": "group", "problem": problem }),
        What::Array(v) => json!({
            "path": node.path, "kind": "array", "role": v.role, "dims": v.dims, "shape": v.shape,
            "dtype": v.dtype.name(), "problem": v.problem,
        }),
    }
}

fn line(node: &Node) -> String {
    let indent = "  ".repeat(node.depth + 1);
    let name = printable(&node.name);
    match &node.what {
        What::Group => format!("{indent}{name}/"),
        What::Broken(problem) => format!("{indent}{name}/  ({})", printable(problem)),
        What::Array(v) => {
            let dims: Vec<String> = v.dims.iter().zip(&v.shape).map(|(d, n)| format!("{}={n}", printable(d))).collect();
            let problem = v.problem.as_ref().map_or_else(String::new, |p| format!("  ({})", printable(p)));
            format!("{indent}{name}  {}  [{}]{problem}", printable(&v.dtype.name()), dims.join(", "))
        }
    }
}
