"""Our detector beside the methods of others on the same networks: results/open_world.csv and results/guarantee.csv.

    THESIS_DATA=... python -m experiments.open_world    # 10 minutes a network of width 16, 35 of width 32, on two cores

Every ReLU and log-softmax network (lambda 0) on CIFAR-10 that has its weights and is not recorded here yet is
measured. The constants of `Detector` were chosen before (`experiments/parts.py`), those of the others are their
authors': nothing is tuned on what is measured. kNN, ViM, ReAct, ASH, SHE, Gram, GEN, fDBD, NCI and SCALE: pytorch-ood.
XOOD-L learns from distorted images, `ORACLE` looks at the tested set, all others at in-distribution images only. RMDS
is Ren et al.'s (2021) relative Mahalanobis distance. COMBOOD (Rajasekaran et al. 2024) adds a Gaussian's log density of
XOOD's extremes and the log density of the nearest neighbours in the last layer, each standardised, here by the
calibration images.

open_world.csv  `metric` of the method `variant`: AUROC with its DeLong interval, FPR95 with the in-distribution or the
                out-distribution positive, and the share `called` outliers at the level at which a share ALPHA of the
                calibration images is; for the in-distribution itself only that, its false alarms
guarantee.csv   false alarms among the test images at each alpha, by what (`variant`) the detector was calibrated on
"""

import copy
from collections import defaultdict

import numpy as np
import pandas as pd
import torch
from pytorch_ood import detector as others
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F
from tqdm import tqdm

from experiments.distortions import distorted
from experiments.recording import on_cpu, record, recorded
from thesis_utils import baselines, data, metrics, runs, scorers
from thesis_utils.detector import PARTS, Detector, halves
from thesis_utils.evaluation import BATCH
from thesis_utils.mahalanobis import TiedGaussian
from thesis_utils.runs.config import GRID

ALPHA = 0.05
GRAM, WIDEST = 2000, 16  # images of each set, and up to which width, for the Gram matrices, which are slow
ORACLE = "min of MiSP, best layer and direction"


def extremes(model, inputs):
    """One forward pass of a `ResNet34`: logits, layers, and XOOD's extremes before each activation, (N, 66)."""
    seen = []

    def note(x):
        seen.extend((x.amin((1, 2, 3)), x.amax((1, 2, 3))))
        return x

    convolution, norm, _ = model.stem
    x = F.relu(note(norm(convolution(inputs))))
    layers = {"stem": x}
    for name, block in zip(model.layers, model.blocks):
        inner = F.relu(note(block.bn1(block.conv1(block.centre(x)))))
        x = block.activation(note(block.bn2(block.conv2(inner)) + block.shortcut(x)))
        layers[name] = x
    return model.fc(model.adjust(x.mean((2, 3)))), layers, torch.stack(seen, 1)


@torch.inference_mode()
def read(one, pixels, what):
    """What all methods need of uint8 images, from one pass: {name: (N, ...)}."""
    found = defaultdict(list)
    for batch in tqdm(pixels.split(BATCH), what, mininterval=5):
        logits, layers, seen = extremes(one.model, one.transform(batch))
        last = layers[one.model.layers[-1]]
        for name, value in {
            "logits": logits, "map": last, "pooled": one.model.adjust(last.mean((2, 3))), "extremes": seen,
            "readings": one.readings(one.read(logits, layers)),
        }.items():  # fmt: skip
            found[name].append(value)
    return {name: torch.cat(values) for name, values in found.items()}


class Head(torch.nn.Module):
    """A network's logits from the last layer's maps."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, maps):
        return self.model.fc(self.model.adjust(maps.mean((2, 3))))


class Methods:
    """All methods, fitted to one network's training images; `confidences(read(...))` gives {method: (N,)}."""

    def __init__(self, one, images, reference):
        self.one, model = one, one.model
        seen = read(one, images.pixels, "training images")

        self.knn = others.KNN(None, k=50).fit_features(seen["pooled"], images.labels)
        width = seen["pooled"].shape[1]
        self.vim = others.ViM(None, width // 2, model.fc.weight.detach(), model.fc.bias.detach())
        self.vim.fit_features(seen["pooled"], images.labels)
        self.she = others.SHE(None, model.fc).fit_features(seen["pooled"], images.labels)
        self.react = others.ReAct(None, model.fc).fit_feature_maps(seen["pooled"], images.labels)
        self.ash, self.scale = others.ASH(None, Head(model)), others.SCALE(None, Head(model))
        self.fdbd = others.fDBD(None, model.fc).fit_features(seen["pooled"], images.labels)
        self.nci = others.NCI(None, model.fc).fit_features(seen["pooled"], images.labels)
        self.gen = others.GEN(None)
        self.of_classes = TiedGaussian().fit(seen["pooled"], images.labels)
        self.of_all = TiedGaussian().fit(seen["pooled"], torch.zeros(len(images)))
        self.xood = TiedGaussian().fit(seen["extremes"], torch.zeros(len(images)))
        held_out = read(one, reference.pixels, "XOOD-L")
        both = self.densities(held_out, torch.as_tensor(self.knn.predict_features(held_out["pooled"])))
        self.places, self.spreads = both.mean(0), both.std(0)
        known = held_out["extremes"].numpy()
        twisted = [read(one, pixels, "XOOD-L")["extremes"].numpy() for pixels in distorted(reference.pixels).values()]
        self.mean, self.deviation = known.mean(0), known.std(0) + 1e-9
        rows = np.concatenate([known, *twisted])
        is_known = np.arange(len(rows)) < len(known)
        self.logistic = LogisticRegression(max_iter=5000, class_weight="balanced").fit(self.scaled(rows), is_known)

    def scaled(self, rows):
        return (rows - self.mean) / self.deviation

    def densities(self, seen, distances):
        """Log densities but for constants and factors, (N, 2): of the extremes, and of the neighbours' distances."""
        return torch.stack([self.xood.score(seen["extremes"]), -distances.clamp_min(1e-12).log()], 1)

    @torch.inference_mode()
    def confidences(self, seen):
        logits = seen["logits"]
        distances = torch.as_tensor(self.knn.predict_features(seen["pooled"]))
        both = (self.densities(seen, distances) - self.places) / self.spreads
        parts = self.one.log_p(self.one.confidences(seen["readings"]))
        return {
            "ours": parts.sum(1),
            **{f"ours, {name} alone": part for name, part in zip(PARTS, parts.T)},
            "MSP": scorers.msp(logits),
            "MiSP": -scorers.misp(logits),
            "energy": scorers.energy(logits),
            "kNN": -distances,
            "ViM": -self.vim.predict_features(seen["pooled"]),
            "ReAct": -self.react.predict_feature_maps(seen["pooled"]),
            "ASH-S": -self.ash.predict_feature_maps(seen["map"]),
            "GEN": -self.gen.predict_logits(logits),
            "fDBD": -self.fdbd.predict_features(seen["pooled"]),
            "NCI": -self.nci.predict_features(seen["pooled"]),
            "SCALE": -self.scale.predict_feature_maps(seen["map"].contiguous()),
            "RMDS": self.of_classes.score(seen["pooled"]) - self.of_all.score(seen["pooled"]),
            "COMBOOD": both.sum(1),
            "SHE": -self.she.predict_features(seen["pooled"]),
            "XOOD-M": self.xood.score(seen["extremes"]),
            "XOOD-L": torch.as_tensor(self.logistic.decision_function(self.scaled(seen["extremes"].numpy()))),
        }


class Gram:
    """Gram matrices (Sastry and Oore 2020) of the stem and the 16 layers, per predicted class, powers 1 to 10.

    Of 5,000 training images, in float64: log-probabilities to the power of 20 exceed float32.
    """

    def __init__(self, one, images):
        images = baselines.shuffled(images).subset(slice(5000))
        model, self.transform = copy.deepcopy(one.model).double(), lambda pixels: one.transform(pixels).double()
        model.blocks[-1].precise = False  # nor to float32
        stages = [model.stem, *model.blocks]
        torch.manual_seed(0)
        self.gram = others.Gram(Head(model), stages, len(images.classes)).to("cpu")
        batches = zip(images.pixels.split(BATCH), images.labels.split(BATCH))
        self.gram.fit([(self.transform(pixels), labels) for pixels, labels in batches])

    def confidence(self, pixels):
        batches = tqdm(pixels[:GRAM].split(BATCH), "Gram", mininterval=5)
        return -torch.cat([self.gram.predict(self.transform(batch)) for batch in batches])


def measured(known, unknown, calibration=None):
    """{metric: share} of a set's confidences; `known` is None for the in-distribution itself."""
    found = {}
    if calibration is not None:
        p_values = (1 + np.searchsorted(np.sort(calibration), unknown, side="right")) / (len(calibration) + 1)
        found["called"] = (p_values <= ALPHA).mean()
    if known is not None:
        summary = metrics.summary(known, unknown)
        found |= {metric: summary[metric] for metric in ("auroc", "auroc_low", "auroc_high", "fpr95")}
        found["fpr95_ood_positive"] = metrics.fpr_at_tpr(-unknown, -known)
    return found


def compare(run):
    """The rows of results/open_world.csv for one run."""
    images, held_out = data.hold_out(run.training_images())
    one, inside = Detector(*on_cpu(run).network).fit(images, held_out), run.config.dataset
    learnt, rest = halves(len(held_out))
    oods = [name for name in runs.OUT_DISTRIBUTIONS[inside] if data.present(name)]
    last = f"{run.network[0].layers[-1]}/mahalanobis"
    sets = {name: baselines.shuffled(data.load(name)) for name in (inside, *oods)} | {"calibration": held_out}
    scores = {name: run.scores(name) for name in sets}
    for name, table in scores.items():
        if last not in table:  # the recorded ones are those of the figures
            scores[name] = pd.concat(run.scorer.stream(run.images(name)), ignore_index=True)
    methods = Methods(one, images, held_out.subset(learnt))
    gram = Gram(one, images) if run.config.width <= WIDEST else None
    found = {}
    for name, x in sets.items():
        found[name] = methods.confidences(read(one, x.pixels, name)) | {
            "Mahalanobis, last layer": scores[name][last],
            "Mahalanobis ensemble, on FGSM": scores[name]["ensemble/mahalanobis_none"],
        }
        if gram:
            found[name]["Gram"] = gram.confidence(x.pixels)
        found[name] = {method: np.asarray(values, dtype=np.float64) for method, values in found[name].items()}
    rows = []

    def add(name, method, values):
        row = {"run": run.config.name, "set": name, "variant": method}
        rows.extend(row | {"metric": metric, "value": value} for metric, value in values.items())

    for method, calibration in found["calibration"].items():
        if method.startswith("ours") or method == "XOOD-L":  # the other half has served to fit
            calibration = calibration[rest]
        add(inside, method, measured(None, found[inside][method], calibration))
        for name in oods:
            add(name, method, measured(found[inside][method], found[name][method], calibration))
    layers = [score for score in scores[inside] if score.endswith("/min_of_misp")]
    for name in oods:
        pairs = [(sign * scores[inside][score], sign * scores[name][score]) for score in layers for sign in (1, -1)]
        add(name, ORACLE, measured(*max(pairs, key=lambda pair: metrics.auroc(*pair))))
    return rows


def guarantee(run):
    """The rows of results/guarantee.csv for one run."""
    images, held_out = data.hold_out(run.training_images())
    tested = data.load(run.config.dataset).pixels
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(2))[: len(held_out)]
    other = copy.copy(on_cpu(run).detector)  # of the same parts
    other.calibrate(torch.cat([other.readings(seen) for seen in other.stream(images.subset(order), "calibrating")]))
    for calibrated_on, one in {"held-out images": run.detector, "training images": other}.items():
        p_values = one.p_values(tested)
        for alpha in (0.01, 0.05, 0.1):
            row = {"run": run.config.name, "set": "test images", "variant": calibrated_on, "alpha": alpha}
            yield row | {"n": len(tested), "metric": "false alarms", "value": (p_values <= alpha).mean()}


if __name__ == "__main__":
    for run in sorted(runs.every(), key=lambda run: run.config.width):
        config = run.config
        plain = (config.dataset, config.architecture, config.fine_tuning) == ("cifar10", "resnet34", "none")
        network = (config.activation, config.entropy_factor) in GRID[:2]
        if plain and network and run.has_weights and not recorded("open_world", {"run": config.name}):
            print(run)
            record("open_world", ["run", "set", "variant", "metric"], compare(run))
            record("guarantee", ["run", "variant", "alpha"], guarantee(run))
