"""What a job asks of a store: as little as it must, and as much as its summary says."""

import http.server
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

import cube
import faulty
import runner
import small

SHAPE = {"shape": (4, 3, 8, 8), "chunks": (1, 3, 8, 8)}
DATA = re.compile(r"^c\.zarr/(data|other)/(c/)?[\d./]+$")
# Jobs on `data`, and the coordinates that they need.
JOBS = {
    ("reduce", "--over", "all", "--with", "mean"): "",
    ("reduce", "--calc", "b = data * 2", "--over", "all", "--with", "mean"): "",
    ("stats",): "",
    ("reduce", "--over", "time", "--with", "mean"): "band y x",
    ("reduce", "--over", "time,y,x", "--with", "mean", "--isel", "time=1:3"): "band",
    ("reduce", "--over", "time,y,x", "--with", "max", "--sel", "band=red"): "band",
    ("reduce", "--over", "band,y,x", "--with", "max"): "time",
    ("series", "--iat", "y=1,x=1"): "time band y x",
}


@pytest.fixture
def server():
    with faulty.Server() as server:
        yield server


def holding(server, folder, **schedule):
    server.buckets["b"] = bucket = faulty.Bucket(folder, **schedule)
    return bucket


def asked(bucket):
    return [key for _, key, _ in bucket.answered]


@pytest.mark.parametrize("scheme", ["http", "s3"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_job_asks_for_metadata_once_and_for_the_coordinates_that_it_needs(cw, tmp_path, server, zarr_format, scheme):
    cube.Spec(**SHAPE, zarr_format=zarr_format).build(tmp_path / "c.zarr")
    zarr.consolidate_metadata(tmp_path / "c.zarr")
    at = {"http": f"http://127.0.0.1:{server.port}/b/c.zarr", "s3": "s3://b/c.zarr"}[scheme]
    opening = ["c.zarr/zarr.json"] if zarr_format == 3 else ["c.zarr/zarr.json", "c.zarr/.zmetadata"]
    for words, coordinates in JOBS.items():
        bucket = holding(server, tmp_path)
        only = () if "--calc" in words else ("--var", "data")
        run = cw(words[0], at, *words[1:], *only, env=server.env, json=False).ok()
        assert asked(bucket)[: len(opening)] == opening, words
        assert {method for method, *_ in bucket.answered} == {"GET"}, words
        labels = [key.split("/")[1] for key in asked(bucket)[len(opening) :] if not DATA.match(key)]
        assert sorted(labels) == sorted(coordinates.split()), words
        check_summary(run, bucket)


def check_summary(run, bucket):
    """Requests and bytes, of chunks and of all else, are those of the server."""
    told = re.search(r"(\d+) requests, ([\d.]+) (\w+) read \(and (\d+) requests, ([\d.]+) (\w+) for metadata and labels\)", run.err)
    assert told, run
    requests, n, unit, other_requests, other_n, other_unit = told.groups()
    chunks = [size for _, key, size in bucket.answered if DATA.match(key)]
    others = [size for _, key, size in bucket.answered if not DATA.match(key)]
    assert (int(requests), int(other_requests)) == (len(chunks), len(others)), (run, bucket.answered)
    assert runner.as_bytes(n, unit) == pytest.approx(sum(chunks), rel=0.06), run
    assert runner.as_bytes(other_n, other_unit) == pytest.approx(sum(others), rel=0.06), run


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_cube_without_consolidated_metadata_is_listed_once_and_its_arrays_are_asked_for_at_once(cw, tmp_path, server, zarr_format):
    arrays = {f"v{n}": (("t",), [n, n + 1], {}, {"chunks": (2,)}) for n in range(24)}
    small.build(tmp_path / "c.zarr", arrays, zarr_format)
    bucket = holding(server, tmp_path, kinds=["slow"], share=1)
    run = cw("stats", "s3://b/c.zarr", "--var", "v3", env=server.env).ok()
    assert run.json[0]["mean"] == 3.5
    assert [method for method, *_ in bucket.answered].count("LIST") == 1
    assert {method for method, *_ in bucket.answered} == {"LIST", "GET"}
    keys = asked(bucket)
    assert len(keys) == len(set(keys)), "nothing is asked for twice"
    documents = [key for key in keys if re.match(r"c\.zarr/v\d+/\.?z", key)]
    assert len(documents) == (24 if zarr_format == 3 else 48)
    assert bucket.most_busy >= 12
    # An array that is named is not looked for.
    bucket = holding(server, tmp_path)
    cw("stats", "s3://b/c.zarr:v3", env=server.env).ok()
    assert all(method == "GET" for method, *_ in bucket.answered), bucket.answered


def test_too_many_requests_or_bytes_are_refused_before_a_chunk_is_read(cw, tmp_path, server):
    cube.Spec(**SHAPE).build(tmp_path / "c.zarr")
    zarr.consolidate_metadata(tmp_path / "c.zarr")
    words = ("reduce", "s3://b/c.zarr", "--var", "data", "--over", "all", "--with", "mean")
    for bound, named in ((("--max-requests", "3"), "4 requests"), (("--max-bytes", "1KiB"), "--max-bytes")):
        bucket = holding(server, tmp_path)
        cw(*words, *bound, env=server.env).refused(named)
        assert not [key for key in asked(bucket) if DATA.match(key)]
    bucket = holding(server, tmp_path)
    cw(*words, "--max-requests", "4", "--max-bytes", "1MiB", env=server.env).ok()
    assert len([key for key in asked(bucket) if DATA.match(key)]) == 4


class Endless:
    """A web server whose answers never end: chunks of 64 KiB, without a length; or, when `silent`, no answer at all."""

    def __init__(self, folder, endless):
        self.folder, self.endless, self.sent, self.over = Path(folder), endless, 0, threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if outer.endless == "silent":
                    outer.over.wait(30)
                    return
                path = outer.folder / self.path.lstrip("/")
                if not re.search(outer.endless, self.path):
                    body = path.read_bytes() if path.is_file() else None
                    self.send_response(404 if body is None else 200)
                    self.send_header("Content-Length", str(len(body or b"")))
                    self.end_headers()
                    return self.wfile.write(body or b"")
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                block = b"10000\r\n" + b" " * 65536 + b"\r\n"
                # Far more than any bound, and not more than a machine has.
                while outer.sent < 2**31:
                    self.wfile.write(block)
                    outer.sent += 65536

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self.server.server_port}/{path}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def small_cube(tmp_path):
    root = zarr.create_group(tmp_path / "c.zarr")
    array = root.create_array("v", shape=(4, 100), chunks=(1, 100), dtype="uint16", dimension_names=["t", "x"])
    array[:] = np.arange(400).reshape(4, 100)
    zarr.consolidate_metadata(tmp_path / "c.zarr")
    return tmp_path


@pytest.mark.parametrize(
    "what, words, named",
    [
        (r"/c/2/0$", ["reduce", "--over", "t,x", "--with", "sum"], [r"chunk \[2, 0\] of `v`", "v/c/2/0"]),
        (r"/c/2/0$", ["verify"], ["v/c/2/0"]),
        (r"zarr\.json$", ["info"], ["zarr.json", "256 MiB"]),
    ],
)
def test_an_answer_without_end_is_given_up_within_the_budget(small_cube, what, words, named):
    with Endless(small_cube, what) as server:
        run = runner.chunkwise(words[0], server.url("c.zarr"), *words[1:], *(["--memory", "64MiB"] if words[0] != "info" else []), measure=True)
        told = run.err + run.out.decode()
        assert run.code in (1, 2) and all(re.search(n, told) for n in named), run
        # Metadata may have 256 MiB.
        assert server.sent < (400 if words[0] == "info" else 32) * 2**20
        assert run.peak is None or run.peak < (800 if words[0] == "info" else 64) * 2**20, run


@pytest.mark.parametrize("words", [["info"], ["reduce", "--over", "t", "--with", "mean"], ["verify"]])
def test_an_interrupt_is_heard_while_a_server_does_not_answer(small_cube, words):
    with Endless(small_cube, "silent") as server:
        began = time.monotonic()
        running = subprocess.Popen([runner.binary(), words[0], server.url("c.zarr"), *words[1:]], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(1)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=20)
        assert running.returncode == 130 and time.monotonic() - began < 8


def test_the_size_that_azure_must_be_asked_for_is_in_the_plan(azure, cw, small_cube):
    """Azure has no ranges that count from the end, so that the index of a shard takes two requests."""
    out = azure.url("sharded.zarr")
    cw("calc", small_cube / "c.zarr", "w = v + 1", "-o", out, "--chunk", "t=1,x=25", "--shard", "t=2,x=50", env=azure.env).ok()
    ask = ["reduce", out, "--over", "t", "--with", "sum"]
    planned = cw(*ask, "--explain", env=azure.env).ok().json["requests"]
    run = cw(*ask, "-v", env=azure.env).ok()
    requests = re.search(r"chunks.*?, (\d+) requests", run.err)
    assert requests, run
    assert planned == int(requests[1]), run
    cw(*ask, "--max-requests", planned - 1, env=azure.env).refused(str(planned))
    cw(*ask, "--max-requests", planned, env=azure.env).ok()
