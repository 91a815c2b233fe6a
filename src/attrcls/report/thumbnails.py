"""Pictures go in; small ones come out as `data:` URIs, so many and so large as a page can carry."""

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from attrcls.data.images import Box, read_image
from attrcls.errors import ImageError
from attrcls.report.numbers import Mistake

THUMBNAIL_PX = 96
MOST_BYTES = 3_000_000


@dataclass(frozen=True)
class Thumbnails:
    """The pictures by (card, row_id). `missing` could not be read, `left_out` would have made the page too large."""

    uris: Mapping[tuple[str, str], str]
    missing: int
    left_out: int


def make_thumbnails(mistakes: Sequence[Mistake], *, roots: Mapping[str, Path], most_bytes: int = MOST_BYTES) -> Thumbnails:
    """Make a picture of at most 96×96 px for each mistake; a row that is wrong in two heads is read once.

    `roots` gives each card's folder of pictures. Once `most_bytes` of URIs are made, the others are left out.
    """
    uris: dict[tuple[str, str], str] = {}
    missing = left_out = used = 0
    for (card, row_id), mistake in {(mistake.card, mistake.row_id): mistake for mistake in mistakes}.items():
        if used >= most_bytes:
            left_out += 1
            continue
        uri = make_thumbnail(roots.get(card), mistake.path, box=mistake.box)
        if uri is None:
            missing += 1
        else:
            uris[card, row_id] = uri
            used += len(uri)
    return Thumbnails(uris=uris, missing=missing, left_out=left_out)


def make_thumbnail(root: Path | None, path: str, *, box: Box | None = None, px: int = THUMBNAIL_PX) -> str | None:
    """Make one picture of at most `px` by `px` as a `data:` URI; None where it cannot be read.

    `path` lies below `root`, and `box` is cut out of the picture where there is one.
    """
    # A page is passed on; a run from elsewhere must not put a file from outside the image folder into it.
    if root is None or os.path.isabs(path) or os.path.normpath(path).startswith(".."):
        return None
    try:
        picture = read_image(root / path, box=box, min_px=px)
    except ImageError:
        return None
    image = Image.fromarray(picture)
    image.thumbnail((px, px), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    image.save(written, "JPEG", quality=80, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(written.getvalue()).decode("ascii")
