"""The detector at work: from a shell, in the example, in the chapter's tables."""

import sys

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from PIL import Image

from thesis_utils.book import open_world

DETECT = (sys.executable, "-m", "thesis_utils", "detect")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    for k, pixels in enumerate(noise):
        Image.fromarray(pixels).save(folder / f"{k}.png")
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def test_a_folder_is_looked_through_from_a_shell(shell, photos, tmp_path):
    output = tmp_path / "found.csv"
    done = shell((*DETECT, photos, "--output", output))
    table = pd.read_csv(output)
    assert "3 of 3 images called out-of-distribution at alpha = 0.05" in done.stdout and "broken.png" in done.stderr
    assert table.outlier.all() and (table.p_value <= 0.05).all()
    assert [path.rsplit("/")[-1] for path in table.path] == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize(
    "words, message",
    [
        (("nowhere",), "nowhere is not a folder"),
        ((".", "--alpha", "0"), "alpha must lie between 0 and 1"),
        ((".", "--alpha", "0.0001"), "an alpha of 0.0001 needs 19998 calibration images"),
        ((".", "--seed", "1"), "recorded without its weights"),
        ((".", "--output", "nowhere/found.csv"), "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(shell, photos, words, message):
    done = shell((*DETECT, *words), cwd=photos, check=False, PYTHONPATH=str(ROOT))
    assert (
        done.returncode == 1 and done.stderr.strip().splitlines()[-1].startswith("error: ") and message in done.stderr
    )
    assert not [*photos.rglob("*.csv")]


def test_the_example_runs_as_it_stands(shell, tmp_path):
    done = shell((sys.executable, ROOT / "examples" / "own_network.py"), cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert "given_away_by" in done.stdout and (tmp_path / "own_network.detector").exists()


def test_the_best_worst_case_is_bold_and_oracles_are_not():
    rows = pd.DataFrame({
        "method": ["ours", "ours", "energy", "energy", "oracle", "oracle"], "ood": ["near", "far"] * 3,
        "auroc": [0.7, 0.9, 0.8, 0.75, 0.9, 0.9], "looks_at": ["known"] * 4 + [open_world.ORACLE] * 2,
    }).assign(auroc_low=lambda rows: rows.auroc - 0.01, auroc_high=lambda rows: rows.auroc + 0.01)  # fmt: skip
    table = open_world.compared(rows, "auroc", with_interval=())
    assert table["worst"].tolist() == ["70.00", "<b>75.00</b>", "90.00"]
