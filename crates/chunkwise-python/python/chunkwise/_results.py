"""Results of the engine as xarray has them."""

from __future__ import annotations

import base64
import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr


def require_xarray() -> None:
    """Says what to install before a job runs whose result could not be given."""
    try:
        import xarray  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "results are given as xarray has them: `pip install \"chunkwise[xarray]\"`; `to_zarr`, `to_table` and `plot` do without"
        ) from error


def array_of(about: dict[str, Any], cells: np.ndarray) -> np.ndarray:
    """Bytes as an array: the same memory."""
    return cells.view(np.dtype(about["dtype"])).reshape(about["shape"])


def mark_of(value: Any, dtype: np.dtype[Any]) -> Any:
    """A fill value as NumPy has it: of floats also base64, as xarray writes it, and as hexadecimal bits."""
    if not isinstance(value, str) or dtype.kind not in "fc":
        return value
    if len(value) == 16 and all(c in "0123456789abcdef" for c in value):
        return dtype.type(struct.unpack(">d", bytes.fromhex(value))[0])
    try:
        return dtype.type(float(value))
    except ValueError:
        return dtype.type(struct.unpack("<d", base64.standard_b64decode(value))[0])


def to_dataset(attrs: str, arrays: list[tuple[str, np.ndarray]]) -> xr.Dataset:
    """Arrays, and the coordinates and grid mappings that describe them, as a Dataset.

    It is what ``xarray.open_zarr(…, decode_coords="all")`` gives of the same result in a file, in memory.
    """
    import xarray as xr

    variables: dict[str, xr.Variable] = {}
    for text, cells in arrays:
        about = json.loads(text)
        values = array_of(about, cells)
        own = dict(about["attrs"])
        encoding: dict[str, Any] = {}
        missing = about["missing"]
        if missing is not None:
            mark = mark_of(missing, values.dtype)
            if values.dtype.kind == "f" and np.isnan(mark):
                # Nothing is to be replaced: NaN is what xarray has for missing.
                encoding["_FillValue"] = values.dtype.type(np.nan)
            else:
                own["_FillValue"] = values.dtype.type(mark)
        variables[about["name"]] = xr.Variable(about["dims"], values, own, encoding)
    whole = xr.Dataset(variables, attrs=json.loads(attrs))
    return xr.decode_cf(whole, decode_coords="all").load()


def names_of(arrays: list[tuple[str, np.ndarray]]) -> list[str]:
    """Names of the arrays that are results."""
    return [about["name"] for about in (json.loads(text) for text, _ in arrays) if about["is_result"]]
