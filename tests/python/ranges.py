"""A web server on loopback that gives parts of files."""

import contextlib
import functools
import http.server
import threading


class Ranges(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        try:
            with open(self.translate_path(self.path), "rb") as file:
                content = file.read()
        except OSError:
            return self.send_error(404)
        asked = self.headers.get("Range")
        first, last = 0, len(content) - 1
        if asked:
            low, high = asked.removeprefix("bytes=").split("-")
            first, last = (int(low), min(last, int(high or last))) if low else (max(0, len(content) - int(high)), last)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(last - first + 1))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[first : last + 1])


@contextlib.contextmanager
def serve(folder):
    """The address at which the files of a folder are served."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Ranges, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
