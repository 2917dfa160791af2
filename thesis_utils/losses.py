"""Losses beside the cross-entropy: the thesis' entropy loss (slide 15), and two that fine-tune on outliers."""

from torch.nn import functional as F

from thesis_utils.errors import InputError
from thesis_utils.scorers import energy

REDUCTIONS = ("mean", "sum")


def entropy(log_probs):
    """Entropy at each pixel, in nats: (N, C, H, W) log-probabilities -> (N, H, W), each in [0, log C].

    H = -sum_c p_c log p_c with p = exp(z). A channel of probability 0 (z = -inf) contributes 0.
    """
    log_probs = log_probs.float()
    return -(log_probs.exp() * log_probs.clamp_min(-1e4)).sum(1)


def entropy_loss(log_probs, reduction="mean"):
    """Entropy of a list of maps (N, C, H, W), in nats: a scalar tensor.

    Averaged over the batch and summed over the layers; `reduction` says how one map's H x W pixels
    become a number: "sum" adds them, as slide 15 prints it, "mean" averages them, so that each layer
    weighs the same and lies in [0, log C]. The thesis adds it to the cross-entropy with a factor lambda.
    Raises InputError for another reduction or an empty list.
    """
    if reduction not in REDUCTIONS:
        raise InputError(f"unknown reduction {reduction!r}; choose from {', '.join(REDUCTIONS)}")
    if len(log_probs) == 0:
        raise InputError("the entropy loss needs at least one map of log-probabilities")
    per_image = [getattr(entropy(z).flatten(1), reduction)(1) for z in log_probs]
    return sum(values.mean() for values in per_image)


def outlier_exposure(logits, outlier_logits):
    """Outlier Exposure (Hendrycks et al. 2019): half the outliers' cross-entropy to the uniform distribution.

    In nats, of logits (N, K) of in-distribution images, which it leaves alone, and (M, K) of outliers: a scalar tensor,
    0.5 mean_m -(1/K) sum_k log softmax(z_m)_k. Its least value is 0.5 log K, at uniform predictions.
    """
    return -0.5 * F.log_softmax(outlier_logits, dim=1).mean()


def energy_margins(logits, outlier_logits, inside=-23.0, outside=-5.0):
    """Energy fine-tuning (Liu et al. 2020): squared hinges that part in-distribution energies from the outliers'.

    Of logits (N, K) and (M, K), with E = -log sum_k exp z_k: the scalar 0.1 (mean_n max(0, E_n - inside)^2
    + mean_m max(0, outside - E_m)^2). The margins are the authors' for CIFAR-10.
    """
    low, high = -energy(logits), -energy(outlier_logits)
    return 0.1 * ((low - inside).relu().square().mean() + (outside - high).relu().square().mean())


FINE_TUNING = {"outlier_exposure": outlier_exposure, "energy": energy_margins}
