"""Lightning: what do AdamW and gradient clipping each buy a small network?

The data come with scikit-learn: 569 tumours with 30 measures each, benign or malignant. The
``Trainer`` runs its own loop; a callback hands each epoch to the generator that ``train`` is. This
needs ``pip install lightning``. To train it, run in this folder:
study run --grid lightning_callback.yaml
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from queue import SimpleQueue
from threading import Thread
from typing import Literal

import lightning as L
import torch
from pydantic import Field
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import BinaryAccuracy, BinaryAUROC, BinaryF1Score

from trainables import FunctionSettings, Metric

Figures = dict[str, float]
PARTS = ("train", "val", "test")

# A training reports by its figures; what Lightning prints about each would fill the screen.
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning.pytorch")


class Settings(FunctionSettings):
    """What a grid can vary, beside the number of epochs."""

    metrics = (Metric("auc"), Metric("f1"), Metric("accuracy", "max", "%", 100))

    optimizer: Literal["sgd", "adamw"] = Field("adamw", description="The optimiser.")
    clip_norm: float = Field(0.0, ge=0, description="Gradients are clipped to this norm; 0: they are not.")
    learning_rate: float = Field(1e-2, gt=0, description="The optimiser's learning rate.")


class Network(L.LightningModule):
    """A network with one hidden layer, from measures ``[B, 30]`` to one logit for each tumour."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.layers = nn.Sequential(nn.Linear(30, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 1))
        self.scores = nn.ModuleDict()
        for part in PARTS:
            self.scores[f"{part}_auc"] = BinaryAUROC()
            self.scores[f"{part}_f1"] = BinaryF1Score()
            self.scores[f"{part}_accuracy"] = BinaryAccuracy()

    def training_step(self, batch: list[Tensor]) -> Tensor:
        """Return the loss of a batch."""
        return self.evaluated("train", batch)

    def validation_step(self, batch: list[Tensor], batch_idx: int, dataloader_idx: int) -> None:
        """Evaluate a batch of the validation or test examples."""
        self.evaluated(PARTS[1 + dataloader_idx], batch)

    def evaluated(self, part: str, batch: list[Tensor]) -> Tensor:
        """Return the loss of a batch, and count it in the scores of its part."""
        inputs, labels = batch
        logits = self.layers(inputs)[:, 0]
        loss = F.binary_cross_entropy_with_logits(logits, labels.float())
        scores = {name: score for name, score in self.scores.items() if name.startswith(part)}
        for score in scores.values():
            score.update(logits, labels)
        if part != "test":  # a study has no column for the loss on the test part
            scores[f"{part}_loss"] = loss
        self.log_dict(scores, on_step=False, on_epoch=True, add_dataloader_idx=False)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser that the settings name."""
        made = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[self.settings.optimizer]
        return made(self.parameters(), lr=self.settings.learning_rate)


class HandOver(L.Callback):
    """Hands over the figures of each epoch, which include those of the validation."""

    def __init__(self, hand_over: Callable[[Figures], None]) -> None:
        self.hand_over = hand_over

    def on_train_epoch_end(self, trainer: L.Trainer, network: L.LightningModule) -> None:
        """Hand over what was logged, as numbers."""
        self.hand_over({name: value.item() for name, value in trainer.callback_metrics.items()})


def train(settings: Settings, seed: int) -> Iterator[Figures]:
    """Train one network and yield its figures once per epoch."""
    torch.manual_seed(seed)

    def fit(hand_over: Callable[[Figures], None]) -> None:
        trainer = L.Trainer(
            accelerator="auto",
            devices=1,
            max_epochs=settings.max_epochs,
            gradient_clip_val=settings.clip_norm or None,
            callbacks=[HandOver(hand_over)],
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        examples = split(seed)
        loaders = {part: DataLoader(examples[part], 64, shuffle=part == "train") for part in PARTS}
        trainer.fit(Network(settings), loaders["train"], [loaders["val"], loaders["test"]])

    yield from epochs_of(fit)


def epochs_of(fit: Callable[[Callable[[Figures], None]], None]) -> Iterator[Figures]:
    """Yield what ``fit`` hands over; between two epochs it waits.

    ``fit`` runs in a thread of its own: only it or the caller runs, never both. If the generator is
    closed, the call of ``hand_over`` that waits raises ``TrainingStopped``, so that ``fit`` can clean up.
    """
    epochs: SimpleQueue[Figures | BaseException | None] = SimpleQueue()
    turns: SimpleQueue[bool] = SimpleQueue()

    def hand_over(figures: Figures) -> None:
        epochs.put(figures)
        if not turns.get():
            raise TrainingStopped

    def body() -> None:
        try:
            fit(hand_over)
        except BaseException as error:  # it is raised where the generator is advanced
            epochs.put(error)
        else:
            epochs.put(None)

    # A daemon: a program that ends with an open generator does not wait for it.
    thread = Thread(target=body, daemon=True)
    thread.start()
    try:
        while isinstance(handed_over := epochs.get(), dict):
            yield handed_over
            turns.put(True)
        if handed_over is not None:
            raise handed_over
    finally:
        turns.put(False)
        thread.join()


class TrainingStopped(Exception):  # noqa: N818, it is no error
    """Nobody asks for further epochs."""


@cache
def split(seed: int) -> dict[str, TensorDataset]:
    """Divide the tumours differently for each seed, and in the same way for all cells."""
    measures, benign = load_breast_cancer(return_X_y=True)
    train, rest = train_test_split(range(len(benign)), train_size=0.3, stratify=benign, random_state=seed)
    validation, test = train_test_split(rest, train_size=0.4, stratify=benign[rest], random_state=seed)
    # Mean and deviation are those of the training examples: the test must not help to train.
    scaled = StandardScaler().fit(measures[train]).transform(measures)
    inputs, labels = torch.tensor(scaled, dtype=torch.float32), torch.tensor(benign)
    parts = {"train": train, "val": validation, "test": test}
    return {part: TensorDataset(inputs[chosen], labels[chosen]) for part, chosen in parts.items()}
