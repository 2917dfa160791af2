"""The rules of the verdicts, on hand-made cases."""

from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from thesis_utils import evaluation, runs
from thesis_utils.book import claims, differences, thesis, verdict
from thesis_utils.book.claims import (
    ABOVE,
    CLAIMS,
    COMPARABLE,
    ENTROPY,
    LOG_SOFTMAX,
    NO_WORSE,
    RELU,
    SOFTMAX,
    Cell,
)
from thesis_utils.book.formatting import MISSING, NONE
from thesis_utils.book.verdict import NOT_REPRODUCED, REPRODUCED, UNDECIDED
from thesis_utils.metrics import READINGS
from thesis_utils.models import LAYERS
from thesis_utils.scorers import sign

MIN, OTHER = "min_of_misp", "max_of_asp"
SIDE = "AUROC of min of MiSP at layer1.2, beyond 50 towards opposite sides: SVHN above CIFAR-10, LSUN below"
IN_BLOCK_4 = "AUROC of min of MiSP in block 4: λ = 0.01 − λ = 0"
ACCURACY = "accuracy, log-softmax − ReLU"
MISP = "AUROC of MiSP: λ = 0.01 − λ = 0"
FAR_NEAR = "AUROC of min of MiSP: block 1 − block 4 (far), 4 − 1 (near)"
GAIN = "gain in AUROC from CIFAR-100 to SVHN: block 1 − block 4"
BEST = "AUROC: min of MiSP at the best layer − ensemble"
FINAL = "AUROC at the final layer: MiSP − MSP"
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


def a_run(seed=0, network=RELU, dataset="cifar10", correct=0.8, near=None, fix=None, **areas):
    """What a run offers, of 200 images a set, by the AUROCs (shares, in the fixed direction) that are chosen for it.

    `msp`, `misp`, `ensemble`: a number; `min_of_misp`, `mahalanobis` and `max_of_asp`, in place of all other
    aggregations: a number for each of the four blocks. What is not chosen is 0.5. Every interval reaches one point to
    either side. `near`, `fix`: other AUROCs for the near set and, which is there only with these, for places9_fix.
    """
    sets = ("cifar100" if dataset == "cifar10" else "cifar10", "svhn", "places9_resize", *["places9_fix"] * bool(fix))

    def by_score(**areas):
        found = {f"fc/{score}": areas.get(score, 0.5) for score in ("msp", "misp", "asp")}
        for score in (MIN, "mahalanobis", OTHER):
            found |= {f"{layer}/{score}": areas.get(score, 4 * [0.5])[int(layer[5]) - 1] for layer in LAYERS}
        return found | {"ensemble/mahalanobis_none": areas.get("ensemble", 0.5)}

    chosen = {ood: by_score(**areas) for ood in sets} | {sets[0]: by_score(**areas | (near or {}))}
    chosen |= {name: by_score(**areas | fix) for name in sets[3:]}

    def scores(name):
        """Known images score 0; of the others the share that the AUROC says is less sure, the rest surer."""
        if name == dataset:
            right = (np.arange(200) < 200 * correct).astype(float)
            return pd.DataFrame(dict.fromkeys(chosen["svhn"], np.zeros(200)) | {evaluation.CORRECT: right})
        less_sure = {score: np.arange(200) < 200 * area for score, area in chosen[name].items()}
        return pd.DataFrame({score: sign(score) * np.where(less, -1.0, 1.0) for score, less in less_sure.items()})

    def metrics(ood):
        rows = [
            (score, reading, area)
            for score, fixed in chosen[ood].items()
            for reading, area in zip(READINGS, (max(fixed, 1 - fixed), fixed, 0.5))
        ]
        table = pd.DataFrame(rows, columns=["score", "reading", "auroc"])
        return table.assign(auroc_low=table.auroc - 0.01, auroc_high=table.auroc + 0.01)

    return SimpleNamespace(
        config=SimpleNamespace(dataset=dataset, activation=network[0], entropy_factor=network[1], seed=seed),
        out_distributions=lambda: list(sets),
        accuracy=lambda: correct,
        scores=scores,
        metrics=metrics,
    )


NETWORKS = dict(relu=RELU, softmax=SOFTMAX, plain=LOG_SOFTMAX, entropy=ENTROPY)


def found_cells(claim, dataset="cifar10", **networks):
    """The claim and its cells that have a difference, from two equal seeds of each network: what `a_run` gives it."""
    (claim,) = [
        one for one in CLAIMS if one.tested_as == claim and (one.slides in ("35", "36")) == (dataset != "cifar10")
    ]
    found = defaultdict(list)
    for name, chosen in networks.items():
        found[dataset, *NETWORKS[name]] = [a_run(seed, NETWORKS[name], dataset, **chosen) for seed in (0, 1)]
    return claim, [cell for cell in claim.cells(found) if cell.ours is not None]


@pytest.mark.parametrize("tested_as, networks, ood, expected, theirs", [
    (ACCURACY, dict(plain=dict(correct=0.75), relu=dict(correct=0.8)), "cifar10", -5, 93.5 - 94.31),
    ("accuracy, log-softmax − softmax", dict(plain=dict(correct=0.9), softmax=dict(correct=0.8)), "cifar10", 10, 3.75),
    ("accuracy, λ = 0 − larger λ", dict(plain=dict(correct=0.9), entropy=dict(correct=0.8)), "cifar10", 10, 0.86),
    (FINAL, dict(plain=dict(misp=0.9, msp=0.6)), "svhn", 30, 94.7 - 90.27),
    ("AUROC of MSP: log-softmax − ReLU", dict(plain=dict(msp=0.9), relu=dict(msp=0.7)), "svhn", 20, 90.27 - 92.08),
    (MISP, dict(entropy=dict(misp=0.7), plain=dict(misp=0.8)), "svhn", -10, 97.41 - 94.7),
    ("AUROC of the ensemble: log-softmax − ReLU",
     dict(plain=dict(ensemble=0.9), relu=dict(ensemble=0.7)), "svhn", 20, 0.23),
    ("AUROC: MiSP − ensemble", dict(relu=dict(misp=0.7, ensemble=0.9)), "svhn", -20, 96.54 - 98.62),
    # the thesis' best layer on SVHN is layer1.2, its worst layer3.2
    ("AUROC of min of MiSP: the thesis' best layer − its worst",
     dict(plain={MIN: [0.9, 0.5, 0.7, 0.6]}), "svhn", 20, 98.6 - 89.9),
    # the best of min of MiSP lies at 90 in the other direction
    ("AUROC at the best layer: min of MiSP − best of the other eight",
     dict(plain={MIN: [0.1, 0.5, 0.6, 0.8], OTHER: [0.75, 0.6, 0.5, 0.5]}), "svhn", 15, None),
    # (4 x 80 + 6 x 90) / 10 - (3 x 60 + 3 x 50) / 6
    ("AUROC of Mahalanobis: blocks 2, 3 − blocks 1, 4",
     dict(relu=dict(mahalanobis=[0.6, 0.8, 0.9, 0.5])), "svhn", 31, 97.71 - 90.07),
    ("AUROC of min of MiSP: blocks 1, 4 − blocks 2, 3", dict(plain={MIN: [0.6, 0.8, 0.9, 0.5]}), "svhn", -31, 4.21),
    ("AUROC in block 1: min of MiSP − Mahalanobis",
     dict(plain={MIN: [0.1, 0.5, 0.5, 0.6]}, relu=dict(mahalanobis=[0.7, 0.5, 0.5, 0.8])), "svhn", 20, 97.83 - 84.67),
    ("AUROC in block 4: min of MiSP − Mahalanobis",
     dict(plain={MIN: [0.1, 0.5, 0.5, 0.6]}, relu=dict(mahalanobis=[0.7, 0.5, 0.5, 0.8])), "svhn", -20, 93.97 - 95.47),
    (IN_BLOCK_4,
     dict(entropy={MIN: [0.6, 0.5, 0.5, 0.9]}, plain={MIN: [0.7, 0.5, 0.5, 0.6]}), "svhn", 30, 96.83 - 93.97),
    (FAR_NEAR, dict(plain={MIN: [0.9, 0.5, 0.5, 0.6]}), "svhn", 30, 97.83 - 93.97),
    (FAR_NEAR, dict(plain={MIN: [0.9, 0.5, 0.5, 0.6]}), "places9_resize", 30, 99.63 - 92.23),
    (FAR_NEAR, dict(plain={MIN: [0.9, 0.5, 0.5, 0.6]}), "cifar100", -30, 83.73 - 50.53),
    ("AUROC: min of MiSP in block 1 − MiSP at the final layer",
     dict(plain={MIN: [0.9, 0.5, 0.5, 1.0], "misp": 0.75}), "svhn", 15, 97.83 - 94.7),
    ("AUROC: MiSP at the final layer − min of MiSP at the best layer",
     dict(plain={MIN: [0.1, 0.5, 0.5, 0.6], "misp": 0.75}), "cifar100", -15, 88.39 - 86.1),
    (BEST, dict(plain={MIN: [0.1, 0.5, 0.5, 0.6], "ensemble": 0.6}), "svhn", 30, 98.66 - 98.85),
    ("our reading: AUROC of min of MiSP at the best layer, log-softmax − ReLU read post hoc",
     dict(plain={MIN: [0.1, 0.5, 0.5, 0.6]}, relu={MIN: [0.5, 0.7, 0.5, 0.5]}), "svhn", 20, None),
    (SIDE, dict(plain={MIN: [0.9, 0.5, 0.5, 0.5]}), "svhn", 40, 48.66),
    (SIDE, dict(plain={MIN: [0.9, 0.5, 0.5, 0.5]}), "places9_resize", -40, 49.76),
    (GAIN,
     dict(plain={MIN: [0.9, 0.5, 0.5, 0.8], "near": {MIN: [0.6, 0.5, 0.5, 0.7]}}), "svhn", 30 - 10, 47.3 - 10.24),
    # block 1 in the other direction: from 60 to 95
    (GAIN,
     dict(plain={MIN: [0.05, 0.5, 0.5, 0.8], "near": {MIN: [0.4, 0.5, 0.5, 0.7]}}), "svhn", 35 - 10, 47.3 - 10.24),
])  # fmt: skip
def test_what_a_claim_compares(tested_as, networks, ood, expected, theirs):
    """Differences worked out by hand: ours from the AUROCs chosen for each network, the thesis' from its slides."""
    (cell,) = [cell for cell in found_cells(tested_as, **networks)[1] if cell.ood == ood]
    value, low, high = cell.ours
    assert value == pytest.approx(expected) and low < value < high
    assert cell.thesis == (None if theirs is None else pytest.approx(theirs, abs=0.02))


@pytest.mark.parametrize("tested_as, networks, ood, expected", [
    (ACCURACY, dict(plain=dict(correct=0.75), relu=dict(correct=0.8)), "cifar100", -5),
    (FINAL, dict(plain=dict(misp=0.9, msp=0.6)), "cifar10", 30),
    (BEST, dict(plain={MIN: [0.1] * 4, "ensemble": 0.6}), "cifar10", 30),
    (FAR_NEAR, dict(plain={MIN: [0.9, 0.5, 0.5, 0.6]}), "svhn", 30),
    (FAR_NEAR, dict(plain={MIN: [0.9, 0.5, 0.5, 0.6]}), "cifar10", -30),
])  # fmt: skip
def test_what_a_claim_compares_on_cifar100(tested_as, networks, ood, expected):
    (cell,) = [cell for cell in found_cells(tested_as, "cifar100", **networks)[1] if cell.ood == ood]
    assert cell.ours[0] == pytest.approx(expected)


def test_the_interval_of_a_difference_is_as_wide_as_both():
    networks = dict(entropy={MIN: [0.6, 0.5, 0.5, 0.9]}, plain={MIN: [0.7, 0.5, 0.5, 0.6]})
    _, found = found_cells(IN_BLOCK_4, **networks)
    assert len(found) == 3 and all(cell.ours == pytest.approx([30, 28, 32]) for cell in found)
    _, (below, above) = found_cells(SIDE, plain={MIN: [0.9, 0.5, 0.5, 0.5]})
    assert above.ours == pytest.approx([40, 39, 41]) and below.ours == pytest.approx([-40, -41, -39])


def test_both_sets_in_lsuns_place_are_judged():
    """Block 1 beats the final layer by 15 on one and loses by 15 on the other: the verdicts part."""
    areas = {MIN: [0.9, 0.5, 0.5, 0.6], "misp": 0.75}
    claim, found = found_cells(
        "AUROC: min of MiSP in block 1 − MiSP at the final layer", plain=areas | {"fix": {MIN: 4 * [0.6]}}
    )
    assert {cell.ood: round(cell.ours[0]) for cell in found} == {"places9_resize": 15, "places9_fix": -15, "svhn": 15}
    assert all(cell.thesis == pytest.approx(99.63 - 93.53, abs=0.02) for cell in found if cell.ood != "svhn")
    line = verdict.judged(
        claim, {("cifar10", *LOG_SOFTMAX): [a_run(seed, LOG_SOFTMAX, **areas, fix={MIN: 4 * [0.6]}) for seed in (0, 1)]}
    )
    assert [line.on[name][0] for name in claims.SCENES] == [REPRODUCED, NOT_REPRODUCED]
    (parted,) = verdict.parted([line]).to_dict("records")
    assert parted["places9_resize"].startswith(verdict.HOLDS) and parted["places9_fix"].startswith(verdict.FAILS)
    text = verdict.claims([line]).iloc[0]
    assert text.verdict == f"places9_resize: {REPRODUCED}\nplaces9_fix: {NOT_REPRODUCED}"
    assert "With places9_fix: Holds in 1 of 2" in text.why


def test_one_direction_of_far_for_both_sets():
    """Block 1 minus block 4 is wanted on each far set, under whatever name."""
    _, found = found_cells(FAR_NEAR, plain={MIN: [0.9, 0.5, 0.5, 0.6], "fix": {MIN: [0.8, 0.5, 0.5, 0.6]}})
    assert {cell.ood: round(cell.ours[0]) for cell in found} == {
        "cifar100": -30, "places9_resize": 30, "places9_fix": 20, "svhn": 30
    }  # fmt: skip


def test_a_doubt_decides_nothing():
    """A network that lacks over ten points of accuracy has not trained; what the entropy loss averages is unknown."""
    softmax = dict(plain=dict(correct=0.9), softmax=dict(correct=0.7))

    def judged(tested_as, **networks):
        claim, _ = found_cells(tested_as, **networks)
        found = defaultdict(list)
        for name, chosen in networks.items():
            found["cifar10", *NETWORKS[name]] = [a_run(seed, NETWORKS[name], **chosen) for seed in (0, 1)]
        return verdict.judged(claim, found)

    assert judged("accuracy, log-softmax − softmax", **softmax).verdict == UNDECIDED
    softmax["softmax"]["correct"] = 0.81
    assert judged("accuracy, log-softmax − softmax", **softmax).verdict == REPRODUCED
    entropy = judged(IN_BLOCK_4, entropy={MIN: 4 * [0.5]}, plain={MIN: 4 * [0.9]})
    assert entropy.verdict == UNDECIDED and "entropy loss" in entropy.doubt
    assert "Against it" in verdict.claims([entropy]).why.item()


@pytest.mark.parametrize("tested_as, kind, what, others, expected", [
    # wanted: above 0; our interval: 2 points to either side
    (IN_BLOCK_4, ABOVE, {MIN: 4 * [0.63]}, {MIN: 4 * [0.6]}, REPRODUCED),
    (IN_BLOCK_4, ABOVE, {MIN: 4 * [0.57]}, {MIN: 4 * [0.6]}, NOT_REPRODUCED),
    (IN_BLOCK_4, ABOVE, {MIN: 4 * [0.61]}, {MIN: 4 * [0.6]}, UNDECIDED),
    # at least the thesis' 93.5 - 94.31 and a point less; the images that differ say how wide ours is
    (ACCURACY, NO_WORSE, dict(correct=0.8), dict(correct=0.8), REPRODUCED),
    (ACCURACY, NO_WORSE, dict(correct=0.9), dict(correct=0.5), REPRODUCED),
    (ACCURACY, NO_WORSE, dict(correct=0.6), dict(correct=0.8), NOT_REPRODUCED),
    (ACCURACY, NO_WORSE, dict(correct=0.79), dict(correct=0.8), UNDECIDED),
    # within the thesis' 97.41 - 94.7 and a point more, 3.71; our interval: 2 points to either side
    (MISP, COMPARABLE, dict(misp=0.815), dict(misp=0.8), REPRODUCED),
    (MISP, COMPARABLE, dict(misp=0.785), dict(misp=0.8), REPRODUCED),
    (MISP, COMPARABLE, dict(misp=0.82), dict(misp=0.8), UNDECIDED),
    (MISP, COMPARABLE, dict(misp=0.86), dict(misp=0.8), NOT_REPRODUCED),
    (MISP, COMPARABLE, dict(misp=0.74), dict(misp=0.8), NOT_REPRODUCED),
])  # fmt: skip
def test_each_kind_of_claim_is_judged(tested_as, kind, what, others, expected):
    networks = dict(plain=what, relu=others) if tested_as == ACCURACY else dict(entropy=what, plain=others)
    claim, found = found_cells(tested_as, **networks)
    assert claim.kind == kind and verdict.decide(kind, found)[0] == expected


def test_two_networks_need_a_second_seed():
    better, worse = ([a_run(seed, correct=share) for seed in (0, 1)] for share in (0.9, 0.6))
    worse[1].accuracy, worse[1].scores = a_run(correct=0.5).accuracy, a_run(correct=0.5).scores
    one = differences.between(better[:1], worse[:1], differences.accuracies)
    assert one[0] == pytest.approx(30) and np.isinf(one[1:]).all()
    both = differences.between(better, worse, differences.accuracies)
    assert both[0] == pytest.approx(35) and 20 < both[1] < 30 and 40 < both[2] < 50
    # worse's seeds lie 10 points apart, and so may those of better, of which there is one
    lent = differences.between(better[:1], worse, differences.accuracies)
    assert lent == pytest.approx(both + [0, -10, 10])


@pytest.mark.parametrize("profile, accuracy, value, expected", [
    ("compact", [0.3, -0.5, 1], 97, REPRODUCED),
    ("compact", [-14, -20, -8], 97, UNDECIDED),  # met by a network that classifies much worse
    ("compact", [0.3, -0.5, 1], 80, UNDECIDED),  # missed by a smaller network
    ("thesis", [0.3, -0.5, 1], 80, NOT_REPRODUCED),
])  # fmt: skip
def test_the_rule_of_numbers(profile, accuracy, value, expected):
    row = next(
        row for row in thesis.TABLES.itertuples() if (row.activation, row.ood, row.method) == ("relu", "svhn", "misp")
    )
    rest = (np.array([97.5, 96, 99]), "svhn", np.array(accuracy), profile)
    assert verdict.judge(row._replace(value=value), *rest)[0] == expected
    assert verdict.judge(row._replace(value=value, note="misprint"), *rest)[0] == UNDECIDED
    assert verdict.judge(row._replace(value=value, ood="lsun"), *rest)[0] == UNDECIDED
    assert verdict.judge(row, None, "svhn", None, profile) == (UNDECIDED, NONE)


def test_a_number_of_ours_spans_the_seeds(monkeypatch):
    """The AUROC in the thesis' reading: one direction at the final layer, the better one at the best layer."""
    seeds = [a_run(seed, misp=area, min_of_misp=[0.1, 0.6, 0.5, 0.5]) for seed, area in enumerate((0.3, 0.5))]
    monkeypatch.setattr(
        runs, "seeds", lambda config: seeds if (config.dataset, config.activation) == ("cifar10", "relu") else []
    )
    table = verdict.numbers("compact").reset_index()
    relu = table[table["trained on, network"].eq("cifar10, ReLU")].set_index("number").ours
    assert relu["MiSP, svhn"].replace("\N{WORD JOINER}", "") == "40.00\n(29.0–51.0)"
    assert relu["MSP, lsun\n(ours: places9_resize)"].startswith("50.00")
    assert verdict.measured("compact")["cifar10", "ReLU", "svhn", "best aggregation"] == pytest.approx([90, 89, 91])
    assert set(table.ours[table["trained on, network"].ne("cifar10, ReLU")]) == {MISSING}


def test_a_number_is_judged_on_the_profile_that_is_nearest_in_accuracy(monkeypatch):
    """The thesis' ReLU network has 94.31 % and an MSP of 92.08 on SVHN."""
    accuracies, place = {"compact": 90, "half": 93.9, "thesis": 96}, ("cifar10", "ReLU")
    ours = {one: {(*place, "test", "accuracy"): np.array([accuracy, accuracy - 0.5, accuracy + 0.5]),
                  (*place, "svhn", "MSP"): np.array([92.5, 92, 93]) if one == "half" else np.array([50, 49, 51])}
            for one, accuracy in accuracies.items()}  # fmt: skip
    monkeypatch.setattr(verdict, "measured", lambda profile: ours.get(profile, {}))

    def judged(profile):
        return verdict.numbers(profile).reset_index().set_index(["trained on, network", "number"])

    line = judged(None).loc["cifar10, ReLU", "MSP, svhn"]
    assert (line.profile, line.verdict) == ("half", REPRODUCED)
    line = judged("thesis").loc["cifar10, ReLU", "MSP, svhn"]
    assert (line.profile, line.verdict) == ("thesis", UNDECIDED) and line.why.endswith("by +1.7")


def test_claims_by_profile():
    table, lines = verdict.by_profile(), verdict.lines("half")
    assert [name.split("\n")[0] for name in table] == ["compact", "half", "thesis"]
    half = table.filter(like="half").squeeze()
    assert half.tolist() == [NONE if line.verdict == UNDECIDED else line.verdict for line in lines]
    table = pd.DataFrame(
        {"compact\nw": [REPRODUCED, REPRODUCED, NONE], "thesis\nw": [NOT_REPRODUCED, NONE, NOT_REPRODUCED]}, [*"abc"]
    )
    said = "Reproduced and not reproduced: 2 and 0 (compact), 0 and 2 (thesis). "
    assert verdict.turned(table) == said + "Reproduced in one profile and not in another: a."


def test_without_any_run_every_line_says_so(monkeypatch):
    monkeypatch.setattr(runs, "seeds", lambda config: [])
    for table in (verdict.claims(verdict.lines()), verdict.numbers()):
        assert set(table.verdict) == {UNDECIDED} and set(table.ours) == {MISSING}


def test_seeds_are_found_by_configuration(monkeypatch):
    monkeypatch.setattr(runs, "seeds", lambda config: [config])
    (config,) = claims.gather("thesis")["cifar100", "softmax", 0.0]
    assert config == runs.configure("thesis", dataset="cifar100", activation="softmax")


def test_every_number_of_the_thesis_has_one_line():
    table = verdict.numbers()
    assert len(table) == len(thesis.TABLES) and table.index.is_unique
    shown = sorted(float(text.split("\n")[0]) for text in table.thesis)
    assert shown == pytest.approx(sorted(thesis.TABLES.value))
    lines = verdict.lines()
    assert verdict.summary(lines, table)[list(verdict.VERDICTS)].sum(axis=1).tolist() == [26, 26, 77]
    assert verdict.by_table(table)[["numbers", *verdict.VERDICTS]].sum().loc["numbers"] == 77
    assert "26 claims" in verdict.in_short(lines, table) and "77 numbers" in verdict.in_short(lines, table)


def test_no_verdict_is_typed():
    assert not any(word in Path(claims.__file__).read_text() for word in verdict.VERDICTS)
    assert Path(verdict.__file__).read_text().count(f'"{REPRODUCED}"') == 1
