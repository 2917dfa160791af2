"""The entropy loss of the thesis (slide 15): confident maps of log-probabilities at every layer."""

from thesis_utils.errors import InputError

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
