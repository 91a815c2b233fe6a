"""Pictures go in; small ones come out as `data:` URIs, so many and so large as a page can carry."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from attrcls.data.images import Box, read_image
from attrcls.errors import ImageError
from attrcls.inside import Inside, leads_out
from attrcls.report.numbers import Mistake

THUMBNAIL_PX = 96
MOST_BYTES = 3_000_000


@dataclass(frozen=True)
class Thumbnails:
    """The pictures by (card, row_id). `missing` could not be read, `left_out` would have made the page too large."""

    uris: Mapping[tuple[str, str], str]
    missing: int
    left_out: int


class PictureFolders:
    """The data folder that a card's paths start from, and the folders below it that pictures may be read from, links followed."""

    def __init__(self, root: Path, folders: Sequence[Path] | None = None) -> None:
        self.root = root
        self._inside = None if folders is None else [Inside(folder) for folder in folders]

    def hold(self, path: str) -> bool:
        """Whether `path`, from a run's table, is a picture of the card's; its links count unless no folders were named."""
        return not leads_out(path) and (self._inside is None or any(inside.holds(self.root / path) for inside in self._inside))


def picture_folders(card: Mapping[str, Any], root: Path) -> PictureFolders:
    """Where pictures of a card, as a run's config holds it, may be read below its data folder `root`."""
    images, tables = card.get("images"), card.get("tables")
    images, tables = images if isinstance(images, Mapping) else {}, tables if isinstance(tables, list) else []
    if images.get("follow_links") is True:
        return PictureFolders(root)
    named = [images.get("root") or ".", *(table.get("images") for table in tables if isinstance(table, Mapping))]
    return PictureFolders(root, [root / name for name in dict.fromkeys(named) if isinstance(name, str) and not leads_out(name)])


def make_thumbnails(mistakes: Sequence[Mistake], *, folders: Mapping[str, PictureFolders], most_bytes: int = MOST_BYTES) -> Thumbnails:
    """Make a picture of at most 96×96 px for each mistake; a row that is wrong in two heads is read once.

    `folders` says where each card's pictures lie. Once `most_bytes` of URIs are made, the others are left out.
    """
    uris: dict[tuple[str, str], str] = {}
    missing = left_out = used = 0
    for (card, row_id), mistake in {(mistake.card, mistake.row_id): mistake for mistake in mistakes}.items():
        if used >= most_bytes:
            left_out += 1
            continue
        where = folders.get(card)
        # A page is passed on; a run from elsewhere must not put a file from outside the image folder into it.
        uri = make_thumbnail(where.root, mistake.path, box=mistake.box) if where and where.hold(mistake.path) else None
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
    if root is None or leads_out(path):
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
