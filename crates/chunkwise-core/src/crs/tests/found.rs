//! Where the CRS, the spatial dimensions and the transform of a variable are found.

use super::super::*;
use crate::cube::{ChunkSizes, Cube, DataType, Missing, Packing, Role, Variable};
use crate::dtype::DType;
use serde_json::{Value, json};

fn variable(name: &str, dims: &[&str], role: Role, attrs: Value) -> Variable {
    Variable {
        name: name.to_owned(),
        path: name.to_owned(),
        dims: dims.iter().map(|d| (*d).to_owned()).collect(),
        shape: vec![10; dims.len()],
        dtype: DataType::Number(DType::Float64),
        view: Some(DType::Float64),
        chunks: vec![ChunkSizes::Regular(10); dims.len()],
        shards: None,
        fill_value: None,
        packing: Packing::NONE,
        missing: Missing::default(),
        valid: None,
        attrs: attrs.as_object().cloned().unwrap_or_default(),
        codecs: String::new(),
        zarr_format: 3,
        role,
        encoding: Default::default(),
        problem: None,
    }
}

/// The georeference of `data` over `dims`, with a coordinate per dimension and one grid mapping `crs`.
fn found(data: Value, axes: &[(&str, Value)], mapping: Value, group: Value) -> Georeference {
    let dims: Vec<&str> = axes.iter().map(|(d, _)| *d).collect();
    let data = variable("data", &dims, Role::Data, data);
    let mut all = vec![data.clone()];
    all.extend(axes.iter().map(|(d, attrs)| variable(d, &[d], Role::Dimension, attrs.clone())));
    if !mapping.is_null() {
        all.push(variable("crs", &[], Role::GridMapping, mapping));
    }
    let cube = Cube {
        location: "test".to_owned(),
        zarr_format: 3,
        attrs: group.as_object().cloned().unwrap_or_default(),
        dims: dims.iter().map(|d| ((*d).to_owned(), 10)).collect(),
        variables: all.into_iter().map(|v| (v.name.clone(), v)).collect(),
    };
    find_georeference(&cube, &data)
}

fn plain() -> Vec<(&'static str, Value)> {
    vec![("time", json!({})), ("y", json!({})), ("x", json!({}))]
}

fn epsg(g: &Georeference) -> Option<u32> {
    g.crs.as_ref().and_then(|c| c.epsg)
}

fn dims(g: &Georeference) -> (&str, &str) {
    g.dims.as_ref().map_or(("", ""), |d| (d.x.as_str(), d.y.as_str()))
}

fn wkt(code: u32) -> String {
    Crs::from_epsg(code).unwrap().wkt.unwrap()
}

#[test]
fn a_grid_mapping_gives_crs_and_transform() {
    let mapping = json!({"crs_wkt": wkt(32633), "GeoTransform": "465180.0 10.0 0.0 5080250.0 0.0 -10.0"});
    let g = found(json!({"grid_mapping": "crs"}), &plain(), mapping, json!({}));
    assert_eq!(epsg(&g), Some(32633));
    assert_eq!(g.source, Some(CrsSource::GridMapping("crs".to_owned())));
    assert_eq!(dims(&g), ("x", "y"));
    assert_eq!(g.transform.unwrap().origin_x, 465_180.0);
}

#[test]
fn of_several_grid_mappings_the_one_over_the_dimensions_is_taken() {
    let g =
        found(json!({"grid_mapping": "other: lat lon crs: x y"}), &plain(), json!({"crs_wkt": wkt(32633)}), json!({}));
    assert_eq!(epsg(&g), Some(32633));
}

#[test]
fn an_empty_grid_mapping_leaves_the_word_to_the_group() {
    // As topozarr writes it (conformance/geozarr).
    let group = json!({"proj:code": "EPSG:32633"});
    let g = found(json!({"grid_mapping": "crs"}), &plain(), json!({}), group);
    assert_eq!(epsg(&g), Some(32633));
    assert_eq!(g.source, Some(CrsSource::Group));
    assert_eq!(g.grid_mapping.as_deref(), Some("crs"));
}

#[test]
fn geozarr_attributes_give_crs_dimensions_and_transform() {
    let attrs = json!({
        "proj:code": "EPSG:3857",
        "spatial:dimensions": ["Y", "X"],
        "spatial:transform": [156_543.0, 0.0, -20_037_508.0, 0.0, -156_543.0, 20_037_508.0],
    });
    let axes = [("Y", json!({})), ("X", json!({}))];
    let g = found(attrs.clone(), &axes, Value::Null, json!({}));
    assert_eq!((epsg(&g), dims(&g)), (Some(3857), ("X", "Y")));
    assert_eq!(g.transform.unwrap().origin_y, 20_037_508.0);
    let mut node = attrs;
    node["spatial:registration"] = json!("node");
    let g = found(node, &axes, Value::Null, json!({}));
    assert_eq!(g.transform.unwrap().origin_y, 20_037_508.0 + 156_543.0 / 2.0);
}

#[test]
fn projjson_wkt2_and_bare_codes_in_attributes_are_read() {
    let projjson: Value = include_str!("texts.tsv")
        .lines()
        .find_map(|l| l.strip_prefix("32610\tPROJJSON\t"))
        .map(|t| serde_json::from_str(t).unwrap())
        .unwrap();
    for (key, value) in [
        ("proj:projjson", projjson),
        ("proj:wkt2", json!(wkt(32610))),
        ("proj:epsg", json!(32610)),
        ("crs", json!("EPSG:32610")),
        ("crs", json!("+init=epsg:32610")),
        ("crs", json!(32610)),
        ("epsg_code", json!("EPSG:32610")),
        ("spatial_ref", json!(wkt(32610))),
    ] {
        for (data, group) in [(json!({ key: value }), json!({})), (json!({}), json!({ key: value }))] {
            assert_eq!(epsg(&found(data, &plain(), Value::Null, group)), Some(32610), "{key} {value}");
        }
    }
}

#[test]
fn cf_parameters_alone_are_a_crs() {
    // pyproj: CRS.from_cf of these equals LAEA Europe on an unknown datum.
    let mapping = json!({
        "grid_mapping_name": "lambert_azimuthal_equal_area", "latitude_of_projection_origin": 52,
        "longitude_of_projection_origin": 10.0, "false_easting": 4_321_000.0, "false_northing": 3_210_000.0,
        "semi_major_axis": 6_378_137.0, "inverse_flattening": 298.257_222_101,
    });
    let g = found(json!({"grid_mapping": "crs"}), &plain(), mapping, json!({}));
    let crs = g.crs.unwrap();
    assert!(matches!(&crs.system, System::Projected(p) if p.base.datum == Datum::Unknown));
    let (x, y) = Transformer::new(&crs, &Crs::from_epsg(3035).unwrap()).unwrap().point(4e6, 3e6).unwrap();
    assert!((x - 4e6).hypot(y - 3e6) < 1e-3);
}

#[test]
fn a_model_sphere_is_geographic_with_an_unknown_datum() {
    // climate-a1b-north-america
    let mapping = json!({"grid_mapping_name": "latitude_longitude", "longitude_of_prime_meridian": 0.0,
        "semi_major_axis": 6_371_229.0, "semi_minor_axis": 6_371_229.0});
    let axes = [
        ("latitude", json!({"axis": "Y", "units": "degrees_north", "standard_name": "latitude"})),
        ("longitude", json!({"axis": "X", "units": "degrees_east", "standard_name": "longitude"})),
    ];
    let g = found(json!({"grid_mapping": "crs"}), &axes, mapping, json!({}));
    assert_eq!(dims(&g), ("longitude", "latitude"));
    let sphere = g.longitudes().unwrap();
    assert_eq!((sphere.ellipsoid.a, sphere.ellipsoid.is_sphere()), (6_371_229.0, true));
    assert_eq!(sphere.datum, Datum::Unknown);
}

#[test]
fn axes_in_degrees_east_and_north_are_taken_for_wgs84() {
    for (x, y, ux, uy) in [
        ("lon", "lat", json!({"units": "degrees_east"}), json!({"units": "degrees_north"})),
        ("lon", "lat", json!({}), json!({})),
        ("i", "j", json!({"units": "degrees_east"}), json!({"standard_name": "latitude"})),
    ] {
        let g = found(json!({}), &[(y, uy), (x, ux)], Value::Null, json!({}));
        assert_eq!((epsg(&g), dims(&g), g.source.clone()), (Some(4326), (x, y), Some(CrsSource::Assumed)));
    }
    // A projected CRS elsewhere in the attributes cannot be that of such axes.
    let axes = [("lat", json!({"units": "degrees_north"})), ("lon", json!({"units": "degrees_east"}))];
    assert_eq!(epsg(&found(json!({}), &axes, Value::Null, json!({"crs": "EPSG:3857"}))), Some(4326));
    assert_eq!(epsg(&found(json!({}), &plain(), Value::Null, json!({}))), None);
}

#[test]
fn coordinates_in_kilometres_scale_the_crs() {
    // OSI SAF grids: polar stereographic, axes in km. pyproj: from_crs("+proj=stere +lat_0=90 +lat_ts=70 +lon_0=-45
    // +a=6378273 +b=6356889.44891 +units=km", 4326) of (-1000, 500) is the point below.
    let mapping = json!({"grid_mapping_name": "polar_stereographic", "latitude_of_projection_origin": 90.0,
        "straight_vertical_longitude_from_pole": -45.0, "standard_parallel": 70.0, "false_easting": 0.0,
        "false_northing": 0.0, "semi_major_axis": 6_378_273.0, "semi_minor_axis": 6_356_889.448_91});
    let axes = [
        ("yc", json!({"units": "km", "standard_name": "projection_y_coordinate"})),
        ("xc", json!({"units": "km", "standard_name": "projection_x_coordinate"})),
    ];
    let g = found(json!({"grid_mapping": "crs"}), &axes, mapping, json!({}));
    let (lon, lat) = Transformer::new(&g.crs.unwrap(), &Crs::wgs84()).unwrap().point(-1000.0, 500.0).unwrap();
    assert!((lon - KM_LON).abs() < 1e-8 && (lat - KM_LAT).abs() < 1e-8, "{lon} {lat}");
}

const KM_LON: f64 = -161.565_051_177_078;
const KM_LAT: f64 = 79.705_991_414_436_4;

#[test]
fn text_that_cannot_be_read_is_carried_not_lost() {
    let mapping = json!({"crs_wkt": "PROJCS[broken", "grid_mapping_name": "rotated_latitude_longitude"});
    let axes =
        [("rlat", json!({"standard_name": "grid_latitude"})), ("rlon", json!({"standard_name": "grid_longitude"}))];
    let g = found(json!({"grid_mapping": "crs"}), &axes, mapping, json!({}));
    assert_eq!(dims(&g), ("rlon", "rlat"));
    let crs = g.crs.unwrap();
    assert_eq!(crs.wkt.as_deref(), Some("PROJCS[broken"));
    assert!(Transformer::new(&crs, &Crs::wgs84()).is_err());
    // A code that is not built in is carried by name.
    let g = found(json!({}), &plain(), Value::Null, json!({"proj:code": "IAU_2015:30100"}));
    assert_eq!(g.crs.unwrap().label(), "IAU_2015:30100");
}

#[test]
fn a_box_is_taken_to_the_axes_of_the_variable() {
    let g = found(json!({}), &plain(), Value::Null, json!({"crs": "EPSG:32610"}));
    let wgs84 = Crs::wgs84();
    let query = g.box_query([-124.0, 37.0, -121.0, 39.0], Some(&wgs84)).unwrap();
    // pyproj 3.7.2: transform_bounds(-124, 37, -121, 39)
    assert_eq!((query.x.as_str(), query.y.as_str()), ("x", "y"));
    assert!((query.west - 411_022.675_565).abs() < 1e-3 && (query.north - 4_318_679.292_239).abs() < 1e-3);
    let own = g.box_query([0.0, 1.0, 2.0, 3.0], None).unwrap();
    assert_eq!([own.west, own.south, own.east, own.north], [0.0, 1.0, 2.0, 3.0]);
    let message = |g: &Georeference| g.box_query([0.0, 0.0, 1.0, 1.0], Some(&wgs84)).unwrap_err().to_string();
    assert!(message(&found(json!({}), &plain(), Value::Null, json!({}))).contains("no CRS"));
    assert!(message(&found(json!({}), &[("a", json!({}))], Value::Null, json!({}))).contains("x and y"));
}
