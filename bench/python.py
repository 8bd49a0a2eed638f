"""chunkwise's Python package beside what else a Python user has, on the same jobs, interleaved.

    python python.py --cube M --runs 5             all jobs, all contestants; writes runs/DATE-python.md and .jsonl
    python python.py --cube S --runs 1 --trial     writes nothing: to see that all runs here

Needs requirements.txt, a wheel of chunkwise in the same environment, and the cube (`python make_cube.py M --stores v3`).

Contestants, each run a process of its own:

chunkwise       open, .mean("time").compute()
xarray          xarray + dask as a newcomer writes it: open_zarr, .mean("time").compute(), nothing set
xarray-zarrs    the same with the codec pipeline of zarrs
tuned           as one who knows writes it: one dask chunk for each column of Zarr chunks (12 steps for what reduces over all), no
                masking where nothing is missing, threads and the concurrency of Zarr set
tuned-zarrs     the same with the codec pipeline of zarrs
tensorstore     a loop over blocks on threads, numpy on each
cubed           its executor of threads, blocks of the same size as `tuned`

The first run of each warms the page cache, is not counted, and its result is compared with a loop over chunks in numpy
(peers.py, hand). Then come `--runs` rounds in which every contestant runs once, in turning order; `/ chunkwise` is the median of
the ratios inside the rounds. Seconds are those of the whole process, and of the work after imports (on a small cube most of the
former is imports); CPU is user and system; memory is the sum of the peaks (VmHWM) of the process and its children.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import cubes
import jobs

HERE = os.path.dirname(os.path.abspath(__file__))
CONTESTANTS = ("chunkwise", "xarray", "xarray-zarrs", "tuned", "tuned-zarrs", "tensorstore", "cubed")
JOBS = ("mean", "ndvi-mean", "series", "bands")
LIBRARIES = ("chunkwise", "xarray", "dask", "zarr", "zarrs", "tensorstore", "cubed", "numcodecs", "numpy")


# --- the contestants: each gives a function that imports have been done for -----------------------------------------------


def by_chunkwise(job, scale, store, threads):
    import numpy as np
    import xarray

    import chunkwise as cw

    # What compute() gives is xarray's, which imports dask when it makes its first variable.
    xarray.Variable((), 0)

    def work():
        cube = cw.open(cubes.store_path(scale, store))
        data, ndvi = cube[cubes.ARRAY], cube.calc(jobs.NDVI)
        if job == "mean":
            return data.mean("time").compute(threads=threads).values
        if job == "ndvi-mean":
            return ndvi.mean("time").compute(threads=threads).values
        if job == "series":
            row, column = cubes.pixel(scale)
            return ndvi.series(iat={"y": row, "x": column}, threads=threads).to_dict()["ndvi"]
        table = data.stats("band", threads=threads).to_dict()
        return np.stack([table[name].astype("float64") for name in jobs.COLUMNS], -1)

    return work


def with_zarrs(threads):
    """Zarr-python decodes with zarrs from now on."""
    import zarr
    import zarrs  # noqa: F401 - registers its codec pipeline

    zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline", "threading.max_workers": threads})


def by_newcomer(job, scale, store, threads):
    import dask.array  # noqa: F401 - imported now, and not within what is timed
    import numpy as np
    import xarray as xr
    import zarr  # noqa: F401

    def work():
        data = xr.open_zarr(cubes.store_path(scale, store))[cubes.ARRAY]
        if job == "mean":
            return data.mean("time").compute().values
        if job == "bands":
            over = ["time", "y", "x"]
            found = xr.Dataset({name: getattr(data, name)(over) for name in jobs.COLUMNS}).compute()
            return np.stack([found[name].values.astype("float64") for name in jobs.COLUMNS], -1)
        # Without this unsigned integers wrap round, and the result is wrong.
        data = data.astype("float64")
        ndvi = (data.sel(band="nir") - data.sel(band="red")) / (data.sel(band="nir") + data.sel(band="red"))
        if job == "ndvi-mean":
            return ndvi.mean("time").compute().values
        row, column = cubes.pixel(scale)
        return ndvi.isel(y=row, x=column).compute().values

    return work


def by_tuned(job, scale, store, threads):
    import dask.array  # noqa: F401
    import xarray  # noqa: F401
    import zarr

    import peers

    peers.THREADS = threads
    zarr.config.set({"async.concurrency": 4 * threads})
    return lambda: peers.by_xarray(job, scale, store, naive=False)


def by_tensorstore(job, scale, store, threads):
    import tensorstore  # noqa: F401

    import peers

    peers.THREADS = threads
    return lambda: peers.by_tensorstore(job, scale, store)


def by_cubed(job, scale, store, threads):
    import cubed
    import cubed.array_api as xp
    import numpy as np
    import zarr
    from cubed.runtime.create import create_executor

    zarr.config.set({"threading.max_workers": threads})

    def ndvi(block):
        red, nir = block[:, 0].astype(np.float64), block[:, 3].astype(np.float64)
        return (nir - red) / (nir + red)

    def work():
        with tempfile.TemporaryDirectory(dir=cubes.OUT) as folder:
            executor = create_executor("threads", {"max_workers": threads})
            spec = cubed.Spec(work_dir=folder, allowed_mem="2GB", executor=executor)
            data = cubed.from_zarr(f"{cubes.store_path(scale, store)}/{cubes.ARRAY}", spec=spec)
            steps = data.shape[0]
            if job == "series":
                row, column = cubes.pixel(scale)
                return ndvi(np.asarray(data[:, :, row, column].compute()))
            # Larger blocks, read as such: rechunk() would write them first.
            data = cubed.core.ops.merge_chunks(data, (12 if job == "bands" else steps, 4, 250, 250))
            if job == "mean":
                # The mean of the array API takes no integers.
                total = xp.astype(xp.sum(data, axis=0, dtype=xp.uint64), xp.float64)
                return np.asarray((total / steps).compute())
            if job == "ndvi-mean":
                return np.asarray(xp.mean(cubed.map_blocks(ndvi, data, dtype=np.float64, drop_axis=1), axis=0).compute())
            real, over = xp.astype(data, xp.float64), (0, 2, 3)
            found = cubed.compute(xp.min(data, axis=over), xp.max(data, axis=over), xp.mean(real, axis=over), xp.std(real, axis=over))
            count = np.full(data.shape[1], data.size // data.shape[1])
            return np.stack([count, *(np.asarray(v) for v in found)], -1).astype("float64")

    return work


MAKERS = {"chunkwise": by_chunkwise, "xarray": by_newcomer, "tuned": by_tuned, "tensorstore": by_tensorstore, "cubed": by_cubed}


def one(who, job, scale, store, threads, report, out):
    """One contestant does one job, in this process; tells what it took, and keeps its result where that is asked for."""
    import warnings

    import numpy as np

    warnings.filterwarnings("ignore")
    name, _, zarrs = who.partition("-")
    if zarrs:
        with_zarrs(threads)
    work = MAKERS[name](job, scale, store, threads)
    began = time.perf_counter()
    result = work()
    took = time.perf_counter() - began
    if out:
        np.save(out, result)
    with open(report, "w") as file:
        json.dump({"work_s": round(took, 5), "peak_kb": highest(os.getpid())}, file)


# --- measuring ------------------------------------------------------------------------------------------------------------


def highest(pid):
    """Peak of the resident memory of a process in KiB, 0 where it has gone."""
    try:
        with open(f"/proc/{pid}/status") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("VmHWM")), 0)
    except (FileNotFoundError, ProcessLookupError):
        return 0


def below(pid):
    """Processes that a process began, and those that these began."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                children = [int(word) for word in file.read().split()]
            found += children + [pid for child in children for pid in below(child)]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def once(words, timeout):
    """One run: wall, work and CPU seconds, peak memory in MB; or the error."""
    shutil.rmtree(cubes.OUT, ignore_errors=True)
    os.makedirs(cubes.OUT)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as err:
        report, peaks, late = os.path.join(folder, "report.json"), {}, False
        started = time.perf_counter()
        process = subprocess.Popen([*words, "--report", report], stdout=subprocess.DEVNULL, stderr=err, cwd=HERE)
        while True:
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            spent = time.perf_counter() - started
            if pid:
                break
            for child in below(process.pid):
                peaks[child] = max(highest(child), peaks.get(child, 0))
            if spent > timeout and not late:
                process.kill()
                late = True
            time.sleep(0.005)
        process.returncode = os.waitstatus_to_exitcode(status)
        found = {"wall_s": round(spent, 4), "cpu_s": round(used.ru_utime + used.ru_stime, 4)}
        if process.returncode:
            err.seek(0)
            said = err.read().decode(errors="replace").strip().splitlines()
            found["error"] = f"still running after {timeout:.0f} s" if late else (said[-1] if said else f"exit {process.returncode}")
            return found
        with open(report) as file:
            told = json.load(file)
        found |= {"work_s": told["work_s"], "peak_mb": round((told["peak_kb"] + sum(peaks.values())) / 1024, 1)}
        return found


def words_of(who, job, scale, store, threads, out=None):
    return [sys.executable, os.path.abspath(__file__), "--one", who, job, scale, store, str(threads), *(["--out", out] if out else [])]


def measure(job, args, log):
    """One job by all contestants: `{who: [run, …]}` of the counted runs, or the error."""
    runs, running = {}, []
    with tempfile.TemporaryDirectory() as folder:
        hand = os.path.join(folder, "hand.npy")
        subprocess.run([sys.executable, "peers.py", "hand", job, args.cube, args.store, "--out", hand], check=True, cwd=HERE)
        for who in args.contestants:
            result = os.path.join(folder, "result.npy")
            first = once(words_of(who, job, args.cube, args.store, args.threads, result), args.timeout)
            if "error" not in first:
                said = subprocess.run([sys.executable, "check.py", job, hand, result], capture_output=True, text=True, cwd=HERE)
                first["check"] = json.loads(said.stdout) if said.stdout.startswith("{") else {"ok": False, "note": said.stderr[-300:]}
                if not first["check"]["ok"]:
                    first["error"] = f"another result than numpy: {first['check']}"
            log({"job": job, "who": who, "round": 0, **first})
            runs[who] = first["error"] if "error" in first else []
            if "error" not in first:
                running.append(who)
    for number in range(args.runs):
        turn = number % max(len(running), 1)
        for who in running[turn:] + running[:turn]:
            found = once(words_of(who, job, args.cube, args.store, args.threads), args.timeout)
            log({"job": job, "who": who, "round": number + 1, **found})
            if isinstance(runs[who], list):
                runs[who] = found["error"] if "error" in found else [*runs[who], found]
    return runs


def ratio(runs, who, what):
    """Median over the rounds of a figure over that of chunkwise."""
    if not all(isinstance(runs.get(w), list) and runs[w] for w in (who, "chunkwise")):
        return None
    return statistics.median(a[what] / b[what] for a, b in zip(runs[who], runs["chunkwise"]))


def table(results):
    """The results as Markdown: one table for each job."""
    lines = []
    for job, runs in results.items():
        lines += [
            f"\n### {job}\n",
            f"{jobs.JOBS[job]}\n",
            "| who | s | / chunkwise | work s | / chunkwise | CPU s | peak MB |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        for who, done in runs.items():
            if not isinstance(done, list) or not done:
                lines.append(f"| {who} | {' '.join(str(done).split())[:160]} | | | | | |")
                continue
            wall, work, cpu, peak = (statistics.median(r[k] for r in done) for k in ("wall_s", "work_s", "cpu_s", "peak_mb"))
            ratios = ["" if r is None else f"{r:.2f}" for r in (ratio(runs, who, "wall_s"), ratio(runs, who, "work_s"))]
            lines.append(f"| {who} | {wall:.2f} | {ratios[0]} | {work:.2f} | {ratios[1]} | {cpu:.2f} | {peak:.0f} |")
    return "\n".join(lines) + "\n"


def version(library):
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "from its source"


def about(args):
    """What the figures are of."""
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), platform.machine())
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) // 2**20
    return {
        "date": datetime.datetime.now().strftime("%Y-%m-%d %H:%M"),
        "machine": f"{model}, {os.cpu_count()} cores, {memory} GiB, Linux {platform.release()}, load {os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "versions": ", ".join(f"{library} {version(library)}" for library in LIBRARIES),
        "cube": f"{args.cube}-{args.store}, {' × '.join(map(str, cubes.SHAPES[args.cube]))}, chunks {' × '.join(map(str, cubes.CHUNKS))}",
        "rounds": f"{args.runs}; {args.threads} threads; warm cache",
    }


def is_debug_build():
    """Whether the extension comes from a build without optimisation."""
    asked = "import os, chunkwise._chunkwise as c; print(os.path.realpath(c.__file__))"
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True)
    if said.returncode:
        raise SystemExit(f"error: chunkwise is not installed beside {sys.executable}: {said.stderr.strip().splitlines()[-1]}")
    return "/debug/" in said.stdout


def main():
    if sys.argv[1:2] == ["--one"]:
        parser = argparse.ArgumentParser()
        parser.add_argument("one", nargs=5)
        parser.add_argument("--report", required=True)
        parser.add_argument("--out")
        told = parser.parse_args(sys.argv[2:])
        who, job, scale, store, threads = told.one
        return one(who, job, scale, store, int(threads), told.report, told.out)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cube", default="S", choices=list(cubes.SHAPES))
    parser.add_argument("--store", default="v3", choices=cubes.STORES)
    parser.add_argument("--jobs", nargs="+", default=list(JOBS), choices=JOBS)
    parser.add_argument("--contestants", nargs="+", default=list(CONTESTANTS), choices=CONTESTANTS)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--timeout", type=float, default=600)
    parser.add_argument("--folder", default=os.path.join(HERE, "runs"), help="where DATE-python.jsonl and .md go")
    parser.add_argument("--trial", action="store_true", help="print the tables and write nothing; a debug build may run too")
    args = parser.parse_args()
    if not os.path.isdir(cubes.store_path(args.cube, args.store)):
        made = f"python make_cube.py {args.cube} --stores {args.store}"
        raise SystemExit(f"error: no cube at {cubes.store_path(args.cube, args.store)}: {made}")
    if is_debug_build() and not args.trial:
        raise SystemExit("error: this chunkwise is a debug build, whose figures say nothing: install a wheel, or pass --trial")
    stem, records = os.path.join(args.folder, datetime.datetime.now().strftime("%Y-%m-%dT%H%M") + "-python"), []

    def log(record):
        records.append(record)
        figures = record.get("error") or "{wall_s:8.3f} s  {work_s:8.3f} work s  {cpu_s:7.2f} CPU s  {peak_mb:6.0f} MB".format(**record)
        print(f"{record['job']:10} {record['who']:14} {record['round']}  {figures}", flush=True)

    told = about(args)
    results = {job: measure(job, args, log) for job in args.jobs}
    page = f"# {os.path.basename(stem)}\n\n" + "\n".join(f"- {k}: {v}" for k, v in told.items()) + "\n" + table(results)
    if args.trial:
        print(f"\n{page}")
        return None
    os.makedirs(args.folder, exist_ok=True)
    with open(stem + ".jsonl", "w") as file:
        file.writelines(json.dumps(record) + "\n" for record in [{"about": told, "words": sys.argv[1:]}, *records])
    with open(stem + ".md", "w") as file:
        file.write(page)
    print(f"\n{stem}.md")
    return None


if __name__ == "__main__":
    main()
