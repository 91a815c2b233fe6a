"""The review page: verdicts go in, one HTML file in which a person decides them comes out.

The page needs nothing else, neither server nor network, and hands its decisions back as `decisions.csv`. Names from a
dataset enter it as JSON and are shown as text only; its policy lets no script run but its own, known by its hash.
"""

import base64
import hashlib
import json
from collections.abc import Collection
from importlib.resources import files
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from attrcls.data.manifest import Manifest
from attrcls.files import write_text
from attrcls.report.suspects import ReviewData, gather_suspects
from attrcls.report.templates import load_templates

STYLES = ("theme.css", "review.css")
# In one scope, so in the order in which one names the other.
SCRIPTS = ("review_decisions.js", "review_window.js", "review_cards.js", "review_filters.js", "review_page.js")


def write_review(file: Path, verdicts: pd.DataFrame, *, manifest: Manifest, grouped: Collection[str], title: str) -> None:
    """Write the page in which a person decides `verdicts`, one row per suspect label, to `file`.

    Rows are found in `manifest` by `(card, row_id)`. `grouped` names the heads whose attribute is constant in a group:
    all their suspects of one group are decided at once, with the group's pictures side by side.

    Raises:
        UserError: a verdict column is missing, or a verdict's row or head is not in the manifest.
        AttrclsError: the file could not be written.
    """
    write_text(file, render_review(gather_suspects(verdicts, manifest=manifest, grouped=grouped), title=title))


def render_review(data: ReviewData, *, title: str) -> str:
    """Render the whole HTML page."""
    style = "\n".join(map(_read_asset, STYLES))
    script = '(() => {\n"use strict";\n' + "\n".join(map(_read_asset, SCRIPTS)) + "\n})();"
    shown = {"digest": data.digest, "classes": data.classes, "suspects": data.suspects, "cards": data.cards, "pictures": data.pictures}
    html = (
        load_templates()
        .get_template("review.html.j2")
        .render(
            title=title,
            data=data,
            style=Markup(style),  # noqa: S704 (our own file)
            script=Markup(script),  # noqa: S704 (our own files)
            style_hash=_source_hash(style),
            script_hash=_source_hash(script),
            json=_embed(shown),
        )
    )
    # A name can carry half a surrogate pair, which no file can; the JSON writes it in escapes.
    return html.encode("utf-8", errors="replace").decode("utf-8")


def _read_asset(name: str) -> str:
    return files("attrcls.report").joinpath(name).read_text(encoding="utf-8")


def _source_hash(text: str) -> str:
    """What a Content-Security-Policy calls the element that holds exactly `text`."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _embed(value: object) -> Markup:
    # Inside a script element only "<" could end the element or open a comment, and in JSON it only stands in strings.
    return Markup(json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"))  # noqa: S704
