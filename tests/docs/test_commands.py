"""What docs/grids.md, cli.md and beyond.md say of their files and tables; test_walkthrough.py gives their commands."""

import re
from pathlib import Path

import jsonschema
import yaml

from study.cli.help import EXIT_CODES
from study.grid.json_schema import grid_schema
from study.grid.load import load_grid
from study.words import format_value
from trainables.digits.settings import CellConfig

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page):
    return re.findall(r"^```(\w+)\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def write_files(page):
    """Put the blocks that begin with a file's name where the page's reader would."""
    for kind, text in blocks(page):
        if kind in ("yaml", "toml") and (name := re.match(r"# (\S+\.(?:yaml|toml))\n", text)):
            Path(name[1]).write_text(text)


def test_the_first_grid_has_the_cells_that_the_page_says(study):
    write_files("grids.md")
    cells = load_grid("mine.yaml").cells()
    assert len(cells) == 9
    assert {cell.learning_rate for cell in cells if cell.dropout == 0.5} == {0.01}
    assert {cell.stop_patience for cell in cells} == {5}


def test_grids_of_the_page_follow_the_schema_and_the_wrong_one_gets_its_line(study):
    write_files("grids.md")
    # The part of a grid that is no file names models of other people.
    texts = [text for kind, text in blocks("grids.md") if kind == "yaml" and text.startswith("# ")]
    schema = jsonschema.Draft202012Validator(grid_schema())
    valid = [schema.is_valid(yaml.safe_load(text.replace("1e-2", "0.01"))) for text in texts]
    assert valid == [True, False, True]
    (said,) = [text for kind, text in blocks("grids.md") if kind == "text"]
    assert study("plan", "--grid", "wrong.yaml")[0::2] == (2, said)


def test_the_file_of_options_does_what_the_page_says(study):
    write_files("cli.md")
    assert "on 4 x 48 cores and 4 GPUs" in study("plan", "--grid", "table1")[1]
    assert "on 2 x 48 cores and 4 GPUs" in study("plan", "--grid", "table1", "--nodes", "2")[1]


def test_tables_of_the_pages_are_complete():
    text = (DOCS / "grids.md").read_text()
    rows = {}
    for names, default in re.findall(r"^\| (`[a-z_`, ]+`) \|.*\| ([^|]+) \|$", text, re.MULTILINE):
        rows |= zip(re.findall(r"\w+", names), re.split(r", ", default.replace("`", "")), strict=False)
    assert {name: rows.get(name) for name in CellConfig.model_fields} == {
        name: format_value(value) for name, value in CellConfig().model_dump().items()
    }
    assert rows.keys() >= grid_schema()["properties"].keys()
    codes = re.findall(r"^\| (\d+) \| ([^;|]+)", (DOCS / "cli.md").read_text(), re.MULTILINE)
    assert [(int(code), what.strip()) for code, what in codes] == [
        (code, what.partition(";")[0]) for code, what in EXIT_CODES.items()
    ]


def test_the_cell_beyond_the_report_is_the_first_of_its_grid(study):
    write_files("beyond.md")
    (cell,) = load_grid("all.yaml").cells()
    assert cell == load_grid("beyond").cells()[0]
