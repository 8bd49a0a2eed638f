"""What a request means, where it could be taken in two ways, against xarray: operators, conditions, labels, names."""

from __future__ import annotations

import datetime
import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import chunkwise as cw
from chunkwise.errors import KeyNotFoundError, ValueRefusedError

TIMES = pd.date_range("2000-01-01", periods=8, freq="6h")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Eight steps of six hours, three bands, rows that run north to south."""
    rng = np.random.default_rng(7)
    ds = xr.Dataset(
        {
            "t": (("time", "y", "x"), rng.normal(size=(8, 5, 6))),
            "u": (("time", "y", "x"), rng.normal(size=(8, 5, 6))),
            "c": (("time", "y", "x"), rng.integers(0, 2, (8, 5, 6)).astype("f8")),
            "v": (("band", "y", "x"), rng.normal(size=(3, 5, 6))),
            "dem": (("y", "x"), rng.normal(size=(5, 6))),
        },
        coords={"time": TIMES, "band": ["red", "nir", "scl"], "y": np.arange(5.0)[::-1], "x": np.arange(6.0)},
    )
    path = tmp_path_factory.mktemp("semantics") / "cube.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.to_zarr(path)
    return path


@pytest.fixture
def cube(path):
    return cw.open(path)


@pytest.fixture
def ds(path):
    return xr.open_zarr(path, chunks=None).load()


def same(ours, theirs) -> None:
    ours = ours.compute()
    assert set(ours.dims) == set(theirs.dims)
    theirs = theirs.transpose(*ours.dims)
    np.testing.assert_allclose(ours.values.astype("f8"), theirs.values.astype("f8"), rtol=1e-12, atol=1e-12)
    for dim in ours.dims:
        np.testing.assert_array_equal(ours[dim].values, theirs[dim].values)


# --- formulas as operands ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda d, cube: d * 2, lambda d, ds: d * 2),
        (lambda d, cube: -d, lambda d, ds: -d),
        (lambda d, cube: 1 - d, lambda d, ds: 1 - d),
        (lambda d, cube: d**2, lambda d, ds: d**2),
        (lambda d, cube: d.rename("e") * 2, lambda d, ds: d * 2),
        (lambda d, cube: d.fillna(0) / d, lambda d, ds: d.fillna(0) / d),
        (lambda d, cube: cube["u"] - d, lambda d, ds: ds["u"] - d),
        (lambda d, cube: np.minimum(d, d), lambda d, ds: d),
        (lambda d, cube: np.maximum(0, d), lambda d, ds: np.maximum(0, d)),
    ],
)
def test_a_formula_given_as_text_is_one_operand(cube, ds, ours, theirs):
    same(ours(cube.calc("t - u", name="d"), cube), theirs(ds["t"] - ds["u"], ds))


def test_a_condition_given_as_text_is_one_operand(cube, ds):
    same(cube.calc("t > 0 or u > 0") & (cube["c"] == 0), ((ds["t"] > 0) | (ds["u"] > 0)) & (ds["c"] == 0))
    same(cube.calc("not (t > 0)") == (cube["u"] > 0), ~(ds["t"] > 0) == (ds["u"] > 0))
    same(cube["t"].where("t > 0 or u > 0", -1), ds["t"].where((ds["t"] > 0) | (ds["u"] > 0), -1))


def test_a_long_chain_of_operators_is_no_deeper_than_its_operators(cube, ds):
    ours, theirs = cube["t"], ds["t"]
    for _ in range(60):
        ours, theirs = np.sqrt(abs(ours - 1)), np.sqrt(abs(theirs - 1))
    same(ours, theirs)


# --- arrays in conditions and formulas --------------------------------------------------------------------------------


def test_a_condition_keeps_its_own_condition(cube, ds):
    same(cube["t"].where(cube["u"].where("c == 0") > 0), ds["t"].where(ds["u"].where(ds["c"] == 0) > 0))
    ours, theirs = cube.where(cube["u"].where("c == 0") > 0)[["t"]]["t"], ds["t"].where(ds["u"].where(ds["c"] == 0) > 0)
    same(ours, theirs)


def test_a_condition_on_other_cells_is_refused_or_means_them(cube, ds):
    with pytest.raises(ValueRefusedError):
        cube["t"].where(cube["c"].isel(time=0) == 0)
    with pytest.raises(ValueRefusedError):
        cube["t"].isel(time=0).where(cube["c"] == 0)
    with pytest.raises(ValueRefusedError):
        cube["t"].isel(y=slice(0, 2)).where(cube["c"] == 0)
    same(cube["t"].where(cube["c"].isel(y=0) == 0), ds["t"].where(ds["c"].isel(y=0, drop=True) == 0))
    same(cube["t"].isel(time=0).where(cube["dem"] > 0), ds["t"].isel(time=0, drop=True).where(ds["dem"] > 0))
    same(cube["dem"].where(cube["t"].isel(time=3) > 0), ds["dem"].where(ds["t"].isel(time=3, drop=True) > 0))
    nir, scl = cube["v"].sel(band="nir"), cube["v"].sel(band="scl")
    theirs = ds["v"].sel(band="nir", drop=True).where(ds["v"].sel(band="scl", drop=True) > 0)
    same(nir.where(scl > 0), theirs)
    same(nir.where(scl > 0, -1), theirs.fillna(-1))


def test_an_array_in_a_formula_keeps_its_cells_and_its_condition(cube, ds):
    same(cube.calc(q=cube["t"].where("c == 0")), ds["t"].where(ds["c"] == 0))
    same(cube.calc(q=cube["v"].sel(band="nir") * 2), ds["v"].sel(band="nir", drop=True) * 2)
    same(cube.assign(q=cube["t"].where("c == 0"))["q"], ds["t"].where(ds["c"] == 0))
    same(cube.isel(time=0).calc(q=cube["dem"] + 1), ds["dem"] + 1)
    same(cube[["dem"]].assign(q=3)["q"] + cube["dem"], ds["dem"] + 3)
    with pytest.raises(ValueRefusedError):
        cube.calc(q=cube["t"].isel(time=0))
    with pytest.raises(ValueRefusedError):
        cube.isel(time=0).calc(q=cube["t"])


def test_arrays_of_another_cube_are_refused_wherever_arrays_are_taken(cube, ds, tmp_path):
    other = cube[["t"]].to_zarr(tmp_path / "other.zarr")["t"]
    for use in (
        lambda: cube.calc(q=other),
        lambda: cube.assign(q=other),
        lambda: cube.where(other > 0),
        lambda: cube["t"].where(other > 0),
        lambda: cube["t"] - other,
    ):
        with pytest.raises(ValueRefusedError, match="cube"):
            use()


def test_a_condition_on_a_variable_is_not_on_the_formula_of_its_name(cube, ds):
    same((cube["t"] - 1).where(cube["t"] > 0), (ds["t"] - 1).where(ds["t"] > 0))
    same(cube["t"].where("u > 0").rename("u"), ds["t"].where(ds["u"] > 0))
    with pytest.raises(ValueRefusedError, match="`t` is the name of a formula"):
        cube.where("t > 0").calc("t - 1", name="t")
    with pytest.raises(ValueRefusedError, match="`t` is the name of a formula"):
        cube.calc(t=cube["t"] + 1, d=cube["t"] * 2)


# --- conditions and what comes after them -----------------------------------------------------------------------------


def test_functions_of_missing_cells_see_what_a_condition_left_out(cube, ds):
    ours, theirs = cube["t"].where("c == 0"), ds["t"].where(ds["c"] == 0)
    same(ours.fillna(0), theirs.fillna(0))
    same(ours.isnull(), theirs.isnull())
    same(ours.notnull(), theirs.notnull())
    same(ours.isin([1, 2]), theirs.isin([1, 2]))
    both = ours.fillna(0) + cube["u"].where("c == 0").fillna(0)
    same(both, theirs.fillna(0) + ds["u"].where(ds["c"] == 0).fillna(0))


def test_a_choice_after_a_condition_chooses_among_what_is_left(cube, ds):
    same(cube["t"].where("u > 0").where("c == 0", -1), ds["t"].where(ds["u"] > 0).where(ds["c"] == 0, -1))
    ours = cube["t"].where("u > 0").where(cube["c"] == 0, cube["u"])
    same(ours, ds["t"].where(ds["u"] > 0).where(ds["c"] == 0, ds["u"]))


def test_a_cell_picked_of_what_a_condition_left_is_of_that_cell(cube, ds):
    ours, theirs = cube["t"].where("c == 0"), ds["t"].where(ds["c"] == 0)
    same(ours.isel(y=0) - cube["t"], theirs.isel(y=0, drop=True) - ds["t"])
    same(ours.isel(y=0) - ours, theirs.isel(y=0, drop=True) - theirs)
    same(ours.isel(y=0) - cube["t"].isel(y=1), theirs.isel(y=0, drop=True) - ds["t"].isel(y=1, drop=True))
    with pytest.raises(ValueRefusedError):
        ours.isel(time=0) - cube["t"]


def test_variables_without_a_picked_dimension_are_operands_as_ever(cube, ds):
    same(cube.isel(time=0)["dem"] + cube["t"], ds["dem"] + ds["t"])


# --- names of formulas ------------------------------------------------------------------------------------------------


def test_a_formula_of_several_is_taken_with_those_it_names(cube, ds):
    several = cube.calc("a = t + 1", "b = a * 2", "c2 = b - a")
    same(several["b"], (ds["t"] + 1) * 2)
    same(several.select("c2")["c2"], ds["t"] + 1)
    same(several["b"] - several["a"], ds["t"] + 1)
    assert set(several.data_vars) == {"a", "b", "c2"}
    same(several.where("b > 0")["a"], (ds["t"] + 1).where(ds["t"] + 1 > 0))
    same(several.calc("b + 1"), (ds["t"] + 1) * 2 + 1)


def test_formulas_beside_variables_are_added_and_replaced(cube, ds):
    added = cube.assign(a="t + 1").assign(b="a * 2")
    same(added["b"], (ds["t"] + 1) * 2)
    assert set(added) == {"t", "u", "c", "v", "dem", "a", "b"}
    same(added.assign(a="a * 3")["a"], (ds["t"] + 1) * 3)
    same(cube.assign(t="t + 1").assign(d="t * 2")["d"], (ds["t"] + 1) * 2)
    whole = cube[["t"]].assign(t="t + 1").assign(d="t * 2").compute()
    np.testing.assert_allclose(whole["d"], (ds["t"] + 1) * 2)
    np.testing.assert_allclose(whole["t"], ds["t"] + 1)
    assert list(cube.calc("a = t", "b = u").assign(e="a + b")) == ["a", "b", "e"]


# --- labels and windows -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
    [
        np.datetime64("2000-01-02"),
        np.datetime64("2000"),
        np.datetime64("2000-01-01T06", "h"),
        np.datetime64("2000-01-01T06:00:00", "ns"),
        pd.Timestamp("2000-01-02"),
        datetime.datetime(2000, 1, 1, 18),
        slice(np.datetime64("2000-01-01"), np.datetime64("2000-01-02")),
        slice(pd.Timestamp("2000-01-01"), pd.Timestamp("2000-01-02")),
        slice(datetime.datetime(2000, 1, 1, 1), datetime.datetime(2000, 1, 2)),
        slice("2000-01-01", "2000-01-02"),
        [np.datetime64("2000-01-02"), np.datetime64("2000-01-01")],
        "2000-01-02",
        "2000-01-02T00:00:00",
    ],
    ids=str,
)
def test_instants_are_instants_and_text_stands_for_all_that_begins_so(cube, ds, asked):
    ours, theirs = cube["t"].sel(time=asked), ds["t"].sel(time=asked)
    assert ours.shape == theirs.shape
    same(ours, theirs)


def test_instants_of_other_calendars_are_found(tmp_path):
    times = xr.date_range("2000-02-28", periods=6, freq="12h", calendar="360_day", use_cftime=True)
    ds = xr.Dataset({"t": ("time", np.arange(6.0))}, coords={"time": times})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.to_zarr(tmp_path / "days.zarr")
    array = cw.open(tmp_path / "days.zarr")["t"]
    for i, time in enumerate(times):
        assert array.sel(time=time).item() == i
    same(array.sel(time=slice(times[1], times[4])), ds["t"].sel(time=slice(times[1], times[4])))


def test_an_instant_that_is_no_label_is_not_found(cube):
    with pytest.raises(KeyNotFoundError):
        cube.sel(time=np.datetime64("2000-01-01T07", "h"))


def test_labels_of_any_microsecond_are_found_again(tmp_path):
    times = np.array([0, 500_000, 1_000_001, 1_500_000], "M8[us]").astype("M8[ns]")
    ds = xr.Dataset({"t": ("time", np.arange(4.0))}, coords={"time": times})
    ds["time"].encoding = {"units": "microseconds since 1970-01-01", "dtype": "int64"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.to_zarr(tmp_path / "fine.zarr")
    cube = cw.open(tmp_path / "fine.zarr")
    np.testing.assert_array_equal(cube.coords["time"], times)
    for i, label in enumerate(cube.coords["time"]):
        assert cube["t"].sel(time=label).item() == i
    same(cube["t"].sel(time=slice(times[1], times[2])), ds["t"].sel(time=slice(times[1], times[2])))


def test_labels_finer_than_a_microsecond_are_found_as_they_are_told_and_as_they_are(tmp_path):
    times = np.array([0, 1500, 2500, 10**9 + 1], "M8[ns]")
    ds = xr.Dataset({"t": ("time", np.arange(4.0))}, coords={"time": times})
    ds["time"].encoding = {"units": "nanoseconds since 1970-01-01", "dtype": "int64"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.to_zarr(tmp_path / "fine.zarr")
    array = cw.open(tmp_path / "fine.zarr")["t"]
    for i, told in enumerate(array.coords["time"]):
        assert array.sel(time=told).item() == array.sel(time=times[i]).item() == i


def test_a_selection_by_labels_keeps_the_order_of_the_one_before(cube, ds):
    back = slice(None, None, -1)
    same(cube["t"].isel(x=back).sel(x=slice(1, 4)), ds["t"].isel(x=back).sel(x=slice(4, 1)))
    same(cube["t"].isel(x=[4, 1, 3]).sel(x=slice(1, 3)), ds["t"].isel(x=[1, 3]))
    same(cube["t"].isel(x=[1, 1, 2]).sel(x=slice(1, 2)), ds["t"].isel(x=[1, 1, 2]).sel(x=slice(1, 2)))
    same(cube["t"].isel(x=[4, 1, 3]).sel(x=[3, 4]), ds["t"].isel(x=[4, 1, 3]).sel(x=[3, 4]))


def test_milliseconds_are_no_months(cube, ds):
    for freq in ("500ms", "ms", "1Ms"):
        with pytest.raises(ValueRefusedError, match="no window"):
            cube.resample(time=freq)
    same(cube["t"].resample(time="1MS").mean(), ds["t"].resample(time="1MS").mean())


@pytest.mark.parametrize("groups", ["groupby", "resample", "coarsen"])
def test_what_statistics_of_groups_do_not_take_is_refused(cube, groups):
    of = {
        "groupby": cube["t"].groupby("time.month"), "resample": cube["t"].resample(time="1D"), "coarsen": cube["t"].coarsen(x=2)
    }[groups]  # fmt: skip
    for name in ("mean", "sum", "min", "max", "std", "var", "median", "first", "last"):
        with pytest.raises(ValueRefusedError, match="skipna=False"):
            getattr(of, name)(skipna=False)
        with pytest.raises(TypeError):
            getattr(of, name)(weights=1)
        getattr(of, name)(skipna=True, keep_attrs=True)


# --- cubes ------------------------------------------------------------------------------------------------------------


def test_cubes_of_two_endpoints_are_two(cube):
    from chunkwise._source import Source

    one, two = (Source("s3://bucket/a.zarr", {"endpoint": f"http://h:{n}", "secret_access_key": "a"}) for n in (1, 2))
    assert one != two
    assert one == Source("s3://bucket/a.zarr", {"client_kwargs": {"endpoint_url": "http://h:1"}})
    assert cube._source == cw.open(cube.location)._source


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("packing", [{}, {"scale_factor": 0.5}, {"add_offset": 10.0}, {"scale_factor": 0.5, "add_offset": 10.0}])
@pytest.mark.parametrize("mark", [None, 7])
def test_the_type_that_is_told_is_the_type_that_is_computed(tmp_path, dtype, packing, mark):
    attrs = packing | ({} if mark is None else {"_FillValue": np.dtype(dtype).type(mark)})
    stored = xr.DataArray(np.arange(4, dtype=dtype), dims="x", attrs=attrs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stored.to_dataset(name="p").to_zarr(tmp_path / "p.zarr", zarr_format=2)
        theirs = xr.open_zarr(tmp_path / "p.zarr", chunks=None)["p"]
    ours = cw.open(tmp_path / "p.zarr")["p"]
    assert ours.dtype == ours.compute().dtype == theirs.dtype


# --- writing ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def new(tmp_path):
    """Makes an empty cube of six cells."""

    def make(dtype, attrs=None):
        stored = xr.DataArray(np.zeros(6, dtype), dims="x", attrs=attrs or {})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stored.to_dataset(name="n").to_zarr(tmp_path / "n.zarr", mode="w", zarr_format=2)
        return cw.open(tmp_path / "n.zarr")["n"]

    return make


def test_cells_are_not_written_through_a_condition(path, new):
    array = new("float64")
    with pytest.raises(ValueRefusedError, match="n > 0"):
        array.where("n > 0")[:] = -1
    assert (array.values == 0).all()


@pytest.mark.parametrize(
    ("dtype", "attrs", "values"),
    [
        ("float32", {}, [1e300, np.nan]),
        ("float32", {}, [16777217, 0]),
        ("float64", {}, [2**53 + 1, 0]),
        ("float64", {}, np.array([2**64 - 1, 0], "u8")),
        ("int64", {"add_offset": 1.0}, [2**60 + 1, 0]),
        ("int64", {}, [2.0**63, 0]),
        ("int64", {}, np.array([2**63, 0], "u8")),
        ("int16", {}, [0.5, 0]),
        ("int16", {}, [np.inf, 0]),
        ("uint8", {"_FillValue": np.uint8(255)}, [255, 0]),
        ("uint8", {"_FillValue": np.uint8(255), "scale_factor": 0.5}, [127.5, np.nan]),
        ("float32", {"_FillValue": np.float32(-9999)}, [-9999.0, 1]),
    ],
)
def test_values_that_would_become_others_are_refused(new, dtype, attrs, values):
    array = new(dtype, attrs)
    before = array.values
    with pytest.raises(ValueRefusedError):
        array[:2] = np.asarray(values)
    np.testing.assert_array_equal(array.values, before)


@pytest.mark.parametrize(
    ("dtype", "attrs", "values"),
    [
        ("float32", {}, [0.1, np.nan]),
        ("float32", {}, [16777216.0, 2.0**127]),
        ("float64", {}, [-(2**63), 2**62]),
        ("int64", {}, [-(2.0**63), 2.0**62]),
        ("uint8", {"_FillValue": np.uint8(255)}, [254, np.nan]),
        ("uint8", {"_FillValue": np.uint8(255)}, np.ma.array([1.0, np.nan], mask=[True, False])),
        ("int16", {"scale_factor": 0.5, "add_offset": 10.0, "_FillValue": np.int16(-1)}, [12.5, np.nan]),
        ("float32", {"_FillValue": np.float32(-9999)}, [1.0, np.nan]),
    ],
)
def test_values_that_are_held_are_read_again_by_xarray(new, dtype, attrs, values):
    array = new(dtype, attrs)
    array[:2] = np.ma.asarray(values) if isinstance(values, np.ma.MaskedArray) else np.asarray(values)
    found = xr.open_zarr(array.location, chunks=None)["n"].values[:2]
    wanted = np.ma.filled(np.ma.asarray(values, dtype="f8"), np.nan)
    np.testing.assert_array_equal(found, wanted.astype("f4") if dtype == "float32" else wanted)


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_errors_plans_and_bars_show_no_secrets(cube, monkeypatch):
    import tqdm.auto

    from chunkwise._options import progress_of

    url = "https://h.invalid/a.zip?sig=SECRET"
    for use in (
        lambda: cube["t"].plan(url),
        lambda: cw.open("s3://user:SECRET@h/a.zarr", ref="main"),
        lambda: cube["t"].to_geotiff("https://h.invalid/a?sig=SECRET"),
    ):
        with pytest.raises(cw.errors.ChunkwiseError) as caught:
            use()
        assert "SECRET" not in str(caught.value)
    plan = cw.Plan(cube["t"], (), {"location": url, "job": "1", "storage": []}, None, None, name="p")
    assert "SECRET" not in repr(plan)
    shown = []
    monkeypatch.setattr(tqdm.auto, "tqdm", lambda desc, **_: shown.append(desc))
    with pytest.raises(AttributeError):
        progress_of(True, url)
    assert shown == ["https://h.invalid/a.zip?sig=***"]


def test_a_plan_whose_output_had_a_signature_says_so_where_it_was_unpickled(cube):
    import pickle

    to = {"location": "https://h.invalid/a.zarr?sig=SECRET", "job": "1", "storage": []}
    plan = pickle.loads(pickle.dumps(cw.Plan(cube["t"], (), to, None, None, name="p")))
    with pytest.raises(ValueRefusedError, match="which pickles leave out"):
        plan._join(None)


# --- clusters ---------------------------------------------------------------------------------------------------------


def test_a_job_that_fits_the_workers_is_written_from_a_client_with_less_memory(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    stored = xr.Dataset({"n": (("y", "x"), np.arange(4e6).reshape(2000, 2000))})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stored.to_zarr(tmp_path / "n.zarr", encoding={"n": {"chunks": (1000, 1000)}})
    monkeypatch.setenv("CHUNKWISE_MEMORY", "1MiB")
    cube = cw.open(tmp_path / "n.zarr")
    with pytest.raises(cw.errors.PlanRefusedError):
        (cube["n"] + 1).to_zarr(tmp_path / "alone.zarr")
    with distributed.Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        written = (cube["n"] + 1).to_zarr(tmp_path / "written.zarr", client=client, memory="1GiB")
    np.testing.assert_array_equal(xr.open_zarr(written.location, chunks=None)["n"], stored["n"] + 1)
