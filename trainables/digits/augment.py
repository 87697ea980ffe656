"""How training shows its pairs; evaluation shows all pairs as they were drawn."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.digits.settings import CellConfig
from trainables.engine.examples import StackedExamples
from trainables.engine.streams import fold, permutations, random_bits, stream_keys, uniform


class Augmentation:
    """A ``Presentation`` with the pairing, distortions and shifts that a cell asks for."""

    def __init__(self, settings: CellConfig, seeds: Sequence[int], device: torch.device) -> None:
        self._settings = settings
        purposes = ("order", "swap", "pairing", "shift", "distort")
        self._keys = {purpose: stream_keys(seeds, purpose, device) for purpose in purposes}

    def order(self, epoch: int, count: int) -> Tensor:
        """Return an epoch's order of pairs, ``[K, count]``, or of images, ``[K, count, 2]``."""
        # The images of pair i are 2i and 2i + 1.
        if self._settings.pairing == "renewed":
            return permutations(fold(self._keys["pairing"], epoch), 2 * count).view(-1, count, 2)
        order = permutations(fold(self._keys["order"], epoch), count)
        if self._settings.pairing == "drawn":
            return order
        # Every second bit pattern is negative, so half of the pairs are swapped.
        swapped = (random_bits(fold(self._keys["swap"], epoch), count) < 0).long().unsqueeze(2)
        return 2 * order.unsqueeze(2) + torch.cat([swapped, 1 - swapped], dim=2)

    def batch(self, train: StackedExamples, order: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """Return images ``[K, B, 2, H, W]`` and digits ``[K, B, 2]`` of a step."""
        if order.dim() == 3:  # of single images, which it pairs
            train = StackedExamples(train.inputs.flatten(1, 2), train.labels.flatten(1, 2))
        images, digits = train.batch(order)
        return self.changed(images, step), digits

    def changed(self, images: Tensor, step: Tensor) -> Tensor:
        """Distort and move each of the images ``[K, B, 2, H, W]`` in its own way."""
        if self._settings.distort:
            count = images[0, :, :, 0, 0].numel()
            factors = self.distortions(step, count).to(images.dtype)
            images = distorted(images.flatten(0, 2), factors.flatten(0, 1)).view(images.shape)
        return self._moved(images, step) if self._settings.shift else images

    def distortions(self, step: Tensor, count: int) -> Tensor:
        """Draw ``[K, count, 3]`` for ``distorted``, uniform within plus or minus ``distort``."""
        values = uniform(fold(self._keys["distort"], step), 3 * count).view(-1, count, 3)
        return (2 * values - 1) * self._settings.distort

    def _moved(self, images: Tensor, step: Tensor) -> Tensor:
        """Move each image by whole pixels in both axes; what comes in from outside is 0."""
        *each, height, width = images.shape
        values = uniform(fold(self._keys["shift"], step), images[0, ..., 0, 0].numel() * 2)
        # From 0 to 2 * shift: where in the padded image the moved one begins.
        corner = (values * (2 * self._settings.shift + 1)).long().view(*each, 2)
        rows = corner[..., 0, None] + torch.arange(height, device=images.device)
        columns = corner[..., 1, None] + torch.arange(width, device=images.device)
        padded = F.pad(images, (self._settings.shift,) * 4)
        padded = padded.gather(-2, rows.unsqueeze(-1).expand(*each, height, padded.shape[-1]))
        return padded.gather(-1, columns.unsqueeze(-2).expand(*each, height, width))


def distorted(images: Tensor, factors: Tensor) -> Tensor:
    """Return square images ``[N, H, H]`` under an affine map, bilinear, with 0 outside.

    ``factors`` ``[N, 3]`` are a turn in radians, the logarithm of a scale, and a shear. The
    pixel at (x, y) gets the value at the position to which shear, turn and scale take (x, y).
    """
    turn, log_scale, shear = factors.unbind(1)
    cos = turn.cos() * log_scale.exp()
    sin = turn.sin() * log_scale.exp()
    zero = torch.zeros_like(turn)
    maps = torch.stack([cos, cos * shear - sin, zero, sin, sin * shear + cos, zero], dim=1).view(-1, 2, 3)
    single = images.unsqueeze(1)
    grid = F.affine_grid(maps, list(single.shape), align_corners=False)
    return F.grid_sample(single, grid, align_corners=False).squeeze(1)
