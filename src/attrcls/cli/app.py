"""The `attrcls` command: its sub-commands, and what the shell sees of errors."""

import os
import sys

import typer

from attrcls.cli import card, clean, config, data, demo, evaluate, predict, report, sample, train

app = typer.Typer(
    name="attrcls",
    help="A table of images with several labels each goes in; one multi-head model, a prediction table and a report come out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("train")(train.train)
app.command("clean-labels")(clean.clean_labels)
app.command("predict")(predict.predict)
app.command("evaluate")(evaluate.evaluate)
app.command("report")(report.report)
app.command("data")(data.data)
app.command("list")(config.list_specs)
app.command("config")(config.show_config)
app.command("schema")(config.schema)
app.add_typer(card.app, name="card")
app.command("sample")(sample.sample)

# `--wandb` alone means this project; click has no option with an optional value that typer could declare.
_WANDB_PROJECT = "attrcls"


def main() -> None:
    """Run the command line."""
    # The trunk's threads and the decoding processes share the cores: threads that spin while they wait for each other
    # took three quarters of the speed away on two busy cores. It counts only before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app(args=with_wandb_project(sys.argv[1:]))


def with_wandb_project(arguments: list[str]) -> list[str]:
    """The arguments, with the default project after a `--wandb` that names none."""
    filled = []
    for position, argument in enumerate(arguments):
        filled.append(argument)
        following = arguments[position + 1 : position + 2]
        if argument == "--wandb" and (not following or following[0].startswith("-")):
            filled.append(_WANDB_PROJECT)
    return filled
