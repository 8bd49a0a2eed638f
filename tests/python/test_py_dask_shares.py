"""Jobs on a Dask cluster: what tasks take of their workers, zones, object stores, and the document."""

import json
import pickle
import re
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from distributed import Client

import chunkwise as cw
import chunkwise.dask as on_dask
from chunkwise.errors import PlanRefusedError, StorageError
from clusters import (  # noqa: F401 - fixtures
    REQUESTS, SIDE, STEPS, Killer, bytes_of, cluster_of, cube, files_of, make, path, slow, small_tasks, tasks_left, three, two,
)  # fmt: skip


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
