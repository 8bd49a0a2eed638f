//! GeoJSON (RFC 7946): longitudes and latitudes on WGS 84, unless an older file says another CRS.

use super::{Feature, Layer, VectorError};
use chunkwise_core::crs::Crs;
use chunkwise_core::zonal::{Part, Polygon};
use geojson::feature::Id;
use geojson::{GeoJson, GeometryValue, PolygonType};
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
    for (n, feature) in features.into_iter().enumerate() {
        let polygon = match feature.geometry {
            None => Polygon::default(),
            Some(geometry) => Polygon::new(parts(geometry.value).map_err(|kind| VectorError::NoPolygon {
                path: path.to_owned(),
                feature: n,
                kind: kind.to_owned(),
            })?),
        };
        let id = feature.id.map(|id| match id {
            Id::String(text) => text.into(),
            Id::Number(number) => Value::Number(number),
        });
        layer.features.push(Feature { id, polygon, properties: feature.properties.unwrap_or_default() });
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

fn parts(value: GeometryValue) -> Result<Vec<Part>, &'static str> {
    match value {
        GeometryValue::Polygon { coordinates } => Ok(vec![part(coordinates)]),
        GeometryValue::MultiPolygon { coordinates } => Ok(coordinates.into_iter().map(part).collect()),
        GeometryValue::GeometryCollection { geometries } => {
            let all: Result<Vec<_>, _> = geometries.into_iter().map(|g| parts(g.value)).collect();
            Ok(all?.into_iter().flatten().collect())
        }
        other => Err(other.type_name()),
    }
}

fn part(rings: PolygonType) -> Part {
    let mut rings = rings.into_iter().map(|ring| {
        let point = |p: &geojson::Position| match p.as_slice() {
            [x, y, ..] => (*x, *y),
            _ => (f64::NAN, f64::NAN),
        };
        ring.iter().map(point).collect()
    });
    (rings.next().unwrap_or_default(), rings.collect())
}
