"""A server on loopback that misbehaves as a schedule says: plain HTTP and a small S3 at once.

The first segment of a path is a bucket. A bucket holds the files of a folder, read, and what was written to it, in memory; or
another server holds them, whose answers are passed on. Which of its requests fail, and how, is drawn from its seed, the request and
how often it was made, so that threads do not change it.
"""

import http.client
import http.server
import random
import re
import socket
import struct
import threading
import time
import urllib.parse
from pathlib import Path
from xml.sax.saxutils import escape

METADATA = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")
# What each fault says in the end, where nothing else helps.
CAUSES = {
    "403": "403 Forbidden",
    "404": "404|nothing at|no Zarr|cannot be listed",
    "500": "500 Internal",
    "503": "503 Service",
    "429": "429 Too",
    "truncated": "ended|closed|incomplete|end of file|eof",
    "short": "bytes|ended|EOF|at line|decode|decompress|corrupt|unexpected|no cube|xml|malformed|incomplete|not closed|not found",
    "range": "Requested|all of the object|part where|bytes|checksum|at line",
    "stall": "timed out|less than|ended",
    "reset": "reset|closed|ended|incomplete|send|broken pipe|eof",
    "flip": "checksum|crc32c",
    "trickle": "less than|timed out|ended",
}
KINDS = tuple(CAUSES)


class Bucket:
    """What a bucket holds, and how it fails.

    `kinds` are the faults that it may have, `share` of its requests have one; with `stubborn`, a share of the keys have the same
    fault for ever. `checked` tells the keys whose bytes have a checksum of their own, `methods` the requests that may
    fail (those of an upload in parts are `BEGIN`, `PART`, `COMPLETE`, `ABORT`).
    """

    def __init__(self, folder=None, seed=0, kinds=(), share=0.0, stubborn=False, checked=lambda key: False, methods=None):
        self.folder = Path(folder) if folder else None
        self.seed, self.kinds, self.share, self.stubborn, self.checked = seed, tuple(kinds), share, stubborn, checked
        self.objects, self.counts, self.lock = {}, {}, threading.Lock()
        self.methods = methods
        self.uploads = {}  # by id: the key, and the parts by number
        self.faults = []  # (kind, method, key, range)
        self.requests = 0
        self.busy, self.most_busy = 0, 0  # requests in work
        self.answered = []  # (method, key, bytes) of what was answered without a fault

    def find(self, key):
        if key in self.objects:
            return self.objects[key]
        file = self.folder / key if self.folder else None
        return file.read_bytes() if file and file.is_file() else None

    def key(self, key):
        """The key of a path."""
        return key

    def keys(self):
        found = set(self.objects)
        if self.folder:
            found |= {p.relative_to(self.folder).as_posix() for p in self.folder.rglob("*") if p.is_file()}
        return sorted(found)

    def fault(self, method, key, wanted):
        """The fault of this request and its own random numbers, or none."""
        with self.lock:
            self.requests += 1
            nth = self.counts[method, key, wanted] = self.counts.get((method, key, wanted), 0) + 1
        drawn = random.Random(f"{self.seed} {method} {key} {wanted} {'' if self.stubborn else nth}")
        kinds = [k for k in self.kinds if self.may(k, method, key, wanted)]
        if not kinds or drawn.random() >= self.share or (self.methods and method not in self.methods):
            return None, drawn
        kind = drawn.choice(kinds)
        with self.lock:
            self.faults.append((kind, method, key, wanted))
        return kind, drawn

    def may(self, kind, method, key, wanted):
        """Whether a client can know of such a fault: lies about absence, and about bytes without a checksum, it cannot."""
        name = key.rpartition("/")[2]
        if kind == "404":
            reads = method in ("GET", "HEAD") and key.count("/") == 2 and name in ("zarr.json", ".zmetadata")
            return (reads and key.startswith("in/")) or method == "PUT"
        if kind == "flip":
            return method == "GET" and self.checked(key)
        if kind == "short":
            return method in ("GET", "LIST")
        if kind == "range":
            return method == "GET" and bool(key)
        return True


class Behind(Bucket):
    """A bucket of another server on loopback, at `port`: what fails is drawn here, all else is passed on.

    Keys are those behind `base`: the container of an account, or nothing. Its client must not need the host's name to sign.
    """

    def __init__(self, port, base="", **schedule):
        super().__init__(**schedule)
        self.port, self.base = port, base

    def key(self, key):
        return key.removeprefix(self.base)

    def forward(self, request):
        """What the other server answers."""
        there = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            kept = {k: v for k, v in request.headers.items() if k.lower() not in ("connection", "content-length")}
            there.request(request.command, request.path, body=request.sent or None, headers=kept | {"Content-Length": str(len(request.sent))})
            answer = there.getresponse()
            dropped = ("connection", "content-length", "date", "keep-alive", "server", "transfer-encoding")
            # Of what is only asked about, as many bytes as it has; they are not sent.
            body = bytes(int(answer.headers.get("Content-Length") or 0)) if request.command == "HEAD" else answer.read()
            return answer.status, {k: v for k, v in answer.getheaders() if k.lower() not in dropped}, body
        finally:
            there.close()


class Server:
    """Buckets by name behind one port."""

    def __init__(self, port=0):
        self.buckets = {}
        self.start(port)

    def start(self, port=0):
        self.open = set()
        self.server = Listener(("127.0.0.1", port), handler(self))
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self):
        """Ends at once: whoever is connected is cut off."""
        self.server.shutdown()
        self.server.server_close()
        for connection in list(self.open):
            cut(connection)

    @property
    def env(self):
        return {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}", "AWS_REGION": "us-east-1", "HOME": "/nonexistent"}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 512

    def handle_error(self, *_):
        pass  # clients go away


def cut(connection):
    """Ends a connection with a reset."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)
        connection.close()
    except OSError:
        pass


def handler(outer):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            super().setup()
            outer.open.add(self.connection)

        def finish(self):
            outer.open.discard(self.connection)
            try:
                super().finish()
            except OSError:
                pass

        def log_message(self, *_):
            pass

        def serve(self):
            path, _, query = self.path.partition("?")
            name, _, key = urllib.parse.unquote(path).lstrip("/").partition("/")
            self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
            self.sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            bucket = outer.buckets.get(name)
            if bucket is None:
                return self.send(404, {}, b"<Error><Code>NoSuchBucket</Code><Message>none</Message></Error>")
            with bucket.lock:
                bucket.busy += 1
                bucket.most_busy = max(bucket.most_busy, bucket.busy)
            try:
                self.misbehave(bucket, key)
            finally:
                with bucket.lock:
                    bucket.busy -= 1

        def misbehave(self, bucket, key):
            method = self.method()
            wanted = self.headers.get("Range") or self.query.get("partNumber")
            kind, drawn = bucket.fault(method, self.query.get("prefix", "") if method == "LIST" else bucket.key(key), wanted)
            # A request that fails may have been done all the same.
            failing = kind in ("403", "404", "429", "500", "503")
            if failing and (kind != "500" or drawn.random() < 0.5):
                return self.refuse(kind, drawn)
            answer = bucket.forward(self) if isinstance(bucket, Behind) else getattr(self, f"on_{method.lower()}")(bucket, key, wanted)
            if failing:
                return self.refuse(kind, drawn)
            bucket.answered.append((method, bucket.key(key), len(answer[2]) if answer[0] < 300 else 0))
            if kind is None:
                return self.send(*answer)
            getattr(self, f"fault_{kind}")(drawn, bucket, key, *answer)

        do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = serve

        def method(self):
            if "list-type" in self.query or self.query.get("comp") == "list":
                return "LIST"
            if "uploads" in self.query:
                return "BEGIN"
            return {"PUT": "PART", "POST": "COMPLETE", "DELETE": "ABORT"}.get(self.command, self.command) if "uploadId" in self.query else self.command

        # --- what was asked for -------------------------------------------------------------------------------------

        def on_get(self, bucket, key, wanted):
            body = bucket.find(key)
            if body is None:
                return 404, {}, b"<Error><Code>NoSuchKey</Code></Error>"
            headers = {"ETag": f'"{hash(body):x}"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
            if not wanted:
                return 200, headers, body
            first, last = wanted.removeprefix("bytes=").split("-")
            start, end = (int(first), min(int(last or len(body)), len(body) - 1)) if first else (max(len(body) - int(last), 0), len(body) - 1)
            if start >= len(body):
                return 416, {"Content-Range": f"bytes */{len(body)}"}, b""
            return 206, headers | {"Content-Range": f"bytes {start}-{end}/{len(body)}"}, body[start : end + 1]

        on_head = on_get

        def on_put(self, bucket, key, _):
            with bucket.lock:
                if self.headers.get("If-None-Match") == "*" and key in bucket.objects:
                    return 412, {}, b"<Error><Code>PreconditionFailed</Code></Error>"
                bucket.objects[key] = self.sent
            return 200, {"ETag": f'"{hash(self.sent):x}"'}, b""

        def on_begin(self, bucket, key, _):
            with bucket.lock:
                upload = f"u{len(bucket.uploads)}"
                bucket.uploads[upload] = (key, {})
            return 200, {}, f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>".encode()

        def on_part(self, bucket, key, number):
            with bucket.lock:
                upload = bucket.uploads.get(self.query["uploadId"])
                if upload is None or upload[0] != key:
                    return 404, {}, b"<Error><Code>NoSuchUpload</Code></Error>"
                upload[1][int(number)] = self.sent
            return 200, {"ETag": f'"{number}"'}, b""

        def on_complete(self, bucket, key, _):
            numbers = [int(n) for n in re.findall(r"<PartNumber>(\d+)</PartNumber>", self.sent.decode())]
            with bucket.lock:
                upload = bucket.uploads.get(self.query["uploadId"])
                if upload is None or upload[0] != key:
                    return 404, {}, b"<Error><Code>NoSuchUpload</Code></Error>"
                if numbers != sorted(upload[1]) or any(len(upload[1][n]) < 5 << 20 for n in numbers[:-1]):
                    return 400, {}, b"<Error><Code>InvalidPart</Code></Error>"
                bucket.objects[key] = b"".join(upload[1][n] for n in numbers)
                del bucket.uploads[self.query["uploadId"]]
            return 200, {}, b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>"

        def on_abort(self, bucket, key, _):
            with bucket.lock:
                bucket.uploads.pop(self.query["uploadId"], None)
            return 204, {}, b""

        def on_delete(self, bucket, key, _):
            with bucket.lock:
                bucket.objects.pop(key, None)
            return 204, {}, b""

        def on_post(self, bucket, key, _):
            keys = [urllib.parse.unquote(k) for k in re.findall(r"<Key>(.*?)</Key>", self.sent.decode())]
            with bucket.lock:
                for key in keys:
                    bucket.objects.pop(key, None)
            done = "".join(f"<Deleted><Key>{escape(k)}</Key></Deleted>" for k in keys)
            return 200, {}, f"<DeleteResult>{done}</DeleteResult>".encode()

        def on_list(self, bucket, key, _):
            prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter")
            with bucket.lock:
                keys = [k for k in bucket.keys() if k.startswith(prefix)]
            folders = set()
            if delimiter:
                folders = {prefix + k[len(prefix) :].split("/")[0] + "/" for k in keys if "/" in k[len(prefix) :]}
                keys = [k for k in keys if "/" not in k[len(prefix) :]]
            told = "".join(
                f"<Contents><Key>{escape(k)}</Key><LastModified>2015-10-21T07:28:00.000Z</LastModified><ETag>x</ETag><Size>{len(bucket.find(k) or b'')}</Size></Contents>"
                for k in keys
            )
            told += "".join(f"<CommonPrefixes><Prefix>{escape(f)}</Prefix></CommonPrefixes>" for f in sorted(folders))
            return 200, {}, f"<ListBucketResult><IsTruncated>false</IsTruncated>{told}</ListBucketResult>".encode()

        # --- how it is answered -------------------------------------------------------------------------------------

        def head(self, code, headers, length):
            self.send_response(code)
            for name, value in (headers | {"Content-Length": str(length)}).items():
                self.send_header(name, value)
            self.end_headers()

        def send(self, code, headers, body):
            self.head(code, headers, len(body))
            self.put(body)

        def put(self, body):
            if self.command != "HEAD":
                self.wfile.write(body)

        def refuse(self, kind, drawn):
            headers = {}
            if kind in ("503", "429") and drawn.random() < 0.7:
                headers["Retry-After"] = drawn.choice(["0", "0", "1", "1", "100"])
            self.send(int(kind), headers, b"")

        def fault_truncated(self, drawn, bucket, key, code, headers, body):
            self.head(code, headers, len(body) or 9)
            self.put(body[: drawn.randrange(len(body) or 1)])
            self.close_connection = True

        def fault_short(self, drawn, bucket, key, code, headers, body):
            if not body or code == 404:
                return self.send(code, headers, body)
            kept = body[: drawn.randrange(len(body))]
            if "Content-Range" in headers and kept and drawn.random() < 0.5:
                start, size = re.match(r"bytes (\d+)-\d+/(\d+)", headers["Content-Range"]).groups()
                headers["Content-Range"] = f"bytes {start}-{int(start) + len(kept) - 1}/{size}"
            self.send(code, headers, kept)

        def fault_range(self, drawn, bucket, key, code, headers, body):
            whole = bucket.find(key)
            if not whole or len(whole) < 2:
                return self.send(code, headers, body)
            start = drawn.randrange(len(whole))
            n = min(len(body), len(whole) - start)
            if code == 206 and start == int(headers["Content-Range"].split()[1].split("-")[0]):
                return self.send(200, {}, whole)
            if code == 206 and drawn.random() < 0.3:
                return self.send(200, {}, whole)
            other = whole[start : start + n]
            if bucket.checked(key) and len(other) == len(body) and drawn.random() < 0.3:
                return self.send(code, headers, other)  # its headers are those of the right one
            if len(other) == len(whole):
                return self.send(code, headers, body)
            self.send(206, {"Content-Range": f"bytes {start}-{start + n - 1}/{len(whole)}"}, other)

        def fault_stall(self, drawn, bucket, key, code, headers, body):
            if drawn.random() < 0.7:
                self.head(code, headers, len(body) or 9)
                self.put(body[: drawn.randrange(len(body) or 1)])
                self.wfile.flush()
            time.sleep(1.5)
            self.close_connection = True

        def fault_reset(self, drawn, bucket, key, code, headers, body):
            if drawn.random() < 0.7:
                self.head(code, headers, len(body) or 9)
                self.put(body[: drawn.randrange(len(body) or 1)])
                self.wfile.flush()
            cut(self.connection)
            self.close_connection = True

        def fault_flip(self, drawn, bucket, key, code, headers, body):
            if body and code in (200, 206):
                at = drawn.randrange(len(body) * 8)
                body = bytearray(body)
                body[at // 8] ^= 1 << at % 8
            self.send(code, headers, bytes(body))

        def fault_trickle(self, drawn, bucket, key, code, headers, body):
            self.head(code, headers, len(body))
            step, pause = drawn.choice([(max(1, len(body) // 8), 0.04), (1, 0.05)])
            for at in range(0, min(len(body), 200 * step), step):
                self.put(body[at : at + step])
                self.wfile.flush()
                time.sleep(pause)
            self.close_connection = True

        def fault_slow(self, drawn, bucket, key, code, headers, body):
            time.sleep(0.03)
            self.send(code, headers, body)

    return Handler
