"""What the tables say, worked out by hand from runs of several seeds."""

from types import SimpleNamespace

import pandas as pd
import pytest

from thesis_utils import evaluation, runs
from thesis_utils.book import plots, tables
from thesis_utils.models import LAYERS
from thesis_utils.scorers import AGGREGATIONS


def plain(text):
    """Without the characters that keep a number in one line."""
    return text.replace("\N{WORD JOINER}", "").replace("\N{NO-BREAK SPACE}", " ")


def test_several_seeds_are_a_mean_and_a_range():
    assert plain(tables.over_seeds([0.82, 0.85, 0.84])) == "\n[83.7: 82.0–85.0]"
    assert plain(tables.over_seeds([0.01, -0.03], "+")) == "\n[-1.0: -3.0 to +1.0]"
    assert tables.over_seeds([0.82]) == tables.over_seeds([]) == ""


@pytest.fixture
def three_seeds(monkeypatch):
    """ReLU networks of seeds 0 to 2: accuracy 80, 82 and 81 %; AUROC 0.7, 0.9 and 0.8 of MiSP, 0.2 less of MSP."""

    def a_run(config):
        correct = pd.DataFrame({evaluation.CORRECT: [1.0] * (80, 82, 81)[config.seed] + [0.0] * 20})
        area = (0.7, 0.9, 0.8)[config.seed]
        places = [("fc/msp", area - 0.2), ("fc/misp", area)]
        places += [(f"{layer}/{score}", area) for layer in LAYERS for score in AGGREGATIONS]
        rows = [
            {"score": score, "reading": reading, "auroc": value, "auroc_low": value - 0.01, "auroc_high": value + 0.01}
            for score, value in places
            for reading in ("fixed_direction", "best_direction")
        ]
        return SimpleNamespace(
            config=config,
            accuracy=lambda: correct[evaluation.CORRECT][:100].mean(),
            scores=lambda name: correct[:100],
            out_distributions=lambda: ["svhn"],
            metrics=lambda name: pd.DataFrame(rows),
        )

    found = {seed: a_run(runs.configure("compact", activation="relu", seed=seed)) for seed in range(3)}
    monkeypatch.setattr(
        runs, "find", lambda c: found.get(c.seed) if found[0].config.activation == c.activation else None
    )
    monkeypatch.setattr(tables.grid, "__defaults__", (None, None, tables.GRID, runs.find))
    return found


def test_tables_show_one_seed_then_all(three_seeds):
    accuracy = tables.accuracy("compact").loc["ReLU", "ours"]
    assert plain(accuracy) == "80.00\n(72.2–87.8)\n[81.0: 80.0–82.0]"
    area = tables.benchmark(["MiSP"], "compact").loc[("ReLU", "svhn"), ("MiSP", "ours")]
    assert plain(area) == "70.00\n(69.0–71.0)\n[80.0: 70.0–90.0]"
    gain = tables.gain("compact").loc[("ReLU", "svhn"), ("MiSP − MSP", "ours")]
    assert plain(gain) == "+20.00\n[+20.0: +20.0 to +20.0]"
    models = tables.grid("compact").values()
    assert "one seed" in tables.made_by(models) and "up to 3 seeds" in tables.made_by(models, all_seeds=True)


def test_a_column_of_the_thesis_stands_only_where_it_has_a_number():
    shown = tables.benchmark(["MSP", "ASP"], "compact", "cifar10")
    assert list(shown) == [("MSP", "thesis"), ("MSP", "ours"), ("ASP", "ours")]
    nothing = tables.benchmark(["MSP", "ASP"], "compact", "a_set_without_runs")
    assert nothing.to_numpy().tolist() == [[tables.MISSING]]


def test_what_the_entropy_loss_costs(monkeypatch):
    rows = [("mean", 0.0, 0.7), ("mean", 0.1, 0.6), ("sum", 0.1, 0.5)]
    short = pd.DataFrame(rows, columns=["entropy_reduction", "entropy_factor", "accuracy"])
    monkeypatch.setattr(tables, "experiment", lambda name: short)

    def a_run(accuracy, dataset="cifar10"):
        return SimpleNamespace(config=SimpleNamespace(dataset=dataset), accuracy=lambda: accuracy)

    models = {("relu", 0.0): a_run(0.9), ("log_softmax", 0.0): a_run(0.8), ("log_softmax", 0.01): a_run(0.77)}
    models["log_softmax", 0.1] = None
    found = tables.entropy_costs(models)
    assert found["thesis"][0.1] == pytest.approx(91.92 - 93.5) and len(found["thesis"]) == 5
    assert {name: points.round(6).to_dict() for name, points in found.items() if name != "thesis"} == {
        "mean, short trainings": {0.1: -10.0},
        "sum, short trainings": {0.1: -20.0},
        "mean, whole trainings": {0.01: -3.0},
        "mean over layers too": {0.16: -3.0},
    }
    others = {("log_softmax", 0.0): a_run(0.8, "digits_0_4")}
    assert list(tables.entropy_costs(others)) == ["mean, short trainings", "sum, short trainings", "thesis"]
    short = short[:0]
    assert tables.entropy_costs(models) == {}


def test_the_trend_has_a_band_over_seeds(three_seeds):
    (axis,) = plots.trend(three_seeds[0], ["svhn"]).axes
    band, final = axis.collections
    assert final.get_segments()[0][:, 1] == pytest.approx([70, 90])
    (outline,) = band.get_paths()
    assert outline.get_extents().y0 == pytest.approx(70) and outline.get_extents().y1 == pytest.approx(90)
