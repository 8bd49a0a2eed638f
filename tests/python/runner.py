"""Runs the `chunkwise` binary and reads what it says."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LAUNCH = Path(__file__).with_name("launch.py")
# What the figures of a summary may be called in JSON.
SUMMARY = {"chunks": "chunks", "absent": "absent", "peak_memory": "peak", "peak_bytes": "peak", "peak_memory_bytes": "peak"}
UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def binary():
    """The binary under test: CHUNKWISE_BIN, else the one that cargo built last."""
    if path := os.environ.get("CHUNKWISE_BIN"):
        return path
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    target = Path(os.environ.get("CARGO_TARGET_DIR") or f"{cache}/chunkwise/target")
    built = [p for p in (target / "release/chunkwise", target / "debug/chunkwise") if p.exists()]
    return str(max(built, key=lambda p: p.stat().st_mtime, default=target / "release/chunkwise"))


@dataclasses.dataclass
class Run:
    """One finished run of the binary."""

    command: list
    code: int
    out: bytes
    err: str
    seconds: float
    peak: int | None  # bytes; None where it was not measured

    @property
    def json(self):
        """stdout as JSON."""
        try:
            return json.loads(self.out)
        except ValueError as error:
            raise AssertionError(f"stdout is no JSON ({error}): {self.out[:400]!r}\n{self}") from error

    def __str__(self):
        words = " ".join(f"'{w}'" if re.search(r"[^\w@%+=:,./-]", w) else w for w in self.command)
        return f"$ {words}\nexit {self.code} in {self.seconds:.2f} s\nstdout: {self.out[:600]!r}\nstderr: {self.err[-3000:]}"

    def ok(self):
        """This run, if it ended well."""
        assert self.code == 0, str(self)
        return self

    def refused(self, *named):
        """The message of a run that ended in an error which names all of `named`, as an error should look."""
        assert self.code == 2, f"an error should exit with 2\n{self}"
        assert not re.search(r"panicked|RUST_BACKTRACE|internal error|unwrap\(\)", self.err), str(self)
        message = self.message
        assert message, f"no `error: ` on stderr\n{self}"
        for name in named:
            assert re.search(str(name), message, re.IGNORECASE), f"the error does not name {name!r}\n{self}"
        return message

    @property
    def message(self):
        """Error and hint of a failed run, from the lines for people or from the JSON object."""
        for line in self.err.splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and "error" in record:
                return " ".join(str(v) for v in (record["error"], record.get("hint") or ""))
        found = re.search(r"^error: .*", self.err, re.MULTILINE | re.DOTALL)
        return found.group(0) if found else None

    @property
    def summary(self):
        """The short summary after a job: chunks read (`chunks`), peak memory as the job counts it (`peak`), both or fewer.

        The only place that knows what the summary looks like: JSON objects, or lines with figures and units.
        """
        found = {}
        for line in self.err.splitlines():
            try:
                record = json.loads(line)
                record = record.get("summary", record)
                for key in SUMMARY.keys() & record.keys():
                    found[SUMMARY[key]] = record[key]
                continue
            except (ValueError, AttributeError):
                pass
            if number := re.search(r"([\d,_]+) chunks", line):
                found.setdefault("chunks", int(re.sub(r"[,_]", "", number.group(1))))
            if size := re.search(r"(?:peak|memory)\D{0,20}([\d.]+) ?([KMGT]?i?B)\b", line):
                found.setdefault("peak", as_bytes(*size.groups()))
        return found

    def smallest_budget(self):
        """What a refusal for lack of memory says would work, as text for `--memory`."""
        sizes = re.findall(r"--memory[ =]([\d.]+ ?[KMGT]?i?B)", self.message or "")
        assert sizes, f"the refusal names no budget that works\n{self}"
        return sizes[0].replace(" ", "")


def as_bytes(number, unit="B"):
    return float(number) * UNITS[unit]


def chunkwise(*args, json=True, timeout=120, measure=False, env=None, **popen):
    """Runs `chunkwise ARGS` to its end. `json` appends `--json`; `measure` adds the peak memory."""
    words = [str(a) for a in args] + (["--json"] if json else [])
    command = [binary(), *words]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CHUNKWISE_")} | (env or {})
    report = None
    actual = command
    if measure:
        handle, report = tempfile.mkstemp(prefix="chunkwise-peak-")
        os.close(handle)
        actual = [sys.executable, "-S", "-E", str(LAUNCH), report, *command]
    started = time.monotonic()
    try:
        done = subprocess.run(actual, capture_output=True, stdin=subprocess.DEVNULL, timeout=timeout, env=environment, **popen)
        seconds = time.monotonic() - started
        peak = int(Path(report).read_text()) if report else None
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"still running after {timeout} s: {' '.join(command)}\n{(late.stderr or b'')[-2000:]}") from None
    finally:
        if report:
            os.unlink(report)
    return Run(["chunkwise", *words], done.returncode, done.stdout, done.stderr.decode(errors="replace"), seconds, peak)


def start(*args, **popen):
    """Starts `chunkwise ARGS` and gives the process; for what is killed or left half-way."""
    return subprocess.Popen([binary(), *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **popen)
