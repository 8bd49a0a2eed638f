"""Writes arrays with `scale_offset` and `cast_value` by a zarr-python that has them: `write_new.py FOLDER SEED`. Prints a JSON
object of paths and digests of what it reads back, and of paths that it cannot read."""

import json
import sys
import warnings

import numpy as np
import zarr
from read import digest
from zarr.codecs import BytesCodec, CastValue, ScaleOffset, ZstdCodec

warnings.simplefilter("ignore")

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float16", "float32", "float64"]
ROUNDING = ["nearest-even", "towards-zero", "towards-positive", "towards-negative", "nearest-away"]


def scaled(rng):
    dtype = str(rng.choice(INTEGERS + FLOATS))
    cells = rng.integers(0, 12, (5, 7)).astype(dtype)
    if dtype in FLOATS:
        cells += rng.random((5, 7)).astype(dtype)
        offset, scale = float(rng.choice([0, 1.5, -2.25, 0.1])), float(rng.choice([1, 10, 0.1, -4]))
    else:
        offset, scale = int(rng.choice([0, 0 if dtype[0] == "u" else 3])), int(rng.choice([1, 5, 10]))
    return dtype, cells, [ScaleOffset(offset=offset, scale=scale)]


def cast(rng):
    dtype, stored = str(rng.choice(INTEGERS + FLOATS)), str(rng.choice(INTEGERS + FLOATS))
    cells = rng.integers(0, 100, (5, 7)).astype(dtype)
    if dtype in FLOATS:
        cells = (cells + rng.random((5, 7))).astype(dtype)
    settings = {"data_type": stored, "rounding": str(rng.choice(ROUNDING))}
    if rng.random() < 0.3:
        settings["out_of_range"] = "clamp"
    if dtype in FLOATS and stored in INTEGERS and rng.random() < 0.5:
        cells[0, 0] = np.nan
        settings["scalar_map"] = {"encode": [["NaN", 101]], "decode": [[101, "NaN"]]}
    return dtype, cells, [CastValue(**settings)]


def both(rng):
    cells = (rng.integers(0, 100, (5, 7)) * 0.5 + 20).astype("float32")
    return "float32", cells, [ScaleOffset(offset=20, scale=2), CastValue(data_type="uint8")]


if __name__ == "__main__":
    folder, rng = sys.argv[1], np.random.default_rng(int(sys.argv[2]))
    found = {}
    for at in range(90):
        dtype, cells, filters = (scaled, cast, both)[at % 3](rng)
        path = f"{folder}/{at}.zarr"
        endian = str(rng.choice(["little", "big"]))
        found[path] = None
        try:
            array = zarr.create_array(
                path,
                shape=cells.shape,
                chunks=(3, 4),
                dtype=dtype,
                filters=filters,
                serializer=BytesCodec(endian=endian),
                compressors=[ZstdCodec()],
                fill_value=0,
            )
            array[...] = cells
            found[path] = digest(array[...])
        except Exception:  # what it does not write is no test for a reader
            continue
    json.dump(found, sys.stdout)
