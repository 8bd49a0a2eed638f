"""Other implementations' Zarr as we read it, and ours as they read it; `docs/interop.md` keeps both tables.

`CHUNKWISE_BLESS=1` writes the kept tables anew; a cell that holds other numbers than it should always fails.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import xarray
import zarr

import runner

ROOT = Path(__file__).resolve().parents[2]
READERS = ROOT / "tests" / "readers"
KEPT = ROOT / "docs" / "interop.md"
sys.path.insert(0, str(READERS))
from read import digest  # noqa: E402


def read_array(location):
    """Head and cells of an array by the library, or its words of refusal."""
    done = subprocess.run([Path(runner.binary()).parent / "examples" / "read_array", str(location)], capture_output=True, timeout=120)
    if done.returncode:
        return None, done.stderr.decode()
    head, cells = done.stdout.split(b"\n", 1)
    return json.loads(head), cells


def keep(part, table):
    """Compares a part of the kept page with what was found."""
    begin, end = f"<!-- {part} -->\n", f"<!-- end of {part} -->"
    page = KEPT.read_text()
    before, rest = page.split(begin)
    kept, after = rest.split(end)
    if os.environ.get("CHUNKWISE_BLESS"):
        KEPT.write_text(before + begin + table + end + after)
    else:
        print(table)
        assert kept == table, f"docs/interop.md is not what was found; CHUNKWISE_BLESS=1 writes it anew:\n{table}"


# --- theirs, read by us -----------------------------------------------------------------------------------------------

# Where no reader in reach has the codec, what the implementation that wrote the array makes of it: zarrs' `bitround` is
# undone by nothing, so that the cells are what is stored.
STORED_AS_THEY_ARE = {"codec/bitround/bitround_float32.zarr": "<f4", "codec/bitround/bitround_uint8.zarr": "<u1"}


def arrays_of(folder):
    expected = json.loads((folder / "expected.json").read_text())
    if "arrays" in expected:
        return expected["arrays"]
    levels = {f"{store}/{level}": found for store, of in expected["stores"].items() for level, found in of["levels"].items()}
    return levels


def text_of(value):
    return bytes.fromhex(value["bytes_hex"]).decode() if isinstance(value, dict) else value


def verdict(folder, name, expected):
    head, cells = read_array(f"{folder}:{name}" if folder.suffix == ".zip" else folder / name)
    if head is None:
        # A refusal names what is not known.
        assert "not known" in cells or "not supported" in cells, f"{name}: {cells}"
        assert expected.get("expected", 0) is None, f"{name} is to be read: {cells}"
        return "refused"
    assert head["shape"] == expected["shape"], name
    if expected.get("expected", 0) is None:
        stored = STORED_AS_THEY_ARE[name]
        assert cells == np.fromfile(folder / name / "c" / "0", stored).tobytes(), name
        return "as its writer"
    if "sha256_c_order_le" in expected:
        assert hashlib.sha256(cells).hexdigest() == expected["sha256_c_order_le"], f"{name}: other cells"
        numbers = np.frombuffer(cells, np.dtype(expected.get("numpy_dtype") or expected["dtype"]).newbyteorder("<"))
        if isinstance(expected.get("sum"), int | float) and numbers.dtype.kind in "biuf":
            total = np.nansum(numbers, dtype="f8")
            assert np.isclose(total, expected["sum"], rtol=1e-9) or np.isnan(numbers.astype("f8")).any(), name
        if "values" in expected and numbers.dtype.kind in "iub":
            assert numbers.tolist() == expected["values"], name
    else:
        texts = json.loads(cells)
        if "values" in expected:
            assert texts == [text_of(v) for v in expected["values"]], name
        else:
            assert texts[:8] == expected["first8"] and texts[-8:] == expected["last8"], name
    return "as expected"


def test_every_array_of_other_implementations_reads_as_expected_or_is_refused_by_name(data):
    folders = ["zarrs", "zarrita-v3", "zarr-implementations", "zarr-java-sharding", "titiler", "geozarr"]
    jobs = [(data / "conformance" / f, name, expected) for f in folders for name, expected in arrays_of(data / "conformance" / f).items()]
    # The same arrays in zip files: the root within, and in a folder.
    jobs += [
        (file, name.removeprefix("data.zarr/"), expected)
        for file in sorted((data / "conformance/zarrita-v3").glob("*.zip"))
        for name, expected in arrays_of(data / "conformance/zarrita-v3").items()
    ]
    folders += [file.name for file, *_ in jobs if file.suffix == ".zip"]
    folders = list(dict.fromkeys(folders))
    with ThreadPoolExecutor(2) as pool:
        verdicts = list(pool.map(lambda job: verdict(*job), jobs))
    rows = ["| stores | arrays | as expected | as its writer reads it | refused by name |", "|---|---:|---:|---:|---:|"]
    for folder in folders:
        of = [v for (f, _, _), v in zip(jobs, verdicts, strict=True) if f.name == folder]
        counts = [of.count(v) for v in ("as expected", "as its writer", "refused")]
        rows.append(f"| `{folder}` | {len(of)} | {' | '.join(map(str, counts))} |")
    refused = [f"`{f.name}/{name}`" for (f, name, _), v in zip(jobs, verdicts, strict=True) if v == "refused"]
    keep("read", "\n".join(rows) + "\n\nRefused: " + ", ".join(refused) + ".\n")


# --- ours, read by them -----------------------------------------------------------------------------------------------

CODECS = {
    "uint16": ["none", "zstd:3", "gzip:5", "blosc:lz4:5:shuffle", "blosc:zstd:3:bitshuffle", "blosc:lz4hc:5:noshuffle"]
    + ["blosc:zlib:5:shuffle", "blosc:blosclz:5:shuffle", "zlib:5", "bz2:5", "lz4", "lzma:6", "pcodec:8"]
    + ["delta+zstd:3", "zstd:3+crc32c", "none+crc32c"],
    "float32": ["bitround:9+blosc:lz4:5:shuffle", "quantize:2+zstd:3", "pcodec:8"],
    "bool": ["packbits+none", "packbits+zstd:3"],
}
TYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]
LOSSY = ("bitround", "quantize")


def source(folder, dtype):
    path = folder / f"{dtype}.zarr"
    rng = np.random.default_rng(7)
    cells = rng.integers(0, 2 if dtype == "bool" else 100, (1, 7, 9)).astype(dtype)
    cells[0, 0, 0] = 1
    if dtype.startswith("float"):
        cells[0, 1, 1] += np.dtype(dtype).type(0.123)
    group = zarr.open_group(path, mode="w", zarr_format=3)
    array = group.create_array("data", shape=cells.shape, chunks=(1, 4, 5), dtype=dtype, dimension_names=("t", "y", "x"))
    array[...] = cells
    return path, cells[0]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What we write: label, path of the array, and the digest of its cells."""
    folder = tmp_path_factory.mktemp("written")
    sources = {dtype: source(folder, dtype) for dtype in TYPES}
    rows = []

    def write(label, dtype, *words):
        out = folder / f"{len(rows)}.zarr"
        path, cells = sources[dtype]
        words = ["--chunk", "y=4,x=5", *words]
        runner.chunkwise("reduce", path, "--var", "data", "--over", "t", "--with", "max", "-o", out, *words).ok()
        head, ours = read_array(out / "data")
        assert head, ours
        if not any(word in label for word in LOSSY):
            assert ours == cells.tobytes(), f"{label} reads back as other cells"
        rows.append((label, out / "data", hashlib.sha256(ours).hexdigest(), head["dtype"]))

    for version in (3, 2):
        for dtype in TYPES:
            write(f"v{version}, {dtype}", dtype, "--zarr", version)
        for dtype, codecs in CODECS.items():
            for codec in codecs:
                # Zarr v2 has no crc32c, and no reader of v3 takes packbits.
                if ("packbits" if version == 3 else "crc32c") not in codec:
                    write(f"v{version}, {dtype}, `{codec}`", dtype, "--zarr", version, "--codec", codec)
        if version == 3:
            for codec in ("zstd:3", "blosc:lz4:5:shuffle+crc32c"):
                write(f"v3, uint16, sharded, `{codec}`", "uint16", "--shard", "y=8,x=10", "--codec", codec)
        new = folder / f"new-{version}.zarr"
        dims = ["--dim", "time=2024-05-01T00:00,2024-06-01T12:00", "--dim", "band=red,grün,nir", "--dim", "y=3"]
        runner.chunkwise("create", "-o", new, "--var", "data", *dims, "--dtype", "uint8", "--zarr", version).ok()
        for label, name in (("text of fixed length", "band"), ("times", "time")):
            head, ours = read_array(new / name)
            assert head, ours
            rows.append((f"v{version}, {label}", new / name, hashlib.sha256(ours).hexdigest(), head["dtype"]))
    return rows


def by_script(command):
    def read(rows):
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        paths = json.dumps([str(path) for _, path, _, _ in rows])
        done = subprocess.run(command, input=paths, capture_output=True, text=True, env=env, cwd=READERS, timeout=300)
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout).values())

    return read


def each(read):
    def found(row):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return {"sha256": digest(read(row))}
        except Exception as error:  # whatever a reader says is its answer
            return {"error": repr(error)}

    return lambda rows: [found(row) for row in rows]


def by_xarray(row):
    _, path, _, _ = row
    with xarray.open_zarr(path.parent, mask_and_scale=False, decode_times=False) as opened:
        return opened[path.name].values


def by_tensorstore(row):
    label, path, _, _ = row
    driver = "zarr3" if label.startswith("v3") else "zarr"
    return tensorstore.open({"driver": driver, "kvstore": {"driver": "file", "path": str(path)}}, open=True).result().read().result()


# ENVI's numbers of types.
ENVI = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}


def by_gdal(row):
    _, path, _, dtype = row
    raw = path.parent / "gdal.raw"
    name = f'ZARR:"{path.parent}":/{path.name}'
    done = subprocess.run(["gdal_translate", "-q", "-of", "ENVI", name, raw], capture_output=True, text=True)
    if done.returncode or "ERROR" in done.stderr:
        raise ValueError(done.stderr)
    header = dict(line.split(" = ", 1) for line in raw.with_suffix(".hdr").read_text().splitlines() if " = " in line)
    # GDAL has no `bool`, `int8`, `float16`: it reads such cells as a wider type, which is no loss.
    return np.fromfile(raw, ENVI[int(header["data type"])]).astype(dtype)


def versioned(python):
    return by_script([str(python), str(READERS / "read.py")])


READ = {
    "zarr-python 3.1": ((ROOT / ".venv/bin/python").exists, versioned(ROOT / ".venv/bin/python")),
    "zarr-python 3.4": ((ROOT / ".venv-313/bin/python").exists, versioned(ROOT / ".venv-313/bin/python")),
    "zarr-python 2.18": ((ROOT / ".venv-zarr2/bin/python").exists, versioned(ROOT / ".venv-zarr2/bin/python")),
    "xarray": (lambda: True, each(by_xarray)),
    "TensorStore": (lambda: True, each(by_tensorstore)),
    "zarrita.js": (lambda: (READERS / "node_modules/zarrita").is_dir() and shutil.which("node"), by_script(["node", "read.mjs"])),
    "GDAL 3.6": (lambda: shutil.which("gdal_translate"), each(by_gdal)),
}


@pytest.mark.slow
def test_what_is_written_reads_the_same_elsewhere(written):
    columns = {}
    for reader, (there, read) in READ.items():
        if not there():
            pytest.skip(f"{reader} is not here (see ./test)")
        of_reader = []
        for (label, _, sha256, _), found in zip(written, read(written), strict=True):
            right = found.get("sha256") == sha256
            # A reader may refuse; another number is never right.
            assert right or "error" in found, f"{reader} reads other cells: {label}"
            of_reader.append("yes" if right else "–")
        columns[reader] = of_reader
    rows = [f"| written | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for at, (label, _, _, _) in enumerate(written):
        rows.append(f"| {label} | {' | '.join(of[at] for of in columns.values())} |")
    keep("written", "\n".join(rows) + "\n")
