"""What cubes, arrays, plans, tables and pictures show in a notebook: no code of others, nothing loaded, never large."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import zarr

import chunkwise as cw

HOSTILE = "<script>alert('x')</script>"
IMAGE = "<img src=x onerror=alert(1)>\"' onmouseover=\"alert(2)"
# What our own reprs are made of.
TAGS = {
    "style", "pre", "div", "span", "b", "i", "p", "br", "small", "code", "table", "thead", "tbody", "tr", "th", "td",
    "details", "summary", "svg", "title", "rect", "path",
}  # fmt: skip
ATTRIBUTES = {
    "class", "style", "colspan", "xmlns", "role", "width", "height", "viewbox", "x", "y", "d", "fill", "fill-opacity",
    "stroke", "stroke-width",
}  # fmt: skip
VOID = {"br", "rect", "path"}


class Page(HTMLParser):
    """Tags, attributes and text of HTML; every tag is closed where it must be."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = set(), set(), "", []
        self.feed(html)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open[-1:]:
            self.text += data


def checked(thing):
    """The page of a repr, which holds our own tags alone and loads nothing."""
    html = thing._repr_html_()
    page = Page(html)
    assert page.tags <= TAGS, page.tags - TAGS
    assert page.attributes <= ATTRIBUTES, page.attributes - ATTRIBUTES
    assert "url(" not in html and "@import" not in html
    assert re.findall(r"https?://[^\s\"'<]*", html.replace("http://www.w3.org/2000/svg", "")) == []
    assert len(html) < 200_000
    return page


def group_of(path, variables, sizes, *, labels=None, attrs=None):
    """A group as zarr-python writes it: variables of all dimensions, and labels of them."""
    group = zarr.create_group(str(path), zarr_format=3, attributes=attrs or {})
    for name, own in variables.items():
        group.create_array(
            name, shape=tuple(sizes.values()), dtype="uint16", chunks=tuple(min(n, 1000) for n in sizes.values()),
            dimension_names=list(sizes), attributes=own,
        )  # fmt: skip
    for dim, values in (labels or {}).items():
        array = group.create_array(dim, shape=values.shape, dtype=values.dtype, dimension_names=[dim])
        array[:] = values
    return cw.open(path)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return cw.demo(tmp_path_factory.mktemp("demo") / "demo")


@pytest.fixture(scope="module")
def ndvi(demo):
    return demo.calc("(nir - red) / (nir + red)", name="ndvi")


def test_a_cube_shows_its_dimensions_crs_labels_chunks_and_attributes(demo):
    text = checked(demo).text
    for said in (
        "cube.zarr", "EPSG:32610", "Zarr v3", "time12", "x1,000", "2024-01-15 … 2024-12-15", "red, green, blue, nir",
        "step -30", "uint16",
        "1 × 4 × 250 × 250", "91.6 MiB", "192 chunks", "488.3 KiB each", "blosc(lz4 5 shuffle)", "30 meters",
        "Multi-Spectral Satellite Datacube", "MiB on disk",
    ):  # fmt: skip
        assert said in text, said


def test_what_is_asked_is_a_sentence_and_a_command(ndvi):
    asked = ndvi.where("nir > 9000").isel(y=slice(100, 300)).groupby("time.month").mean(("time", "y", "x"))
    text = checked(asked).text
    assert "The mean of ndvi = (nir - red) / (nir + red) over y and x for each month, where nir > 9000" in text
    assert ", at y 4996985 … 4991015 (200 cells)." in text
    assert asked.command() in text
    # a cube as it is asks nothing
    assert "on the command line" not in checked(cw.open(ndvi.location)).text


def test_a_plan_shows_its_stages_and_memory_beside_the_budget(ndvi):
    plan = ndvi.groupby("time.month").anomaly().explain(memory="1GiB")
    text = checked(plan).text
    # 192 chunks of 12 × 4 × 1000 × 1000 uint16, read for the means and once more for what is less them
    assert "384 requests, 183.1 MiB to decode" in text
    assert text.count("ndvi19219291.6 MiB") == 2
    assert "of a budget of 1.0 GiB" in text
    assert "less its mean for each month" in text


def test_a_plan_without_stages_shows_its_figures(demo):
    text = checked(demo.verify(explain=True)).text
    # 192 chunks of the cube, and those of its labels and its grid mapping
    assert "chunks197" in text and "chunkwise verify" in text


def test_a_result_of_windows_shows_no_labels_that_it_does_not_have(ndvi):
    text = checked(ndvi.resample(time="3MS").mean()).text
    assert "time4" in text and "in windows of 3 month" in text and "2024-01-15 …" not in text


def test_tables_show_ten_rows_and_how_many_there_are(ndvi):
    text = checked(ndvi.series(iat={"y": 500, "x": 500})).text
    assert "12 rows, the first 10 shown" in text
    assert text.count("2024-") >= 10


def test_comparisons_show_where_cubes_differ(demo, tmp_path):
    other = demo.to_zarr(tmp_path / "other.zarr")
    assert "✓ equal" in checked(demo.compare(other)).text
    other["data"][0, 0, 0, 7] = 1
    text = checked(demo.compare(cw.open(tmp_path / "other.zarr"))).text
    assert "✗ they differ" in text and "x 500225" in text
    assert "✓ whole" in checked(demo.verify()).text


def test_names_and_attributes_of_others_are_text(tmp_path):
    folder = tmp_path / "<script>location"
    attrs = {HOSTILE: IMAGE, "title": HOSTILE, "list": [HOSTILE, {"a": IMAGE}], "turned\u202e": "\u202e\u0000x"}
    cube = group_of(
        folder, {"<script>alert(1)<": {"long_name": IMAGE, "units": HOSTILE}, "v": {"standard_name": HOSTILE}},
        {"<b>y": 4, "x\" onload=\"a": 5}, labels={"<b>y": np.arange(4.0)}, attrs=attrs,
    )  # fmt: skip
    page = checked(cube)
    assert HOSTILE in page.text and IMAGE in page.text and "<script>location" in page.text
    assert "\u202e" not in page.text and "\0" not in page.text
    for name in cube:
        page = checked(cube[name])
        assert name in page.text
    checked(cube["v"].mean("<b>y"))
    checked(cube["v"].mean("<b>y").explain())
    checked(cube["v"].where("v > 1"))
    checked(cube.compare(cube))


@pytest.mark.slow
def test_a_cube_of_500_variables_stays_small(tmp_path):
    own = {"long_name": "y" * 5000, **{f"k{i}": "z" * 100 for i in range(20)}}
    names = {f"variable_{i:03}_{'x' * 40}": own for i in range(500)}
    attrs = {f"key {i}": "v" * 10_000 for i in range(300)}
    cube = group_of(tmp_path / "many.zarr", names, {"y": 30, "x": 40}, attrs=attrs)
    page = checked(cube)
    assert "460 more" in page.text and f"variable_499_{'x' * 40}" in page.text
    assert "300 attributes" in page.text and "240 more" in page.text


def test_a_million_labels_stay_small(tmp_path):
    cube = group_of(tmp_path / "long.zarr", {"v": {}}, {"x": 1_000_000}, labels={"x": np.arange(1_000_000) * 0.5})
    page = checked(cube)
    assert "0 … 499999.5" in page.text and "step 0.5" in page.text and "1,000 chunks" in page.text
    checked(cube["v"])
    assert len(cube._repr_html_()) < 20_000


def test_shards_are_told_and_drawn(tmp_path, demo):
    sharded = demo.to_zarr(tmp_path / "s.zarr", shards={"time": 12, "band": 4, "y": 500, "x": 500})
    text = checked(sharded).text
    assert "192 chunks of 1 × 4 × 250 × 250" in text and "in 4 shards of 12 × 4 × 500 × 500" in text


def test_without_styles_the_text_shows(demo):
    # GitHub and notebooks that are not trusted leave out styles: what they hide then is the page, not the text.
    html = demo._repr_html_()
    assert '<pre class="cw-text">' in html and '<div class="cw" style="display:none">' in html
    assert "data         (time, band, y, x) uint16" in html


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_a_chart_is_svg_and_the_vega_lite_that_notebooks_know(ndvi):
    plot = ndvi.isel(y=500, x=500).plot()
    bundle = plot._repr_mimebundle_()
    assert set(bundle) == {"image/svg+xml", "text/plain", "application/vnd.vegalite.v5+json"}
    # the version in the type is that of the specification
    assert bundle["application/vnd.vegalite.v5+json"]["$schema"].endswith("/v5.json")
    values = [row["value"] for row in bundle["application/vnd.vegalite.v5+json"]["data"]["values"]]
    known = [0.407, 0.389, 0.340, 0.269, 0.196, 0.141, 0.120, 0.141, 0.196, 0.269, 0.340, 0.389]
    assert np.abs(np.array(values) - known).max() < 0.02
    assert bundle["image/svg+xml"].startswith("<svg ")


def test_a_map_is_svg_alone_and_no_wider_than_a_notebook(ndvi):
    plot = ndvi.isel(time=11).plot()
    bundle = plot._repr_mimebundle_()
    assert set(bundle) == {"image/svg+xml", "text/plain"}
    width = int(re.match(r'<svg [^>]*width="(\d+)"', bundle["image/svg+xml"])[1])
    assert width <= 720
    assert len(bundle["image/svg+xml"]) < 1 << 20
    small = ndvi.isel(time=11).plot(width=300)
    assert int(re.match(r'<svg [^>]*width="(\d+)"', small.svg)[1]) <= 300
    assert set(small._repr_mimebundle_()) == set(bundle)


def test_nothing_is_computed_for_the_specification_until_it_is_asked_for(ndvi, monkeypatch):
    import chunkwise._plot as of_plot

    runs, run = [], of_plot.run
    monkeypatch.setattr(of_plot, "run", lambda words, **how: runs.append(words) or run(words, **how))
    plot = ndvi.isel(y=500, x=500).plot()
    assert len(runs) == 1
    repr(plot), plot.svg
    assert len(runs) == 1
    assert plot.spec["mark"]["type"] == "line" and plot.spec is plot.spec
    assert len(runs) == 2


@pytest.mark.parametrize(
    ("ending", "begins"), [(".svg", b"<svg "), (".png", b"\x89PNG"), (".html", b"<!doctype html>"), (".json", b"{")]
)
def test_pictures_are_saved_as_their_ending_says(ndvi, tmp_path, ending, begins):
    plot = ndvi.isel(y=500, x=500).plot()
    plot.save(tmp_path / f"a{ending}")
    assert (tmp_path / f"a{ending}").read_bytes()[: len(begins)].lower() == begins.lower()
    with pytest.raises(FileExistsError):
        plot.save(tmp_path / f"a{ending}")
    plot.save(tmp_path / f"a{ending}", overwrite=True)
    with pytest.raises(ValueError, match="`.svg`, `.png`"):
        plot.save(tmp_path / "a.gif")


def test_notes_stand_under_the_picture(ndvi, tmp_path):
    far = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
    (tmp_path / "far.geojson").write_text(json.dumps(far))
    plot = ndvi.isel(time=11).plot(outlines=tmp_path / "far.geojson", width=300)
    assert "has a corner on the map" in " ".join(plot.notes)
    head = re.match(r'<svg [^>]*width="(\d+)" height="(\d+)" viewBox="0 0 (\d+) (\d+)"', plot.svg)
    assert head[2] == head[4]
    below = [float(y) for y in re.findall(r'<text x="12" y="([0-9.]+)"', plot.svg)]
    assert below and max(below) < int(head[2])
    assert int(head[2]) > int(re.match(r'<svg [^>]*height="(\d+)"', ndvi.isel(time=11).plot(width=300).svg)[1])


def test_three_bands_of_an_array_are_a_map_in_true_colour(demo):
    july = demo["data"].isel(time=6)
    of_cube = demo.isel(time=6).plot(rgb=("red", "green", "blue"), width=300)
    assert of_cube.is_map and july.plot(rgb=("red", "green", "blue"), width=300).svg == of_cube.svg


def test_text_and_what_the_engine_cannot_compute_show_what_is_stored(tmp_path):
    group = zarr.create_group(str(tmp_path / "text.zarr"), zarr_format=3)
    group.create_array("name", shape=(3,), dtype="<U6", dimension_names=["x"])[:] = ["a", "<b>", "c"]
    array = cw.open(tmp_path / "text.zarr")["name"]
    text = checked(array).text
    assert "name" in text and "<U6" in text and "<U6" in repr(array)
