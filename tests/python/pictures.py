"""Pictures of `plot`, looked at: pixels, the colours that matplotlib gives, pages in a browser."""

import base64
import io
import json
import re
import shutil
import subprocess

import matplotlib
import numpy as np
import pytest
from PIL import Image


def plot(cw, *args, out):
    """Runs `plot`; gives what `--json` tells and the file."""
    return cw("plot", *args, "-o", out).ok().json, out


def pixels(path):
    return np.asarray(Image.open(path).convert("RGBA"))


def framed(path, told):
    """The pixels of the map or chart itself."""
    f = told["frame"]
    return pixels(path)[f["y"] : f["y"] + f["height"], f["x"] : f["x"] + f["width"]]


def cell_colours(path, told, rows, columns):
    """The colour in the middle of each of equal cells, from the top left."""
    inner = framed(path, told)
    ys = ((np.arange(rows) + 0.5) * inner.shape[0] / rows).astype(int)
    xs = ((np.arange(columns) + 0.5) * inner.shape[1] / columns).astype(int)
    return inner[np.ix_(ys, xs)]


def coloured(values, low, high, name):
    """matplotlib's colours of values, rounded as `matplotlib.colors.to_hex` does; missing ones are transparent."""
    values = np.asarray(values, "float64")
    with np.errstate(invalid="ignore"):
        t = np.clip((values - low) / (high - low), 0, 1)
    found = np.rint(np.asarray(matplotlib.colormaps[name](np.nan_to_num(t))) * 255).astype("uint8")
    found[np.isnan(values)] = 0
    return found


def svg_images(path):
    """The images within an SVG: where they stand, and their cells."""
    found = []
    for x, y, w, h, data in re.findall(r'<image x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)"[^>]*href="data:image/png;base64,([^"]+)"', path.read_text()):
        found.append(((int(x), int(y), int(w), int(h)), np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))))
    return found


def specification(path):
    return json.loads(path.read_text())


def browser():
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no Chromium here: pages are not drawn")
    return found


def page(path, folder):
    """The document that a page without a network becomes, and a picture of it."""
    shot = folder / "shot.png"
    words = [browser(), "--headless=new", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000", "--window-size=1300,1000"]
    dom = subprocess.run([*words, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120).stdout
    subprocess.run([*words, f"--screenshot={shot}", path.as_uri()], capture_output=True, timeout=120)
    return dom, pixels(shot)
