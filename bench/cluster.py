"""What a Dask cluster costs beside the same job in one process, on the same cores.

    python cluster.py --cube M --runs 5

A cluster of one worker process for each core, on this machine, and this process with as many threads, take turns; each
computes the temporal mean of the same cube into memory. The figure is the median of the ratios of each round. Both are
warm: the cluster is up, its workers have imported the package. The results must have the same bits.
"""

import argparse
import os
import statistics
import time

import cubes
import numpy as np
from distributed import Client, LocalCluster

import chunkwise as cw


def timed(work):
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--cube", default="M")
    arguments.add_argument("--store", default="v3")
    arguments.add_argument("--workers", type=int, default=os.cpu_count())
    arguments.add_argument("--runs", type=int, default=5)
    asked = arguments.parse_args()
    cube = cw.open(cubes.store_path(asked.cube, asked.store))
    lazy = cube[next(iter(cube))].mean("time")
    with (
        LocalCluster(n_workers=asked.workers, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        ways = {
            "local": lambda: lazy.compute(threads=asked.workers),
            "cluster": lambda: lazy.compute(client=client),
        }
        # The first of each is not counted.
        first = {name: way() for name, way in ways.items()}
        assert np.array_equal(first["local"].values.view("u1"), first["cluster"].values.view("u1"))
        ratios = []
        for i in range(asked.runs):
            order = list(ways) if i % 2 else list(ways)[::-1]
            seconds = {name: timed(ways[name])[0] for name in order}
            ratios.append(seconds["cluster"] / seconds["local"])
            print(f"local {seconds['local']:.2f} s, cluster {seconds['cluster']:.2f} s, ratio {ratios[-1]:.3f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.3f} of {asked.runs} rounds")


if __name__ == "__main__":
    main()
