import pytest
import torch

from trainables.digits.mnist import DataError, Digits, Pool, load_pool
from trainables.digits.pairs import Pairs, draw_split


def one_line(error):
    message = str(error.value)
    assert "\n" not in message
    return message


def numbered_pool(train, test=None):
    """A pool whose images are all one value, their own number, and whose labels are its last digit."""

    def digits(start, count):
        numbers = torch.arange(start, start + count)
        return Digits(numbers.float()[:, None, None].expand(-1, 14, 14), numbers % 10)

    return Pool(digits(0, train), None if test is None else digits(10**6, test))


def numbers(drawn):
    return drawn.images[:, :, 0, 0].long().flatten().tolist()


def test_split_has_the_asked_sizes_and_types():
    split = draw_split(load_pool("mnist5k"), 0, 1000, 900, 0.2)
    for drawn, count in ((split.train, 800), (split.validation, 200), (split.test, 900)):
        assert (drawn.images.shape, drawn.images.dtype) == ((count, 2, 14, 14), torch.float32)
        assert (drawn.digits.shape, drawn.digits.dtype) == ((count, 2), torch.int64)
        assert (drawn.target.shape, drawn.target.dtype) == ((count,), torch.int64)


def test_digits_stay_with_their_images():
    pool = load_pool("mnist5k")
    images = [image.numpy().tobytes() for image in pool.train.images]
    label_of = dict(zip(images, pool.train.labels.tolist(), strict=True))
    split = draw_split(pool, 4, 200, 100, 0.2)
    for drawn in (split.train, split.validation, split.test):
        labels = [label_of[image.numpy().tobytes()] for image in drawn.images.flatten(0, 1)]
        assert drawn.digits.flatten().tolist() == labels


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_mnist5k_repeats_no_image(seed):
    split = draw_split(load_pool("mnist5k"), seed, 1500, 1000, 0.2)
    images = torch.cat([split.train.images, split.validation.images, split.test.images]).flatten(0, 1)
    assert len({image.numpy().tobytes() for image in images}) == 5000


@pytest.mark.parametrize("test_images", [None, 100])
def test_no_image_is_drawn_twice(test_images):
    split = draw_split(numbered_pool(200, test_images), 3, 50, 50, 0.3)
    train, validation, test = numbers(split.train), numbers(split.validation), numbers(split.test)
    assert (len(train), len(validation), len(test)) == (70, 30, 100)
    assert len({*train, *validation, *test}) == 200
    assert max(train + validation) < 200
    assert {number >= 10**6 for number in test} == {test_images is not None}


@pytest.mark.parametrize("test_images", [None, 2000])
def test_a_seed_is_its_pairs(test_images):
    pool = numbered_pool(4000, test_images)
    first, again, other = (draw_split(pool, seed, 1000, 900, 0.2) for seed in (5, 5, 6))
    for part in ("train", "validation", "test"):
        assert torch.equal(getattr(first, part).images, getattr(again, part).images)
        assert torch.equal(getattr(first, part).digits, getattr(again, part).digits)
        assert not torch.equal(getattr(first, part).images, getattr(other, part).images)


def test_these_pairs_never_change():
    # Results in a store stay comparable across versions only while a seed keeps its pairs.
    split = draw_split(numbered_pool(20, 6), 0, 3, 2, 1 / 3)
    assert [numbers(part) for part in (split.train, split.validation, split.test)] == [
        [9, 8, 2, 1],
        [17, 0],
        [1000003, 1000001, 1000002, 1000000],
    ]


@pytest.mark.parametrize("test_images", [None, 2000])
def test_fixed_data_are_the_pairs_of_seed_0_split_anew_by_each_seed(test_images):
    pool = numbered_pool(4000, test_images)
    drawn = draw_split(pool, 0, 1000, 900, 0.2)
    splits = [draw_split(pool, seed, 1000, 900, 0.2, fixed_data=True) for seed in (5, 5, 6)]
    whole = {tuple(pair) for part in (drawn.train, drawn.validation) for pair in part.images[:, :, 0, 0].tolist()}
    for split in splits:
        parts = [part.images[:, :, 0, 0].tolist() for part in (split.train, split.validation)]
        assert [len(part) for part in parts] == [800, 200]
        assert {tuple(pair) for part in parts for pair in part} == whole
        assert numbers(split.test) == numbers(drawn.test)
    first, again, other = splits
    assert numbers(first.validation) == numbers(again.validation) != numbers(other.validation)
    assert numbers(first.train) == numbers(again.train) != numbers(other.train)


@pytest.mark.parametrize("test_images", [None, 1000])
def test_train_and_validation_do_not_depend_on_test_pairs(test_images):
    pool = numbered_pool(1000, test_images)
    few, many = draw_split(pool, 2, 300, 10, 0.2), draw_split(pool, 2, 300, 200, 0.2)
    assert numbers(few.train) == numbers(many.train)
    assert numbers(few.validation) == numbers(many.validation)
    assert numbers(few.test) == numbers(many.test)[:20]


def test_train_and_test_orders_are_unrelated():
    split = draw_split(numbered_pool(200, 200), 0, 100, 100, 0.1)
    same = zip(numbers(split.train), numbers(split.test), strict=False)
    assert sum(first == second - 10**6 for first, second in same) < 10


def test_drawing_leaves_the_pool_alone():
    pool = numbered_pool(20)
    split = draw_split(pool, 0, 4, 4, 0.25)
    split.train.images.fill_(-1)
    assert pool.train.images.min() == 0


def test_target_is_one_where_the_first_is_not_the_larger():
    digits = torch.tensor([[3, 4], [4, 3], [5, 5], [0, 9], [9, 0]])
    assert Pairs(torch.zeros(5, 2, 14, 14), digits).target.tolist() == [1, 0, 1, 1, 0]


def test_the_classes_are_as_frequent_as_they_should_be():
    splits = [draw_split(numbered_pool(5000), seed, 1400, 1000, 0.2) for seed in range(20)]
    parts = [part for split in splits for part in (split.train, split.validation, split.test)]
    share = torch.cat([part.target for part in parts]).double().mean()
    assert abs(share - 0.55) < 4 * (0.55 * 0.45 / (20 * 2400)) ** 0.5  # of 100 equally likely pairs 55 are in order
    counts = torch.bincount(torch.cat([part.digits for part in parts]).flatten(), minlength=10)
    assert (counts / counts.sum() - 0.1).abs().max() < 0.005


@pytest.mark.parametrize(
    ("pool", "train", "test", "words"),
    [
        (numbered_pool(5000), 2000, 501, "2,501 train and test pairs: the data source has 5,000 images"),
        (numbered_pool(100, 80), 51, 1, "51 train pairs: the data source has 100 images"),
        (numbered_pool(100, 80), 50, 41, "41 test pairs: the data source has 80 images"),
    ],
)
def test_too_many_pairs(pool, train, test, words):
    with pytest.raises(DataError) as error:
        draw_split(pool, 0, train, test, 0.2)
    assert one_line(error).startswith(words)
    draw_split(pool, 0, train - 1, test - 1, 0.2)
