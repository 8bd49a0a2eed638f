"""Nothing that the command line can do is missing in Python: each command and option beside what is written in Python.

The commands and options are those that the extension lists itself, so that a new one fails here until it stands below.
What is written is run up to the engine: it must say the option.
"""

import json

import chunkwise as cw
import numpy as np
import pytest
from chunkwise import _chunkwise
from chunkwise._lazy import Lazy

LISTED = json.loads(_chunkwise.commands())
COMMANDS = {command["name"]: command for command in LISTED["commands"]}


class No(str):
    """Why an option or a command has no counterpart."""


class Says:
    """What is written in Python, and the words that it must come to, where these are not the option itself."""

    def __init__(self, call, *words):
        self.call, self.words = call, words


# --- what many commands share -----------------------------------------------------------------------------------------


def running(run, but=()):
    """Options of every job. `run(cube, **keywords)` is what takes them."""
    found = {
        "memory": Says(lambda c: run(c, memory="77MiB"), "--memory 80740352"),
        "threads": Says(lambda c: run(c, threads=3), "--threads 3"),
        "explain": Says(lambda c: run(c, explain=True)),
        "egress_price": Says(lambda c: run(c, egress_price=0.09), "--egress-price 0.09"),
        "request_price": Says(lambda c: run(c, egress_price=0.09, request_price=0.005), "--request-price 0.005"),
        "max_requests": Says(lambda c: run(c, max_requests=7), "--max-requests 7"),
        "max_bytes": Says(lambda c: run(c, max_bytes="2kB"), "--max-bytes 2000"),
        "allow_redecode": Says(lambda c: run(c, allow_redecode=True)),
    }
    return {name: how for name, how in found.items() if name not in but}


def selection(run):
    """What is read. `run(cube_or_array)` asks something of it."""
    # Labels and boxes are found when they are asked for: `sel` and `bbox` come to indices.
    return {
        "cube": Says(lambda c: run(c), "{cube}"),
        "var": Says(lambda c: run(c["dn"]), "--var dn"),
        "sel": Says(lambda c: run(c.sel(y=slice(30, 20))), "--isel y=10:21"),
        "isel": Says(lambda c: run(c.isel(y=slice(3, 7))), "--isel y=3:7"),
        "bbox": Says(lambda c: run(c.bbox(0, 20, 9, 30, crs=None)), "--isel y=10:21", "--isel x=0:10"),
        "bbox_crs": Says(lambda c: run(c.bbox(0, 20, 9, 30, crs="EPSG:32633")), "--isel y=10:21"),
        "mask": Says(lambda c: run(c.where("dn > 3")), "--where dn > 3"),
        "calc": Says(lambda c: run(c.calc("2 * dn", name="two")), "--calc two = 2 * dn"),
        **reading(run),
    }


def reading(run):
    """How stored values are understood."""
    return {
        "nodata": Says(lambda c: run(cw.open(c.location, nodata=-9)), "--nodata -9"),
        "raw": Says(lambda c: run(cw.open(c.location, raw=True))),
        "valid": Says(lambda c: run(cw.open(c.location, valid=True))),
    }


def to_file(run):
    """Tables that go to files."""
    return {
        "output": Says(lambda c: run(c, path="t.csv"), "--output t.csv"),
        "overwrite": Says(lambda c: run(c, path="t.csv", overwrite=True)),
    }


def to_cube(run):
    """Cubes that are written."""
    return {
        "output": Says(lambda c: run(c, path="n.zarr"), "--output n.zarr"),
        "overwrite": Says(lambda c: run(c, overwrite=True)),
        **layout(run),
    }


def layout(run):
    return {
        "dtype": Says(lambda c: run(c, dtype="float32"), "--dtype float32"),
        "chunk": Says(lambda c: run(c, chunks={"y": 10}), "--chunk y=10"),
        "shard": Says(lambda c: run(c, shards={"y": 20}), "--shard y=20"),
        "codec": Says(lambda c: run(c, codec="zstd:5"), "--codec zstd:5"),
        "zarr": Says(lambda c: run(c, zarr_format=2), "--zarr 2"),
    }


def reduction(run):
    """Statistics. `run(lazy)` asks for the result."""
    return {
        "over": Says(lambda c: run(c.mean("time")), "--over time"),
        "stats": Says(lambda c: run(c.reduce(["mean", "std"], "time")), "--with mean,std"),
        "group": Says(lambda c: run(c.groupby("time.month").mean()), "--group month"),
        "every": Says(lambda c: run(c.resample(time="1MS").mean()), "--every 1month"),
        "anomaly": Says(lambda c: run(c.groupby("time.month").anomaly())),
    }


# --- command by command -----------------------------------------------------------------------------------------------

ZONES = "zones.geojson"


def zonal(c, **how):
    return c.zonal(ZONES, **how)


def series(c, **how):
    return c.series(y=20, x=20, **how)


def stats(c, **how):
    return c.stats(**how)


def plot(c, **how):
    return c.plot(path="p.svg", **how)


def compute(c, explain=False, **how):
    lazy = c if c._query.is_reduced else c.mean("time")
    return lazy.explain(**how) if explain else lazy.compute(**how)


def calc(c, explain=False, **how):
    lazy = c if c._query.is_reduced or c._query.formulas else c.calc("2 * dn", name="two")
    return lazy.explain(**how) if explain else lazy.compute(**how)


def write_mean(c, path="n.zarr", **how):
    return c.mean("time").to_zarr(path, **how)


def write_calc(c, path="n.zarr", **how):
    return c.calc("2 * dn", name="two").to_zarr(path, **how)


def imported(c, path="n.zarr", **how):
    return cw.import_files(["a.tif", "b.tif"], path, **how)


def appended(c, **how):
    return c.append("later.nc", **how)


def created(c, path="n.zarr", dims=None, **how):
    return cw.create(path, dims or {"y": 4, "x": 4}, **how)


def rasterized(c, path="n.zarr", **how):
    return c.rasterize(ZONES, path, **how)


def compared(c, **how):
    return c.compare("b.zarr", **how)


def verified(c, **how):
    return c.verify(**how)


PRICES = ("egress_price", "request_price", "max_requests", "max_bytes")
PYTHON = {
    "demo": {
        **running(lambda c, **how: cw.demo("d", **how), but=["explain"]),
        "output": Says(lambda c: cw.demo("d"), "--output d"),
        "explain": No("the command refuses it: it is no single job"),
    },
    "info": {
        "cube": Says(lambda c: c.info(), "{cube}"),
        "access": Says(lambda c: c.access()),
        **reading(lambda c: c.info()),
    },
    "ls": {"cube": Says(lambda c: cw.ls(c.location), "{cube}")},
    "create": {
        "output": Says(lambda c: created(c, path="n.zarr:g"), "--output n.zarr:g"),
        "overwrite": Says(lambda c: created(c, overwrite=True)),
        **layout(created),
        "var": Says(lambda c: created(c, var="t2m"), "--var t2m"),
        "dim": Says(lambda c: created(c, dims={"band": ["red", "nir"], "y": 4}), "--dim band=red,nir", "--dim y=4"),
        "coord": Says(lambda c: created(c, coords={"y": (40, -10)}), "--coord y=40:-10"),
        "fill": Says(lambda c: created(c, fill=3), "--fill 3"),
        "missing": Says(lambda c: created(c, missing=-9999), "--missing -9999"),
        "crs": Says(lambda c: created(c, crs=32633), "--crs EPSG:32633"),
        "attrs": Says(lambda c: created(c, attrs={"title": "mine"})),
        "like": Says(lambda c: created(c, like=c), "--like {cube}"),
    },
    "import": {
        **running(imported, but=PRICES),
        **to_cube(imported),
        "files": Says(imported, "a.tif", "b.tif"),
        "var": Says(lambda c: imported(c, var=["a", "b"]), "--var a", "--var b"),
        "concat": Says(lambda c: imported(c, concat="time"), "--concat time"),
        "decode": Says(lambda c: imported(c, decode=True)),
        "time_from": Says(lambda c: imported(c, time_from="%Y%m%d"), "--time-from %Y%m%d"),
        "band_from": Says(lambda c: imported(c, band_from="B..")),
        "bands": Says(lambda c: imported(c, bands=["red", "nir"]), "--bands red", "--bands nir"),
        "nodata": Says(lambda c: imported(c, nodata=0), "--nodata 0"),
        "masks": Says(lambda c: imported(c, masks="ignore")),
        "mosaic": Says(lambda c: imported(c, mosaic="first")),
        "mosaic_by": Says(lambda c: imported(c, mosaic_by="qa")),
        "like": Says(lambda c: imported(c, like=c), "--like {cube}"),
        "crs": Says(lambda c: imported(c, crs=32633), "--crs EPSG:32633"),
        "res": Says(lambda c: imported(c, res=(30, 60)), "--res 30,60"),
        "bounds": Says(lambda c: imported(c, bounds=[0, 1, 2.5, 3]), "--bounds 0,1,2.5,3"),
        "resampling": Says(lambda c: imported(c, resampling="bilinear")),
        "resume": Says(lambda c: imported(c, resume=True)),
        "verify": Says(lambda c: imported(c, verify=True)),
    },
    "append": {
        **running(appended, but=PRICES),
        "cube": Says(appended, "{cube}"),
        "files": Says(appended, "later.nc"),
        "along": Says(lambda c: appended(c, dim="time"), "--along time"),
        "decode": Says(lambda c: appended(c, decode=True)),
        "verify": Says(lambda c: appended(c, verify=True)),
    },
    "attrs": {
        "cube": Says(lambda c: c.update_attrs(title="mine"), "{cube}"),
        "set": Says(lambda c: c["dn"].update_attrs(units="K"), "{cube}:dn", 'units="K"'),
        "delete": Says(lambda c: c.update_attrs(delete=["title"]), "--delete title"),
        "file": No("a file of attributes is a dictionary in Python: `update_attrs(json.load(file))`"),
    },
    "stats": {
        **selection(stats),
        **running(stats),
        **to_file(stats),
        "by": Says(lambda c: c.stats("time"), "--by time"),
    },
    "reduce": {
        **selection(lambda c: c.mean("x").compute()),
        **running(compute),
        **to_cube(write_mean),
        **reduction(lambda c: c.compute()),
        "ddof": Says(lambda c: c.std("time", ddof=1).compute(), "--ddof 1"),
        "min_count": Says(lambda c: c.sum("time", min_count=0).compute(), "--min-count 0"),
    },
    "calc": {
        **selection(lambda c: c.calc("3 * dn", name="a").compute()),
        **running(calc),
        **to_cube(write_calc),
        "var": No("a formula names its variables; of several in Python each is an array: `cube[[…]]`"),
        "calc": No("the formulas of `calc` are its own, which Python joins: `(2 * cube['dn']).rename('two')`"),
        "formulas": Says(lambda c: c.calc("two = 2 * dn", "four = two + two").compute(), "four = two + two"),
    },
    "series": {
        **selection(lambda c: c.series(y=20, x=5)),
        **running(series),
        **to_file(series),
        "at": Says(lambda c: c.series({"y": [20, 21], "x": [4, 5]}), "--at y=20,x=4", "--at y=21,x=5"),
        "iat": Says(lambda c: c.series(iat={"y": 2, "x": 4}), "--iat y=2,x=4"),
        "points": Says(lambda c: c.series(points="p.csv"), "--points p.csv"),
        "points_crs": Says(lambda c: c.series(points="p.csv", crs=4326), "--points-crs EPSG:4326"),
        "point_id": Says(lambda c: c.series(points="p.csv", point_id="name"), "--point-id name"),
    },
    "zonal": {
        **selection(zonal),
        **running(zonal),
        **to_file(zonal),
        "zones": Says(zonal, f"--zones {ZONES}"),
        "stats": Says(lambda c: c.zonal(ZONES, ["mean", "max"]), "--with mean,max"),
        "touch": Says(lambda c: zonal(c, touch="all"), "--touch all"),
        "zone_id": Says(lambda c: zonal(c, zone_id="name"), "--zone-id name"),
        "zones_crs": Says(lambda c: zonal(c, crs="cube"), "--zones-crs cube"),
        "ddof": Says(lambda c: zonal(c, ddof=1), "--ddof 1"),
        "min_count": Says(lambda c: zonal(c, min_count=2), "--min-count 2"),
    },
    "rasterize": {
        **running(rasterized, but=[*PRICES, "allow_redecode"]),
        **to_cube(rasterized),
        "zones": Says(rasterized, ZONES),
        "like": Says(rasterized, "--like {cube}"),
        "var": Says(lambda c: c.select("dn").rasterize(ZONES, "n.zarr"), "--var dn"),
        "name": Says(lambda c: rasterized(c, name="fields"), "--name fields"),
        "zone_id": Says(lambda c: rasterized(c, zone_id="name"), "--zone-id name"),
        "zones_crs": Says(lambda c: rasterized(c, crs=4326), "--zones-crs EPSG:4326"),
        "touch": Says(lambda c: rasterized(c, touch="all"), "--touch all"),
    },
    "plot": {
        **selection(plot),
        **running(plot),
        **reduction(plot),
        "output": Says(plot, "--output p.svg"),
        "overwrite": Says(lambda c: plot(c, overwrite=True)),
        "zones": Says(lambda c: plot(c, zones=ZONES), f"--zones {ZONES}"),
        "zone_id": Says(lambda c: plot(c, zones=ZONES, zone_id="name"), "--zone-id name"),
        "zones_crs": Says(lambda c: plot(c, zones=ZONES, zones_crs=4326), "--zones-crs EPSG:4326"),
        "hist": Says(lambda c: plot(c, hist=True)),
        "bins": Says(lambda c: plot(c, hist=True, bins=9), "--bins 9"),
        "rgb": Says(lambda c: plot(c, rgb=("a", "b", "c")), "--rgb a,b,c"),
        "palette": Says(lambda c: plot(c, palette="greens"), "--palette greens"),
        "range": Says(lambda c: plot(c, range=(-1, 1)), "--range -1,1"),
        "stretch": Says(lambda c: plot(c, stretch=(2, 98)), "--stretch 2,98"),
        "width": Says(lambda c: plot(c, width=300), "--width 300"),
        "height": Says(lambda c: plot(c, height=200), "--height 200"),
        "title": Says(lambda c: plot(c, title="mine"), "--title mine"),
        "reduce": Says(lambda c: plot(c, reduce="mode"), "--reduce mode"),
        "outlines": Says(lambda c: plot(c, outlines=ZONES), f"--outlines {ZONES}"),
    },
    "compare": {
        **running(compared),
        **reading(lambda c: c.compare("b.zarr")),
        "a": Says(compared, "{cube}"),
        "b": Says(lambda c: cw.compare(c, "b.zarr"), "b.zarr"),
        "var": Says(lambda c: c.select("dn").compare("b.zarr"), "--var dn"),
    },
    "verify": {
        **running(verified, but=[*PRICES, "allow_redecode"]),
        "cube": Says(verified, "{cube}"),
        "var": Says(lambda c: c.select("dn").verify(), "--var dn"),
    },
    "completions": No("shells complete the command, which the wheel installs too; IPython completes Python"),
    "man": No("`help(chunkwise)` in Python; the wheel's command has `chunkwise man`"),
}
# What all commands take.
COMMON = {
    "json": No("Python gets values, not text"),
    "quiet": No("Python says nothing but what is asked for, and warnings, which `warnings` filters"),
    "verbose": No("the log of the engine goes to the command's stderr"),
    "storage": Says(lambda c: cw.open(c.location, storage_options={"region": "here"}).stats(), "--storage region=here"),
    "absent_on": Says(lambda c: cw.open(c.location, storage_options={"absent_on": 403}).stats(), "--absent-on 403"),
}


# --- what is written, run up to the engine ----------------------------------------------------------------------------


class Reached(Exception):
    """The engine would begin."""


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    path = tmp_path_factory.mktemp("parity") / "cube.zarr"
    made = cw.create(
        path, {"time": 3, "y": 40, "x": 40}, var="dn", dtype="int16", missing=-1, crs="EPSG:32633",
        coords={"time": ("2024-01-15", "1month"), "y": (40, -1), "x": (0, 1)}, chunks={"time": 1, "y": 20, "x": 20},
    )  # fmt: skip
    made["dn"][...] = np.arange(4800, dtype="int16").reshape(3, 40, 40)
    return cw.open(path)


@pytest.fixture
def said(monkeypatch):
    """`said(call, cube)`: the words of the command that a call comes to, `--name value` in one."""
    heard = []

    def call(words, progress=None):
        heard.extend(words)
        raise Reached

    class Job:
        """A job that says what it was told instead of running."""

        def __init__(self, lazy):
            self.lazy, self.real = lazy, real(lazy)

        def __getattr__(self, name):
            return getattr(self.real, name)

        def tell(self, may, to=None, dtype=None):
            heard.extend(["--memory", may["memory"], "--threads", may["threads"], *self.lazy._source.words(), *self.lazy._query.words()])
            heard.extend(text for name, formula in self.lazy._query.formulas for text in (name, f"{name} = {formula}"))
            heard.extend(["--allow-redecode"] if may["redecode"] else [])
            for name in ("max_requests", "max_bytes", "egress_price", "request_price"):
                heard.extend([] if may[name] is None else ["--" + name.replace("_", "-"), may[name]])
            to = {} if to is None else to
            sizes = {"chunk": to.get("chunks"), "shard": to.get("shards")}
            told = {n: ",".join(f"{d}={c}" for d, c in s) for n, s in sizes.items() if s}
            told |= {"output": to.get("location"), "zarr": to.get("zarr_format"), "codec": to.get("codec"), "dtype": to.get("dtype") or dtype}
            for name, value in told.items():
                heard.extend([] if value is None else [f"--{name}", value])
            heard.extend(["--overwrite"] if to.get("overwrite") else [])
            raise Reached

        def compute(self, may, dtype, progress):
            self.tell(may, dtype=dtype)

        def write(self, may, to, progress):
            self.tell(may, to)

        def explain(self, may, to, dry):
            heard.append("--explain")
            self.tell(may, to)

    real = Lazy._job
    monkeypatch.setattr(_chunkwise, "call", call)
    monkeypatch.setattr(Lazy, "_job", lambda lazy: Job(lazy))

    def of(what, cube):
        heard.clear()
        with pytest.raises(Reached):
            what(cube)
        words = [word for one in heard for word in (str(one).split("=", 1) if str(one).startswith("--") else [str(one)])]
        pairs = [f"{a} {b}" for a, b in zip(words, words[1:], strict=False) if a.startswith("--")]
        return [*words, *pairs]

    return of


def test_every_command_and_option_stands_beside_what_is_written_in_python():
    assert set(PYTHON) == set(COMMANDS)
    assert set(COMMON) == {option["name"] for option in LISTED["options"]}
    for name, command in COMMANDS.items():
        if not isinstance(PYTHON[name], No):
            assert set(PYTHON[name]) == {argument["name"] for argument in command["arguments"]}, name


SPOKEN = [
    pytest.param(name, option, how, id=f"{name}-{option}")
    for name, options in {**PYTHON, "stats ": COMMON}.items()
    if not isinstance(options, No)
    for option, how in options.items()
    if not isinstance(how, No)
]


@pytest.mark.parametrize("command, option, how", SPOKEN)
def test_what_is_written_in_python_says_the_option(said, cube, command, option, how):
    argument = next(
        a for a in [*COMMANDS[command.strip()]["arguments"], *LISTED["options"]] if a["name"] == option
    )
    words = said(how.call, cube)
    for word in how.words or (f"--{argument['long']}",):
        assert word.format(cube=cube.location) in words, words


def test_words_that_no_command_knows_are_refused(cube, tmp_path):
    for wrong in (
        lambda: cw.import_files(cube.location, tmp_path / "n.zarr", chunkz=3),
        lambda: cube.append(cube, chunkz=3),
        lambda: cube.rasterize(ZONES, tmp_path / "n.zarr", chunkz=3),
        lambda: cube.zonal(ZONES, chunkz=3),
        lambda: cube.plot(chunkz=3),
        lambda: cube.compare(cube, chunkz=3),
        lambda: cube.verify(chunkz=3),
        lambda: cube.mean("time").compute(chunkz=3),
        lambda: cube.mean("time").to_zarr(tmp_path / "n.zarr", chunkz=3),
    ):
        with pytest.raises(TypeError, match="chunkz"):
            wrong()
    assert not (tmp_path / "n.zarr").exists()
