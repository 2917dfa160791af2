"""What should a detector consist of? Chosen here, on distorted in-distribution images, before any other set was seen.

    THESIS_DATA=... python -m experiments.parts        # ten minutes on two CPU cores

A row of results/parts.csv is one variant of `Detector` for one network: AUROC (in per cent) of one half of the
calibration images against their distorted versions; parts and references come from the other half and from training
images. No test image and no other data set is looked at. Each variant differs from the chosen one in one respect.
"""

import torch
from torch.nn import functional as F

from experiments.distortions import KINDS, distorted
from experiments.recording import record
from thesis_utils import Detector, data, detector, metrics, runs, scorers

NETWORKS = {
    "demo, log-softmax": ("demo", "log_softmax"),
    "demo, ReLU": ("demo", "relu"),
    "compact, log-softmax": ("compact", "log_softmax"),
}
TRAINING_IMAGES = 10_000


def only(*parts):
    chosen = [detector.PARTS.index(part) for part in parts]
    return lambda self, confidences: Detector.log_p(self, confidences)[:, chosen]


def combined(early="sum", features="least"):
    """`Detector.confidences` with the readings within a part put together otherwise."""
    together = {"sum": lambda z: z.sum(1, keepdim=True), "least": lambda z: z.amin(1, keepdim=True)}

    def confidences(self, readings):
        z = self.standardised(readings).split(self.sizes, 1)
        return torch.cat([together[early](z[0]), together[features](z[1]), *z[2:]], 1)

    return confidences


def one_sided(self, readings):
    """Early readings as at the final layer: a high MSP, a low MiSP are confident."""
    early, features, *others = ((readings - self.median) / self.deviation).split(self.sizes, 1)
    signs = early.new_tensor([1.0, -1.0]).repeat(early.shape[1] // 2)
    return torch.cat([early * signs, -features.abs(), *others], 1)


def only_far_counts(self, readings):
    """Mahalanobis distances one-sided: a small one is no reason for doubt."""
    early, *others = ((readings - self.median) / self.deviation).split(self.sizes, 1)
    return torch.cat([-early.abs(), *others], 1)


def one_reading(place):
    """Early readings of one kind only: the other is set to its median."""

    def standardised(self, readings):
        z = Detector.standardised(self, readings)
        z[:, 1 - place : 2 * len(self.early) : 2] = 0
        return z

    return standardised


def uncentred(self, x):
    return F.normalize(x.double(), dim=1).float()


def ranks_only(self, confidences):
    return detector.shares(self.reference, confidences).log()


def with_final(score):
    def read(self, logits, layers):
        return Detector.read(self, logits, layers) | {"logits": score(logits)[:, None]}

    return read


VARIANTS = {  # what differs: methods of `Detector`, or constants of its module
    "as chosen": {},
    "early: min of MiSP only": {"standardised": one_reading(1)},
    "early: max of MSP only": {"standardised": one_reading(0)},
    "early: one-sided": {"standardised": one_sided},
    "early: the least of its readings": {"confidences": combined(early="least")},
    "early: the first layer": {"EARLY": 0.01},
    "early: all layers": {"EARLY": 1.0},
    "features: the sum over layers": {"confidences": combined(features="sum")},
    "features: one-sided": {"standardised": only_far_counts},
    "neighbours: not centred": {"directions": uncentred},
    "logits: MSP": {"read": with_final(scorers.msp)},
    "logits: MiSP": {"read": with_final(lambda logits: -scorers.misp(logits))},
    "p-values: ranks only": {"log_p": ranks_only},
    "without early": {"log_p": only("features", "neighbours", "logits")},
    "without features": {"log_p": only("early", "neighbours", "logits")},
    "without neighbours": {"log_p": only("early", "features", "logits")},
    "without logits": {"log_p": only("early", "features", "neighbours")},
    "the least p instead of their product": {
        "log_p": lambda self, c: Detector.log_p(self, c).amin(1, keepdim=True),
    },
}  # fmt: skip


class Halved(Detector):
    """A detector whose parts' reference is all of the calibration images it is given: half of them are known here."""

    def calibrate(self, readings):
        return super().calibrate(readings.repeat_interleave(2, 0))


def measure(variant, network):
    overrides = VARIANTS[variant]
    kept = {name: getattr(detector, name) for name in overrides if name.isupper()}
    try:
        for name in kept:
            setattr(detector, name, overrides[name])
        profile, activation = NETWORKS[network]
        run = runs.get(runs.configure(profile, activation=activation))
        images, held_out = data.hold_out(run.training_images())
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))
        reference, known = held_out.subset(slice(0, None, 2)), held_out.pixels[1::2]
        methods = {name: value for name, value in overrides.items() if name not in kept}
        one = type("Variant", (Halved,), methods)(run.scorer.model, run.scorer.normalise)
        one.fit(images.subset(order[:TRAINING_IMAGES]), reference)
        inside = one.score(known)
        return [100 * metrics.auroc(inside, one.score(pixels)) for pixels in distorted(known).values()]
    finally:
        for name, value in kept.items():
            setattr(detector, name, value)


if __name__ == "__main__":
    variants = [(variant, network) for network in NETWORKS for variant in VARIANTS]
    record("parts.csv", ("variant", "network", *KINDS), variants, measure)
