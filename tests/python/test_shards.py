"""Sharded arrays and rectilinear grids: those of others are read, ours are read by others, and no shard is whole in memory."""

import json
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec, TransposeCodec, ZstdCodec

from test_interop import newer_zarr

MIB = 2**20
WITH = "count,sum,min,max,mean,std"


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def check_statistics(cw, path, values, name="data"):
    """Over everything, and over each dimension alone into a cube, as numpy has them."""
    (record,) = [r for r in cw("reduce", path, "--over", "all", "--with", WITH).ok().json if r["variable"] == name]
    assert (record["count"], record["sum"]) == (values.size, int(values.sum()))
    assert (record["min"], record["max"]) == (int(values.min()), int(values.max()))
    np.testing.assert_allclose([record["mean"], record["std"]], [values.mean(), values.std()], rtol=1e-12)
    for axis, dim in enumerate("tyx"[-values.ndim :]):
        out = Path(path).with_name(f"over-{dim}.zarr")
        cw("reduce", path, "--over", dim, "--with", "sum,max", "-o", out, "--overwrite").ok()
        root = zarr.open_group(out, mode="r")
        assert np.array_equal(root[f"{name}_sum"][...], values.sum(axis)), dim
        assert np.array_equal(root[f"{name}_max"][...], values.max(axis)), dim


def group_of(path):
    return zarr.open_group(path, mode="w", zarr_format=3)


SHAPE = (5, 23, 31)


def some_values(seed=4, shape=SHAPE):
    """Some blocks of nothing but fill (7): absent inner chunks, and whole shards that are not written."""
    values = np.random.default_rng(seed).integers(0, 50, shape).astype("int32")
    values[0] = 7
    values[2, :8, :8] = 7
    values[:, 16:, 16:] = 7
    return values


@pytest.mark.parametrize("location", ["start", "end"])
@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("chunk, shard", [((1, 4, 4), (1, 8, 8)), ((1, 4, 4), (2, 16, 16)), ((5, 6, 8), (5, 24, 32))])
def test_shards_of_zarr_python_are_read(cw, tmp_path, location, checksum, chunk, shard):
    path, values = tmp_path / "cube.zarr", some_values()
    index = [BytesCodec(), Crc32cCodec()] if checksum else [BytesCodec()]
    codec = ShardingCodec(chunk_shape=chunk, codecs=[BytesCodec(), ZstdCodec()], index_codecs=index, index_location=location)
    array = group_of(path).create_array(
        "data", shape=SHAPE, chunks=shard, dtype="int32", fill_value=7, serializer=codec, compressors=None, dimension_names=["t", "y", "x"]
    )
    array[...] = values
    check_statistics(cw, path, values)


@pytest.mark.parametrize(
    "layout",
    [
        {"filters": [TransposeCodec(order=(0, 2, 1))], "chunks": (2, 8, 8), "inner": (1, 4, 2)},
        {"compressors": [ZstdCodec()], "chunks": (2, 8, 8), "inner": (1, 4, 4)},
        {"compressors": [Crc32cCodec()], "chunks": (2, 8, 8), "inner": (1, 4, 4)},
    ],
    ids=["transposed before", "zstd after", "crc32c after"],
)
def test_shards_beside_other_codecs_are_read(cw, tmp_path, layout):
    path, values = tmp_path / "cube.zarr", some_values()
    array = group_of(path).create_array(
        "data",
        shape=SHAPE,
        chunks=layout["chunks"],
        dtype="int32",
        fill_value=7,
        filters=layout.get("filters", []),
        serializer=ShardingCodec(chunk_shape=layout["inner"], codecs=[BytesCodec(), ZstdCodec()]),
        compressors=layout.get("compressors"),
        dimension_names=["t", "y", "x"],
    )
    array[...] = values
    check_statistics(cw, path, values)


def test_shards_within_shards_are_read(cw, tmp_path):
    path, values = tmp_path / "cube.zarr", some_values()
    inner = ShardingCodec(chunk_shape=(1, 4, 4), codecs=[BytesCodec(), ZstdCodec()])
    outer = ShardingCodec(chunk_shape=(1, 8, 8), codecs=[inner])
    array = group_of(path).create_array(
        "data", shape=SHAPE, chunks=(2, 16, 16), dtype="int32", fill_value=7, serializer=outer, compressors=None, dimension_names=["t", "y", "x"]
    )
    array[...] = values
    check_statistics(cw, path, values)


def test_shards_of_tensorstore_are_read(cw, tmp_path):
    path, values = tmp_path / "cube.zarr", some_values()
    for location in ("start", "end"):
        group_of(path)
        metadata = {
            "shape": SHAPE,
            "data_type": "int32",
            "fill_value": 7,
            "dimension_names": ["t", "y", "x"],
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 16, 16]}},
            "codecs": [
                {
                    "name": "sharding_indexed",
                    "configuration": {
                        "chunk_shape": [1, 4, 8],
                        "codecs": [{"name": "bytes", "configuration": {"endian": "big"}}, {"name": "gzip", "configuration": {"level": 3}}],
                        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
                        "index_location": location,
                    },
                }
            ],
        }
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path / "data")}, "metadata": metadata}
        tensorstore.open(spec, create=True).result().write(values).result()
        check_statistics(cw, path, values)


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_written_shards_are_the_same_on_any_threads_and_read_by_others(cw, tmp_path, threads):
    """Ragged at the edges; inner chunks of nothing but fill are absent, and shards of nothing else are not there."""
    values = np.where(some_values() == 7, np.nan, some_values()).astype("float32")
    source = tmp_path / "cube.zarr"
    group_of(source).create_array(
        "data", shape=SHAPE, chunks=(1, 4, 8), dtype="float32", fill_value=float("nan"), dimension_names=["t", "y", "x"]
    )[...] = values
    layout = ["--chunk", "t=1,y=4,x=8", "--shard", "t=2,y=16,x=16"]
    outs = []
    for n, name in ((1, "one.zarr"), (threads, "many.zarr")):
        outs.append(tmp_path / name)
        cw("calc", source, "data = data * 2", "-o", outs[-1], *layout, "--threads", n).ok()
    one, many = ({p.relative_to(out): p.read_bytes() for p in (out / "data" / "c").rglob("*") if p.is_file()} for out in outs)
    assert one == many and 0 < len(one) < 3 * 2 * 2
    stored = zarr.open_group(outs[0], mode="r")["data"]
    assert (stored.shards, stored.chunks) == ((2, 16, 16), (1, 4, 8))
    assert np.array_equal(stored[...], values * 2, equal_nan=True)
    store = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(outs[0] / "data")}}
    assert np.array_equal(tensorstore.open(store, open=True).result().read().result(), values * 2, equal_nan=True)


RECTILINEAR = """
import json, sys
import numpy as np
import zarr

zarr.config.set({"array.rectilinear_chunks": True})
path, shards = sys.argv[1], sys.argv[2] == "shards"
values = np.random.default_rng(5).integers(0, 50, (5, 23, 31)).astype("int32")
values[0] = 7
chunks = [[2, 3], [8, 4, 4, 7] if not shards else [8, 4, 4, 8], [10, 10, 11] if not shards else [12, 20]]
group = zarr.open_group(path, mode="w", zarr_format=3)
shape = values.shape
more = {}
if shards:
    values = np.random.default_rng(5).integers(0, 50, (5, 24, 32)).astype("int32")
    more = {"serializer": zarr.codecs.ShardingCodec(chunk_shape=(1, 4, 4)), "compressors": None}
array = group.create_array(
    "data", shape=values.shape, chunks=chunks, dtype="int32", fill_value=7, dimension_names=["t", "y", "x"], **more
)
array[...] = values
np.save(path + ".npy", values)
print(json.dumps(json.load(open(path + "/data/zarr.json"))["chunk_grid"]))
"""


@pytest.mark.parametrize("kind", ["chunks", "shards"])
def test_rectilinear_grids_of_a_later_zarr_python_are_read(cw, tmp_path, kind):
    path = tmp_path / "cube.zarr"
    made = subprocess.run([newer_zarr(), "-c", RECTILINEAR, str(path), kind], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr[-3000:]
    assert json.loads(made.stdout)["name"] == "rectilinear"
    check_statistics(cw, path, np.load(f"{path}.npy"))


@pytest.mark.slow
def test_a_shard_of_512_mib_is_written_and_read_within_128_mib(cw, tmp_path):
    """One shard of 8192 x 16384 float32; inner chunks of 1 MiB, stored as they are: no compression makes them small."""
    source, out, rows = tmp_path / "cube.zarr", tmp_path / "out.zarr", 8192
    array = group_of(source).create_array(
        "data", shape=(rows, 16384), chunks=(512, 512), dtype="uint16", fill_value=0, dimension_names=["y", "x"]
    )
    for y in range(0, rows, 512):
        array[y : y + 512] = np.repeat(np.arange(y, y + 512, dtype="uint16")[:, None], 16384, 1)
    layout = ["--chunk", "y=512,x=512", "--shard", "y=8192,x=16384", "--codec", "none"]
    run = cw("calc", source, "data = data + 1", "-o", out, *layout, "--memory", "128MiB", "--threads", 2, measure=True).ok()
    assert run.peak <= 128 * MIB, f"{run.peak / MIB:.0f} MiB to write"
    stored = zarr.open_group(out, mode="r")["data"]
    assert (stored.shards, stored.dtype) == ((8192, 16384), np.float32)
    assert stored.nbytes == 512 * MIB and len([p for p in (out / "data" / "c").rglob("*") if p.is_file()]) == 1
    assert np.array_equal(stored[5000:5010, 700], np.arange(5001, 5011, dtype="float32"))
    for command in (["stats", out], ["reduce", out, "--over", "x", "--with", "mean,max", "-o", tmp_path / "rows.zarr"]):
        run = cw(*command, "--memory", "128MiB", "--threads", 2, measure=True).ok()
        assert run.peak <= 128 * MIB, f"{run.peak / MIB:.0f} MiB to read"
        if command[0] == "stats":
            assert (run.json[0]["mean"], run.json[0]["max"]) == (4096.5, 8192)
    means = zarr.open_group(tmp_path / "rows.zarr", mode="r")["data_mean"][...]
    assert np.array_equal(means, np.arange(1, rows + 1, dtype="float32"))
    # Many shards in the making at once: each row of chunks goes through all of them.
    columns = tmp_path / "columns.zarr"
    run = cw("calc", source, "data = data + 1", "-o", columns, "--chunk", "y=512,x=512", "--shard", "y=8192,x=512", "--memory", "96MiB", measure=True)
    assert run.ok().peak <= 96 * MIB, f"{run.peak / MIB:.0f} MiB to write 32 shards at once"
    assert zarr.open_group(columns, mode="r")["data"][5000, 16383] == 5001


@pytest.mark.slow
def test_a_zip_file_of_a_large_shard_is_packed_within_the_budget(cw, tmp_path):
    """A member of 128 MiB is copied piece by piece."""
    source, out = tmp_path / "cube.zarr", tmp_path / "out.zarr.zip"
    array = group_of(source).create_array(
        "data", shape=(4096, 8192), chunks=(512, 512), dtype="uint16", fill_value=0, dimension_names=["y", "x"]
    )
    for y in range(0, 4096, 512):
        array[y : y + 512] = np.repeat(np.arange(y, y + 512, dtype="uint16")[:, None], 8192, 1)
    layout = ["--chunk", "y=512,x=512", "--shard", "y=4096,x=8192", "--codec", "none"]
    run = cw("calc", source, "data = data + 1", "-o", out, *layout, "--memory", "64MiB", "--threads", 2, measure=True).ok()
    assert run.peak <= 64 * MIB, f"{run.peak / MIB:.0f} MiB"
    assert out.stat().st_size > 128 * MIB
    with zarr.storage.ZipStore(out, mode="r") as store:
        assert np.array_equal(zarr.open_group(store, mode="r")["data"][3000, :10], np.full(10, 3001, "float32"))
