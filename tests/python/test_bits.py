"""The same request gives the same bits on any number of threads and in any budget that fits."""

import hashlib
import json

import pytest

import cube

NAN = float("nan")
CUBES = {
    "float32": cube.Spec(
        shape=(23, 3, 101, 97),
        chunks=(4, 2, 33, 29),
        dtype="float32",
        mark=NAN,
        fill=NAN,
        missing=0.2,
        gaps=0.1,
        kind="far",
        second=False,
        seed=11,
    ),
    "float64": cube.Spec(
        dims=("time", "y", "x"), shape=(41, 120, 77), chunks=(5, 50, 31), dtype="float64", missing=0.1, kind="far", second=False, seed=12
    ),
    "packed": cube.Spec(
        shape=(13, 4, 150, 141),
        chunks=(1, 4, 64, 50),
        dtype="uint16",
        mark=65535,
        fill=65535,
        packing=(0.0001, 0.0),
        missing=0.2,
        second=False,
        seed=13,
    ),
    "sharded": cube.Spec(
        dims=("time", "y", "x"),
        shape=(37, 99, 101),
        chunks=(3, 20, 17),
        shards=3,
        dtype="float32",
        mark=NAN,
        fill=NAN,
        missing=0.3,
        second=False,
        seed=14,
    ),
}
STATISTICS = "mean,sum,std,var,median,min,max,first,last,count"
REQUESTS = {
    "time": ["reduce", "--var", "data", "--over", "time", "--with", STATISTICS],
    "space": ["reduce", "--var", "data", "--over", "y,x", "--with", STATISTICS],
    "all": ["reduce", "--var", "data", "--over", "all", "--with", STATISTICS],
    "months": ["reduce", "--var", "data", "--over", "time", "--group", "month", "--with", "mean,std,median"],
    "anomaly": ["reduce", "--var", "data", "--group", "season", "--with", "mean", "--anomaly"],
    "formula": ["reduce", "--calc", "v = log(abs(data) + 1) / (data + 3)", "--over", "time", "--with", "mean,std"],
    "window": ["reduce", "--var", "data", "--isel", "y=5:90", "--isel", "x=3:71", "--over", "time", "--with", "mean,std"],
    "masked": ["reduce", "--var", "data", "--where", "data > 3", "--over", "time,y,x", "--with", "mean,std,var"],
}
ENVIRONMENTS = [(1, "1GiB"), (2, "1GiB"), (8, "1GiB"), (2, "256MiB"), (8, "least"), (1, "least")]


def digest(path):
    """File by file, what an output cube holds; its `history` may tell of the command."""
    found = {}
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        content = file.read_bytes()
        if file.name in ("zarr.json", ".zattrs", ".zmetadata"):
            content = json.dumps(without_history(json.loads(content)), sort_keys=True).encode()
        found[str(file.relative_to(path))] = hashlib.sha256(content).hexdigest()
    return found


def without_history(value):
    if isinstance(value, dict):
        return {k: without_history(v) for k, v in value.items() if k != "history"}
    return [without_history(v) for v in value] if isinstance(value, list) else value


def least_budget(cw, *request):
    """The smallest budget in which the request runs, as its refusal says it."""
    refusal = cw(*request, "--memory", "1MiB")
    refusal.refused("memory|budget|needs")
    return refusal.smallest_budget()


@pytest.mark.parametrize("request_name", REQUESTS)
@pytest.mark.parametrize("name", CUBES)
def test_threads_and_memory_do_not_change_a_bit(cw, made_once, tmp_path, name, request_name):
    path = made_once(f"bits-{name}.zarr", lambda p: CUBES[name].build(p))
    verb, *words = REQUESTS[request_name]
    tables, cubes = {}, {}
    least = least_budget(cw, verb, path, *words, "-o", tmp_path / "none.zarr")
    for i, (threads, memory) in enumerate(ENVIRONMENTS):
        budget = ["--threads", threads, "--memory", least if memory == "least" else memory]
        cw(verb, path, *words, *budget, "-o", tmp_path / f"{i}.zarr").ok()
        cubes[threads, memory] = digest(tmp_path / f"{i}.zarr")
    if request_name in ("space", "all", "masked"):
        least = least_budget(cw, verb, path, *words)
        for threads, memory in ENVIRONMENTS:
            budget = ["--threads", threads, "--memory", least if memory == "least" else memory]
            tables[threads, memory] = cw(verb, path, *words, *budget).ok().out
    assert any(key.rsplit("/", 1)[-1] not in ("zarr.json",) for key in next(iter(cubes.values()))), "no chunks written"
    for kind in (tables, cubes):
        for how, other in kind.items():
            assert other == kind[ENVIRONMENTS[0]], f"other bits with {how} than with {ENVIRONMENTS[0]}"


@pytest.mark.parametrize("name", CUBES)
def test_a_repeated_request_gives_the_same_bits(cw, made_once, tmp_path, name):
    path = made_once(f"bits-{name}.zarr", lambda p: CUBES[name].build(p))
    runs = {cw("stats", path, "--var", "data", "--threads", 8).ok().out for _ in range(5)}
    assert len(runs) == 1


@pytest.mark.parametrize("threads", [1, 8])
def test_the_environment_sets_what_the_options_set(cw, made_once, threads):
    path = made_once("bits-float32.zarr", lambda p: CUBES["float32"].build(p))
    asked = ["stats", path, "--var", "data"]
    env = {"CHUNKWISE_THREADS": str(threads), "CHUNKWISE_MEMORY": "256MiB"}
    assert cw(*asked, env=env).ok().out == cw(*asked, "--threads", threads, "--memory", "256MiB").ok().out
    cw(*asked, env={"CHUNKWISE_MEMORY": "1MiB"}).refused("memory|budget|needs")
