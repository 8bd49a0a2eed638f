"""What cubes and arrays have in common: selections, statistics, and what makes a result of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack

import numpy as np

from . import _chunkwise
from ._labels import query_of, sought
from ._options import Asked, Limits, may, progress_of
from ._query import Cells, Query, by_index, count, intersect
from ._source import Source
from ._table import Table
from .errors import KeyNotFoundError, ValueRefusedError

if TYPE_CHECKING:
    import xarray as xr

    from ._groups import Coarsen, GroupBy, Resample
    from ._plan import Explanation, Plan

#: The statistics of the engine.
STATISTICS = (
    "mean", "sum", "min", "max", "count", "missing", "std", "var", "median", "first", "last", "argmin", "argmax",
)  # fmt: skip

Self = TypeVar("Self", bound="Lazy")
Dims = str | Iterable[Hashable] | None

#: What xarray has and the engine does not: what to do instead.
_ELSEWHERE = {
    "rolling", "cumsum", "cumprod", "diff", "shift", "interp", "interpolate_na", "ffill", "bfill", "quantile", "rank",
    "polyfit", "curvefit", "sortby", "transpose", "stack", "unstack", "expand_dims", "weighted", "dot", "pad", "roll",
    "differentiate", "integrate", "idxmin", "idxmax", "prod", "any", "all", "rename", "assign_coords", "swap_dims",
    "groupby_bins", "reindex", "combine_first", "chunk", "persist",
}  # fmt: skip


class Lazy:
    """A request on a cube. Nothing is read until a result is asked for."""

    _source: Source
    _query: Query
    _attrs_cache: dict[str, Any] | None

    def __init__(self, source: Source, query: Query) -> None:
        self._source = source
        self._query = query

    def _like(self: Self, query: Query) -> Self:
        return type(self)(self._source, query)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._source, self._query)

    def __getattr__(self, name: str) -> Any:
        if name in _ELSEWHERE:
            raise AttributeError(
                f"`{name}` is no operation of the engine: reduce the cube first, then go on in xarray: "
                f"`.compute().{name}(…)`"
            )
        raise AttributeError(f"`{type(self).__name__}` has no attribute `{name}`")

    # --- what there is ------------------------------------------------------------------------------------------------

    @property
    def location(self) -> str:
        """Where the cube lies."""
        return _chunkwise.mask(self._source.location)

    def _used(self) -> list[dict[str, Any]]:
        """The variables that are read, or may be."""
        about = self._source.about
        named = [about["by_name"][name] for name in self._query.variables if name in about["by_name"]]
        return named or [v for v in about["variables"] if v["role"] == "data"]

    def _length(self, dim: str) -> int:
        return self._source.about["dims"][dim]

    def _dims(self) -> list[str]:
        """Dimensions that are left, in the order of the cube."""
        query, about = self._query, self._source.about
        if query.formulas or not query.variables:
            dims = list(about["dims"])
        else:
            dims = list(dict.fromkeys(d for v in self._used() for d in v["dims"]))
        return [d for d in dims if not isinstance(query.cells.get(d), int)]

    def _check_dim(self, dim: Hashable) -> str:
        dims = self._dims()
        if dim not in dims:
            raise KeyNotFoundError(f"there is no dimension `{dim}`; there are {', '.join(dims)}")
        return str(dim)

    def _labels(self, dim: str) -> np.ndarray | Any:
        """Labels of the selected cells."""
        values = self._source.label_values(dim)
        cells = self._query.cells.get(dim)
        if cells is None:
            return values
        return values[cells if isinstance(cells, int) else np.asarray(cells)]

    def _result_labels(self) -> dict[str, np.ndarray]:
        """Labels of what is left of the dimensions of a statistic."""
        import json

        from ._results import to_dataset

        attrs, arrays = self._job().outline()
        about = [(json.loads(text), (text, cells)) for text, cells in arrays]
        own = {d for a, _ in about if a["is_result"] for d in a["dims"]}
        found = to_dataset(attrs, [given for a, given in about if not a["is_result"]])
        return {str(d): found[d].values for d in found.dims if d in own}

    def _pass(self, what: str) -> None:
        if self._query.is_reduced:
            raise ValueRefusedError(
                f"`{what}` after a statistic is another pass",
                f"compute the first and go on in xarray: `.compute().{what}(…)`; or write it and open it: `.to_zarr(…)`",
            )

    # --- selections ---------------------------------------------------------------------------------------------------

    def isel(self: Self, indexers: Mapping[str, Any] | None = None, **more: Any) -> Self:
        """Cells by index, as xarray: an index drops its dimension, slices and lists keep it, the last is left out."""
        self._pass("isel")
        found: dict[str, Cells] = {}
        for dim, indexer in {**(indexers or {}), **more}.items():
            dim = self._check_dim(dim)
            found[dim] = by_index(dim, self._query.cells.get(dim), self._length(dim), indexer)
        return self._like(self._query.with_cells(found))

    def sel(
        self: Self,
        indexers: Mapping[str, Any] | None = None,
        method: Literal["nearest"] | None = None,
        tolerance: Any = None,
        **more: Any,
    ) -> Self:
        """Cells by label: one, a list, or a slice that holds both ends, whichever way the axis runs.

        A date as text stands for all of its year, month or day; ``datetime64``, ``datetime`` and ``Timestamp`` are instants.
        ``method="nearest"`` takes the nearest cell, no further than half a cell outside of the axis.
        """
        self._pass("sel")
        if method not in (None, "nearest"):
            raise ValueRefusedError(f"`method={method!r}`: labels are found exactly, or with `method='nearest'`")
        cube = self._source.cube
        found: dict[str, Cells] = {}
        for dim, asked in {**(indexers or {}), **more}.items():
            dim = self._check_dim(dim)
            cells, length = self._query.cells.get(dim), self._length(dim)
            if method == "nearest" and not isinstance(asked, slice):
                one = np.ndim(asked) == 0
                wanted = [asked] if one else list(np.asarray(asked, dtype=object).ravel())
                at = [int(cube.nearest(dim, sought(label))) for label in wanted]
                self._check_tolerance(dim, wanted, at, tolerance)
                have = intersect(dim, cells, length, at[0] if one else np.asarray(at), str(asked))
                found[dim] = have
                continue
            step, query = query_of(dim, asked)
            resolved = cube.resolve([query])[dim]
            if query[1] == "list" and isinstance(resolved, tuple):
                # A list has the order in which it is asked for; what lies between two labels that of the selection.
                resolved = np.arange(*resolved)
            have = intersect(dim, cells, length, resolved, str(asked), query[1] == "list")
            if isinstance(have, int) and not (np.ndim(asked) == 0 and not isinstance(asked, slice)):
                have = range(have, have + 1)
            found[dim] = have if step is None else by_index(dim, have, length, slice(None, None, step))
        return self._like(self._query.with_cells(found))

    def _check_tolerance(self, dim: str, wanted: Sequence[Any], at: Sequence[int], tolerance: Any) -> None:
        if tolerance is None:
            return
        labels = self._source.label_values(dim)
        for label, index in zip(wanted, at, strict=True):
            asked = np.datetime64(label) if np.issubdtype(labels.dtype, np.datetime64) else label
            if abs(labels[index] - asked) > tolerance:
                raise KeyNotFoundError(f"no label of `{dim}` is within {tolerance} of {label}; {labels[index]} is nearest")

    def bbox(
        self: Self, west: float, south: float, east: float, north: float, crs: str | None = "EPSG:4326"
    ) -> Self:
        """The rectangle of cells around a box, in longitude and latitude, or in another CRS; ``crs=None``: the cube's.

        It takes the cells whose centre lies in it.
        """
        self._pass("bbox")
        text = None if crs is None or str(crs).lower() == "cube" else _crs_text(crs)
        found = self._source.cube.resolve_box([west, south, east, north], text, list(self._query.variables))
        cells = {
            dim: intersect(dim, self._query.cells.get(dim), self._length(dim), at, "the box") for dim, at in found.items()
        }
        return self._like(self._query.with_cells(cells))

    def head(self: Self, n: int = 5, **dims: int) -> Self:
        """The first cells of each dimension, or of those that are named."""
        return self.isel({d: slice(k) for d, k in (dims or dict.fromkeys(self._dims(), n)).items()})

    def squeeze(self: Self, dim: str | None = None) -> Self:
        """Without dimensions of one cell."""
        dims = [dim] if dim is not None else self._dims()
        one = [d for d in dims if count(self._query.cells.get(d), self._length(d)) == 1]
        return self.isel(dict.fromkeys(one, 0))

    # --- statistics ---------------------------------------------------------------------------------------------------

    def reduce(
        self: Self,
        statistics: str | Iterable[str],
        dim: Dims = ...,  # type: ignore[assignment]
        *,
        ddof: int = 0,
        min_count: int | None = None,
    ) -> Self:
        """One or several statistics over dimensions; ``dim=None`` or ``...``: over all.

        Several give ``NAME_STATISTIC`` each. Missing cells are left out; of nothing but missing cells a statistic is missing,
        also a sum (``min_count=0``: 0).
        """
        self._pass(statistics if isinstance(statistics, str) else "reduce")
        names = (statistics,) if isinstance(statistics, str) else tuple(statistics)
        for name in names:
            if name not in STATISTICS:
                raise KeyNotFoundError(f"there is no statistic `{name}`; there are {', '.join(STATISTICS)}")
        if not names:
            raise ValueRefusedError("no statistic is named")
        over: str | tuple[str, ...]
        if dim is None or dim is ...:  # type: ignore[comparison-overlap]
            over = "all"
        else:
            over = tuple(self._check_dim(d) for d in ([dim] if isinstance(dim, str) else list(dim)))
            if not over:
                raise ValueRefusedError("no dimension is named; `dim=None` means all")
        return self._like(replace(self._query, over=over, statistics=names, ddof=ddof, min_count=min_count))

    def _one(self: Self, statistic: str, dim: Dims, skipna: bool | None, keep_attrs: bool | None, **how: Any) -> Self:
        check_skipna(skipna)
        del keep_attrs  # Attributes follow CF: units stay or change with the statistic.
        return self.reduce(statistic, dim, **how)

    def mean(self: Self, dim: Dims = None, *, skipna: bool | None = None, keep_attrs: bool | None = None) -> Self:
        """Arithmetic mean of the valid cells; not weighted by area, as in xarray."""
        return self._one("mean", dim, skipna, keep_attrs)

    def sum(
        self: Self,
        dim: Dims = None,
        *,
        skipna: bool | None = None,
        min_count: int | None = None,
        keep_attrs: bool | None = None,
    ) -> Self:
        """Sum of the valid cells; of none it is missing, unless ``min_count=0``. Integers are summed exactly."""
        return self._one("sum", dim, skipna, keep_attrs, min_count=min_count)

    def min(self: Self, dim: Dims = None, *, skipna: bool | None = None, keep_attrs: bool | None = None) -> Self:
        """The least valid cell."""
        return self._one("min", dim, skipna, keep_attrs)

    def max(self: Self, dim: Dims = None, *, skipna: bool | None = None, keep_attrs: bool | None = None) -> Self:
        """The greatest valid cell."""
        return self._one("max", dim, skipna, keep_attrs)

    def count(self: Self, dim: Dims = None, *, keep_attrs: bool | None = None) -> Self:
        """How many cells are valid."""
        return self._one("count", dim, None, keep_attrs)

    def missing(self: Self, dim: Dims = None) -> Self:
        """How many cells are missing."""
        return self.reduce("missing", dim)

    def std(
        self: Self, dim: Dims = None, *, skipna: bool | None = None, ddof: int = 0, keep_attrs: bool | None = None
    ) -> Self:
        """Standard deviation; divides by n − ddof."""
        return self._one("std", dim, skipna, keep_attrs, ddof=ddof)

    def var(
        self: Self, dim: Dims = None, *, skipna: bool | None = None, ddof: int = 0, keep_attrs: bool | None = None
    ) -> Self:
        """Variance; divides by n − ddof."""
        return self._one("var", dim, skipna, keep_attrs, ddof=ddof)

    def median(self: Self, dim: Dims = None, *, skipna: bool | None = None, keep_attrs: bool | None = None) -> Self:
        """Median: the mean of the two middle values where their number is even."""
        return self._one("median", dim, skipna, keep_attrs)

    def first(self: Self, dim: Dims = None) -> Self:
        """The first valid cell."""
        return self.reduce("first", dim)

    def last(self: Self, dim: Dims = None) -> Self:
        """The last valid cell."""
        return self.reduce("last", dim)

    def argmin(self: Self, dim: str | None = None) -> Self:
        """Index of the least valid cell along one dimension, the first of ties; −1, marked missing, where there is none."""
        return self.reduce("argmin", dim)

    def argmax(self: Self, dim: str | None = None) -> Self:
        """Index of the greatest valid cell along one dimension, the first of ties."""
        return self.reduce("argmax", dim)

    def groupby(self: Self, group: str) -> GroupBy[Self]:
        """By a cycle of time: ``"time.month"``, ``season``, ``dayofyear``, ``day``, ``weekday``, ``hour``."""
        from ._groups import GroupBy

        self._pass("groupby")
        return GroupBy(self, group)

    def resample(self: Self, indexer: Mapping[str, str] | None = None, **more: str) -> Resample[Self]:
        """Windows of time: ``resample(time="1MS")``, ``"10D"``, ``"QS-DEC"``, ``"YS"``, ``"6h"``; labels are their starts."""
        from ._groups import Resample

        self._pass("resample")
        return Resample(self, {**(indexer or {}), **more})

    def coarsen(
        self: Self,
        dim: Mapping[str, int] | None = None,
        boundary: Literal["exact", "trim", "pad"] = "exact",
        **more: int,
    ) -> Coarsen[Self]:
        """Windows of so many cells: ``coarsen(y=10, x=10).mean()``."""
        from ._groups import Coarsen

        self._pass("coarsen")
        return Coarsen(self, {**(dim or {}), **more}, boundary)

    # --- results ------------------------------------------------------------------------------------------------------

    def _job(self) -> Any:
        return self._source.cube.job(self._query.json())

    def _arrays(
        self,
        memory: int | str | None,
        threads: int | None,
        progress: bool | Callable[[int, int], object] | None,
        dtype: Any = None,
        **limits: Unpack[Limits],
    ) -> tuple[str, list[tuple[str, np.ndarray]]]:
        from ._results import require_xarray

        require_xarray()
        told, close = progress_of(progress, str(self._name() or "chunkwise"))
        try:
            (attrs, arrays), counted = self._job().compute(
                may(memory, threads, **limits), None if dtype is None else np.dtype(dtype).name, told
            )
        finally:
            close()
        warn_of(counted)
        return attrs, arrays

    def _name(self) -> str | None:
        return None

    def explain(
        self,
        *,
        to: str | None = None,
        memory: int | str | None = None,
        threads: int | None = None,
        **limits: Unpack[Limits],
    ) -> Explanation:
        """What the job will cost: stages, chunks, requests, bytes, memory. Nothing is read.

        ``to``: where the result would be written; without, in memory.
        """
        from ._html import asked_html
        from ._options import memory_of
        from ._output import target
        from ._plan import Explanation

        where = None if to is None else target(to, self)
        dry = to == "none"
        told = self._job().explain(may(memory, threads, **limits), None if dry else where, dry)
        return Explanation(told, self.command(), asked=asked_html(self), budget=memory_of(memory))

    def plan(
        self,
        to: str | None = None,
        *,
        partitions: int = 16,
        memory: int | str | None = None,
        threads: int | None = None,
        **output: Any,
    ) -> Plan:
        """The job as a value whose partitions can run anywhere: see :class:`chunkwise.Plan`."""
        from ._plan import Plan

        return Plan.make(self, to, partitions=partitions, memory=memory, threads=threads, **output)

    def to_table(
        self,
        *,
        memory: int | str | None = None,
        threads: int | None = None,
        progress: bool | Callable[[int, int], object] | None = None,
        **limits: Unpack[Limits],
    ) -> Table:
        """A row for each cell and variable of the result, with its labels; at most 100,000."""
        told, close = progress_of(progress, str(self._name() or "chunkwise"))
        try:
            return Table(self._job().records(may(memory, threads, **limits), told))
        finally:
            close()

    def to_zarr(self, path: Any, **how: Any) -> Any:
        """Writes the result as a new Zarr cube and opens it; see :func:`chunkwise._output.to_zarr` for what may be said."""
        from ._output import to_zarr

        return to_zarr(self, path, **how)

    def to_netcdf(self, path: Any, **how: Any) -> None:
        """Writes the result as a NetCDF-4 file."""
        from ._output import to_file

        to_file(self, path, ".nc", **how)

    def to_geotiff(self, path: Any, **how: Any) -> None:
        """Writes the result as a cloud-optimised GeoTIFF."""
        from ._output import to_file

        to_file(self, path, ".tif", **how)

    def run(
        self,
        *,
        memory: int | str | None = None,
        threads: int | None = None,
        progress: bool | Callable[[int, int], object] | None = None,
        **limits: Unpack[Limits],
    ) -> dict[str, Any]:
        """Computes and keeps nothing: for measuring. Gives what was counted."""
        import json

        told, close = progress_of(progress, str(self._name() or "chunkwise"))
        try:
            return json.loads(self._job().write(may(memory, threads, **limits), None, told))
        finally:
            close()

    def zonal(self, zones: Any, statistics: str | Iterable[str] = ("mean", "count"), **how: Any) -> Table:
        """Statistics of zones; see :func:`chunkwise._tables.zonal` for what may be said."""
        from ._tables import zonal

        return zonal(self, zones, statistics, **how)

    def series(self, at: Any = None, **how: Any) -> Table:
        """Values at points, along the dimensions that are left; see :func:`chunkwise._tables.series`."""
        from ._tables import series

        return series(self, at, **how)

    def stats(
        self,
        by: str | None = None,
        *,
        memory: int | str | None = None,
        threads: int | None = None,
        progress: bool | Callable[[int, int], object] | None = None,
        **asked: Unpack[Asked],
    ) -> Table:
        """Count, missing, min, max, mean and std of each variable, or of each label of a dimension."""
        from ._tables import stats

        return stats(self, by, memory=memory, threads=threads, progress=progress, **asked)

    def plot(self, **how: Any) -> Any:
        """A map, or a chart where one dimension is left; see :func:`chunkwise._plot.plot`."""
        from ._plot import plot

        return plot(self, **how)

    def command(self) -> str:
        """The same request on the command line."""
        from ._words import command

        return command(self)


def check_skipna(skipna: bool | None) -> None:
    """Refuses statistics that would be missing where one cell is."""
    if skipna is False:
        raise ValueRefusedError(
            "`skipna=False`: statistics leave missing cells out",
            'count them: `.reduce(["mean", "missing"], dim)`, or mask the result where `missing` is not 0',
        )


def _crs_text(crs: Any) -> str:
    """A CRS as text: a code, WKT or PROJJSON; of objects that know their WKT (pyproj, rasterio), that."""
    if isinstance(crs, int):
        return f"EPSG:{crs}"
    for name in ("to_authority", "to_wkt"):
        if hasattr(crs, name):
            said = getattr(crs, name)()
            if said:
                return ":".join(said) if isinstance(said, tuple) else str(said)
    return str(crs)


def warn_of(counted: str) -> None:
    """Warns of cells outside of a valid range that was not applied."""
    import json
    import warnings

    for name, cells in json.loads(counted)["outside"].items():
        warnings.warn(
            f"{cells} cells of `{name}` lie outside its valid range; `open(…, valid=True)` leaves them out", stacklevel=4
        )
