"""What can go wrong. Every class derives from Python's own, so that ``except FileNotFoundError`` works as ever."""

from __future__ import annotations

__all__ = [
    "ChunkwiseError",
    "CorruptError",
    "ExistsError",
    "KeyNotFoundError",
    "NotFoundError",
    "PermissionDeniedError",
    "PlanRefusedError",
    "StorageError",
    "TooMuchError",
    "UsageError",
    "ValueRefusedError",
]


class ChunkwiseError(Exception):
    """Any error of chunkwise. ``hint`` says what would work, where that is known."""

    hint: str | None

    def __init__(self, message: str = "", hint: str | None = None) -> None:
        from ._chunkwise import mask

        # Locations may hold passwords and signatures.
        message, hint = mask(message), None if hint is None else mask(hint)
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[type, tuple[str, str | None]]:
        return type(self), (self.message, self.hint)


class NotFoundError(ChunkwiseError, FileNotFoundError):
    """There is no such path, cube, file or object."""


class KeyNotFoundError(ChunkwiseError, KeyError):
    """There is no such variable, dimension, label, band or group."""


class ValueRefusedError(ChunkwiseError, ValueError):
    """An argument or a request that cannot be met."""


class UsageError(ValueRefusedError, TypeError):
    """An argument that there is not, or that was not understood."""


class PlanRefusedError(ChunkwiseError, MemoryError):
    """The plan does not fit its memory: refused before anything is read. ``hint`` says what would do."""


class TooMuchError(ChunkwiseError, ValueError):
    """The plan asks more of the store than ``max_requests`` or ``max_bytes`` allow."""


class ExistsError(ChunkwiseError, FileExistsError):
    """The output exists, and ``overwrite=True`` was not said."""


class PermissionDeniedError(ChunkwiseError, PermissionError):
    """The system or the store does not let us."""


class CorruptError(ChunkwiseError, OSError):
    """A chunk, or metadata, that is damaged."""


class StorageError(ChunkwiseError, OSError):
    """A store, a network or a disk that failed."""


_KINDS: dict[str, type[BaseException]] = {
    "not_found": NotFoundError,
    "key": KeyNotFoundError,
    "value": ValueRefusedError,
    "usage": UsageError,
    "memory": PlanRefusedError,
    "too_much": TooMuchError,
    "exists": ExistsError,
    "permission": PermissionDeniedError,
    "corrupt": CorruptError,
    "io": StorageError,
    "other": ChunkwiseError,
}


#: Options of the command line whose name in Python is another, or that are calls there.
_IN_PYTHON = {
    "var": 'cube["{}"]',
    "sel": ".sel({})",
    "isel": ".isel({})",
    "bbox": ".bbox({})",
    "where": ".where({})",
    "calc": ".calc({})",
    "over": "dim={}",
    "with": ".reduce({})",
    "group": ".groupby({})",
    "every": ".resample(time={})",
    "anomaly": ".anomaly()",
    "storage": "storage_options={{{}}}",
    "absent-on": 'storage_options={{"absent_on": {}}}',
    "chunk": "chunks={{{}}}",
    "shard": "shards={{{}}}",
    "zarr": "zarr_format={}",
    "dim": "dims={{{}}}",
    "coord": "coords={{{}}}",
    "along": "dim={}",
    "points-crs": "crs={}",
    "zones-crs": "crs={}",
    "output": "path={}",
    "o": "path={}",
    "memory": "memory={}",
    "max-requests": "max_requests={}",
    "max-bytes": "max_bytes={}",
    "help": "help(…)",
}
_SWITCHES = {"allow-redecode", "decode", "explain", "hist", "overwrite", "raw", "resume", "valid", "verify"}


def _value_in_python(option: str, value: str) -> str:
    """The value of an option as Python writes it."""
    if option == "over" and value == "all":
        return "None"
    if option in ("sel", "isel") and "=" in value:
        dim, _, cells = value.partition("=")
        start, dots, stop = cells.partition(".." if option == "sel" else ":")
        ends = [end if option == "isel" and end else (f'"{end}"' if end else "None") for end in (start, stop)]
        return f"{dim}=slice({ends[0]}, {ends[1]})" if dots else f"{dim}={ends[0]}"
    if option in ("storage", "chunk", "shard", "dim") and "=" in value:
        pairs = [pair.partition("=") for pair in value.split(",")]
        quoted = option == "storage"
        return ", ".join(f'"{k}": "{v}"' if quoted else f'"{k}": {v}' for k, _, v in pairs)
    if option in ("bbox", "bounds", "res", "absent-on", "zarr", "isel", "var"):
        return value
    try:
        float(value)
    except ValueError:
        return f'"{value}"'
    return value


def _option_in_python(option: str, value: str | None) -> str:
    if option in ("o", "output") and value is not None and value.endswith(".zarr"):
        return f'.to_zarr("{value}")'
    if option in ("o", "output") and value == "none":
        return ".run()"
    if option in _SWITCHES:
        return f"{option.replace('-', '_')}=True"
    if value is None:
        return _IN_PYTHON.get(option, option.replace("-", "_") + "=…").format("NAME" if option == "var" else "…")
    return _IN_PYTHON.get(option, option.replace("-", "_") + "={}").format(_value_in_python(option, value))


def in_python(text: str | None) -> str | None:
    """What the engine says in the words of the command line, in those of Python."""
    if text is None:
        return None
    text = text.replace("`Partial::SingleProcess`", "`.write(…, alone=True)`")
    if "-" not in text:
        return text
    import re

    text = text.replace("see `chunkwise --help`, or `--help` behind the command", "`help(…)` of the function says what there is")
    text = text.replace("the same command with", "the same call with")
    text = re.sub(r"`chunkwise import ([^` ]*) -o ([^`]*)`", r'`chunkwise.import_files("\1", "\2")`', text)
    text = re.sub(r"`chunkwise create -o ([^`]*)`", r'`chunkwise.create("\1", …)`', text)
    one = re.compile(r"(?:--([a-z][a-z-]*)|-(o))(?:[ =]((?:(?! -)[^`])*))?")

    def spoken(found: re.Match[str]) -> str:
        said: dict[str, str | None] = {}
        for m in one.finditer(found[1]):
            name, value = m[1] or m[2], (m[3] or "").strip().strip("'") or None
            said[name] = f"{said[name]},{value}" if said.get(name) and value else value
        parts = [_option_in_python(name, value) for name, value in said.items()]
        if list(said) == ["over", "with"]:
            parts = [parts[1].replace(")", f", {parts[0]})")]
        return f"`{', '.join(parts).replace(', .', '.')}`"

    text = re.sub(r"`(?:import )?((?:--[a-z]|-o\b)[^`]*)`", spoken, text)
    # What a command line says that was not understood, `--name <VALUE>`; not commands of other programs.
    parts = text.split("`")
    parts[::2] = [re.sub(r"--([a-z][a-z-]*)(?: <[^>]*>)?", lambda m: m[1].replace("-", "_"), part) for part in parts[::2]]
    return "`".join(parts)


def of_kind(kind: str, message: str, hint: str | None) -> BaseException:
    """The exception for an error of the engine."""
    if kind == "interrupted":
        return KeyboardInterrupt()
    return _KINDS.get(kind, ChunkwiseError)(in_python(message) or "", in_python(hint))
