"""Python of the documents runs: their `python` blocks, and the tables that set other tools' words beside ours.

    $ .venv/bin/python -m pytest tests/python/test_py_documents.py

The blocks of a document run in order, in one namespace, in a folder with the cubes that test_documents.py makes. A block whose first
line is a comment `# ValueError: …` ends in that error, and the message holds what stands behind the colon; one that begins with
`# not run: why` is only shown. A `text` block right below is what was printed, where `…` stands for anything. In a table of three
columns, `| other tool | command line | Python |`, each command runs with `chunkwise` put before it, and each expression is computed
in the namespace of the blocks before it.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import re
import shlex
from pathlib import Path

import geopandas as gpd
import pytest
from shapely.geometry import box

import chunkwise
from chunkwise import errors
from test_documents import ROOT, furnish

DOCUMENTS = ["README.md", *(f"docs/{n}.md" for n in ("python", "cdo", "gdal", "xarray"))]
THERE = [d for d in DOCUMENTS if (ROOT / d).exists()]
#: Those of many commands.
LONG = ("README.md", "docs/cdo.md", "docs/gdal.md")
COMPARED = ["docs/cdo.md", "docs/gdal.md"]
CODE = re.compile(r"`([^`]+)`")


def blocks(document: str) -> list[tuple[int, str, str | None]]:
    """The `python` blocks of a document: the line that each begins in, and what it prints where that is shown."""
    text = (ROOT / document).read_text()
    found = re.finditer(r"^```python\n(.*?)^```\n(?:\n?```text\n(.*?)^```)?", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, m.start()) + 2, m[1], m[2]) for m in found]


def rows(document: str) -> list[tuple[int, list[str], list[str]]]:
    """The commands and the expressions of each row of the tables that compare, with its line."""
    found, compared = [], False
    for number, line in enumerate((ROOT / document).read_text().splitlines(), 1):
        if not line.startswith("|"):
            compared = False
        elif line.rstrip().endswith("| command line | Python |"):
            compared = True
        elif compared and not line.startswith("|---"):
            _, _, command, python, _ = re.split(r" ?(?<!\\)\| ?", line)
            found.append((number, CODE.findall(command), CODE.findall(python)))
    return found


def steps(document: str) -> list[tuple[int, str, str, str | None]]:
    """What runs, in the order of the page: its line, its kind, its text, what it prints."""
    found: list[tuple[int, str, str, str | None]] = [(line, "block", text, shown) for line, text, shown in blocks(document)]
    text = (ROOT / document).read_text()
    for m in re.finditer(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for command in m[1].replace("\\\n", " ").splitlines():
            if command.startswith("$ chunkwise "):
                found.append((text.count("\n", 0, m.start()) + 2, "command", command.removeprefix("$ chunkwise "), None))
    if document in COMPARED:
        for line, commands, expressions in rows(document):
            found += [(line, "command", c, None) for c in commands] + [(line, "expression", e, None) for e in expressions]
    return sorted(found, key=lambda step: step[0])


def the_error(name: str) -> type[BaseException]:
    return getattr(errors, name, None) or getattr(builtins, name)


def run_block(document: str, line: int, text: str, shown: str | None, names: dict[str, object]) -> None:
    # The lines of the page are those of a traceback.
    code = compile("\n" * (line - 1) + text, str(ROOT / document), "exec")
    said = re.match(r"# (\w+(?:Error|Interrupt|Warning)): ?(.*)\n", text)
    if said is not None:
        with pytest.raises(the_error(said[1])) as raised:
            exec(code, names)
        assert said[2].strip() in str(raised.value), raised.value
        return
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, names)
    if shown is not None:
        pattern = ".*?".join(re.escape(part) for part in shown.split("…"))
        # Tables and labels have such dots of their own, which match too.
        assert re.fullmatch(pattern, printed.getvalue(), re.DOTALL), f"printed\n{printed.getvalue()}"


def compute(value: object) -> object:
    """A result of what is lazy: most of the errors of a request show here."""
    return value.compute() if isinstance(value, (chunkwise.Array, chunkwise.Cube)) else value


def furnish_for_python(folder: Path, document: str, cw) -> None:
    """The cubes of test_documents.py, and what the tables of other tools' words read beside them."""
    furnish(folder, document, cw)
    if "chunkwise-demo" in (ROOT / document).read_text():
        cw("demo", cwd=folder).ok()
    for name in ("first.zarr", "second.zarr"):
        chunkwise.open(folder / "climate.zarr").sel(time="2000").to_zarr(folder / name)
    boxes = gpd.GeoDataFrame({"name": ["west", "east"]}, geometry=[box(230, 31, 238, 44), box(241, 33, 251, 46)], crs=4326)
    boxes.to_file(folder / "boxes.geojson", driver="GeoJSON")
    for number in (1, 2):
        scene = chunkwise.open(folder / "s2.zarr")["reflectance"].isel(time=number)
        scene.to_geotiff(folder / f"scene_2023010{number}.tif")


@pytest.mark.parametrize("document", [pytest.param(d, marks=pytest.mark.slow if d in LONG else ()) for d in THERE])
def test_python_of_the_documents_runs(cw, tmp_path, monkeypatch, document):
    furnish_for_python(tmp_path, document, cw)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    ran = 0
    for line, kind, text, shown in steps(document):
        if text.startswith("# not run: "):
            continue
        try:
            if kind == "block":
                run_block(document, line, text, shown, names)
            elif kind == "expression":
                compute(eval(text, names))
            elif document in COMPARED:
                cw(*shlex.split(text), json=False, cwd=tmp_path).ok()
                continue
            else:
                continue
        except Exception as error:
            raise AssertionError(f"{document}:{line}: {text}\n{type(error).__name__}: {error}") from error
        ran += 1
    assert ran >= 1, f"{document} shows no Python"
    assert not [p for p in tmp_path.rglob("*") if p.name.endswith(".part")]


@pytest.mark.parametrize("document", [d for d in COMPARED if d in THERE])
def test_a_row_that_compares_shows_a_command_or_says_that_there_is_none(document):
    for line, commands, expressions in rows(document):
        cells = (ROOT / document).read_text().splitlines()[line - 1]
        assert commands or "–" in cells or "see below" in cells, f"{document}:{line}"
        assert expressions or "–" in cells or "see below" in cells, f"{document}:{line}"
