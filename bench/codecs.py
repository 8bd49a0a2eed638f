"""Ratio and speed of the codecs that every Zarr reader has, on real and made chunks.

    CHUNKWISE_DATA=… python bench/codecs.py [--markdown docs/codecs.md]

Needs numpy, numcodecs and zarr. One thread; each figure is the best of several runs in CPU time of the thread, so
that other load on the machine matters little. numcodecs is the C code that zarr-python, and in other versions
chunkwise, TensorStore and GDAL use.
"""

import argparse
import math
import os
import platform
import time

import numcodecs
import numpy as np
import zarr
from numcodecs import GZip, Zstd, blosc

blosc.set_nthreads(1)
blosc.use_threads = False

CODECS = {
    "none": lambda: None,
    "zstd:1": lambda: Zstd(level=1),
    "zstd:3": lambda: Zstd(level=3),
    "zstd:9": lambda: Zstd(level=9),
    "gzip:1": lambda: GZip(level=1),
    "gzip:5": lambda: GZip(level=5),
    "blosc:lz4:5:noshuffle": lambda: blosc.Blosc("lz4", 5, blosc.NOSHUFFLE),
    "blosc:lz4:5:shuffle": lambda: blosc.Blosc("lz4", 5, blosc.SHUFFLE),
    "blosc:lz4:5:bitshuffle": lambda: blosc.Blosc("lz4", 5, blosc.BITSHUFFLE),
}
for level in (1, 3, 5):
    for name, flag in (("shuffle", blosc.SHUFFLE), ("bitshuffle", blosc.BITSHUFFLE)):
        CODECS[f"blosc:zstd:{level}:{name}"] = lambda level=level, flag=flag: blosc.Blosc("zstd", level, flag)


def demo(months=3):
    """Some months of the demo cube: 4 bands, 1000 x 1000, uint16, noise of 9 bits."""
    y = np.arange(1000.0)[:, None]
    x = np.arange(1000.0)[None, :]
    pattern = (
        2000 * y / 1000
        + x
        + 3000 * np.sin(np.pi * y / 100) * np.cos(np.pi * x / 100)
        + 2000 * np.sin(np.pi * y / 25) * np.sin(np.pi * x / 25)
    )
    rng = np.random.default_rng(1)
    out = np.empty((months, 4, 1000, 1000), "u2")
    for m in range(months):
        c = math.cos(math.pi * m / 6)
        for b, (base, season) in enumerate(zip((8000, 10000, 7000, 15000), (-0.3, 0.1, 0.1, 0.5))):
            value = base + pattern + 5000 * season * c + rng.uniform(-250, 250, pattern.shape)
            out[m, b] = np.rint(np.clip(value, 0, 65535))
    return out


def cut(array, chunk):
    """Whole chunks of an array, at most 24 of them."""
    chunk = tuple(min(c, n) for c, n in zip(chunk, array.shape))
    grid = [range(0, n - c + 1, c) for n, c in zip(array.shape, chunk)]
    found = []
    for index in np.ndindex(*[len(g) for g in grid]):
        at = tuple(slice(g[i], g[i] + c) for g, i, c in zip(grid, index, chunk))
        found.append(np.ascontiguousarray(array[at]))
    return found[:: max(1, len(found) // 24)][:24]


def datasets(root):
    made = demo()
    yield "demo cube, uint16", cut(made, (1, 4, 250, 250))
    yield "demo cube, mean over time, float32", cut(made.mean(0).astype("f4"), (4, 250, 250))
    yield "demo cube, mean over time, float64", cut(made.mean(0), (4, 250, 250))

    def read(path, name):
        return zarr.open(os.path.join(root, path), mode="r")[name][...]

    s2 = read("s2-l2a-belgium/cube.zarr", "reflectance")
    seen = s2[[t for t in range(len(s2)) if (s2[t] != 65535).any()]]
    yield "Sentinel-2 L2A Belgium, uint16", cut(seen, (1, 9, 100, 100))
    yield "Sentinel-2 L2A Belgium, chunks through time, uint16", cut(seen, (10, 1, 100, 100))
    masked = np.where(seen == 65535, np.nan, seen * 1e-4)
    yield "Sentinel-2 L2A Belgium, mean over time, float32", cut(np.nanmean(masked, 0).astype("f4"), (9, 100, 100))
    red, nir = masked[:, 2], masked[:, 6]
    yield "Sentinel-2 L2A Belgium, NDVI, float32", cut(((nir - red) / (nir + red)).astype("f4"), (5, 100, 100))
    yield "Landsat 8 New York, uint16", cut(read("landsat8-nyc-2018/cube.zarr", "dn"), (6, 4, 66, 63))
    olci = read("olci-chlorophyll-xcube/cube-1-250-250.zarr", "conc_chl")
    yield "OLCI chlorophyll (79 % missing), float64", cut(olci, (1, 250, 250))
    yield "OLCI chlorophyll, float32", cut(olci.astype("f4"), (1, 250, 250))
    packed = zarr.open(os.path.join(root, "climate-a1b-north-america/packed.zarr"), mode="r")["air_temperature"]
    k = dict(packed.attrs)
    yield "air temperature, packed int16", cut(packed[...], (240, 37, 49))
    real = packed[...] * k.get("scale_factor", 1.0) + k.get("add_offset", 0.0)
    yield "air temperature, float32", cut(climate(root, real), (240, 37, 49))
    yield "cloud mask Slovenia, uint8", cut(np.asarray(read("s2-l1c-slovenia/series.zarr", mask_name(root))), (34, 101, 100))


def climate(root, fallback):
    try:
        import netCDF4

        with netCDF4.Dataset(os.path.join(root, "climate-a1b-north-america/A1B_north_america.nc")) as file:
            return np.asarray(file["air_temperature"][:], "f4")
    except (ImportError, OSError):
        return fallback.astype("f4")


def mask_name(root):
    group = zarr.open(os.path.join(root, "s2-l1c-slovenia/series.zarr"), mode="r")
    return next(n for n, a in group.arrays() if a.dtype == np.uint8 and a.ndim == 3)


def best(work, runs):
    least = math.inf
    for _ in range(runs):
        start = time.thread_time()
        work()
        least = min(least, time.thread_time() - start)
    return least


def measure(chunks, codec, runs):
    raw = sum(c.nbytes for c in chunks)
    if codec is None:
        return 1.0, None, None
    encoded = [codec.encode(c) for c in chunks]
    buffers = [np.empty_like(c) for c in chunks]
    enc = best(lambda: [codec.encode(c) for c in chunks], max(1, runs // 2))
    dec = best(lambda: [codec.decode(e, out=b) for e, b in zip(encoded, buffers)], runs)
    for c, b in zip(chunks, buffers):
        assert c.tobytes() == b.tobytes()
    return raw / sum(len(e) for e in encoded), raw / 1e6 / enc, raw / 1e6 / dec


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=7)
    args = parser.parse_args()
    print(f"numcodecs {numcodecs.__version__}, Python {platform.python_version()}, one thread\n")
    for name, chunks in datasets(os.environ["CHUNKWISE_DATA"]):
        print(f"### {name}\n\n{len(chunks)} chunks of {chunks[0].nbytes / 1e3:.0f} kB\n")
        print("| codec | ratio | encode MB/s | decode MB/s |\n|---|---:|---:|---:|")
        for label, make in CODECS.items():
            ratio, enc, dec = measure(chunks, make(), args.runs)
            if enc is not None:
                print(f"| {label} | {ratio:.2f} | {enc:.0f} | {dec:.0f} |", flush=True)
        print()


if __name__ == "__main__":
    main()
