"""What is asked of a cube, as a value: it can be looked at, compared, and pickled."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .errors import KeyNotFoundError, ValueRefusedError

#: Cells of one dimension: one index (the dimension goes), a range, or a list of indices.
Cells = int | range | tuple[int, ...]


@dataclass(frozen=True)
class Query:
    """A request: which cells, what of them, and which statistic over what."""

    variables: tuple[str, ...] = ()
    formulas: tuple[tuple[str, str], ...] = ()
    mask: str | None = None
    cells: Mapping[str, Cells] = field(default_factory=dict)
    over: str | tuple[str, ...] | None = None
    statistics: tuple[str, ...] = ()
    cycle: str | None = None
    windows: tuple[str, ...] = ()
    anomaly: bool = False
    ddof: int = 0
    min_count: int | None = None

    @property
    def is_reduced(self) -> bool:
        """Whether a statistic is asked for: what comes after it is another pass."""
        return bool(self.statistics)

    def json(self) -> str:
        """The request as the engine reads it."""
        return json.dumps(
            {
                "variables": list(self.variables),
                "formulas": [f"{name} = {formula}" for name, formula in self.formulas],
                "mask": self.mask,
                "isel": {dim: _cells_json(cells) for dim, cells in self.cells.items()},
                "over": list(self.over) if isinstance(self.over, tuple) else self.over,
                "statistics": list(self.statistics),
                "cycle": self.cycle,
                "windows": list(self.windows),
                "anomaly": self.anomaly,
                "ddof": self.ddof,
                "min_count": self.min_count,
            }
        )

    def selection_words(self) -> list[str]:
        """Which cells, of what, as words of the command line."""
        words: list[str] = []
        for name in self.variables:
            words += ["--var", name]
        for name, formula in self.formulas:
            words += ["--calc", f"{name} = {formula}"]
        if self.mask is not None:
            words.append(f"--where={self.mask}")
        for dim, cells in self.cells.items():
            words.append(f"--isel={dim}={_cells_words(cells)}")
        return words

    def words(self) -> list[str]:
        """The whole request as words of the command line."""
        words = self.selection_words()
        if self.over == "all":
            words += ["--over", "all"]
        elif self.over:
            words += ["--over", ",".join(self.over)]
        if self.statistics:
            words += ["--with", ",".join(self.statistics)]
        if self.cycle:
            words += ["--group", self.cycle]
        if self.windows:
            words += ["--every", ",".join(self.windows)]
        if self.anomaly:
            words.append("--anomaly")
        if self.ddof:
            words += ["--ddof", str(self.ddof)]
        if self.min_count is not None:
            words += ["--min-count", str(self.min_count)]
        return words

    def with_cells(self, found: Mapping[str, Cells]) -> Query:
        return replace(self, cells={**self.cells, **found})

    def masked(self, condition: str) -> Query:
        both = condition if self.mask is None else f"({self.mask}) and ({condition})"
        return replace(self, mask=both)


def _cells_json(cells: Cells) -> Any:
    if isinstance(cells, range):
        return {"start": cells.start, "stop": cells.stop, "step": cells.step}
    return cells if isinstance(cells, int) else list(cells)


def _cells_words(cells: Cells) -> str:
    if isinstance(cells, int):
        return str(cells)
    if isinstance(cells, range):
        return f"{cells.start}:{cells.stop}" + (f":{cells.step}" if cells.step != 1 else "")
    if len(cells) == 1:
        return f"{cells[0]}:{cells[0] + 1}"
    return ",".join(map(str, cells))


def positions(cells: Cells | None, length: int) -> range | tuple[int, ...]:
    """The cells along a dimension, in order."""
    if cells is None:
        return range(length)
    return (cells,) if isinstance(cells, int) else cells


def count(cells: Cells | None, length: int) -> int:
    return len(positions(cells, length))


def shortest(indices: Iterable[int]) -> range | tuple[int, ...]:
    """Indices as a range, where they ascend in equal steps."""
    all_ = tuple(int(i) for i in indices)
    if len(all_) == 1:
        return range(all_[0], all_[0] + 1)
    if len(all_) > 1:
        step = all_[1] - all_[0]
        if step > 0 and all(b - a == step for a, b in zip(all_, all_[1:], strict=False)):
            return range(all_[0], all_[-1] + 1, step)
    return all_


def by_index(dim: str, cells: Cells | None, length: int, indexer: Any) -> Cells:
    """The cells that an indexer takes of those that are selected: as NumPy and xarray index one dimension."""
    have = positions(cells, length)
    if isinstance(indexer, slice):
        taken = have[indexer]
        found = taken if isinstance(taken, range) else tuple(taken)
        if isinstance(found, range) and found.step < 0:
            found = tuple(found)
        if isinstance(found, range):
            found = range(found.start, max(found.stop, found.start), found.step)
        elif len(found) > 1:
            found = shortest(found)
        if len(found) == 0:
            raise ValueRefusedError(f"`isel` selects nothing of `{dim}`, which has {len(have)} cells")
        return found
    array = np.asarray(indexer)
    if array.dtype == bool:
        if array.shape != (len(have),):
            raise ValueRefusedError(f"a mask of {array.shape} for `{dim}`, which has {len(have)} cells")
        array = np.flatnonzero(array)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueRefusedError(f"`isel({dim}={indexer!r})`: indices are whole numbers, slices or lists of them")
    outside = array[(array < -len(have)) | (array >= len(have))]
    if outside.size:
        raise IndexError(f"index {int(outside.flat[0])} is outside of `{dim}`, which has {len(have)} cells")
    if array.ndim == 0:
        return int(have[int(array)])
    if array.ndim != 1:
        raise ValueRefusedError(f"`isel({dim}=…)`: an array of {array.ndim} dimensions; one selects along `{dim}`")
    if array.size == 0:
        raise ValueRefusedError(f"`isel` selects nothing of `{dim}`, which has {len(have)} cells")
    return shortest(have[int(i)] for i in array)


def intersect(dim: str, cells: Cells | None, length: int, found: Any, asked: str, listed: bool = False) -> Cells:
    """Those of the selected cells that labels mean: `found` is an index, `(start, stop, step)` or an array of indices.

    An array keeps its own order, and what lies between two labels that of the selection; of what is listed all must be there.
    """
    have = positions(cells, length)
    if isinstance(found, (int, np.integer)):
        if int(found) not in have:
            raise KeyNotFoundError(f"`{asked}` is not among the selected cells of `{dim}`")
        return int(found)
    wanted = range(*found) if isinstance(found, tuple) else tuple(int(i) for i in found)
    if isinstance(have, range) and len(have) == length and have.step == 1:
        return wanted
    if isinstance(wanted, range):
        left = shortest(i for i in have if i in wanted)
    else:
        inside = set(have)
        left = shortest(i for i in wanted if i in inside)
    if len(left) == 0 or (listed and not set(wanted) <= set(have)):
        raise KeyNotFoundError(f"`{asked}` is not among the selected cells of `{dim}`")
    return left
