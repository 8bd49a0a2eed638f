"""Plans: their partitions run in other processes, in any order, any number of times, and give the bytes of one run."""

import multiprocessing
import os
import pickle
import random
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

import chunkwise as cw
from chunkwise.errors import ChunkwiseError

STEPS, SIDE = 400, 16


def make(path):
    """400 days of 16 × 16 cells in chunks of 2 × 8 × 8: 200 chunks, 13 segments along time, four tiles."""
    rng = np.random.default_rng(3)
    v = rng.normal(280, 9, (STEPS, SIDE, SIDE)).astype("f4")
    v[rng.random(v.shape) < 0.05] = np.nan
    w = rng.integers(0, 90, v.shape).astype("u2")
    coords = {"time": np.datetime64("2019-01-01", "ns") + np.arange(STEPS) * np.timedelta64(1, "D")}
    coords |= {"y": np.arange(SIDE) * 10.0, "x": np.arange(SIDE) * 10.0}
    ds = xr.Dataset({"v": (("time", "y", "x"), v), "w": (("time", "y", "x"), w)}, coords)
    with zarr.config.set({"async.concurrency": 32}):
        ds.to_zarr(path, encoding={name: {"chunks": (2, 8, 8)} for name in ("v", "w")}, zarr_format=3, consolidated=False)


@pytest.fixture(scope="module")
def path(made_once):
    return made_once("plan.zarr", make)


@pytest.fixture(scope="module")
def cube(path):
    return cw.open(path)


@pytest.fixture(scope="module")
def source(path):
    return xr.open_zarr(path, consolidated=False, chunks=None).load()


@pytest.fixture(scope="module")
def processes():
    """Two processes that share nothing with this one."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def run_there(sent):
    plan, partition = pickle.loads(sent)
    return plan.run(partition, threads=1)


def merge_there(sent):
    plan, results = pickle.loads(sent)
    return plan.merge(results)


def results_of(plan, processes):
    parts = plan.partitions()
    sent = [pickle.dumps((plan, part)) for part in parts]
    return list(zip(parts, processes.map(run_there, sent), strict=True))


def bytes_of(whole):
    """Names, labels and cells of a result, to the bit."""
    ds = whole.to_dataset(name="value") if isinstance(whole, xr.DataArray) else whole
    return {name: (v.dims, v.dtype.str, v.values.tobytes()) for name, v in ds.variables.items()}


REQUESTS = {
    "mean": lambda c: c["v"].mean("time"),
    "std": lambda c: c["v"].std("time"),
    "median": lambda c: c["v"].median("time"),
    "argmax": lambda c: c["v"].argmax("time"),
    "first": lambda c: c["v"].first("time"),
    "sum": lambda c: c["v"].sum("time"),
    "sum of all": lambda c: c["w"].sum(),
    "several": lambda c: c["v"].reduce(("mean", "max", "count"), "time"),
    "anomaly": lambda c: c["v"].groupby("time.month").anomaly(),
    "months": lambda c: c["v"].groupby("time.month").mean(),
    "two variables": lambda c: c.mean("time"),
    "formula": lambda c: (c["v"] * 2 + c["w"]).mean("time"),
    "formula without a statistic": lambda c: (c["v"] - c["w"]).isel(time=slice(0, 60)),
    "masked": lambda c: c["v"].where("w > 45").mean("time"),
    "values": lambda c: c.isel(time=slice(3, 61)),
}
# A tile for each of the four runs of chunks, or runs of segments as well.
CUTS = {"tiles": 4, "segments": 24}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("request_", REQUESTS)
def test_partitions_of_other_processes_merged_in_any_grouping_give_the_bytes_of_one_run(cube, processes, request_, cut):
    lazy = REQUESTS[request_](cube)
    plan = lazy.plan(partitions=CUTS[cut])
    results = results_of(plan, processes)
    wanted = bytes_of(lazy.compute())
    order = random.Random(f"{request_} {cut}")
    for _ in range(3):
        order.shuffle(results)
        merged = results
        # What was merged merges again.
        for _ in range(order.randint(0, 2)):
            merged = [one for group in grouped(merged, order) for one in plan.merge(group)]
            order.shuffle(merged)
        assert bytes_of(plan.finish(merged)) == wanted


def grouped(results, order):
    """Results dealt out into groups of one to six."""
    left, groups = list(results), []
    while left:
        n = order.randint(1, 6)
        groups.append(left[:n])
        left = left[n:]
    return groups


def test_the_partitions_that_merge_are_runs_of_segments_of_the_same_tile(cube):
    plan = REQUESTS["mean"](cube).plan(partitions=24)
    parts = plan.partitions()
    assert all(part.segments is not None for part in parts)
    # 13 segments in runs of four, of four tiles.
    assert {part.key: 0 for part in parts}.keys() == {(0, ((0, 400), y, x)) for y in ((0, 8), (8, 16)) for x in ((0, 8), (8, 16))}
    assert len(parts) == 4 * 4
    assert all(part.segments is None for part in REQUESTS["mean"](cube).plan(partitions=4).partitions())


def test_what_partitions_give_is_what_numpy_says(cube, source, processes):
    """The other tests compare with `compute()`; here both meet an outside oracle."""
    said = {
        "mean": source.v.astype("f8").mean("time").astype("f4"),
        "argmax": source.v.argmax("time"),
        "sum of all": source.w.sum(),
    }
    for name, wanted in said.items():
        plan = REQUESTS[name](cube).plan(partitions=24)
        found = plan.finish(results_of(plan, processes))
        np.testing.assert_array_equal(found.values, wanted.values)


def test_states_merge_in_other_processes_too(cube, processes):
    lazy = REQUESTS["std"](cube)
    plan = lazy.plan(partitions=24)
    results = results_of(plan, processes)
    random.Random(5).shuffle(results)
    groups = [results[i::3] for i in range(3)]
    merged = [one for found in processes.map(merge_there, [pickle.dumps((plan, group)) for group in groups]) for one in found]
    assert bytes_of(plan.finish(merged)) == bytes_of(lazy.compute())


def test_a_partition_that_ran_twice_counts_once(cube):
    for name in ("sum", "values"):
        lazy = REQUESTS[name](cube)
        plan = lazy.plan(partitions=24)
        results = [(part, plan.run(part)) for part in plan.partitions()]
        again = [(part, plan.run(part)) for part in plan.partitions()[2:5]]
        merged = plan.merge(results[:6])
        # By itself, and beside what it was merged into.
        for given in ([*results, *again], [*again, *merged, *results[6:]], [*merged, *merged, *results]):
            assert bytes_of(plan.finish(given)) == bytes_of(lazy.compute())


def test_results_that_share_some_states_are_refused(cube):
    plan = REQUESTS["sum"](cube).plan(partitions=24)
    results = [(part, plan.run(part)) for part in plan.partitions()]
    of_one = [r for r in results if r[0].key == results[0][0].key]
    with pytest.raises(ValueError, match="merged in two ways"):
        plan.finish([*plan.merge(of_one[:2]), *plan.merge(of_one[1:3]), *results])


def test_a_missing_partition_is_named_by_number(cube):
    for name in ("sum", "values"):
        plan = REQUESTS[name](cube).plan(partitions=24)
        results = [(part, plan.run(part)) for part in plan.partitions()]
        with pytest.raises(ValueError, match=f"the results of 1 of {len(results)} partitions are missing"):
            plan.finish(results[1:])
        with pytest.raises(ValueError, match=f"the results of 1 of {len(results)} partitions are missing"):
            plan.finish(plan.merge(results[:-1]))


def test_a_partition_of_another_plan_is_refused(cube):
    plan = REQUESTS["mean"](cube).plan(partitions=24)
    for other in (REQUESTS["std"](cube), cube["w"].mean("time"), cube["v"].isel(time=slice(1, None)).mean("time")):
        foreign = other.plan(partitions=24).partitions()[0]
        with pytest.raises(ValueError, match="is of another plan"):
            plan.run(foreign)
        with pytest.raises(ValueError, match="is of another plan"):
            plan.merge([(foreign, b"")])
        with pytest.raises(ValueError, match="is of another plan"):
            plan.finish([(foreign, b"")])


def test_the_same_plan_made_again_has_the_same_partitions(path, cube):
    ours = REQUESTS["mean"](cube).plan(partitions=24).partitions()
    theirs = REQUESTS["mean"](cw.open(path)).plan(partitions=24)
    assert ours == theirs.partitions() == pickle.loads(pickle.dumps(theirs)).partitions()


def test_states_of_another_statistic_and_bytes_of_no_states_are_refused(cube):
    plan = REQUESTS["mean"](cube).plan(partitions=24)
    other = REQUESTS["argmax"](cube).plan(partitions=24)
    foreign = [(part, other.run(theirs)) for part, theirs in zip(plan.partitions(), other.partitions(), strict=True)]
    with pytest.raises(ChunkwiseError):
        plan.finish(foreign)
    with pytest.raises(ChunkwiseError):
        plan.finish([(part, b"not states") for part in plan.partitions()])


def test_plans_pickle_small_and_partitions_smaller(cube):
    plan = REQUESTS["mean"](cube).plan(partitions=24)
    assert len(pickle.dumps(plan)) < 4_000
    assert len(pickle.dumps(plan.without_partitions())) < 1_500
    assert all(len(pickle.dumps(part)) < 400 for part in plan.partitions())


def test_the_number_of_partitions_does_not_grow_with_the_chunks(cube):
    assert len(cube["v"].plan(partitions=16)) <= 32
    assert len(cube["v"].isel(time=slice(0, 100)).plan(partitions=16)) <= 32


def test_a_cube_that_was_written_again_since_is_refused_by_name(tmp_path):
    path = tmp_path / "again.zarr"
    first = xr.Dataset({"v": (("time", "x"), np.zeros((4, 6)))}, {"time": np.arange(4), "x": np.arange(6)})
    first.to_zarr(path, consolidated=False)
    sent = pickle.dumps(cw.open(path)["v"].mean("time").plan(partitions=2))
    first.assign_coords(x=np.arange(6) + 1).to_zarr(path, mode="w", consolidated=False)
    plan = pickle.loads(sent)
    with pytest.raises(ValueError, match=r"again\.zarr` is another cube than the one that this plan was made for"):
        plan.run(plan.partitions()[0])


def test_partitions_find_the_cube_from_another_folder(path, monkeypatch, tmp_path):
    monkeypatch.chdir(path.parent)
    lazy = cw.open(path.name)["v"].mean("time")
    plan, wanted = lazy.plan(partitions=4), bytes_of(lazy.compute())
    sent = pickle.dumps(plan)
    monkeypatch.chdir(tmp_path)
    there = pickle.loads(sent)
    assert bytes_of(there.finish([(part, there.run(part)) for part in there.partitions()])) == wanted


# --- outputs ----------------------------------------------------------------------------------------------------------


def files_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


WRITTEN = ("mean", "median", "two variables", "anomaly", "formula without a statistic")


@pytest.mark.parametrize(("request_", "cut"), [(r, c) for r in WRITTEN for c in CUTS if (r, c) != ("anomaly", "tiles")])
def test_processes_write_the_files_that_one_process_writes(cube, processes, tmp_path, request_, cut):
    lazy = REQUESTS[request_](cube)
    lazy.to_zarr(tmp_path / "one.zarr")
    plan = lazy.plan(tmp_path / "many.zarr", partitions=CUTS[cut])
    # Until it is complete it is no cube.
    with pytest.raises(ChunkwiseError):
        cw.open(tmp_path / "many.zarr")
    results = results_of(plan, processes)
    # A second run of the same partitions writes the same.
    results += results_of(plan, processes)[:3]
    random.Random(7).shuffle(results)
    written = plan.finish(results)
    assert files_of(tmp_path / "many.zarr") == files_of(tmp_path / "one.zarr")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["many.zarr", "one.zarr"]
    assert bytes_of(written.compute()) == bytes_of(cw.open(tmp_path / "one.zarr").compute())


def test_processes_in_other_folders_write_the_output(cube, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = REQUESTS["values"](cube).plan("out.zarr", partitions=4)
    sent = pickle.dumps(plan)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    results = [(part, pickle.loads(sent).run(part)) for part in plan.partitions()]
    assert bytes_of(plan.finish(results).compute()) == bytes_of(REQUESTS["values"](cube).compute())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["elsewhere", "out.zarr"]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_an_output_may_ask_of_the_store_holds_for_plans_too(cube, tmp_path):
    with pytest.raises(ChunkwiseError, match="at most 3 are allowed"):
        REQUESTS["values"](cube).plan(tmp_path / "out.zarr", max_requests=3)
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_is_given_up_leaves_nothing(cube, tmp_path):
    plan = REQUESTS["values"](cube).plan(tmp_path / "out.zarr", partitions=8)
    plan.run(plan.partitions()[0])
    plan.abort()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ChunkwiseError):
        pickle.loads(pickle.dumps(plan)).run(plan.partitions()[1])


def test_secrets_of_an_output_are_not_in_the_pickle(cube, s3, monkeypatch):
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    secret = s3.secrets[0]
    plan = REQUESTS["values"](cube).plan(
        s3.url("plan/out.zarr"), partitions=4, storage_options={"secret_access_key": secret, "access_key_id": "tester"}
    )
    sent = pickle.dumps(plan)
    assert secret.encode() not in sent
    assert b"tester" not in sent
    plan.finish([(part, pickle.loads(sent).run(part)) for part in plan.partitions()])
    plan = REQUESTS["values"](cube).plan(s3.url("plan/out2.zarr"), partitions=4, storage_options={"secret_access_key": secret})
    there = pickle.loads(pickle.dumps(plan))
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ChunkwiseError) as error:
        there.run(there.partitions()[0])
    assert "`secret_access_key` of `storage_options` is a secret, which pickles leave out" in str(error.value)
    plan.abort()


# --- a batch queue ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_example_of_an_array_job_gives_the_mean(path, source, tmp_path):
    folder = Path(__file__).resolve().parents[2] / "examples" / "cluster"
    script, work, tasks = folder / "array_job.py", tmp_path / "work", 3

    def python(*words):
        return subprocess.run([sys.executable, script, *map(str, words)], cwd=tmp_path, capture_output=True, text=True, check=True)

    def task(number):
        env = {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_TASK_COUNT": str(tasks), "SLURM_CPUS_PER_TASK": "1"}
        env |= {"SLURM_MEM_PER_NODE": "1000", "PYTHON": sys.executable}
        subprocess.run(["bash", folder / "array_job.sh", work], cwd=tmp_path, env={**os.environ, **env}, check=True)

    assert "partitions of" in python("plan", path, work, "--partitions", 12).stdout
    for number in range(tasks):
        task(number)
    results = sorted(work.glob("*.result"))
    assert len(results) >= 12
    # A task that is lost is submitted again, and does what is missing.
    kept = results[0].stat().st_mtime_ns
    results[1].unlink(), results[4].unlink()
    for number in range(tasks):
        task(number)
    assert sorted(work.glob("*.result")) == results and results[0].stat().st_mtime_ns == kept
    python("finish", work, "mean.nc")
    with xr.open_dataset(tmp_path / "mean.nc") as found:
        np.testing.assert_array_equal(found.v.values, source.v.astype("f8").mean("time").astype("f4").values)
        np.testing.assert_array_equal(found.w.values, source.w.astype("f8").mean("time").astype(found.w.dtype).values)
