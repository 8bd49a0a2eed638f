"""Cubes that are made, filled from files, and changed in place."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from ._labels import label_text
from ._lazy import _crs_text
from ._options import Limits, path_text
from ._source import Source, located
from ._tables import features, storage_option_words
from ._words import explained, limit_words, option, resources, run
from .errors import ValueRefusedError

if TYPE_CHECKING:
    from ._cube import Cube


def open(
    path: Any,
    *,
    storage_options: Mapping[str, Any] | None = None,
    group: str | None = None,
    ref: str | None = None,
    nodata: int | float | str | None = None,
    raw: bool = False,
    valid: bool = False,
) -> Cube:
    """Opens a cube: a Zarr group or array (v2, v3), a NetCDF or HDF5 file, or kerchunk references.

    ``path`` is a folder, a `.zip`, `s3://`, `gs://`, `az://`, `abfss://`, `http(s)://` or `memory:NAME`, with ``group`` (or `:GROUP`
    behind it). ``storage_options``: `region`, `endpoint`, `anonymous`, `profile` … of the store; also as fsspec calls them. They are
    never pickled, written or shown. ``nodata`` is the stored value that marks missing cells, instead of those that the cube names
    (``"none"``: there is none); ``raw=True`` reads stored values; ``valid=True`` leaves out cells outside of `valid_range`.

    Only metadata are read, and labels when they are needed.
    """
    from ._cube import cube_of

    found = cube_of(Source(located(path, group, ref), storage_options, nodata=nodata, raw=raw, valid=valid))
    found._source.cube  # noqa: B018 - what cannot be opened is told now
    return found


def _coordinate(values: Any) -> str:
    """Labels as the words of a coordinate."""
    if isinstance(values, str):
        return values
    labels = [label_text(v) for v in (values.tolist() if hasattr(values, "tolist") and np.asarray(values).dtype.kind != "M" else values)]
    for label in labels:
        if "," in label or "=" in label:
            raise ValueRefusedError(f"the label {label!r} holds a comma or `=`, which this way cannot write")
    return ",".join(labels)


def _sizes(given: Mapping[str, int] | None) -> str | None:
    return ",".join(f"{dim}={int(size)}" for dim, size in given.items()) if given else None


def _scalar(value: Any) -> str | None:
    return None if value is None else ("nan" if value != value else label_text(value))


def create(
    path: Any,
    dims: Mapping[str, Any] | None = None,
    *,
    dtype: Any = None,
    var: str | None = None,
    chunks: Mapping[str, int] | None = None,
    shards: Mapping[str, int] | None = None,
    codec: str | None = None,
    zarr_format: int | None = None,
    fill: Any = None,
    missing: Any = None,
    crs: Any = None,
    coords: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
    var_attrs: Mapping[str, Any] | None = None,
    like: Any = None,
    storage_options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Cube:
    """Makes an empty cube, or adds a variable to one, and opens it.

    ``dims`` names each dimension with its length or labels: ``{"time": 12, "band": ["red", "nir"], "y": 1000, "x": 1000}``.
    ``coords`` gives labels of long ones: ``{"x": (500000, 30)}`` (start, step), ``{"time": ("2024-01-15", "1month")}``, or a list.
    ``missing`` is the stored value of missing cells, ``fill`` what cells hold that were never written. ``like`` is a cube whose
    variable is to be matched. Nothing is stored of cells until they are written.
    """
    from ._cube import cube_of

    words = ["create", f"--output={path_text(path)}", *storage_option_words(storage_options)]
    for dim, size in (dims or {}).items():
        if "=" in str(dim) or "," in str(dim):
            raise ValueRefusedError(f"`{dim}` is no name of a dimension: it holds `=` or a comma")
        if isinstance(size, (int, np.integer)) and not isinstance(size, bool):
            if size < 0:
                raise ValueRefusedError(f"`{dim}` cannot have {size} cells")
            words += ["--dim", f"{dim}={int(size)}"]
        elif isinstance(size, str) or np.ndim(size) == 0:
            raise ValueRefusedError(f"`dims={{\"{dim}\": {size!r}}}`: a dimension has a length, or a list of labels")
        elif len(size) == 1:
            # One word would be a length.
            words += ["--dim", f"{dim}=1", "--coord", f"{dim}={_coordinate(size)}"]
        else:
            words += ["--dim", f"{dim}={_coordinate(size)}"]
    for dim, values in (coords or {}).items():
        two = isinstance(values, tuple) and len(values) == 2
        text = f"{label_text(values[0])}:{label_text(values[1])}" if two else _coordinate(values)
        words += ["--coord", f"{dim}={text}"]
    source = like._source.location if hasattr(like, "_source") else like
    words += [
        *option("var", var), *option("dtype", None if dtype is None else np.dtype(dtype).name), *option("chunk", _sizes(chunks)),
        *option("shard", _sizes(shards)), *option("codec", codec), *option("zarr", zarr_format), *option("fill", _scalar(fill)),
        *option("missing", _scalar(missing)), *option("crs", None if crs is None else _crs_text(crs)),
        *option("like", None if source is None else path_text(source)), *option("overwrite", overwrite),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="chunkwise-") as folder:
        if attrs or var_attrs:
            document = dict(attrs or {})
            if var_attrs:
                document["variables"] = {var or "data": dict(var_attrs)}
            file = os.path.join(folder, "attrs.json")
            with _open_text(file) as opened:
                json.dump(document, opened, default=_jsonable)
            words += ["--attrs", file]
        run(words)
    return cube_of(Source(path_text(path), storage_options))


def _open_text(path: str) -> Any:
    import io

    return io.open(path, "w", encoding="utf-8")


def _jsonable(value: Any) -> Any:
    """A value of an attribute as JSON has it."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def import_files(
    files: Any | Iterable[Any],
    path: Any,
    *,
    storage_options: Mapping[str, Any] | None = None,
    memory: int | str | None = None,
    threads: int | None = None,
    progress: Any = None,
    chunks: Mapping[str, int] | None = None,
    shards: Mapping[str, int] | None = None,
    zarr_format: int | None = None,
    explain: bool = False,
    **how: Any,
) -> Any:
    """Makes a cube of files: GeoTIFFs as stacks and mosaics on one grid, NetCDF, references, Zarr; and opens it.

    What else may be said is what ``chunkwise import --help`` lists, with underscores: ``time_from="%Y%m%d"``,
    ``mosaic="first"``, ``crs="EPSG:32633"``, ``res=30``, ``resampling="bilinear"``, ``concat="time"``, ``codec="zstd:5"``,
    ``overwrite=True``, ``resume=True``, ``verify=True`` … With ``explain=True`` nothing is read but metadata.
    """
    from ._cube import cube_of

    paths = [files] if isinstance(files, (str, os.PathLike)) else list(files)
    words = ["import", *map(path_text, paths), f"--output={path_text(path)}", *storage_option_words(storage_options)]
    words += [*option("chunk", _sizes(chunks)), *option("shard", _sizes(shards)), *option("zarr", zarr_format)]
    words += [*resources(memory, threads), *_how(how)]
    if explain:
        return explained(words)
    run(words, progress=progress)
    return cube_of(Source(path_text(path), storage_options))


def _how(how: Mapping[str, Any]) -> list[str]:
    """What else is said, as words: those of the command line with underscores."""
    words = []
    for name, value in how.items():
        if name == "crs":
            value = _crs_text(value)
        elif name == "like":
            value = value._source.location if hasattr(value, "_source") else path_text(value)
        elif name == "dtype":
            value = np.dtype(value).name
        elif name in ("res", "bounds") and not isinstance(value, str) and np.ndim(value):
            value = ",".join(label_text(v) for v in value)
        words += option(name.replace("_", "-"), value)
    return words


def append(
    lazy: Any,
    others: Sequence[Any],
    *,
    dim: str | None = None,
    memory: int | str | None = None,
    threads: int | None = None,
    progress: Any = None,
    explain: bool = False,
    **how: Any,
) -> Any:
    """Adds cubes, NetCDF files or references to the end of a cube, along ``dim``: where it is not said, along time.

    ``decode=True``, ``verify=True``, ``allow_redecode=True`` are those of ``chunkwise append``. With ``explain=True`` nothing is
    written.
    """
    from ._cube import cube_of

    if not others:
        raise ValueRefusedError("nothing is given to append")
    for other in others:
        if hasattr(other, "data_vars") and not hasattr(other, "_source"):
            raise ValueRefusedError("what xarray holds is not appended", "write it first: `ds.to_zarr(…)`, and append that")
    source = lazy._source
    paths = [_whole(o) if hasattr(o, "_source") else path_text(o) for o in others]
    words = ["append", source.location, *paths, *storage_option_words(source.storage), *option("along", dim)]
    words += [*resources(memory, threads), *_how(how)]
    if explain:
        return explained(words)
    run(words, progress=progress)
    return cube_of(Source(source.location, source.storage, nodata=source.nodata, raw=source.raw, valid=source.valid))


def _whole(lazy: Any) -> str:
    """The location of a cube of which all is meant."""
    query, data = lazy._query, [v["name"] for v in lazy._source.about["variables"] if v["role"] == "data"]
    if query.formulas or query.mask or query.cells or query.is_reduced or set(query.variables or data) != set(data):
        raise ValueRefusedError("cubes are appended whole, not a part or a formula of them", "write it first: `.to_zarr(…)`")
    return str(lazy._source.location)


def update_attrs(lazy: Any, variable: str | None, changes: Mapping[str, Any], delete: Iterable[str]) -> Cube:
    """Changes attributes in place."""
    from ._cube import cube_of

    source = lazy._source
    where = source.location if variable is None else f"{source.location}:{variable}"
    delete = [delete] if isinstance(delete, str) else list(delete)
    for key in (*changes, *delete):
        if "=" in key or key.startswith("-"):
            raise ValueRefusedError(f"`{key}` is no name of an attribute that this way can change: it holds `=` or begins with `-`")
    words = ["attrs", where, *storage_option_words(source.storage)]
    words += [f"{key}={json.dumps(value, default=_jsonable)}" for key, value in changes.items()]
    for key in delete:
        words += ["--delete", key]
    if changes or delete:
        run(words)
    return cube_of(Source(source.location, source.storage, nodata=source.nodata, raw=source.raw, valid=source.valid))


def rasterize(
    lazy: Any,
    zones: Any,
    path: Any,
    *,
    crs: Any = None,
    zone_id: str | None = None,
    memory: int | str | None = None,
    threads: int | None = None,
    progress: Any = None,
    storage_options: Mapping[str, Any] | None = None,
    chunks: Mapping[str, int] | None = None,
    shards: Mapping[str, int] | None = None,
    zarr_format: int | None = None,
    explain: bool = False,
    **how: Any,
) -> Any:
    """Polygons as a cube of zones, on the grid of a cube.

    ``touch``, ``name``, ``dtype``, ``codec``, ``overwrite`` are those of ``chunkwise rasterize``.
    """
    from ._cube import cube_of

    source = lazy._source
    with features(zones, crs, "zones") as (file, text, _):
        words = ["rasterize", file, f"--like={source.location}", f"--output={path_text(path)}"]
        words += [*storage_option_words({**source.storage, **(storage_options or {})}), *option("zone-id", zone_id)]
        words += [*option("chunk", _sizes(chunks)), *option("shard", _sizes(shards)), *option("zarr", zarr_format)]
        for name in lazy._query.variables:
            words += ["--var", name]
        words += [*option("zones-crs", text), *resources(memory, threads), *_how(how)]
        if explain:
            return explained(words)
        run(words, progress=progress)
    return cube_of(Source(path_text(path), storage_options))


def ls(path: Any, *, storage_options: Mapping[str, Any] | None = None) -> Any:
    """The tree of groups and arrays."""
    from ._words import ask

    return ask(["ls", path_text(path), *storage_option_words(storage_options)])


def demo(
    folder: Any = "chunkwise-demo",
    *,
    memory: int | str | None = None,
    threads: int | None = None,
    progress: Any = None,
    **limits: Unpack[Limits],
) -> Cube:
    """Makes the example cube, asks everything of it and leaves a report to open; gives the cube."""
    from ._cube import cube_of

    run(["demo", f"--output={path_text(folder)}", *resources(memory, threads), *limit_words(**limits)], progress=progress)
    return cube_of(Source(os.path.join(path_text(folder), "cube.zarr")))

