"""The rules of the verdicts, on hand-made cases."""

from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from thesis_utils import evaluation, runs
from thesis_utils.book import claims, tables, thesis, verdict
from thesis_utils.book.claims import ABOVE, COMPARABLE, NO_WORSE, Cell
from thesis_utils.book.verdict import NOT_REPRODUCED, REPRODUCED, UNDECIDED

ABOVE_0, BELOW_0, ACROSS_0 = np.array([[2.0, 1.0, 3.0], [-2.0, -3.0, -1.0], [0.0, -1.0, 1.0]])


def cells(*pairs):
    return [Cell("network", "svhn", theirs, ours) for theirs, ours in pairs]


@pytest.mark.parametrize("kind, found, expected", [
    (ABOVE, cells((5, ABOVE_0), (1, ABOVE_0)), REPRODUCED),
    (ABOVE, cells((5, ABOVE_0), (1, ACROSS_0)), UNDECIDED),
    (ABOVE, cells((5, ABOVE_0), (1, BELOW_0)), NOT_REPRODUCED),
    (ABOVE, cells((5, ABOVE_0), (-1, BELOW_0)), REPRODUCED),  # the thesis does not show it there either
    (ABOVE, cells((5, ABOVE_0), (np.nan, BELOW_0)), REPRODUCED),  # nor beside a misprint
    (ABOVE, cells((None, ABOVE_0)), REPRODUCED),
    (ABOVE, cells((5, ABOVE_0), (1, None)), UNDECIDED),
    (ABOVE, cells((5, None)), UNDECIDED),
    (ABOVE, cells((5, ABOVE_0 + [0, -np.inf, np.inf])), UNDECIDED),  # one seed of each network
    (NO_WORSE, cells((-3, BELOW_0)), REPRODUCED),  # at least -4
    (NO_WORSE, cells((-1, BELOW_0)), UNDECIDED),  # at least -2
    (NO_WORSE, cells((3, BELOW_0 - 1)), NOT_REPRODUCED),  # at least -1
    (COMPARABLE, cells((-3, ABOVE_0)), REPRODUCED),
    (COMPARABLE, cells((0.1, ABOVE_0 + 1)), NOT_REPRODUCED),
])  # fmt: skip
def test_the_rule_of_claims(kind, found, expected):
    assert verdict.decide(kind, found)[0] == expected


def a_run(seed=0, swapped=False, correct=0.8, profile="compact", activation="relu"):
    """What a run offers, of 200 images a set: MiSP at fc tells SVHN from CIFAR-10, MSP does not; or `swapped`."""
    rng = np.random.default_rng(seed)

    def scores(name):
        good = rng.normal(-3 if name == "cifar10" else 0, 1, 200)
        misp, msp = (rng.normal(0, 1, 200), -good) if swapped else (good, rng.normal(0, 1, 200))
        right = np.arange(200) < 200 * correct
        return pd.DataFrame({"fc/misp": misp, "fc/msp": msp, evaluation.CORRECT: right.astype(float)})

    found = {name: scores(name) for name in ("cifar10", "svhn", "calibration")}
    return SimpleNamespace(
        config=SimpleNamespace(profile=profile, dataset="cifar10", activation=activation, seed=seed),
        scores=found.get,
        out_distributions=lambda: ["svhn"],
        accuracy=lambda: found["cifar10"][evaluation.CORRECT].mean(),
        metrics=lambda ood: evaluation.compare(
            found["cifar10"], found[ood], found["calibration"], ["fc/misp", "fc/msp"]
        ),
    )


def test_a_claim_flips_when_the_scores_are_swapped():
    claim = next(claim for claim in claims.CLAIMS if claim.says == "“MiSP better than MSP”")
    for swapped, expected in [(False, REPRODUCED), (True, NOT_REPRODUCED)]:
        found = defaultdict(lambda: [a_run(seed, swapped) for seed in (0, 1)])
        counted = [cell for cell in claim.cells(found) if cell.ood == "svhn"]
        assert len(counted) == 3 and verdict.decide(claim.kind, counted)[0] == expected
        assert verdict.decide(claim.kind, claim.cells(found))[0] == (NOT_REPRODUCED if swapped else UNDECIDED)


def test_two_networks_need_a_second_seed():
    better, worse = ([a_run(seed, correct=share) for seed in (0, 1)] for share in (0.9, 0.6))
    worse[1].accuracy, worse[1].scores = a_run(correct=0.5).accuracy, a_run(correct=0.5).scores
    one = claims.between(better[:1], worse[:1], claims.accuracies)
    assert one[0] == pytest.approx(30) and np.isinf(one[1:]).all()
    both = claims.between(better, worse, claims.accuracies)
    assert both[0] == pytest.approx(35) and 20 < both[1] < 30 and 40 < both[2] < 50
    # worse's seeds lie 10 points apart, and so may those of better, of which there is one
    lent = claims.between(better[:1], worse, claims.accuracies)
    assert lent == pytest.approx(both + [0, -10, 10])


@pytest.mark.parametrize("profile, correct, value, expected", [
    ("compact", 0.943, 97, REPRODUCED),
    ("compact", 0.8, 97, UNDECIDED),  # met by a network that classifies much worse
    ("compact", 0.943, 80, UNDECIDED),  # missed by a smaller network
    ("thesis", 0.943, 80, NOT_REPRODUCED),
])  # fmt: skip
def test_the_rule_of_numbers(profile, correct, value, expected):
    row = next(
        row for row in thesis.TABLES.itertuples() if (row.activation, row.ood, row.method) == ("relu", "svhn", "misp")
    )
    models = [a_run(seed, profile=profile, correct=correct) for seed in (0, 1)]
    assert verdict.judge(row._replace(value=value), models, "svhn")[1] == expected
    assert verdict.judge(row._replace(value=value, note="misprint"), models, "svhn")[1] == UNDECIDED
    assert verdict.judge(row._replace(value=value, ood="lsun"), models, "svhn")[1] == UNDECIDED


def test_without_any_run_every_line_says_so(monkeypatch):
    monkeypatch.setattr(verdict, "gather", lambda profile: defaultdict(list))
    for table in (verdict.claims(), verdict.numbers()):
        assert set(table.verdict) == {UNDECIDED} and set(table.ours) == {tables.MISSING}


def test_seeds_are_found_by_configuration(monkeypatch):
    monkeypatch.setattr(runs, "find", lambda config: config if config.seed in (1, 3) else None)
    assert [(c.dataset, c.activation, c.seed) for c in claims.gather()["cifar100", "softmax", 0.0]] == [
        ("cifar100", "softmax", 1),
        ("cifar100", "softmax", 3),
    ]


def test_every_number_of_the_thesis_has_one_line():
    table = verdict.numbers()
    assert len(table) == len(thesis.TABLES) and table.index.is_unique
    shown = sorted(float(text.split("\n")[0]) for text in table.thesis)
    assert shown == pytest.approx(sorted(thesis.TABLES.value))
    assert verdict.summary(numbers=table).loc["numbers", list(verdict.VERDICTS)].sum() == len(table)


def test_no_verdict_is_typed():
    assert not any(word in Path(claims.__file__).read_text() for word in verdict.VERDICTS)
    assert Path(verdict.__file__).read_text().count(f'"{REPRODUCED}"') == 1
