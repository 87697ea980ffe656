"""The code blocks of docs/own-model.md: the model and the grid file are written down as a reader would, and planned."""

import re
import sys
from pathlib import Path

import pytest

from study.grid.grid import GridError
from study.grid.load import load_grid
from trainables.registry import check

PAGE = Path(__file__).parents[2] / "docs" / "own-model.md"


@pytest.fixture
def flowers(study, monkeypatch):
    """Write the files of the page where a command runs."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for text in re.findall(r"^```(?:python|yaml)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        Path(re.match(r"# (\S+)\n", text)[1]).write_text(text)
    return study


def test_the_model_of_the_page_can_be_planned_and_drawn(flowers):
    code, text, errors = flowers("plan", "--grid", "flowers.yaml")
    assert (code, errors) == (0, "")
    assert "6 cells x 10 seeds = 60 trials" in text
    assert "no time is known for such cells on a cpu device" in text
    check(load_grid("flowers.yaml").cells(), None)


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("units: {role", "unit: {role", r"flowers.yaml:10: factors.unit: unknown setting; did you mean units\?"),
        ("[1, 4, 16]", "[0, 4]", r"flowers.yaml:10: factors.units.values\[0\]: expected .*greater than or equal to 1"),
        (
            "flowers:Flowers",
            "flowers:Flower",
            r"flowers.yaml:6: protocol.model: the module flowers has no class or function Flower",
        ),
        (
            "flowers:Flowers",
            "flovers:Flowers",
            r"flowers.yaml:6: protocol.model: cannot import flovers \(ModuleNot.*; run the command",
        ),
        ("  batch_size: 15", "  train_pairs: 15", r"flowers.yaml:7: protocol.train_pairs: unknown setting"),
        (
            "flowers:Flowers",
            "flowers",
            r"flowers.yaml:6: protocol.model: expected comparator or classifier, or module:Class",
        ),
    ],
)
def test_a_mistake_in_its_grid_file_is_told_with_its_place(flowers, before, after, problem):
    path = Path("flowers.yaml")
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(GridError, match=problem):
        load_grid("flowers.yaml")


def test_what_only_one_of_two_models_has_is_no_factor(flowers):
    path = Path("flowers.yaml")
    path.write_text(
        path.read_text().replace("  model: flowers:Flowers\n", "")
        + "  model: {role: scientific, values: [flowers:Flowers, comparator]}\n"
    )
    with pytest.raises(GridError, match=r"factors.units: comparator has no such setting; a factor is a setting of all"):
        load_grid("flowers.yaml")
    assert "study: " in flowers("plan", "--grid", "flowers.yaml")[2]


def test_the_source_of_digits_is_no_setting_of_such_a_model(flowers):
    code, _, errors = flowers("plan", "--grid", "flowers.yaml", "--data", "mnist")
    assert code == 2
    assert "unknown setting" in errors


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (
            "nn.Linear(4, settings.units)",
            "nn.Linear(5, settings.units)",
            r"line \d+\): RuntimeError: mat1 and mat2 shapes",
        ),
        ("settings.dropout", "settings.dropot", r"line \d+\): AttributeError: .*'dropot'"),
        (
            "nn.Dropout(settings.dropout)",
            "nn.Dropout(0.3)",
            r": nn.Dropout\(0.3\) in Flowers: write nn.Dropout\(settings",
        ),
        (
            "nn.Dropout(settings.dropout)",
            "nn.GRUCell(settings.units, settings.units)",
            r"cannot train as one stack .*: make it a function",
        ),
        (
            "self.layers(inputs)",
            "self.layers(inputs + torch.rand_like(inputs))",
            r"it draws random numbers, .* in draw",
        ),
        ("torch.tensor(labels)", "labels", "draw gives labels of type ndarray: expected a tensor"),
    ],
)
def test_a_mistake_in_its_model_is_told_by_plan_in_one_line(flowers, before, after, problem):
    path, name = Path("flowers.py"), f"flowers_{abs(hash(after))}"
    text = path.read_text()
    assert before in text
    Path(f"{name}.py").write_text(text.replace(before, after))  # a name that no other test has imported
    grid = Path("flowers.yaml")
    grid.write_text(grid.read_text().replace("flowers:Flowers", f"{name}:Flowers"))
    code, _, errors = flowers("plan", "--grid", "flowers.yaml")
    assert code == 2
    assert re.fullmatch(rf"study: model {name}:Flowers.*{problem}.*\n", errors)


def test_the_functions_of_the_page_can_be_planned(flowers):
    code, text, errors = flowers("plan", "--grid", "diabetes.yaml")
    assert (code, errors) == (0, "")
    assert "6 cells x 10 seeds = 60 trials" in text
    Path("resumable.yaml").write_text(
        "name: resumable\ndescription: A function that goes on.\nprotocol: {model: 'resumable:train'}\n"
        "factors: {max_epochs: {role: fixed, values: [3]}}\n"
    )
    assert flowers("plan", "--grid", "resumable.yaml")[::2] == (0, "")


@pytest.mark.parametrize(
    ("before", "after", "number"),
    [
        ("        yield figures", "        return figures", 0),
        ('{part}_rmse"', '{part}_rsme"', 1),
        ('"val": val, ', "", 2),
        ("predicted)\n            figures", "predicted) * np.ones(2)\n            figures", 3),
        ("settings.alpha", "settings.alhpa", 4),
    ],
)
def test_what_the_page_says_of_a_wrong_function_is_what_plan_says(flowers, before, after, number):
    expected = re.findall(r"^study: .*$", PAGE.read_text(), re.MULTILINE)[number]
    path, name = Path("diabetes.py"), f"diabetes_{number}"
    text = path.read_text()
    assert before in text
    Path(f"{name}.py").write_text(text.replace(before, after))  # a name that no other test has imported
    grid = Path("diabetes.yaml")
    grid.write_text(grid.read_text().replace("diabetes:train", f"{name}:train"))
    code, _, errors = flowers("plan", "--grid", "diabetes.yaml")
    assert code == 2
    assert errors.splitlines()[-1].replace(f"{name}:", "diabetes:").replace(f"{name}.py", "diabetes.py") == expected


def test_the_settings_of_such_a_model_can_be_searched(flowers):
    grid = load_grid("flowers.yaml")
    text = Path("flowers.yaml").read_text()
    Path("flowers.yaml").write_text(
        text[: text.index("factors:")]
        + "search:\n  ranges:\n    units: {low: 1, high: 16}\n    dropout: {low: 0, high: 0.5}\n"
        + "  budget: {trainings: 100}\n"
    )
    searched = load_grid("flowers.yaml")
    point = searched.suggested({"units": 4, "dropout": 0.2}, None)
    assert point in grid.cells()  # of those that the page's grid has
    assert {cell.units for cell in searched.ends(None)} == {1, 16}
    code, text, errors = flowers("plan", "--grid", "flowers.yaml")
    assert (code, errors) == (0, "")
