//! Axes of pictures from the labels of a cube.

use super::Asked;
use crate::failed::Failed;
use chunkwise::job::{JobError, Prepared};
use chunkwise::open::OpenCube;
use chunkwise_core::cf::time::NOT_A_TIME;
use chunkwise_core::crs::is_longitude;
use chunkwise_core::cube::{Labels, Variable};
use chunkwise_view::{Along, Axis, AxisKind};

/// What an axis is called: its long name or name, its unit in brackets.
fn titled(name: &str, unit: &str) -> String {
    if unit.is_empty() { name.to_owned() } else { format!("{name} ({unit})") }
}

/// A unit as it is written beside values; nothing where there is none.
pub(super) fn unit(variable: Option<&Variable>) -> String {
    match variable.and_then(Variable::units).unwrap_or_default().trim() {
        "1" | "none" | "unitless" | "dimensionless" => String::new(),
        "metre" | "meter" | "metres" | "meters" => "m".to_owned(),
        "percent" => "%".to_owned(),
        "degree_C" | "degrees_C" | "degree_Celsius" | "degrees_Celsius" | "degree_c" | "degree_celsius"
        | "degrees_celsius" | "degC" | "deg_C" | "celsius" | "Celsius" => "°C".to_owned(),
        "degree_F" | "degrees_F" | "degree_Fahrenheit" | "degrees_Fahrenheit" | "degF" => "°F".to_owned(),
        "degree_K" | "degrees_K" | "degree_Kelvin" | "degK" => "K".to_owned(),
        "degree" | "degrees" => "°".to_owned(),
        "degrees_north" | "degree_north" | "degrees_N" | "degree_N" | "degrees_true" | "degree_true" => "°".to_owned(),
        "degrees_east" | "degree_east" | "degrees_E" | "degree_E" | "degrees_west" | "degree_west" => "°".to_owned(),
        text => superscripts(text),
    }
}

/// `m s-1` and `mg m^-3` with raised exponents.
fn superscripts(text: &str) -> String {
    const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let after_letter = out.chars().last().is_some_and(char::is_alphabetic);
        let exponent = (c == '^' || c == '*' && chars.peek() == Some(&'*')) && after_letter;
        let plain = (c == '-' || c.is_ascii_digit()) && after_letter;
        if !exponent && !plain {
            out.push(c);
            continue;
        }
        let mut c = c;
        while c == '^' || c == '*' {
            let Some(next) = chars.next() else { return out };
            c = next;
        }
        match c {
            '-' if chars.peek().is_some_and(char::is_ascii_digit) => out.push('⁻'),
            c => match c.to_digit(10) {
                Some(d) => out.push(RAISED[d as usize]),
                None => out.push(c),
            },
        }
        while let Some(d) = chars.peek().and_then(|c| c.to_digit(10)) {
            out.push(RAISED[d as usize]);
            chars.next();
        }
    }
    out
}

/// The axis of dimension `dim` of a map, of which `size` cells are drawn as one; `drawn` such blocks.
pub(super) fn axis(
    asked: &Asked<'_>,
    cube: &OpenCube,
    prepared: &Prepared,
    dim: &str,
    (size, drawn): (u64, u64),
) -> Result<Axis, Failed> {
    let coordinate = cube.cube.coordinate(dim);
    let labels = prepared.labels.get(dim);
    let n = labels.map_or(1, Labels::len) as usize;
    let index = |first: f64| -> Vec<f64> { (0..=n).map(|i| first + i as f64 - 0.5).collect() };
    let lies = asked.plane.dims.as_ref().is_some_and(|d| d.y == dim || d.x == dim);
    let is_x = asked.plane.dims.as_ref().is_some_and(|d| d.x == dim);
    let all = cube.cube.dims.get(dim).copied().unwrap_or(0);
    let numbers = match labels {
        _ if prepared.output_name(dim) != dim => None,
        Some(Labels::Number(v)) => Some(v.clone()),
        Some(Labels::Integer(v)) if coordinate.is_some() => Some(v.iter().map(|&v| v as f64).collect()),
        // Cells without labels lie where the transform of the grid says.
        _ if coordinate.is_none() && lies => placed(asked, prepared, dim, is_x, all),
        _ => None,
    };
    let wraps = lies && is_x && (asked.plane.longitudes().is_some() || is_longitude(dim, coordinate));
    let numbers = numbers.map(|v| if wraps { unwrapped(v) } else { v });
    let found = numbers.and_then(|v| edges(&v, || width_of_one(asked, cube, dim, is_x, &v)));
    let (edges, kind, label) = match found {
        Some(found) => {
            let degrees = coordinate.and_then(Variable::units).is_some_and(|u| u.starts_with("degree"));
            let geographic = lies && asked.plane.longitudes().is_some();
            let kind = match (lies && (degrees || geographic), is_x) {
                (true, true) => AxisKind::Longitude,
                (true, false) => AxisKind::Latitude,
                (false, _) => AxisKind::Number,
            };
            // Degrees stand at the ticks.
            let unit = match kind {
                AxisKind::Longitude | AxisKind::Latitude => String::new(),
                _ if coordinate.is_none() && lies => "m".to_owned(),
                _ => unit(coordinate),
            };
            (found, kind, titled(dim, &unit))
        }
        None => {
            let first = match (labels, coordinate) {
                (Some(Labels::Integer(v)), None) => v.first().map_or(0.0, |&v| v as f64),
                _ => 0.0,
            };
            (index(first), AxisKind::Index, format!("{} (cell)", prepared.output_name(dim)))
        }
    };
    let last = edges.len() - 1;
    let mut edges: Vec<f64> = (0..=drawn).map(|i| edges[((i * size) as usize).min(last)]).collect();
    // A last block of fewer cells is drawn as wide as the others, so that each has a pixel.
    if drawn * size > last as u64
        && let [.., before, first, end] = edges.as_mut_slice()
    {
        *end = *first + (*first - *before);
    }
    Ok(Axis { label, edges, kind })
}

/// Centres of the selected cells by the transform of the grid.
fn placed(asked: &Asked<'_>, prepared: &Prepared, dim: &str, is_x: bool, all: u64) -> Option<Vec<f64>> {
    let transform = asked.plane.transform.as_ref()?;
    let centres = if is_x { transform.x_labels(all)? } else { transform.y_labels(all)? };
    let indices = prepared.selection.indices(dim, all);
    (0..indices.len()).map(|i| centres.get(indices.at(i) as usize).copied()).collect()
}

/// Longitudes that go on over the seam.
fn unwrapped(mut longitudes: Vec<f64>) -> Vec<f64> {
    let falls = longitudes.windows(2).filter(|w| w[1] < w[0]).count();
    // One fall is the seam; many are an axis that descends.
    if falls == 1 && longitudes.len() > 2 {
        for i in 1..longitudes.len() {
            while longitudes[i] < longitudes[i - 1] {
                longitudes[i] += 360.0;
            }
        }
    }
    longitudes
}

/// Edges half-way between centres; `None` where these neither ascend nor descend throughout.
fn edges(centres: &[f64], alone: impl Fn() -> f64) -> Option<Vec<f64>> {
    let edges = match centres {
        [] => return None,
        [one] => vec![one - alone() / 2.0, one + alone() / 2.0],
        [first, second, ..] => {
            let (last, before) = (centres[centres.len() - 1], centres[centres.len() - 2]);
            let mut edges = vec![first - (second - first) / 2.0];
            edges.extend(centres.windows(2).map(|w| f64::midpoint(w[0], w[1])));
            edges.push(last + (last - before) / 2.0);
            edges
        }
    };
    let up = edges.windows(2).all(|w| w[0] < w[1]);
    let down = edges.windows(2).all(|w| w[0] > w[1]);
    ((up || down) && edges.iter().all(|e| e.is_finite())).then_some(edges)
}

/// The width of the only cell that is selected: that of its neighbours.
fn width_of_one(asked: &Asked<'_>, cube: &OpenCube, dim: &str, is_x: bool, at: &[f64]) -> f64 {
    if let Some(t) = asked.plane.transform.as_ref().filter(|_| cube.cube.coordinate(dim).is_none()) {
        return if is_x { t.a.abs() } else { t.e.abs() };
    }
    let step = |v: &[f64]| {
        let near = |a: f64| (a - at[0]).abs();
        let i = (0..v.len()).min_by(|&a, &b| near(v[a]).total_cmp(&near(v[b])))?;
        let other = if i == 0 { 1 } else { i - 1 };
        Some((v.get(other)? - v[i]).abs())
    };
    let found = match cube.labels(dim).ok().as_deref() {
        Some(Labels::Number(v)) => step(v),
        Some(Labels::Integer(v)) => step(&v.iter().map(|&v| v as f64).collect::<Vec<_>>()),
        _ => None,
    };
    found.filter(|w| *w > 0.0 && w.is_finite()).unwrap_or(1.0)
}

/// Months by number.
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// The bottom of a chart along dimension `dim`.
pub(super) fn along(cube: &OpenCube, prepared: &Prepared, dim: &str) -> Along {
    let name = prepared.output_name(dim);
    let labels = prepared.labels.get(dim).cloned().unwrap_or(Labels::Index(1));
    let coordinate = cube.cube.coordinate(dim).filter(|_| name == dim);
    let label = titled(name, &if matches!(labels, Labels::Time(_)) { String::new() } else { unit(coordinate) });
    let values = |kind: AxisKind, at: Vec<f64>| Along::Values { label: label.clone(), kind, at };
    match labels {
        Labels::Text(names) => Along::Names { label, names },
        Labels::Time(axis) => {
            let seconds = |n: &i128| if *n == NOT_A_TIME { f64::NAN } else { *n as f64 / 1e9 };
            values(AxisKind::Time(axis.calendar), axis.nanos.iter().map(seconds).collect())
        }
        Labels::Integer(v) if name == "month" && name != dim => {
            let names = v.iter().map(|&m| MONTHS.get((m - 1) as usize).map_or(m.to_string(), |m| (*m).to_owned()));
            Along::Names { label, names: names.collect() }
        }
        Labels::Integer(v) if name == "weekday" && name != dim && v.iter().all(|d| (0..7).contains(d)) => {
            Along::Names { label, names: v.iter().map(|&d| WEEKDAYS[d as usize].to_owned()).collect() }
        }
        Labels::Integer(v) => values(AxisKind::Index, v.iter().map(|&v| v as f64).collect()),
        Labels::Index(n) => values(AxisKind::Index, (0..n).map(|i| i as f64).collect()),
        Labels::Number(v) => {
            let degrees = |with: &str| coordinate.and_then(Variable::units).is_some_and(|u| u.starts_with(with));
            let kind = match () {
                () if is_longitude(dim, coordinate) => AxisKind::Longitude,
                () if degrees("degrees_north") || degrees("degree_north") => AxisKind::Latitude,
                () => AxisKind::Number,
            };
            values(kind, v)
        }
    }
}

/// Labels as they are written in a legend.
pub(super) fn names(prepared: &Prepared, dim: &str) -> Vec<String> {
    let name = prepared.output_name(dim);
    let labels = prepared.labels.get(dim).cloned().unwrap_or(Labels::Index(1));
    let texts = chunkwise::job::label_values(&labels);
    let bare = matches!(labels, Labels::Text(_) | Labels::Time(_));
    texts
        .iter()
        .map(|v| match v {
            serde_json::Value::String(text) => crate::output::printable(text),
            other if bare => crate::output::shown(other),
            other => format!("{name} {}", crate::output::shown(other)),
        })
        .collect()
}

/// What a selection left of dimensions that have gone: `time 2021-06-01`.
pub(super) fn selected(cube: &OpenCube, prepared: &Prepared) -> Result<Vec<String>, JobError> {
    let mut found = Vec::new();
    let has = |dim: &str| prepared.results().flat_map(|s| &s.arrays).any(|v| v.axis(dim).is_some());
    let one = |dim: &str, labels: &Labels, at: usize| {
        let label = chunkwise::job::label_value(labels, at);
        if let (Labels::Time(_), Some(time)) = (labels, label.as_str()) {
            // To the second, as people write it.
            return format!("{dim} {}", time.split('.').next().unwrap_or(time).replace('T', " "));
        }
        let unit = unit(cube.cube.coordinate(dim).filter(|_| !matches!(labels, Labels::Text(_))));
        let space = if unit.is_empty() || unit == "°" || unit == "%" { "" } else { " " };
        format!("{dim} {}{space}{unit}", crate::output::shown(&label))
    };
    for (dim, axis) in &prepared.selection.axes {
        if let chunkwise_core::select::AxisSelection::Index(i) = axis
            && has(dim)
        {
            found.push(match cube.cube.coordinate(dim) {
                Some(_) => one(dim, &*cube.labels(dim)?, *i as usize),
                None => format!("{dim} {i}"),
            });
        }
    }
    // Dimensions of one cell are not drawn.
    for (dim, labels) in prepared.labels.iter().filter(|(_, labels)| labels.len() == 1) {
        if prepared.output_name(dim) == dim && cube.cube.coordinate(dim).is_some() {
            found.push(one(dim, labels, 0));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_of_units_are_raised() {
        assert_eq!(superscripts("mg m^-3"), "mg m⁻³");
        assert_eq!(superscripts("W m-2 sr-1"), "W m⁻² sr⁻¹");
        assert_eq!(superscripts("m**2"), "m²");
        assert_eq!(superscripts("digital numbers (0-65535)"), "digital numbers (0-65535)");
    }

    #[test]
    fn edges_lie_between_centres_which_go_one_way() {
        assert_eq!(edges(&[1.0, 2.0, 4.0], || 0.0), Some(vec![0.5, 1.5, 3.0, 5.0]));
        assert_eq!(edges(&[3.0], || 2.0), Some(vec![2.0, 4.0]));
        assert_eq!(edges(&[1.0, 2.0, 1.5], || 0.0), None);
        assert_eq!(unwrapped(vec![350.0, 355.0, 0.0, 5.0]), [350.0, 355.0, 360.0, 365.0]);
        assert_eq!(unwrapped(vec![5.0, 0.0, -5.0]), [5.0, 0.0, -5.0]);
    }
}
