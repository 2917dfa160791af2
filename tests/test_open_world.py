"""The detector at work, from a shell and in the example; the numbers of the chapters on it and on baselines."""

import sys

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from PIL import Image

from experiments.open_world import extremes
from thesis_utils import runs
from thesis_utils.book import baselines, numbers, thesis
from thesis_utils.models import resnet34

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
    *_, last = done.stderr.strip().splitlines()
    assert done.returncode == 1 and last.startswith("error: ") and message in last
    assert not [*photos.rglob("*.csv")]


def test_the_example_runs_as_it_stands(shell, tmp_path):
    done = shell((sys.executable, ROOT / "examples" / "own_network.py"), cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert "given_away_by" in done.stdout and (tmp_path / "own_network.detector").exists()


# --- methods at equal false alarms --------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "log_softmax"])
@pytest.mark.parametrize("padding", ["zero", "mean"])
def test_what_other_methods_read_is_the_networks_own_pass(activation, padding):
    network, inputs = resnet34(3, 8, activation, padding), torch.randn(4, 3, 32, 32)
    network(inputs)  # BatchNorm and padding have seen something
    with torch.inference_mode():
        logits, layers, seen = extremes(network.eval(), inputs)
        expected, maps = network.forward_layers(inputs)
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(layers["layer4.3"], maps["layer4.3"])
    assert seen.shape == (4, 66) and (seen[:, ::2] <= seen[:, 1::2]).all()


def test_recorded_shares_are_of_that_convention():
    """Whoever calls more than 5 % of the in-distribution calls at least what is found at 5 %; who less, at most that.

    Of all recorded numbers, none of which was made from the other.
    """
    table = numbers.experiment("open_world")
    wide = table.pivot(index=["run", "variant", "set"], columns="metric", values="value").reset_index()
    inside = wide[wide.auroc.isna()].set_index(["run", "variant"]).called
    outside = wide[wide.auroc.notna() & wide.called.notna()].set_index(["run", "variant"])
    more = outside.called - (1 - outside.fpr95)
    alarms = inside.reindex(outside.index) - 0.05
    assert len(outside) > 200 and (more[alarms >= 0] >= -1e-9).all() and (more[alarms <= 0] <= 1e-9).all()
    assert (alarms > 0.001).any() and (alarms < -0.001).any()


# --- baselines ----------------------------------------------------------------------------------------


def test_a_layer_and_a_direction_are_those_farthest_from_one_half():
    assert baselines.choose(pd.Series({"a": 60.0, "b": 90.0, "c": 30.0})) == ("b", False)
    assert baselines.choose(pd.Series({"a": 60.0, "b": 30.0, "c": 10.0})) == ("c", True)


def test_a_fair_match_looks_at_what_it_says():
    choices = baselines.equal_choices("cifar10")
    table = numbers.frame()
    inner = table[table.aggregation.eq("min_of_misp") & table.stage.gt(0) & table.reading.eq("best_direction")]
    best = inner.groupby(["run", "ood"]).ours.max()
    wide = choices.pivot(index=["run", "ood"], columns="how", values="chosen")
    oracle = wide[baselines.CHOSEN_ON["oracle"]]
    assert oracle.tolist() == pytest.approx(best.reindex(oracle.index).tolist(), abs=1e-3)
    assert wide.le(oracle + 1e-3, axis=0).where(wide.notna(), True).all(axis=None)
    near, far = runs.near_and_far("cifar10")
    place = choices.set_index(["how", "ood", "run"]).place
    other, tested = place[baselines.CHOSEN_ON["held_out"]], place[baselines.CHOSEN_ON["oracle"]]
    for ood in other.index.unique("ood"):
        chosen_on = near if ood == far else far
        assert other[ood].to_dict() == tested[chosen_on].reindex(other[ood].index).to_dict()
    for how in ("FGSM", "distorted"):  # neither sees a set: all sets have the same choice
        assert choices[choices.how.eq(baselines.CHOSEN_ON[how])].groupby("run").place.nunique().eq(1).all()


def test_tuned_baselines_are_there_where_they_are_recorded():
    table = baselines.tuned()
    there = {run.config.name for run in runs.every() if (run.folder / "baselines.csv.gz").exists()}
    assert there and set(table.run) == there and table.ours.between(0, 100).all()
    assert {"none", "held_out", "oracle", "grid"} == set(table.protocol)


def test_the_papers_numbers_stand_where_they_belong():
    """Lee et al. (2018), ResNet-34 on CIFAR-10 against SVHN: tuned on FGSM images, on SVHN, and without a step."""
    found = thesis.PAPERS.query("ood == 'svhn'").set_index(["method", "preprocessing", "protocol"]).auroc
    assert found["msp"].tolist() == [89.9]
    assert (found["odin", True, "none"], found["mahalanobis", True, "none"]) == (86.5, 95.5)
    assert (found["odin", True, "oracle"], found["mahalanobis", False, "oracle"]) == (96.7, 98.37)
    assert "held_out" not in found.index.get_level_values("protocol")
