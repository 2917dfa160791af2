"""What the tables say, worked out by hand from runs of several seeds, and of the recorded ones what is missing."""

import dataclasses
from types import SimpleNamespace

import pandas as pd
import pytest

from thesis_utils import evaluation, metrics, runs
from thesis_utils.book import baselines, experiments, match, open_world, plots, sentences, tables, thesis, verdict
from thesis_utils.book.formatting import MISSING, NONE, UNSCORED, model_label, over_seeds
from thesis_utils.models import LAYERS
from thesis_utils.runs import run as store
from thesis_utils.runs.config import ACCURACY_GRID
from thesis_utils.scorers import AGGREGATIONS

NETWORKS = {model_label(*network): network for network in ACCURACY_GRID}


def plain(text):
    """Without the characters that keep a number in one line."""
    return text.replace("\N{WORD JOINER}", "").replace("\N{NO-BREAK SPACE}", " ")


def test_several_seeds_are_a_mean_and_a_range():
    assert plain(over_seeds([82, 85, 84])) == "\n[83.7: 82.0–85.0]"
    assert plain(over_seeds([1, -3], "+")) == "\n[-1.0: -3.0 to +1.0]"
    assert over_seeds([82]) == over_seeds([]) == ""


def record(area, correct, precision="bfloat16", **fields):
    """A recorded folder: `area` is the AUROC against SVHN, 0.2 less for MSP; `correct` of 100 images are."""
    config = runs.configure("compact", **fields)
    folder = store.RECORDED / config.name
    (folder / "scores").mkdir(parents=True)
    store.write_json(folder / "config.json", dataclasses.asdict(config))
    versions = {"torch": "2"}
    origin = dict(precision=precision, device="CPU", wall_seconds=60, versions=versions, code="1", date="2026-01-01")
    store.write_json(folder / "provenance.json", origin)
    pd.DataFrame({"epoch": [1]}).to_csv(folder / "history.csv", index=False)
    areas = {"fc/msp": area - 0.2, "fc/misp": area, "fc/asp": area, "ensemble/mahalanobis_none": area - 0.1}
    areas |= {f"{layer}/{score}": area for layer in LAYERS for score in AGGREGATIONS} | {"layer2.1/avg_of_asp": 0.01}
    rows = [
        {"ood": "svhn", "score": score, "reading": reading, "auroc": a, "auroc_low": a - 0.01, "auroc_high": a + 0.01}
        for score, value in areas.items()
        for reading, a in zip(metrics.READINGS, (max(value, 1 - value), value, 0.6))
    ]
    pd.DataFrame(rows).to_csv(folder / "metrics.csv", index=False)
    for name in ("cifar10", "svhn"):
        images = pd.DataFrame({evaluation.CORRECT: [1.0] * correct + [0.0] * (100 - correct)})
        images.to_parquet(folder / "scores" / f"{name}.parquet")
    return runs.opened(folder)


@pytest.fixture
def nothing_recorded(monkeypatch, tmp_path):
    """An empty folder in place of `results/`, and no runs of one's own."""
    monkeypatch.setattr(store, "RECORDED", tmp_path)
    monkeypatch.setattr(store, "OWN", tmp_path / "none")


@pytest.fixture
def three_seeds(nothing_recorded):
    """ReLU networks of seeds 0 to 2: accuracy 80, 82 and 81 %; AUROC 0.7, 0.9 and 0.8 of MiSP, 0.2 less of MSP."""
    numbers = enumerate([(0.7, 80), (0.9, 82), (0.8, 81)])
    return [record(*found, activation="relu", seed=seed) for seed, found in numbers]


def test_tidy_has_a_row_a_number(three_seeds):
    table = tables.tidy("compact", "cifar10")
    keys = ["network", "out-distribution", "method", "reading", "seed"]
    assert not table.duplicated(keys).any() and set(table["in-distribution"]) == {"cifar10"}
    found = table.set_index(keys).sort_index()
    misp = found.loc["ReLU", "svhn", "MiSP", "fixed_direction"]
    assert misp.ours.to_dict() == pytest.approx({0: 70, 1: 90, 2: 80})
    assert (misp.low[1], misp.high[1], misp.thesis[1]) == pytest.approx((89, 91, 96.54))
    best = found.loc["ReLU", "svhn", "best aggregation"]  # no number of the thesis; below 0.5 in the fixed direction
    assert set(best.score) == {"layer2.1/avg_of_asp"} and best.thesis.isna().all()
    assert best.ours.xs(1, level="seed").to_dict() == pytest.approx(
        {"best_direction": 99, "fixed_direction": 1, "two_sided": 60}
    )
    accuracy = found.loc["ReLU", "test", "accuracy", ""]
    assert accuracy.ours.to_dict() == pytest.approx({0: 80, 1: 82, 2: 81}) and accuracy.thesis[0] == 94.31
    assert (accuracy.low[0], accuracy.high[0]) == pytest.approx((72.16, 87.84))
    lsun = table[table["out-distribution"].eq("lsun")]
    assert lsun.ours.isna().all() and len(lsun) == 3 * 5 * 3
    assert set(lsun.seed[lsun.network.eq("ReLU")]) == {0} and lsun.seed[lsun.network.ne("ReLU")].isna().all()


def test_tidy_takes_each_network_once_if_asked_to(three_seeds):
    assert set(tables.tidy("compact", "cifar10", ["MSP"], oods=["svhn"], all_seeds=False).seed.dropna()) == {0}


def test_tables_show_one_seed_then_all(three_seeds):
    accuracy = tables.accuracy("compact").loc["ReLU", "ours"]
    assert plain(accuracy) == "80.00\n(72.2–87.8)\n[81.0: 80.0–82.0]"
    area = tables.benchmark(["MiSP"], "compact").loc[("ReLU", "svhn"), ("MiSP", "ours")]
    assert plain(area) == "70.00\n(69.0–71.0)\n[80.0: 70.0–90.0]"
    gain = tables.gain("compact").loc[("ReLU", "svhn"), ("MiSP − MSP", "ours")]
    assert plain(gain) == "+20.00\n[+20.0: +20.0 to +20.0]"
    best = tables.best("compact", "cifar10").loc[("ReLU", "svhn")]
    assert best.xs("ours", level=1).tolist() == ["60.00\n(ensemble)", "99.00\n(avg of ASP\nlayer2.1)"]
    assert best["its other readings"].tolist() == ["1.00", "60.00"]
    models = tables.grid("compact").values()
    assert "one seed" in tables.made_by(models) and "up to 3 seeds" in tables.made_by(models, all_seeds=True)


def test_sentences_and_the_numbers_by_profile_are_means_over_the_seeds(three_seeds):
    said = sentences.compared("MiSP", "MSP", "compact").data
    assert said.startswith("MiSP is ahead of MSP in 1 of 1 pairs of a network and a set: +20.0 on `svhn`")
    assert said.endswith("In the thesis' numbers it is ahead in 9 of 9.")
    assert "differ from the thesis' accuracies by -13.3 points" in sentences.accuracy("compact").data
    assert "`svhn` 80.0, 80.0 and 80.0" in sentences.trend(three_seeds[0], ["svhn"]).data
    record(0.6, 70, activation="relu", epochs=3)
    places = ["width 16\n3 epochs", "width 16\n10 epochs"]
    assert list(tables.by_profile(oods=["svhn"]).place.unique()) == [*places, "thesis"]
    table = tables.by_profile(oods=["svhn"]).set_index(["measure", "activation", "place"]).sort_index()
    found = table.loc["MiSP at fc", "relu"]
    assert found.ours.to_dict() == pytest.approx({places[0]: 60, places[1]: 80, "thesis": 96.54})
    assert tuple(found.loc[places[1], ["low", "high"]]) == pytest.approx((70, 90))
    gap = found.ours["thesis"] - table.loc["MSP at fc", "relu"].ours["thesis"]
    said = sentences.ahead_by_profile().data
    gaps = f"+20.0 (width 16, 3 epochs), +20.0 (width 16, 10 epochs), {gap:+.1f} (thesis)"
    assert f"MiSP minus MSP on `svhn` (ReLU), in points: {gaps}." in said
    record(0.5, 79, activation="log_softmax")
    said = sentences.cost_by_profile().data
    assert said == "Log-softmax minus ReLU, in points of accuracy: -2.0 (width 16, 10 epochs), -0.8 (thesis)."
    curve = thesis.curve(("log_softmax", 0.0), "svhn")
    assert table.loc["min of MiSP, block 4", "log_softmax"].ours.item() == pytest.approx(curve[13:].mean())


def test_sentences_say_so_where_nothing_is_recorded(nothing_recorded):
    models = tables.grid("compact")
    said = [sentences.answer("compact"), sentences.accuracy("compact"), sentences.profiles(), sentences.trend(None, []),
            sentences.layer_bars(models, ["svhn"]), sentences.best("compact"), sentences.learning_curves([None]),
            sentences.compared("MiSP", "MSP", "compact"), sentences.roc(None, None),
            sentences.ahead_by_profile(), sentences.cost_by_profile(), sentences.worst_cases()]  # fmt: skip
    assert {one.data for one in said} == {sentences.NOTHING}
    assert plots.profiles() and plots.roc(None, None)


def test_the_worst_cases_leave_out_oracles_and_parts(nothing_recorded):
    pd.DataFrame({
        "run": "a run", "method": ["ours", "ours", "ours, a part", "energy", "energy", "kNN", "kNN", "an oracle"],
        "ood": ["near", "far", "near", "near", "far", "near", "far", "near"],
        "auroc": [0.7, 0.9, 1, 0.8, 0.75, 0.6, 1, 1], "called": [0.3, 0.4, 1, 0.2, 0.1, 0.25, 0.2, 1],
        "looks_at": ["known"] * 7 + [open_world.ORACLE],
    }).to_csv(store.RECORDED / "open_world.csv")  # fmt: skip
    assert sentences.worst_cases().data.endswith(": 70.0 beside 75.0 of energy (a run).")
    assert sentences.worst_cases("called").data.endswith(": 30.0 beside 20.0 of kNN (a run).")


def test_the_best_cell_of_the_thesis():
    config = runs.configure("compact", dataset="cifar10")
    assert thesis.best_cell(config, "places9_resize") == ("min_of_misp", "layer1.2")  # LSUN's
    assert thesis.best_cell(config, "places9_fix") is None
    assert thesis.best_cell(runs.configure("compact", activation="relu"), "svhn") is None


def test_a_caption_names_the_networks_of_another_precision(three_seeds):
    relu, found = three_seeds[0], list(three_seeds)
    assert "trained on cifar10 in bfloat16; 100 in" in tables.made_by([relu, None])
    found.append(record(0.7, 80, "float32", activation="softmax", dataset="cifar10"))
    assert "on cifar10 in bfloat16 (in float32: softmax on cifar10, seed 0); 100" in tables.made_by(found)
    found = [relu, record(0.7, 80, activation="softmax", seed=1), record(0.7, 80, "float32", seed=1)]
    assert "in bfloat16 (in float32: log-softmax, λ = 0 on cifar10, seed 1);" in tables.made_by(found)
    assert "in float32; 100" in tables.made_by(found[2:])


def test_a_column_of_the_thesis_stands_only_where_it_has_a_number():
    shown = tables.benchmark(["MSP", "ASP"], "compact", "cifar10")
    assert list(shown) == [("MSP", "thesis"), ("MSP", "ours"), ("ASP", "ours")]
    nothing = tables.benchmark(["MSP", "ASP"], "compact", "a_set_without_runs")
    assert nothing.to_numpy().tolist() == [[MISSING]]


def test_what_the_entropy_loss_costs(monkeypatch):
    rows = [("mean", 0.0, 0.7), ("mean", 0.1, 0.6), ("sum", 0.1, 0.5)]
    short = pd.DataFrame(rows, columns=["entropy_reduction", "entropy_factor", "accuracy"])
    monkeypatch.setattr(experiments, "experiment", lambda name: short)

    def a_run(accuracy, dataset="cifar10"):
        return SimpleNamespace(config=SimpleNamespace(dataset=dataset), accuracy=lambda: accuracy)

    models = {("relu", 0.0): a_run(0.9), ("log_softmax", 0.0): a_run(0.8), ("log_softmax", 0.01): a_run(0.77)}
    models["log_softmax", 0.1] = None
    found = experiments.entropy_costs(models)
    assert found["thesis"][0.1] == pytest.approx(91.92 - 93.5) and len(found["thesis"]) == 5
    assert {name: points.round(6).to_dict() for name, points in found.items() if name != "thesis"} == {
        "mean, short trainings": {0.1: -10.0},
        "sum, short trainings": {0.1: -20.0},
        "mean, whole trainings": {0.01: -3.0},
        "mean over layers too": {0.16: -3.0},
    }
    others = {("log_softmax", 0.0): a_run(0.8, "digits_0_4")}
    assert list(experiments.entropy_costs(others)) == ["mean, short trainings", "sum, short trainings", "thesis"]
    short = short[:0]
    assert experiments.entropy_costs(models) == {}


def test_the_trend_has_a_band_over_seeds(three_seeds):
    (axis,) = plots.trend(three_seeds[0], ["svhn"]).axes
    band, final = axis.collections
    assert final.get_segments()[0][:, 1] == pytest.approx([70, 90])
    (outline,) = band.get_paths()
    assert outline.get_extents().y0 == pytest.approx(70) and outline.get_extents().y1 == pytest.approx(90)


def told(text):
    """What a cell says of a number that is not there; None where it is there."""
    return text if text in (MISSING, UNSCORED) else None


def assert_missing_only_what_is(profile, dataset):
    """Every table says "not recorded yet" where no run of a network is, "not scored" where none has scored the set."""

    def expected(label, ood):
        activation, factor = NETWORKS[label]
        config = runs.configure(profile, dataset=dataset, activation=activation, entropy_factor=factor)
        found = [run for seed in range(10) if (run := runs.find(dataclasses.replace(config, seed=seed)))]
        there = ood == "test" or any(ood in run.scored() for run in found)
        return MISSING if not found else None if there else UNSCORED

    for label, text in tables.accuracy(profile, dataset).ours.items():
        assert told(text) == expected(label, "test"), label
    for table in (
        tables.benchmark(["MSP", "MiSP", "ASP"], profile, dataset),
        tables.benchmark(["Mahalanobis ensemble", "MiSP"], profile, dataset),
        tables.gain(profile, dataset),
        tables.best(profile, dataset),
    ):
        assert set(table.index.get_level_values("out-distribution")) >= {"svhn", "lsun"}
        for place, row in table.drop(columns="thesis", level=1).iterrows():
            assert set(map(told, row)) == {expected(*place)}, place
    found = verdict.numbers(profile).reset_index()
    assert len(found) == len(thesis.TABLES)
    for row, text in zip(thesis.TABLES.sort_values("slide", kind="stable").itertuples(), found.ours):
        if row.dataset == dataset:
            sets = [row.ood] + ["places9_resize"] * (row.ood == "lsun")
            told_of = {expected(model_label(row.activation, row.entropy_factor), ood) for ood in sets}
            assert told(text) == (None if None in told_of else told_of.pop()), row


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
@pytest.mark.parametrize("profile", [None, "thesis"])
def test_what_is_recorded_is_shown_and_nothing_else_is_missing(profile, dataset):
    assert_missing_only_what_is(profile, dataset)


def test_a_network_whose_first_seed_is_missing_is_shown(nothing_recorded):
    assert_missing_only_what_is("compact", "cifar10")
    record(0.7, 80, activation="relu", seed=1)
    record(0.7, 80, "float32", activation="log_softmax", seed=2)
    assert_missing_only_what_is("compact", "cifar10")
    assert tables.benchmark(["MiSP"], "compact", "cifar10")["MiSP", "ours"].map(told).value_counts().to_dict() == {
        MISSING: 5, UNSCORED: 8
    }  # fmt: skip


def test_baselines_are_missing_only_where_they_are():
    for run in filter(None, tables.grid(dataset="cifar10").values()):
        tuned_networks = runs.fine_tunings(run.config)
        for (ood, _), column in baselines.table(run).xs("ours", axis=1, level=1, drop_level=False).items():
            compared = {UNSCORED if ood not in run.rows(store.BASELINES) else None}
            assert set(column[column.index.isin(baselines.TUNED, level="method")].map(told)) == compared
            for method, (name, _) in baselines.FINE_TUNED.items():
                other = runs.find(tuned_networks[method])
                expected = MISSING if not other else None if ood in other.scored() else UNSCORED
                found = column.index.get_level_values("method").str.startswith(name)
                assert column[found].map(told).tolist() == [expected]
    before_and_after = baselines.fine_tuning(tables.grid(dataset="cifar10"))
    for label, (activation, factor) in list(NETWORKS.items()):
        if label in before_and_after.index:
            config = runs.configure(activation=activation, entropy_factor=factor, dataset="cifar10")
            found = [runs.find(config), *map(runs.find, runs.fine_tunings(config).values())]
            assert [told(text) == MISSING for text in before_and_after.loc[label]] == [not run for run in found]


def test_the_papers_numbers_stand_where_they_belong():
    """Lee et al. (2018), ResNet-34 on CIFAR-10 against SVHN: tuned on FGSM images, on SVHN, and without a step."""
    found = baselines.table(runs.find(runs.configure("compact", activation="relu")), oods=["svhn"])["svhn", "papers"]
    of = {protocol: found[group] for protocol, group in baselines.PROTOCOLS.items()}
    assert found[baselines.NOTHING, "MSP"] == "89.9"
    assert (of["none"]["ODIN"], of["none"]["ensemble with a step"]) == ("86.5", "95.5")
    assert (of["oracle"]["ODIN"], of["oracle"]["ensemble"]) == ("96.7", "98.37")
    assert set(of["held_out"]) == {NONE}


def test_a_fair_match_looks_at_what_it_says():
    """Layer and direction: the AUROC farthest from one half; above it high scores are out, below it low ones."""
    assert match.choice(pd.Series({"a": 0.6, "b": 0.9, "c": 0.3})) == ("b", -1)
    assert match.choice(pd.Series({"a": 0.6, "b": 0.3, "c": 0.1})) == ("c", 1)
    known, unknown = (pd.DataFrame(dict.fromkeys(match.SCORES, values)) for values in ([0.0, 1.0], [2.0, 3.0]))
    assert match.areas(known, unknown).tolist() == [1.0] * 16

    def run(**sets):
        scores = {"cifar10": known, "calibration": known, "svhn": unknown, "cifar100": unknown} | sets
        config = SimpleNamespace(dataset="cifar10", name="a run that no experiment has read")
        held_out = {"svhn": "cifar100", "cifar100": "svhn"}.get
        return SimpleNamespace(config=config, scores=scores.get, scored=lambda: list(scores), held_out=held_out,
                               out_distributions=lambda: ["svhn", "cifar100"])  # fmt: skip

    assert match.result(run(), "svhn", "held_out").auroc == 1
    turned = match.result(run(cifar100=-unknown), "svhn", "held_out")  # the other set lies below
    assert turned.auroc == 0 and turned.name == "layer1.1 ↓"
    assert match.result(run(cifar100=-unknown), "svhn", "oracle").auroc == 1
    assert match.result(run(), "svhn", "none") is None


def test_mixed_takes_the_share_it_says():
    near, far = pd.DataFrame({"x": [0.0] * 10}), pd.DataFrame({"x": [1.0] * 40})
    for share in (0.0, 0.25, 0.5, 1.0):
        parts = tables.mixed(near, far, share)
        assert sum(map(len, parts)) == 10 and parts[1].x.sum() == round(10 * share)
