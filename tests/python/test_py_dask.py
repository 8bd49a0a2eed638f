"""Jobs on a Dask cluster of real processes: the bits of one process, whatever happens to the workers."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import distributed
import numpy as np
import pytest
import xarray as xr
import zarr
from distributed import Client, LocalCluster

import chunkwise as cw
import chunkwise.dask as on_dask
from chunkwise.errors import CorruptError, PlanRefusedError, StorageError, TooMuchError, ValueRefusedError

STEPS, SIDE = 640, 16


def make(path, chunk=2):
    """640 steps of 16 × 16 cells, in chunks of 2 × 8 × 8: 20 segments along time, four tiles."""
    rng = np.random.default_rng(11)
    v = rng.normal(280, 9, (STEPS, SIDE, SIDE)).astype("f4")
    v[rng.random(v.shape) < 0.05] = np.nan
    w = rng.integers(0, 90, v.shape).astype("u2")
    coords = {"time": np.datetime64("2019-01-01", "ns") + np.arange(STEPS) * np.timedelta64(1, "D")}
    coords |= {"y": np.arange(SIDE) * 10.0, "x": np.arange(SIDE) * 10.0}
    ds = xr.Dataset({"v": (("time", "y", "x"), v), "w": (("time", "y", "x"), w)}, coords)
    chunks = {name: {"chunks": (chunk, 8, 8)} for name in ("v", "w")}
    with zarr.config.set({"async.concurrency": 32}):
        ds.to_zarr(path, encoding=chunks, zarr_format=3, consolidated=False)


@pytest.fixture(scope="module")
def path(made_once):
    return made_once("cluster.zarr", make)


@pytest.fixture(scope="module")
def cube(path):
    return cw.open(path)


def cluster_of(folder, workers, **how):
    how = {"threads_per_worker": 1, "memory_limit": "2GiB", **how}
    return LocalCluster(
        n_workers=workers, processes=True, dashboard_address=None, local_directory=str(folder), silence_logs=50, **how
    )


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    with cluster_of(tmp_path_factory.mktemp("two"), 2) as cluster, Client(cluster) as client:
        yield client


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    with cluster_of(tmp_path_factory.mktemp("three"), 3) as cluster, Client(cluster) as client:
        yield client


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch):
    """Tasks are worth it for a few kilobytes here, so that there are some."""
    monkeypatch.setattr(on_dask, "WORTH_A_TASK", 1 << 12)


class Slow(distributed.WorkerPlugin):
    """Lets each partition take a while, on workers that are started later as well; counts the runs in a file."""

    name = "slow"

    def __init__(self, log, seconds):
        self.log, self.seconds = str(log), seconds

    def setup(self, worker):
        from chunkwise._plan import Plan

        self.run = run = Plan.run

        def slowly(plan, partition, **how):
            with open(self.log, "a") as log:
                log.write(json.dumps({"n": partition.number, "pid": os.getpid(), "memory": how["memory"], "threads": how["threads"]}) + "\n")
            time.sleep(self.seconds)
            found = run(plan, partition, **how)
            time.sleep(self.seconds)
            return found

        Plan.run = slowly

    def teardown(self, worker):
        from chunkwise._plan import Plan

        Plan.run = self.run

    def runs(self):
        return [json.loads(line) for line in open(self.log)] if os.path.exists(self.log) else []


@pytest.fixture
def slow(tmp_path_factory):
    """`slow(client, seconds)` until the test is over."""
    on = []

    def start(client, seconds=0.05):
        plugin = Slow(tmp_path_factory.mktemp("slow") / "runs", seconds)
        client.register_plugin(plugin)
        on.append(client)
        return plugin

    yield start
    for client in on:
        if client.status == "running":
            client.unregister_worker_plugin("slow")


class Killer:
    """Kills a worker once `at` tasks are done, as `progress=`."""

    def __init__(self, client, at):
        self.client, self.at, self.killed = client, at, None

    def __call__(self, done, of):
        if self.killed is None and done >= self.at:
            assert done < of, "nothing is left to be lost"
            pids = sorted(self.client.run(os.getpid).values())
            assert len(pids) > 1, "no worker would be left"
            self.killed = pids[0]
            os.kill(self.killed, signal.SIGKILL)

    def mended(self):
        """Waits until Dask has started a worker in the place of the killed one, for a while."""
        for _ in range(300):
            pids = set(self.client.run(os.getpid, on_error="ignore").values()) - {self.killed}
            if len(pids) == 3:
                return
            time.sleep(0.1)


def bytes_of(whole):
    ds = whole.to_dataset(name="value") if isinstance(whole, xr.DataArray) else whole
    return {name: (v.dims, v.dtype.str, v.values.tobytes()) for name, v in ds.variables.items()}


def files_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def tasks_left(client):
    """Tasks that the scheduler still knows, once it had time to forget them."""

    def known(dask_scheduler):
        return [str(key) for key in dask_scheduler.tasks]

    for _ in range(100):
        left = client.run_on_scheduler(known)
        if not left:
            break
        time.sleep(0.05)
    return left


REQUESTS = {
    "mean": lambda c: c["v"].mean("time"),
    "median": lambda c: c["v"].median("time"),
    "first": lambda c: c["v"].first("time"),
    "sum of all": lambda c: c["w"].sum(),
    "anomaly": lambda c: c["v"].groupby("time.month").anomaly(),
    "two variables": lambda c: c.std("time"),
    "formula": lambda c: (c["v"] * 2 + c["w"]).mean("time"),
    "values": lambda c: c.isel(time=slice(3, 101)),
}


# --- results ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("request_", REQUESTS)
def test_a_cluster_gives_the_bytes_of_one_process(cube, two, request_):
    lazy = REQUESTS[request_](cube)
    assert bytes_of(lazy.compute(client=two)) == bytes_of(lazy.compute())


@pytest.mark.slow
def test_what_a_cluster_gives_is_what_xarray_says(path, cube, two):
    with xr.open_zarr(path, consolidated=False, chunks=None) as ds:
        mean = ds.v.astype("f8").mean("time").astype("f4").load()
    xr.testing.assert_equal(cube["v"].mean("time").compute(client=two).drop_attrs(), mean.drop_attrs())


@pytest.mark.slow
@pytest.mark.parametrize("request_", ["mean", "median", "anomaly", "two variables", "values"])
def test_a_cluster_writes_the_files_of_one_process(cube, two, tmp_path, request_):
    lazy = REQUESTS[request_](cube)
    how = {"chunks": {dim: n for dim, n in (("time", 32), ("y", 4)) if dim in lazy.sizes}, "codec": "zstd:3"}
    one = lazy.to_zarr(tmp_path / "one.zarr", **how)
    many = lazy.to_zarr(tmp_path / "many.zarr", client=two, egress_price=0.09, **how)
    assert files_of(tmp_path / "many.zarr") == files_of(tmp_path / "one.zarr")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["many.zarr", "one.zarr"]
    assert bytes_of(many.compute()) == bytes_of(one.compute())


@pytest.mark.slow
def test_an_output_is_put_in_the_place_of_the_old_one_where_that_is_said(cube, two, tmp_path):
    lazy = REQUESTS["values"](cube)
    cube["v"].mean("time").to_zarr(tmp_path / "out.zarr")
    with pytest.raises(FileExistsError):
        lazy.to_zarr(tmp_path / "out.zarr", client=two)
    lazy.to_zarr(tmp_path / "out.zarr", client=two, overwrite=True)
    lazy.to_zarr(tmp_path / "one.zarr")
    assert files_of(tmp_path / "out.zarr") == files_of(tmp_path / "one.zarr")


@pytest.mark.slow
def test_tasks_grow_with_the_cluster_and_not_with_the_chunks(cube, two, tmp_path, monkeypatch):
    make(tmp_path / "few.zarr", chunk=32)
    few, many = cw.open(tmp_path / "few.zarr")["v"], cube["v"]
    assert many.explain().chunks == 16 * few.explain().chunks

    def tasks(lazy):
        told = []
        lazy.compute(client=two, progress=lambda done, of: told.append((done, of)))
        assert told[-1][0] == told[-1][1]
        return told[-1][1]

    # 4 for each of two threads; runs of segments are whole nodes of a tree, and their states are merged.
    assert tasks(few) == tasks(many) == 8
    assert tasks(many.mean("time")) <= 2 * 8
    monkeypatch.setattr(on_dask, "FOR_EACH_THREAD", 40)
    # 20 segments of four tiles; of each the states merge eight at a time: three merges, and one of these.
    assert tasks(many.mean("time")) == 4 * (20 + 4)
    # A job of little is cut for the threads alone.
    monkeypatch.setattr(on_dask, "WORTH_A_TASK", 16 << 20)
    assert tasks(many) == 2


@pytest.mark.slow
def test_the_client_gets_one_state_for_each_tile(cube, two, monkeypatch):
    monkeypatch.setattr(on_dask, "FOR_EACH_THREAD", 40)
    came = []
    finish = cw.Plan.finish

    def counted(plan, results):
        came.extend(results)
        return finish(plan, came)

    monkeypatch.setattr(cw.Plan, "finish", counted)
    cube["v"].sum().compute(client=two)
    assert len(came) == 1 and len(came[0][0].numbers) == 20
    came.clear()
    cube["v"].sum("time").compute(client=two)
    assert len(came) == 4


@pytest.mark.slow
def test_progress_tells_the_tasks_that_are_done(cube, two):
    told = []
    REQUESTS["mean"](cube).compute(client=two, progress=lambda done, of: told.append((done, of)))
    of = told[0][1]
    assert told[0] == (0, of) and told[-1] == (of, of)
    assert [done for done, _ in told] == sorted({done for done, _ in told})


# --- workers that die -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("request_", "at"), [("mean", 9), ("values", 1), ("values", 20)])
def test_a_worker_that_dies_while_computing_changes_nothing(cube, three, slow, monkeypatch, request_, at):
    monkeypatch.setattr(on_dask, "FOR_EACH_THREAD", 10)
    plugin = slow(three)
    killer = Killer(three, at)
    lazy = REQUESTS[request_](cube)
    found = lazy.compute(client=three, progress=killer)
    assert killer.killed is not None
    runs = plugin.runs()
    assert len(runs) > len({run["n"] for run in runs}), "no partition was lost"
    assert bytes_of(found) == bytes_of(lazy.compute())
    killer.mended()


@pytest.mark.slow
@pytest.mark.parametrize(("request_", "at"), [("mean", 12), ("values", 2)])
def test_a_worker_that_dies_while_writing_changes_no_byte_of_the_output(cube, three, slow, monkeypatch, tmp_path, request_, at):
    monkeypatch.setattr(on_dask, "FOR_EACH_THREAD", 10)
    lazy = REQUESTS[request_](cube)
    lazy.to_zarr(tmp_path / "one.zarr", chunks={"y": 4})
    plugin = slow(three)
    killer = Killer(three, at)
    lazy.to_zarr(tmp_path / "many.zarr", chunks={"y": 4}, client=three, progress=killer)
    assert killer.killed is not None
    runs = plugin.runs()
    assert len(runs) > len({run["n"] for run in runs}), "no partition was lost"
    assert files_of(tmp_path / "many.zarr") == files_of(tmp_path / "one.zarr")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["many.zarr", "one.zarr"]
    killer.mended()


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.fixture
def damaged(tmp_path):
    """A cube with one chunk that does not decode."""
    make(tmp_path / "damaged.zarr", chunk=32)
    (tmp_path / "damaged.zarr" / "v" / "c" / "7" / "1" / "0").write_bytes(b"no zstd")
    return cw.open(tmp_path / "damaged.zarr")


@pytest.mark.slow
@pytest.mark.parametrize("request_", ["mean", "values"])
def test_an_error_of_a_task_is_that_of_one_process(damaged, two, request_):
    lazy = damaged["v"].mean("time") if request_ == "mean" else damaged["v"]
    with pytest.raises(CorruptError) as here:
        lazy.compute()
    with pytest.raises(CorruptError) as there:
        lazy.compute(client=two)
    assert str(there.value) == str(here.value)
    assert tasks_left(two) == []


@pytest.mark.slow
def test_an_error_that_would_come_again_is_not_tried_again(damaged, two, slow):
    plugin = slow(two, 0)
    with pytest.raises(CorruptError):
        damaged["v"].compute(client=two)
    runs = [run["n"] for run in plugin.runs()]
    assert len(runs) == len(set(runs))


@pytest.mark.slow
def test_an_output_that_fails_leaves_nothing(damaged, two, tmp_path):
    with pytest.raises(CorruptError):
        damaged["v"].to_zarr(tmp_path / "out.zarr", client=two)
    assert [p.name for p in tmp_path.iterdir()] == ["damaged.zarr"]


@pytest.mark.slow
def test_an_interrupt_ends_the_tasks_and_removes_the_output(cube, two, slow, monkeypatch, tmp_path):
    monkeypatch.setattr(on_dask, "FOR_EACH_THREAD", 20)
    slow(two, 0.1)

    sent = []

    def once(done, of):
        if done >= 3 and not sent:
            sent.append(done)
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt):
        REQUESTS["values"](cube).to_zarr(tmp_path / "out.zarr", client=two, progress=once)
    assert tasks_left(two) == []
    assert list(tmp_path.iterdir()) == []
    assert two.run(lambda: dict(__import__("chunkwise.dask").dask._RUNNING)) == {address: {} for address in two.nthreads()}


@pytest.mark.slow
def test_a_cube_that_was_written_again_while_the_tasks_wait_is_refused_by_name(two, tmp_path, monkeypatch):
    path = tmp_path / "again.zarr"
    ds = xr.Dataset({"v": (("time", "x"), np.zeros((4, 6)))}, {"time": np.arange(4), "x": np.arange(6)})
    ds.to_zarr(path, consolidated=False)
    lazy = cw.open(path)["v"].mean("time")
    make_plan = cw.Plan.make.__func__

    def then_written_again(cls, *args, **how):
        plan = make_plan(cls, *args, **how)
        ds.assign_coords(x=np.arange(6) + 1).to_zarr(path, mode="w", consolidated=False)
        return plan

    monkeypatch.setattr(cw.Plan, "make", classmethod(then_written_again))
    with pytest.raises(ValueRefusedError, match=r"again\.zarr` is another cube than the one that this plan was made for"):
        lazy.compute(client=two)


@pytest.mark.slow
def test_what_asks_too_much_of_the_store_or_of_memory_is_refused_as_ever(cube, two):
    lazy = REQUESTS["mean"](cube)
    for limits in ({"max_requests": 3}, {"max_bytes": "1kB"}):
        with pytest.raises(TooMuchError) as here:
            lazy.compute(**limits)
        with pytest.raises(TooMuchError) as there:
            lazy.compute(client=two, **limits)
        # One process says of bytes too that they are of decoded chunks.
        assert there.value.message == re.sub(r" \(.*\)", "", here.value.message)
        assert there.value.hint == here.value.hint
    with pytest.raises(PlanRefusedError) as refused:
        lazy.compute(client=two, memory="1kB")
    assert 'memory="' in refused.value.hint


@pytest.mark.slow
def test_what_lies_in_the_memory_of_the_client_is_refused(two):
    cw.from_xarray(xr.Dataset({"v": ("x", np.arange(4.0))})).to_zarr("memory:of-this-process")
    with pytest.raises(ValueRefusedError, match="which workers do not see"):
        cw.open("memory:of-this-process")["v"].compute(client=two)


def test_a_client_that_is_none_is_refused(cube):
    with pytest.raises(TypeError, match="`client` is a `dask.distributed.Client`, not str"):
        cube["v"].compute(client="tcp://127.0.0.1:8786")


def test_dask_is_imported_by_the_first_job_of_a_cluster_alone():
    code = "import sys, chunkwise as cw; assert not {'dask', 'distributed'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- shares of a worker -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_task_takes_the_memory_and_threads_that_its_worker_has_left(cube, tmp_path, slow):
    with cluster_of(tmp_path / "w", 1, threads_per_worker=2, memory_limit="3GiB") as cluster, Client(cluster) as client:
        plugin = slow(client, 0.02)
        lazy = REQUESTS["values"](cube)
        wanted = bytes_of(lazy.compute())
        assert bytes_of(lazy.compute(client=client)) == wanted
        resident = max(client.run(lambda dask_worker: dask_worker.monitor.get_process_memory()).values())
        # Two tasks at a time: half of the memory and one thread for each.
        most = int((3 << 30) * 0.8) // 2
        for run in plugin.runs():
            assert run["threads"] == 1
            assert most - resident < run["memory"] < most
        before = len(plugin.runs())
        lazy.compute(client=client, memory="512MiB", threads=8)
        assert {(run["memory"], run["threads"]) for run in plugin.runs()[before:]} == {(256 << 20, 4)}
        # One task alone has all of the worker.
        before = len(plugin.runs())
        cube["v"].isel(time=slice(0, 2), y=slice(0, 8), x=slice(0, 8)).sum().compute(client=client, memory="512MiB")
        assert [(run["memory"], run["threads"]) for run in plugin.runs()[before:]] == [(512 << 20, 2)]


class Worker:
    """What a worker tells of itself."""

    def __init__(self, threads, limit=4 << 30, resident=1 << 30, results=0):
        self.memory_manager = SimpleNamespace(memory_limit=limit)
        self.state = SimpleNamespace(nthreads=threads, nbytes=results, tasks={})
        self.monitor = SimpleNamespace(get_process_memory=lambda: self.resident)
        self.resident = resident

    def get_current_task(self):
        key = threading.get_ident()
        self.state.tasks[key] = SimpleNamespace(state="executing")
        return key


def take(**how):
    return on_dask.Take(**{"job": "job", "memory": None, "threads": None, "at_once": 4, **how})


def test_tasks_at_one_time_take_no_more_than_the_worker_has(monkeypatch):
    worker = Worker(threads=4)
    monkeypatch.setattr(on_dask, "get_worker", lambda: worker)
    lock, now, most = threading.Lock(), [], []

    def work(memory, threads, progress):
        with lock:
            now.append(memory)
            most.append((sum(now), len(now)))
        time.sleep(0.01)
        with lock:
            now.remove(memory)
        return b"done"

    pool = [threading.Thread(target=on_dask._on_worker, args=(take(), work)) for _ in range(12)]
    [thread.start() for thread in pool]
    [thread.join() for thread in pool]
    # 0.8 of the limit, less what the process holds.
    room = int((4 << 30) * 0.8) - (1 << 30)
    assert len(most) == 12 and max(m for m, _ in most) <= room and max(n for _, n in most) <= 4


def test_a_task_that_needs_more_than_its_share_has_the_worker_for_itself(monkeypatch):
    worker = Worker(threads=4)
    monkeypatch.setattr(on_dask, "get_worker", lambda: worker)
    running, seen = [], []

    def small(memory, threads, progress):
        running.append(1)
        time.sleep(0.02)
        running.pop()
        return b""

    def large(memory, threads, progress):
        if memory < 2 << 30:
            raise PlanRefusedError("it needs 2 GiB")
        seen.append((threads, len(running)))
        return b"large"

    pool = [threading.Thread(target=on_dask._on_worker, args=(take(), small)) for _ in range(6)]
    [thread.start() for thread in pool]
    assert on_dask._on_worker(take(), large) == b"large"
    [thread.join() for thread in pool]
    assert seen == [(4, 0)]


def test_a_task_that_no_worker_has_room_for_says_what_it_had(monkeypatch):
    worker = Worker(threads=2)
    monkeypatch.setattr(on_dask, "get_worker", lambda: worker)

    def large(memory, threads, progress):
        raise PlanRefusedError("it needs 9 GiB")

    failed = on_dask._on_worker(take(), large)
    assert isinstance(failed, on_dask.Failed) and "a task has 2.2 GiB of its worker" in failed.error.hint


def test_an_error_of_the_store_is_left_to_dask_to_try_again(monkeypatch):
    monkeypatch.setattr(on_dask, "get_worker", lambda: Worker(threads=1))

    def work(memory, threads, progress):
        raise StorageError("no answer")

    with pytest.raises(StorageError):
        on_dask._on_worker(take(), work)
    assert on_dask._RUNNING == {}


def test_results_that_a_worker_keeps_leave_less_for_its_tasks_and_freed_memory_does_not(monkeypatch):
    worker = Worker(threads=1, resident=1 << 30, results=0)
    monkeypatch.setattr(on_dask, "get_worker", lambda: worker)
    had = []

    def work(memory, threads, progress):
        had.append(memory)

    on_dask._on_worker(take(at_once=1), work)
    worker.state.nbytes, worker.resident = 512 << 20, (1 << 30) + (512 << 20)
    on_dask._on_worker(take(at_once=1), work)
    worker.state.nbytes, worker.resident = 0, (1 << 30) + (300 << 20)
    on_dask._on_worker(take(at_once=1), work)
    assert had[1] == had[0] - (512 << 20) and had[2] == had[0]


def test_a_task_that_was_cancelled_ends(monkeypatch):
    worker = Worker(threads=1)
    monkeypatch.setattr(on_dask, "get_worker", lambda: worker)

    def work(memory, threads, progress):
        progress(1, 3)
        worker.state.tasks[threading_id()].state = "cancelled"
        progress(2, 3)
        raise AssertionError("it went on")

    threading_id = threading.get_ident
    with pytest.raises(on_dask.Cancelled):
        on_dask._on_worker(take(), work)
    assert on_dask._RUNNING == {}


# --- zones ------------------------------------------------------------------------------------------------------------


def squares(n=5):
    """Slanted squares over the cube, one of them outside."""
    features = []
    for i in range(n):
        x, y = 20.0 * i + 3, 10.0 * i + 7
        ring = [[x, y], [x + 33, y + 8], [x + 27, y + 40], [x - 6, y + 31], [x, y]]
        features.append({"type": "Feature", "properties": {"name": f"z{i}"}, "geometry": {"type": "Polygon", "coordinates": [ring]}})
    features.append({**features[0], "properties": {"name": "far"}, "geometry": {"type": "Polygon", "coordinates": [[[9e3, 9e3], [9.1e3, 9e3], [9e3, 9.1e3], [9e3, 9e3]]]}})
    return {"type": "FeatureCollection", "features": features}


def rows_of(table):
    """Columns with their types, and all cells, as text: NaN equals itself, null is no NaN."""
    return list(table.schema.items()), repr(table.to_arrow().combine_chunks().to_pydict())


@pytest.fixture(scope="module")
def bands(tmp_path_factory):
    """Two variables of time × band × y × x and of time × y × x, and one of y × x."""
    rng = np.random.default_rng(4)
    path = tmp_path_factory.mktemp("bands") / "bands.zarr"
    ds = xr.Dataset(
        {
            "r": (("time", "band", "y", "x"), rng.normal(size=(7, 3, 16, 16)).astype("f4")),
            "h": (("y", "x"), rng.normal(size=(16, 16))),
            "t": (("time", "y", "x"), rng.normal(size=(7, 16, 16))),
        },
        {"time": np.datetime64("2020-01-01", "ns") + np.arange(7) * np.timedelta64(1, "D"), "band": ["b1", "b2", "b3"]}
        | {"y": np.arange(16) * 10.0, "x": np.arange(16) * 10.0},
    )
    ds["zone"] = (("y", "x"), rng.integers(0, 4, (16, 16)).astype("u1"))
    chunks = {"r": {"chunks": (2, 1, 8, 16)}, "t": {"chunks": (1, 16, 16)}, "h": {"chunks": (8, 8)}, "zone": {"chunks": (16, 16)}}
    ds.to_zarr(path, encoding=chunks, zarr_format=3, consolidated=False)
    return cw.open(path)


ZONAL = {
    "one variable": lambda c: c["t"],
    "bands within times": lambda c: c["r"],
    "bands of one time": lambda c: c["r"].isel(time=3),
    "some times": lambda c: c["r"].isel(time=[0, 1, 2, 5, 6]),
    "variables of several dimensions": lambda c: c,
    "no dimension left": lambda c: c["h"],
    "a formula": lambda c: c.calc("t * 2 - h", name="f"),
    "a mask": lambda c: c["t"].where("h > 0"),
}


@pytest.mark.slow
@pytest.mark.parametrize("of", ZONAL)
def test_the_table_of_zones_is_that_of_one_process_row_for_row(bands, two, tmp_path, of):
    lazy = ZONAL[of](bands)
    (tmp_path / "zones.geojson").write_text(json.dumps(squares()))
    for zones in (squares(), tmp_path / "zones.geojson"):
        asked = {"statistics": ("mean", "count", "q30"), "zone_id": "name", "crs": "cube"}
        assert rows_of(lazy.zonal(zones, client=two, **asked)) == rows_of(lazy.zonal(zones, **asked))


@pytest.mark.slow
def test_zones_of_a_variable_give_the_same_rows(bands, two):
    for lazy in (bands["r"], bands["t"]):
        asked = {"zones": "zone", "statistics": "sum,missing"}
        assert rows_of(lazy.zonal(client=two, **asked)) == rows_of(lazy.zonal(**asked))


@pytest.mark.slow
def test_zones_are_cut_along_time_where_chunks_end(bands, two, monkeypatch):
    told = []
    bands["r"].zonal(squares(), crs="cube", client=two, progress=lambda done, of: told.append(of))
    # Times 0–1, 2–3, 4–5 and 6.
    assert told[-1] == 4


@pytest.mark.slow
def test_a_worker_that_dies_changes_no_row(bands, three):
    wanted = rows_of(bands.zonal(squares(), crs="cube"))
    killer = Killer(three, 1)
    found = bands.zonal(squares(), crs="cube", client=three, progress=killer)
    assert rows_of(found) == wanted
    killer.mended()


@pytest.mark.slow
def test_zones_that_are_nowhere_are_refused_before_a_task_is_sent(bands, two):
    with pytest.raises(FileNotFoundError):
        bands["t"].zonal("nowhere.geojson", client=two)
    assert tasks_left(two) == []


# --- an object store --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_workers_take_secrets_from_their_environment_and_none_is_sent(cube, s3, tmp_path, monkeypatch):
    import distributed.comm.tcp as tcp

    secret = s3.secrets[0]
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    sent = []
    to_frames = tcp.to_frames

    async def recorded(*args, **how):
        frames = await to_frames(*args, **how)
        sent.append(b"".join(bytes(frame) for frame in frames))
        return frames

    with cluster_of(tmp_path / "w", 2) as cluster, Client(cluster) as client:
        for name in s3.env:
            monkeypatch.delenv(name)
        options = {
            "access_key_id": "tester", "secret_access_key": secret, "region": "us-east-1",
            "endpoint": s3.env["AWS_ENDPOINT_URL"], "allow_http": True,
        }  # fmt: skip
        cube.isel(time=slice(0, 64)).to_zarr(s3.url("dask/in.zarr"), storage_options=options)
        there = cw.open(s3.url("dask/in.zarr"), storage_options=options)
        monkeypatch.setattr(tcp, "to_frames", recorded)
        lazy = there.mean("time")
        assert bytes_of(lazy.compute(client=client)) == bytes_of(cube.isel(time=slice(0, 64)).mean("time").compute())
        written = there.to_zarr(s3.url("dask/out.zarr"), storage_options=options, client=client)
        there["v"].zonal(squares(), crs="cube", client=client)
        monkeypatch.setattr(tcp, "to_frames", to_frames)
        wire = b"".join(sent)
        # It is what is sent that was looked at: the plans are in it.
        assert wire.count(s3.url("dask/in.zarr").encode()) >= 3
        assert secret.encode() not in wire
        assert secret.encode() not in pickle.dumps(lazy.plan(partitions=4))
        assert bytes_of(written.compute()) == bytes_of(there.compute())
        # Objects are those that one process writes.
        import servers

        there.to_zarr(s3.url("dask/one.zarr"), storage_options=options)
        import obstore

        def objects(prefix):
            store = servers.looked_at(s3, prefix)
            names = [meta["path"] for batch in obstore.list(store) for meta in batch]
            return {name: bytes(obstore.get(store, name).bytes()) for name in names}

        assert objects("dask/out.zarr") == objects("dask/one.zarr")
        assert len(objects("dask/out.zarr")) > 200


# --- the document -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_python_of_the_document_runs(path, two, tmp_path, monkeypatch):
    text = (Path(__file__).resolve().parents[2] / "docs" / "cluster.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    with xr.open_zarr(path, consolidated=False, chunks=None) as ds:
        ds = ds[["v"]].rename(v="t2m").load()
    ds.to_zarr(tmp_path / "era5.zarr", zarr_format=3, consolidated=False, encoding={"t2m": {"chunks": (20, 8, 8)}})
    (tmp_path / "countries.geojson").write_text(json.dumps({**squares(), "crs": None}))
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks:
        exec(block.replace("tcp://scheduler:8786", two.scheduler.address), names)
    names["client"].close()
    month = ds.t2m.astype("f8").groupby("time.month")
    anomaly = (month - month.mean()).values
    for written in ("anomaly.zarr", "anomalies.zarr"):
        np.testing.assert_allclose(cw.open(tmp_path / written)["t2m"].to_numpy(), anomaly, atol=1e-4)
    np.testing.assert_array_equal(names["mean"].values, ds.t2m.astype("f8").mean("time").astype("f4").values)
    assert len(names["table"]) == STEPS * len(squares()["features"])
