"""Makes the benchmark cubes, from a fixed seed.

    python make_cube.py S                      both stores of scale S
    python make_cube.py M --stores v3 v2
    python make_cube.py C --stores v3          needs CHUNKWISE_DATA (s2-l2a-belgium)

S and M are smooth fields with 9 bits of noise and a season in red and near infrared. C is texture of a real
Sentinel-2 L2A series, 100 x 100 cells, tiled to the shape of M: each tile is turned and shifted in value by its own
few counts, so that the compressor sees real texture and not the repetition.
"""

import argparse
import math
import os
import shutil
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import cubes

SEED = 20250422
BASE = (8000.0, 10000.0, 7000.0, 15000.0)
FILL = 65535  # of the Belgian cube


def season(step, band):
    angle = step * math.pi / 6
    return {0: -0.3, 3: 0.5}.get(band, 0.1) * math.cos(angle)


def pattern(height, width):
    y = np.arange(height, dtype=np.float64)[:, None]
    x = np.arange(width, dtype=np.float64)[None, :]
    terrain = np.sin(y * math.pi / 100) * np.cos(x * math.pi / 100)
    patches = np.sin(y * math.pi / 25) * np.sin(x * math.pi / 25)
    return y / height * 2000 + x / width * 1000 + terrain * 3000 + patches * 2000


def synthetic_plane(step, band, field):
    values = np.random.default_rng([SEED, step, band]).random(field.shape)
    values -= 0.5
    values *= 500
    values += field
    values += BASE[band] + season(step, band) * 5000
    np.clip(values, 0, 65535, out=values)
    values += 0.5
    return np.floor(values).astype(np.uint16)


def synthetic(scale):
    """step -> (band, y, x) of the made-up cubes."""
    _, bands, height, width = cubes.SHAPES[scale]
    field = pattern(height, width)
    return lambda step: np.stack([synthetic_plane(step, b, field) for b in range(bands)])


def turned(tile, how):
    """One of four turns that change the content of rows (a flip up-down would not, for the compressor)."""
    tile = tile.transpose(0, 2, 1) if how & 1 else tile
    return tile[:, :, ::-1] if how & 2 else tile


def belgian(scale):
    """step -> (band, y, x) of the tiled Sentinel-2 cube, in stored counts."""
    import zarr

    data = os.environ.get("CHUNKWISE_DATA")
    if not data:
        raise SystemExit("error: cube C is made from real data: set CHUNKWISE_DATA to the folder with s2-l2a-belgium")
    source = zarr.open_group(os.path.join(data, "s2-l2a-belgium", "cube.zarr"), mode="r")
    names = [str(name) for name in source["band"][:]]
    picked = source["reflectance"][:][:, [names.index(b) for b in cubes.SENTINEL_BANDS]]
    _, bands, height, width = cubes.SHAPES[scale]
    side = picked.shape[2]

    def step_of(step):
        month = picked[step % len(picked)]
        out = np.empty((bands, height, width), np.uint16)
        for i in range(0, height, side):
            for j in range(0, width, side):
                row, column, year = i // side, j // side, step // len(picked)
                tile = turned(month, (row + 2 * column + year) % 4).astype(np.int32)
                shift = (37 * row + 17 * column + 5 * year) % 101
                tile = np.where(tile == FILL, FILL, np.minimum(tile + shift, FILL - 1))
                out[:, i : i + side, j : j + side] = tile[:, : height - i, : width - j]
        return out

    return step_of


def make_raw(scale):
    path = cubes.raw_path(scale)
    if os.path.exists(path):
        return np.load(path, mmap_mode="r")
    shape = cubes.SHAPES[scale]
    step_of = belgian(scale) if scale == "C" else synthetic(scale)
    out = np.lib.format.open_memmap(path + ".part", mode="w+", dtype=np.uint16, shape=shape)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda step: out.__setitem__(step, step_of(step)), range(shape[0])))
    out.flush()
    os.rename(path + ".part", path)
    return np.load(path, mmap_mode="r")


def make_store(scale, store, raw):
    import numcodecs
    import zarr
    from zarr.codecs import ZstdCodec

    path = cubes.store_path(scale, store)
    if os.path.exists(path):
        return
    shutil.rmtree(path + ".part", ignore_errors=True)
    zarr_format = 3 if store == "v3" else 2
    codec = ZstdCodec(level=3) if store == "v3" else numcodecs.Blosc(cname="lz4", clevel=5, shuffle=1)
    root = zarr.create_group(path + ".part", zarr_format=zarr_format, attributes={"title": f"benchmark cube {scale}"})
    steps, _, height, width = raw.shape

    def create(name, shape, chunks, dtype, dims, attrs=None, fill=0):
        attrs = dict(attrs or {})
        options = {"dimension_names": dims} if zarr_format == 3 else {}
        if zarr_format == 2:
            attrs["_ARRAY_DIMENSIONS"] = list(dims)
        return root.create_array(
            name, shape=shape, chunks=chunks, dtype=dtype, fill_value=fill, compressors=codec, attributes=attrs, **options
        )

    real = {"_FillValue": FILL, "scale_factor": 0.0001} if scale == "C" else {}
    array = create(cubes.ARRAY, raw.shape, cubes.CHUNKS, "uint16", cubes.DIMS, real, FILL if real else 0)
    months = (np.datetime64("2015-01", "M") + np.arange(steps)).astype("datetime64[D]")
    days = (months - np.datetime64("2015-01-01")).astype("int64")
    calendar = {"units": "days since 2015-01-01", "calendar": "proleptic_gregorian"}
    create("time", (steps,), (steps,), "int64", ("time",), calendar, fill=-1)[:] = days
    create("band", (4,), (4,), "<U5", ("band",), fill="")[:] = np.array(cubes.BANDS, "<U5")
    create("y", (height,), (height,), "float64", ("y",), {"units": "m"}, fill=0.0)[:] = 4e6 - (np.arange(height) + 0.5) * 30
    create("x", (width,), (width,), "float64", ("x",), {"units": "m"}, fill=0.0)[:] = 5e5 + (np.arange(width) + 0.5) * 30
    for step in range(steps):
        array[step] = np.asarray(raw[step])
    zarr.consolidate_metadata(path + ".part")
    os.rename(path + ".part", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scale", choices=list(cubes.SHAPES))
    parser.add_argument("--stores", nargs="*", default=cubes.STORES, choices=cubes.STORES)
    parser.add_argument("--keep-raw", action="store_true", help="keep the uncompressed .npy")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    os.makedirs(cubes.DATA, exist_ok=True)
    if all(os.path.exists(cubes.store_path(args.scale, s)) for s in args.stores):
        return
    started = time.time()
    raw = make_raw(args.scale)
    print(f"{args.scale}: values, {time.time() - started:.0f} s", flush=True)
    for store in args.stores:
        started = time.time()
        make_store(args.scale, store, raw)
        print(f"{args.scale}: {cubes.store_path(args.scale, store)}, {time.time() - started:.0f} s", flush=True)
    if not args.keep_raw:
        os.remove(cubes.raw_path(args.scale))


if __name__ == "__main__":
    main()
