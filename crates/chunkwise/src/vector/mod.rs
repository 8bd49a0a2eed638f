//! Polygons from files: GeoJSON, shapefiles.

mod geojson;
mod shapefile;

use crate::error::BoxError;
use crate::job::zonal::Zones;
use chunkwise_core::crs::Crs;
use chunkwise_core::zonal::Polygon;
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
    #[error("`{path}` holds no features")]
    Empty { path: String },
    #[error("`{path}`: feature {feature} is a {kind}, no polygon")]
    NoPolygon { path: String, feature: usize, kind: String },
    #[error("`{path}`: feature {feature} has no `{field}`; there are {}", .has.join(", "))]
    NoField { path: String, feature: usize, field: String, has: Vec<String> },
}

/// Whether a path names a file of features, by its ending.
pub fn is_vector(path: &str) -> bool {
    kind(path).is_some()
}

enum Kind {
    GeoJson,
    Shapefile,
}

fn kind(path: &str) -> Option<Kind> {
    match Path::new(path).extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "geojson" | "json" => Some(Kind::GeoJson),
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
