"""A web server on this machine alone that gives a folder's files, and tells of each request before it answers."""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *args, asked: Callable[[str, str], int | None], **options):
        self._asked = asked
        super().__init__(*args, **options)

    def do_GET(self):
        if (code := self._asked("GET", self.path)) is not None:
            return self.send_error(code)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            return super().do_GET()

    def do_HEAD(self):
        return self.send_error(code) if (code := self._asked("HEAD", self.path)) is not None else super().do_HEAD()

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def served(folder: Path, asked: Callable[[str, str], int | None] = lambda method, path: None) -> Iterator[str]:
    """The server's URL. `asked` is told of each request's method and path; a number that it returns is the answer."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, asked=asked, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
