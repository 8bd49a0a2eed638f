"""Small cubes whose cells are written out in the tests."""

import warnings

import numpy as np
import zarr

import cube


def build(path, arrays, zarr_format=3, attrs=None):
    """A cube of arrays `name: (dims, values, attrs, options)`; the options are `chunks` and `fill`."""
    with warnings.catch_warnings(), zarr.config.set(cube.QUIET):
        warnings.simplefilter("ignore")
        root = zarr.create_group(path, zarr_format=zarr_format, attributes=attrs or {})
        for name, (dims, values, *more) in arrays.items():
            values = np.asarray(values)
            own, options = (more + [{}, {}])[:2]
            chunks = options.get("chunks", values.shape)
            fill = options.get("fill", "" if values.dtype.kind == "U" else 0)
            if dims is None or dims == ():
                made = root.create_array(name, shape=values.shape, chunks=chunks, dtype=values.dtype, fill_value=fill, attributes=own)
                made[...] = values
            else:
                cube.array(root, name, values, chunks, dims, own, fill=fill)
    return path


def line(path, values, attrs=None, zarr_format=3, dtype=None, fill=0, chunk=2):
    """A cube with one variable `v` along `t`."""
    values = np.asarray(values, dtype)
    return build(path, {"v": (("t",), values, attrs or {}, {"chunks": (chunk,), "fill": fill})}, zarr_format)
