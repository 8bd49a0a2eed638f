"""Runs the notebooks and keeps what they show, without what changes from run to run.

    python examples/notebooks-tools/run.py [NOTEBOOK …]

The data are those of CHUNKWISE_DATA (`../shared/data` beside the project otherwise).
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

EXAMPLES = Path(__file__).resolve().parents[1]
#: What a notebook may take in the repository.
MOST = 1 << 20


def executed(path: Path, folder: Path, data: Path) -> nbformat.NotebookNode:
    """A notebook, run in a folder of its own."""
    notebook = nbformat.read(path, as_version=4)
    os.environ.update(CHUNKWISE_DATA=str(data), NOTEBOOK_FOLDER=str(folder))
    how = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources=how, record_timing=False)
    return client.execute()


def kept(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """The notebook without warnings, paths of this machine, names in memory, and what is said twice."""
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.outputs = [o for o in cell.outputs if not (o.output_type == "stream" and o.name == "stderr")]
        for output in cell.outputs:
            # The SVG stays, which shows everywhere.
            data = output.get("data", {})
            data.pop("application/vnd.vegalite.v5+json", None)
            for kind in ("text/plain", "text/html"):
                if kind in data:
                    data[kind] = _plain(data[kind], folder)
            if output.output_type == "stream":
                output.text = _plain(output.text, folder)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def _plain(text: str, folder: Path) -> str:
    return re.sub(r"( at) 0x[0-9a-f]+", r"\1 0x…", text.replace(str(folder), "…"))


def main() -> None:
    data = Path(os.environ.get("CHUNKWISE_DATA") or EXAMPLES.parents[1] / "shared" / "data").resolve()
    for path in [Path(p) for p in sys.argv[1:]] or sorted(EXAMPLES.glob("*.ipynb")):
        with tempfile.TemporaryDirectory(prefix="notebook-") as folder:
            notebook = kept(executed(path, Path(folder), data), Path(folder))
        nbformat.validate(notebook)
        text = nbformat.writes(notebook)
        if len(text.encode()) > MOST:
            raise SystemExit(f"{path.name} takes {len(text.encode()):,} bytes, at most {MOST:,} are kept")
        path.write_text(text + "\n", encoding="utf-8")
        sys.stdout.write(f"{path.name}: {len(text.encode()):,} bytes\n")


if __name__ == "__main__":
    main()
