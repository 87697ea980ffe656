"""What identifies the code of a user's model: all of its own source that it uses, and nothing of its looks."""

import importlib
import sys

import pytest

from trainables.identity import code_id, code_id_of, own_sources
from trainables.registry import find_model

MODEL = """
import {package}.layers
from .figures import scale
import json

class Model:
    class Settings(CellSettings):
        pass
    load = draw = None
    def forward(self): return scale(1)
"""
FILES = {
    "__init__.py": "",
    "model.py": "from trainables import CellSettings\n" + MODEL,
    "layers.py": "from . import deep\nwidth = 3\n",
    "deep.py": "depth = 2\n",
    "figures.py": "def scale(x): return 2 * x\n",
    "unused.py": "x = 1\n",
}
COUNT = iter(range(100))


@pytest.fixture
def identity(tmp_path, monkeypatch):
    """Return the id of the code of a package's model after some files were changed."""
    monkeypatch.chdir(tmp_path)
    package = f"identified{next(COUNT)}"

    def identity(**changes):
        folder = tmp_path / package
        folder.mkdir(exist_ok=True)
        for name, text in FILES.items():
            (folder / name).write_text(changes.get(name.removesuffix(".py"), text).replace("{package}", package))
        for module in [name for name in sys.modules if name.startswith(package)]:
            del sys.modules[module]
        importlib.invalidate_caches()
        find_model.cache_clear()
        code_id.cache_clear()
        identity.model = f"{package}.model:Model"
        return code_id(identity.model)

    return identity


def test_code_that_the_model_uses_counts_and_comments_and_layout_do_not(identity):
    first = identity()
    assert len(first) == 12
    assert identity(deep="# how deep it is\n\ndepth  =  (2)\n") == first
    assert identity(unused="x = 2\n") == first
    changed = {
        identity(**{name: "width = depth = 4\ndef scale(x): return x\n"}) for name in ("layers", "deep", "figures")
    }
    assert len(changed | {first}) == 4
    package = identity.model.partition(".")[0]
    identity()
    assert set(own_sources(identity.model)) == {
        *(f"{package}.{name}" for name in ("model", "layers", "deep", "figures")),
        package,
    }


def test_modules_beside_a_model_count(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "beside.py").write_text("labels = 1\n")
    (tmp_path / "lonely.py").write_text(
        FILES["model.py"]
        .replace("import {package}.layers\n", "import beside\n")
        .replace("from .figures import scale\n", "import pandas\n")
    )
    assert set(own_sources("lonely:Model")) == {"lonely", "beside"}


def test_rows_of_before_have_the_first_code():
    assert code_id_of({"model": "comparator"}) == code_id_of({"model": "classifier", "code_id": None}) == "built-in 1"
    assert code_id_of({"model": "my:Model", "code_id": None}) == "not recorded"
    assert code_id_of({"model": "my:Model", "code_id": "ab"}) == "ab"
