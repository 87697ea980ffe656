"""Pairs of digits: how they are drawn, and what all networks that read them have in common."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from trainables.digits.augment import Augmentation
from trainables.digits.mnist import DataError, Digits, Pool, load_pool
from trainables.digits.settings import CellConfig
from trainables.engine.examples import Examples, Split, StackedExamples
from trainables.engine.layers import Layer, initial_parameters
from trainables.engine.streams import permutations, stream_keys


class Pairs(Examples):
    """n pairs: images ``[n, 2, 14, 14]`` (float32, in [0, 1]) and digits ``[n, 2]`` (int64)."""

    @property
    def images(self) -> Tensor:
        """The inputs."""
        return self.inputs

    @property
    def digits(self) -> Tensor:
        """The labels."""
        return self.labels

    @property
    def target(self) -> Tensor:
        """``[n]`` (int64): 1 if the first digit is not the larger, else 0."""
        return (self.digits[:, 0] <= self.digits[:, 1]).long()


class PairsNetwork:
    """What the report's networks have in common: settings, and the pairs that they learn."""

    Settings = CellConfig
    settings: CellConfig
    layers: tuple[Layer, ...]
    forward: Callable[..., Any]
    outputs: Callable[[Tensor, Tensor], Any]  # of logits of the target and of digits
    digits_weight: Callable[[Mapping[str, Tensor]], Tensor]  # [K], of the digits' loss

    def initial(self, seeds: Sequence[int], device: torch.device) -> Tensor:
        """Draw the first parameters ``[K, P]``."""
        return initial_parameters(self.layers, seeds, device)

    @staticmethod
    def load(settings: CellConfig, data_dir: str | None) -> Pool:
        """Load the digits of the setting ``data``; see ``load_pool``."""
        return load_pool(settings.data, data_dir)

    @staticmethod
    def draw(pool: Pool, settings: CellConfig, seed: int) -> Split:
        """Draw one seed's Pairs; see ``draw_split``."""
        sizes = (settings.train_pairs, settings.test_pairs, settings.validation_share)
        return draw_split(pool, seed, *sizes, settings.fixed_data)

    def presentation(self, seeds: Sequence[int], device: torch.device) -> Augmentation:
        """Return how training shows its pairs."""
        return Augmentation(self.settings, seeds, device)

    def evaluator(self, parameters: Tensor, train: StackedExamples) -> Callable[[Tensor], Any]:
        """Return the network without dropout, normalised by moments of all training pairs."""
        if self._has_kernels(parameters):
            from trainables.digits.kernels.stack import logits

            return lambda images: self.outputs(*logits(parameters, images))
        if not self.settings.batch_norm:
            return partial(self.forward, parameters, masks=None)
        answer = partial(self.forward, parameters, masks=None, moments={})
        answer(train.inputs)  # measures the moments; the calls that follow use them
        return answer

    def own_step(self, parameters: Tensor) -> Callable[..., tuple[Tensor, Tensor]] | None:
        """Return the step of the kernels, or None; see ``own_step_of``."""
        if not self._has_kernels(parameters):
            return None
        from trainables.digits.kernels.stack import losses_and_gradient  # here: a GPU needs no numba

        return lambda parameters, images, digits, keys, dropout, varied: losses_and_gradient(
            parameters, images, digits, keys, dropout, self.digits_weight(varied)
        )

    def _has_kernels(self, parameters: Tensor) -> bool:
        # They are compiled for the report's network only (docs/decisions/0008).
        return parameters.device.type == "cpu" and self.settings.width == 1 and not self.settings.batch_norm


def draw_split(
    pool: Pool, seed: int, train_pairs: int, test_pairs: int, validation_share: float, fixed_data: bool = False
) -> Split:
    """Draw one seed's Pairs, in which no image occurs twice, from the seed and the sizes only.

    The last ``round(train_pairs * validation_share)`` of the ``train_pairs`` validate; none of
    them depends on ``test_pairs``. With ``fixed_data`` the pairs are those of seed 0, and the
    seed draws which validate. Raises DataError if the pool has too few images.
    """
    train, test = _draw(pool, 0 if fixed_data else seed, train_pairs, test_pairs)
    order = torch.arange(train_pairs)
    if fixed_data:  # the report's code drew its pairs once, and split them for each run
        order = permutations(stream_keys([seed], "validation"), train_pairs)[0]
    learned, validating = order.tensor_split([train_pairs - round(train_pairs * validation_share)])
    training = Pairs(train.images[learned], train.digits[learned])
    validation = Pairs(train.images[validating], train.digits[validating])
    return Split(training, validation, test)


def _draw(pool: Pool, seed: int, train_pairs: int, test_pairs: int) -> tuple[Pairs, Pairs]:
    order = _order(pool.train, seed, "data")
    if pool.test is None:
        # The test pairs follow the training pairs in one order, so they share no image.
        _check_room(pool.train, train_pairs + test_pairs, "train and test")
        test = _pairs(pool.train, order, train_pairs, train_pairs + test_pairs)
    else:
        _check_room(pool.train, train_pairs, "train")
        _check_room(pool.test, test_pairs, "test")
        test = _pairs(pool.test, _order(pool.test, seed, "data/test"), 0, test_pairs)
    return _pairs(pool.train, order, 0, train_pairs), test


def _order(digits: Digits, seed: int, purpose: str) -> Tensor:
    return permutations(stream_keys([seed], purpose), len(digits.labels))[0]


def _pairs(digits: Digits, order: Tensor, start: int, stop: int) -> Pairs:
    index = order[2 * start : 2 * stop].reshape(-1, 2)
    return Pairs(digits.images[index], digits.labels[index])


def _check_room(digits: Digits, pairs: int, role: str) -> None:
    images = len(digits.labels)
    if 2 * pairs > images:
        raise DataError(
            f"{pairs:,} {role} pairs: the data source has {images:,} images for them, enough for "
            f"{images // 2:,} pairs that share no image; ask for fewer pairs or choose a larger source"
        )
