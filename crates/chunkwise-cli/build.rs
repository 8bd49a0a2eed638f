//! Hands the versions of the libraries that decode and encode to the binary, for `--version`.

use std::fs;

/// What `--version` names.
const NAMED: [&str; 9] = ["zarrs", "blosc-src", "zstd", "flate2", "bzip2", "pco", "proj4rs", "pulp", "tokio"];

fn main() {
    // Beside the workspace's manifest; absent where the crate is built by itself.
    let lock = "../../Cargo.lock";
    println!("cargo:rerun-if-changed={lock}");
    let text = fs::read_to_string(lock).unwrap_or_default();
    let mut found = Vec::new();
    for name in NAMED {
        let head = format!("[[package]]\nname = \"{name}\"\nversion = \"");
        if let Some((_, rest)) = text.split_once(&head)
            && let Some((version, _)) = rest.split_once('"')
        {
            found.push(format!("{name} {version}"));
        }
    }
    let libraries = if found.is_empty() { "unknown".to_owned() } else { found.join(", ") };
    println!("cargo:rustc-env=CHUNKWISE_LIBRARIES={libraries}");
}
