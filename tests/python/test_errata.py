"""docs/errata.md: for each mistake, the right figure from chunkwise and from numpy or xarray, and the other one that the mistake gives.

    $ .venv/bin/python -m pytest tests/python/test_errata.py
"""

import re
import shlex
from pathlib import Path

import faulty
import numpy as np
import pytest
import xarray
import zarr

from pictures import cell_colours, coloured, framed, plot
from small import build

ROOT = Path(__file__).resolve().parents[2]
NDVI = "ndvi = (nir - red) / (nir + red)"
ZONES = ["Low", "Medium-Low", "Medium", "Medium-High", "High"]
SERIES = {"time": 12, "band": 4, "y": 72, "x": 72}


@pytest.fixture(scope="module")
def demo(cw, made_once):
    """The folder that `chunkwise demo` makes."""

    def make(path):
        path.mkdir()
        cw("demo", cwd=path).ok()

    return made_once("errata-demo", make) / "chunkwise-demo"


@pytest.fixture(scope="module")
def numbers(demo):
    """The cells of the demo cube, as xarray reads them."""
    with xarray.open_zarr(demo / "cube.zarr") as cube:
        return cube["data"].load()


@pytest.fixture(scope="module")
def ndvi(numbers):
    red, nir = (numbers.sel(band=b).values.astype("float64") for b in ("red", "nir"))
    return (nir - red) / (nir + red)


@pytest.fixture(scope="module")
def by_pixel(numbers, tmp_path_factory):
    """A corner of the demo cube in the chunks that `info --access` tells for series."""
    return corner(tmp_path_factory.mktemp("by_pixel") / "c.zarr", numbers, SERIES)


@pytest.fixture(scope="module")
def by_map(numbers, tmp_path_factory):
    """The same corner, a step in a chunk."""
    return corner(tmp_path_factory.mktemp("by_map") / "c.zarr", numbers, SERIES | {"time": 1})


def corner(path, numbers, chunks):
    cells = numbers.values[:, :, :216, :216]
    bands = {"band": (("band",), np.asarray(numbers["band"].values, "U5"))}
    return build(path, {"data": (("time", "band", "y", "x"), cells, {}, {"chunks": tuple(chunks.values())}), **bands})


def accesses(found):
    return {a["access"]: a for a in found["access"]}


def decoded(cw, *words):
    plan = cw(*words, "--explain").ok().json
    return plan["chunks"], plan["decoded_bytes"]


def stored_chunks(path):
    """Chunks of an array of that shape, counted by zarr-python."""
    array = zarr.open_array(path, mode="r")
    return int(np.prod(array.cdata_shape)), int(np.prod(array.chunks)) * array.dtype.itemsize


def test_a_series_wants_long_chunks_in_time(cw, demo, by_pixel, by_map, ndvi):
    card = cw("info", demo / "cube.zarr", "--access").ok().json["access"][0]
    now = accesses(card)["series of a pixel"]
    assert (now["chunks"], now["bytes"], now["useful_bytes"], now["amplification"]) == (12, 6e6, 96, 62500)
    assert stored_chunks(demo / "cube.zarr/data") == (192, 500_000)
    told = {r["for"].split(":")[0]: r for r in card["recommendations"]}["series"]
    assert told["chunk"] == ",".join(f"{d}={n}" for d, n in SERIES.items())
    better = accesses(told)["series of a pixel"]
    assert (better["chunks"], better["bytes"], better["amplification"]) == (1, 12 * 4 * 72 * 72 * 2, 5184)
    # So it is where the same numbers lie in such chunks.
    ask = ["series", by_pixel, "--iat", "y=100,x=100", "--calc", NDVI]
    assert decoded(cw, *ask) == (1, 497_664)
    mistaken = ["series", by_map, "--iat", "y=100,x=100", "--calc", NDVI]
    assert decoded(cw, *mistaken) == (12, 497_664)
    for words in (ask, mistaken):
        np.testing.assert_allclose([r["ndvi"] for r in cw(*words).ok().json], ndvi[:, 100, 100], rtol=1e-12)
    wide = ["series", demo / "cube.zarr", "--iat", "y=100,x=100", "--calc", NDVI]
    assert decoded(cw, *wide) == (12, 6_000_000)


def test_a_map_of_one_date_wants_chunks_of_one_step(cw, demo, by_pixel, by_map, numbers):
    card = cw("info", demo / "cube.zarr", "--access").ok().json["access"][0]
    told = {r["for"].split(":")[0]: r for r in card["recommendations"]}["series"]
    all_times, one_step = accesses(told)["one map"], accesses(card)["one map"]
    assert (one_step["chunks"], one_step["bytes"], one_step["amplification"]) == (16, 8e6, 1)
    assert (all_times["chunks"], all_times["bytes"]) == (14 * 14, 14 * 14 * 497_664)
    assert all_times["amplification"] == pytest.approx(14 * 14 * 497_664 / 8e6)
    ask = ["reduce", "--isel", "time=5", "--over", "y,x", "--with", "mean"]
    (chunks, right), (same, wrong) = (decoded(cw, ask[0], c, *ask[1:]) for c in (by_map, by_pixel))
    assert chunks == same == 9 and wrong == 12 * right == 9 * 497_664
    want = numbers.values[5, :, :216, :216].mean((1, 2))
    for cube in (by_map, by_pixel):
        np.testing.assert_allclose([r["mean"] for r in cw(ask[0], cube, *ask[1:]).ok().json], want, rtol=1e-12)


def test_the_last_rows_and_columns_count(cw, tmp_path):
    values = np.full((2, 1001, 1001), 1, "uint16")
    values[:, -1, :] = values[:, :, -1] = 1001
    path = build(tmp_path / "c.zarr", {"v": (("time", "y", "x"), values, {}, {"chunks": (1, 250, 250)})})
    about = cw("info", path, "--access").ok().json
    assert about["variables"][0]["chunk_count"] == 2 * 5 * 5 == stored_chunks(path / "v")[0]
    (row,) = cw("reduce", path, "--over", "all", "--with", "count,mean,max").ok().json
    assert (row["count"], row["max"]) == (values.size, 1001) and row["mean"] == pytest.approx(values.mean(), rel=1e-12)
    # div: four chunks a side, 2,001 cells of each step are never seen.
    n = 1001 // 250 * 250
    seen = values[:, :n, :n]
    assert values.size - seen.size == 2 * 2001 and seen.mean() == 1 and row["mean"] > 2.9


def test_bands_and_times_count_among_the_chunks(cw, tmp_path):
    rng = np.random.default_rng(2)
    values = rng.integers(1, 9999, (12, 4, 100, 100)).astype("uint16")
    bands = {"band": (("band",), np.array(["red", "green", "blue", "nir"]))}
    for name, chunks, many, pixel, step in (("a", (1, 4, 50, 50), 48, 12, 4), ("b", (1, 1, 50, 50), 192, 48, 16), ("c", (3, 2, 50, 50), 32, 8, 8)):
        path = build(tmp_path / f"{name}.zarr", {"data": (("time", "band", "y", "x"), values, {}, {"chunks": chunks}), **bands})
        found = accesses(cw("info", path, "--access").ok().json["access"][0])
        assert (found["everything"]["chunks"], found["series of a pixel"]["chunks"], found["one map"]["chunks"]) == (many, pixel, step)
        assert stored_chunks(path / "data")[0] == many
        read = cw("series", path, "--iat", "y=1,x=2", json=False).ok().summary["chunks"]
        assert read == pixel
        # 12 chunks for 12 times, 4 for a map: right in the first cube alone.
        assert ((read, found["one map"]["chunks"]) == (12, 4)) == (name == "a")
        rows = cw("series", path, "--iat", "y=1,x=2").ok().json
        assert [r["data"] for r in rows] == values[:, :, 1, 2].ravel().tolist()


def test_statistics_of_zones_are_over_all_times_unless_one_is_selected(cw, demo, ndvi):
    ask = ["zonal", demo / "cube.zarr", "--zones", demo / "elevation_zones.geojson", "--zone-id", "label", "--calc", NDVI, "--with", "mean,count"]
    by_time = cw(*ask).ok().json
    found = {z: [r for r in by_time if r["zone"] == z] for z in ZONES}
    last = cw(*ask, "--isel", "time=-1").ok().json
    assert [r["zone"] for r in last] == ZONES
    for n, zone in enumerate(ZONES):
        cells = ndvi[:, 200 * n : 200 * (n + 1)]
        assert [r["count"] for r in found[zone]] == [200_000] * 12
        np.testing.assert_allclose([r["mean"] for r in found[zone]], cells.mean((1, 2)), rtol=1e-9)
        assert last[n]["mean"] == pytest.approx(cells[-1].mean(), rel=1e-9)
        # The last month is not the mean of all.
        assert last[n]["mean"] - np.mean([r["mean"] for r in found[zone]]) > 0.1
    low = np.mean([r["mean"] for r in found["Low"]])
    assert (round(last[0]["mean"], 3), round(low, 3)) == (0.423, 0.290) == (round(ndvi[-1, :200].mean(), 3), round(ndvi[:, :200].mean(), 3))


def test_the_season_of_the_cube_peaks_in_january(cw, demo, ndvi, numbers):
    rows = cw("reduce", demo / "cube.zarr", "--calc", NDVI, "--over", "y,x", "--with", "mean").ok().json
    found = [r["mean"] for r in rows]
    np.testing.assert_allclose(found, ndvi.mean((1, 2)), rtol=1e-12)
    assert (np.argmax(found), np.argmin(found)) == (0, 6) and rows[0]["time"].startswith("2024-01") and rows[6]["time"].startswith("2024-07")
    nir = cw("reduce", demo / "cube.zarr", "--sel", "band=nir", "--over", "y,x", "--with", "mean").ok().json
    assert [round(nir[m]["mean"], 1) for m in (0, 6)] == [round(float(numbers.sel(band="nir")[m].mean()), 1) for m in (0, 6)]
    # A summer that is green has the other sign: the same formula, half a year on.
    month = np.arange(12)
    as_made, as_meant = (16500 + sign * 2500 * np.cos(np.pi * month / 6) for sign in (1, -1))
    assert (np.argmax(as_made), np.argmax(as_meant)) == (0, 6)
    np.testing.assert_allclose([r["mean"] for r in nir], as_made, atol=5)
    assert np.abs([r["mean"] for r in nir] - as_meant).max() > 4990


def test_north_is_at_the_top_of_a_map(cw, demo, numbers, tmp_path):
    ask = ["--sel", "time=2024-12-15,band=red", "--isel", "y=::100,x=::100", "--range", "2000,14000"]
    told, out = plot(cw, demo / "cube.zarr", *ask, out=tmp_path / "m.png")
    assert (np.diff(numbers["y"].values) < 0).all(), "row 0 is the north"
    values = numbers.sel(band="red").values[11, ::100, ::100]
    right = coloured(values, 2000, 14000, "viridis")
    found = cell_colours(out, told, 10, 10)
    assert (found == right).all()
    # Rows sorted in descending order from the top: row 0 lies in the south.
    assert not (found == coloured(values[::-1], 2000, 14000, "viridis")).all()
    # Whichever way the rows are stored, the picture is the same.
    plain = {"y": (("y",), numbers["y"].values[::100]), "x": (("x",), numbers["x"].values[::100])}
    upward = build(tmp_path / "u.zarr", {"v": (("y", "x"), values[::-1]), "y": (("y",), plain["y"][1][::-1]), "x": plain["x"]})
    downward = build(tmp_path / "d.zarr", {"v": (("y", "x"), values), **plain})
    up, down = (framed(o, t) for t, o in (plot(cw, c, "--range", "2000,14000", out=c.with_suffix(".png")) for c in (upward, downward)))
    assert (up == down).all()


def test_cells_without_data_are_missing_and_no_zeros(cw, tmp_path):
    red, nir = np.full((40, 40), 1000, "uint16"), np.full((40, 40), 4000, "uint16")
    red[:, 30:] = nir[:, 30:] = 0  # a quarter lies beyond the edge of the scene
    places = {"y": (("y",), 39.5 - np.arange(40)), "x": (("x",), 0.5 + np.arange(40))}
    path = build(tmp_path / "c.zarr", {"red": (("y", "x"), red), "nir": (("y", "x"), nir), "zone": (("y", "x"), np.ones((40, 40), "uint8")), **places})
    ask = ["zonal", path, "--zones", "zone", "--with", "mean,count,missing"]
    (row,) = cw(*ask, "--calc", NDVI).ok().json
    with np.errstate(invalid="ignore"):
        want = (nir.astype(float) - red) / (nir.astype(float) + red)
    assert (row["mean"], row["count"], row["missing"]) == (pytest.approx(np.nanmean(want), rel=1e-12), 1200, 400) and row["mean"] == pytest.approx(0.6)
    zeros = "ndvi = where(nir + red == 0, 0, (nir - red) / (nir + red))"
    (mistaken,) = cw(*ask, "--calc", zeros).ok().json
    assert (mistaken["mean"], mistaken["count"]) == (pytest.approx(0.45), 1600) and np.nan_to_num(want).mean() == pytest.approx(0.45)


def test_shards_make_fewer_objects_and_no_list_is_saved(cw, demo, tmp_path):
    ask = ["calc", demo / "cube.zarr", "dn = data", "--isel", "time=0:2"]
    cw(*ask, "-o", tmp_path / "plain.zarr").ok()
    cw(*ask, "--shard", "time=1,band=4,y=1000,x=1000", "-o", tmp_path / "shards.zarr").ok()
    objects = {n: sum(p.is_file() for p in (tmp_path / f"{n}.zarr/dn/c").rglob("*")) for n in ("plain", "shards")}
    assert objects == {"plain": 32, "shards": 2}
    for n in objects:
        assert int(zarr.open_array(tmp_path / f"{n}.zarr/dn", mode="r").nchunks) == 32
    counts = {}
    with faulty.Server() as server:
        for n in objects:
            zarr.consolidate_metadata(tmp_path / f"{n}.zarr")
            server.buckets["b"] = bucket = faulty.Bucket(tmp_path)
            rows = cw("reduce", f"s3://b/{n}.zarr", "--over", "time,y,x", "--with", "mean", env=server.env).ok().json
            counts[n] = [sum(m == kind and ("/dn/c/" in key or kind == "LIST") for m, key, _ in bucket.answered) for kind in ("GET", "LIST")]
            with xarray.open_zarr(tmp_path / f"{n}.zarr") as cube:
                np.testing.assert_allclose([r["mean"] for r in rows], cube["dn"].astype("float64").mean(("time", "y", "x")).values, rtol=1e-12)
    # Neither layout is listed to read; the shards save GETs.
    assert counts["plain"] == [32, 0] and counts["shards"][1] == 0 and counts["shards"][0] < 32


def test_a_mean_over_time_keeps_to_its_memory_however_long_the_cube_is(cw, tmp_path):
    peaks = {}
    for n in (12, 112):
        rng = np.random.default_rng(n)
        values = rng.integers(0, 9999, (n, 1000, 1000)).astype("uint16")
        path = build(tmp_path / f"c{n}.zarr", {"v": (("time", "y", "x"), values, {}, {"chunks": (1, 500, 500)})})
        run = cw("reduce", path, "--over", "time", "--with", "mean", "-o", tmp_path / f"o{n}.zarr", "--memory", "48MiB", "--threads", "2", measure=True).ok()
        peaks[n] = run.peak
        with xarray.open_zarr(tmp_path / f"o{n}.zarr", consolidated=False) as cube:
            np.testing.assert_allclose(cube["v"].values, values.mean(0), rtol=1e-7)
    assert max(peaks.values()) <= 48 * 2**20, peaks
    # All times of one block alone would not fit.
    assert values[:, :500, :500].nbytes > 48 * 2**20


def test_two_bands_of_a_chunk_are_decoded_together(cw, demo, ndvi):
    at = ["--iat", "y=500,x=500"]
    one = cw("series", demo / "cube.zarr", *at, "--calc", NDVI, json=False).ok()
    assert one.summary["chunks"] == 12 and decoded(cw, "series", demo / "cube.zarr", *at, "--calc", NDVI) == (12, 6_000_000)
    slices = [["series", demo / "cube.zarr", *at, "--sel", f"band={b}"] for b in ("red", "nir")]
    each = [decoded(cw, *words) for words in slices]
    assert tuple(map(sum, zip(*each))) == (24, 12_000_000)
    # The numbers are the same, for twice the work.
    red, nir = (np.array([r["data"] for r in cw(*words).ok().json], float) for words in slices)
    found = [r["ndvi"] for r in cw("series", demo / "cube.zarr", *at, "--calc", NDVI).ok().json]
    np.testing.assert_allclose(found, (nir - red) / (nir + red), rtol=1e-12)
    np.testing.assert_allclose(found, ndvi[:, 500, 500], rtol=1e-12)


def commands(text):
    """The commands of a document: each `chunkwise …` in a block or between backticks."""
    blocks = re.findall(r"^\$ (chunkwise .*?)(?<!\\)$", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`(chunkwise [^`]+)`", text)
    return [shlex.split(c.replace("\\\n", " ")) for c in (*blocks, *spans)]


@pytest.fixture(scope="module")
def options(cw):
    """`options(command)`: those that `--help` tells; none of a command that there is not."""
    known = {}

    def of(command):
        if command not in known:
            run = cw(*([command] if command else []), "--help", json=False)
            known[command] = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", run.out.decode())) if run.code == 0 else None
        return known[command]

    return of


@pytest.mark.parametrize("document", ["docs/errata.md", "README.md"])
def test_every_name_that_is_told_exists(options, document):
    text = (ROOT / document).read_text()
    told = commands(text)
    assert len(told) > 9
    for words in told:
        command = words[1]
        if command == "COMMAND":
            continue
        has = options(command) if not command.startswith("-") else options("")
        assert has is not None, f"no command `{command}`: {words}"
        used = {w.split("=")[0] for w in words[1:] if re.fullmatch(r"--?[a-z][\w-]*(=.*)?", w)}
        assert used <= has, f"{used - has} of {words}"
    # Options that stand alone are those of some command.
    everywhere = set().union(*(options(c) for c in ("info", "stats", "reduce", "calc", "series", "zonal", "rasterize", "plot", "create", "verify", "compare", "demo")))
    alone = {w for span in re.findall(r"`(--[a-z][\w-]*)", text) for w in [span]}
    assert alone - {"--release", "--path", "--fast", "--bin"} <= everywhere


def test_a_name_that_does_not_exist_is_refused(cw, options):
    assert options("slice") is None and "--level" not in options("info")
    for words in (["slice", "c.zarr"], ["info", "c.zarr", "--level", "1"]):
        run = cw(*words, json=False)
        assert run.code == 2 and ("unrecognized subcommand" in run.err or "unexpected argument" in run.err)


def test_each_mistake_names_its_test():
    """Every test that docs/errata.md names is here, twelve of them."""
    text = (ROOT / "docs/errata.md").read_text()
    named = re.findall(r"`(test_\w+)`", text)
    here = set(re.findall(r"^def (test_\w+)", Path(__file__).read_text(), re.MULTILINE))
    assert len(set(named)) == 12 and set(named) <= here, set(named) - here
