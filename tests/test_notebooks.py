"""Each notebook through papermill, as typed, on the demo profile."""

import os
import pty
import shutil
import subprocess

import nbformat
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from thesis_utils.errors import InputError

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_valid_has_one_parameters_cell_and_short_folded_ones(path):
    """What a chapter does stands in it, in cells that one takes in at a glance; the reader sees what they show."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in code) == 1
    for cell in code:
        assert len(cell.source.splitlines()) <= 25, cell.source[:80]
        assert {"hide-input", "remove-input", "parameters"} & set(cell.metadata.get("tags", [])), cell.source[:80]


@pytest.fixture
def papermill(shell, tmp_path):
    """papermill(chapter, parameter=value) executes a chapter into tmp_path / "out.ipynb"."""

    def run(chapter, check=True, environment={}, **parameters):
        words = ["papermill", f"{chapter}.ipynb", str(tmp_path / "out.ipynb")]
        for parameter, value in parameters.items():
            words += ["-p", parameter, value]
        return shell(words, cwd=ROOT / "notebooks", check=check, **environment)

    return run


def outputs(path):
    """(how many figures, the tables) of an executed notebook."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    found = [output for cell in cells for output in cell.outputs]
    shown = [output.get("data", {}).get("text/html", "") for output in found]
    figures = sum("data:image/svg+xml" in html and "alt=" in html for html in shown)
    tables = [html for html in shown if "<table" in html]
    return figures, tables


@pytest.mark.parametrize("name, figures, tables", [
    ("01_train", 2, 0), ("02_benchmark", 0, 3), ("03_layerwise", 6, 2), ("04_mixture", 1, 2), ("05_cifar100", 1, 2),
    ("06_baselines", 2, 5), ("08_open_world", 2, 6), ("09_aliasing", 6, 2), ("10_why_misp", 4, 6), ("11_beyond", 2, 2),
])  # fmt: skip
def test_every_notebook_on_the_demo_profile(papermill, trained, tmp_path, name, figures, tables):
    """Each as if it were the first that somebody opens: with a network that nobody has scored yet."""
    shutil.copytree(trained, tmp_path / "runs")
    papermill(name, environment={"THESIS_RUNS": str(tmp_path / "runs")}, profile="demo")
    drawn, shown = outputs(tmp_path / "out.ipynb")
    assert drawn == figures and len(shown) == tables


def test_the_verdict_on_the_other_scenes(papermill, tmp_path):
    papermill("07_verdict", scenes="places9_fix")
    drawn, shown = outputs(tmp_path / "out.ipynb")
    assert drawn == 2 and len(shown) == 6


def test_one_out_distribution_and_a_folder_of_images(papermill, tmp_path):
    for k in range(5):
        noise = np.random.default_rng(k).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{k}.png")
    for profile, ood in [("demo", "photo_patches"), ("half", str(tmp_path))]:  # half: with the recorded weights
        papermill("03_layerwise", profile=profile, ood=ood)
        assert outputs(tmp_path / "out.ipynb")[0] >= 5


def test_the_misprint_of_slide_36_is_marked_and_no_difference_is_taken_with_it(papermill, tmp_path):
    papermill("02_benchmark", dataset="cifar100")
    shown = outputs(tmp_path / "out.ipynb")[1]
    assert any("8.50<br />(misprint)" in one or "8.50\n(misprint)" in one for one in shown)
    assert not any("85.78" in one for one in shown)  # what 8.50 would make of slide 36's MiSP, 94.28


def test_papermill_at_a_terminal_without_an_output_path(shell, tmp_path):
    """As typed: papermill alone would refuse it."""
    shutil.copy(ROOT / "notebooks" / "02_benchmark.ipynb", tmp_path)
    terminal, end = pty.openpty()
    with subprocess.Popen(
        ["papermill", "02_benchmark.ipynb", "-p", "profile", "demo"],
        cwd=tmp_path,
        stdin=end,
        stdout=end,
        stderr=end,
        env=shell.env,
    ) as process:
        os.close(end)
        try:
            while os.read(terminal, 1024):
                pass
        except OSError:  # the terminal closes when the process ends
            pass
    assert process.returncode == 0
    assert len(outputs(tmp_path / "02_benchmark.out.ipynb")[1]) == 3
    assert not outputs(tmp_path / "02_benchmark.ipynb")[1]


@pytest.mark.parametrize("name", ["03_layerwise", "10_why_misp"])
def test_a_network_without_scores_image_by_image_shows_all_the_rest(papermill, tmp_path, name):
    papermill(name, profile="compact")
    said = "image by image are not recorded of this network; `python -m thesis_utils train --profile compact` trains it"
    assert said in (tmp_path / "out.ipynb").read_text() and len(outputs(tmp_path / "out.ipynb")[1]) > 1


@pytest.mark.parametrize("name, parameters, said", [
    ("03_layerwise", dict(ood="svnh", profile="demo"), "InputError: unknown data set 'svnh'; there are cifar10, "),
    ("08_open_world", dict(profile="compact"), "recorded without the weights to detect with: python -m thesis_utils"),
])  # fmt: skip
def test_what_cannot_be_had_stops_papermill_with_one_sentence(papermill, name, parameters, said):
    failed = papermill(name, check=False, **parameters)
    assert failed.returncode and said in failed.stderr


@pytest.mark.parametrize("name, parameters, said", [
    ("02_benchmark", dict(dataset="svhn"), "dataset must be one of digits_0_4, cifar10, cifar100, not 'svhn'"),
    ("05_cifar100", dict(profile="thesis"), "profile must be one of compact, half, not 'thesis'"),
    ("07_verdict", dict(scenes="lsun"), "scenes must be one of places9_resize, places9_fix, not 'lsun'"),
    *(("08_open_world", dict(alpha=alpha), "^alpha must be a number between 0 and 1, .*, for example 0.05, not ")
      for alpha in ("abc", "0.05", 0, 0.0, 1, 1.0, 5, True, None, [0.05])),
])  # fmt: skip
def test_what_cannot_be_shown_is_one_sentence_of_the_first_cell(name, parameters, said):
    notebook, found = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4), {}
    given, first = [cell.source for cell in notebook.cells if cell.cell_type == "code"][:2]
    exec(given, found)
    with pytest.raises(InputError, match=said):
        exec(first, found | parameters)
