"""First inputs of the fuzz targets, made from Zarr cubes: metadata, shards, encoded chunks; and formulas.

python fuzz/seeds.py FOLDER…      (folders are looked through for Zarr groups and arrays)
"""

import hashlib
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent
DOCUMENTS = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
LARGEST = 1 << 16  # bytes of a seed
TYPES = ["uint8", "int16", "uint32", "int64", "float32", "float64", "float16", "bool", "string"]


def keep(target, data):
    if len(data) <= LARGEST:
        folder = HERE / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


def nodes(roots):
    for root in roots:
        for path in sorted(pathlib.Path(root).rglob("*")):
            if path.name in DOCUMENTS:
                yield path


def metadata(folder):
    """The documents of a folder and of those directly below."""
    parts = []
    for path in [*sorted(folder.iterdir()), *sorted(folder.glob("*/*"))]:
        if path.name in DOCUMENTS and path.is_file() and len(parts) < 16:
            parts.append(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes().replace(b"\0", b""))
    keep("metadata", b"\0".join(parts))


def chunks(document):
    """Encoded chunks of a v3 array, with the chain that it names; of a shard, the shard."""
    try:
        array = json.loads(document.read_bytes())
    except ValueError:
        return
    if array.get("node_type") != "array" or not isinstance(array.get("codecs"), list):
        return
    dtype = TYPES.index(array["data_type"]) if array.get("data_type") in TYPES else 4
    names = [c.get("name") for c in array["codecs"] if isinstance(c, dict)]
    files = [p for p in sorted(document.parent.rglob("*")) if p.is_file() and p.name != "zarr.json"][:2]
    for path in files:
        if path.stat().st_size > LARGEST // 2:
            continue
        data = path.read_bytes()
        keep("codecs", bytes([0, dtype]) + json.dumps(array["codecs"]).encode() + b"\0" + data)
        if "sharding_indexed" in names:
            for layout in (0, 1, 2, 3, 16 + 64, 4):
                keep("shard", bytes([layout]) + data)


def chains():
    """A chunk of every chain, of zeros: compressors of Python's own library where it has them."""
    import bz2, gzip, lzma, zlib

    for shape, cells in ((0, 24), (16, 64 * 96)):
        for dtype, size in enumerate((1, 2, 4, 8, 4, 8, 2, 1)):
            raw = bytes(range(1, 7)) * (cells * size // 6)
            packed = {
                3: gzip.compress(raw), 5: zlib.compress(raw), 6: bz2.compress(raw), 8: lzma.compress(raw),
                10: lzma.compress(raw, format=lzma.FORMAT_ALONE), 13: zlib.crc32(raw).to_bytes(4, "little") + raw,
                14: zlib.adler32(raw).to_bytes(4, "little") + raw,
            }
            for chain in range(1, 34):
                keep("codecs", bytes([chain, shape + dtype]) + packed.get(chain, raw))
    for chain in (30, 31):
        keep("codecs", bytes([chain, 8]) + (24).to_bytes(4, "little") + (b"\1\0\0\0a" * 24))


def shards():
    """Shards of 2 × 3 chunks of 32 bytes, some absent, in every layout."""
    cells = bytes(range(32))
    for layout in range(128):
        order = "big" if layout & 8 else "little"
        start = (100 if layout & 16 else 96) if layout & 4 else 0
        for absent in (None, 2):
            index, body = b"", b""
            for chunk in range(6):
                if chunk == absent:
                    index += b"\xff" * 16
                else:
                    index += (start + len(body)).to_bytes(8, order) + (32).to_bytes(8, order)
                    body += cells
            keep("shard", bytes([layout]) + (index + body if layout & 4 else body + index))


def formulas():
    """What the tests of formulas and the documents hold between quotes."""
    keep("formulas", b"ndvi = (nir - red) / (nir + red)\nwhere(ndvi > 0.3 and not flag(scl, 'cloud'), ndvi, missing)")
    for path in [*(HERE.parent / "crates/chunkwise-core/src/expr").rglob("*.rs"), *(HERE.parent / "docs").glob("*.md")]:
        for text in re.findall(r'["`]([^"`\n]{3,120})["`]', path.read_text(encoding="utf-8")):
            keep("formulas", text.encode())


if __name__ == "__main__":
    for document in nodes(sys.argv[1:]):
        metadata(document.parent)
        if document.name == "zarr.json":
            chunks(document)
    chains()
    shards()
    formulas()
    for target in ("metadata", "shard", "codecs", "formulas"):
        print(target, len(list((HERE / "corpus" / target).glob("*"))))
