"""`rasterize`: polygons as a cube of zones. What is right comes from GDAL (rasterio) and from the raster that came with the polygons.

    $ .venv/bin/python -m pytest tests/python/test_rasterize.py
"""

import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rasterio.features
import xarray as xr
from shapely import affinity
from shapely.geometry import Point, box

from small import build


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """`v(t, y, x)` on 60 × 80 cells of side 2, whose y descends from 119 to 1."""
    arrays = {
        "v": (("t", "y", "x"), np.arange(2 * 60 * 80, dtype="int16").reshape(2, 60, 80), {}, {"chunks": (1, 25, 32)}),
        "y": (("y",), 119.0 - 2 * np.arange(60)),
        "x": (("x",), 1.0 + 2 * np.arange(80)),
    }
    return build(tmp_path_factory.mktemp("grid") / "c.zarr", arrays)


@pytest.fixture(scope="module")
def shapes():
    """Ellipses and boxes of any size, of which many lie over others, and some outside."""
    rng = np.random.default_rng(11)
    round_ = lambda: affinity.scale(Point(rng.uniform(-10, 170), rng.uniform(-10, 130)).buffer(1), *10 ** rng.uniform(-0.7, 1.5, 2))
    return [round_() for _ in range(60)] + [box(20, 20, 60.5, 41.5), box(500, 500, 600, 600)]


def saved(path, shapes, **columns):
    gpd.GeoDataFrame(columns, geometry=list(shapes)).to_file(path)
    return path


def zones(path, name="zone"):
    with xr.open_zarr(path, consolidated=False, mask_and_scale=False) as cube:
        return cube[name].load()


@pytest.mark.parametrize("touch", ["centre", "all"])
@pytest.mark.parametrize("threads", ["1", "3"])
def test_cells_are_those_of_gdal(cw, grid, shapes, tmp_path, touch, threads):
    file = saved(tmp_path / "z.gpkg", shapes, code=np.arange(62) * 3 - 5)
    asked = ["rasterize", file, "--like", grid, "--zone-id", "code", "--zones-crs", "cube", "--touch", touch, "-o", tmp_path / "z.zarr", "--threads", threads]
    cw(*asked).ok()
    found = zones(tmp_path / "z.zarr")
    assert (found.dims, found.dtype, found.attrs["_FillValue"]) == (("y", "x"), "int16", -32768)
    transform = rasterio.transform.from_origin(0, 120, 2, 2)
    want = rasterio.features.rasterize(
        [(s, 3 * i - 5) for i, s in enumerate(shapes)], (60, 80), fill=-32768, transform=transform, all_touched=touch == "all", dtype="int32"
    )
    # GDAL's "all touched" walks along edges in its own arithmetic.
    assert (found.values != want).sum() <= (0 if touch == "centre" else 60 * 80 * 0.002)


def test_the_raster_that_came_with_the_polygons(cw, data, tmp_path):
    folder = data / "s2-l1c-slovenia"
    cw("rasterize", folder / "lulc.gpkg", "--like", folder / "series.zarr", "--zone-id", "LULC_ID", "--name", "lulc", "-o", tmp_path / "z.zarr").ok()
    found = zones(tmp_path / "z.zarr", "lulc")
    with rasterio.open(folder / "lulc.tif") as tif:
        np.testing.assert_array_equal(found.values, tif.read(1))
        with xr.open_zarr(tmp_path / "z.zarr", consolidated=False) as cube:
            import rioxarray  # noqa: F401

            assert cube.rio.crs == tif.crs
            np.testing.assert_allclose(cube.rio.transform()[:6], tif.transform[:6], rtol=1e-9)
    # Zones cell by cell are the polygons by centre.
    ask = ["zonal", folder / "series.zarr", "--var", "dem", "--with", "mean,count"]
    cw("rasterize", folder / "lulc.gpkg", "--like", folder / "series.zarr", "-o", tmp_path / "n.zarr").ok()
    by_cell = cw(*ask, "--zones", f"{tmp_path / 'n.zarr'}:zone").ok().json
    by_centre = {r["zone"]: r for r in cw(*ask, "--zones", folder / "lulc.gpkg", "--touch", "centre").ok().json}
    assert len(by_cell) > 70 and all(r == by_centre[r["zone"]] for r in by_cell)


def test_zones_with_names_get_numbers_that_say_them(cw, grid, shapes, tmp_path):
    file = saved(tmp_path / "z.gpkg", shapes[-2:-1] + [box(100, 100, 120, 110), box(30, 60, 40, 70)], what=["dry grass", "water", "dry grass"])
    cw("rasterize", file, "--like", grid, "--zone-id", "what", "--zones-crs", "cube", "--name", "cover", "-o", tmp_path / "z.zarr").ok()
    found = zones(tmp_path / "z.zarr", "cover")
    assert found.attrs["flag_meanings"] == "dry_grass water" and list(found.attrs["flag_values"]) == [1, 2]
    assert np.unique(found.values).tolist() == [1, 2, 255]
    rows = cw("zonal", grid, "--zones", f"{tmp_path / 'z.zarr'}:cover", "--with", "count", "--isel", "t=0").ok().json
    assert {r["zone"]: r["count"] for r in rows} == {"dry_grass": 20 * 11 + 25, "water": 50}


def test_shared_cells_are_told_and_the_last_zone_has_them(cw, grid, tmp_path):
    file = saved(tmp_path / "z.gpkg", [box(0, 0, 40, 40), box(20, 20, 60, 60)])
    run = cw("rasterize", file, "--like", grid, "--zones-crs", "cube", "-o", tmp_path / "z.zarr", json=False).ok()
    assert "700 cells lie in 2 zones, 100 of them in several" in run.err
    assert int(zones(tmp_path / "z.zarr").sel(x=31, y=31)) == 1


def test_layout_explain_and_refusals(cw, grid, tmp_path):
    file = saved(tmp_path / "z.gpkg", [box(0, 0, 40, 40)], code=[300])
    ask = ["rasterize", file, "--like", grid, "--zones-crs", "cube", "-o", tmp_path / "z.zarr"]
    plan = cw(*ask, "--explain", "--chunk", "y=10,x=20").ok().json
    assert (plan["output_chunks"], plan["output_bytes"]) == (24, 4800) and not (tmp_path / "z.zarr").exists()
    cw(*ask, "--chunk", "y=10,x=20", "--shard", "y=60,x=40", "--codec", "gzip:1", "--dtype", "uint16").ok()
    about = json.loads((tmp_path / "z.zarr/zone/zarr.json").read_text())
    assert about["chunk_grid"]["configuration"]["chunk_shape"] == [60, 40] and about["data_type"] == "uint16"
    cw("verify", tmp_path / "z.zarr").ok()
    cw(*ask).refused("exists", "--overwrite")
    cw(*ask, "--overwrite", "--zone-id", "code", "--dtype", "uint8").refused("uint8", "does not hold")
    cw(*ask, "--overwrite", "--memory", "1MiB").refused("budget", "--memory")
    cw("rasterize", file, "--like", grid, "-o", tmp_path / "o.zarr").refused("CRS", "--zones-crs")
    cw("rasterize", file, "--like", tmp_path / "none.zarr", "-o", tmp_path / "o.zarr").refused("none.zarr")
    cw("rasterize", tmp_path / "none.gpkg", "--like", grid, "-o", tmp_path / "o.zarr").refused("none.gpkg")
    assert not (tmp_path / "o.zarr").exists()
    # What was there before is whole.
    assert int((zones(tmp_path / "z.zarr") == 0).sum()) == 400


def test_a_geotiff_on_the_same_grid_is_zones(cw, data, tmp_path):
    folder = data / "s2-l1c-slovenia"
    ask = ["zonal", folder / "series.zarr", "--var", "dem", "--with", "mean,count,min"]
    rows = cw(*ask, "--zones", folder / "lulc.tif").ok().json
    with rasterio.open(folder / "lulc.tif") as tif:
        classes = tif.read(1, masked=True)
    with xr.open_zarr(folder / "series.zarr") as cube:
        dem = cube["dem"].squeeze().values
    for row in rows:
        own = dem[(classes == row["zone"]).filled(False)]
        assert (row["count"], row["min"]) == (own.size, own.min()) and row["mean"] == pytest.approx(own.mean(), rel=1e-9)
    assert [r["zone"] for r in rows] == sorted(set(classes.compressed().tolist()))
    # South up, west to the right: the same cells.
    with rasterio.open(folder / "lulc.tif") as tif:
        about = tif.profile | {"transform": tif.transform @ rasterio.Affine.translation(tif.width, tif.height) @ rasterio.Affine.scale(-1, -1)}
        with rasterio.open(tmp_path / "turned.tif", "w", **about) as turned:
            turned.write(tif.read()[:, ::-1, ::-1])
    assert cw(*ask, "--zones", tmp_path / "turned.tif").ok().json == rows
    # Another grid, another CRS, no grid.
    with rasterio.open(folder / "lulc.tif") as tif:
        for name, change in {"shifted": {"transform": tif.transform @ rasterio.Affine.translation(1, 0)}, "crs": {"crs": "EPSG:32634"}}.items():
            with rasterio.open(tmp_path / f"{name}.tif", "w", **(tif.profile | change)) as other:
                other.write(tif.read())
    cw(*ask, "--zones", tmp_path / "shifted.tif").refused("another grid", "101 × 100", "465[0-9.]+ … 466[0-9.]+")
    cw(*ask, "--zones", tmp_path / "crs.tif").refused("32634", "32633")
    (tmp_path / "cut.tif").write_bytes((folder / "lulc.tif").read_bytes()[:200])
    cw(*ask, "--zones", tmp_path / "cut.tif").refused("cut.tif")
    cw(*ask, "--zones", tmp_path / "none.tif").refused("none.tif")


def test_each_name_is_a_word_of_its_own(cw, grid, tmp_path):
    boxes = [box(20 * i, 20, 20 * i + 10, 40) for i in range(5)]
    file = saved(tmp_path / "z.gpkg", boxes, what=["x y", "", "x_y", None, "water"])
    cw("rasterize", file, "--like", grid, "--zone-id", "what", "--zones-crs", "cube", "-o", tmp_path / "z.zarr").ok()
    found = zones(tmp_path / "z.zarr")
    # What has no name shares one.
    assert found.attrs["flag_meanings"].split(" ") == ["x_y", "unnamed", "x_y_2", "water"]
    rows = cw("zonal", grid, "--zones", f"{tmp_path / 'z.zarr'}:zone", "--with", "count", "--isel", "t=0").ok().json
    assert {r["zone"]: r["count"] for r in rows} == {"x_y": 50, "unnamed": 100, "x_y_2": 50, "water": 50}
    for name in ("z.csv", "z.png"):
        cw("rasterize", file, "--like", grid, "--zones-crs", "cube", "-o", tmp_path / name).refused(name)
    cw("create", "-o", tmp_path / "c.nc", "--dim", "y=4", "--dtype", "uint8").refused("c.nc", "Zarr")
