"""A web server of the tests: files at an address of this machine."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Served(dict[str, bytes]):
    """Files by their paths.

    Attributes:
        url: the address that they are served at, ending in a slash.
        requested: the paths that were requested.
        is_cut: announce the whole file, but send half of it.
    """

    url: str = ""
    is_cut: bool = False

    def __init__(self) -> None:
        super().__init__()
        self.requested: list[str] = []


@contextmanager
def serve() -> Iterator[Served]:
    """Serve files while the context is open."""
    files = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            files.requested.append(name)
            if name not in files:
                self.send_error(404)
                return
            data = files[name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if files.is_cut else data)

        def log_message(self, *arguments: Any) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        files.url = f"http://127.0.0.1:{server.server_port}/"
        yield files
        server.shutdown()
        thread.join()


def md5(data: bytes) -> str:
    """The checksum of a published file."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
