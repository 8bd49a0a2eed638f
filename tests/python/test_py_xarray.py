"""What xarray and the engine make of each other's cubes: `engine="chunkwise"`, `from_xarray`, `ds.chunkwise`."""

from __future__ import annotations

import os
import functools
import http.server
import json
import pickle
import shutil
import subprocess
import sys
import threading
import warnings

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
import zarr

import chunkwise as cw
import chunkwise.xarray as between
from chunkwise._objects import BLOCK, objects_of
from datasets import PACKING, ZARR, assert_same, hard, small

# The wheel registers the name; a checkout gives the class.
ENGINE = "chunkwise" if "chunkwise" in xr.backends.list_engines() else between.ChunkwiseBackendEntrypoint

NETCDF = [
    "netcdf-samples/reduced.nc",
    "netcdf-samples/bcsd_obs_1999.nc",
    "climate-a1b-north-america/A1B_north_america.nc",
    "s2-l2a-belgium/worldcereal_preprocessed_inputs.nc",
    "s2-l2a-belgium/worldcereal_cropland_classification.nc",
    "geotiff-samples/MODIS_ARRAY.nc",
]

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::FutureWarning", "ignore::RuntimeWarning", "ignore::PendingDeprecationWarning"
)


@pytest.fixture(autouse=True, scope="module")
def plain_numpy():
    """xarray without what compiles for a minute on its first use."""
    with xr.set_options(use_flox=False, use_numbagg=False):
        yield


def is_direct(x):
    return cw.from_xarray(x)._source.objects is None


# --- engine="chunkwise" -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decode_coords", ["all", True])
@pytest.mark.parametrize("cube", ZARR)
def test_the_engine_opens_zarr_as_xarray_does(data, cube, decode_coords):
    theirs = xr.open_zarr(data / cube, chunks=None, decode_coords=decode_coords)
    ours = xr.open_dataset(data / cube, engine=ENGINE, decode_coords=decode_coords)
    assert_same(ours.head(260), theirs.head(260), (*PACKING, "chunks", "preferred_chunks", "shards"))


@pytest.mark.parametrize("file", NETCDF)
def test_the_engine_opens_netcdf_as_xarray_does(data, file):
    theirs = xr.open_dataset(data / file, engine="netcdf4", decode_coords="all")
    ours = xr.open_dataset(data / file, engine=ENGINE, decode_coords="all")
    xr.testing.assert_identical(ours, theirs)
    numbers = [n for n, v in theirs.variables.items() if v.dtype.kind not in "UO"]
    assert {n: ours[n].dtype for n in numbers} == {n: theirs[n].dtype for n in numbers}


@pytest.mark.parametrize("how", [{"mask_and_scale": False}, {"decode_times": False}, {"decode_cf": False}])
def test_the_engine_leaves_undecoded_what_is_to_be_left(data, how):
    for cube in ["s2-l2a-belgium/cube_v2.zarr", "climate-a1b-north-america/packed.zarr"]:
        theirs = xr.open_zarr(data / cube, chunks=None, **how)
        assert_same(xr.open_dataset(data / cube, engine=ENGINE, **how), theirs)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_engine_opens_what_is_rare_as_xarray_does(tmp_path, zarr_format):
    path = hard(str(tmp_path / "a.zarr"), zarr_format)
    assert_same(xr.open_dataset(path, engine=ENGINE), xr.open_zarr(path, chunks=None))


def test_any_selection_gives_the_cells_that_it_gives_in_memory(tmp_path):
    path = hard(str(tmp_path / "a.zarr"), 3)
    for _, key in [
        ("index", {"t": 1}), ("last", {"t": -1, "x": -2}), ("slice", {"x": slice(1, 3)}), ("step", {"x": slice(0, 4, 2)}),
        ("backwards", {"x": slice(None, None, -1), "t": slice(2, 0, -1)}), ("list", {"x": [3, 0, 2], "t": [1]}),
        ("twice", {"x": [1, 1, 3]}), ("mask", {"x": np.array([True, False, True, False])}), ("nothing", {"x": slice(0, 0)}),
        ("points", {"t": xr.DataArray([0, 2, 1], dims="p"), "x": xr.DataArray([3, 1, 1], dims="p")}),
    ]:  # fmt: skip
        ours = xr.open_dataset(path, engine=ENGINE)
        xr.testing.assert_identical(ours.isel(key).load(), xr.open_zarr(path, chunks=None).load().isel(key))


def test_chunks_are_dasks_and_are_those_of_the_store(data):
    path = data / "s2-l1c-slovenia/series.zarr"
    ours, theirs = xr.open_dataset(path, engine=ENGINE, chunks={}), xr.open_zarr(path)
    assert {n: v.chunks for n, v in ours.items()} == {n: v.chunks for n, v in theirs.items()}
    assert isinstance(ours["ndvi"].data, dask.array.Array)
    xr.testing.assert_allclose(ours["ndvi"].mean("time").compute(), theirs["ndvi"].mean("time").compute(), rtol=0)


@pytest.mark.slow
def test_dasks_processes_open_the_cube_themselves(data):
    path = data / "s2-l2a-belgium/cube.zarr"
    ours = xr.open_dataset(path, engine=ENGINE, chunks={})
    with dask.config.set(scheduler="processes", num_workers=2):
        found = ours["reflectance"].max("band").compute()
    xr.testing.assert_identical(found, xr.open_zarr(path)["reflectance"].max("band").compute())


def test_a_pickle_of_an_opened_dataset_holds_no_values_and_no_secrets(data):
    path = data / "s2-l1c-slovenia/bands.zarr"
    options = {"secret_access_key": "hush", "region": "eu-central-1"}
    ours = xr.open_dataset(path, engine=ENGINE, storage_options=options)
    sent = pickle.dumps(ours["reflectance"].variable._data)
    assert len(sent) < 5_000 and b"hush" not in sent and b"eu-central-1" in sent
    again = pickle.loads(pickle.dumps(ours))
    xr.testing.assert_identical(again, xr.open_zarr(path, chunks=None))


def test_groups_are_opened_and_variables_left_out(tmp_path):
    path = str(tmp_path / "a.zarr")
    small().drop_encoding().to_zarr(path, group="deep/er")
    theirs = xr.open_zarr(path, group="deep/er", chunks=None)
    assert_same(xr.open_dataset(path, engine=ENGINE, group="deep/er"), theirs)
    ours = xr.open_dataset(path, engine=ENGINE, group="deep/er", drop_variables=["f", "aux"])
    xr.testing.assert_identical(ours, xr.open_zarr(path, group="deep/er", chunks=None, drop_variables=["f", "aux"]))


def test_several_files_are_opened_as_one(tmp_path):
    ds = small()[["f", "i"]]
    paths = [str(tmp_path / f"{k}.zarr") for k in range(2)]
    for path, part in zip(paths, (slice(0, 7), slice(7, None)), strict=True):
        ds.isel(time=part).to_zarr(path)
    whole = xr.open_mfdataset(paths, engine=ENGINE)
    xr.testing.assert_equal(whole[["f", "i"]].load(), ds)


def test_the_engine_offers_itself_only_for_what_no_other_opens():
    opener = between.ChunkwiseBackendEntrypoint()
    assert opener.guess_can_open("a/b.zarr.zip")
    assert not any(map(opener.guess_can_open, ["a/b.zarr", "a/b.nc", "a/b.tif", "a/b", 5]))


# --- from_xarray: what the engine reads itself ------------------------------------------------------------------------


@pytest.mark.parametrize("cube", [c for c in ZARR if c != "s2-l2a-belgium/cube.zarr"])
def test_cubes_that_come_unchanged_from_zarr_are_read_by_the_engine(data, cube):
    for ds in (
        xr.open_zarr(data / cube),
        xr.open_zarr(data / cube, chunks=None),
        xr.open_zarr(data / cube, chunks=None, decode_coords="all"),
        xr.open_dataset(data / cube, engine=ENGINE),
        xr.open_dataset(data / cube, engine=ENGINE, chunks={}, decode_coords="all"),
    ):
        found = cw.from_xarray(ds)
        assert os.path.realpath(found.location) == os.path.realpath(data / cube) and list(found) == list(cw.open(data / cube))


def test_zip_files_and_fsspecs_locations_are_read_by_the_engine(data, tmp_path):
    folder = data / "s2-l1c-slovenia/series.zarr"
    zipped = shutil.make_archive(str(tmp_path / "a.zarr"), "zip", folder)
    with zarr.storage.ZipStore(zipped, mode="r") as store:
        assert cw.from_xarray(xr.open_zarr(store)).location == zipped
    assert cw.from_xarray(xr.open_zarr(f"file://{folder}")).location == str(folder)
    mean = cw.from_xarray(xr.open_dataset(zipped, engine=ENGINE))["dem"].mean().compute(dtype="float64").item()
    assert np.isclose(mean, float(xr.open_zarr(folder)["dem"].astype("float64").mean()), rtol=1e-12)


def test_a_store_in_memory_is_read_in_blocks():
    store = zarr.storage.MemoryStore()
    small()[["f", "i"]].to_zarr(store, consolidated=False)
    ds = xr.open_zarr(store, consolidated=False)
    assert not is_direct(ds)
    xr.testing.assert_identical(cw.from_xarray(ds).compute(), ds.compute())


def test_the_engine_opens_what_a_server_gives_with_options_of_the_store(data):
    handler = functools.partial(Quiet, directory=data / "s2-l1c-slovenia")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/series.zarr"
        ours = xr.open_dataset(url, engine=ENGINE, storage_options={"concurrency": 2}, chunks={})
        assert cw.from_xarray(ours)._source.storage == {"concurrency": 2} and cw.from_xarray(ours).location == url
        theirs = xr.open_zarr(data / "s2-l1c-slovenia/series.zarr")
        xr.testing.assert_identical(ours[["dem"]].compute(), theirs[["dem"]].compute())
        with pytest.raises(ValueError, match="colour"):
            xr.open_dataset(url, engine=ENGINE, storage_options={"colour": "blue"})
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files of a folder."""

    def log_message(self, *_):
        pass


def test_a_selection_of_a_lazy_dataset_is_part_of_the_request(data):
    ds = xr.open_zarr(data / "s2-l1c-slovenia/bands.zarr", chunks=None)
    part = ds.isel(time=slice(1, 4), y=slice(None, None, -1)).isel(x=[3, 50, 51], band=2).isel(time=[0, 2])
    one = part["reflectance"].isel(time=0)
    assert is_direct(one) and cw.from_xarray(one).dims == one.dims
    cube = cw.from_xarray(part)
    assert is_direct(part) and cube._query.cells["time"] == range(1, 4, 2) and cube._query.cells["band"] == 2
    ours = cube["reflectance"].compute(dtype="float64")
    xr.testing.assert_allclose(ours, part["reflectance"], rtol=1e-12)
    np.testing.assert_array_equal(ours["y"], part["y"])
    assert ours["band"].item() == "B03"


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: ds * 1,
        lambda ds: ds.load(),
        lambda ds: ds.assign(more=ds["dem"] * 2),
        lambda ds: ds.assign_coords(x=ds["x"] + 1),
        lambda ds: ds.assign_coords(more=("x", np.arange(ds.sizes["x"]))),
        lambda ds: ds.drop_vars("y"),
        lambda ds: ds.rename(ndvi="other"),
        lambda ds: ds.rename(x="lon"),
        lambda ds: ds.transpose("x", "y", "time"),
        lambda ds: ds.assign_attrs(title="mine"),
        lambda ds: ds.assign(ndvi=ds["ndvi"].assign_attrs(units="mine")),
        lambda ds: ds.assign(ndvi=ds["ndvi"].isel(time=slice(None, None, -1)).variable),
        lambda ds: ds.assign(cloud_mask=ds["ndvi"].variable),
    ],
)  # fmt: skip
def test_what_is_changed_is_read_as_it_is_and_not_as_it_is_stored(data, change):
    ds = change(xr.open_zarr(data / "s2-l1c-slovenia/series.zarr", chunks=None, decode_coords="all"))
    assert not is_direct(ds)
    ours = cw.from_xarray(ds).compute()
    xr.testing.assert_identical(ours, ds.load().transpose(*ours.dims))


def test_datasets_of_two_stores_are_read_in_blocks(data):
    ds = xr.open_zarr(data / "s2-l1c-slovenia/series.zarr", chunks=None)[["ndvi"]]
    bands = xr.open_zarr(data / "s2-l1c-slovenia/bands.zarr", chunks=None)["reflectance"].isel(time=0, drop=True)
    both = ds.assign(red=bands.sel(band="B04", drop=True))
    assert not is_direct(both)
    ours = cw.from_xarray(both).calc("ndvi - red", name="v").isel(time=3).compute()
    np.testing.assert_allclose(ours, (both["ndvi"] - both["red"]).isel(time=3), rtol=1e-6)


def test_what_xarray_did_not_decode_is_not_decoded(data):
    ds = xr.open_zarr(data / "s2-l1c-slovenia/bands.zarr", chunks=None, mask_and_scale=False)
    for x in (ds, ds.load()):
        ours = cw.from_xarray(x)["reflectance"].isel(time=0).compute()
        assert ours.dtype == "uint16"
        np.testing.assert_array_equal(ours, x["reflectance"].isel(time=0))


# --- from_xarray: arrays of this process ------------------------------------------------------------------------------


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day", "julian"])
def test_a_dataset_comes_back_as_it_was(calendar):
    for north_up in (True, False):
        ds = small(calendar, north_up)
        ours = cw.from_xarray(ds).compute()
        xr.testing.assert_identical(ours, ds)
        assert {n: v.dtype for n, v in ours.variables.items()} == {n: v.dtype for n, v in ds.variables.items()}


@pytest.mark.parametrize("chunks", [None, {"time": 4, "y": 2}, {"time": (1, 9, 4), "x": (1, 5)}])
def test_statistics_of_arrays_are_xarrays(chunks):
    ds = small()[["f", "d", "i", "u", "b", "l"]]
    cube = cw.from_xarray(ds if chunks is None else ds.chunk(chunks))
    doubles = ds.astype("float64")
    for dim in ("time", ["y", "x"], None):
        ours = cube.reduce(["mean", "min", "max", "count", "std", "median"], dim).compute(dtype="float64")
        for name in ("mean", "min", "max", "count", "std", "median"):
            theirs = getattr(doubles, name)(dim)
            for v in ds:
                label = f"{v} {name} {dim}"
                np.testing.assert_allclose(ours[f"{v}_{name}"], theirs[v], rtol=1e-12, atol=1e-12, err_msg=label)
        np.testing.assert_array_equal(cube["l"].sum(dim).compute(), ds["l"].sum(dim))
        sums = cube["f"].sum(dim).compute(dtype="float64")
        np.testing.assert_allclose(sums, doubles["f"].sum(dim, min_count=1), atol=1e-12)
    d = ds["d"].drop_vars(["label", "quality", "aux"])
    for ours, theirs in [
        (cube["d"].groupby("time.month").mean(), d.groupby("time.month").mean()),
        (cube["d"].resample(time="YS").max(), d.resample(time="YS").max()),
        (cube["d"].coarsen(x=2).mean(), d.coarsen(x=2).mean()),
    ]:
        found = ours.compute().drop_vars(["label", "quality", "aux", "time_bnds", "x_bnds"], errors="ignore")
        xr.testing.assert_allclose(found, theirs)


def test_each_block_of_a_dask_array_is_computed_once_and_alone():
    log = []

    def seen(block, block_info=None):
        log.append(block_info[0]["chunk-location"])
        return block + 1

    lazy = dask.array.zeros((40, 30), chunks=(10, 15)).map_blocks(seen, dtype="float64", meta=np.empty((0, 0)))
    ours = cw.from_xarray(xr.DataArray(lazy, dims=("y", "x"), name="v"))
    assert log == []
    assert ours.isel(y=slice(10, 20)).mean().compute().item() == 1.0
    assert sorted(log) == [(1, 0), (1, 1)]
    assert ours.sum().compute().item() == 1200.0
    assert sorted(log[2:]) == [(i, j) for i in range(4) for j in range(2)]


def test_arrays_are_cut_into_blocks_of_at_most_16_mib():
    values = np.arange(2 * 1100 * 2100, dtype="float64").reshape(2, 1100, 2100)
    objects = objects_of(xr.Dataset({"v": (("t", "y", "x"), values), "w": ("n", values.ravel())}))
    for name, whole in (("v", values), ("w", values.ravel())):
        stored = {}
        grid = zarr.core.metadata.v3.ArrayV3Metadata.from_dict(json.loads(objects.get(f"{name}/zarr.json")))
        for chunk in np.ndindex(*(-(-n // c) for n, c in zip(whole.shape, grid.chunks, strict=True))):
            key = f"{name}/c/{'/'.join(map(str, chunk))}"
            stored[key] = objects.get(key)
            assert len(stored[key]) <= BLOCK
        buffers = {k: zarr.core.buffer.cpu.Buffer.from_bytes(v) for k, v in stored.items()}
        buffers[f"{name}/zarr.json"] = zarr.core.buffer.cpu.Buffer.from_bytes(objects.get(f"{name}/zarr.json"))
        array = zarr.open_array(zarr.storage.MemoryStore(buffers), path=name, mode="r")
        np.testing.assert_array_equal(array[:], whole)
    assert objects.get("v/c/9/0/0") is None and objects.get("nothing/c/0") is None and objects.get("v/d/0") is None


def test_what_lies_in_a_file_is_read_in_its_chunks_and_not_kept(data):
    ds = xr.open_dataset(data / "netcdf-samples/bcsd_obs_1999.nc", engine="netcdf4")
    ours = cw.from_xarray(ds)["tas"].mean("time").compute()
    assert not ds["tas"].variable._in_memory
    np.testing.assert_allclose(ours, ds["tas"].mean("time"), rtol=1e-6)


def test_times_and_durations_keep_their_gaps():
    ds = xr.Dataset(
        {
            "dt": ("t", np.array(["2020-01-01", "NaT", "2021-05-06T01:02:03.123456789"], "datetime64[ns]")),
            "old": ("t", np.array(["1021-01-01", "1500-01-01", "1020-01-01"], "datetime64[s]")),
            "td": ("t", np.array([1, "NaT", 3], "timedelta64[s]")),
        }
    )
    cube = cw.from_xarray(ds)
    ours = cube.compute()
    np.testing.assert_array_equal(ours["dt"].values, ds["dt"].values)
    np.testing.assert_array_equal(ours["td"].values, ds["td"].values)
    assert ours["td"].dtype == "timedelta64[s]"
    assert [str(v)[:10] for v in ours["old"].values] == ["1021-01-01", "1500-01-01", "1020-01-01"]
    assert cube["dt"].max().compute().values == ds["dt"].values[2]
    assert cube["td"].max().compute().values == np.timedelta64(3, "s")
    assert {n: int(v) for n, v in cube.count().compute().items()} == {"dt": 2, "old": 3, "td": 2}


@pytest.mark.parametrize("labels", [np.array(["red", "nir"]), np.array(["red", "nir"], dtype=object)])
def test_labels_that_are_text_select(labels):
    values = np.arange(6.0).reshape(2, 3)
    ds = xr.Dataset({"v": (("band", "x"), values)}, coords={"band": labels})
    cube = cw.from_xarray(ds)
    np.testing.assert_array_equal(cube["v"].sel(band="nir").compute(), values[1])
    np.testing.assert_array_equal(cube.calc("nir - red").compute(), values[1] - values[0])
    assert cube.compute()["band"].values.tolist() == ["red", "nir"]


def test_arrays_without_a_name_without_cells_and_without_dimensions_have_a_place():
    assert cw.from_xarray(xr.DataArray([1.0, 2.0, 3.0])).name == "data"
    assert cw.from_xarray(xr.Dataset({"v": 5.0})).compute()["v"].item() == 5.0
    assert cw.from_xarray(xr.Dataset({"v": ("x", np.empty(0))})).compute()["v"].shape == (0,)
    big = xr.DataArray(np.arange(4, dtype=">f4"), dims="x", name="c")
    assert cw.from_xarray(big).sum().compute().item() == 6.0


@pytest.mark.parametrize(
    ("ds", "named"),
    [
        (xr.Dataset({"thing": ("x", np.array([1, {}], object))}), "`thing` holds Python objects"),
        (xr.Dataset({"wave": ("x", np.array([1j]))}), "`wave` is complex128"),
        (xr.Dataset({"a/b": ("x", np.arange(4.0))}), "'a/b'"),
        (xr.Dataset({1: ("x", np.arange(4.0))}), "1 is no name"),
        (
            xr.Dataset({"v": ("x", np.arange(4.0))}, {"p": ("x", [1, 1, 2, 2]), "q": ("x", [1, 2, 1, 2])}).set_index(x=["p", "q"]),
            "`x` is a MultiIndex",
        ),
    ],
)  # fmt: skip
def test_what_no_store_holds_is_refused_by_name(ds, named):
    with pytest.raises(ValueError, match=named):
        cw.from_xarray(ds)


def test_what_is_no_dataset_is_refused():
    with pytest.raises(TypeError, match="ndarray is neither"):
        cw.from_xarray(np.arange(3))
    with pytest.raises(ValueError, match="`time` is a coordinate"):
        cw.from_xarray(small()["time"])


def test_an_error_within_a_block_is_told_in_its_own_words():
    def fails(block):
        raise RuntimeError("the file of the block is damaged")

    lazy = dask.array.zeros((4, 4), chunks=2).map_blocks(fails, dtype="float64", meta=np.empty((0, 0)))
    with pytest.raises(OSError, match="`v`.*RuntimeError: the file of the block is damaged"):
        cw.from_xarray(xr.DataArray(lazy, dims=("y", "x"), name="v")).mean().compute()


def test_a_pickle_of_arrays_is_refused():
    with pytest.raises(TypeError, match="a pickle holds plans, never data"):
        pickle.dumps(cw.from_xarray(small()))


def test_tables_pictures_and_comparisons_are_made_of_arrays(tmp_path):
    ds = small()[["f", "u", "flat"]]
    ds["zones"] = ("y", "x"), np.repeat([[1], [1], [2], [2], [2]], 6, axis=1).astype("int16")
    for x in (ds, ds.chunk(time=5, y=2)):
        cube = cw.from_xarray(x)
        points = cube["f"].series(y=45, x=20).to_pandas()
        np.testing.assert_array_equal(points["f"].to_numpy("float32"), ds["f"].sel(y=45, x=20))
        zones = cube["f"].zonal("zones", ["mean", "count"]).to_pandas()
        expected = [ds["f"].astype("float64").where(ds["zones"] == k).mean(["y", "x"]) for k in (1, 2)]
        np.testing.assert_allclose(zones["mean"].to_numpy("float64").reshape(2, -1), expected, rtol=1e-12)
        stats = cube.stats().to_pandas().set_index("variable")
        assert stats.loc["f", "count"] == int(ds["f"].count())
        assert np.isclose(stats.loc["f", "mean"], ds["f"].astype("float64").mean())
        cube["f"].isel(time=0).plot().save(tmp_path / "a.svg", overwrite=True)
        assert "<svg" in (tmp_path / "a.svg").read_text()
        written = cube.to_zarr(tmp_path / "a.zarr", overwrite=True)
        assert cube.compare(written) and not cube.compare(cw.from_xarray(ds + 1))


def test_arrays_are_written_into_regions_of_a_cube_and_appended_to_it(tmp_path):
    ds = small()[["f"]]
    cube = cw.from_xarray(ds).to_zarr(tmp_path / "a.zarr")
    (ds.isel(time=slice(2, 4)) * 2).chunkwise.to_zarr(tmp_path / "a.zarr", region={"time": slice(2, 4)})
    later = ds.assign_coords(time=ds["time"] + np.timedelta64(1000, "D"))
    cube.append(cw.from_xarray(later))
    found = xr.open_zarr(str(tmp_path / "a.zarr"), chunks=None)
    expected = np.concatenate([ds["f"].where(~ds["time"].isin(ds["time"][2:4]), ds["f"] * 2), ds["f"]])
    np.testing.assert_array_equal(found["f"], expected)
    np.testing.assert_array_equal(found["time"], np.concatenate([ds["time"], later["time"]]))


def test_a_part_of_a_cube_is_not_appended_or_compared_as_the_whole(tmp_path):
    cube = cw.from_xarray(small()[["f"]]).to_zarr(tmp_path / "a.zarr")
    part = xr.open_zarr(str(tmp_path / "a.zarr"), chunks=None).isel(time=slice(0, 2))
    assert is_direct(part)
    for other in (cw.from_xarray(part), cube["f"] * 2, cube.mean("time")):
        with pytest.raises(ValueError, match="appended whole"):
            cube.append(other)
        with pytest.raises(ValueError, match="compared whole"):
            cube.compare(other)


# --- ds.chunkwise -----------------------------------------------------------------------------------------------------


def test_the_accessor_is_lazy_and_gives_what_the_cube_gives():
    ds = small()
    mean = ds.chunkwise.mean("time")
    assert isinstance(mean, cw.Cube) and isinstance(ds.chunkwise.cube, cw.Cube)
    assert isinstance(ds["f"].chunkwise.array, cw.Array)
    xr.testing.assert_allclose(mean.compute()["d"], ds["d"].mean("time"))
    xr.testing.assert_allclose(ds["d"].chunkwise.max("y").compute(), ds["d"].max("y"))
    assert ds.chunkwise["f"].name == "f" and ds.chunkwise.calc("f * 2").dims == ("time", "y", "x")
    assert "mean" in dir(ds.chunkwise) and "small" not in repr(ds.chunkwise) and "time: 14" in repr(ds.chunkwise)
    with pytest.raises(AttributeError, match="rolling"):
        ds.chunkwise.rolling


def test_the_accessor_sees_what_was_changed_in_place():
    ds = small()[["d"]]
    before = ds.chunkwise.mean().compute()["d"].item()
    ds["d"] = ds["d"] + 1
    assert np.isclose(ds.chunkwise.mean().compute()["d"].item(), before + 1)


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_importing_chunkwise_imports_no_xarray_and_finds_it_where_it_is():
    assert run("import chunkwise, sys; print('xarray' in sys.modules)") == ["False"]
    assert run("import xarray, chunkwise; print(hasattr(xarray.Dataset, 'chunkwise'))") == ["True"]
    assert run("import chunkwise.xarray, xarray; print(hasattr(xarray.DataArray, 'chunkwise'))") == ["True"]


def test_importing_in_any_order_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        subprocess.run([sys.executable, "-W", "error", "-c", "import xarray, chunkwise, chunkwise.xarray"], check=True)
