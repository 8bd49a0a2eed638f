"""The engine, for the package `chunkwise`; it is private and changes with it.

Requests come as JSON, results go as NumPy arrays, Arrow tables and JSON. Every call that reads or computes runs without the
interpreter's lock, on a thread of its own: other Python threads go on, and an interrupt ends it within a second. Errors are
those of `chunkwise.errors`.
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypedDict, final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "__version__",
    "Source",
    "Job",
    "Shared",
    "Table",
    "open",
    "open_mapping",
    "merge",
    "cells",
    "write_region",
    "forget_memory",
    "call",
    "commands",
    "main",
    "mask",
    "table_of",
    "default_memory",
]

__version__: str

class _Progress(Protocol):
    """Is called in the calling thread with the parts done and their number; what it raises ends the job."""

    def __call__(self, done: int, of: int, /) -> object: ...

class _Objects(Protocol):
    """Objects of a Zarr v3 hierarchy, by key. Called from threads of the engine."""

    def get(self, key: str, /) -> bytes | None: ...
    def list_dir(self, prefix: str, /) -> Sequence[str]: ...

class _May(TypedDict):
    """What a job may take: bytes, threads; what it may ask of the store, and what that costs."""

    memory: int
    threads: int
    redecode: bool
    max_requests: int | None
    max_bytes: int | None
    egress_price: float | None
    request_price: float | None

class _To(TypedDict):
    """Where a result is written: a Zarr cube, or by its ending a GeoTIFF or NetCDF."""

    location: str
    storage: list[str]
    overwrite: bool
    zarr_format: int
    chunks: list[tuple[str, int]]
    shards: list[tuple[str, int]]
    codec: str | None
    dtype: str | None
    history: str
    job: str

# Attributes of the whole as JSON; of each array a description as JSON, and its cells as bytes.
_Arrays = tuple[str, list[tuple[str, NDArray[np.uint8]]]]

@final
class Source:
    """A cube that is open."""

    def describe(self) -> str:
        """What the cube has, as JSON: dimensions, attributes, variables, groups, CRS."""

    def place(self) -> tuple[str, str]:
        """The location of its store, and its path there."""

    def identity(self) -> str:
        """What tells this cube from another one of its place: a hash of its metadata and labels."""

    def text(self, name: str) -> list[str]:
        """The text of a variable, whole."""

    def labels(self, dim: str) -> tuple[Literal["index", "integer", "number", "text", "time"], str | None, Any]:
        """The labels of a dimension: what they are, their calendar, and the labels.

        `index`: their number; `text`: a list; `time`: microseconds since 1970; else an array.
        """

    def resolve(
        self, asked: Sequence[tuple[str, str, Sequence[str | None]]]
    ) -> dict[str, int | tuple[int, int, int] | NDArray[np.uint64]]:
        """The indices that labels mean: for each dimension an index, `(start, stop, step)` or a list.

        `asked` has a dimension, `one`, `list` or `range`, and the labels as text; an end of a range may be `None`.
        """

    def resolve_box(
        self, bounds: Sequence[float], crs: str | None, variables: Sequence[str]
    ) -> dict[str, int | tuple[int, int, int] | NDArray[np.uint64]]:
        """The indices of the rectangle of cells around `(west, south, east, north)`, of the CRS `crs` (`None`: the cube's)."""

    def nearest(self, dim: str, label: str) -> int:
        """The index of the cell that is nearest to a label, no further than half a cell outside."""

    def job(self, request: str) -> Job:
        """A request (JSON), checked: names, types, selections."""

@final
class Job:
    """A request that fits a cube."""

    def explain(self, may: _May, to: _To | None = None, dry: bool = False) -> str:
        """What the plan says, as JSON. `to` is where the result goes; `None`: into memory; nowhere with `dry`."""

    def values(self) -> int:
        """Number of values of the result."""

    def compute(self, may: _May, dtype: str | None = None, progress: _Progress | None = None) -> tuple[_Arrays, str]:
        """Runs and gives the arrays of the result, those that describe it, and what was counted, as JSON."""

    def outline(self, dtype: str | None = None) -> _Arrays:
        """The result without its values: descriptions of the arrays that would be computed, and those that describe them."""

    def write(self, may: _May, to: _To | None = None, progress: _Progress | None = None) -> str:
        """Runs and writes a cube or a file; nothing is kept with `to=None`. Gives what was counted, as JSON."""

    def records(self, may: _May, progress: _Progress | None = None) -> Table:
        """Runs and gives a row for each value."""

    def parts(self, wanted: int, to: _To | None = None) -> list[str]:
        """The parts of the job, as JSON: about `wanted`."""

    def region(self, part: str) -> list[tuple[int, int]]:
        """Output cells of a part along each dimension of its chain."""

    def run_part(
        self,
        part: str,
        may: _May,
        shared: Shared | None = None,
        dtype: str | None = None,
        progress: _Progress | None = None,
    ) -> bytes:
        """Runs a part; gives cells or states as bytes, or with `shared` writes what it can."""

    def finish_part(self, part: str, states: bytes, shared: Shared | None = None, dtype: str | None = None) -> bytes:
        """Makes cells of the states of a tile; gives bytes, or with `shared` writes them."""

    def share(self, to: _To, may: _May) -> Shared:
        """Makes an output ready that several processes write."""

    def join(self, to: _To, work: str | None = None) -> Shared:
        """Goes on with an output that another process has made ready."""

@final
class Shared:
    """An output that several processes write."""

    def work(self) -> str | None:
        """The folder in which it is written until it is complete; `None` in other stores."""

    def finish(self) -> None:
        """Makes a cube of it."""

    def abort(self) -> None:
        """Removes it."""

@final
class Table:
    """Rows of typed columns, in Arrow's memory."""

    def __len__(self) -> int: ...
    def schema(self) -> list[tuple[str, str]]:
        """Names of the columns and what they hold, as Arrow calls it."""

    def column(self, at: int) -> tuple[Literal["number", "time", "object"], Any]:
        """A column for NumPy: what it holds, and its values.

        Whole numbers with gaps are numbers with NaN; times are microseconds since 1970, the least number where there is none;
        text is a list.
        """

    def to_ipc(self) -> bytes:
        """The table as a stream of Arrow IPC."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The Arrow PyCapsule interface. A schema that is asked for may be ignored, as it says."""

def open(
    location: str,
    storage: Sequence[str],
    absent_on: Sequence[int],
    nodata: str | None = None,
    raw: bool = False,
    valid: bool = False,
) -> Source:
    """Opens what lies at a location. `storage` has `key=value`, `absent_on` codes that mean an absent object."""

def open_mapping(
    objects: _Objects, name: str, nodata: str | None = None, raw: bool = False, valid: bool = False
) -> Source:
    """Opens what a Python object gives, with the keys of Zarr v3."""

def merge(results: Sequence[bytes]) -> bytes:
    """Merges the states that parts of one tile gave."""

def cells(result: bytes) -> list[tuple[int, NDArray[np.uint8]]]:
    """The arrays of a result of cells: the number of each, and its bytes."""

def table_of(parts: Sequence[bytes], rows: Sequence[tuple[int, int, int]]) -> Table:
    """Rows of tables in one: `(part, from, to)` of the parts that `to_ipc` gave, in this order."""

def write_region(
    location: str,
    storage: Sequence[str],
    variable: str,
    start: Sequence[int],
    shape: Sequence[int],
    dtype: str,
    cells: NDArray[np.uint8],
    threads: int,
    alone: bool = False,
) -> tuple[int, int, int]:
    """Writes stored values, native-endian in C order, into a box of an array.

    Gives how many objects were written whole, how many changed in part, and how many of those removed. `alone`: no other
    process writes to the array.
    """

def forget_memory(name: str) -> None:
    """Forgets what `memory:NAME` names."""

def call(words: Sequence[str], progress: _Progress | None = None) -> tuple[int, str, list[str], Table | None]:
    """Runs a command of the command line in this process: its code (0, or 1 where the answer is no), its text, its notes, its table."""

def main(words: Sequence[str]) -> int:
    """The command line itself, on this process's stdout, stderr and signals; gives its exit code."""

def commands() -> str:
    """All commands with their arguments, as JSON."""

def mask(text: str) -> str:
    """Text without secrets that stores were given."""

def default_memory() -> int:
    """The budget of a job that names none, in bytes."""
