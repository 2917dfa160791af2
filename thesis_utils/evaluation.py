"""All scores of all layers in one forward pass, and their metrics.

Scoring streams: images go through the network in batches and their scores straight into a Parquet file, so
that memory does not grow with the data set. Scores are computed in float32 whatever the training's precision.

Columns are `LAYER/SCORE`: `layer1.1/min_of_misp`, `fc/misp`, `stem/mahalanobis`, `ensemble/mahalanobis_none`.
"""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from thesis_utils import data, metrics, scorers
from thesis_utils.files import replace
from thesis_utils.mahalanobis import Ensemble, TiedGaussian, fgsm
from thesis_utils.models import LAYERS, MAHALANOBIS_BLOCKS

torch.backends.cudnn.allow_tf32 = False  # on GPUs too, float32 means float32
BATCH = 250
AGGREGATED = tuple(f"{layer}/{score}" for layer in LAYERS for score in scorers.AGGREGATIONS)
LOGIT_SCORES = {name: getattr(scorers, name) for name in (*scorers.REDUCTIONS, "max_logit", "energy")}
FINAL = tuple(f"fc/{score}" for score in LOGIT_SCORES)
MAHALANOBIS = tuple(f"{layer}/mahalanobis" for layer in ("stem", *LAYERS))
ENSEMBLE = "ensemble/mahalanobis_none"
COLUMNS = (*AGGREGATED, *FINAL, *MAHALANOBIS, ENSEMBLE)
CORRECT = "fc/correct"  # 1 where the prediction is the label: in-distribution images only


def pooled(layers):
    """Mahalanobis features: the spatial mean of each layer's output, {name: (N, C)}."""
    return {name: x.mean((2, 3)) for name, x in layers.items()}


class Scorer:
    """A trained network with what is fitted for scoring: normalisation, Gaussians, ensemble weights."""

    def __init__(self, model, normalise):
        self.model, self.normalise = model.eval(), normalise
        self.device = next(model.parameters()).device

    def fit(self, images, calibration):
        """Gaussians from the training images, ensemble weights from calibration images and their FGSM versions."""
        gaussians = {name: TiedGaussian() for name in ("stem", *LAYERS)}
        with torch.inference_mode():
            for pixels, labels in tqdm(
                data.batches(images, BATCH, self.device), "class means", -(-len(images) // BATCH), mininterval=2
            ):
                for name, x in pooled(self.model.forward_layers(self.normalise(pixels))[1]).items():
                    gaussians[name].partial_fit(x, labels)
        self.gaussians = {name: gaussian.finish() for name, gaussian in gaussians.items()}
        return self.fit_ensemble(calibration)

    def fit_ensemble(self, calibration):
        """The ensemble's weights: calibration images against themselves after one FGSM step."""
        clean, perturbed = [], []
        for pixels, labels in data.batches(calibration, BATCH, self.device):
            adversarial = fgsm(self.model, pixels, labels, self.normalise)
            with torch.inference_mode():
                clean.append(self.block_scores(self.model.forward_layers(self.normalise(pixels))[1]))
                perturbed.append(self.block_scores(self.model.forward_layers(adversarial)[1]))
        self.ensemble = Ensemble().fit(torch.cat(clean).cpu(), torch.cat(perturbed).cpu())
        return self

    def block_scores(self, layers):
        """Mahalanobis scores of the ensemble's five blocks, (N, 5)."""
        features = pooled({name: layers[name] for name in MAHALANOBIS_BLOCKS})
        return torch.stack([self.gaussians[name].score(x) for name, x in features.items()], 1)

    @torch.inference_mode()
    def __call__(self, pixels, labels=None):
        """All scores of uint8 images (N, H, W, 3) from one forward pass: a DataFrame with `COLUMNS`."""
        logits, layers = self.model.forward_layers(self.normalise(pixels))
        maps = self.model.log_probs(layers)
        distances = {name: self.gaussians[name].score(x) for name, x in pooled(layers).items()}
        blocks = torch.stack([distances[name] for name in MAHALANOBIS_BLOCKS], 1)
        parts = [
            *(scorers.aggregate(maps[name]) for name in LAYERS),
            torch.stack([score(logits) for score in LOGIT_SCORES.values()], 1),
            torch.stack(list(distances.values()), 1),
            self.ensemble.score(blocks.cpu())[:, None],
        ]
        table = pd.DataFrame(torch.cat([part.float().cpu() for part in parts], 1).numpy(), columns=COLUMNS)
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
        return {
            "gaussians": {name: gaussian.state() for name, gaussian in self.gaussians.items()},
            "ensemble": self.ensemble.state(),
        }

    def restore(self, state):
        self.gaussians = {name: TiedGaussian.from_state(s).to(self.device) for name, s in state["gaussians"].items()}
        self.ensemble = Ensemble.from_state(state["ensemble"])
        return self


def write(tables, path):
    """Streams DataFrames into one Parquet file, which is there only once it is complete."""

    def stream(partial):
        writer = None
        try:
            for table in tables:
                table = pa.Table.from_pandas(table, preserve_index=False)
                # floats of one column share their high bytes: split into streams of bytes they pack tightly
                writer = writer or pq.ParquetWriter(
                    partial, table.schema, compression="zstd", use_dictionary=False, use_byte_stream_split=True
                )
                writer.write_table(table)
        finally:
            if writer:
                writer.close()

    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, stream)


def compare(id_scores, ood_scores, calibration, columns=None):
    """Metrics of each score in each reading: a DataFrame with one row a (score, reading).

    Takes per-image scores (DataFrames) of in-distribution test, out-of-distribution and calibration images.
    """
    rows = []
    for column in columns or [c for c in COLUMNS if c in id_scores and c in ood_scores]:
        triple = (id_scores[column], ood_scores[column], calibration[column])
        for reading, values in metrics.readings(*triple, scorers.sign(column)).items():
            rows.append({"score": column, "reading": reading, **values})
    return pd.DataFrame(rows).assign(n_id=len(id_scores), n_ood=len(ood_scores))
