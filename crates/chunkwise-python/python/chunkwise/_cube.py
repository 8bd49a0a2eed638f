"""Cubes and arrays: what users hold in their hands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack, overload

import numpy as np

from . import _formula as formula
from ._html import array_html, array_text, cube_html, cube_text
from ._lazy import Lazy
from ._options import Limits
from ._query import Query, count
from ._rewrite import enclosed, inlined, name_text, names_in
from ._source import Source
from .errors import KeyNotFoundError, ValueRefusedError

if TYPE_CHECKING:
    import xarray as xr

    from ._tables import Comparison, Verified

Progress = bool | Callable[[int, int], object] | None


class Cube(Lazy):
    """Labelled variables that share dimensions, as `xarray.Dataset` has them, and what is asked of them.

    Made by :func:`chunkwise.open`. Selections, formulas and statistics give new cubes and read nothing; ``compute()``,
    ``to_xarray()``, ``to_zarr()``, ``to_table()``, ``plot()`` … give results.
    """

    # --- what there is ------------------------------------------------------------------------------------------------

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes of the cube."""
        return dict(self._source.about["attrs"])

    @property
    def dims(self) -> tuple[str, ...]:
        """Dimensions."""
        return tuple(self.sizes)

    @property
    def sizes(self) -> dict[str, int]:
        """Cells along each dimension; of a statistic, of its result."""
        if self._query.is_reduced:
            found = self._outline()
            sizes: dict[str, int] = {}
            for about in found:
                sizes.update(zip(about["dims"], about["shape"], strict=True))
            return sizes
        return {d: count(self._query.cells.get(d), self._length(d)) for d in self._dims()}

    def _outline(self) -> list[dict[str, Any]]:
        import json

        _, arrays = self._job().outline()
        return [about for about in (json.loads(text) for text, _ in arrays) if about["is_result"]]

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Labels of the selected cells, by dimension; of a statistic, of its result."""
        if self._query.is_reduced:
            return self._result_labels()
        dims = self._source.about["by_name"]
        return {d: self._labels(d) for d in self._source.about["dims"] if d in dims and (d in self._dims())}

    @property
    def data_vars(self) -> dict[str, Array]:
        """The variables that hold data, and formulas."""
        return {name: self[name] for name in self}

    @property
    def crs(self) -> str | None:
        """The coordinate reference system: `EPSG:32633`, or its name."""
        return self._source.about["crs"]

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups below, each a cube: ``open(path, group=…)``."""
        return tuple(self._source.about["groups"])

    def info(self) -> dict[str, Any]:
        """What the cube is: as ``chunkwise info --json`` says it."""
        from ._words import ask

        return ask(["info", *self._source.words()])

    def __iter__(self) -> Iterator[str]:
        query = self._query
        if query.formulas or query.variables:
            yield from (*(name for name, _ in query.formulas), *query.variables)
            return
        yield from (v["name"] for v in self._source.about["variables"] if v["role"] == "data")

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in list(self) or name in self._source.about["by_name"]

    @overload
    def __getitem__(self, name: str) -> Array: ...
    @overload
    def __getitem__(self, name: list[str] | tuple[str, ...]) -> Cube: ...
    def __getitem__(self, name: Any) -> Any:
        """A variable or formula, or the coordinate of that name; of a list of names a cube."""
        if isinstance(name, (list, tuple)):
            return self.select(*name)
        query = self._query
        for of, text in query.formulas:
            if of == name:
                # Earlier formulas that it names are written out.
                earlier = query.formulas[: query.formulas.index((of, text))]
                return Array(self._source, replace(query, variables=(), formulas=((of, inlined(text, earlier)),)))
        found = self._source.about["by_name"].get(name)
        if found is None or (query.variables and name not in query.variables and found["role"] == "data"):
            raise KeyNotFoundError(f"there is no variable `{name}`; there are {', '.join(self)}", self._close_to(name))
        return Array(self._source, replace(query, variables=(name,), formulas=()))

    def _close_to(self, name: str) -> str | None:
        import difflib

        close = difflib.get_close_matches(str(name), list(self), 1)
        return f"did you mean `{close[0]}`?" if close else None

    def select(self, *names: str) -> Cube:
        """The cube with these variables and formulas alone."""
        known = {name: self[name]._query for name in names}
        formulas = tuple(f for query in known.values() for f in query.formulas)
        variables = tuple(v for query in known.values() for v in query.variables)
        return self._like(replace(self._query, formulas=formulas, variables=variables))

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(name for name in self if name.isidentifier())})

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and "_source" in self.__dict__:
            if name in list(self):
                return self[name]
            if name in self._source.about["by_name"]:
                return self[name]
        return super().__getattr__(name)

    # --- formulas -----------------------------------------------------------------------------------------------------

    def calc(self, *formulas: str, name: str | None = None, **named: str | Array) -> Any:
        """What formulas give: ``cube.calc("(nir - red) / (nir + red)", name="ndvi")``.

        One formula is an array, several (``"ndvi = …"``, ``evi="…"``) a cube. Names are variables and labels of bands; the
        operators are Python's; later formulas use earlier ones. Values are decoded first and reckoned in float64; arithmetic
        with a missing cell is missing.
        """
        self._pass("calc")
        found: list[tuple[str, str | Array]] = []
        for i, text in enumerate(formulas):
            own, rest = formula.split(text)
            own = own or (name if i == len(formulas) - 1 else None)
            if own is None:
                own = "value"
            found.append((own, rest))
        found += named.items()
        if not found:
            raise ValueRefusedError("no formula is given")
        query = replace(self._query, formulas=formula.given_formulas(self, found), variables=())
        # Names and types are checked now, not when the result is asked for.
        self._source.cube.job(query.json())
        if len(found) == 1:
            return Array(self._source, query)
        return self._like(query)

    def assign(self, **named: str | Array) -> Cube:
        """The cube with formulas beside its variables."""
        self._pass("assign")
        found = formula.given_formulas(self, list(named.items()))
        kept = tuple((n, self[n]._text()) for n, _ in self._query.formulas if n not in named)
        formulas = (*kept, *found)
        if again := _hidden(kept, found):
            # Those before mean the cube's variable of that name.
            formulas = (*found, *kept)
            if _hidden(found, kept):
                raise ValueRefusedError(
                    f"`{again}` of the cube is hidden by a formula of that name", "give the formula another name"
                )
        variables = self._query.variables
        if not variables and not self._query.formulas:
            variables = tuple(self)
        variables = tuple(v for v in variables if v not in named)
        return self._like(replace(self._query, formulas=formulas, variables=variables))

    def where(self, condition: str | Array) -> Cube:
        """Only cells for which a condition holds; others count as missing."""
        self._pass("where")
        text = formula.condition(self, condition)
        again = sorted(names_in(text) & {n for n, _ in self._query.formulas})
        if again:
            raise ValueRefusedError(
                f"the condition `{text}` is of the cube's `{again[0]}`, and `{again[0]}` is the name of a formula",
                f'put `.where(…)` behind one of them: `cube["{again[0]}"].where(…)`',
            )
        return self._like(self._query.masked(text))

    # --- results ------------------------------------------------------------------------------------------------------

    def compute(
        self,
        *,
        memory: int | str | None = None,
        threads: int | None = None,
        progress: Progress = None,
        client: Any = None,
        dtype: Any = None,
        **limits: Unpack[Limits],
    ) -> xr.Dataset:
        """The result as `xarray.Dataset` in memory, with coordinates, attributes and CRS.

        ``memory`` is what the job may add to this process, its result included; a job that does not fit is refused before
        anything is read (:class:`chunkwise.errors.PlanRefusedError`, a ``MemoryError``). With ``client``, a
        ``dask.distributed.Client``, it runs on the workers, with the same bits.
        """
        from ._results import to_dataset

        if client is not None:
            from .dask import compute

            return compute(self, client, memory=memory, threads=threads, progress=progress, dtype=dtype, **limits)
        attrs, arrays = self._arrays(memory, threads, progress, dtype, **limits)
        return to_dataset(attrs, arrays)

    def to_xarray(self, **how: Any) -> xr.Dataset:
        """As :meth:`compute`."""
        return self.compute(**how)

    to_dataset = to_xarray

    # --- writing ------------------------------------------------------------------------------------------------------

    def append(self, *others: Any, dim: str | None = None, **how: Any) -> Cube:
        """Adds cubes, NetCDF files or references to the end of this cube, along time or ``dim``, and opens it anew."""
        from ._files import append

        return append(self, others, dim=dim, **how)

    def update_attrs(self, changes: Mapping[str, Any] | None = None, *, delete: Iterable[str] = (), **more: Any) -> Cube:
        """Changes attributes of the cube in place, and opens it anew."""
        from ._files import update_attrs

        return update_attrs(self, None, {**(changes or {}), **more}, delete)

    def rasterize(self, zones: Any, path: Any, **how: Any) -> Cube:
        """Polygons as a cube of zones on the grid of this one."""
        from ._files import rasterize

        return rasterize(self, zones, path, **how)

    def compare(self, other: Any, **how: Any) -> Comparison:
        """Whether another cube is equal, or where it differs."""
        from ._tables import compare

        return compare(self, other, **how)

    def verify(self, **how: Any) -> Verified:
        """Whether the cube is whole: each chunk decodes, labels and metadata agree."""
        from ._tables import verify

        return verify(self, **how)

    def access(self, **how: Any) -> dict[str, Any]:
        """What reading costs with these chunks: a pixel's series, a map, a box, all."""
        from ._words import ask

        return ask(["info", *self._source.words(), "--access"])

    def __repr__(self) -> str:
        return cube_text(self)

    def _repr_html_(self) -> str:
        return cube_html(self)


class Array(formula.Operators, Lazy):
    """One variable or formula, as `xarray.DataArray` has it, and what is asked of it."""

    __array_priority__ = 60

    def _name(self) -> str | None:
        return self.name

    @property
    def name(self) -> str:
        """Its name."""
        query = self._query
        return query.formulas[0][0] if query.formulas else query.variables[0]

    def rename(self, name: str) -> Array:
        """The same under another name: a formula."""
        query = self._query
        if query.is_reduced:
            raise ValueRefusedError("`rename` after a statistic", "name the formula first: `calc(…, name=…)`")
        return self._formula(name, self._text())

    def _formula(self, name: str, text: str) -> Array:
        """A formula of the same cells; a condition that would read its name in another sense goes into it."""
        query, mask = self._query, self._query.mask
        if mask is not None and name in names_in(mask):
            text, mask = f"where({mask}, {enclosed(text)}, missing)", None
        return self._like(replace(query, formulas=((name, text),), variables=(), mask=mask))

    def _text(self) -> str:
        return self._query.formulas[0][1] if self._query.formulas else name_text(self._query.variables[0])

    def _outline(self) -> dict[str, Any]:
        import json

        _, arrays = self._job().outline()
        return json.loads(arrays[0][0])

    @property
    def _variable(self) -> dict[str, Any] | None:
        return None if self._query.formulas else self._source.variable(self._query.variables[0])

    @property
    def _plain(self) -> dict[str, Any] | None:
        """The variable, where nothing but cells of it are asked for."""
        return None if self._query.is_reduced else self._variable

    @property
    def dims(self) -> tuple[str, ...]:
        """Dimensions, in the order of the result."""
        if (plain := self._plain) is not None:
            return tuple(d for d in plain["dims"] if not isinstance(self._query.cells.get(d), int))
        return tuple(self._outline()["dims"])

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells along each dimension."""
        if self._plain is not None:
            return tuple(count(self._query.cells.get(d), self._length(d)) for d in self.dims)
        return tuple(self._outline()["shape"])

    @property
    def sizes(self) -> dict[str, int]:
        """Cells along each dimension, by name."""
        return dict(zip(self.dims, self.shape, strict=True))

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.dims)

    @property
    def size(self) -> int:
        """Number of cells."""
        return int(np.prod(self.shape, dtype=object)) if self.shape else 1

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("an array without dimensions has no length")
        return self.shape[0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values: decoded, missing as NaN."""
        about = self._outline()
        stored = np.dtype(about["dtype"])
        if stored.kind == "f" and about["missing"] in (None, "nan"):
            return stored
        if "scale_factor" in about["attrs"] or "add_offset" in about["attrs"]:
            # As xarray: packing is told in float64.
            return np.dtype("float64")
        if stored.kind in "iu" and about["missing"] is not None:
            return np.dtype("float32") if stored.itemsize <= 2 else np.dtype("float64")
        return stored

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes: of a statistic, those of its result."""
        if (plain := self._plain) is not None:
            return dict(plain["attrs"])
        return dict(self._outline()["attrs"])

    @property
    def chunks(self) -> tuple[Any, ...] | None:
        """Cells of a chunk along each dimension; `None` of formulas."""
        return None if self._variable is None else tuple(self._variable["chunks"])

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Labels of the selected cells, by dimension; of a statistic, of its result."""
        if self._query.is_reduced:
            return self._result_labels()
        names = self._source.about["by_name"]
        return {d: self._labels(d) for d in self._dims() if d in names}

    # --- writing ------------------------------------------------------------------------------------------------------

    def __setitem__(self, region: Any, values: Any) -> None:
        """Writes values into cells of the cube: ``cube["dn"][0, 10:20] = array``, or ``[{"time": 0}]``.

        Values are encoded as the variable is packed; NaN becomes its missing mark. Whole chunks are written without reading;
        parts of chunks are changed under a lock, and refused on object stores, which have none: another writer might be
        at the same chunk.
        """
        from ._write import write

        write(self, region, values)

    def write(self, region: Any, values: Any, **how: Any) -> dict[str, int]:
        """As ``array[region] = values``; says what was written. See :func:`chunkwise._write.write`."""
        from ._write import write

        return write(self, region, values, **how)

    def __getitem__(self, key: Any) -> Array:
        """Cells by position: ``array[0, 10:20]``, ``array[{"time": 0}]``."""
        from ._write import by_dim

        return self.isel(by_dim(self, key))

    def update_attrs(self, changes: Mapping[str, Any] | None = None, *, delete: Iterable[str] = (), **more: Any) -> Cube:
        """Changes attributes of the variable in place, and opens the cube anew."""
        from ._files import update_attrs

        return update_attrs(self, self.name, {**(changes or {}), **more}, delete)

    # --- results ------------------------------------------------------------------------------------------------------

    def where(self, condition: str | Array, other: Any = None) -> Array:
        """Cells for which a condition holds; others are missing, or ``other``.

        A condition that is text names variables, and this formula where it has the name; an array is the array.
        """
        self._pass("where")
        if other is None:
            return self._where(condition)
        if isinstance(condition, str):
            text = formula.condition(self, condition)
            condition = self._like(replace(self._query, variables=(), formulas=(("condition", text),), mask=None))
        # As in xarray: where it is not known whether a condition holds, it does not.
        return self._join([condition, other], lambda a, c, b: f"where(ismissing({c}), {b}, where({c}, {a}, {b}))")

    def _where(self, condition: str | Array) -> Array:
        like = self
        if isinstance(condition, Array):
            # Of dimensions that only the condition has it says which cells.
            own = condition._query.cells.items()
            more = {d: c for d, c in own if d not in self._query.cells and not self._has(d)}
            like = self._like(self._query.with_cells(more))
        text = formula.condition(like, condition)
        query = like._query
        if query.formulas and query.formulas[0][0] in names_in(text):
            # The condition is of the variable of that name, not of the formula.
            found = like._formula(self.name, f"where({text}, {enclosed(self._text())}, missing)")
        else:
            found = like._like(query.masked(text))
        if isinstance(condition, Array):
            self._source.cube.job(found._query.json())
        return found

    def compute(
        self,
        *,
        memory: int | str | None = None,
        threads: int | None = None,
        progress: Progress = None,
        client: Any = None,
        dtype: Any = None,
        **limits: Unpack[Limits],
    ) -> Any:
        """The result as `xarray.DataArray` in memory, with coordinates, attributes and CRS; several statistics as a Dataset.

        ``memory`` is what the job may add to this process, its result included; a job that does not fit is refused before
        anything is read (:class:`chunkwise.errors.PlanRefusedError`, a ``MemoryError``). With ``client``, a
        ``dask.distributed.Client``, it runs on the workers, with the same bits.
        """
        from ._results import names_of, to_dataset

        if client is not None:
            from .dask import compute

            return compute(self, client, memory=memory, threads=threads, progress=progress, dtype=dtype, **limits)
        attrs, arrays = self._arrays(memory, threads, progress, dtype, **limits)
        return self._of(to_dataset(attrs, arrays), names_of(arrays))

    def _of(self, whole: Any, names: list[str]) -> Any:
        return whole[names[0]] if len(names) == 1 else whole

    def to_xarray(self, **how: Any) -> Any:
        """As :meth:`compute`."""
        return self.compute(**how)

    to_dataarray = to_xarray

    def to_numpy(self, **how: Any) -> np.ndarray:
        """The values alone."""
        return self.compute(**how).to_numpy()

    @property
    def values(self) -> np.ndarray:
        """The values, computed."""
        return self.to_numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("an array that is yet to be computed cannot be given without a copy")
        values = self.to_numpy()
        return values if dtype is None else values.astype(dtype, copy=False)

    def __dlpack__(self, **how: Any) -> Any:
        return self.to_numpy().__dlpack__(**how)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def item(self) -> Any:
        """The one value."""
        return self.compute().item()

    def __float__(self) -> float:
        return float(self.compute())

    def __repr__(self) -> str:
        return array_text(self)

    def _repr_html_(self) -> str:
        return array_html(self)


def _hidden(before: Iterable[tuple[str, str]], after: Iterable[tuple[str, str]]) -> str | None:
    """A variable that formulas read, and that is hidden from them by a formula before."""
    hidden = {n for n, _ in before} & {n for _, text in after for n in names_in(text)}
    return min(hidden, default=None)


def cube_of(source: Source) -> Cube:
    """The cube of a source."""
    return Cube(source, Query())
