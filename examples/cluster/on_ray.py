"""The mean along a dimension, on Ray: `python on_ray.py CUBE OUT.zarr [DIM]`.

Partitions run as Ray tasks, states of the same cells merge in tasks of their own, and the chunks of tiles are written by the task
that computed them. The same four calls run on any pool of processes.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict

import ray

import chunkwise as cw

# States that one task merges.
FAN_IN = 8


# Tasks keep nothing behind and give the same bytes each time, so Ray may run them again when a worker is lost.
@ray.remote(num_cpus=1, max_retries=5)
def run(plan: cw.Plan, partition: cw.Partition, memory: str) -> bytes:
    return plan.run(partition, memory=memory, threads=1)


@ray.remote(num_cpus=1, max_retries=5)
def merge(plan: cw.Plan, partitions: list[cw.Partition], *states: bytes) -> bytes:
    [(_, merged)] = plan.merge(zip(partitions, states))
    return merged


def results(plan: cw.Plan, memory: str):
    """What the partitions give, as it comes: one result for each tile."""
    # Tasks need the plan without the list of its partitions; Ray keeps it once for all.
    sent = ray.put(plan.without_partitions())
    tiles = defaultdict(list)
    for partition in plan.partitions():
        tiles[partition.key].append((partition, run.remote(sent, partition, memory)))
    waiting = {}
    for level in tiles.values():
        while len(level) > 1:
            groups = [level[i : i + FAN_IN] for i in range(0, len(level), FAN_IN)]
            level = [
                (g[0][0].with_others(p for p, _ in g[1:]), merge.remote(sent, [p for p, _ in g], *(r for _, r in g))) for g in groups
            ]
        partition, result = level[0]
        waiting[result] = partition
    while waiting:
        [done], _ = ray.wait(list(waiting))
        yield waiting.pop(done), ray.get(done)


def main(cube: str, out: str, dim: str = "time") -> None:
    # Ray packs what lies in the folder and starts workers in a copy of it; locations are made absolute by the plan.
    ray.init(include_dashboard=False, log_to_driver=False)
    workers = int(ray.cluster_resources()["CPU"])
    plan = cw.open(cube).mean(dim).plan(os.path.abspath(out), partitions=4 * workers)
    try:
        print(plan.finish(results(plan, memory="1GiB")))
    except BaseException:
        plan.abort()
        raise


if __name__ == "__main__":
    main(*sys.argv[1:])
