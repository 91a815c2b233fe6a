"""Files that lie elsewhere: a URL goes in, bytes come out, read through fsspec; the disk is left to those who know paths.

Nothing here trusts what a server says of a file's size: bytes are counted as they come.
"""

import re
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

from attrcls.errors import UserError

# What can be read, and the package that fsspec needs for it. A list, because fsspec also knows URLs that open archives or run through
# other hosts, and names of pictures come from strangers' tables.
SCHEMES = {"file": None, "http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
MAX_BYTES = 2 << 30  # a film or an archive named .jpg must not fill the memory
# Before each further try at what a network may have lost.
_WAIT_SECONDS = (0.2, 1.0)
# What a web server will answer to a second try as well: a bad request, and pictures that are not for us or not there any more.
_FOR_GOOD = (400, 401, 403, 410)
_URL = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_CHUNK_BYTES = 1 << 20


class AddressError(UserError):
    """A text that begins as an address and is none."""


class FetchError(Exception):
    """Why a file's bytes did not come, in one line; `missing` when there is no such file."""

    def __init__(self, reason: str, *, missing: bool = False) -> None:
        super().__init__(reason)
        self.missing = missing


@dataclass(frozen=True)
class Url:
    """Where a file or a folder lies elsewhere. Written out it tells neither a password nor a signature that `text` may hold."""

    text: str

    def __str__(self) -> str:
        shown = re.sub(r"//[^/@]*@", "//…@", self.text)
        return re.sub(r"\?.*", "?…", shown) if self.is_http else shown

    def __truediv__(self, name: str) -> "Url":
        # In a key of a bucket `#` and `%` mean themselves; in a URL of the web they would not. A signature of the folder stays at the end.
        below = (quote(name) if self.is_http else name).lstrip("/")
        return Url(f"{self.bare.rstrip('/')}/{below}{self.text.removeprefix(self.bare)}")

    @property
    def scheme(self) -> str:
        """Such as `s3`."""
        return self.text.partition("://")[0].lower()

    @property
    def is_http(self) -> bool:
        """Whether it is of the web, where a query may follow the path."""
        return self.scheme in ("http", "https")

    @property
    def bare(self) -> str:
        """The text without a query or fragment."""
        return re.split(r"[?#]", self.text, maxsplit=1)[0] if self.is_http else self.text

    @property
    def suffix(self) -> str:
        """The file's ending, as a path's."""
        return PurePosixPath(self.bare.partition("://")[2].partition("/")[2]).suffix

    @property
    def parent(self) -> "Url":
        """The folder that it lies in."""
        return Url(self.bare.rpartition("/")[0])


Location: TypeAlias = Path | Url


def parse_location(text: str | Path) -> Location:
    """A path, or a URL where the text begins as one; `file://` is a path.

    Raises:
        AddressError: a `file://` that names another machine, or none.
        UserError: a scheme that cannot be read, or whose package is not installed.
    """
    match = _URL.match(str(text))
    if not match:
        return Path(text)
    scheme = match[1].lower()
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise UserError(f"{text}: expected a path or a URL that begins with {known}; found {scheme}://")
    if scheme == "file":
        return _path_of(str(text))
    _filesystem(scheme)
    return Url(str(text))


def address_of(location: Location) -> str:
    """The text that tells it from all others, and that `parse_location` takes; it may hold a password, so it is not for eyes."""
    return location.text if isinstance(location, Url) else str(location)


def is_url(text: str | Path) -> bool:
    """Whether the text names something elsewhere that can be read; also after it was a path, which joins the slashes."""
    head, colon, tail = str(text).partition(":/")
    return bool(colon) and head.lower() in SCHEMES and tail != ""


def read_bytes(url: Url) -> bytes:
    """A file's bytes, with a second and a third try where a network may have lost them.

    Raises:
        FetchError: it is not there, may not be read, is empty or too large, or the network failed thrice.
    """
    for seconds in (*_WAIT_SECONDS, None):
        try:
            return _fetch(url)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise FetchError("no such file", missing=True) from None
        except PermissionError as error:
            raise FetchError(f"may not be read: {_reason(error)}") from None
        except FetchError:
            raise
        except Exception as error:  # each store has exceptions of its own
            if seconds is None or getattr(error, "status", None) in _FOR_GOOD:
                raise FetchError(f"could not be fetched: {_reason(error)}") from None
            time.sleep(seconds)
    raise AssertionError("the last try returns or raises")


def check_reachable(root: Url, files: list[Url]) -> None:
    """Refuse a folder elsewhere of which nothing can be seen: neither one of a few of its files nor the folder itself.

    Raises:
        UserError: nothing is there, or the store refuses or does not answer.
    """
    try:
        filesystem = _filesystem(root.scheme)
        if any(filesystem.exists(file.text) for file in files) or filesystem.exists(root.text):
            return
        reason = "nothing is there: neither the folder nor the first of the pictures"
    except Exception as error:  # each store has exceptions of its own
        reason = _reason(error)
    raise UserError(f"{root}: {reason}; look at the address, and at who may read it")


def _fetch(url: Url) -> bytes:
    # One request, read as it comes: asked for a size first, a web server would be asked twice for each picture.
    options = {"block_size": 0, "size": 1} if url.is_http else {}
    chunks, count = [], 0
    with _filesystem(url.scheme).open(url.text, "rb", **options) as file:
        while chunk := file.read(_CHUNK_BYTES):
            count += len(chunk)
            if count > MAX_BYTES:
                raise FetchError(f"a file of more than {MAX_BYTES / 1e9:.1f} GB, the limit")
            chunks.append(chunk)
    if not count:
        raise FetchError("zero bytes")
    return b"".join(chunks)


def _filesystem(scheme: str) -> Any:
    try:
        import fsspec

        return fsspec.filesystem(scheme)
    except ImportError:
        needed = SCHEMES[scheme] or "fsspec"
        raise UserError(f"{scheme}:// needs the package {needed}, not installed here: pip install fsspec {needed}") from None


def _path_of(text: str) -> Path:
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = None
    if parts is None or parts.netloc not in ("", "localhost"):
        raise AddressError(f"{text}: expected file:///… (three slashes, then the path from the root) or the path alone")
    return Path(url2pathname(unquote(parts.path)))


def _reason(error: Exception) -> str:
    """An exception's first line, without the passwords and signatures of an address in it."""
    text = str(error).splitlines()
    if not text or not text[0]:
        return type(error).__name__
    return re.sub(r"(://[^\s'\"?]*)\?[^\s'\"]*", r"\1?…", re.sub(r"//[^/@\s]*@", "//…@", text[0]))
