import json
from pathlib import Path

from study.grid.load import load_grid


def test_grids_show_gives_the_file_back_or_its_cells(study, tmp_path):
    shipped = Path(__file__).parents[3] / "study" / "grid" / "shipped" / "table1.yaml"
    code, text, _ = study("grids", "show", "table1")
    assert (code, text) == (0, shipped.read_text())
    assert "# The report says 1e-3 for all" in text
    (tmp_path / "mine.yaml").write_text(text)
    cells = json.loads(study("grids", "show", "mine.yaml", "--json")[1])["cells"]
    assert [cell["cell_id"] for cell in cells] == [cell.cell_id for cell in load_grid("table1").cells()]
    lines = study("grids", "show", "mine.yaml", "--cells")[1].splitlines()
    assert [line.split()[0] for line in lines[1:]] == [cell["cell_id"] for cell in cells]
    assert lines[-1].split()[1:] == ["classifier", "on", "0", "0", "0.001"]


def test_grids_schema_gives_the_schema_or_its_path(study):
    _, text, _ = study("grids", "schema")
    path = Path(study("grids", "schema", "--path")[1].strip())
    assert json.loads(text) == json.loads(path.read_text())
    assert json.loads(text)["title"] == "Grid of an ablation study"
