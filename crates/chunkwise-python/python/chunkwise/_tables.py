"""Tables of zones and points; comparisons and checks."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, Unpack

import numpy as np

from ._html import verdict_html
from ._labels import label_text, sought
from ._lazy import _crs_text
from ._options import Asked, Limits, absent_on, path_text, storage_words
from ._table import Table
from ._words import explained, limit_words, option, resources, run, table
from .errors import KeyNotFoundError, ValueRefusedError


@contextmanager
def features(given: Any, crs: Any, what: str) -> Iterator[tuple[str, str | None, str | None]]:
    """Features as a file: its path, the CRS to be named, and the property that names them, where one must be said.

    `given` is a path, a GeoDataFrame or GeoSeries, or anything with ``__geo_interface__`` (also a list of such, or GeoJSON
    as a dictionary).
    """
    text = None if crs is None else ("cube" if str(crs).lower() == "cube" else _crs_text(crs))
    if isinstance(given, (str, os.PathLike)):
        yield path_text(given), text, None
        return
    if hasattr(given, "_query"):
        yield _of_cube(given), text, None
        return
    if text is None and getattr(given, "crs", None) is not None:
        text = _crs_text(given.crs)
    if text is None and hasattr(given, "crs"):
        raise ValueRefusedError(f"the {what} do not say their CRS", f'name it: `crs="EPSG:4326"`; `crs="cube"`: the cube\'s')
    collection, name = _collection(given)
    if not collection["features"]:
        raise ValueRefusedError(f"the {what} are none: there is no feature")
    if text is None and "crs" not in collection:
        # GeoJSON is in longitude and latitude (RFC 7946).
        text = "EPSG:4326"
    with tempfile.TemporaryDirectory(prefix="chunkwise-") as folder:
        path = os.path.join(folder, f"{what}.geojson")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(_finite(collection), file, default=_plain, allow_nan=False)
        yield path, text, name


def _finite(value: Any) -> Any:
    """The same with nothing for numbers that JSON has not."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, (list, tuple)) else value


def _of_cube(array: Any) -> str:
    """Zones cell by cell, as words name them: `CUBE:VARIABLE`."""
    variable = getattr(array, "_variable", None)
    if variable is None or array._query.cells or array._query.mask or array._query.is_reduced:
        raise ValueRefusedError(
            "zones of an array are a whole variable", 'a formula over the same cube is text: `zonal("floor(dem / 100)")`'
        )
    return f"{array._source.location}:{array.name}"


def _plain(value: Any) -> Any:
    """A property as JSON has it."""
    if hasattr(value, "item"):
        return value.item()
    return str(value)


def _collection(given: Any) -> tuple[dict[str, Any], str | None]:
    """Features as GeoJSON, and the property that names them, where one was made."""
    found = getattr(given, "__geo_interface__", given)
    if isinstance(found, (list, tuple)) or (not isinstance(found, Mapping) and hasattr(found, "__iter__")):
        return {"type": "FeatureCollection", "features": [_feature(one, i) for i, one in enumerate(found)]}, None
    if not isinstance(found, Mapping) or "type" not in found:
        raise ValueRefusedError(
            f"{type(given).__name__} holds no features",
            "give a path, a GeoDataFrame, GeoJSON, or objects with `__geo_interface__`",
        )
    if found["type"] != "FeatureCollection":
        return {"type": "FeatureCollection", "features": [_feature(found, 0)]}, None
    index = getattr(given, "index", None)
    if index is None or len(index) != len(found["features"]):
        return dict(found), None
    # The ids of GeoJSON are text; the index of a GeoDataFrame keeps its type as a property.
    name = "index"
    while any(name in (f.get("properties") or {}) for f in found["features"]):
        name += "_"
    features = [
        {**f, "properties": {**(f.get("properties") or {}), name: i if isinstance(i, (str, int, float)) else _plain(i)}}
        for f, i in zip(found["features"], index, strict=True)
    ]
    return {**found, "features": features}, name


def _feature(given: Any, number: int) -> dict[str, Any]:
    found = getattr(given, "__geo_interface__", given)
    if not isinstance(found, Mapping) or "type" not in found:
        raise ValueRefusedError(f"{type(given).__name__} is no feature: it has no `__geo_interface__`")
    if found["type"] == "Feature":
        return dict(found)
    return {"type": "Feature", "id": number, "properties": {}, "geometry": dict(found)}


def zonal_words(
    lazy: Any,
    path: str,
    statistics: str | Iterable[str],
    touch: str,
    zone_id: str | None,
    crs: str | None,
    ddof: int,
    min_count: int | None,
) -> list[str]:
    """The command."""
    names = statistics if isinstance(statistics, str) else ",".join(statistics)
    return [
        "zonal", *lazy._source.words(), *lazy._query.selection_words(), f"--zones={path}", f"--with={names}",
        f"--touch={touch}", *option("zone-id", zone_id), *option("zones-crs", crs), f"--ddof={ddof}",
        *option("min-count", min_count),
    ]  # fmt: skip


def zonal(
    lazy: Any,
    zones: Any,
    statistics: str | Iterable[str] = ("mean", "count"),
    *,
    touch: Literal["coverage", "centre", "all"] = "coverage",
    zone_id: str | None = None,
    crs: Any = None,
    ddof: int = 0,
    min_count: int | None = None,
    memory: int | str | None = None,
    threads: int | None = None,
    progress: Any = None,
    client: Any = None,
    **asked: Unpack[Asked],
) -> Table:
    """Statistics of zones, as a table with a row for each zone and label of the dimensions that are left.

    ``zones``: a path of polygons (GeoJSON, GeoPackage, FlatGeobuf, GeoParquet, shapefile) or of a GeoTIFF; a GeoDataFrame,
    GeoJSON, shapely geometries, anything with ``__geo_interface__``; a variable of a cube (``cube["landcover"]``), its name, ``CUBE:VARIABLE``, or a formula
    whose values are zones. ``touch="coverage"`` weights each cell by the fraction of it that lies in the polygon, as
    exactextract does; `centre` and `all` take whole cells. ``zone_id`` is the property that names them; ``crs`` their CRS, whatever
    they say. With ``path`` the table is written as it comes, with ``explain=True`` nothing is read.
    """
    lazy._pass("zonal")
    with features(zones, crs, "zones") as (path, text, name):
        zone_id = zone_id or name
        names = statistics if isinstance(statistics, str) else ",".join(statistics)
        if client is not None:
            if asked:
                raise ValueRefusedError(f"`{next(iter(asked))}` and `client` do not go together")
            from .dask import zonal as on_cluster

            is_temporary = not isinstance(zones, (str, os.PathLike))
            how = {"statistics": names, "touch": touch, "zone_id": zone_id, "crs": text, "ddof": ddof, "min_count": min_count}
            return on_cluster(lazy, client, path, is_temporary, how, memory=memory, threads=threads, progress=progress)
        words = zonal_words(lazy, path, names, touch, zone_id, text, ddof, min_count)
        return table([*words, *resources(memory, threads)], progress, **asked)


def stats(lazy: Any, by: str | None, *, memory: Any, threads: Any, progress: Any, **asked: Unpack[Asked]) -> Table:
    """Count, missing, min, max, mean and std."""
    lazy._pass("stats")
    if by is not None:
        lazy._check_dim(by)
    words = ["stats", *lazy._source.words(), *lazy._query.selection_words(), *option("by", by)]
    return table([*words, *resources(memory, threads)], progress, **asked)


def _point_words(lazy: Any, at: Any, name: str) -> list[str]:
    """Points as words; several where coordinates are lists."""
    if at is None:
        return []
    all_ = [at] if isinstance(at, Mapping) else list(at)
    words = []
    for one in all_:
        if not isinstance(one, Mapping):
            raise ValueRefusedError(f"`{name}`: a point names its dimensions, as in `{{\"y\": 500, \"x\": 500}}`")
        for dim in one:
            lazy._check_dim(dim)
        lengths = {np.size(v) for v in one.values() if np.ndim(v)}
        if len(lengths) > 1:
            raise ValueRefusedError(f"`{name}`: the coordinates have {' and '.join(map(str, lengths))} values")
        for i in range(lengths.pop() if lengths else 1):
            pairs = [f"{d}={sought(np.ravel(v)[i] if np.ndim(v) else v)}" for d, v in one.items()]
            words.append(f"--{name}={','.join(pairs)}")
    return words


def series(
    lazy: Any,
    at: Mapping[str, Any] | Iterable[Mapping[str, Any]] | None = None,
    *,
    iat: Mapping[str, int] | Iterable[Mapping[str, int]] | None = None,
    points: Any = None,
    crs: Any = None,
    point_id: str | None = None,
    memory: int | str | None = None,
    threads: int | None = None,
    progress: Any = None,
    path: Any = None,
    overwrite: bool = False,
    explain: bool = False,
    allow_redecode: bool = False,
    max_requests: int | None = None,
    max_bytes: int | str | None = None,
    egress_price: float | None = None,
    request_price: float | None = None,
    **coordinates: Any,
) -> Table:
    """Values at points, along the dimensions that are left: ``series(y=4985000, x=515000)``, or of many points.

    ``at`` is in coordinates (nearest cell; lists are points), ``iat`` in indices. ``points`` is a path of features or of a table, a
    GeoDataFrame, anything with ``__geo_interface__``, or a DataFrame or mapping with a column for each dimension (and `point` or `name`).
    Each chunk is decoded once, however many points lie in it. Rows hold what was found and, as `asked_…`, what was asked for.
    With ``path`` the table is written as it comes, with ``explain=True`` nothing is read.
    """
    lazy._pass("series")
    asked: Asked = {
        "path": path, "overwrite": overwrite, "explain": explain, "allow_redecode": allow_redecode,
        "max_requests": max_requests, "max_bytes": max_bytes, "egress_price": egress_price, "request_price": request_price,
    }  # fmt: skip
    if coordinates:
        at = {**(at if isinstance(at, Mapping) else {}), **coordinates}
    words = ["series", *lazy._source.words(), *lazy._query.selection_words()]
    words += [*_point_words(lazy, at, "at"), *_point_words(lazy, iat, "iat")]
    if points is None:
        if at is None and iat is None:
            raise ValueRefusedError("no point is given", "as in `series(y=4985000, x=515000)` or `series(points=…)`")
        return table([*words, *resources(memory, threads)], progress, **asked)
    is_table = not isinstance(points, (str, os.PathLike)) and not hasattr(points, "__geo_interface__")
    if is_table and (hasattr(points, "columns") or (isinstance(points, Mapping) and "type" not in points)):
        with _points_table(points) as path:
            crs_words = option("points-crs", None if crs is None else _crs_text(crs))
            named = [f"--points={path}", *crs_words, *option("point-id", point_id)]
            return table([*words, *named, *resources(memory, threads)], progress, **asked)
    with features(points, crs, "points") as (path, text, _):
        if isinstance(points, (str, os.PathLike)) and crs is None:
            text = None
        named = [f"--points={path}", *option("points-crs", text), *option("point-id", point_id)]
        return table([*words, *named, *resources(memory, threads)], progress, **asked)


@contextmanager
def _points_table(points: Any) -> Iterator[str]:
    """Columns as a CSV file."""
    import csv

    columns = {str(name): np.asarray(points[name]) for name in (points.columns if hasattr(points, "columns") else points)}
    if not columns:
        raise KeyNotFoundError("the table of points has no columns")
    with tempfile.TemporaryDirectory(prefix="chunkwise-") as folder:
        path = os.path.join(folder, "points.csv")
        with open(path, "w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(columns)
            rows.writerows([label_text(v) for v in row] for row in zip(*columns.values(), strict=True))
        yield path


class Comparison:
    """What comparing two cubes found: true where they are equal."""

    def __init__(self, equal: bool, found: dict[str, Any]) -> None:
        self.equal = equal
        #: Variables, their differing cells, and the first that differs.
        self.found = found

    def __bool__(self) -> bool:
        return self.equal

    def __repr__(self) -> str:
        return f"<chunkwise.Comparison: {'equal' if self.equal else 'they differ'}>\n{json.dumps(self.found, indent=1)}"

    def _repr_html_(self) -> str:
        return verdict_html("equal" if self.equal else "they differ", self.equal, self.found)


def compare(
    lazy: Any,
    other: Any,
    *,
    memory: int | str | None = None,
    threads: int | None = None,
    progress: Any = None,
    explain: bool = False,
    **limits: Unpack[Limits],
) -> Any:
    """Whether two cubes are equal, cell by cell, or where they differ. With ``explain=True`` nothing is read."""
    for one in (lazy, other):
        query = getattr(one, "_query", None)
        if query is not None and (query.formulas or query.mask or query.cells or query.is_reduced):
            raise ValueRefusedError("cubes are compared whole, not a part or a formula of them", "write it first: `.to_zarr(…)`")
    mine, words = lazy._source.words(), ["compare"]
    if hasattr(other, "data_vars") and not hasattr(other, "_source"):
        from .xarray import from_xarray

        other = from_xarray(other)
    theirs = other._source.words() if hasattr(other, "_source") else [path_text(other)]
    words += [mine[0], theirs[0], *mine[1:], *_others(mine[1:], theirs[1:])]
    for name in lazy._query.variables:
        words += ["--var", name]
    words += [*resources(memory, threads), *limit_words(**limits)]
    if explain:
        return explained(words)
    code, text, _, rows = run([*words, "--json"], progress=progress)
    return Comparison(code == 0, json.loads(text) if text.strip() else {"variables": rows.to_pylist() if rows else []})


def _others(mine: list[str], theirs: list[str]) -> list[str]:
    """Options of the second cube that the first has not: `--name value`, `--name=value` or `--name`."""

    def options(words: list[str]) -> list[tuple[str, ...]]:
        found: list[tuple[str, ...]] = []
        for word in words:
            if word.startswith("--") or not found:
                found.append((word,))
            else:
                found[-1] += (word,)
        return found

    known = options(mine)
    return [word for one in options(theirs) if one not in known for word in one]


class Verified:
    """What checking a cube found: true where it is whole."""

    def __init__(self, whole: bool, found: dict[str, Any]) -> None:
        self.whole = whole
        #: What was read, and each problem with its array and key.
        self.found = found

    @property
    def problems(self) -> list[dict[str, Any]]:
        """What is wrong."""
        return list(self.found["problems"])

    def __bool__(self) -> bool:
        return self.whole

    def __repr__(self) -> str:
        return f"<chunkwise.Verified: {'whole' if self.whole else 'it has problems'}>\n{json.dumps(self.found, indent=1)}"

    def _repr_html_(self) -> str:
        return verdict_html("whole" if self.whole else "it has problems", self.whole, self.found)


def verify(
    lazy: Any,
    *,
    memory: int | str | None = None,
    threads: int | None = None,
    progress: Any = None,
    explain: bool = False,
) -> Any:
    """Whether a cube is whole: each chunk decodes, labels and metadata agree. With ``explain=True`` nothing is read."""
    words = ["verify", *lazy._source.words()[:1], *storage_option_words(lazy._source.storage), *resources(memory, threads)]
    for status in absent_on(lazy._source.storage):
        words += ["--absent-on", str(status)]
    for name in lazy._query.variables:
        words += ["--var", name]
    if explain:
        return explained(words)
    code, text, _, _ = run([*words, "--json"], progress=progress)
    return Verified(code == 0, {"problems": json.loads(text)})


def storage_option_words(options: Mapping[str, Any] | None) -> list[str]:
    """Options of stores as words."""
    return [word for option_ in storage_words(options) for word in ("--storage", option_)]
