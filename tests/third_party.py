"""Writes THIRD-PARTY.md from the crates that the binary is built of.

    cargo metadata --format-version 1 --locked --filter-platform x86_64-unknown-linux-gnu | python3 tests/third_party.py > THIRD-PARTY.md
    … | python3 tests/third_party.py --check THIRD-PARTY.md      exits with 1 where the file is out of date
"""

import json
import sys

HEAD = """# Third-party notices

chunkwise is linked with the libraries below, each under its own licence (SPDX); their texts are in the crates'
sources on crates.io. C sources within them: zstd (BSD-3-Clause), c-blosc (BSD-3-Clause) with LZ4 (BSD-2-Clause) and
zlib (Zlib), bzip2 (bzip2-1.0.6).

Within the program are also, with their licences beside them in `crates/chunkwise-view/assets`:

| what | version | licence |
| --- | --- | --- |
| vega (`vega.min.js`) | 6.4.0 | BSD-3-Clause |
| vega-lite (`vega-lite.min.js`) | 6.5.0 | BSD-3-Clause |
| vega-embed (`vega-embed.min.js`) | 7.3.0 | BSD-3-Clause |
| DejaVu Sans, cut to some scripts | 2.37 | Bitstream-Vera, changes in the public domain |
| colour maps of matplotlib | 3.11.2 | CC0-1.0 (viridis, cividis, magma, inferno, plasma), Apache-2.0 (ColorBrewer, turbo) |

| crate | version | licence |
| --- | --- | --- |
"""


def normal_dependencies(meta):
    """Ids of all packages that the workspace's own crates are linked with: neither for tests nor for building."""
    nodes = {n["id"]: n for n in meta["resolve"]["nodes"]}
    seen, todo = set(), list(meta["workspace_members"])
    while todo:
        for dep in nodes[todo.pop()]["deps"]:
            if any(k["kind"] is None for k in dep["dep_kinds"]) and dep["pkg"] not in seen:
                seen.add(dep["pkg"])
                todo.append(dep["pkg"])
    return seen - set(meta["workspace_members"])


def main():
    meta = json.load(sys.stdin)
    packages = {p["id"]: p for p in meta["packages"]}
    rows = sorted((packages[i]["name"], packages[i]["version"], packages[i]["license"] or "see its source") for i in normal_dependencies(meta))
    text = HEAD + "".join(f"| {n} | {v} | {licence} |\n" for n, v, licence in rows)
    if sys.argv[1:2] == ["--check"]:
        with open(sys.argv[2]) as file:
            if file.read() != text:
                sys.exit(f"error: {sys.argv[2]} is out of date; write it anew as the head of {__file__} says")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
