"""The usual alternative to the engine: the comparator as an ordinary module, and its training loop."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.digits.pairs import Pairs

BATCH = 100


class Tower(nn.Module):
    """The layers that read one image: features ``[B, 128]`` and digit logits ``[B, 10]``."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 3), nn.Conv2d(16, 32, 3)
        self.digit1, self.digit2 = nn.Linear(128, 64), nn.Linear(64, 10)
        self.channels, self.units = nn.Dropout2d(dropout), nn.Dropout(dropout)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        hidden = F.leaky_relu(F.max_pool2d(self.conv1(image), 2))
        features = F.leaky_relu(F.max_pool2d(self.channels(self.conv2(hidden)), 2)).flatten(1)
        return features, self.digit2(self.units(F.leaky_relu(self.digit1(features))))


class PlainComparator(nn.Module):
    """The report's network for images ``[B, 2, 14, 14]``; with ``joined``, a shared tower reads both at once."""

    def __init__(self, sharing: bool, dropout: float, joined: bool = False) -> None:
        super().__init__()
        self.left = Tower(dropout)
        self.right = self.left if sharing else Tower(dropout)
        self.joined = joined and sharing
        self.compare1, self.compare2 = nn.Linear(256, 64), nn.Linear(64, 32)
        self.output1, self.output2 = nn.Linear(52, 32), nn.Linear(32, 2)
        self.units = nn.Dropout(dropout)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.joined:
            features, digits = self.left(images.flatten(0, 1)[:, None])
            both = features.view(len(images), 256)
            left_digit, right_digit = digits.view(-1, 2, 10).unbind(1)
        else:
            left, left_digit = self.left(images[:, 0:1])
            right, right_digit = self.right(images[:, 1:2])
            both = torch.cat([left, right], dim=1)
        hidden = self.units(F.leaky_relu(self.compare1(both)))
        hidden = self.units(F.leaky_relu(self.compare2(hidden)))
        hidden = torch.cat([hidden, left_digit, right_digit], dim=1)
        return self.output2(self.units(F.leaky_relu(self.output1(hidden)))), left_digit, right_digit


def loss_of(outputs: tuple[Tensor, Tensor, Tensor], digits: Tensor, target: Tensor, aux_weight: float) -> Tensor:
    """Return the report's loss for the true digits ``[B, 2]`` and targets ``[B]``."""
    answer, left_digit, right_digit = outputs
    on_digits = F.cross_entropy(left_digit, digits[:, 0]) + F.cross_entropy(right_digit, digits[:, 1])
    return F.cross_entropy(answer, target) + aux_weight * 0.5 * on_digits


@torch.no_grad()
def evaluate(model: PlainComparator, pairs: Pairs, aux_weight: float) -> tuple[float, float]:
    """Return the mean loss and the accuracy."""
    model.eval()
    loss, right = 0.0, 0
    for images, digits, target in zip(
        *(x.split(BATCH) for x in (pairs.images, pairs.digits, pairs.target)), strict=True
    ):
        outputs = model(images)
        loss += loss_of(outputs, digits, target, aux_weight).item() * len(images)
        right += int((outputs[0].argmax(1) == target).sum())
    return loss / len(pairs.images), right / len(pairs.images)


def single(
    pairs: Pairs, sharing: bool, dropout: float, aux_weight: float, tuned: bool, evaluated: Sequence[Pairs] = ()
) -> Callable[[], None]:
    """Return a function that trains one module for an epoch: as in the report, or tuned for speed.

    The epoch ends with an evaluation on each of ``evaluated``. Everything runs on the device of the pairs.
    """
    device = pairs.images.device
    model = PlainComparator(sharing, dropout, joined=tuned).to(device)
    if tuned:
        model = model.to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=tuned or None)
    target = pairs.target

    def epoch() -> None:
        model.train()
        for batch in torch.randperm(len(pairs.images), device=device).split(BATCH):
            optimiser.zero_grad()
            loss_of(model(pairs.images[batch]), pairs.digits[batch], target[batch], aux_weight).backward()
            optimiser.step()
        for others in evaluated:
            evaluate(model, others, aux_weight)

    return epoch


def vmapped(pairs: Pairs, models: int, sharing: bool, dropout: float, aux_weight: float) -> Callable[[], None]:
    """Return a function that trains K modules for an epoch by ``torch.func.vmap``, as PyTorch's tutorial does."""
    device = pairs.images.device
    modules = [PlainComparator(sharing, dropout).to(device) for _ in range(models)]
    parameters, _ = torch.func.stack_module_state(modules)
    skeleton = modules[0]
    optimiser = torch.optim.Adam(list(parameters.values()), lr=1e-3, fused=True)

    def loss(weights: dict[str, Tensor], images: Tensor, digits: Tensor, target: Tensor) -> Tensor:
        return loss_of(torch.func.functional_call(skeleton, weights, (images,)), digits, target, aux_weight)

    gradients = torch.func.vmap(torch.func.grad(loss), randomness="different")
    target = pairs.target

    def epoch() -> None:
        orders = torch.stack([torch.randperm(len(pairs.images), device=device) for _ in range(models)])
        for batch in orders.split(BATCH, dim=1):
            found = gradients(parameters, pairs.images[batch], pairs.digits[batch], target[batch])
            for name, parameter in parameters.items():
                parameter.grad = found[name]
            optimiser.step()

    return epoch
