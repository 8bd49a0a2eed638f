"""Labels as the engine reads them: text."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np

from .errors import ValueRefusedError


def label_text(label: Any) -> str:
    """One label as text: numbers with all of their digits, times in ISO 8601."""
    if isinstance(label, np.ndarray) and label.ndim == 0:
        label = label[()]
    if isinstance(label, np.datetime64):
        if np.isnat(label):
            raise ValueRefusedError("NaT is no label")
        text = str(label)
        return text.rstrip("0").rstrip(".") if "." in text else text
    if hasattr(label, "isoformat"):
        # datetime, pandas.Timestamp, cftime
        return _in_utc(label).isoformat()
    if isinstance(label, (bool, np.bool_)):
        return str(int(label))
    if isinstance(label, (float, np.floating)):
        return repr(float(label)) if isinstance(label, (float, np.float64)) else str(label)
    if isinstance(label, (int, np.integer)):
        return str(int(label))
    if isinstance(label, (str, np.str_)):
        return str(label)
    if hasattr(label, "item"):
        return label_text(label.item())
    raise ValueRefusedError(f"{label!r} is no label")


def _in_utc(time: Any) -> Any:
    if getattr(time, "tzinfo", None) is None:
        return time
    return time.astimezone(datetime.timezone.utc).replace(tzinfo=None)


def sought(label: Any) -> str:
    """One label that is looked for. Times are instants; text, and a `datetime.date`, stand for all that begin so."""
    if isinstance(label, np.ndarray) and label.ndim == 0:
        label = label[()]
    if hasattr(label, "to_datetime64"):
        label = _in_utc(label).to_datetime64()
    if isinstance(label, np.datetime64) and not np.isnat(label):
        # With fewer digits it would be a second, or more, of instants.
        is_fine = np.datetime_data(label.dtype)[0] in ("ns", "ps", "fs", "as")
        return str(label.astype("datetime64[ns]")).removesuffix("000") if is_fine else str(label.astype("datetime64[us]"))
    if hasattr(label, "isoformat") and hasattr(label, "hour"):
        return str(_in_utc(label).isoformat(timespec="microseconds"))
    return label_text(label)


def query_of(dim: str, asked: Any) -> tuple[int | None, tuple[str, str, list[str | None]]]:
    """What is asked along a dimension, as the engine takes it, and the step of a slice."""
    if isinstance(asked, slice):
        ends: list[str | None] = [None if end is None else sought(end) for end in (asked.start, asked.stop)]
        step = None if asked.step is None else int(asked.step)
        return step, (dim, "range", ends)
    if hasattr(asked, "values") and not isinstance(asked, dict):
        asked = asked.values
    if isinstance(asked, (list, tuple, set)) or (isinstance(asked, np.ndarray) and asked.ndim):
        labels: list[str | None] = [sought(label) for label in asked]
        if not labels:
            raise ValueRefusedError(f"`sel` selects nothing of `{dim}`")
        return None, (dim, "list", labels)
    return None, (dim, "one", [sought(asked)])
