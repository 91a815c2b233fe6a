"""What augmentation does to pixels, for a whole batch at once on any device: uint8 `(batch, height, width, 3)` in and out.

Parameters come one per picture, as numpy arrays `(batch,)` unless it says otherwise. Where pixels are mixed the result is
rounded to uint8 after each operation, as albumentations does.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def mirror(images: Tensor, chosen: Flags) -> Tensor:
    """The `chosen` pictures with left and right exchanged."""
    return torch.where(_each(chosen, images), images.flip(2), images)


def cut(images: Tensor, top: Ints, left: Ints, *, height: int, width: int) -> Tensor:
    """A window of each picture, which must lie inside it; one size for all."""
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    down = (_tensor(top, images)[:, None] + torch.arange(height, device=images.device))[:, :, None]
    across = (_tensor(left, images)[:, None] + torch.arange(width, device=images.device))[:, None, :]
    return images[batch, down, across]


def warp(images: Tensor, matrices: Floats, chosen: Flags) -> Tensor:
    """The `chosen` pictures moved by `matrices` `(batch, 2, 3)`, each of which takes a pixel's (x, y, 1) to its new (x, y).

    What comes into view at the border is a mirror image, the last pixel not repeated.
    """
    height, width = images.shape[1:3]
    square = np.concatenate([matrices, np.broadcast_to([[[0.0, 0.0, 1.0]]], (len(matrices), 1, 3))], axis=1)
    back = _tensor(np.linalg.inv(square)[:, :2], images, torch.float32)[:, :, :, None, None]
    x = torch.arange(width, device=images.device, dtype=torch.float32)[None, None, :]
    y = torch.arange(height, device=images.device, dtype=torch.float32)[None, :, None]
    moved = _sample(images, *(back[:, axis, 0] * x + back[:, axis, 1] * y + back[:, axis, 2] for axis in (0, 1)))
    return torch.where(_each(chosen, images), moved, images)


def resize_cut(images: Tensor, top: Ints, left: Ints, heights: Ints, widths: Ints, *, height: int, width: int) -> Tensor:
    """A window of each picture, of its own size, resized to one size by mixing the four nearest pixels of the window."""
    y = _stretched(_tensor(top, images), _tensor(heights, images), height)
    x = _stretched(_tensor(left, images), _tensor(widths, images), width)
    return _sample(images, x[:, None, :].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width))


def brighten(images: Tensor, factor: Floats, plus: Floats, chosen: Flags) -> Tensor:
    """The `chosen` pictures' values times `factor`, and `plus` (0–255) added."""
    lit = images.float() * _each(factor, images, torch.float32) + _each(plus, images, torch.float32)
    return torch.where(_each(chosen, images), _as_bytes(lit), images)


def erase(images: Tensor, top: Ints, left: Ints, heights: Ints, widths: Ints, *, fill: float) -> Tensor:
    """A window of each picture filled with one value; a window without height or width changes nothing."""
    down = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
    across = torch.arange(images.shape[2], device=images.device)[None, None, :, None]
    first_y, first_x = _each(top, images), _each(left, images)
    inside = (down >= first_y) & (down < first_y + _each(heights, images)) & (across >= first_x) & (across < first_x + _each(widths, images))
    return images.masked_fill(inside, int(fill))


def _stretched(start: Tensor, length: Tensor, out: int) -> Tensor:
    """Where each of `out` pixels looks, `(batch, out)`: centres on centres, never beyond the window's outermost pixels."""
    start, length = start[:, None].float(), length[:, None].float()
    at = (torch.arange(out, device=start.device) + 0.5) * (length / out) - 0.5
    return start + at.clamp(min=0).minimum(length - 1)


def _sample(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The pictures at source coordinates `x` and `y` `(batch, height, width)`, in pixels."""
    height, width = images.shape[1:3]
    grid = torch.stack([x * (2 / max(width - 1, 1)) - 1, y * (2 / max(height - 1, 1)) - 1], dim=-1)
    pixels = images.permute(0, 3, 1, 2).float()
    with torch.autocast(images.device.type, enabled=False):
        mixed = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=True)
    return _as_bytes(mixed.permute(0, 2, 3, 1))


def _as_bytes(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)


def _tensor(values: npt.NDArray[np.generic], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(dtype=dtype).to(like.device, non_blocking=True)


def _each(values: npt.NDArray[np.generic], images: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """One value per picture, so shaped that it meets all of the picture's pixels."""
    return _tensor(values, images, dtype)[:, None, None, None]
