"""The package in processes: forked and spawned ones, pickles between them, and what importing it brings along."""

import json
import os
import pickle
import subprocess
import sys
import textwrap

import chunkwise as cw
import numpy as np
import pytest
import scripts
import servers
from scripts import told


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """12 x 200 x 200 cells, and their values."""
    return scripts.small_cube(tmp_path_factory.mktemp("small") / "small.zarr")


def told_by(call):
    """The error of a call."""
    with pytest.raises(cw.ChunkwiseError) as caught:
        call()
    return caught.value


# --- fork, spawn ------------------------------------------------------------------------------------------------------

PROCESSES = """
    import json, multiprocessing, os, sys, chunkwise as cw

    def total(array):
        return array.sum().compute().item()

    if __name__ == "__main__":
        path, method, storage = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
        array = cw.open(path, storage_options=storage)["dn"]
        here = total(array)
        with multiprocessing.get_context(method).Pool(2) as pool:
            there = pool.map(total, [array.isel(time=i) for i in range(12)])
        # The parent goes on as before, and so does a fork of a process with connections and threads.
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write, json.dumps(total(array)).encode())
            os._exit(0)
        os.waitpid(child, 0)
        print(json.dumps([here, total(array), json.loads(os.read(read, 100)), there]))
"""


def of_processes(tmp_path, path, method, storage, env=None):
    # Whoever is spawned imports the script by its name.
    script = tmp_path / "processes.py"
    script.write_text(textwrap.dedent(PROCESSES))
    words = [sys.executable, script, str(path), method, json.dumps(storage)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, env={**os.environ, **(env or {})})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_that_are_forked_or_spawned_compute_too(small, tmp_path, method):
    path, values = small
    here, after, forked, there = of_processes(tmp_path, path, method, {})
    assert here == after == forked == values.sum(dtype="int64")
    assert there == values.sum(axis=(1, 2), dtype="int64").tolist()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_of_a_parent_with_connections_to_s3_compute_too(s3, small, tmp_path, method):
    """The secret comes from the environment of each process: it is not in the pickles."""
    path, values = small
    options = {"endpoint": s3.env["AWS_ENDPOINT_URL"], "region": "us-east-1", "access_key_id": "tester"}
    url = s3.url(f"{method}/small.zarr")
    cw.import_files(path, url, storage_options={**options, "secret_access_key": servers.CANARY})
    env = {k: v for k, v in s3.env.items() if k != "AWS_ENDPOINT_URL"}
    options.pop("access_key_id")
    here, after, forked, there = of_processes(tmp_path, url, method, options, env)
    assert here == after == forked == values.sum(dtype="int64")
    assert there == values.sum(axis=(1, 2), dtype="int64").tolist()


# --- pickles ----------------------------------------------------------------------------------------------------------


def test_pickles_hold_plans_and_no_data(tmp_path):
    """Of a cube of 100 MB; what they make again asks the same."""
    cube = cw.create(
        tmp_path / "c.zarr", {"time": 50, "y": 1000, "x": 1000}, var="dn", dtype="int16", missing=-1,
        chunks={"time": 1, "y": 1000, "x": 1000},
    )  # fmt: skip
    cube["dn"][:2] = (np.arange(2_000_000) % 30_000).astype("int16").reshape(2, 1000, 1000)
    lazy = cube["dn"].isel(x=slice(0, 1000, 2)).where("dn > 3").mean("time")
    lazy.compute()
    for one in (cube, lazy, cube["dn"].coords and cube["dn"], lazy.plan(), lazy.plan(tmp_path / "out.zarr")):
        assert len(pickle.dumps(one)) < 10_000, one
    again = pickle.loads(pickle.dumps(lazy))
    np.testing.assert_array_equal(again.compute().values, lazy.compute().values)


SECRET = "S3cr3tKeyThatNobodyTells"


@pytest.mark.parametrize(
    "options",
    [
        {"secret_access_key": SECRET},
        {"secret": SECRET, "key": SECRET},
        {"session_token": SECRET},
        {"account_key": SECRET},
        {"sas_token": SECRET},
        {"client_kwargs": {"aws_secret_access_key": SECRET}},
        {"proxy_url": f"http://me:{SECRET}@127.0.0.1:1"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_pickles_hold_no_secrets(options):
    """Neither of a cube nor of what is asked of it."""
    from chunkwise._query import Query
    from chunkwise._source import Source

    source = Source("s3://box/cube.zarr", {**options, "region": "here"}, identity="known")
    for one in (source, cw.Cube(source, Query()), cw.Array(source, Query(variables=("dn",)))):
        pickled = pickle.dumps(one)
        assert SECRET.encode() not in pickled
        assert b"here" in pickled


def test_pickles_hold_no_secrets_of_urls(small):
    """A password, or the signature of a link. Whoever loads it is told."""
    path, _ = small
    with servers.Web(path.parent) as web:
        host = f"127.0.0.1:{web.port}/{path.name}"
        for url in (f"http://me:{SECRET}@{host}", f"http://{host}?X-Amz-Signature={SECRET}"):
            cube = cw.open(url)
            pickled = pickle.dumps(cube["dn"].sum())
            assert SECRET.encode() not in pickled
            assert SECRET not in repr(cube) + cube._repr_html_() + cube.mean().command()
            with pytest.raises(ValueError, match="pickles leave out"):
                pickle.loads(pickled).compute()


def test_a_cube_without_its_secret_says_what_is_missing(s3, small, monkeypatch):
    path, values = small
    options = {"endpoint": s3.env["AWS_ENDPOINT_URL"], "region": "us-east-1", "access_key_id": "tester"}
    cube = cw.import_files(
        path, s3.url("secret/small.zarr"), storage_options={**options, "secret_access_key": servers.CANARY}
    )
    assert cube["dn"].sum().compute().item() == values.sum(dtype="int64")
    pickled = pickle.dumps(cube["dn"].sum())
    assert servers.CANARY.encode() not in pickled
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    error = told_by(lambda: pickle.loads(pickled).compute())
    assert "secret_access_key" in str(error) and servers.CANARY not in str(error)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, s3.env[name])
    assert pickle.loads(pickled).compute().item() == values.sum(dtype="int64")


def test_a_pickle_of_what_this_process_holds_is_refused():
    import xarray as xr

    cube = cw.from_xarray(xr.Dataset({"dn": (("y", "x"), np.ones((4, 4)))}))
    with pytest.raises(TypeError, match="never data"):
        pickle.dumps(cube)


# --- what is imported -------------------------------------------------------------------------------------------------


def test_importing_the_package_imports_numpy_and_nothing_heavy():
    heavy, modules = told(
        """
        import sys, numpy, json
        before = set(sys.modules)
        import chunkwise
        new = {name.partition(".")[0] for name in set(sys.modules) - before}
        known = new - {"chunkwise"} - set(sys.stdlib_module_names)
        print(json.dumps([sorted(known), sorted(n for n in set(sys.modules) - before if n.startswith("chunkwise"))]))
        """
    )
    assert heavy == [], heavy
    assert "chunkwise._chunkwise" in modules and "chunkwise.dask" not in modules and "chunkwise.xarray" not in modules


def test_opening_and_asking_imports_nothing_heavy(small):
    """Only results in xarray's form need xarray."""
    heavy = told(
        """
        import sys, json, chunkwise
        cube = chunkwise.open(sys.argv[1])
        repr(cube), cube._repr_html_(), repr(cube["dn"].mean("time").explain()), cube.stats().to_pylist()
        print(json.dumps([n for n in ("xarray", "pandas", "dask", "pyarrow", "tqdm", "matplotlib") if n in sys.modules]))
        """,
        small[0],
    )
    assert heavy == []


def test_the_time_of_importing_is_told():
    """Milliseconds beyond NumPy's, the median of five. Loaded machines are slow: that it is a module without work is asserted
    above, and here that it is not seconds."""
    took = sorted(
        told(
            """
            import json, time, numpy
            began = time.perf_counter()
            import chunkwise
            print(json.dumps(1000 * (time.perf_counter() - began)))
            """
        )
        for _ in range(5)
    )
    print(f"import chunkwise, beyond NumPy: {took[2]:.0f} ms (of {', '.join(f'{t:.0f}' for t in took)})")
    assert took[0] < 2000

