//! GeoJSON (RFC 7946): longitudes and latitudes on WGS 84, unless an older file says another CRS.

use super::{Feature, Layer, VectorError};
use chunkwise_core::crs::Crs;
use geo_types::{
    Coord, Geometry, GeometryCollection, LineString, MultiLineString, MultiPoint, MultiPolygon, Point, Polygon,
};
use geojson::feature::Id;
use geojson::{GeoJson, GeometryValue, Position};
use serde_json::{Map, Value};

pub(super) fn read(path: &str) -> Result<Layer, VectorError> {
    let failed = |source| VectorError::Read { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(|e| failed(e.into()))?;
    let found: GeoJson = text.parse().map_err(|e: geojson::Error| failed(e.into()))?;
    let (features, foreign) = match found {
        GeoJson::FeatureCollection(all) => (all.features, all.foreign_members),
        GeoJson::Feature(one) => {
            let foreign = one.foreign_members.clone();
            (vec![one], foreign)
        }
        GeoJson::Geometry(geometry) => {
            let foreign = geometry.foreign_members.clone();
            (vec![geojson::Feature { geometry: Some(geometry), ..geojson::Feature::default() }], foreign)
        }
    };
    let crs = crs(foreign.as_ref()).map_err(|e| failed(e.into()))?;
    let mut layer = Layer { features: Vec::with_capacity(features.len()), crs: Some(crs) };
    for feature in features {
        let geometry = feature.geometry.map(|g| geometry(g.value));
        let id = feature.id.map(|id| match id {
            Id::String(text) => text.into(),
            Id::Number(number) => Value::Number(number),
        });
        layer.features.push(Feature { id, geometry, properties: feature.properties.unwrap_or_default() });
    }
    Ok(layer)
}

/// The CRS of the specification of 2008; without it longitudes and latitudes.
fn crs(members: Option<&Map<String, Value>>) -> Result<Crs, chunkwise_core::crs::CrsError> {
    let name = members.and_then(|m| m.get("crs")?.get("properties")?.get("name")?.as_str());
    match name {
        None => Crs::parse("EPSG:4326"),
        Some(name) if name.to_ascii_uppercase().ends_with("CRS84") => Crs::parse("EPSG:4326"),
        Some(name) => match name.rsplit_once("EPSG:").map(|(_, code)| code.trim_start_matches(':')) {
            // urn:ogc:def:crs:EPSG::32633, with or without a version.
            Some(code) => Crs::parse(&format!("EPSG:{}", code.rsplit(':').next().unwrap_or(code))),
            None => Crs::parse(name),
        },
    }
}

/// The library's own conversion takes positions of less than two numbers to have them.
fn geometry(value: GeometryValue) -> Geometry {
    fn coord(position: &Position) -> Coord {
        match position.as_slice() {
            [x, y, ..] => Coord { x: *x, y: *y },
            _ => Coord { x: f64::NAN, y: f64::NAN },
        }
    }
    let line = |positions: Vec<Position>| LineString::new(positions.iter().map(coord).collect());
    let polygon = |rings: Vec<Vec<Position>>| {
        let mut rings = rings.into_iter().map(line);
        Polygon::new(rings.next().unwrap_or_else(|| LineString::new(Vec::new())), rings.collect())
    };
    match value {
        GeometryValue::Point { coordinates } => Geometry::Point(Point(coord(&coordinates))),
        GeometryValue::MultiPoint { coordinates } => {
            Geometry::MultiPoint(MultiPoint(coordinates.iter().map(|c| Point(coord(c))).collect()))
        }
        GeometryValue::LineString { coordinates } => Geometry::LineString(line(coordinates)),
        GeometryValue::MultiLineString { coordinates } => {
            Geometry::MultiLineString(MultiLineString(coordinates.into_iter().map(line).collect()))
        }
        GeometryValue::Polygon { coordinates } => Geometry::Polygon(polygon(coordinates)),
        GeometryValue::MultiPolygon { coordinates } => {
            Geometry::MultiPolygon(MultiPolygon(coordinates.into_iter().map(polygon).collect()))
        }
        GeometryValue::GeometryCollection { geometries } => Geometry::GeometryCollection(GeometryCollection(
            geometries.into_iter().map(|g| geometry(g.value)).collect(),
        )),
    }
}
