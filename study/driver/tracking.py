"""What TensorBoard, MLflow and Weights & Biases see of a run, by Ray's own integrations.

Ray's loggers would log all of a Tune trial and its results. Here they see a cell: its settings,
its number of seeds, and after each epoch the mean of the objective over them. All stays on this machine.
"""

import importlib.util
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from study.driver.progress import Observer
from study.plan.jobs import Job
from study.plan.run_options import LaunchError

FOLDER = "tracking"  # in the working directory: none of the three can write to an object store
PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow-skinny", "wandb": "wandb"}
MODULES = PACKAGES | {"mlflow": "mlflow"}  # what the packages are imported as
# To be set before a tracker is imported. MLflow asks everyone who keeps its files in a
# folder instead of a database to say so; a database takes 25 times as long for each value,
# and the driver waits for it.
ENVIRONMENT = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_MODE": "offline",
}
# It prints nothing, and notes nothing about this machine and its code.
WANDB_SETTINGS = {
    **dict.fromkeys(("silent", "disable_git", "disable_code"), True),
    **dict.fromkeys(("x_disable_stats", "x_disable_meta", "x_disable_machine_info"), True),
    **{"console": "off", "x_save_requirements": False},
}


def folder_for(study: str, trackers: Iterable[str]) -> Path:
    """Return the trackers' folder; raise LaunchError for one that is not installed."""
    for tracker in trackers:
        if importlib.util.find_spec(MODULES[tracker]) is None:
            raise LaunchError(f"--track {tracker}: not installed; install it: pip install {PACKAGES[tracker]}")
    return Path(FOLDER, study).absolute()


@dataclass(frozen=True)
class TrackedCell:
    """A cell as a Tune trial for Ray's loggers; TensorBoard writes to ``local_path``."""

    trial_id: str
    cell_id: str
    config: Mapping[str, Any] = field(hash=False)
    local_path: str
    experiment_dir_name: str

    def __str__(self) -> str:
        return self.cell_id

    @property
    def evaluated_params(self) -> dict[str, Any]:
        """The settings, for TensorBoard."""
        return dict(self.config)

    def init_local_path(self) -> None:
        """Make the folder."""
        Path(self.local_path).mkdir(parents=True, exist_ok=True)


class WandbRuns:
    """Logs cells to Weights & Biases, by Ray's ``setup_wandb`` in this process.

    Ray's own WandbLoggerCallback loses runs. ``finish`` only asks wandb's service, a child process,
    to write what it holds of a run (all, up to 32 KiB), and does not wait. Ray has one process per
    cell and kills it, with that child, as soon as ``finish`` returns, or when ``upload_timeout`` is
    over: on two busy cores 5 of 48 files were left with nothing but a header. Here all runs share
    one service, and ``on_experiment_end`` waits until it has written everything and ended.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs: dict[TrackedCell, Any] = {}

    def setup(self) -> None:
        """Begin nothing: the service starts with the first run."""

    def log_trial_start(self, tracked: TrackedCell) -> None:
        """Begin a run, beside others that are open."""
        from ray.air.integrations.wandb import setup_wandb

        how: dict[str, Any] = {"mode": "offline", "reinit": "create_new", "resume": None}
        how |= {"project": self._folder.name, "dir": str(self._folder), "settings": WANDB_SETTINGS}
        how |= {"trial_id": tracked.trial_id, "trial_name": tracked.cell_id}
        self._runs[tracked] = setup_wandb(dict(tracked.config), group=tracked.experiment_dir_name, **how)

    def log_trial_result(self, epoch: int, tracked: TrackedCell, result: dict[str, Any]) -> None:
        """Log an epoch."""
        self._runs[tracked].log(result, step=epoch)

    def log_trial_end(self, tracked: TrackedCell, failed: bool) -> None:
        """End a run."""
        self._runs.pop(tracked).finish(exit_code=int(failed))

    def on_experiment_end(self, _: Any) -> None:
        """Wait until all is written; raise RuntimeError if the service died before."""
        import wandb

        try:
            wandb.teardown()
        except SystemExit as end:
            # The service has died, and wandb would end this process with its exit code.
            raise RuntimeError(f"wandb's service ended early, with code {end.code}; runs may be cut short") from None


class Tracking(Observer):
    """Hands cells to loggers by their trackers' names; ``errors`` says why one was left out.

    ``column`` names the objective, such as val_accuracy.
    """

    def __init__(self, loggers: Mapping[str, Any], folder: Path, run: str, column: str) -> None:
        self._loggers, self._folder, self._run, self._column = dict(loggers), folder, run, column
        self._open: dict[str, TrackedCell] = {}
        self._epochs: dict[str, int] = {}
        self.errors: dict[str, str] = {}
        self._tell("setup")

    def cell_started(self, job: Job) -> None:
        """Begin a cell."""
        cell_id = job.cell.cell_id
        config = {"cell_id": cell_id, **job.cell.model_dump(), "seeds": len(job.seeds)}
        # TensorBoard tells its runs apart by their folders.
        own = ("tensorboard", self._run, cell_id) if "tensorboard" in self._loggers else ()
        path = str(self._folder.joinpath(*own))
        tracked = TrackedCell(f"{cell_id}-{self._run}", cell_id, config, path, self._run)
        if self._loggers:
            tracked.init_local_path()
        self._open[cell_id], self._epochs[cell_id] = tracked, 0
        self._tell("log_trial_start", tracked)

    def cell_advanced(self, cell_id: str, epoch: int, objective: float) -> None:
        """Log an epoch once: a cell that continues from a checkpoint reports some again."""
        if epoch > self._epochs[cell_id]:
            self._epochs[cell_id] = epoch
            result: dict[str, Any] = {"training_iteration": epoch, "epoch": epoch}
            result |= {} if math.isnan(objective) else {self._column: objective}
            self._tell("log_trial_result", epoch, self._open[cell_id], result)

    def cell_ended(self, cell_id: str, how: str, trials: Sequence[Mapping[str, Any]]) -> None:
        """End a cell."""
        self._tell("log_trial_end", self._open.pop(cell_id), how == "failed")

    def close(self) -> None:
        """End what an interruption has left open, and wait until all is written."""
        for tracked in self._open.values():
            self._tell("log_trial_end", tracked, True)
        self._tell("on_experiment_end", [])

    def _tell(self, what: str, *arguments: Any) -> None:
        for tracker, logger in list(self._loggers.items()):
            try:
                getattr(logger, what)(*arguments)
            except Exception as error:  # whatever the library of a tracker raises
                # The logger is left out from then on: a study is worth more than its curves.
                del self._loggers[tracker]
                lines = str(error).strip().splitlines() or ["no message"]
                reason = f"{type(error).__name__}: {lines[0]}"
                self.errors[f"tracking by {tracker}"] = f"{reason}; the study continues without it"


def tracking_by(trackers: Collection[str], study: str, column: str) -> Tracking:
    """Return what logs a column of cells by Ray's own loggers; imports only those that are asked for."""
    folder = folder_for(study, trackers)
    run = f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}"
    loggers: dict[str, Any] = {}
    if "tensorboard" in trackers:
        from ray.tune.logger import TBXLoggerCallback

        loggers["tensorboard"] = TBXLoggerCallback()  # type: ignore[no-untyped-call]
    if "mlflow" in trackers:
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        loggers["mlflow"] = MLflowLoggerCallback((folder / "mlflow").as_uri(), experiment_name=study)
    if "wandb" in trackers:
        loggers["wandb"] = WandbRuns(folder)
    return Tracking(loggers, folder, run, column)
