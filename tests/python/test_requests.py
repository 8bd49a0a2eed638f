"""What a job asks of a store: as little as it must, and as much as its summary says."""

import re

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
