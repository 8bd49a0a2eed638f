"""Peak resident memory stays within `--memory`, whatever the size of the cube, and plans say what runs then do."""

import numpy as np
import pytest
import zarr

import cube
import runner

MIB = 2**20
COMMANDS = {
    "mean": ["reduce", "--over", "time", "--with", "mean", "-o", "OUT"],
    "std": ["reduce", "--over", "time", "--with", "mean,std,min,max", "-o", "OUT"],
    "median": ["reduce", "--over", "time", "--with", "median", "-o", "OUT"],
    "space": ["reduce", "--over", "y,x", "--with", "mean,std"],
    "months": ["reduce", "--over", "time", "--group", "month", "--with", "mean", "-o", "OUT"],
    "anomaly": ["reduce", "--group", "season", "--with", "mean", "--anomaly", "-o", "OUT"],
    "stats": ["stats", "--by", "band"],
    "ndvi": ["calc", "ndvi = (nir - red) / (nir + red)", "-o", "OUT"],
    "series": ["series", "--iat", "y=500,x=500"],
}

pytestmark = pytest.mark.slow


def words(name, path, tmp_path):
    verb, *rest = COMMANDS[name]
    return [verb, path, *(tmp_path / "out.zarr" if w == "OUT" else w for w in rest)]


@pytest.mark.parametrize("memory", [256, 64])
@pytest.mark.parametrize("name", COMMANDS)
def test_peak_memory_is_within_the_budget(cw, large, tmp_path, name, memory):
    """Or the job is refused, and the budget that the refusal names holds."""
    request = words(name, large, tmp_path)
    run = cw(*request, "--memory", f"{memory}MiB", "--threads", 2, measure=True)
    allowed = memory * MIB
    if run.code == 2:
        run.refused("memory|budget|needs")
        assert memory < 256, f"256 MiB should do\n{run}"
        budget = run.smallest_budget()
        allowed = runner.as_bytes(*split(budget))
        run = cw(*request, "--memory", budget, "--threads", 2, measure=True)
    run.ok()
    assert run.peak <= allowed, f"peak {run.peak / MIB:.1f} MiB of {allowed / MIB:.1f} MiB\n{run}"


def split(size):
    digits = size.rstrip("BKMGTi")
    return digits, size[len(digits) :]


@pytest.mark.parametrize("name", ["mean", "stats", "series"])
def test_peak_memory_does_not_grow_with_the_cube(cw, large, made_once, tmp_path, name):
    """Ten times as long, one step in ten stored: the same work with ten times as many chunks to ask for."""
    long = made_once("long.zarr", lambda path: cube.make_large(path, steps=120, every=10))
    peaks = []
    for i, path in enumerate((large, long)):
        folder = tmp_path / str(i)
        folder.mkdir()
        peaks.append(cw(*words(name, path, folder), "--memory", "256MiB", "--threads", 2, measure=True).ok().peak)
    assert peaks[1] <= peaks[0] * 1.1 + 2 * MIB, f"{peaks[0] / MIB:.1f} MiB, ten times as long {peaks[1] / MIB:.1f} MiB"


@pytest.mark.parametrize("name", ["mean", "std", "median", "ndvi"])
def test_a_refusal_names_the_smallest_budget_and_that_works(cw, large, tmp_path, name):
    request = words(name, large, tmp_path)
    refusal = cw(*request, "--memory", "1MiB")
    refusal.refused("memory|budget|needs")
    assert refusal.seconds < 2
    assert not (tmp_path / "out.zarr").exists()
    budget = refusal.smallest_budget()
    run = cw(*request, "--memory", budget, measure=True).ok()
    number, unit = split(budget)
    assert run.peak <= runner.as_bytes(number, unit), f"peak {run.peak / MIB:.1f} MiB of {budget}\n{run}"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_plan_gives_the_figures_of_the_run(cw, large, tmp_path, name):
    request = [*words(name, large, tmp_path), "--memory", "256MiB", "--threads", 2]
    plan = cw(*request, "--explain").ok().json
    totals = {
        "chunks",
        "requests",
        "encoded_bytes",
        "decoded_bytes",
        "amplification",
        "output_bytes",
        "partitions",
        "memory_bytes",
        "stages",
    }
    assert totals <= set(plan), f"the plan lacks {totals - set(plan)}"
    assert not (tmp_path / "out.zarr").exists(), "a plan writes nothing"
    assert plan["memory_bytes"] <= 256 * MIB
    assert plan["chunks"] == sum(s["chunks"] for s in plan["stages"])
    steps = 12
    cells = {"series": 1}.get(name, 64)
    least = steps * cells * (2 if name == "anomaly" else 1)  # the anomaly reads its cube in each of two stages
    assert plan["chunks"] >= steps * cells and plan["chunks"] <= least, plan
    if name != "anomaly":
        assert plan["amplification"] == pytest.approx(1.0, abs=0.01)
        assert plan["decoded_bytes"] == plan["chunks"] * 4 * 250 * 250 * 2
    run = cw(*request, "-v").ok()
    assert run.summary.get("chunks") == plan["chunks"], f"the plan said {plan['chunks']} chunks\n{run}"


def test_a_plan_reads_no_chunk(cw, made_once, tmp_path):
    """Garbage in the chunks does not disturb a plan."""
    spec = cube.Spec(shape=(6, 2, 20, 20), chunks=(2, 1, 10, 10), labels=False, seed=5)
    spec.build(tmp_path / "cube.zarr")
    for chunk in (tmp_path / "cube.zarr/data/c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"garbage")
    plan = cw("reduce", tmp_path / "cube.zarr", "--var", "data", "--over", "time", "--with", "mean", "--explain").ok().json
    assert plan["chunks"] == 3 * 2 * 2 * 2


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A day of seconds, many times over: 4 million labels in one dimension."""
    path = tmp_path_factory.mktemp("long") / "cube.zarr"
    count = 4_000_000
    group = zarr.open_group(path, mode="w", zarr_format=3)
    values = group.create_array("v", shape=(count,), chunks=(500_000,), dtype="uint8", dimension_names=["time"])
    values[:] = np.arange(count) % 200
    times = group.create_array("time", shape=(count,), chunks=(count,), dtype="int64", dimension_names=["time"])
    times[:] = np.arange(count)
    times.attrs.update(units="seconds since 2020-01-01", calendar="standard")
    return path


@pytest.mark.parametrize("request_", [
    ["reduce", "--every", "1d", "--with", "mean"],
    ["reduce", "--group", "hour", "--with", "mean"],
    ["reduce", "--over", "time", "--with", "mean", "--sel", "time=2020-01-02"],
    ["calc", "w = where(v > 3, v, 0)", "-o", "OUT"],
    ["compare", "SELF"],
], ids=["windows", "groups", "selection", "calc", "compare"])
def test_labels_that_do_not_fit_are_refused_before_they_are_read(cw, long, tmp_path, request_):
    command, *rest = [str(long) if word == "SELF" else word for word in request_]
    rest = [str(tmp_path / "out.zarr") if word == "OUT" else word for word in rest]
    small = cw(command, long, *rest, "--memory", "64MiB", measure=True)
    assert small.peak <= 64 * MIB, f"{small.peak / MIB:.1f} MiB\n{small}"
    run = small
    # Of two cubes, each tells of its own labels.
    for _ in range(2):
        if run.code != 0:
            run.refused("memory|budget")
            budget = run.smallest_budget()
            again = ["--overwrite"] if "-o" in rest else []
            run = cw(command, long, *rest, *again, "--memory", budget, measure=True)
            assert run.peak <= runner.as_bytes(*split(budget)), f"{run.peak / MIB:.1f} MiB\n{run}"
    run.ok()
