"""`docs/formats.md` says what reads and writes: each row of its table of codecs is tried against numcodecs or zarr-python."""

import hashlib
import json
import re
import subprocess
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr

import runner
from test_conformance import READERS, ROOT, read_array

PAGE = ROOT / "docs" / "formats.md"


def table(title):
    """Rows of the table under a title, without their backticks; cells by the head of their column."""
    part = PAGE.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    head, *rows = ([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines)
    return [dict(zip(head, row, strict=True)) for row in rows[1:]]


# --- codecs -----------------------------------------------------------------------------------------------------------

NUMBERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]
FLOATS = ["f2", "f4", "f8"]
WIDE = [t for t in NUMBERS if t[1] != "1"]
RAW = [{"id": 0x21, "preset": 2}]
OF_CELLS = {"delta", "fixedscaleoffset", "quantize", "bitround", "astype", "packbits"}
# Row of the table -> chains of numcodecs that hold it, and the types that they take. `D` stands for the type of the array.
CHAINS = {
    "zstd": ([[{"id": "zstd"}], [{"id": "zstd", "level": 9, "checksum": True}]], NUMBERS),
    "gzip": ([[{"id": "gzip"}], [{"id": "gzip", "level": 9}]], NUMBERS),
    "blosc": (
        [[{"id": "blosc"}]]
        + [[{"id": "blosc", "cname": c, "clevel": 3, "shuffle": s}] for c in ("lz4", "lz4hc", "zstd", "zlib", "blosclz") for s in (-1, 0, 1, 2)],
        NUMBERS,
    ),
    "zlib": ([[{"id": "zlib"}], [{"id": "zlib", "level": -1}]], NUMBERS),
    "bz2": ([[{"id": "bz2"}], [{"id": "bz2", "level": 9}]], NUMBERS),
    "lz4": ([[{"id": "lz4"}], [{"id": "lz4", "acceleration": 4}]], NUMBERS),
    "lzma": (
        [[{"id": "lzma"}], [{"id": "lzma", "preset": 1}], [{"id": "lzma", "format": 2}]]
        + [[{"id": "lzma", "format": 1, "check": c}] for c in (0, 1, 4, 10)]
        + [[{"id": "lzma", "format": 3, "filters": RAW}], [{"id": "lzma", "format": 3, "filters": [{"id": 3, "dist": 2}, *RAW]}]],
        NUMBERS,
    ),
    "crc32": ([[{"id": "crc32"}], [{"id": "crc32", "location": "end"}, {"id": "zstd"}]], NUMBERS),
    "crc32c": ([[{"id": "zstd"}, {"id": "crc32c"}], [{"id": "crc32c", "location": "start"}]], NUMBERS),
    "adler32": ([[{"id": "adler32"}], [{"id": "adler32", "location": "end"}]], NUMBERS),
    "fletcher32": ([[{"id": "fletcher32"}], [{"id": "zlib"}, {"id": "fletcher32"}]], NUMBERS),
    "shuffle": ([[{"id": "shuffle", "elementsize": "N"}, {"id": "zstd"}]], NUMBERS),
    "pcodec": ([[{"id": "pcodec"}], [{"id": "pcodec", "level": 2}]], WIDE),
    "delta": ([[{"id": "delta", "dtype": "D"}], [{"id": "delta", "dtype": "D"}, {"id": "zlib"}]], NUMBERS),
    "fixedscaleoffset": (
        [[{"id": "fixedscaleoffset", "offset": 3.5, "scale": 8, "dtype": "D", "astype": "<i4"}]]
        + [[{"id": "fixedscaleoffset", "offset": 10.0, "scale": 0.3, "dtype": "D"}, {"id": "lz4"}]],
        FLOATS,
    ),
    "quantize": ([[{"id": "quantize", "digits": d, "dtype": "D"}] for d in (-1, 0, 2, 3)], FLOATS),
    "bitround": ([[{"id": "bitround", "keepbits": k}] for k in (0, 3, 10)], FLOATS),
    "astype": ([[{"id": "astype", "encode_dtype": t, "decode_dtype": "D"}] for t in ("<i4", "<f8")], NUMBERS),
    "packbits": ([[{"id": "packbits"}], [{"id": "packbits"}, {"id": "zstd"}]], ["b1"]),
}


def set_for(chain, dtype):
    named = {"D": dtype.str, "N": dtype.itemsize}
    return [{k: named.get(v, v) if isinstance(v, str) else v for k, v in codec.items()} for codec in chain]


def store(path, version, chain, dtype, rng):
    """Writes an array chunk by chunk with numcodecs, and gives its cells as numcodecs decodes them. One chunk is absent."""
    shape, chunks = tuple(int(n) for n in rng.integers(1, 12, 2)), tuple(int(n) for n in rng.integers(1, 7, 2))
    # numcodecs itself has no `bitround` and `pcodec` of big-endian cells.
    little_only = version == 2 and any(c["id"] in ("bitround", "pcodec") for c in chain)
    big = bool(rng.random() < 0.4) and dtype.itemsize > 1 and not little_only
    stored_as = dtype.newbyteorder(">" if big else "<")
    # v2 gives its filters the cells as they are stored; in v3 `bytes` turns them behind the filters.
    codecs = [numcodecs.get_codec(dict(c)) for c in set_for(chain, stored_as if version == 2 else dtype.newbyteorder("<"))]
    first = next((at for at, c in enumerate(chain) if c["id"] not in OF_CELLS), len(chain))
    grid = [-(-n // c) for n, c in zip(shape, chunks, strict=True)]
    whole = np.zeros([g * c for g, c in zip(grid, chunks, strict=True)], dtype)
    path.mkdir()
    for y, x in np.ndindex(*grid):
        if (y, x) == (grid[0] - 1, 0) and grid[0] > 1:
            continue
        # Small values: what does not fit the other type of a lossy codec is no test.
        cells = rng.integers(0, 2 if dtype.kind == "b" else 100, chunks).astype(dtype)
        if dtype.kind == "f":
            cells = (cells + rng.random(chunks)).astype(dtype)
        turned = stored_as if version == 2 else dtype
        buffer, after = cells.astype(turned), []
        for at, codec in enumerate(codecs):
            if version == 3 and at == first and codec.codec_id != "pcodec" and big:
                buffer = np.asarray(buffer).astype(np.asarray(buffer).dtype.newbyteorder(">"))
            buffer = codec.encode(np.ascontiguousarray(buffer) if isinstance(buffer, np.ndarray) else buffer)
            after.append(buffer)
        if version == 3 and first == len(codecs) and big:
            buffer = np.asarray(buffer).astype(np.asarray(buffer).dtype.newbyteorder(">"))
        key = path / (f"{y}.{x}" if version == 2 else f"c/{y}/{x}")
        key.parent.mkdir(parents=True, exist_ok=True)
        key.write_bytes(bytes(np.ascontiguousarray(buffer).view("u1").ravel()) if isinstance(buffer, np.ndarray) else bytes(buffer))
        # What numcodecs makes of it, from the last codec of cells on: those of bytes lose nothing.
        decoded = after[first - 1] if first else cells.astype(turned)
        for codec in reversed(codecs[:first]):
            decoded = codec.decode(decoded)
        decoded = np.frombuffer(np.ascontiguousarray(decoded).tobytes(), turned).reshape(chunks)
        whole[y * chunks[0] : (y + 1) * chunks[0], x * chunks[1] : (x + 1) * chunks[1]] = decoded
    configured = [{"name": f"numcodecs.{c['id']}", "configuration": {k: v for k, v in c.items() if k != "id"}} for c in set_for(chain, dtype)]
    middle = [{"name": "bytes", "configuration": {"endian": "big" if big else "little"}}]
    if any(c["id"] == "pcodec" for c in chain):
        middle = []
    fill = False if dtype.kind == "b" else 0
    name = {"b": "bool", "i": "int", "u": "uint", "f": "float"}[dtype.kind] + ("" if dtype.kind == "b" else str(8 * dtype.itemsize))
    documents = {
        2: {
            "zarr_format": 2, "shape": shape, "chunks": chunks, "dtype": stored_as.str, "fill_value": fill, "order": "C",
            "filters": set_for(chain, stored_as)[:-1] or None, "compressor": set_for(chain, stored_as)[-1],
        },
        3: {
            "zarr_format": 3, "node_type": "array", "shape": shape, "data_type": name, "fill_value": fill,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
            "chunk_key_encoding": {"name": "default"}, "codecs": configured[:first] + middle + configured[first:],
        },
    }  # fmt: skip
    (path / {2: ".zarray", 3: "zarr.json"}[version]).write_text(json.dumps(documents[version]))
    return whole[: shape[0], : shape[1]]


@pytest.mark.parametrize("row", CHAINS)
def test_codecs_decode_as_numcodecs_does(tmp_path, row):
    chains, types = CHAINS[row]
    rng = np.random.default_rng(len(row))
    for version in (2, 3):
        for number, chain in enumerate(chains):
            for dtype in rng.choice(types, min(len(types), 4), replace=False):
                path = tmp_path / f"{version}-{number}-{dtype}"
                expected = store(path, version, chain, np.dtype(str(dtype)), rng)
                head, cells = read_array(path)
                assert head, f"{path.name}: {cells}"
                assert cells == np.ascontiguousarray(expected).tobytes(), f"{path.name} {chain}"


@pytest.mark.slow
def test_scale_offset_and_cast_value_decode_as_zarr_python_does(tmp_path):
    python = ROOT / ".venv-313/bin/python"
    if not python.exists():
        pytest.skip("no later zarr-python here (see ./test)")
    done = subprocess.run([python, READERS / "write_new.py", tmp_path, "5"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = {path: digest for path, digest in json.loads(done.stdout).items() if digest}
    assert len(found) >= 50
    for path, digest in found.items():
        head, cells = read_array(path)
        codecs = json.loads((Path(path) / "zarr.json").read_text())["codecs"]
        assert head, f"{cells}: {codecs}"
        assert hashlib.sha256(cells).hexdigest() == digest, f"{head}: {codecs}"


# --- regions ----------------------------------------------------------------------------------------------------------

# A value that codecs which lose something keep.
KEPT = {"quantize": 64, "bitround": 64, "fixedscaleoffset": 64}


def write_region(array, start, cells):
    """Writes cells into a box of an array that lies in a folder of its own, and gives all that it then holds."""
    example = Path(runner.binary()).parent / "examples" / "write_region"
    lists = [",".join(map(str, numbers)) for numbers in (start, cells.shape)]
    words = [example, array.parent, array.name, *lists]
    done = subprocess.run(words, input=np.ascontiguousarray(cells).tobytes(), capture_output=True)
    assert done.returncode == 0, f"{array}: {done.stderr.decode()}"
    head, found = read_array(array)
    assert head, f"{array}: {found}"
    return found


def sharded(path, source):
    """An empty array of two by two chunks a shard, whose chunks are encoded as those of another."""
    document = json.loads((source / "zarr.json").read_text())
    grid = document["chunk_grid"]["configuration"]
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    configuration = {"chunk_shape": grid["chunk_shape"], "codecs": document["codecs"], "index_codecs": [little, {"name": "crc32c"}]}
    grid["chunk_shape"] = [2 * n for n in grid["chunk_shape"]]
    path.mkdir()
    (path / "zarr.json").write_text(json.dumps(document | {"codecs": [{"name": "sharding_indexed", "configuration": configuration}]}))


def strange_to_zarr_python(array, version, row):
    """zarr-python 3 reads big-endian cells behind numcodecs' codecs of cells as if they were little-endian, and no `astype`."""
    return version == 3 and (row == "astype" or (row in OF_CELLS and '"big"' in (array / "zarr.json").read_text()))


@pytest.mark.parametrize("row", CHAINS)
def test_regions_are_written_with_every_codec_and_read_by_zarr_python(tmp_path, row):
    """A box across chunks, of which it covers some whole and others in part: changed twice, in chunks and in shards."""
    chains, types = CHAINS[row]
    rng = np.random.default_rng(len(row))
    for version in (2, 3):
        for number, chain in enumerate(chains):
            # What is quantized to thousandths overflows in 16 bits.
            dtype = np.dtype(str(rng.choice([t for t in types if (row, t) != ("quantize", "f2")])))
            path = tmp_path / f"{version}-{number}-{dtype}"
            expected = {path: store(path, version, chain, dtype, rng).copy()}
            if version == 3:
                shards = path.with_name(f"{path.name}-shards")
                sharded(shards, path)
                expected[shards] = np.zeros_like(expected[path])
            for array, whole in expected.items():
                for _ in range(2):
                    start = [int(rng.integers(0, n)) for n in whole.shape]
                    shape = [int(rng.integers(1, n - a + 1)) for n, a in zip(whole.shape, start, strict=True)]
                    cells = rng.integers(0, 2 if dtype.kind == "b" else 100, shape).astype(dtype)
                    if row in KEPT:
                        cells[...] = KEPT[row]
                    whole[tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))] = cells
                    found = np.frombuffer(write_region(array, start, cells), dtype).reshape(whole.shape)
                    if not strange_to_zarr_python(array, version, row):
                        theirs = zarr.open_array(array, mode="r")[...]
                        assert np.array_equal(found, theirs.astype(dtype)), f"{array.name} {chain}"
                    # Its steps are of 3 and a third.
                    loses = 2 if row == "fixedscaleoffset" else 0
                    assert np.allclose(found, whole, rtol=0, atol=loses), f"{array.name} {chain}"
                    whole[...] = found


@pytest.mark.slow
def test_regions_of_scale_offset_and_cast_value_are_read_by_zarr_python(tmp_path):
    """Cells of an array are written over themselves; what zarr-python then reads is what it read before."""
    python = ROOT / ".venv-313/bin/python"
    if not python.exists():
        pytest.skip("no later zarr-python here (see ./test)")
    done = subprocess.run([python, READERS / "write_new.py", tmp_path, "3"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = {Path(path): digest for path, digest in json.loads(done.stdout).items() if digest}
    for path in found:
        head, cells = read_array(path)
        cells = np.frombuffer(cells, head["dtype"]).reshape(head["shape"])
        assert write_region(path, [0] * cells.ndim, cells) == cells.tobytes(), path
    read = "import hashlib, sys, zarr\nfor path in sys.argv[1:]: print(hashlib.sha256(zarr.open_array(path, mode='r')[...].tobytes()).hexdigest())"
    done = subprocess.run([python, "-c", read, *found], capture_output=True, text=True)
    assert done.stdout.split() == list(found.values()), done.stderr


def test_regions_of_shards_beside_other_codecs_are_read_by_zarr_python(tmp_path):
    codecs = zarr.codecs
    inner = codecs.ShardingCodec(chunk_shape=(1, 2), codecs=[codecs.BytesCodec(), codecs.Crc32cCodec()], index_location="start")
    chains = {
        "transposed": {"filters": [codecs.TransposeCodec(order=(1, 0))], "serializer": codecs.ShardingCodec(chunk_shape=(2, 2)), "compressors": None},
        "compressed": {"serializer": codecs.ShardingCodec(chunk_shape=(2, 2)), "compressors": [codecs.ZstdCodec()]},
        "nested": {"serializer": codecs.ShardingCodec(chunk_shape=(2, 4), codecs=[inner]), "compressors": None},
    }
    for name, chain in chains.items():
        path = tmp_path / name
        array = zarr.create_array(path, shape=(7, 10), chunks=(4, 8), dtype="int32", fill_value=-1, zarr_format=3, **chain)
        expected = np.full((7, 10), -1, "int32")
        for start, shape in (((0, 0), (7, 10)), ((3, 1), (2, 8)), ((1, 9), (1, 1))):
            cells = np.arange(np.prod(shape), dtype="int32").reshape(shape) - 1
            expected[start[0] : start[0] + shape[0], start[1] : start[1] + shape[1]] = cells
            assert write_region(path, start, cells) == expected.tobytes(), name
            assert np.array_equal(array[...], expected), name


# Codecs whose reading other tests hold against their writers: conformance stores, text, and the two of zarr-python above.
ELSEWHERE = {"bytes", "transpose", "sharding_indexed", "vlen-utf8", "vlen-bytes", "scale_offset", "cast_value"}


def test_the_table_of_codecs_is_what_is_tested(cw, tmp_path):
    rows = {row["codec"].strip("`"): row for row in table("Codecs")}
    read = {name for name, row in rows.items() if not row["read"].startswith("no")}
    assert read == set(CHAINS) | ELSEWHERE
    source = zarr.open_group(tmp_path / "source.zarr", mode="w", zarr_format=3)
    for dtype in ("float32", "bool"):
        array = source.create_array(dtype, shape=(1, 8), chunks=(1, 8), dtype=dtype, dimension_names=("t", "x"))
        array[...] = np.arange(8)[None] % 2
    for name, row in rows.items():
        for number, choice in enumerate(re.findall(r"`([^-`][^`]*)`", row["written with `--codec`"])):
            dtype = "bool" if name == "packbits" else "float32"
            only = re.search(r"\(v([23])\)", row["written with `--codec`"])
            for version in [int(only[1])] if only else [v for v in (2, 3) if row[f"v{v}"] != "–"]:
                out = tmp_path / f"{name}-{number}-{version}.zarr"
                words = ["reduce", tmp_path / "source.zarr", "--var", dtype, "--over", "t", "--with", "max", "-o", out]
                cw(*words, "--codec", choice, "--zarr", version).ok()
                metadata = (out / dtype / (".zarray" if version == 2 else "zarr.json")).read_text()
                assert f'"{name}"' in metadata or f'"numcodecs.{name}"' in metadata, f"{choice}, v{version}"


# --- data types -------------------------------------------------------------------------------------------------------

# v2 name -> cells, as numpy makes them.
V2_TYPES = {
    **{name: np.array([[0, 1, 1], [1, 0, 1]], name) for name in ("|b1", "|i1", "|u1")},
    **{name: np.array([[0, 1, 2], [3, 4, 5]], name) for kind in "iuf" for size in (2, 4, 8) for name in (f"<{kind}{size}", f">{kind}{size}")},
    **{f"{order}{kind}8[{unit}]": np.array([[0, 1, 2], [3, 4, 5]], f"{order}{kind}8[{unit}]") for order in "<>" for kind in "Mm" for unit in ("D", "s", "ms", "ns", "25s")},
    "<U4": np.array([["a", "", "grün"], ["b", "c", "🎉"]], "<U4"),
    ">U4": np.array([["a", "", "grün"], ["b", "c", "🎉"]], ">U4"),
    "|S5": np.array([[b"a", b"", b"abcde"], [b"b", b"c", b"d"]], "|S5"),
}
REFUSED_V2 = {"<c8": "c8", "|V4": "V4", "<f16": "f16", "|O": "O"}


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("separator", [".", "/"])
def test_v2_types_read_in_both_byte_orders(tmp_path, order, separator):
    for number, (name, cells) in enumerate(V2_TYPES.items()):
        path = tmp_path / str(number)
        path.mkdir()
        fill = "" if cells.dtype.kind in "US" else False if cells.dtype.kind == "b" else 0
        document = {
            "zarr_format": 2, "shape": [2, 3], "chunks": [2, 2], "dtype": name, "fill_value": fill, "order": order,
            "filters": None, "compressor": None, "dimension_separator": separator,
        }  # fmt: skip
        (path / ".zarray").write_text(json.dumps(document))
        padded = np.zeros((2, 4), cells.dtype)
        padded[:, :3] = cells
        for x in range(2):
            key = path / f"0{separator}{x}"
            key.parent.mkdir(exist_ok=True)
            key.write_bytes(padded[:, 2 * x : 2 * x + 2].tobytes(order))
        head, found = read_array(path)
        assert head, f"{name}: {found}"
        if cells.dtype.kind in "US":
            assert json.loads(found) == [v.decode() if isinstance(v, bytes) else v for v in cells.ravel().tolist()], name
        else:
            assert found == cells.astype(cells.dtype.newbyteorder("<")).tobytes(), name


def test_types_that_are_not_read_are_refused_by_name(tmp_path):
    structure = [["lat", "<f4"], ["lon", "<f4"]]
    for number, (dtype, named) in enumerate([*REFUSED_V2.items(), (structure, "structures")]):
        path = tmp_path / str(number)
        path.mkdir()
        (path / ".zarray").write_text(
            json.dumps({"zarr_format": 2, "shape": [2], "chunks": [2], "dtype": dtype, "fill_value": None, "order": "C", "filters": None, "compressor": None})
        )
        head, words = read_array(path)
        assert head is None and named in words, words
    for number, name in enumerate(["complex64", "r16", "float8_e4m3", "int4", "optional", "structured"]):
        path = tmp_path / f"v3-{number}"
        path.mkdir()
        document = {
            "zarr_format": 3, "node_type": "array", "shape": [2], "data_type": name, "fill_value": 0, "codecs": [{"name": "bytes"}],
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2]}}, "chunk_key_encoding": {"name": "default"},
        }  # fmt: skip
        (path / "zarr.json").write_text(json.dumps(document))
        head, words = read_array(path)
        assert head is None and f"`{name}` is not supported" in words, words


FILLS = [
    ("float32", "NaN", np.nan), ("float32", "Infinity", np.inf), ("float64", "-Infinity", -np.inf), ("float32", "0x7fc00000", np.nan),
    ("float64", "0x3ff8000000000000", 1.5), ("float16", "0x3e00", 1.5), ("float32", 0.1, 0.1), ("int64", -(2**63), -(2**63)),
    ("uint64", 2**64 - 1, 2**64 - 1), ("bool", True, True), ("int8", -128, -128), ("float64", 3, 3),
]  # fmt: skip


def test_fill_values_of_every_form(tmp_path):
    for number, (dtype, fill, expected) in enumerate(FILLS):
        for shape in ([3], []):
            path = tmp_path / f"{number}-{len(shape)}"
            path.mkdir()
            document = {
                "zarr_format": 3, "node_type": "array", "shape": shape, "data_type": dtype, "fill_value": fill,
                "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2] * len(shape)}},
                "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            }  # fmt: skip
            (path / "zarr.json").write_text(json.dumps(document))
            head, cells = read_array(path)
            assert head, f"{dtype} {fill}: {cells}"
            np.testing.assert_array_equal(np.frombuffer(cells, dtype), np.full(shape, expected, dtype).ravel())


def test_the_table_of_types_is_what_is_tested():
    rows = table("Data types")
    v2 = {name for row in rows if row["read"] != "no" for name in re.findall(r"`([^`]+)`", row["v2"].replace("\\|", "|"))}
    kinds = {np.dtype(name).kind for name in V2_TYPES}
    v2 -= {"|O", "vlen-utf8", "vlen-bytes"}
    assert {np.dtype(name).kind for name in v2} == kinds
    refused = {name for row in rows if row["read"] == "no" for name in re.findall(r"`([^`]+)`", row["v2"].replace("\\|", "|"))}
    assert refused == set(REFUSED_V2) - {"|O"}


def test_a_codec_that_is_not_known_is_refused_by_name(cw, tmp_path):
    group = zarr.open_group(tmp_path / "cube.zarr", mode="w", zarr_format=3)
    group.create_array("good", shape=(4,), chunks=(4,), dtype="f4", dimension_names=("x",))[...] = 1
    group.create_array("counts", shape=(4,), chunks=(4,), dtype="u2", dimension_names=("x",))
    path = tmp_path / "cube.zarr" / "counts" / "zarr.json"
    document = json.loads(path.read_text())
    document["codecs"] = [{"name": "example.twelve"}]
    path.write_text(json.dumps(document))
    refused = cw("stats", tmp_path / "cube.zarr", "--var", "counts")
    refused.refused("counts", "example.twelve", "docs/formats.md", "register")
    assert cw("stats", tmp_path / "cube.zarr", "--var", "good").ok().json[0]["mean"] == 1


def test_a_codec_of_ones_own_is_written_and_read_back(tmp_path):
    example = Path(runner.binary()).parent / "examples" / "custom_codec"
    done = subprocess.run([example, tmp_path / "counts.zarr"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # 220 cells of 12 bits.
    assert done.stdout.startswith("330 of 440 bytes")
