"""Broken stores, wrong words and bad luck: an error that names the thing, exit 2, no half-written cube, no panic."""

import contextlib
import errno
import json
import os
import re
import resource
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

import cube
import runner

SPEC = cube.Spec(shape=(6, 3, 40, 30), chunks=(2, 3, 16, 11), dtype="uint16", mark=65535, fill=65535, codec="zstd", second=False, seed=31)
MEAN = ["--over", "time", "--with", "mean"]
CHUNK = "data/c/1/0/1/2"


@pytest.fixture
def good(tmp_path):
    return SPEC.build(tmp_path / "cube.zarr").path


def unfinished(path):
    """Whether nothing is there, or what is there says that it is not finished and cannot be read as a cube."""
    return not path.exists() or ((path / ".chunkwise-job.json").exists() and not (path / "zarr.json").exists())


def edit(path, **changes):
    """Changes keys of a metadata document; `None` removes one."""
    document = json.loads(path.read_text())
    for key, value in changes.items():
        document.pop(key, None) if value is None else document.update({key: value})
    path.write_text(json.dumps(document))


# --- chunks that are not what they should be ----------------------------------------------------------------------------


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def wrong_size(path):
    import numcodecs

    path.write_bytes(numcodecs.Zstd(1).encode(np.zeros(7, np.uint16)))


def bomb(path):
    """A valid frame of 1 GiB of zeros where 2112 bytes are expected."""
    import numcodecs

    path.write_bytes(numcodecs.Zstd(1).encode(np.zeros(2**30, np.uint8)))


DAMAGE = {
    "cut": cut,
    "empty": lambda p: p.write_bytes(b""),
    "garbage": lambda p: p.write_bytes(os.urandom(300)),
    "wrong size": wrong_size,
    "bomb": bomb,
    "a folder": lambda p: (p.unlink(), p.mkdir()),
}
COMMANDS = {
    "reduce to a cube": ["reduce", *MEAN, "-o", "OUT"],
    "reduce to a table": ["reduce", "--over", "all", "--with", "count"],
    "stats": ["stats"],
    "calc": ["calc", "a = data + 1", "-o", "OUT"],
    "series": ["series", "--iat", "y=20,x=25"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_chunk_is_named(cw, good, tmp_path, damage, command):
    DAMAGE[damage](good / CHUNK)
    out = tmp_path / "out.zarr"
    verb, *words = [out if w == "OUT" else w for w in COMMANDS[command]]
    run = cw(verb, good, *words, measure=damage == "bomb")
    run.refused("data", r"c/1/0/1/2|\b1, ?0, ?1, ?2\b")
    assert unfinished(out)
    assert run.peak is None or run.peak < 400 * 2**20, f"peak {run.peak / 2**20:.0f} MiB"


@pytest.mark.parametrize("zarr_format, codec", [(3, "gzip"), (3, "blosc"), (3, "none"), (2, "zstd"), (2, "blosc"), (2, "none")])
def test_a_damaged_chunk_is_named_with_any_codec(cw, tmp_path, zarr_format, codec):
    spec = cube.Spec(**{**SPEC.__dict__, "zarr_format": zarr_format, "codec": codec})
    path = spec.build(tmp_path / "cube.zarr").path
    cut(path / CHUNK if zarr_format == 3 else path / "data/1.0.1.2")
    cw("stats", path).refused("data", r"1/0/1/2|1\.0\.1\.2|\b1, ?0, ?1, ?2\b")


@pytest.mark.parametrize("shards", [0, 2])
def test_one_flipped_bit_is_found_by_the_checksum(cw, tmp_path, shards):
    spec = cube.Spec(**{**SPEC.__dict__, "codec": "crc32c", "shards": shards})
    path = spec.build(tmp_path / "cube.zarr").path
    victim = max((p for p in (path / "data/c").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    flip(victim)
    cw("stats", path).refused("data", "/".join(victim.parts[-5:]) if not shards else "c/")


@pytest.mark.parametrize(
    "damage", [cut, lambda p: p.write_bytes(b""), lambda p: p.write_bytes(os.urandom(200))], ids=["cut", "empty", "garbage"]
)
def test_a_damaged_shard_is_named(cw, tmp_path, damage):
    path = cube.Spec(**{**SPEC.__dict__, "shards": 2}).build(tmp_path / "cube.zarr").path
    damage(path / "data/c/0/0/0/0")
    cw("stats", path).refused("data", "0/0/0/0|0, 0, 0, 0")


def test_an_absent_chunk_is_missing_and_no_error(cw, good):
    before = cw("stats", good).ok().json[0]
    values = zarr.open_group(good, mode="r")["data"][2:4, :, 16:32, 22:30]
    (good / CHUNK).unlink()
    after = cw("stats", good).ok().json[0]
    assert after["missing"] == before["missing"] + int((values != 65535).sum())


# --- metadata that is not what it should be -----------------------------------------------------------------------------

DEEP = "[" * 100_000 + "]" * 100_000
HOSTILE = {
    "cut": lambda p: cut(p),
    "empty": lambda p: p.write_text(""),
    "garbage": lambda p: p.write_bytes(os.urandom(400)),
    "not an object": lambda p: p.write_text("[1, 2]"),
    "nested": lambda p: p.write_text(DEEP),
    "nested attributes": lambda p: p.write_text(p.read_text().replace('"attributes": {', f'"attributes": {{"a": {DEEP},')),
    "no shape": lambda p: edit(p, shape=None),
    "negative shape": lambda p: edit(p, shape=[-6, 3, 40, 30]),
    "text for a shape": lambda p: edit(p, shape="large"),
    "chunk of nothing": lambda p: edit(p, chunk_grid=grid(0, 3, 16, 11)),
    "chunk of another rank": lambda p: edit(p, chunk_grid=grid(2, 3)),
    "huge chunk": lambda p: edit(p, chunk_grid=grid(2**40, 2**40, 2**40, 2**40)),
    "unknown grid": lambda p: edit(p, chunk_grid={"name": "spiral", "configuration": {}}),
    "unknown type": lambda p: edit(p, data_type="float13"),
    "unknown codec": lambda p: edit(p, codecs=[{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "squash"}]),
    "no codecs": lambda p: edit(p, codecs=[]),
    "unknown member": lambda p: edit(p, extra={"name": "strange", "must_understand": True}),
    "names of another rank": lambda p: edit(p, dimension_names=["time"]),
    "fill of another type": lambda p: edit(p, fill_value="blue"),
    "format 7": lambda p: edit(p, zarr_format=7),
    "16 exabytes of text": lambda p: edit(p, data_type={"name": "fixed_length_utf32", "configuration": {"length_bytes": 2**62}}),
}
NAMED = {"unknown type": "float13", "unknown codec": "squash", "unknown grid": "spiral", "format 7": "7"}


def grid(*chunk):
    return {"name": "regular", "configuration": {"chunk_shape": list(chunk)}}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("command", ["stats", "reduce", "info"])
def test_hostile_metadata_is_refused(cw, good, tmp_path, case, command):
    """`info` may also tell what can be told of the rest."""
    HOSTILE[case](good / "data/zarr.json")
    words = [*MEAN, "--var", "data", "-o", tmp_path / "out.zarr"] if command == "reduce" else []
    run = cw(command, good, *words, measure=True, timeout=20)
    assert run.peak < 400 * 2**20, f"peak {run.peak / 2**20:.0f} MiB"
    if command == "info" and run.code == 0:
        return
    run.refused(NAMED.get(case, "data"))
    assert unfinished(tmp_path / "out.zarr")


@pytest.mark.parametrize("shape", [[10**18] * 4, [2**63 - 1, 2**63 - 1, 40, 30], [2**64, 3, 40, 30], [10**18, 3, 40, 30]], ids=str)
def test_a_shape_that_no_machine_holds_is_refused_or_planned(cw, good, tmp_path, shape):
    """Nothing overflows and nothing of that size is allocated; a plan that could never end may be cut short."""
    shutil.rmtree(good / "time")
    edit(good / "data/zarr.json", shape=shape)
    for words in (["--explain"], ["--memory", "256MiB", "-o", tmp_path / "out.zarr"]):
        run = cw("reduce", good, "--var", "data", "--over", "y,x", "--with", "mean", *words, measure=True, timeout=30)
        assert run.peak < 400 * 2**20
        assert words[0] == "--explain" and run.code == 0 or run.refused("data|shape|large|time|band"), str(run)
    run = cw("info", good, timeout=20)
    assert run.code in (0, 2) and "panicked" not in run.err, str(run)


@pytest.mark.parametrize("name", ["zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"null", DEEP.encode()], ids=["empty", "cut", "binary", "null", "deep"])
def test_hostile_group_metadata_is_refused(cw, tmp_path, name, content):
    spec = cube.Spec(**{**SPEC.__dict__, "zarr_format": 3 if name == "zarr.json" else 2})
    path = spec.build(tmp_path / "cube.zarr").path
    victim = path / name if name in ("zarr.json", ".zgroup", ".zmetadata") else path / "data" / name
    victim.write_bytes(content)
    run = cw("stats", path, timeout=20)
    assert run.code == 0 or run.refused(re.escape(name) + "|data|cube.zarr"), str(run)


@pytest.mark.parametrize("place", ["../outside", "/etc/passwd", "a/../../b"])
def test_consolidated_metadata_cannot_lead_out_of_the_store(cw, good, tmp_path, place):
    root = json.loads((good / "zarr.json").read_text())
    array = json.loads((good / "data/zarr.json").read_text())
    root["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": {place: array, "data": array}}
    (good / "zarr.json").write_text(json.dumps(root))
    run = cw("info", good)
    assert run.code in (0, 2) and "panicked" not in run.err and "root:" not in run.out.decode(), str(run)


# --- wrong words --------------------------------------------------------------------------------------------------------

WRONG = {
    "dimension": (["reduce", "CUBE", "--over", "tme", "--with", "mean"], ["tme", "time"]),
    "statistic": (["reduce", "CUBE", "--over", "time", "--with", "meen"], ["meen", "mean"]),
    "variable": (["stats", "CUBE", "--var", "dta"], ["dta", "data"]),
    "label": (["reduce", "CUBE", *MEAN, "--sel", "band=violet"], ["violet", "red"]),
    "label beyond": (["reduce", "CUBE", *MEAN, "--sel", "y=5000..6000"], ["y", "900"]),
    "time beyond": (["reduce", "CUBE", *MEAN, "--sel", "time=1990..1991"], ["time", "2019-11-15"]),
    "index beyond": (["reduce", "CUBE", *MEAN, "--isel", "x=30"], ["x", "30"]),
    "empty selection": (["reduce", "CUBE", *MEAN, "--isel", "x=7:7"], ["x"]),
    "selected dimension": (["stats", "CUBE", "--isel", "z=1"], ["z", "time"]),
    "name in a formula": (["calc", "CUBE", "a = data + swir", "-o", "OUT"], ["swir"]),
    "open parenthesis": (["calc", "CUBE", "a = (data + 1", "-o", "OUT"], [r"\)|parenthes|end|expected"]),
    "C and": (["calc", "CUBE", "a = data & 1", "-o", "OUT"], ["and"]),
    "deep formula": (["calc", "CUBE", "a = " + "(" * 20000 + "data" + ")" * 20000, "-o", "OUT"], ["deep|nest|long|depth"]),
    "no formula": (["calc", "CUBE", "-o", "OUT"], ["FORMULA|required|formula|expression"]),
    "cycle": (["reduce", "CUBE", "--group", "fortnight", "--with", "mean"], ["fortnight", "month"]),
    "window": (["reduce", "CUBE", "--every", "3parsecs", "--with", "mean"], ["3parsecs"]),
    "window of nothing": (["reduce", "CUBE", "--every", "y=0", "--with", "mean"], ["y|0"]),
    "memory": (["stats", "CUBE", "--memory", "lots"], ["lots"]),
    "threads": (["stats", "CUBE", "--threads", "many"], ["many"]),
    "option": (["stats", "CUBE", "--fastest"], ["fastest"]),
    "command": (["statz", "CUBE"], ["statz"]),
    "far pixel": (["series", "CUBE", "--at", "y=900,x=99999"], ["x", "99999"]),
    "far index": (["series", "CUBE", "--iat", "y=4000,x=1"], ["y", "4000"]),
    "no cube": (["stats", "nowhere.zarr"], ["nowhere.zarr"]),
    "no group": (["stats", "CUBE:deep/er"], ["deep/er"]),
    "not a cube": (["stats", __file__], ["test_bad_input.py"]),
    "scheme": (["stats", "gopher://host/cube.zarr"], ["gopher"]),
    "output is input": (["reduce", "CUBE", *MEAN, "-o", "CUBE", "--overwrite"], ["cube.zarr"]),
    "output in a group of the input": (["reduce", "CUBE", *MEAN, "-o", "CUBE:sub"], ["cube.zarr:sub", "group", "-o OUT.zarr"]),
    "a formula named as a coordinate": (["calc", "CUBE", "time = data * 2", "-o", "OUT"], ["coordinate", "time", "another name"]),
    "a formula named as a variable that is asked for": (["calc", "CUBE", "data = data * 2", "--var", "data", "-o", "OUT"], ["data", "another name"]),
    "output ending": (["reduce", "CUBE", *MEAN, "-o", "OUT.docx"], ["docx"]),
    "large table": (["reduce", "LARGE", "--over", "band", "--with", "mean"], ["-o"]),
    "argmin of two": (["reduce", "CUBE", "--over", "y,x", "--with", "argmin"], ["argmin"]),
    "create without size": (["create", "-o", "OUT", "--dtype", "uint8"], ["dim"]),
    "create of a type": (["create", "-o", "OUT", "--dim", "x=3", "--dtype", "uint9"], ["uint9"]),
    "dimension twice": (["create", "-o", "OUT", "--dim", "x=x", "--dim", "x=4", "--dtype", "uint8"], ["x"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_words_are_named_with_what_exists(cw, good, tmp_path, case):
    words, named = WRONG[case]
    if "LARGE" in words:
        cube.Spec(dims=("band", "y", "x"), shape=(2, 400, 400), chunks=(2, 200, 200), labels=False).build(tmp_path / "wide.zarr")
    out = tmp_path / "out.zarr"
    places = {
        "CUBE": str(good),
        "OUT": str(out),
        "OUT.docx": str(tmp_path / "out.docx"),
        "LARGE": str(tmp_path / "wide.zarr"),
        "CUBE:deep/er": f"{good}:deep/er",
        "CUBE:sub": f"{good}:sub",
    }
    before = sorted(p for p in good.rglob("*"))
    for json_output in (True, False):
        run = cw(*(places.get(w, w) for w in words), json=json_output, timeout=20, cwd=tmp_path)
        run.refused(*named)
        assert run.out == b"", f"an error prints nothing on stdout\n{run}"
    assert not out.exists() and not (tmp_path / "out.docx").exists()
    assert sorted(p for p in good.rglob("*")) == before


def test_an_error_with_json_is_one_object(cw, good):
    run = cw("reduce", good, "--over", "tme", "--with", "mean")
    assert run.code == 2
    record = json.loads(run.err)
    assert "tme" in record["error"]
    plain = cw("reduce", good, "--over", "tme", "--with", "mean", json=False)
    assert plain.err.startswith("error: ") and not plain.err.splitlines()[0].endswith(".")


def test_a_cube_that_exists_is_kept_unless_it_is_to_be_overwritten(cw, good, tmp_path):
    out = tmp_path / "out.zarr"
    cw("reduce", good, *MEAN, "-o", out).ok()
    before = (out / "zarr.json").read_bytes()
    cw("reduce", good, "--over", "time", "--with", "max", "-o", out).refused("out.zarr", "--overwrite")
    assert (out / "zarr.json").read_bytes() == before
    cw("reduce", good, "--over", "time", "--with", "max", "-o", out, "--overwrite").ok()
    assert (out / "zarr.json").read_bytes() != before


WITHIN = {
    "path": "cube.zarr/sub",
    "deeper": "cube.zarr/sub/deeper",
    "dots": "x/../cube.zarr/sub",
    "link": "link/sub",
    "table": "cube.zarr/mean.csv",
    "metadata": "link/zarr.json",
}


@pytest.mark.parametrize("spelt", WITHIN)
def test_an_output_within_an_input_is_refused_however_it_is_spelt(cw, good, tmp_path, spelt):
    path = good
    (tmp_path / "x").mkdir()
    (tmp_path / "link").symlink_to(path)
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    for cube_at in [path, "cube.zarr", "./x/../cube.zarr"]:
        cw("reduce", cube_at, *MEAN, "-o", WITHIN[spelt], "--overwrite", cwd=tmp_path).refused("within the input", "beside")
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before
    # Beside it, and into a group that `create` makes, is no such case.
    cw("reduce", path, *MEAN, "-o", "mean.zarr", cwd=tmp_path).ok()
    cw("create", "-o", f"{path}:more", "--like", path).ok()


@pytest.mark.parametrize("more", [[], ["--overwrite"]])
def test_a_folder_that_is_no_cube_is_never_removed(cw, good, tmp_path, more):
    out = tmp_path / "out.zarr"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    cw("reduce", good, *MEAN, "-o", out, *more).refused("out.zarr", "no Zarr cube")
    assert [p.name for p in out.iterdir()] == ["mine.txt"]


def test_a_failed_job_with_overwrite_keeps_the_old_cube(cw, good, tmp_path):
    out = tmp_path / "out.zarr"
    cw("reduce", good, *MEAN, "-o", out).ok()
    before = cube.read(out, "data")[0]
    (good / CHUNK).write_bytes(b"garbage")
    cw("reduce", good, *MEAN, "-o", out, "--overwrite").refused("data")
    assert np.array_equal(cube.read(out, "data")[0], before, equal_nan=True)


def test_a_budget_that_is_too_small_is_refused_before_anything_is_read(cw, good, tmp_path):
    (good / CHUNK).write_bytes(b"garbage")
    run = cw("reduce", good, *MEAN, "--memory", "1KiB", "-o", tmp_path / "out.zarr")
    run.refused("memory", "KiB|MiB")
    run.smallest_budget()
    assert not (tmp_path / "out.zarr").exists()


# --- the machine says no ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def as_somebody_else():
    """`(folder, options)`: a folder that user 65534 reaches with a copy of the binary in it, and how to run as that user."""
    if os.geteuid() != 0:
        with tempfile.TemporaryDirectory(prefix="chunkwise-") as folder:
            yield Path(folder), {}
        return
    folder = Path(tempfile.mkdtemp(prefix="chunkwise-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        shutil.copy2(runner.binary(), folder / "chunkwise")
        yield folder, {"user": 65534, "group": 65534, "extra_groups": [], "cwd": folder}
    finally:
        shutil.rmtree(folder)


def run_as(folder, options, *args):
    binary = folder / "chunkwise" if options else runner.binary()
    command = [str(binary), *map(str, args)]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=60, **options)
    return runner.Run(command, done.returncode, done.stdout, done.stderr.decode(errors="replace"), 0.0, None)


def test_a_chunk_without_permission_is_an_error_and_not_missing():
    with as_somebody_else() as (folder, options):
        path = SPEC.build(folder / "cube.zarr").path
        subprocess.run(["chmod", "-R", "a+rX", path], check=True)
        run_as(folder, options, "stats", path).ok()
        (path / CHUNK).chmod(0)
        run_as(folder, options, "stats", path).refused("data", "ermission denied", r"1/0/1/2|1, ?0, ?1, ?2")
        (path / CHUNK).parent.chmod(0)
        run_as(folder, options, "stats", path).refused("ermission denied")
        (path / CHUNK).parent.chmod(0o755)
        (path / "data/zarr.json").chmod(0)
        run_as(folder, options, "stats", path, "--var", "data").refused("ermission denied")


def test_a_folder_without_permission_to_write_is_an_error():
    with as_somebody_else() as (folder, options):
        path = SPEC.build(folder / "cube.zarr").path
        subprocess.run(["chmod", "-R", "a+rX", path], check=True)
        locked = folder / "locked"
        locked.mkdir()
        locked.chmod(0o555)
        run = run_as(folder, options, "reduce", path, *MEAN, "-o", locked / "out.zarr")
        run.refused("out.zarr|locked", "ermission denied")
        locked.chmod(0o755)
        assert not list(locked.iterdir())


def test_a_file_too_large_for_its_limit_is_an_error(cw, large, tmp_path):
    """RLIMIT_FSIZE stands in for a full disk where none can be mounted."""
    out = tmp_path / "out.zarr"
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # noqa: E731
    run = cw("reduce", large, *MEAN, "-o", out, preexec_fn=limit, restore_signals=False)
    run.refused("out.zarr|reflectance", os.strerror(errno.EFBIG) + "|write")
    assert unfinished(out)


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = (
        os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", disk], capture_output=True).returncode == 0
    )
    if not mounted:
        pytest.skip("no small disk can be mounted here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_an_error(cw, large, small_disk):
    out = small_disk / "out.zarr"
    cw("reduce", large, *MEAN, "-o", out).refused("out.zarr|reflectance", "No space left")
    assert unfinished(out)


@pytest.mark.parametrize("existing", [[], ["--overwrite"]])
def test_a_disk_that_fills_while_a_zip_file_is_packed_is_one_error_and_nothing_is_left(cw, tmp_path, small_disk, existing):
    """The folder has room, a zip file beside it has none."""
    path = tmp_path / "cube.zarr"
    cube.array(zarr.open_group(path, mode="w"), "a", np.arange(360_000, dtype="uint32").reshape(600, 600), (100, 100), ("y", "x"))
    out = small_disk / "out.zarr.zip"
    if existing:
        cw("calc", path, "v = a * 0", "-o", out).ok()
    before = {entry.name: entry.read_bytes() for entry in small_disk.iterdir()}
    run = cw("calc", path, "v = a + 1", "-o", out, "--codec", "none", *existing)
    assert run.code == 2
    error = json.loads(run.err)["error"]
    assert all(part in error for part in ("cannot write `v/c/", "out.zarr.zip", "No space left")), error
    assert {entry.name: entry.read_bytes() for entry in small_disk.iterdir()} == before


def test_stdout_that_cannot_take_the_table_is_an_error(good):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [runner.binary(), "reduce", good, "--over", "band", "--with", "mean", "--json"], stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == 2 and b"No space left" in done.stderr and b"panicked" not in done.stderr, done


@pytest.mark.parametrize("mode", ["--json", "--quiet"])
def test_a_closed_pipe_is_silent_success(tmp_path, mode):
    path = cube.Spec(dims=("y", "x"), shape=(300, 300), chunks=(100, 100), labels=False).build(tmp_path / "cube.zarr").path
    cube.array(zarr.open_group(path), "deep", np.zeros((2, 300, 300), np.uint8), (2, 100, 100), ("t", "y", "x"))
    process = runner.start("reduce", path, "--var", "deep", "--over", "t", "--with", "mean", mode)
    process.stdout.read(1)
    process.stdout.close()
    assert process.wait(30) == 0
    said = process.stderr.read()
    assert b"panicked" not in said and b"rror" not in said and b"roken pipe" not in said, said


def test_head_of_a_table(good):
    command = f"'{runner.binary()}' reduce '{good}' --over band --with mean,std,count | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("\n") == 1 and "error" not in done.stderr, done


# --- interrupted and killed ---------------------------------------------------------------------------------------------

SLOW = ["calc", "CUBE", "a = log(abs(sin(nir) * exp(red / 9999))) ** 1.5", "b = exp(sin(log(green + blue)))", "-o", "OUT", "--threads", "1"]


def begun(large, out):
    """A job that lasts seconds, stopped at a moment when it has written something."""
    process = runner.start(*({"CUBE": large, "OUT": out}.get(w, w) for w in SLOW))
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        if any(p.is_file() and p.name != ".chunkwise-job.json" for p in out.parent.rglob("*")):
            return process
        time.sleep(0.005)
    raise AssertionError(f"the job ended before it could be stopped: {process.communicate()}")


@pytest.mark.slow
@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, None)], ids=["Ctrl-C", "TERM"])
def test_an_interrupted_job_leaves_no_cube(cw, large, tmp_path, number, code):
    out = tmp_path / "result" / "out.zarr"
    out.parent.mkdir()
    process = begun(large, out)
    asked = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert time.monotonic() - asked < 5, "an interrupt should end the job at once"
    assert process.returncode == code or code is None and process.returncode != 0, (process.returncode, err)
    assert b"panicked" not in err
    assert unfinished(out), sorted(out.iterdir())[:9]


@pytest.mark.slow
def test_a_killed_job_leaves_no_cube_and_can_be_done_again(cw, large, tmp_path):
    out = tmp_path / "result" / "out.zarr"
    out.parent.mkdir()
    process = begun(large, out)
    process.kill()
    process.communicate()
    assert unfinished(out), sorted(out.iterdir())[:9]
    if out.exists():
        cw("stats", out).refused("unfinished|not finished|.chunkwise-job.json")
        told = cw("info", out)
        assert told.code == 2 or told.ok().json.get("unfinished"), str(told)
    cw("reduce", large, *MEAN, "-o", out, "--overwrite").ok()
    assert not (out / ".chunkwise-job.json").exists() and (out / "zarr.json").exists()


def test_files_of_the_output_have_usual_permissions(cw, good, tmp_path):
    """Written aside and renamed, yet readable by others as the umask says."""
    out = tmp_path / "out.zarr"
    cw("reduce", good, *MEAN, "-o", out, preexec_fn=lambda: os.umask(0o022)).ok()
    modes = {stat.S_IMODE(p.stat().st_mode) for p in out.rglob("*") if p.is_file()}
    assert modes == {0o644}, {oct(m) for m in modes}
    assert not [p for p in out.rglob("*") if ".tmp" in p.name or ".part" in p.name]


def test_the_version_names_stores_and_libraries(cw):
    said = cw("--version", json=False).ok().out.decode()
    assert re.match(r"chunkwise \d+\.\d+\.\d+\n", said) and "zarrs 0." in said and "stores: folders, zip files" in said, said


def test_a_nodata_value_that_no_cell_can_hold_is_refused(cw, tmp_path):
    path = tmp_path / "cube.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.create_array("p", shape=(4,), chunks=(2,), dtype="int16", dimension_names=["x"], attributes={"_FillValue": -999})[:] = [1, -999, 3, 4]
    group.create_array("q", shape=(4,), chunks=(2,), dtype="float32", dimension_names=["x"])[:] = [1, 2, 3, 4]
    for value in ("70000", "-999.5", "nan"):
        cw("stats", path, "--var", "p", "--nodata", value).refused("`p`", "int16")
    cw("stats", path, "--var", "q", "--nodata", "70000").ok()


def test_coordinates_that_cannot_be_read_stop_only_what_names_them(cw, tmp_path):
    path = tmp_path / "cube.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.create_array("exp", shape=(3,), chunks=(3,), dtype="complex64", dimension_names=["exp"])[:] = [1, 2, 3]
    group.create_array("v", shape=(3,), chunks=(3,), dtype="float64", dimension_names=["exp"])[:] = [0, 0, 0]
    (row,) = cw("reduce", path, "--calc", "w = exp(v) * 2", "--over", "all", "--with", "sum").ok().json
    assert row["sum"] == 6
    cw("calc", path, "w = v * exp", "-o", "none").refused("exp")


def test_an_array_without_codecs_is_said_to_be_unreadable_once(cw, tmp_path):
    path = tmp_path / "cube.zarr"
    cube.array(zarr.open_group(path, mode="w"), "b", np.zeros((4, 4), "uint8"), (2, 2), ("y", "x"))
    edit(path / "b" / "zarr.json", codecs=[])
    said = cw("stats", path, "--var", "b").refused("never turn cells into bytes")
    assert said.count("cannot be read") == 1, said
