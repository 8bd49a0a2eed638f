//! Real cubes and stores of other implementations, where their folder (`CHUNKWISE_DATA`) is at hand.

use super::*;
use chunkwise_core::cf::time::{Calendar, TimeAxis};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};

fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("CHUNKWISE_DATA").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"));
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no data in {} (CHUNKWISE_DATA)", folder.display());
    None
}

fn open_real(data: &Path, cube: &str) -> OpenCube {
    open(&data.join(cube).display().to_string()).unwrap()
}

fn nodes(folder: &Path, found: &mut Vec<PathBuf>) {
    if ["zarr.json", ".zgroup", ".zarray"].iter().any(|name| folder.join(name).is_file()) {
        found.push(folder.to_owned());
    }
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            nodes(&entry.path(), found);
        }
    }
}

#[test]
fn every_store_opens_or_says_why_not() {
    let Some(data) = data() else { return };
    let mut found = Vec::new();
    nodes(&data, &mut found);
    assert!(found.len() > 200, "{}", found.len());
    for folder in found {
        match open(&folder.display().to_string()) {
            Ok(cube) => {
                for variable in cube.cube.variables.values() {
                    variable.cells();
                    if let Some(problem) = &variable.problem {
                        println!("{}: `{}`: {problem}", folder.display(), variable.name);
                    }
                }
            }
            Err(error) => panic!("{}: {error}", folder.display()),
        }
    }
}

/// Values by zarr-python 3.1.6 and tensorstore, in `expected.json` of each folder.
#[test]
fn arrays_of_other_implementations_read_as_their_makers_say() {
    let Some(data) = data() else { return };
    let mut read = 0;
    for folder in ["zarrs", "zarrita-v3", "zarr-java-sharding", "zarr-implementations", "titiler"] {
        let folder = data.join("conformance").join(folder);
        let expected = std::fs::read(folder.join("expected.json")).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        for (path, array) in expected["arrays"].as_object().unwrap() {
            let location = folder.join(path);
            if !location.is_dir() || array["read_with"].is_null() {
                continue;
            }
            let cube = open(&location.display().to_string()).unwrap();
            let variable = &cube.cube.variables[0];
            match cube.read_all(variable) {
                Ok(Values::Stored { bytes, .. }) if cfg!(target_endian = "little") => {
                    let found = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect::<String>();
                    assert_eq!(Some(found.as_str()), array["sha256_c_order_le"].as_str(), "{path}");
                    read += 1;
                }
                Ok(Values::Text(texts)) => {
                    let (first, last) = match array["values"].is_array() {
                        true => (&array["values"], &array["values"]),
                        false => (&array["first8"], &array["last8"]),
                    };
                    let count = |list: &Value| list.as_array().unwrap().len();
                    // Bytes are written there as their digits.
                    let as_written = |text: &String, like: &Value| match like.is_object() {
                        true => json!({"bytes_hex": text.bytes().map(|b| format!("{b:02x}")).collect::<String>()}),
                        false => json!(text),
                    };
                    let same = |texts: &[String], list: &Value| {
                        texts.iter().zip(list.as_array().unwrap()).all(|(text, like)| as_written(text, like) == *like)
                    };
                    assert!(same(&texts[..count(first)], first), "{path}");
                    assert!(same(&texts[texts.len() - count(last)..], last), "{path}");
                    read += 1;
                }
                Ok(_) => {}
                Err(error) => {
                    use std::error::Error as _;
                    println!("{path}: {error}: {:?}", error.source().map(|e| e.to_string()));
                }
            }
        }
    }
    println!("{read} arrays");
    assert!(read >= 120, "{read}");
}

/// Cells of the whole array in C order, through the chunk reader alone: the cubes are larger than what is read whole.
fn stored(cube: &OpenCube, name: &str) -> String {
    let variable = &cube.cube.variables[name];
    let reader = ChunkReader::new(variable, cube.store.clone()).unwrap();
    let size = variable.dtype.number().unwrap().size();
    let shape: Vec<usize> = variable.shape.iter().map(|&n| n as usize).collect();
    let mut whole = vec![0u8; shape.iter().product::<usize>() * size];
    let (mut scratch, mut cells) = (crate::chunk::Scratch::new(), Vec::new());
    let count: u64 = reader.grid().iter().product();
    for at in 0..count {
        let mut rest = at;
        let mut index = vec![0; shape.len()];
        for axis in (0..shape.len()).rev() {
            index[axis] = rest % reader.grid()[axis];
            rest /= reader.grid()[axis];
        }
        reader.read(&index, &mut scratch, &mut cells).unwrap();
        let chunk = reader.shape(&index).unwrap();
        for (at, cell) in cells.chunks_exact(size).enumerate() {
            let (mut rest, mut to, mut stride, mut within) = (at, 0, 1, true);
            for axis in (0..shape.len()).rev() {
                let length = chunk[axis] as usize;
                let place = index[axis] as usize * length + rest % length;
                rest /= length;
                within &= place < shape[axis];
                to += place * stride;
                stride *= shape[axis];
            }
            if within {
                whole[to * size..(to + 1) * size].copy_from_slice(cell);
            }
        }
    }
    Sha256::digest(&whole).iter().map(|b| format!("{b:02x}")).collect()
}

/// SHA-256 of the stored values by zarr-python 3.1.6, in `expected.json` of each folder.
#[test]
fn real_cubes_hold_the_bytes_that_zarr_python_reads() {
    let Some(data) = data() else { return };
    if cfg!(target_endian = "big") {
        return;
    }
    let expected = |folder: &str| -> Value {
        serde_json::from_slice(&std::fs::read(data.join(folder).join("expected.json")).unwrap()).unwrap()
    };
    let check = |location: &str, variable: &str, hash: &Value| {
        assert_eq!(stored(&open_real(&data, location), variable), hash.as_str().unwrap(), "{location} {variable}");
    };
    let found = expected("s2-l2a-belgium");
    for cube in ["cube.zarr", "cube_v2.zarr"] {
        let hash = &found["cube.zarr"]["stored_sha256_c_order_le"];
        check(&format!("s2-l2a-belgium/{cube}"), "reflectance", hash);
    }
    let found = expected("s2-l1c-slovenia");
    check("s2-l1c-slovenia/bands.zarr", "reflectance", &found["bands.zarr"]["stored_sha256_c_order_le"]);
    let arrays = found["series.zarr"]["arrays"].as_object().unwrap();
    assert_eq!(arrays.len(), 5);
    for (name, array) in arrays {
        check("s2-l1c-slovenia/series.zarr", name, &array["sha256_c_order_le"]);
    }
    let found = expected("olci-chlorophyll-xcube");
    let variables = found["cube-1-250-250.zarr"]["variables"].as_object().unwrap();
    assert_eq!(variables.len(), 5);
    for (name, array) in variables {
        let hash = &array["stored_sha256_c_order_le"];
        check("olci-chlorophyll-xcube/cube-1-250-250.zarr", name, hash);
    }
    let found = expected("climate-a1b-north-america");
    let hash = &found["packed.zarr"]["stored_sha256_c_order_le"];
    check("climate-a1b-north-america/packed.zarr", "air_temperature", hash);
    let found = expected("landsat8-nyc-2018");
    let hash = found.as_object().unwrap().values().find_map(|v| v.get("sha256_c_order_le")).unwrap();
    check("landsat8-nyc-2018/cube.zarr", "dn", hash);
    let found = expected("conformance/geozarr");
    for (store, about) in found["stores"].as_object().unwrap() {
        for (path, level) in about["levels"].as_object().unwrap() {
            let (group, name) = path.split_once('/').unwrap();
            check(&format!("conformance/geozarr/{store}:{group}"), name, &level["sha256_c_order_le"]);
        }
    }
}

fn roles(cube: &Cube, role: Role) -> Vec<&str> {
    cube.variables.values().filter(|v| v.role == role).map(|v| v.name.as_str()).collect()
}

fn time(cube: &OpenCube) -> TimeAxis {
    match &*cube.labels("time").unwrap() {
        Labels::Time(axis) => axis.clone(),
        other => panic!("{other:?}"),
    }
}

fn iso(cube: &OpenCube) -> (String, String) {
    let texts: Vec<_> = time(cube).format_all().into_iter().map(Option::unwrap).collect();
    (texts[0].clone(), texts[texts.len() - 1].clone())
}

/// Sizes, roles and labels as xarray 2026.9.0 (zarr 3.1.6) gives them.
#[test]
fn the_belgium_cubes_are_the_same_in_both_formats() {
    let Some(data) = data() else { return };
    for (name, chunks) in [("cube.zarr", [4, 3, 50, 50]), ("cube_v2.zarr", [12, 1, 64, 64])] {
        let cube = open_real(&data, &format!("s2-l2a-belgium/{name}"));
        let dims: Vec<_> = ["time", "band", "y", "x"].map(|d| cube.cube.dims[d]).to_vec();
        assert_eq!(dims, [12, 9, 100, 100]);
        assert_eq!(roles(&cube.cube, Role::Data), ["cropland", "cropland_probability", "elevation", "reflectance"]);
        assert_eq!(roles(&cube.cube, Role::GridMapping), ["spatial_ref"]);
        assert_eq!(roles(&cube.cube, Role::Dimension).len(), 4);
        let reflectance = &cube.cube.variables["reflectance"];
        assert_eq!(reflectance.chunks, chunks.map(ChunkSizes::Regular));
        assert_eq!(reflectance.packing.scale, 1e-4);
        assert_eq!(reflectance.missing.marks.iter().map(|m| m.to_f64()).collect::<Vec<_>>(), [65535.0]);
        let bands = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B11", "B12"];
        assert_eq!(*cube.labels("band").unwrap(), Labels::Text(bands.map(str::to_owned).to_vec()));
        let Labels::Number(x) = &*cube.labels("x").unwrap() else { panic!("x") };
        assert_eq!((x[0], x[1], x[99]), (664005.0, 664015.0, 664995.0));
        let (first, last) = iso(&cube);
        assert!(first.starts_with("2020-11-01") && last.starts_with("2021-10-01"), "{first} {last}");
    }
}

#[test]
fn bounds_and_fractional_days_of_a_published_v2_cube() {
    let Some(data) = data() else { return };
    let cube = open_real(&data, "olci-chlorophyll-xcube/cube-1-250-250.zarr");
    let data = ["c2rcc_flags", "conc_chl", "conc_tsm", "kd489", "quality_flags"];
    assert_eq!(roles(&cube.cube, Role::Data), data);
    assert_eq!(roles(&cube.cube, Role::Bounds), ["lat_bnds", "lon_bnds", "time_bnds"]);
    assert_eq!(["time", "lat", "lon", "bnds"].map(|d| cube.cube.dims[d]), [5, 1000, 2000, 2]);
    assert_eq!(cube.cube.variables["lat"].units(), Some("degrees_north"));
    let (first, last) = iso(&cube);
    // xarray: 2017-01-16T10:09:21.834255872 and 2017-01-30T10:46:33.836892416; float days hold no nanosecond.
    assert!(first.starts_with("2017-01-16T10:09:21.834"), "{first}");
    assert!(last.starts_with("2017-01-30T10:46:33.836"), "{last}");
}

#[test]
fn a_360_day_calendar_and_auxiliary_coordinates() {
    let Some(data) = data() else { return };
    let cube = open_real(&data, "climate-a1b-north-america/packed.zarr");
    assert_eq!(roles(&cube.cube, Role::Data), ["air_temperature"]);
    assert_eq!(roles(&cube.cube, Role::Auxiliary), ["forecast_period", "forecast_reference_time", "height"]);
    assert_eq!(roles(&cube.cube, Role::GridMapping), ["latitude_longitude"]);
    assert_eq!(roles(&cube.cube, Role::Bounds), ["time_bnds"]);
    assert_eq!(time(&cube).calendar, Calendar::Day360);
    let (first, last) = iso(&cube);
    assert!(first.starts_with("1860-06-01") && last.starts_with("2099-06-01"), "{first} {last}");
    let period = cube.labels_of(&cube.cube.variables["forecast_period"]).unwrap();
    let Labels::Integer(period) = period else { panic!("{period:?}") };
    assert_eq!((period[0], period[1], period[239]), (10794, 19434, 2075754));
}

#[test]
fn shards_and_metadata_that_are_not_consolidated() {
    let Some(data) = data() else { return };
    let cube = open_real(&data, "s2-l1c-slovenia/bands.zarr");
    assert_eq!(roles(&cube.cube, Role::Data), ["reflectance"]);
    assert_eq!(roles(&cube.cube, Role::Auxiliary), ["wavelength"]);
    let (first, last) = iso(&cube);
    assert!(first.starts_with("2015-07-11T10:00:08") && last.starts_with("2015-09-09T10:00:17"), "{first} {last}");
    let cube = open_real(&data, "s2-l1c-slovenia/series.zarr");
    let ndvi = &cube.cube.variables["ndvi"];
    assert_eq!(ndvi.chunks, [17, 26, 25].map(ChunkSizes::Regular));
    assert_eq!(ndvi.shards.as_deref(), Some([34, 52, 50].map(ChunkSizes::Regular).as_slice()));
    assert_eq!(open_real(&data, "s2-l1c-slovenia/series.zarr:ndvi").cube.variables["ndvi"].role, Role::Data);
}
