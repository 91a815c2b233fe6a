"""`attrcls list`, `attrcls config` and `attrcls schema`."""

from pathlib import Path
from typing import Annotated

import typer

from attrcls.cli.options import Overrides
from attrcls.cli.shell import out, reported


@reported
def list_specs() -> None:
    """List the bundled tasks and data cards."""
    from rich.table import Table

    from attrcls.spec import bundled_specs, read_yaml

    for kind, title in (("tasks", "task"), ("data_cards", "data card")):
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column(title, no_wrap=True)
        table.add_column("what it is")
        table.add_column("attributes")
        for name, path in bundled_specs(kind).items():
            raw = read_yaml(path)
            table.add_row(name, raw.get("title", ""), ", ".join(raw.get("heads") or raw.get("attributes") or ()))
        out.print(table)
        out.print()
    out.print("A path to a YAML file of your own goes wherever one of these names goes.")


@reported
def show_config(
    task: Annotated[str, typer.Argument(help="a bundled task or a YAML file")],
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Print a task's whole resolved config: every key with its value, and the cards it names."""
    import yaml

    from attrcls.cli.shell import err
    from attrcls.task import load_plan

    plan = load_plan(task, overrides=overrides)
    for what, found in [("task", plan.found), *(("card", found) for found in plan.found_cards.values())]:
        err.print(f"{what} {found.name}: {'bundled' if found.bundled else found.path}")
    config = {"task": plan.task.model_dump(mode="json"), "cards": {name: card.model_dump(mode="json") for name, card in plan.cards.items()}}
    out.print(yaml.safe_dump(config, sort_keys=False, allow_unicode=True).rstrip())


@reported
def schema(
    directory: Annotated[Path, typer.Argument(help="where task.schema.json and card.schema.json go")] = Path(),
) -> None:
    """Write the JSON schemas of tasks and data cards, so that editors complete and check them."""
    from attrcls.card import Card
    from attrcls.files import write_json
    from attrcls.spec import Spec
    from attrcls.task import Task

    models: dict[str, type[Spec]] = {"task": Task, "card": Card}
    for name, model in models.items():
        described = model.model_json_schema()
        # A file need not give its name: it is the file's own.
        described["required"] = [key for key in described["required"] if key != "name"]
        write_json(directory / f"{name}.schema.json", described)
        out.print(f"{directory / f'{name}.schema.json'}")
    out.print("In a YAML file's first line: # yaml-language-server: $schema=task.schema.json")
