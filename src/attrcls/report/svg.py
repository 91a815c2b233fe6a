"""A drawing on a matplotlib figure goes in; an inline SVG that takes its colours and its font from the page comes out.

The figures are drawn in stand-in colours that become CSS variables, so that one SVG serves the light and the dark
page; text stays text, in the page's own font. Matplotlib is imported on first use, without a window system and
without a change to anyone's settings.
"""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, ACCENT, ON_ACCENT = "#000001", "#000002", "#000003", "#000004", "#000005"
SERIES = tuple(f"#0000{number:02x}" for number in range(0x11, 0x19))
FONT_PX = 12.0

_THEME = {INK: "--ink", MUTED: "--muted", GRID: "--grid", ACCENT: "--accent", ON_ACCENT: "--on-accent"} | {
    colour: f"--series-{number}" for number, colour in enumerate(SERIES, start=1)
}
_SETTINGS: dict[Any, Any] = {"svg.fonttype": "none", "text.usetex": False, "font.size": FONT_PX, "font.family": "sans-serif", "path.sketch": None}


def draw_svg(paint: Callable[[Figure], None], *, name: str, label: str, width_px: float, height_px: float) -> str:
    """Let `paint` draw on an empty figure, one unit per pixel of the page, and return it as an inline SVG.

    `name` makes the ids of this SVG its own among those of the page; `label` is read out to who cannot see it.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": name}), warnings.catch_warnings():
        # The page's font draws the text; whether matplotlib's own font knows a letter does not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width_px / 72, height_px / 72), dpi=72)
        figure.patch.set_visible(False)
        paint(figure)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _restyle(written.getvalue(), name=name, label=label)


def pixel_axes(figure: Figure) -> Axes:
    """An invisible coordinate system over the whole figure: pixels from the top left."""
    axes = figure.add_axes((0, 0, 1, 1))
    width, height = figure.get_size_inches() * 72
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return axes


def shorten(name: str, *, most: int = 22) -> str:
    """`name` in at most `most` characters, and without any that an SVG may not hold."""
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def text_px(text: str, *, size_px: float = FONT_PX) -> float:
    """A width that `text` surely fits into, whatever the page's font: wide letters count in full, others for 0.6."""
    return size_px * sum(1.05 if unicodedata.east_asian_width(letter) in "WF" else 0.6 for letter in text)


def _restyle(written: str, *, name: str, label: str) -> str:
    root = ElementTree.fromstring(written)  # noqa: S314 (matplotlib wrote it a moment ago, and names have no control characters left)
    wanted = set(re.findall(r'(?:url\(#|href="#)([\w.-]+)', written))
    for parent in root.iter():
        for child in list(parent):
            # Matplotlib's style rule would reach every element of the page; ours stands in the page's stylesheet.
            if child.tag.rpartition("}")[2] in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.text = element.text if element.tag == "text" else None
        element.tail = None
        attributes = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        if attributes.get("id") not in wanted:
            attributes.pop("id", None)
        element.attrib = {key: _restyle_value(key, value, name=name) for key, value in attributes.items()}
    width, height = root.attrib["viewBox"].split()[2:]
    root.attrib = {"viewBox": f"0 0 {width} {height}", "width": width, "height": height, "role": "img", "aria-label": shorten(label, most=300)}
    return ElementTree.tostring(root, encoding="unicode")


def _restyle_value(key: str, value: str, *, name: str) -> str:
    if key == "style":
        value = re.sub(r"font-family:[^;]*;?\s*", "", value)
        return re.sub(r"#[0-9a-f]{6}", lambda found: f"var({_THEME[found[0]]})" if found[0] in _THEME else found[0], value)
    if key == "id":
        return f"{name}-{value}"
    if key == "d":
        return re.sub(r"\s*\n\s*", " ", value).strip()
    return re.sub(r"(url\(#|^#)", rf"\g<1>{name}-", value)


def quiet_axes(axes: Axes) -> None:
    """Nothing but a line below and a faint grid across, so that what is drawn stands out."""
    axes.patch.set_visible(False)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(GRID)
    axes.grid(axis="y", color=GRID, linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=MUTED, labelsize=11, pad=5)
