"""`info --access`: what typical questions read of a cube. What is right comes from counting chunks, and from what plans of the same questions say.

    $ .venv/bin/python -m pytest tests/python/test_access.py
"""

import itertools

import numpy as np
import pytest

from small import build


def count(shape, chunk, box):
    """Chunks that a box of `start, length` touches."""
    return int(np.prod([(a + n - 1) // c - a // c + 1 for (a, n), c in zip(box, chunk)]))


@pytest.mark.parametrize("chunk", [(1, 30, 40), (7, 13, 11), (20, 100, 90)])
def test_figures_are_those_of_plans_and_of_counting(cw, tmp_path, chunk):
    shape = (20, 100, 90)
    path = build(tmp_path / "c.zarr", {"v": (("time", "y", "x"), np.zeros(shape, "int16"), {}, {"chunks": chunk, "fill": 1})})
    (card,) = cw("info", path, "--access").ok().json["access"]
    pixel, one_map, box, anywhere, everything = card["access"]
    plans = {
        "pixel": (pixel, ["series", path, "--iat", "y=0,x=0"]),
        "map": (one_map, ["stats", path, "--isel", "time=0"]),
        "box": (box, ["stats", path, "--isel", "y=0:50,x=0:45"]),
        "all": (everything, ["stats", path]),
    }
    for name, (row, words) in plans.items():
        plan = cw(*words, "--explain").ok().json
        assert (row["chunks"], row["requests"], row["bytes"]) == (plan["chunks"], plan["requests"], plan["decoded_bytes"]), name
    assert box["access"].startswith("50 × 45")
    places = list(itertools.product(range(100 - 50 + 1), range(90 - 45 + 1)))
    mean = np.mean([count(shape, chunk, [(0, 20), (y, 50), (x, 45)]) for y, x in places])
    assert anywhere["chunks"] == pytest.approx(mean)
    assert anywhere["bytes"] == pytest.approx(mean * np.prod(chunk) * 2)
    assert (pixel["useful_bytes"], one_map["useful_bytes"], box["useful_bytes"]) == (40, 18000, 20 * 50 * 45 * 2)
    assert pixel["amplification"] == pytest.approx(pixel["bytes"] / 40)


def test_recommended_chunks_read_what_is_said(cw, tmp_path):
    shape = (60, 200, 200)
    arrays = {"v": (("time", "y", "x"), np.zeros(shape, "int16"), {}, {"chunks": (1, 200, 200), "fill": 1})}
    path = build(tmp_path / "c.zarr", arrays)
    (card,) = cw("info", path, "--access").ok().json["access"]
    assert card["recommendations"]
    for advice in card["recommendations"]:
        chunk = tuple(int(pair.split("=")[1]) for pair in advice["chunk"].split(","))
        other = build(tmp_path / f"{chunk}.zarr", {"v": (*arrays["v"][:3], {"chunks": chunk, "fill": 1})})
        (seen,) = cw("info", other, "--access").ok().json["access"]
        assert seen["access"] == advice["access"]
    # A series costs less in each of them.
    assert all(a["access"][0]["bytes"] < card["access"][0]["bytes"] for a in card["recommendations"])


@pytest.mark.parametrize("cube", ["s2-l2a-belgium/cube.zarr", "s2-l1c-slovenia/series.zarr", "olci-chlorophyll-xcube", "climate-a1b-north-america/packed.zarr", "conformance/titiler/pyramid.zarr/0"])
def test_any_cube_has_its_cards(cw, data, cube):
    path = data / cube
    if not (path / ".zgroup").exists() and not (path / "zarr.json").exists():
        path = next(p.parent for p in sorted(path.rglob("*")) if p.name in (".zgroup", "zarr.json", ".zmetadata"))
    shown = cw("info", path, "--access", json=False).ok()
    assert b"access" in shown.out and b"everything" in shown.out
    for card in cw("info", path, "--access").ok().json["access"]:
        assert all(row["amplification"] >= 0.99 and row["chunks"] > 0 for row in card["access"])
