"""Commands of the documents run: each `$ chunkwise …` of their console blocks, in the order of the page, on small cubes of the names that they use.

    $ .venv/bin/python -m pytest tests/python/test_documents.py
"""

import re
import shlex
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
from shapely.geometry import Point, box

from small import build

ROOT = Path(__file__).resolve().parents[2]
UTM = {"crs_wkt": pyproj.CRS.from_epsg(32610).to_wkt()}
Y, X = 4985585 - 30.0 * np.arange(40), 514415 + 30.0 * np.arange(40)
MAPPED = {"grid_mapping": "spatial_ref"}
# Commands that do not run here: a part of each, and why.
NOT_RUN = {
    "s3://": "an object store is needed",
    "s2/*.tif": "files of one's own are needed; test_import.py imports such",
    "CUBE ": "what may be asked, and no command",
}
# Documents that take bands by their numbers.
BY_NUMBER = ("docs/plot.md",)
BANDS_BY_NUMBER = ["B02", "B03", "B04", "B08"]
DOCUMENTS = ["README.md", *(f"docs/{n}.md" for n in ("open", "select", "ndvi", "zonal", "export", "plot", "errata", "cdo", "gdal"))]


def bands(document):
    return BANDS_BY_NUMBER if document in BY_NUMBER else ["blue", "green", "red", "nir"]


def sentinel(path, names):
    """Two years of months of four packed bands, of 30 m in EPSG:32610; beside bands with names a cloud mask and heights."""
    rng = np.random.default_rng(5)
    cells = rng.integers(200, 6000, (24, 4, 40, 40)).astype("uint16")
    cells[:, :, 38:, 38:] = 65535
    packed = MAPPED | {"_FillValue": 65535, "scale_factor": 1e-4, "long_name": "surface reflectance", "units": "1"}
    flags = MAPPED | {"flag_values": [4, 5, 8, 9], "flag_meanings": "vegetation bare cloud cloud_shadow"}
    arrays = {
        "reflectance": (("time", "band", "y", "x"), cells, packed, {"chunks": (1, 4, 20, 20)}),
        "scl": (("time", "y", "x"), rng.choice([4, 4, 5, 8, 9], (24, 40, 40)).astype("uint8"), flags, {"chunks": (1, 20, 20)}),
        "dem": (("y", "x"), (3 * np.add.outer(np.arange(40), np.arange(40))).astype("float32"), MAPPED | {"units": "m"}),
        "time": (("time",), np.round(np.arange(24) * 30.44).astype("int64") + 14, {"units": "days since 2023-01-01", "calendar": "standard"}),
        "band": (("band",), np.array(names)),
        "y": (("y",), Y, {"standard_name": "projection_y_coordinate", "units": "m"}),
        "x": (("x",), X, {"standard_name": "projection_x_coordinate", "units": "m"}),
        "spatial_ref": ((), np.int64(0), UTM),
    }
    if names == BANDS_BY_NUMBER:
        arrays.pop("scl"), arrays.pop("dem")
    build(path, arrays, attrs={"Conventions": "CF-1.11"})


def climate(path):
    """Monthly temperatures on longitudes and latitudes, in a year of 360 days."""
    lat, lon = 30 + 2.5 * np.arange(8), 230 + 2.5 * np.arange(10)
    arrays = {
        "tas": (("time", "lat", "lon"), np.random.default_rng(6).normal(285, 9, (24, 8, 10)).astype("float32"), {"units": "K"}, {"chunks": (6, 8, 10), "fill": np.nan}),
        "time": (("time",), 15 + 30.0 * np.arange(24), {"units": "days since 2000-01-01", "calendar": "360_day"}),
        "lat": (("lat",), lat, {"standard_name": "latitude", "units": "degrees_north"}),
        "lon": (("lon",), lon, {"standard_name": "longitude", "units": "degrees_east"}),
    }
    build(path, arrays)


def furnish(folder, document, cw):
    """What the commands of a document read."""
    for name in ("s2.zarr", "fields.zarr"):
        sentinel(folder / name, bands(document))
    climate(folder / "climate.zarr")
    fields = gpd.GeoDataFrame(
        {"name": ["north", "south"], "crop": [3, 7]}, geometry=[box(X[3] + 7, Y[18], X[20], Y[2] - 4), box(X[8], Y[33], X[36] + 11, Y[21])], crs=32610
    )
    fields.to_file(folder / "fields.gpkg")
    fields.to_parquet(folder / "fields.parquet")
    fields.to_crs(4326).to_file(folder / "fields.geojson", driver="GeoJSON")
    sites = gpd.GeoDataFrame({"site": ["a", "b", "c"]}, geometry=[Point(X[n], Y[m]) for n, m in ((3, 5), (20, 8), (31, 30))], crs=32610)
    sites.to_file(folder / "sites.gpkg")
    sites.to_parquet(folder / "sites.parquet")
    sites.to_crs(4326).to_file(folder / "sites.geojson", driver="GeoJSON")
    degrees = sites.to_crs(4326).geometry
    pd.DataFrame({"name": sites["site"], "lon": degrees.x, "lat": degrees.y}).to_csv(folder / "stations.csv", index=False)
    pd.DataFrame({"point": sites["site"], "y": sites.geometry.y, "x": sites.geometry.x}).to_csv(folder / "points.csv", index=False)
    if document == "README.md":
        # Another cube that holds the same as the one that the page makes.
        words = next(w for w in commands(document) if "ndvi.zarr" in w and w[0] == "reduce")
        cw(*[w if w != "ndvi.zarr" else "other.zarr" for w in words], cwd=folder).ok()


def commands(document):
    """The words behind each `$ chunkwise ` of the console blocks."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ chunkwise "):
                found.append(shlex.split(line)[2:])
    return found


def not_run(words):
    line = " ".join(words) + " "
    return next((why for part, why in NOT_RUN.items() if part in line), None)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_of_the_documents_run(cw, tmp_path, document):
    furnish(tmp_path, document, cw)
    ran = 0
    for words in commands(document):
        if not_run(words):
            continue
        run = cw(*words, json=False, cwd=tmp_path)
        assert run.code == 0, f"{document}\n{run}"
        ran += 1
        for flag in ("-o", "--output"):
            if flag in words and "--explain" not in words and (out := words[words.index(flag) + 1]) != "none":
                assert (tmp_path / out).exists(), run
    assert ran >= 2, f"{document}: {ran} commands"
    left = [p.name for p in tmp_path.iterdir() if p.name.endswith(".part") or p.name.startswith(".")]
    assert not left, left


def test_what_is_not_run_is_still_there():
    """A reason that no command has any more is taken out of the list."""
    lines = [" ".join(w) + " " for d in DOCUMENTS for w in commands(d)]
    assert all(any(part in line for line in lines) for part in NOT_RUN)


def test_links_between_documents_lead_somewhere():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
            if not re.match(r"\w+://", target):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
