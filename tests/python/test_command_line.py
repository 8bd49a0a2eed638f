"""What comes with the binary: completion scripts and manual pages; and options that are given twice.

    $ .venv/bin/python -m pytest tests/python/test_command_line.py
"""

import re
import shutil
import subprocess

import numpy as np
import pytest
import zarr

from small import build

COMMANDS = ["demo", "info", "ls", "attrs", "create", "import", "append", "stats", "reduce", "calc", "series", "zonal", "compare", "verify", "completions", "man"]


def bash(script):
    return subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True).stdout


# --- completions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words, offered", [(["chunkwise", ""], COMMANDS), (["chunkwise", "reduce", "--"], ["--over", "--with", "--memory", "--json"]), (["chunkwise", "completions", ""], ["bash", "zsh", "fish"])])
def test_bash_offers_commands_and_their_options(cw, tmp_path, words, offered):
    script = tmp_path / "chunkwise.bash"
    script.write_bytes(cw("completions", "bash", json=False).ok().out)
    subprocess.run(["bash", "-n", script], check=True)
    typed = " ".join(f"'{w}'" for w in words)
    asked = f"COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; _chunkwise chunkwise '{words[-1]}' '{words[-2]}'"
    found = bash(f'source {script}; {asked}; printf "%s\\n" "${{COMPREPLY[@]}}"').split()
    assert set(offered) <= set(found), found


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "elvish", "powershell"])
def test_each_shell_has_a_script_that_names_all_commands(cw, shell):
    script = cw("completions", shell, json=False).ok().out.decode()
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", script), f"{shell}: no `{command}`"


def test_an_unknown_shell_is_refused_with_those_that_there_are(cw):
    cw("completions", "tcsh").refused("tcsh", "bash", "zsh", "fish")


# --- manual pages -----------------------------------------------------------------------------------------------------


def test_manual_pages_of_all_commands_are_written_and_render(cw, tmp_path):
    cw("man", "-o", tmp_path / "man", json=False).ok()
    pages = {p.name: p.read_text() for p in (tmp_path / "man").iterdir()}
    assert set(pages) == {"chunkwise.1"} | {f"chunkwise-{c}.1" for c in COMMANDS}
    assert all(page.count("\n.SH NAME\n") == 1 for page in pages.values())
    if shutil.which("groff"):
        reduce = tmp_path / "man" / "chunkwise-reduce.1"
        text = subprocess.run(["groff", "-man", "-Kutf8", "-Tutf8", "-P-c", "-ww", reduce], capture_output=True, text=True, check=True)
        shown = re.sub(".\b", "", text.stdout)  # bold is typed twice
        assert "--over" in shown and "Statistics over dimensions" in shown
        assert not re.search("error|undefined|unknown", text.stderr, re.IGNORECASE), text.stderr


def test_one_page_goes_to_stdout(cw):
    page = cw("man", "reduce", json=False).ok().out.decode()
    assert "chunkwise\\-reduce" in page and "\\-\\-over" in page
    assert cw("man", json=False).ok().out.startswith(b".")
    cw("man", "reduse").refused("reduse", "reduce")


# --- names that are given twice ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    values = np.arange(12.0).reshape(3, 4)
    return build(tmp_path_factory.mktemp("two") / "c.zarr", {"a": (("time", "x"), values), "b": (("time", "x"), values + 1)})


@pytest.mark.parametrize("options, once", [(["--with", "mean,mean"], ["--with", "mean"]), (["--with", "max,mean,max"], ["--with", "max,mean"])])
def test_a_statistic_that_is_named_twice_counts_once(cw, two, options, once):
    words = ["reduce", two, "--over", "time", *options]
    assert cw(*words).ok().json == cw("reduce", two, "--over", "time", *once).ok().json


def test_a_variable_or_dimension_that_is_named_twice_counts_once(cw, two, tmp_path):
    once = cw("reduce", two, "--var", "a", "--over", "time", "--with", "mean").ok().json
    assert cw("reduce", two, "--var", "a", "--var", "a", "--over", "time,time", "--with", "mean").ok().json == once
    assert cw("stats", two, "--var", "a", "--var", "a").ok().json == cw("stats", two, "--var", "a").ok().json
    cw("reduce", two, "--var", "a", "--var", "a", "--over", "time", "--with", "mean", "-o", tmp_path / "o.zarr").ok()
    rows = cw("series", two, "--var", "a", "--var", "a", "--iat", "x=1").ok().json
    assert [r["a"] for r in rows] == [1, 5, 9]


@pytest.mark.parametrize("words", [["--sel", "x=1", "--sel", "x=2"], ["--isel", "x=1", "--isel", "x=2"], ["--calc", "f = a", "--calc", "f = b"]])
def test_what_contradicts_itself_is_refused(cw, two, words):
    cw("reduce", two, "--over", "time", "--with", "mean", *words).refused("once|two formulas")


def test_a_table_too_long_to_print_is_explained(cw, tmp_path):
    path = tmp_path / "cube.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.create_array("v", shape=(4, 400, 400), chunks=(1, 200, 200), dtype="uint16", dimension_names=["t", "y", "x"])
    cw("reduce", path, "--over", "t", "--with", "median").refused("160000 rows")
    told = cw("reduce", path, "--over", "t", "--with", "median", "--explain").ok()
    assert told.json["chunks"] == 16
