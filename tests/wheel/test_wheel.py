"""The wheel: what is in it, on which systems it loads, and that it works in an environment where nothing else is.

CHUNKWISE_WHEEL=dist/chunkwise-….whl CHUNKWISE_PYTHONS="python3.11 python3.13" python -m pytest tests/wheel
"""

import io
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "crates/chunkwise-python"
# What manylinux_2_28 has (PEP 600, auditwheel's policy): the newest version of each library's symbols, and the libraries.
NEWEST = {"GLIBC": (2, 28), "GCC": (7, 0, 0), "GLIBCXX": (3, 4, 24), "CXXABI": (1, 3, 11)}
LIBRARIES = {
    "libc.so.6", "libm.so.6", "libdl.so.2", "librt.so.1", "libpthread.so.0", "libutil.so.1", "ld-linux-x86-64.so.2",
    "libgcc_s.so.1", "libstdc++.so.6",
}  # fmt: skip


@pytest.fixture(scope="session")
def wheel():
    return Path(os.environ["CHUNKWISE_WHEEL"]).resolve()


@pytest.fixture(scope="session")
def files(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="session")
def module(files):
    return ELFFile(io.BytesIO(files["chunkwise/_chunkwise.abi3.so"]))


def test_one_wheel_is_for_every_cpython_from_3_11_on(wheel):
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert wheel.name == f"chunkwise-{version}-cp311-abi3-manylinux_2_28_x86_64.whl"


def test_it_asks_for_no_symbol_that_glibc_2_28_does_not_have(module):
    asked = {
        needed.name: sorted(version.name for version in versions)
        for section in module.iter_sections()
        if isinstance(section, GNUVerNeedSection)
        for needed, versions in section.iter_versions()
    }
    assert "libc.so.6" in asked
    for library, versions in asked.items():
        for version in versions:
            kind, _, number = version.partition("_")
            if number:
                assert tuple(map(int, number.split("."))) <= NEWEST[kind], f"{library} {version}"
    print(asked)


def test_it_needs_no_library_that_manylinux_does_not_have(module):
    needed = {tag.needed for tag in module.get_section_by_name(".dynamic").iter_tags() if tag.entry.d_tag == "DT_NEEDED"}
    assert needed <= LIBRARIES


def test_auditwheel_agrees(wheel):
    told = subprocess.run([sys.executable, "-m", "auditwheel", "show", wheel], capture_output=True, text=True, check=True).stdout
    tag = re.search(r'constrains the platform tag to\s+"manylinux_2_(\d+)_x86_64"|following platform tag:\s+"manylinux_2_(\d+)_x86_64"', told)
    assert tag, told
    assert int(tag[1] or tag[2]) <= 28, told


def test_it_uses_only_the_stable_interface_of_python(wheel):
    audit = subprocess.run([sys.executable, "-m", "abi3audit", "--strict", wheel], capture_output=True, text=True)
    assert audit.returncode == 0, audit.stdout + audit.stderr


def test_it_holds_the_whole_package_with_its_types_and_nothing_else(files):
    source = PACKAGE / "python/chunkwise"
    own = {f"chunkwise/{p.name}" for p in source.iterdir() if p.suffix in (".py", ".pyi") or p.name == "py.typed"}
    held = {name for name in files if not re.match(r"chunkwise-[^/]+\.dist-info/", name)}
    assert held == own | {"chunkwise/_chunkwise.abi3.so"}
    for name in own:
        assert files[name] == (PACKAGE / "python" / name).read_bytes(), name


def test_its_metadata_are_those_of_the_project(files):
    text = next(content.decode() for name, content in files.items() if name.endswith(".dist-info/METADATA"))
    told, project = Parser().parsestr(text), tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    assert told["Name"] == "chunkwise" and told["Requires-Python"] == ">=3.11"
    needed = [line for line in told.get_all("Requires-Dist") if "extra ==" not in line]
    assert needed == project["dependencies"]
    assert set(told.get_all("Provides-Extra")) == set(project["optional-dependencies"])
    assert told.get_payload().strip() == (PACKAGE / "README.md").read_text().strip()
    entries = next(content.decode() for name, content in files.items() if name.endswith("entry_points.txt"))
    assert "chunkwise=chunkwise._command:main" in entries and "chunkwise.xarray:ChunkwiseBackendEntrypoint" in entries
    licenses = [name for name in files if "LICENSE" in name or "THIRD-PARTY" in name]
    assert len(licenses) >= 2, list(files)


TRY = """
import json, sys, numpy as np, chunkwise as cw
cube = cw.create(sys.argv[1], {"time": 3, "y": 4}, var="dn", dtype="int16", missing=-1)
cube["dn"][...] = np.arange(12).reshape(3, 4)
table = cube.stats().to_pylist()
print(json.dumps([cw.__version__, cw.__file__, table[0]["mean"], [n for n in sys.modules if n in ("xarray", "pandas")]]))
"""


@pytest.fixture(scope="session", params=os.environ.get("CHUNKWISE_PYTHONS", sys.executable).split())
def alone(request, tmp_path_factory, wheel):
    """An environment with the wheel and what it needs, and nothing else: its folder of programs."""
    folder = tmp_path_factory.mktemp("alone")
    subprocess.run([request.param, "-m", "venv", folder], check=True)
    programs = folder / "bin"
    subprocess.run([programs / "pip", "install", "--quiet", "--disable-pip-version-check", wheel], check=True)
    return programs


def test_it_works_where_nothing_but_numpy_is(alone, tmp_path):
    told = subprocess.run([alone / "python", "-I", "-c", TRY, tmp_path / "c.zarr"], capture_output=True, text=True, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    version, file, mean, heavy = json.loads(told.stdout)
    assert Path(file).is_relative_to(alone.parent) and mean == 5.5 and heavy == []
    listed = subprocess.run([alone / "pip", "list", "--format=json"], capture_output=True, text=True, check=True).stdout
    assert {p["name"] for p in json.loads(listed)} - {"pip", "setuptools"} == {"chunkwise", "numpy"}


def test_it_brings_the_command_line(alone, tmp_path):
    def run(*words):
        return subprocess.run([*words], capture_output=True, text=True, cwd=tmp_path)

    for program in ([alone / "chunkwise"], [alone / "python", "-m", "chunkwise"]):
        assert run(*program, "--version").stdout.startswith("chunkwise ")
        wrong = run(*program, "info", "nowhere.zarr")
        assert wrong.returncode == 2 and wrong.stdout == "" and wrong.stderr.startswith("error: ")
        name = f"{len(program)}.zarr"
        assert run(*program, "create", "-o", name, "--dim", "y=3", "--dtype", "int8").returncode == 0
        assert run(*program, "compare", name, name).returncode == 0
        assert json.loads(run(*program, "ls", name, "--json").stdout)


def test_what_needs_xarray_says_so_without_it(alone, tmp_path):
    """`pip install chunkwise` is NumPy alone; a result in xarray's form asks for xarray by name."""
    script = TRY + "cube['dn'].mean().compute()"
    told = subprocess.run([alone / "python", "-I", "-c", script, tmp_path / "c.zarr"], capture_output=True, text=True, cwd=tmp_path)
    assert 'pip install "chunkwise[xarray]"' in told.stderr.splitlines()[-1]
