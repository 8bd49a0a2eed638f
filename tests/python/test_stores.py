"""Object stores, web servers and zip files: the same answers as from a folder, and errors that say what is wrong."""

import os
import signal
import subprocess
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr

import cube
import runner
import servers
import small

SHORT = ("--storage", "retry_timeout=1s")


@pytest.fixture(params=["s3", "azure", "gcs"])
def service(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def local(made_once):
    """A cube with packed and missing cells, bands and times."""
    return made_once("stores.zarr", lambda path: cube.Spec(shape=(7, 3, 40, 30), chunks=(2, 3, 16, 16), mark=65535, missing=0.1, gaps=0.2).build(path))


@pytest.fixture(scope="session")
def rows(made_once):
    """A cube of 40 MiB, small as stored; what is made of it as float32 is 80 MiB, and not small where it is not compressed."""

    def make(path):
        array = zarr.open_group(path, mode="w", zarr_format=3).create_array(
            "data", shape=(5120, 4096), chunks=(512, 512), dtype="uint16", dimension_names=["y", "x"]
        )
        array[:] = np.repeat(np.arange(5120, dtype="uint16")[:, None], 4096, 1)

    return made_once("rows.zarr", make)


def within(cw, words, env, memory, **more):
    """Runs a job within `memory`, or where it is refused within the least that the refusal names; its plan, peak and budget."""
    run = cw(*words, "--memory", memory, env=env, measure=True, **more)
    if run.code == 2:
        run.refused("memory|budget|needs")
        memory = run.smallest_budget()
        run = cw(*words, "--memory", memory, env=env, measure=True, **more)
    run.ok()
    allowed = runner.as_bytes(memory.rstrip("BKMGTi"), memory.lstrip("0123456789."))
    plan = cw(*words, "--memory", memory, "--explain", env=env).ok().json
    assert run.peak <= allowed, f"peak {run.peak / 2**20:.1f} MiB of {memory}\n{run}"
    assert plan["memory_bytes"] <= allowed
    return plan, allowed


@pytest.mark.slow
def test_peak_memory_of_jobs_on_an_object_store_is_within_the_budget(s3, cw, large, tmp_path):
    """Connections and what is on its way are counted; where the budget is small there are fewer."""
    bucket = servers.looked_at(s3, "twelve.zarr")
    for file in (f for f in large.rglob("*") if f.is_file()):
        bucket.put(file.relative_to(large).as_posix(), file.read_bytes())
    url, out = s3.url("twelve.zarr"), s3.url("mean.zarr")
    mean = ["reduce", url, "--over", "time", "--with", "mean", "--threads", 2, "--overwrite", "-o"]
    sharded = ["--chunk", "y=250,x=250", "--shard", "y=1000,x=1000", "--codec", "none"]
    requests = []
    for memory in ("256MiB", "64MiB", "1MiB"):
        plan, allowed = within(cw, [*mean, tmp_path / "mean.zarr"], s3.env, memory)
        requests.append(plan["requests_at_once"])
        assert allowed <= max(runner.as_bytes(memory[:-3], "MiB"), 96 * 2**20)
        within(cw, [*mean, out], s3.env, memory)
        assert cw("compare", tmp_path / "mean.zarr", out, env=s3.env).ok().json[0]["equal"]
        within(cw, [*mean, out, *sharded], s3.env, memory)
        assert cw("compare", tmp_path / "mean.zarr", out, env=s3.env).ok().json[0]["equal"]
    assert requests == sorted(requests, reverse=True) and requests[-1] < requests[0], requests


# --- every service --------------------------------------------------------------------------------------------------


@pytest.fixture
def copied(service, cw, local):
    """The local cube, its cells computed once more into the store."""
    key = f"cubes/{service.name}.zarr"
    cw("calc", local, "b = data + 0", "-o", service.url(key), "--overwrite", env=service.env, json=False).ok()
    return service.url(key)


def test_shards_are_written_part_by_part_within_the_smallest_budget(service, cw, rows, tmp_path):
    """One shard of 80 MiB, and five that are in the making at once."""
    for shard in ("y=5120,x=4096", "y=5120,x=1024"):
        words = ["calc", rows, "data = data + 1", "--chunk", "y=512,x=512", "--shard", shard, "--codec", "none", "--threads", 2]
        there, here = service.url(f"parts/{service.name}.zarr"), tmp_path / "here.zarr"
        refusal = cw(*words, "-o", there, "--overwrite", "--memory", "1MiB", env=service.env)
        refusal.refused("memory|budget|needs")
        budget = refusal.smallest_budget()
        run = cw(*words, "-o", there, "--overwrite", "--memory", budget, env=service.env, measure=True).ok()
        allowed = runner.as_bytes(budget.rstrip("BKMGTi"), budget.lstrip("0123456789."))
        assert run.peak <= allowed < 128 * 2**20, f"peak {run.peak / 2**20:.1f} MiB of {budget}\n{run}"
        cw(*words, "-o", here, "--overwrite").ok()
        assert cw("compare", here, there, env=service.env).ok().json[0]["equal"]


def test_a_cube_in_a_store_answers_as_one_in_a_folder(service, cw, local, tmp_path, copied):
    same = tmp_path / "same.zarr"
    cw("calc", local, "b = data + 0", "-o", same, json=False).ok()
    env = service.env
    assert cw("compare", same, copied, env=env).ok().json[0]["equal"]
    about, local_about = cw("info", copied, env=env).ok().json, cw("info", same).ok().json
    assert about["location"] == copied and not about["unfinished"]
    about["attrs"].pop("history"), local_about["attrs"].pop("history")
    assert about | {"location": ""} == local_about | {"location": ""}
    for words in (
        ["stats", "--by", "band"],
        ["reduce", "--var", "b", "--over", "time", "--with", "mean,median", "--isel", "y=3:9,x=0:4"],
        ["series", "--iat", "y=17,x=3"],
        ["reduce", "--over", "y,x", "--with", "max", "--sel", "band=red"],
        ["ls"],
    ):
        here, there = (cw(words[0], at, *words[1:], env=env).ok().json for at in (same, copied))
        assert here == there, words
    # without consolidated metadata there is one list, and the same answers
    assert cw("stats", f"{copied}:b", env=env).ok().json == cw("stats", f"{same}:b").ok().json


def test_a_result_is_written_to_a_store_and_replaced_only_when_asked(service, cw, local, tmp_path):
    out, env = service.url("results/mean.zarr"), service.env
    words = ("reduce", local, "--var", "data", "--over", "time", "--with", "mean", "-o")
    cw(*words, out, "--chunk", "y=8,x=8", env=env, json=False).ok()
    cw(*words, tmp_path / "mean.zarr", json=False).ok()
    assert all(v["equal"] for v in cw("compare", tmp_path / "mean.zarr", out, env=env).ok().json)
    cw(*words, out, env=env, json=False).refused("exists")
    again = cw("reduce", local, "--var", "data", "--over", "time", "--with", "max", "-o", out, "--overwrite", env=env, json=False).ok()
    assert "is removed before" in again.err and out in again.err
    assert cw("info", out, env=env).ok().json["variables"][0]["chunks"] == [3, 16, 16]
    cw("reduce", out, "--over", "y", "--with", "max", "-o", out, "--overwrite", env=env, json=False).refused("also an input")


def test_an_empty_cube_is_made_in_a_store_and_extended(service, cw):
    out, env = service.url("made/empty.zarr"), service.env
    layout = ("--dim", "time=3", "--dim", "y=10", "--dim", "x=10", "--dtype", "int16", "--fill", "-1", "--missing", "-1")
    cw("create", "-o", out, *layout, env=env).ok()
    assert cw("stats", out, env=env).ok().json[0]["missing"] == 300
    cw("create", "-o", out, "--var", "second", *layout, env=env).ok()
    assert [v["name"] for v in cw("info", out, env=env).ok().json["variables"]] == ["data", "second"]
    cw("create", "-o", f"{out}:below/it", *layout, env=env).ok()
    assert cw("info", f"{out}:below/it", env=env).ok().json["dims"] == {"time": 3, "y": 10, "x": 10}


def test_what_is_not_there_is_said(service, cw):
    env = service.env
    cw("info", service.url("nowhere.zarr"), *SHORT, env=env).refused("nowhere.zarr")
    missing = f"{service.scheme}://no-such-bucket/cube.zarr"
    said = cw("info", missing, *SHORT, env=env).refused("no-such-bucket")
    assert "panicked" not in said
    layout = ("--dim", "x=3", "--dtype", "int16")
    cw("create", "-o", missing, *layout, *SHORT, env=env).refused("no-such-bucket")


def test_no_network_ends_within_the_retry_time(service, cw):
    endpoint = f"http://127.0.0.1:{servers.closed_port()}"
    env = service.env | {"AWS_ENDPOINT_URL": endpoint, "AZURE_STORAGE_ENDPOINT": endpoint, "STORAGE_EMULATOR_HOST": endpoint}
    run = cw("stats", service.url("cubes/a.zarr"), *SHORT, env=env)
    said = run.refused("zarr.json")
    assert "tries" in said and run.seconds < 5, said


# --- credentials ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [[], ["--overwrite"]])
def test_after_ctrl_c_the_same_output_is_written_anew(s3, cw, large, again):
    """SeaweedFS lists the folders of the chunks that were removed for a while."""
    import obstore

    name = f"int{len(again)}.zarr"
    job, box = ["calc", large, "v = red + nir", "-o", s3.url(name), *again], servers.looked_at(s3, name)
    held = lambda: sum(len(found) for found in obstore.list(box))  # noqa: E731
    running = subprocess.Popen([runner.binary(), *map(str, job)], env=os.environ | s3.env, stderr=subprocess.PIPE)
    while held() < 20 and running.poll() is None:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    assert running.wait(30) == 130, running.stderr.read()
    assert held() == 0
    cw(*job, env=s3.env, json=False).ok()


def test_what_is_no_cube_is_left_alone_and_not_said_to_be_removed(s3, cw, local):
    import obstore

    obstore.put(servers.looked_at(s3), "letters/a.txt", b"dear")
    run = cw("calc", local, "b = data + 0", "-o", s3.url("letters"), "--overwrite", env=s3.env, json=False)
    run.refused("no Zarr cube, so that it is left alone")
    assert "is removed" not in run.err
    assert obstore.get(servers.looked_at(s3), "letters/a.txt").bytes() == b"dear"


def test_a_shard_that_no_object_holds_is_refused_before_anything_is_read(s3, cw, tmp_path):
    path = tmp_path / "wide.zarr"
    zarr.create_group(path).create_array("a", shape=(1 << 18, 1 << 18), chunks=(1024, 1024), dtype="uint8", dimension_names=["y", "x"])
    for more in (["--explain"], []):
        run = cw("calc", path, "b = a + 1", "-o", s3.url("wide.zarr"), "--shard", "y=262144,x=262144", *more, env=s3.env)
        run.refused("shard of `b`", "10,000 parts", "--shard")
        assert run.seconds < 5


def test_wrong_credentials_are_an_error_at_once(s3, azure, cw):
    wrong = s3.env | {"AWS_SECRET_ACCESS_KEY": "wrong-secret-key"}
    run = cw("info", s3.url("a.zarr"), env=wrong)
    run.refused("403")
    assert run.seconds < 2 and "wrong-secret" not in run.err
    wrong = azure.env | {"AZURE_STORAGE_ACCOUNT_KEY": "d3Jvbmcta2V5LXdyb25nLWtleQ=="}
    run = cw("info", azure.url("a.zarr"), env=wrong)
    run.refused("403")
    assert run.seconds < 2 and "d3Jvbm" not in run.err


def test_without_credentials_requests_are_not_signed_and_no_one_waits_for_metadata_services(s3, cw, local, tmp_path):
    cw("calc", local, "b = data + 0", "-o", "s3://public/open.zarr", "--overwrite", env=s3.env, json=False).ok()
    bare = {"AWS_ENDPOINT_URL": s3.env["AWS_ENDPOINT_URL"], "HOME": str(tmp_path)}
    assert cw("info", "s3://public/open.zarr", env=bare).ok().seconds < 2
    run = cw("info", "s3://box/closed.zarr", env=bare)
    said = run.refused("403")
    assert "AWS_ACCESS_KEY_ID" in said + run.err and run.seconds < 2
    # with absent metadata the folder is looked at, which is refused too
    cw("info", "s3://box/closed.zarr", "--absent-on", "403", env=bare).refused("cannot list", "403")
    ignored = bare | {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y" * 20}
    cw("info", "s3://public/open.zarr", "--storage", "anonymous=true", env=ignored).ok()


def test_credentials_region_and_endpoint_come_from_profiles(s3, cw, local, tmp_path, copied_s3):
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(f"[lab]\naws_access_key_id = tester\naws_secret_access_key = {servers.CANARY}\n")
    (tmp_path / ".aws/config").write_text(f"[profile lab]\nregion = us-east-1\nendpoint_url = {s3.env['AWS_ENDPOINT_URL']}\n")
    for env, words in (
        ({"HOME": str(tmp_path), "AWS_PROFILE": "lab"}, ()),
        ({"HOME": str(tmp_path), "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "yyyyyyyy"}, ("--storage", "profile=lab")),
        ({"AWS_CONFIG_FILE": str(tmp_path / ".aws/config"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / ".aws/credentials"), "AWS_PROFILE": "lab"}, ()),
    ):
        cw("info", copied_s3, *words, env=env).ok()
    cw("info", copied_s3, "--storage", "profile=lib", env={"HOME": str(tmp_path)}).refused("lib", "lab")


@pytest.fixture
def copied_s3(s3, cw, local):
    out = s3.url("cubes/own.zarr")
    cw("calc", local, "b = data + 0", "-o", out, "--overwrite", env=s3.env, json=False).ok()
    return out


def test_options_of_the_command_line_are_enough(s3, cw, copied_s3):
    options = {"access_key_id": "tester", "secret_access_key": servers.CANARY, "endpoint": s3.env["AWS_ENDPOINT_URL"], "region": "us-east-1"}
    words = [w for k, v in options.items() for w in ("--storage", f"{k}={v}")]
    cw("info", copied_s3, *words).ok()
    cw("info", copied_s3, "--storage", "regoin=x").refused("regoin")


def test_secrets_are_never_told(s3, azure, cw, local, tmp_path):
    """Whatever fails, and however much is asked to be told: neither the secret nor a part of it that means something."""
    secret, end = servers.CANARY, s3.env["AWS_ENDPOINT_URL"]
    given = ("--storage", f"secret_access_key={secret}", "--storage=access_key_id=tester", "--storage", f"endpoint={end}")
    closed = f"http://127.0.0.1:{servers.closed_port()}"
    quoted = "canary%2FS3cr3t%2BKey%3DDoNotTell"
    runs = [
        ("info", "s3://box/nothing.zarr", *given),
        ("stats", "s3://nobucket/nothing.zarr", *given),
        ("info", "s3://box/a//b", *given),
        ("create", "-o", "s3://nobucket/x.zarr", "--dim", "x=1", "--dtype", "int8", *given),
        ("create", "-o", "s3://box/x.zarr", "--dim", "x=1", *given),
        ("info", "s3://box/a.zarr", *given, "--storage", f"endpoint={closed}", *SHORT),
        ("info", "s3://box/a.zarr", *given, "--storage", f"session_token={secret}", *SHORT),
        ("info", "s3://box/a.zarr", "--storage", f"secret_acess_key={secret}"),
        ("info", "s3://box/a.zarr", "--storage", secret),
        ("info", "s3://box/a.zarr", *given, "--storage", f"retry_timeout={secret}x"),
        ("info", f"http://user:{quoted}@127.0.0.1:{servers.closed_port()}/a.zarr", *SHORT),
        ("info", f"http://user:{secret.replace('/', '_')}@127.0.0.1:{servers.closed_port()}/a.zarr", *SHORT),
        ("info", f"{closed}/c.zarr?sv=1&sig={quoted}", *SHORT),
        ("create", "-o", f"{closed}/c.zarr?sv=1&sig={quoted}", "--dim", "x=1", "--dtype", "int8", *SHORT),
        ("reduce", local, "--var", "data", "--over", "time", "--with", "mean", "-o", "s3://nobucket/x.zarr", *given),
        ("info", "az://box/a.zarr", "--storage", "account_name=devstoreaccount1", "--storage", f"account_key={secret}", *SHORT),
        ("info", "az://box/a.zarr", "--storage", "account_name=devstoreaccount1", "--storage", f"sas_token=sv=1&sig={quoted}", "--storage", f"endpoint={closed}", *SHORT),
        ("info", "gs://box/a.zarr", "--storage", f"bearer_token={secret}", "--storage", f"endpoint={closed}", *SHORT),
        ("info", "gs://box/a.zarr", "--storage", f'service_account_key={{"private_key": "{secret}"}}', *SHORT),
    ]
    for words in runs:
        for extra in ((), ("-vv",)):
            run = cw(*words, *extra, env={"HOME": str(tmp_path), "RUST_LOG": "trace"} if extra else {"HOME": str(tmp_path)})
            assert run.code == 2, run
            assert_untold(run.out.decode(errors="replace") + run.err, words)
    # where it works: plans, what is shown, and what is written
    out = "s3://box/secret.zarr"
    explained = cw("calc", local, "b = data + 0", "-o", out, *given, "--explain", "--overwrite").ok()
    done = cw("calc", local, "b = data + 0", "-o", out, *given, "--overwrite", "-vv", json=False, env={"RUST_LOG": "trace"}).ok()
    shown = cw("info", out, *given).ok()
    for run in (explained, done, shown):
        assert_untold(run.out.decode() + run.err, out)
    assert "--storage secret_access_key=***" in shown.json["attrs"]["history"]
    import obstore

    bucket = servers.looked_at(s3, "secret.zarr")
    for found in obstore.list(bucket):
        for one in found:
            assert_untold(bytes(obstore.get(bucket, one["path"]).bytes()).decode("latin-1"), one["path"])


def assert_untold(text, of):
    import base64

    forms = (servers.CANARY, "S3cr3t", servers.CANARY.replace("/", "_"), base64.b64encode(f"user:{servers.CANARY}".encode()).decode())
    for form in forms:
        at = text.find(form)
        assert at < 0, f"{of}: …{text[max(at - 200, 0) : at + 60]}…"


# --- other readers --------------------------------------------------------------------------------------------------


def test_xarray_opens_what_was_written_to_s3(s3, cw, local, copied_s3):
    from zarr.storage import ObjectStore

    store = ObjectStore(servers.looked_at(s3, "cubes/own.zarr"), read_only=True)
    there = xarray.open_zarr(store, consolidated=True)
    here = xarray.open_zarr(local)
    np.testing.assert_allclose(there["b"].values, here["data"].values, rtol=1e-6)
    assert list(there["band"].values) == list(here["band"].values)


def test_a_large_object_is_written_in_parts(s3, cw, tmp_path):
    """A chunk of 80 MB that does not compress."""
    values = np.random.default_rng(5).integers(0, 2**16, (1, 10, 2000, 2000), dtype=np.uint16)
    small.build(tmp_path / "large.zarr", {"v": (("t", "b", "y", "x"), values, {}, {"chunks": (1, 5, 2000, 2000)})})
    out = s3.url("large.zarr")
    cw("reduce", tmp_path / "large.zarr", "--over", "t", "--with", "max", "-o", out, "--chunk", "b=10,y=2000,x=2000", "--codec", "none", "--memory", "1500MiB", env=s3.env, json=False).ok()
    import obstore

    sizes = [one["size"] for found in obstore.list(servers.looked_at(s3, "large.zarr")) for one in found]
    assert max(sizes) == 80_000_000
    from zarr.storage import ObjectStore

    there = zarr.open_group(ObjectStore(servers.looked_at(s3, "large.zarr"), read_only=True), mode="r")
    np.testing.assert_array_equal(there["v"][...], values[0])


# --- web servers ----------------------------------------------------------------------------------------------------


def gets(web):
    return [path for method, path, _ in web.requests]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_opening_a_consolidated_cube_costs_its_metadata_and_the_coordinates_that_are_needed(cw, tmp_path, zarr_format):
    cube.Spec(shape=(4, 3, 8, 8), chunks=(1, 3, 8, 8), zarr_format=zarr_format).build(tmp_path / "c.zarr")
    zarr.consolidate_metadata(tmp_path / "c.zarr")
    with servers.Web(tmp_path) as web:
        here = cw("info", tmp_path / "c.zarr").ok().json["coords"]
        point = f"y={here['y']['first']},x={here['x']['last']}"
        cw("series", web.url("c.zarr"), "--at", point, "--isel", "time=0", "--var", "data").ok()
        asked = gets(web)
    opening = 1 if zarr_format == 3 else 2
    chunks = [p for p in asked if p.startswith("/c.zarr/data/")]
    coordinates = [p.split("/")[2] for p in asked[opening:] if p not in chunks]
    assert all(p.endswith(("zarr.json", ".zmetadata")) for p in asked[:opening]), asked
    assert len(chunks) == 1, asked
    assert sorted(coordinates) == sorted(set(coordinates)), f"a coordinate is read once: {asked}"
    # y and x to find the cell; time and band stand in the rows
    assert set(coordinates) <= {"time", "band", "y", "x"}, asked


def test_a_web_server_is_not_listed_and_its_arrays_are_named(cw, tmp_path):
    small.line(tmp_path / "c.zarr", [1, 2, 3, 4])
    with servers.Web(tmp_path) as web:
        run = cw("stats", web.url("c.zarr"), json=False)
        said = run.refused("cannot be listed")
        assert "c.zarr:VARIABLE" in run.err.replace("CUBE.zarr", "c.zarr"), said
        assert cw("stats", web.url("c.zarr:v")).ok().json[0]["mean"] == 2.5
        assert cw("stats", web.url("c.zarr/v")).ok().json[0]["mean"] == 2.5
        cw("info", web.url("none.zarr")).refused("none.zarr")
        cw("create", "-o", web.url("new.zarr"), "--dim", "x=1", "--dtype", "int8").refused("only read")
    assert {method for method, *_ in web.requests} == {"GET"}


def test_status_codes_are_kept_and_absent_on_makes_one_absent(cw, tmp_path):
    small.line(tmp_path / "c.zarr", [1, 2, 3, 4])
    denied = lambda path: 403 if path.endswith("/c/1") else None  # noqa: E731
    with servers.Web(tmp_path, denied) as web:
        cw("stats", web.url("c.zarr:v")).refused("403", "v/c/1", "`v`")
        answer = cw("stats", web.url("c.zarr:v"), "--absent-on", "403").ok()
        assert answer.json[0]["mean"] == 0.75
        cw("stats", web.url("c.zarr:v"), "--absent-on", "404,410").refused("403")
    busy = iter([503, 429, 500])
    with servers.Web(tmp_path, lambda path: next(busy, None) if path.endswith("/c/0") else None) as web:
        run = cw("stats", web.url("c.zarr:v"), "-v").ok()
        assert run.json[0]["mean"] == 2.5
        assert "3 of them again" in run.err, run
    with servers.Web(tmp_path, lambda path: 500 if path.endswith("/c/0") else None) as web:
        run = cw("stats", web.url("c.zarr:v"), *SHORT)
        said = run.refused("500", "v/c/0")
        assert "tries" in said and run.seconds < 4


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_a_job_above_its_bounds_is_refused_before_a_chunk_is_read(cw, tmp_path):
    cube.Spec(shape=(4, 3, 8, 8), chunks=(1, 3, 8, 8)).build(tmp_path / "c.zarr")
    zarr.consolidate_metadata(tmp_path / "c.zarr")
    with servers.Web(tmp_path) as web:
        words = ("stats", web.url("c.zarr"), "--var", "data")
        cw(*words, "--max-requests", "3").refused("4 requests", "3")
        cw(*words, "--max-bytes", "1000B").refused("decoded")
        assert not [p for p in gets(web) if "/data/c/" in p]
        cw(*words, "--max-requests", "4", "--max-bytes", "1MiB").ok()


# --- zip files ------------------------------------------------------------------------------------------------------


def test_a_zip_of_zarr_python_is_read(cw, local, tmp_path):
    with warnings.catch_warnings(), zarr.storage.ZipStore(tmp_path / "c.zip", mode="w") as store:
        warnings.simplefilter("ignore")
        group = zarr.create_group(store)
        for name, array in zarr.open_group(local, mode="r").arrays():
            made = group.create_array(name, shape=array.shape, chunks=array.chunks, dtype=array.dtype, dimension_names=array.metadata.dimension_names, fill_value=array.fill_value, attributes=dict(array.attrs))
            made[...] = array[...]
    cw("compare", local, tmp_path / "c.zip").ok()
    assert cw("info", tmp_path / "c.zip").ok().json["dims"] == cw("info", local).ok().json["dims"]
    with zipfile.ZipFile(tmp_path / "deflated.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for file in sorted(p for p in Path(local).rglob("*") if p.is_file()):
            packed.write(file, file.relative_to(local))
    cw("compare", local, tmp_path / "deflated.zip").ok()
    assert cw("stats", f"{tmp_path / 'deflated.zip'}:data").ok().json == cw("stats", f"{local}:data").ok().json


def test_a_zip_is_written_whole_and_the_same_every_time(cw, local, tmp_path):
    out = tmp_path / "out.zarr.zip"
    words = ("reduce", local, "--var", "data", "--over", "time", "--with", "mean", "-o")
    cw(*words, out, json=False).ok()
    cw(*words, tmp_path / "out.zarr", json=False).ok()
    assert all(v["equal"] for v in cw("compare", out, tmp_path / "out.zarr").ok().json)
    store = zarr.storage.ZipStore(out, mode="r")
    np.testing.assert_array_equal(xarray.open_zarr(store)["data"].values, xarray.open_zarr(tmp_path / "out.zarr")["data"].values)
    cw(*words, out, json=False).refused("exists")
    cw(*words, out, "--overwrite", "--threads", "1", json=False).ok()
    with zipfile.ZipFile(out) as packed:
        assert packed.testzip() is None
        assert {i.compress_type for i in packed.infolist()} == {zipfile.ZIP_STORED}
        assert packed.namelist() == sorted(packed.namelist())
    again = tmp_path / "again.zarr.zip"
    for at in (out, again):
        cw("create", "-o", at, "--overwrite", "--dim", "time=3", "--dim", "x=4", "--dtype", "int16", json=False).ok()
    assert out.read_bytes() == again.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []
    (tmp_path / "other.zip").write_text("no zip")
    cw(*words, tmp_path / "other.zip", "--overwrite", json=False).refused("other.zip")
    assert (tmp_path / "other.zip").read_text() == "no zip"


def test_a_damaged_zip_is_an_error(cw, local, tmp_path):
    cw("calc", local, "b = data + 0", "-o", tmp_path / "c.zip", "--codec", "none", json=False).ok()
    packed = bytearray((tmp_path / "c.zip").read_bytes())
    with zipfile.ZipFile(tmp_path / "c.zip") as file:
        info = next(i for i in file.infolist() if "/c/" in i.filename and i.filename.startswith("b/"))
    packed[info.header_offset + 60 + len(info.filename)] ^= 1
    (tmp_path / "c.zip").write_bytes(packed)
    cw("stats", f"{tmp_path / 'c.zip'}:b").refused("checksum", info.filename)
    (tmp_path / "c.zip").write_bytes(packed[: len(packed) // 2])
    cw("info", tmp_path / "c.zip").refused("c.zip")
