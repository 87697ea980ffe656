"""What training shows of its pairs in an epoch and a step; evaluation shows all pairs as they were drawn.

Everything is a function of a seed and of the epoch or step (streams.py).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.config import CellSettings
from trainables.engine.streams import fold, permutations, random_bits, stream_keys, uniform


class Augmentation:
    """The order, pairing, distortions and shifts that the settings of a cell ask for, for the seeds of a stack.

    Settings that a model does not have are as if off.
    """

    def __init__(self, settings: CellSettings, seeds: Sequence[int], device: torch.device) -> None:
        self._pairing = getattr(settings, "pairing", "drawn")
        self._shift, self._distort = getattr(settings, "shift", 0), getattr(settings, "distort", 0.0)
        self._order_keys, self._swap_keys, self._pairing_keys, self._shift_keys, self._distort_keys = (
            stream_keys(seeds, purpose, device) for purpose in ("order", "swap", "pairing", "shift", "distort")
        )

    def order(self, epoch: int, count: int) -> Tensor:
        """Return an epoch's order of ``count`` examples, ``[K, count]``, or of their images, ``[K, count, 2]``.

        The images of pair i are 2i and 2i + 1.
        """
        if self._pairing == "renewed":
            return permutations(fold(self._pairing_keys, epoch), 2 * count).view(-1, count, 2)
        order = permutations(fold(self._order_keys, epoch), count)
        if self._pairing == "drawn":
            return order
        swapped = (random_bits(fold(self._swap_keys, epoch), count) < 0).long().unsqueeze(2)
        return 2 * order.unsqueeze(2) + torch.cat([swapped, 1 - swapped], dim=2)

    def changed(self, images: Tensor, step: Tensor) -> Tensor:
        """Distort and move each of the images ``[K, B, 2, H, W]`` in its own way."""
        if self._distort:
            factors = self.distortions(step, images[0, :, :, 0, 0].numel()).to(images.dtype)
            images = distorted(images.flatten(0, 2), factors.flatten(0, 1)).view(images.shape)
        return self._moved(images, step) if self._shift else images

    def distortions(self, step: Tensor, count: int) -> Tensor:
        """Draw ``[K, count, 3]`` for ``distorted``, uniformly within plus and minus the setting."""
        values = uniform(fold(self._distort_keys, step), 3 * count).view(-1, count, 3)
        return (2 * values - 1) * self._distort

    def _moved(self, images: Tensor, step: Tensor) -> Tensor:
        """Move each image by its own whole number of pixels in both axes; 0 moves in."""
        *each, height, width = images.shape
        values = uniform(fold(self._shift_keys, step), images[0, ..., 0, 0].numel() * 2)
        # From 0 to 2 * shift: where in the padded image the moved one begins.
        corner = (values * (2 * self._shift + 1)).long().view(*each, 2)
        rows, columns = (
            corner[..., axis, None] + torch.arange(size, device=images.device)
            for axis, size in enumerate((height, width))
        )
        padded = F.pad(images, (self._shift,) * 4)
        padded = padded.gather(-2, rows.unsqueeze(-1).expand(*each, height, padded.shape[-1]))
        return padded.gather(-1, columns.unsqueeze(-2).expand(*each, height, width))


def distorted(images: Tensor, factors: Tensor) -> Tensor:
    """Return square images ``[N, H, H]`` under an affine map about their middle, bilinear, with 0 outside.

    ``factors`` ``[N, 3]`` are a turn in radians, the logarithm of a scale, and a shear: a pixel at (x, y) is taken from
    where its position is after the shear, the turn and the scaling.
    """
    turn, size, shear = factors.unbind(1)
    cos, sin = turn.cos() * size.exp(), turn.sin() * size.exp()
    none = torch.zeros_like(turn)
    maps = torch.stack([cos, cos * shear - sin, none, sin, sin * shear + cos, none], dim=1).view(-1, 2, 3)
    single = images.unsqueeze(1)
    grid = F.affine_grid(maps, list(single.shape), align_corners=False)
    return F.grid_sample(single, grid, align_corners=False).squeeze(1)
