//! The text of `--sel`, `--isel` and `--at`.

use super::{IndexQuery, LabelQuery, SelectError};

const SEL: &str = "time=2024-01..2024-06,band=nir";
const ISEL: &str = "y=0:250:2,time=-1";
const AT: &str = "y=500,x=500";

/// Reads `DIM=A..B`, `DIM=label` and `DIM=a,b,c`, several dimensions separated by commas.
///
/// # Errors
/// Text that names no dimension or no label, and lists that hold ranges.
///
/// ```
/// use chunkwise_core::select::{LabelQuery, parse_sel};
/// let asked = parse_sel("band=nir,red,time=2024..").unwrap();
/// assert_eq!(asked[0], ("band".into(), LabelQuery::List(vec!["nir".into(), "red".into()])));
/// assert_eq!(asked[1], ("time".into(), LabelQuery::Range(Some("2024".into()), None)));
/// ```
pub fn parse_sel(text: &str) -> Result<Vec<(String, LabelQuery)>, SelectError> {
    let bad = |reason| malformed(text, reason, SEL);
    let mut asked = Vec::new();
    for (dim, items) in clauses(text, SEL)? {
        let query = match items.as_slice() {
            [one] => match one.split_once("..") {
                Some((_, to)) if to.contains("..") => return Err(bad("a range has two ends")),
                Some((from, to)) => LabelQuery::Range(end(from), end(to)),
                None => LabelQuery::One((*one).to_owned()),
            },
            list if list.iter().any(|l| l.contains("..")) => {
                return Err(bad("a list holds single labels, not ranges"));
            }
            list => LabelQuery::List(list.iter().map(|&l| l.to_owned()).collect()),
        };
        asked.push((dim.to_owned(), query));
    }
    Ok(asked)
}

/// Reads `DIM=start:stop:step`, `DIM=3` and `DIM=0,3,5`, several dimensions separated by commas.
///
/// # Errors
/// Text that names no dimension, ends and indices that are no integers, steps below 1, and lists that hold slices.
///
/// ```
/// use chunkwise_core::select::{IndexQuery, parse_isel};
/// let asked = parse_isel("y=10:,time=-1").unwrap();
/// assert_eq!(asked[0], ("y".into(), IndexQuery::Range { start: Some(10), stop: None, step: 1 }));
/// assert_eq!(asked[1], ("time".into(), IndexQuery::One(-1)));
/// ```
pub fn parse_isel(text: &str) -> Result<Vec<(String, IndexQuery)>, SelectError> {
    let bad = |reason| malformed(text, reason, ISEL);
    let integer = |t: &str| t.trim().parse::<i64>().map_err(|_| bad("an index is an integer"));
    let open = |t: Option<&&str>| match t.map(|t| t.trim()) {
        None | Some("") => Ok(None),
        Some(t) => integer(t).map(Some),
    };
    let mut asked = Vec::new();
    for (dim, items) in clauses(text, ISEL)? {
        let query = match items.as_slice() {
            [one] if one.contains("..") => {
                return Err(bad("indices are cut with `:`, labels with `..`"));
            }
            [one] if one.contains(':') => {
                let parts: Vec<&str> = one.split(':').collect();
                if parts.len() > 3 {
                    return Err(bad("a slice is start:stop:step"));
                }
                let step = match open(parts.get(2))? {
                    None => 1,
                    Some(step) => match u64::try_from(step) {
                        Ok(step) if step > 0 => step,
                        _ => return Err(bad("a step is at least 1")),
                    },
                };
                IndexQuery::Range { start: open(parts.first())?, stop: open(parts.get(1))?, step }
            }
            [one] => IndexQuery::One(integer(one)?),
            list if list.iter().any(|i| i.contains(':')) => {
                return Err(bad("a list holds single indices, not slices"));
            }
            list => IndexQuery::List(list.iter().map(|i| integer(i)).collect::<Result<_, _>>()?),
        };
        asked.push((dim.to_owned(), query));
    }
    Ok(asked)
}

/// Reads the place of `--at`: `y=500,x=500` gives one label, as written, for each dimension.
///
/// # Errors
/// Text that names no dimension, several labels for one, and a dimension named twice.
///
/// ```
/// use chunkwise_core::select::parse_at;
/// assert_eq!(parse_at("y=500,x=7.5").unwrap(), [("y".into(), "500".into()), ("x".into(), "7.5".into())]);
/// ```
pub fn parse_at(text: &str) -> Result<Vec<(String, String)>, SelectError> {
    let mut place: Vec<(String, String)> = Vec::new();
    for (dim, items) in clauses(text, AT)? {
        let [label] = items.as_slice() else {
            return Err(malformed(text, "a place has one label along each dimension", AT));
        };
        if place.iter().any(|(d, _)| d == dim) {
            return Err(malformed(text, "a dimension is named twice", AT));
        }
        place.push((dim.to_owned(), (*label).to_owned()));
    }
    Ok(place)
}

/// Dimensions and what is asked of each: pieces between commas belong to the last `NAME=` before them.
fn clauses<'a>(text: &'a str, example: &'static str) -> Result<Vec<(&'a str, Vec<&'a str>)>, SelectError> {
    let bad = |reason| malformed(text, reason, example);
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for piece in text.split(',') {
        let item = match piece.split_once('=') {
            Some((name, item)) => {
                let name = name.trim();
                if name.is_empty() {
                    return Err(bad("no dimension stands before `=`"));
                }
                found.push((name, Vec::new()));
                item.trim()
            }
            None => piece.trim(),
        };
        let Some((_, items)) = found.last_mut() else {
            return Err(bad("no dimension is named"));
        };
        if item.is_empty() {
            return Err(bad("something is missing after `=` or a comma"));
        }
        items.push(item);
    }
    Ok(found)
}

/// How an index range is written.
pub(super) fn write_index(dim: &str, query: &IndexQuery) -> String {
    let open = |end: &Option<i64>| end.map(|i| i.to_string()).unwrap_or_default();
    match query {
        IndexQuery::Range { start, stop, step: 1 } => format!("{dim}={}:{}", open(start), open(stop)),
        IndexQuery::Range { start, stop, step } => {
            format!("{dim}={}:{}:{step}", open(start), open(stop))
        }
        IndexQuery::One(index) => format!("{dim}={index}"),
        IndexQuery::List(list) => {
            format!("{dim}={}", list.iter().map(i64::to_string).collect::<Vec<_>>().join(","))
        }
    }
}

fn end(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|t| !t.is_empty())
}

fn malformed(text: &str, reason: &'static str, example: &'static str) -> SelectError {
    SelectError::Malformed { text: text.to_owned(), reason, example }
}
