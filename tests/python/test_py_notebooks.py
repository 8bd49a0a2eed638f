"""The notebooks: they run from start to end, give known figures, and show in a page that loads nothing."""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

import runner

ROOT = Path(runner.__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
NDVI = [0.407, 0.389, 0.340, 0.269, 0.196, 0.141, 0.120, 0.141, 0.196, 0.269, 0.340, 0.389]
ZONES = [0.423, 0.410, 0.397, 0.385, 0.374]

pytestmark = pytest.mark.slow


class Run:
    """A notebook that was run, and its kernel, which can be asked."""

    def __init__(self, name, folder, data):
        self.notebook = nbformat.read(EXAMPLES / name, as_version=4)
        for cell in self.notebook.cells:
            # What is seen here was made here.
            cell.pop("outputs", None), cell.pop("execution_count", None)
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        env = {**os.environ, "CHUNKWISE_DATA": str(data), "NOTEBOOK_FOLDER": str(folder)}
        how = {"metadata": {"path": str(folder)}}
        self.client = NotebookClient(self.notebook, timeout=300, kernel_name="python3", resources=how)
        self.number = len(self.notebook.cells)
        with self.client.setup_kernel(env=env):
            for index, cell in enumerate(self.notebook.cells):
                self.client.execute_cell(cell, index)
            self.told = json.loads(self._say())

    # What the figures of the notebook are, as its own names hold them in the end.
    ASK = "{}"

    def _say(self):
        cell = nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({self.ASK}, default=float))")
        self.client.nb.cells.append(cell)
        self.client.execute_cell(cell, self.number, store_history=False)
        self.client.nb.cells.pop()
        return cell.outputs[0].text

    @property
    def code(self):
        return [cell for cell in self.notebook.cells if cell.cell_type == "code"]

    def printed(self, beginning):
        """What the cell of this first line prints."""
        [cell] = [cell for cell in self.code if cell.source.startswith(beginning)]
        return "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout")


class Datacube(Run):
    ASK = """{
        "same": bool(same), "sizes": dict(cube.sizes), "access": access[["chunks", "MB"]].values.tolist(),
        "ndvi": pixel.to_dict()["ndvi"].tolist(), "zones": by_zone.to_dict()["mean"].tolist(),
        "count": by_zone.to_dict()["count"].tolist(), "green": green.item(),
        "bands": [float(result.sel(band=b).mean()) for b in ("red", "green", "blue", "nir")],
        "requests": [whole, point], "cluster": float(np.abs(on_cluster - result).max()),
        "codecs": demo_sizes["ratio"].to_dict(), "real": sorted(real_sizes),
    }"""


class Sentinel2(Run):
    ASK = """{
        "ndvi": valid["ndvi_mean"].values.tolist(), "count": valid["ndvi_count"].values.tolist(),
        "best": float(best.astype("float64").mean()), "other": wide["other"].tolist(),
        "cropland": wide["cropland"].tolist(), "clear": clear_mean.values.tolist(),
        "fields": {int(z): m for z, m in zip(fields["zone"], fields["mean"])},
        "apart": float(abs(theirs - ours).max()),
    }"""


@pytest.fixture(scope="module")
def datacube(tmp_path_factory, data):
    return Datacube("datacube.ipynb", tmp_path_factory.mktemp("datacube"), data)


@pytest.fixture(scope="module")
def sentinel2(tmp_path_factory, data):
    return Sentinel2("sentinel2.ipynb", tmp_path_factory.mktemp("sentinel2"), data)


def test_the_tutorial_finds_the_known_figures_of_the_demo_cube(datacube):
    told = datacube.told
    assert told["same"] and told["sizes"] == {"time": 12, "band": 4, "y": 1000, "x": 1000}
    # pixel series, one map, 500 × 500 through time, all: chunks and MB
    assert [told["access"][i] for i in (0, 1, 2, 4)] == [[12, 6], [16, 8], [48, 24], [192, 96]]
    # The known ones are without noise; that of one cell moves its NDVI by less than 0.02.
    assert np.abs(np.array(told["ndvi"]) - NDVI).max() < 0.02
    assert np.abs(np.array(told["zones"]) - ZONES).max() < 0.0006
    assert told["count"] == [200_000] * 5
    assert abs(told["green"] - 11498.5) < 0.1
    # over a year the season cancels out: base + 999 + 499.5
    assert np.abs(np.array(told["bands"]) - [9498.5, 11498.5, 8498.5, 16498.5]).max() < 0.5
    assert told["requests"] == [{"chunks alone": 192, "in shards": 196}, {"chunks alone": 12, "in shards": 13}]
    assert told["cluster"] == 0
    assert told["codecs"]["none"] == 1 < told["codecs"]["blosc:lz4:5:shuffle"] < 1.3
    assert len(told["real"]) == 3


def test_what_is_printed_in_the_tutorial_is_what_its_text_says(datacube):
    assert datacube.printed("try:\n    mean.compute(memory").startswith("the job needs 5")
    assert "192 requests, at most 100" in datacube.printed("try:\n    ndvi.mean")
    assert "11498.5" in datacube.printed("green =")


def test_real_cubes_give_the_figures_that_others_found(sentinel2, data):
    told = sentinel2.told
    known = json.loads((data / "s2-l2a-belgium/expected.json").read_text())
    gaps = lambda values: np.array([np.nan if v is None else v for v in values])  # noqa: E731
    per_date = known["ndvi"]["per_date"]
    assert told["count"] == [m["count"] for m in per_date]
    assert np.allclose(told["ndvi"], gaps([m["mean"] for m in per_date]), rtol=1e-6, equal_nan=True)
    assert np.isclose(told["best"], known["ndvi"]["temporal_max"]["mean"], rtol=1e-6)
    by_class = known["zones_raster"]["ndvi_mean_per_date"]
    assert np.allclose(told["other"], gaps(by_class["0"]), rtol=1e-6, equal_nan=True)
    assert np.allclose(told["cropland"], gaps(by_class["1"]), rtol=1e-6, equal_nan=True)
    slovenia = json.loads((data / "s2-l1c-slovenia/expected.json").read_text())
    clear = gaps(slovenia["series.zarr"]["ndvi_mean_per_date_clear_pixels"])
    assert np.allclose(told["clear"], clear, rtol=1e-6, equal_nan=True)
    zones = [z for z in slovenia["zones_polygons"]["zones"] if z["ndvi_mean"][3] is not None]
    assert len(zones) > 80
    for zone in zones:
        # exactextract, at 30 August 2015
        assert abs(told["fields"][str(zone["zone"])] - zone["ndvi_mean"][3]) < 1e-6, zone["zone"]
    assert told["apart"] < 1e-6


class Loads(HTMLParser):
    """What a page loads by itself when it is opened, and its pictures."""

    OF = {
        "script": "src", "link": "href", "img": "src", "iframe": "src", "image": "href", "source": "src",
        "object": "data", "embed": "src",
    }  # fmt: skip

    def __init__(self, page):
        super().__init__()
        self.loaded, self.pictures, self.code, self.inside = [], 0, "", None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.inside = tag if tag in ("script", "style") else None
        at = attrs.get(self.OF.get(tag, ""), None) or attrs.get("xlink:href")
        if tag in self.OF and at:
            if at.startswith("data:image/"):
                self.pictures += 1
            else:
                self.loaded.append(at)
        self.pictures += tag == "svg" and int(attrs.get("width", "0").split(".")[0]) >= 300
        self.code += " " + (attrs.get("style") or "")

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.code += data


def test_what_a_page_would_load_is_seen():
    page = '<script src="https://a/b.js"></script><link href="//c/d.css"><img src="data:image/png;base64,">'
    found = Loads(page + "<style>i{background:url(https://e)}</style>")
    assert found.loaded == ["https://a/b.js", "//c/d.css"] and found.pictures == 1 and "https://e" in found.code


@pytest.mark.parametrize(("name", "pictures"), [("datacube", 4), ("sentinel2", 8)])
def test_exported_pages_hold_the_pictures_and_load_nothing(name, pictures, request):
    notebook = request.getfixturevalue(name).notebook
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/svg+xml" in output.get("data", {}) for output in outputs) == pictures
    # What nbconvert itself would load (MathJax, require.js) is not ours, and can be turned off.
    exporter = HTMLExporter(require_js_url="", jquery_url="", mathjax_url="", mermaid_js_url="", widget_renderer_url="")
    page, _ = exporter.from_notebook_node(notebook)
    found = Loads(page)
    assert [at for at in found.loaded if re.match(r"(https?:)?//", at)] == []
    assert re.findall(r"(?:url\(|@import|import\(|from)\s*[\"']?https?://[^\"')]*", found.code) == []
    assert found.pictures >= pictures
    assert "cw-head" in page and "vegalite" not in page


@pytest.mark.parametrize("name", ["datacube.ipynb", "sentinel2.ipynb"])
def test_committed_notebooks_are_small_and_hold_what_they_show(name):
    path = EXAMPLES / name
    assert path.stat().st_size < 1 << 20
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert sum("image/svg+xml" in o.get("data", {}) for o in outputs) >= 4
    text = "\n".join(str(o) for o in outputs)
    assert "/tmp/" not in text and "/home/" not in text and "/root/" not in text
