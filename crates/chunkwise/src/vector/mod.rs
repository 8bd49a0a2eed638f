//! Polygons and points from files: GeoJSON, GeoPackage, FlatGeobuf, GeoParquet, shapefiles.

mod flatgeobuf;
mod geojson;
mod geopackage;
#[cfg(feature = "parquet")]
mod geoparquet;
mod shapefile;

use crate::error::BoxError;
use crate::job::zonal::Zones;
use chunkwise_core::crs::{Crs, CrsError};
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
    /// Where it lies; `None` where the file does not say it.
    pub geometry: Option<Geometry>,
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
    #[error("`{path}`: feature {feature} is a {kind}, no {wanted}")]
    Kind { path: String, feature: usize, kind: String, wanted: &'static str },
    #[error("`{path}`: feature {feature} has no `{field}`; there are {}", .has.join(", "))]
    NoField { path: String, feature: usize, field: String, has: Vec<String> },
    #[error("`{path}` holds a table; reading it is not built in")]
    NotBuilt { path: String },
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
            other => Err(name_of(&other)),
        }
    }
    Ok(Polygon::new(parts(geometry)?))
}

/// What a geometry is called.
fn name_of(geometry: &Geometry) -> &'static str {
    match geometry {
        Geometry::Point(_) => "Point",
        Geometry::MultiPoint(_) => "MultiPoint",
        Geometry::LineString(_) | Geometry::Line(_) => "LineString",
        Geometry::MultiLineString(_) => "MultiLineString",
        Geometry::Polygon(_) => "Polygon",
        Geometry::MultiPolygon(_) => "MultiPolygon",
        Geometry::GeometryCollection(_) => "GeometryCollection",
        Geometry::Rect(_) | Geometry::Triangle(_) => "shape of another kind",
    }
}

/// The CRS of an authority's code; where that is not known, of its description. A local system, as GDAL writes where none is
/// known, is none.
fn crs_of(authority: Option<&str>, code: i64, described: Option<&str>) -> Result<Option<Crs>, CrsError> {
    if code > 0
        && authority.is_none_or(|authority| authority.eq_ignore_ascii_case("EPSG"))
        && let Ok(found) = Crs::parse(&format!("EPSG:{code}"))
    {
        return Ok(Some(found));
    }
    let local =
        |text: &&str| ["LOCAL_CS", "ENGCRS", "ENGINEERINGCRS"].iter().any(|kind| text.trim_start().starts_with(kind));
    described.filter(|text| !local(text)).map(Crs::parse).transpose()
}

/// Whether a path names a file of features, by its ending.
pub fn is_vector(path: &str) -> bool {
    kind(path).is_some()
}

enum Kind {
    GeoJson,
    GeoPackage,
    FlatGeobuf,
    GeoParquet,
    Shapefile,
}

fn kind(path: &str) -> Option<Kind> {
    match Path::new(path).extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "geojson" | "json" => Some(Kind::GeoJson),
        "gpkg" => Some(Kind::GeoPackage),
        "fgb" => Some(Kind::FlatGeobuf),
        "parquet" | "geoparquet" => Some(Kind::GeoParquet),
        "shp" => Some(Kind::Shapefile),
        _ => None,
    }
}

/// Reads the features of a file.
///
/// # Errors
/// It cannot be read, or holds none.
pub fn read(path: &str) -> Result<Layer, VectorError> {
    let layer = match kind(path) {
        Some(Kind::Shapefile) => shapefile::read(path)?,
        Some(Kind::GeoPackage) => geopackage::read(path)?,
        Some(Kind::FlatGeobuf) => flatgeobuf::read(path)?,
        #[cfg(feature = "parquet")]
        Some(Kind::GeoParquet) => geoparquet::read(path)?,
        #[cfg(not(feature = "parquet"))]
        Some(Kind::GeoParquet) => return Err(VectorError::NotBuilt { path: path.to_owned() }),
        _ => geojson::read(path)?,
    };
    if layer.features.is_empty() {
        return Err(VectorError::Empty { path: path.to_owned() });
    }
    Ok(layer)
}

impl Feature {
    /// The property `field`; without one the first of the `usual` that it has, its id, or `n`.
    fn called(&self, n: usize, path: &str, field: Option<&str>, usual: &[&str]) -> Result<Value, VectorError> {
        let Some(field) = field else {
            let usual = usual.iter().find_map(|name| self.properties.get(*name));
            return Ok(usual.or(self.id.as_ref()).cloned().unwrap_or_else(|| n.into()));
        };
        self.properties.get(field).cloned().ok_or_else(|| VectorError::NoField {
            path: path.to_owned(),
            feature: n,
            field: field.to_owned(),
            has: self.properties.keys().map(|k| format!("`{k}`")).collect(),
        })
    }
}

/// Points by what they are called.
#[derive(Clone, Debug, Default)]
pub struct Points {
    /// What each is called.
    pub ids: Vec<Value>,
    /// The points, in `crs`.
    pub at: Vec<(f64, f64)>,
    /// Their CRS, where the file says it.
    pub crs: Option<Crs>,
}

impl Layer {
    /// Whether the features are but rows of a table.
    pub fn is_table(&self) -> bool {
        self.features.iter().all(|feature| feature.geometry.is_none())
    }

    /// The features as points, called by the property `field`; without one by `point` or `name`, their ids, or else their
    /// numbers from 0.
    ///
    /// # Errors
    /// A feature lacks the property, or is no point.
    pub fn into_points(self, path: &str, field: Option<&str>) -> Result<Points, VectorError> {
        let mut points = Points { crs: self.crs, ..Points::default() };
        for (n, feature) in self.features.into_iter().enumerate() {
            let no_point = |kind: &str| VectorError::Kind {
                path: path.to_owned(),
                feature: n,
                kind: kind.to_owned(),
                wanted: "point",
            };
            let at = match &feature.geometry {
                Some(Geometry::Point(point)) => *point,
                Some(Geometry::MultiPoint(all)) if all.0.len() == 1 => all.0[0],
                Some(other) => return Err(no_point(name_of(other))),
                None => return Err(no_point("row without a place")),
            };
            points.ids.push(feature.called(n, path, field, &["point", "name"])?);
            points.at.push((at.x(), at.y()));
        }
        Ok(points)
    }

    /// The features as zones, called by the property `field`; without one by their ids, or else their numbers from 0.
    ///
    /// # Errors
    /// A feature lacks the property, or is no polygon.
    pub fn into_zones(self, path: &str, field: Option<&str>) -> Result<Zones, VectorError> {
        let mut zones = Zones { crs: self.crs, ..Zones::default() };
        for (n, feature) in self.features.into_iter().enumerate() {
            zones.ids.push(feature.called(n, path, field, &[])?);
            let polygon = feature.geometry.map(polygon_of).transpose().map_err(|kind| VectorError::Kind {
                path: path.to_owned(),
                feature: n,
                kind: kind.to_owned(),
                wanted: "polygon",
            })?;
            zones.polygons.push(polygon.unwrap_or_default());
        }
        Ok(zones)
    }
}
