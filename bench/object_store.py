"""Temporal mean of cube M on an object store: SeaweedFS behind a proxy that has each request wait 20 ms.

    python object_store.py [--runs 3] [--delay 20] [--store v3]

Beside chunkwise stand, in the same rounds and with the server up: the same objects fetched and dropped at the best
number of connections (`fetch`), `floor dec` from the local disk, xarray + dask + obstore, tensorstore. The aim is 80 %
of the slower of the first two.
"""

import argparse
import contextlib
import json
import os
import pathlib
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import cubes
import jobs

HERE = pathlib.Path(__file__).parent
BUCKET = "box"
PEER = {
    "xarray": """
import dask, numpy as np, obstore.store, xarray, zarr
dask.config.set(scheduler="threads", num_workers=8)
s = obstore.store.S3Store({bucket!r}, prefix={prefix!r}, endpoint={endpoint!r}, skip_signature=True, region="us-east-1", client_options={{"allow_http": True}})
data = xarray.open_zarr(zarr.storage.ObjectStore(s, read_only=True), chunks={{"time": -1, "band": 4, "y": 250, "x": 250}}, mask_and_scale=False)[{array!r}]
np.save({out!r}, data.mean("time").astype("float32").compute().values)
""",
    "ts": """
import numpy as np, tensorstore as ts
from concurrent.futures import ThreadPoolExecutor
context = ts.Context({{"http_request_concurrency": {{"limit": 64}}, "s3_request_concurrency": {{"limit": 64}}, "data_copy_concurrency": {{"limit": 2}}}})
store = ts.open({{"driver": "zarr3", "kvstore": {{"driver": "http", "base_url": "/".join([{endpoint!r}, {bucket!r}, {prefix!r}, {array!r}, ""])}}}}, context=context, read=True).result()
t, b, h, w = store.shape
out = np.empty((b, h, w), "float32")
def column(at):
    y, x = at
    total = np.zeros((b, 250, 250), "uint32")
    for block in [store[i : i + 20, :, y : y + 250, x : x + 250].read() for i in range(0, t, 20)]:
        total += block.result().sum(0, dtype="uint32")
    out[:, y : y + 250, x : x + 250] = total / t
with ThreadPoolExecutor(4) as pool:
    list(pool.map(column, [(y, x) for y in range(0, h, 250) for x in range(0, w, 250)]))
np.save({out!r}, out)
""",
}


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


def wait_for(port, seconds=60):
    end = time.time() + seconds
    while time.time() < end:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.2)
    raise SystemExit(f"nothing answers on port {port}")


@contextlib.contextmanager
def server(folder):
    """SeaweedFS's S3, open to all; gives its port."""
    weed = pathlib.Path(sys.executable).with_name("weed")
    master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3, s3_grpc = free_ports(8)
    user = {"name": "anonymous", "actions": ["Admin", "Read", "Write", "List"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [user]}))
    command = [
        weed, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-volume.max=200", "-master.volumeSizeLimitMB=256",
        f"-master.port={master}", f"-master.port.grpc={master_grpc}", f"-volume.port={volume}", f"-volume.port.grpc={volume_grpc}",
        "-filer", f"-filer.port={filer}", f"-filer.port.grpc={filer_grpc}",
        "-s3", f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}", f"-s3.config={folder / 's3.json'}", "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
    ]  # fmt: skip
    with open(folder / "log", "w") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        wait_for(s3)
        wait_for(filer)
        time.sleep(3)
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{filer}/buckets/{BUCKET}/", method="POST"), timeout=20).close()
        yield s3
    finally:
        running.terminate()
        running.wait()


def upload(path, port):
    import obstore
    import obstore.store

    to = obstore.store.S3Store(BUCKET, prefix=path.name, endpoint=f"http://127.0.0.1:{port}", skip_signature=True, region="us-east-1", client_options={"allow_http": True})
    keys = [f.relative_to(path).as_posix() for f in sorted(path.rglob("*")) if f.is_file()]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: obstore.put(to, key, (path / key).read_bytes()), keys))
    return keys


def timed(command, **more):
    """Wall seconds, CPU seconds, peak MB and output of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    run = subprocess.Popen([str(w) for w in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more.pop("popen", {}), stdin=subprocess.PIPE)
    out, err = run.communicate(more.get("input"))
    wall = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if run.returncode:
        raise SystemExit(f"{command[0]} ended with {run.returncode}: {err[-2000:]}")
    return {"s": wall, "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, "out": out, "err": err}


def main():
    words = argparse.ArgumentParser()
    words.add_argument("--runs", type=int, default=3)
    words.add_argument("--delay", type=int, default=20)
    words.add_argument("--store", default="v3")
    words.add_argument("--scale", default="M")
    words.add_argument("--peers", nargs="*", default=["xarray", "ts"])
    args = words.parse_args()
    path = pathlib.Path(cubes.store_path(args.scale, args.store))
    binary = os.environ.get("CHUNKWISE_BIN", "chunkwise")
    tool = pathlib.Path(cubes.DATA) / "object_store"
    subprocess.run(["rustc", "-O", "--edition", "2024", "-o", tool, HERE / "object_store.rs"], check=True)
    floor = [pathlib.Path(cubes.DATA) / "floor", *jobs.floor("dec", "mean", args.scale, args.store)]
    with tempfile.TemporaryDirectory(dir=cubes.DATA) as folder, server(pathlib.Path(folder)) as port:
        keys = upload(path, port)
        chunks = [k for k in keys if k.startswith(cubes.ARRAY + "/") and not k.endswith((".json", ".zarray", ".zattrs"))]
        print(f"{len(keys)} objects put, {len(chunks)} of them chunks", flush=True)
        (late,) = free_ports(1)
        proxy = subprocess.Popen([tool, "delay", str(late), f"127.0.0.1:{port}", str(args.delay)])
        try:
            wait_for(late)
            endpoint = f"http://127.0.0.1:{late}"
            out = os.path.join(folder, "out.npy")
            names = {"bucket": BUCKET, "prefix": path.name, "endpoint": endpoint, "array": cubes.ARRAY, "out": out}
            env = {**os.environ, "AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true"}
            job = [binary, "reduce", f"s3://{BUCKET}/{path.name}", "--over", "time", "--with", "mean", "--threads", "2", "--memory", "256MiB", "-o", "none", "--storage", "anonymous=true"]
            fetch = {n: [tool, "fetch", f"127.0.0.1:{late}", f"/{BUCKET}/{path.name}", n] for n in (16, 32, 64, 128)}
            who = {"chunkwise": lambda: timed(job, popen={"env": env}), "floor-dec": lambda: timed(floor)}
            for n, command in fetch.items():
                who[f"fetch-{n}"] = lambda command=command: timed(command, input="\n".join(chunks))
            for peer in args.peers:
                who[peer] = lambda peer=peer: timed([sys.executable, "-c", PEER[peer].format(**names)])
            seen = {name: [] for name in who}
            for turn in range(args.runs):
                for name, run in who.items():
                    found = run()
                    seen[name].append(found)
                    note = found["err"].strip().splitlines()[-1] if name == "chunkwise" and found["err"].strip() else ""
                    print(f"{turn} {name:10} {found['s']:7.2f} s  cpu {found['cpu']:6.2f} s  {note}", flush=True)
        finally:
            proxy.terminate()
    median = {name: statistics.median(r["s"] for r in runs) for name, runs in seen.items()}
    best = min((name for name in median if name.startswith("fetch-")), key=median.get)
    slower = max(median[best], median["floor-dec"])
    print(json.dumps({"medians": median, "best_fetch": best, "share_of_the_slower": slower / median["chunkwise"]}, indent=1))


if __name__ == "__main__":
    main()
