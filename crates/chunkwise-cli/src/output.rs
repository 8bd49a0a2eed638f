//! What goes to stdout: records as a table or as JSON, and plain text; and tables in files.

#[cfg(feature = "parquet")]
mod caller;
mod table;

#[cfg(feature = "parquet")]
pub(crate) use caller::{CallerTable, caller_bytes};
pub(crate) use table::{Overwrite, TableFile, TableTo, TableWriter, refuse_existing, save, save_bytes};

use crate::bytes::format_bytes;
use crate::call;
use crate::failed::Failed;
use chunkwise::memory;
use serde_json::{Map, Value};
use std::io::{self, BufWriter, ErrorKind, Write};

/// One row: column name to value; times are text, missing is null.
pub(crate) type Record = Map<String, Value>;

/// Whether the answer is for programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Json {
    /// For people.
    #[default]
    No,
    /// `--json`.
    Yes,
}

impl From<bool> for Json {
    fn from(yes: bool) -> Json {
        if yes { Json::Yes } else { Json::No }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
struct Stdout {
    source: io::Error,
}

/// Writes to stdout, in a call to its text; a reader that has left is no failure.
///
/// # Errors
/// Standard output cannot be written: the disk behind it is full, say.
pub(crate) fn stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failed> {
    if call::here(|_| ()).is_some() {
        let mut text = Vec::new();
        write(&mut text).map_err(|source| Failed::of(Stdout { source }))?;
        call::here(|call| call.answer.borrow_mut().text.push_str(&String::from_utf8_lossy(&text)));
        return Ok(());
    }
    let mut writer = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    match write(&mut writer).and_then(|()| writer.flush()) {
        // What the buffer still holds has no reader.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            drop(writer.into_parts());
            Ok(())
        }
        Err(source) => {
            drop(writer.into_parts());
            Err(Failed::of(Stdout { source }))
        }
        Ok(()) => Ok(()),
    }
}

/// A line for people on stderr, in a call among its notes.
pub(crate) fn note(line: &str) {
    if call::here(|call| call.answer.borrow_mut().notes.push(line.to_owned())).is_some() {
        return;
    }
    // Nobody listens to notes where stderr is closed.
    let _ = writeln!(io::stderr(), "{line}");
}

/// How a line about a job ends: the peak of the process, which in a call is not the job's.
pub(crate) fn peak_memory() -> String {
    match call::here(|_| ()) {
        Some(()) => String::new(),
        None => format!(", peak memory {}", format_bytes(memory::peak().into())),
    }
}

/// Records to stdout: an aligned table, or with `--json` an array.
///
/// # Errors
/// As [`stdout`].
pub(crate) fn print(records: &[Record], json: Json) -> Result<(), Failed> {
    stdout(|out| match json {
        Json::Yes => write_json(records, out),
        Json::No => write_table(records, out),
    })
}

/// One JSON document to stdout.
///
/// # Errors
/// As [`stdout`].
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Failed> {
    stdout(|out| {
        serde_json::to_writer_pretty(&mut *out, value)?;
        writeln!(out)
    })
}

fn write_json(records: &[Record], out: &mut dyn Write) -> io::Result<()> {
    for (i, record) in records.iter().enumerate() {
        json_row(out, record, i == 0)?;
    }
    json_end(out, records.is_empty())
}

/// One record a line: readable, and cheap to read in part.
fn json_row(out: &mut dyn Write, record: &Record, begins: bool) -> io::Result<()> {
    out.write_all(if begins { b"[\n  " } else { b",\n  " })?;
    Ok(serde_json::to_writer(out, record)?)
}

fn json_end(out: &mut dyn Write, empty: bool) -> io::Result<()> {
    out.write_all(if empty { b"[]\n" } else { b"\n]\n" })
}

/// All columns in the order in which they first appear.
fn columns(records: &[Record]) -> Vec<&str> {
    let mut names = indexmap::IndexSet::new();
    for record in records {
        names.extend(record.keys().map(String::as_str));
    }
    names.into_iter().collect()
}

/// Records as rows of text, the heads first.
pub(crate) fn cells(records: &[Record]) -> Vec<Vec<String>> {
    let columns = columns(records);
    let row = |r: &Record| columns.iter().map(|name| shown(r.get(*name).unwrap_or(&Value::Null))).collect();
    let heads = columns.iter().map(|name| (*name).to_owned()).collect();
    std::iter::once(heads).chain(records.iter().map(row)).collect()
}

fn write_table(records: &[Record], out: &mut dyn Write) -> io::Result<()> {
    let columns = columns(records);
    let right: Vec<bool> =
        columns.iter().map(|name| records.iter().any(|r| r.get(*name).is_some_and(Value::is_number))).collect();
    write_rows(&cells(records), &right, out)
}

/// Rows of text to stdout, the heads first; all columns but the first to the right.
///
/// # Errors
/// As [`stdout`].
pub(crate) fn aligned(rows: &[Vec<String>]) -> Result<(), Failed> {
    let right: Vec<bool> = (0..rows.first().map_or(0, Vec::len)).map(|column| column > 0).collect();
    stdout(|out| write_rows(rows, &right, out))
}

fn write_rows(rows: &[Vec<String>], right: &[bool], out: &mut dyn Write) -> io::Result<()> {
    let widths: Vec<usize> =
        (0..right.len()).map(|i| rows.iter().map(|row| width(&row[i])).fold(0, usize::max)).collect();
    for row in rows.iter().filter(|row| !row.is_empty()) {
        let mut text = String::new();
        for (i, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[i].saturating_sub(width(cell)));
            if i > 0 {
                text.push_str("  ");
            }
            if right[i] {
                text.push_str(&pad);
                text.push_str(cell);
            } else {
                text.push_str(cell);
                text.push_str(&pad);
            }
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// A value for people: floats with up to seven digits, missing as `-`, control characters made harmless.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => printable(text),
        Value::Number(number) if number.is_f64() => number.as_f64().map_or_else(String::new, float),
        other => other.to_string(),
    }
}

/// Text from a file, for a terminal: control characters are escaped.
pub(crate) fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// A number with up to seven significant digits.
pub(crate) fn float(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let exponent = value.abs().log10().floor();
    if !(-5.0..15.0).contains(&exponent) {
        return format!("{value:.6e}");
    }
    let decimals = (6.0 - exponent).max(0.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn records() -> Vec<Record> {
        let rows =
            [json!({"band": "red", "count": 12, "mean": 0.25}), json!({"band": "a,\"b\"", "count": 7, "mean": null})];
        rows.into_iter().map(|r| r.as_object().unwrap().clone()).collect()
    }

    fn table(folder: &std::path::Path, replace: Overwrite) -> TableTo {
        let path = folder.join("t.csv").display().to_string();
        TableTo { path, kind: TableFile::Csv, replace, times: Vec::new() }
    }

    fn text(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_is_aligned_with_numbers_to_the_right() {
        let table = text(|out| write_table(&records(), out));
        assert_eq!(table, "band   count  mean\nred       12  0.25\na,\"b\"      7     -\n");
    }

    #[test]
    fn csv_quotes_and_leaves_missing_empty() {
        let folder = tempfile::tempdir().unwrap();
        let to = table(folder.path(), Overwrite::No);
        save(&records(), &to).unwrap();
        let csv = std::fs::read_to_string(to.path).unwrap();
        assert_eq!(csv, "band,count,mean\nred,12,0.25\n\"a,\"\"b\"\"\",7,\n");
    }

    #[test]
    fn json_is_one_array() {
        let array: Value = serde_json::from_str(&text(|out| write_json(&records(), out))).unwrap();
        assert_eq!(array[1]["mean"], Value::Null);
        assert_eq!(text(|out| write_json(&[], out)), "[]\n");
    }

    #[test]
    fn floats_have_seven_digits_for_people() {
        assert_eq!(float(11498.5), "11498.5");
        assert_eq!(float(1.0 / 3.0), "0.3333333");
        assert_eq!(float(-1e-9), "-1.000000e-9");
        assert_eq!(float(600015.0), "600015");
        assert_eq!(float(123456789.0), "123456789");
    }

    #[test]
    fn a_file_is_not_replaced_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let to = table(folder.path(), Overwrite::No);
        save(&records(), &to).unwrap();
        assert!(save(&records(), &to).is_err());
        save(&records(), &table(folder.path(), Overwrite::Yes)).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
