"""A training loop in plain PyTorch: what do batch norm, augmentation and weight decay each buy?

The data come with scikit-learn: 1,797 handwritten digits of 8x8 pixels. The loop is one as people
write it: batch norm with running averages, SGD with momentum, weight decay, a cosine schedule, and
images that are shifted at random. To train it, run in this folder:
study run --grid pytorch_loop.yaml
"""

from collections.abc import Iterator
from functools import cache

import torch
from pydantic import Field
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

from trainables import FunctionSettings, Metric

TRAIN_IMAGES, VALIDATION_IMAGES = 300, 500  # the other 997 are for the test


class Settings(FunctionSettings):
    """What a grid can vary, beside the number of epochs."""

    metrics = (Metric("accuracy", "max", "%", 100), Metric("f1", "max", "%", 100))

    batch_norm: bool = Field(True, description="Whether a batch norm follows each convolution.")
    augment: bool = Field(True, description="Whether training images are shifted by up to one pixel.")
    learning_rate: float = Field(0.05, gt=0, description="Learning rate of SGD before the cosine schedule.")
    weight_decay: float = Field(0.0, ge=0, description="Weight decay of SGD.")
    batch_size: int = Field(50, ge=1, description="Images in one training step.")


def train(settings: Settings, seed: int) -> Iterator[dict[str, float]]:
    """Train one network and yield its figures once per epoch."""
    torch.manual_seed(seed)
    parts = split(seed)
    model = network(settings)
    optimizer = torch.optim.SGD(
        model.parameters(), settings.learning_rate, momentum=0.9, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.max_epochs)
    images, labels = parts["train"]
    for _ in range(settings.max_epochs):
        model.train()
        for batch in torch.randperm(len(images)).split(settings.batch_size):
            inputs = shifted(images[batch]) if settings.augment else images[batch]
            loss = F.cross_entropy(model(inputs), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        figures = {"learning_rate": schedule.get_last_lr()[0]}
        schedule.step()
        for part, (inputs, expected) in parts.items():
            figures |= evaluated(model, part, inputs, expected)
        yield figures


def network(settings: Settings) -> nn.Module:
    """Return a network from images ``[B, 1, 8, 8]`` to logits ``[B, 10]``."""

    def block(channels_in: int, channels_out: int) -> list[nn.Module]:
        norm = nn.BatchNorm2d(channels_out) if settings.batch_norm else nn.Identity()
        return [nn.Conv2d(channels_in, channels_out, 3, padding=1), norm, nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(*block(1, 16), *block(16, 32), nn.Flatten(), nn.Linear(128, 10))


def shifted(images: Tensor) -> Tensor:
    """Return images ``[B, 1, 8, 8]``, each moved by up to one pixel in both directions."""
    padded = F.pad(images, (1, 1, 1, 1))
    down, right = torch.randint(3, (2, len(images)))
    rows = down[:, None, None] + torch.arange(8)[:, None]
    columns = right[:, None, None] + torch.arange(8)
    return padded[torch.arange(len(images))[:, None, None], :, rows, columns].movedim(-1, 1)


@torch.no_grad()
def evaluated(model: nn.Module, part: str, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Return the figures of one part of the data, each named ``<part>_<metric>``."""
    model.eval()
    logits = model(images)
    guesses = logits.argmax(1)
    figures = {
        f"{part}_accuracy": (guesses == labels).double().mean().item(),
        f"{part}_f1": f1_score(labels, guesses, average="macro"),
    }
    if part != "test":  # a study has no column for the loss on the test part
        figures[f"{part}_loss"] = F.cross_entropy(logits, labels).item()
    return figures


@cache
def split(seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Divide the images differently for each seed, and in the same way for all cells."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(digits.target)
    train, rest = train_test_split(range(len(labels)), train_size=TRAIN_IMAGES, stratify=labels, random_state=seed)
    validation, test = train_test_split(rest, train_size=VALIDATION_IMAGES, stratify=labels[rest], random_state=seed)
    parts = {"train": train, "val": validation, "test": test}
    return {part: (images[chosen], labels[chosen]) for part, chosen in parts.items()}
