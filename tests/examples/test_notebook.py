"""The notebook runs from top to bottom, by a kernel of its own, and what it shows is the store's."""

from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook.ipynb"
pytestmark = [pytest.mark.long, pytest.mark.xdist_group("pages"), pytest.mark.filterwarnings("ignore::ResourceWarning")]


def test_it_is_kept_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


def test_it_runs(tmp_path, monkeypatch):
    for name in ("RAY_ADDRESS", "STUDY_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [cell.outputs[-1] for cell in notebook.cells if cell.cell_type == "code"]
    assert shown[0].data["text/plain"] == "<study smoke: 4 cells, 8 trials>"
    trials = pd.read_parquet(tmp_path / "studies" / "smoke" / "trials")
    at_10 = trials[trials["aux_weight"] == 10]
    by_sharing = at_10.groupby("sharing")["test_accuracy"].mean()
    gain = 100 * (by_sharing[True] - by_sharing[False])
    assert shown[2].text.startswith(f"{gain:+.1f} points, mean of 2 seeds")
    assert "image/png" in shown[4].data
