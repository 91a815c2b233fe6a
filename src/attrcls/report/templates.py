"""The jinja2 templates of the pages, which lie beside this file."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def load_templates() -> Environment:
    """An environment that escapes whatever it is given, and fails on a name that it was not given."""
    return Environment(
        loader=PackageLoader("attrcls.report", package_path=""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
