"""How well a score tells in-distribution from out-of-distribution images.

Convention: scores are confidences, larger = more in-distribution; in-distribution is the positive class.
All functions take two one-dimensional arrays of scores, in-distribution first, and return shares in [0, 1].

A raw score has no agreed direction at an intermediate layer, so an AUROC comes in three `readings`:
`best_direction` (an oracle, the thesis' reading), `fixed_direction` and `two_sided` (no oracle).
"""

from statistics import NormalDist

import numpy as np

from thesis_utils.errors import InputError

READINGS = ("best_direction", "fixed_direction", "two_sided")


def checked(scores, kind):
    """Scores as float64 (N,); an empty array, another shape, NaN or infinity is an InputError."""
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1 or len(scores) == 0:
        raise InputError(
            f"{kind} scores must be one number an image, at least one, not an array of shape {scores.shape}"
        )
    if not np.isfinite(scores).all():
        raise InputError(f"{kind} scores must be finite; {(~np.isfinite(scores)).sum()} of {len(scores)} are not")
    return scores


def both(id_scores, ood_scores):
    return checked(id_scores, "in-distribution"), checked(ood_scores, "out-of-distribution")


def placements(id_scores, ood_scores):
    """For each image, the share of the other class on its wrong side (ties count half).

    Returns (N,) shares of OOD scores below each in-distribution score and (M,) shares of in-distribution scores
    above each OOD score (DeLong et al. 1988). The mean of either is the AUROC.
    """
    id_scores, ood_scores = both(id_scores, ood_scores)
    return below(id_scores, ood_scores), 1 - below(ood_scores, id_scores)


def below(scores, others):
    """The share of `others` below each score; those equal to it count half."""
    others = np.sort(others)
    return (np.searchsorted(others, scores, "left") + np.searchsorted(others, scores, "right")) / 2 / len(others)


def auroc(id_scores, ood_scores):
    """Area under the ROC curve: P(id > ood) + P(id = ood) / 2 (Mann-Whitney)."""
    return float(placements(id_scores, ood_scores)[0].mean())


def delong_interval(id_scores, ood_scores):
    """(AUROC, low, high): with its 95 % confidence interval over images (DeLong et al. 1988), cut off at 0 and 1.

    The variance is var(V10) / N + var(V01) / M of the placements; needs two images of each kind. Few images near an
    AUROC of 1 make it too short: of normal scores at 0.98 it covers 79 % with 30 of each kind, with 1,000 94 %.
    """
    first, second = placements(id_scores, ood_scores)
    if min(len(first), len(second)) < 2:
        raise InputError("a DeLong interval needs at least two in-distribution and two out-of-distribution scores")
    area = float(first.mean())
    deviation = np.sqrt(first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second))
    half = NormalDist().inv_cdf(0.975) * float(deviation)
    return area, max(area - half, 0.0), min(area + half, 1.0)


def delong_covariance(id_scores, ood_scores):
    """(AUROCs (K,), their covariance (K, K)) of K scores on the same images: (N, K) and (M, K), larger = inside.

    S10 / N + S01 / M, with the sample covariances S10 and S01 of the placements (DeLong et al. 1988). A linear
    combination w of the AUROCs, a difference say, has the variance w' C w; a score with its sign turned has the
    covariances turned.
    """
    columns = range(np.shape(id_scores)[1])
    pairs = [placements(np.asarray(id_scores)[:, k], np.asarray(ood_scores)[:, k]) for k in columns]
    above, below = (np.column_stack(part) for part in zip(*pairs))
    covariance = sum(np.atleast_2d(np.cov(part, rowvar=False)) / len(part) for part in (above, below))
    return above.mean(0), covariance


def fpr_at_tpr(id_scores, ood_scores, tpr=0.95):
    """Share of OOD images accepted at the highest threshold that accepts at least `tpr` of the in-distribution."""
    id_scores, ood_scores = both(id_scores, ood_scores)
    needed = int(np.ceil(tpr * len(id_scores) - 1e-9))
    threshold = np.sort(id_scores)[len(id_scores) - max(needed, 1)]
    return float((ood_scores >= threshold).mean())


def aupr(id_scores, ood_scores, positive="in"):
    """Area under the precision-recall curve (average precision); in-distribution ("in") or OOD ("out") positive."""
    if positive not in ("in", "out"):
        raise InputError(f"positive must be in or out, not {positive!r}")
    id_scores, ood_scores = both(id_scores, ood_scores)
    known, unknown = (id_scores, ood_scores) if positive == "in" else (-ood_scores, -id_scores)
    values, counts = np.unique(known, return_counts=True)
    found = counts[::-1].cumsum()[::-1]  # of the positives, from each value up
    wrong = len(unknown) - np.searchsorted(np.sort(unknown), values)
    return float((counts / len(known) * found / (found + wrong)).sum())


def best_direction(id_scores, ood_scores):
    """AUROC a or 1 - a, whichever is larger: the thesis' reading. An oracle: it looks at the out-distribution."""
    area = auroc(id_scores, ood_scores)
    return max(area, 1 - area)


def two_sided_confidence(scores, calibration_scores):
    """-|score - median| / MAD, with median and MAD of the in-distribution calibration images: no oracle.

    Both unusually high and unusually low scores count as out-of-distribution.
    """
    calibration_scores = checked(calibration_scores, "calibration")
    median = np.median(calibration_scores)
    deviation = np.median(np.abs(calibration_scores - median))
    return -np.abs(np.asarray(scores, dtype=np.float64) - median) / (deviation if deviation > 0 else 1.0)


def summary(id_confidences, ood_confidences):
    """All metrics of one score: a dict of auroc with its DeLong interval, fpr95, aupr_in, aupr_out."""
    area, low, high = delong_interval(id_confidences, ood_confidences)
    return {
        "auroc": area,
        "auroc_low": low,
        "auroc_high": high,
        "fpr95": fpr_at_tpr(id_confidences, ood_confidences),
        "aupr_in": aupr(id_confidences, ood_confidences),
        "aupr_out": aupr(id_confidences, ood_confidences, positive="out"),
    }


def readings(id_scores, ood_scores, calibration_scores, sign=1):
    """{reading: summary} of a raw score under the three `READINGS`; `scorers.sign` gives the final layer's `sign`."""
    known, unknown = (sign * np.asarray(scores, dtype=np.float64) for scores in (id_scores, ood_scores))
    fixed = summary(known, unknown)
    return {
        "best_direction": fixed if fixed["auroc"] >= 0.5 else summary(-known, -unknown),
        "fixed_direction": fixed,
        "two_sided": summary(*(two_sided_confidence(scores, calibration_scores) for scores in (id_scores, ood_scores))),
    }
