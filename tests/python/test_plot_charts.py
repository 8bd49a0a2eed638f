"""`plot`: lines, bars and histograms. Values come from numpy and xarray; zonal ones from `zonal`, which exactextract guards.

    $ .venv/bin/python -m pytest tests/python/test_plot_charts.py
"""

import json
import re

import numpy as np
import pytest
import xarray as xr

from pictures import page, pixels, plot, specification
from small import build

NAN = np.nan
M = {"units": "m"}


@pytest.fixture
def cube(tmp_path):
    """Twelve months of two bands, in a calendar of 360 days; one month has nothing."""
    values = np.random.default_rng(6).random((12, 2, 6, 5))
    values[4] = NAN
    arrays = {
        "v": (("time", "band", "y", "x"), values, {"units": "K", "long_name": "some_value"}, {"chunks": (5, 1, 3, 5), "fill": NAN}),
        "time": (("time",), 30 * np.arange(12), {"units": "days since 2001-01-16", "calendar": "360_day"}),
        "band": (("band",), np.array(["red", "nir"]), {}),
        "y": (("y",), 50.0 - 10 * np.arange(6), M),
        "x": (("x",), 10.0 * np.arange(5), M),
    }
    return build(tmp_path / "c.zarr", arrays), values


def series(spec):
    """The values of each line or group of bars, in order; NaN where missing."""
    found = {}
    for row in spec["data"]["values"]:
        found.setdefault(row["series"], []).append(NAN if row["value"] is None else row["value"])
    return {name: np.array(values) for name, values in found.items()}


def mean(values, axis):
    with np.errstate(all="ignore"):
        return np.nanmean(values, axis) if not np.isnan(values).all() else NAN


def test_lines_over_time_one_for_each_band(cw, tmp_path, cube):
    path, values = cube
    told, out = plot(cw, path, "--over", "y,x", "--with", "mean", out=tmp_path / "m.json")
    assert told["lines"] == 2
    spec = specification(out)
    found = series(spec)
    with pytest.warns(RuntimeWarning):
        wanted = np.nanmean(values, (2, 3))
    assert list(found) == ["red", "nir"]
    assert np.allclose(found["red"], wanted[:, 0], equal_nan=True) and np.allclose(found["nir"], wanted[:, 1], equal_nan=True)
    # Its months are of 30 days, which Vega's dates are not.
    dates = [r["time"] for r in spec["data"]["values"][:12]]
    assert dates[1] == "2001-02-16" and spec["encoding"]["x"]["type"] == "quantitative"
    assert spec["data"]["values"][1]["x"] == pytest.approx(2001 + 45 / 360)


def test_a_month_of_nothing_breaks_the_line(cw, tmp_path, cube):
    path, _ = cube
    svg = plot(cw, path, "--over", "y,x", "--sel", "band=red", out=tmp_path / "m.svg")[1].read_text()
    (line,) = re.findall(r'<path d="([^"]*)" fill="none" stroke="#0072b2"', svg)
    assert [part.count("L") for part in line.split("M")[1:]] == [3, 6]


def test_climatologies_have_the_names_of_months(cw, tmp_path, cube):
    path, values = cube
    spec = specification(plot(cw, path, "--calc", "d = nir - red", "--over", "y,x", "--group", "month", out=tmp_path / "m.json")[1])
    names = [row["x"] for row in spec["data"]["values"]]
    assert names == "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
    (found,) = series(spec).values()
    wanted = [mean(values[m, 1] - values[m, 0], (0, 1)) for m in range(12)]
    assert np.allclose(found, wanted, equal_nan=True)


def test_several_statistics_are_several_lines(cw, tmp_path, cube):
    path, values = cube
    spec = specification(plot(cw, path, "--over", "y,x", "--with", "min,max", "--isel", "band=0", out=tmp_path / "m.json")[1])
    found = series(spec)
    assert list(found) == ["v min", "v max"]
    assert np.allclose(found["v max"][:4], values[:4, 0].max((1, 2)))
    assert "some value" in spec["encoding"]["y"]["title"] and "(K)" in spec["encoding"]["y"]["title"]


def test_too_many_lines_are_refused(cw, tmp_path, cube):
    path, _ = cube
    many = {"v": (("time", "level"), np.zeros((4, 30))), "time": (("time",), np.arange(4), {"units": "days since 2001-01-16"})}
    cw("plot", build(tmp_path / "many.zarr", many), "-o", tmp_path / "m.png").refused("30 lines", "`level` \\(30\\)", "--isel level=0", "--over level")
    cw("plot", path, "--with", "mean", "-o", tmp_path / "m.png").refused("--over")


def test_ranges_are_those_of_the_axis(cw, tmp_path, cube):
    path, _ = cube
    spec = specification(plot(cw, path, "--over", "y,x", "--range", "-1,1", out=tmp_path / "m.json")[1])
    assert spec["encoding"]["y"]["scale"]["domain"] == [-1, 1]
    svg = plot(cw, path, "--over", "y,x", "--range", "-1,1", out=tmp_path / "m.svg")[1].read_text()
    assert ">−1.0<" in svg and ">1.0<" in svg


@pytest.mark.parametrize("whole", [False, True])
def test_histograms_are_those_of_numpy(cw, tmp_path, whole):
    rng = np.random.default_rng(7)
    values = rng.integers(0, 40, (50, 60)).astype("int16") if whole else rng.normal(size=(50, 60))
    attrs = {"_FillValue": 0} if whole else {}
    path = build(tmp_path / "c.zarr", {"v": (("y", "x"), values, attrs, {"chunks": (17, 60)})})
    told, _ = plot(cw, path, "--hist", "--bins", "20", out=tmp_path / "m.png")
    there = values[values != 0] if whole else values
    if whole:
        # Two whole numbers in each bin: 39 of them.
        assert told["edges"] == [0.5 + 2 * i for i in range(21)]
    else:
        assert np.allclose(told["edges"], np.histogram_bin_edges(values, 20), rtol=1e-12)
    assert told["counts"] == np.histogram(there, told["edges"])[0].tolist()
    assert told["missing"] == values.size - there.size and told["outside"] == 0
    told, _ = plot(cw, path, "--hist", "--bins", "4", "--range", "1,3", "--overwrite", out=tmp_path / "m.png")
    inside = there[(there >= 1) & (there <= 3)]
    assert told["counts"] == np.histogram(there, 4, (1, 3))[0].tolist()
    assert told["outside"] == there.size - inside.size


def zones(folder):
    boxes = {"north": (0, 25, 40, 50), "south": (0, -5, 40, 25), "far": (900, 900, 950, 950)}
    ring = lambda w, s, e, n: [[[w, s], [e, s], [e, n], [w, n], [w, s]]]
    features = [{"type": "Feature", "properties": {"name": name}, "geometry": {"type": "Polygon", "coordinates": ring(*box)}} for name, box in boxes.items()]
    path = folder / "z.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_zones_are_bars_and_lines_where_time_is_left(cw, tmp_path, cube):
    path, _ = cube
    words = ["--zones", zones(tmp_path), "--zones-crs", "cube", "--zone-id", "name"]
    one = ["--isel", "time=2", "--sel", "band=nir"]
    spec = specification(plot(cw, path, *words, *one, out=tmp_path / "m.json")[1])
    rows = cw("zonal", path, *words, *one, "--with", "mean").ok().json
    assert spec["mark"]["type"] == "bar"
    assert [(r["x"], r["value"]) for r in spec["data"]["values"]] == [(r["zone"], r["mean"]) for r in rows]
    assert rows[2]["mean"] is None
    spec = specification(plot(cw, path, *words, "--with", "max", out=tmp_path / "n.json")[1])
    rows = cw("zonal", path, *words, "--with", "max").ok().json
    found = series(spec)
    assert list(found) == ["north, red", "north, nir", "south, red", "south, nir", "far, red", "far, nir"]
    for name, values in found.items():
        zone, band = name.split(", ")
        wanted = [NAN if r["max"] is None else r["max"] for r in rows if (r["zone"], r["band"]) == (zone, band)]
        assert np.array_equal(values, wanted, equal_nan=True), name


def test_charts_keep_to_their_memory_and_tell_their_plan(cw, tmp_path, cube):
    path, _ = cube
    told = cw("plot", path, "--over", "y,x", "-o", tmp_path / "m.png", "--explain").ok().json
    assert told["chunks"] == 3 * 2 * 2 and not (tmp_path / "m.png").exists()
    refused = cw("plot", path, "--over", "y,x", "-o", tmp_path / "m.html", "--memory", "32MiB")
    refused.refused("needs", "--memory")
    cw("plot", path, "--over", "y,x", "-o", tmp_path / "m.html", "--memory", refused.smallest_budget()).ok()


@pytest.mark.parametrize("words", [["--over", "y,x"], ["--over", "y,x", "--group", "month"], ["--hist"]])
def test_pages_of_charts_draw_without_a_network(cw, tmp_path, cube, words):
    path, _ = cube
    _, out = plot(cw, path, *words, out=tmp_path / "m.html")
    dom, shot = page(out, tmp_path)
    assert 'class="marks"' in dom
    blue = (shot[..., :3] == [0, 114, 178]).all(-1)
    assert blue.sum() > 100


# --- real cubes -------------------------------------------------------------------------------------------------------


def test_real_series_are_those_of_xarray(cw, tmp_path, data):
    path = data / "climate-a1b-north-america" / "packed.zarr"
    spec = specification(plot(cw, path, "--over", "latitude,longitude", out=tmp_path / "m.json")[1])
    with xr.open_zarr(path, consolidated=False, decode_times=False) as cube:
        wanted = cube.air_temperature.astype("float64").mean(("latitude", "longitude")).values
    (found,) = series(spec).values()
    assert np.allclose(found, wanted, rtol=1e-6)
    assert spec["encoding"]["y"]["title"].endswith("(K)")


@pytest.mark.parametrize(
    "cube, words, said",
    [
        ("s2-l1c-slovenia/bands.zarr", ["--rgb", "B04,B03,B02", "--isel", "time=0", "--outlines", "s2-l1c-slovenia/lulc.gpkg"], ["red: B04", "x (m)"]),
        ("s2-l1c-slovenia/series.zarr", ["--var", "lulc"], [">forest<", ">no data<"]),
        ("olci-chlorophyll-xcube/cube-1-250-250.zarr", ["--var", "conc_chl", "--isel", "time=0"], ["mean of 2 × 2 cells", "3°E", "51.5°N", "mg m⁻³"]),
        ("climate-a1b-north-america/packed.zarr", ["--isel", "time=-1"], ["90°W", "40°N", "time 2099-06-01"]),
        ("landsat8-nyc-2018/cube.zarr", ["--isel", "time=8", "--sel", "band=B5", "--outlines", "landsat8-nyc-2018/nycd.gpkg"], ["y (m)", "band B5"]),
        ("s2-l2a-belgium/cube.zarr", ["--calc", "ndvi = (B08 - B04) / (B08 + B04)", "--over", "y,x"], ["2021-05", ">ndvi<"]),
    ],
)
def test_real_cubes_are_drawn_with_what_they_say(cw, tmp_path, data, cube, words, said):
    words = [data / w if str(w).endswith(".gpkg") else w for w in words]
    svg = plot(cw, data / cube, *words, out=tmp_path / "m.svg")[1].read_text()
    for text in said:
        assert text in svg, text
    told, png = plot(cw, data / cube, *words, out=tmp_path / "m.png")
    assert pixels(png).shape[:2] == (told["height"], told["width"])
