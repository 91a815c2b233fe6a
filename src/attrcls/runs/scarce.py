"""A task's scarce groups when a training starts: none may be empty, and how many train rows each has is told."""

from attrcls.data.manifest import Manifest
from attrcls.data.scarce import find_scarce
from attrcls.errors import Problem, ProblemsError
from attrcls.sections import ScarceSpec
from attrcls.task import Plan


def check_scarce(plan: Plan, manifest: Manifest) -> None:
    """Raises:
    ProblemsError: groups that no train row is in; all of them, each with what it looks for.
    """
    groups, train = plan.task.scarce or {}, manifest.of_split("train")
    empty = [name for name, inside in find_scarce(groups, train).inside.items() if not inside.any()]
    if empty:
        count = "a scarce group has" if len(empty) == 1 else f"{len(empty)} scarce groups have"
        raise ProblemsError(
            f"task {plan.task.name}: {count} no train row",
            [Problem(plan.found.path.name, f"scarce.{name}: {_missed(groups[name], train)}") for name in empty],
            fix="Mend what they look for, or leave them out; --set scarce=null leaves out all",
        )


def told_scarce(plan: Plan, manifest: Manifest) -> dict[str, str]:
    """What is printed of the groups before the first epoch; nothing where the task names none."""
    return {"scarce": find_scarce(plan.task.scarce, manifest.of_split("train")).told()} if plan.task.scarce else {}


def _missed(group: ScarceSpec, train: Manifest) -> str:
    sought = [f"{attribute} {label}" for attribute, label in group.where.items()]
    such = ""
    if group.files:
        sought.append(f"a path like {' or '.join(group.files)}")
        such = f", whose first path is {train.frame['path'].iloc[0]}"
    return f"expected train rows with {' and '.join(sought)}, found none among {len(train):,}{such}"
