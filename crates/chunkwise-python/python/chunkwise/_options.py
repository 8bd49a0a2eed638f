"""Budgets, sizes and options of stores, as users write them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, TypedDict

from . import _chunkwise
from .errors import ValueRefusedError

_UNITS = {
    "": 1, "b": 1,
    "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9, "t": 10**12, "tb": 10**12,
    "ki": 2**10, "kib": 2**10, "mi": 2**20, "mib": 2**20, "gi": 2**30, "gib": 2**30, "ti": 2**40, "tib": 2**40,
}  # fmt: skip


def bytes_of(size: int | float | str, name: str) -> int:
    """Bytes of ``"2GiB"``, ``"500 MB"`` or a number."""
    if isinstance(size, (int, float)) and not isinstance(size, bool) and 0 <= size < 2**63:
        return int(size)
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", str(size))
    if not found or found[2].lower() not in _UNITS:
        raise ValueRefusedError(f"`{name}={size!r}` is no size", 'write a number of bytes or `"2GiB"`')
    return int(float(found[1]) * _UNITS[found[2].lower()])


def memory_of(memory: int | str | None) -> int:
    """The budget of a job: what it may add to the process."""
    if memory is None:
        memory = os.environ.get("CHUNKWISE_MEMORY")
    return _chunkwise.default_memory() if memory is None else bytes_of(memory, "memory")


def threads_of(threads: int | None) -> int:
    """Threads of a job: those of the machine that this process may use, unless said otherwise."""
    if threads is None:
        said = os.environ.get("CHUNKWISE_THREADS")
        if said is not None:
            threads = int(said)
        elif hasattr(os, "sched_getaffinity"):
            threads = len(os.sched_getaffinity(0))
        else:
            threads = os.cpu_count() or 1
    if int(threads) != threads or not 1 <= threads <= 1024:
        raise ValueRefusedError(f"`threads={threads}`: a job has from one to 1024 threads")
    return int(threads)


class Limits(TypedDict, total=False):
    """What a job may ask of its store, and what that costs there: prices of a GB and of 1000 requests, in any currency.

    A plan that would ask more is refused before anything is read. ``allow_redecode``: chunks may be decoded several times over.
    """

    allow_redecode: bool
    max_requests: int | None
    max_bytes: int | str | None
    egress_price: float | None
    request_price: float | None


class Asked(Limits, total=False):
    """What may be said of a job that gives a table, beside :class:`Limits`.

    ``path``: the table is written to this file (`.csv`, `.parquet`, `.arrow`, `.json` …) as it comes, and nothing is given.
    ``explain=True``: what the job will cost is given (:class:`chunkwise.Explanation`), and nothing is read.
    """

    path: Any
    overwrite: bool
    explain: bool


def may(
    memory: int | str | None = None,
    threads: int | None = None,
    allow_redecode: bool = False,
    max_requests: int | None = None,
    max_bytes: int | str | None = None,
    egress_price: float | None = None,
    request_price: float | None = None,
) -> dict[str, Any]:
    """What a job may take, as the engine is told."""
    for name, price in (("egress_price", egress_price), ("request_price", request_price)):
        if price is not None and not 0 <= float(price) < float("inf"):
            raise ValueRefusedError(f"`{name}={price}` is no price")
    return {
        "memory": memory_of(memory),
        "threads": threads_of(threads),
        "redecode": bool(allow_redecode),
        "max_requests": max_requests,
        "max_bytes": None if max_bytes is None else bytes_of(max_bytes, "max_bytes"),
        "egress_price": None if egress_price is None else float(egress_price),
        "request_price": None if request_price is None else float(request_price),
    }


def path_text(path: Any) -> str:
    """A path or URL as text."""
    return os.fspath(path) if hasattr(path, "__fspath__") else str(path)


def text_of(value: Any) -> str:
    """A value of a storage option as text."""
    return {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def storage_words(options: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Options of stores as ``key=value``; those of fsspec that have another name here are renamed."""
    renamed = {"anon": "anonymous", "key": "access_key_id", "secret": "secret_access_key", "token": "session_token"}
    words = []
    for key, value in (options or {}).items():
        if key == "absent_on":
            continue
        if key in ("client_kwargs", "config_kwargs") and isinstance(value, Mapping):
            inner = {"endpoint_url": "endpoint", "region_name": "region"}
            words += [f"{inner.get(k, k)}={text_of(v)}" for k, v in value.items()]
            continue
        words.append(f"{renamed.get(key, key)}={text_of(value)}")
    return tuple(words)


def absent_on(options: Mapping[str, Any] | None) -> tuple[int, ...]:
    """Status codes that mean an absent object, beside 404."""
    value = (options or {}).get("absent_on", ())
    return (int(value),) if isinstance(value, (int, str)) else tuple(int(v) for v in value)


_SECRET = re.compile(
    r"secret|password|token|credential|sas|sig|service_account|access_key|account_key|encryption_key|customer_key|authorization",
    re.I,
)
_HARMLESS = re.compile(
    "token_file|application_credentials|credential_type|service_account_path|disable_tagging", re.I
)


def is_secret(key: str, value: Any = "") -> bool:
    """Whether an option is one to keep: by its name, or because its value is a URL with a password or a signature."""
    name = key.replace("-", "_")
    if (_SECRET.search(name) and not _HARMLESS.search(name)) or name.lower() == "key":
        return True
    return isinstance(value, str) and _chunkwise.mask(value) != value


def without_secrets(options: Mapping[str, Any] | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Options that may be kept or sent, and the names of those that may not."""
    kept, left_out = {}, []
    for key, value in (options or {}).items():
        if isinstance(value, Mapping):
            inner, out = without_secrets(value)
            kept[key] = inner
            left_out += [f"{key}.{name}" for name in out]
        elif is_secret(key, value):
            left_out.append(key)
        else:
            kept[key] = value
    return kept, tuple(left_out)


Progress = Callable[[int, int], object]


def progress_of(progress: bool | Progress | None, what: str) -> tuple[Progress | None, Callable[[], None]]:
    """What is called with the parts done and their number, and what ends it.

    ``True`` shows a bar of tqdm, which is asked for only then.
    """
    if not progress:
        return None, lambda: None
    if callable(progress):
        return progress, lambda: None
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError("progress=True shows a bar of tqdm: `pip install tqdm`") from error
    bar = tqdm(desc=_chunkwise.mask(what), unit="chunk", total=0)

    def show(done: int, of: int) -> None:
        if bar.total != of:
            bar.reset(total=of)
        bar.update(done - bar.n)

    return show, bar.close
