"""The script that people write first: torchvision, JPEG through Pillow, float32, two workers. attrcls is held against it."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PlainPictures(Dataset[tuple[Tensor, Tensor]]):
    """Decoded in full, resized and normalised one by one; a random crop and a mirror image now and then."""

    def __init__(self, paths: Sequence[Path], labels: Sequence[int], *, px: int, train: bool) -> None:
        self.paths, self.labels, self.px, self.train = paths, labels, px, train

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        larger = int(self.px * 1.125)
        image = Image.open(self.paths[row]).convert("RGB").resize((larger, larger))
        left, top = (torch.randint(0, larger - self.px + 1, (2,)) if self.train else torch.tensor([larger - self.px] * 2) // 2).tolist()
        pixels = np.asarray(image.crop((left, top, left + self.px, top + self.px)), dtype=np.float32) / 255
        if self.train and torch.rand(1) < 0.5:
            pixels = pixels[:, ::-1]
        normalised = (pixels - np.float32(MEAN)) / np.float32(STD)
        return torch.from_numpy(np.ascontiguousarray(normalised.transpose(2, 0, 1))), torch.tensor(self.labels[row])


def predict_rate(paths: Sequence[Path], *, trunk: str, px: int, batch_size: int) -> float:
    """Pictures per second from JPEG files to the classes of all of them, start of the workers included."""
    network = torchvision.models.get_model(trunk, weights=None, num_classes=10).eval()
    loader = DataLoader(PlainPictures(paths, [0] * len(paths), px=px, train=False), batch_size=batch_size, num_workers=2)
    began = time.perf_counter()
    with torch.no_grad():
        classes = torch.cat([network(images).argmax(1) for images, _ in loader])
    assert len(classes) == len(paths)
    return len(paths) / (time.perf_counter() - began)


def train_rate(paths: Sequence[Path], labels: Sequence[int], *, trunk: str, px: int, batch_size: int, epochs: int = 1) -> float:
    """Pictures per second of whole training epochs, from JPEG to weights."""
    network = torchvision.models.get_model(trunk, weights=None, num_classes=max(labels) + 1)
    optimiser = torch.optim.AdamW(network.parameters(), lr=5e-4)
    pictures = PlainPictures(paths, labels, px=px, train=True)
    loader = DataLoader(pictures, batch_size=batch_size, shuffle=True, num_workers=2, drop_last=True)
    seen, began = 0, time.perf_counter()
    for _ in range(epochs):
        for images, targets in loader:
            loss = nn.functional.cross_entropy(network(images), targets)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            seen += len(images)
    return seen / (time.perf_counter() - began)
