"""Tables: what statistics of zones, series and records are given as."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._html import table_html

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

_SHOWN = 10


class Table:
    """Rows of typed columns, in Arrow's memory.

    Whatever reads Arrow takes it without a copy: ``pandas.DataFrame.from_arrow``, ``polars.from_arrow(table)``,
    ``pyarrow.table(table)``, ``duckdb.sql("… from table")``. Missing cells are null, counts ``uint64``, times of the real
    calendar timestamps in microseconds, of other calendars text.
    """

    def __init__(self, columns: Any) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._columns.__arrow_c_stream__(requested_schema)

    @property
    def schema(self) -> dict[str, str]:
        """What each column holds, as Arrow calls it."""
        return dict(self._columns.schema())

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return [name for name, _ in self._columns.schema()]

    def to_arrow(self) -> pa.Table:
        """The table as ``pyarrow.Table``; needs pyarrow."""
        import pyarrow as pa

        return pa.table(self)

    def to_pandas(self) -> pd.DataFrame:
        """The table as a DataFrame. Missing cells are NaN, NaT or None."""
        import pandas as pd

        return pd.DataFrame(self.to_dict())

    def to_polars(self) -> pl.DataFrame:
        """The table as a DataFrame of polars."""
        import polars as pl

        return pl.DataFrame(self)

    def to_dict(self) -> dict[str, np.ndarray]:
        """Columns as NumPy arrays: numbers with NaN where missing (counts stay whole numbers where none is), text as objects."""
        return {name: _values(*self._columns.column(i)) for i, name in enumerate(self.columns)}

    def to_pylist(self) -> list[dict[str, Any]]:
        """Rows as dictionaries, missing as None."""
        columns = {}
        for name, values in self.to_dict().items():
            cells = values.tolist() if values.dtype.kind != "M" else [None if np.isnat(v) else v for v in values]
            columns[name] = [None if isinstance(c, float) and c != c else c for c in cells]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _head(self) -> tuple[list[str], list[list[str]]]:
        columns = self.to_dict() if len(self) <= 100_000 else {}
        rows = []
        for i in range(min(_SHOWN, len(self))):
            rows.append([_shown(values[i]) for values in columns.values()])
        return self.columns, rows

    def __repr__(self) -> str:
        heads, rows = self._head()
        if not rows:
            return f"<chunkwise.Table: {len(self)} rows × {', '.join(heads)}>"
        widths = [max(len(h), *(len(r[i]) for r in rows)) for i, h in enumerate(heads)]
        lines = ["  ".join(h.rjust(w) for h, w in zip(heads, widths, strict=True))]
        lines += ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
        if len(self) > len(rows):
            lines.append(f"… {len(self):,} rows")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        heads, rows = self._head()
        return table_html(heads, rows, len(self), self.schema)


def _values(kind: str, values: Any) -> np.ndarray:
    if kind == "time":
        return values.view("datetime64[us]")
    return values if kind == "number" else np.array(values, dtype=object)


def _shown(value: Any) -> str:
    if value is None or (isinstance(value, (float, np.floating)) and np.isnan(value)):
        return "–"
    if isinstance(value, np.datetime64):
        return "–" if np.isnat(value) else str(value.astype("datetime64[s]")).replace("T00:00:00", "")
    return f"{value:.7g}" if isinstance(value, (float, np.floating)) else str(value)
