import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from thesis_utils import metrics
from thesis_utils.errors import InputError

few_values = hnp.arrays(np.float64, st.integers(2, 40), elements=st.integers(-4, 4).map(float))  # many ties


def labelled(id_scores, ood_scores):
    return np.r_[np.ones(len(id_scores)), np.zeros(len(ood_scores))], np.r_[id_scores, ood_scores]


def test_by_hand():
    known, unknown = [3.0, 2.0, 2.0], [1.0, 2.0]
    # pairs: 3 wins twice; each 2 wins once and ties once
    assert metrics.auroc(known, unknown) == pytest.approx((2 + 1.5 + 1.5) / 6)
    assert metrics.fpr_at_tpr(known, unknown) == 0.5  # the threshold is 2
    assert metrics.fpr_at_tpr(known, unknown, tpr=1 / 3) == 0.0  # the threshold is 3


@settings(deadline=None)
@given(few_values, few_values)
def test_agreement_with_scikit_learn(known, unknown):
    truth, scores = labelled(known, unknown)
    assert metrics.auroc(known, unknown) == pytest.approx(sk.roc_auc_score(truth, scores))
    assert metrics.aupr(known, unknown) == pytest.approx(sk.average_precision_score(truth, scores))
    assert metrics.aupr(known, unknown, "out") == pytest.approx(sk.average_precision_score(1 - truth, -scores))
    fpr, tpr, _ = sk.roc_curve(truth, scores, drop_intermediate=False)
    assert metrics.fpr_at_tpr(known, unknown) == pytest.approx(fpr[np.argmax(tpr >= 0.95)])


def test_aupr_by_hand():
    """The average precision is the sum over thresholds of (gain in recall) x precision; tied images enter together."""
    known, unknown = [4, 2, 2], [3, 2]
    # in, from above: 4 finds 1 of 3 at precision 1; 3 finds none; all 2s the rest, at precision 3/5
    assert metrics.aupr(known, unknown) == metrics.aupr(known, unknown, "in") == pytest.approx(1 / 3 + 2 / 3 * 3 / 5)
    # out, from below: all 2s find 1 of 2 at precision 1/3; 3 the rest, at precision 2/4
    assert metrics.aupr(known, unknown, "out") == pytest.approx(1 / 2 * 1 / 3 + 1 / 2 * 2 / 4)


def test_aupr_has_two_positives():
    with pytest.raises(InputError, match="in or out"):
        metrics.aupr([1.0], [0.0], "ood")


def test_directions_by_hand():
    known, unknown = [1.0, 2.0, 2.0], [2.0, 3.0]
    # pairs: 1 never wins; each 2 ties once: 1/2 + 1/2 of 6
    for sign, share in ((1, 1 / 6), (-1, 5 / 6)):
        assert metrics.readings(known, unknown, known, sign)["fixed_direction"]["auroc"] == pytest.approx(share)
    assert metrics.best_direction(known, unknown) == pytest.approx(5 / 6)
    assert metrics.best_direction(unknown, known) == pytest.approx(5 / 6)


@settings(deadline=None)
@given(few_values, few_values)
def test_the_interval_is_around_the_area(known, unknown):
    area = sk.roc_auc_score(*labelled(known, unknown))
    middle, low, high = metrics.delong_interval(known, unknown)
    assert middle == pytest.approx(area) and 0 <= low <= middle <= high <= 1


def test_two_sided_by_hand():
    calibration = [1.0, 2.0, 3.0, 4.0, 5.0]  # median 3, median absolute deviation 1
    assert metrics.two_sided_confidence([3.0, 1.0, 7.0], calibration).tolist() == [0.0, -2.0, -4.0]
    # out-distributions on both sides at once: no single direction sees them, two-sided does
    known, unknown = [2.5, 3.0, 3.5], [0.0, 6.0]
    assert metrics.auroc(known, unknown) == 0.5
    assert metrics.readings(known, unknown, calibration)["two_sided"]["auroc"] == 1.0
    # it survives a constant calibration score
    assert metrics.readings([1.0, 1.0], [2.0, 0.0], [1.0, 1.0, 1.0])["two_sided"]["auroc"] == 1.0


def summary_by_definition(known, unknown):
    """`metrics.summary` by scikit-learn, by counting images and by comparing all pairs."""
    truth, scores = labelled(known, unknown)
    wins = (known[:, None] > unknown) + (known[:, None] == unknown) / 2
    half = 1.959964 * np.sqrt(wins.mean(1).var(ddof=1) / len(known) + wins.mean(0).var(ddof=1) / len(unknown))
    threshold = max(t for t in known if (known >= t).mean() >= 0.95)
    return {
        "auroc": sk.roc_auc_score(truth, scores),
        "auroc_low": wins.mean() - half,
        "auroc_high": wins.mean() + half,
        "fpr95": (unknown >= threshold).mean(),
        "aupr_in": sk.average_precision_score(truth, scores),
        "aupr_out": sk.average_precision_score(1 - truth, -scores),
    }


@pytest.mark.parametrize("sign", [1, -1])
def test_a_summary_has_the_three_readings_by_their_definitions(sign):
    rng = np.random.default_rng(0)  # rounded: ties
    known, unknown, calibration = (rng.normal(*of).round(1) for of in [(0, 1, 200), (-1, 2, 300), (0.3, 1.5, 101)])
    median = np.sort(calibration)[50]
    deviation = np.sort(np.abs(calibration - median))[50]
    two_sided = [-np.abs(scores - median) / deviation for scores in (known, unknown)]
    found = metrics.readings(known, unknown, calibration, sign)
    assert tuple(found) == metrics.READINGS
    # larger is more in-distribution: the best direction is the raw score's, whichever is the fixed one
    assert found["best_direction"] == pytest.approx(summary_by_definition(known, unknown))
    assert found["fixed_direction"] == pytest.approx(summary_by_definition(sign * known, sign * unknown))
    assert found["two_sided"] == pytest.approx(summary_by_definition(*two_sided))


def test_delong_variance_by_hand():
    # placements of [2, 4] over [1, 3]: 1/2 and 1; of [1, 3] under [2, 4]: 1 and 1/2; both variances are 1/8
    half = 1.959964 * np.sqrt(1 / 8 / 2 + 1 / 8 / 2)
    assert metrics.delong_interval([2, 4], [1, 3]) == pytest.approx((0.75, 0.75 - half, min(0.75 + half, 1)))
    with pytest.raises(InputError, match="at least two"):
        metrics.delong_interval([1.0], [0.0, 0.5])


def test_the_variance_of_a_difference_by_hand():
    # placements of [2, 4] over [1, 3]: 1/2, 1 and 1, 1/2; of [4, 2] over [3, 1] turned round: 1, 1/2 and 1/2, 1
    # their differences -1/2, 1/2 and 1/2, -1/2 have the mean 0 and the variance 1/2
    weights = np.array([1, -1])
    areas, covariance = metrics.delong_covariance([[2, 4], [4, 2]], [[1, 3], [3, 1]])
    assert weights @ areas == pytest.approx(0)
    assert weights @ covariance @ weights == pytest.approx(1 / 2 / 2 + 1 / 2 / 2)
    areas, covariance = metrics.delong_covariance([[2, 2], [4, 4]], [[1, 1], [3, 3]])
    assert weights @ areas == weights @ covariance @ weights == 0


def test_the_variance_of_a_difference_agrees_with_the_bootstrap_of_whole_images():
    rng = np.random.default_rng(2)
    known, unknown = rng.normal(1, 1, (300, 2)) + rng.normal(0, 1, (300, 1)), rng.normal(0, 1, (200, 2))
    areas, covariance = metrics.delong_covariance(known, unknown)
    half = 1.959964 * (covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]) ** 0.5
    low, high = areas[0] - areas[1] - half, areas[0] - areas[1] + half
    differences = []
    for _ in range(2000):
        k, u = known[rng.integers(300, size=300)], unknown[rng.integers(200, size=200)]
        differences.append(metrics.auroc(k[:, 0], u[:, 0]) - metrics.auroc(k[:, 1], u[:, 1]))
    assert [low, high] == pytest.approx(np.quantile(differences, [0.025, 0.975]), abs=0.006)


@settings(deadline=None)
@given(few_values, few_values, few_values, st.integers(1, 5), st.integers(1, 5))
def test_auroc_and_fpr_of_a_mixture_are_the_means_of_its_parts(known, near, far, repeats_near, repeats_far):
    near, far = np.tile(near, repeats_near), np.tile(far, repeats_far)
    mixture, share = np.r_[near, far], len(far) / (len(near) + len(far))
    for metric in (metrics.auroc, metrics.fpr_at_tpr):
        parts = share * metric(known, far) + (1 - share) * metric(known, near)
        assert metric(known, mixture) == pytest.approx(parts)


@pytest.mark.parametrize(
    "known, unknown, message",
    [
        ([], [1.0], "in-distribution scores must be one number an image"),
        ([1.0], [], "out-of-distribution scores must be one number an image"),
        ([1.0, np.nan], [1.0], "in-distribution scores must be finite; 1 of 2 are not"),
        ([1.0], [[1.0]], "not an array of shape"),
    ],
)
def test_bad_scores_are_refused_in_a_sentence(known, unknown, message):
    for metric in (metrics.auroc, metrics.fpr_at_tpr, metrics.aupr, metrics.best_direction, metrics.delong_interval):
        with pytest.raises(InputError, match=message):
            metric(known, unknown)


def test_the_covariance_of_several_scores_agrees_with_the_interval_of_each():
    rng = np.random.default_rng(0)
    known = rng.normal(1, 1, (60, 1)) + rng.normal(0, 0.7, (60, 3))
    unknown = rng.normal(0, 1, (45, 1)) + rng.normal(0, 0.7, (45, 3))
    areas, covariance = metrics.delong_covariance(known, unknown)
    for k in range(3):
        assert areas[k] == pytest.approx(metrics.auroc(known[:, k], unknown[:, k]))
        _, low, high = metrics.delong_interval(known[:, k], unknown[:, k])
        assert 1.959964 * covariance[k, k] ** 0.5 == pytest.approx((high - low) / 2, rel=1e-5)
    turned, other = metrics.delong_covariance(known * [1, -1, 1], unknown * [1, -1, 1])
    assert turned[1] == pytest.approx(1 - areas[1]) and other[0, 1] == pytest.approx(-covariance[0, 1])
