"""The demo: its cube against a formula of its own, its figures against known ones, and what it does to folders."""

import hashlib
import shlex
import signal
import subprocess
import time

import numpy as np
import pytest
import xarray

import runner

MIB = 2**20
BANDS = ["red", "green", "blue", "nir"]
NDVI = [0.407, 0.389, 0.340, 0.269, 0.196, 0.141, 0.120, 0.141, 0.196, 0.269, 0.340, 0.389]


@pytest.fixture(scope="module")
def demo(cw, tmp_path_factory):
    """A folder in which the demo ran, and its run."""
    folder = tmp_path_factory.mktemp("demo")
    return folder, cw("demo", "--memory", "256MiB", cwd=folder, measure=True).ok()


def without_noise():
    """The values of section "demo cube" before the noise, in the order time, band, y, x."""
    m, y, x = (np.arange(n, dtype=float) for n in (12, 1000, 1000))
    y, x = y[:, None], x[None, :]
    base = np.array([8000, 10000, 7000, 15000.0])
    season = np.cos(np.pi * m / 6)[:, None] * np.array([-0.3, 0.1, 0.1, 0.5])
    relief = (
        2000 * y / 1000
        + 1000 * x / 1000
        + 3000 * np.sin(np.pi * y / 100) * np.cos(np.pi * x / 100)
        + 2000 * np.sin(np.pi * y / 25) * np.sin(np.pi * x / 25)
    )
    return (base + 5000 * season)[:, :, None, None] + relief


def digests(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    # The report tells times.
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files if p.name != "report.html"}


def test_cells_are_the_formula_and_noise_of_250(demo):
    folder, _ = demo
    with xarray.open_zarr(folder / "chunkwise-demo/cube.zarr") as opened:
        noise = opened["data"].values - without_noise()
    assert np.abs(noise).max() <= 250.5 + 1e-9
    assert abs(noise.mean()) < 0.2
    assert abs(noise.std() - 250 / np.sqrt(3)) < 0.2
    # neighbours in every direction are independent
    for axis in range(4):
        a, b = (np.take(noise, range(*r), axis) for r in ((0, noise.shape[axis] - 1), (1, noise.shape[axis])))
        assert abs((a * b).mean()) < 0.002 * 250**2, axis


def test_xarray_sees_labels_units_and_crs(demo):
    folder, _ = demo
    with xarray.open_zarr(folder / "chunkwise-demo/cube.zarr") as opened:
        data = opened["data"]
        assert data.dims == ("time", "band", "y", "x") and data.shape == (12, 4, 1000, 1000) and data.dtype == "u2"
        assert data.encoding["chunks"] == (1, 4, 250, 250)
        assert list(opened["band"].values) == BANDS
        assert list(opened["time"].values) == [np.datetime64(f"2024-{m:02}-15") for m in range(1, 13)]
        assert set(np.diff(opened["x"])) == {30} and set(np.diff(opened["y"])) == {-30}
        assert data.attrs["units"] == "digital numbers (0-65535)"
        assert opened.attrs["title"] == "Multi-Spectral Satellite Datacube"
        assert opened.attrs["spatial_resolution"] == "30 meters" and opened.attrs["description"]
        assert "32610" in opened["spatial_ref"].attrs["crs_wkt"]


def test_the_mean_is_that_of_numpy(demo):
    folder, _ = demo
    with xarray.open_zarr(folder / "chunkwise-demo/cube.zarr") as opened:
        expected = opened["data"].values.astype(float).mean(0)
    with xarray.open_zarr(folder / "chunkwise-demo/mean.zarr") as opened:
        np.testing.assert_allclose(opened["data"].values, expected, rtol=1e-7)


def test_known_figures(demo):
    _, run = demo
    result = run.json
    assert list(result)[:7] == ["cube", "chunks", "ndvi_series", "zones_last_month", "zones_all_months", "green_mean", "files"]
    assert result["ndvi_series"] == pytest.approx(NDVI, abs=0.02)
    assert result["green_mean"] == pytest.approx(11498.5, abs=2)
    zones = result["zones_last_month"]
    assert [z["zone"] for z in zones] == [1, 2, 3, 4, 5]
    assert [z["label"] for z in zones] == ["Low", "Medium-Low", "Medium", "Medium-High", "High"]
    assert [z["mean"] for z in zones] == pytest.approx([0.423, 0.410, 0.397, 0.385, 0.374], abs=0.0015)
    assert {z["count"] for z in zones} == {200_000} and {z["count"] for z in result["zones_all_months"]} == {2_400_000}
    chunks = result["chunks"]
    assert chunks["chunks_per_dimension"] == {"time": 12, "band": 1, "y": 4, "x": 4}
    assert (chunks["chunk_count"], chunks["chunk_bytes"]) == (192, 500_000)
    taken = [(row["chunks"], row["requests"], row["bytes"]) for row in chunks["access"]]
    assert [taken[i] for i in (0, 1, 2, 4)] == [(12, 12, 6e6), (16, 16, 8e6), (48, 48, 24e6), (192, 192, 96e6)]
    # A box of 500 cells at any of 501 places along a side: as counted one by one.
    side = sum((o + 499) // 250 - o // 250 + 1 for o in range(501)) / 501
    assert taken[3][0] == pytest.approx(12 * side**2)
    steps = result["steps"]
    assert [row["time"][:7] for row in steps["series"]["result"]] == [f"2024-{m:02}" for m in range(1, 13)]
    stats = {row["band"]: row for row in steps["stats"]["result"]}
    assert list(stats) == BANDS and {(row["count"], row["missing"]) for row in stats.values()} == {(12_000_000, 0)}
    moved = {name: (steps[name]["chunks"], steps[name]["decoded_bytes"]) for name in ("make", "mean", "series", "zones", "stats")}
    assert moved == {"make": (192, 96e6), "mean": (192, 96e6), "series": (12, 6e6), "zones": (192, 96e6), "stats": (192, 96e6)}
    assert steps["structure"]["result"]["crs"] == "EPSG:32610"


def test_ndvi_of_zones_is_that_of_numpy(demo):
    folder, run = demo
    with xarray.open_zarr(folder / "chunkwise-demo/cube.zarr") as opened:
        red, nir = (opened["data"].sel(band=b).values.astype(float) for b in ("red", "nir"))
    ndvi = (nir - red) / (nir + red)
    last = [ndvi[-1, z * 200 : (z + 1) * 200].mean() for z in range(5)]
    every = [ndvi[:, z * 200 : (z + 1) * 200].mean() for z in range(5)]
    assert [z["mean"] for z in run.json["zones_last_month"]] == pytest.approx(last, rel=1e-12)
    assert [z["mean"] for z in run.json["zones_all_months"]] == pytest.approx(every, rel=1e-12)


def test_the_commands_shown_give_what_is_shown(demo, cw):
    folder, run = demo
    steps = run.json["steps"]

    def again(command, *more):
        first, *words = shlex.split(command)
        assert first == "chunkwise"
        return cw(*words, *more, cwd=folder).ok()

    for step in ("structure", "series", "stats"):
        assert again(steps[step]["command"]).json == steps[step]["result"], step
    last, every = (again(command).json for command in steps["zones"]["command"])
    assert every == steps["zones"]["result"]["rows"] and len(last) == 5
    card, *plans = steps["access"]["command"]
    assert again(card).json["access"] == [run.json["chunks"]]
    rows = run.json["chunks"]["access"]
    for command, row in zip(plans, (rows[0], rows[1], rows[2], rows[4]), strict=True):
        plan = again(command).json
        assert (plan["chunks"], plan["requests"], plan["decoded_bytes"]) == (row["chunks"], row["requests"], row["bytes"]), command
    for picture in ("red_month_12", "green_mean", "ndvi_series", "ndvi_zones"):
        again(steps[picture]["command"].replace(f"{picture}.png", "again.png"), "--overwrite", "--quiet")
        made = folder / "chunkwise-demo"
        assert (made / "again.png").read_bytes() == (made / f"{picture}.png").read_bytes(), picture
        (made / "again.png").unlink()
    again(steps["mean"]["command"], "--overwrite")
    # the empty cube has the structure of the full one
    again(steps["make"]["command"].replace("chunkwise-demo/cube.zarr", "empty.zarr"))
    empty, full = (cw("info", p, cwd=folder).ok().json for p in ("empty.zarr", "chunkwise-demo/cube.zarr"))
    assert empty["dims"] == full["dims"] and empty["coords"] == full["coords"] and empty["bounds"] == full["bounds"]
    assert empty["variables"][0]["chunks"] == full["variables"][0]["chunks"]


def test_the_report_opens_offline_and_has_all_in_it(demo):
    folder, run = demo
    page = (folder / "chunkwise-demo/report.html").read_text()
    assert "http:" not in page.replace("http://www.w3.org", "") and "https:" not in page and "<script" not in page
    assert page.count("src=\"data:image/png;base64,") == 4 and "<link" not in page
    for words in ("Red Band - Month 12", "Green Band - Temporal Mean", "Medium-High", "62500 ×", "chunkwise zonal", "peak memory", "series of a pixel"):
        assert words in page, words
    files = [folder / f for f in run.json["files"]]
    assert all(f.exists() for f in files) and files[-1].name == "report.html"


def test_peak_memory_is_within_the_budget(demo, cw, tmp_path):
    _, run = demo
    assert run.peak <= 256 * MIB, f"{run.peak / MIB:.1f} MiB\n{run}"
    assert run.json["peak_memory_bytes"] <= run.peak * 1.01 and run.json["memory_bytes"] == 256 * MIB
    small = cw("demo", "--memory", "96MiB", "--threads", 2, cwd=tmp_path, measure=True).ok()
    assert small.peak <= 96 * MIB, f"{small.peak / MIB:.1f} MiB\n{small}"
    refused = cw("demo", "-o", "other", "--memory", "16MiB", cwd=tmp_path)
    refused.refused("96")
    assert not (tmp_path / "other").exists()


def test_it_prints_for_people(cw, tmp_path):
    run = cw("demo", "-o", "my demo", cwd=tmp_path, json=False).ok()
    text = run.out.decode()
    for words in ("$ chunkwise info 'my demo/cube.zarr'", "12   6.0 MB", "192  96.0 MB", "Medium-High", "report.html", "EPSG:32610", "green", "peak memory"):
        assert words in text, f"{words!r} is not in\n{text}"


def test_the_same_bytes_again_and_its_own_folder_is_made_anew(demo, cw, tmp_path):
    folder, _ = demo
    cw("demo", cwd=tmp_path, json=False).ok()
    made = tmp_path / "chunkwise-demo"
    first = digests(made)
    # some may have been rewritten by the commands shown
    cubes = {k: v for k, v in digests(folder / "chunkwise-demo").items() if k.startswith("cube.zarr/")}
    assert cubes == {k: v for k, v in first.items() if k.startswith("cube.zarr/")}
    (made / "mine.txt").write_text("stays")
    (made / "cube.zarr/c_stray").write_text("goes")
    cw("demo", "--threads", 1, cwd=tmp_path, json=False).ok()
    assert digests(made) == first | {"mine.txt": hashlib.sha256(b"stays").hexdigest()}


@pytest.mark.parametrize("what", ["folder", "empty", "file"])
def test_what_it_did_not_make_is_left_alone(cw, tmp_path, what):
    target = tmp_path / "chunkwise-demo"
    if what == "file":
        target.write_text("mine")
    else:
        target.mkdir()
    if what == "folder":
        (target / "cube.zarr").mkdir()
        (target / "cube.zarr/mine").write_text("mine")
    before = digests(tmp_path)
    cw("demo", cwd=tmp_path).refused("chunkwise-demo", "did not make")
    assert digests(tmp_path) == before and target.exists()


def test_an_interrupted_run_leaves_no_cube(tmp_path):
    for ending in (signal.SIGINT, signal.SIGKILL):
        folder = tmp_path / ending.name
        folder.mkdir()
        process = subprocess.Popen(
            [runner.binary(), "demo", "--threads", "1"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        part = folder / "chunkwise-demo/cube.zarr.part"
        deadline = time.monotonic() + 30
        while not (part / "data/c").exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(ending)
        process.communicate(timeout=60)
        assert process.returncode == (130 if ending == signal.SIGINT else -signal.SIGKILL)
        assert not (folder / "chunkwise-demo/cube.zarr").exists()
        assert part.exists() == (ending == signal.SIGKILL)


def test_after_a_kill_it_is_made_anew(cw, tmp_path):
    made = tmp_path / "chunkwise-demo"
    (made / "cube.zarr.part/data").mkdir(parents=True)
    (made / ".chunkwise-demo").write_text("")
    cw("demo", cwd=tmp_path).ok()
    assert not (made / "cube.zarr.part").exists() and (made / "cube.zarr").exists()
