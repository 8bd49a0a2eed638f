"""Commands of the command line, asked in this process."""

from __future__ import annotations

import json
import shlex
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from . import _chunkwise
from ._options import Asked, Limits, may, memory_of, path_text, progress_of, threads_of
from ._table import Table
from .errors import ChunkwiseError, in_python

if TYPE_CHECKING:
    from ._plan import Explanation


def run(
    words: Sequence[str], *, progress: bool | Callable[[int, int], object] | None = None, quiet: bool = True
) -> tuple[int, str, list[str], Table | None]:
    """Runs a command: its code, its text, its notes, its table."""
    told, close = progress_of(progress, words[0])
    try:
        code, text, notes, table = _chunkwise.call([*words, *(["--quiet"] if quiet else [])], told)
    except ChunkwiseError as error:
        raise _of_command(error, words[0]) from None
    finally:
        close()
    return code, text, [in_python(note) or "" for note in notes], None if table is None else Table(table)


def _of_command(error: ChunkwiseError, command: str) -> ChunkwiseError:
    """An error in the words of the function that runs this command, where they are others."""
    for word, own in {"import": [('cube["NAME"]', "var=…")], "plot": [("`crs=", "`zones_crs=")]}.get(command, []):
        error.message = error.message.replace(word, own)
        error.hint = None if error.hint is None else error.hint.replace(word, own)
    return error


def ask(words: Sequence[str], **how: Any) -> Any:
    """What a command answers as JSON."""
    return json.loads(run([*words, "--json"], **how)[1])


def resources(memory: int | str | None, threads: int | None) -> list[str]:
    """The budget and the threads as words."""
    return ["--memory", str(memory_of(memory)), "--threads", str(threads_of(threads))]


def limit_words(**limits: Unpack[Limits]) -> list[str]:
    """What a job may ask of its store, as words."""
    told = may(0, 1, **limits)
    return [
        *option("allow-redecode", told["redecode"]), *option("max-requests", told["max_requests"]),
        *option("max-bytes", told["max_bytes"]), *option("egress-price", told["egress_price"]),
        *option("request-price", told["request_price"]),
    ]  # fmt: skip


def explained(words: Sequence[str]) -> Explanation:
    """What a command will cost."""
    from ._plan import Explanation

    figures = run([*words, "--explain", "--json"])[1]
    return Explanation(figures, _chunkwise.mask(shlex.join(["chunkwise", *words])))


def table(words: Sequence[str], progress: bool | Callable[[int, int], object] | None, **asked: Unpack[Asked]) -> Any:
    """The table that a command gives; a file of it with ``path``; what it will cost with ``explain=True``."""
    explain, path, overwrite = asked.pop("explain", False), asked.pop("path", None), asked.pop("overwrite", False)
    limits: Any = asked
    words = [*words, *limit_words(**limits)]
    if path is not None:
        words += [f"--output={path_text(path)}", *option("overwrite", overwrite)]
    if explain:
        return explained(words)
    _, _, notes, found = run(words, progress=progress)
    for note in notes:
        warnings.warn(note, stacklevel=4)
    if path is not None:
        return None
    assert found is not None, "these commands give tables"
    return found


def option(name: str, value: Any) -> list[str]:
    """An option that is said where it has a value; a list is said once for each."""
    if value is None or value is False:
        return []
    if value is True:
        return [f"--{name}"]
    if isinstance(value, (list, tuple)):
        return [word for one in value for word in option(name, one)]
    return [f"--{name}={value}"]


def command(lazy: Any) -> str:
    """A request as a line of the command line."""
    query = lazy._query
    source = [lazy._source.shown, *lazy._source.words()[1:]]
    if query.is_reduced:
        words = ["chunkwise", "reduce", *source, *query.words()]
    elif query.formulas:
        calc = [f"{name} = {text}" for name, text in query.formulas]
        words = ["chunkwise", "calc", *source[:1], *calc, *source[1:], *_without_formulas(query), "-o", "OUT.zarr"]
    else:
        words = ["chunkwise", "stats", *source, *query.words()]
    return _chunkwise.mask(shlex.join(words))


def _without_formulas(query: Any) -> list[str]:
    from dataclasses import replace

    return replace(query, formulas=()).words()
