"""`chunkwise verify`: whole cubes are 0, each damage is 1 with its line, what cannot be looked through is 2."""

import json
import shutil

import numpy as np
import pytest
import xarray
import zarr

import cube

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
