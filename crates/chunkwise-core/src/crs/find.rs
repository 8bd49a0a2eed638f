//! Finding the CRS, the spatial dimensions and the transform of a variable.

use super::model::{Geodetic, System};
use super::{Crs, GridTransform, cf, projjson};
use crate::cube::{Attrs, Cube, Role, Variable};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The two dimensions along which a variable lies on the Earth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpatialDims {
    /// Dimension of easting or longitude.
    pub x: String,
    /// Dimension of northing or latitude.
    pub y: String,
}

/// Where a CRS was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrsSource {
    /// In the grid mapping variable of this name.
    GridMapping(String),
    /// In the attributes of the variable.
    Variable,
    /// In the attributes of the group.
    Group,
    /// Nowhere: the axes are longitudes and latitudes, taken to be on WGS 84.
    Assumed,
}

/// How a variable lies on the Earth, as far as its metadata says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Georeference {
    /// CRS of the coordinates of `dims`.
    pub crs: Option<Crs>,
    /// Where it was found.
    pub source: Option<CrsSource>,
    /// Name of the grid mapping variable, where there is one (it may hold nothing but a transform).
    pub grid_mapping: Option<String>,
    /// The spatial dimensions.
    pub dims: Option<SpatialDims>,
    /// Affine transform, where an attribute gives one. Coordinates of the axes, where there are any, go first.
    pub transform: Option<GridTransform>,
}

/// Finds the CRS, spatial dimensions and transform of a variable.
///
/// The CRS is the first of: grid mapping named by `grid_mapping` (also in CF's form `crs: x y`), attributes of the
/// variable, attributes of the group (`proj:…`, `crs`), the one grid mapping variable of the cube, axes in degrees
/// east and north. Within one set of attributes WKT goes before PROJJSON, codes and CF parameters. A CRS that
/// contradicts axes in degrees east and north is left aside for them. A text that cannot be read is kept in
/// [`System::Other`].
pub fn find_georeference(cube: &Cube, variable: &Variable) -> Georeference {
    let dims = spatial_dims(cube, variable);
    let named = grid_mapping_name(variable);
    let mapping =
        named.as_deref().and_then(|name| cube.variables.get(name)).or_else(|| only_grid_mapping(cube, variable));
    let longitudes = dims.as_ref().is_some_and(|d| {
        let on = |dim: &str, kind: Degrees| degrees(dim, cube.variables.get(dim)) == Some(kind);
        on(&d.x, Degrees::East) && on(&d.y, Degrees::North)
    });

    let places = [
        named.as_ref().and(mapping).map(|m| (&m.attrs, CrsSource::GridMapping(m.name.clone()))),
        Some((&variable.attrs, CrsSource::Variable)),
        Some((&cube.attrs, CrsSource::Group)),
        mapping.map(|m| (&m.attrs, CrsSource::GridMapping(m.name.clone()))),
    ];
    let mut found = None;
    for (attrs, source) in places.into_iter().flatten() {
        let Some(crs) = from_attributes(attrs) else {
            continue;
        };
        if longitudes && matches!(crs.system, System::Projected(_)) {
            continue;
        }
        found = Some((crs, source));
        break;
    }
    if found.is_none() && longitudes {
        found = Some((Crs::wgs84(), CrsSource::Assumed));
    }
    let mut georeference = Georeference {
        transform: transform(mapping, variable, cube),
        grid_mapping: mapping.map(|m| m.name.clone()),
        ..Georeference::default()
    };
    if let Some((mut crs, source)) = found {
        if let Some(x) = dims.as_ref().and_then(|d| cube.variables.get(&d.x)) {
            take_unit_of_axis(&mut crs, x, source == CrsSource::Assumed);
        }
        georeference.crs = Some(crs);
        georeference.source = Some(source);
    }
    georeference.dims = dims;
    georeference
}

/// Name of the grid mapping variable: `crs`, or of `crs: x y wgs: lat lon` the mapping whose axes are dimensions.
fn grid_mapping_name(variable: &Variable) -> Option<String> {
    let text = variable.attrs.get("grid_mapping")?.as_str()?.trim();
    let base = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
    if !text.contains(':') {
        return (!text.is_empty()).then(|| base(text));
    }
    let mut mappings: Vec<(String, Vec<&str>)> = Vec::new();
    for word in text.split_whitespace() {
        match word.strip_suffix(':') {
            Some(name) => mappings.push((base(name), Vec::new())),
            None => {
                if let Some((_, axes)) = mappings.last_mut() {
                    axes.push(word);
                }
            }
        }
    }
    let fits = |axes: &[&str]| !axes.is_empty() && axes.iter().all(|a| variable.axis(a).is_some());
    let best = mappings.iter().position(|(_, axes)| fits(axes)).unwrap_or(0);
    mappings.into_iter().nth(best).map(|(name, _)| name)
}

/// The one grid mapping variable of the cube, or rioxarray's `spatial_ref`, for variables that name none.
fn only_grid_mapping<'a>(cube: &'a Cube, variable: &Variable) -> Option<&'a Variable> {
    let mut mappings = cube.variables.values().filter(|v| v.role == Role::GridMapping && v.name != variable.name);
    match (mappings.next(), mappings.next()) {
        (Some(only), None) => Some(only),
        (Some(_), Some(_)) => None,
        (None, _) => cube.variables.get("spatial_ref").filter(|v| v.dims.is_empty() && v.name != variable.name),
    }
}

/// The CRS that a set of attributes gives.
fn from_attributes(attrs: &Attrs) -> Option<Crs> {
    let mut carried: Option<Crs> = None;
    let mut known = None;
    for key in
        ["crs_wkt", "spatial_ref", "proj:wkt2", "proj:projjson", "proj:code", "proj:epsg", "epsg_code", "epsg", "crs"]
    {
        let Some(crs) = attrs.get(key).and_then(|v| from_value(key, v)) else {
            continue;
        };
        if matches!(crs.system, System::Other { .. }) {
            carried.get_or_insert(crs);
        } else {
            known = Some(crs);
            break;
        }
    }
    if known.is_none() {
        let cf = cf::from_attributes(attrs).map(|system| {
            let names = ["projected_crs_name", "geographic_crs_name", "grid_mapping_name"];
            let name = names.iter().find_map(|k| attrs.get(*k)?.as_str()).map(str::to_owned);
            Crs { name, epsg: None, wkt: None, system }
        });
        match cf {
            Some(crs) if !matches!(crs.system, System::Other { .. }) => known = Some(crs),
            Some(crs) => {
                carried.get_or_insert(crs);
            }
            None => {}
        }
    }
    if known.is_none() {
        let texts = ["proj4", "proj4text", "proj4_string", "proj4_params"];
        let text = texts.iter().find_map(|k| attrs.get(*k).and_then(Value::as_str));
        known = text.and_then(|t| Crs::parse(t).ok()).filter(|c| !matches!(c.system, System::Other { .. }));
    }
    let mut crs = known.or(carried)?;
    if crs.epsg.is_none() {
        let codes = ["proj:code", "proj:epsg", "epsg_code", "crs"];
        let stated = codes.iter().find_map(|k| from_value(k, attrs.get(*k)?));
        crs.epsg = stated.filter(|s| s.same_as(&crs)).and_then(|s| s.epsg);
    }
    Some(crs)
}

/// The CRS in one attribute. Text under a key that is for WKT is carried even where it cannot be read.
fn from_value(key: &str, value: &Value) -> Option<Crs> {
    match value {
        Value::String(text) => match Crs::parse(text) {
            Ok(crs) => Some(crs),
            Err(error) => {
                let wkt = matches!(key, "crs_wkt" | "spatial_ref" | "proj:wkt2") && !text.trim().is_empty();
                let code = matches!(key, "proj:code") && text.contains(':');
                let reason = error.to_string();
                wkt.then(|| Crs {
                    name: None,
                    epsg: None,
                    wkt: Some(text.clone()),
                    system: System::Other { reason: reason.clone() },
                })
                .or_else(|| {
                    code.then(|| Crs {
                        name: Some(text.clone()),
                        epsg: None,
                        wkt: None,
                        system: System::Other { reason },
                    })
                })
            }
        },
        Value::Number(code) => Crs::from_epsg(u32::try_from(code.as_u64()?).ok()?).ok(),
        Value::Object(_) => projjson::from_value(value).ok(),
        _ => None,
    }
}

/// Takes kilometres from the x coordinate where the CRS counts metres: CF lets the axes choose their unit.
fn take_unit_of_axis(crs: &mut Crs, x: &Variable, assumed: bool) {
    let System::Projected(projected) = &mut crs.system else {
        return;
    };
    let kilometres = matches!(x.units(), Some("km" | "kilometer" | "kilometre" | "kilometers" | "kilometres"));
    if assumed || !kilometres || projected.unit != 1.0 {
        return;
    }
    projected.unit = 1000.0;
    if crs.wkt.is_none() && crs.epsg.is_none() {
        // CF's own parameters: false easting and northing are in the unit of the axes.
        projected.projection.x_0 *= 1000.0;
        projected.projection.y_0 *= 1000.0;
    } else {
        // The text and the code are those of the CRS in metres, and true no more.
        crs.epsg = None;
        crs.wkt = None;
    }
}

fn transform(mapping: Option<&Variable>, variable: &Variable, cube: &Cube) -> Option<GridTransform> {
    let sets = [mapping.map(|m| &m.attrs), Some(&variable.attrs), Some(&cube.attrs)];
    sets.into_iter().flatten().find_map(|attrs| {
        if let Some(t) = attrs.get("GeoTransform").and_then(GridTransform::from_geotransform) {
            return Some(t);
        }
        if let Some(t) = attrs.get("spatial:transform").and_then(GridTransform::from_spatial_transform) {
            let registration = attrs.get("spatial:registration").and_then(Value::as_str);
            return Some(if registration == Some("node") { t.from_node_to_corner() } else { t });
        }
        attrs.get("proj:transform").and_then(GridTransform::from_spatial_transform)
    })
}

/// Longitude or latitude.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Degrees {
    East,
    North,
}

/// Whether an axis is of true longitudes or latitudes: by standard name, else units, else (without either) its name.
fn degrees(dim: &str, coordinate: Option<&Variable>) -> Option<Degrees> {
    let attr = |key: &str| coordinate.and_then(|c| c.attrs.get(key)).and_then(Value::as_str);
    match attr("standard_name") {
        Some("longitude") => return Some(Degrees::East),
        Some("latitude") => return Some(Degrees::North),
        Some("grid_longitude" | "grid_latitude" | "projection_x_coordinate" | "projection_y_coordinate") => {
            return None;
        }
        _ => {}
    }
    match attr("units") {
        Some("degrees_east" | "degree_east" | "degree_E" | "degrees_E" | "degreeE" | "degreesE") => Some(Degrees::East),
        Some("degrees_north" | "degree_north" | "degree_N" | "degrees_N" | "degreeN" | "degreesN") => {
            Some(Degrees::North)
        }
        None | Some("degrees" | "degree") => match dim.to_ascii_lowercase().as_str() {
            "lon" | "longitude" | "long" => Some(Degrees::East),
            "lat" | "latitude" => Some(Degrees::North),
            _ => None,
        },
        Some(_) => None,
    }
}

/// Whether the axis `dim` holds longitudes, which go round: by its standard name, else its units, else its own name.
pub fn is_longitude(dim: &str, coordinate: Option<&Variable>) -> bool {
    degrees(dim, coordinate) == Some(Degrees::East)
}

/// Dimensions x and y: by `spatial:dimensions`, else by what each coordinate says of itself, else by name.
fn spatial_dims(cube: &Cube, variable: &Variable) -> Option<SpatialDims> {
    for attrs in [&variable.attrs, &cube.attrs] {
        if let Some(Value::Array(names)) = attrs.get("spatial:dimensions")
            && let [.., Value::String(y), Value::String(x)] = names.as_slice()
            && x != y
            && variable.axis(x).is_some()
            && variable.axis(y).is_some()
        {
            return Some(SpatialDims { x: x.clone(), y: y.clone() });
        }
    }
    let pick = |says: &dyn Fn(&str) -> bool| variable.dims.iter().find(|d| says(d)).cloned();
    let said = |dim: &str, axis: &str, standard: [&str; 2], kind: Degrees| {
        let coordinate = cube.variables.get(dim).filter(|c| c.dims.len() == 1 && c.dims[0] == dim);
        let attr = |key: &str| coordinate.and_then(|c| c.attrs.get(key)).and_then(Value::as_str);
        attr("standard_name").is_some_and(|s| standard.contains(&s))
            || degrees(dim, coordinate) == Some(kind)
            || attr("axis").is_some_and(|a| a.eq_ignore_ascii_case(axis))
    };
    let named = |dim: &str, names: &[&str]| names.contains(&dim.to_ascii_lowercase().as_str());
    let x = pick(&|d| said(d, "X", ["projection_x_coordinate", "grid_longitude"], Degrees::East))
        .or_else(|| pick(&|d| named(d, &["x", "lon", "longitude", "long", "easting", "eastings", "rlon", "xc"])))?;
    let y = pick(&|d| d != x && said(d, "Y", ["projection_y_coordinate", "grid_latitude"], Degrees::North))
        .or_else(|| pick(&|d| d != x && named(d, &["y", "lat", "latitude", "northing", "northings", "rlat", "yc"])))?;
    Some(SpatialDims { x, y })
}

impl Georeference {
    /// The geodetic system, where coordinates are longitudes and latitudes.
    pub fn longitudes(&self) -> Option<&Geodetic> {
        match &self.crs.as_ref()?.system {
            System::Geographic(geodetic) => Some(geodetic),
            _ => None,
        }
    }
}
