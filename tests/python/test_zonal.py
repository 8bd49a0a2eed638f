"""`zonal`: statistics of polygons and rasters. What is right comes from exactextract, and from numpy for whole cells.

    $ .venv/bin/python -m pytest tests/python/test_zonal.py
"""

import csv
import json
import shutil
import subprocess

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import shapefile
import zarr
from exactextract import exact_extract
from exactextract.feature import JSONFeatureSource
from exactextract.raster import NumPyRasterSource

from small import build

NAN = np.nan
# Names here, and exactextract's.
STATS = {
    "coverage": "count", "sum": "sum", "mean": "mean", "std": "stdev", "var": "variance", "min": "min", "max": "max",
    "median": "median", "q25": "quantile(q=0.25)", "q90": "quantile(q=0.9)", "mode": "mode", "minority": "minority", "variety": "variety",
}  # fmt: skip
COUNTS = {"coverage", "variety"}


def feature(*rings, more=(), **properties):
    """A polygon of a ring and its holes, and of `more` such lists."""
    close = lambda ring: [list(map(float, p)) for p in [*ring, ring[0]]]
    parts = [[close(ring) for ring in part] for part in (rings, *more)]
    geometry = {"type": "MultiPolygon", "coordinates": parts} if more else {"type": "Polygon", "coordinates": parts[0]}
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def geojson(path, features, crs=None):
    more = {"crs": {"type": "name", "properties": {"name": crs}}} if crs else {}
    path.write_text(json.dumps({"type": "FeatureCollection", **more, "features": features}))
    return path


def extracted(values, ys, xs, features, names=tuple(STATS)):
    """exactextract's figures of each feature, by our names."""
    values, ys = (values, ys) if ys[0] > ys[1] else (values[::-1], ys[::-1])
    dx, dy = xs[1] - xs[0], ys[0] - ys[1]
    grid = NumPyRasterSource(np.ascontiguousarray(values, "float64"), xs[0] - dx / 2, ys[-1] - dy / 2, xs[-1] + dx / 2, ys[0] + dy / 2, nodata=NAN)
    found = exact_extract(grid, JSONFeatureSource(features), [f"{n}={STATS[n]}" for n in names], output="geojson")
    # Quantiles get a number behind their name.
    return [{n: f["properties"].get(n, f["properties"].get(f"{n}_{n[1:]}")) for n in names} for f in found]


def same(rows, wanted, within=1e-6):
    assert len(rows) == len(wanted)
    for row, want in zip(rows, wanted):
        for name, expected in want.items():
            if expected is None or np.isnan(expected) or not want.get("coverage", 1):
                # Nothing of the zone is valid.
                assert row[name] in ((0,) if name in COUNTS else (None,)), (name, row)
            else:
                assert row[name] == pytest.approx(expected, rel=within, abs=within), (name, row, want)


def star(rng, centre, radius, corners):
    # No step of half a turn: the centre lies inside, and at least a tenth of the radius away from every edge.
    turn = np.linspace(0, 2 * np.pi, corners, endpoint=False) + rng.uniform(0, 2 * np.pi / corners * 0.9, corners)
    r = radius * rng.uniform(0.3, 1, corners)
    return np.c_[centre[0] + r * np.cos(turn), centre[1] + r * np.sin(turn)].tolist()


def polygons(seed):
    """Polygons over 40 × 50 cells of side 1: of any size, with holes, slivers, tiles with common edges, one over the other, outside."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(12):
        centre, radius = rng.uniform(-5, 55, 2), 10 ** rng.uniform(-1.5, 1.3)
        ring = star(rng, centre, radius, rng.integers(5, 30))
        holes = [star(rng, centre, radius * 0.08, 7)] if rng.random() < 0.5 else []
        found.append(feature(ring, *holes))
    x, y = rng.uniform(5, 35, 2)
    found.append(feature([(x, y), (x + 12, y + 9), (x + 12, y + 9 + 1e-3)]))  # a sliver
    cuts = np.sort(rng.uniform(3, 30, 4))
    for a, b in zip(cuts, cuts[1:]):  # tiles
        found.append(feature([(a, 2), (b, 2), (b, 20.5), (a, 20.5)]))
    found.append(feature([(10, 10), (14, 10), (14, 14), (10, 14)]))  # whole cells
    found.append(feature(star(rng, (15, 15), 4, 9), more=[[star(rng, (30, 25), 6, 9)]]))
    found.append(feature([(200, 200), (201, 200), (200, 201)]))  # outside
    return found


@pytest.fixture(params=["down", "up"])
def plane(request, tmp_path):
    """`v(y, x)`: 40 × 50 cells of side 1 without a CRS, some of them missing."""
    rng = np.random.default_rng(5)
    values = rng.normal(10, 5, (40, 50)).round(1)
    values[rng.random(values.shape) < 0.1] = NAN
    values[20:25, 30:40] = NAN
    ys = np.arange(40) + 0.5
    ys = ys[::-1].copy() if request.param == "down" else ys
    xs = np.arange(50) + 0.5
    path = build(tmp_path / "c.zarr", {"v": (("y", "x"), values, {}, {"chunks": (16, 13)}), "y": (("y",), ys), "x": (("x",), xs)})
    return path, values, ys, xs


@pytest.mark.parametrize("seed", range(4))
def test_polygons_are_as_exactextract_has_them(cw, plane, tmp_path, seed):
    path, values, ys, xs = plane
    features = polygons(seed)
    zones = geojson(tmp_path / "z.geojson", features)
    rows = cw("zonal", path, "--zones", zones, "--zones-crs", "cube", "--with", ",".join([*STATS, "count", "missing"])).ok().json
    same(rows, extracted(values, ys, xs, features))
    assert [r["zone"] for r in rows] == list(range(len(features)))
    # `count` is the cells that are touched.
    ones = extracted(np.where(np.isnan(values), NAN, 1.0), ys, xs, features, ["coverage"])
    assert all(r["count"] >= (o["coverage"] or 0) - 1e-6 for r, o in zip(rows, ones))
    assert rows[-1]["count"] == 0 and rows[-1]["missing"] == 0 and rows[-1]["mean"] is None
    whole = next(r for r in rows if r["count"] + r["missing"] == 16 and r["coverage"] == r["count"])
    assert whole["sum"] == pytest.approx(np.nansum(values[(ys[:, None] > 10) & (ys[:, None] < 14) & (xs > 10) & (xs < 14)]))


@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_bits_on_any_number_of_threads_and_each_chunk_once(cw, plane, tmp_path, threads):
    path, *_ = plane
    zones = geojson(tmp_path / "z.geojson", polygons(1))
    ask = ["zonal", path, "--zones", zones, "--zones-crs", "cube", "--with", "mean,std,median,sum"]
    run = cw(*ask, "--threads", threads, "-v").ok()
    assert run.json == cw(*ask, "--threads", 2).ok().json
    assert run.summary["chunks"] == 3 * 4
    assert cw(*ask, "--explain").ok().json["chunks"] == 3 * 4


def inside(ring, x, y):
    """Whether points lie in a ring, by counting edges to their left."""
    found = np.zeros(np.broadcast(x, y).shape, bool)
    for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]]):
        if y0 != y1:
            found ^= ((y0 <= y) != (y1 <= y)) & (x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x)
    return found


def test_cells_by_their_centres_and_all_that_are_touched(cw, plane, tmp_path):
    path, values, ys, xs = plane
    features = [f for f in polygons(2) if f["geometry"]["type"] == "Polygon" and len(f["geometry"]["coordinates"]) == 1]
    zones = geojson(tmp_path / "z.geojson", features)
    ask = ["zonal", path, "--zones", zones, "--zones-crs", "cube", "--with", "count,coverage,mean,median,q90"]
    for row, f in zip(cw(*ask, "--touch", "centre").ok().json, features):
        cells = values[inside(f["geometry"]["coordinates"][0][:-1], xs[None, :], ys[:, None])]
        cells = cells[~np.isnan(cells)]
        assert row["count"] == row["coverage"] == cells.size
        if cells.size:
            assert [row[n] for n in ("mean", "median", "q90")] == pytest.approx([cells.mean(), np.median(cells), np.quantile(cells, 0.9)])
    exact = cw(*ask).ok().json
    for row, part in zip(cw(*ask, "--touch", "all").ok().json, exact):
        assert row["count"] == row["coverage"] == part["count"]


def test_each_time_and_band_has_its_row(cw, tmp_path):
    rng = np.random.default_rng(3)
    values = rng.integers(0, 1000, (3, 2, 20, 20)).astype("uint16")
    ys, xs = np.arange(20)[::-1] + 0.5, np.arange(20) + 0.5
    arrays = {
        "v": (("time", "band", "y", "x"), values, {"scale_factor": 0.1, "add_offset": -5.0, "_FillValue": 0}, {"chunks": (2, 2, 7, 9)}),
        "time": (("time",), np.int32([0, 31, 60]), {"units": "days since 2024-01-01"}),
        "band": (("band",), np.array(["red", "nir"])),
        "y": (("y",), ys), "x": (("x",), xs),
    }  # fmt: skip
    path = build(tmp_path / "c.zarr", arrays)
    features = [feature([(1.2, 2.1), (15.5, 3), (9, 18.7)], name="a"), feature([(0, 0), (4, 0), (4, 4), (0, 4)], name="b")]
    zones = geojson(tmp_path / "z.geojson", features)
    rows = cw("zonal", path, "--zones", zones, "--zones-crs", "cube", "--zone-id", "name", "--with", "mean,coverage").ok().json
    assert [list(r) for r in rows[:1]] == [["variable", "zone", "time", "band", "mean", "coverage"]]
    assert [(r["zone"], r["time"][:10], r["band"]) for r in rows] == [
        (z, t, b) for z in "ab" for t in ("2024-01-01", "2024-02-01", "2024-03-01") for b in ("red", "nir")
    ]
    decoded = np.where(values == 0, NAN, values * 0.1 - 5)
    wanted = [extracted(decoded[t, b], ys, xs, features, ["mean", "coverage"])[z] for z in range(2) for t in range(3) for b in range(2)]
    same(rows, wanted)
    # Part of the cube; a formula; a condition.
    rows = cw("zonal", path, "--zones", zones, "--zones-crs", "cube", "--with", "sum", "--sel", "time=2024-02", "--calc", "d = nir - red", "--where", "red > 20", "--isel", "y=3:,x=:15").ok().json
    red, nir = decoded[1, 0], decoded[1, 1]
    cells = np.where(red > 20, nir - red, NAN)[3:, :15]
    same(rows, extracted(cells, ys[3:], xs[:15], features, ["sum"]))
    # In any order of dimensions.
    swapped = build(tmp_path / "s.zarr", arrays | {"v": (("y", "time", "x", "band"), values.transpose(2, 0, 3, 1), arrays["v"][2], {"chunks": (7, 2, 9, 2)})})
    other = cw("zonal", swapped, "--zones", zones, "--zones-crs", "cube", "--zone-id", "name", "--with", "mean,coverage").ok().json
    same(other, wanted)


def globe(tmp_path, first):
    xs = first + 2.5 + 5.0 * np.arange(72)
    ys = 87.5 - 5.0 * np.arange(36)
    values = np.add.outer(ys, (xs % 360))
    arrays = {
        "v": (("lat", "lon"), values, {}, {"chunks": (10, 17)}),
        "lat": (("lat",), ys, {"units": "degrees_north"}), "lon": (("lon",), xs, {"units": "degrees_east"}),
    }  # fmt: skip
    return build(tmp_path / f"globe{first}.zarr", arrays), values, ys, xs


@pytest.mark.parametrize("first", [0, -180])
def test_longitudes_go_round(cw, tmp_path, first):
    path, values, ys, xs = globe(tmp_path, first)
    box = lambda w, e: [(w, -11), (e, -11), (e, 22), (w, 22)]
    features = [feature(box(-12, 9)), feature(box(171, 193)), feature(box(171, 180), more=[[box(-180, -167)]]), feature(box(348, 369))]
    rows = cw("zonal", path, "--zones", geojson(tmp_path / "z.geojson", features), "--with", "sum,coverage,mean").ok().json
    # The same, cut at the seam of the axis.
    cut = lambda w, e: [b for n in (-1, 0, 1) if (b := (max(w + 360 * n, first), min(e + 360 * n, first + 360)))[0] < b[1]]
    parts = [cut(-12, 9), cut(171, 193), cut(171, 193), cut(348, 369)]
    wanted = []
    for part in parts:
        found = extracted(values, ys, xs, [feature(box(*b)) for b in part], ["sum", "coverage"])
        total = {n: sum(f[n] or 0 for f in found) for n in ("sum", "coverage")}
        wanted.append(total | {"mean": total["sum"] / total["coverage"]})
    same(rows, wanted)


def test_a_polygon_with_an_edge_round_the_world_is_taken_as_it_stands_and_told(cw, tmp_path):
    path, *_ = globe(tmp_path, -180)
    zones = geojson(tmp_path / "z.geojson", [feature([(-179, -10), (179, -10), (179, 10), (-179, 10)])])
    run = cw("zonal", path, "--zones", zones, "--with", "coverage").ok()
    assert run.json[0]["coverage"] == pytest.approx(358 * 20 / 25) and "180 degrees" in run.err


def test_polygons_are_brought_to_the_crs_of_the_cube(cw, tmp_path):
    wkt = pyproj.CRS("EPSG:32633").to_wkt()
    ys, xs = 5080000 - 100.0 * np.arange(30), 465000 + 100.0 * np.arange(40)
    values = np.random.default_rng(1).random((30, 40))
    arrays = {
        "v": (("y", "x"), values, {"grid_mapping": "crs"}, {"chunks": (16, 16)}),
        "y": (("y",), ys), "x": (("x",), xs), "crs": ((), np.int64(0), {"crs_wkt": wkt}),
    }  # fmt: skip
    path = build(tmp_path / "c.zarr", arrays)
    rng = np.random.default_rng(2)
    own = [feature(star(rng, (467000, 5078500), r, 11)) for r in (60, 300, 1500)]
    back = pyproj.Transformer.from_crs(32633, 4326, always_xy=True)
    degrees = [feature([back.transform(*p) for p in f["geometry"]["coordinates"][0][:-1]]) for f in own]
    wanted = extracted(values, ys, xs, own, ["mean", "coverage", "std"])
    ask = ["--with", "mean,coverage,std"]
    same(cw("zonal", path, "--zones", geojson(tmp_path / "d.geojson", degrees), *ask).ok().json, wanted)
    same(cw("zonal", path, "--zones", geojson(tmp_path / "o.geojson", own, "urn:ogc:def:crs:EPSG::32633"), *ask).ok().json, wanted)
    same(cw("zonal", path, "--zones", geojson(tmp_path / "o.geojson", own), "--zones-crs", "EPSG:32633", *ask).ok().json, wanted)
    # A shapefile, with and without its CRS.
    with shapefile.Writer(tmp_path / "s.shp") as out:
        out.field("name", "C")
        out.field("code", "N")
        for n, f in enumerate(own):
            out.poly([f["geometry"]["coordinates"][0][::-1]])
            out.record(f"n{n}", n + 7)
    cw("zonal", path, "--zones", tmp_path / "s.shp", *ask).refused("s.shp", "CRS", "--zones-crs")
    same(cw("zonal", path, "--zones", tmp_path / "s.shp", "--zones-crs", "cube", *ask).ok().json, wanted)
    (tmp_path / "s.prj").write_text(pyproj.CRS("EPSG:32633").to_wkt("WKT1_ESRI"))
    rows = cw("zonal", path, "--zones", tmp_path / "s.shp", "--zone-id", "name", *ask).ok().json
    same(rows, wanted)
    assert [r["zone"] for r in rows] == ["n0", "n1", "n2"]
    assert [r["zone"] for r in cw("zonal", path, "--zones", tmp_path / "s.shp", "--zone-id", "code").ok().json] == [7, 8, 9]
    # Far away: degrees taken for metres.
    cw("zonal", path, "--zones", geojson(tmp_path / "o.geojson", own), *ask).refused("zone 0", "--zones-crs")


def test_a_cube_without_a_crs_takes_zones_as_its_own_and_says_so(cw, plane, tmp_path):
    path, values, ys, xs = plane
    zones = geojson(tmp_path / "z.geojson", [feature([(1, 1), (9, 1), (9, 8)])])
    run = cw("zonal", path, "--zones", zones).ok()
    assert "own coordinates" in run.err
    same(run.json, extracted(values, ys, xs, [feature([(1, 1), (9, 1), (9, 8)])], ["mean"]))


def test_rasters_of_zones(cw, tmp_path):
    rng = np.random.default_rng(8)
    values = rng.normal(0, 1, (2, 30, 20))
    values[0, :5] = NAN
    zone = rng.integers(0, 4, (30, 20)).astype("uint8")
    height = np.add.outer(np.arange(30.0) * 10, np.arange(20.0))
    axes = {"y": (("y",), np.arange(30)[::-1] * 10.0), "x": (("x",), np.arange(20) * 10.0)}
    flags = {"flag_values": [1, 2, 3], "flag_meanings": "water forest town", "_FillValue": 0}
    arrays = {
        "v": (("time", "y", "x"), values, {}, {"chunks": (1, 7, 9)}),
        "zone": (("y", "x"), zone, flags, {"chunks": (30, 20)}), "height": (("y", "x"), height, {}, {"chunks": (8, 8)}),
    }  # fmt: skip
    path = build(tmp_path / "c.zarr", arrays | axes)
    names = ["count", "coverage", "missing", "sum", "mean", "std", "min", "max", "median", "q10"]
    ask = ["zonal", path, "--var", "v", "--with", ",".join(names)]

    def wanted(of, ids):
        for i in ids:
            for t in range(2):
                cells = values[t][of == i]
                valid = cells[~np.isnan(cells)]
                yield dict(zip(names, [valid.size, valid.size, cells.size - valid.size, valid.sum(), valid.mean(), valid.std(), valid.min(), valid.max(), np.median(valid), np.quantile(valid, 0.1)]))

    rows = cw(*ask, "--zones", "zone").ok().json
    assert [r["zone"] for r in rows] == ["water", "water", "forest", "forest", "town", "town"]
    same(rows, list(wanted(zone, [1, 2, 3])), 1e-12)
    # A formula.
    rows = cw(*ask, "--zones", "floor(height / 100)", "--isel", "y=3:,x=2:").ok().json
    cut = np.floor(height / 100)
    cut[:3] = cut[:, :2] = -1
    assert [r["zone"] for r in rows] == [0, 0, 1, 1, 2, 2, 3, 3][: len(rows)]
    same(rows, list(wanted(cut, sorted(set(cut.ravel()) - {-1}))), 1e-12)
    # Of another cube, on the same grid and on another.
    other = build(tmp_path / "z.zarr", {"zone": arrays["zone"]} | axes)
    same(cw(*ask, "--zones", f"{other}:zone").ok().json, list(wanted(zone, [1, 2, 3])), 1e-12)
    shifted = build(tmp_path / "s.zarr", {"zone": arrays["zone"], "y": axes["y"], "x": (("x",), np.arange(20) * 10.0 + 5)})
    cw(*ask, "--zones", f"{shifted}:zone").refused("another grid", r"x 5 … 195", r"x 0 … 190", "30 × 20")
    cw(*ask, "--zones", f"{other}:none").refused("no variable `none`", "zone")
    cw(*ask, "--zones", "v").refused("`v`", "time", "y, x")
    cw(*ask, "--zones", "nothing").refused("nothing")


def test_real_polygons_smaller_than_cells(cw, data):
    """88 fields of Slovenia on 10 m cells, and 71 districts of New York on 3 km cells."""
    for cube, var, vector, pick in (
        ("s2-l1c-slovenia/series.zarr", "dem", "s2-l1c-slovenia/lulc.geojson", {}),
        ("s2-l1c-slovenia/series.zarr", "cloud_probability", "s2-l1c-slovenia/lulc.geojson", {"time": 10}),
        ("landsat8-nyc-2018/cube.zarr", "dn", "landsat8-nyc-2018/nycd.geojson", {"time": 6, "band": 3}),
    ):
        group = zarr.open_group(data / cube, mode="r")
        array = group[var]
        values = array[tuple(pick.values())].astype("float64") if pick else array[:].astype("float64")
        mark = array.attrs.get("_FillValue")
        if isinstance(mark, (int, float)):
            values[values == mark] = NAN
        features = json.loads((data / vector).read_text())["features"]
        crs = pyproj.CRS(group["spatial_ref"].attrs["crs_wkt"])
        to = pyproj.Transformer.from_crs(4326, crs, always_xy=True)
        moved = []
        for f in features:
            parts = f["geometry"]["coordinates"] if f["geometry"]["type"] == "MultiPolygon" else [f["geometry"]["coordinates"]]
            parts = [[[list(to.transform(*p[:2])) for p in ring] for ring in part] for part in parts]
            moved.append({"type": "Feature", "properties": {}, "geometry": {"type": "MultiPolygon", "coordinates": parts}})
        picks = [word for dim, i in pick.items() for word in ("--isel", f"{dim}={i}")]
        rows = cw("zonal", data / cube, "--var", var, "--zones", data / vector, "--with", ",".join(STATS), *picks).ok().json
        wanted = extracted(values, group["y"][:], group["x"][:], moved)
        # Two districts have rings that cross themselves, of which exactextract covers a cell more than their area.
        cell = abs(np.diff(group["x"][:2])[0] * np.diff(group["y"][:2])[0])
        sound = [i for i, w in enumerate(wanted) if (w["coverage"] or 0) < area(moved[i]) / cell + 0.5]
        assert len(rows) == len(wanted) and len(sound) >= len(rows) - 2
        same([rows[i] for i in sound], [wanted[i] for i in sound])


@pytest.mark.parametrize("kind", ["gpkg", "fgb", "shp", "parquet"])
def test_other_files_hold_the_same_polygons(cw, data, tmp_path, kind):
    """What GDAL makes of a GeoJSON file: the same coordinates and attributes."""
    if not shutil.which("ogr2ogr"):
        pytest.skip("no ogr2ogr here")
    folder = data / "s2-l1c-slovenia"
    made = tmp_path / f"zones.{kind}"
    if kind == "parquet":
        gpd.read_file(folder / "lulc.geojson").to_parquet(made)
    else:
        subprocess.run(["ogr2ogr", made, folder / "lulc.geojson"], check=True, capture_output=True)
    ask = ["zonal", folder / "series.zarr", "--var", "dem", "--with", "coverage,mean,count", "--zone-id", "zone"]
    want = cw(*ask, "--zones", folder / "lulc.geojson").ok().json
    rows = cw(*ask, "--zones", made).ok().json
    # A spatial index has an order of its own.
    by = lambda rows: sorted(rows, key=lambda r: r["zone"])
    assert [r["zone"] for r in by(rows)] == list(range(88))
    same(by(rows), [{n: r[n] for n in ("coverage", "mean", "count")} for r in by(want)], 1e-7)


def test_a_geopackage_in_the_crs_of_the_cube(cw, data):
    """NDVI of districts at each date: the figures that exactextract gave for the file as it is."""
    folder = data / "landsat8-nyc-2018"
    ndvi = "ndvi = ((B5 * 2e-5 - 0.1) - (B4 * 2e-5 - 0.1)) / ((B5 * 2e-5 - 0.1) + (B4 * 2e-5 - 0.1))"
    rows = cw("zonal", folder / "cube.zarr", "--zones", folder / "nycd.gpkg", "--calc", ndvi, "--where", "B4 != 0", "--with", "coverage,mean").ok().json
    expected = json.loads((folder / "expected.json").read_text())["zones_polygons"]["zones"]
    wanted = [{"coverage": c, "mean": m} for zone in expected for c, m in zip(zone["coverage"], zone["ndvi_mean"])]
    assert len(rows) == len(wanted) == 71 * 17
    # The two with rings that cross themselves: see above.
    sound = [i for i, row in enumerate(rows) if row["zone"] not in (35, 56)]
    same([rows[i] for i in sound], [wanted[i] for i in sound])


def area(feature):
    """Area of a multi-polygon, holes taken off."""
    ring = lambda p: abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(p - p[0], (p - p[0])[1:]))) / 2
    return sum(ring(np.array(part[0])) - sum(ring(np.array(h)) for h in part[1:]) for part in feature["geometry"]["coordinates"])


def test_tables_go_to_files_row_by_row(cw, plane, tmp_path):
    path, *_ = plane
    zones = geojson(tmp_path / "z.geojson", polygons(3))
    ask = ["zonal", path, "--zones", zones, "--zones-crs", "cube", "--with", "mean,count"]
    rows = cw(*ask).ok().json
    cw(*ask, "-o", tmp_path / "o.json").ok()
    assert json.loads((tmp_path / "o.json").read_text()) == rows
    cw(*ask, "-o", tmp_path / "o.csv").ok()
    with open(tmp_path / "o.csv", newline="") as file:
        read = list(csv.DictReader(file))
    assert [r["mean"] for r in read] == ["" if r["mean"] is None else str(r["mean"]) for r in rows]
    cw(*ask, "-o", tmp_path / "o.csv").refused("o.csv", "exists", "--overwrite")
    assert not list(tmp_path.glob("*.part"))


def test_more_rows_than_are_printed_go_to_a_file(cw, tmp_path):
    values = np.ones((1200, 4, 4), "uint8")
    arrays = {"v": (("time", "y", "x"), values, {}, {"chunks": (1200, 4, 4)}), "y": (("y",), np.arange(4.0)), "x": (("x",), np.arange(4.0))}
    path = build(tmp_path / "c.zarr", arrays)
    features = [feature([(0, 0), (1, 0), (1, 1 + n)]) for n in range(100)]
    ask = ["zonal", path, "--zones", geojson(tmp_path / "z.geojson", features), "--zones-crs", "cube"]
    cw(*ask).refused("120000 rows", "-o")
    cw(*ask, "-o", tmp_path / "o.csv").ok()
    assert sum(1 for _ in open(tmp_path / "o.csv")) == 120_001


@pytest.mark.parametrize(
    "words, named",
    [
        (["--with", "average"], ["average", "mean", "coverage"]),
        (["--with", "q101"], ["q101"]),
        (["--zone-id", "code"], ["code", "feature 0", "`name`"]),
        (["--touch", "some"], ["some", "coverage"]),
        (["--zones-crs", "EPSG:0"], ["EPSG:0"]),
        (["--isel", "x=::2"], ["`x`", "gaps"]),
        (["--isel", "x=3"], ["x"]),
    ],
)
def test_what_cannot_be_is_refused(cw, plane, tmp_path, words, named):
    zones = geojson(tmp_path / "z.geojson", [feature([(1, 1), (9, 1), (9, 8)], name="a")])
    cw("zonal", plane[0], "--zones", zones, *words).refused(*named)


@pytest.mark.parametrize(
    "text, named",
    [
        ("{", ["z.geojson"]),
        ('{"type": "FeatureCollection", "features": []}', ["z.geojson", "no features"]),
        ('{"type": "Point", "coordinates": [1, 2]}', ["feature 0", "Point"]),
        ('{"type": "Feature", "properties": {}, "geometry": {"type": "LineString", "coordinates": [[1, 2], [3, 4]]}}', ["LineString"]),
        ('{"type": "FeatureCollection", "crs": {"type": "name", "properties": {"name": "urn:x:nothing"}}, "features": []}', ["z.geojson"]),
    ],
)
def test_files_without_polygons_are_refused(cw, plane, tmp_path, text, named):
    (tmp_path / "z.geojson").write_text(text)
    cw("zonal", plane[0], "--zones", tmp_path / "z.geojson").refused(*named)


def test_a_file_that_is_not_there_is_refused(cw, plane, tmp_path):
    cw("zonal", plane[0], "--zones", tmp_path / "none.geojson").refused("none.geojson")
    cw("zonal", plane[0], "--zones", tmp_path / "none.shp").refused("none.shp")


def test_zones_that_are_done_are_not_kept(cw, tmp_path):
    """4,000 zones over chunks that are long in time: states of all of them would take 4,000 × 400 × 88 bytes and more."""
    rng = np.random.default_rng(4)
    values = rng.normal(size=(400, 200, 80)).astype("float32")
    arrays = {"v": (("time", "y", "x"), values, {}, {"chunks": (400, 10, 80), "fill": NAN}), "y": (("y",), np.arange(200) + 0.5), "x": (("x",), np.arange(80) + 0.5)}
    path = build(tmp_path / "c.zarr", arrays)
    boxes = [(r, c) for r in range(0, 200, 2) for c in range(0, 80, 2)]
    features = [feature([(c, r), (c + 2, r), (c + 2, r + 1.5), (c, r + 1.5)]) for r, c in boxes]
    zones = geojson(tmp_path / "z.geojson", features)
    ask = ["zonal", path, "--zones", zones, "--zones-crs", "cube", "--with", "mean", "-o", tmp_path / "o.csv"]
    run = cw(*ask, "--memory", "128MiB", "--threads", "2", measure=True).ok()
    assert run.peak <= 128 * 2**20
    found = np.genfromtxt(tmp_path / "o.csv", delimiter=",", skip_header=1, usecols=3).reshape(4000, 400)
    weights = np.array([1, 0.5])[:, None]
    for n in rng.integers(0, 4000, 50):
        r, c = boxes[n]
        want = (values[:, r : r + 2, c : c + 2].astype("float64") * weights).sum((1, 2)) / 3
        np.testing.assert_allclose(found[n], want, rtol=1e-6, atol=1e-9)


def test_infinite_values_are_not_missing(cw, tmp_path):
    """As `reduce` and exactextract have it: ±inf counts, and so do what comes of it."""
    values = np.full((6, 6), 0.5)
    values[1, 1], values[4, 4] = np.inf, -np.inf
    arrays = {"v": (("y", "x"), values, {}, {"fill": NAN}), "y": (("y",), np.arange(6) + 0.5), "x": (("x",), np.arange(6) + 0.5)}
    path = build(tmp_path / "c.zarr", arrays)
    zones = geojson(tmp_path / "z.geojson", [feature([(0, 0), (3, 0), (3, 3), (0, 3)]), feature([(3, 3), (6, 3), (6, 6), (3, 6)])])
    high, low = cw("zonal", path, "--zones", zones, "--zones-crs", "cube", "--with", "count,missing,min,max,mean,sum").ok().json
    assert (high["count"], high["missing"], high["min"], high["max"], high["mean"], high["sum"]) == (9, 0, 0.5, "inf", "inf", "inf")
    assert (low["min"], low["max"], low["mean"]) == ("-inf", 0.5, "-inf")
    # A zone may be called so.
    rows = cw("zonal", path, "--zones", "v", "--with", "count").ok().json
    assert [(r["zone"], r["count"]) for r in rows] == [("-inf", 1), (0.5, 34), ("inf", 1)]


def test_zones_of_a_formula_follow_the_selection(cw, tmp_path):
    values = np.arange(2 * 4 * 5, dtype="float64").reshape(2, 4, 5)
    arrays = {"v": (("t", "y", "x"), values, {}, {"fill": NAN}), "y": (("y",), np.arange(4.0)), "x": (("x",), np.arange(5.0))}
    path = build(tmp_path / "c.zarr", arrays)
    rows = cw("zonal", path, "--zones", "floor(v / 10)", "--isel", "t=1", "--with", "mean,count").ok().json
    assert [(r["zone"], r["mean"], r["count"]) for r in rows] == [(2, 24.5, 10), (3, 34.5, 10)]
    cw("zonal", path, "--zones", "floor(v / 10)", "--with", "mean").refused("no map of zones", "t, y, x")
