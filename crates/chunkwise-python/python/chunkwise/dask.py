"""Jobs on a Dask cluster: a task for each partition of a plan, and states merged on the workers.

A task is a kilobyte. It opens the cube itself, checks that it is the one that the plan was made for, and computes with
the memory and the threads of its worker, so that the graph grows with partitions and not with chunks. Tasks keep nothing
behind and give the same bytes each time: those of lost workers run again elsewhere, and those that run twice do no harm.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import tempfile
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from distributed import Client, Future, as_completed, get_worker

from . import _chunkwise
from ._html import size_text
from ._options import bytes_of, memory_of, progress_of
from ._plan import Partition, Plan
from ._query import positions
from ._table import Table
from ._tables import zonal_words
from ._words import resources, run
from .errors import ChunkwiseError, PlanRefusedError, StorageError, TooMuchError, ValueRefusedError

#: Tasks for each thread of the cluster: enough that all workers end at about the same time.
FOR_EACH_THREAD = 4
#: Decoded bytes that are worth a task of their own, where there are tasks for all threads.
WORTH_A_TASK = 16 << 20
#: States that one task merges.
FAN_IN = 8
#: Times that a task is tried again after an error. Tasks of lost workers are run anew besides.
RETRIES = 2
#: Share of a worker's limit that tasks take: Dask pauses workers at 0.8 of it.
SHARE = 0.8
#: Seconds that tasks which were cancelled may take to end.
PATIENCE = 30.0


@dataclass(frozen=True)
class Take:
    """What the tasks of a job may take of a worker."""

    #: Name of the job.
    job: str
    #: Bytes of a worker; what it has left, where it is not said.
    memory: int | None
    #: Threads of a worker; those it has for tasks.
    threads: int | None
    #: Tasks that a worker is given at one time, at most.
    at_once: int
    #: Whether chunks may be decoded more than once.
    redecode: bool = False


class Cancelled(Exception):
    """No one wants what a task does any more."""


@dataclass(frozen=True)
class Failed:
    """An error that comes again whenever the task runs: a result, so that it is not tried again."""

    error: ChunkwiseError


# --- what is asked for ------------------------------------------------------------------------------------------------


def compute(
    lazy: Any, client: Client, *, memory: Any, threads: Any, progress: Any, dtype: Any, **limits: Any
) -> Any:
    """What ``compute()`` gives, with the same bits."""
    figures = _figures(lazy, client, limits)
    room, takes = memory_of(None), figures["output_bytes"]
    if takes > room:
        raise PlanRefusedError(
            f"the result takes {size_text(takes)}, and this process may take {size_text(room)}",
            "write it: `.to_zarr(…, client=client)`",
        )
    plan = Plan.make(lazy, partitions=wanted(client, figures["decoded_bytes"]), dtype=dtype)
    return plan.finish(_results(plan, client, memory, threads, progress, limits))


def to_zarr(
    lazy: Any, client: Client, to: Mapping[str, Any], *, memory: Any, threads: Any, progress: Any, **limits: Any
) -> None:
    """Writes what ``to_zarr()`` writes, with the same bytes: each task the chunks of its own partition."""
    figures = _figures(lazy, client, {})
    _visible(to["location"])
    # Workers compute: whether the memory will do is known there.
    plan = Plan.make(
        lazy, dict(to), partitions=wanted(client, figures["decoded_bytes"]), memory=1 << 60, dtype=to["dtype"], **limits
    )
    try:
        plan.finish(_results(plan, client, memory, threads, progress, limits))
    except BaseException:
        plan.abort()
        raise


def zonal(
    lazy: Any,
    client: Client,
    zones: str,
    is_temporary: bool,
    how: Mapping[str, Any],
    *,
    memory: Any,
    threads: Any,
    progress: Any,
) -> Table:
    """The table that ``zonal()`` gives, row for row: each task has some chunks of a dimension that is left."""
    _on(client, lazy)
    figures = json.loads(run([*zonal_words(lazy, zones, **how), "--explain", "--json"])[1])
    polygons = _Zones.of(zones, is_temporary)
    cuts: list[_Cut] = []
    for stage in figures["stages"]:
        array = lazy if lazy._name() is not None else lazy[stage["name"]]
        cuts.append(_Cut.of(array, wanted(client, stage["decoded_bytes"])))
    pieces = [pickle.dumps(piece) for cut in cuts for piece in cut.pieces]
    take = _take(client, len(pieces), memory, threads, False)
    name = f"chunkwise-zonal-{take.job}"
    keys = [(name, i) for i in range(len(pieces))]
    futures = client.map(
        _zonal_piece, pieces, zones=polygons, how=dict(how), take=take, key=keys, retries=RETRIES, pure=True
    )
    numbers = {key: i for i, key in enumerate(keys)}
    found = dict(_gathered(client, take, futures, numbers, progress, "zonal"))
    lengths, tables = zip(*(found[i] for i in range(len(pieces))), strict=True)
    rows: list[tuple[int, int, int]] = []
    first = 0
    for cut in cuts:
        rows += cut.rows(lengths[first : first + len(cut.pieces)], first)
        first += len(cut.pieces)
    return Table(_chunkwise.table_of(list(tables), rows))


def wanted(client: Client, decoded: int) -> int:
    """How many partitions a job is cut into: by the threads of the cluster and its bytes, whatever its chunks."""
    _, threads = _size(client)
    return max(1, min(FOR_EACH_THREAD * threads, max(threads, decoded // WORTH_A_TASK)))


def _size(client: Client) -> tuple[int, int]:
    """Workers of a cluster, and their threads. Waits for the first of them."""
    if not isinstance(client, Client):
        raise TypeError(f"`client` is a `dask.distributed.Client`, not {type(client).__name__}")
    if client.asynchronous:
        raise ValueRefusedError("an asynchronous client", "`Client(…, asynchronous=False)` waits for its results")
    threads = client.nthreads()
    if not threads:
        client.wait_for_workers(1)
        threads = client.nthreads()
    return max(1, len(threads)), max(1, sum(threads.values()))


def _visible(location: str) -> None:
    if location.startswith("memory:"):
        raise ValueRefusedError(
            f"`{location}` is in the memory of this process, which workers do not see",
            "use a folder or a store that they reach",
        )


def _on(client: Client, lazy: Any) -> None:
    """Checks what a cluster can work on."""
    _size(client)
    _visible(lazy._source.location)


def _figures(lazy: Any, client: Client, limits: Mapping[str, Any]) -> dict[str, Any]:
    """What a job reads and gives, if it does not ask for more of the store than it may."""
    _on(client, lazy)
    # Workers have the memory; whether theirs will do is known there.
    figures = lazy.explain(to="none", memory=1 << 60).figures
    read = figures["decoded_bytes"] if figures["encoded_bytes"] is None else figures["encoded_bytes"]
    asked = ((figures["requests"], "max_requests", "takes {} requests"), (read, "max_bytes", "reads {} bytes"))
    for takes, name, what in asked:
        most = limits.get(name)
        if most is not None and takes > bytes_of(most, name):
            says = f"the job {what.format(takes)}, at most {bytes_of(most, name)} are allowed"
            raise TooMuchError(says, f"select less of the cube, or raise `{name}`")
    return figures


# --- the client's side ------------------------------------------------------------------------------------------------


def _take(client: Client, tasks: int, memory: Any, threads: Any, redecode: bool) -> Take:
    workers, _ = _size(client)
    return Take(
        uuid.uuid4().hex[:12],
        None if memory is None else memory_of(memory),
        None if threads is None else int(threads),
        max(1, -(-tasks // workers)),
        redecode,
    )


def _results(
    plan: Plan, client: Client, memory: Any, threads: Any, progress: Any, limits: Mapping[str, Any]
) -> Iterator[tuple[Partition, bytes]]:
    """What the partitions give, as it comes: cells, and the states of a tile merged into one."""
    parts = plan.partitions()
    take = _take(client, len(parts), memory, threads, bool(limits.get("allow_redecode")))
    # Whatever cannot be sent is refused here, and what is sent holds no secret.
    sent = pickle.dumps(plan.without_partitions())
    futures = client.map(
        _run_partition, parts, plan=sent, take=take, key=[(f"chunkwise-{take.job}", p.number) for p in parts],
        retries=RETRIES, pure=True,
    )  # fmt: skip
    final: dict[Any, Partition] = {}
    states: dict[Any, list[tuple[Partition, Future[Any]]]] = {}
    for partition, future in zip(parts, futures, strict=True):
        if partition.segments is None:
            final[future.key] = partition
        else:
            states.setdefault(partition.key, []).append((partition, future))
    merges = 0
    for level in states.values():
        level.sort(key=lambda one: one[0].segments or (0, 0))
        while len(level) > 1:
            above = []
            for group in (level[i : i + FAN_IN] for i in range(0, len(level), FAN_IN)):
                if len(group) == 1:
                    above.append(group[0])
                    continue
                own = [p for p, _ in group]
                key = (f"chunkwise-merge-{take.job}", merges)
                merges += 1
                merged = client.submit(
                    _merge_states, sent, own, *(f for _, f in group), key=key, retries=RETRIES, pure=True
                )
                futures.append(merged)
                above.append((own[0].with_others(own[1:]), merged))
            level[:] = above
        partition, future = level[0]
        final[future.key] = partition
    return _gathered(client, take, futures, final, progress, plan._lazy._name() or "chunkwise")


def _gathered(
    client: Client, take: Take, futures: list[Future[Any]], final: Mapping[Any, Any], progress: Any, what: str
) -> Iterator[tuple[Any, Any]]:
    """Results of the tasks that are `final`, as they come; what is taken is let go by the workers.

    What goes wrong, here or there, cancels the other tasks and waits until they have ended.
    """
    running = {future.key: future for future in futures}
    told, close = progress_of(progress, what)
    of, done = len(running), 0
    futures.clear()
    try:
        if told is not None:
            told(0, of)
        for batch in as_completed(list(running.values())).batches():
            for future in batch:
                if future.status != "finished" or future.type is Failed:
                    _raise(future.result())
            found = [future for future in batch if future.key in final]
            for future, result in zip(found, client.gather(found), strict=True):
                _raise(result)
                yield final[future.key], result
            for future in batch:
                running.pop(future.key, None)
            done += len(batch)
            if told is not None:
                told(done, of)
    except BaseException:
        _cancel(client, take.job, list(running.values()))
        raise
    finally:
        # An error holds on to what it passed through, and futures to what workers keep.
        batch, found, future, result = [], [], None, None
        running.clear()
        close()


def _raise(result: Any) -> None:
    if isinstance(result, Failed):
        raise result.error


def _cancel(client: Client, job: str, futures: Sequence[Future[Any]]) -> None:
    """Cancels tasks, and waits until those that run have ended: they might write."""
    if client.status not in ("running", "connecting"):
        return
    client.cancel(futures, force=True)
    client.run(_end, job, on_error="ignore")


# --- the workers' side ------------------------------------------------------------------------------------------------

#: Tasks that run in this process, by job.
_RUNNING: dict[str, int] = {}
_LOCK = threading.Lock()
_ROOMS: weakref.WeakKeyDictionary[Any, _Room] = weakref.WeakKeyDictionary()


async def _end(job: str) -> None:
    """Waits until no task of a job runs in this process."""
    until = time.monotonic() + PATIENCE
    while job in _RUNNING and time.monotonic() < until:
        await asyncio.sleep(0.02)


class _Room:
    """The memory and threads of a worker, which its tasks take shares of.

    Shares are given in the order in which they are asked for.
    """

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._changed = threading.Condition()
        self._used = Fraction(0)
        self._waiting: deque[object] = deque()
        # What the process holds that is neither results nor a task's.
        self._base: int | None = None

    @classmethod
    def of(cls, worker: Any) -> _Room:
        with _LOCK:
            return _ROOMS.setdefault(worker, cls(worker))

    def _memory(self) -> int:
        """Bytes that all tasks together may take."""
        limit = self._worker.memory_manager.memory_limit
        if not limit:
            return memory_of(None)
        results = self._worker.state.nbytes
        if self._used == 0:
            # What the allocator keeps of an earlier task is free for the next: the least that was seen counts.
            now = max(0, self._worker.monitor.get_process_memory() - results)
            self._base = now if self._base is None else min(self._base, now)
        return max(0, int(limit * SHARE) - results - (self._base or 0))

    @contextmanager
    def share(self, share: Fraction, take: Take, look: Any) -> Iterator[dict[str, int]]:
        """Waits until so much of the worker is free; gives the memory and threads that this is."""
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._waiting[0] is not ticket or self._used + share > 1:
                    self._changed.wait(0.2)
                    look()
                memory = self._memory() if take.memory is None else take.memory
                self._used += share
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        threads = self._worker.state.nthreads if take.threads is None else take.threads
        try:
            yield {"memory": int(memory * share), "threads": max(1, int(threads * share))}
        finally:
            with self._changed:
                self._used -= share
                self._changed.notify_all()


def _on_worker(take: Take, work: Any) -> Any:
    """Does `work` with a share of the worker; where that is too little, with all of it once its other tasks have ended.

    Gives what goes wrong, where that would go wrong again. A store that fails may do better the next time.
    """
    worker, key = get_worker(), get_worker().get_current_task()
    room = _Room.of(worker)

    def look(*_: int) -> None:
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            raise Cancelled(key)

    with _LOCK:
        _RUNNING[take.job] = _RUNNING.get(take.job, 0) + 1
    try:
        share = Fraction(1, max(1, min(worker.state.nthreads, take.at_once)))
        if share < 1:
            try:
                with room.share(share, take, look) as limits:
                    return work(**limits, progress=look)
            except PlanRefusedError:
                pass
        with room.share(Fraction(1), take, look) as limits:
            return work(**limits, progress=look)
    except StorageError:
        raise
    except PlanRefusedError as error:
        had = f"a task has {size_text(limits['memory'])} of its worker"
        error.hint = error.hint or f"{had}: give workers more, or say `memory=…`"
        return Failed(error)
    except ChunkwiseError as error:
        return Failed(error)
    finally:
        with _LOCK:
            _RUNNING[take.job] -= 1
            if _RUNNING[take.job] == 0:
                del _RUNNING[take.job]


@lru_cache(maxsize=4)
def _opened(plan: bytes) -> Plan:
    """A plan, whose cube is opened once in each process."""
    return pickle.loads(plan)


def _run_partition(partition: Partition, *, plan: bytes, take: Take) -> bytes | Failed:
    """A task: cells, states, or a few bytes once its chunks are written."""
    return _on_worker(take, lambda **limits: _opened(plan).run(partition, allow_redecode=take.redecode, **limits))


def _merge_states(plan: bytes, partitions: list[Partition], *states: bytes | Failed) -> bytes | Failed:
    """A task: the states of several partitions as one."""
    given: list[bytes] = []
    for found in states:
        if isinstance(found, Failed):
            return found
        given.append(found)
    return _opened(plan).merge(zip(partitions, given, strict=True))[0][1]


# --- zones ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Zones:
    """Zones as a path, or as a file that travels with its task."""

    path: str
    content: bytes | None = field(default=None, repr=False)

    @classmethod
    def of(cls, path: str, is_temporary: bool) -> _Zones:
        if is_temporary:
            with open(path, "rb") as file:
                return cls(os.path.basename(path), file.read())
        # Of names of variables and formulas there are no files.
        other, colon, variable = path.rpartition(":")
        if "://" in path or not (os.path.exists(path) or os.path.exists(other)):
            return cls(path)
        return cls(os.path.abspath(path) if os.path.exists(path) else os.path.abspath(other) + colon + variable)

    @contextmanager
    def as_file(self) -> Iterator[str]:
        if self.content is None:
            yield self.path
            return
        with tempfile.TemporaryDirectory(prefix="chunkwise-") as folder:
            path = os.path.join(folder, self.path)
            with open(path, "wb") as file:
                file.write(self.content)
            yield path


@dataclass(frozen=True)
class _Cut:
    """An array in pieces along a dimension that its zones do not lie in."""

    pieces: list[Any]
    #: Cells along the dimension, of each piece.
    lengths: list[int]
    #: Cells of the dimensions after it that are left, together.
    inner: int

    @classmethod
    def of(cls, array: Any, pieces: int) -> _Cut:
        """Pieces that end where chunks end, of the outermost dimension that has enough chunks, or of that with most."""
        plane = set((array._source.about["plane"] or {}).values())
        left = [d for d in array.dims if d not in plane]
        borders = {d: _borders(array, d) for d in left}
        enough = [d for d in left if len(borders[d]) > pieces]
        dim = enough[0] if enough else max(left, key=lambda d: len(borders[d]), default=None)
        if dim is None or len(plane) != 2:
            return cls([array], [1], 1)
        at = borders[dim]
        units, n = len(at) - 1, min(pieces, len(at) - 1)
        ends = [at[i * units // n] for i in range(n + 1)]
        runs = list(zip(ends, ends[1:], strict=False))
        inner = int(np.prod([array.sizes[d] for d in left[left.index(dim) + 1 :]], dtype=object))
        return cls([array.isel({dim: slice(a, b)}) for a, b in runs], [b - a for a, b in runs], inner)

    def rows(self, tables: Sequence[int], first: int) -> list[tuple[int, int, int]]:
        """Rows of the pieces' tables in the order of one table, as `(table, from, to)`; `first` is that of the first."""
        each = [n * self.inner for n in self.lengths]
        if len(tables) == 1:
            return [(first, 0, tables[0])]
        blocks = {rows // one for rows, one in zip(tables, each, strict=True)}
        if len(blocks) != 1 or any(rows % one for rows, one in zip(tables, each, strict=True)):
            raise ValueRefusedError("the zones differ along a dimension that is left", "ask for each of them alone: `.isel(…)`")
        return [(first + i, b * one, (b + 1) * one) for b in range(blocks.pop()) for i, one in enumerate(each)]


def _borders(array: Any, dim: str) -> list[int]:
    """Positions along a dimension where chunks end, the ends included."""
    variables = array._source.about["variables"]
    variable = array._variable
    sizes = [v["chunks"][v["dims"].index(dim)] for v in ([variable] if variable else variables) if dim in v["dims"]]
    if variable is None:
        sizes = [v["chunks"][v["dims"].index(dim)] for v in variables if dim in v["dims"] and v["role"] == "data"]
    chunk = max(sizes, default=1)
    cells = positions(array._query.cells.get(dim), array._length(dim))
    return [0, *(i for i in range(1, len(cells)) if cells[i] // chunk != cells[i - 1] // chunk), len(cells)]


def _zonal_piece(
    piece: bytes, *, zones: _Zones, how: dict[str, Any], take: Take
) -> tuple[int, bytes] | Failed:
    """A task: how many rows the table of some cells has, and the table."""

    def work(memory: int, threads: int, progress: Any) -> tuple[int, bytes]:
        array = pickle.loads(piece)
        # Opens it, and checks that it is the same cube still.
        array._source.cube  # noqa: B018
        with zones.as_file() as path:
            table = run([*zonal_words(array, path, **how), *resources(memory, threads)], progress=progress)[3]
        assert table is not None, "`zonal` gives a table"
        return len(table), table._columns.to_ipc()

    return _on_worker(take, work)

