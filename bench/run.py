"""Runs chunkwise, its peers and the floor on the same jobs, interleaved, and writes what was seen.

    python run.py                                  the standing set: M in both stores, and C
    python run.py --cubes S-v3 --jobs mean bands --runs 3
    python run.py --contestants chunkwise floor-dec c --cubes M-v3

Every run is a fresh process, timed from start to end by the kernel (`wait4`). The first run of each contestant is not
counted: it warms the page cache, and its result is checked against the loop by hand. Then come `--runs` rounds, in each
of which every contestant runs once, in turning order; a ratio is the median of the ratios inside the rounds, so that
what disturbs the machine disturbs both sides.

Contestants: chunkwise (`-o none` where the job is a map: it computes all and writes nothing, as the peers do),
chunkwise-o (writes the map), floor-read (read the files), floor-dec (read and decompress), c (the job by hand in C),
hand, ts, xarray, naive (see peers.py).
"""

import argparse
import datetime
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
FLOOR = os.path.join(cubes.DATA, "floor")
CONTESTANTS = ("chunkwise", "chunkwise-o", "floor-read", "floor-dec", "c", "hand", "ts", "xarray", "naive")


def binary():
    target = os.environ.get("CARGO_TARGET_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "chunkwise", "target"
    )
    return os.environ.get("CHUNKWISE_BIN") or os.path.join(target, "release", "chunkwise")


def command(who, job, scale, store, out=None):
    """The command of one contestant, None where it does not take part; `out` keeps the result for the check."""
    if who == "chunkwise":
        return [binary(), *jobs.chunkwise(job, scale, store, "none")]
    if who == "chunkwise-o":
        return [binary(), *jobs.chunkwise(job, scale, store, os.path.join(cubes.OUT, "out.zarr"))] if jobs.writes(job) else None
    if who.startswith("floor-"):
        return [FLOOR, *jobs.floor(who.removeprefix("floor-"), job, scale, store)]
    if who == "c":
        return [FLOOR, *jobs.floor(jobs.IN_C[job], job, scale, store)] if job in jobs.IN_C and scale != "C" else None
    return [sys.executable, "peers.py", who, job, scale, store, *(["--out", out] if out else [])]


def once(words, timeout, keep_stdout=None):
    """One run: wall and CPU seconds, peak memory in MB, or the error."""
    shutil.rmtree(cubes.OUT, ignore_errors=True)
    os.makedirs(cubes.OUT)
    with tempfile.TemporaryFile() as err, open(keep_stdout or os.devnull, "wb") as out:
        started = time.perf_counter()
        process = subprocess.Popen(words, stdout=out, stderr=err, cwd=HERE)
        late = False
        while True:
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            spent = time.perf_counter() - started
            if pid:
                break
            if spent > timeout and not late:
                process.kill()
                late = True
            time.sleep(0.0002 if spent < 1 else 0.002)
        process.returncode = os.waitstatus_to_exitcode(status)
        found = {"wall_s": round(spent, 5), "cpu_s": round(used.ru_utime + used.ru_stime, 4), "peak_mb": round(used.ru_maxrss / 1024, 1)}
        if process.returncode:
            err.seek(0)
            found["error"] = (
                f"still running after {timeout:.0f} s"
                if late
                else err.read().decode(errors="replace")[-300:].strip() or f"exit {process.returncode}"
            )
        return found


def checked(who, job, scale, store, hand, timeout):
    """The first run of a contestant, and whether its result is that of the loop by hand."""
    with tempfile.TemporaryDirectory() as folder:
        result, printed = os.path.join(folder, "result.npy"), os.path.join(folder, "result.json")
        run = once(command(who, job, scale, store, result), timeout, printed)
        if "error" in run or who.startswith("floor-") or who == "c" or who == "chunkwise" and jobs.writes(job):
            return run
        if who == "chunkwise-o":
            result = os.path.join(cubes.OUT, "out.zarr")
        elif who == "chunkwise":
            result = printed
        said = subprocess.run([sys.executable, "check.py", job, hand, result], capture_output=True, text=True, cwd=HERE)
        run["check"] = json.loads(said.stdout) if said.stdout.startswith("{") else {"ok": False, "note": said.stderr[-300:]}
        return run


def cell(job, scale, store, args, log):
    """One job on one cube by all contestants: `{who: [run, …]}` of the counted runs."""
    runs, running = {}, []
    with tempfile.TemporaryDirectory() as folder:
        hand = os.path.join(folder, "hand.npy")
        made = once(command("hand", job, scale, store, hand), args.timeout)
        if "error" in made:
            raise SystemExit(f"error: the loop by hand failed on {scale} {store} {job}: {made['error']}")
        for who in args.contestants:
            if command(who, job, scale, store) is None:
                continue
            first = checked(who, job, scale, store, hand, args.timeout)
            if first.get("check", {}).get("ok") is False:
                first.setdefault("error", f"another result than by hand: {first['check']}")
            log({"cube": f"{scale}-{store}", "job": job, "who": who, "round": 0, **first})
            runs[who] = []
            if "error" in first:
                runs[who] = first["error"]
            else:
                running.append(who)
    for number in range(args.runs):
        for who in running[number % len(running) :] + running[: number % len(running)]:
            run = once(command(who, job, scale, store), args.timeout)
            log({"cube": f"{scale}-{store}", "job": job, "who": who, "round": number + 1, **run})
            runs[who].append(run)
    return runs


def ratio(runs, who, base):
    """Median over the rounds of the time of `who` over that of `base`."""
    if not all(isinstance(runs.get(w), list) and runs[w] for w in (who, base)):
        return None
    return statistics.median(a["wall_s"] / b["wall_s"] for a, b in zip(runs[who], runs[base]))


def table(results):
    """The results as Markdown: one table for each cube and job."""
    lines = []
    for (cube, job), runs in results.items():
        lines += [
            f"\n### {cube}, {job}\n",
            f"{jobs.JOBS[job]}\n",
            "| who | s | / floor-dec | / chunkwise | CPU s | peak MB |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
        ]
        for who, done in runs.items():
            if not isinstance(done, list) or not done:
                lines.append(f"| {who} | {' '.join(str(done).split())[:120]} | | | | |")
                continue
            middle = [statistics.median(r[k] for r in done) for k in ("wall_s", "cpu_s", "peak_mb")]
            shown = ["" if r is None else f"{r:.2f}" for r in (ratio(runs, who, "floor-dec"), ratio(runs, who, "chunkwise"))]
            lines.append(f"| {who} | {middle[0]:.3f} | {shown[0]} | {shown[1]} | {middle[1]:.2f} | {middle[2]:.0f} |")
    return "\n".join(lines) + "\n"


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    version = subprocess.run([binary(), "--version"], capture_output=True, text=True)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "chunkwise": " ".join(version.stdout.split()),
        "load": os.getloadavg()[0],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cubes", nargs="+", default=["M-v3", "M-v2", "C-v3"], help="SCALE-STORE, for example M-v3")
    parser.add_argument("--jobs", nargs="+", default=list(jobs.JOBS), choices=list(jobs.JOBS))
    parser.add_argument("--contestants", nargs="+", default=list(CONTESTANTS), choices=CONTESTANTS)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("--folder", default=os.path.join(HERE, "runs"), help="where DATE.jsonl and DATE.md go")
    args = parser.parse_args()
    pairs = [tuple(name.split("-", 1)) for name in args.cubes]
    for scale, store in pairs:
        if not os.path.isdir(cubes.store_path(scale, store)):
            raise SystemExit(f"error: no cube at {cubes.store_path(scale, store)}: python make_cube.py {scale} --stores {store}")
    if not os.path.exists(FLOOR):
        raise SystemExit(f"error: no {FLOOR}: gcc -O3 -march=x86-64-v3 -pthread floor.c -o {FLOOR} -lzstd -lblosc")
    os.makedirs(args.folder, exist_ok=True)
    stem = os.path.join(args.folder, datetime.datetime.now().strftime("%Y-%m-%dT%H%M"))
    results = {}
    with open(stem + ".jsonl", "w") as file:

        def log(record):
            file.write(json.dumps(record) + "\n")
            file.flush()
            figures = (
                record.get("error")
                or f"{record.get('wall_s', 0):8.3f} s  {record.get('cpu_s', 0):7.2f} CPU s  {record.get('peak_mb', 0):6.0f} MB"
            )
            print(f"{record['cube']:6} {record['job']:10} {record['who']:12} {record['round']}  {figures}", flush=True)

        about = machine()
        file.write(json.dumps({"machine": about, "words": sys.argv[1:]}) + "\n")
        for scale, store in pairs:
            for job in args.jobs:
                results[f"{scale}-{store}", job] = cell(job, scale, store, args, log)
    head = (
        f"# {os.path.basename(stem)}\n\n"
        + "\n".join(f"- {k}: {v}" for k, v in about.items())
        + f"\n- rounds: {args.runs}; two threads; warm cache; whole process\n"
    )
    with open(stem + ".md", "w") as file:
        file.write(head + table(results))
    print(f"\n{stem}.md")


if __name__ == "__main__":
    main()
