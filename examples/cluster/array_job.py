"""A mean as a batch array job: partitions run wherever the queue puts them, and leave files in a folder that all see.

    python array_job.py plan CUBE WORK --partitions 64
    python array_job.py run WORK          # as tasks of an array: see array_job.sh
    python array_job.py finish WORK mean.nc

A task that failed or was lost is submitted again: what is done is left out, and a partition that ran twice counts once.
"""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path

import chunkwise as cw


def plan(cube: str, work: Path, dim: str, partitions: int) -> None:
    """Writes the plan: a few kilobytes, without data or secrets."""
    work.mkdir(parents=True, exist_ok=True)
    planned = cw.open(cube).mean(dim).plan(partitions=partitions)
    (work / "plan.pickle").write_bytes(pickle.dumps(planned))
    print(planned)


def run(work: Path, task: int, tasks: int) -> None:
    """Runs each `tasks`-th partition."""
    planned = pickle.loads((work / "plan.pickle").read_bytes())
    memory = os.environ.get("SLURM_MEM_PER_NODE")
    limits = {
        "memory": None if memory is None else int(int(memory) * 1e6 * 0.8),
        "threads": int(os.environ.get("SLURM_CPUS_PER_TASK", "1")),
    }
    for partition in planned.partitions()[task::tasks]:
        out = work / f"{partition.number}.result"
        if out.exists():
            continue
        # Renamed when it is whole: a task that is killed leaves no half result.
        aside = out.with_suffix(f".{os.getpid()}")
        aside.write_bytes(planned.run(partition, **limits))
        aside.rename(out)


def finish(work: Path, out: str) -> None:
    """Reads the results one by one, merges states, writes the answer."""
    planned = pickle.loads((work / "plan.pickle").read_bytes())
    results = ((p, (work / f"{p.number}.result").read_bytes()) for p in planned.partitions())
    planned.finish(results).to_netcdf(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    planned = commands.add_parser("plan")
    planned.add_argument("cube")
    planned.add_argument("work", type=Path)
    planned.add_argument("--dim", default="time")
    planned.add_argument("--partitions", type=int, default=64)
    running = commands.add_parser("run")
    running.add_argument("work", type=Path)
    running.add_argument("--task", type=int, default=int(os.environ.get("SLURM_ARRAY_TASK_ID", "0")))
    running.add_argument("--tasks", type=int, default=int(os.environ.get("SLURM_ARRAY_TASK_COUNT", "1")))
    finishing = commands.add_parser("finish")
    finishing.add_argument("work", type=Path)
    finishing.add_argument("out")
    given = parser.parse_args()
    if given.command == "plan":
        plan(given.cube, given.work, given.dim, given.partitions)
    elif given.command == "run":
        run(given.work, given.task, given.tasks)
    else:
        finish(given.work, given.out)


if __name__ == "__main__":
    main()
