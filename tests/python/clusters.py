"""A cluster on this machine, a cube to work on, and what makes its workers slow or ends them."""

import json
import os
import signal
import time

import distributed
import numpy as np
import pytest
import xarray as xr
import zarr
from distributed import Client, LocalCluster

import chunkwise as cw
import chunkwise.dask as on_dask

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
