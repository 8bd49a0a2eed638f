"""What the tests share: the runner, folders, the cubes that several of them read."""

import fcntl
import os
import warnings
from pathlib import Path

import hypothesis
import pytest

import cube
import runner
import servers

warnings.filterwarnings("ignore", module="zarr")

ROOT = Path(__file__).resolve().parents[2]
# Random requests of one whole run of test_oracle.py.
CASES = int(os.environ.get("CHUNKWISE_CASES", "320"))

hypothesis.settings.register_profile(
    "chunkwise",
    deadline=None,
    database=None,
    # the same cubes every time, unless a long run asks for new ones
    derandomize="CHUNKWISE_CASES" not in os.environ,
    suppress_health_check=list(hypothesis.HealthCheck),
    print_blob=True,
)
hypothesis.settings.load_profile("chunkwise")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: needs more than a few seconds, or a large cube")


def pytest_sessionstart(session):
    if not os.access(runner.binary(), os.X_OK):
        raise pytest.UsageError(f"no binary at {runner.binary()}: build it, or set CHUNKWISE_BIN")


def pytest_report_header():
    return f"chunkwise: {runner.binary()}, {CASES} random requests"


@pytest.fixture(scope="session")
def cw():
    """`cw("stats", path, …)` runs the binary; see `runner.chunkwise`."""
    return runner.chunkwise


@pytest.fixture(scope="session")
def data():
    """The folder of real data; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("CHUNKWISE_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder} (CHUNKWISE_DATA)")
    return folder


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """`made_once(name, make)`: a folder that `make(path)` fills once for all test processes."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base

    def once(name, make):
        path, done = shared / name, shared / f"{name}.done"
        with open(shared / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                make(path)
                done.touch()
        return path

    return once


@pytest.fixture(scope="session")
def large(made_once):
    """12 x 4 x 2000 x 2000 uint16 in chunks of 1 x 4 x 250 x 250: 384 MB of values."""
    return made_once("large.zarr", lambda path: cube.make_large(path, steps=12))


@pytest.fixture(scope="session")
def s3():
    with servers.seaweed() as service:
        yield service


@pytest.fixture(scope="session")
def azure():
    with servers.azurite() as service:
        yield service


@pytest.fixture(scope="session")
def gcs():
    with servers.gcs() as service:
        yield service
