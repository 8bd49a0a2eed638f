"""GeoTIFFs for the tests of `chunkwise import`, written with rasterio, and cubes read back with xarray."""

import warnings

import numpy as np
import rasterio
import xarray
from rasterio.transform import Affine, from_origin

warnings.filterwarnings("ignore", category=rasterio.errors.NotGeoreferencedWarning)

GRID = from_origin(500000, 5000000, 30, 30)
CRS = "EPSG:32633"


def write(path, values, transform=GRID, crs=CRS, names=(), scales=None, offsets=None, **options):
    """A GeoTIFF of `values` (band, y, x)."""
    values = np.asarray(values)
    bands, rows, columns = values.shape
    profile = {"driver": "GTiff", "height": rows, "width": columns, "count": bands, "dtype": values.dtype}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **profile, transform=transform, crs=crs, **options) as file:
        file.write(values)
        for i, name in enumerate(names):
            file.set_band_description(i + 1, name)
        if scales:
            file.scales, file.offsets = scales, offsets
    return path


def read(path, masked=False):
    with rasterio.open(path) as file:
        return file.read(masked=masked)


def stored(path):
    """A cube as it is stored."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return xarray.open_zarr(path, mask_and_scale=False).load()


def decoded(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return xarray.open_zarr(path).load()


def transform_of(cube):
    return Affine.from_gdal(*map(float, cube.spatial_ref.attrs["GeoTransform"].split()))


def field(rows=150, columns=170, dtype="float32", bands=1, seed=1):
    """Values that change from cell to cell, and differ between bands."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:rows, 0:columns]
    plane = 5000 + 2000 * np.sin(x / 9) + 1500 * np.cos(y / 7)
    return np.stack([plane + 100 * b + random.uniform(-300, 300, x.shape) for b in range(bands)]).astype(dtype)
