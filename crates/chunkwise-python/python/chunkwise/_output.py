"""Results that are written: cubes, GeoTIFF, NetCDF."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np

from . import _chunkwise
from ._options import Limits, may, path_text, progress_of, storage_words
from .errors import ValueRefusedError


def history_of(lazy: Any) -> str:
    """The line of the history: the request on the command line."""
    from ._words import command

    return f"chunkwise {_chunkwise.__version__}: {command(lazy).removeprefix('chunkwise ')}"


def sizes_of(sizes: Mapping[str, int] | None, lazy: Any) -> list[tuple[str, int]]:
    """Cells by dimension; −1 is all."""
    found = []
    for dim, size in (sizes or {}).items():
        whole = lazy.sizes.get(dim)
        if whole is None:
            raise ValueRefusedError(f"the result has no dimension `{dim}`; it has {', '.join(lazy.sizes)}")
        if size != -1 and (int(size) != size or size < 1):
            raise ValueRefusedError(f"a chunk of {size} cells along `{dim}`: it has at least 1, or -1 for all")
        found.append((str(dim), whole if size == -1 else int(size)))
    return found


def target(
    path: Any,
    lazy: Any,
    *,
    storage_options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    zarr_format: int = 3,
    chunks: Mapping[str, int] | None = None,
    shards: Mapping[str, int] | None = None,
    codec: str | None = None,
    dtype: Any = None,
    job: str = "",
) -> dict[str, Any]:
    """Where a result goes, as the engine is told."""
    if zarr_format not in (2, 3):
        raise ValueRefusedError(f"`zarr_format={zarr_format}`: there are 2 and 3")
    options = lazy._source.storage if storage_options is None else storage_options
    return {
        "location": path_text(path),
        "storage": list(storage_words(options if "://" in path_text(path) else storage_options)),
        "overwrite": bool(overwrite),
        "zarr_format": int(zarr_format),
        "chunks": sizes_of(chunks, lazy),
        "shards": sizes_of(shards, lazy),
        "codec": codec,
        "dtype": None if dtype is None else np.dtype(dtype).name,
        "history": history_of(lazy),
        "job": job,
    }


def to_zarr(
    lazy: Any,
    path: Any,
    *,
    region: Mapping[str, Any] | None = None,
    client: Any = None,
    memory: int | str | None = None,
    threads: int | None = None,
    progress: Any = None,
    storage_options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    zarr_format: int = 3,
    chunks: Mapping[str, int] | None = None,
    shards: Mapping[str, int] | None = None,
    codec: str | None = None,
    dtype: Any = None,
    **limits: Unpack[Limits],
) -> Any:
    """Writes a result as a new Zarr cube at `path` (a folder, `.zip`, URL or `memory:NAME`), and opens it.

    Until all is written the output is no cube; a run that fails leaves nothing. Chunks are those of the source unless
    ``chunks`` says otherwise (−1: all of a dimension). ``shards`` are multiples of them. ``codec`` is `zstd:5`,
    `blosc:lz4:5:shuffle`, `none` … ``overwrite`` puts the finished cube in the place of the old one.

    With ``region`` (``{"time": slice(0, 12)}`` by index) the values go into cells of a cube that exists: every variable of
    the result is one of its own. With ``client`` the workers of a Dask cluster compute and write, with the same bytes.
    """
    from ._cube import cube_of
    from ._source import Source

    where = target(
        path, lazy, storage_options=storage_options, overwrite=overwrite, zarr_format=zarr_format, chunks=chunks,
        shards=shards, codec=codec, dtype=dtype,
    )  # fmt: skip
    options = lazy._source.storage if storage_options is None and "://" in where["location"] else storage_options
    if region is not None:
        if client is not None:
            raise ValueRefusedError("`region` and `client`: workers write new cubes")
        from ._write import write_result

        write_result(lazy, where["location"], options, region, memory=memory, threads=threads, progress=progress, **limits)
    elif client is not None:
        from .dask import to_zarr as on_cluster

        on_cluster(lazy, client, where, memory=memory, threads=threads, progress=progress, **limits)
    else:
        _write(lazy, where, memory, threads, progress, limits)
    return cube_of(Source(where["location"], options))


def to_file(
    lazy: Any,
    path: Any,
    ending: str,
    *,
    memory: int | str | None = None,
    threads: int | None = None,
    progress: Any = None,
    overwrite: bool = False,
    codec: str | None = None,
    dtype: Any = None,
    chunks: Mapping[str, int] | None = None,
    **limits: Unpack[Limits],
) -> None:
    """Writes a result as a file of another format, made from a cube beside it: never whole in memory."""
    where = target(path, lazy, overwrite=overwrite, codec=codec, dtype=dtype, chunks=chunks)
    endings = (".tif", ".tiff") if ending == ".tif" else (".nc", ".nc4")
    if not where["location"].lower().endswith(endings):
        raise ValueRefusedError(f"`{where['location']}`: such a file ends in `{ending}`")
    _write(lazy, where, memory, threads, progress, limits)


def _write(lazy: Any, where: dict[str, Any], memory: Any, threads: Any, progress: Any, limits: Limits) -> None:
    from ._lazy import warn_of

    told, close = progress_of(progress, where["location"])
    try:
        warn_of(lazy._job().write(may(memory, threads, **limits), where, told))
    finally:
        close()

