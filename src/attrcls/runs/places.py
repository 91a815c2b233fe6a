"""Where things lie on this machine, kept out of what is passed on: run folders, their pages and tracked runs.

A run's files name no folder of the machine that made them. What a later command needs of it, where a run's pictures lie, is
remembered in the cache alone, under the digest of the run's rows; elsewhere, `attrcls report --data` says it.
"""

import contextlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attrcls.errors import AttrclsError
from attrcls.features.cache import default_cache
from attrcls.files import write_json

_DIGEST = re.compile(r"[0-9a-f]{32}")
_FOLDERS = re.compile(r"(?<![\w.~/:…])(?:[A-Za-z]:)?[/\\](?:[^\s/\\:'\"]+[/\\])+")


def remember_places(digest: str, roots: Mapping[str, Path]) -> None:
    """Keep where each card's data lies for the run with this digest of its rows; nothing is kept where the cache cannot be written."""
    with contextlib.suppress(AttrclsError):
        write_json(_file(digest), {name: str(root.resolve()) for name, root in roots.items()})


def recall_places(config: Mapping[str, Any]) -> dict[str, Path]:
    """Where the data of the run with this config lay, by card; empty where this machine does not know."""
    run = config.get("run")
    digest = run.get("manifest") if isinstance(run, Mapping) else None
    # It names a file, and may be a stranger's.
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        return {}
    try:
        return {str(name): Path(root) for name, root in json.loads(_file(digest).read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def without_places(text: str, *, known: Iterable[Path] = ()) -> str:
    """A message with the folders of this machine taken out of its paths: `/photos/of/me/a.jpg` becomes `…/a.jpg`.

    `known` folders are found even where a blank stands in their names.
    """
    places = {str(place) for each in (*known, Path.cwd(), Path.home()) for place in (each, each.absolute(), each.resolve())}
    for place in sorted(places - {"/", "."}, key=len, reverse=True):
        text = text.replace(place + os.sep, "…/").replace(place, "…")
    return _FOLDERS.sub("…/", text)


def name_of_place(value: str) -> str:
    """A path's last part; of what is no path, all of it."""
    return Path(value).name or value if "/" in value or "\\" in value else value


def _file(digest: str) -> Path:
    return default_cache() / "places" / f"{digest}.json"
