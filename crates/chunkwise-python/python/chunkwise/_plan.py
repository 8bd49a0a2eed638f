"""Plans: what a job will cost, and its partitions, which can run anywhere."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from . import _chunkwise
from ._html import plan_html, plan_text, size_text
from ._options import Limits, may, threads_of
from ._source import absolute, check_url, say_left_out
from .errors import ChunkwiseError, ValueRefusedError


class Explanation:
    """What a job will cost, told before it runs."""

    def __init__(self, told: str, command: str, *, asked: str = "", budget: int | None = None) -> None:
        #: Totals and stages, as ``chunkwise … --explain --json`` says them.
        self.figures: dict[str, Any] = json.loads(told)
        self.command = command
        #: Bytes that the job may take, where that is known.
        self.budget = budget
        self._asked = asked
        self.figures.setdefault("threads", threads_of(None))

    def __getitem__(self, name: str) -> Any:
        return self.figures[name]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["figures"][name]
        except KeyError:
            raise AttributeError(f"a plan says nothing of `{name}`") from None

    def _figures_text(self) -> str:
        """A plan without stages: that of `import`, `append`, `rasterize`, `verify`."""
        told = {k: size_text(v) if k.endswith("_bytes") else v for k, v in self.figures.items() if v is not None}
        lines = [f"    {name.removesuffix('_bytes').replace('_', ' ')}: {value}" for name, value in told.items()]
        return "\n".join([f"<chunkwise plan: {self.command}>", *lines])

    def __repr__(self) -> str:
        return plan_text(self) if "stages" in self.figures else self._figures_text()

    def _repr_html_(self) -> str:
        return plan_html(self)


class Partition:
    """A piece of a plan that runs anywhere, in any order, any number of times, with the same bits."""

    def __init__(self, number: int, part: str, plan: str = "", numbers: tuple[int, ...] = ()) -> None:
        self.number = number
        #: Numbers of the partitions whose results it stands for: several where states were merged.
        self.numbers = numbers or (number,)
        self._part, self._plan = part, plan
        about = json.loads(part)
        #: Which of the plan's results it belongs to.
        self.chain = int(about["chain"])
        #: Positions along each dimension that is walked.
        self.tile: tuple[tuple[int, int], ...] = tuple((a, b) for a, b in about["tile"])
        found = about["segments"]
        #: Segments of the folded dimension, where it is a part of them: it then gives states, to be merged.
        self.segments: tuple[int, int] | None = None if found is None else (found[0], found[1])

    @property
    def key(self) -> tuple[Any, ...]:
        """Partitions of one key give states of the same cells: these are merged, in any grouping."""
        return (self.chain, self.tile)

    def with_others(self, others: Iterable[Partition]) -> Partition:
        """What stands for this one and others of its key, once their states are merged."""
        numbers = sorted({*self.numbers, *(n for other in others for n in other.numbers)})
        return Partition(self.number, self._part, self._plan, tuple(numbers))

    def __getstate__(self) -> tuple[int, str, str, tuple[int, ...]]:
        return (self.number, self._part, self._plan, self.numbers)

    def __setstate__(self, state: tuple[int, str, str, tuple[int, ...]]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Partition) and other.__getstate__() == self.__getstate__()

    def __hash__(self) -> int:
        return hash((self._part, self.numbers))

    def __repr__(self) -> str:
        where = ", ".join(f"{a}:{b}" for a, b in self.tile)
        return f"<chunkwise.Partition {self.number}: [{where}]{f' segments {self.segments}' if self.segments else ''}>"


class Plan:
    """A job as a value: small, picklable, without data or secrets.

    Four calls run it wherever there are processes::

        plan = cube.mean("time").plan()                     # or .plan("s3://bucket/mean.zarr")
        results = [plan.run(p) for p in plan.partitions()]  # anywhere; plan and partitions may be pickled
        results = plan.merge(results)                       # optional: states of the same cells, in any grouping
        answer = plan.finish(results)                       # here

    A partition opens the cube itself and checks that it is the one that the plan was made for. It gives bytes: cells, or states of
    segments, which merge along a fixed tree; with an output it writes its own chunks. Lost workers, retries and partitions that
    run twice change nothing.
    """

    def __init__(
        self,
        lazy: Any,
        parts: Sequence[str],
        to: dict[str, Any] | None,
        options: Any,
        dtype: str | None,
        work: str | None = None,
        name: str | None = None,
    ) -> None:
        self._lazy, self._parts, self._to, self._options, self._dtype = lazy, tuple(parts), to, options, dtype
        self._work = work
        self._name = name or self._own_name()
        self._shared: Any = None

    def _own_name(self) -> str:
        """What tells its partitions from those of another plan; the same plan made again has the same."""
        source, to = self._lazy._source, self._to and (self._to["location"], self._to["job"])
        read = (source.location, source.identity, source.nodata, source.raw, source.valid)
        return hashlib.sha256(repr((read, self._lazy._query.json(), to, self._dtype, self._parts)).encode()).hexdigest()[:16]

    @classmethod
    def make(
        cls,
        lazy: Any,
        to: Any = None,
        *,
        partitions: int = 16,
        memory: int | str | None = None,
        threads: int | None = None,
        dtype: Any = None,
        **output: Any,
    ) -> Plan:
        """The plan of a lazy result; with ``to`` its output is made ready, within the limits that are said."""
        from ._output import target

        if partitions < 1:
            raise ValueRefusedError("a plan has at least one partition")
        lazy._source.identity  # noqa: B018 - workers check that they open the same cube
        limits = {name: output.pop(name) for name in Limits.__annotations__ if name in output}
        where = None
        if isinstance(to, dict):
            where = {**to, "job": uuid.uuid4().hex}
        elif to is not None:
            where = target(to, lazy, dtype=dtype, job=uuid.uuid4().hex, **output)
        if where is not None and where["location"].lower().endswith((".tif", ".tiff", ".nc", ".nc4", ".zip")):
            raise ValueRefusedError(f"`{where['location']}`: several processes write Zarr cubes in folders and object stores")
        if where is not None:
            where["location"] = absolute(where["location"])
        job = lazy._job()
        parts = job.parts(int(partitions), where)
        plan = cls(lazy, parts, where, lazy._source.storage, None if dtype is None else np.dtype(dtype).name)
        if where is not None:
            plan._shared = job.share(where, may(memory, threads, **limits))
            plan._work = plan._shared.work()
        return plan

    def without_partitions(self) -> Plan:
        """The plan as its tasks need it: it runs and merges partitions, and does not hold them."""
        return Plan(self._lazy, (), self._to, self._options, self._dtype, self._work, self._name)

    def __getstate__(self) -> dict[str, Any]:
        from ._options import is_secret

        to = self._to
        if to is not None:
            pairs = [word.partition("=") for word in to["storage"]]
            left_out = [name for name, _, value in pairs if is_secret(name, value)] or to.get("left_out", [])
            kept = [word for word, pair in zip(to["storage"], pairs, strict=True) if pair[0] not in left_out]
            to = {**to, "storage": kept, "left_out": left_out, "location": _chunkwise.mask(to["location"])}
        return {
            "lazy": self._lazy,
            "parts": self._parts,
            "to": to,
            "dtype": self._dtype,
            "work": self._work,
            "name": self._name,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        lazy, to = state["lazy"], state["to"]
        self.__init__(lazy, state["parts"], to, None, state["dtype"], state["work"], state["name"])  # type: ignore[misc]

    def partitions(self) -> list[Partition]:
        """The pieces."""
        return [Partition(i, part, self._name) for i, part in enumerate(self._parts)]

    def __len__(self) -> int:
        return len(self._parts)

    def run(
        self,
        partition: Partition,
        *,
        memory: int | str | None = None,
        threads: int | None = None,
        progress: Any = None,
        allow_redecode: bool = False,
    ) -> bytes:
        """Runs a partition in this process, within ``memory``; gives what it found as bytes."""
        self._check(partition)
        limits = may(memory, threads, allow_redecode)
        job = self._lazy._job()
        shared = None
        if self._to is not None and partition.segments is None:
            shared = self._shared or self._join(job)
        return bytes(job.run_part(partition._part, limits, shared, self._dtype, progress))

    def _join(self, job: Any) -> Any:
        assert self._to is not None, "only outputs are joined"
        check_url(self._to["location"])
        try:
            return job.join(self._to, self._work)
        except ChunkwiseError as error:
            say_left_out(error, self._to.get("left_out", ()))
            raise

    def _check(self, partition: Partition) -> None:
        if partition._plan != self._name:
            raise ValueRefusedError(f"{partition!r} is of another plan")

    def merge(self, results: Iterable[tuple[Partition, bytes]]) -> list[tuple[Partition, bytes]]:
        """Merges states of the same cells, as far as they are neighbours; what is complete stays as it is.

        Results that came twice count once.
        """
        whole: dict[int, tuple[Partition, bytes]] = {}
        states: dict[Any, list[tuple[Partition, bytes]]] = {}
        for partition, result in results:
            self._check(partition)
            if partition.segments is None:
                whole[partition.number] = (partition, result)
            else:
                states.setdefault(partition.key, []).append((partition, result))
        return [*whole.values(), *(_merged(found) for found in states.values())]

    def _complete(self, results: Iterable[tuple[Partition, bytes]]) -> Iterator[tuple[Partition, bytes]]:
        """Each result once, as it comes; states merged, at the end.

        What came is let go, so that results need not be in memory together.
        """
        states: list[tuple[Partition, bytes]] = []
        had: set[int] = set()
        for partition, result in results:
            self._check(partition)
            if partition.segments is not None:
                states.append((partition, result))
            elif partition.number not in had:
                yield partition, result
            had.update(partition.numbers)
        missing = len(self) - len(had)
        if missing:
            raise ValueRefusedError(f"the results of {missing} of {len(self)} partitions are missing")
        yield from self.merge(states)

    def finish(self, results: Iterable[tuple[Partition, bytes]]) -> Any:
        """The answer of all partitions: what ``compute()`` gives, or the written cube.

        ``results`` may come one by one, in any order.
        """
        from ._results import array_of, names_of, to_dataset

        job = self._lazy._job()
        if self._to is not None:
            return self._finish_output(job, results)
        attrs, arrays = job.outline(self._dtype)
        whole: dict[int, np.ndarray] = {}
        about = [json.loads(text) for text, _ in arrays]
        for partition, result in self._complete(results):
            cells = result
            if partition.segments is not None:
                cells = bytes(job.finish_part(partition._part, result, None, self._dtype))
            region = tuple(slice(a, b) for a, b in job.region(partition._part))
            for number, values in _chunkwise.cells(cells):
                of = about[number]
                if number not in whole:
                    whole[number] = np.empty(of["shape"], dtype=of["dtype"])
                shape = [r.stop - r.start for r in region]
                whole[number][region] = array_of({**of, "shape": shape}, values)
        filled = [
            (text, whole[i].reshape(-1).view(np.uint8) if i in whole else cells) for i, (text, cells) in enumerate(arrays)
        ]
        ds = to_dataset(attrs, filled)
        return self._lazy._of(ds, names_of(filled)) if hasattr(self._lazy, "_of") else ds

    def _finish_output(self, job: Any, results: Iterable[tuple[Partition, bytes]]) -> Any:
        from ._cube import cube_of
        from ._source import Source

        if self._shared is None:
            raise ValueRefusedError("an output is finished where its plan was made: it holds the lock of the output")
        complete = [(p, result) for p, result in self._complete(results) if p.segments is not None]
        try:
            for partition, result in complete:
                job.finish_part(partition._part, result, self._shared, self._dtype)
        except BaseException:
            self.abort()
            raise
        self._shared.finish()
        assert self._to is not None
        return cube_of(Source(self._to["location"], self._options))

    def abort(self) -> None:
        """Gives the job up: an output that was begun is removed."""
        if self._shared is not None:
            self._shared.abort()

    def __repr__(self) -> str:
        to = f" → {_chunkwise.mask(self._to['location'])}" if self._to else ""
        return f"<chunkwise.Plan: {len(self)} partitions of `{self._lazy.command()}`{to}>"


def _merged(found: list[tuple[Partition, bytes]]) -> tuple[Partition, bytes]:
    """States of one key as one."""
    taken: list[tuple[Partition, bytes]] = []
    had: set[int] = set()
    # What stands for most comes first: parts of it that came as well are in it.
    for partition, result in sorted(found, key=lambda one: -len(one[0].numbers)):
        numbers = set(partition.numbers)
        if numbers <= had:
            continue
        if numbers & had:
            raise ValueRefusedError(f"results that were merged in two ways hold the same states: {partition!r}")
        had |= numbers
        taken.append((partition, result))
    taken.sort(key=lambda one: one[0].number)
    if len(taken) == 1:
        return taken[0]
    first = taken[0][0].with_others(p for p, _ in taken[1:])
    return first, bytes(_chunkwise.merge([result for _, result in taken]))
