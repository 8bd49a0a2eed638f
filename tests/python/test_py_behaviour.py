"""How the package behaves among others in a process: threads, interrupts, memory, forks, pickles, errors, what it imports.

What a process is measured by is a process of its own: a script that prints JSON.
"""

import errno
import json
import os
import pickle
import re
import signal
import socket
import threading
import time
from pathlib import Path

import chunkwise as cw
import numpy as np
import pytest
import scripts
import servers
import zarr
from chunkwise import errors
from scripts import start, told

MIB = 2**20
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def endless(tmp_path_factory):
    """A cube of 10¹² cells, none of which is stored: whoever reads all of it is busy for long."""
    path = tmp_path_factory.mktemp("endless") / "endless.zarr"
    cw.create(
        path, {"time": 10_000, "y": 10_000, "x": 10_000}, var="dn", dtype="int16", missing=-1,
        chunks={"time": 10, "y": 1000, "x": 1000},
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """12 x 200 x 200 cells, and their values."""
    return scripts.small_cube(tmp_path_factory.mktemp("small") / "small.zarr")


# --- threads and the interpreter's lock -------------------------------------------------------------------------------


def test_other_threads_go_on_while_a_cube_is_computed(endless):
    """A thread counts while the main thread is within one call: had that kept the lock, it would not count at all."""
    counted = told(
        """
        import json, sys, threading, chunkwise as cw
        array, count, at = cw.open(sys.argv[1])["dn"], 0, []

        def count_on():
            global count
            while len(at) < 2:
                count += 1

        class Enough(Exception):
            pass

        def progress(done, of):
            at.append(count)
            if len(at) == 2:
                raise Enough

        threading.Thread(target=count_on, daemon=True).start()
        try:
            array.mean().compute(memory="512MiB", progress=progress)
        except Enough:
            print(json.dumps(at))
        """,
        endless,
    )
    # Between two calls of `progress` the calling thread is in the engine.
    assert counted[1] - counted[0] > 1000, counted


def test_jobs_of_two_threads_give_each_its_own_answer(small):
    path, values = small
    cube, found = cw.open(path), {}

    def work(step):
        found[step] = [cube["dn"].isel(time=step).sum().compute(threads=2).item() for _ in range(5)]

    threads = [threading.Thread(target=work, args=(step,)) for step in range(6)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    for step in range(6):
        assert found[step] == [values[step].sum(dtype="int64")] * 5


def test_an_interrupt_of_one_job_leaves_the_others_alone(endless, small):
    """The main thread is interrupted in its job; another thread's jobs before, during and after it are right."""
    path, values = small
    interrupted, found = told(
        """
        import _thread, json, sys, threading, chunkwise as cw
        small, began, ended, found = cw.open(sys.argv[2])["dn"], threading.Event(), threading.Event(), []

        def others():
            began.wait()
            while not ended.is_set() or len(found) < 20:
                found.append(small.isel(time=len(found) % 12).sum().compute().item())
                if len(found) == 3:
                    _thread.interrupt_main()

        thread = threading.Thread(target=others)
        thread.start()
        interrupted = False
        try:
            cw.open(sys.argv[1])["dn"].mean().compute(memory="512MiB", progress=lambda done, of: began.set())
        except KeyboardInterrupt:
            interrupted = True
        ended.set()
        thread.join()
        print(json.dumps([interrupted, found]))
        """,
        endless,
        path,
    )
    assert interrupted
    sums = values.sum(axis=(1, 2), dtype="int64")
    assert found == [sums[i % 12] for i in range(len(found))]


def test_a_job_takes_as_many_threads_as_it_is_given(endless):
    """Beside those that every job has: the one that it is, and one that tells how far it is."""
    most = told(
        """
        import json, os, sys, chunkwise as cw
        array = cw.open(sys.argv[1])["dn"]

        class Enough(Exception):
            pass

        def most(threads):
            seen = []

            def progress(done, of):
                seen.append(len(os.listdir("/proc/self/task")))
                if done and len(seen) > 5:
                    raise Enough

            try:
                array.mean().compute(memory="1GiB", threads=threads, progress=progress)
            except Enough:
                return max(seen)

        print(json.dumps([most(threads) for threads in (1, 1, 2, 4)]))
        """,
        endless,
    )
    # The first job starts what stays: a pool of threads that wait.
    assert [n - most[1] for n in most[1:]] == [0, 1, 3]


def test_no_threads_at_all_are_refused(small):
    with pytest.raises(ValueError, match="from one to 1024 threads"):
        cw.open(small[0])["dn"].mean().compute(threads=0)


# --- interrupts -------------------------------------------------------------------------------------------------------

INTERRUPTED = """
    import json, sys, time, chunkwise as cw
    try:
        {call}
    except KeyboardInterrupt:
        print(json.dumps(time.monotonic()), flush=True)
"""


def interrupted_after(call, *words, ready):
    """Seconds from SIGINT to KeyboardInterrupt in a process that is within `call`; the best of three."""
    took = []
    for _ in range(3):
        process = start(INTERRUPTED.format(call=call), *words)
        try:
            ready(process)
            sent = time.monotonic()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
        assert process.returncode == 0, err
        # The clock is that of the system, which both processes have.
        took.append(json.loads(out.splitlines()[-1]) - sent)
        if took[-1] < 1.2:
            break
    return min(took)


def says_that_it_runs(process):
    assert process.stdout.readline().strip() == "runs"


TELLS = "progress=lambda done, of: done and print('runs', flush=True)"


def test_an_interrupt_ends_a_computation_within_about_a_second(endless):
    call = f"cw.open(sys.argv[1])['dn'].mean().compute(memory='512MiB', {TELLS})"
    assert interrupted_after(call, endless, ready=says_that_it_runs) < 1.5


def test_an_interrupt_ends_a_command_within_about_a_second(endless):
    call = "print('runs', flush=True); cw.open(sys.argv[1])['dn'].stats(memory='512MiB')"
    assert interrupted_after(call, endless, ready=says_that_it_runs) < 1.5


def test_an_output_that_is_interrupted_is_no_cube(endless, tmp_path):
    target = tmp_path / "mean.zarr"
    call = f"cw.open(sys.argv[1])['dn'].mean('time').to_zarr(sys.argv[2], memory='512MiB', {TELLS})"
    assert interrupted_after(call, endless, target, ready=says_that_it_runs) < 1.5
    assert not target.exists()
    with pytest.raises(FileNotFoundError):
        cw.open(target)


def test_an_interrupt_ends_the_wait_for_a_server_that_does_not_answer():
    """The server takes the connection and says nothing: the cube is being opened."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = []

        def connected(process):
            taken.append(server.accept())

        call = "cw.open(f'http://127.0.0.1:{sys.argv[1]}/cube.zarr')"
        assert interrupted_after(call, server.getsockname()[1], ready=connected) < 1.5


# --- memory -----------------------------------------------------------------------------------------------------------

MEASURED = """
    import json, os, sys, xarray, chunkwise as cw
    path, out = sys.argv[1:3]

    def held(name):
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith(name))

    cube = cw.open(path)
    array = cube["reflectance"]
    # What is loaded at the first use of a kind of job is not the job's.
    array.isel(time=0, band=0, y=slice(10), x=slice(10)).mean().compute()
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    before = held("VmRSS")
    {job}
    print(json.dumps(held("VmHWM") - before))
"""
JOBS = {
    "mean to a cube in 64 MiB": (64, "array.mean('time').to_zarr(out, memory='64MiB')"),
    "mean in memory in 160 MiB": (160, "result = array.mean('time').compute(memory='160MiB')"),
    "median to a cube in 128 MiB": (128, "array.median('time').to_zarr(out, memory='128MiB')"),
    "formula to a cube in 96 MiB": (96, "cube.calc('nir - red', name='d').to_zarr(out, memory='96MiB')"),
    "one number in 64 MiB": (64, "array.mean().compute(memory='64MiB')"),
    "stats in 64 MiB": (64, "array.stats('band', memory='64MiB')"),
    "series in 64 MiB": (64, "array.series(iat={'y': 500, 'x': 500}, memory='64MiB')"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", JOBS)
def test_a_job_adds_no_more_memory_than_it_may(large, tmp_path, name):
    """Of a cube of 384 MB. What it adds to the process: the peak of the process while it runs, less what was held before."""
    allowed, job = JOBS[name]
    added = told(MEASURED.format(job=job), large, tmp_path / "out.zarr")
    print(f"{name}: {added / MIB:.1f} MiB")
    assert added <= allowed * MIB, f"{added / MIB:.1f} MiB of {allowed} MiB"


def test_a_plan_that_does_not_fit_is_a_memory_error_and_reads_nothing(small):
    path, _ = small
    with servers.Web(path.parent) as web:
        cube = cw.open(web.url(path.name))
        lazy = cube["dn"].median("time")
        seen = len(web.requests)
        for job in (
            lambda: lazy.compute(memory="1MiB"),
            lambda: lazy.to_zarr("memory:refused", memory="1MiB"),
            lambda: cube.stats(memory="1MiB"),
        ):
            with pytest.raises(MemoryError) as refused:
                job()
            assert isinstance(refused.value, errors.PlanRefusedError)
            assert re.search(r'memory="\d+MiB"', refused.value.hint), refused.value.hint
        # A command opens the cube for itself; of the values nothing is read.
        assert [key for _, key, _ in web.requests[seen:] if "/c/" in key] == []
        # What the refusal names does.
        enough = re.search(r'memory="(\d+MiB)"', refused.value.hint)[1]
        assert len(cube.stats(memory=enough)) == 1


# --- progress ---------------------------------------------------------------------------------------------------------


def test_progress_is_told_in_the_thread_that_asks_and_ends_complete(small):
    told, where = [], set()

    def progress(done, of):
        told.append((done, of))
        where.add(threading.get_ident())

    cw.open(small[0])["dn"].mean("time").compute(progress=progress)
    assert told[-1] == (192, 192)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert where == {threading.get_ident()}


def test_what_progress_raises_ends_the_job(endless):
    class Enough(Exception):
        pass

    def progress(done, of):
        raise Enough

    with pytest.raises(Enough):
        cw.open(endless)["dn"].mean().compute(memory="512MiB", progress=progress)


def test_progress_true_shows_a_bar_of_tqdm(small, capsys):
    cube = cw.open(small[0])
    cube["dn"].mean("time").compute(progress=True)
    assert re.search(r"dn: 100%.*192/192", capsys.readouterr().err)
    cube.stats(progress=True)
    assert re.search(r"stats: 100%", capsys.readouterr().err)


# --- errors -----------------------------------------------------------------------------------------------------------


def raised(call, kind):
    with pytest.raises(kind) as caught:
        call()
    assert isinstance(caught.value, cw.ChunkwiseError), repr(caught.value)
    return caught.value


def test_errors_are_those_that_python_has(small, tmp_path):
    path, _ = small
    cube = cw.open(path)
    (tmp_path / "there.zarr").mkdir()
    (tmp_path / "there.zarr" / "file").touch()
    found = [
        raised(lambda: cw.open(tmp_path / "nowhere.zarr"), FileNotFoundError),
        raised(lambda: cube["nothing"], KeyError),
        raised(lambda: cube.sel(depth=3), KeyError),
        raised(lambda: cube["dn"].mean("depth"), KeyError),
        raised(lambda: cube.calc("dn +"), ValueError),
        raised(lambda: cube.calc("nothing + 1"), KeyError),
        raised(lambda: cube["dn"].mean("time").compute(memory="1MiB"), MemoryError),
        raised(lambda: cube["dn"].mean("time").to_zarr(tmp_path / "there.zarr"), FileExistsError),
        raised(lambda: cube["dn"].mean("time").compute(max_requests=3), ValueError),
        raised(lambda: cube.zonal(tmp_path / "nowhere.geojson"), FileNotFoundError),
        raised(lambda: cube.zonal("nowhere.geojson", "meen"), KeyError),
        raised(lambda: cw.open("http://127.0.0.1:1/c.zarr", storage_options={"retry_timeout": "100ms"}), OSError),
    ]
    for error in found:
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert (str(again), again.hint) == (str(error), error.hint)


def test_a_chunk_that_is_damaged_is_an_os_error_that_names_it(tmp_path):
    array = zarr.create_array(
        tmp_path / "c.zarr", shape=(4,), chunks=(2,), dtype="int32", compressors=zarr.codecs.ZstdCodec(level=1)
    )
    array[:] = 7
    (tmp_path / "c.zarr" / "c" / "1").write_bytes(b"no zstd")
    cube = cw.open(tmp_path / "c.zarr")
    error = raised(lambda: cube.stats(), OSError)
    assert isinstance(error, errors.CorruptError) and "c/1" in str(error)
    error = raised(lambda: cube[next(iter(cube))].sum().compute(), OSError)
    assert isinstance(error, errors.CorruptError) and "c/1" in str(error)


def test_what_the_system_forbids_is_a_permission_error():
    found = told(
        """
        import json, os, numpy as np, chunkwise as cw
        cube = cw.create("memory:c", {"y": 3}, var="dn", dtype="int16")
        cube.max("y").to_zarr("memory:first")
        if os.geteuid() == 0:
            os.setuid(65534)  # root may all
        try:
            cube.max("y").to_zarr("/usr/n.zarr")
        except PermissionError as error:
            print(json.dumps([type(error).__name__, str(error)]))
        """
    )
    assert found[0] == "PermissionDeniedError" and "/usr" in found[1]


def test_what_a_server_forbids_is_a_permission_error(tmp_path):
    with servers.Web(tmp_path, status=lambda path: 403) as web:
        raised(lambda: cw.open(web.url("c.zarr")), PermissionError)


def texts_of_the_engine():
    """Texts of the Rust source that speak of options, as they stand there."""
    for path in sorted((ROOT / "crates").glob("*/src/**/*.rs")):
        if path.name == "tests.rs" or path.parent.name == "tests":
            continue
        source = path.read_text(encoding="utf-8").split("#[cfg(test)]\nmod tests {")[0]
        source = re.sub(r"^\s*//.*$", "", source, flags=re.MULTILINE)
        for found in re.finditer(r'"((?:[^"\\]|\\.)*)"', source, re.DOTALL):
            text = re.sub(r"\\\n\s*", "", found[1]).replace('\\"', '"')
            if re.search(r"[\s`]--?[a-z]", text) and "`" in text and not text.startswith(("Example", "#")):
                yield text


def test_no_error_speaks_of_options_of_the_command_line():
    """Whatever the engine says, as Python shows it; commands of other programs stay."""
    texts = list(texts_of_the_engine())
    assert len(texts) > 100
    for text in texts:
        shown = str(errors.of_kind("value", text, text))
        assert not re.search(r"(?<![\w-])--?[a-z][a-z-]* ?(?=[`A-Z{=,;]|$)", re.sub(r"`aws [^`]*`", "", shown)), shown
        assert "--" not in re.sub(r"`aws [^`]*`", "", shown), shown


@pytest.mark.parametrize(
    "said, shown",
    [
        ("pass `--memory 64MiB`", 'pass `memory="64MiB"`'),
        ("pass `--overwrite` to replace it", "pass `overwrite=True` to replace it"),
        ("name one with `--var NAME`", 'name one with `cube["NAME"]`'),
        ("select by index: `--isel x=3:5`", "select by index: `.isel(x=slice(3, 5))`"),
        ("as in `--sel time=2020..`", 'as in `.sel(time=slice("2020", None))`'),
        ("as in `--dim time=12 --dim y=10`", 'as in `dims={"time": 12, "y": 10}`'),
        ("or reduce them: `--over time,x --with mean`", 'or reduce them: `.reduce("mean", dim="time,x")`'),
        ("public: `--storage anonymous=true`", 'public: `storage_options={"anonymous": "true"}`'),
        ("unexpected argument '--foo-bar' found", "unexpected argument 'foo_bar' found"),
        ("invalid value 'x' for '--touch <HOW>'", "invalid value 'x' for 'touch'"),
    ],
)
def test_hints_are_in_words_of_python(said, shown):
    assert errors.in_python(said) == shown


def test_the_errno_of_a_missing_file_is_that_of_python(tmp_path):
    """`FileNotFoundError.errno` is what programs look at."""
    error = raised(lambda: cw.open(tmp_path / "nowhere.zarr"), FileNotFoundError)
    assert error.errno in (None, errno.ENOENT)
