"""One peer, one job, one cube, once; the whole process is what is timed.

    python peers.py PEER JOB SCALE STORE [--out RESULT.npy]

xarray   xarray and dask on two threads, as a competent user writes it: one dask chunk per column of Zarr chunks for
         what reduces over time, 12 steps for what reduces over all; no masking where the cube has no missing cells
naive    xarray.open_zarr(path, chunks={}) with its defaults
ts       tensorstore, a loop over blocks on two threads, numpy on each
hand     open(), numcodecs and numpy, a loop over chunks on two threads; knows this layout, no Zarr library
"""

import argparse
import os
import warnings
from concurrent.futures import ThreadPoolExecutor

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402

import cubes  # noqa: E402
import jobs  # noqa: E402

THREADS = 2
FILL, SCALE = 65535, 0.0001  # of cube C


def pooled(work, items):
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, items))


# --- xarray -------------------------------------------------------------------------------------------------------------


def by_xarray(job, scale, store, naive):
    import dask
    import xarray
    import zarr

    warnings.filterwarnings("ignore")
    dask.config.set(scheduler="threads", num_workers=THREADS)
    zarr.config.set({"threading.max_workers": THREADS})
    column, steps = {"time": -1, "band": 4, "y": 250, "x": 250}, {"time": 12, "band": 4, "y": 250, "x": 250}
    chunks = {} if naive else {"series": None, "bands": steps, "stats": steps}.get(job, column)
    data = xarray.open_zarr(cubes.store_path(scale, store), chunks=chunks, mask_and_scale=naive or scale == "C")[cubes.ARRAY]
    row, col = cubes.pixel(scale)

    def ndvi(of):
        of = of.astype("float64")
        red, nir = of.sel(band="red", drop=True), of.sel(band="nir", drop=True)
        return (nir - red) / (nir + red)

    if job == "mean":
        return data.mean("time").astype("float32").compute().values
    if job == "median":
        return data.median("time").astype("float32").compute().values
    if job == "ndvi-mean":
        return ndvi(data).mean("time").astype("float32").compute().values
    if job == "series":
        return ndvi(data.isel(y=row, x=col).load()).values
    over = ("time", "y", "x") if job == "bands" else ("time", "band", "y", "x")
    of = data.astype("float64") if data.dtype == np.float32 else data
    found = {"count": of.count(over), "min": of.min(over), "max": of.max(over), "mean": of.mean(over), "std": of.std(over)}
    done = xarray.Dataset(found).compute()
    return np.stack([np.atleast_1d(done[k].values).astype("float64") for k in jobs.COLUMNS], -1)


# --- what tensorstore and the loop by hand share: numpy on blocks of stored counts -----------------------------------------


def sums(block, fill):
    """count, min, max, sum and sum of squares of each band of a (…, band, y, x) block; exact in float64 and integers."""
    rows = []
    for band in np.moveaxis(block, -3, 0):
        valid = band.reshape(-1) if fill is None else band[band != fill]
        if not valid.size:
            rows.append((0, 65535, 0, 0, 0))
            continue
        exact = valid.astype(np.float64)
        rows.append((valid.size, int(valid.min()), int(valid.max()), int(exact.sum()), int(exact.dot(exact))))
    return rows


def totals(parts, job, scale):
    """The statistics of all parts together, in values."""
    table = []
    bands = range(4)
    for group in [[b] for b in bands] if job == "bands" else [list(bands)]:
        picked = [p[b] for p in parts for b in group]
        n, low, high, s1, s2 = zip(*picked)
        n, s1, s2 = sum(n), sum(s1), sum(s2)
        table.append([n, min(low), max(high), s1 / n, ((s2 * n - s1 * s1) / (n * n)) ** 0.5])
    table = np.array(table, np.float64)
    if scale == "C":
        table[:, 1:] *= SCALE
    return table


def ndvi(red, nir, fill):
    red, nir = red.astype(np.float64), nir.astype(np.float64)
    if fill is not None:
        red[red == fill] = np.nan
        nir[nir == fill] = np.nan
    with np.errstate(all="ignore"):
        return (nir - red) / (nir + red)


def mean_of(steps, fill):
    """Mean over time of an iterable of (band, y, x) or longer blocks."""
    total, count = 0, 0
    for block in steps:
        block = block.reshape(-1, *block.shape[-3:])
        if fill is None:
            total, count = total + block.sum(0, dtype=np.uint32), count + len(block)
        else:
            there = block != fill
            total = total + np.where(there, block, 0).sum(0, dtype=np.uint32)
            count = count + there.sum(0)
    with np.errstate(all="ignore"):
        return (total / count * (1 if fill is None else SCALE)).astype(np.float32)


def ndvi_mean_of(steps, fill):
    total, count = 0.0, 0
    for block in steps:
        block = block.reshape(-1, *block.shape[-3:])
        value = ndvi(block[:, 0], block[:, 3], fill)
        there = ~np.isnan(value)
        total, count = total + np.where(there, value, 0).sum(0), count + there.sum(0)
    with np.errstate(all="ignore"):
        return (total / count).astype(np.float32)


def median_of(block, fill):
    """Median over time of (time, band, y, x); the fill value, being the largest, sorts last."""
    out = np.empty(block.shape[1:], np.float32)
    for b in range(block.shape[1]):
        series = np.ascontiguousarray(np.moveaxis(block[:, b], 0, -1))
        if fill is None:
            n = series.shape[-1]
            low, high = (n - 1) // 2, n // 2
            series.partition((low, high) if low != high else low, axis=-1)
            out[b] = (series[..., low].astype(np.float32) + series[..., high]) / 2
            continue
        series.sort(axis=-1)
        n = (series != fill).sum(-1)
        ends = [np.take_along_axis(series, np.maximum(i, 0)[..., None], -1)[..., 0] for i in ((n - 1) // 2, n // 2)]
        out[b] = np.where(n > 0, (ends[0].astype(np.float64) + ends[1]) / 2 * SCALE, np.nan)
    return out


def in_blocks(job, scale, read, chunk):
    """A job from `read(steps, y, x)`, which gives a block of counts; `chunk` names the (y, x) chunks to walk over."""
    steps, _, height, width = cubes.SHAPES[scale]
    fill = FILL if scale == "C" else None
    if job == "series":
        row, col = cubes.pixel(scale)
        block = read(slice(0, steps), slice(row, row + 1), slice(col, col + 1))
        return ndvi(block[:, 0], block[:, 3], fill).reshape(-1)
    places = [(slice(y, y + chunk), slice(x, x + chunk)) for y in range(0, height, chunk) for x in range(0, width, chunk)]
    if job in ("bands", "stats"):
        walk = [(slice(t, t + 1), *p) for p in places for t in range(steps)]
        return totals(pooled(lambda place: sums(read(*place), fill), walk), job, scale)
    out = np.empty((height, width) if job == "ndvi-mean" else (4, height, width), np.float32)

    def column(place):
        if job == "median":
            out[(..., *place)] = median_of(read(slice(0, steps), *place), fill)
            return
        blocks = (read(slice(t, min(t + 12, steps)), *place) for t in range(0, steps, 12))
        out[(..., *place)] = (mean_of if job == "mean" else ndvi_mean_of)(blocks, fill)

    pooled(column, places)
    return out


def by_tensorstore(job, scale, store):
    import tensorstore

    limits = {
        "data_copy_concurrency": {"limit": THREADS},
        "file_io_concurrency": {"limit": 2 * THREADS},
        "cache_pool": {"total_bytes_limit": 0},
    }
    place = {"driver": "file", "path": f"{cubes.store_path(scale, store)}/{cubes.ARRAY}"}
    spec = {"driver": "zarr3" if store == "v3" else "zarr", "kvstore": place}
    source = tensorstore.open(spec, open=True, context=tensorstore.Context(limits)).result()
    return in_blocks(job, scale, lambda t, y, x: source[t, :, y, x].read().result(), 250)


def by_hand(job, scale, store):
    import threading

    import numcodecs

    numcodecs.blosc.use_threads = False
    decode = numcodecs.Zstd().decode if store == "v3" else numcodecs.Blosc().decode
    base = f"{cubes.store_path(scale, store)}/{cubes.ARRAY}"
    local = threading.local()

    def chunk(t, y, x, out):
        name = f"{base}/c/{t}/0/{y}/{x}" if store == "v3" else f"{base}/{t}.0.{y}.{x}"
        try:
            with open(name, "rb", buffering=0) as file:
                decode(file.read(), out)
        except FileNotFoundError:  # absent: a month without data in cube C
            out[:] = FILL

    def read(steps, ys, xs):
        y, x, n = ys.start // 250, xs.start // 250, steps.stop - steps.start
        if getattr(local, "n", 0) != n:
            local.n, local.block = n, np.empty((n, 4, 250, 250), np.uint16)
        for i, t in enumerate(range(steps.start, steps.stop)):
            chunk(t, y, x, local.block[i])
        return local.block[:, :, ys.start - 250 * y : ys.stop - 250 * y, xs.start - 250 * x : xs.stop - 250 * x]

    return in_blocks(job, scale, read, 250)


PEERS = {
    "xarray": lambda *job: by_xarray(*job, naive=False),
    "naive": lambda *job: by_xarray(*job, naive=True),
    "ts": by_tensorstore,
    "hand": by_hand,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("job", choices=jobs.JOBS)
    parser.add_argument("scale", choices=cubes.SHAPES)
    parser.add_argument("store", choices=cubes.STORES)
    parser.add_argument("--out", help="keep the result here (.npy)")
    args = parser.parse_args()
    result = PEERS[args.peer](args.job, args.scale, args.store)
    if args.out:
        np.save(args.out, result)


if __name__ == "__main__":
    main()
