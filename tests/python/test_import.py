"""`chunkwise import` of GeoTIFFs on one grid: cells, types, marks, packing, masks, CRS and labels as rasterio reads them."""

import hashlib
import json

import numpy as np
import pyproj
import pytest
import rasterio
from rasterio.transform import Affine, from_origin

import tiffs

COMPRESSIONS = {
    "none": {},
    "deflate": {"compress": "deflate"},
    "deflate, predictor": {"compress": "deflate", "predictor": 2},
    "lzw": {"compress": "lzw"},
    "lzw, predictor": {"compress": "lzw", "predictor": 2},
    "zstd": {"compress": "zstd"},
    "zstd, predictor": {"compress": "zstd", "predictor": 2},
    "packbits": {"compress": "packbits"},
    "lerc": {"compress": "lerc"},
    "lerc, deflate": {"compress": "lerc_deflate"},
    "big": {"compress": "deflate", "BIGTIFF": "YES"},
    "big endian": {"compress": "lzw", "ENDIANNESS": "BIG"},
}
LAYOUTS = {
    "tiles": {"tiled": True, "blockxsize": 32, "blockysize": 16},
    "planar tiles": {"tiled": True, "blockxsize": 32, "blockysize": 16, "interleave": "band"},
    "strips": {"tiled": False, "blockysize": 7, "interleave": "pixel"},
    "planar strips": {"tiled": False, "blockysize": 7, "interleave": "band"},
}


def imported(cw, tmp_path, files, *words):
    cw("import", *files, "-o", tmp_path / "out.zarr", *words, json=False).ok()
    return tiffs.stored(tmp_path / "out.zarr")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_cells_of_every_compression_and_layout_are_those_of_rasterio(cw, tmp_path, compression, layout):
    random = np.random.default_rng(3)
    for dtype in ["uint8", "int16", "uint32", "float32", "float64"]:
        values = random.integers(0, 200, (3, 45, 70)).astype(dtype)
        options = {"interleave": "pixel"} | COMPRESSIONS[compression] | LAYOUTS[layout]
        if options.get("predictor") and values.dtype.kind == "f":
            options["predictor"] = 3
        file = tiffs.write(tmp_path / f"{dtype}.tif", values, **options)
        cube = imported(cw, tmp_path, [file], "--overwrite", "--chunk", "band=2,y=20,x=33", "--verify")
        assert cube.data.dtype == dtype
        np.testing.assert_array_equal(cube.data, tiffs.read(file))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"])
def test_every_type_is_kept_bit_for_bit(cw, tmp_path, dtype):
    kind = np.dtype(dtype)
    ends = [np.finfo(kind).min, np.finfo(kind).max] if kind.kind == "f" else [np.iinfo(kind).min, np.iinfo(kind).max]
    values = np.resize(np.array([*ends, 0, 1, 7], kind), (1, 20, 30))
    file = tiffs.write(tmp_path / "a.tif", values, compress="deflate")
    cube = imported(cw, tmp_path, [file])
    assert cube.data.dtype == kind
    np.testing.assert_array_equal(cube.data, values)


@pytest.mark.parametrize("bits, top", [(1, 2), (2, 4), (4, 16), (12, 4096)])
def test_samples_of_few_bits_are_numbers(cw, tmp_path, bits, top):
    values = np.random.default_rng(1).integers(0, top, (1, 20, 37)).astype("uint8" if bits < 8 else "uint16")
    file = tiffs.write(tmp_path / "a.tif", values, NBITS=bits)
    np.testing.assert_array_equal(imported(cw, tmp_path, [file]).data, tiffs.read(file))


def test_blocks_that_are_not_stored_are_nodata(cw, tmp_path):
    for nodata in [None, 0, 7]:
        profile = {"driver": "GTiff", "height": 64, "width": 96, "count": 2, "dtype": "uint8", "tiled": True, "blockxsize": 32}
        file = tmp_path / "sparse.tif"
        with rasterio.open(file, "w", **profile, blockysize=16, SPARSE_OK=True, nodata=nodata, interleave="band") as sparse:
            sparse.write(np.full((16, 32), 3, "uint8"), 2, window=rasterio.windows.Window(32, 16, 32, 16))
        expected = tiffs.read(file)
        assert (expected[1] == 3).sum() == 512
        np.testing.assert_array_equal(imported(cw, tmp_path, [file], "--overwrite").data, expected)


def test_a_lossy_jpeg_in_colours_is_near_to_what_gdal_decodes(cw, tmp_path):
    y, x = np.mgrid[0:64, 0:80]
    values = np.stack([x * 2, y * 3, x + y]).astype("uint8")
    options = {"compress": "jpeg", "photometric": "ycbcr", "tiled": True, "blockxsize": 32, "blockysize": 32}
    file = tiffs.write(tmp_path / "a.tif", values, interleave="pixel", **options)
    cube = imported(cw, tmp_path, [file])
    assert np.abs(cube.data.values.astype(int) - tiffs.read(file).astype(int)).max() <= 4


# --- real files -------------------------------------------------------------------------------------------------------


def samples():
    return ["B01", "B09", "blue", "green", "red", "cog_nodata", "cog_dateline", "noweb", "dem", "inverted_lat", "cog_tags", "cog_cmap"]


@pytest.mark.parametrize("name", samples())
def test_real_files_are_as_expected(cw, tmp_path, data, name):
    file = data / "geotiff-samples" / f"{name}.tif"
    expected = json.loads((file.parent / "expected.json").read_text())["files"][file.name]
    cube = imported(cw, tmp_path, [file], "--verify")
    values = cube.data.values
    assert list(values.shape) == expected["shape"] and values.dtype == expected["dtype"]
    assert hashlib.sha256(values.tobytes()).hexdigest() == expected["sha256_c_order_le"]
    np.testing.assert_allclose(tiffs.transform_of(cube).to_gdal(), expected["geotransform"], rtol=1e-12)
    assert cube.data.attrs.get("_FillValue") == expected["nodata"]
    with rasterio.open(file) as source:
        np.testing.assert_allclose(cube.x, [source.xy(0, i)[0] for i in range(source.width)], rtol=1e-12)
        np.testing.assert_allclose(cube.y, [source.xy(i, 0)[1] for i in range(source.height)], rtol=1e-12)
        ours, theirs = pyproj.CRS(cube.spatial_ref.attrs["crs_wkt"]), pyproj.CRS(source.crs.to_wkt())
    there = pyproj.Transformer.from_crs(theirs, "EPSG:4326", always_xy=True)
    back = pyproj.Transformer.from_crs("EPSG:4326", ours, always_xy=True)
    x, y = float(cube.x[1]), float(cube.y[1])
    np.testing.assert_allclose(back.transform(*there.transform(x, y)), (x, y), atol=1e-3 if abs(x) > 360 else 1e-9)


def test_packing_of_one_scale_is_kept_and_of_several_decoded_or_refused(cw, tmp_path, data):
    file = data / "geotiff-samples/cog_scale.tif"
    cw("import", file, "-o", tmp_path / "no.zarr").refused("scale 0.0001 and offset 1000", "scale 0.001 and offset 2000", "--dtype")
    assert not (tmp_path / "no.zarr").exists()
    expected = tiffs.read(file, masked=True).astype("f8")
    expected = expected * np.array([1e-4, 1e-3])[:, None, None] + np.array([1000.0, 2000.0])[:, None, None]
    cube = imported(cw, tmp_path, [file], "--dtype", "float64")
    np.testing.assert_array_equal(cube.data, expected.filled(np.nan))
    cube = imported(cw, tmp_path, [file], "--bands", "2", "--overwrite")
    assert (cube.data.attrs["scale_factor"], cube.data.attrs["add_offset"]) == (0.001, 2000.0)
    np.testing.assert_array_equal(cube.data, tiffs.read(file)[1:])


@pytest.mark.parametrize("name", ["cog_rgb_mask", "cog_uint8_rgba"])
def test_masks_and_alpha_are_missing_cells_or_left_alone(cw, tmp_path, data, name):
    file = data / f"geotiff-samples/{name}.tif"
    expected = tiffs.read(file, masked=True)[:3]
    assert expected.mask.any()
    cube = imported(cw, tmp_path, [file])
    assert cube.data.dtype == "float32" and list(cube.band.values) == ["red", "green", "blue"]
    np.testing.assert_array_equal(cube.data, expected.astype("f4").filled(np.nan))
    # With a mark that no cell has, the type stays.
    cube = imported(cw, tmp_path, [file], "--nodata", "255", "--overwrite")
    assert cube.data.dtype == "uint8"
    np.testing.assert_array_equal(cube.data, expected.filled(255))
    cube = imported(cw, tmp_path, [file], "--masks", "ignore", "--overwrite")
    np.testing.assert_array_equal(cube.data, tiffs.read(file))


def test_a_mask_beside_a_file_counts(cw, tmp_path):
    values = tiffs.field(40, 50, "uint16", bands=2)
    file = tiffs.write(tmp_path / "a.tif", values)
    hidden = np.random.default_rng(2).random((40, 50)) < 0.2
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(file, "r+") as source:
        source.write_mask(~hidden)
    assert (tmp_path / "a.tif.msk").exists()
    expected = tiffs.read(file, masked=True)
    assert expected.mask.sum() == 2 * hidden.sum() > 0
    np.testing.assert_array_equal(imported(cw, tmp_path, [file], "--verify").data, expected.astype("f4").filled(np.nan))
    np.testing.assert_array_equal(imported(cw, tmp_path, [file], "--masks", "ignore", "--overwrite").data, values)


def test_files_that_are_no_grid_are_refused(cw, tmp_path, data):
    cw("import", data / "geotiff-samples/cog_gcps_ovr.tif", "-o", tmp_path / "a.zarr").refused("210 ground control points", "gdalwarp")
    rotated = tiffs.write(tmp_path / "r.tif", tiffs.field(20, 30), transform=Affine.translation(500000, 5e6) * Affine.rotation(20) * Affine.scale(30, -30))
    cw("import", rotated, "-o", tmp_path / "a.zarr").refused("is rotated", "--res")
    assert not (tmp_path / "a.zarr").exists()


def test_a_file_that_lies_nowhere_has_no_coordinates(cw, tmp_path):
    file = tiffs.write(tmp_path / "a.tif", tiffs.field(20, 30), transform=None, crs=None)
    cube = imported(cw, tmp_path, [file])
    assert set(cube.coords) == {"band"}
    cw("import", file, "-o", tmp_path / "b.zarr", "--res", "10").refused("a.tif", "no transform")


# --- stacks -----------------------------------------------------------------------------------------------------------


def test_real_stacks_are_the_cubes_made_of_them(cw, tmp_path, data):
    belgium, slovenia = data / "s2-l2a-belgium", data / "s2-l1c-slovenia"
    cube = imported(cw, tmp_path, sorted((belgium / "geotiff").glob("*.tif")), "--time-from", "%Y%m%d", "--verify")
    expected = tiffs.stored(belgium / "cube.zarr")
    np.testing.assert_array_equal(cube.data, expected.reflectance)
    for name in ["time", "band", "y", "x"]:
        np.testing.assert_array_equal(cube[name], expected[name])
    files = reversed(sorted((slovenia / "geotiff").glob("*.tif")))
    cube = imported(cw, tmp_path, files, "--time-from", "%Y%m%dT%H%M%S", "--var", "reflectance", "--overwrite", "--zarr", "2")
    expected = tiffs.stored(slovenia / "bands.zarr")
    np.testing.assert_array_equal(cube.reflectance, expected.reflectance)
    np.testing.assert_array_equal(cube.time, expected.time)
    assert cube.reflectance.attrs["scale_factor"] == expected.reflectance.attrs["scale_factor"]


def test_bands_are_chosen_and_ordered_by_name(cw, tmp_path):
    values = tiffs.field(20, 30, "uint16", bands=3)
    file = tiffs.write(tmp_path / "a.tif", values, names=["B02", "B03", "B8A"])
    cube = imported(cw, tmp_path, [file], "--bands", "B8A,B02")
    assert list(cube.band.values) == ["B8A", "B02"]
    np.testing.assert_array_equal(cube.data, values[[2, 0]])
    cw("import", file, "-o", tmp_path / "b.zarr", "--bands", "B04").refused("B04", "B02, B03, B8A")


def test_files_of_one_band_each_are_scenes(cw, tmp_path):
    values = tiffs.field(20, 30, "uint16", bands=3)
    files = [tiffs.write(tmp_path / f"S_202401{day}_B{b}.tif", values[i : i + 1] + day) for day in (11, 12) for i, b in enumerate([10, 2, 1])]
    cube = imported(cw, tmp_path, files, "--time-from", "%Y%m%d", "--band-from", r"_(B\d+)\.tif")
    assert list(cube.band.values) == ["B1", "B2", "B10"]
    for t, day in enumerate((11, 12)):
        np.testing.assert_array_equal(cube.data[t], values[::-1] + day)
    cw("import", *files[1:], "-o", tmp_path / "b.zarr", "--time-from", "%Y%m%d", "--band-from", r"_(B\d+)\.tif").refused("S_20240111", "no band `B10`", "--bands")
    cw("import", *files, "-o", tmp_path / "b.zarr").refused("6 files", "--time-from", "--band-from")


def test_files_that_differ_are_refused_by_name_and_value(cw, tmp_path):
    base = tiffs.field(20, 30, "uint16")
    others = {
        "type": ({"values": base.astype("int32")}, ["uint16", "int32", "--dtype"]),
        "bands": ({"values": np.concatenate([base, base])}, ["their bands"]),
        "CRS": ({"crs": "EPSG:32634"}, ["EPSG:32633", "EPSG:32634", "--crs"]),
        "grid": ({"transform": from_origin(500010, 5000000, 30, 30)}, ["x = 500000", "x = 500010", "--res 30"]),
        "size": ({"values": base[:, 1:]}, ["20 × 30", "19 × 30"]),
        "nodata": ({"nodata": 0}, ["none, 0", "--nodata"]),
        "scale": ({"scales": [0.1], "offsets": [0]}, ["scale 1 and", "scale 0.1 and", "--dtype"]),
    }
    first = tiffs.write(tmp_path / "a_20240101.tif", base)
    for name, (change, told) in others.items():
        other = tiffs.write(tmp_path / f"{name}_20240102.tif", **({"values": base} | change))
        run = cw("import", first, other, "-o", tmp_path / "out.zarr", "--time-from", "%Y%m%d")
        run.refused("a_20240101", f"{name}_20240102", *told)
        assert not (tmp_path / "out.zarr").exists()
    run = cw("import", first, tmp_path / "scale_20240102.tif", tmp_path / "nodata_20240102.tif", "-o", tmp_path / "out.zarr")
    run.refused("--time-from")
    files = [first, tmp_path / "scale_20240102.tif"]
    cube = imported(cw, tmp_path, files, "--time-from", "%Y%m%d", "--dtype", "float64")
    np.testing.assert_array_equal(cube.data[1], base * 0.1)
    np.testing.assert_array_equal(cube.data[0], base.astype("f8"))


def test_the_answer_of_a_program_is_one_object(cw, tmp_path):
    file = tiffs.write(tmp_path / "a.tif", tiffs.field(20, 30), nodata=-1)
    plan = cw("import", file, "-o", tmp_path / "out.zarr", "--explain").ok().json
    assert (plan["files"], plan["scenes"], plan["shape"], plan["chunks"]) == (1, 1, [1, 20, 30], 1)
    assert plan["output_bytes"] == plan["decoded_bytes"] == 2400 and plan["encoded_bytes"] == file.stat().st_size
    assert not (tmp_path / "out.zarr").exists()
    report = cw("import", file, "-o", tmp_path / "out.zarr", "--verify").ok().json
    assert report["verified"] and report["chunks"] == 1 and report["empty_chunks"] == 0
