"""All scores of all layers in one forward pass, and their metrics.

Scoring streams: images go through the network in batches and their scores straight into a Parquet file, so
that memory does not grow with the data set. Scores are computed in float32 whatever the training's precision.

Columns are `LAYER/SCORE`: `layer1.1/min_of_misp`, `fc/misp`, `stem/mahalanobis`, `ensemble/mahalanobis_none`.
"""

from collections import defaultdict

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from thesis_utils import data, metrics, scorers
from thesis_utils.mahalanobis import Ensemble, TiedGaussian, fgsm

BATCH = 250
LOGIT_SCORES = {name: getattr(scorers, name) for name in (*scorers.REDUCTIONS, "max_logit", "energy")}
FINAL = tuple(f"fc/{score}" for score in LOGIT_SCORES)
ENSEMBLE = "ensemble/mahalanobis_none"
CORRECT = "fc/correct"  # 1 where the prediction is the label: in-distribution images only


def pooled(layers):
    """Mahalanobis features: the spatial mean of each layer's output, {name: (N, C)}."""
    return {name: x.mean((2, 3)) for name, x in layers.items()}


def float32(benchmark=False):
    """The context in which a GPU, too, computes convolutions of float32 in float32.

    With `benchmark` cuDNN tries its ways of a convolution of new shapes and keeps the fastest: for shapes that stay.
    """
    return torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, benchmark=benchmark, allow_tf32=False)


class Scorer:
    """A trained network with what is fitted for scoring: normalisation, Gaussians, ensemble weights."""

    def __init__(self, model, normalise):
        self.model, self.normalise = model.eval(), normalise
        self.device = next(model.parameters()).device

    @float32()
    def fit(self, images, calibration):
        """Gaussians from the training images, ensemble weights from calibration images and their FGSM versions."""
        gaussians = defaultdict(TiedGaussian)
        with torch.inference_mode():
            for pixels, labels in tqdm(
                data.batches(images, BATCH, self.device), "class means", -(-len(images) // BATCH), mininterval=2
            ):
                for name, x in pooled(self.model.forward_layers(self.normalise(pixels))[1]).items():
                    gaussians[name].partial_fit(x, labels)
        self.gaussians = {name: gaussian.finish() for name, gaussian in gaussians.items()}
        clean, perturbed = [], []
        for pixels, labels in data.batches(calibration, BATCH, self.device):
            adversarial = fgsm(self.model, pixels, labels, self.normalise)
            with torch.inference_mode():
                clean.append(self.block_scores(self.model.forward_layers(self.normalise(pixels))[1]))
                perturbed.append(self.block_scores(self.model.forward_layers(adversarial)[1]))
        self.ensemble = Ensemble().fit(torch.cat(clean).cpu(), torch.cat(perturbed).cpu())
        return self

    def block_scores(self, layers):
        """Mahalanobis scores of the outputs that the ensemble weighs (`model.stages`), (N, B)."""
        features = pooled({name: layers[name] for name in self.model.stages})
        return torch.stack([self.gaussians[name].score(x) for name, x in features.items()], 1)

    @torch.inference_mode()
    @float32()
    def __call__(self, pixels, labels=None):
        """All scores of uint8 images (N, H, W, 3) from one forward pass: a DataFrame.

        Nine of each of the model's layers, the final layer's, Mahalanobis scores and their ensemble.
        """
        logits, layers = self.model.forward_layers(self.normalise(pixels))
        maps = self.model.log_probs(layers)
        distances = {name: self.gaussians[name].score(x) for name, x in pooled(layers).items()}
        blocks = torch.stack([distances[name] for name in self.model.stages], 1)
        parts = [
            *(scorers.aggregate(maps[name]) for name in self.model.layers),
            torch.stack([score(logits) for score in LOGIT_SCORES.values()], 1),
            torch.stack(list(distances.values()), 1),
            self.ensemble.score(blocks.cpu())[:, None],
        ]
        names = [f"{layer}/{score}" for layer in self.model.layers for score in scorers.AGGREGATIONS]
        names += [*FINAL, *(f"{name}/mahalanobis" for name in distances), ENSEMBLE]
        table = pd.DataFrame(torch.cat([part.float().cpu() for part in parts], 1).numpy(), columns=names)
        if labels is not None:
            table[CORRECT] = (logits.argmax(1) == labels).float().cpu().numpy()
        return table

    def stream(self, images, labelled=False):
        """Scores of a data set, batch by batch, with a progress bar."""
        with tqdm(total=len(images), desc=f"scoring {images.name}", unit=" images", mininterval=2) as bar:
            for pixels, labels in data.batches(images, BATCH, self.device):
                yield self(pixels, labels if labelled else None)
                bar.update(len(pixels))

    def state(self):
        gaussians = {name: gaussian.state() for name, gaussian in self.gaussians.items()}
        return {"gaussians": gaussians, "ensemble": self.ensemble.state()}

    def restore(self, state):
        self.gaussians = {name: TiedGaussian.from_state(s, self.device) for name, s in state["gaussians"].items()}
        self.ensemble = Ensemble.from_state(state["ensemble"])
        return self


def compare(id_scores, ood_scores, calibration):
    """Metrics of each score in each reading: a DataFrame with one row a (score, reading).

    Takes per-image scores (DataFrames) of in-distribution test, out-of-distribution and calibration images.
    """
    rows = []
    for column in [c for c in id_scores if c in ood_scores and c != CORRECT]:
        triple = (id_scores[column], ood_scores[column], calibration[column])
        for reading, values in metrics.readings(*triple, scorers.sign(column)).items():
            rows.append({"score": column, "reading": reading, **values})
    return pd.DataFrame(rows).assign(n_id=len(id_scores), n_ood=len(ood_scores))


def covariance(id_scores, ood_scores):
    """The covariance of the AUROCs in their fixed direction: a DataFrame, score by score.

    Of the scores that are ever compared on the same images: the final layer's, the ensemble, min of MiSP at each layer.
    Takes per-image scores (DataFrames) of in- and out-of-distribution test images. From it comes the interval of any
    difference of two scores, two layers or two means of layers on the same images.
    """
    inner = [column for column in id_scores if column.startswith("layer") and column.endswith("/min_of_misp")]
    columns = [column for column in (*FINAL, ENSEMBLE, *inner) if column in id_scores and column in ood_scores]
    signs = np.array([scorers.sign(column) for column in columns])
    _, found = metrics.delong_covariance(signs * id_scores[columns], signs * ood_scores[columns])
    return pd.DataFrame(found, index=pd.Index(columns, name="score"), columns=columns)
