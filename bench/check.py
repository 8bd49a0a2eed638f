"""Compares one result with the loop by hand.

    python check.py JOB HAND.npy RESULT      RESULT: .npy, a cube that chunkwise wrote, or its JSON

Prints one JSON line. Whole numbers exactly; medians exactly; other figures to 1e-5 (xarray adds float32 values up).
"""

import json
import sys
import warnings

import numpy as np

import cubes
import jobs


def result_of(job, path):
    if path.endswith(".npy"):
        return np.load(path)
    if path.endswith(".json"):
        with open(path) as file:
            records = json.load(file)
        if job == "series":
            return np.array([np.nan if r["ndvi"] is None else r["ndvi"] for r in records])
        return np.array([[r[k] for k in jobs.COLUMNS] for r in records], np.float64)
    import zarr

    return np.asarray(zarr.open_group(path, mode="r")["ndvi" if job == "ndvi-mean" else cubes.ARRAY][...])


def main(job, hand, path):
    want, got = np.load(hand).astype(np.float64), result_of(job, path)
    if got.shape != want.shape:
        return {"ok": False, "note": f"shape {got.shape}, should be {want.shape}"}
    got = got.astype(np.float64)
    missing = np.isnan(want)
    if not np.array_equal(np.isnan(got), missing):
        return {"ok": False, "note": f"missing in {int(np.isnan(got).sum())} cells, should be in {int(missing.sum())}"}
    off = np.abs(got - want)[~missing]
    relative = float((off / np.maximum(np.abs(want[~missing]), 1e-9)).max(initial=0))
    exact = job in ("bands", "stats") and (got[:, 0] != want[:, 0]).any()
    return {"ok": bool(relative <= 1e-5 and not exact), "relative": relative}


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    print(json.dumps(main(*sys.argv[1:4])))
