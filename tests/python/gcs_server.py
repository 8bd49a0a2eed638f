"""`python gcs_server.py PORT`: the emulator of Google Cloud Storage, and what it lacks of the XML interface.

The XML interface is what object stores' clients for Rust use. Added here: lists, removals, suffix ranges, objects in
parts and `x-goog-if-generation-match: 0`.
"""

import re
import sys
import urllib.parse
from http import HTTPStatus
from xml.sax.saxutils import escape

from gcp_storage_emulator import server
from gcp_storage_emulator.exceptions import NotFound


# Uploads in parts, by id: parts by number.
UPLOADS = {}


class Handler(server.RequestHandler):
    def xml_key(self):
        """Bucket and key of the XML interface; None of the JSON one."""
        path = urllib.parse.unquote(urllib.parse.urlparse(self.path).path)
        bucket, _, key = path.lstrip("/").partition("/")
        return None if bucket in ("", "storage", "upload", "download", "b", "batch") else (bucket, key)

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        found = self.xml_key()
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        if found and not found[1]:
            return self.list(found[0], query)
        if found:
            return self.object(*found)
        return super().do_GET()

    do_HEAD = do_GET

    def object(self, bucket, key):
        try:
            body = self.storage.get_file(bucket, key)
        except NotFound:
            return self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        head = [("ETag", '"1"'), ("Last-Modified", "Wed, 01 Jan 2025 00:00:00 GMT")]
        wanted = self.headers.get("Range")
        if not wanted:
            return self.answer(200, body, head)
        first, last = wanted.removeprefix("bytes=").split("-")
        start = int(first) if first else max(len(body) - int(last), 0)
        end = min(int(last), len(body) - 1) if first and last else len(body) - 1
        if start >= len(body):
            return self.answer(416, b"", [("Content-Range", f"bytes */{len(body)}")])
        return self.answer(206, body[start : end + 1], [*head, ("Content-Range", f"bytes {start}-{end}/{len(body)}")])

    def list(self, bucket, query):
        one = lambda name: query.get(name, [None])[0]  # noqa: E731
        try:
            objects, prefixes = self.storage.get_file_list(bucket, one("prefix"), one("delimiter"))
        except NotFound:
            return self.answer(404, b"<Error><Code>NoSuchBucket</Code><Message>no such bucket</Message></Error>")
        text = "".join(
            f"<Contents><Key>{escape(o['name'])}</Key><LastModified>2025-01-01T00:00:00.000Z</LastModified><ETag>1</ETag><Size>{o.get('size', 0)}</Size></Contents>"
            for o in objects
        )
        text += "".join(f"<CommonPrefixes><Prefix>{escape(p)}</Prefix></CommonPrefixes>" for p in prefixes)
        body = f"<?xml version='1.0' encoding='UTF-8'?><ListBucketResult><Name>{bucket}</Name><IsTruncated>false</IsTruncated>{text}</ListBucketResult>"
        return self.answer(200, body.encode(), [("Content-Type", "application/xml")])

    def upload(self):
        """The parts of the upload that is asked for; None where none is."""
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query, keep_blank_values=True)
        number = query.get("partNumber", [None])[0]
        return query.get("uploadId", [None])[0], number, "uploads" in query

    def do_POST(self):
        found = self.xml_key()
        if not found:
            return super().do_POST()
        upload, _, begins = self.upload()
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if begins:
            upload = f"u{len(UPLOADS)}"
            UPLOADS[upload] = {}
            return self.answer(200, f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>".encode())
        parts = UPLOADS.get(upload)
        if parts is None:
            return self.answer(404, b"<Error><Code>NoSuchUpload</Code></Error>")
        numbers = [int(n) for n in re.findall(rb"<PartNumber>(\d+)</PartNumber>", sent)]
        self.store(*found, b"".join(parts[n] for n in numbers))
        UPLOADS[upload] = None
        return self.answer(200, b"<CompleteMultipartUploadResult><ETag>1</ETag></CompleteMultipartUploadResult>")

    def do_PUT(self):
        found = self.xml_key()
        upload, number, _ = self.upload()
        if found and upload:
            UPLOADS[upload][int(number)] = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            return self.answer(200, b"", [("ETag", f'"{number}"')])
        if found and self.headers.get("x-goog-if-generation-match") == "0":
            try:
                self.storage.get_file_obj(*found)
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                return self.answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            except NotFound:
                pass
        if found:
            return self.put(*found)
        return super().do_PUT()

    def put(self, bucket, key):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            self.store(bucket, key, body)
        except NotFound:
            return self.answer(404, b"<Error><Code>NoSuchBucket</Code><Message>no such bucket</Message></Error>")
        return self.answer(200, b"", [("ETag", '"1"')])

    def store(self, bucket, key, body):
        self.storage.create_file(bucket, key, body, {"name": key, "bucket": bucket, "size": len(body)})

    def do_DELETE(self):
        found = self.xml_key()
        if not found:
            return super().do_DELETE()
        if upload := self.upload()[0]:
            UPLOADS[upload] = None
            return self.answer(HTTPStatus.NO_CONTENT)
        try:
            self.storage.delete_file(*found)
        except NotFound:
            return self.answer(404)
        return self.answer(HTTPStatus.NO_CONTENT)


if __name__ == "__main__":
    server.RequestHandler = Handler
    server.create_server("127.0.0.1", int(sys.argv[1]), in_memory=True, default_bucket="box").run()
