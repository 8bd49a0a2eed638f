"""Formulas: operators on arrays, as text that the engine reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ._labels import label_text
from .errors import ValueRefusedError

if TYPE_CHECKING:
    from ._cube import Array

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEYWORDS = {"and", "or", "not", "missing", "nan", "inf", "pi"}
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


def name_text(name: str) -> str:
    """A name as formulas hold it."""
    return name if _WORD.fullmatch(name) and name not in _KEYWORDS else '"' + name.replace('"', "") + '"'


def condition(given: str | Array) -> str:
    """A condition as text."""
    if isinstance(given, str):
        return given
    if not hasattr(given, "_text"):
        raise ValueRefusedError(
            f"a condition is a formula or an array of the cube, not {type(given).__name__}",
            'as in `.where("cloud == 0")` or `.where(cube["cloud"] == 0)`',
        )
    return given._text()


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


class Operators:
    """Arithmetic, comparisons and functions, cell by cell: they give formulas and read nothing."""

    name: Any
    _query: Any
    _source: Any
    _variable: Any
    _text: Any
    _pass: Any

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

    def _term(self, cells: Mapping[str, Any], mask: str | None) -> str:
        """This array within a formula over `cells` and `mask`: what differs is said within the formula."""
        query = self._query
        text = self._text()
        picks = {d: c for d, c in query.cells.items() if cells.get(d) != c}
        for dim, cell in picks.items():
            variable = self._variable
            if variable is None or not isinstance(cell, int):
                raise ValueRefusedError(
                    f"the operands are of other cells of `{dim}`", "select the same cells of both, or select afterwards"
                )
            labels = self._source.label_values(dim)
            if dim not in self._source.about["by_name"]:
                raise ValueRefusedError(f"`{dim}` has no labels, by which formulas pick cells")
            label = labels[cell]
            shown = label_text(label)
            number = isinstance(label, (int, float, np.integer, np.floating))
            text += f"[{dim}={shown}]" if number else f'[{dim}="{shown}"]'
        if query.mask is not None and query.mask != mask:
            text = f"where({query.mask}, {text}, missing)"
        return text

    def _join(self, others: list[Any], text: Any, name: str | None = None) -> Array:
        """A formula of this array and others; `text` makes it of their texts."""
        from ._cube import Array

        arrays = [self, *(o for o in others if isinstance(o, Array))]
        for array in arrays[1:]:
            self._agree(array)
        self._pass("operators")
        shared = self._shared(arrays)
        masks = {a._query.mask for a in arrays}
        mask = masks.pop() if len(masks) == 1 else None
        terms = [a._term(shared, mask) if isinstance(a, Array) else self._other(a) for a in (self, *others)]
        names = {a.name for a in arrays}
        own = name or (names.pop() if len(names) == 1 else "value")
        if self._source.about["by_name"].get(own, {"role": "data"})["role"] != "data":
            # A formula of a coordinate is no coordinate.
            own = "value"
        query = replace(
            self._query, variables=(), formulas=((own, text(*terms)),), cells=shared, mask=mask
        )
        self._source.cube.job(query.json())
        return Array(self._source, query)

    @staticmethod
    def _shared(arrays: list[Any]) -> dict[str, Any]:
        """The cells that all operands have: a dimension that an operand lacks, or picks one cell of, is left to the others."""
        shared: dict[str, Any] = {}
        dims = {d for a in arrays for d in a._query.cells}
        for dim in dims:
            own = [a for a in arrays if a._variable is None or dim in a._variable["dims"]]
            kept = [a._query.cells.get(dim) for a in own if not isinstance(a._query.cells.get(dim), int)]
            picked = [a._query.cells[dim] for a in own if isinstance(a._query.cells.get(dim), int)]
            if not kept:
                # All pick one cell: the same, or each its own.
                if len(set(picked)) == 1:
                    shared[dim] = picked[0]
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
        others = [a for a in arguments if a is not self]
        at = [i for i, a in enumerate(arguments) if a is self][0]

        def text(own: str, *rest: str) -> str:
            terms = list(rest)
            terms.insert(at, own)
            return f"{function}({', '.join(terms)})"

        texts = [o for o in others if isinstance(o, str)]
        if texts:
            others = [o for o in others if not isinstance(o, str)]
            inner = [a if isinstance(a, str) else None for a in arguments]

            def text(own: str, *rest: str) -> str:
                left = iter(rest)
                terms = [own if i == at else (t if t is not None else next(left)) for i, t in enumerate(inner)]
                return f"{function}({', '.join(terms)})"

        return self._join(others, text)

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

    def __and__(self, other: Any) -> Array:
        return self._binary("and", other)

    def __rand__(self, other: Any) -> Array:
        return self._binary("and", other, True)

    def __or__(self, other: Any) -> Array:
        return self._binary("or", other)

    def __ror__(self, other: Any) -> Array:
        return self._binary("or", other, True)

    def __invert__(self) -> Array:
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
        numbers = [number_text(v) for v in np.asarray(values).ravel()]
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
