"""The model card: the numbers of a run go in, `model/README.md` comes out, for whoever gets the model without the run.

It says what the report says of the model, in the headings of Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019):
data and licence, intended use and limits, scores with intervals, for whom it is worse, how it was trained.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from attrcls.files import write_text
from attrcls.report.advice import advise
from attrcls.report.numbers import HeadNumbers, RunNumbers, read_numbers
from attrcls.report.page import flat, interval, score, task_as_trained

SHOWN_SLICES, SHOWN_CLASSES = 3, 20
# Of the task, what decides how the model came to be.
_TRAINING = ("image", "augment", "epochs", "keep", "batch_size", "accumulate", "optimiser", "schedule", "ema", "balance", "scarce", "seed")
# What Markdown and HTML read as more than a letter.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~])")


def write_model_card(run: Path) -> Path:
    """Write `model/README.md` of the run directory `run`, and return where it lies.

    Raises:
        UserError: `run` is not whole.
        AttrclsError: the file could not be written.
    """
    out = run / "model" / "README.md"
    write_text(out, render_model_card(read_numbers(run, worst=0)))
    return out


def render_model_card(numbers: RunNumbers) -> str:
    """The card as Markdown with YAML front matter; whatever a class, a card or a group is called is escaped.

    It is of the trained model, whatever the run's state says: training writes it as its last deed but one.
    """
    environment = Environment(  # noqa: S701 (it is Markdown: `finalize` escapes what HTML's rules would not)
        loader=PackageLoader("attrcls.report", package_path=""),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, finalize=_escape,
    )  # fmt: skip
    environment.filters |= {"score": score, "interval": interval, "flat": flat}
    task = task_as_trained(numbers.config)
    settings = numbers.config.get("run") or {}
    return environment.get_template("model_card.md.j2").render(
        run=numbers,
        status=numbers.status,
        title=task.get("title") or task.get("name") or numbers.name,
        trunk=flat((task.get("trunk") or {}).get("name", "")),
        heads=[(head, _classes(head), [each for each in numbers.slices_of(head) if each.worse][:SHOWN_SLICES]) for head in numbers.heads],
        cut=any(numbers.slices_of(head) for head in numbers.heads),
        limits=[item.seen for item in advise(replace(numbers, status={**numbers.status, "state": "finished"})) if item.level == "warning"],
        weights=settings.get("weights_loaded"),
        training=[(key.replace("_", " "), flat(task[key])) for key in _TRAINING if task.get(key) not in (None, "", {}, [])],
        dropped=_dropped(settings.get("decisions")),
    ).encode("utf-8", errors="replace").decode("utf-8")  # fmt: skip


def _escape(value: object) -> str:
    """One line of text that Markdown shows as it is."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


def _classes(head: HeadNumbers) -> str:
    more = f", and {len(head.classes) - SHOWN_CLASSES} more" if len(head.classes) > SHOWN_CLASSES else ""
    return ", ".join(head.classes[:SHOWN_CLASSES]) + more


def _dropped(decisions: Any) -> list[dict[str, Any]]:
    """What cleaning did, per head and class, as `config.yaml` tells it."""
    return list((decisions or {}).get("done") or [])
