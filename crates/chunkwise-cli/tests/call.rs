//! A command that is called gives its answer back, as what it is, and touches the process in nothing else.
#![cfg(feature = "parquet")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use chunkwise::write::{Place, RegionOptions, write_region};
use chunkwise_cli::{Answer, Call, Failed, Kind, Table, call, commands};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};

/// `t` by time (2), band (2), y (3), x (3): 100 · time + 10 · band + the row, and in the first cell of all it is missing.
struct Cube {
    folder: tempfile::TempDir,
}

impl Cube {
    fn new() -> Cube {
        let cube = Cube { folder: tempfile::tempdir().unwrap() };
        let dims = ["time=2024-01-01,2024-02-01", "band=red,nir", "y=2.5,1.5,0.5", "x=0.5,1.5,2.5"];
        let mut words = vec!["create", "-o", "CUBE", "--var", "t", "--dtype", "uint16", "--missing", "999"];
        words.extend(dims.iter().flat_map(|dim| ["--dim", dim]));
        cube.call(&words).unwrap();
        let mut cells: Vec<u16> = Vec::new();
        for time in 0..2 {
            for band in 0..2 {
                cells.extend((0..9).map(|cell| 100 * time + 10 * band + cell / 3));
            }
        }
        cells[0] = 999;
        let place = Place::Folder(cube.path("cube.zarr"));
        write_region(&place, "t", &[0; 4], &[2, 2, 3, 3], &cells, RegionOptions::default()).unwrap();
        cube
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn words(&self, words: &[&str]) -> Vec<String> {
        let place = |word: &&str| match *word {
            "CUBE" => self.path("cube.zarr").display().to_string(),
            word => word.replace("FOLDER", &self.folder.path().display().to_string()),
        };
        words.iter().map(place).collect()
    }

    /// `CUBE` is the cube, `FOLDER` the folder that it lies in.
    fn call(&self, words: &[&str]) -> Result<Answer, Failed> {
        call(Call::new(self.words(words)))
    }

    fn table(&self, words: &[&str]) -> Table {
        let answer = self.call(words).unwrap();
        assert_eq!((answer.code, answer.text.as_str()), (0, ""), "{words:?}");
        answer.table.unwrap()
    }

    fn kind(&self, words: &[&str]) -> Kind {
        match self.call(words) {
            Ok(answer) => panic!("{words:?} gave {answer:?}"),
            Err(failed) => failed.kind(),
        }
    }

    /// Squares of the grid: its upper row, and the rest of it.
    fn zones(&self) {
        let square = |name: &str, from: f64, to: f64| {
            format!(
                r#"{{"type":"Feature","properties":{{"name":"{name}"}},"geometry":{{"type":"Polygon","coordinates":[[[0,{from}],[3,{from}],[3,{to}],[0,{to}],[0,{from}]]]}}}}"#
            )
        };
        let zones = [square("north", 2.0, 3.0), square("south", 0.0, 2.0)].join(",");
        let text = format!(r#"{{"type":"FeatureCollection","features":[{zones}]}}"#);
        std::fs::write(self.path("zones.geojson"), text).unwrap();
    }
}

/// `name type` of each column.
fn columns(table: &Table) -> Vec<String> {
    table.schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect()
}

/// A column as it is shown, in words.
fn cells(table: &Table, column: &str) -> String {
    let at = table.schema.index_of(column).unwrap();
    let shown = |array: String| {
        let lines: Vec<String> = array.lines().map(|l| l.trim().trim_end_matches(',').to_owned()).collect();
        lines[2..lines.len() - 1].join(" ")
    };
    table.batches.iter().map(|batch| shown(format!("{:?}", batch.column(at)))).collect::<Vec<_>>().join(" ")
}

#[test]
fn stats_are_a_table_of_typed_columns() {
    let table = Cube::new().table(&["stats", "CUBE", "--by", "band"]);
    let types = ["variable Utf8", "band Utf8", "count Int64", "missing Int64", "min Int64", "max Int64"];
    assert_eq!(columns(&table), [&types[..], &["mean Float64", "std Float64"]].concat());
    assert_eq!(cells(&table, "band"), r#""red" "nir""#);
    assert_eq!(cells(&table, "count"), "17 18");
    assert_eq!(cells(&table, "max"), "102 112");
    // (0 · 2 + 3 + 6 + 300 + 303 + 306) / 17, (30 + 33 + 36 + 330 + 333 + 336) / 18.
    assert_eq!(cells(&table, "mean"), "54.0 61.0");
}

#[test]
fn series_are_a_table_with_times_and_what_is_missing() {
    let cube = Cube::new();
    let words = ["series", "CUBE", "--at", "y=2.5,x=0.5", "--sel", "band=red"];
    for more in [&[][..], &["--json"][..]] {
        let table = cube.table(&[&words[..], more].concat());
        let types = ["point Int64", "y Float64", "x Float64", "asked_y Float64", "asked_x Float64"];
        let left = ["time Timestamp(µs)", "t Int64"];
        assert_eq!(columns(&table), [&types[..], &left].concat());
        assert_eq!(cells(&table, "time"), "2024-01-01T00:00:00 2024-02-01T00:00:00");
        assert_eq!(cells(&table, "t"), "null 100");
    }
}

#[test]
fn zones_are_a_table_with_counts() {
    let cube = Cube::new();
    cube.zones();
    let words = ["zonal", "CUBE", "--zones", "FOLDER/zones.geojson", "--zone-id", "name", "--zones-crs", "cube"];
    let table = cube.table(&[&words[..], &["--with", "mean,missing,variety", "--isel", "time=0"]].concat());
    let types = ["variable Utf8", "zone Utf8", "band Utf8", "mean Float64", "missing UInt64", "variety UInt64"];
    assert_eq!(columns(&table), types);
    assert_eq!(cells(&table, "zone"), r#""north" "north" "south" "south""#);
    assert_eq!(cells(&table, "mean"), "0.0 10.0 1.5 11.5");
    assert_eq!(cells(&table, "missing"), "1 0 0 0");
    assert_eq!(cells(&table, "variety"), "1 1 2 2");
}

#[test]
fn a_reduction_is_a_table_or_a_cube() {
    let cube = Cube::new();
    let table = cube.table(&["reduce", "CUBE", "--over", "y,x", "--with", "max,mean", "--isel", "band=1"]);
    let types = ["variable Utf8", "time Timestamp(µs)", "max Int64", "mean Float64"];
    assert_eq!(columns(&table), types);
    assert_eq!(cells(&table, "mean"), "11.0 111.0");
    let words = ["reduce", "CUBE", "--over", "time", "--with", "mean", "-o", "FOLDER/mean.zarr"];
    let written = cube.call(&words).unwrap();
    assert_eq!((written.table, written.text.as_str()), (None, ""));
    assert!(
        written.notes.iter().any(|note| note.contains("decoded in") && !note.contains("peak memory")),
        "{:?}",
        written.notes
    );
    let quiet = cube.call(&[&words[..], &["--overwrite", "--quiet"]].concat()).unwrap();
    assert_eq!(quiet.notes, [""; 0]);
    let about = cube.call(&["attrs", "FOLDER/mean.zarr", "--json"]).unwrap();
    // The words of the call, not those of the process.
    let history = serde_json::from_str::<Value>(&about.text).unwrap().to_string();
    assert!(history.contains(": reduce ") && history.contains("--over time --with mean"), "{history}");
}

#[test]
fn documents_are_text() {
    let cube = Cube::new();
    for words in [
        &["info", "CUBE", "--json"][..],
        &["ls", "CUBE", "--json"],
        &["attrs", "CUBE", "--json"],
        &["stats", "CUBE", "--explain", "--json"],
        &["compare", "CUBE", "CUBE", "--json"],
        &["verify", "CUBE", "--json"],
    ] {
        let answer = cube.call(words).unwrap();
        assert!(serde_json::from_str::<Value>(&answer.text).is_ok(), "{words:?}: {}", answer.text);
        assert_eq!((answer.code, answer.table), (0, None), "{words:?}");
    }
    for (words, holds) in
        [(&["--help"][..], "Usage: chunkwise"), (&["--version"], "chunkwise 0"), (&["man"], ".TH chunkwise")]
    {
        assert!(cube.call(words).unwrap().text.contains(holds), "{words:?}");
    }
}

#[test]
fn a_no_is_an_answer() {
    let cube = Cube::new();
    cube.call(&["calc", "CUBE", "u = t + 1", "-o", "FOLDER/other.zarr"]).unwrap();
    let answer = cube.call(&["compare", "CUBE", "FOLDER/other.zarr", "--json"]).unwrap();
    assert_eq!(answer.code, 1);
}

#[test]
fn more_rows_than_are_printed_are_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.zarr").display().to_string();
    let words = ["create", "-o", &path, "--dim", "y=2", "--dim", "x=60000", "--dtype", "uint8", "--fill", "7"];
    call(Call::new(words)).unwrap();
    let table = call(Call::new(["series", &path, "--iat", "y=0", "--iat", "y=1"])).unwrap().table.unwrap();
    assert_eq!(table.rows(), 120_000);
    assert!(table.batches.iter().all(|batch| batch.schema() == table.schema));
    let failed = call(Call::new(["reduce", &path, "--over", "y", "--every", "x=1", "--with", "max"]));
    assert_eq!(failed.map(|answer| answer.table.map(|t| t.rows())).ok().flatten(), Some(60_000));
    let one_by_one = call(Call::new(["reduce", &path, "--every", "y=1,x=1", "--with", "max"])).unwrap_err();
    assert!(one_by_one.message().contains("at most 100000"), "{one_by_one}");
}

#[test]
fn errors_have_their_kinds() {
    let cube = Cube::new();
    cube.zones();
    std::fs::write(cube.path("plain.csv"), "y,x\n1.5\n").unwrap();
    std::fs::write(cube.path("broken.geojson"), "{").unwrap();
    let zonal = |zones| ["zonal", "CUBE", "--zones", zones, "--zones-crs", "cube"];
    for (kind, cases) in [
        (
            Kind::NotFound,
            &[
                &["stats", "FOLDER/none.zarr"][..],
                &["info", "CUBE:none"],
                &["compare", "CUBE", "FOLDER/none.zarr"],
                &zonal("FOLDER/none.geojson"),
                &["series", "CUBE", "--points", "FOLDER/none.csv"],
                &["attrs", "CUBE", "--file", "FOLDER/none.json"],
            ][..],
        ),
        (
            Kind::Key,
            &[
                &["stats", "CUBE", "--var", "u"],
                &["stats", "CUBE", "--by", "z"],
                &["stats", "CUBE", "--sel", "z=1"],
                &["stats", "CUBE", "--sel", "band=blue"],
                &["stats", "CUBE", "--isel", "time=2"],
                &["reduce", "CUBE", "--over", "z", "--with", "mean"],
                &["reduce", "CUBE", "--over", "time", "--with", "meen"],
                &["reduce", "CUBE", "--group", "moon", "--with", "mean"],
                &["series", "CUBE", "--at", "y=99,x=0"],
                &["series", "CUBE", "--iat", "z=0"],
                &["calc", "CUBE", "a = blue - red", "-o", "FOLDER/a.zarr"],
                &["verify", "CUBE", "--var", "u"],
                &["compare", "CUBE", "CUBE", "--var", "u"],
                &["attrs", "CUBE", "--delete", "none"],
                &zonal("none"),
                &["zonal", "CUBE", "--zones", "FOLDER/zones.geojson", "--zones-crs", "cube", "--zone-id", "none"],
                &["zonal", "CUBE", "--zones", "FOLDER/zones.geojson", "--zones-crs", "cube", "--with", "meen"],
            ],
        ),
        (
            Kind::Value,
            &[
                &["stats", "CUBE", "--sel", "time"],
                &["stats", "CUBE", "--where", "t >"],
                &["stats", "CUBE", "--bbox", "1,2,3"],
                &["stats", "CUBE", "-o", "FOLDER/a.txt"],
                &["stats", "CUBE", "--storage", "color=red"],
                &["series", "CUBE", "--points", "FOLDER/plain.csv"],
                &["create", "-o", "FOLDER/a.zarr", "--dim", "x=2", "--dtype", "uint7"],
                &zonal("FOLDER/plain.csv"),
            ],
        ),
        (Kind::Memory, &[&["stats", "CUBE", "--memory", "1MiB"], &["verify", "CUBE", "--memory", "1MiB"]]),
        (
            Kind::Exists,
            &[
                &["create", "-o", "CUBE", "--dim", "x=2", "--dtype", "uint8"],
                &["calc", "CUBE", "u = t + 1", "-o", "FOLDER/zones.geojson.zarr"],
                &["stats", "CUBE", "-o", "FOLDER/plain.csv"],
            ],
        ),
        (Kind::TooMuch, &[&["stats", "CUBE", "--max-requests", "0"], &["stats", "CUBE", "--max-bytes", "1B"]]),
        (Kind::Corrupt, &[&zonal("FOLDER/broken.geojson")]),
        (
            Kind::Usage,
            &[&["stats", "CUBE", "--colour"], &["stats"], &["paint"], &["stats", "CUBE", "--memory", "much"]],
        ),
    ] {
        if kind == Kind::Exists {
            std::fs::create_dir(cube.path("zones.geojson.zarr")).unwrap();
            std::fs::write(cube.path("zones.geojson.zarr/other"), "").unwrap();
        }
        for words in cases {
            assert_eq!(cube.kind(words), kind, "{words:?}: {}", cube.call(words).unwrap_err());
        }
    }
}

#[test]
fn a_damaged_chunk_is_corrupt_and_is_named() {
    let cube = Cube::new();
    let chunks = cube.path("cube.zarr/t/c");
    let mut folder = chunks;
    while folder.is_dir() {
        folder = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    }
    std::fs::write(&folder, "no chunk").unwrap();
    let failed = cube.call(&["stats", "CUBE"]).unwrap_err();
    assert_eq!(failed.kind(), Kind::Corrupt);
    assert!(failed.message().contains("cannot decode chunk"), "{failed}");
}

#[test]
fn messages_and_hints_are_those_of_the_command_line() {
    let cube = Cube::new();
    let failed = cube.call(&["stats", "FOLDER/none.zarr"]).unwrap_err();
    assert!(failed.message().starts_with("there is nothing at `"), "{failed}");
    assert_eq!(failed.hint().unwrap(), "check the path; `chunkwise create -o CUBE` makes a new cube");
    let small = cube.call(&["stats", "CUBE", "--memory", "1MiB"]).unwrap_err();
    let hint = small.hint().unwrap();
    let memory = hint.strip_prefix("pass `--memory ").and_then(|rest| rest.strip_suffix('`')).unwrap();
    cube.table(&["stats", "CUBE", "--memory", memory]);
    let usage = cube.call(&["stats", "CUBE", "--colour"]).unwrap_err();
    assert_eq!(usage.message(), "unexpected argument '--colour' found");
    assert!(usage.hint().unwrap().contains("--help"));
}

#[test]
fn errors_of_the_library_are_told_in_the_same_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.zarr").display().to_string();
    let of_call = call(Call::new(["info", &path])).unwrap_err();
    let of_library = Failed::from(chunkwise::open(&path).unwrap_err());
    assert_eq!(of_library.message(), of_call.message());
    assert_eq!(of_library.hint(), of_call.hint());
    assert_eq!(of_library.kind(), Kind::NotFound);
    assert_eq!(Failed::of(chunkwise::open(&path).unwrap_err()).kind(), Kind::NotFound);
}

#[test]
fn a_call_that_is_cancelled_does_nothing() {
    static CANCEL: AtomicBool = AtomicBool::new(true);
    let cube = Cube::new();
    let words = cube.words(&["calc", "CUBE", "u = t + 1", "-o", "FOLDER/sum.zarr"]);
    let before = files(cube.folder.path());
    let asked = Call { cancel: &CANCEL, ..Call::new(words.clone()) };
    assert_eq!(call(asked.clone()).unwrap_err().kind(), Kind::Interrupted);
    assert_eq!(files(cube.folder.path()), before);
    CANCEL.store(false, Ordering::Relaxed);
    call(asked).unwrap();
    assert_ne!(files(cube.folder.path()), before);
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().file_name().display().to_string()).collect();
    names.sort();
    names
}

#[test]
fn progress_ends_at_all_leaves() {
    let cube = Cube::new();
    let last = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let told = Arc::clone(&last);
    let progress = Arc::new(move |done: u64, of: u64| {
        told[0].store(done, Ordering::Relaxed);
        told[1].store(of, Ordering::Relaxed);
    });
    let words = cube.words(&["stats", "CUBE", "--quiet"]);
    call(Call { progress: Some(progress), ..Call::new(words) }).unwrap();
    // A leaf for each chunk: two times.
    assert_eq!(last.each_ref().map(|n| n.load(Ordering::Relaxed)), [2, 2]);
}

#[test]
fn calls_at_once_do_not_mix() {
    let cube = Cube::new();
    let start = Barrier::new(4);
    let answers = |n: usize| {
        start.wait();
        let band = ["red", "nir"][n % 2];
        let mut found = Vec::new();
        for round in 0..20 {
            let sel = format!("band={band}");
            let out = format!("FOLDER/{n}-{round}.zarr");
            found.push(cells(&cube.table(&["stats", "CUBE", "--sel", &sel]), "max"));
            let made = cube.call(&["calc", "CUBE", "u = t + 1", "--sel", &sel, "-o", &out]).unwrap();
            let attrs = cube.call(&["attrs", &out, "--json"]).unwrap();
            assert_eq!((made.text.as_str(), attrs.notes.len()), ("", 0));
            assert!(attrs.text.contains(&sel) && attrs.text.contains(&format!("{n}-{round}.zarr")), "{}", attrs.text);
        }
        found
    };
    let all: Vec<Vec<String>> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..4).map(|n| scope.spawn(move || answers(n))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (n, found) in all.iter().enumerate() {
        assert!(found.iter().all(|max| max == ["102", "112"][n % 2]), "{found:?}");
    }
}

/// Set in the process that only calls.
const ALONE: &str = "CHUNKWISE_TEST_CALLS";

#[test]
fn calls_print_nothing() {
    if std::env::var_os(ALONE).is_some() {
        let cube = Cube::new();
        cube.zones();
        for words in [
            &["info", "CUBE"][..],
            &["stats", "CUBE", "-v"],
            &["stats", "CUBE", "--json", "--verbose"],
            &["stats", "CUBE", "--explain"],
            &["verify", "CUBE"],
            &["compare", "CUBE", "CUBE"],
            &["zonal", "CUBE", "--zones", "FOLDER/zones.geojson", "--zones-crs", "EPSG:4326"],
            &["calc", "CUBE", "u = t + 1", "-o", "FOLDER/u.zarr"],
            &["completions", "bash"],
            &["stats", "FOLDER/none.zarr", "--json"],
            &["stats", "--help"],
            &["paint"],
            &[],
        ] {
            let _ = cube.call(words);
        }
        return;
    }
    let mut alone = Command::new(std::env::current_exe().unwrap());
    let out = alone.args(["--exact", "calls_print_nothing", "--nocapture"]).env(ALONE, "1").output().unwrap();
    let stdout = String::from_utf8(out.stdout).unwrap();
    let lines: Vec<&str> = stdout.lines().filter(|line| !line.is_empty()).collect();
    let [first, _, last] = lines.as_slice() else { panic!("{stdout}") };
    assert!(first.starts_with("running 1 test") && last.starts_with("test result: ok. 1 passed"), "{stdout}");
    assert_eq!(String::from_utf8(out.stderr).unwrap(), "");
}

#[test]
fn commands_are_listed_with_their_arguments() {
    let all = commands();
    let found = all["commands"].as_array().unwrap();
    let command = |name: &str| found.iter().find(|c| c["name"] == name).unwrap();
    let argument = |of: &str, name: &str| -> Value {
        let all = command(of)["arguments"].as_array().unwrap();
        all.iter().find(|a| a["name"] == name).unwrap_or_else(|| panic!("{of} has no {name}: {all:?}")).clone()
    };
    let names: Vec<&str> = found.iter().map(|c| c["name"].as_str().unwrap()).collect();
    for name in ["demo", "info", "create", "stats", "reduce", "calc", "series", "zonal", "plot", "compare", "verify"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let mask = argument("stats", "mask");
    assert_eq!(
        (&mask["long"], &mask["value_name"], &mask["repeats"]),
        (&"where".into(), &"EXPR".into(), &false.into())
    );
    assert_eq!(argument("stats", "sel")["repeats"], true);
    assert_eq!(argument("stats", "explain")["takes_value"], false);
    assert_eq!(argument("stats", "cube")["required"], true);
    assert_eq!(argument("stats", "cube")["long"], Value::Null);
    assert_eq!(argument("zonal", "touch")["values"], serde_json::json!(["coverage", "centre", "all"]));
    let shared: Vec<&str> = all["options"].as_array().unwrap().iter().map(|o| o["long"].as_str().unwrap()).collect();
    assert_eq!(shared, ["json", "quiet", "verbose", "storage", "absent-on"]);
}
