"""What cubes, arrays, plans, tables and verdicts look like: as text, and in a notebook."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable
from html import escape
from typing import Any

import numpy as np

from .errors import ChunkwiseError

#: Of long lists, so many are shown: a picture of a cube stays small whatever it holds.
_VARIABLES, _NAMES, _ATTRIBUTES, _COORDINATES = 40, 1000, 60, 24
_LINES = 60
#: Files that are looked at to tell what a cube takes on disk.
_FILES = 4000

# Colours are those of JupyterLab or VS Code where these are; elsewhere light or dark as the reader's system is.
_STYLE = """<style>
.cw-text{display:none}
.cw{display:block!important;--i:var(--jp-content-font-color0,var(--vscode-editor-foreground,#1f2328));
--s:var(--jp-content-font-color2,var(--vscode-descriptionForeground,#656d76));
--l:var(--jp-border-color2,var(--vscode-panel-border,#d8dee4));--b:var(--jp-layout-color0,var(--vscode-editor-background,#fff));
--f:var(--jp-layout-color2,var(--vscode-textCodeBlock-background,#f3f5f7));--a:#3a8fb7;--g:#36a064;--r:#d9534f;
box-sizing:border-box;max-width:900px;padding:10px 14px;border:1px solid var(--l);border-radius:6px;color:var(--i);background:var(--b);
font:13px/1.5 var(--jp-content-font-family,system-ui,"Segoe UI",Helvetica,Arial,sans-serif);overflow-x:auto}
@media(prefers-color-scheme:dark){.cw{--i:var(--jp-content-font-color0,var(--vscode-editor-foreground,#e6edf3));
--s:var(--jp-content-font-color2,var(--vscode-descriptionForeground,#9198a1));--l:var(--jp-border-color2,var(--vscode-panel-border,#3d444d));
--b:var(--jp-layout-color0,var(--vscode-editor-background,#16191d));--f:var(--jp-layout-color2,var(--vscode-textCodeBlock-background,#262c33))}}
.cw *{box-sizing:border-box}.cw-s{color:var(--s)}
.cw-head{display:flex;flex-wrap:wrap;gap:2px 10px;align-items:baseline;padding-bottom:6px;margin-bottom:8px;border-bottom:1px solid var(--l)}
.cw-kind{font-weight:600;color:var(--a)}.cw-name{font-weight:600;overflow-wrap:anywhere}.cw-end{margin-left:auto;color:var(--s)}
.cw-chip{display:inline-block;padding:0 8px;margin:0 6px 4px 0;border-radius:10px;background:var(--f);white-space:nowrap}
.cw-chip b{font-weight:600;margin-right:5px}
.cw code,.cw pre{font-family:var(--jp-code-font-family,var(--vscode-editor-font-family,ui-monospace,Menlo,Consolas,monospace));
font-size:12px;color:inherit;background:var(--f);border-radius:3px;padding:1px 4px;overflow-wrap:anywhere;white-space:pre-wrap}
.cw pre{padding:6px 8px;margin:4px 0}.cw p{margin:4px 0 6px}
.cw table{border-collapse:collapse;margin:2px 0 8px;font-size:13px;color:inherit;border:0}
.cw th,.cw td{padding:2px 14px 2px 0;text-align:left!important;vertical-align:top;border:0;background:none;max-width:420px;overflow-wrap:anywhere}
.cw thead th{font-weight:400;color:var(--s);font-size:12px;border-bottom:1px solid var(--l);white-space:nowrap}
.cw thead small{display:block;font-size:10px;opacity:.75}
.cw tbody tr:nth-child(n){background:none}.cw tbody tr:nth-child(n):hover{background:var(--f)}
.cw .cw-n{text-align:right!important;font-variant-numeric:tabular-nums;white-space:nowrap}
.cw-cols{display:flex;flex-wrap:wrap;gap:4px 28px;align-items:flex-start}.cw-cols>div{min-width:0}
.cw-h{font-size:11px;letter-spacing:.04em;text-transform:uppercase;color:var(--s);margin:6px 0 0}
.cw details{margin:4px 0}.cw summary{cursor:pointer;color:var(--s)}
.cw-bar{display:block;width:130px;height:5px;margin:2px 0 1px;border-radius:3px;background:var(--f);overflow:hidden}
.cw-bar i{display:block;height:100%;background:var(--a)}.cw-bar .cw-much{background:var(--r)}
.cw-ok{color:var(--g);font-weight:600}.cw-no{color:var(--r);font-weight:600}
.cw svg{display:block;margin:4px 0}.cw svg rect,.cw svg path{vector-effect:non-scaling-stroke}
</style>"""


# --- words ------------------------------------------------------------------------------------------------------------


def size_text(size: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return ""


def _label(value: Any) -> str:
    if isinstance(value, (float, np.floating)):
        return f"{value:.10g}"
    text = str(value)
    return text[:19].replace("T00:00:00", "") if len(text) > 19 else text.replace("T00:00:00", "")


def _labels(values: Any) -> str:
    if len(values) > 4:
        return f"{_label(values[0])} {_label(values[1])} … {_label(values[-1])}"
    return " ".join(_label(v) for v in values)


def _clip(value: Any, most: int) -> str:
    """Text of no more than so many characters, all of which show."""
    text = value if isinstance(value, str) else str(value)
    text = text[: most - 1] + "…" if len(text) > most else text
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in text)


def _e(value: Any, most: int = 80) -> str:
    return escape(_clip(value, most))


def _code(value: Any, most: int = 400) -> str:
    return f"<code>{_e(value, most)}</code>"


def _times(counts: Iterable[int]) -> str:
    return " × ".join(f"{n:,}" for n in counts)


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


# --- as text ----------------------------------------------------------------------------------------------------------


def cube_text(cube: Any) -> str:
    """A cube as text."""
    query, about = cube._query, cube._source.about
    sizes = ", ".join(f"{d}: {n}" for d, n in cube.sizes.items())
    lines = [f"<chunkwise.Cube {cube._source.shown}>", f"Dimensions:  ({sizes})"]
    if cube.crs:
        lines.append(f"CRS:         {cube.crs}")
    coords = _own_coords(cube)
    if coords:
        lines.append("Coordinates:")
        lines += [f"    {d:<12} {_labels(v)}" for d, v in coords.items()]
    lines.append("Variables:")
    names, formulas = list(cube), dict(query.formulas)
    for name in names[:_VARIABLES]:
        if name in formulas:
            lines.append(f"    {name:<12} = {formulas[name]}")
        else:
            v = about["by_name"][name]
            dims = ", ".join(v["dims"])
            dtype = v["decoded_dtype"] or v["dtype"]
            lines.append(f"    {name:<12} ({dims}) {dtype}, chunks {v['chunks']}, {v['codecs']}")
    if len(names) > _VARIABLES:
        lines.append(f"    … and {len(names) - _VARIABLES:,} more")
    lines += _asked(query)
    return "\n".join(lines)


def _own_coords(lazy: Any) -> dict[str, Any]:
    """Labels of the dimensions of a result."""
    sizes = lazy.sizes
    return {d: v for d, v in lazy.coords.items() if np.ndim(v) == 1 and sizes.get(d) == len(v)}


def _asked(query: Any) -> list[str]:
    lines = []
    if query.mask:
        lines.append(f"Where:       {query.mask}")
    if query.statistics:
        over = "all dimensions" if query.over == "all" else ", ".join(query.over or ())
        by = query.cycle or ", ".join(query.windows)
        by = f" by {by}" if by and over else "" if over else by
        lines.append(f"Statistics:  {', '.join(query.statistics)} over {over}{by}")
    return lines


def _type(array: Any) -> Any:
    """What an array gives; of text, and of what the engine cannot compute, what is stored."""
    try:
        return array.dtype
    except ChunkwiseError:
        if array._variable is None:
            raise
        return array._variable["dtype"]


def array_text(array: Any) -> str:
    """An array as text."""
    sizes = ", ".join(f"{d}: {n}" for d, n in array.sizes.items())
    lines = [f"<chunkwise.Array '{array.name}' ({sizes}) {_type(array)}>"]
    if array._query.formulas:
        lines.append(f"Formula:     {array._query.formulas[0][1]}")
    lines += _asked(array._query)
    coords = _own_coords(array)
    if coords:
        lines.append("Coordinates:")
        lines += [f"    {d:<12} {_labels(v)}" for d, v in coords.items()]
    return "\n".join(lines)


def plan_text(explanation: Any) -> str:
    """A plan as text."""
    f = explanation.figures
    lines = [f"<chunkwise plan: {explanation.command}>"]
    for s in f["stages"]:
        lines.append(
            f"    {s['name']}: {s['chunks']:,} chunks, {s['requests']:,} requests, "
            f"{size_text(s['decoded_bytes'])} decoded ({s['amplification']:.1f} ×), "
            f"{s['partitions']:,} partitions, result {size_text(s['output_bytes'])}"
        )
    lines.append(f"    memory {size_text(f['memory_bytes'])} on {f['threads']} threads")
    return "\n".join(lines)


# --- what is asked ----------------------------------------------------------------------------------------------------


def _cells_html(lazy: Any, dim: str, cells: Any) -> str:
    """Which cells of a dimension, by their labels."""
    if dim in lazy._source.about["by_name"]:
        values = lazy._source.label_values(dim)
        label = lambda i: _e(_label(values[i]))  # noqa: E731
    else:
        label = lambda i: f"index {i:,}"  # noqa: E731
    if isinstance(cells, int):
        return f"{_e(dim)} {label(cells)}"
    if len(cells) == 1:
        return f"{_e(dim)} {label(cells[0])}"
    every = f", every {cells.step:,}th" if isinstance(cells, range) and cells.step != 1 else ""
    return f"{_e(dim)} {label(cells[0])} … {label(cells[-1])} ({len(cells):,} cells{every})"


def asked_html(lazy: Any) -> str:
    """What is asked as a sentence, and the command that asks the same; nothing of a cube as it is."""
    query = lazy._query
    if not (query.formulas or query.mask or query.cells or query.statistics):
        return ""
    what = [_code(f"{name} = {text}") for name, text in query.formulas[:8]]
    what += [_code(v, 80) for v in query.variables[:8]]
    more = len(query.formulas) + len(query.variables) - len(what)
    named = _and([*what, f"{more:,} more"] if more else what) if what else "all variables"
    groups = f"for each {_e(query.cycle)}" if query.cycle else ""
    if query.windows:
        windows = re.sub(r"(\d)(?=[a-z])", r"\1 ", ", ".join(query.windows).replace("=", " "))
        groups = f"in windows of {_e(windows)}"
    if query.anomaly:
        sentence = f"{named}, less its {_and(list(query.statistics))} {groups}"
    elif query.statistics:
        over = ""
        if query.over == "all":
            over = " over all dimensions"
        elif query.over:
            over = f" over {_and([_e(d) for d in query.over])}"
        sentence = f"The {_and(list(query.statistics))} of {named}{over}{' ' if groups else ''}{groups}"
    else:
        sentence = named
    if query.mask:
        sentence += f", where {_code(query.mask)}"
    cells = [_cells_html(lazy, d, c) for d, c in list(query.cells.items())[:8]]
    if cells:
        sentence += f", at {'; '.join(cells)}"
    command = f"<details><summary>on the command line</summary><pre>{_e(lazy.command(), 2000)}</pre></details>"
    return f"<p>{sentence}{'' if sentence == named else '.'}</p>{command}"


# --- parts ------------------------------------------------------------------------------------------------------------


def _whole(text: str, html: str) -> str:
    """A picture, and the text that stands in where styles are not taken (GitHub, notebooks that are not trusted)."""
    lines = text.split("\n")
    lines = [_clip(line, 300) for line in lines[:_LINES]] + (["…"] if len(lines) > _LINES else [])
    plain = escape("\n".join(lines))
    return f'{_STYLE}<pre class="cw-text">{plain}</pre><div class="cw" style="display:none">{html}</div>'


def _head(kind: str, name: str, end: list[str]) -> str:
    right = " · ".join(e for e in end if e)
    return (
        f'<div class="cw-head"><span class="cw-kind">{escape(kind)}</span><span class="cw-name">{_e(name, 160)}</span>'
        f'<span class="cw-end">{right}</span></div>'
    )


def _chips(sizes: dict[str, int]) -> str:
    shown = list(sizes.items())[:_COORDINATES]
    chips = "".join(f'<span class="cw-chip"><b>{_e(d, 60)}</b>{n:,}</span>' for d, n in shown)
    return f"<div>{chips or _soft('one value, no dimensions')}</div>"


def _soft(text: str) -> str:
    return f'<span class="cw-s">{escape(text)}</span>'


def _coords(lazy: Any, coords: dict[str, Any]) -> str:
    """Coordinates: their labels, step and unit."""
    rows = []
    for dim, values in list(coords.items())[:_COORDINATES]:
        labels = np.asarray(values).reshape(-1)
        # Months and seasons of a statistic are no variable of the cube.
        own = {"attrs": {}, "is_time": False, "decoded_dtype": None, "dtype": str(labels.dtype)}
        about = lazy._source.about["by_name"].get(dim, own)
        units = about["attrs"].get("units", "")
        is_number = labels.dtype.kind in "iuf"
        if labels.dtype.kind in "UO" and not about["is_time"] and len(labels) <= 12:
            shown = ", ".join(_e(v, 24) for v in labels)
        else:
            shown = " … ".join(_e(_label(v), 40) for v in (labels[[0, -1]] if len(labels) > 1 else labels))
        step = ""
        if is_number and len(labels) > 2:
            first = float(labels[1]) - float(labels[0])
            last = float(labels[-1]) - float(labels[-2])
            step = f"step {first:.6g}" if math.isclose(first, last, rel_tol=1e-4) else "unequal steps"
        unit = "" if about["is_time"] else _e(units, 40)
        dtype = "time" if about["is_time"] else _e(about["decoded_dtype"] or about["dtype"], 24)
        rows.append(
            f"<tr><td><b>{_e(dim, 60)}</b></td><td>{shown}</td><td>{_soft(step)}</td>"
            f'<td class="cw-s">{unit}</td><td class="cw-s">{dtype}</td></tr>'
        )
    return f'<div class="cw-h">Coordinates</div><table><tbody>{"".join(rows)}</tbody></table>' if rows else ""


def _beside(left: str, right: str) -> str:
    return f'<div class="cw-cols">{f"<div>{left}</div>" if left else ""}{right}</div>' if left or right else ""


def _bytes_of(about: dict[str, Any]) -> int | None:
    """Bytes of the stored values of a variable, before they are compressed."""
    try:
        return math.prod(about["shape"]) * np.dtype(about["dtype"]).itemsize
    except TypeError:
        return None


def _attrs(attrs: dict[str, Any]) -> str:
    if not attrs:
        return ""
    rows = ""
    for key, value in list(attrs.items())[:_ATTRIBUTES]:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        rows += f'<tr><td class="cw-s">{_e(key)}</td><td>{_e(text, 400)}</td></tr>'
    if len(attrs) > _ATTRIBUTES:
        rows += f"<tr><td></td><td>… and {len(attrs) - _ATTRIBUTES:,} more</td></tr>"
    count = f"{len(attrs):,} attribute{'' if len(attrs) == 1 else 's'}"
    return f"<details><summary>{count}</summary><table><tbody>{rows}</tbody></table></details>"


def _on_disk(source: Any) -> str:
    """What a cube in a folder takes on disk, where it has few files."""
    if source.objects is not None or not os.path.isdir(source.location):
        return ""
    total = seen = 0
    folders = [source.location]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                seen += 1
                if seen > _FILES:
                    return ""
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    return f"{size_text(total)} on disk"


# --- chunks -----------------------------------------------------------------------------------------------------------


def _lines(length: int, chunk: int, side: float, most: int = 32) -> list[float]:
    """Where the borders of chunks are drawn: of very many, only as many as can be told apart."""
    count = max(1, -(-length // max(1, chunk)))
    if count <= most:
        return [i * chunk * side / length for i in range(1, count)]
    return [i * side / most for i in range(1, most)]


def _chunks(lazy: Any, about: dict[str, Any]) -> str:
    """The grid of chunks along the last two dimensions; what is selected is filled."""
    shape, chunks, shards = about["shape"], about["chunks"], about["shards"]
    if not shape or 0 in shape or len(chunks) != len(shape):
        return ""
    grid = [-(-n // max(1, c)) for n, c in zip(shape, chunks, strict=True)]
    ny, nx = (shape[-2], shape[-1]) if len(shape) > 1 else (1, shape[-1])
    cy, cx = (chunks[-2], chunks[-1]) if len(shape) > 1 else (1, chunks[-1])
    ratio = min(4.0, max(0.25, nx / ny)) if len(shape) > 1 else 6.0
    w, h = (120.0, max(20.0, 120 / ratio)) if ratio >= 1 else (max(30.0, 120 * ratio), 120.0)
    behind = min(3, math.prod(grid[:-2]) - 1) if len(shape) > 2 else 0
    parts = [
        f'<rect x="{5 * i + 1}" y="{5 * (behind - i) + 1}" width="{w:.0f}" height="{h:.0f}" '
        'fill="var(--b)" stroke="var(--s)"/>'
        for i in range(behind, 0, -1)
    ]
    top = 5 * behind + 1
    parts.append(f'<rect x="1" y="{top}" width="{w:.0f}" height="{h:.0f}" fill="var(--f)" stroke="var(--i)"/>')
    dims, cells = about["dims"], lazy._query.cells
    spans = []
    for dim, length, side in ((dims[-2] if len(dims) > 1 else "", ny, h), (dims[-1], nx, w)):
        taken = cells.get(dim)
        taken = range(length) if taken is None else (taken,) if isinstance(taken, int) else taken
        low, high = min(taken), max(taken) + 1
        spans.append((low * side / length, max(2.0, (high - low) * side / length)))
    if any(d in cells for d in dims[-2:]):
        (y, tall), (x, wide) = spans
        parts.append(
            f'<rect x="{1 + x:.1f}" y="{top + y:.1f}" width="{wide:.1f}" height="{tall:.1f}" '
            'fill="var(--a)" fill-opacity=".55"/>'
        )

    def grid_path(of: tuple[int, int], width: float, colour: str) -> str:
        path = "".join(f"M{1 + x:.1f} {top}v{h:.0f}" for x in _lines(nx, of[1], w))
        path += "".join(f"M1 {top + y:.1f}h{w:.0f}" for y in _lines(ny, of[0], h))
        return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>' if path else ""

    parts.append(grid_path((cy, cx), 0.7, "var(--s)"))
    if shards:
        parts.append(grid_path((shards[-2] if len(shape) > 1 else 1, shards[-1]), 1.8, "var(--a)"))
    width, height = w + 5 * behind + 2, h + 5 * behind + 2
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}"><title>chunks along {_e(", ".join(dims[-2:]))}</title>'
        f"{''.join(parts)}</svg>"
    )
    bytes_ = _bytes_of(about)
    each = "" if bytes_ is None else f", {size_text(bytes_ / math.prod(shape) * math.prod(chunks))} each"
    said = f"{math.prod(grid):,} chunk{'s' if math.prod(grid) > 1 else ''} of {_times(chunks)}{each}"
    if shards:
        count = math.prod(-(-n // max(1, s)) for n, s in zip(shape, shards, strict=True))
        said += f"<br>in {count:,} shard{'s' if count > 1 else ''} of {_times(shards)}"
    return f'<div><div class="cw-h">Chunks of {_e(about["name"], 40)}</div>{svg}<div class="cw-s">{said}</div></div>'


# --- as HTML ----------------------------------------------------------------------------------------------------------


def _variables(cube: Any, names: list[str]) -> str:
    """Variables and formulas, a row each; of very many, names alone."""
    formulas, rows = dict(cube._query.formulas), ""
    by_name = cube._source.about["by_name"]
    for name in names[:_VARIABLES]:
        if name in formulas:
            rows += f'<tr><td><b>{_e(name, 60)}</b></td><td colspan="5">= {_code(formulas[name])}</td></tr>'
            continue
        v = by_name[name]
        stored, dtype, size = v["dtype"], v["decoded_dtype"] or v["dtype"], _bytes_of(v)
        kept = f'<br><span class="cw-s">stored as {_e(stored, 24)}</span>' if dtype != stored else ""
        note = v["attrs"].get("long_name") or v["attrs"].get("standard_name") or ""
        said = f'<br><span class="cw-s">{_e(note, 60)}</span>' if note else ""
        problem = f'<br><span class="cw-no">{_e(v["problem"], 200)}</span>' if v.get("problem") else ""
        rows += (
            f"<tr><td><b>{_e(name, 60)}</b>{said}{problem}</td><td>{_e(', '.join(v['dims']), 80)}</td>"
            f"<td>{_e(dtype, 24)}{kept}</td><td>{_e(_times(v['chunks']), 60)}</td>"
            f'<td class="cw-n">{"" if size is None else size_text(size)}</td>'
            f'<td class="cw-s">{_e(v["codecs"], 80)}</td></tr>'
        )
    heads = '<th></th><th>dimensions</th><th>type</th><th>chunk</th><th class="cw-n">values</th><th>codecs</th>'
    table = f'<div class="cw-h">Variables</div><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    rest = names[_VARIABLES:]
    if rest:
        listed = ", ".join(_e(n, 60) for n in rest[:_NAMES]) + (" …" if len(rest) > _NAMES else "")
        table += f"<details><summary>{len(rest):,} more</summary><p>{listed}</p></details>"
    return table


def cube_html(cube: Any) -> str:
    """A cube in a notebook."""
    about, names = cube._source.about, list(cube)
    stored = [about["by_name"][n] for n in names if n in about["by_name"]]
    largest = max(stored, key=lambda v: math.prod(v["shape"]), default=None)
    kind = about["form"] or (f"Zarr v{about['zarr_format']}" if about["zarr_format"] else "")
    end = [_e(cube.crs, 60) if cube.crs else "", _e(kind, 40), _on_disk(cube._source)]
    title = about["attrs"].get("title")
    html = _head("Cube", cube._source.shown, end)
    html += (f"<p>{_e(title, 200)}</p>" if isinstance(title, str) and title else "") + _chips(cube.sizes)
    html += asked_html(cube)
    diagram = "" if largest is None else _chunks(cube, largest)
    html += _beside(_coords(cube, _own_coords(cube)), diagram) + _variables(cube, names)
    if about["groups"]:
        groups = ", ".join(_code(g, 60) for g in about["groups"][:_COORDINATES])
        html += f"<p>{_soft('groups below:')} {groups}</p>"
    return _whole(cube_text(cube), html + _attrs(about["attrs"]))


def array_html(array: Any) -> str:
    """An array in a notebook."""
    about, sizes = array._variable, array.sizes
    dtype = _type(array)
    takes = size_text(math.prod(sizes.values()) * dtype.itemsize) if isinstance(dtype, np.dtype) else ""
    html = _head("Array", array.name, [_e(dtype), takes])
    html += _chips(sizes) + asked_html(array)
    source = about
    if source is None:
        known = array._source.about["by_name"].values()
        source = max((v for v in known if v["role"] == "data"), key=lambda v: math.prod(v["shape"]), default=None)
    diagram = "" if source is None else _chunks(array, source)
    html += _beside(_coords(array, _own_coords(array)), diagram)
    kept = "" if about is None or str(dtype) == about["dtype"] else f"stored as {about['dtype']}, "
    said = "" if about is None else f"; {kept}{_clip(about['codecs'], 120)}"
    html += f"<p>{_soft('read from')} {_e(array._source.shown, 160)}{_soft(said)}</p>" + _attrs(array.attrs)
    return _whole(array_text(array), html)


def _bar(part: float, of: float) -> str:
    share = 0 if of <= 0 else min(1.0, part / of)
    much = ' class="cw-much"' if part > of else ""
    return f'<span class="cw-bar"><i{much} style="width:{100 * share:.1f}%"></i></span>'


def plan_html(explanation: Any) -> str:
    """A plan in a notebook: a row for each stage, and memory beside its budget."""
    f, rows = explanation.figures, ""
    stages = f.get("stages", [])[:_VARIABLES]
    if not stages:
        return _figures_html(explanation)
    all_bytes, all_requests = (sum(s[of] for s in stages) for of in ("decoded_bytes", "requests"))
    for s in stages:
        fetched = "" if s["encoded_bytes"] is None else _soft(f"{size_text(s['encoded_bytes'])} fetched")
        # `at most` and `estimate` are said, what is exact is not.
        how = "" if s["requests_are"] == "exact" else f" {_soft(str(s['requests_are']).replace('_', ' '))}"
        rows += (
            f'<tr><td><b>{_e(s["name"], 60)}</b></td><td class="cw-n">{s["chunks"]:,}</td>'
            f"<td>{s['requests']:,}{how}{_bar(s['requests'], all_requests)}</td>"
            f"<td>{size_text(s['decoded_bytes'])} {fetched}{_bar(s['decoded_bytes'], all_bytes)}</td>"
            f'<td class="cw-n">{s["amplification"]:,.1f} ×</td><td class="cw-n">{s["partitions"]:,}</td>'
            f'<td class="cw-n">{size_text(s["output_bytes"])}</td></tr>'
        )
    heads = '<th>stage</th><th class="cw-n">chunks</th><th>requests</th><th>bytes to decode</th>'
    heads += '<th class="cw-n">read / needed</th><th class="cw-n">partitions</th><th class="cw-n">result</th>'
    totals = f"{f['requests']:,} requests, {size_text(f['decoded_bytes'])} to decode"
    html = _head("Plan", totals, ["nothing is read yet"])
    asked = explanation._asked or f"<pre>{_e(explanation.command, 2000)}</pre>"
    html += f"{asked}<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>{_memory(explanation)}"
    return _whole(plan_text(explanation), html)


def _memory(explanation: Any) -> str:
    """Memory of a plan beside its budget."""
    memory, threads = explanation.figures.get("memory_bytes"), explanation.figures["threads"]
    budget = explanation.budget
    if memory is None:
        return ""
    of = f" of a budget of {size_text(budget)}" if budget else ""
    bar = _bar(memory, budget) if budget else ""
    return f"<p>Memory {size_text(memory)}{of}, on {threads} thread{'s' if threads != 1 else ''}{bar}</p>"


def _figures_html(explanation: Any) -> str:
    """A plan without stages: that of an import, a check."""
    rows = ""
    for key, value in list(explanation.figures.items())[:_ATTRIBUTES]:
        if value is None or isinstance(value, (list, dict)) or key == "threads":
            continue
        is_bytes = key.endswith("_bytes") and isinstance(value, (int, float))
        shown = size_text(value) if is_bytes else _value(value)
        name = _e(key.removesuffix("_bytes").replace("_", " "))
        rows += f'<tr><td class="cw-s">{name}</td><td class="cw-n">{shown}</td></tr>'
    html = _head("Plan", "", ["nothing is read yet"]) + f"<pre>{_e(explanation.command, 2000)}</pre>"
    return _whole(explanation._figures_text(), f"{html}<table><tbody>{rows}</tbody></table>{_memory(explanation)}")


def table_html(heads: list[str], rows: list[list[str]], count: int, schema: dict[str, str]) -> str:
    """The first rows of a table in a notebook."""
    heads, wide = heads[:_VARIABLES], len(heads)
    numbers = [schema.get(h, "").startswith(("Int", "UInt", "Float")) for h in heads]
    of = lambda i: ' class="cw-n"' if numbers[i] else ""  # noqa: E731
    kind = lambda h: f"<small>{_e(schema.get(h, ''), 40)}</small>"  # noqa: E731
    head = "".join(f"<th{of(i)}>{_e(h, 60)}{kind(h)}</th>" for i, h in enumerate(heads))
    cells = lambda row: "".join(f"<td{of(i)}>{_e(c, 100)}</td>" for i, c in enumerate(row[:_VARIABLES]))  # noqa: E731
    body = "".join(f"<tr>{cells(row)}</tr>" for row in rows)
    said = f"{count:,} row{'' if count == 1 else 's'}" + (f", the first {len(rows)} shown" if count > len(rows) else "")
    said += f"; {wide - len(heads):,} more columns" if wide > len(heads) else ""
    plain = "\n".join("  ".join(_clip(c, 40) for c in row) for row in [heads, *rows])
    html = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><div>{_soft(said)}</div>"
    return _whole(plain, _head("Table", f"{count:,} × {wide:,}", []) + html)


def verdict_html(text: str, good: bool, found: Any) -> str:
    """What a comparison or a check found."""
    rows = found if isinstance(found, list) else found.get("problems") or found.get("variables") or []
    rows = [row for row in rows if isinstance(row, dict)][:_VARIABLES]
    names = list(dict.fromkeys(key for row in rows for key, value in row.items() if value is not None))[:12]
    values = {n: [row[n] for row in rows if row.get(n) is not None] for n in names}
    numbers = {n for n in names if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values[n])}
    of = lambda n: ' class="cw-n"' if n in numbers else ""  # noqa: E731
    show = lambda v: "–" if v is None else _value(v)  # noqa: E731
    body = "".join("<tr>" + "".join(f"<td{of(n)}>{show(row.get(n))}</td>" for n in names) + "</tr>" for row in rows)
    head = "".join(f"<th{of(n)}>{_e(n.replace('_', ' '), 40)}</th>" for n in names)
    mark = f'<span class="cw-{"ok" if good else "no"}">{"✓" if good else "✗"} {escape(text)}</span>'
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if rows else ""
    plain = f"{'✓' if good else '✗'} {text}\n" + json.dumps(found, indent=1, default=str)
    return _whole(plain, f"<p>{mark}</p>{table}")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return '<span class="cw-ok">yes</span>' if value else '<span class="cw-no">no</span>'
    if isinstance(value, dict):
        return _e(", ".join(f"{k} {_label(v)}" for k, v in value.items()), 200)
    if isinstance(value, int):
        return f"{value:,}"
    return _e(_label(value) if isinstance(value, float) else value, 200)
