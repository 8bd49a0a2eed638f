"""`chunkwise verify`: whole cubes are 0, each damage is 1 with its line, what cannot be looked through is 2."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
import xarray
import zarr

import cube
import faulty
import runner
import servers

MIB = 2**20
TIMES = np.array(["2024-01-15", "2024-02-15", "2024-03-15", "2024-04-15", "2024-05-15"], "M8[ns]")


def dataset():
    values = np.random.default_rng(1).integers(1, 1000, (5, 20, 30)).astype("uint16")
    coords = {"time": TIMES, "y": 5000.0 - 10 * np.arange(20), "x": 500.0 + 10 * np.arange(30)}
    return xarray.Dataset({"data": xarray.DataArray(values, coords, ("time", "y", "x"))})


def write(path, zarr_format=3, consolidated=False, **encoding):
    encoding = {"data": {"chunks": (2, 8, 7), **encoding}}
    dataset().to_zarr(path, zarr_format=zarr_format, encoding=encoding, consolidated=consolidated)
    return path


def edit(document, change):
    content = json.loads(document.read_text())
    change(content)
    document.write_text(json.dumps(content))


LAYOUTS = {
    "v3": {},
    "v3 consolidated": {"consolidated": True},
    "v2": {"zarr_format": 2},
    "v2 consolidated": {"zarr_format": 2, "consolidated": True},
    "shards": {"shards": (4, 16, 14), "chunks": (2, 8, 7)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_whole_cube_is_0(cw, tmp_path, layout):
    path = write(tmp_path / "a.zarr", **LAYOUTS[layout])
    run = cw("verify", path, json=True).ok()
    assert run.json == [], str(run)
    assert "nothing is wrong" in cw("verify", path, json=False).ok().err


def truncated(path):
    chunk = path / "data/c/1/2/3"
    chunk.write_bytes(chunk.read_bytes()[:-5])
    return "data", [1, 2, 3], "data/c/1/2/3", "decode"


def flipped(path):
    chunk = path / "data/c/0/1/0"
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 4
    chunk.write_bytes(content)
    return "data", [0, 1, 0], "data/c/0/1/0", "crc32c"


def of_another_size(path):
    group = zarr.open_group(path, mode="r+")
    group.create_array("other", shape=(2, 4, 7), chunks=(2, 4, 7), dtype="uint16", compressors=zarr.codecs.Crc32cCodec())
    group["other"][:] = 1
    shutil.copy(path / "other/c/0/0/0", path / "data/c/2/0/0")
    shutil.rmtree(path / "other")
    return "data", [2, 0, 0], "data/c/2/0/0", "bytes"


def out_of_grid(path):
    shutil.copytree(path / "data/c/0", path / "data/c/3")
    return "data", None, "data/c/3", "outside of the grid"


def stray(path):
    (path / "data/notes.txt").write_text("?")
    return "data", None, "data/notes.txt", "no chunk"


def missing_label(path):
    zarr.open_group(path, mode="r+")["x"][4] = np.nan
    return "x", [4], None, "missing"


def label_out_of_order(path):
    zarr.open_group(path, mode="r+")["y"][7] = 9000
    return "y", [7], None, "order"


def same_label(path):
    y = zarr.open_group(path, mode="r+")["y"]
    y[7] = y[6]
    return "y", [7], None, "the same"


def missing_bounds(path):
    edit(path / "x/zarr.json", lambda d: d["attributes"].update(bounds="x_bnds"))
    return "x", None, None, "`x_bnds`"


def bad_units(path):
    edit(path / "time/zarr.json", lambda d: d["attributes"].update(units="fortnights since the flood"))
    return "time", None, None, "flood"


def bad_calendar(path):
    edit(path / "time/zarr.json", lambda d: d["attributes"].update(calendar="discordian"))
    return "time", None, None, "discordian"


def flags(path):
    edit(path / "data/zarr.json", lambda d: d["attributes"].update(flag_values=[1, 2, 3], flag_meanings="clear cloud"))
    return "data", None, None, "`flag_values` has 3"


def empty_range(path):
    edit(path / "data/zarr.json", lambda d: d["attributes"].update(valid_range=[10, 1]))
    return "data", None, None, "range"


def grid_mapping(path):
    edit(path / "data/zarr.json", lambda d: d["attributes"].update(grid_mapping="spatial_ref"))
    return "data", None, None, "`spatial_ref`"


DAMAGES = [
    truncated, flipped, of_another_size, out_of_grid, stray, missing_label, label_out_of_order, same_label, missing_bounds,
    bad_units, bad_calendar, flags, empty_range, grid_mapping,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_damage_is_1_with_its_line(cw, tmp_path, damage):
    path = write(tmp_path / "a.zarr", compressors=zarr.codecs.Crc32cCodec())
    variable, chunk, key, words = damage(path)
    run = cw("verify", path, json=True)
    assert run.code == 1, str(run)
    found = [p for p in run.json if p["variable"] == variable and p["chunk"] == chunk and p["key"] == key]
    assert any(words in p["problem"] for p in found), str(run)
    # A label out of order may turn twice; nothing else is wrong.
    assert {p["variable"] for p in run.json} == {variable}, str(run)
    text = cw("verify", path)
    assert text.code == 1 and words in text.out.decode(), str(text)


def test_a_bad_index_is_told_once_for_its_shard(cw, tmp_path):
    path = write(tmp_path / "a.zarr", chunks=(2, 8, 7), shards=(4, 16, 14))
    shard = path / "data/c/0/1/1"
    content = bytearray(shard.read_bytes())
    content[-9] ^= 1
    shard.write_bytes(content)
    run = cw("verify", path, json=True)
    assert run.code == 1, str(run)
    [problem] = run.json
    assert problem["key"] == "data/c/0/1/1" and problem["chunk"] == [0, 2, 2], str(run)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_consolidated_metadata_that_are_others_are_told(cw, tmp_path, zarr_format):
    path = write(tmp_path / "a.zarr", zarr_format=zarr_format, consolidated=True)
    document = path / ("data/zarr.json" if zarr_format == 3 else "data/.zattrs")
    edit(document, lambda d: d.setdefault("attributes", d).update(units="K") if zarr_format == 3 else d.update(units="K"))
    run = cw("verify", path, json=True)
    assert run.code == 1, str(run)
    assert [(p["variable"], p["key"]) for p in run.json] == [("data", str(document.relative_to(path)))], str(run)


def test_absent_chunks_are_counted_and_no_problem(cw, tmp_path):
    path = write(tmp_path / "a.zarr")
    (path / "data/c/1/1/1").unlink()
    assert "(1 absent)" in cw("verify", path, json=False).ok().err


def test_all_problems_are_counted_and_the_first_thousand_listed(cw, tmp_path):
    path = tmp_path / "a.zarr"
    group = zarr.create_group(path)
    array = group.create_array("data", shape=(1100,), chunks=(1,), dtype="int16", dimension_names=["x"])
    array[:] = 1 + np.arange(1100)
    for n in range(1100):
        (path / f"data/c/{n}").write_bytes(b"?")
    run = cw("verify", path, json=True)
    assert run.code == 1 and len(run.json) == 1000 and "100 more" in run.err, str(run)


def test_what_cannot_be_looked_through_is_2(cw, tmp_path):
    cw("verify", tmp_path / "none.zarr").refused("none.zarr")
    path = write(tmp_path / "a.zarr")
    cw("verify", path, "--var", "reflectance").refused("reflectance", "data")
    cw("verify", path, "--memory", "1MiB").refused("--memory")


def test_only_the_variables_asked_for(cw, tmp_path):
    path = write(tmp_path / "a.zarr")
    missing_bounds(path)
    assert cw("verify", path, "--var", "data", json=True).ok().json == []
    assert cw("verify", path, "--explain", json=True).ok().json["chunks"] == 3 * 3 * 5 + 3


def test_memory_is_bounded(cw, tmp_path):
    spec = cube.Spec(shape=(16, 2, 1024, 1024), chunks=(1, 2, 512, 512), second=False)
    path = spec.build(tmp_path / "a.zarr").path
    run = cw("verify", path, "--memory", "64MiB", "--threads", "2", measure=True).ok()
    assert run.peak <= 64 * MIB, str(run)


def test_labels_are_checked_in_the_chunks_that_can_be_read(cw, tmp_path):
    path = tmp_path / "a.zarr"
    encoding = {"data": {"chunks": (2, 8, 7)}, "x": {"chunks": (10,), "compressors": zarr.codecs.Crc32cCodec()}}
    dataset().to_zarr(path, zarr_format=3, encoding=encoding, consolidated=False)
    x = zarr.open_group(path, mode="r+")["x"]
    x[24] = x[23]
    (path / "x/c/1").write_bytes(b"?")
    edit(path / "x/zarr.json", lambda d: d["attributes"].update(bounds="x_bnds"))
    run = cw("verify", path, json=True)
    assert run.code == 1, str(run)
    found = [(p["variable"], p["chunk"], p["key"]) for p in run.json]
    assert found == [("x", [1], "x/c/1"), ("x", [24], None), ("x", None, None)], str(run)


# --- larger than it can be ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", ["folder", "web"])
def test_an_object_that_is_far_larger_than_its_chunk_is_a_problem_and_not_read(cw, tmp_path, there):
    path = write(tmp_path / "a.zarr", consolidated=True)
    with open(path / "data/c/1/1/1", "r+b") as chunk:
        chunk.truncate(200 * MIB)
    with servers.Web(tmp_path) as web:
        run = cw("verify", path if there == "folder" else web.url("a.zarr"), "--memory", "64MiB", measure=True)
    assert run.code == 1 and run.peak <= 64 * MIB, str(run)
    [problem] = run.json
    assert problem["chunk"] == [1, 1, 1] and "209715200 bytes" in problem["problem"], str(run)


def test_numbers_that_are_stored_as_wider_ones_are_no_problem(cw, tmp_path):
    import numcodecs

    path = tmp_path / "a.zarr"
    wider = numcodecs.AsType(encode_dtype="<f8", decode_dtype="|u1")
    options = {"filters": [wider], "compressors": None, "attributes": {"_ARRAY_DIMENSIONS": ["x"]}}
    array = zarr.create_group(path, zarr_format=2).create_array("v", shape=(2_000_000,), chunks=(1_000_000,), dtype="u1", **options)
    array[:] = np.arange(2_000_000) % 200
    assert (path / "v/0").stat().st_size == 8_000_000
    assert cw("verify", path).ok().json == []
    run = cw("verify", path, "--memory", "64MiB", "--threads", "1", measure=True).ok()
    assert run.peak <= 64 * MIB, str(run)


def test_long_texts_are_read_as_far_as_there_is_room(cw, tmp_path):
    path = tmp_path / "a.zarr"
    array = zarr.create_group(path).create_array("note", shape=(4,), chunks=(4,), dtype=str, compressors=None, dimension_names=["n"])
    array[:] = np.array(["a" * 3_000_000] * 4, dtype=object)
    assert cw("verify", path, "--memory", "256MiB").ok().json == []
    run = cw("verify", path, "--memory", "34MiB")
    assert run.code == 1 and "more than the" in run.json[0]["problem"], str(run)


# --- stores that answer after a while -------------------------------------------------------------------------------


def test_on_a_web_server_it_is_the_same_but_for_what_must_be_listed(cw, tmp_path):
    path = write(tmp_path / "a.zarr", consolidated=True)
    with servers.Web(tmp_path) as web:
        run = cw("verify", web.url("a.zarr"), json=False).ok()
        assert "nothing is wrong" in run.err and "cannot be listed" in run.err, str(run)
        variable, chunk, key, words = truncated(path)
        run = cw("verify", web.url("a.zarr"))
    assert run.code == 1, str(run)
    [problem] = run.json
    assert (problem["variable"], problem["chunk"], problem["key"]) == (variable, chunk, f"a.zarr/{key}"[7:]), str(run)
    assert words in problem["problem"]


def test_in_an_object_store_chunks_and_keys_are_looked_at(cw, s3, tmp_path):
    import obstore

    out = s3.url("verify/a.zarr")
    path = write(tmp_path / "a.zarr")
    cw("calc", path, "b = data + 0", "-o", out, "--codec", "zstd:1+crc32c", "--overwrite", env=s3.env, json=False).ok()
    assert cw("verify", out, env=s3.env).ok().json == []
    box = servers.looked_at(s3, "verify/a.zarr")
    chunk = bytearray(obstore.get(box, "b/c/1/1/1").bytes().to_bytes())
    chunk[7] ^= 1
    obstore.put(box, "b/c/1/1/1", bytes(chunk))
    obstore.put(box, "b/c/9/0/0", b"?")
    run = cw("verify", out, env=s3.env)
    assert run.code == 1, str(run)
    assert [(p["chunk"], p["key"]) for p in run.json] == [([1, 1, 1], "b/c/1/1/1"), (None, "b/c/9")], str(run)


def test_chunks_of_a_shard_are_fetched_together(cw, tmp_path):
    path = write(tmp_path / "a.zarr", shards=(4, 16, 14), chunks=(2, 8, 7), consolidated=True)
    with servers.Web(tmp_path) as web:
        run = cw("verify", web.url("a.zarr"), json=False).ok()
        asked = [key for _, key, _ in web.requests if key.startswith("/a.zarr/data/c/")]
        served = [key for _, key, _ in web.requests if "/c/" in key]
    # 2 × 2 × 3 shards of 8 chunks: of each its index, and its chunks.
    assert len(asked) == 2 * 12, asked
    # The labels are read twice: as chunks, and as labels.
    told = int(re.search(r"(\d+) requests", run.err)[1])
    assert told == len(asked) + len({key for key in served if key not in asked}), str(run)
    # Of a shard that ends early, the chunks that lie before its end are whole.
    shard = path / "data/c/0/0/0"
    content = shard.read_bytes()
    index = np.frombuffer(content[-(8 * 16 + 4) : -4], "<u8").reshape(-1, 2).copy()
    index[3, 0] = len(content) + 1000
    index = index.tobytes()
    import google_crc32c

    shard.write_bytes(content[: -(8 * 16 + 4)] + index + google_crc32c.value(index).to_bytes(4, "little"))
    with servers.Web(tmp_path) as web:
        run = cw("verify", web.url("a.zarr"))
    assert run.code == 1 and [p["chunk"] for p in run.json] == [[0, 1, 1]], str(run)


QUICK = ("--storage", "retry_timeout=1s", "--storage", "stall_timeout=400ms")


def test_a_server_that_goes_away_is_2_and_names_the_chunk(cw, tmp_path):
    write(tmp_path / "a.zarr", consolidated=True)
    with faulty.Server() as server:
        server.buckets["b"] = faulty.Bucket(tmp_path)
        server.buckets["b"].may = lambda kind, method, key, wanted: key.startswith("a.zarr/data/c/")
        server.buckets["b"].kinds, server.buckets["b"].share = ("500",), 1
        said = cw("verify", "s3://b/a.zarr", *QUICK, env=server.env).refused("data", "500", "tries", "busy")
    assert re.search(r"chunk \[\d, \d, \d\]", said), said


def test_credentials_that_expire_in_the_middle_are_2_and_no_thousand_problems(cw, tmp_path):
    """Unless 403 is said to stand for chunks that are absent."""
    write(tmp_path / "a.zarr", consolidated=True)
    with faulty.Server() as server:
        server.buckets["b"] = bucket = faulty.Bucket(tmp_path, kinds=("403",), share=1)
        bucket.may = lambda kind, method, key, wanted: method == "GET" and key.startswith("a.zarr/data/c/")
        cw("verify", "s3://b/a.zarr", *QUICK, env=server.env).refused("chunk", "data", "403", "absent-on 403")
        assert cw("verify", "s3://b/a.zarr", "--absent-on", "403", *QUICK, env=server.env).ok().json == []


def slow(path):
    if "/data/c/" in path:
        time.sleep(0.1)


def test_interruption_is_130(tmp_path):
    write(tmp_path / "a.zarr", consolidated=True)
    with servers.Web(tmp_path, slow) as web:
        run = runner.start("verify", web.url("a.zarr"), "--storage", "concurrency=1")
        while len(web.requests) < 5:
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=20)
    assert run.returncode == 130 and out == b"", (out, err)


def test_progress_is_shown_on_a_terminal(tmp_path):
    write(tmp_path / "a.zarr", consolidated=True)
    terminal, end = pty.openpty()
    with servers.Web(tmp_path, slow) as web:
        command = [runner.binary(), "verify", web.url("a.zarr"), "--storage", "concurrency=2"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=end, timeout=60)
    os.close(end)
    shown = b""
    try:
        while part := os.read(terminal, 65536):
            shown += part
    except OSError:
        pass  # all is read
    os.close(terminal)
    assert done.returncode == 0 and done.stdout == b"", shown
    assert re.search(rb"of 48 chunks", shown), shown
