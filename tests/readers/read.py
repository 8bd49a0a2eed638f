"""Reads arrays with the zarr-python of this interpreter: a JSON list of folders on standard input, an object of digests or
errors on standard output."""

import hashlib
import json
import sys
import warnings

import numpy as np
import zarr

warnings.simplefilter("ignore")


def digest(cells):
    cells = np.asarray(cells)
    if cells.dtype.kind in "UTO":
        encoded = json.dumps([str(v) for v in cells.ravel()], ensure_ascii=False, separators=(",", ":")).encode()
    else:
        encoded = np.ascontiguousarray(cells.astype(cells.dtype.newbyteorder("<"))).tobytes()
    return hashlib.sha256(encoded).hexdigest()


if __name__ == "__main__":
    found = {}
    for path in json.load(sys.stdin):
        try:
            cells = zarr.open(path, mode="r")[...]
            found[path] = {"sha256": digest(cells), "shape": list(np.shape(cells))}
        except Exception as error:  # whatever a reader says is its answer
            found[path] = {"error": repr(error)[:300]}
    json.dump(found, sys.stdout)
