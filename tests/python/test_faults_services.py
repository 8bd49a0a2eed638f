"""Real services that fail: SeaweedFS is killed, and Azure's and Google's emulators stand behind a server that misbehaves."""

import collections
import concurrent.futures
import json
import random
import re
import time
import urllib.request

import numpy as np
import obstore
import obstore.store
import pytest

import faulty
import runner
import servers
import small
from test_faults import AT_ONCE, BOUND, CUBES, FAULTS, JOURNAL, QUICK, READS, ROOTS, WRITES, assert_told, clean, cubes, told, without_history  # noqa: F401

# --- SeaweedFS --------------------------------------------------------------------------------------------------------

STEPS = 600
# So that a job lasts.
ONE = ("--storage", "concurrency=1")


@pytest.fixture(scope="module")
def weed():
    """One of their own: no other test waits for it."""
    with servers.seaweed() as service:
        yield service


@pytest.fixture(scope="module")
def many(cw, weed, tmp_path_factory):
    """A cube of many small chunks here; there in shards of two."""
    here = tmp_path_factory.mktemp("many") / "many.zarr"
    values = np.random.default_rng(3).integers(0, 1000, (STEPS, 4, 4), dtype=np.int16)
    small.build(here, {"v": (("t", "y", "x"), values, {}, {"chunks": (1, 4, 4)})})
    cw("calc", here, "v2 = v + 0", "-o", weed.url("shards.zarr"), "--codec", "zstd:1+crc32c", "--shard", "t=2,y=4,x=4", env=weed.env, json=False).ok()
    return here


def middle(cw, service, words, is_there, *options):
    """Starts a job, ends the server when it is in the middle of it, and gives what the job becomes."""
    pool = concurrent.futures.ThreadPoolExecutor(1)
    running = pool.submit(cw, *words, *ONE, *options, "-v", env=service.env, timeout=BOUND * 2)
    pool.shutdown(wait=False)
    while not is_there() and not running.done():
        time.sleep(0.02)
    assert not running.done(), running.result()
    service.kill()
    return running


def reading(cw, service, words, *options):
    """As `middle`, of a job that leaves no trace; and its answer."""
    for _ in range(4):
        # The first after a start may be slower than the next.
        quiet = min((cw(*words, *ONE, env=service.env).ok() for _ in range(2)), key=lambda run: run.seconds)
        end = time.monotonic() + quiet.seconds * 0.4
        try:
            return middle(cw, service, words, lambda: time.monotonic() > end, *options), quiet.json  # noqa: B023
        except AssertionError:
            pass  # it was faster
    raise AssertionError("no job was met in its middle")


def written(service, key):
    """Whether there are chunks below a key."""
    box = servers.looked_at(service, key)
    return lambda: any(next(iter(obstore.list(box)), []))


@pytest.mark.slow
def test_a_killed_seaweedfs_that_comes_back_is_survived_by_a_reading_job(cw, weed, many):
    words = ("reduce", weed.url("shards.zarr"), "--over", "t", "--with", "sum,max,count")
    running, answer = reading(cw, weed, words)
    time.sleep(1)
    weed.start()
    run = running.result().ok()
    assert "; again in" in run.err, run
    assert run.json == answer


@pytest.mark.slow
def test_a_killed_seaweedfs_that_comes_back_is_survived_by_a_writing_job(cw, weed, many, tmp_path):
    words = ("calc", many, "b = v * 2 + 1", "-o")
    cw(*words, tmp_path / "same.zarr", json=False).ok()
    running = middle(cw, weed, (*words, weed.url("out.zarr"), "--overwrite"), written(weed, "out.zarr/b"))
    time.sleep(1)
    weed.start()
    run = running.result().ok()
    assert "; again in" in run.err, run
    assert all(v["equal"] for v in cw("compare", tmp_path / "same.zarr", weed.url("out.zarr"), env=weed.env).ok().json)
    assert cw("verify", weed.url("out.zarr"), env=weed.env).ok().json == []


@pytest.mark.slow
def test_a_killed_seaweedfs_that_stays_away_is_2_and_says_what_failed(cw, weed, many):
    short = ("--storage", "retry_timeout=2s")
    running = middle(cw, weed, ("calc", many, "b = v * 2 + 1", "-o", weed.url("half.zarr")), written(weed, "half.zarr/b"), *short)
    running.result().refused(r"cannot write `b/c/\d+/0/0` in `s3://box/half.zarr`", "tries", "has answered before")
    weed.start()
    servers.answers(weed.env["AWS_ENDPOINT_URL"])
    words = ("reduce", weed.url("shards.zarr"), "--over", "t", "--with", "sum")
    cw("stats", weed.url("half.zarr"), env=weed.env).refused("half.zarr")
    running, _ = reading(cw, weed, words, *short)
    running.result().refused(r"chunk \[\d+, 0, 0\] of `v2`", r"v2/c/\d+/0/0", "bytes", "tries", "has answered before", "retry_timeout")
    weed.start()


# --- Azure and Google -------------------------------------------------------------------------------------------------

FIXED = ("404", "500", "503", "429", "truncated", "stall", "reset", "flip")
# The emulators are slow: a write that is given up as late, and lands when the job is over, is no fault of the job.
PATIENT = ("--storage", "retry_timeout=3s", "--storage", "stall_timeout=1s", "--storage", "connect_timeout=2s")
# Without those that need what the server holds.
KINDS = tuple(kind for kind in faulty.KINDS if kind != "range")


class Emulator:
    """Azure's or Google's emulator, and what it holds as another client sees it."""

    def __init__(self, service):
        self.service = service
        self.store = Blobs(service) if service.name == "azure" else Objects(service)

    def behind(self, server, **schedule):
        """A server that misbehaves before it: its bucket, and the environment that leads there."""
        name, base = (servers.ACCOUNT, "box/") if self.service.name == "azure" else ("box", "")
        bucket = server.buckets[name] = faulty.Behind(self.service.port, base, **schedule)
        endpoint = f"http://127.0.0.1:{server.port}"
        own = {"AZURE_STORAGE_ENDPOINT": f"{endpoint}/{servers.ACCOUNT}"} if self.service.name == "azure" else {"STORAGE_EMULATOR_HOST": endpoint}
        return bucket, self.service.env | own

    def put(self, key, body):
        self.store.put(key, body)

    def parts(self, below):
        """Objects by key; JSON without the history."""
        found = {key.removeprefix(f"{below}/"): self.store.get(key) for key in self.store.keys(below)}
        return {key: without_history(json.loads(body)) if key.endswith(faulty.METADATA) else body for key, body in found.items()}


class Blobs:
    """What Azure's emulator holds, past whatever fails."""

    def __init__(self, service):
        own = {"account_name": servers.ACCOUNT, "account_key": servers.ACCOUNT_KEY, "endpoint": service.env["AZURE_STORAGE_ENDPOINT"]}
        self.box = obstore.store.AzureStore("box", **own, client_options={"allow_http": True})

    def put(self, key, body):
        obstore.put(self.box, key, body)

    def get(self, key):
        return bytes(obstore.get(self.box, key).bytes())

    def keys(self, below):
        return [one["path"] for some in obstore.list(self.box, prefix=below) for one in some]


class Objects:
    """What Google's emulator holds."""

    def __init__(self, service):
        self.url = f"http://127.0.0.1:{service.port}/box"

    def put(self, key, body):
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/{key}", data=body, method="PUT")).close()

    def get(self, key):
        with urllib.request.urlopen(f"{self.url}/{key}") as answer:
            return answer.read()

    def keys(self, below):
        with urllib.request.urlopen(f"{self.url}?list-type=2&prefix={below}/") as answer:
            return re.findall("<Key>(.*?)</Key>", answer.read().decode())


@pytest.fixture(scope="module", params=["azure", "gcs"])
def emulator(request, cubes):  # noqa: F811
    """With the cubes in it, below `in`."""
    made = Emulator(request.getfixturevalue(request.param))
    for file in (p for p in cubes.rglob("*") if p.is_file()):
        made.put(file.relative_to(cubes).as_posix(), file.read_bytes())
    return made


def is_checked(name):
    return lambda key: "crc" in name and "/data/" in key and not key.endswith(faulty.METADATA)


def check(emulator, clean, words, name, cubes, seed, patience, **schedule):  # noqa: F811
    """Runs a job through a server that misbehaves: the right answer, or an error that says what failed, and no half of a cube."""
    service, out = emulator.service, f"w{seed}"
    with faulty.Server() as server:
        bucket, env = emulator.behind(server, seed=seed, checked=is_checked(name), **schedule)
        source = cubes / "in" / f"{name}.zarr" if "OUT" in words else service.url(f"in/{name}.zarr")
        run = runner.chunkwise(*told(words, source, service.url(f"{out}/out.zarr")), *patience, env=env, timeout=BOUND)
        # What was asked for last may be on its way still.
        while bucket.busy:
            time.sleep(0.01)
        faults = list(bucket.faults)
    bucket.faults = [(kind, method, key.removeprefix(f"{out}/"), wanted) for kind, method, key, wanted in faults]
    if "OUT" not in words:
        if run.code == 0:
            assert run.json == clean(words, name), f"{seed}: another answer than without faults, {faults}\n{run}"
        else:
            assert_told(run, bucket, seed)
        return run, bucket
    found, expected = emulator.parts(out), clean(words, name)
    if run.code == 0:
        other = sorted(k for k in found | expected if found.get(k) != expected.get(k))
        assert not other, f"{seed}: other objects than without faults: {other}, {faults}\n{run}"
    else:
        assert_told(run, bucket, seed)
        rest = {k: v for k, v in found.items() if k not in (*ROOTS, JOURNAL)}
        whole = rest in ({}, {k: v for k, v in expected.items() if k not in ROOTS})
        assert whole or not any(root in found for root in ROOTS), f"{seed}: half a cube: {sorted(found)}\n{run}"
    return run, bucket


@pytest.mark.parametrize("kind", FIXED)
def test_each_fault_before_azure_and_google_ends_right_or_is_told(emulator, clean, cubes, kind):  # noqa: F811
    """One in some requests fails, then all that can."""
    outcomes = []
    for share, words, name in ((0.25, READS[1], "shards-crc"), (0.1, WRITES[1], "raw"), (1, READS[0], "crc")):
        run, bucket = check(emulator, clean, words, name, cubes, f"{kind}-{share}", QUICK, kinds=(kind,), share=share)
        outcomes.append((run.code, bool(bucket.faults)))
    assert (2, True) in outcomes, outcomes
    # What may pass is tried again: a quarter of failures is survived by some job, unless it is told to wait too long.
    if kind not in ("404", "flip", "429", "503"):
        assert (0, True) in outcomes, outcomes


@pytest.mark.slow
def test_random_faults_before_azure_and_google_end_right_or_are_told(emulator, clean, cubes):  # noqa: F811
    outcomes = collections.Counter()

    def job(seed):
        drawn = random.Random(f"{emulator.service.name} {seed}")
        kinds = drawn.sample(KINDS, drawn.choice([1, 1, 2, 4, len(KINDS)]))
        stubborn = drawn.random() < 0.3
        share = drawn.choice([0.03, 0.1] if stubborn else [0.05, 0.2, 0.5])
        words, name = drawn.choice(drawn.choice([READS, WRITES])), drawn.choice(list(CUBES))
        return check(emulator, clean, words, name, cubes, f"{emulator.service.name}-{seed}", PATIENT, kinds=kinds, share=share, stubborn=stubborn)

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE // 4) as pool:
        for run, bucket in pool.map(job, range(FAULTS // 8)):
            outcomes["no fault" if not bucket.faults else "right" if run.code == 0 else "refused"] += 1
    assert outcomes["right"] and outcomes["refused"], outcomes
