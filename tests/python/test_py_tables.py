"""Tables in Python: statistics of zones against exactextract, series, checks; and what reads them."""

from __future__ import annotations

import json

import duckdb
import geopandas as gpd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import shapely
import xarray as xr
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource

import chunkwise as cw


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    """Three dates of 40 × 50 cells with gaps, in UTM zone 33."""
    rng = np.random.default_rng(3)
    values = rng.random((3, 40, 50)).astype("float32") * 100
    values[rng.random(values.shape) < 0.1] = np.nan
    ds = xr.Dataset(
        {"v": (("time", "y", "x"), values, {"grid_mapping": "spatial_ref"})},
        coords={
            "time": pd.date_range("2024-01-15", periods=3, freq="MS"),
            "y": 5_000_400.0 - 10 * np.arange(40) - 5,
            "x": 500_000.0 + 10 * np.arange(50) + 5,
        },
    )
    ds = ds.rio.write_crs("EPSG:32633") if hasattr(ds, "rio") else ds
    import rioxarray  # noqa: F401 - gives `rio`

    ds = ds.rio.write_crs("EPSG:32633")
    path = str(tmp_path_factory.mktemp("zones") / "v.zarr")
    ds.to_zarr(path, encoding={"v": {"chunks": (1, 16, 16)}}, zarr_format=3)
    return cw.open(path)


@pytest.fixture(scope="module")
def fields():
    """Polygons with slanted edges, a hole, one half outside."""
    rng = np.random.default_rng(8)
    shapes = []
    for i in range(12):
        x, y = 500_000 + rng.random() * 480, 5_000_000 + rng.random() * 380
        corners = [(x + 60 * np.cos(a), y + 45 * np.sin(a)) for a in np.sort(rng.random(7)) * 2 * np.pi]
        shapes.append(shapely.Polygon(corners).convex_hull)
    shapes[0] = shapes[0].difference(shapes[0].centroid.buffer(12))
    return gpd.GeoDataFrame({"name": [f"field {i}" for i in range(12)]}, geometry=shapes, crs="EPSG:32633", index=range(100, 112))


def expected(cube, fields, operations):
    """What exactextract finds, by zone and date."""
    array = cube["v"].compute()
    found = []
    for i in range(array.sizes["time"]):
        raster = NumPyRasterSource(
            np.ma.masked_invalid(array.values[i].astype("f8")), 500_000, 5_000_000, 500_500, 5_000_400, srs_wkt=fields.crs.to_wkt()
        )
        found.append([r["properties"] for r in exact_extract(raster, fields, operations)])
    return found


def check_zones(table, cube, fields):
    operations = ["mean", "count", "stdev", "min", "max"]
    frame = table.to_pandas()
    for i, zones in enumerate(expected(cube, fields, operations)):
        ours = frame[frame["time"] == cube.coords["time"][i]]
        for name, theirs in {"mean": "mean", "coverage": "count", "std": "stdev", "min": "min", "max": "max"}.items():
            wanted = np.array([z[theirs] if z[theirs] is not None else np.nan for z in zones], dtype="f8")
            np.testing.assert_allclose(ours[name].to_numpy(dtype="f8"), wanted, rtol=1e-6, err_msg=name)


STATISTICS = ["mean", "coverage", "std", "min", "max", "count"]


def test_zones_of_a_geodataframe_equal_exactextract(cube, fields):
    table = cube["v"].zonal(fields, STATISTICS)
    check_zones(table, cube, fields)
    assert table.to_pandas()["zone"].unique().tolist() == list(range(100, 112))
    named = cube["v"].zonal(fields, ["mean"], zone_id="name").to_pandas()
    assert named["zone"].unique().tolist() == list(fields["name"])


def test_zones_may_be_files_geojson_shapes_and_of_another_crs(cube, fields, tmp_path):
    base = cube["v"].zonal(fields, STATISTICS).to_pandas().drop(columns="zone")
    file = tmp_path / "fields.gpkg"
    fields.to_file(file)
    pd.testing.assert_frame_equal(cube["v"].zonal(file, STATISTICS).to_pandas().drop(columns="zone"), base)
    shapes = cube["v"].zonal(list(fields.geometry), STATISTICS, crs=32633)
    pd.testing.assert_frame_equal(shapes.to_pandas().drop(columns="zone"), base)
    geojson = json.loads(fields.to_crs("EPSG:4326").to_json())
    turned = cube["v"].zonal(geojson, STATISTICS).to_pandas().drop(columns="zone")
    # There and back moves corners by less than a millimetre.
    np.testing.assert_allclose(turned["mean"], base["mean"], rtol=1e-5)
    one = cube["v"].isel(time=0).zonal(fields.geometry.iloc[3], ["mean"], crs="EPSG:32633").to_pandas()
    assert one["mean"].iloc[0] == base["mean"].iloc[3 * 3]


def test_zones_without_a_crs_are_refused(cube, fields):
    with pytest.raises(ValueError, match="CRS"):
        cube["v"].zonal(fields.set_crs(None, allow_override=True))
    cube["v"].zonal(fields.set_crs(None, allow_override=True), crs="cube")


def test_zones_follow_formulas_masks_and_selections(cube, fields):
    lazy = cube.calc("v * 2 + 1", name="w").where("v > 20").isel(time=[0, 2])
    found = lazy.zonal(fields, ["mean", "count"]).to_pandas()
    plain = cube["v"].where(cube["v"] > 20).isel(time=[0, 2]).zonal(fields, ["mean", "count"]).to_pandas()
    np.testing.assert_allclose(found["mean"], plain["mean"] * 2 + 1, rtol=1e-6)
    assert found["count"].tolist() == plain["count"].tolist()
    assert found["variable"].unique().tolist() == ["w"]


def test_zones_may_be_a_variable_of_a_cube(cube, fields, tmp_path):
    burnt = cube.rasterize(fields, tmp_path / "zones.zarr", zone_id="name")
    name = next(iter(burnt))
    found = cube["v"].zonal(burnt[name], ["mean", "count"]).to_pandas()
    centre = cube["v"].zonal(fields, ["mean", "count"], zone_id="name", touch="centre").to_pandas()
    # In flag meanings a blank would end a name.
    centre["zone"] = centre["zone"].str.replace(" ", "_")
    both = found.merge(centre, on=["zone", "time"], suffixes=("", "_of_polygons"))
    # Where polygons overlap, a cell of the raster is of one of them.
    whole = both[both["count"] == both["count_of_polygons"]]
    assert len(whole) > 9
    np.testing.assert_allclose(whole["mean"], whole["mean_of_polygons"], rtol=1e-12)


def test_what_reads_arrow_reads_tables(cube, fields):
    table = cube["v"].zonal(fields, ["mean", "count"])
    assert table.schema == {"variable": "Utf8", "zone": "Int64", "time": "Timestamp(µs)", "mean": "Float64", "count": "UInt64"}
    frame = table.to_pandas()
    assert len(table) == len(frame) == 36
    arrow = pa.table(table)
    assert arrow.schema.field("count").type == pa.uint64() and arrow.schema.field("time").type == pa.timestamp("us")
    assert arrow.column("mean").to_pylist() == table.to_dict()["mean"].tolist()
    assert table.to_polars()["mean"].sum() == pytest.approx(np.nansum(frame["mean"]))
    assert isinstance(pl.DataFrame(table), pl.DataFrame)
    found = duckdb.sql("select count(*), max(count) from table_").limit(1).fetchall() if (table_ := table) else None
    assert found == [(36, frame["count"].max())]
    rows = table.to_pylist()
    assert rows[0]["zone"] == 100 and rows[0]["mean"] == frame["mean"].iloc[0]
    # The table is not used up by what read it.
    assert pa.table(table).num_rows == 36


def test_missing_is_null(cube):
    far = shapely.box(500_000, 5_000_000, 500_000.001, 5_000_000.001)
    masked = cube["v"].where("v > 1000").isel(time=0)
    rows = masked.zonal([far], ["mean", "count"], crs="EPSG:32633")
    assert pa.table(rows).column("mean").to_pylist() == [None]
    assert rows.to_pylist()[0]["mean"] is None and rows.to_pylist()[0]["count"] == 0


def test_series_at_points_are_the_nearest_cells(cube):
    array = cube["v"].compute()
    found = cube["v"].series(x=500_123.0, y=5_000_101.0).to_pandas()
    theirs = array.sel(x=500_123, y=5_000_101, method="nearest")
    np.testing.assert_array_equal(found["v"].to_numpy(), theirs.values)
    assert found["x"].unique().tolist() == [float(theirs.x)] and found["asked_x"].unique().tolist() == [500_123.0]
    xs, ys = [500_005.0, 500_300.0], [5_000_395.0, 5_000_003.0]
    many = cube["v"].series(x=xs, y=ys).to_pandas()
    both = array.sel(x=xr.DataArray(xs, dims="p"), y=xr.DataArray(ys, dims="p"), method="nearest").transpose("p", "time")
    np.testing.assert_array_equal(many["v"].to_numpy(), both.values.ravel())
    by_index = cube["v"].series(iat={"y": 3, "x": -1}).to_pandas()
    np.testing.assert_array_equal(by_index["v"].to_numpy(), array.values[:, 3, -1])


def test_series_at_points_of_tables_and_geometries(cube):
    array = cube["v"].compute()
    table = pd.DataFrame({"name": ["a", "b"], "y": [5_000_395.0, 5_000_003.0], "x": [500_005.0, 500_303.0]})
    found = cube["v"].series(points=table).to_pandas()
    assert found["point"].tolist() == ["a"] * 3 + ["b"] * 3
    np.testing.assert_array_equal(found["v"].to_numpy()[:3], array.values[:, 0, 0])
    points = gpd.GeoDataFrame({"name": ["a", "b"]}, geometry=gpd.points_from_xy(table["x"], table["y"]), crs=32633)
    turned = cube["v"].series(points=points.to_crs(4326), point_id="name").to_pandas()
    np.testing.assert_array_equal(turned["v"].to_numpy(), found["v"].to_numpy())
    with pytest.raises(LookupError):
        cube["v"].series(lat=3, lon=4)
    with pytest.raises(LookupError, match="9000000"):
        cube["v"].series(x=9_000_000, y=5_000_101)


def test_stats_are_those_of_numpy(cube):
    values = cube["v"].compute().values
    [row] = cube["v"].stats().to_pylist()
    assert (row["count"], row["missing"]) == (np.isfinite(values).sum(), np.isnan(values).sum())
    for name, theirs in {"min": np.nanmin, "max": np.nanmax, "mean": np.nanmean, "std": np.nanstd}.items():
        assert row[name] == pytest.approx(theirs(values.astype("f8")), rel=1e-12)
    by_time = cube["v"].stats(by="time").to_pandas()
    np.testing.assert_allclose(by_time["mean"], np.nanmean(values.astype("f8"), axis=(1, 2)))


def test_records_of_a_result(cube):
    table = cube["v"].reduce(["mean", "count"], ["y", "x"]).to_table().to_pandas()
    assert list(table.columns) == ["variable", "time", "mean", "count"]
    np.testing.assert_allclose(table["mean"], cube["v"].mean(["y", "x"]).compute(dtype="float64").values)


def test_comparisons_say_whether_cubes_are_equal(cube, tmp_path):
    same = cube["v"].isel(time=slice(None)).to_zarr(tmp_path / "same.zarr", chunks={"y": 40, "x": 50})
    assert cw.compare(cube.location, same)
    other = cube.calc("v + 0.5", name="v").to_zarr(tmp_path / "other.zarr")
    found = cube.compare(other)
    assert not found and not found.equal and "v" in repr(found)


def test_verify_finds_a_damaged_chunk(cube, tmp_path):
    whole = cube["v"].mean("time").to_zarr(tmp_path / "whole.zarr", chunks={"y": 10, "x": 50})
    assert whole.verify() and whole.verify().problems == []
    chunk = tmp_path / "whole.zarr" / "v" / "c" / "1" / "0"
    chunk.write_bytes(chunk.read_bytes()[:10])
    found = whole.verify()
    assert not found and "c/1/0" in str(found.problems)
    with pytest.raises(OSError, match="c/1/0"):
        whole["v"].compute()
