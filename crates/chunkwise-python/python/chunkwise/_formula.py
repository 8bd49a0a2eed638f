"""Formulas: operators on arrays, as text that the engine reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ._labels import label_text
from ._rewrite import enclosed, inlined, names_in, picked
from .errors import ValueRefusedError

if TYPE_CHECKING:
    from ._cube import Array

_FUNCTIONS = {
    np.absolute: "abs", np.fabs: "abs", np.sqrt: "sqrt", np.exp: "exp", np.log: "log", np.log10: "log10", np.sin: "sin",
    np.cos: "cos", np.tan: "tan", np.floor: "floor", np.ceil: "ceil", np.rint: "round", np.isnan: "ismissing",
    np.minimum: "min", np.maximum: "max",
}  # fmt: skip
_OPERATORS = {
    np.add: "+", np.subtract: "-", np.multiply: "*", np.true_divide: "/", np.floor_divide: "//", np.remainder: "%",
    np.power: "**", np.greater: ">", np.greater_equal: ">=", np.less: "<", np.less_equal: "<=", np.equal: "==",
    np.not_equal: "!=", np.logical_and: "and", np.logical_or: "or", np.bitwise_and: "and", np.bitwise_or: "or",
}  # fmt: skip


def split(text: str) -> tuple[str | None, str]:
    """The name and the formula of ``name = formula``; no name where there is none."""
    found = re.match(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*=(?!=)\s*(.+)", text, re.S)
    return (found[1], found[2].strip()) if found else (None, text.strip())


def condition(lazy: Any, given: str | Array) -> str:
    """A condition on what is asked for, as text: names are variables and its formulas; an array is as it is."""
    if isinstance(given, str):
        return inlined(given, lazy._query.formulas)
    if not hasattr(given, "_term"):
        raise ValueRefusedError(
            f"a condition is a formula or an array of the cube, not {type(given).__name__}",
            'as in `.where("cloud == 0")` or `.where(cube["cloud"] == 0)`',
        )
    return operand(lazy, given)


def operand(lazy: Any, array: Array) -> str:
    """An array as text within a request on the same cells of the same cube."""
    if array._source != lazy._source:
        raise ValueRefusedError(
            f"`{array.name}` is of another cube",
            "a formula works on one cube; compute both and go on in xarray, or write them into one",
        )
    array._pass("operators")
    return array._term(lazy._query.cells)


def given_formulas(cube: Any, given: list[tuple[str, str | Array]]) -> tuple[tuple[str, str], ...]:
    """Formulas of a cube: text may name the cube's own and earlier ones, arrays stay what they are."""
    found: list[tuple[str, str]] = []
    for name, value in given:
        taken = {n for n, _ in found}
        if not isinstance(value, str) and not hasattr(value, "_term"):
            value = number_text(value)
        if isinstance(value, str):
            text, meant = inlined(value, [f for f in cube._query.formulas if f[0] not in taken]), names_in(value)
        else:
            text, meant = operand(cube, value), set()
        again = sorted(taken & (names_in(text) - meant))
        if again:
            raise ValueRefusedError(
                f"`{name}` is of the cube's `{again[0]}`, and `{again[0]}` is the name of a formula before it",
                "give that one another name, or name it behind",
            )
        found.append((name, text))
    mask = cube._query.mask
    again = sorted({n for n, _ in found} & (names_in(mask) if mask is not None else set()))
    if again:
        raise ValueRefusedError(
            f"the condition `{mask}` is of the cube's `{again[0]}`, and `{again[0]}` is the name of a formula",
            "give the formula another name, or put `.where(…)` behind it",
        )
    return tuple(found)


def number_text(value: Any) -> str:
    """A number as formulas hold it."""
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    if isinstance(value, (int, np.integer)):
        return str(int(value)) if value >= 0 else f"({int(value)})"
    number = float(value)
    if number != number:
        return "missing"
    return repr(number) if number >= 0 else f"({number!r})"


_CONDITION = re.compile(r" (?:==|!=|<=|>=|<|>|and|or) | in |^not |^(?:isin|ismissing|isnan|flag|bit)\(")


def is_condition(text: str) -> bool:
    """Whether a formula says what is true: its outermost operation is a comparison, a logical one, or a question."""
    while text.startswith("(") and text.endswith(")") and _outer(text[1:-1]) is not None:
        text = text[1:-1]
    return _CONDITION.search(_outer(text) or "") is not None


def _outer(text: str) -> str | None:
    """What of a formula lies in no parentheses, with `(` for these; `None` where they do not match."""
    outer, depth = [], 0
    for part in re.findall(r'"[^"]*"|[()\[\]]|[^"()\[\]]+', text):
        if part in ")]":
            depth -= 1
        if depth < 0:
            return None
        if depth == 0 and part not in ")]":
            outer.append(part)
        if part in "([":
            depth += 1
    return "".join(outer) if depth == 0 else None


class Operators:
    """Arithmetic, comparisons and functions, cell by cell: they give formulas and read nothing."""

    name: Any
    _query: Any
    _source: Any
    _variable: Any
    _text: Any
    _pass: Any
    _own_dims: tuple[str, ...] | None = None

    def _agree(self, other: Any) -> None:
        """Checks that another array is of the same cells of the same cube."""
        if other._source != self._source:
            raise ValueRefusedError(
                f"`{self.name}` and `{other.name}` are of two cubes",
                "a formula works on one cube; compute both and go on in xarray, or write them into one",
            )
        for array in (self, other):
            if array._query.is_reduced:
                array._pass("operators")

    def _term(self, cells: Mapping[str, Any]) -> str:
        """This array within a formula over `cells`: what differs is said within the formula."""
        query = self._query
        text = enclosed(self._text())
        if query.mask is not None:
            text = f"where({query.mask}, {text}, missing)"
        for dim in dict.fromkeys((*query.cells, *cells)):
            cell = query.cells.get(dim)
            if cell == cells.get(dim) or not self._has(dim):
                continue
            if not isinstance(cell, int):
                raise ValueRefusedError(
                    f"the operands are of other cells of `{dim}`", "select the same cells of both, or select afterwards"
                )
            by_name = self._source.about["by_name"]
            if dim not in by_name:
                raise ValueRefusedError(f"`{dim}` has no labels, by which formulas pick cells")
            labels = self._source.label_values(dim)
            shown = label_text(labels[cell])
            number = isinstance(labels[cell], (int, float, np.integer, np.floating))
            text = picked(text, dim, shown if number else f'"{shown}"', by_name, () if number else labels)
        return text

    def _has(self, dim: str) -> bool:
        """Whether it has a dimension, or had it before a cell was picked."""
        if self._variable is not None and self._query.mask is None:
            return dim in self._variable["dims"]
        if self._own_dims is None:
            text = f"where({self._query.mask or 1}, {enclosed(self._text())}, missing)"
            query = replace(self._query, variables=(), formulas=(("value", text),), cells={}, mask=None)
            _, arrays = self._source.cube.job(query.json()).outline()
            self._own_dims = tuple(json.loads(arrays[0][0])["dims"])
        return dim in self._own_dims

    def _join(self, others: list[Any], text: Any, name: str | None = None) -> Array:
        """A formula of this array and others; `text` makes it of their texts."""
        from ._cube import Array

        arrays = [self, *(o for o in others if isinstance(o, Array))]
        for array in arrays[1:]:
            self._agree(array)
        self._pass("operators")
        shared = self._shared(arrays)
        # Conditions stand within: what is reckoned of missing cells may be valid.
        terms = [a._term(shared) if isinstance(a, Array) else self._other(a) for a in (self, *others)]
        names = {a.name for a in arrays}
        own = name or (names.pop() if len(names) == 1 else "value")
        if self._source.about["by_name"].get(own, {"role": "data"})["role"] != "data":
            # A formula of a coordinate is no coordinate.
            own = "value"
        query = replace(self._query, variables=(), formulas=((own, text(*terms)),), cells=shared, mask=None)
        self._source.cube.job(query.json())
        return Array(self._source, query)

    @staticmethod
    def _shared(arrays: list[Any]) -> dict[str, Any]:
        """The cells that all operands have: a dimension that an operand lacks, or picks one cell of, is left to the others."""
        shared: dict[str, Any] = {}
        for dim in dict.fromkeys(d for a in arrays for d in a._query.cells):
            cells = [a._query.cells.get(dim) for a in arrays]
            if any(c != cells[0] for c in cells):
                cells = [a._query.cells.get(dim) for a in arrays if a._has(dim)]
            kept = [c for c in cells if not isinstance(c, int)]
            if not kept:
                # All pick one cell: the same, or each its own.
                if len(set(cells)) == 1:
                    shared[dim] = cells[0]
                continue
            if any(k != kept[0] for k in kept):
                raise ValueRefusedError(
                    f"the operands are of other cells of `{dim}`", "select the same cells of both, or select afterwards"
                )
            if kept[0] is not None:
                shared[dim] = kept[0]
        return shared

    def _other(self, value: Any) -> str:
        if isinstance(value, str):
            raise ValueRefusedError(f"{value!r} is text; formulas are given to `calc`")
        if np.ndim(value) != 0 or hasattr(value, "dims"):
            raise ValueRefusedError(
                f"an operand is a number or an array of the cube, not {type(value).__name__}",
                "write it as a variable of the cube, or go on in xarray: `.compute()`",
            )
        return number_text(value)

    def _binary(self, sign: str, other: Any, turned: bool = False) -> Array:
        try:
            if turned:
                return self._join([other], lambda a, b: f"({b} {sign} {a})")
            return self._join([other], lambda a, b: f"({a} {sign} {b})")
        except TypeError:
            return NotImplemented

    def _call(self, function: str, *arguments: Any) -> Array:
        """A function of formulas; this array is one of the arguments."""
        at = next(i for i, a in enumerate(arguments) if a is self)

        def text(own: str, *rest: str) -> str:
            return f"{function}({', '.join([*rest[:at], own, *rest[at:]])})"

        return self._join([a for i, a in enumerate(arguments) if i != at], text)

    def __add__(self, other: Any) -> Array:
        return self._binary("+", other)

    def __radd__(self, other: Any) -> Array:
        return self._binary("+", other, True)

    def __sub__(self, other: Any) -> Array:
        return self._binary("-", other)

    def __rsub__(self, other: Any) -> Array:
        return self._binary("-", other, True)

    def __mul__(self, other: Any) -> Array:
        return self._binary("*", other)

    def __rmul__(self, other: Any) -> Array:
        return self._binary("*", other, True)

    def __truediv__(self, other: Any) -> Array:
        return self._binary("/", other)

    def __rtruediv__(self, other: Any) -> Array:
        return self._binary("/", other, True)

    def __floordiv__(self, other: Any) -> Array:
        return self._binary("//", other)

    def __rfloordiv__(self, other: Any) -> Array:
        return self._binary("//", other, True)

    def __mod__(self, other: Any) -> Array:
        return self._binary("%", other)

    def __rmod__(self, other: Any) -> Array:
        return self._binary("%", other, True)

    def __pow__(self, other: Any) -> Array:
        return self._binary("**", other)

    def __rpow__(self, other: Any) -> Array:
        return self._binary("**", other, True)

    def __neg__(self) -> Array:
        return self._join([], lambda a: f"(-{a})")

    def __pos__(self) -> Array:
        return self._join([], lambda a: f"(+{a})")

    def __abs__(self) -> Array:
        return self._call("abs", self)

    def __lt__(self, other: Any) -> Array:
        return self._binary("<", other)

    def __le__(self, other: Any) -> Array:
        return self._binary("<=", other)

    def __gt__(self, other: Any) -> Array:
        return self._binary(">", other)

    def __ge__(self, other: Any) -> Array:
        return self._binary(">=", other)

    def __eq__(self, other: object) -> Array:  # type: ignore[override]
        return self._binary("==", other)

    def __ne__(self, other: object) -> Array:  # type: ignore[override]
        return self._binary("!=", other)

    __hash__ = object.__hash__

    def _logical(self, sign: str, other: Any, turned: bool = False) -> Array:
        """`and`, `or` of conditions: of whole numbers they would be bits, which formulas have by number and name."""
        for one in (self, other):
            if isinstance(one, (bool, np.bool_)) or (hasattr(one, "_text") and one._is_true_or_false()):
                continue
            raise ValueRefusedError(
                f"`&`, `|` and `~` join conditions, and {f'`{one.name}`' if hasattr(one, 'name') else repr(one)} is none",
                "of bits: `x.bit(4)`, `x.flag(\"cloud\")`; of numbers: `(x > 0) & (y > 0)`",
            )
        return self._binary(sign, other, turned)

    def _is_true_or_false(self) -> bool:
        if self._variable is not None:
            return bool(self._variable["dtype"] == "bool")
        return is_condition(self._text())

    def __and__(self, other: Any) -> Array:
        return self._logical("and", other)

    def __rand__(self, other: Any) -> Array:
        return self._logical("and", other, True)

    def __or__(self, other: Any) -> Array:
        return self._logical("or", other)

    def __ror__(self, other: Any) -> Array:
        return self._logical("or", other, True)

    def __invert__(self) -> Array:
        self._logical("and", True)
        return self._join([], lambda a: f"(not {a})")

    def __bool__(self) -> bool:
        raise ValueError("an array of the cube has no truth value; `.compute()` it, or use `&`, `|`, `~`")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **how: Any) -> Any:
        if method != "__call__" or how:
            return NotImplemented
        if ufunc is np.negative:
            return -self
        if ufunc in (np.logical_not, np.invert):
            return ~self
        if ufunc in _OPERATORS and len(inputs) == 2:
            sign = _OPERATORS[ufunc]
            if sign in ("and", "or") and ufunc.__name__.startswith("bitwise"):
                return self._logical(sign, inputs[1]) if inputs[0] is self else self._logical(sign, inputs[0], True)
            return self._binary(sign, inputs[1]) if inputs[0] is self else self._binary(sign, inputs[0], True)
        if ufunc in _FUNCTIONS:
            return self._call(_FUNCTIONS[ufunc], *inputs)
        return NotImplemented

    def isnull(self) -> Array:
        """1 where a cell is missing, else 0."""
        return self._call("ismissing", self)

    def notnull(self) -> Array:
        """1 where a cell is valid, else 0."""
        return self._join([], lambda a: f"(not ismissing({a}))")

    def fillna(self, value: Any) -> Array:
        """Missing cells replaced by a number or another array."""
        return self._join([value], lambda a, b: f"where(ismissing({a}), {b}, {a})")

    def clip(self, min: Any = None, max: Any = None) -> Array:
        """Values no less than ``min`` and no greater than ``max``."""
        found: Any = self
        if min is not None:
            found = found._call("max", found, min)
        if max is not None:
            found = found._call("min", found, max)
        return found

    def isin(self, values: Any) -> Array:
        """1 where a cell equals one of the values, else 0."""
        given = np.asarray(values).ravel()
        numbers = [number_text(v) for v in given if v == v]
        if not numbers:
            return self._join([], lambda a: f"where(ismissing({a}), 0, 0)")
        # As in xarray: a missing cell equals none of them.
        return self._join([], lambda a: f"(not ismissing({a}) and isin({a}, {', '.join(numbers)}))")

    def round(self, decimals: int = 0) -> Array:
        """The nearest number with so many decimal digits, halves to even."""
        return self._join([], lambda a: f"round({a}, {int(decimals)})")

    def flag(self, name: str) -> Array:
        """Whether the CF flag of that name is set."""
        return self._join([], lambda a: f'flag({a}, "{name}")')

    def bit(self, n: int) -> Array:
        """Bit ``n`` of an integer, counted from 0."""
        return self._join([], lambda a: f"bit({a}, {int(n)})")
