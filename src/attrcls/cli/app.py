"""The `attrcls` command: its sub-commands, and what the shell sees of errors."""

import io
import os
import sys

import typer

from attrcls.cli import average, card, clean, config, data, demo, ensemble, evaluate, export, predict, pretrain, report, sample, train

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
app.command("pretrain")(pretrain.pretrain)
app.command("clean-labels")(clean.clean_labels)
app.command("predict")(predict.predict)
app.command("evaluate")(evaluate.evaluate)
app.command("ensemble")(ensemble.ensemble)
app.command("average")(average.average)
app.command("export")(export.export)
app.command("report")(report.report)
app.command("data")(data.data)
app.command("list")(config.list_specs)
app.command("config")(config.show_config)
app.command("schema")(config.schema)
app.add_typer(card.app, name="card")
app.command("sample")(sample.sample)

# What these options mean alone; click has no option with an optional value that typer could declare. The rates: four a decade.
_ALONE = {"--wandb": "attrcls", "--sweep-lr": ",".join(f"{10 ** (power / 4):.2g}" for power in range(-16, 1))}


def main() -> None:
    """Run the command line."""
    # The trunk's threads and the decoding processes share the cores: threads that spin while they wait for each other
    # took three quarters of the speed away on two busy cores. It counts only before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        # A terminal that knows few letters shows the others by their numbers; it is no reason to end.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app(args=with_values(sys.argv[1:]))


def with_values(arguments: list[str]) -> list[str]:
    """The arguments, with the default value after an option that may stand without one, and does."""
    filled = []
    for position, argument in enumerate(arguments):
        filled.append(argument)
        following = arguments[position + 1 : position + 2]
        if argument in _ALONE and (not following or following[0].startswith("-")):
            filled.append(_ALONE[argument])
    return filled
