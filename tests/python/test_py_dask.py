"""Jobs on a Dask cluster of real processes: the bits of one process, whatever happens to the workers."""

import os
import re
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import xarray as xr

import chunkwise as cw
import chunkwise.dask as on_dask
from chunkwise.errors import CorruptError, PlanRefusedError, TooMuchError, ValueRefusedError
from clusters import (  # noqa: F401 - fixtures
    REQUESTS, SIDE, STEPS, Killer, bytes_of, cluster_of, cube, files_of, make, path, slow, small_tasks, tasks_left, three, two,
)  # fmt: skip


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
    with pytest.raises(ValueRefusedError, match=r"again\.zarr` (is another cube than the one that this plan was made for|was written again)"):
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
