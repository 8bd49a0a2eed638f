"""Cubes that are open, and what is kept of them when they are pickled or a process forks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import _chunkwise
from ._options import absent_on, storage_words, without_secrets
from .errors import ChunkwiseError, NotFoundError, PermissionDeniedError, StorageError, ValueRefusedError

#: Labels that take no more bytes than this are kept once they were read.
_KEPT = 64 << 20


class Source:
    """Where a cube is, how its values are read, and the cube itself once it is open.

    A pickle holds the first two, without secrets; whoever loads it opens the cube anew. So does a process that was forked:
    connections and threads of its parent are not its own.
    """

    def __init__(
        self,
        location: str,
        storage: Mapping[str, Any] | None = None,
        *,
        nodata: int | float | str | None = None,
        raw: bool = False,
        valid: bool = False,
        objects: Any = None,
        identity: str | None = None,
        left_out: tuple[str, ...] = (),
        shown: str | None = None,
    ) -> None:
        # It stays the same one when the process goes to another folder.
        self.location = absolute(location)
        #: The location as it was written.
        self.shown = _chunkwise.mask(location if shown is None else shown)
        self.storage = dict(storage or {})
        self.nodata = None if nodata is None else str(nodata)
        self.raw = bool(raw)
        self.valid = bool(valid)
        self.objects = objects
        self._identity = identity
        self._left_out = left_out
        self._opened: Any = None
        self._pid = -1
        self._about: dict[str, Any] | None = None
        self._stamp: tuple[Any, ...] | None = None
        self._labels: dict[str, tuple[str, str | None, Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        if self.objects is not None and not getattr(self.objects, "can_be_pickled", False):
            raise TypeError(
                f"`{self.location}` shows arrays of this process, and a pickle holds plans, never data; "
                "write it first: `.to_zarr(…)`"
            )
        storage, left_out = without_secrets(self.storage)
        # Of a URL with a password or a signature the rest.
        location = _chunkwise.mask(self.location)
        return {
            "location": location,
            "storage": storage,
            "nodata": self.nodata,
            "raw": self.raw,
            "valid": self.valid,
            "objects": self.objects,
            "identity": self.identity,
            "left_out": tuple(dict.fromkeys((*self._left_out, *left_out))),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        location, storage = state.pop("location"), state.pop("storage")
        self.__init__(location, storage, **state)  # type: ignore[misc]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Source):
            return NotImplemented
        if self.objects is not other.objects or self._how() != other._how():
            return False
        # Known once a plan was made: what lay there may have been written again since.
        return self._identity is None or other._identity is None or self._identity == other._identity

    def _how(self) -> tuple[Any, ...]:
        """Where it is and how it is read; secrets, which pickles leave out, only open the door to it."""
        words = sorted(storage_words(without_secrets(self.storage)[0]))
        return self.location, words, sorted(absent_on(self.storage)), self.nodata, self.raw, self.valid

    __hash__ = None  # type: ignore[assignment]

    def _open(self) -> Any:
        if self.objects is not None:
            return _chunkwise.open_mapping(self.objects, self.location, self.nodata, self.raw, self.valid)
        check_url(self.location)
        words, absent = storage_words(self.storage), absent_on(self.storage)
        try:
            return _chunkwise.open(self.location, list(words), list(absent), self.nodata, self.raw, self.valid)
        except ChunkwiseError as error:
            say_left_out(error, self._left_out)
            raise

    @property
    def cube(self) -> Any:
        """The open cube, of this process."""
        if self._opened is None or self._pid != os.getpid():
            opened = self._open()
            if self._identity is not None and self._told_apart(opened) != self._identity:
                raise ValueRefusedError(
                    f"`{self.location}` is another cube than the one that this plan was made for",
                    "it was written again since: open it anew, and plan anew",
                )
            self._opened, self._pid, self._about = opened, os.getpid(), None
            self._labels = {}
            self._stamp = _stamp(opened)
        elif self._stamp is not None and _stamp(self._opened) != self._stamp:
            location = _chunkwise.mask(self.location)
            if not os.path.exists(self._stamp[0]):
                raise NotFoundError(f"`{location}` is not there any more")
            raise ValueRefusedError(f"`{location}` was written again since it was opened", "open it anew: `chunkwise.open(…)`")
        return self._opened

    def _told_apart(self, opened: Any) -> str:
        """The identity of a cube: its metadata and labels, and of a folder or file of this machine when it was written."""
        said, stamp = str(opened.identity()), _stamp(opened)
        return said if stamp is None else f"{said}-{stamp[1]}"

    @property
    def identity(self) -> str:
        """What tells this cube from another one that lies at the same place."""
        if self._identity is None:
            self._identity = self._told_apart(self.cube)
        return self._identity

    @property
    def about(self) -> dict[str, Any]:
        """Dimensions, attributes and variables."""
        cube = self.cube
        about = self._about
        if about is None:
            about = json.loads(cube.describe())
            about["by_name"] = {v["name"]: v for v in about["variables"]}
            # Threads share it: it is there once it is whole.
            self._about = about
        return about

    def variable(self, name: str) -> dict[str, Any]:
        return self.about["by_name"][name]

    def labels(self, dim: str) -> tuple[str, str | None, Any]:
        """What the labels of a dimension are, their calendar, and the labels: of times, microseconds since 1970."""
        if dim not in self._labels:
            found = self.cube.labels(dim)
            if getattr(found[2], "nbytes", 0) > _KEPT:
                return found
            self._labels[dim] = found
        return self._labels[dim]

    def label_values(self, dim: str) -> np.ndarray:
        """Labels as NumPy holds them: times as ``datetime64``, or of other calendars as ``cftime``."""
        kind, calendar, labels = self.labels(dim)
        if kind == "index":
            return np.arange(labels)
        if kind == "text":
            return np.asarray(labels, dtype=np.str_)
        if kind != "time":
            return labels
        if calendar in ("standard", "gregorian", "proleptic_gregorian"):
            times = labels.astype("datetime64[us]")
            low, high = np.datetime64("1678-01-01"), np.datetime64("2262-01-01")
            real = times[~np.isnat(times)]
            return times.astype("datetime64[ns]") if ((real > low) & (real < high)).all() else times
        import cftime

        return cftime.num2date(labels, "microseconds since 1970-01-01", calendar=calendar)

    def words(self) -> list[str]:
        """The cube and how it is read, as words of the command line."""
        words = [self.location]
        for option in storage_words(self.storage):
            words += ["--storage", option]
        for status in absent_on(self.storage):
            words += ["--absent-on", str(status)]
        if self.nodata is not None:
            words += [f"--nodata={self.nodata}"]
        if self.raw:
            words.append("--raw")
        if self.valid:
            words.append("--valid")
        return words


def _stamp(opened: Any) -> tuple[Any, ...] | None:
    """The metadata document of a folder of this machine, or the file, and when it was written."""
    root, path = opened.place()
    for name in ("zarr.json", ".zmetadata", ".zgroup", ".zarray", ""):
        file = os.path.join(root, path, name) if name else root
        try:
            found = os.stat(file)
        except OSError:
            continue
        return (file, found.st_mtime_ns, found.st_size, found.st_ino) if name or os.path.isfile(file) else None
    return None


def check_url(location: str) -> None:
    """Refuses a URL whose secrets a pickle left out."""
    if "***" in location:
        raise ValueRefusedError(
            f"`{location}` had a password or a signature in its URL, which pickles leave out",
            "open it anew where it is used, or give the credentials in the environment of that process",
        )


def say_left_out(error: ChunkwiseError, names: Sequence[str]) -> None:
    """Adds to the hint of an error which secrets a pickle left out, where these may be what is missing."""
    if not names or not isinstance(error, (PermissionDeniedError, StorageError, ValueRefusedError)):
        return
    of = f"`{'`, `'.join(names)}` of `storage_options` {'is a secret' if len(names) == 1 else 'are secrets'}"
    missing = f"{of}, which pickles leave out: set them in the environment of this process"
    error.hint = missing if error.hint is None else f"{error.hint}; {missing}"


def absolute(location: str) -> str:
    """A path of this machine from its root; other locations as they are."""
    is_local = "://" not in location and not location.startswith("memory:")
    return os.path.abspath(location) if is_local and location and not os.path.isabs(location) else location


def located(location: Any, group: str | None = None, ref: str | None = None) -> str:
    """A location as the engine takes it, `LOCATION[:GROUP]`."""
    text = os.fspath(location) if hasattr(location, "__fspath__") else str(location)
    if group and group.strip("/"):
        text = f"{text}:{group.strip('/')}"
    if ref is not None:
        raise NotFoundError(
            f"`{text}` has no version `{ref}`: versions are those of Icechunk repositories, which this build does not read"
        )
    return text
