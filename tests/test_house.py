"""The rules of the house that no single module shows: what imports what, how long it is, what an import changes."""

import re
import shutil
import sys

import pytest
import yaml
from conftest import ROOT

PACKAGE = ROOT / "thesis_utils"
HOOKS = {
    hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
}
NOTEBOOKS = sorted(map(str, (ROOT / "notebooks").glob("*.ipynb")))
LOOK_ONLY = {  # a hook mends what it can, a test does not
    "ruff-check": ["."],
    "ruff-format": ["--check", "."],
    "nbstripout": ["--verify", *NOTEBOOKS],
    "import-linter": [],
}

# --- the hooks of pre-commit, and that they bite ------------------------------------------------------


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_has_nothing_to_say(shell, name):
    shell([*HOOKS[name]["entry"].split(), *LOOK_ONLY[name]])


def test_the_hooks_have_the_versions_of_the_tests():
    pinned = set((ROOT / "requirements-test.txt").read_text().splitlines())
    for hook in HOOKS.values():
        assert pinned.issuperset(hook["additional_dependencies"])


@pytest.fixture
def copy(tmp_path):
    """A copy of the package, to break."""
    shutil.copytree(PACKAGE, tmp_path / "thesis_utils", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "module, line, complaint",
    [
        ("models", "from thesis_utils.runs import run", "is not allowed to import thesis_utils.runs"),
        ("training", "def late():\n    from thesis_utils import book", "is not allowed to import thesis_utils.book"),
        ("runs/run", "import thesis_utils.book.thesis", "is not allowed to import thesis_utils.book"),
        ("scorers", "from thesis_utils import evaluation", "is not allowed to import thesis_utils.evaluation"),
        ("stray", "", "stray"),  # a file of no layer
    ],
)
def test_a_wrong_import_breaks_the_contract(shell, copy, module, line, complaint):
    with (copy / "thesis_utils" / f"{module}.py").open("a") as file:
        file.write(f"\n{line}\n")
    failed = shell(HOOKS["import-linter"]["entry"].split(), cwd=copy, check=False)
    assert failed.returncode == 1 and complaint in " ".join(failed.stdout.split())


# --- how long -----------------------------------------------------------------------------------------


def length(*paths):
    return sum(len(path.read_text().splitlines()) for path in paths)


ROOMS = {  # at most so many lines; in brackets what the design has drawn, which none of them has reached yet
    "the thesis' method": (1763, ["models", "muon", "graphs", "losses", "scorers", "mahalanobis", "metrics", "data",
                                  "folders", "training", "evaluation"]),  # (1,230)
    "beyond the thesis": (940, ["detector", "checks", "stored", "baselines", "architectures", "errors",
                                "files"]),  # (590)
    "runs": (1231, ["runs/*"]),  # (680)
    "book": (1263, ["book/*"]),  # (850)
    "experiments": (1593, ["../experiments/*"]),  # (1,250)
}  # fmt: skip


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_does_not_grow(room):
    """What makes a room longer has to earn its place, and push something out."""
    most, names = ROOMS[room]
    assert length(*(path for name in names for path in PACKAGE.glob(f"{name}.py"))) <= most


def test_every_file_is_read_in_one_sitting():
    assert {str(path.relative_to(ROOT)): length(path) for path in PACKAGE.rglob("*.py") if length(path) > 475} == {}


# --- what an import does ------------------------------------------------------------------------------

IMPORT_ALL = """
import importlib, pkgutil, sys, torch

def flags():
    return {
        "cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
        "cudnn.deterministic": torch.backends.cudnn.deterministic,
        "cuda.matmul.allow_tf32": torch.backends.cuda.matmul.allow_tf32,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "num_threads": torch.get_num_threads(),
        "grad_enabled": torch.is_grad_enabled(),
        "default_dtype": torch.get_default_dtype(),
        "random_numbers": torch.get_rng_state().tolist(),
    }

before = flags()
import thesis_utils
for module in pkgutil.walk_packages(thesis_utils.__path__, "thesis_utils."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print("imported", *(name for name in sys.modules if name.startswith("thesis_utils.")))
print("changed", *(key for key, value in flags().items() if value != before[key]))
print("furniture", *sorted({"matplotlib", "IPython", "papermill", "pandas.io.formats.style"} & set(sys.modules)))
"""


def import_all(shell, folder):
    """{"imported" | "changed" | "furniture": names} after importing every module of the package in `folder`."""
    lines = shell([sys.executable, "-c", IMPORT_ALL], cwd=folder).stdout.splitlines()
    return {key: names for key, *names in map(str.split, lines)}


def test_no_import_changes_a_global_flag_of_torch(shell):
    found = import_all(shell, ROOT)
    assert found["changed"] == []
    assert {"thesis_utils.models", "thesis_utils.runs.shell", "thesis_utils.book.thesis"} < set(found["imported"])


def test_the_method_needs_neither_runs_nor_the_book(shell, copy):
    for room in ("runs", "book"):
        shutil.rmtree(copy / "thesis_utils" / room)
    found = import_all(shell, copy)
    assert found["furniture"] == []
    assert set(found["imported"]) == {f"thesis_utils.{path.stem}" for path in PACKAGE.glob("[!_]*.py")}


def test_the_example_of_the_readme_runs():
    (example,) = re.findall("```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    found = {}
    exec(example, found)
    layers = {score.split("/")[0] for score in found["table"].score}
    assert len(found["table"]) == 3 * len(found["known"].columns) and {"layer1.0", "layer4.1", "fc"} < layers
