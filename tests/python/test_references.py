"""Kerchunk references as cubes.

    $ .venv/bin/python -m pytest tests/python/test_references.py
"""

import base64
import json

import numpy as np
import pytest

import servers

VALUES = np.arange(24, dtype="<i2").reshape(4, 6)
ZARRAY = {"zarr_format": 2, "shape": [4, 6], "chunks": [2, 6], "dtype": "<i2", "compressor": None, "filters": None, "fill_value": None, "order": "C"}
META = {".zgroup": '{"zarr_format": 2}', "v/.zarray": json.dumps(ZARRAY), "v/.zattrs": json.dumps({"_ARRAY_DIMENSIONS": ["y", "x"]})}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below/data.bin").write_bytes(b"head" + VALUES.tobytes() + b"tail")
    (tmp_path / "first.bin").write_bytes(VALUES[:2].tobytes())
    return tmp_path


def write(folder, refs, name="refs.json", **more):
    path = folder / name
    path.write_text(json.dumps({"version": 1, **more, "refs": {**META, **refs}}))
    return path


def check(cw, path, values=VALUES):
    found = cw("stats", path).ok().json[0]
    assert (found["count"], found["min"], found["max"], found["mean"]) == (values.size, values.min(), values.max(), values.mean())


def test_ranges_whole_files_text_and_base64_are_read(cw, folder):
    check(cw, write(folder, {"v/0.0": ["below/data.bin", 4, 24], "v/1.0": ["below/data.bin", 28, 24]}))
    check(cw, write(folder, {"v/0.0": ["first.bin"], "v/1.0": "base64:" + base64.b64encode(VALUES[2:].tobytes()).decode()}))
    check(cw, write(folder, {"v/0.0": ["first.bin"], "v/1.0": "AB" * 12}), np.frombuffer(VALUES[:2].tobytes() + b"AB" * 12, "<i2"))
    check(cw, write(folder, {"v/0.0": [f"file://{folder}/first.bin"], "v/1.0": [str(folder / "below/data.bin"), 28, 24]}))


def test_the_folder_of_the_document_counts_and_not_that_of_the_process(cw, folder, monkeypatch):
    path = write(folder, {"v/0.0": ["first.bin"], "v/1.0": ["below/data.bin", 28, 24]})
    monkeypatch.chdir("/")
    check(cw, path)
    monkeypatch.chdir(folder)
    check(cw, path.name)
    assert cw("info", path).ok().json["form"] == "kerchunk reference"


def test_templates_are_filled_in(cw, folder):
    check(cw, write(folder, {"v/0.0": ["{{u}}/data.bin", 4, 24], "v/1.0": ["{{ u }}/data.bin", 28, 24]}, templates={"u": "below"}))
    cw("stats", write(folder, {"v/0.0": ["{{w}}/data.bin", 4, 24]}, templates={"u": "below"})).refused("`w`")
    cw("stats", write(folder, {"v/0.0": ["{{u}}", 4, 24]}, templates={"u": "below/{{c}}.bin"})).refused("`u`", "parameters")


def test_documents_without_version_and_metadata_as_objects_are_read(cw, folder):
    path = folder / "old.json"
    refs = {k: json.loads(v) for k, v in META.items()} | {"v/0.0": ["first.bin"], "v/1.0": ["below/data.bin", 28, 24]}
    path.write_text(json.dumps(refs))
    check(cw, path)


def test_chunks_that_are_not_named_are_absent_and_those_that_are_must_be_there(cw, folder):
    zarray = json.dumps(ZARRAY | {"fill_value": -1})
    found = cw("stats", write(folder, {"v/.zarray": zarray, "v/0.0": ["first.bin"]})).ok().json[0]
    assert (found["count"], found["missing"]) == (12, 12)
    cw("stats", write(folder, {"v/0.0": ["nowhere.bin"], "v/1.0": ["first.bin"]})).refused("nowhere.bin")
    cw("stats", write(folder, {"v/0.0": ["first.bin", 4, 24], "v/1.0": ["first.bin"]})).refused("first.bin", "24")
    cw("stats", write(folder, {"v/0.0": ["none/x.bin"], "v/1.0": ["first.bin"]})).refused("none")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "EOF"),
        ("[1, 2]", "document"),
        ('{"version": 2, "refs": {}}', "version"),
        ('{"version": 1, "refs": {".zgroup": "{}"}, "gen": [{"key": "a"}]}', "gen"),
        ('{"version": 1, "refs": {".zgroup": 3}}', "zgroup"),
        ('{"version": 1, "refs": {".zgroup": "base64:@"}}', "base64"),
        ('{"version": 1, "refs": {".zgroup": "{}", "v/0": ["a", -1, 2]}}', "v/0"),
        ('{"version": 1, "refs": {".zgroup": "{}", "v/0": ["hdfs://a/b", 1, 2]}}', "hdfs"),
        ('{"type": "FeatureCollection", "features": []}', "refs"),
    ],
)
def test_documents_that_are_none_are_refused(cw, tmp_path, text, word):
    (tmp_path / "a.json").write_text(text)
    cw("info", tmp_path / "a.json").refused("a.json", word)


def test_references_in_parquet_are_refused_by_name(cw, tmp_path):
    (tmp_path / "refs.parq").mkdir()
    (tmp_path / "refs.parq/.zmetadata").write_text(json.dumps({"metadata": META, "record_size": 10000}))
    cw("info", tmp_path / "refs.parq").refused("Parquet", "JSON")


def test_it_is_only_read(cw, folder):
    path = write(folder, {"v/0.0": ["first.bin"], "v/1.0": ["first.bin"]})
    before = path.read_bytes()
    cw("reduce", path, "--over", "y", "--with", "mean", "-o", path, "--overwrite").refused("refs.json")
    assert path.read_bytes() == before


def test_many_references_take_little_memory(cw, folder):
    n = 100_000
    zarray = json.dumps(ZARRAY | {"shape": [n, 6], "chunks": [1, 6]})
    path = write(folder, {"v/.zarray": zarray} | {f"v/{i}.0": ["below/data.bin", 4 + i % 4 * 12, 12] for i in range(n)})
    run = cw("stats", path, "--memory", "128MiB", measure=True, timeout=200).ok()
    assert run.json[0]["mean"] == VALUES.mean() and run.peak <= 128 << 20, run.peak


def test_a_document_on_a_server_names_nothing_of_this_machine(cw, folder, web):
    write(folder, {"v/0.0": ["first.bin"], "v/1.0": ["below/data.bin", 28, 24]})
    check(cw, f"{web}/refs.json")
    for name in (str(folder / "first.bin"), f"file://{folder}/first.bin", "../x/first.bin"):
        write(folder, {"v/0.0": [name], "v/1.0": [name]}, name="out.json")
        cw("stats", f"{web}/out.json").refused("leads out")
    # A local document may name a server.
    check(cw, write(folder, {"v/0.0": [f"{web}/first.bin"], "v/1.0": [f"{web}/below/data.bin", 28, 24]}))
    cw("stats", write(folder, {"v/0.0": [f"{web}/nowhere.bin"], "v/1.0": ["first.bin"]})).refused("nowhere.bin")


@pytest.fixture
def web(folder):
    with servers.Web(folder) as web:
        yield web.url("").rstrip("/")
