"""The frame, the notation and the guard, worked out by hand from runs of several seeds."""

import base64
import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest

from thesis_utils import evaluation, metrics, runs
from thesis_utils.book import numbers, plots, quantities, tables, thesis
from thesis_utils.runs import run as store

LAYERS = thesis.LAYERS


def plain(text):
    return text.replace("\N{WORD JOINER}", "")


def record(area, correct, **fields):
    """A recorded folder: `area` is the AUROC against SVHN, 0.2 less for MSP; `correct` of 100 images are."""
    config = runs.configure("compact", **fields)
    folder = store.RECORDED / config.name
    (folder / "scores").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(dataclasses.asdict(config)))
    (folder / "provenance.json").write_text(json.dumps({"data": {}}))
    pd.DataFrame({"epoch": [1]}).to_csv(folder / "history.csv", index=False)
    areas = {"fc/msp": area - 0.2, "fc/misp": area} | {f"{layer}/min_of_misp": 1 - area for layer in LAYERS}
    rows = [
        {"ood": "svhn", "score": score, "reading": reading, "auroc": a, "auroc_low": a - 0.01, "auroc_high": a + 0.01,
         "fpr95": 0.5}
        for score, value in areas.items()
        for reading, a in zip(metrics.READINGS, (max(value, 1 - value), value, 0.6))
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "metrics.csv.gz", index=False)
    images = pd.DataFrame({evaluation.CORRECT: [1.0] * correct + [0.0] * (100 - correct)})
    images.to_parquet(folder / "scores" / "cifar10.parquet")
    return config


@pytest.fixture
def nothing_recorded(monkeypatch, tmp_path):
    """An empty folder in place of `results/`, and no runs of one's own."""
    monkeypatch.setattr(store, "RECORDED", tmp_path)
    monkeypatch.setattr(store, "OWN", tmp_path / "none")
    for cached in numbers.CACHES:
        cached.cache_clear()
    yield
    for cached in numbers.CACHES:
        cached.cache_clear()


@pytest.fixture
def three_seeds(nothing_recorded):
    """ReLU networks of seeds 0 to 2: accuracy 80, 82 and 81 %; AUROC 0.7, 0.9 and 0.8 of MiSP, 0.2 less of MSP."""
    for seed, (area, correct) in enumerate([(0.7, 80), (0.9, 82), (0.8, 81)]):
        record(area, correct, activation="relu", seed=seed)


def test_a_row_a_number_in_percent_with_the_thesis_beside(three_seeds):
    table = numbers.frame()
    assert not table.duplicated(["run", "ood", "score", "reading"]).any() and table.usual.all()
    found = table.set_index(["score", "reading", "seed"]).sort_index()
    misp = found.loc["fc/misp", "fixed_direction"]
    assert misp.ours.to_dict() == pytest.approx({0: 70, 1: 90, 2: 80})
    assert (misp.low[1], misp.high[1], misp.fpr95[1], misp.thesis[1]) == pytest.approx((89, 91, 50, 96.54))
    accuracy = found.loc["accuracy", ""]
    assert accuracy.ours.to_dict() == pytest.approx({0: 80, 1: 82, 2: 81}) and accuracy.thesis[0] == 94.31
    assert (accuracy.low[0], accuracy.high[0]) == pytest.approx((72.16, 87.84))  # 80 +- 1.96 sqrt(80 x 20 / 100)
    inner = found.loc["layer2.3/min_of_misp", "best_direction"]
    assert set(inner.layer) == {"layer2.3"} and set(inner.aggregation) == {"min_of_misp"} and set(inner.stage) == {2}
    assert set(misp.stage) == {0} and set(misp.network) == {"ReLU"}
    assert found.loc["layer2.3/min_of_misp"].thesis.isna().all()  # of ReLU it plots Mahalanobis
    assert inner.ours.to_dict() == pytest.approx({0: 70, 1: 90, 2: 80})


def test_over_seeds_is_a_mean_with_the_lowest_and_the_highest(three_seeds):
    table = numbers.usual("compact", "cifar10").query("score == 'fc/misp' and reading == 'fixed_direction'")
    row = numbers.over_seeds(table, "network", "ood").loc["ReLU", "svhn"]
    assert tuple(row[["mean", "low", "high", "seeds", "thesis"]]) == pytest.approx((80, 70, 90, 3, 96.54))
    one = numbers.over_seeds(table[table.seed.eq(1)], "network").loc["ReLU"]
    assert tuple(one[["mean", "low", "high", "seeds"]]) == pytest.approx((90, 89, 91, 1))  # its interval
    shown = tables.beside(numbers.over_seeds(table, "network", "ood", "score"), "score")
    assert shown.loc[("ReLU", "svhn"), ("fc/misp", "thesis")] == "96.54"
    assert plain(shown.loc[("ReLU", "svhn"), ("fc/misp", "ours")]) == "80.0\n[70.0–90.0]"


def test_a_stage_is_the_mean_of_its_layers(three_seeds):
    table = numbers.usual("compact", "cifar10").query("aggregation == 'min_of_misp' and reading == 'fixed_direction'")
    stages = numbers.by_stage(table, "network", "ood")
    assert len(stages) == 3 * 4 and stages[stages.seed.eq(1)].ours.tolist() == pytest.approx([10] * 4)


def test_other_lengths_and_recipes_are_not_usual(three_seeds):
    record(0.6, 70, activation="relu", epochs=3)
    assert numbers.frame().usual.groupby(numbers.frame().epochs).all().to_dict() == {3: False, 10: True}
    assert set(numbers.usual("compact", "cifar10").epochs) == {10}


def test_a_chapters_run_brings_what_was_asked_before_it_was_there(three_seeds):
    def seeds():
        return len(quantities.draws("cifar10", "MiSP", "MSP", "ReLU", "svhn"))

    assert seeds() == 3
    record(0.6, 70, activation="relu", seed=3)
    assert seeds() == 3  # numbers are read once
    numbers.main_run("compact", "cifar10", activation="relu", seed=3)
    assert seeds() == 4


def test_nothing_recorded_is_shown_as_that(nothing_recorded):
    assert numbers.usual("compact", "cifar10").empty
    assert "Not recorded yet" in tables.show(pd.DataFrame(), "AUROC, %.").data


def test_an_experiments_rows_know_their_network(three_seeds):
    names = numbers.frame().run.unique()
    pd.DataFrame({"run": [names[0], "a run that is gone"], "value": [0.5, 0.6]}).to_csv(store.RECORDED / "some.csv")
    found = numbers.experiment("some")
    assert found[["run", "network", "width"]].to_numpy().tolist() == [[names[0], "ReLU", 16]]
    assert numbers.experiment("none").empty


def test_every_number_of_the_thesis_has_its_place():
    table = thesis.by_score()
    assert not table.duplicated(["dataset", "activation", "factor", "ood", "score"]).any()
    one = table.set_index(["activation", "factor", "ood", "score"]).thesis
    assert one["log_softmax", 0.0, "svhn", "layer1.2/min_of_misp"] == thesis.curve(("log_softmax", 0.0), "svhn")[1]
    assert one["relu", 0.0, "svhn", "layer2.1/mahalanobis"] == thesis.curve(("relu", 0.0), "svhn")[3]
    config = runs.configure("compact", dataset="cifar10")
    assert thesis.best_cell(config, "places9_resize") == ("min_of_misp", "layer1.2")  # LSUN's
    assert thesis.best_cell(config, "places9_fix") is None


def test_the_notation():
    assert plain(tables.spread(83.66, 82, 85, seeds=3)) == "83.7\n[82.0–85.0]"
    assert plain(tables.spread(83.66, 82, 85)) == "83.7\n(82.0–85.0)"
    assert tables.spread(-1, -3, 1, seeds=2, sign="+") == "-1.0\n[-3.0\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}+1.0]"
    assert tables.spread(np.nan) == tables.NONE and tables.spread(5) == "5.0"


def test_a_column_of_the_thesis_stands_only_where_it_has_a_number():
    places = pd.MultiIndex.from_product([["ReLU"], ["msp", "asp"]], names=["network", "score"])
    found = pd.DataFrame({"mean": [80.0, 70.0], "low": np.nan, "high": np.nan, "seeds": 1, "thesis": [85.0, np.nan],
                          "note": ["misprint", ""]}, index=places)  # fmt: skip
    shown = tables.beside(found, "score")
    assert list(shown) == [("msp", "thesis"), ("msp", "ours"), ("asp", "ours")]
    assert shown["msp", "thesis"].item() == "85.00\n(misprint)"


def test_a_sentence_says_whether_it_still_holds():
    assert tables.says("MiSP is ahead.", True).data == "MiSP is ahead."
    assert tables.says("MiSP is ahead.", np.bool_(False)).data.startswith("⚠ *No longer so with these runs:*")
    for missing in (None, np.nan):
        assert tables.says("MiSP is ahead.", missing).data == "MiSP is ahead. *(not recorded yet)*"


def test_an_exhibit_brings_its_data_and_names_its_runs():
    table = pd.DataFrame({"ours": [81.25]}, index=pd.Index(["places9_fix"], name="set"))
    shown = tables.show(table, "AUROC, %.", runs=["run-b", "run-a", "run-b"]).data
    assert "scenes fix" in shown and "81.2" in shown and "2 runs" in shown and "run-a<br>run-b" in shown
    csv = base64.b64decode(re.search(r"base64,([^\"]+)\"", shown)[1]).decode()
    assert csv == "set,ours\nplaces9_fix,81.25\n"  # the data keeps its digits


def test_a_figure_is_svg_with_an_alternative_text():
    figure, axes = plots.panels()
    axes[0, 0].plot([0, 1], [50, 100])
    shown = plots.draw(figure, 'rises from 50 to 100 "quickly"', pd.DataFrame({"ours": [50, 100]}), ["run-a"]).data
    assert 'alt="rises from 50 to 100 &quot;quickly&quot;"' in shown and "data:text/csv" in shown
    svg = base64.b64decode(re.search(r"svg\+xml;base64,([^\"]+)\"", shown)[1]).decode()
    assert "<svg" in svg


def test_a_line_over_the_layers_has_a_band_over_the_seeds(three_seeds):
    table = numbers.usual("compact", "cifar10").query("aggregation == 'min_of_misp' and reading == 'best_direction'")
    figure, axes = plots.panels()
    line = plots.along_layers(axes[0, 0], table, LAYERS)
    assert line.get_ydata() == pytest.approx([80] * 16)
    outline = axes[0, 0].collections[0].get_paths()[0].get_extents()
    assert (outline.y0, outline.y1) == pytest.approx((70, 90))
