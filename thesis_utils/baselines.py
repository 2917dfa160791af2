"""The tuned methods, ODIN and the Mahalanobis ensemble: each is worth what it may look at when it is tuned.

    compare(scorer, images, calibration, {"svhn": ..., "cifar100": ...}, held_out)      # one row a result

Both preprocess the input, a step along the sign of a gradient whose size epsilon has to be chosen; the ensemble
also learns the weights of its five blocks. They choose by telling calibration images, which stand for the
in-distribution, from others, and the protocols differ in these others:

    oracle      images of the tested out-distribution (not those it is tested on), as the methods' authors did
    held_out    images of one other out-distribution
    none        no out-of-distribution image at all: the calibration images after an FGSM step

Like their authors we take the epsilon with the lowest FPR at 95 % TPR; of equals the smallest.
"""

import pandas as pd
import torch
from tqdm import tqdm

from thesis_utils import data, metrics, scorers
from thesis_utils.errors import InputError
from thesis_utils.evaluation import BATCH, float32
from thesis_utils.mahalanobis import Ensemble, fgsm

TEMPERATURE = 1000.0
ODIN_EPSILONS = tuple(round(0.0002 * k, 4) for k in range(21))  # Liang et al. (2018): 21 from 0 to 0.004
MAHALANOBIS_EPSILONS = (0.0, 0.0005, 0.001, 0.0014, 0.002, 0.005, 0.01)  # the code of Lee et al. (2018)


def odin(scorer, inputs, epsilons):
    """ODIN's confidence of normalised inputs (N, C, H, W) at each epsilon: (N, E)."""
    return scorers.odin(scorer.model, inputs, TEMPERATURE, epsilons, scorer.normalise.std)


def blocks(scorer, inputs, epsilons):
    """Mahalanobis scores of the five blocks at each epsilon: (N, E, 5).

    Each block has its own step, up the gradient of its own score, and the network runs no further than to it.
    """

    def confidence(name, images):
        output = next(x for layer, x in scorer.model.outputs(images) if layer == name)
        return scorer.gaussians[name].score(output.mean((2, 3)))

    columns = []
    for name in scorer.model.stages:
        step = scorers.ascent(lambda images, name=name: confidence(name, images).sum(), inputs, scorer.normalise.std)
        with torch.inference_mode():
            columns.append(torch.stack([confidence(name, inputs + e * step) for e in epsilons], 1))
    return torch.stack(columns, 2)


METHODS = {"odin": (odin, ODIN_EPSILONS), "mahalanobis": (blocks, MAHALANOBIS_EPSILONS)}


def tune(known, unknown, epsilons):
    """(epsilon, confidence): the best of `epsilons`, and what turns a set's scores at it into confidences (N,).

    From scores (N, E) or (N, E, 5) of calibration images and of the others. An ensemble is fitted on every second image
    and its epsilon chosen on the rest, as by Lee et al.
    """
    candidates = []
    for k, epsilon in enumerate(epsilons):
        pair, confidence = [known[:, k], unknown[:, k]], torch.as_tensor
        if known.ndim == 3:
            confidence = Ensemble().fit(*(scores[::2] for scores in pair)).score
            pair = [scores[1::2] for scores in pair]
        fpr = metrics.fpr_at_tpr(*map(confidence, pair))
        candidates.append((fpr, k, epsilon, confidence))
    return min(candidates, key=lambda candidate: candidate[:2])[2:]


def shuffled(images):
    """The images in a fixed random order: a data set may be sorted by class."""
    return images.subset(torch.randperm(len(images), generator=torch.Generator().manual_seed(0)))


class Comparison:
    """Scores of one network's sets, computed once for all protocols: `scores(method, part, epsilons)`."""

    def __init__(self, scorer, images, calibration, oods, tuning, tested):
        self.scorer, self.kept, self.parts = scorer, {}, {}
        self.parts["known"] = shuffled(images).subset(slice(tested))
        self.parts["calibration"] = shuffled(calibration).subset(slice(tuning))
        for name, unknown in oods.items():
            if len(unknown) < 4:
                raise InputError(
                    f"{name} has {len(unknown)} image(s); to tune on some and test on others takes at least 4"
                )
            unknown, count = shuffled(unknown), min(tuning, len(unknown) // 2)
            self.parts[f"tune {name}"] = unknown.subset(slice(count))
            self.parts[f"test {name}"] = unknown.subset(slice(count, count + tested))

    def inputs(self, part):
        """Normalised batches; the part "adversarial" is the calibration images after an FGSM step."""
        scorer, adversarial = self.scorer, part == "adversarial"
        images = self.parts["calibration" if adversarial else part]
        for pixels, labels in data.batches(images, BATCH, scorer.device):
            if adversarial:
                yield fgsm(scorer.model, pixels, labels, scorer.normalise)
            else:
                yield scorer.normalise(pixels)

    @float32()
    def scores(self, method, part, epsilons):
        """Scores (N, E) or (N, E, 5) on the CPU."""
        function, missing = METHODS[method][0], [e for e in epsilons if (method, part, e) not in self.kept]
        if missing:
            found = torch.cat([function(self.scorer, inputs, missing).cpu() for inputs in self.inputs(part)])
            self.kept |= {(method, part, e): found[:, k] for k, e in enumerate(missing)}
        return torch.stack([self.kept[method, part, e] for e in epsilons], 1)

    def rows(self, ood, held_out):
        """All results for one out-distribution: see `compare`."""
        others = {"oracle": f"tune {ood}", "held_out": f"tune {held_out}", "none": "adversarial"}
        if held_out is None:
            del others["held_out"]
        for method, (_, epsilons) in METHODS.items():
            known = self.scores(method, "calibration", epsilons)
            unknown = {protocol: self.scores(method, other, epsilons) for protocol, other in others.items()}
            chosen = {
                (protocol, preprocessing): tune(known, scores, epsilons if preprocessing else epsilons[:1])
                for protocol, scores in unknown.items()
                for preprocessing in (False, True)
            }
            needed = sorted({epsilon for epsilon, _ in chosen.values()})
            parts = [self.scores(method, part, needed) for part in ("known", f"test {ood}")]
            for (protocol, preprocessing), (epsilon, confidence) in chosen.items():
                pair = (confidence(scores[:, needed.index(epsilon)]) for scores in parts)
                yield {
                    "method": method, "protocol": protocol, "preprocessing": preprocessing,
                    "tuned_on": {"oracle": ood, "held_out": held_out, "none": "FGSM"}[protocol],
                    "epsilon": epsilon, **metrics.summary(*pair), "n_id": len(parts[0]), "n_ood": len(parts[1]),
                    "n_tuning": min(len(known), len(unknown[protocol])),
                }  # fmt: skip
        known, unknown = (self.scores("odin", part, METHODS["odin"][1]) for part in ("calibration", f"tune {ood}"))
        for k, epsilon in enumerate(METHODS["odin"][1]):
            yield {
                "method": "odin", "protocol": "grid", "preprocessing": True, "tuned_on": ood, "epsilon": epsilon,
                **metrics.summary(known[:, k].numpy(), unknown[:, k].numpy()),
                "n_id": len(known), "n_ood": len(unknown), "n_tuning": 0,
            }  # fmt: skip


def compare(scorer, images, calibration, oods, held_out, tuning=1000, tested=10**9):
    """Yields (out-distribution, DataFrame): one row a method, protocol and with or without preprocessing.

    `images` are in-distribution test images, `calibration` in-distribution images that were never trained on,
    `oods` {name: Images}; `held_out` names those to test on, each with the one that the protocol `held_out` tunes on,
    or with None to leave that protocol out.
    `tuning` (the authors': 1,000) and `tested` are numbers of images of each set; too small a set gives half to tuning.
    The rows of the protocol "grid" are ODIN's metrics at each epsilon on the tuning images: the curve looked at.
    """
    comparison = Comparison(scorer, images, calibration, oods, tuning, tested)
    for ood in (bar := tqdm(held_out, "baselines")):
        bar.set_postfix_str(ood)
        yield ood, pd.DataFrame(comparison.rows(ood, held_out[ood])).assign(ood=ood)
