"""`attrs`: attributes shown and changed in place; xarray and zarr-python read what was written.

    $ .venv/bin/python -m pytest tests/python/test_attrs.py
"""

import json
import shutil
import signal
import warnings

import numpy as np
import obstore
import pytest
import xarray
import zarr

import runner
import servers

FORMS = [(2, False), (2, True), (3, False), (3, True)]


def make(path, zarr_format=3, consolidated=True):
    """Two groups of two variables, as xarray writes them."""
    rng = np.random.default_rng(3)
    coords = {"time": ("time", np.arange(3), {"units": "days since 2001-01-01"}), "x": np.arange(4.0)}
    packed = ("time", "x"), rng.integers(1, 100, (3, 4)).astype("i2"), {"units": "K", "scale_factor": 0.5}
    real = ("time", "x"), np.where(rng.random((3, 4)) < 0.3, np.nan, rng.normal(size=(3, 4))).astype("f4"), {"long_name": "a field"}
    made = xarray.Dataset({"packed": packed, "real": real}, coords, {"title": "old"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for group in (None, "fine"):
            made.to_zarr(path, mode="a", group=group, zarr_format=zarr_format, consolidated=False)
        if consolidated:
            zarr.consolidate_metadata(path, zarr_format=zarr_format)
            zarr.consolidate_metadata(path, path="fine", zarr_format=zarr_format)
    return path


@pytest.fixture(params=FORMS, ids=lambda f: f"v{f[0]}{' consolidated' if f[1] else ''}")
def cube(request, tmp_path):
    return make(tmp_path / "a.zarr", *request.param)


def attrs_of(path, name=None, consolidated=None):
    """Attributes as zarr-python reads them, from the copies and from the documents alike."""
    found = []
    for use in [False, True] if consolidated is None else [consolidated]:
        try:
            root = zarr.open_group(path, mode="r", use_consolidated=use)
        except ValueError:
            assert use, "no documents"
            continue  # There are no consolidated metadata.
        found.append(dict((root[name] if name else root).attrs))
    assert all(a == found[0] for a in found), f"the copies say something else: {found}"
    return found[0]


def test_attributes_are_shown(cw, cube):
    about = cw("attrs", f"{cube}:packed").ok().json
    assert about["kind"] == "array" and about["attrs"].items() >= {"units": "K", "scale_factor": 0.5}.items()
    assert cw("attrs", cube).ok().json["attrs"] == {"title": "old"}
    lines = cw("attrs", f"{cube}:fine/packed", json=False).ok().out.decode().splitlines()
    assert "units         K" in [line.replace("_ARRAY_DIMENSIONS", "").rstrip() for line in lines] or any(line.split() == ["units", "K"] for line in lines)


def test_attributes_of_arrays_and_groups_are_changed(cw, cube):
    before = {p: p.read_bytes() for p in cube.rglob("*") if p.is_file() and not p.name.startswith((".z", "zarr.json"))}
    run = cw("attrs", f"{cube}:packed", "units=degC", "levels=[1, 2.5]", 'code="7"', "empty=", "note=a = b", "--delete", "scale_factor").ok()
    assert run.json["changed"]["units"] == {"from": "K", "to": "degC"} and run.json["changed"]["scale_factor"]["to"] is None
    want = {"units": "degC", "levels": [1, 2.5], "code": "7", "empty": "", "note": "a = b"}
    assert {k: v for k, v in attrs_of(cube, "packed").items() if k != "_ARRAY_DIMENSIONS"} == want
    assert attrs_of(cube, "fine/packed")["units"] == "K"
    cw("attrs", cube, "title=new", "n=3").ok()
    assert attrs_of(cube) == {"title": "new", "n": 3}
    cw("attrs", f"{cube}:fine", "title=finer").ok()
    cw("attrs", f"{cube}:fine/real", "deep=true").ok()
    assert attrs_of(cube, "fine")["title"] == "finer" and attrs_of(cube, "fine/real")["deep"] is True
    assert attrs_of(cube / "fine", "real")["deep"] is True and attrs_of(cube / "fine")["title"] == "finer"
    after = {p: p.read_bytes() for p in cube.rglob("*") if p.is_file() and not p.name.startswith((".z", "zarr.json"))}
    assert before == after, "a chunk changed, or something was left"
    with xarray.open_zarr(cube) as found:
        assert found.attrs["title"] == "new" and found["packed"].attrs["units"] == "degC"
    assert cw("verify", cube).ok().json == []


def test_a_part_that_is_named_by_its_folder_changes_the_copies_above(cw, cube):
    cw("attrs", cube / "packed", "units=degF").ok()
    cw("attrs", cube / "fine" / "packed", "units=degR").ok()
    assert (attrs_of(cube, "packed")["units"], attrs_of(cube, "fine/packed")["units"]) == ("degF", "degR")


def test_marks_of_floats_are_written_as_xarray_reads_them(cw, cube):
    with xarray.open_zarr(cube, mask_and_scale=False) as found:
        low = float(found["real"].min())
    for mark in (low, "NaN"):
        cw("attrs", f"{cube}:real", f"_FillValue={mark}").ok()
        with xarray.open_zarr(cube) as found, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            missing = int(found["real"].isnull().sum())
        ours = cw("stats", cube, "--var", "real").ok().json[0]["missing"]
        if json.loads(cw("attrs", cube).out)["zarr_format"] == 3:
            assert ours == missing
        assert isinstance(ours, int)


def test_numbers_that_json_lacks_stay_as_they_were(cw, tmp_path):
    """Python writes `NaN` into `.zattrs`; it is no text afterwards."""
    path = make(tmp_path / "a.zarr", 2, True)
    file = path / "real/.zattrs"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"bad": float("nan"), "range": [float("-inf"), 1e300], "big": 2**63}))
    cw("attrs", f"{path}:real", "units=m").ok()
    found = json.loads(file.read_text())
    assert np.isnan(found["bad"]) and found["range"] == [float("-inf"), 1e300] and found["big"] == 2**63 and found["units"] == "m"
    held = json.loads((path / ".zmetadata").read_text())["metadata"]["real/.zattrs"]
    assert np.isnan(held["bad"]) and held["units"] == "m"


def test_files_of_attributes_are_read(cw, cube, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"title": "from a file", "keywords": ["a", "b"], "nested": {"k": None}}))
    cw("attrs", cube, "--file", tmp_path / "a.json", "title=from a word").ok()
    assert attrs_of(cube) == {"title": "from a word", "keywords": ["a", "b"], "nested": {"k": None}}
    (tmp_path / "b.json").write_text("[1]")
    cw("attrs", cube, "--file", tmp_path / "b.json").refused("b.json", "object")
    cw("attrs", cube, "--file", tmp_path / "c.json").refused("c.json")


def test_what_changes_numbers_is_said(cw, cube):
    for word, said in [("scale_factor=2", "other numbers"), ("_FillValue=5", "missing"), ("missing_value=5", "missing"), ("units=m", "units")]:
        run = cw("attrs", f"{cube}:packed", word, json=False).ok()
        assert f"note: `{word.split('=')[0]}`" in run.err and said in run.err, str(run)
    assert "dates" in cw("attrs", f"{cube}:time", "units=hours since 2001-01-01").ok().json["notes"][0]
    assert cw("attrs", f"{cube}:packed", "comment=none of that").ok().json["notes"] == []
    # Said only where it changes.
    assert cw("attrs", f"{cube}:packed", "scale_factor=2").ok().json["notes"] == []
    run = cw("attrs", f"{cube}:packed", "scale_factor=two").ok()
    assert any("cannot be read now" in note for note in run.json["notes"]), run


def test_bad_requests_change_nothing(cw, cube):
    before = {p: p.read_bytes() for p in cube.rglob("*") if p.is_file()}
    cw("attrs", f"{cube}:packed", "a=1", "--delete", "nothing").refused("nothing", "units")
    cw("attrs", f"{cube}:packed", "a=1", "--delete", "a").refused("`a`", "at once")
    cw("attrs", f"{cube}:packed", "word").refused("word", "KEY=VALUE")
    cw("attrs", f"{cube}:nothing", "a=1").refused("nothing", "packed")
    cw("attrs", cube / "none.zarr", "a=1").refused("none.zarr")
    assert before == {p: p.read_bytes() for p in cube.rglob("*") if p.is_file()}


def test_zip_files_and_netcdf_are_shown_and_not_changed(cw, data, tmp_path):
    path = make(tmp_path / "a.zarr", 3, True)
    shutil.make_archive(tmp_path / "a.zarr", "zip", path)
    assert cw("attrs", f"{tmp_path}/a.zarr.zip:packed").ok().json["attrs"]["units"] == "K"
    cw("attrs", f"{tmp_path}/a.zarr.zip:packed", "units=m").refused("a.zarr.zip", "zip")
    file = data / "climate-a1b-north-america/A1B_north_america.nc"
    assert cw("attrs", f"{file}:air_temperature").ok().json["attrs"]["units"] == "K"
    cw("attrs", f"{file}:air_temperature", "units=m").refused("A1B", "read")


def test_an_unfinished_cube_is_left_alone(cw, tmp_path):
    path = make(tmp_path / "a.zarr", 3, True)
    (path / ".chunkwise-job.json").write_text("{}")
    cw("attrs", f"{path}:packed", "units=m").refused("a.zarr", "not finished")


def test_what_a_kill_leaves_is_read_and_the_next_change_mends_it(cw, tmp_path):
    """Each document is whole, old or new; copies that stayed behind are told anew."""
    path = make(tmp_path / "a.zarr", 3, True)
    for trial in range(12):
        process = runner.start("attrs", f"{path}:fine/packed", f"trial={trial}")
        if trial % 3:
            process.send_signal(signal.SIGKILL)
        process.communicate()
        for use in (False, True):
            zarr.open_group(path, mode="r", use_consolidated=use)["fine/packed"].attrs["units"]
    # As if it had ended between the document and its copies.
    file = path / "fine/packed/zarr.json"
    document = json.loads(file.read_text())
    document["attributes"]["units"] = "behind"
    file.write_text(json.dumps(document))
    assert cw("verify", f"{path}:fine").code == 1
    cw("attrs", f"{path}:fine/packed", "units=behind").ok()
    assert attrs_of(path, "fine/packed")["units"] == "behind"
    assert not [p for p in path.rglob("*") if "lock" in p.name], "locks are tidied up"


def test_changes_at_once_are_all_kept(cw, tmp_path):
    path = make(tmp_path / "a.zarr", 3, True)
    running = [runner.start("attrs", f"{path}:packed", f"k{i}={i}") for i in range(12)]
    assert [p.wait() for p in running] == [0] * 12
    assert attrs_of(path, "packed").items() >= {f"k{i}": i for i in range(12)}.items()


def test_attributes_in_object_stores_are_changed(cw, tmp_path, s3):
    path = make(tmp_path / "a.zarr", 3, True)
    location, box = s3.url("attrs.zarr"), servers.looked_at(s3, "attrs.zarr")
    for file in path.rglob("*"):
        if file.is_file():
            obstore.put(box, str(file.relative_to(path)), file.read_bytes())
    cw("attrs", f"{location}:fine/packed", "units=degC", env=s3.env).ok()
    assert cw("attrs", f"{location}:fine/packed", env=s3.env).ok().json["attrs"]["units"] == "degC"
    for group in ("", ":fine"):
        assert cw("verify", f"{location}{group}", env=s3.env).ok().json == []
