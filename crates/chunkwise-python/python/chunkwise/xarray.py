"""Between xarray and the engine: ``engine="chunkwise"``, ``ds.chunkwise``, and cubes of what xarray holds.

>>> import xarray as xr
>>> ds = xr.open_dataset("s2.zarr", engine="chunkwise")
>>> ds.chunkwise.mean("time").compute(memory="1GiB")
"""

from __future__ import annotations

import json
import os
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from . import _chunkwise
from ._options import may
from ._query import Query, count, shortest
from ._results import array_of, mark_of
from ._source import Source, located
from .errors import ChunkwiseError, ValueRefusedError

if TYPE_CHECKING:
    from ._cube import Array, Cube

__all__ = ["ChunkwiseBackendEntrypoint", "from_xarray"]

#: Attributes that name other variables, which xarray moves to and fro.
_NAMING = frozenset({"coordinates", "grid_mapping", "bounds", "cell_measures", "ancillary_variables", "formula_terms"})


# --- variables of a store, lazily -------------------------------------------------------------------------------------


class EngineArray(BackendArray):
    """Stored values of one variable, which the engine reads when they are asked for."""

    def __init__(self, source: Source, name: str) -> None:
        self.source, self.name = source, name
        about = source.variable(name)
        self.dims: tuple[str, ...] = tuple(about["dims"])
        self.shape: tuple[int, ...] = tuple(about["shape"])
        self.dtype = _dtype({**about, "form": source.about["form"]})

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "source": self.source.__getstate__()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.source = _shared(state["source"])

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        if self.dtype.kind in "OUST":
            return self._read_text(key)
        cells: dict[str, Any] = {}
        after: list[Any] = []
        sizes: list[int] = []
        for dim, n, k in zip(self.dims, self.shape, key, strict=True):
            if isinstance(k, (int, np.integer)):
                cells[dim] = int(k) % n
                continue
            wanted = np.arange(n)[k]
            sizes.append(len(wanted))
            found, places = np.unique(wanted, return_inverse=True)
            in_order = len(found) == len(wanted) and bool((wanted[1:] > wanted[:-1]).all())
            after.append(slice(None) if in_order else places)
            if len(found) != n:
                cells[dim] = shortest(found)
        if 0 in sizes:
            return np.empty(sizes, self.dtype)
        values = self._cells(cells)
        for axis, places in enumerate(after):
            if not isinstance(places, slice):
                values = np.take(values, places, axis=axis)
        return values

    def _cells(self, cells: Mapping[str, Any]) -> np.ndarray:
        size = self.dtype.itemsize * int(
            np.prod([count(cells.get(d), n) for d, n in zip(self.dims, self.shape, strict=True)], dtype=object)
        )
        # What is asked for is what xarray is to hold: that it fits is for the one who asks to know.
        limits = {**may(threads=1 if size < 4 << 20 else None)}
        limits["memory"] = max(limits["memory"], 3 * size + (1 << 30))
        (_, arrays), _ = self.source.cube.job(Query((self.name,), cells=cells).json()).compute(limits, None, None)
        about, values = _described(arrays, self.name)
        found = array_of(about, values)
        if found.dtype == self.dtype:
            return found
        is_count = self.dtype.kind in "mM" and found.dtype.kind == "i"
        return found.view(self.dtype) if is_count else found.astype(self.dtype)

    def _read_text(self, key: tuple[Any, ...]) -> np.ndarray:
        """Text, all of which is read."""
        about = self.source.variable(self.name)
        if about["role"] == "dimension":
            values = np.asarray(self.source.labels(self.name)[2], dtype=object)
        elif about["role"] == "grid_mapping":
            values = np.zeros(self.shape, self.dtype)
        else:
            values = np.asarray(self.source.cube.text(self.name), dtype=object)
        if self.dtype.kind == "S" and values.dtype.kind != "S":
            values = np.char.encode(values.astype(np.str_), "utf-8")
        values = values.reshape(self.shape).astype(self.dtype)
        # One dimension after another, the last first: an index drops its own.
        for axis in reversed(range(values.ndim)):
            values = values[(slice(None),) * axis + (key[axis],)]
        return values


def _described(arrays: Iterable[tuple[str, np.ndarray]], name: str) -> tuple[dict[str, Any], np.ndarray]:
    for text, values in arrays:
        about = json.loads(text)
        if about["name"] == name:
            return about, values
    raise ChunkwiseError(f"the engine gave no `{name}`")


def _dtype(about: Mapping[str, Any]) -> np.dtype[Any]:
    name = about["dtype"]
    if name != "string":
        return np.dtype(name)
    # xarray has text of any length as NumPy's own type since it knows that, and as objects before.
    if about["form"] is None and hasattr(xr.backends.zarr.ZarrArrayWrapper, "_preserve_string_dtype"):
        return np.dtypes.StringDType()
    return xr.coding.strings.create_vlen_dtype(str)


#: Sources of arrays that were sent here, by what was sent: each cube is opened once in a process.
_OPEN: OrderedDict[str, Source] = OrderedDict()
_LOCK = Lock()


def _shared(state: dict[str, Any]) -> Source:
    key = repr(sorted(state.items(), key=lambda item: item[0]))
    with _LOCK:
        found = _OPEN.pop(key, None)
        if found is None:
            found = Source.__new__(Source)
            found.__setstate__(dict(state))
        _OPEN[key] = found
        while len(_OPEN) > 32:
            _OPEN.popitem(last=False)
    return found


def _variable(source: Source, about: Mapping[str, Any]) -> xr.Variable:
    array = EngineArray(source, about["name"])
    attrs = dict(about["attrs"])
    given = zip(about["chunks"], array.shape, strict=True)
    chunks = tuple(tuple(c) if isinstance(c, list) else min(c, n) or 1 for c, n in given)
    is_zarr = source.about["form"] is None
    encoding: dict[str, Any] = {"dtype": array.dtype} if array.dtype.kind == "T" else {}
    if is_zarr or chunks != array.shape:
        encoding["preferred_chunks"] = dict(zip(array.dims, chunks, strict=True))
    if is_zarr:
        shards = about["shards"]
        encoding |= {"chunks": chunks, "shards": None if shards is None else tuple(shards)}
    if about["zarr_format"] == 2 and is_zarr:
        if about["fill_value"] is not None and array.dtype.kind not in "US":
            attrs["_FillValue"] = mark_of(about["fill_value"], array.dtype)
    elif is_zarr and about["fill_value"] is not None:
        encoding["fill_value"] = mark_of(about["fill_value"], array.dtype)
    for name in ("_FillValue", "missing_value"):
        if name in attrs:
            attrs[name] = mark_of(attrs[name], array.dtype)
    # Attributes of files have types, which are lost on the way here: numbers that are no short decimal are float32.
    if not is_zarr:
        packing = {k: attrs[k] for k in ("scale_factor", "add_offset") if isinstance(attrs.get(k), float)}
        single = any(v == float(np.float32(v)) and len(repr(v)) > 10 for v in packing.values())
        attrs |= {k: np.float32(v) if single else np.float64(v) for k, v in packing.items()}
    return xr.Variable(array.dims, indexing.LazilyIndexedArray(array), attrs, encoding)


def _open(source: Source, drop_variables: str | Iterable[str] | None = None, **decode: Any) -> xr.Dataset:
    """What a cube has, lazily, decoded by xarray."""
    dropped = {drop_variables} if isinstance(drop_variables, str) else set(drop_variables or ())
    stored: dict[str, xr.Variable] = {}
    for about in source.about["variables"]:
        if about["name"] in dropped:
            continue
        try:
            stored[about["name"]] = _variable(source, about)
        except (TypeError, ValueError) as error:
            why = about["problem"] or error
            warnings.warn(f"`{about['name']}` of `{_chunkwise.mask(source.location)}` is left out: {why}", stacklevel=3)
    attrs = {k: v for k, v in source.about["attrs"].items() if not k.lower().startswith("_nc")}
    variables, whole, coords = xr.conventions.decode_cf_variables(stored, attrs, **decode)
    own = {name: v for name, v in variables.items() if name in coords or v.dims == (name,)}
    data = {name: v for name, v in variables.items() if name not in own}
    return xr.Dataset(data, coords=xr.Coordinates(own, indexes={}), attrs=whole)


class ChunkwiseBackendEntrypoint(BackendEntrypoint):
    """Opens Zarr (v2, v3), NetCDF, HDF5 and kerchunk references with the engine: folders, zip files, object stores."""

    description = "Zarr, NetCDF, HDF5 and kerchunk references, read by the engine of chunkwise"
    url = "https://pypi.org/project/chunkwise/"
    open_dataset_parameters = (
        "filename_or_obj", "mask_and_scale", "decode_times", "concat_characters", "decode_coords", "drop_variables",
        "use_cftime", "decode_timedelta", "group", "storage_options",
    )  # fmt: skip

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        mask_and_scale: bool | Mapping[str, bool] = True,
        decode_times: Any = True,
        concat_characters: bool | Mapping[str, bool] = True,
        decode_coords: Any = True,
        drop_variables: str | Iterable[str] | None = None,
        use_cftime: Any = None,
        decode_timedelta: Any = None,
        group: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """A Dataset whose values are read when they are asked for; with ``chunks={}``, by Dask, in the store's chunks."""
        if not isinstance(filename_or_obj, (str, os.PathLike)):
            raise ValueRefusedError(f"{type(filename_or_obj).__name__}: this engine opens paths and URLs")
        text = os.fspath(filename_or_obj)
        text = os.path.expanduser(text) if text.startswith("~") else text
        source = Source(located(text, group), storage_options, raw=True)
        return _open(
            source,
            drop_variables,
            mask_and_scale=mask_and_scale,
            decode_times=decode_times,
            concat_characters=concat_characters,
            decode_coords=decode_coords,
            use_cftime=use_cftime,
            decode_timedelta=decode_timedelta,
        )

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether it is a cube that no other engine here opens: what xarray does today, it goes on doing."""
        if not isinstance(filename_or_obj, (str, os.PathLike)):
            return False
        text = os.fspath(filename_or_obj).rstrip("/").lower()
        if text.endswith(".zarr.zip"):
            return True
        if text.endswith(".zarr"):
            return find_spec("zarr") is None
        return text.endswith((".nc", ".nc4", ".h5")) and not any(map(find_spec, ("netCDF4", "h5netcdf")))


# --- cubes of what xarray holds ---------------------------------------------------------------------------------------


def from_xarray(ds: xr.Dataset | xr.DataArray, *, direct: bool = True) -> Cube | Array:
    """A cube of a Dataset, or an array of a DataArray; nothing is read or computed until a result is asked for.

    Variables that come unchanged from Zarr are read by the engine, and a selection of them is part of the request. All
    others are read block by block: NumPy arrays in blocks of at most 16 MiB, Dask arrays in their own chunks, each
    computed when the engine comes to it. ``direct=False`` reads all in blocks.
    """
    from ._cube import Array, Cube, cube_of
    from ._objects import objects_of

    if isinstance(ds, xr.DataArray):
        name = "data" if ds.name is None else str(ds.name)
        if name in ds.coords:
            raise ValueRefusedError(f"`{name}` is a coordinate; give it another name: `.rename(…)`")
        whole, one = ds.to_dataset(name=name), True
    elif isinstance(ds, xr.Dataset):
        whole, name, one = ds, "", False
    else:
        raise TypeError(f"{type(ds).__name__} is neither a Dataset nor a DataArray of xarray")
    found = _direct(whole, one) if direct else None
    if found is not None:
        cube = Cube(*found)
    else:
        objects = objects_of(whole)
        cube = cube_of(Source(f"memory:{objects.name}", objects=objects))
        cube._source.cube  # noqa: B018 - what cannot be shown is told now
    return Array(cube._source, Query((name,), cells=cube._query.cells)) if one else cube


def _unwrapped(data: Any) -> tuple[Any, list[str], list[Any]] | None:
    """What lies at the bottom of xarray's lazy arrays, what decodes it, and what is selected of it, in this order."""
    if type(data).__module__.startswith("dask"):
        layers = getattr(data.dask, "layers", {})
        first = [layer for name, layer in layers.items() if name.startswith("original-")]
        if len(layers) != 2 or len(first) != 1 or f"original-{data.name}" not in layers or len(first[0]) != 1:
            return None
        data = next(iter(first[0].values()))
        data = getattr(data, "value", data)
    steps: list[str] = []
    keys: list[Any] = []
    while True:
        kind = type(data).__name__
        if isinstance(data, EngineArray) or kind == "ZarrArrayWrapper":
            return data, steps[::-1], keys[::-1]
        if kind == "LazilyIndexedArray":
            keys.append(data.key.tuple)
        elif kind == "_ElementwiseFunctionArray":
            steps.append(getattr(data.func, "func", data.func).__name__)
        elif kind in ("NativeEndiannessArray", "BoolTypeArray"):
            steps.append(kind)
        elif kind not in ("MemoryCachedArray", "CopyOnWriteArray", "ImplicitToExplicitIndexingAdapter"):
            return None
        data = data.array


def _place(bottom: Any) -> tuple[str, dict[str, Any], str] | None:
    """Location, storage options and name of a stored array."""
    if isinstance(bottom, EngineArray):
        return bottom.source.location, bottom.source.storage, bottom.name
    array = bottom.get_array()
    # zarr-python 2 keeps chunks apart from consolidated metadata.
    store: Any = getattr(array, "chunk_store", None) or array.store
    group, _, name = array.path.rpartition("/")
    kind, options = type(store).__name__, {}
    if kind == "LocalStore":
        where = str(store.root)
    elif kind in ("ZipStore", "DirectoryStore", "NestedDirectoryStore"):
        where = str(store.path)
    elif kind in ("FsspecStore", "FSStore"):
        protocol = store.fs.protocol if isinstance(store.fs.protocol, str) else store.fs.protocol[0]
        if protocol in ("http", "https"):
            where = store.path
        elif protocol in ("file", "local"):
            where = store.path.removeprefix("file://")
        elif protocol in ("s3", "s3a", "gs", "gcs"):
            where = f"{protocol[:2]}://{store.path.partition('://')[2] or store.path}"
        else:
            return None
        options = {k: v for k, v in store.fs.storage_options.items() if k not in ("asynchronous", "loop")}
    else:
        return None
    return located(where, group), options, name


def _positions(keys: Iterable[tuple[Any, ...]], shape: tuple[int, ...]) -> list[int | np.ndarray]:
    """The cells that are left of an array after selections, dimension by dimension."""
    left: list[int | np.ndarray] = [np.arange(n) for n in shape]
    for key in keys:
        steps = iter(key)
        left = [cells if isinstance(cells, int) else cells[next(steps)] for cells in left]
        left = [int(cells) if np.ndim(cells) == 0 else cells for cells in left]
    return left


def _direct(ds: xr.Dataset, is_array: bool) -> tuple[Source, Query] | None:
    """The cube in a store, and the selection of it, that a Dataset is; `None` where it is more, or other, than that."""
    found = {str(name): _unwrapped(v.variable._data) for name, v in ds.data_vars.items()}
    places = {name: None if f is None else _place(f[0]) for name, f in found.items()}
    stores = {repr(p and p[:2]) for p in places.values()}
    if len(stores) != 1 or None in places.values() or any(p[2] != name for name, p in places.items() if p):
        return None
    location, options, _ = next(iter(places.values()))  # type: ignore[misc]
    source = Source(location, options)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stored = _open(Source(location, options, raw=True), decode_coords=True)
            about = source.about
    except (ChunkwiseError, OSError, ValueError, TypeError):
        return None
    if not is_array and not xr.core.utils.dict_equiv(ds.attrs, stored.attrs):
        return None
    roles = {v["name"]: v["role"] for v in about["variables"]}
    cells: dict[str, Any] = {}
    for name, step in found.items():
        if name not in stored or step is None:
            return None
        bottom, steps, keys = step
        expected = stored[name].variable
        same = _unwrapped(expected._data)
        if same is None or bottom.shape != expected.shape:
            return None
        # Values that are decoded in another way than the engine's are those that xarray shows.
        if steps != same[1] and roles[name] == "data":
            return None
        left = _positions(keys, expected.shape)
        kept = tuple(d for d, c in zip(expected.dims, left, strict=True) if not isinstance(c, int))
        if kept != ds[name].dims or not _same_attrs(ds[name].attrs, expected.attrs):
            return None
        for dim, at in zip(expected.dims, left, strict=True):
            mine = at if isinstance(at, int) else shortest(at)
            if cells.setdefault(str(dim), mine) != mine or mine == ():
                return None
    if not _same_coordinates(ds, stored, cells):
        return None
    data = [n for n in found if roles[n] == "data"]
    whole = {n for n, role in roles.items() if role == "data"}
    if not data or any(roles.get(str(n)) == "data" for n in ds.coords):
        return None
    cells = {d: c for d, c in cells.items() if c != range(about["dims"][d])}
    return source, Query(() if set(data) == whole else tuple(data), cells=cells)


def _same_attrs(mine: Mapping[Any, Any], stored: Mapping[Any, Any]) -> bool:
    keep = lambda attrs: {k: v for k, v in attrs.items() if k not in _NAMING}  # noqa: E731
    return bool(xr.core.utils.dict_equiv(keep(mine), keep(stored)))


def _same_coordinates(ds: xr.Dataset, stored: xr.Dataset, cells: Mapping[str, Any]) -> bool:
    """Whether the coordinates are those of the store, of the cells that are left."""
    dims = {d for name in ds.data_vars for d in stored[name].dims}
    if any((d in ds.coords) != (d in stored.variables) for d in dims):
        return False
    for name, coord in ds.coords.items():
        if name not in stored.variables:
            return False
        of = stored.variables[name]
        taken = [cells.get(str(d), range(n)) for d, n in of.sizes.items()]
        key = {d: c if isinstance(c, int) else np.asarray(c) for d, c in zip(of.dims, taken, strict=True)}
        mine, own = coord.variable, of.isel(key)
        if mine.dims != own.dims or mine.shape != own.shape or not _same_attrs(mine.attrs, own.attrs):
            return False
        step, same = _unwrapped(mine._data), _unwrapped(of._data)
        if step is not None and same is not None and step[1] == same[1]:
            place = _place(step[0])
            left = _positions(step[2], of.shape)
            as_asked = [c if isinstance(c, int) else list(c) for c in taken]
            found = [c if isinstance(c, int) else c.tolist() for c in left]
            if place is not None and place[2] == name and found == as_asked:
                continue
        if not mine.equals(own.load()):
            return False
    return True


# --- `ds.chunkwise` ---------------------------------------------------------------------------------------------------


class _Accessor:
    """What the engine does with a Dataset or DataArray: ``ds.chunkwise.mean("time")`` is lazy; ``.zonal(…)``, ``.plot()``."""

    def __init__(self, of: xr.Dataset | xr.DataArray) -> None:
        self._of = of

    @property
    def _lazy(self) -> Any:
        # Made anew each time: a Dataset may have been changed in place since.
        return from_xarray(self._of)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") and name != "_repr_html_":
            raise AttributeError(name)
        return getattr(self._lazy, name)

    def __getitem__(self, key: Any) -> Any:
        return self._lazy[key]

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self._lazy)})

    def __repr__(self) -> str:
        return repr(self._lazy)


@xr.register_dataset_accessor("chunkwise")
class DatasetAccessor(_Accessor):
    """Operations of the engine on a Dataset."""

    @property
    def cube(self) -> Cube:
        """The Dataset as a cube: ``chunkwise.from_xarray(ds)``."""
        return self._lazy


@xr.register_dataarray_accessor("chunkwise")
class DataArrayAccessor(_Accessor):
    """Operations of the engine on a DataArray."""

    @property
    def array(self) -> Array:
        """The DataArray as an array of a cube: ``chunkwise.from_xarray(da)``."""
        return self._lazy
