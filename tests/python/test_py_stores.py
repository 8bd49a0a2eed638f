"""Object stores in Python: SeaweedFS on loopback, opened, computed, written; and what they cannot do."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import xarray as xr

import chunkwise as cw


@pytest.fixture(scope="module")
def options(s3):
    """`storage_options`, secrets included."""
    env = s3.env
    return {
        "access_key_id": env["AWS_ACCESS_KEY_ID"],
        "secret_access_key": env["AWS_SECRET_ACCESS_KEY"],
        "endpoint": env["AWS_ENDPOINT_URL"],
        "region": env["AWS_REGION"],
    }


@pytest.fixture(scope="module")
def cube(s3, options):
    path = s3.url("py/a.zarr")
    made = cw.create(
        path, {"time": 6, "y": 20, "x": 30}, dtype="float32", var="v", chunks={"time": 1, "y": 10, "x": 30}, storage_options=options
    )
    made["v"][:] = np.random.default_rng(4).random((6, 20, 30)).astype("float32")
    return made


VALUES = np.random.default_rng(4).random((6, 20, 30)).astype("float32")


def test_cubes_are_written_and_computed(cube, s3, options):
    again = cw.open(s3.url("py/a.zarr"), storage_options=options)
    np.testing.assert_array_equal(again["v"].compute().values, VALUES)
    mean = again["v"].mean("time")
    np.testing.assert_allclose(mean.compute().values, VALUES.astype("f8").mean(0), rtol=1e-6)
    out = mean.to_zarr(s3.url("py/mean.zarr"), overwrite=True)
    np.testing.assert_array_equal(out["v"].compute().values, mean.compute().values)
    assert mean.explain()["requests"] == 12


def test_options_may_be_called_as_fsspec_calls_them(cube, s3, options):
    fsspec = {
        "key": options["access_key_id"],
        "secret": options["secret_access_key"],
        "client_kwargs": {"endpoint_url": options["endpoint"], "region_name": options["region"]},
    }
    found = cw.open(s3.url("py/a.zarr"), storage_options=fsspec)
    np.testing.assert_array_equal(found["v"][0].compute().values, VALUES[0])
    ds = xr.open_dataset(s3.url("py/a.zarr"), engine=_engine(), storage_options=options)
    np.testing.assert_array_equal(ds["v"][2].values, VALUES[2])


def _engine():
    from chunkwise.xarray import ChunkwiseBackendEntrypoint

    return ChunkwiseBackendEntrypoint


def test_parts_of_chunks_are_refused_and_whole_ones_written(cube, s3, options):
    path = s3.url("py/parts.zarr")
    made = cw.create(path, like=cube.location, storage_options=options, overwrite=True)
    made["v"][:, 0:10] = 1
    with pytest.raises(ValueError, match="part of") as refused:
        made["v"][:, 0:5] = 2
    assert "alone=True" in str(refused.value) and "Partial::" not in str(refused.value)
    assert (made["v"][:, 0:10].compute().values == 1).all()
    made["v"].write({"y": slice(0, 5)}, 2, alone=True)
    assert (made["v"][:, 0:5].compute().values == 2).all() and (made["v"][:, 5:10].compute().values == 1).all()


def test_secrets_are_neither_pickled_nor_shown(cube, s3, options):
    secret = options["secret_access_key"]
    lazy = cube["v"].mean("time")
    plan = lazy.plan(s3.url("py/planned.zarr"), partitions=2)
    shown = [repr(cube), cube._repr_html_(), lazy.command(), repr(plan), repr(lazy.explain()), lazy.explain()._repr_html_()]
    plan.abort()
    for pickled in (cube, lazy, plan):
        assert secret.encode() not in pickle.dumps(pickled)
    for text in shown:
        assert secret not in text
    out = lazy.to_zarr(s3.url("py/history.zarr"), overwrite=True)
    assert secret not in str(out.attrs) and "mean" in out.attrs["history"]


def test_a_pickle_that_lacks_its_secrets_says_which(cube, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    loaded = pickle.loads(pickle.dumps(cube["v"]))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(OSError) as failed:
        loaded.compute()
    assert "secret_access_key" in str(failed.value) and "environment" in str(failed.value)


def test_bounds_on_requests_hold(cube):
    with pytest.raises(ValueError, match="requests"):
        cube["v"].mean("time").compute(max_requests=3)
    with pytest.raises(ValueError, match="bytes"):
        cube["v"].mean("time").compute(max_bytes="1kB")
