"""The jobs, and how chunkwise is asked for each. Imports nothing heavy."""

import cubes

NDVI = "ndvi = (nir - red) / (nir + red)"

# job -> what its result is: every contestant must give this array
JOBS = {
    "mean": "mean over time of every band and pixel: float32 (band, y, x)",
    "median": "median over time of every band and pixel: float32 (band, y, x)",
    "ndvi-mean": "mean over time of NDVI: float32 (y, x)",
    "bands": "count, min, max, mean, std of each band: (band, 5)",
    "stats": "count, min, max, mean, std of the whole cube: (1, 5)",
    "series": "NDVI of one pixel at every time: (time,)",
}
# mode of floor.c that does the job by hand, where there is one; not on cube C, whose missing cells it does not know
IN_C = {"mean": "mean", "median": "median", "ndvi-mean": "ndvimean", "bands": "stats", "stats": "stats"}
COLUMNS = ("count", "min", "max", "mean", "std")


def chunkwise(job, scale, store, out):
    """The command line of a job; `out` is a path, or `none` where nothing is to be written."""
    path = cubes.store_path(scale, store)
    row, column = cubes.pixel(scale)
    over_time = ["--over", "time", "--threads", "2", "-o", out]
    return {
        "mean": ["reduce", path, "--var", cubes.ARRAY, "--with", "mean", *over_time],
        "median": ["reduce", path, "--var", cubes.ARRAY, "--with", "median", *over_time],
        "ndvi-mean": ["reduce", path, "--calc", NDVI, "--with", "mean", *over_time],
        "bands": ["stats", path, "--var", cubes.ARRAY, "--by", "band", "--json", "--threads", "2"],
        "stats": ["stats", path, "--var", cubes.ARRAY, "--json", "--threads", "2"],
        "series": ["series", path, "--calc", NDVI, "--iat", f"y={row},x={column}", "--json", "--threads", "2"],
    }[job]


def writes(job):
    return job in ("mean", "median", "ndvi-mean")


def floor(mode, job, scale, store):
    """Arguments of the C program for a job: `read`, `dec`, or the job by hand."""
    steps, _, height, width = cubes.SHAPES[scale]
    array = f"{cubes.store_path(scale, store)}/{cubes.ARRAY}"
    words = [mode, array, "zstd" if store == "v3" else "blosc", store, "2", str(steps), str(height), str(width)]
    if job == "series":
        y, x = (i // 250 for i in cubes.pixel(scale))
        words += [str(v) for v in (0, steps, y, y + 1, x, x + 1)]
    return words
