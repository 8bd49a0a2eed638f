"""The examples of `chunkwise COMMAND --help` run, one after the other, beside what the demo made.

    $ .venv/bin/python -m pytest tests/python/test_examples.py
"""

import re
import shlex

import pytest

from test_command_line import COMMANDS


@pytest.fixture(scope="module")
def folder(cw, tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    cw("demo", json=False, cwd=folder).ok()
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_each_command_run(cw, folder, command, tmp_path):
    shown = cw(command, "--help", json=False).ok().out.decode()
    text = re.split(r"^Examples?\b.*:$", shown, flags=re.MULTILINE)
    assert len(text) == 2, shown
    lines = [line for line in text[1].splitlines() if line.strip()]
    # Long lines are broken: what goes on is set in no less.
    examples = [" ".join(part.split()) for part in re.split(r"\n(?=\s*chunkwise )", "\n".join(lines))]
    assert examples and all(e.startswith("chunkwise ") for e in examples), lines
    here = tmp_path / "here"
    here.mkdir()
    (here / "chunkwise-demo").symlink_to(folder / "chunkwise-demo") if command != "demo" else None
    for example in examples:
        words = shlex.split(example)
        assert command in {shlex.split(e)[1] for e in examples}
        cw(*words[1:], json=False, cwd=here).ok()
