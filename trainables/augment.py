"""What training shows of its pairs in an epoch and a step; evaluation shows all pairs as they were drawn.

Everything is a function of a seed and of the epoch or step (streams.py).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.config import CellSettings
from trainables.streams import fold, permutations, random_bits, stream_keys, uniform


class Augmentation:
    """The order, pairing and shifts that the settings of a cell ask for, for the seeds of a stack.

    Settings that a model does not have are as if off.
    """

    def __init__(self, settings: CellSettings, seeds: Sequence[int], device: torch.device) -> None:
        self._pairing = getattr(settings, "pairing", "drawn")
        self._shift = getattr(settings, "shift", 0)
        self._order_keys, self._swap_keys, self._pairing_keys, self._shift_keys = (
            stream_keys(seeds, purpose, device) for purpose in ("order", "swap", "pairing", "shift")
        )

    def order(self, epoch: int, count: int) -> Tensor:
        """Return an epoch's order of ``count`` examples: ``[K, count]``, or ``[K, count, 2]`` for those of their images.

        The images of pair i are 2i and 2i + 1.
        """
        if self._pairing == "renewed":
            return permutations(fold(self._pairing_keys, epoch), 2 * count).unflatten(1, (count, 2))
        order = permutations(fold(self._order_keys, epoch), count)
        if self._pairing == "drawn":
            return order
        swapped = (random_bits(fold(self._swap_keys, epoch), count) < 0).long().unsqueeze(2)
        return 2 * order.unsqueeze(2) + torch.cat([swapped, 1 - swapped], dim=2)

    def shifted(self, images: Tensor, step: Tensor) -> Tensor:
        """Move each of the images ``[K, B, 2, H, W]`` by its own number of pixels in both axes; 0 moves in."""
        if not self._shift:
            return images
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
