"""Out-of-distribution scores, all in log-probabilities: probabilities underflow and tie.

At each pixel of a map z (C, H, W) of log-probabilities the channels are reduced,
    msp = max_c z      misp = min_c z      asp = mean_c z
(maximum, minimum and average softmax probability), then the pixels are aggregated by max, min or mean:
nine scores a layer (slide 17 of the thesis), `max_of_msp` ... `avg_of_asp`. At the final layer there is
one pixel, hence `msp`, `misp`, `asp` of the logits.

These are raw values. `sign` says which of their directions means "in-distribution" at the final layer.
"""

import torch
from torch.nn import functional as F

REDUCTIONS = ("msp", "misp", "asp")
AGGREGATIONS = tuple(f"{spatial}_of_{reduction}" for reduction in REDUCTIONS for spatial in ("max", "min", "avg"))


def aggregate(log_probs):
    """The nine scores of one map: (N, C, H, W) log-probabilities -> (N, 9), columns as in `AGGREGATIONS`."""
    z = log_probs.permute(0, 2, 3, 1).flatten(1, 2)  # (N, HW, C): contiguous where memory is channels_last
    misp, msp = z.aminmax(dim=2)
    columns = []
    for reduced in (msp, misp, z.mean(2)):
        low, high = reduced.aminmax(dim=1)
        columns += [high, low, reduced.mean(1)]
    return torch.stack(columns, dim=1)


def msp(logits):
    """Maximum softmax probability (Hendrycks and Gimpel 2017), as its log: (N, K) -> (N,)."""
    return F.log_softmax(logits, dim=1).amax(1)


def misp(logits):
    """Minimum softmax probability (slide 18), as its log: (N, K) -> (N,). A confident prediction has a low one."""
    return F.log_softmax(logits, dim=1).amin(1)


def asp(logits):
    """Mean log softmax probability: (N, K) -> (N,). A confident prediction has a low one.

    The mean of the probabilities themselves would be the constant 1/K, as slide 18 says; of their logs it is not.
    """
    return F.log_softmax(logits, dim=1).mean(1)


def sign(score):
    """+1 if a large value of the named score means in-distribution at the final layer, -1 if a small one does.

    A confident prediction has a high MSP, a low MiSP and a low ASP. `fixed_direction` takes the same signs at all
    layers. All other scores (energy, largest logit, Mahalanobis) are confidences: +1.
    """
    return -1 if score.endswith(("misp", "asp")) else 1


def max_logit(logits):
    """Largest logit (Hendrycks et al. 2022): (N, K) -> (N,), a confidence."""
    return logits.amax(1)


def energy(logits, temperature=1.0):
    """Negative free energy T log sum_k exp(z_k / T) (Liu et al. 2020): (N, K) -> (N,), a confidence."""
    return temperature * (logits / temperature).logsumexp(1)


def ascent(objective, images, std=None):
    """Sign of the gradient of `objective(images)`, a scalar, at images (N, C, H, W): same shape, detached.

    With the normalisation's channel deviations `std` (C,) the sign is divided by them, so that a step along it is a
    share of the pixel range, as in the code of ODIN's authors.
    """
    with torch.enable_grad():
        images = images.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(objective(images), images)
    step = gradient.sign()
    if std is not None:
        step = step / torch.as_tensor(std, dtype=step.dtype, device=step.device)[:, None, None]
    return step


def odin(model, images, temperature=1000.0, epsilons=(0.0014,), std=None):
    """ODIN (Liang et al. 2018): log max_k softmax(f(x') / T) of perturbed inputs x': (N, C, H, W) -> (N, E).

    x' = x - epsilon sign(grad_x -log S_y(x; T)) with y the predicted class: a step that raises the confidence. One
    column an epsilon, all from one gradient. `images` are normalised; `std` as in `ascent`. A confidence.
    """

    def loss(inputs):
        logits = model(inputs) / temperature
        return F.cross_entropy(logits, logits.argmax(1), reduction="sum")

    step = ascent(loss, images, std)
    with torch.no_grad():  # in float64: at T = 1000 all probabilities are close to 1/K
        logits = [model(images - epsilon * step).double() for epsilon in epsilons]
        return torch.stack([msp(one / temperature) for one in logits], 1).to(images.dtype)
