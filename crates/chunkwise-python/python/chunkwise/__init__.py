"""Datacubes larger than memory: labelled arrays in Zarr, computed chunk by chunk within a memory budget.

>>> import chunkwise as cw
>>> cube = cw.open("s2.zarr")
>>> ndvi = cube.sel(time=slice("2024-05", "2024-09")).calc("(nir - red) / (nir + red)", name="ndvi")
>>> ndvi.mean("time").compute(memory="1GiB")
"""

from __future__ import annotations

import sys as _sys
from typing import TYPE_CHECKING, overload

from . import errors
from ._chunkwise import __version__
from ._cube import Array, Cube
from ._files import create, demo, import_files, ls, open
from ._groups import Coarsen, GroupBy, Resample
from ._plan import Explanation, Partition, Plan
from ._plot import Plot
from ._table import Table
from ._tables import Comparison, Verified
from .errors import ChunkwiseError

if TYPE_CHECKING:
    import xarray as _xr

__all__ = [
    "Array",
    "ChunkwiseError",
    "Coarsen",
    "Comparison",
    "Cube",
    "Explanation",
    "GroupBy",
    "Partition",
    "Plan",
    "Plot",
    "Resample",
    "Table",
    "Verified",
    "__version__",
    "compare",
    "create",
    "demo",
    "errors",
    "from_xarray",
    "import_files",
    "ls",
    "open",
]


def compare(a: object, b: object, **how: object) -> Comparison:
    """Whether two cubes (or their locations) are equal, cell by cell, or where they differ."""
    cube = a if isinstance(a, Cube) else open(a)
    return cube.compare(b, **how)


@overload
def from_xarray(ds: _xr.Dataset, *, direct: bool = True) -> Cube: ...
@overload
def from_xarray(ds: _xr.DataArray, *, direct: bool = True) -> Array: ...
def from_xarray(ds: object, *, direct: bool = True) -> Cube | Array:
    """A cube of a Dataset, an array of a DataArray.

    What comes unchanged from Zarr is read by the engine, the rest block by block; ``direct=False``: all of it. See :func:`chunkwise.xarray.from_xarray`.
    """
    from .xarray import from_xarray as of

    return of(ds, direct=direct)  # type: ignore[no-any-return, call-overload, arg-type, unused-ignore]


# Whoever has xarray already finds `ds.chunkwise`; others are not made to wait for it.
if hasattr(_sys.modules.get("xarray"), "register_dataset_accessor"):
    from . import xarray as xarray
