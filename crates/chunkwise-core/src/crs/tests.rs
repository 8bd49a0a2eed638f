//! Oracle: pyproj 3.7.2 (PROJ 9.5.1), rasterio's `transform_bounds` where named.

mod found;

use super::*;
use serde_json::json;

fn crs(text: &str) -> Crs {
    Crs::parse(text).unwrap_or_else(|e| panic!("`{text}`: {e}"))
}

fn transformer(from: &str, to: &str) -> Transformer {
    Transformer::new(&crs(from), &crs(to)).unwrap_or_else(|e| panic!("{from} to {to}: {e}"))
}

/// Rows of a table of tab-separated fields.
fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    table.lines().filter(|l| !l.starts_with('#')).map(|l| l.split('\t').collect())
}

#[test]
fn points_agree_with_pyproj_to_a_millimetre_both_ways() {
    let mut points = 0;
    for row in rows(include_str!("tests/points.tsv")) {
        let [lon, lat, x, y] = [row[1], row[2], row[3], row[4]].map(|n| n.parse::<f64>().unwrap());
        let target = crs(row[0]);
        // A millimetre in the unit of the CRS.
        let unit = match &target.system {
            System::Projected(p) => p.unit,
            _ => 111_320.0,
        };
        let (px, py) = transformer("EPSG:4326", row[0]).point(lon, lat).unwrap();
        assert!((px - x).hypot(py - y) * unit < 1e-3, "{row:?}: {px} {py}");
        let (plon, plat) = transformer(row[0], "EPSG:4326").point(x, y).unwrap();
        let turn = (plon - lon + 180.0).rem_euclid(360.0) - 180.0;
        let east = turn * lat.to_radians().cos() * 111_320.0;
        let north = (plat - lat) * 111_320.0;
        assert!(east.hypot(north) < 1e-3, "{row:?}: {plon} {plat}");
        points += 1;
    }
    assert!(points >= 60);
}

#[test]
fn wkt_and_projjson_say_the_same_as_the_epsg_code() {
    for row in rows(include_str!("tests/texts.tsv")) {
        let expected = Crs::from_epsg(row[0].parse().unwrap()).unwrap();
        let read = crs(row[2]);
        // ESRI's text carries no code; the others name it.
        if row[1] != "WKT1_ESRI" {
            assert_eq!(read.epsg, expected.epsg, "{row:?}");
        }
        assert!(read.same_as(&expected), "{} {}: {:?}\n{:?}", row[0], row[1], read.system, expected.system);
    }
}

#[test]
fn an_epsg_code_is_found_in_every_usual_spelling() {
    for text in [
        "EPSG:32610",
        "epsg:32610",
        "32610",
        "urn:ogc:def:crs:EPSG::32610",
        "http://www.opengis.net/def/crs/EPSG/0/32610",
        "+init=epsg:32610",
    ] {
        assert_eq!(crs(text).epsg, Some(32610), "{text}");
    }
    assert_eq!(crs("OGC:CRS84").epsg, Some(4326));
    assert!(crs("+proj=utm +zone=10 +datum=WGS84 +units=m +no_defs").same_as(&crs("EPSG:32610")));
}

#[test]
fn what_is_no_crs_is_refused_with_the_forms_that_work() {
    let message = |text: &str| Crs::parse(text).unwrap_err().to_string();
    assert!(message("somewhere").starts_with("`somewhere` is not a CRS: write `EPSG:`"));
    assert!(message("EPSG:99999").starts_with("`EPSG:99999` is not among"));
    assert!(message("PROJCS[\"cut off").contains("a quoted text is not closed"));
    assert!(message("{\"name\": 1}").contains("no `type`"));
    assert!(Crs::parse(&"GEOGCS[".repeat(100_000)).unwrap_err().to_string().contains("nested too deeply"));
    assert!(Crs::parse(&format!("{{\"type\":{}", "[".repeat(100_000))).is_err());
}

#[test]
fn other_projections_are_carried_and_refused_by_name() {
    for (code, reason) in [
        (5514, "Krovak"),
        (21781, "Hotine_Oblique_Mercator_Azimuth_Center"),
        (28992, "Oblique_Stereographic"),
        (2046, "Transverse_Mercator_South_Orientated"),
        (4978, "geocentric"),
    ] {
        let odd = Crs::from_epsg(code).unwrap();
        assert!(odd.wkt.is_some());
        let error = Transformer::new(&odd, &Crs::wgs84()).unwrap_err().to_string();
        assert!(error.contains(&format!("EPSG:{code}")) && error.contains(reason), "{error}");
    }
    let rotated = "GEOGCRS[\"Rotated\",BASEGEOGCRS[\"WGS 84\",DATUM[\"World Geodetic System 1984\",\
        ELLIPSOID[\"WGS 84\",6378137,298.257223563]]],DERIVINGCONVERSION[\"Pole\",METHOD[\"PROJ ob_tran o_proj=longlat\"],\
        PARAMETER[\"o_lat_p\",39.25]],CS[ellipsoidal,2],AXIS[\"longitude\",east],AXIS[\"latitude\",north]]";
    assert!(Transformer::new(&crs(rotated), &Crs::wgs84()).unwrap_err().to_string().contains("rotated"));
}

#[test]
fn a_datum_that_needs_a_shift_is_refused_unless_both_sides_share_it() {
    // NAD27 / UTM zone 11N
    let error = Transformer::new(&crs("EPSG:26711"), &Crs::wgs84()).unwrap_err().to_string();
    assert!(error.contains("North_American_Datum_1927") && error.contains("World Geodetic System 1984"), "{error}");
    let (lon, lat) = transformer("EPSG:26711", "EPSG:4267").point(440_720.0, 3_750_120.0).unwrap();
    assert!((lon - NAD27_LON).abs() < 1e-9 && (lat - NAD27_LAT).abs() < 1e-9, "{lon} {lat}");
    // The same datum with a shift of its own is another.
    let shifted = "GEOGCS[\"x\",DATUM[\"WGS_1984\",SPHEROID[\"WGS 84\",6378137,298.257223563],TOWGS84[1,2,3,0,0,0,0]],\
        PRIMEM[\"Greenwich\",0],UNIT[\"degree\",0.0174532925199433]]";
    assert!(Transformer::new(&crs(shifted), &Crs::wgs84()).is_err());
}

/// Transformer.from_crs(26711, 4267, always_xy=True).transform(440720, 3750120)
const NAD27_LON: f64 = -117.641_087_629_971_99;
const NAD27_LAT: f64 = 33.891_530_168_590_656;

#[test]
fn a_sphere_without_datum_keeps_longitudes_and_latitudes() {
    let model = crs("+proj=longlat +R=6371229 +no_defs");
    let (x, y) = Transformer::new(&model, &Crs::wgs84()).unwrap().point(285.0, 40.0).unwrap();
    assert_eq!((x, y), (285.0, 40.0));
}

#[test]
fn within_one_crs_points_pass_bit_for_bit() {
    let same = transformer("EPSG:32610", "+proj=utm +zone=10 +datum=WGS84");
    assert_eq!(same.point(0.1 + 0.2, -0.0).unwrap(), (0.1 + 0.2, -0.0));
    assert!(!crs("EPSG:25833").same_as(&crs("EPSG:32633")));
    assert!(!crs("EPSG:32610").same_as(&crs("EPSG:32611")));
}

#[test]
fn a_point_without_a_place_is_an_error_that_names_it() {
    let error = transformer("EPSG:4326", "EPSG:32610").point(-33.0, 0.0).unwrap_err().to_string();
    assert!(error.contains("x = -33, y = 0") && error.contains("EPSG:32610"), "{error}");
    for (x, y) in [(f64::NAN, 0.0), (0.0, 91.0), (f64::INFINITY, 1.0)] {
        assert!(transformer("EPSG:4326", "EPSG:3857").point(x, y).is_err());
    }
}

#[test]
fn boxes_agree_with_pyproj() {
    // Transformer.from_crs(from, to, always_xy=True).transform_bounds(*box, densify_pts=21)
    for (from, to, given, expected) in BOXES {
        let [w, s, e, n] = given;
        let got = transformer(from, to).bbox(w, s, e, n).unwrap().array();
        for (g, x) in got.iter().zip(expected) {
            assert!((g - x).abs() < 1e-3, "{from} {to} {given:?}: {got:?} instead of {expected:?}");
        }
    }
    let error = transformer("EPSG:4326", "EPSG:32610").bbox(0.0, 10.0, 5.0, -10.0).unwrap_err();
    assert!(matches!(error, CrsError::NotABox { .. }));
    assert!(transformer("EPSG:32610", "EPSG:4326").bbox(5.0, 0.0, 1.0, 1.0).is_err());
}

type Box4 = [f64; 4];
const BOXES: [(&str, &str, Box4, Box4); 7] = include!("tests/boxes.rs");

#[test]
fn a_longitude_is_found_in_the_turn_of_the_axis() {
    assert_eq!(wrap_longitude(-75.0, 0.0, 359.5), 285.0);
    assert_eq!(wrap_longitude(285.0, -180.0, 179.5), -75.0);
    assert_eq!(wrap_longitude(285.0, 225.0, 315.0), 285.0);
    assert_eq!(wrap_longitude(-1000.0, 0.0, 360.0), 80.0);
    // Half a cell outside is nearer than a turn away, on a falling axis too.
    assert_eq!(wrap_longitude(-0.2, 0.0, 359.5), -0.2);
    assert_eq!(wrap_longitude(359.7, 359.5, 0.0), 359.7);
    assert!(wrap_longitude(f64::NAN, 0.0, 1.0).is_nan());
}

fn runs(axis: &[f64], west: f64, east: f64) -> Vec<(u64, u64)> {
    longitude_runs(axis, west, east).into_iter().map(|r| (r.start, r.end)).collect()
}

#[test]
fn a_box_across_the_seam_gives_two_runs_from_west_to_east() {
    let axis: Vec<f64> = (0..36).map(|i| f64::from(i) * 10.0).collect();
    assert_eq!(runs(&axis, -80.0, -60.0), [(28, 31)]);
    assert_eq!(runs(&axis, -20.0, 10.0), [(34, 36), (0, 2)]);
    assert_eq!(runs(&axis, 170.0, -170.0), [(17, 20)]);
    assert_eq!(runs(&axis, -180.0, 180.0), [(0, 36)]);
    assert_eq!(runs(&axis, 1.0, 9.0), []);
    let centred: Vec<f64> = (-18..18).map(|i| f64::from(i) * 10.0).collect();
    assert_eq!(runs(&centred, 170.0, -170.0), [(35, 36), (0, 2)]);
    assert_eq!(runs(&centred, 170.0, 190.0), [(35, 36), (0, 2)]);
}

#[test]
fn the_transform_follows_selection_and_coarsening() {
    let t = GridTransform::from_geotransform(&json!("300000 10 0 5000040 0 -10")).unwrap();
    // rioxarray 0.19.0: da.isel(x=slice(7, None), y=slice(3, None)).rio.transform(recalc=True)
    let cut = t.select(AxisStep { start: 7, step: 1 }, AxisStep { start: 3, step: 1 });
    assert_eq!(cut.geotransform_text(), "300070.0 10.0 0.0 5000010.0 0.0 -10.0");
    // … .isel(x=slice(1, None, 2), y=slice(0, None, 4)).rio.transform(recalc=True)
    let thin = t.select(AxisStep { start: 1, step: 2 }, AxisStep { start: 0, step: 4 });
    assert_eq!(thin.geotransform_text(), "300005.0 20.0 0.0 5000055.0 0.0 -40.0");
    assert_eq!(thin.centre(0, 0), t.centre(1, 0));
    // … .coarsen(x=5, y=4).mean().rio.transform(recalc=True)
    assert_eq!(t.coarsen(5, 4).geotransform_text(), "300000.0 50.0 0.0 5000040.0 0.0 -40.0");
    assert_eq!(t.bbox(100, 10), [300_000.0, 4_999_940.0, 301_000.0, 5_000_040.0]);
    assert_eq!(t.x_labels(2).unwrap(), [300_005.0, 300_015.0]);
    assert_eq!(t.y_labels(2).unwrap(), [5_000_035.0, 5_000_025.0]);
    assert_eq!(t.x_labels(u64::MAX), None);
    for bad in [json!("1 2 3"), json!("0 0 0 0 0 0"), json!([1, 0, 0, 1, 0, "x"]), json!(null)] {
        assert_eq!(GridTransform::from_geotransform(&bad), None, "{bad}");
    }
}

#[test]
fn attributes_that_place_the_grid_are_brought_up_to_date() {
    let text = json!({
        "spatial:transform": [10.0, 0.0, 0.0, 0.0, -10.0, 100.0],
        "spatial:bbox": [0, 0, 100, 100],
        "spatial:shape": [10, 10],
        "proj:code": "EPSG:32610",
    });
    let mut attrs = text.as_object().unwrap().clone();
    let t = GridTransform::from_spatial_transform(&attrs["spatial:transform"]).unwrap().coarsen(5, 5);
    update_grid_attributes(&mut attrs, Some(&t), 2, 2);
    assert_eq!(attrs["spatial:transform"], json!([50.0, 0.0, 0.0, 0.0, -50.0, 100.0]));
    assert_eq!(attrs["spatial:bbox"], json!([0.0, 0.0, 100.0, 100.0]));
    assert_eq!(attrs["spatial:shape"], json!([2, 2]));
    assert_eq!(attrs["proj:code"], "EPSG:32610");
    assert!(!attrs.contains_key("GeoTransform"));
    update_grid_attributes(&mut attrs, None, 2, 1);
    assert!(!attrs.contains_key("spatial:transform"));
}

#[test]
fn written_grid_mappings_read_back_as_the_same_crs() {
    for code in [4326, 4258, 32610, 3857, 3395, 3035, 2154, 3031, 3413, 5070, 32661, 6933, 2272] {
        let original = Crs::from_epsg(code).unwrap();
        let attrs = grid_mapping_attributes(&original, None);
        assert!(crs(attrs["crs_wkt"].as_str().unwrap()).same_as(&original), "{code}");
        let bare = Crs { wkt: None, ..original.clone() };
        let attrs = grid_mapping_attributes(&bare, None);
        let wkt2 = attrs["crs_wkt"].as_str().unwrap();
        assert!(crs(wkt2).same_as(&original), "{wkt2}");
        if attrs.contains_key("grid_mapping_name") {
            let system = cf::from_attributes(&attrs).unwrap();
            assert!(system.same_as(&original.system), "{code}: {system:?}");
        }
    }
    let sinusoidal = crs("+proj=sinu +R=6371007.181");
    let attrs = grid_mapping_attributes(&sinusoidal, None);
    assert!(crs(attrs["crs_wkt"].as_str().unwrap()).same_as(&sinusoidal));
    assert!(cf::from_attributes(&attrs).unwrap().same_as(&sinusoidal.system));
}

#[test]
fn a_crs_survives_serialization() {
    for text in ["EPSG:32610", "EPSG:28992", "+proj=sinu +R=6371007.181"] {
        let original = crs(text);
        let json = serde_json::to_string(&original).unwrap();
        assert_eq!(serde_json::from_str::<Crs>(&json).unwrap(), original);
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_readers_panic(text in "[A-Z]{4,8}\\[\"[a-z ]{0,9}\"(,[0-9.eE+-]{0,8}|,[A-Z]{2,8}\\[\"[a-z_0-9]{0,9}\",[0-9-]{0,9}\\]|\\]|\\[|,){0,20}") {
        let _ = Crs::parse(&text);
        let _ = wkt::parse(&text);
    }

    #[test]
    fn no_parameters_make_a_transformation_panic(
        proj in "(tmerc|merc|lcc|laea|cea|aea|stere|sinu|utm)",
        numbers in proptest::array::uniform8(-400.0f64..400.0),
        rf in 0.0f64..400.0,
    ) {
        let [lat_0, lon_0, lat_1, lat_2, lat_ts, x_0, x, y] = numbers;
        let text = format!("+proj={proj} +zone=7 +lat_0={lat_0} +lon_0={lon_0} +lat_1={lat_1} +lat_2={lat_2} \
            +lat_ts={lat_ts} +x_0={x_0} +a=6378137 +rf={rf}");
        if let Ok(odd) = Crs::parse(&text) {
            for (from, to) in [(&odd, &Crs::wgs84()), (&Crs::wgs84(), &odd)] {
                if let Ok(t) = Transformer::new(from, to) {
                    let _ = t.point(x, y);
                    let _ = t.point(x * 1e5, y * 1e5);
                    let _ = t.bbox(x.min(y), x.min(y), x.max(y), x.max(y));
                }
            }
        }
    }
}
