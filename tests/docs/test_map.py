"""CONTRIBUTING.md names every module, README.md every room, the reference every error; what pages name exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILDINGS = ("study", "analysis", "trainables")


def drawn_paths(building):
    """Return the paths that the block under the heading of a building names."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    block = re.search(rf"^### {building}/\n\n```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]
    folder, paths = "", []
    for line in block.splitlines():
        name, meaning = re.fullmatch(r"( *\S+) *(.*)", line).groups()
        if not name.startswith(" "):
            folder = ""
        paths.append(folder + name.strip())
        if name.endswith("/") and not meaning:
            folder = name
    return paths


@pytest.mark.parametrize("building", BUILDINGS)
def test_the_map_has_every_module_once_and_nothing_else(building):
    paths = drawn_paths(building)
    assert len(paths) == len(set(paths))
    files = {str(path.relative_to(ROOT / building)) for path in (ROOT / building).rglob("*.py")}
    modules = {name for name in files if not Path(name).name.startswith("__")}
    named = {path for path in paths if path.endswith(".py")}
    # A folder with a meaning beside it, such as study/grid/shipped/, stands for all that is in it.
    folders = {path for path in paths if path.endswith("/")}
    whole = tuple(folder for folder in folders if not any(path.startswith(folder) for path in named))
    assert named == {name for name in modules if not name.startswith(whole)}


def test_the_readme_has_every_room():
    tree = re.search(
        r"^## The tree\n.*?```text\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )[1]
    rooms = set(re.findall(r"^  (\w+)/ ", tree, re.MULTILINE))
    assert rooms == {path.parent.name for name in BUILDINGS for path in (ROOT / name).glob("*/__init__.py")}


def test_the_reference_has_every_error_that_a_user_can_fix():
    bases = {"StudyError", "AnalysisError", "TrainableError"}
    errors = set()
    for path in (path for name in BUILDINGS for path in sorted((ROOT / name).rglob("*.py"))):
        for found in ast.walk(ast.parse(path.read_text())):
            if isinstance(found, ast.ClassDef):
                parents = {base.id for base in found.bases if isinstance(base, ast.Name)}
                if found.name in bases or parents & bases:
                    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                    errors.add(f"{module}.{found.name}")
    assert len(errors) >= 8
    text = (ROOT / "docs" / "reference.md").read_text()
    assert set(re.findall(r"^::: (\S+Error)$", text, re.MULTILINE)) == errors
    assert set(re.findall(r"^[├└─ ]*([a-z]\S+Error)\b", text, re.MULTILINE)) == errors


def test_every_file_that_a_page_names_exists():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    path = re.compile(r"\b(?:study|analysis|trainables|tests|benchmarks|examples)/[a-z_0-9/]+\.\w+\b")
    named = {(page.name, name) for page in pages for name in path.findall(page.read_text())}
    assert len(named) >= 50
    assert [(page, name) for page, name in sorted(named) if not (ROOT / name).exists()] == []
