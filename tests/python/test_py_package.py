"""What the package promises of itself: types, documentation, names, the command line that it brings."""

import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import chunkwise as cw
import pytest
from chunkwise import errors

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(cw.__file__).parent
# What stubs and the module differ in, with the reason.
ALLOWED = r"""
# Imported for types alone, of packages that have none.
chunkwise\._table\.(pa|pd|pl)
# Kept by functools.lru_cache, which hides its signature from mypy.
chunkwise\.dask\._opened
"""


def run(*words, **how):
    return subprocess.run([sys.executable, "-m", *map(str, words)], capture_output=True, text=True, **how)


@pytest.mark.slow
def test_the_stubs_are_those_of_the_module(tmp_path):
    """mypy's stubtest compares each name and signature of the stubs with what is there at run time."""
    allowed = tmp_path / "allowed"
    allowed.write_text(ALLOWED)
    config = ROOT / "crates/chunkwise-python/pyproject.toml"
    found = run("mypy.stubtest", "chunkwise", "--mypy-config-file", config, "--allowlist", allowed, "--ignore-unused-allowlist", cwd=tmp_path)
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]


@pytest.mark.slow
def test_the_package_is_typed_strictly(tmp_path):
    config = ROOT / "crates/chunkwise-python/pyproject.toml"
    found = run("mypy", "--config-file", config, "--cache-dir", tmp_path / "cache", "-p", "chunkwise", cwd=tmp_path)
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]


@pytest.mark.slow
def test_types_of_what_users_write_are_known(tmp_path):
    """As a type checker of theirs sees it."""
    (tmp_path / "user.py").write_text(
        """
import chunkwise as cw

cube = cw.open("s2.zarr", storage_options={"region": "eu-central-1"})
reveal_type(cube)
reveal_type(cube["red"])
reveal_type(cube[["red", "nir"]])
reveal_type(cube.sel(time=slice("2024-05", None)).mean("time"))
reveal_type(cube["red"].groupby("time.month").mean())
reveal_type(cube["red"] * 2 + cube["nir"])
reveal_type(cube.stats())
reveal_type(cube.mean("time").explain())
cube.open("x")  # no such thing
"""
    )
    found = run("mypy", "--strict", "--cache-dir", tmp_path / "cache", tmp_path / "user.py", cwd=tmp_path)
    revealed = [line.split('"')[1].rpartition(".")[2] for line in found.stdout.splitlines() if "Revealed type" in line]
    assert revealed == ["Cube", "Array", "Cube", "Cube", "Array", "Array", "Table", "Explanation"], found.stdout


def test_the_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").exists()
    assert (PACKAGE / "_chunkwise.pyi").exists()


def public(of, prefix):
    for name, found in vars(of).items():
        if not name.startswith("_") and (inspect.isfunction(found) or isinstance(found, property)):
            yield f"{prefix}.{name}", found


def test_whatever_is_public_is_documented():
    """Each function, class, method and property, in the package and in the stubs of the engine."""
    without = []
    for name in cw.__all__:
        found = getattr(cw, name)
        if inspect.ismodule(found) or isinstance(found, str):
            continue
        without += [] if inspect.getdoc(found) else [name]
        if inspect.isclass(found):
            for base in found.__mro__:
                if base.__module__.startswith("chunkwise"):
                    without += [path for path, one in public(base, base.__name__) if not inspect.getdoc(one)]
    without += [name for name in errors.__all__ if not getattr(errors, name).__doc__]
    assert without == []


def test_every_module_can_be_imported():
    """Those of optional packages too, where these are there."""
    for module in pkgutil.iter_modules(cw.__path__, "chunkwise."):
        if module.name != "chunkwise.__main__":
            assert importlib.import_module(module.name), module.name


def test_names_of_the_package_are_those_that_it_lists():
    assert sorted(cw.__all__) == cw.__all__
    for name in cw.__all__:
        assert getattr(cw, name) is not None
    assert cw.__version__ == importlib.metadata.version("chunkwise")


def test_the_tests_run_on_what_is_installed():
    """Not on the source tree: what is tested is the wheel, where `CHUNKWISE_WHEEL` is set."""
    if "CHUNKWISE_WHEEL" in os.environ:
        assert "site-packages" in PACKAGE.parts
        assert not PACKAGE.is_relative_to(ROOT / "crates")


# --- the command line -------------------------------------------------------------------------------------------------


def command(*words, **how):
    return run("chunkwise", *words, **how)


def test_python_m_chunkwise_is_the_command_line(tmp_path):
    made = command("create", "-o", "c.zarr", "--dim", "y=3", "--dtype", "int8", cwd=tmp_path)
    assert made.returncode == 0 and "made `c.zarr`" in made.stderr
    assert cw.open(tmp_path / "c.zarr").sizes == {"y": 3}
    assert command("--version").stdout.split()[1] == cw.__version__
    assert "Usage" in command("--help").stdout


def test_its_exit_codes_are_those_of_the_command(tmp_path):
    """0: done; 1: the answer is no; 2: an error, which is on stderr."""
    for name, fill in (("a", "1"), ("b", "2")):
        command("create", "-o", f"{name}.zarr", "--dim", "y=3", "--dtype", "int8", "--fill", fill, cwd=tmp_path)
    assert command("compare", "a.zarr", "a.zarr", cwd=tmp_path).returncode == 0
    assert command("compare", "a.zarr", "b.zarr", cwd=tmp_path).returncode == 1
    for words in (["info", "nowhere.zarr"], ["infos"], ["info"]):
        wrong = command(*words, cwd=tmp_path)
        assert wrong.returncode == 2 and wrong.stdout == "" and wrong.stderr.startswith("error: ")


def test_the_wheel_installs_the_command():
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="chunkwise")
    assert entry.value == "chunkwise._command:main"
    assert callable(entry.load())


def test_xarray_knows_the_engine():
    (entry,) = importlib.metadata.entry_points(group="xarray.backends", name="chunkwise")
    assert entry.value == "chunkwise.xarray:ChunkwiseBackendEntrypoint"
    assert importlib.util.find_spec("chunkwise.xarray") is not None
