"""Pictures: SVG and Vega-Lite in a notebook, PNG, SVG, pages and Vega-Lite in files."""

from __future__ import annotations

import json
import os
import re
import tempfile
import textwrap
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from html import escape
from typing import Any, Unpack

from ._lazy import _crs_text
from ._options import Limits, path_text
from ._words import explained, limit_words, option, resources, run
from .errors import ExistsError, ValueRefusedError, in_python

#: What JupyterLab and VS Code draw; version 6 is known to few of them, and charts are the same in both.
_VEGA_LITE = "application/vnd.vegalite.v5+json"
_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
#: Width in pixels of what is shown, where nothing else is said: that of a notebook's column.
_SHOWN_WIDTH = 720
#: A specification of more bytes is left out of notebooks: the SVG shows the same.
_MOST = 512 << 10


class Plot:
    """A picture that shows in Jupyter, VS Code, on GitHub and in exported HTML, without a network.

    It is drawn once, as SVG. Charts also show as Vega-Lite where that is known, with values under the pointer; the
    specification and the page are made when they are asked for, by another run of the job.
    """

    def __init__(self, title: str, svg: str, notes: list[str], is_map: bool, draw: Callable[[str], bytes]) -> None:
        self.title = title
        #: What is said of the picture; it stands under it.
        self.notes = notes
        #: Whether it is a map, rather than a chart.
        self.is_map = is_map
        #: The picture as SVG.
        self.svg = _noted(svg, notes)
        self._draw = draw
        self._spec: dict[str, Any] | None = None

    @property
    def spec(self) -> dict[str, Any]:
        """The Vega-Lite specification, with its data."""
        if self._spec is None:
            self._spec = json.loads(self._draw(".json"))
        return self._spec

    @property
    def page(self) -> str:
        """The picture as a page of its own, which draws the specification and loads nothing."""
        return self._draw(".html").decode()

    @property
    def png(self) -> bytes:
        """The picture as PNG."""
        return self._draw(".png")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        # No `text/html`: where it is known it would be taken, and GitHub shows no SVG that stands in it.
        del include, exclude
        bundle: dict[str, Any] = {"image/svg+xml": self.svg, "text/plain": repr(self)}
        # A map in Vega-Lite is the same pixels once more.
        if not self.is_map and len(self.svg) < _MOST:
            spec = {**self.spec, "$schema": _SCHEMA}
            if len(json.dumps(spec)) < _MOST:
                bundle[_VEGA_LITE] = spec
        return bundle

    def save(self, path: Any, *, overwrite: bool = False) -> None:
        """Writes the picture: `.svg`, `.png`, `.html` (a page of its own) or `.json` (Vega-Lite)."""
        text = path_text(path)
        ending = os.path.splitext(text)[1].lower()
        if ending not in (".svg", ".png", ".html", ".json"):
            raise ValueRefusedError(f"`{text}`: a picture is saved as `.svg`, `.png`, `.html` or `.json` (Vega-Lite)")
        if os.path.exists(text) and not overwrite:
            raise ExistsError(f"`{text}` exists", "`overwrite=True` replaces it")
        if ending == ".svg":
            content = self.svg.encode()
        elif ending == ".json":
            content = json.dumps(self.spec).encode()
        else:
            content = self._draw(ending)
        with open(text, "wb") as file:
            file.write(content)

    def __repr__(self) -> str:
        return "\n".join([f"<chunkwise.Plot: {self.title}>", *(f"    {note}" for note in self.notes)])


def _noted(svg: str, notes: list[str]) -> str:
    """An SVG with notes under it."""
    found = re.match(r'(<svg [^>]*?)width="(\d+)" height="(\d+)" viewBox="0 0 \2 \3"', svg)
    if not notes or not found:
        return svg
    width, height = int(found[2]), int(found[3])
    notes = [line for note in notes for line in textwrap.wrap(note, max(20, width // 7))]
    below = 18 * len(notes) + 6
    lines = "".join(
        f'<text x="12" y="{height + 12 + 18 * i}" font-size="12" fill="#5a5a5a">{escape(note)}</text>'
        for i, note in enumerate(notes)
    )
    head = f'{found[1]}width="{width}" height="{height + below}" viewBox="0 0 {width} {height + below}"'
    ground = f'<rect y="{height}" width="{width}" height="{below}" fill="#ffffff"/>'
    return head + svg[found.end() :].replace("</svg>", f"{ground}{lines}</svg>")


def plot(
    lazy: Any,
    *,
    path: Any = None,
    overwrite: bool = False,
    palette: str | None = None,
    range: tuple[float, float] | None = None,
    stretch: tuple[float, float] | None = None,
    rgb: tuple[str, str, str] | None = None,
    hist: bool = False,
    bins: int | None = None,
    zones: Any = None,
    zone_id: str | None = None,
    outlines: Any = None,
    zones_crs: Any = None,
    statistics: str | tuple[str, ...] | None = None,
    width: int | None = None,
    height: int | None = None,
    title: str | None = None,
    reduce: str | None = None,
    memory: int | str | None = None,
    threads: int | None = None,
    progress: Any = None,
    explain: bool = False,
    **limits: Unpack[Limits],
) -> Any:
    """A map where two dimensions are left, a chart where one is, bars of ``zones``, a histogram with ``hist=True``.

    Large maps are made smaller while they are read (``reduce``: `mean`, `mode`, `nearest`), to ``width`` pixels. Colours:
    ``palette`` (`viridis`, `RdYlGn`, `greens` …, with `_r` turned round), between percentiles ``stretch=(2, 98)`` or the
    values ``range=(lo, hi)``. ``rgb`` names three bands, variables or formulas. ``outlines`` draws polygons over a map.
    With ``path`` the picture is written (`.png`, `.svg`, `.html`, `.json`) and nothing is given. With ``explain=True``
    nothing is read.
    """
    # Three bands name what is shown.
    query = lazy._query if rgb is None else replace(lazy._query, variables=())
    pair = lambda two: None if two is None else f"{two[0]},{two[1]}"  # noqa: E731
    words = ["plot", *lazy._source.words(), *query.words()]
    if statistics is not None:
        words += ["--with", statistics if isinstance(statistics, str) else ",".join(statistics)]
    if path is None and width is None and height is None:
        width = _SHOWN_WIDTH
    words += [
        *option("palette", palette), *option("range", pair(range)), *option("stretch", pair(stretch)),
        *option("rgb", None if rgb is None else ",".join(rgb)), *option("hist", hist), *option("bins", bins),
        *option("width", width), *option("height", height), *option("title", title), *option("reduce", reduce),
        *option("zone-id", zone_id),
    ]  # fmt: skip
    words += [*resources(memory, threads), *limit_words(**limits)]

    def written(output: str) -> tuple[Any, list[str]]:
        """Draws into a file; what is told of the picture, and its notes."""
        from ._tables import features

        with ExitStack() as open_:
            crs, files = None if zones_crs is None else _crs_text(zones_crs), []
            for name, given in (("zones", zones), ("outlines", outlines)):
                if given is not None:
                    file, own, _ = open_.enter_context(features(given, zones_crs, name))
                    crs = crs or own
                    files.append(f"--{name}={file}")
            asked = [*words, *files, *option("zones-crs", crs), f"--output={output}", *option("overwrite", overwrite)]
            if explain:
                return explained(asked), []
            _, text, notes, _ = run([*asked, "--json"], progress=progress, quiet=False)
        return json.loads(text), [in_python(note) or note for note in notes]

    if explain:
        return written("plot.svg" if path is None else path_text(path))[0]
    if path is not None:
        written(path_text(path))
        return None

    def drawn(ending: str) -> tuple[dict[str, Any], list[str], bytes]:
        with tempfile.TemporaryDirectory(prefix="chunkwise-") as folder:
            file = os.path.join(folder, f"plot{ending}")
            told, notes = written(file)
            with open(file, "rb") as opened:
                return told, notes, opened.read()

    told, notes, svg = drawn(".svg")
    return Plot(told["title"], svg.decode(), notes, "cells" in told, lambda ending: drawn(ending)[2])
