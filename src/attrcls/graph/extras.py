"""Packages that only some people need: found, or asked for by the command that installs them."""

import importlib.util
from collections.abc import Sequence

from attrcls.errors import UserError

# What each extra of `pip install '.[…]'` brings, as it is imported.
EXTRAS = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("onnx", "onnxscript", "openvino"), "ray": ("fsspec", "ray")}


def is_installed(extra: str) -> bool:
    """Whether all of an extra's packages are here; none is imported."""
    return not _absent(extra)


def require(extra: str, *, what: str) -> None:
    """Refuse `what`, an option of the command line, where the extra's packages are not installed.

    Raises:
        UserError: which are absent, and how to install them.
    """
    absent = _absent(extra)
    if absent:
        raise UserError(f"{what} needs {', '.join(absent)}, not installed here: pip install '.[{extra}]' in attrcls's folder")


def _absent(extra: str) -> Sequence[str]:
    return [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]
