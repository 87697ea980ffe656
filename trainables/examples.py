"""Examples of any task, and how one seed's are drawn."""

from dataclasses import dataclass

from torch import Tensor

from trainables.streams import permutations, stream_keys


@dataclass(frozen=True)
class Examples:
    """n examples: inputs ``[n, ...]`` (float32) and labels ``[n, ...]`` (int64)."""

    inputs: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Split:
    """One seed's examples. None occurs twice in all three together; every seed has as many."""

    train: Examples
    validation: Examples
    test: Examples


def split_examples(inputs: Tensor, labels: Tensor, seed: int, validation_share: float, test_share: float) -> Split:
    """Divide examples ``[n, ...]`` anew for each seed; the shares are of all n, rounded.

    Raises ValueError where a part would be empty.
    """
    n = len(labels)
    test, validation = round(n * test_share), round(n * validation_share)
    sizes = [n - validation - test, validation, test]
    if min(sizes) < 1:
        raise ValueError(
            f"validation_share {validation_share:g} and test_share {test_share:g} of {n} examples leave {sizes[0]} to "
            f"train on, {sizes[1]} to validate and {sizes[2]} to test: expected one or more of each"
        )
    order = permutations(stream_keys([seed], "data"), n)[0].split(sizes)
    return Split(*(Examples(inputs[part], labels[part]) for part in order))
