"""`series --points`: many points, from tables and from files of features; tables as Parquet and Arrow. What is right comes from xarray.

    $ .venv/bin/python -m pytest tests/python/test_points.py
"""

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.feather
import pyproj
import pytest
import xarray as xr
from shapely.geometry import Point

from small import build

UTM = {"crs_wkt": pyproj.CRS.from_epsg(32633).to_wkt()}
Y = 5099990 - 20.0 * np.arange(60)
X = 400010 + 20.0 * np.arange(70)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """`v(time, y, x)` int16 packed, `w(time, y, x)` float32 in other chunks, `z(y, x)`, on 60 × 70 cells of 20 m in EPSG:32633."""
    rng = np.random.default_rng(7)
    crs = {"grid_mapping": "spatial_ref", "coordinates": "spatial_ref"}
    arrays = {
        "v": (("time", "y", "x"), rng.integers(-900, 900, (5, 60, 70)).astype("int16"), crs | {"scale_factor": 0.01, "add_offset": 3.0, "_FillValue": -1}, {"chunks": (2, 16, 20)}),
        "w": (("time", "y", "x"), rng.normal(size=(5, 60, 70)).astype("float32"), crs, {"chunks": (5, 25, 70), "fill": np.nan}),
        "z": (("y", "x"), rng.integers(0, 9, (60, 70)), crs, {"chunks": (16, 20)}),
        "time": (("time",), np.arange(5), {"units": "days since 2024-02-27", "calendar": "standard"}),
        "y": (("y",), Y, {"standard_name": "projection_y_coordinate", "units": "m"}),
        "x": (("x",), X, {"standard_name": "projection_x_coordinate", "units": "m"}),
        "spatial_ref": ((), np.int64(0), UTM),
    }
    return build(tmp_path_factory.mktemp("points") / "c.zarr", arrays)


@pytest.fixture(scope="module")
def places():
    """300 points within the cube, of which some share cells, as (x, y) in EPSG:32633."""
    rng = np.random.default_rng(3)
    at = np.c_[rng.uniform(X[0] - 9, X[-1] + 9, 300), rng.uniform(Y[-1] - 9, Y[0] + 9, 300)]
    return np.r_[at, at[:20]]


def nearest(path, at):
    """What xarray finds at points, one row for each point and time."""
    with xr.open_zarr(path, consolidated=False) as cube:
        found = cube.sel(x=xr.DataArray(at[:, 0], dims="point"), y=xr.DataArray(at[:, 1], dims="point"), method="nearest")
        return found[["v", "w", "z"]].transpose("point", ...).load()


def check(rows, want):
    """Rows of `v` and `w` stand in the order of points and times; those of `z` follow for each point."""
    by_time = [r for r in rows if "time" in r]
    for name in ("v", "w"):
        np.testing.assert_array_equal(np.array([r[name] for r in by_time], float), want[name].values.ravel())
    assert [r["z"] for r in rows if "z" in r] == want["z"].values.tolist()
    assert [r["x"] for r in by_time] == np.repeat(want["x"].values, 5).tolist()
    assert [r["time"] for r in by_time[:5]] == ["2024-02-27", "2024-02-28", "2024-02-29", "2024-03-01", "2024-03-02"]


def test_many_points_are_those_of_xarray(cw, path, places, tmp_path):
    pd.DataFrame(places, columns=["x", "y"]).to_csv(tmp_path / "p.csv", index=False)
    rows = cw("series", path, "--points", tmp_path / "p.csv").ok().json
    check(rows, nearest(path, places))
    assert [r["point"] for r in rows] == np.repeat(np.arange(320), 6).tolist()
    # The same on one thread, in little memory, and where a point is asked for by index.
    assert cw("series", path, "--points", tmp_path / "p.csv", "--threads", "1", "--memory", "48MiB").ok().json == rows
    one = cw("series", path, "--iat", "y=3,x=5").ok().json
    assert [r["v"] for r in one[:5]] == xr.open_zarr(path, consolidated=False)["v"][:, 3, 5].values.tolist()


def test_each_chunk_is_decoded_once_however_many_points_lie_in_it(cw, path, places, tmp_path):
    pd.DataFrame(places, columns=["x", "y"]).to_csv(tmp_path / "p.csv", index=False)
    for name, chunks in (("v", 3 * 4 * 4), ("w", 3), ("z", 16)):
        asked = ["series", path, "--var", name, "--points", tmp_path / "p.csv"]
        plan = cw(*asked, "--explain").ok().json
        assert (plan["chunks"], plan["requests"], plan["amplification"]) == (chunks, chunks, 1)
        assert plan["output_bytes"] == 8 * 320 * (1 if name == "z" else 5)
        run = cw(*asked, json=False).ok()
        assert run.summary["chunks"] == chunks
    both = cw("series", path, "--calc", "s = v + w", "--points", tmp_path / "p.csv", json=False).ok()
    assert both.summary["chunks"] == 48 + 3


def test_formulas_masks_and_selections_hold_at_points(cw, path, places, tmp_path):
    pd.DataFrame(places[:50], columns=["x", "y"]).to_csv(tmp_path / "p.csv", index=False)
    rows = cw("series", path, "--calc", "s = v + w", "--where", "z > 3", "--isel", "time=1:4:2", "--points", tmp_path / "p.csv").ok().json
    want = nearest(path, places[:50])
    want = (want["v"].astype("float64") + want["w"]).where(want["z"] > 3).isel(time=[1, 3])
    np.testing.assert_allclose(np.array([r["s"] for r in rows], float), want.values.ravel(), rtol=1e-12)


WRITERS = {
    "geojson": lambda frame, file: frame.to_file(file, driver="GeoJSON"),
    "gpkg": lambda frame, file: frame.to_file(file, driver="GPKG"),
    "fgb": lambda frame, file: frame.to_file(file, driver="FlatGeobuf", SPATIAL_INDEX="NO"),
    "shp": lambda frame, file: frame.to_file(file),
    "parquet": lambda frame, file: frame.to_parquet(file),
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("epsg", [4326, 32633, 3857])
def test_points_of_features_in_any_crs(cw, path, places, tmp_path, kind, epsg):
    if kind == "geojson" and epsg != 4326:
        pytest.skip("GeoJSON is written in longitudes and latitudes")
    frame = gpd.GeoDataFrame({"site": [f"s{i}" for i in range(320)]}, geometry=[Point(p) for p in places], crs=32633).to_crs(epsg)
    WRITERS[kind](frame, tmp_path / f"p.{kind}")
    rows = cw("series", path, "--points", tmp_path / f"p.{kind}", "--point-id", "site").ok().json
    check(rows, nearest(path, places))
    assert [r["point"] for r in rows[::6]] == frame["site"].tolist()


def test_columns_of_a_table_may_be_in_another_crs(cw, path, places, tmp_path):
    lon, lat = pyproj.Transformer.from_crs(32633, 4326, always_xy=True).transform(places[:, 0], places[:, 1])
    table = pd.DataFrame({"name": [f"p{i}" for i in range(320)], "Lat": lat, "lon": lon, "height": 3.5})
    table.to_csv(tmp_path / "p.csv", index=False)
    table.to_parquet(tmp_path / "p.parquet")
    for file in ("p.csv", "p.parquet"):
        rows = cw("series", path, "--points", tmp_path / file, "--points-crs", "EPSG:4326").ok().json
        check(rows, nearest(path, places))
        assert rows[6]["point"] == "p1"
    cw("series", path, "--points", tmp_path / "p.csv").refused("no dimension `Lat`", "--points-crs EPSG:4326")
    table[["name", "height"]].to_csv(tmp_path / "q.csv", index=False)
    cw("series", path, "--points", tmp_path / "q.csv", "--points-crs", "EPSG:4326").refused("no columns of coordinates", "height")


def test_points_that_cannot_be_placed_are_named(cw, path, tmp_path):
    frame = gpd.GeoDataFrame({"site": ["in", "out"]}, geometry=[Point(X[3], Y[3]), Point(0, 0)], crs=32633)
    frame.to_file(tmp_path / "p.gpkg")
    cw("series", path, "--points", tmp_path / "p.gpkg", "--point-id", "site").refused('"out"', "p.gpkg", "outside|beyond|half a cell")
    frame.set_crs(None, allow_override=True).to_parquet(tmp_path / "p.parquet")
    cw("series", path, "--points", tmp_path / "p.parquet").refused("does not say the CRS", "--points-crs")
    frame.set_geometry(frame.buffer(9)).to_file(tmp_path / "b.gpkg")
    cw("series", path, "--points", tmp_path / "b.gpkg").refused("Polygon", "no point")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 nothing PAR1")
    cw("series", path, "--points", tmp_path / "t.parquet").refused("t.parquet")


def test_tables_as_parquet_and_arrow_have_types(cw, path, places, tmp_path):
    pd.DataFrame(places[:9], columns=["x", "y"]).to_csv(tmp_path / "p.csv", index=False)
    asked = ["series", path, "--var", "v", "--points", tmp_path / "p.csv"]
    rows = cw(*asked).ok().json
    cw(*asked, "-o", tmp_path / "o.parquet").ok()
    cw(*asked, "-o", tmp_path / "o.arrow").ok()
    found = pd.read_parquet(tmp_path / "o.parquet")
    assert found.dtypes.astype(str).to_dict() == {
        "point": "int64", "y": "float64", "x": "float64", "asked_y": "float64", "asked_x": "float64", "time": "datetime64[us]", "v": "float64",
    }  # fmt: skip
    want = pd.DataFrame(rows).astype({"time": "datetime64[us]"})
    pd.testing.assert_frame_equal(found, want)
    pd.testing.assert_frame_equal(pyarrow.feather.read_feather(tmp_path / "o.arrow"), want)
    cw(*asked, "-o", tmp_path / "o.parquet").refused("exists", "--overwrite")
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".part")]


def test_columns_of_parquet_hold_what_comes_late(cw, tmp_path):
    # 20,000 rows: more than are looked at for types. The first values of `v` are missing, names of zones are mixed.
    values = np.full((20_000, 2), np.nan)
    values[-1] = 2.5
    late = build(tmp_path / "c.zarr", {"v": (("t", "x"), values, {}, {"chunks": (5000, 2), "fill": np.nan})})
    (tmp_path / "p.csv").write_text("point,x\nfirst,0\n7,1\n")
    cw("series", late, "--points", tmp_path / "p.csv", "-o", tmp_path / "o.parquet").ok()
    found = pd.read_parquet(tmp_path / "o.parquet")
    assert len(found) == 40_000 and found["v"].dtype == "float64" and found["v"].count() == 2
    assert found["point"].unique().tolist() == ["first", "7"]


def test_rows_of_a_file_may_be_many_and_keep_to_the_budget(cw, tmp_path):
    """400 points × 1,000 times: more rows than are printed, written as they come."""
    values = np.arange(1000 * 40 * 40, dtype="float32").reshape(1000, 40, 40)
    long = build(tmp_path / "c.zarr", {"v": (("time", "y", "x"), values, {}, {"chunks": (50, 20, 20)})})
    pd.DataFrame({"y": np.arange(400) // 10, "x": np.arange(400) % 10 * 4}).to_csv(tmp_path / "p.csv", index=False)
    asked = ["series", long, "--points", tmp_path / "p.csv"]
    cw(*asked).refused("400000 rows", "-o OUT.csv")
    run = cw(*asked, "-o", tmp_path / "o.parquet", "--memory", "64MiB", "--threads", "2", measure=True).ok()
    assert run.peak <= 64 * 2**20
    found = pd.read_parquet(tmp_path / "o.parquet")["v"].values.reshape(400, 1000)
    at = pd.read_csv(tmp_path / "p.csv")
    np.testing.assert_array_equal(found, values[:, at["y"], at["x"]].T)
