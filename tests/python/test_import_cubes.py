"""`import` of NetCDF files, references and cubes, and `append`: equal to what xarray makes of the same files.

    $ .venv/bin/python -m pytest tests/python/test_import_cubes.py
"""

import hashlib
import re
import shutil
import signal
import time
import warnings

import netCDF4
import numpy as np
import pytest
import xarray
import zarr

import runner

rng = np.random.default_rng(5)


def write(path, start, n=4, name="t", unit="K", units="days since 2000-01-01", calendar="standard", crs="EPSG:4326", values=None, dtype="i2", bounds=False, **attrs):
    """`n` days from day `start`, packed."""
    attrs = {"scale_factor": 0.5, "add_offset": 10.0, "units": unit} | attrs
    with netCDF4.Dataset(path, "w") as file:
        file.title, file.history = "a model", "made by hand"
        for dim, length in [("time", None), ("lat", 5), ("lon", 6), ("nv", 2)]:
            file.createDimension(dim, length)
        times = file.createVariable("time", "f8", ("time",))
        times.units, times.calendar = units, calendar
        times[:] = start + np.arange(n)
        if bounds:
            times.bounds = "time_bnds"
            file.createVariable("time_bnds", "f8", ("time", "nv"))[:] = (start + np.arange(n))[:, None] + [0, 1]
        for dim, length in [("lat", 5), ("lon", 6)]:
            made = file.createVariable(dim, "f8", (dim,))
            made[:], made.units = np.arange(length) * 2.0, "degrees_north" if dim == "lat" else "degrees_east"
        file.createVariable("height", "f4", ("lat", "lon"))[:] = np.arange(30.0).reshape(5, 6)
        mapping = file.createVariable("crs", "i4", ())
        mapping.grid_mapping_name, mapping.spatial_ref = "latitude_longitude", crs
        made = file.createVariable(name, dtype, ("time", "lat", "lon"), fill_value=attrs.pop("_FillValue", -999), chunksizes=(1, 5, 6), zlib=True)
        made.set_auto_maskandscale(False)
        made.grid_mapping = "crs"
        for key, value in attrs.items():
            setattr(made, key, value)
        values = np.arange(n * 30).reshape(n, 5, 6) % 97 + start if values is None else values
        made[:] = np.where(np.arange(30).reshape(5, 6) == 7, -999, values)
    return path


@pytest.fixture
def files(tmp_path):
    return [write(tmp_path / f"{i}.nc", 4 * i) for i in range(3)]


def decoded(paths):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened = [xarray.open_dataset(p) for p in paths]
        whole = xarray.concat(opened, "time", data_vars="minimal", coords="minimal", compat="override", join="override").load()
        [o.close() for o in opened]
    return whole


def same(path, want, names=("t", "height"), **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with xarray.open_zarr(path, **options) as found:
            found = found.load()
    for name in (*names, "time", "lat", "lon"):
        assert found[name].dims == want[name].dims
        np.testing.assert_array_equal(found[name].values, want[name].values, err_msg=name)
    return found


# --- one file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    "name", ["climate-a1b-north-america/A1B_north_america.nc", "climate-a1b-north-america/A1B_north_america.kerchunk.json", "netcdf-samples/reduced.nc", "netcdf-samples/bcsd_obs_1999.nc",
             "s2-l2a-belgium/worldcereal_preprocessed_inputs.nc", "s2-l2a-belgium/worldcereal_preprocessed_inputs.kerchunk.json", "climate-a1b-north-america/packed.zarr"],
)  # fmt: skip
def test_a_file_becomes_a_cube_with_the_same_values(cw, data, tmp_path, name, zarr_format):
    out = tmp_path / "out.zarr"
    cw("import", data / name, "-o", out, "--zarr", zarr_format, "--verify").ok()
    if name.endswith(".nc"):
        with xarray.open_dataset(data / name, decode_times=False) as want, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with xarray.open_zarr(out, decode_times=False) as found:
                for variable in want.variables:
                    if want[variable].dtype.kind in "iufM" and want[variable].ndim:
                        # What is packed with factors of float32 xarray decodes in float32 there, in float64 here.
                        np.testing.assert_allclose(found[variable].values, want[variable].values, rtol=1e-6 if "scale_factor" in want[variable].encoding else 0, err_msg=variable)
                        assert found[variable].attrs.get("units") == want[variable].attrs.get("units")
                for key in want.attrs.keys() - {"history"}:
                    assert np.array_equal(found.attrs[key], want.attrs[key])
                assert "chunkwise" in found.attrs["history"]
    assert cw("compare", data / name, out).code == 0
    assert cw("verify", out).ok().json == []


def test_the_layout_is_as_asked(cw, files, tmp_path):
    out = tmp_path / "out.zarr"
    cw("import", files[0], "-o", out, "--chunk", "time=2,lat=5,lon=3", "--shard", "time=4,lat=5,lon=6", "--codec", "gzip:3", "--var", "t").ok()
    made = zarr.open_group(out, mode="r")
    assert made["t"].chunks == (2, 5, 3) and made["t"].shards == (4, 5, 6) and set(made.array_keys()) == {"t", "time", "lat", "lon", "crs"}
    same(out, decoded(files[:1]), ("t",))
    cw("import", files[0], "-o", tmp_path / "b.zarr", "--chunk", "depth=2").refused("depth", "time")
    cw("import", files[0], "-o", tmp_path / "b.zarr", "--var", "nothing").refused("nothing", "`t`")
    cw("import", files[0], "-o", tmp_path / "b.zarr", "--res", "3").refused("--res", "GeoTIFF")
    assert not (tmp_path / "b.zarr").exists()


def test_texts_and_groups_come_along(cw, tmp_path):
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w") as file:
        group = file.createGroup("fine")
        group.createDimension("band", 2)
        group.createVariable("band", str, ("band",))[:] = np.array(["red", "grün"], object)
        group.createVariable("v", "f4", ("band",))[:] = [1, 2]
    cw("import", f"{path}:fine", "-o", tmp_path / "out.zarr").ok()
    with xarray.open_zarr(tmp_path / "out.zarr") as found:
        assert list(found["band"].values) == ["red", "grün"] and list(found["v"].values) == [1, 2]


# --- several files ----------------------------------------------------------------------------------------------------


def test_files_are_joined_in_the_order_of_their_labels(cw, files, tmp_path):
    out = tmp_path / "out.zarr"
    run = cw("import", files[2], files[0], files[1], "-o", out, "--concat", "time", "--verify").ok()
    assert run.json["dims"]["time"] == 12 and run.json["verified"]
    found = same(out, decoded(files))
    assert found["t"].attrs["units"] == "K" and found.attrs["title"] == "a model" and found.attrs["history"].startswith("made by hand\n")
    stored = zarr.open_group(out, mode="r")["t"]
    assert stored.dtype == "int16" and stored.chunks == (1, 5, 6) and stored.attrs["scale_factor"] == 0.5
    # A gap is no matter; that files do not name a dimension is.
    cw("import", files[2], files[0], "-o", tmp_path / "gap.zarr", "--concat", "time").ok()
    cw("import", files[2], files[0], "-o", tmp_path / "b.zarr").refused("--concat", "time")
    cw("import", files[2], files[0], "-o", tmp_path / "b.zarr", "--concat", "depth").refused("depth", "time")


def test_times_that_count_from_another_date_are_counted_from_that_of_the_first(cw, tmp_path):
    paths = [write(tmp_path / "a.nc", 0, bounds=True), write(tmp_path / "b.nc", 0, units="days since 2000-01-05", bounds=True)]
    cw("import", *paths, "-o", tmp_path / "out.zarr", "--concat", "time", "--verify", json=False)
    found = same(tmp_path / "out.zarr", decoded(paths))
    made = zarr.open_group(tmp_path / "out.zarr", mode="r")
    assert list(made["time"][:]) == list(range(8)) and made["time"].attrs["units"] == "days since 2000-01-01"
    assert np.array_equal(made["time_bnds"][:], np.arange(8)[:, None] + [0, 1]) and found is not None


DIFFER = {
    "scale": (dict(scale_factor=0.25), "scale 0.5 .* scale 0.25"),
    "offset": (dict(add_offset=0.0), "offset 10,.*offset 0"),
    "units": (dict(unit="degC"), "K.*degC"),
    "mark": (dict(_FillValue=-998), "-999.*-998"),
    "type": (dict(dtype="i4"), "int16.*int32"),
    "calendar": (dict(calendar="noleap"), "standard.*noleap"),
    "time units": (dict(units="hours since 2000-01-01"), "days since.*hours since"),
    "time of day": (dict(units="days since 2000-01-01 06:00"), "days since.*06:00"),
    "crs": (dict(crs="EPSG:4258"), "CRS.*4326.*4258"),
}


@pytest.mark.parametrize("what", DIFFER)
def test_files_that_differ_in_meaning_are_refused_with_both_values(cw, tmp_path, what):
    options, said = DIFFER[what]
    paths = [write(tmp_path / "a.nc", 0), write(tmp_path / "b.nc", 1000, **options)]
    message = cw("import", *paths, "-o", tmp_path / "out.zarr", "--concat", "time").refused("a.nc", "b.nc")
    assert re.search(said, message, re.DOTALL), message
    assert not (tmp_path / "out.zarr").exists()
    if what in ("scale", "offset", "mark", "type"):
        assert "--decode" in message
        cw("import", *paths, "-o", tmp_path / "out.zarr", "--concat", "time", "--decode", "--verify").ok()
        with xarray.open_zarr(tmp_path / "out.zarr") as found:
            assert found["t"].dtype == ("float64" if what == "type" else "float32")
            np.testing.assert_allclose(found["t"].values, decoded(paths)["t"].values, rtol=1e-6)
            assert found["t"].attrs["units"] == "K" and "scale_factor" not in found["t"].encoding
    else:
        cw("import", *paths, "-o", tmp_path / "out.zarr", "--concat", "time", "--decode").refused("a.nc", "b.nc")


def test_overlaps_other_grids_and_other_variables_are_refused(cw, files, tmp_path):
    over = write(tmp_path / "over.nc", 2)
    cw("import", files[0], over, "-o", tmp_path / "o.zarr", "--concat", "time").refused("0.nc", "over.nc", "overlap", "2000-01-04")
    with netCDF4.Dataset(files[1], "a") as file:
        file["lat"][2] = 4.5
    cw("import", *files, "-o", tmp_path / "o.zarr", "--concat", "time").refused("lat", "4.5", "cell 2")
    other = write(tmp_path / "other.nc", 50, name="u")
    cw("import", files[0], other, "-o", tmp_path / "o.zarr", "--concat", "time").refused("`t`", "other.nc", "--var")
    assert not (tmp_path / "o.zarr").exists()


# --- running ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """60 days of 600 x 600, 43 MB, in whole days."""
    path = tmp_path_factory.mktemp("big") / "big.nc"
    with netCDF4.Dataset(path, "w") as file:
        for dim, n in [("time", 60), ("y", 600), ("x", 600)]:
            file.createDimension(dim, n)
        times = file.createVariable("time", "i4", ("time",))
        times[:], times.units = np.arange(60), "days since 2001-01-01"
        made = file.createVariable("v", "i2", ("time", "y", "x"), chunksizes=(1, 600, 600), zlib=True, complevel=1)
        for step in range(60):
            made[step] = rng.integers(0, 100, (600, 600)) + step
    return path


def test_imports_keep_to_their_memory_and_say_what_they_do(cw, big, tmp_path):
    plan = cw("import", big, "-o", tmp_path / "a.zarr", "--chunk", "time=60,y=50,x=50", "--memory", "80MiB", "--explain").ok().json
    assert plan["memory_bytes"] <= 80 << 20 and plan["chunks"] == 144 + 1 and plan["amplification"] >= 1
    run = cw("import", big, "-o", tmp_path / "a.zarr", "--chunk", "time=60,y=50,x=50", "--memory", "80MiB", "--verify", measure=True).ok()
    assert run.peak <= 80 << 20, run.peak
    with xarray.open_dataset(big) as want, xarray.open_zarr(tmp_path / "a.zarr") as found:
        assert np.array_equal(found["v"].values, want["v"].values)
    refused = cw("import", big, "-o", tmp_path / "b.zarr", "--memory", "32MiB", "--chunk", "time=60,y=600,x=600")
    again = refused.smallest_budget()
    cw("import", big, "-o", tmp_path / "b.zarr", "--memory", again, "--chunk", "time=60,y=600,x=600").ok()
    cw("import", big, "-o", tmp_path / "c.zarr", "--memory", "40MiB", "--chunk", "time=60,y=2,x=2").refused("decoded", "--allow-redecode")


def test_an_import_that_was_killed_is_gone_on_with(cw, big, tmp_path):
    out = tmp_path / "a.zarr"
    words = ["import", big, "-o", out, "--chunk", "time=4,y=60,x=60", "--threads", "1"]
    process = runner.start(*words)
    while process.poll() is None and not (out / "v/c/9").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if process.returncode == -signal.SIGKILL:
        about = cw("info", out).ok().json
        assert about["unfinished"]
        cw("stats", out).refused("unfinished")
        kept = sorted((out / "v/c/0").rglob("*"))[-1]
        before = kept.stat().st_mtime_ns
        cw(*words).refused("not finished")
        cw("import", big, "-o", out, "--chunk", "time=5,y=60,x=60", "--resume").refused("cannot be resumed")
        cw(*words, "--resume", "--verify").ok()
        # The journal notes what is done a little later: the first hundred chunks, and the times, are surely among it.
        if about["job"]["partitions_done"] > 101:
            assert kept.stat().st_mtime_ns == before, "what was done is done once"
    assert cw("compare", big, out).code == 0


# --- append -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("chunk", ["time=1", "time=3", "time=20"])
def test_appended_files_are_as_if_joined_at_once(cw, files, tmp_path, zarr_format, chunk):
    out = tmp_path / "out.zarr"
    cw("import", files[0], "-o", out, "--zarr", zarr_format, "--chunk", chunk).ok()
    first = {p: p.read_bytes() for p in out.rglob("*") if p.is_file() and p.name[:2] not in (".z", "za")}
    cw("append", out, files[2], files[1], "--verify").ok()
    same(out, decoded(files))
    same(out, decoded(files), consolidated=True)
    same(out, decoded(files), consolidated=False)
    if chunk == "time=1":
        kept = {p: b for p, b in first.items() if "/t/" in str(p)}
        assert kept and all(p.read_bytes() == b for p, b in kept.items())
    assert cw("verify", out).ok().json == []
    history = zarr.open_group(out, mode="r").attrs["history"].splitlines()
    assert "import" in history[-2] and "append" in history[-1]
    cw("append", out, write(tmp_path / "more.nc", 30)).ok()
    assert cw("info", out).ok().json["dims"]["time"] == 16


def test_append_to_cubes_of_other_makers_and_to_shards(cw, files, tmp_path):
    want = decoded(files)
    for form, consolidated in [(2, True), (2, False), (3, True), (3, False)]:
        out = tmp_path / f"{form}{consolidated}.zarr"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            first = xarray.open_dataset(files[0], mask_and_scale=False, decode_times=False).load()
            for variable in first.variables.values():
                variable.encoding = {}
            first.to_zarr(out, zarr_format=form, consolidated=consolidated, encoding={"t": {"chunks": (3, 5, 6)}})
        cw("append", out, *files[1:]).ok()
        same(out, want)
        held = (out / ".zmetadata").exists() if form == 2 else "consolidated_metadata" in (out / "zarr.json").read_text()
        assert held == consolidated
    out = tmp_path / "shards.zarr"
    cw("import", files[0], "-o", out, "--chunk", "time=1,lat=5,lon=3", "--shard", "time=5,lat=5,lon=6").ok()
    cw("append", out, *files[1:], "--verify").ok()
    same(out, want)


def test_append_refuses_what_does_not_lie_behind_or_is_otherwise(cw, files, tmp_path):
    out = tmp_path / "out.zarr"
    cw("import", *files[:2], "-o", out, "--concat", "time").ok()

    def digest():
        return hashlib.sha256(b"".join(p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file())).hexdigest()

    before = digest()
    cw("append", out, files[1]).refused("1.nc", "2000-01-05", "2000-01-08", "--concat")
    cw("append", out, files[2], files[2]).refused("overlap")
    cw("append", out, write(tmp_path / "s.nc", 50, scale_factor=0.25)).refused("0.5", "0.25")
    cw("append", out, write(tmp_path / "c.nc", 50, crs="EPSG:4258")).refused("CRS")
    cw("append", out, write(tmp_path / "u.nc", 50, name="u")).refused("u.nc", "`t`")
    cw("append", out, write(tmp_path / "h.nc", 50), "--along", "depth").refused("depth")
    cw("append", tmp_path / "none.zarr", files[2]).refused("none.zarr")
    cw("append", files[0], files[2]).refused("0.nc", "read")
    assert digest() == before
    late = write(tmp_path / "late.nc", 0, units="days since 2001-01-01")
    cw("append", out, late).ok()
    assert list(zarr.open_group(out, mode="r")["time"][:])[-4:] == [366, 367, 368, 369]


def test_a_killed_append_leaves_the_old_cube_and_may_be_done_again(cw, big, tmp_path):
    out, source = tmp_path / "a.zarr", tmp_path / "half.zarr"
    with xarray.open_dataset(big, decode_times=False) as whole:
        one, two = whole.isel(time=slice(0, 10)).load(), whole.isel(time=slice(10, 60)).load()
    for part, path in [(one, tmp_path / "one.nc"), (two, tmp_path / "two.nc")]:
        part.to_netcdf(path, encoding={"v": {"chunksizes": (1, 600, 600), "zlib": True, "complevel": 1}})
    cw("import", tmp_path / "one.nc", "-o", out, "--chunk", "time=4,y=60,x=60").ok()
    shutil.copytree(out, source)
    for pause in (0.02, 0.1, 0.3, 0.6, 1.0, 1.5):
        process = runner.start("append", out, tmp_path / "two.nc")
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        length = cw("info", out).ok().json["dims"]["time"]
        assert length in (10, 60)
        with xarray.open_zarr(out, decode_times=False) as found:
            assert found.sizes["time"] == length
            assert np.array_equal(found["v"].isel(time=slice(0, 10)).values, one["v"].values)
        if length == 60:
            break
    if length == 10:
        cw("append", out, tmp_path / "two.nc", "--verify").ok()
    assert cw("compare", out, big).code == 0
    assert cw("verify", out).ok().json == []
