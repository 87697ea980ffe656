import pytest
import torch

from trainables.digits.pairs import draw_split
from trainables.engine.examples import StackedExamples

CPU = torch.device("cpu")


# Pairs of K replicates


@pytest.fixture(scope="module")
def splits(pool):
    return [draw_split(pool, seed, 40, 10, 0.5).train for seed in (3, 4, 5)]


def test_a_batch_holds_each_replicates_own_pairs_side_by_side(splits):
    order = torch.tensor([[0, 5, 2], [19, 1, 1], [7, 8, 9]])
    images, digits = StackedExamples.of(splits, CPU).batch(order)
    assert images.shape == (3, 3, 2, 14, 14)
    for row, pairs in enumerate(splits):
        assert torch.equal(images[row], pairs.images[order[row]])
        assert torch.equal(digits[row], pairs.digits[order[row]])


def test_chunks_are_all_pairs_in_their_own_order(splits):
    stacked = StackedExamples.of(splits, CPU)
    chunks = [stacked.chunk(start, start + 8) for start in range(0, len(stacked), 8)]
    assert len(stacked) == 20
    assert [images.shape[1] for images, _ in chunks] == [8, 8, 4]
    images, digits = (torch.cat(parts, dim=1) for parts in zip(*chunks, strict=True))
    for row, pairs in enumerate(splits):
        assert torch.equal(images[row], pairs.images)
        assert torch.equal(digits[row], pairs.digits)


def test_keeping_pairs_drops_the_other_replicates(splits):
    kept = StackedExamples.of(splits, CPU).keep(torch.tensor([2, 0]))
    expected = StackedExamples.of([splits[2], splits[0]], CPU)
    assert torch.equal(kept.inputs, expected.inputs)
    assert torch.equal(kept.labels, expected.labels)
