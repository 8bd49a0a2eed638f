"""Formulas as text: their names, replaced by formulas or picked at a label."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .errors import ValueRefusedError

WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
KEYWORDS = {"and", "or", "not", "missing", "nan", "inf", "pi"}
#: Spaces go with what stands before them.
_TOKEN = re.compile(
    r"""(?:(?P<text>"[^"]*"|'[^']*')|(?P<number>\.?\d[\w.]*)|(?P<word>[^\W\d]\w*)|(?P<sign>\S)|)(?P<space>\s*)"""
)

#: What stands in the place of a name and of the cells picked of it (`band="red", y=1`); `None`: it stays.
Change = Callable[[str, "str | None"], "str | None"]


def name_text(name: str) -> str:
    """A name as formulas hold it."""
    return name if WORD.fullmatch(name) and name not in KEYWORDS else '"' + name.replace('"', "") + '"'


def enclosed(text: str) -> str:
    """A formula as an operand of another one."""
    return text if _is_one(text) else f"({text})"


def _is_one(text: str) -> bool:
    """Whether a formula is a name, a function or in brackets."""
    tokens = [m for m in _TOKEN.finditer(text.strip()) if m[0]]
    if len(tokens) == 1:
        return not tokens[0]["sign"]
    depth = 0
    for at, token in enumerate(tokens):
        depth += {"(": 1, ")": -1}.get(token["sign"], 0)
        if depth == 0 and (at or not token["word"] or token["word"] in KEYWORDS):
            return at == len(tokens) - 1 and token["sign"] == ")"
    return False


def changed(text: str, change: Change) -> str:
    """A formula with other text in the place of its names."""
    tokens = [m for m in _TOKEN.finditer(text) if m[0]]
    signs = [m["sign"] for m in tokens]
    found: list[str] = []
    # The functions whose brackets are open, and how many of their arguments are complete.
    within: list[tuple[str, int]] = []
    at = 0
    while at < len(tokens):
        token, after = tokens[at], signs[at + 1] if at + 1 < len(tokens) else None
        at += 1
        if token["sign"] == "(":
            within.append((tokens[at - 2]["word"] or "" if at > 1 else "", 0))
        elif token["sign"] == ")" and within:
            within.pop()
        elif token["sign"] == "," and within:
            within[-1] = (within[-1][0], within[-1][1] + 1)
        name = token["word"] or (token["text"] or "")[1:-1]
        is_name = token["word"] not in KEYWORDS and after != "(" if token["word"] else token["text"] is not None
        if not is_name or (token["text"] and within and within[-1] == ("flag", 1)):
            found.append(token[0])
            continue
        end, picks = at, None
        if after == "[" and "]" in signs[at:]:
            end = signs.index("]", at) + 1
            picks = "".join(m[0] for m in tokens[at + 1 : end - 1])
        whole = "".join(m[0] for m in tokens[at - 1 : end])
        other = change(name, picks)
        found.append(whole if other is None else other + tokens[end - 1]["space"])
        at = end
    return "".join(found)


def names_in(text: str) -> set[str]:
    """The names that a formula reads."""
    found: set[str] = set()

    def note(name: str, picks: str | None) -> None:
        found.add(name)

    changed(text, note)
    return found


def inlined(text: str, formulas: Iterable[tuple[str, str]]) -> str:
    """A formula that names earlier ones, with what they are in their place."""
    known: dict[str, str] = {}
    for name, earlier in formulas:
        known[name] = _with(earlier, known)
    return _with(text, known)


def _with(text: str, known: Mapping[str, str]) -> str:
    return changed(text, lambda name, picks: enclosed(known[name]) if picks is None and name in known else None)


def picked(text: str, dim: str, label: str, variables: Mapping[str, Any], labels: Iterable[Any]) -> str:
    """A formula of one cell of a dimension, `label` as formulas hold it."""
    own = {str(one) for one in labels}

    def at(name: str, picks: str | None) -> str | None:
        about = variables.get(name)
        if about is None:
            if picks is None and name in own:
                # The variable at a label of this dimension: it is picked by its name.
                return None
            raise ValueRefusedError(
                f"a cell of `{dim}` cannot be picked of `{name}` within a formula", "select the same cells of all operands"
            )
        if dim not in about["dims"] or (picks is not None and re.search(rf'(?:^|,)\s*"?{re.escape(dim)}"?\s*=', picks)):
            return None
        return f"{name_text(name)}[{name_text(dim)}={label}{f', {picks}' if picks is not None else ''}]"

    return changed(text, at)
