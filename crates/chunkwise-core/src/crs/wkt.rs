//! Well-known text, versions 1 (GDAL's and ESRI's) and 2.
//!
//! Source: OGC 18-010r7 (WKT 2), OGC 01-009 (WKT 1).

use super::model::{Datum, Ellipsoid, Geodetic, Method, Projected, System, squeeze};
use super::projection::{self, Given, Key, Quantity};
use super::{Crs, CrsError};

/// Deepest nesting that is read.
const DEEPEST: usize = 24;

/// `KEYWORD[items…]`.
#[derive(Debug)]
struct Node {
    keyword: String,
    items: Vec<Item>,
}

#[derive(Debug)]
enum Item {
    Node(Node),
    Text(String),
    Number(f64),
    /// A bare word: `north`, `ellipsoidal`.
    Word(String),
}

/// Keywords that a CRS begins with.
const ROOTS: [&str; 24] = [
    "GEOGCS",
    "PROJCS",
    "GEOCCS",
    "LOCAL_CS",
    "VERT_CS",
    "COMPD_CS",
    "FITTED_CS",
    "GEOGCRS",
    "GEOGRAPHICCRS",
    "GEODCRS",
    "GEODETICCRS",
    "PROJCRS",
    "PROJECTEDCRS",
    "DERIVEDPROJCRS",
    "COMPOUNDCRS",
    "BOUNDCRS",
    "VERTCRS",
    "VERTICALCRS",
    "ENGCRS",
    "ENGINEERINGCRS",
    "TIMECRS",
    "PARAMETRICCRS",
    "IMAGECRS",
    "COORDINATEMETADATA",
];

/// Whether a text begins as WKT does.
pub(super) fn looks_like(text: &str) -> bool {
    let word: String = text.trim_start().chars().take_while(|c| c.is_ascii_alphabetic() || *c == '_').collect();
    ROOTS.contains(&word.to_ascii_uppercase().as_str())
}

/// Reads WKT.
pub(super) fn parse(text: &str) -> Result<Crs, CrsError> {
    let mut scanner = Scanner { rest: text };
    let root = scanner.node(0)?;
    scanner.space();
    if !scanner.rest.is_empty() {
        return Err(malformed("something follows the closing bracket"));
    }
    // An opaque part of a compound or bound CRS still leaves the text of the whole.
    let system = system(&root, 0).unwrap_or_else(|reason| System::Other { reason });
    Ok(Crs { name: root.name().map(str::to_owned), epsg: root.epsg(), wkt: Some(text.to_owned()), system })
}

fn malformed(problem: &str) -> CrsError {
    CrsError::Malformed { form: "WKT", problem: problem.to_owned() }
}

struct Scanner<'a> {
    rest: &'a str,
}

impl Scanner<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, length: usize) -> &str {
        let (head, tail) = self.rest.split_at(length);
        self.rest = tail;
        head
    }

    fn eat(&mut self, wanted: &[char]) -> bool {
        self.space();
        match self.rest.chars().next() {
            Some(c) if wanted.contains(&c) => {
                self.take(c.len_utf8());
                true
            }
            _ => false,
        }
    }

    fn word(&mut self) -> &str {
        self.space();
        let length = self.rest.find(|c: char| !(c.is_alphanumeric() || "_+-.:".contains(c))).unwrap_or(self.rest.len());
        self.take(length)
    }

    fn node(&mut self, depth: usize) -> Result<Node, CrsError> {
        let keyword = self.word().to_ascii_uppercase();
        if !self.eat(&['[', '(']) {
            return Err(malformed(&format!("`{keyword}` lacks its bracket")));
        }
        self.items(keyword, depth)
    }

    fn items(&mut self, keyword: String, depth: usize) -> Result<Node, CrsError> {
        if depth > DEEPEST {
            return Err(malformed("its brackets are nested too deeply"));
        }
        let mut items = Vec::new();
        if self.eat(&[']', ')']) {
            return Ok(Node { keyword, items });
        }
        loop {
            items.push(self.item(depth)?);
            if self.eat(&[']', ')']) {
                return Ok(Node { keyword, items });
            }
            if !self.eat(&[',']) {
                return Err(malformed(&format!("`{keyword}` is not closed")));
            }
        }
    }

    fn item(&mut self, depth: usize) -> Result<Item, CrsError> {
        if self.eat(&['"']) {
            return self.text().map(Item::Text);
        }
        let word = self.word().to_owned();
        if word.is_empty() {
            return Err(malformed("a value is missing"));
        }
        if self.eat(&['[', '(']) {
            return self.items(word.to_ascii_uppercase(), depth + 1).map(Item::Node);
        }
        match word.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Item::Number(number)),
            _ => Ok(Item::Word(word)),
        }
    }

    /// The rest of a quoted text; two quotes stand for one.
    fn text(&mut self) -> Result<String, CrsError> {
        let mut text = String::new();
        loop {
            let Some(end) = self.rest.find('"') else {
                return Err(malformed("a quoted text is not closed"));
            };
            text.push_str(&self.take(end + 1)[..end]);
            if !self.rest.starts_with('"') {
                return Ok(text);
            }
            text.push('"');
            self.take(1);
        }
    }
}

impl Node {
    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.items.iter().filter_map(|i| match i {
            Item::Node(n) => Some(n),
            _ => None,
        })
    }

    fn child(&self, keywords: &[&str]) -> Option<&Node> {
        self.nodes().find(|n| keywords.contains(&n.keyword.as_str()))
    }

    fn name(&self) -> Option<&str> {
        match self.items.first() {
            Some(Item::Text(t)) if !t.is_empty() => Some(t),
            _ => None,
        }
    }

    fn number(&self, index: usize) -> Option<f64> {
        match self.items.get(index)? {
            Item::Number(n) => Some(*n),
            Item::Text(t) => t.trim().parse().ok().filter(|n: &f64| n.is_finite()),
            _ => None,
        }
    }

    /// EPSG code in `ID["EPSG",…]` or `AUTHORITY["EPSG","…"]`.
    fn epsg(&self) -> Option<u32> {
        let id = self.child(&["ID", "AUTHORITY"])?;
        let code = id.number(1)?;
        (id.name()?.eq_ignore_ascii_case("EPSG") && code.fract() == 0.0 && (1.0..4e9).contains(&code))
            .then_some(code as u32)
    }

    /// Size of the unit among the children: radians or metres.
    fn unit(&self, keywords: &[&str]) -> Option<f64> {
        self.child(keywords)?.number(1).filter(|n| *n > 0.0)
    }
}

/// What the node says, or why it is not supported.
fn system(node: &Node, depth: usize) -> Result<System, String> {
    if depth > DEEPEST {
        return Err("it is nested too deeply".to_owned());
    }
    match node.keyword.as_str() {
        "GEOGCS" | "GEOGCRS" | "GEOGRAPHICCRS" | "GEODCRS" | "GEODETICCRS" => geographic(node).map(System::Geographic),
        "PROJCS" | "PROJCRS" | "PROJECTEDCRS" => projected(node).map(System::Projected),
        "COMPD_CS" | "COMPOUNDCRS" => {
            let first = node.nodes().next().ok_or("it is a compound of nothing")?;
            system(first, depth + 1)
        }
        "COORDINATEMETADATA" => {
            let first = node.nodes().next().ok_or("it holds no CRS")?;
            system(first, depth + 1)
        }
        "BOUNDCRS" => {
            let source = node.child(&["SOURCECRS"]).and_then(|s| s.nodes().next()).ok_or("it is bound to nothing")?;
            let mut inner = system(source, depth + 1)?;
            let shift = node.child(&["ABRIDGEDTRANSFORMATION"]);
            let null = shift.is_some_and(|t| {
                let mut parameters = t.nodes().filter(|n| n.keyword == "PARAMETER").peekable();
                t.child(&["PARAMETERFILE"]).is_none()
                    && parameters.peek().is_some()
                    && parameters
                        .all(|p| p.number(1) == Some(0.0) || squeeze(p.name().unwrap_or("")) == "scaledifference")
            });
            if !null {
                shifted(&mut inner);
            }
            Ok(inner)
        }
        "GEOCCS" => Err("it is geocentric".to_owned()),
        "DERIVEDPROJCRS" => Err("it is derived from a projected CRS".to_owned()),
        other => Err(format!("it is of the kind `{other}`")),
    }
}

/// Marks the datum as one with a shift of its own.
fn shifted(system: &mut System) {
    let base = match system {
        System::Geographic(base) => base,
        System::Projected(projected) => &mut projected.base,
        System::Other { .. } => return,
    };
    base.datum = Datum::Shifted(format!("{} with its own shift to WGS 84", base.datum.name()));
}

const ANGLE_UNITS: [&str; 2] = ["ANGLEUNIT", "UNIT"];
const LENGTH_UNITS: [&str; 2] = ["LENGTHUNIT", "UNIT"];

/// Degrees in `radians`, whole where printing to 15 digits made them not.
fn degrees(radians: f64) -> f64 {
    let d = radians.to_degrees();
    for whole in [1.0, 0.9] {
        if (d - whole).abs() < 1e-11 {
            return whole;
        }
    }
    d
}

fn geographic(node: &Node) -> Result<Geodetic, String> {
    if let Some(cs) = node.child(&["CS"])
        && !matches!(cs.items.first(), Some(Item::Word(w)) if w.eq_ignore_ascii_case("ellipsoidal"))
    {
        return Err("it is geocentric".to_owned());
    }
    if let Some(conversion) = node.child(&["DERIVINGCONVERSION"]) {
        let method = conversion.child(&["METHOD"]).and_then(Node::name).unwrap_or("a conversion");
        return Err(format!("its longitudes and latitudes are rotated (`{method}`)"));
    }
    axes_point_east_and_north(node, &["EAST", "NORTH", "UP", "OTHER"])?;
    let datum = node.child(&["DATUM", "GEODETICDATUM", "TRF", "ENSEMBLE"]).ok_or("it names no datum")?;
    let spheroid = datum.child(&["SPHEROID", "ELLIPSOID"]).ok_or("its datum has no ellipsoid")?;
    let metres = spheroid.unit(&["LENGTHUNIT", "UNIT"]).unwrap_or(1.0);
    let ellipsoid = match (spheroid.number(1), spheroid.number(2)) {
        (Some(a), Some(rf)) => Ellipsoid::new(a * metres, rf),
        _ => None,
    };
    let ellipsoid = ellipsoid.ok_or("its ellipsoid has no size")?;
    // The unit stands beside the axes (WKT 1), after the CS or in each axis (WKT 2).
    let unit = node
        .unit(&ANGLE_UNITS)
        .or_else(|| node.child(&["AXIS"]).and_then(|a| a.unit(&ANGLE_UNITS)))
        .map_or(1.0, degrees);
    let prime_meridian = node.child(&["PRIMEM", "PRIMEMERIDIAN"]).map_or(0.0, |p| {
        // Without a unit of its own it is in degrees (GDAL's WKT 1).
        p.number(1).unwrap_or(0.0) * p.unit(&ANGLE_UNITS).map_or(1.0, degrees)
    });
    if prime_meridian.abs() > 360.0 {
        return Err("its prime meridian is out of range".to_owned());
    }
    let mut geodetic =
        Geodetic { datum: Datum::from_name(datum.name().unwrap_or("")), ellipsoid, prime_meridian, unit };
    let own_shift = datum.child(&["TOWGS84"]).is_some_and(|t| (0..7).any(|i| t.number(i).is_some_and(|v| v != 0.0)));
    if own_shift {
        let mut system = System::Geographic(geodetic);
        shifted(&mut system);
        let System::Geographic(inner) = system else {
            return Err("its datum shift cannot be read".to_owned());
        };
        geodetic = inner;
    }
    Ok(geodetic)
}

/// Refuses axes that count westward or southward; around a pole every axis may be named `south`.
fn axes_point_east_and_north(node: &Node, allowed: &[&str]) -> Result<(), String> {
    for axis in node.nodes().filter(|n| n.keyword == "AXIS") {
        let direction = axis.items.iter().find_map(|i| match i {
            Item::Word(w) => Some(w.to_ascii_uppercase()),
            _ => None,
        });
        if let Some(d) = direction
            && !allowed.contains(&d.as_str())
        {
            return Err(format!("one of its axes counts to the {}", d.to_ascii_lowercase()));
        }
    }
    Ok(())
}

fn projected(node: &Node) -> Result<Projected, String> {
    let base = node
        .child(&["GEOGCS", "BASEGEOGCRS", "BASEGEODCRS", "GEOGCRS", "GEODCRS"])
        .ok_or("it has no geographic base")?;
    let mut base = geographic(base)?;
    let unit =
        node.unit(&LENGTH_UNITS).or_else(|| node.child(&["AXIS"]).and_then(|a| a.unit(&LENGTH_UNITS))).unwrap_or(1.0);
    let (holder, method) = match node.child(&["CONVERSION"]) {
        Some(conversion) => (conversion, conversion.child(&["METHOD", "PROJECTION"])),
        None => (node, node.child(&["PROJECTION", "METHOD"])),
    };
    let method = method.ok_or("it names no projection")?;
    let name = method.name().unwrap_or("");
    let mut given = Given::default();
    let mut strange = None;
    for parameter in holder.nodes().filter(|n| n.keyword == "PARAMETER") {
        let label = parameter.name().unwrap_or("");
        let value = parameter.number(1).ok_or_else(|| format!("its parameter `{label}` has no value"))?;
        let Some(key) = Key::find(label, parameter.epsg()) else {
            strange.get_or_insert(label);
            continue;
        };
        let factor = match key.quantity() {
            Quantity::Angle => parameter.unit(&ANGLE_UNITS).map_or(base.unit, degrees),
            Quantity::Length => parameter.unit(&LENGTH_UNITS).unwrap_or(unit),
            Quantity::Scale => parameter.unit(&["SCALEUNIT", "UNIT"]).unwrap_or(1.0),
        };
        given.set(key, value * factor);
    }
    let extension = node.child(&["EXTENSION"]).map(|e| match e.items.get(1) {
        Some(Item::Text(t)) => t.as_str(),
        _ => "",
    });
    let web = extension.is_some_and(|e| e.contains("+proj=merc") && e.contains("+nadgrids=@null"));
    let projection = if web {
        projection::build(Method::WebMercator, &given)
    } else if extension.is_some_and(|e| e.contains("+proj=")) {
        Err("it is given by a PROJ string within WKT".to_owned())
    } else {
        projection::from_name(name, method.epsg(), &given, &base.ellipsoid)
    }?;
    if let Some(label) = strange {
        return Err(format!("its projection `{name}` has the parameter `{label}`"));
    }
    let polar = projection.lat_0.abs() > 90.0 - 1e-9;
    let directions: &[&str] =
        if polar { &["EAST", "NORTH", "SOUTH", "UP", "OTHER"] } else { &["EAST", "NORTH", "UP", "OTHER"] };
    axes_point_east_and_north(node, directions)?;
    // The unit of the base is that of its parameters; points never pass through it.
    base.unit = 1.0;
    Ok(Projected { base, projection, unit })
}
