"""A frozen trunk's features of every picture, computed once and kept on disk.

Enters: a manifest and a network whose trunk will not learn. Leaves: features of a few fixed views of each row, so that
heads train on them in seconds. What is kept is known by the trunk's weights, the preprocessing and the picture's bytes.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from attrcls.data.augment import Augmenter
from attrcls.data.loader import DecodedLoader, Draw, PictureDataset, Pictures, default_workers
from attrcls.data.manifest import Manifest
from attrcls.engine import Engine, precision_of
from attrcls.errors import AttrclsError, UserError
from attrcls.model.network import Network
from attrcls.task import ImageSpec
from attrcls.tensors import load_tensors, save_tensors

# Each picture is seen as it is and mirrored.
VIEWS = 2
# A second look at half the size: what the large picture's features know by heart of a person, the small one's do not.
# Side by side they raised the average precision of planted faults: faces' gender 0.30 to 0.37 (128 and 64 px).
SMALLEST_PX = 32
# Keys of pictures, and features of as many as fit: beyond this only the present manifest's are kept.
_MOST_KEPT_BYTES = 2 << 30
_VERSION = 1

Progress = Callable[[int], None]


def trunk_features(
    network: Network,
    manifest: Manifest,
    image: ImageSpec,
    *,
    fabric: Engine,
    batch_size: int = 64,
    workers: int | None = None,
    cache: Path | None = None,
    on_start: Callable[[int], Progress] | None = None,
) -> Tensor:
    """Float32 features `(VIEWS, rows, width)` of a manifest's rows; the width is the trunk's, once per scale.

    The whole picture is seen, not a crop of it. `cache` is a folder to keep features in, made if need be; None keeps
    nothing. `on_start` is told how many pictures are to be computed and returns what is told of each batch.
    Raises:
        UserError: a picture that was readable is not any more.
        AttrclsError: the cache cannot be written.
    """
    scales = scales_for(network, image.px, fabric)
    pictures = Pictures(manifest.image_paths(), manifest.boxes() if image.crop_boxes else None, image.px, image.fit)
    keys = _content_keys(pictures)
    file = cache / f"{_settings_key(network, image, scales, fabric)}.safetensors" if cache else None
    known_keys, known = _read(file)
    place = {key: position for position, key in enumerate(known_keys)}
    # The same picture may stand in several rows: it is computed once.
    wanted = {key: row for row, key in reversed(list(enumerate(keys))) if key not in place}
    rows = sorted(wanted.values())
    if rows:
        advance = on_start(len(rows)) if on_start else None
        loader = DecodedLoader(
            PictureDataset(pictures, Augmenter("none", px=image.px)),
            workers=default_workers() if workers is None else workers,
            pin_memory=fabric.device.type == "cuda",
        )
        computed = _compute(network, loader, rows, manifest=manifest, scales=scales, fabric=fabric, batch_size=batch_size, advance=advance)
        known_keys += [keys[row] for row in rows]
        known = computed if known is None else torch.cat([known, computed])
        place = {key: position for position, key in enumerate(known_keys)}
    assert known is not None
    chosen = known[[place[key] for key in keys]]
    if file and rows:
        _write(file, known_keys, known, keys, chosen)
    return chosen.permute(1, 0, 2).float()


def scales_for(network: Network, px: int, fabric: Engine) -> tuple[int, ...]:
    """The sizes in pixels at which a picture is seen: `px`, and half of it where the trunk takes that."""
    half = px // 2
    if half < SMALLEST_PX:
        return (px,)
    try:
        with torch.inference_mode(), fabric.autocast():
            network.eval().extract(torch.zeros(1, 3, half, half, dtype=torch.uint8, device=fabric.device))
    except (RuntimeError, AssertionError):  # ViT and its like are built for one size.
        return (px,)
    return (px, half)


def default_cache() -> Path:
    """`$ATTRCLS_CACHE`, else `attrcls` in `$XDG_CACHE_HOME` or `~/.cache`."""
    base = os.environ.get("ATTRCLS_CACHE")
    return Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attrcls"


def _compute(
    network: Network,
    loader: DecodedLoader,
    rows: Sequence[int],
    *,
    manifest: Manifest,
    scales: Sequence[int],
    fabric: Engine,
    batch_size: int,
    advance: Progress | None,
) -> Tensor:
    """Float16 `(rows, VIEWS, width)`: half the memory, and as exact as what autocast gave."""
    parts = []
    draws = [[Draw(row, (0,)) for row in rows[start : start + batch_size]] for start in range(0, len(rows), batch_size)]
    network.eval()
    with torch.inference_mode(), fabric.autocast():
        for decoded in loader.batches(draws):
            if decoded.failures:
                position, _, message = decoded.failures[0]
                path = manifest.frame["path"].iloc[int(decoded.rows[position])]
                raise UserError(f"{path}: {message}; it was readable before: `attrcls data` lists such files")
            images = decoded.images.permute(0, 3, 1, 2).to(fabric.device)
            views = [_at_scales(network, view, scales) for view in (images, images.flip(3))]
            parts.append(torch.stack(views, dim=1).half().cpu())
            if advance:
                advance(len(images))
    return torch.cat(parts)


def _at_scales(network: Network, images: Tensor, scales: Sequence[int]) -> Tensor:
    full = scales[0]
    sized = [images if px == full else F.interpolate(images.float(), size=(px, px), mode="area").round().byte() for px in scales]
    return torch.cat([network.extract(each.contiguous(memory_format=torch.channels_last)) for each in sized], dim=1)


def _content_keys(pictures: Pictures) -> list[bytes]:
    """16 bytes per row: its file's content, and its box where boxes are cut out."""

    def key(row: int) -> bytes:
        try:
            data = pictures.paths[row].read_bytes()
        except OSError as error:
            raise UserError(f"{pictures.paths[row]}: {(error.strerror or str(error)).lower()}; it was readable before") from error
        box = b"" if pictures.boxes is None else pictures.boxes[row].tobytes()
        return hashlib.blake2b(data + box, digest_size=16).digest()

    with ThreadPoolExecutor(default_workers()) as pool:
        return list(pool.map(key, range(len(pictures.paths))))


def _settings_key(network: Network, image: ImageSpec, scales: Sequence[int], fabric: Engine) -> str:
    """Everything but the picture that decides its features."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((_VERSION, VIEWS, tuple(scales), image.fit, image.mean, image.std, image.crop_boxes, precision_of(fabric))).encode())
    # The module's text tells architectures of equal tensors apart.
    digest.update(str(network.trunk).encode())
    for name, tensor in network.trunk.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _read(file: Path | None) -> tuple[list[bytes], Tensor | None]:
    """What is kept, or nothing where the file is absent or damaged: it is then made anew."""
    if file is None or not file.exists():
        return [], None
    try:
        tensors, _ = load_tensors(file)
        keys: Any = tensors["keys"].numpy()
        features = tensors["features"]
    except (UserError, KeyError):
        return [], None
    if len(keys) != len(features) or features.ndim != 3:
        return [], None
    return [row.tobytes() for row in keys], features


def _write(file: Path, keys: list[bytes], features: Tensor, present_keys: Sequence[bytes], present: Tensor) -> None:
    if features.nbytes > _MOST_KEPT_BYTES:
        first = {key: position for position, key in reversed(list(enumerate(present_keys)))}
        keys, features = list(first), present[list(first.values())]
    rows = torch.from_numpy(np.frombuffer(b"".join(keys), dtype=np.uint8).copy().reshape(len(keys), -1))
    try:
        save_tensors({"keys": rows, "features": features}, file, metadata={})
    except AttrclsError as error:
        raise AttrclsError(f"{error}; name another folder in $ATTRCLS_CACHE") from error
