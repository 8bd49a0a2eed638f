"""Where the benchmark cubes live and what they look like. Imports nothing heavy, so that the driver stays small."""

import os
import tempfile

DATA = os.environ.get("BENCH_DATA", os.path.join(tempfile.gettempdir(), "bench-data"))
OUT = os.path.join(DATA, "out")  # what jobs write; emptied after each run

ARRAY = "reflectance"
DIMS = ("time", "band", "y", "x")
CHUNKS = (1, 4, 250, 250)
BANDS = ("red", "green", "blue", "nir")
# The Belgian cube's names for the same four, in the order of BANDS.
SENTINEL_BANDS = ("B04", "B03", "B02", "B08")

# scale -> (time, band, y, x); T is for trying the scripts out
SHAPES = {
    "T": (12, 4, 500, 500),
    "S": (12, 4, 1000, 1000),
    "M": (120, 4, 2000, 2000),
    "C": (120, 4, 2000, 2000),
}
# v3: Zarr v3, zstd level 3; v2: Zarr v2, blosc lz4 shuffle (zarr-python's default for v2)
STORES = ("v3", "v2")


def store_path(scale, store):
    return os.path.join(DATA, f"{scale.lower()}_{store}.zarr")


def raw_path(scale):
    return os.path.join(DATA, f"{scale.lower()}_raw.npy")


def pixel(scale):
    """Row and column of the pixel whose series is asked for."""
    _, _, height, width = SHAPES[scale]
    return (500, 500) if min(height, width) > 500 else (height // 2, width // 2)
