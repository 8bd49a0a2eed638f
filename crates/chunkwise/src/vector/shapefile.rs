//! ESRI shapefiles; their CRS is the WKT in the `.prj` beside them.

use super::{Feature, Layer, VectorError, crs_of};
use crate::error::BoxError;
use geo_types::{Geometry, LineString, MultiPoint, MultiPolygon, Point, Polygon};
use serde_json::{Map, Value};
use shapefile::dbase::{FieldValue, Record};
use shapefile::{PolygonRing, Shape};
use std::path::Path;

pub(super) fn read(path: &str) -> Result<Layer, VectorError> {
    let failed = |source: BoxError| VectorError::Read { path: path.to_owned(), source };
    let crs = match std::fs::read_to_string(Path::new(path).with_extension("prj")) {
        Ok(text) => crs_of(None, 0, Some(&text)).map_err(|e| failed(e.into()))?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(failed(e.into())),
    };
    let mut reader = shapefile::Reader::from_path(path).map_err(|e| failed(e.into()))?;
    let mut layer = Layer { features: Vec::new(), crs };
    for (n, item) in reader.iter_shapes_and_records().enumerate() {
        let (shape, record) = item.map_err(|e| failed(e.into()))?;
        let geometry = geometry(shape).map_err(|kind| VectorError::Kind {
            path: path.to_owned(),
            feature: n,
            kind,
            wanted: "point and no polygon",
        })?;
        layer.features.push(Feature { id: None, geometry, properties: properties(record) });
    }
    Ok(layer)
}

fn geometry(shape: Shape) -> Result<Option<Geometry>, String> {
    fn parts<P>(rings: &[PolygonRing<P>], xy: impl Fn(&P) -> (f64, f64)) -> Option<Geometry> {
        let line = |points: &[P]| LineString::from(points.iter().map(&xy).collect::<Vec<_>>());
        // Which outer ring a hole belongs to makes no difference to what is covered.
        let part = |ring: &PolygonRing<P>| match ring {
            PolygonRing::Outer(points) => Polygon::new(line(points), Vec::new()),
            PolygonRing::Inner(points) => Polygon::new(LineString::new(Vec::new()), vec![line(points)]),
        };
        Some(Geometry::MultiPolygon(MultiPolygon(rings.iter().map(part).collect())))
    }
    let point = |x: f64, y: f64| Some(Geometry::Point(Point::new(x, y)));
    let points = |all: Vec<(f64, f64)>| Some(Geometry::MultiPoint(MultiPoint::from(all)));
    match shape {
        Shape::NullShape => Ok(None),
        Shape::Point(p) => Ok(point(p.x, p.y)),
        Shape::PointM(p) => Ok(point(p.x, p.y)),
        Shape::PointZ(p) => Ok(point(p.x, p.y)),
        Shape::Multipoint(p) => Ok(points(p.points().iter().map(|p| (p.x, p.y)).collect())),
        Shape::Polygon(p) => Ok(parts(p.rings(), |p| (p.x, p.y))),
        Shape::PolygonM(p) => Ok(parts(p.rings(), |p| (p.x, p.y))),
        Shape::PolygonZ(p) => Ok(parts(p.rings(), |p| (p.x, p.y))),
        other => Err(other.shapetype().to_string()),
    }
}

fn properties(record: Record) -> Map<String, Value> {
    let value = |field| match field {
        FieldValue::Character(text) => text.map_or(Value::Null, Value::from),
        FieldValue::Memo(text) => text.into(),
        // Whole numbers of dBase are written without a point.
        FieldValue::Numeric(Some(n)) if n.fract() == 0.0 && n.abs() < 9e15 => (n as i64).into(),
        FieldValue::Numeric(n) => n.map_or(Value::Null, Value::from),
        FieldValue::Float(n) => n.map_or(Value::Null, Value::from),
        FieldValue::Logical(b) => b.map_or(Value::Null, Value::from),
        FieldValue::Integer(n) => n.into(),
        FieldValue::Currency(n) | FieldValue::Double(n) => n.into(),
        FieldValue::Date(date) => {
            date.map_or(Value::Null, |d| format!("{:04}-{:02}-{:02}", d.year(), d.month(), d.day()).into())
        }
        FieldValue::DateTime(_) => Value::Null,
    };
    record.into_iter().map(|(name, field)| (name, value(field))).collect()
}
