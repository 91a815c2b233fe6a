"""A frozen trunk's features of every picture, computed once and kept on disk.

Enters: a manifest and a network whose trunk will not learn. Leaves: features of a few fixed views of each row, so that
heads train on them in seconds. What is kept is known by the trunk's weights, the preprocessing and the picture's bytes.
"""

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from attrcls.data.augment import Augmenter
from attrcls.data.draws import Parts
from attrcls.data.loader import DecodedLoader, Draw, PictureDataset, Pictures, default_workers, pictures_of
from attrcls.data.manifest import Manifest
from attrcls.data.recipes import Recipes
from attrcls.engine import Engine, precision_of
from attrcls.errors import UserError
from attrcls.features.cache import content_keys, kept_or_computed
from attrcls.features.passes import PassError, open_passes, trunk_engine
from attrcls.model.network import Network
from attrcls.sections import ImageSpec
from attrcls.tensors import digest_tensors

# Cleaning sees each picture as it is and mirrored.
VIEWS = 2
# A second look at half the size: what the large picture's features know by heart of a person, the small one's do not.
# Side by side they raised the average precision of planted faults: faces' gender 0.30 to 0.37 (128 and 64 px).
SMALLEST_PX = 32
_VERSION = 2

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
    warn: Callable[[str], None] = lambda text: None,
) -> Tensor:
    """Float32 features `(VIEWS, rows, width)` of a manifest's rows; the width is the trunk's, once per scale.

    The whole picture is seen, not a crop of it. `cache` is a folder to keep features in, made if need be; None keeps
    nothing. `on_start` is told how many pictures are to be computed and returns what is told of each batch; `warn` is told
    where the cache cannot be written, and where torch had to do what OpenVINO could not.
    Raises:
        UserError: a picture that was readable is not any more.
    """
    scales = scales_for(network, image.px, fabric)
    pictures = Pictures(manifest.image_paths(), manifest.boxes() if image.crop_boxes else None, image.px, image.fit)
    engine = trunk_engine(fabric, pictures=len(manifest) * VIEWS)
    keys = content_keys(pictures)

    def compute(engine: str, rows: list[int]) -> Iterator[Tensor]:
        advance = on_start(len(rows)) if on_start else None
        loader = _loader(PictureDataset(pictures, Recipes(Augmenter("none", px=image.px))), fabric, workers)
        starts = range(0, len(rows), batch_size)
        draws = Parts(len(starts), lambda place: [Draw(row, (0,)) for row in rows[starts[place] : starts[place] + batch_size]])
        batches = _started(_pixels(loader, draws, manifest=manifest, fabric=fabric, advance=advance))
        passes = open_passes(network, scales, engine=engine, fabric=fabric, batch_size=batch_size)
        for pixels in batches:
            sized = [_resized(pixels, px) for px in scales]
            views = [[look(each.flip(3) if mirrored else each) for look, each in zip(passes, sized, strict=True)] for mirrored in (False, True)]
            seen = torch.stack([torch.cat(view, dim=1) for view in views], dim=1)
            # Float16: half the memory, and as exact as what autocast gave.
            yield seen.half().cpu()

    def kept(engine: str) -> Tensor:
        file = _file(cache, network, image, fabric, engine, looks=(VIEWS, tuple(scales)))
        return kept_or_computed(file, keys, functools.partial(compute, engine), warn=warn)

    return _by_engine(engine, kept, warn=warn).permute(1, 0, 2).float()


def view_features(
    network: Network,
    manifest: Manifest,
    image: ImageSpec,
    recipe: str | Sequence[Any],
    *,
    views: int,
    fabric: Engine,
    batch_size: int = 64,
    workers: int | None = None,
    cache: Path | None = None,
    on_start: Callable[[int], Progress] | None = None,
    warn: Callable[[str], None] = lambda text: None,
) -> Tensor:
    """Float16 features `(views, rows, width)`: first of each picture as it is predicted, then as `recipe` augments it.

    How a picture is augmented depends on its content and the view alone, so that every run finds the same features.
    `cache`, `on_start` and `warn` as in `trunk_features`; `views` pictures are counted for each row.
    Raises:
        UserError: a picture that was readable is not any more.
    """
    pictures = pictures_of(manifest, image)
    keys = content_keys(pictures)
    engine = trunk_engine(fabric, pictures=len(manifest) * views)

    def compute(engine: str, rows: list[int]) -> Iterator[Tensor]:
        advance = on_start(len(rows) * views) if on_start else None
        # A view is a repeat of its row: the first is shown as it is, the others by the recipe.
        dataset = PictureDataset(pictures, Recipes(Augmenter("none", px=image.px), repeats=Augmenter(recipe, px=image.px, from_px=image.resize_px)))
        # Whole rows in each batch.
        rows_each = max(1, batch_size // views)
        size, starts = rows_each * views, range(0, len(rows), rows_each)

        def drawn(place: int) -> list[Draw]:
            part = rows[starts[place] : starts[place] + rows_each]
            words = {row: np.frombuffer(keys[row], dtype=np.uint32).tolist() for row in part}
            return [Draw(row, (view, *words[row]), view) for row in part for view in range(views)]

        draws = Parts(len(starts), drawn)
        batches = _started(_pixels(_loader(dataset, fabric, workers), draws, manifest=manifest, fabric=fabric, advance=advance))
        (look,) = open_passes(network, (image.px,), engine=engine, fabric=fabric, batch_size=size)
        for pixels in batches:
            features = look(pixels).half().cpu()
            yield features.view(-1, views, features.shape[1])

    def kept(engine: str) -> Tensor:
        looks = ("views", views, image.px, image.resize_px, recipe if views > 1 else "none")
        return kept_or_computed(_file(cache, network, image, fabric, engine, looks=looks), keys, functools.partial(compute, engine), warn=warn)

    return _by_engine(engine, kept, warn=warn).permute(1, 0, 2)


def _by_engine(engine: str, kept: Callable[[str], Tensor], *, warn: Callable[[str], None]) -> Tensor:
    """What is kept of an engine, or computed; all of it by torch where OpenVINO does not run the trunk, so that no file has both's."""
    try:
        return kept(engine)
    except PassError as error:
        warn(f"{error}; torch ran it")
        return kept("torch")


def _started(batches: Iterator[Tensor]) -> Iterator[Tensor]:
    """The same, with the first one there: workers go on with the next while the caller makes ready."""
    return itertools.chain([next(batches)], batches)


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


def _loader(dataset: PictureDataset, fabric: Engine, workers: int | None) -> DecodedLoader:
    return DecodedLoader(dataset, workers=default_workers() if workers is None else workers, pin_memory=fabric.device.type == "cuda")


def _pixels(loader: DecodedLoader, draws: Sequence[list[Draw]], *, manifest: Manifest, fabric: Engine, advance: Progress | None) -> Iterator[Tensor]:
    """uint8 `(batch, 3, px, px)` on the device, for each list of draws in their order."""
    for decoded in loader.batches(draws):
        if decoded.failures:
            position, _, message = decoded.failures[0]
            path = manifest.frame["path"].iloc[int(decoded.rows[position])]
            raise UserError(f"{path}: {message}; it was readable before: `attrcls data` lists such files")
        yield decoded.images.to(fabric.device, non_blocking=True)
        if advance:
            advance(len(decoded.images))


def _resized(images: Tensor, px: int) -> Tensor:
    """uint8 `(batch, 3, side, side)` at `px` pixels a side, by area."""
    return images if images.shape[3] == px else F.interpolate(images.float(), size=(px, px), mode="area").round().byte()


def _file(cache: Path | None, network: Network, image: ImageSpec, fabric: Engine, engine: str, *, looks: tuple[Any, ...]) -> Path | None:
    """Where features are kept: everything but the picture that decides them is in the name."""
    if cache is None:
        return None
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((_VERSION, *looks, image.fit, image.mean, image.std, image.crop_boxes, precision_of(fabric))).encode())
    # Features of torch keep the name that they had when there was nothing else.
    if engine != "torch":
        digest.update(engine.encode())
    # The module's text tells architectures of equal tensors apart.
    digest.update(str(network.trunk).encode())
    digest_tensors(digest, network.trunk.state_dict())
    return cache / f"{digest.hexdigest()}.safetensors"
