"""The main jobs on real cubes, against figures that other tools computed.

Each row of FIGURES is a command, what is picked from its answer, and where the right value comes from: mostly the
`expected.json` beside the cube (made with xarray, numpy and zarr-python; versions are in it).
"""

import dataclasses
import functools
import json
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import xarray

import cube

NDVI = "ndvi = (B08 - B04) / (B08 + B04)"
CLEAR = ["--where", "cloud_mask == 0"]
OLCI_CUBE = "cube-1-250-250.zarr"
LANDSAT_NDVI = "ndvi = ((B5*2e-5 - 0.1) - (B4*2e-5 - 0.1)) / ((B5*2e-5 - 0.1) + (B4*2e-5 - 0.1))"

FOLDERS = {
    "belgium": ("s2-l2a-belgium", "cube.zarr"),
    "belgium2": ("s2-l2a-belgium", "cube_v2.zarr"),
    "bands": ("s2-l1c-slovenia", "bands.zarr"),
    "series": ("s2-l1c-slovenia", "series.zarr"),
    "olci": ("olci-chlorophyll-xcube", "cube-1-250-250.zarr"),
    "climate": ("climate-a1b-north-america", "packed.zarr"),
    "landsat": ("landsat8-nyc-2018", "cube.zarr"),
}

# The packed climate cube against the NetCDF file that it was made from: half of its scale factor, and what float32 adds.
PACKED = {"abs": 0.0011}
FLOAT32 = {"rel": 1e-6}  # figures of a map that was written as float32


@dataclasses.dataclass
class Figure:
    """One figure: `command` on `cube`, `pick` from its records, `want` from the expectations or the cube itself."""

    name: str
    cube: str
    command: list
    pick: Callable
    want: Callable
    near: dict = dataclasses.field(default_factory=lambda: {"rel": 1e-9, "abs": 1e-12})
    then: list | None = None  # a second command, on what the first wrote with -o

    def __str__(self):
        return f"{self.cube}-{self.name}"


def column(key):
    return lambda records: [r[key] for r in records]


def only(key):
    """The value of the one record."""
    return lambda records: [records[0][key]] if len(records) == 1 else records


def keys(*names):
    return lambda records: [[r[n] for n in names] for r in records]


def per_date(part, *names):
    """`names` of each date of a list in the expectations."""
    return lambda want, path: [[d[n] for n in names] for d in part(want)]


def entry(part, *names):
    return lambda want, path: [[part(want)[n] for n in names]]


@functools.cache
def opened(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return xarray.open_zarr(path)


def values(path, name):
    """Values of a variable as float64, NaN where missing, by the rules of CF."""
    _, decoded, valid = cube.read(path, name)
    return np.where(valid, decoded.astype(np.float64), np.nan)


def belgian_bands(want, path):
    """Count, missing, min, max and mean of each band from the figures of each date."""
    dates = want["cube.zarr"]["per_time_band"]
    rows = []
    for b in range(9):
        full = [d for d in dates if d["fill_count"][b] == 0]
        assert all(d["fill_count"][b] in (0, 10000) for d in dates)
        low, high = min(d["dn_min"][b] for d in full), max(d["dn_max"][b] for d in full)
        mean = sum(d["mean_reflectance"][b] for d in full) / len(full)
        rows.append([10000 * len(full), 10000 * (12 - len(full)), low * 1e-4, high * 1e-4, mean])
    return rows


def time_band(want, path):
    part = want["bands.zarr"]["dn_per_time_band"]
    return [[d["min"][b] * 1e-4, d["max"][b] * 1e-4, d["mean_reflectance"][b]] for d in part for b in range(13)]


def chlorophyll_pixel(number):
    """The pixel that xarray takes as nearest, as `--iat` words, and its series."""

    def words(want, path):
        pixel = want[OLCI_CUBE]["pixels_conc_chl"][number]
        axes = opened(path)
        return [f"{d}={axes.get_index(d).get_indexer([pixel[d]], method='nearest')[0]}" for d in ("lat", "lon")]

    return words, lambda want, path: want[OLCI_CUBE]["pixels_conc_chl"][number]["series"]


def decades(want, path):
    return list(want["A1B_north_america.nc"]["mean_per_decade_unweighted"].values())


BELGIUM = (
    [
        Figure(
            "NDVI of each date",
            c,
            ["reduce", "--calc", NDVI, "--over", "y,x", "--with", "count,missing,min,max,mean,std"],
            keys("count", "missing", "min", "max", "mean", "std"),
            per_date(lambda w: w["ndvi"]["per_date"], "count", "nan", "min", "max", "mean", "std"),
        )
        for c in ("belgium", "belgium2")
    ]
    + [
        Figure(
            f"temporal {stat} of NDVI",
            c,
            ["reduce", "--calc", NDVI, "--over", "time", "--with", stat, "-o", "OUT"],
            keys("count", "missing", "min", "max", "mean", "std"),
            entry(lambda w, s=stat: w["ndvi"][f"temporal_{s}"], "count", "nan", "min", "max", "mean", "std"),
            FLOAT32,
            then=["stats"],
        )
        for c in ("belgium", "belgium2")
        for stat in ("mean", "max")
    ]
    + [
        Figure(
            "temporal std of NDVI",
            "belgium",
            ["reduce", "--calc", NDVI, "--over", "time", "--with", "std", "-o", "OUT"],
            keys("mean", "max"),
            lambda w, p: [[*(lambda s: (s.mean(), s.max()))(np.nanstd(belgian_ndvi(p), axis=0))]],
            FLOAT32,
            then=["stats"],
        ),
    ]
    + [
        Figure(
            f"NDVI series {i}",
            c,
            ["series", "--calc", NDVI, "--iat", lambda w, p, i=i: "y={y_index},x={x_index}".format(**w["ndvi"]["pixels"][i])],
            column("ndvi"),
            lambda w, p, i=i: w["ndvi"]["pixels"][i]["series"],
        )
        for c in ("belgium", "belgium2")
        for i in range(3)
    ]
    + [
        Figure(
            "each band", c, ["stats", "--var", "reflectance", "--by", "band"], keys("count", "missing", "min", "max", "mean"), belgian_bands
        )
        for c in ("belgium", "belgium2")
    ]
    + [
        Figure(
            "stored values",
            "belgium",
            ["reduce", "--var", "reflectance", "--raw", "--over", "all", "--with", "sum,count"],
            keys("sum", "count"),
            lambda w, p: [[w["cube.zarr"]["stored_sum_without_fill"] + 65535 * w["cube.zarr"]["fill_count"], 12 * 9 * 100 * 100]],
        ),
    ]
)


def belgian_ndvi(path):
    names = [str(b) for b in opened(path)["band"].values]
    all_bands = values(path, "reflectance")
    nir, red = all_bands[:, names.index("B08")], all_bands[:, names.index("B04")]
    return (nir - red) / (nir + red)


FIVE = ("count", "min", "max", "mean", "std")
SLOVENIA = (
    [
        Figure(
            "NDVI of each date",
            "bands",
            ["reduce", "--calc", NDVI, "--over", "y,x", "--with", "count,min,max,mean,std,sum"],
            keys(*FIVE, "sum"),
            per_date(lambda w: w["ndvi_from_bands"]["per_date"], *FIVE, "sum"),
        ),
        Figure(
            "each band and date",
            "bands",
            ["reduce", "--var", "reflectance", "--over", "y,x", "--with", "min,max,mean"],
            keys("min", "max", "mean"),
            time_band,
        ),
    ]
    + [
        Figure(
            f"all of {name}", "series", ["stats", "--var", name], keys(*FIVE), entry(lambda w, n=name: w["series.zarr"]["arrays"][n], *FIVE)
        )
        for name in ("ndvi", "cloud_mask", "cloud_probability", "dem", "lulc")
    ]
    + [
        Figure(
            f"temporal {stat} of clear NDVI",
            "series",
            ["reduce", "--var", "ndvi", *CLEAR, "--over", "time", "--with", stat, "-o", "OUT"],
            keys("missing", *FIVE),
            entry(lambda w, s=stat: w["series.zarr"][f"temporal_{s}_clear"], "nan", *FIVE),
            FLOAT32,
            then=["stats"],
        )
        for stat in ("mean", "max", "median")
    ]
    + [
        Figure(
            f"clear mean at pixel {i}",
            "series",
            [
                "reduce",
                "--var",
                "ndvi",
                *CLEAR,
                "--over",
                "time",
                "--with",
                "mean,count",
                "--isel",
                lambda w, p, i=i: "y={y_index}".format(**w["series.zarr"]["temporal_mean_clear"]["pixels"][i]),
                "--isel",
                lambda w, p, i=i: "x={x_index}".format(**w["series.zarr"]["temporal_mean_clear"]["pixels"][i]),
            ],
            keys("mean", "count"),
            lambda w, p, i=i: [[w["series.zarr"]["temporal_mean_clear"]["pixels"][i][k] for k in ("mean", "n")]],
        )
        for i in range(4)
    ]
    + [
        Figure(
            "mean of each date",
            "series",
            ["reduce", "--var", "ndvi", "--over", "y,x", "--with", "mean"],
            column("mean"),
            lambda w, p: w["series.zarr"]["ndvi_mean_per_date_all_pixels"],
        ),
        Figure(
            "clear mean of each date",
            "series",
            ["reduce", "--var", "ndvi", *CLEAR, "--over", "y,x", "--with", "mean"],
            column("mean"),
            lambda w, p: w["series.zarr"]["ndvi_mean_per_date_clear_pixels"],
        ),
        Figure(
            "clear share of each date",
            "series",
            ["reduce", "--calc", "clear = where(cloud_mask == 0, 1, 0)", "--over", "y,x", "--with", "mean"],
            column("mean"),
            lambda w, p: w["series.zarr"]["clear_fraction_per_date"],
        ),
        Figure(
            "monthly means of clear NDVI",
            "series",
            ["reduce", "--var", "ndvi", *CLEAR, "--every", "1month", "--with", "mean", "-o", "OUT"],
            lambda records: [[r["time"][:7], r["count"], r["mean"]] for r in records],
            lambda w, p: [[m["month"], m["valid_pixels"], m["mean"]] for m in w["series.zarr"]["monthly_mean_clear"]["months"]],
            FLOAT32,
            then=["stats", "--by", "time"],
        ),
        Figure(
            "height times NDVI",
            "series",
            ["reduce", "--calc", "p = dem * ndvi", "--over", "y,x", "--with", "mean,sum"],
            keys("mean", "sum"),
            lambda w, p: [[m.mean(), m.sum()] for m in values(p, "dem") * values(p, "ndvi")],
        ),
    ]
)

CHL = ("conc_chl", "conc_tsm", "kd489", "quality_flags", "c2rcc_flags")
OLCI = (
    [
        Figure(
            f"{name} of each date",
            "olci",
            ["stats", "--var", name, "--by", "time"],
            keys("missing", *FIVE),
            per_date(lambda w, n=name: w[OLCI_CUBE]["variables"][n]["per_time"], "nan", *FIVE),
        )
        for name in CHL
    ]
    + [
        Figure(
            "temporal mean of chlorophyll",
            "olci",
            ["reduce", "--var", "conc_chl", "--over", "time", "--with", "mean", "-o", "OUT"],
            keys("missing", *FIVE),
            entry(lambda w: w[OLCI_CUBE]["temporal_mean_conc_chl"], "nan", *FIVE),
            then=["stats"],
        ),
        Figure(
            "how many land cells",
            "olci",
            ["reduce", "--calc", 'land = where(flag(quality_flags, "land"), 1, 0)', "--over", "lat,lon", "--with", "count,sum"],
            keys("count", "sum"),
            lambda w, p: [[int((f == f).sum()), int((f[f == f].astype(np.int64) >> 31 & 1).sum())] for f in values(p, "quality_flags")],
        ),
        Figure(
            "chlorophyll in a box",
            "olci",
            ["reduce", "--var", "conc_chl", "--bbox", "2.088774,51.275067,2.876289,51.703104", "--over", "lat,lon", "--with", "count,mean"],
            keys("count", "mean"),
            lambda w, p: [[t["valid"], t["mean"]] for t in w[OLCI_CUBE]["box_mean_conc_chl"]["per_time"]],
        ),
    ]
    + [
        Figure(
            f"series of pixel {i}",
            "olci",
            ["series", "--var", "conc_chl", "--iat", lambda w, p, i=i: ",".join(chlorophyll_pixel(i)[0](w, p))],
            column("conc_chl"),
            chlorophyll_pixel(i)[1],
        )
        for i in range(4)
    ]
)

A1B = "A1B_north_america.nc"
MEAN = ["--over", "latitude,longitude", "--with", "mean"]
CLIMATE = [
    Figure(
        "mean of each year",
        "climate",
        ["reduce", "--var", "air_temperature", *MEAN],
        column("mean"),
        lambda w, p: w[A1B]["mean_per_year_unweighted"],
        PACKED,
    ),
    Figure(
        "mean of each year, packed values",
        "climate",
        ["reduce", "--var", "air_temperature", *MEAN],
        column("mean"),
        lambda w, p: values(p, "air_temperature").mean((1, 2)).tolist(),
    ),
    Figure(
        "decades",
        "climate",
        ["reduce", "--var", "air_temperature", "--every", "10year", "--over", "time,latitude,longitude", "--with", "mean"],
        column("mean"),
        decades,
        PACKED,
    ),
    Figure(
        "labels of decades",
        "climate",
        ["reduce", "--var", "air_temperature", "--every", "10year", "--over", "time,latitude,longitude", "--with", "count"],
        lambda records: [r["time"][:10] for r in records],
        lambda w, p: [f"{y}-01-01" for y in w[A1B]["mean_per_decade_unweighted"]],
    ),
    Figure(
        "climatology 1961 to 1990",
        "climate",
        ["reduce", "--var", "air_temperature", "--sel", "time=1961..1990", "--over", "time", "--with", "mean", "-o", "OUT"],
        keys("count", "min", "max", "mean", "std"),
        entry(lambda w: w[A1B]["climatology_1961_1990"], *FIVE),
        PACKED,
        then=["stats"],
    ),
    Figure(
        "temporal mean",
        "climate",
        ["reduce", "--var", "air_temperature", "--over", "time", "--with", "mean", "-o", "OUT"],
        keys(*FIVE),
        entry(lambda w: w[A1B]["temporal_mean"], *FIVE),
        PACKED,
        then=["stats"],
    ),
    Figure(
        "nearest cell",
        "climate",
        ["series", "--var", "air_temperature", "--at", "latitude=45,longitude=260.625"],
        lambda records: [r["air_temperature"] for r in records[:5]],
        lambda w, p: w[A1B]["select_nearest_lat45_lon260"]["first5"],
        PACKED,
    ),
    Figure(
        "nearest cell by a western longitude",
        "climate",
        ["series", "--var", "air_temperature", "--at", "latitude=45,longitude=-99.375"],
        lambda records: [r["air_temperature"] for r in records[:5]],
        lambda w, p: w[A1B]["select_nearest_lat45_lon260"]["first5"],
        PACKED,
    ),
] + [
    Figure(
        f"mean and std at cell {i}",
        "climate",
        [
            "reduce",
            "--var",
            "air_temperature",
            "--over",
            "time",
            "--with",
            "mean,std",
            "--isel",
            lambda w, p, i=i: "latitude={lat_index}".format(**w[A1B]["temporal_mean"]["cells"][i]),
            "--isel",
            lambda w, p, i=i: "longitude={lon_index}".format(**w[A1B]["temporal_mean"]["cells"][i]),
        ],
        keys("mean", "std"),
        lambda w, p, i=i: [[w[A1B]["temporal_mean"]["cells"][i][k] for k in ("mean", "std_ddof0")]],
        PACKED,
    )
    for i in range(3)
]

LANDSAT = [
    Figure(
        "red and near infrared of each date",
        "landsat",
        ["reduce", "--var", "dn", "--nodata", "0", "--sel", "band=B4,B5", "--over", "y,x", "--with", "count,sum"],
        lambda records: [[a["count"], a["sum"], b["sum"]] for a, b in zip(records[::2], records[1::2])],
        per_date(lambda w: w["cube.zarr"]["per_date_B4_B5"], "valid", "B4_sum", "B5_sum"),
    ),
    Figure(
        "NDVI of each date",
        "landsat",
        ["reduce", "--nodata", "0", "--calc", LANDSAT_NDVI, "--over", "y,x", "--with", "count,missing,min,max,mean,std"],
        keys("missing", *FIVE),
        per_date(lambda w: w["ndvi"]["per_date"], "nan", *FIVE),
    ),
]

FIGURES = [*BELGIUM, *SLOVENIA, *OLCI, *CLIMATE, *LANDSAT]


def same(got, want, near, place=""):
    """Numbers within `near`, whole numbers and text exactly, None only where None is wanted."""
    if isinstance(want, (list, tuple)):
        assert isinstance(got, list) and len(got) == len(want), f"{place}: {len(got)} of {len(want)} values: {got}"
        for i, (g, w) in enumerate(zip(got, want)):
            same(g, w, near, f"{place}[{i}]")
    elif want is None or isinstance(want, (str, int)):
        assert got == want, f"{place}: got {got}, should be {want}"
    else:
        assert got is not None and got == pytest.approx(float(want), **near), f"{place}: got {got}, should be {want}"


@pytest.mark.parametrize("figure", FIGURES, ids=str)
def test_figures_of_real_cubes(cw, data, tmp_path, figure):
    folder, name = FOLDERS[figure.cube]
    path = data / folder / name
    want = json.loads((data / folder / "expected.json").read_text())
    verb, *words = [w(want, path) if callable(w) else w for w in figure.command]
    run = cw(verb, path, *(tmp_path / "out.zarr" if w == "OUT" else w for w in words)).ok()
    if figure.then:
        verb, *words = figure.then
        run = cw(verb, tmp_path / "out.zarr", *words).ok()
    try:
        same(figure.pick(run.json), figure.want(want, path), figure.near)
    except (AssertionError, KeyError) as error:
        raise AssertionError(f"{error!r}\n{run}") from error


def test_how_often_each_cell_was_seen(cw, data, tmp_path):
    path = data / "olci-chlorophyll-xcube" / "cube-1-250-250.zarr"
    want = json.loads((path.parent / "expected.json").read_text())[OLCI_CUBE]["temporal_mean_conc_chl"]["observations_hist"]
    cw("reduce", path, "--var", "conc_chl", "--over", "time", "--with", "count", "-o", tmp_path / "out.zarr").ok()
    counts = np.bincount(cube.read(tmp_path / "out.zarr", "conc_chl")[0].reshape(-1), minlength=6)
    assert counts.tolist() == list(want.values())


def test_anomaly_of_the_last_decade(cw, data, tmp_path):
    """2090 to 2099 less 1961 to 1990, both as maps."""
    path = data / "climate-a1b-north-america" / "packed.zarr"
    want = json.loads((path.parent / "expected.json").read_text())[A1B]["anomaly_2090_2099_minus_1961_1990"]
    maps = []
    for period in ("1961..1990", "2090..2099"):
        out = tmp_path / f"{period}.zarr"
        words = ["--var", "air_temperature", "--sel", f"time={period}", "--over", "time", "--with", "mean"]
        cw("reduce", path, *words, "-o", out).ok()
        maps.append(cube.read(out, "air_temperature")[1].astype(np.float64))
    less = maps[1] - maps[0]
    same([less.size, less.min(), less.max(), less.mean(), less.std()], [want[k] for k in FIVE], PACKED)
    # the same as maps of the unpacked values themselves: exactly that, in float32
    unpacked, years = values(path, "air_temperature"), np.arange(1860, 2100)
    right = unpacked[years >= 2090].mean(0) - unpacked[(years >= 1961) & (years <= 1990)].mean(0)
    np.testing.assert_allclose(less, right, atol=6e-5)
