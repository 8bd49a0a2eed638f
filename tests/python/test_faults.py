"""Servers that fail: whatever they do, a job ends in the right answer or in an error that says what failed, and leaves no half."""

import collections
import concurrent.futures
import json
import os
import random
import re
import signal
import subprocess
import time

import numpy as np
import pytest
import zarr

import cube
import faulty
import runner

# Jobs with random faults of one whole run: a third read, a third write, a third extend a cube.
FAULTS = int(os.environ.get("CHUNKWISE_FAULTS", "300"))
BATCHES = 6
AT_ONCE = 16
# A job that takes longer hangs: some ten requests one behind the other, each with its whole retry time, on a busy machine.
BOUND = 60
QUICK = ("--storage", "retry_timeout=1500ms", "--storage", "stall_timeout=400ms", "--storage", "connect_timeout=1s")
SHAPE = {"shape": (5, 3, 14, 12), "chunks": (2, 3, 7, 6), "dtype": "int16", "mark": -9999, "missing": 0.1, "seed": 4}
CUBES = {
    "crc": cube.Spec(**SHAPE, codec="crc32c"),
    "raw": cube.Spec(**SHAPE, codec="none"),
    "v2": cube.Spec(**SHAPE, codec="zstd", zarr_format=2),
    "shards": cube.Spec(**SHAPE, codec="zstd", shards=2),
    "shards-crc": cube.Spec(**SHAPE, codec="crc32c", shards=2),
    "blosc": cube.Spec(**SHAPE, codec="blosc"),
}
READS = (
    ("stats", "{}", "--by", "band"),
    ("reduce", "{}", "--var", "data", "--over", "time", "--with", "mean,median,count"),
    ("series", "{}", "--var", "data", "--iat", "y=9,x=3"),
    ("reduce", "{}", "--calc", "b = data * 2 + other", "--over", "y,x", "--with", "max,mean"),
    ("reduce", "{}", "--var", "data", "--over", "time,x", "--with", "sum", "--sel", "band=red", "--isel", "y=5:9"),
)
SMALL = ("--chunk", "y=4,x=4", "--codec", "zstd:1+crc32c")
WRITES = (
    ("create", "-o", "OUT", "--dim", "time=3", "--dim", "y=10", "--coord", "y=900:-10", "--dtype", "int16", "--fill", "-1"),
    ("calc", "{}", "b = data * 2 + 1", "-o", "OUT", *SMALL),
    ("calc", "{}", "b = data * 2 + 1", "-o", "OUT", "--chunk", "y=4,x=4", "--shard", "y=8,x=8", "--codec", "zstd:1"),
    ("calc", "{}", "b = data * 2 + 1", "-o", "OUT", "--chunk", "y=4,x=4", "--zarr", "2"),
    ("reduce", "{}", "--var", "data", "--over", "time", "--with", "mean", "-o", "OUT", *SMALL),
)
ROOTS = ("out.zarr/zarr.json", "out.zarr/.zmetadata", "out.zarr/.zgroup")
JOURNAL = "out.zarr/.chunkwise-job.json"


@pytest.fixture(scope="session")
def cubes(made_once):
    """The cubes that are read, in the folder `in` of what is given."""

    def make(folder):
        for name, spec in CUBES.items():
            spec.build(folder / "in" / f"{name}.zarr")
            zarr.consolidate_metadata(folder / "in" / f"{name}.zarr")

    return made_once("faults", make)


@pytest.fixture(scope="session")
def clean(cubes):
    """`clean(words, name)`: what a job answers, or the objects that it writes, without a fault; each is run once."""
    done = {}

    def answer(words, name):
        if (words, name) not in done:
            here = cubes / "in" / f"{name}.zarr"
            if "OUT" not in words:
                done[words, name] = runner.chunkwise(*told(words, here)).ok().json
            else:
                with faulty.Server() as server:
                    server.buckets["b"] = bucket = faulty.Bucket()
                    runner.chunkwise(*told(words, here, "s3://b/out.zarr"), env=server.env).ok()
                done[words, name] = parts(bucket)
        return done[words, name]

    return answer


def told(words, source, out=None):
    """The words of a job, with its input and output."""
    return [str(source) if w == "{}" else out if w == "OUT" else w for w in words]


def parts(bucket):
    """Objects by key; JSON without the history, which tells the command and the time."""
    found = dict(bucket.objects)
    for key, body in found.items():
        if key.endswith(faulty.METADATA):
            found[key] = without_history(json.loads(body))
    return found


def without_history(node):
    if isinstance(node, dict):
        return {k: without_history(v) for k, v in node.items() if k != "history"}
    return [without_history(v) for v in node] if isinstance(node, list) else node


# --- random faults ----------------------------------------------------------------------------------------------------


def schedule(seed, folder, name):
    """The bucket of one run: one kind of fault or several, now and then or for ever on some keys."""
    drawn = random.Random(seed)
    kinds = drawn.sample(faulty.KINDS, drawn.choice([1, 1, 1, 2, 4, len(faulty.KINDS)]))
    stubborn = drawn.random() < 0.3
    share = drawn.choice([0.03, 0.1] if stubborn else [0.05, 0.2, 0.5])
    checked = lambda key: "crc" in name and "/data/" in key and not key.endswith(faulty.METADATA)  # noqa: E731
    return faulty.Bucket(folder, seed, kinds, share, stubborn, checked)


def read_job(server, cubes, clean, seed):
    drawn = random.Random(f"read {seed}")
    words, name = drawn.choice(READS), drawn.choice(list(CUBES))
    bucket = server.buckets[f"r{seed}"] = schedule(seed, cubes, name)
    base = drawn.choice([f"http://127.0.0.1:{server.port}/r{seed}", f"s3://r{seed}"])
    run = runner.chunkwise(*told(words, f"{base}/in/{name}.zarr"), *QUICK, env=server.env, timeout=BOUND)
    if run.code == 0:
        assert run.json == clean(words, name), f"seed {seed}: another answer than without faults, {bucket.faults}\n{run}"
    else:
        assert_told(run, bucket, f"seed {seed}")
    return run, bucket


def write_job(server, cubes, clean, seed):
    drawn = random.Random(f"write {seed}")
    words, name = drawn.choice(WRITES), drawn.choice(list(CUBES))
    bucket = server.buckets[f"w{seed}"] = schedule(seed, cubes, name)
    server.buckets[f"quiet{seed}"] = quiet = faulty.Bucket(cubes)
    quiet.objects = bucket.objects
    source = drawn.choice([cubes, cubes, f"s3://w{seed}"])
    overwrite = drawn.random() < 0.25
    before = {}
    if overwrite:
        bucket.objects |= {"out.zarr/zarr.json": b'{"zarr_format": 3, "node_type": "group"}', "out.zarr/old/c/0": b"old"}
        before = parts(bucket)
    run_words = told(words, f"{source}/in/{name}.zarr", f"s3://w{seed}/out.zarr") + ["--overwrite"] * overwrite
    run = runner.chunkwise(*run_words, *QUICK, env=server.env, timeout=BOUND)
    found = parts(bucket)
    if run.code == 0:
        expected = clean(words, name)
        assert found == expected, f"seed {seed}: other objects than without faults: {sorted(k for k in found | expected if found.get(k) != expected.get(k))}, {bucket.faults}\n{run}"
    else:
        assert_told(run, bucket, f"seed {seed}")
        # The root's metadata are written last: where they are, all is; and where all is, some of them may lack.
        rest = lambda parts: {k: v for k, v in parts.items() if k not in (*ROOTS, JOURNAL)}  # noqa: E731
        whole = rest(found) in (rest(before), rest(clean(words, name)))
        assert whole or not any(root in found for root in ROOTS), f"seed {seed}: half a cube: {sorted(found)}\n{run}"
        if not whole:
            look = runner.chunkwise("stats", f"s3://quiet{seed}/out.zarr", *QUICK, env=server.env)
            assert look.code == 2, f"seed {seed}: half a cube opens: {sorted(found)}\n{run}\n{look}"
            # An array can be asked for by its name: its metadata are written when all of it is there.
            for array in {key.split("/")[1] for key in found if key.count("/") == 2 and key.endswith(("/zarr.json", ".zarray"))}:
                of = lambda parts: {k: v for k, v in parts.items() if k.startswith(f"out.zarr/{array}/")}  # noqa: B023, E731
                assert of(found) == of(clean(words, name)), f"seed {seed}: half an array `{array}`: {sorted(found)}\n{run}"
    return run, bucket


def extend_job(server, cubes, clean, seed):
    """One more variable in a cube that is there; whatever happens, those that were there stay."""
    drawn = random.Random(f"extend {seed}")
    bucket = server.buckets[f"e{seed}"] = schedule(seed, None, "raw")
    server.buckets[f"quiet{seed}"] = quiet = faulty.Bucket()
    quiet.objects = bucket.objects
    first = drawn.choice([WRITES[0], (*WRITES[0], "--zarr", "2")])
    runner.chunkwise(*told(first, None, f"s3://quiet{seed}/out.zarr"), env=server.env).ok()
    before = parts(bucket)
    more = ("--var", "second", "--codec", "none")
    run = runner.chunkwise(*told(first, None, f"s3://e{seed}/out.zarr"), *more, *QUICK, env=server.env, timeout=BOUND)
    found = parts(bucket)
    look = runner.chunkwise("info", f"s3://quiet{seed}/out.zarr", env=server.env).ok()
    names = [variable["name"] for variable in look.json["variables"]]
    if run.code == 0:
        assert names == ["data", "second"], f"seed {seed}: {names}\n{run}"
    else:
        assert_told(run, bucket, f"seed {seed}")
        assert names in (["data"], ["data", "second"]), f"seed {seed}: {names}\n{run}"
    lost = [k for k in before if k not in ROOTS and found.get(k) != before[k]]
    assert not lost, f"seed {seed}: what was there is another: {lost}, {bucket.faults}\n{run}"
    assert runner.chunkwise("stats", f"s3://quiet{seed}/out.zarr", "--var", "data", env=server.env).ok().json[0]["missing"] in (0, 30)
    return run, bucket


def assert_told(run, bucket, seed):
    """The error names what failed: the key, of a chunk also its array, and the range; and the cause."""
    message = run.refused()
    # Without its first metadata a cube is not there: then its location is all that there is to name.
    below = lambda kind, key: key.rpartition("/")[0].partition("/")[2] if kind == "404" and key.startswith("in/") else key.partition(".zarr/")[2]  # noqa: E731
    failed = [(kind, key, wanted) for kind, _, key, wanted in bucket.faults if below(kind, key) in message]
    # On a busy machine a server may be late without a fault.
    causes = "|".join({"timed out", *(faulty.CAUSES[kind] for kind, *_ in bucket.faults)})
    assert re.search(causes, message, re.IGNORECASE), f"{seed}: the error does not say the cause ({causes})\n{run}"
    chunks = [(key, wanted) for _, key, wanted in failed if re.search(r"\.zarr/\w+/(c/)?[\d./]+$", key)]
    if chunks and run.command[1] != "create" and any(f"/{key.split('.zarr/')[1]}" in f"/{message}" for key, _ in chunks) and "cannot write" not in message:
        assert re.search("chunk|shard|coordinate|label", message), f"{seed}: the error names no chunk\n{run}"
        if all(wanted for _, wanted in chunks) and "read" in message:
            assert "bytes" in message, f"{seed}: the error names no byte range\n{run}"


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_faults_end_in_the_right_answer_or_in_an_error_that_says_what_failed(cubes, clean, batch):
    outcomes = collections.Counter()
    with faulty.Server() as server, concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        seeds = range(batch, FAULTS, BATCHES)
        jobs = (read_job, write_job, extend_job)
        runs = {seed: pool.submit(jobs[seed // BATCHES % 3], server, cubes, clean, seed) for seed in seeds}
        wrong = []
        for seed, done in runs.items():
            try:
                run, bucket = done.result()
            except AssertionError as error:
                wrong.append(str(error))
                continue
            word = "no fault" if not bucket.faults else "right" if run.code == 0 else "refused"
            outcomes[word] += 1
            outcomes["faults"] += len(bucket.faults)
            for kind in {kind for kind, *_ in bucket.faults}:
                outcomes[kind, word] += 1
    if report := os.environ.get("CHUNKWISE_FAULTS_REPORT"):
        with open(report, "a") as file:
            file.writelines(f"{' '.join(k) if isinstance(k, tuple) else k}\t{n}\n" for k, n in sorted(outcomes.items(), key=str))
    assert not wrong, f"{len(wrong)} of {len(runs)}:\n" + "\n\n".join(wrong[:12])
    assert outcomes["right"] and outcomes["refused"], outcomes


# --- a server that dies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [READS[1], WRITES[1], WRITES[2]], ids=["read", "write", "write-shards"])
def test_a_server_that_is_killed_and_started_again_is_survived_within_the_retry_time(cubes, clean, words):
    """Every connection is cut in the middle of the job, and for a second the port is closed."""
    with faulty.Server() as server:
        bucket = server.buckets["b"] = faulty.Bucket(cubes, kinds=["slow"], share=1)
        job = told(words, "s3://b/in/raw.zarr", "s3://b/out.zarr")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            patient = ("--storage", "retry_timeout=30s", "--storage", "concurrency=2")
            running = pool.submit(runner.chunkwise, *job, *patient, "-v", env=server.env)
            while bucket.requests < 12 and not running.done():
                time.sleep(0.005)
            assert not running.done(), running.result()
            server.stop()
            time.sleep(1)
            server.start(server.port)
            run = running.result().ok()
        assert re.search(r"again", run.err), run
        answer = parts(bucket) if "OUT" in words else run.json
        assert answer == clean(words, "raw")


def test_chunks_on_their_way_together_are_there_before_the_metadata_and_after_ctrl_c_none_is(cubes):
    """Each write takes 30 ms."""
    with faulty.Server() as server:
        bucket = server.buckets["b"] = faulty.Bucket(cubes, kinds=["slow"], share=1, methods={"PUT"})
        job = told((*WRITES[1][:5], "--chunk", "time=1,band=1,y=2,x=2"), cubes / "in" / "raw.zarr", "s3://b/out.zarr")
        runner.chunkwise(*job, env=server.env).ok()
        names = [key.rpartition("/")[2] in faulty.METADATA for key in bucket.objects if key != JOURNAL]
        assert names == sorted(names) and 600 < names.count(False), list(bucket.objects)
        bucket = server.buckets["b"] = faulty.Bucket(cubes, kinds=["slow"], share=1, methods={"PUT"})
        command = [runner.binary(), *job, "--json"]
        running = subprocess.Popen(command, env=os.environ | server.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while len(bucket.objects) < 6 and running.poll() is None:
            time.sleep(0.002)
        running.send_signal(signal.SIGINT)
        assert running.wait(BOUND) == 130, running.stderr.read()
        time.sleep(0.2)
        assert not bucket.objects, sorted(bucket.objects)


def test_a_server_that_stays_away_is_an_error_and_leaves_no_cube(cubes):
    with faulty.Server() as server:
        bucket = server.buckets["b"] = faulty.Bucket(cubes, kinds=["slow"], share=1)
        job = told(WRITES[1], cubes / "in" / "raw.zarr", "s3://b/out.zarr")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(runner.chunkwise, *job, *QUICK, env=server.env)
            while bucket.requests < 12 and not running.done():
                time.sleep(0.005)
            server.stop()
            running.result().refused("cannot write `b/c/", "tries")
            server.start(server.port)
        assert JOURNAL in bucket.objects and not any(root in bucket.objects for root in ROOTS)
        runner.chunkwise("stats", "s3://b/out.zarr", *QUICK, env=server.env).refused("out.zarr")


@pytest.mark.parametrize(
    "kind, hint",
    [("truncated", "cuts or delays its answers"), ("stall", "cuts or delays its answers|answered before"), ("500", "busy or out of order"), ("reset", "answered before|cuts or delays")],
)
def test_the_hint_fits_what_the_server_did(cubes, kind, hint):
    """Where there is a server, its name and port are right."""
    with faulty.Server() as server:
        bucket = server.buckets["b"] = faulty.Bucket(cubes, kinds=[kind], share=1)
        bucket.may = lambda kind, method, key, wanted: "/data/c/" in key
        run = runner.chunkwise(*told(READS[0], "s3://b/in/raw.zarr"), *QUICK, env=server.env)
    said = run.refused(r"chunk \[\d, \d, \d, \d\] of `data`", "data/c/", hint, "retry_timeout")
    assert "name and port" not in said


# --- objects in parts -------------------------------------------------------------------------------------------------

BIG = ("calc", "{}", "data = data + 1", "-o", "OUT", "--chunk", "y=512,x=512", "--shard", "y=2560,x=2048", "--codec", "none")
SHARD = "out.zarr/data/c/0/0"
# A part of 8 MiB may take its time on a busy machine.
PARTS = ("--storage", "retry_timeout=6s", "--storage", "stall_timeout=1s", "--storage", "connect_timeout=1s")


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """A cube whose result is one shard of 20 MiB: three parts."""
    path = tmp_path_factory.mktemp("rows") / "rows.zarr"
    array = zarr.open_group(path, mode="w", zarr_format=3).create_array(
        "data", shape=(2560, 2048), chunks=(512, 512), dtype="uint16", dimension_names=["y", "x"]
    )
    array[:] = np.arange(2560 * 2048).reshape(2560, 2048) % 60_000
    return path


def big_job(rows, server):
    return runner.chunkwise(*told(BIG, rows, "s3://b/out.zarr"), *PARTS, env=server.env, timeout=BOUND)


@pytest.mark.parametrize("kind", ["500", "503", "reset", "stall"])
@pytest.mark.parametrize("method", ["BEGIN", "PART", "COMPLETE"])
def test_parts_that_fail_are_sent_again(rows, kind, method):
    """Also those that were taken, and whose answer was lost."""
    with faulty.Server() as server:
        server.buckets["b"] = quiet = faulty.Bucket()
        big_job(rows, server).ok()
        assert not quiet.uploads and len(quiet.objects[SHARD]) > 20 * 2**20
        failed = 0
        for seed in range(1, 5):
            server.buckets["b"] = bucket = faulty.Bucket(seed=seed, kinds=[kind], share=0.5, methods={method})
            run = big_job(rows, server)
            failed += len(bucket.faults)
            if run.code != 0:
                # A server that asks for 100 s is not asked again.
                assert kind == "503", f"seed {seed}: {bucket.faults}\n{run}"
                run.refused("cannot write `data/c/0/0`", faulty.CAUSES[kind])
                continue
            assert parts(bucket) == parts(quiet), f"seed {seed}: {bucket.faults}\n{run}"
            # Where the answer to the first step was lost, no one knows of that upload.
            assert method == "BEGIN" or not bucket.uploads, f"seed {seed}: {bucket.faults}\n{run}"
        assert failed


@pytest.mark.parametrize("kind", ["500", "403", "reset", "stall"])
def test_a_part_that_always_fails_is_an_error_and_the_upload_is_taken_back(rows, kind):
    with faulty.Server() as server:
        server.buckets["b"] = bucket = faulty.Bucket(kinds=[kind], share=1, stubborn=True, methods={"PART"})
        run = big_job(rows, server)
        run.refused(r"cannot write `data/c/0/0` \(part \d\)", "s3://b", faulty.CAUSES[kind])
        assert any(method == "PART" for _, method, *_ in bucket.faults)
        assert not bucket.uploads and not bucket.objects, f"{sorted(bucket.objects)}\n{run}"
