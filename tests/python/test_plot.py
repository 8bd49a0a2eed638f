"""`plot`: maps. Colours come from matplotlib, means and modes of blocks from numpy.

    $ .venv/bin/python -m pytest tests/python/test_plot.py
"""

import numpy as np
import pytest
import zarr

from pictures import cell_colours, coloured, framed, page, pixels, plot, specification, svg_images
from small import build

NAN = np.nan
M = {"units": "m"}


def grid(path, values, y=None, x=None, dims=("y", "x"), attrs=None, chunks=None, more=None, name="v", fill=0, y_attrs=None, x_attrs=None):
    """A cube of one variable over labelled rows and columns."""
    values = np.asarray(values)
    rows, columns = values.shape[-2:] if dims[-1] == "x" else values.shape[-2:][::-1]
    ys = np.asarray(y if y is not None else 5000.0 - 10 * np.arange(rows))
    xs = np.asarray(x if x is not None else 1000.0 + 10 * np.arange(columns))
    options = {"chunks": chunks or values.shape, "fill": fill}
    return build(path, {name: (dims, values, attrs or {}, options), "y": (("y",), ys, y_attrs or M), "x": (("x",), xs, x_attrs or M), **(more or {})})


# --- colours ----------------------------------------------------------------------------------------------------------

PALETTES = ["viridis", "cividis", "magma", "inferno", "plasma", "turbo", "Greens", "Blues", "YlGnBu", "YlOrRd", "RdYlGn", "RdBu", "BrBG", "Spectral", "Greys", "gray", "viridis_r", "RdYlGn_r"]


@pytest.mark.parametrize("name", PALETTES)
def test_palettes_are_those_of_matplotlib(cw, tmp_path, name):
    values = np.arange(256, dtype="float64").reshape(16, 16)
    told, out = plot(cw, grid(tmp_path / "c.zarr", values), "--palette", name.lower(), "--range", "0,255", out=tmp_path / "m.png")
    assert (cell_colours(out, told, 16, 16) == coloured(values, 0, 255, name)).all()


def test_a_palette_that_there_is_not_is_refused_with_those_that_there_are(cw, tmp_path):
    cube = grid(tmp_path / "c.zarr", np.eye(3))
    run = cw("plot", cube, "-o", tmp_path / "m.png", "--palette", "rainbow", json=False)
    assert run.code == 2 and "viridis, cividis" in run.err


@pytest.mark.parametrize("upwards", [False, True])
@pytest.mark.parametrize("dims", [("y", "x"), ("x", "y")])
@pytest.mark.parametrize("leftwards", [False, True])
def test_north_is_up_and_east_is_right_and_missing_cells_are_transparent(cw, tmp_path, upwards, dims, leftwards):
    values = np.arange(20.0).reshape(4, 5)
    values[1, 2] = values[3, 4] = NAN
    y, x = np.array([40.0, 30, 20, 10]), np.array([1.0, 2, 3, 4, 5])
    stored, y = (values[::-1], y[::-1]) if upwards else (values, y)
    stored, x = (stored[:, ::-1], x[::-1]) if leftwards else (stored, x)
    cube = grid(tmp_path / "c.zarr", stored if dims == ("y", "x") else stored.T, y, x, dims, fill=NAN)
    told, out = plot(cw, cube, "--range", "2,17", "--palette", "cividis", out=tmp_path / "m.png")
    assert told["bounds"] == [0.5, 5, 5.5, 45]
    assert (cell_colours(out, told, 4, 5) == coloured(values, 2, 17, "cividis")).all()
    # What is not the map is opaque.
    whole = pixels(out)
    assert whole[2, 2].tolist() == [255] * 4
    assert (whole[..., 3] == 0).sum() == (framed(out, told)[..., 3] == 0).sum() == 2 * told["frame"]["width"] * told["frame"]["height"] / 20


def test_each_cell_is_one_colour_to_its_edges(cw, tmp_path):
    values = np.arange(12.0).reshape(3, 4)
    told, out = plot(cw, grid(tmp_path / "c.zarr", values), "--range", "0,11", out=tmp_path / "m.png")
    inner = framed(out, told)
    each = inner.shape[0] // 3
    assert inner.shape[:2] == (3 * each, 4 * each)
    assert (inner == np.kron(coloured(values, 0, 11, "viridis"), np.ones((each, each, 1)))).all()


def test_rows_without_coordinates_begin_at_the_top(cw, tmp_path):
    values = np.arange(6.0).reshape(2, 3)
    cube = build(tmp_path / "c.zarr", {"v": (("y", "x"), values)})
    told, out = plot(cw, cube, "--range", "0,5", out=tmp_path / "m.png")
    assert (cell_colours(out, told, 2, 3) == coloured(values, 0, 5, "viridis")).all()
    bare = zarr.create_array(tmp_path / "bare.zarr", shape=(40, 30), chunks=(40, 30), dtype="float64")
    bare[...] = many = np.arange(1200.0).reshape(40, 30)
    told, out = plot(cw, tmp_path / "bare.zarr", "--range", "0,1199", out=tmp_path / "bare.png")
    assert (cell_colours(out, told, 40, 30) == coloured(many, 0, 1199, "viridis")).all()


def test_cells_of_unequal_width_are_drawn_as_wide_as_they_are(cw, tmp_path):
    cube = grid(tmp_path / "c.zarr", np.array([[1.0, 2, 3]] * 2), y=[10.0, 0], x=[0.0, 10, 60])
    told, out = plot(cw, cube, "--range", "1,3", out=tmp_path / "m.png")
    # Edges −5, 5, 35, 85.
    inner = framed(out, told)[0]
    widths = [(inner == coloured(v, 1, 3, "viridis")).all(-1).mean() for v in (1, 2, 3)]
    assert np.allclose(widths, [10 / 90, 30 / 90, 50 / 90], atol=0.01)


# --- the range of colours ---------------------------------------------------------------------------------------------


def test_colours_stretch_between_percentiles_of_the_values_drawn(cw, tmp_path):
    values = np.random.default_rng(1).gamma(2, 10, (30, 40))
    values[3, 4], values[5, 6] = NAN, np.inf
    cube = grid(tmp_path / "c.zarr", values, fill=NAN)
    finite = values[np.isfinite(values)]
    for words, percent in (([], (2, 98)), (["--stretch", "0,100"], (0, 100)), (["--stretch", "10,75.5"], (10, 75.5))):
        told, out = plot(cw, cube, *words, "--overwrite", out=tmp_path / "m.png")
        low, high = told["range"]
        assert np.allclose([low, high], np.percentile(finite, percent), rtol=1e-12)
        assert (cell_colours(out, told, 30, 40) == coloured(values, low, high, "viridis")).all()


@pytest.mark.parametrize("values", [[[5.0, 5], [5, 5]], [[NAN, NAN], [NAN, NAN]], [[np.inf, -np.inf], [NAN, 1]]])
def test_constant_missing_and_infinite_fields_are_drawn(cw, tmp_path, values):
    for ending in ("png", "svg", "html", "json"):
        plot(cw, grid(tmp_path / f"{ending}.zarr", np.array(values), fill=NAN), out=tmp_path / f"m.{ending}")


@pytest.mark.parametrize("words", [["--range", "2,1"], ["--range", "1"], ["--stretch", "2,101"], ["--width", "0"], ["--width", "100000"], ["--range", "0,1", "--stretch", "2,98"], ["--bins", "3"], ["--reduce", "sum"]])
def test_nonsense_is_refused(cw, tmp_path, words):
    cube = grid(tmp_path / "c.zarr", np.eye(3))
    assert cw("plot", cube, "-o", tmp_path / "m.png", *words).code == 2
    assert not (tmp_path / "m.png").exists()


# --- large maps -------------------------------------------------------------------------------------------------------


def blocks(values, size):
    """Blocks of `size` × `size` cells; those at the end are filled up with NaN."""
    rows, columns = (-(-n // size) for n in values.shape)
    full = np.full((rows * size, columns * size), NAN)
    full[: values.shape[0], : values.shape[1]] = values
    return full.reshape(rows, size, columns, size).swapaxes(1, 2).reshape(rows, columns, size * size)


def mode(cells):
    """The most frequent value; of ties the greater."""
    cells = cells[~np.isnan(cells)]
    if not len(cells):
        return NAN
    values, counts = np.unique(cells, return_counts=True)
    return values[counts == counts.max()].max()


@pytest.fixture(scope="module")
def broad(tmp_path_factory):
    """A map of 2,600 × 2,200 cells, chunks that blocks do not fit into, patches of missing cells."""
    rng = np.random.default_rng(2)
    values = np.kron(rng.integers(0, 6, (130, 110)), np.ones((20, 20))) + (rng.random((2600, 2200)) < 0.3)
    values[:100, :300] = NAN
    values[rng.random(values.shape) < 0.05] = NAN
    return grid(tmp_path_factory.mktemp("broad") / "c.zarr", values.astype("float32"), chunks=(190, 333), fill=NAN), values


@pytest.mark.parametrize("how", ["mean", "mode", "nearest"])
def test_large_maps_are_reduced_in_blocks(cw, tmp_path, broad, how):
    cube, values = broad
    told, out = plot(cw, cube, "--reduce", how, "--range", "0,6", out=tmp_path / "m.png")
    size = told["reduced"]["y"]
    assert told["reduced"] == {"y": size, "x": size, "how": how} and size > 1
    cells = blocks(values, size)
    with np.errstate(all="ignore"):
        wanted = {
            "mean": lambda: np.nanmean(cells, -1),
            "mode": lambda: np.apply_along_axis(mode, -1, cells),
            "nearest": lambda: values[size // 2 :: size, size // 2 :: size],
        }[how]()
    assert told["cells"] == list(wanted.shape)
    found = framed(out, told)
    assert found.shape[:2] == wanted.shape, "one pixel for each block"
    different = (found != coloured(wanted, 0, 6, "viridis")).any(-1)
    # A mean on the border of two colours may fall on either side.
    assert different.mean() < (1e-4 if how == "mean" else 1e-12), different.sum()


def test_the_same_bytes_on_any_number_of_threads_and_in_any_budget(cw, tmp_path, broad):
    cube, _ = broad
    for how in ("mean", "mode"):
        found = set()
        for words in (["--threads", "1"], ["--threads", "2"], ["--threads", "7", "--memory", "400MiB"]):
            found.add(plot(cw, cube, "--reduce", how, *words, "--overwrite", out=tmp_path / "m.png")[1].read_bytes())
        assert len(found) == 1


def test_a_map_keeps_to_its_memory_and_is_refused_with_what_would_do(cw, tmp_path, broad):
    cube, _ = broad
    refused = cw("plot", cube, "-o", tmp_path / "m.png", "--memory", "40MiB")
    refused.refused("needs", "--memory")
    assert not (tmp_path / "m.png").exists()
    budget = refused.smallest_budget()
    run = cw("plot", cube, "-o", tmp_path / "m.png", "--memory", budget, measure=True).ok()
    assert run.peak <= float(budget.removesuffix("MiB")) * 2**20, (run.peak, budget)
    assert cw("plot", cube, "-o", tmp_path / "m.png", "--overwrite", "--explain").ok().json["chunks"] == 14 * 7


def test_the_statistic_of_a_large_map_is_taken_before_blocks_are(cw, tmp_path):
    values = np.random.default_rng(3).normal(size=(3, 1300, 1200)).astype("float32")
    cube = build(tmp_path / "c.zarr", {"v": (("t", "y", "x"), values, {}, {"chunks": (1, 400, 500)}), "y": (("y",), -np.arange(1300.0), M), "x": (("x",), np.arange(1200.0), M)})
    told, out = plot(cw, cube, "--over", "t", "--with", "max", "--range", "-1,3", out=tmp_path / "m.png")
    assert told["reduced"]["y"] == 2
    wanted = coloured(blocks(values.max(0).astype("float64"), 2).mean(-1), -1, 3, "viridis")
    assert (framed(out, told) != wanted).any(-1).mean() < 1e-4


# --- red, green and blue ----------------------------------------------------------------------------------------------


def rgb_cube(path, rng):
    values = rng.integers(1, 4000, (3, 20, 30)).astype("uint16")
    values[1, 5, 6] = 0
    labels = {"band": (("band",), np.array(["B02", "B03", "B 04"]), {})}
    return grid(path, values, dims=("band", "y", "x"), attrs={"_FillValue": 0, "scale_factor": 0.001}, more=labels), np.where(values == 0, NAN, values * 0.001)


def test_rgb_stretches_each_channel_by_itself(cw, tmp_path):
    cube, values = rgb_cube(tmp_path / "c.zarr", np.random.default_rng(4))
    channels = [values[2], values[1], values[0] * 2]
    told, out = plot(cw, cube, "--rgb", "B 04,B03,B02 * 2", out=tmp_path / "m.png")
    ranges = [np.percentile(c[~np.isnan(c)], (2, 98)) for c in channels]
    assert np.allclose(told["range"], ranges, rtol=1e-9)
    levels = [np.clip((c - lo) / (hi - lo), 0, 1) * 255 for c, (lo, hi) in zip(channels, ranges)]
    found = cell_colours(out, told, 20, 30).astype(float)
    missing = np.isnan(channels[1])
    assert (found[missing] == 0).all() and (found[~missing][:, 3] == 255).all()
    for k, level in enumerate(levels):
        assert np.abs(found[..., k] - level)[~missing].max() <= 0.5 + 1e-6
    told, _ = plot(cw, cube, "--rgb", "B 04,B03,B02", "--range", "0,3", out=tmp_path / "n.png")
    assert told["range"] == [[0, 3]] * 3


@pytest.mark.parametrize("rgb, named", [("B02,B03", "three"), ("1,2,3", "number"), ("B02,B03,B99", "B99")])
def test_rgb_names_what_is_wrong(cw, tmp_path, rgb, named):
    cube, _ = rgb_cube(tmp_path / "c.zarr", np.random.default_rng(4))
    cw("plot", cube, "--rgb", rgb, "-o", tmp_path / "m.png").refused(named)


# --- flags ------------------------------------------------------------------------------------------------------------


def test_flags_have_the_colours_that_they_bring_and_their_meanings_in_the_legend(cw, tmp_path):
    values = np.array([[1, 1, 4], [9, 4, 0]], "uint8")
    attrs = {"flag_values": [1, 4, 5], "flag_meanings": "open_water forest never", "flag_colors": "#0000ff #00aa00 #ff0000", "_FillValue": 0}
    told, out = plot(cw, grid(tmp_path / "c.zarr", values, attrs=attrs), out=tmp_path / "m.png")
    found = cell_colours(out, told, 2, 3).tolist()
    assert found[0] == [[0, 0, 255, 255]] * 2 + [[0, 170, 0, 255]] and found[1][2] == [0, 0, 0, 0]
    assert found[1][0] not in ([0, 0, 255, 255], [0, 170, 0, 255])
    assert [c["name"] for c in told["classes"]] == ["open water", "forest", "9"]
    svg = plot(cw, tmp_path / "c.zarr", out=tmp_path / "m.svg")[1].read_text()
    assert all(f">{name}<" in svg for name in ("open water", "forest", "9")) and "never" not in svg
    told, _ = plot(cw, tmp_path / "c.zarr", "--palette", "greens", out=tmp_path / "n.png")
    assert told["palette"] == "greens" and "classes" not in told


# --- the same in all formats ------------------------------------------------------------------------------------------


def test_png_and_svg_agree(cw, tmp_path, broad):
    for cube in (grid(tmp_path / "c.zarr", np.random.default_rng(5).random((7, 9))), broad[0]):
        told, png = plot(cw, cube, "--overwrite", out=tmp_path / "m.png")
        _, svg = plot(cw, cube, "--overwrite", out=tmp_path / "m.svg")
        f = told["frame"]
        (place, cells), *_ = svg_images(svg)
        assert place == (f["x"], f["y"], f["width"], f["height"])
        ys, xs = f["height"] // cells.shape[0], f["width"] // cells.shape[1]
        assert (np.kron(cells, np.ones((ys, xs, 1))) == framed(png, told)).all()
        assert f'width="{told["width"]}" height="{told["height"]}"' in svg.read_text()


def test_a_specification_holds_the_cells(cw, tmp_path):
    values = np.array([[1.5, NAN], [3.0, 4.0]])
    told, out = plot(cw, grid(tmp_path / "c.zarr", values, fill=NAN), out=tmp_path / "m.json")
    spec = specification(out)
    assert spec["$schema"].endswith("/v6.json")
    cells = {(c["cx"], c["cy"]): c["value"] for c in spec["layer"][0]["data"]["values"]}
    assert cells == {(1000, 5000): 1.5, (1000, 4990): 3.0, (1010, 4990): 4.0}


@pytest.mark.parametrize("side", [8, 300])
def test_a_page_draws_without_a_network(cw, tmp_path, side):
    values = np.zeros((side, side))
    values[:, side // 2 :] = 1
    _, out = plot(cw, grid(tmp_path / "c.zarr", values), "--range", "0,1", "--title", "</script><b>x", out=tmp_path / "m.html")
    dom, shot = page(out, tmp_path)
    assert 'class="marks"' in dom.replace("'", '"'), dom[-3000:]
    for value in (0, 1):
        share = (shot == coloured(value, 0, 1, "viridis")).all(-1).mean()
        assert share > 0.1, (value, share)


def test_the_title_is_text(cw, tmp_path):
    _, out = plot(cw, grid(tmp_path / "c.zarr", np.eye(3)), "--title", 'a <b> & "c"', out=tmp_path / "m.svg")
    assert "<title>a &lt;b&gt; &amp; &quot;c&quot;</title>" in out.read_text()


def test_metadata_that_lie_are_drawn_as_far_as_they_go(cw, tmp_path):
    cells = np.arange(12.0).reshape(3, 4)
    for n, (attrs, y) in enumerate([
        ({"flag_values": "x", "flag_meanings": [1, 2], "flag_colors": 7, "units": 5, "long_name": ["a"]}, [3, 2, 1]),
        ({"long_name": "\x00\x1b<b>" + "long" * 50_000, "units": "u" * 50_000}, [3, 2, 1]),
        ({"flag_values": [0, 1], "flag_meanings": "a"}, [1, NAN, 3]),
        ({}, [1e308, 0, -1e308]),
        ({}, [5e5, 5e5 + 1e-9, 5e5 + 2e-9]),
    ]):  # fmt: skip
        cube = grid(tmp_path / f"{n}.zarr", cells, np.array(y, "float64"), attrs=attrs)
        for ending in ("png", "svg", "json"):
            cw("plot", cube, "-o", tmp_path / f"{n}.{ending}", timeout=20).ok()


# --- outlines ---------------------------------------------------------------------------------------------------------


def test_outlines_lie_on_the_cells_that_they_bound(cw, tmp_path):
    cube = grid(tmp_path / "c.zarr", np.zeros((10, 10)), y=95.0 - 10 * np.arange(10), x=5.0 + 10 * np.arange(10))
    ring = [[20, 30], [70, 30], [70, 90], [20, 90], [20, 30]]
    (tmp_path / "o.geojson").write_text('{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [%s]}}]}' % ring)
    told, out = plot(cw, cube, "--range", "0,1", "--outlines", tmp_path / "o.geojson", "--zones-crs", "cube", out=tmp_path / "m.png")
    inner = framed(out, told)
    own = coloured(0, 0, 1, "viridis")
    lines = (inner != own).any(-1)
    rows, columns = np.nonzero(lines)
    per = inner.shape[0] / 100
    assert np.allclose([columns.min(), columns.max() + 1], [20 * per, 70 * per], atol=2.5)
    assert np.allclose([rows.min(), rows.max() + 1], [10 * per, 70 * per], atol=2.5)
    middle = inner[int(40 * per), int(45 * per)]
    assert (middle == own).all(), "outlines are not filled"


def test_outlines_want_coordinates_and_polygons(cw, tmp_path):
    bare = build(tmp_path / "c.zarr", {"v": (("y", "x"), np.eye(3))})
    (tmp_path / "o.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    cw("plot", bare, "-o", tmp_path / "m.png", "--outlines", tmp_path / "o.geojson").refused("coordinates")
    cw("plot", grid(tmp_path / "d.zarr", np.eye(3)), "-o", tmp_path / "m.png", "--outlines", tmp_path / "o.geojson").refused("no features")


# --- what is no map ---------------------------------------------------------------------------------------------------


def test_dimensions_that_are_left_are_named_with_what_selects_them(cw, tmp_path):
    cube = grid(tmp_path / "c.zarr", np.zeros((4, 2, 5, 5)), dims=("t", "band", "y", "x"), more={"band": (("band",), np.array(["red", "nir"]), {})})
    cw("plot", cube, "-o", tmp_path / "m.png").refused("`t` \\(4\\) and `band` \\(2\\) are left", "--isel t=0 --sel band=red", "--over t,band")
    plot(cw, cube, "--isel", "t=0", "--sel", "band=red", out=tmp_path / "m.png")
    cw("plot", cube, "-o", tmp_path / "n.png", "--isel", "t=0,band=0,y=0,x=0").refused("single value", "stats")


def test_several_variables_are_named(cw, tmp_path):
    cube = grid(tmp_path / "c.zarr", np.eye(3), more={"w": (("y", "x"), np.eye(3))})
    cw("plot", cube, "-o", tmp_path / "m.png").refused("`v`", "`w`", "--var")
    plot(cw, cube, "--var", "w", out=tmp_path / "m.png")


def test_outputs_are_not_replaced_unasked_nor_put_into_the_cube(cw, tmp_path):
    cube = grid(tmp_path / "c.zarr", np.eye(3))
    out = tmp_path / "m.png"
    out.write_text("mine")
    cw("plot", cube, "-o", out).refused("exists", "--overwrite")
    assert out.read_text() == "mine"
    plot(cw, cube, "--overwrite", out=out)
    cw("plot", cube, "-o", cube / "m.png").refused("m.png", "c.zarr")
    cw("plot", cube, "-o", tmp_path / "m.gif").refused("gif", "png")
    cw("plot", cube, "-o", tmp_path / "no" / "m.png").refused("no/m.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.zarr", "m.png"]
