"""NetCDF and HDF5 files as cubes: equal to what netCDF4 and xarray read of them.

    $ .venv/bin/python -m pytest tests/python/test_netcdf.py
"""

import hashlib
import json
import random
import subprocess
import warnings
import zlib

import h5py
import netCDF4
import numcodecs
import numpy as np
import pytest
import xarray

import runner
import servers

rng = np.random.default_rng(7)
SMOOTH = (np.add.outer(np.sin(np.arange(30) / 5), np.cos(np.arange(50) / 9))[None] * 100 + np.arange(7)[:, None, None]).astype("float32")


def stored(path, **options):
    """The file as it is stored, by xarray."""
    return xarray.open_dataset(path, mask_and_scale=False, decode_times=False, **options)


def same(cw, path, tmp_path, *more, group=None, names=None, engine="netcdf4"):
    """The file through chunkwise equals a Zarr cube that xarray made of it, cell for cell."""
    more_options = {"phony_dims": "sort"} if engine == "h5netcdf" else {}
    with stored(path, group=group, engine=engine, **more_options) as source, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = source.load()
        for variable in source.variables.values():
            variable.encoding = {}
        source = source.rename({d: f"dim_{i}" for i, d in enumerate(source.dims) if d.startswith("phony")})
        for name, variable in source.data_vars.items():
            if variable.dtype.kind == "S" and not variable.ndim:
                source[name] = ((), 0, variable.attrs)  # a grid mapping: its value says nothing
        names = names or [n for n, v in source.data_vars.items() if v.dtype.kind in "iuf" and not {"grid_mapping_name", "crs_wkt"} & set(v.attrs)]
        scalars = [n for n, v in source.data_vars.items() if not v.ndim and v.dtype.kind in "iuf"]
        source[list(dict.fromkeys(names + scalars))].to_zarr(tmp_path / "same.zarr", mode="w", zarr_format=3, consolidated=False)
    at = f"{path}:{group}" if group else path
    run = cw("compare", at, tmp_path / "same.zarr", *[w for n in names for w in ("--var", n)], *more)
    assert run.code == 0 and {r["variable"] for r in run.json} >= set(names), str(run)
    return run


def stats(cw, path, name, *more):
    return cw("stats", path, "--var", name, *more).ok().json[0]


def check_stats(cw, path, name, values, *more):
    found, values = stats(cw, path, name, *more), np.ma.masked_invalid(np.ma.asarray(values, "f8"))
    assert (found["count"], found["missing"]) == (values.count(), values.size - values.count())
    assert found["min"] == pytest.approx(values.min(), rel=1e-12) and found["max"] == pytest.approx(values.max(), rel=1e-12)
    assert found["mean"] == pytest.approx(values.mean(), rel=1e-9)
    assert found["std"] == pytest.approx(values.std(), rel=1e-9)


def fill(file, values=SMOOTH, dims=("time", "y", "x"), unlimited=False, dtype="f4", name="t", **options):
    for dim, length in zip(dims, values.shape):
        if dim not in file.dimensions:
            file.createDimension(dim, None if unlimited and dim == dims[0] else length)
            made = file.createVariable(dim, "f8", (dim,))
            made[:] = np.arange(length) * 10.0
            if dim == "time":
                made.units = "days since 2001-02-28"
    made = file.createVariable(name, dtype, dims, **options)
    made[:] = values
    return made


# --- the files of real data -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "climate-a1b-north-america/A1B_north_america.nc",
        "netcdf-samples/bcsd_obs_1999.nc",
        "netcdf-samples/reduced.nc",
        "s2-l2a-belgium/worldcereal_preprocessed_inputs.nc",
        "s2-l2a-belgium/worldcereal_cropland_classification.nc",
        "s2-l2a-belgium/worldcereal_croptype_classification.nc",
        "geotiff-samples/MODIS_ARRAY.nc",
    ],
)
def test_real_files_are_read_cell_for_cell(cw, data, tmp_path, name):
    same(cw, data / name, tmp_path, "--raw")
    assert cw("verify", data / name).code in (0, 1)
    about = cw("info", data / name).ok().json
    with xarray.open_dataset(data / name, decode_times=False) as source:
        assert {d: n for d, n in about["dims"].items() if d in source.sizes} == dict(source.sizes)


@pytest.mark.parametrize("file", ["A1B_north_america.nc", "A1B_north_america.kerchunk.json", "packed.zarr"])
def test_a1b_is_as_expected(cw, data, file):
    folder = data / "climate-a1b-north-america"
    want = json.loads((folder / "expected.json").read_text())["A1B_north_america.nc"]
    within = 1e-4 if file == "packed.zarr" else 1e-9
    found = stats(cw, folder / file, "air_temperature")
    assert found["count"] == want["count"] and found["missing"] == want["nan"]
    for name in ("min", "max", "mean", "std"):
        assert found[name] == pytest.approx(want[name], rel=within)
    rows = cw("reduce", folder / file, "--var", "air_temperature", "--over", "latitude,longitude", "--with", "mean").ok().json
    assert [r["mean"] for r in rows] == pytest.approx(want["mean_per_year_unweighted"], rel=within)
    coords = cw("info", folder / file).ok().json["coords"]
    assert (coords["time"]["calendar"], coords["time"]["first"][:10], coords["time"]["last"][:10]) == ("360_day", "1860-06-01", "2099-06-01")


def test_the_samples_are_as_expected(cw, data):
    folder = data / "netcdf-samples"
    for file, about in json.loads((folder / "expected.json").read_text()).items():
        if file == "tool":
            continue
        assert cw("info", folder / file).ok().json["coords"]["time"]["values"] == [t[:10] for t in about["time"]]
        for name, want in about["variables"].items():
            found = stats(cw, folder / file, name)
            assert (found["count"], found["missing"]) == (want["count"], want["nan"])
            # What was packed is decoded in float32 there, in float64 here.
            within = 1e-9 if want["scale_factor"] is None else 1e-6
            for figure in ("min", "max", "mean", "std"):
                assert found[figure] == pytest.approx(want[figure], rel=within), (file, name, figure)
            if "per_time_mean" in want:
                over = ",".join(d for d in want["dims"] if d != "time")
                rows = cw("reduce", folder / file, "--var", name, "--over", over, "--with", "mean").ok().json
                assert [r["mean"] for r in rows] == pytest.approx(want["per_time_mean"], rel=within)


@pytest.mark.parametrize("ending", ["nc", "kerchunk.json"])
def test_unsigned_values_of_belgium_are_read_as_such(cw, data, ending):
    folder = data / "s2-l2a-belgium"
    want = json.loads((folder / "expected.json").read_text())["netcdf"]["variables"]
    rows = cw("reduce", folder / f"worldcereal_preprocessed_inputs.{ending}", "--over", "all", "--with", "sum,min,max").ok().json
    assert {r["variable"]: (r["sum"], r["min"], r["max"]) for r in rows} == {n: (w["sum_as_uint16"], w["min"], w["max"]) for n, w in want.items()}


@pytest.mark.parametrize("name", ["climate-a1b-north-america/A1B_north_america", "s2-l2a-belgium/worldcereal_preprocessed_inputs"])
def test_a_reference_equals_its_file(cw, data, name):
    run = cw("compare", data / f"{name}.nc", data / f"{name}.kerchunk.json")
    assert run.code == 0 and len(run.json) >= 1, str(run)


# --- forms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA", "NETCDF4", "NETCDF4_CLASSIC"])
@pytest.mark.parametrize("unlimited", [False, True])
def test_every_form_of_file_is_read(cw, tmp_path, form, unlimited):
    path = tmp_path / "a.nc"
    kinds = ["i1", "i2", "i4", "f4", "f8"] + (["u1", "u2", "u4", "i8", "u8"] if form in ("NETCDF4", "NETCDF3_64BIT_DATA") else [])
    with netCDF4.Dataset(path, "w", format=form) as file:
        for kind in kinds:
            # Of one byte and odd length: records are padded.
            values = (SMOOTH[:, :3, :5] / 2).astype(kind) if kind == "i1" else np.abs(SMOOTH / 2).astype(kind)
            dims = ("time", "small_y", "small_x") if kind == "i1" else ("time", "y", "x")
            fill(file, values, dims, unlimited, kind, f"v_{kind}")
        scalar = file.createVariable("scalar", "f8", ())
        scalar[...] = 42.5
        file.title = "a title"
    run = same(cw, path, tmp_path)
    assert len(run.json) == len(kinds) + 1 + 5
    about = cw("info", path).ok().json
    assert about["attrs"]["title"] == "a title" and about["form"].startswith("NetCDF-4" if form.startswith("NETCDF4") else "NetCDF-3")
    assert about["coords"]["time"]["first"][:10] == "2001-02-28"


def test_one_record_variable_is_not_padded(cw, tmp_path):
    with netCDF4.Dataset(tmp_path / "a.nc", "w", format="NETCDF3_CLASSIC") as file:
        file.createDimension("time", None)
        file.createDimension("x", 3)
        file.createVariable("v", "i1", ("time", "x"))[:] = rng.integers(-100, 100, (11, 3))
    same(cw, tmp_path / "a.nc", tmp_path)


def test_records_that_lie_far_apart_are_put_together(cw, tmp_path):
    """Rows longer than a chunk, records of several variables in turn."""
    path = tmp_path / "a.nc"
    big = rng.normal(size=(3, 700, 600)).astype("f4")
    with netCDF4.Dataset(path, "w", format="NETCDF3_64BIT_OFFSET") as file:
        fill(file, big, unlimited=True, name="a")
        fill(file, np.round(big * 1000).astype("i2"), unlimited=True, dtype="i2", name="b")
    chunks = {v["name"]: v["chunks"] for v in cw("info", path).ok().json["variables"]}
    assert chunks == {"a": [1, 436, 600], "b": [1, 700, 600]}
    same(cw, path, tmp_path)
    point = cw("series", path, "--iat", "y=699,x=599", "--var", "a").ok().json
    assert [row["a"] for row in point] == [float(v) for v in big[:, 699, 599]]


FILTERS = [
    dict(zlib=True),
    dict(zlib=True, shuffle=False, complevel=1),
    dict(zlib=True, fletcher32=True),
    dict(fletcher32=True),
    dict(compression="szip", szip_coding="nn"),
    dict(compression="szip", szip_coding="ec", szip_pixels_per_block=16),
    dict(compression="zstd"),
    dict(compression="bzip2"),
    dict(compression="blosc_lz4", blosc_shuffle=1),
    dict(compression="blosc_zstd", blosc_shuffle=2),
    dict(endian="big", zlib=True),
    dict(endian="big", contiguous=True),
    dict(contiguous=True),
]


@pytest.mark.parametrize("options", FILTERS, ids=lambda o: " ".join(f"{k}={v}" for k, v in o.items()))
def test_filters_are_undone(cw, tmp_path, options):
    path = tmp_path / "a.nc"
    more = {} if options.get("contiguous") else {"chunksizes": (2, 16, 20)}
    with netCDF4.Dataset(path, "w") as file:
        try:
            fill(file, **options, **more)
        except RuntimeError as error:
            pytest.skip(f"this netCDF4 cannot write it: {error}")
        fill(file, (SMOOTH * 30).astype("i2"), dtype="i2", name="n", **options, **more)
    same(cw, path, tmp_path)


def test_chunks_that_a_filter_was_left_out_of_are_read(cw, tmp_path):
    """HDF5 leaves a filter out of a chunk where it fails, and says so beside the chunk."""
    path = tmp_path / "a.h5"
    values = rng.integers(0, 2**32, (8, 40, 40), "u4")
    with h5py.File(path, "w") as file:
        made = file.create_dataset("v", (8, 40, 40), "u4", chunks=(1, 40, 40), compression=4, shuffle=True, fletcher32=True)
        made[...] = values
        for step in range(1, 8):
            # Bits: shuffle, deflate, the checksum.
            raw = values[step].astype("<u4").tobytes()
            if not step & 1:
                raw = np.frombuffer(raw, "u1").reshape(-1, 4).T.tobytes()
            if not step & 2:
                raw = zlib.compress(raw)
            if not step & 4:
                raw += numcodecs.Fletcher32().encode(raw)[-4:]
            made.id.write_direct_chunk((step, 0, 0), raw, filter_mask=step)
    with h5py.File(path) as file:
        assert np.array_equal(file["v"][...], values)
    same(cw, path, tmp_path, engine="h5netcdf")


LAYOUTS = {
    "one chunk": dict(shape=(30, 50), chunks=(30, 50)),
    "one chunk, compressed": dict(shape=(30, 50), chunks=(30, 50), compression=4),
    "fixed array": dict(shape=(30, 50), chunks=(7, 8)),
    "fixed array, compressed": dict(shape=(30, 50), chunks=(7, 8), compression=4, shuffle=True),
    "fixed array in pages": dict(shape=(3000, 5), chunks=(1, 2)),
    "extensible array": dict(shape=(30, 50), chunks=(7, 8), maxshape=(None, 50), compression=4),
    "extensible array, long": dict(shape=(3000, 5), chunks=(1, 2), maxshape=(None, 5)),
    "tree of version 2": dict(shape=(30, 50), chunks=(7, 8), maxshape=(None, None)),
    "tree of version 2, compressed": dict(shape=(300, 50), chunks=(3, 4), maxshape=(None, None), compression=1),
}


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_chunk_index_is_searched(cw, tmp_path, layout, libver):
    path = tmp_path / "a.h5"
    options = LAYOUTS[layout]
    values = rng.integers(0, 50, options["shape"]).astype("f8")
    with h5py.File(path, "w", libver=libver) as file:
        file.create_dataset("v", data=values, **options)
    check_stats(cw, path, "v", values)
    for at in [(0, 0), (options["shape"][0] - 1, options["shape"][1] - 1), (options["shape"][0] // 2, 1)]:
        row = cw("series", path, "--iat", f"dim_0={at[0]},dim_1={at[1]}").ok().json
        assert row[0]["v"] == values[at]


def test_early_allocation_and_user_blocks_are_read(cw, tmp_path):
    path = tmp_path / "a.h5"
    values = rng.normal(size=(30, 50))
    with h5py.File(path, "w", libver="latest", userblock_size=1024) as file:
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk((7, 8))
        made.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        dataset = h5py.h5d.create(file.id, b"implicit", h5py.h5t.NATIVE_DOUBLE, h5py.h5s.create_simple((30, 50)), made)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, values)
        file.create_dataset("chunked", data=values, chunks=(7, 8), compression=4)
        file.create_dataset("whole", data=values)
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_layout(h5py.h5d.COMPACT)
        dataset = h5py.h5d.create(file.id, b"compact", h5py.h5t.NATIVE_DOUBLE, h5py.h5s.create_simple((3, 5)), made)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(values[:3, :5]))
    for name in ("implicit", "chunked", "whole"):
        check_stats(cw, path, name, values)
    check_stats(cw, path, "compact", values[:3, :5])


def test_chunks_that_were_never_written_hold_the_fill_value(cw, tmp_path):
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w") as file:
        for dim in "yx":
            file.createDimension(dim, 40)
        for name, options in [("marked", dict(fill_value=-9)), ("usual", {}), ("none", dict(fill_value=False))]:
            made = file.createVariable(name, "i4", ("y", "x"), chunksizes=(10, 10), **options)
            made[:10, :10] = 5
        file.createVariable("empty", "f4", ("y", "x"), contiguous=True, fill_value=False)
    same(cw, path, tmp_path, names=["marked", "usual"])
    # Where the file names no fill value they hold anything; here zeros, as HDF5 itself has it.
    assert stats(cw, path, "none")["mean"] == 500 / 1600 and stats(cw, path, "empty")["max"] == 0
    assert stats(cw, path, "marked")["missing"] == 1500
    # As xarray: only the attribute marks.
    assert (stats(cw, path, "usual")["missing"], stats(cw, path, "usual")["min"]) == (0, netCDF4.default_fillvals["i4"])


def test_dimensions_without_end_are_as_long_as_their_longest_variable(cw, tmp_path):
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("time", None)
        file.createDimension("x", 4)
        long = file.createVariable("long", "f8", ("time", "x"), chunksizes=(3, 4))
        short = file.createVariable("short", "f8", ("time", "x"), chunksizes=(3, 4), fill_value=-1.0)
        long[:] = np.arange(40.0).reshape(10, 4)
        short[:4] = 1.0
    assert cw("info", path).ok().json["dims"] == {"time": 10, "x": 4}
    same(cw, path, tmp_path)
    assert stats(cw, path, "short")["missing"] == 24


def test_groups_are_groups_and_see_the_dimensions_above(cw, tmp_path):
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w") as file:
        fill(file, name="top")
        for name in ("fine", "fine/deep"):
            group = file.createGroup(name)
            group.note = name
            values = group.createVariable("v", "f8", ("time", "y"))
            values[:] = SMOOTH[:, :, 0] + len(name)
    tree = {node["path"]: node["kind"] for node in cw("ls", path).ok().json}
    assert tree["fine"] == "group" and tree["fine/deep/v"] == "array" and tree["top"] == "array"
    about = cw("info", f"{path}:fine/deep").ok().json
    assert about["attrs"]["note"] == "fine/deep" and about["variables"][0]["dims"] == ["time", "y"]
    for name in ("fine", "fine/deep"):
        same(cw, path, tmp_path, group=name)
    assert cw("info", f"{path}:fine/nothing").refused("nothing")


def test_texts_are_labels(cw, tmp_path):
    path = tmp_path / "a.nc"
    names = np.array(["red", "grün", "near infrared"], object)
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("band", 3)
        file.createDimension("x", 4)
        file.createDimension("length", 6)
        file.createVariable("band", str, ("band",))[:] = names
        file.createVariable("v", "f4", ("band", "x"))[:] = np.arange(12).reshape(3, 4)
        chars = file.createVariable("code", "S1", ("band", "length"))
        chars[:] = netCDF4.stringtochar(np.array(["a1", "b22", "c33333"], "S6"))
        file.createVariable("crs", "S1", ()).grid_mapping_name = "latitude_longitude"
        file["v"].coordinates = "code"
    about = cw("info", path).ok().json
    assert about["coords"]["band"]["values"] == list(names)
    rows = cw("stats", path, "--by", "band").ok().json
    assert [(r["band"], r["mean"]) for r in rows] == [("red", 1.5), ("grün", 5.5), ("near infrared", 9.5)]
    assert stats(cw, path, "v", "--sel", "band=grün")["count"] == 4
    codes = next(n for n in cw("ls", path).ok().json if n["path"] == "code")
    assert codes["dims"] == ["band"] and not codes["problem"]


def test_types_that_are_no_numbers_are_listed_and_refused_by_name(cw, tmp_path):
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", 3)
        wind = file.createCompoundType(np.dtype([("speed", "f4"), ("from", "f4")]), "wind_t")
        lists = file.createVLType("i4", "lists_t")
        kinds = file.createEnumType("u1", "kinds_t", {"sea": 0, "land": 1})
        file.createVariable("wind", wind, ("x",))
        file.createVariable("lists", lists, ("x",))
        file.createVariable("kinds", kinds, ("x",), fill_value=0)[:] = 1
        file.createVariable("v", "f4", ("x",))[:] = 1
    problems = {n["path"]: n["problem"] for n in cw("ls", path).ok().json}
    assert not problems["v"]
    for name, word in [("wind", "compound of speed, from"), ("lists", "lists"), ("kinds", "enumeration")]:
        assert word in problems[name]
        cw("stats", path, "--var", name).refused(name, word)
    assert stats(cw, path, "v")["count"] == 3


def test_filters_that_are_not_known_are_refused_by_name(cw, tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("v", data=SMOOTH, chunks=(1, 30, 50), compression="lzf")
    cw("stats", path).refused("LZF")


def test_packing_and_marks_of_attributes_are_kept_exactly(cw, tmp_path):
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", 100)
        packed = file.createVariable("packed", "i2", ("x",), fill_value=-1)
        packed.scale_factor, packed.add_offset = np.float32(0.01), 273.15
        packed.set_auto_maskandscale(False)
        packed[:] = np.arange(100) - 1
        bytes_ = file.createVariable("bytes", "i1", ("x",))
        bytes_._Unsigned, bytes_.missing_value = "true", np.int8(-1)
        bytes_[:] = np.arange(156, 256).astype("u1").view("i1")
        nan = file.createVariable("nan", "f4", ("x",), fill_value=np.nan)
        nan[10:] = 1.5
    scale = float(np.float32(0.01))
    check_stats(cw, path, "packed", np.where(np.arange(100) == 0, np.nan, (np.arange(100.0) - 1) * scale + 273.15))
    check_stats(cw, path, "bytes", np.where(np.arange(156, 256) == 255, np.nan, np.arange(156.0, 256)))
    assert stats(cw, path, "nan")["missing"] == 10


def test_what_a_file_is_told_to_be_does_not_count(cw, tmp_path):
    """The first bytes decide, and a name that promises more is held to it."""
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        fill(file)
    (tmp_path / "noname").write_bytes((tmp_path / "a.nc").read_bytes())
    check_stats(cw, tmp_path / "noname", "t", SMOOTH)
    (tmp_path / "text.nc").write_text("no NetCDF at all, and long enough for that")
    cw("info", tmp_path / "text.nc").refused("text.nc", "NetCDF")
    (tmp_path / "empty.nc").write_bytes(b"")
    cw("info", tmp_path / "empty.nc").refused("empty.nc", "NetCDF")
    cw("info", tmp_path / "none.nc").refused("none.nc")


def test_a_file_is_only_read(cw, data, tmp_path):
    path = tmp_path / "a.nc"
    path.write_bytes((data / "netcdf-samples/reduced.nc").read_bytes())
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    cw("create", "-o", path, "--dim", "x=3", "--dtype", "uint8").refused("a.nc")
    cw("reduce", path, "--var", "sst", "--over", "time", "--with", "mean", "-o", path, "--overwrite").refused("a.nc")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


# --- jobs -------------------------------------------------------------------------------------------------------------


def test_jobs_keep_to_their_memory(cw, tmp_path):
    path = tmp_path / "large.nc"
    values = rng.integers(0, 1000, (1, 1000, 1000), "i2")
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("time", 60)
        file.createDimension("y", 1000)
        file.createDimension("x", 1000)
        packed = file.createVariable("packed", "i2", ("time", "y", "x"), zlib=True, complevel=1, chunksizes=(1, 250, 250))
        plain = file.createVariable("plain", "i2", ("time", "y", "x"), contiguous=True)
        for step in range(60):
            packed[step], plain[step] = values + step, values + step
    want = (values[0] + 29.5).astype("f4")
    for name, chunks in [("packed", 60 * 16), ("plain", 60 * 2)]:
        plan = cw("reduce", path, "--var", name, "--over", "time", "--with", "mean", "-o", "none", "--explain").ok().json
        assert plan["chunks"] == chunks
        run = cw("reduce", path, "--var", name, "--over", "time", "--with", "mean", "-o", tmp_path / f"{name}.zarr", "--memory", "64MiB", measure=True).ok()
        assert run.peak <= 64 << 20, run.peak
        assert np.array_equal(xarray.open_zarr(tmp_path / f"{name}.zarr")[name].values, want)


def test_a_file_on_a_server_is_read(cw, data, tmp_path, file_server):
    for name in ("climate-a1b-north-america/A1B_north_america", "s2-l2a-belgium/worldcereal_preprocessed_inputs"):
        address = f"{file_server}/{name}"
        for ending in (".nc", ".kerchunk.json"):
            run = cw("compare", f"{address}{ending}", data / f"{name}.nc")
            assert run.code == 0, str(run)
    cw("info", f"{file_server}/nothing.nc").refused("nothing.nc")


@pytest.fixture
def file_server(data):
    with servers.Web(data) as web:
        yield web.url("").rstrip("/")


# --- damage -----------------------------------------------------------------------------------------------------------

SAMPLES = ["netcdf-samples/reduced.nc", "netcdf-samples/bcsd_obs_1999.nc", "geotiff-samples/MODIS_ARRAY.nc", "s2-l2a-belgium/worldcereal_cropland_classification.nc"]


def attempt(path):
    """All cells of a damaged file are read, or an error says why not; within memory and time."""
    words = [runner.binary(), "verify", str(path), "--json", "--memory", "256MiB"]
    done = subprocess.run(words, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode in (0, 1, 2), (path, done)
    assert b"panicked" not in done.stderr and b"overflow" not in done.stderr, (path, done.stderr[-2000:])


@pytest.mark.parametrize("name", SAMPLES)
def test_files_that_end_early_are_errors(data, tmp_path, name):
    whole = (data / name).read_bytes()
    cuts = sorted({*range(0, 64, 7), *(len(whole) * i // 40 for i in range(40)), len(whole) - 1})
    for cut in cuts:
        path = tmp_path / "cut.nc"
        path.write_bytes(whole[:cut])
        attempt(path)


@pytest.mark.parametrize("name", SAMPLES)
def test_files_with_flipped_bits_are_errors_or_read(data, tmp_path, name):
    whole, chance = (data / name).read_bytes(), random.Random(name)
    for trial in range(60):
        changed = bytearray(whole)
        for _ in range(1 + trial % 5):
            # Most of the metadata stand at the beginning.
            at = chance.randrange(min(len(whole), 8192)) if trial % 2 else chance.randrange(len(whole))
            changed[at] = chance.choice([0, 255, changed[at] ^ 1 << chance.randrange(8)])
        path = tmp_path / "flipped.nc"
        path.write_bytes(changed)
        attempt(path)


def test_letters_that_are_stored_in_one_piece(cw, tmp_path):
    """xarray's layout of text: bytes along a last dimension, contiguous, by themselves and beside another dimension."""
    with netCDF4.Dataset(tmp_path / "c.nc", "w") as made:
        made.createDimension("x", 5)
        made.createDimension("c", 4)
        made.createVariable("v", "f4", ("x",))[:] = np.arange(5)
        made.createVariable("word", "S1", ("c",))[:] = np.array(list("abcd"), "S1")
        made.createVariable("words", "S1", ("x", "c"))[:] = np.array([list(f"w{i}yz") for i in range(5)], "S1")
    for words in (["info"], ["verify"], ["compare", tmp_path / "c.nc"], ["stats"]):
        cw(words[0], tmp_path / "c.nc", *words[1:]).ok()
    cw("import", tmp_path / "c.nc", "-o", tmp_path / "c.zarr").ok()
    import xarray as xr

    with xr.open_zarr(tmp_path / "c.zarr", consolidated=False) as found:
        assert found["v"].values.tolist() == [0, 1, 2, 3, 4]
        assert [str(w) for w in found["words"].values] == [f"w{i}yz" for i in range(5)]
