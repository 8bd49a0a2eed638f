"""Groups: cycles of time, windows of time, windows of cells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Generic, TypeVar

from ._lazy import check_skipna
from ._query import count
from .errors import ValueRefusedError

L = TypeVar("L")

#: Parts of a time as xarray calls them, and the cycles of the engine.
CYCLES = {
    "month": "month",
    "season": "season",
    "dayofyear": "dayofyear",
    "day": "monthday",
    "monthday": "monthday",
    "weekday": "weekday",
    "dayofweek": "weekday",
    "hour": "hour",
}

_UNITS = {
    "s": "s", "sec": "s", "second": "s", "seconds": "s",
    "min": "min", "t": "min", "minute": "min", "minutes": "min",
    "h": "h", "hour": "h", "hours": "h",
    "d": "d", "day": "d", "days": "d",
    "week": "week", "weeks": "week",
    "ms": "month", "month": "month", "months": "month",
    "qs-dec": "season", "season": "season", "seasons": "season",
    "ys": "year", "as": "year", "ys-jan": "year", "as-jan": "year", "year": "year", "years": "year",
}  # fmt: skip
_ENDS = {"m", "me", "q", "qe", "y", "ye", "a", "w", "w-sun", "w-mon"}


def window_of(freq: str) -> str:
    """A window of the engine for a frequency of pandas, or one of the engine's own words."""
    found = re.fullmatch(r"\s*([0-9]*)\s*([A-Za-z]+(?:-[A-Za-z]+)?)\s*", str(freq))
    unit = found[2].lower() if found else ""
    number = found[1] if found else ""
    if unit == "ms" and found and found[2] != "MS":
        # Milliseconds of pandas, and no months.
        unit = ""
    if unit in _ENDS:
        raise ValueRefusedError(
            f"`{freq}` labels windows by their ends, or is of weeks that end on its day; here labels are starts",
            'write `"MS"`, `"3MS"`, `"QS-DEC"`, `"YS"` or `"week"` (from Mondays)',
        )
    if unit not in _UNITS:
        raise ValueRefusedError(
            f"`{freq}` is no window", 'write `"1MS"`, `"10D"`, `"QS-DEC"`, `"YS"`, `"week"`, `"6h"`, `"30min"` or `"15s"`'
        )
    return f"{number}{_UNITS[unit]}" if number not in ("", "1") else f"1{_UNITS[unit]}"


class _Groups(Generic[L]):
    """Statistics of groups."""

    _lazy: Any

    def _query(self, statistics: tuple[str, ...], dim: Any, ddof: int, min_count: int | None) -> Any:
        raise NotImplementedError

    def reduce(
        self, statistics: str | Iterable[str], dim: Any = None, *, ddof: int = 0, min_count: int | None = None
    ) -> L:
        """One or several statistics of each group; ``dim``: other dimensions that go with it."""
        names = (statistics,) if isinstance(statistics, str) else tuple(statistics)
        # The names are checked as those of statistics without groups.
        self._lazy.reduce(names)
        return self._lazy._like(self._query(names, dim, ddof, min_count))

    def _over(self, dim: Any, own: str) -> tuple[str, ...] | None:
        """Other dimensions that go."""
        if dim is None:
            return None
        if dim is ...:
            return tuple(d for d in self._lazy._dims() if d != own) or None
        named = [dim] if isinstance(dim, str) else list(dim)
        if own and own not in named:
            raise ValueRefusedError(
                f"a statistic of groups along `{own}` reduces `{own}` too, and `dim` names {named} alone",
                f"`dim={[own, *named]}`; or reduce first and go on in xarray",
            )
        return tuple(self._lazy._check_dim(d) for d in named if d != own) or None

    def _one(self, statistic: str, dim: Any, skipna: bool | None, keep_attrs: bool | None, **how: Any) -> L:
        check_skipna(skipna)
        del keep_attrs  # Attributes follow CF, as those of statistics without groups.
        return self.reduce(statistic, dim, **how)

    def mean(self, dim: Any = None, *, skipna: bool | None = None, keep_attrs: bool | None = None) -> L:
        """Mean of each group."""
        return self._one("mean", dim, skipna, keep_attrs)

    def sum(
        self,
        dim: Any = None,
        *,
        skipna: bool | None = None,
        min_count: int | None = None,
        keep_attrs: bool | None = None,
    ) -> L:
        """Sum of each group."""
        return self._one("sum", dim, skipna, keep_attrs, min_count=min_count)

    def min(self, dim: Any = None, *, skipna: bool | None = None, keep_attrs: bool | None = None) -> L:
        """Least valid cell of each group."""
        return self._one("min", dim, skipna, keep_attrs)

    def max(self, dim: Any = None, *, skipna: bool | None = None, keep_attrs: bool | None = None) -> L:
        """Greatest valid cell of each group."""
        return self._one("max", dim, skipna, keep_attrs)

    def count(self, dim: Any = None, *, keep_attrs: bool | None = None) -> L:
        """Number of valid cells of each group."""
        return self._one("count", dim, None, keep_attrs)

    def missing(self, dim: Any = None) -> L:
        """Number of missing cells of each group."""
        return self.reduce("missing", dim)

    def std(
        self, dim: Any = None, *, skipna: bool | None = None, ddof: int = 0, keep_attrs: bool | None = None
    ) -> L:
        """Standard deviation of each group."""
        return self._one("std", dim, skipna, keep_attrs, ddof=ddof)

    def var(
        self, dim: Any = None, *, skipna: bool | None = None, ddof: int = 0, keep_attrs: bool | None = None
    ) -> L:
        """Variance of each group."""
        return self._one("var", dim, skipna, keep_attrs, ddof=ddof)

    def median(self, dim: Any = None, *, skipna: bool | None = None, keep_attrs: bool | None = None) -> L:
        """Median of each group."""
        return self._one("median", dim, skipna, keep_attrs)

    def first(self, dim: Any = None, *, skipna: bool | None = None, keep_attrs: bool | None = None) -> L:
        """First valid cell of each group."""
        return self._one("first", dim, skipna, keep_attrs)

    def last(self, dim: Any = None, *, skipna: bool | None = None, keep_attrs: bool | None = None) -> L:
        """Last valid cell of each group."""
        return self._one("last", dim, skipna, keep_attrs)


class GroupBy(_Groups[L]):
    """Cells by a cycle of time: a group for each month, of all years together."""

    def __init__(self, lazy: Any, group: str) -> None:
        dim, dot, part = str(group).partition(".")
        if not dot:
            dim, part = "", dim
        if part == "year":
            raise ValueRefusedError("years are no cycle", '`resample(time="YS")` has a window for each')
        if part not in CYCLES:
            raise ValueRefusedError(
                f"`{group}` is no cycle; there are {', '.join(CYCLES)}", 'write `groupby("time.month")`'
            )
        self._dim = lazy._check_dim(dim) if dim else _time_dim(lazy)
        self._lazy, self._cycle = lazy, CYCLES[part]
        self._is_time(lazy)

    def _is_time(self, lazy: Any) -> None:
        if self._dim != _time_dim(lazy):
            raise ValueRefusedError(f"`{self._dim}` is not the time dimension, which is `{_time_dim(lazy)}`")

    def _query(self, statistics: tuple[str, ...], dim: Any, ddof: int, min_count: int | None) -> Any:
        return replace(
            self._lazy._query,
            over=self._over(dim, self._dim),
            statistics=statistics,
            cycle=self._cycle,
            ddof=ddof,
            min_count=min_count,
        )

    def anomaly(self, statistic: str = "mean") -> L:
        """Each cell less the statistic of its group."""
        return self._lazy._like(replace(self._query((statistic,), None, 0, None), anomaly=True))

    def __sub__(self, other: Any) -> L:
        """``x.groupby("time.month") - x.groupby("time.month").mean()``: each cell less the statistic of its group."""
        wanted = self._query(getattr(getattr(other, "_query", None), "statistics", ()), None, 0, None)
        if getattr(other, "_query", None) == wanted and other._source == self._lazy._source and wanted.statistics:
            return self._lazy._like(replace(wanted, anomaly=True))
        raise ValueRefusedError(
            "a group less something is a statistic of the same groups: `g = x.groupby(…); g - g.mean()`",
            "`g.anomaly()` is the same",
        )


class Resample(_Groups[L]):
    """Cells by windows of time, one after another."""

    def __init__(self, lazy: Any, indexer: Mapping[str, str]) -> None:
        if len(indexer) != 1:
            raise ValueRefusedError("windows are of one dimension: `resample(time=\"1MS\")`")
        [(dim, freq)] = indexer.items()
        if lazy._check_dim(dim) != _time_dim(lazy):
            raise ValueRefusedError(f"`{dim}` is not the time dimension; windows of cells are `coarsen({dim}=…)`")
        self._lazy, self._dim, self._window = lazy, dim, window_of(freq)

    def _query(self, statistics: tuple[str, ...], dim: Any, ddof: int, min_count: int | None) -> Any:
        return replace(
            self._lazy._query,
            over=self._over(dim, self._dim),
            statistics=statistics,
            windows=(self._window,),
            ddof=ddof,
            min_count=min_count,
        )


class Coarsen(_Groups[L]):
    """Cells by windows of so many."""

    def __init__(self, lazy: Any, sizes: Mapping[str, int], boundary: str) -> None:
        if not sizes:
            raise ValueRefusedError("no window is given: `coarsen(y=10, x=10)`")
        if boundary not in ("exact", "trim", "pad"):
            raise ValueRefusedError(f"`boundary={boundary!r}` is none of `exact`, `trim`, `pad`")
        cut = {}
        for dim, size in sizes.items():
            lazy._check_dim(dim)
            if int(size) != size or size < 1:
                raise ValueRefusedError(f"`coarsen({dim}={size})`: a window has a whole number of cells, at least 1")
            length = count(lazy._query.cells.get(dim), lazy._length(dim))
            if length % size and boundary == "exact":
                raise ValueRefusedError(
                    f"`{dim}` has {length} cells, no multiple of {size}", '`boundary="trim"` or `boundary="pad"`'
                )
            if boundary == "trim" and length % size:
                cut[dim] = slice(0, length // size * size)
        self._lazy = lazy.isel(cut) if cut else lazy
        self._sizes = {dim: int(size) for dim, size in sizes.items()}

    def _query(self, statistics: tuple[str, ...], dim: Any, ddof: int, min_count: int | None) -> Any:
        windows = ",".join(f"{dim}={size}" for dim, size in self._sizes.items())
        others = None if dim is None else self._over([d for d in ([dim] if isinstance(dim, str) else dim)], "")
        return replace(
            self._lazy._query,
            over=tuple(d for d in others or () if d not in self._sizes) or None,
            statistics=statistics,
            windows=(windows,),
            ddof=ddof,
            min_count=min_count,
        )


def _time_dim(lazy: Any) -> str:
    about = lazy._source.about
    times = [d for d in about["dims"] if about["by_name"].get(d, {}).get("is_time") and d in lazy._dims()]
    if len(times) != 1:
        raise ValueRefusedError(
            "there is no time dimension" if not times else f"there are several time dimensions: {', '.join(times)}"
        )
    return times[0]
