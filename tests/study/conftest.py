"""Made results for the tests of the store and what reads it, and an S3 server; real trainings are in test_runs.py."""

import logging
import math
import socket
import threading
import time
from datetime import UTC, datetime

import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from analysis.stored import StudyInfo
from study.store.rows import CellResult
from trainables.digits.settings import CellConfig
from trainables.identity import code_id


def record(seed, epoch, status="running", val_loss=1.0, val_accuracy=0.5, test_accuracy=0.5, error=None):
    """An epoch record as the Tune trainable reports it."""
    figures = {
        "learning_rate": 1e-3,
        "train_loss": 0.9,
        "val_loss": val_loss,
        "val_accuracy": val_accuracy,
        "test_accuracy": test_accuracy,
        "test_digit_accuracy": 0.25,
        "test_accuracy_by_probability": math.nan,
        "train_accuracy": math.nan if status == "running" else 0.875,
        "train_digit_accuracy": math.nan if status == "running" else 0.9375,
    }
    return {
        "seed": seed,
        "epoch": epoch,
        "figures": figures,
        "train_time_s": 0.5,
        "status": status,
        "error": error,
    }


def build_result(records, cell=None, seeds=None, ended="pruned", error=None):
    """Build the result of a cell from its records; the seeds are those of the records unless given."""
    return CellResult(
        cell=cell or CellConfig(),
        seeds=tuple(seeds or sorted({r["seed"] for r in records})),
        records=tuple(records),
        ended=ended,
        error=error,
        device="cpu",
        started_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        finished_at=datetime(2026, 1, 2, 3, 5, 5, tzinfo=UTC),
        made_by={"code_id": code_id("comparator"), "data_sha256": "0" * 64, "torch_version": "2.13.0"},
    )


@pytest.fixture
def make_result():
    return build_result


class S3Server:
    """An S3 server on loopback that can go away, come back with what it held, and be slow."""

    def __init__(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.delay_s, self.requests = 0.0, 0
        self._app = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ, start_response):
        self.requests += 1
        time.sleep(self.delay_s)
        return self._app(environ, start_response)

    def start(self):
        self._server = make_server("127.0.0.1", self.port, self, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def backend(self):
        return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]


@pytest.fixture(scope="module")
def s3_server():
    """The server, with a bucket ``lab``; all processes started from here on find it by their environment."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = S3Server()
    server.start()
    settings = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.port}",
        "AWS_ACCESS_KEY_ID": "of a test",
        "AWS_SECRET_ACCESS_KEY": "of a test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        server.backend.create_bucket("lab", "us-east-1")
        yield server
    server.stop()
    server.backend.reset()


@pytest.fixture
def s3(s3_server, request):
    """A storage of its own in the bucket."""
    return f"s3://lab/{request.node.name.partition('[')[0]}"


def made_info(study="made", **changes):
    """A study.json without cells."""
    empty = {"grid": "g", "roles": {}, "cells": (), "seeds": (), "protocol": {}, "runs": ()}
    return StudyInfo(study, **empty | changes)
