//! Polygons from files: GeoJSON, GeoPackage, FlatGeobuf, shapefiles.

mod flatgeobuf;
mod geojson;
mod geopackage;
mod shapefile;

use crate::error::BoxError;
use crate::job::zonal::Zones;
use chunkwise_core::crs::Crs;
use chunkwise_core::zonal::{Part, Polygon};
use geo_types::{Geometry, LineString, Polygon as GeoPolygon};
use serde_json::{Map, Value};
use std::path::Path;
use thiserror::Error;

/// A thing on the Earth, with what is known of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Feature {
    /// Its number or name in the file.
    pub id: Option<Value>,
    /// Its area; empty where the file has none.
    pub polygon: Polygon,
    /// Its attributes.
    pub properties: Map<String, Value>,
}

/// The features of a file.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    /// The features.
    pub features: Vec<Feature>,
    /// CRS of their coordinates, where the file says it.
    pub crs: Option<Crs>,
}

/// Why features cannot be read.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum VectorError {
    #[error("cannot read features from `{path}`")]
    Read { path: String, source: BoxError },
    #[error("`{path}` holds the layers {}; it is to hold one", .layers.join(", "))]
    Layers { path: String, layers: Vec<String> },
    #[error("`{path}` holds no features")]
    Empty { path: String },
    #[error("`{path}`: feature {feature} is a {kind}, no polygon")]
    NoPolygon { path: String, feature: usize, kind: String },
    #[error("`{path}`: feature {feature} has no `{field}`; there are {}", .has.join(", "))]
    NoField { path: String, feature: usize, field: String, has: Vec<String> },
}

/// The polygons of a geometry; or what it is, where it is none.
fn polygon_of(geometry: Geometry) -> Result<Polygon, &'static str> {
    fn parts(geometry: Geometry) -> Result<Vec<Part>, &'static str> {
        let ring = |ring: &LineString| ring.coords().map(|c| (c.x, c.y)).collect::<Vec<_>>();
        let part = |p: &GeoPolygon| (ring(p.exterior()), p.interiors().iter().map(ring).collect());
        match geometry {
            Geometry::Polygon(polygon) => Ok(vec![part(&polygon)]),
            Geometry::MultiPolygon(all) => Ok(all.iter().map(part).collect()),
            Geometry::GeometryCollection(all) => {
                let all: Result<Vec<_>, _> = all.into_iter().map(parts).collect();
                Ok(all?.into_iter().flatten().collect())
            }
            Geometry::Point(_) => Err("Point"),
            Geometry::MultiPoint(_) => Err("MultiPoint"),
            Geometry::LineString(_) | Geometry::Line(_) => Err("LineString"),
            Geometry::MultiLineString(_) => Err("MultiLineString"),
            Geometry::Rect(_) | Geometry::Triangle(_) => Err("shape of another kind"),
        }
    }
    Ok(Polygon::new(parts(geometry)?))
}

/// Whether a path names a file of features, by its ending.
pub fn is_vector(path: &str) -> bool {
    kind(path).is_some()
}

enum Kind {
    GeoJson,
    GeoPackage,
    FlatGeobuf,
    Shapefile,
}

fn kind(path: &str) -> Option<Kind> {
    match Path::new(path).extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "geojson" | "json" => Some(Kind::GeoJson),
        "gpkg" => Some(Kind::GeoPackage),
        "fgb" => Some(Kind::FlatGeobuf),
        "shp" => Some(Kind::Shapefile),
        _ => None,
    }
}

/// Reads the polygons of a file.
///
/// # Errors
/// It cannot be read, or holds what is no polygon.
pub fn read(path: &str) -> Result<Layer, VectorError> {
    let layer = match kind(path) {
        Some(Kind::Shapefile) => shapefile::read(path)?,
        Some(Kind::GeoPackage) => geopackage::read(path)?,
        Some(Kind::FlatGeobuf) => flatgeobuf::read(path)?,
        _ => geojson::read(path)?,
    };
    if layer.features.is_empty() {
        return Err(VectorError::Empty { path: path.to_owned() });
    }
    Ok(layer)
}

impl Layer {
    /// The features as zones, called by the property `field`; without one by their ids, or else their numbers from 0.
    ///
    /// # Errors
    /// A feature lacks the property.
    pub fn into_zones(self, path: &str, field: Option<&str>) -> Result<Zones, VectorError> {
        let mut zones = Zones { crs: self.crs, ..Zones::default() };
        for (n, feature) in self.features.into_iter().enumerate() {
            let id = match field {
                None => feature.id.unwrap_or_else(|| n.into()),
                Some(field) => feature.properties.get(field).cloned().ok_or_else(|| VectorError::NoField {
                    path: path.to_owned(),
                    feature: n,
                    field: field.to_owned(),
                    has: feature.properties.keys().map(|k| format!("`{k}`")).collect(),
                })?,
            };
            zones.ids.push(id);
            zones.polygons.push(feature.polygon);
        }
        Ok(zones)
    }
}
