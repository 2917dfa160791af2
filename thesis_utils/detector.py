"""One threshold for an open world: a detector for any trained convolutional classifier.

    detector = Detector(model).fit(images, calibration)     # in-distribution images only, no labels
    detector.outliers(new, alpha=0.05)                      # at most 5 % of in-distribution images are called outliers

One forward pass gives a few readings of an image, each a confidence, in five parts:

    early       max of MSP and min of MiSP of the first fifth of the layers, each read two-sided
    features    at every layer the Mahalanobis confidence of the spatial means (Lee et al. 2018), without classes,
                two-sided too: an image may lie suspiciously close to the mean
    classes     in the last layer the Mahalanobis confidence with a mean for each predicted class minus that without
                (Ren et al. 2021): what is far from all classes, but not merely unusual
    neighbours  cosine to the k-th nearest training image in the last layer's spatial means (Sun et al. 2022), centred
    logits      energy (Liu et al. 2020)

Readings are standardised and put together within a part, each part is turned into a p-value among in-distribution
images, and the parts are combined by Fisher's statistic, sum of log p, as Haroush et al. (2022), Magesh et al. (2022)
and Dadalto et al. (2024) did with other scores. The parts depend on each other, so the combination is not read off a
chi-squared table but calibrated once more, on images of its own: the conformal p-value of Bates et al. (2023).
What the parts are was chosen by numbers from in-distribution data sets alone: `experiments/parts.py`.
"""

import threading
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F
from tqdm import tqdm

from thesis_utils import checks, data, stored
from thesis_utils.errors import InputError
from thesis_utils.evaluation import BATCH, float32, pooled
from thesis_utils.mahalanobis import TiedGaussian
from thesis_utils.models import Hooked, channel_log_softmax, checksum, precise, unhooked, unwrapped
from thesis_utils.scorers import energy

PARTS = ("early", "features", "classes", "neighbours", "logits")
EARLY = 0.2  # share of the layers whose maps are read
NEIGHBOURS, BANK = 10, 5000  # the k-th nearest of so many training images
TAIL = 0.1  # share of the reference below which log p goes on in a straight line
SET_ASIDE, SHARE = 2000, 5  # without calibration images: a fifth of all images, at most so many
FEWEST = 20  # calibration images
ENOUGH = 2  # images a dimension, beyond one a class, for a covariance within classes
ONE_PASS = threading.RLock()  # cuDNN's flags are the process', not the thread's


def shares(known, x):
    """(1 + #{known <= x}) / (n + 1) of x (N, ...) among n sorted known ones, column by column: p-values, (N, ...)."""
    if torch.compiler.is_exporting():  # ONNX has no binary search
        places = (known[:, None] <= x).sum(0)
    elif known.ndim == 1:
        places = torch.searchsorted(known, x, right=True)
    else:
        places = torch.searchsorted(known.T.contiguous(), x.T.contiguous(), right=True).T
    return (1 + places).double() / (len(known) + 1)


def halves(count):
    """Which calibration images are the parts' reference, and which the combination's: two random halves of indices."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0)).chunk(2)


class Sample:
    """Of a stream of tables {name: (N, ...)} the `size` rows with the largest `key`: with random keys, a sample."""

    def __init__(self, size):
        self.size, self.count, self.tables = size, 0, []

    def add(self, table):
        """Takes a table in; returns, as a table, rows that have left the sample: cut back when it is twice its size."""
        self.tables.append(table)
        self.count += len(table["key"])
        return self.cut(self.size) if self.count > 2 * self.size else {name: x[:0] for name, x in table.items()}

    def cut(self, size):
        """Keeps the `size` rows with the largest keys, as one table; returns the others."""
        whole = {name: torch.cat([table[name] for table in self.tables]) for name in self.tables[0]}
        order = whole["key"].argsort(descending=True)
        first, last = order[:size], order[size:]
        kept, others = ({name: x[part.to(x.device)] for name, x in whole.items()} for part in (first, last))
        self.count, self.tables = len(kept["key"]), [kept]
        return others


class Detector:
    """Tells whether an image is of the kind that a network was trained on, by one threshold set beforehand.

    `model` is a classifier in evaluation mode, images (N, C, H, W) -> logits (N, K): a `ResNet34`, a `Hooked`, or any
    module, which is then hooked (`layers` as there). `transform` turns batches of images, as you have them, into what
    the model takes, for example `data.Normalisation`; without it the model takes them as they are.

    Images are given as a tensor or array (N, ...), `data.Images`, a Dataset, a list of PIL images, or an iterable of
    batches, such as a DataLoader; of a batch that is a tuple the first entry counts, of a dict the entry `key`. What is
    not in batches yet goes through the network `batch_size` images at a time. Bad input is an InputError.
    """

    def __init__(self, model, transform=None, layers=None, batch_size=BATCH, key=None):
        model = unwrapped(model)
        if isinstance(model, torch.jit.ScriptModule):
            raise InputError("a TorchScript module cannot be read inside; give the Python module that it was made from")
        self.model = model if hasattr(model, "forward_layers") else Hooked(model, layers)
        self.transform, self.batch_size, self.key = transform or torch.nn.Identity(), batch_size, key
        parameter = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(0).float())
        self.device, self.precision = parameter.device, parameter.dtype
        self.shape = self.probe = self.calibration = None

    # --- from images to readings ------------------------------------------------------------------------

    def features(self, batch):
        """What is read of a batch in one forward pass: {name: (N, D)}, the layers' spatial means among them."""
        device = self.device.type
        with ONE_PASS, torch.inference_mode(), float32(), torch.autocast(device, enabled=False):
            images = batch.to(self.device, copy=True)  # transforms and networks may work in place
            return self.read(*self.model.forward_layers(self.transform(images)))

    def read(self, logits, layers):
        early, layers = [], {name: precise(x) for name, x in layers.items()}
        for name in self.early:
            z = channel_log_softmax(layers[name]).flatten(2)
            early += [z.amax((1, 2)), z.amin((1, 2))]
        means = {f"mean/{name}": x for name, x in pooled(layers).items()}
        predicted = logits.argmax(1, keepdim=True)
        return {"early": torch.stack(early, 1), "logits": energy(precise(logits))[:, None], "class": predicted, **means}

    @property
    def early(self):
        return self.model.layers[: max(1, round(EARLY * len(self.model.layers)))]

    def stream(self, images, what, fitting=False):
        """`features` of all images, batch by batch, with a progress bar; refuses what cannot be read.

        When fitting, with each image's hash, and the first image tells whether the answer is the image's own.
        """
        checks.refuse_training(self.model)
        overflows = torch.finfo(self.precision).max < 1e5
        cure = "half precision overflows above 65504, model.float() does not" if overflows else "leave it out"
        count = 0
        batches = data.loose_batches(images, self.batch_size, self.key)
        for batch in tqdm(batches, what, delay=2, mininterval=2, unit=" batches"):
            self.check(batch, count)
            try:
                features = self.features(batch)
                outputs = torch.cat([*features.values()], 1)
                checks.refuse_infinite(outputs, count, "makes the network's outputs something", cure)
                if fitting and not count and len(batch):
                    checks.refuse_fickle(self.features, batch[:1], self.device, self.tolerance)
            except InputError:
                raise
            except Exception as error:  # a transform or network of the user's own fails in any way
                raise checks.refused(error, batch) from error
            count += len(batch)
            yield features | {"hash": checks.hashes(batch)} if fitting else features
        if not count:
            raise InputError("there is no image to read; give at least one")

    def parted(self, images, aside):
        """The features to fit on, batch by batch: of all images but a random fifth, which ends up in `aside`."""
        count, generator = 0, torch.Generator().manual_seed(0)
        for features in self.stream(images, "fitting", fitting=True):
            keys = torch.rand(len(features["logits"]), generator=generator, dtype=torch.float64)
            count += len(keys)
            yield aside.add(features | {"key": keys})
        yield aside.cut(min(aside.size, count // SHARE))

    def check(self, batch, count):
        """Refuses a batch that is no batch, of another size or type than the fitted one, or not finite."""
        shape, kind = tuple(batch.shape[1:]), str(batch.dtype).removeprefix("torch.")
        if len(shape) != 3:
            raise InputError(f"images come in batches of four axes, such as (N, C, H, W), not {tuple(batch.shape)}")
        if self.shape and (shape, kind) != (self.shape, self.kind):
            raise InputError(
                f"the detector was fitted on images {self.kind} {self.shape}, not {kind} {shape}; bring them to those"
            )
        checks.refuse_infinite(batch, count, "has a pixel")
        self.shape, self.kind = shape, kind

    @property
    def tolerance(self):
        """By what share two readings of one image may differ: other batches and devices round otherwise."""
        return max(1e-3, torch.finfo(self.precision).eps ** 0.5)

    def directions(self, x):
        """Unit vectors (N, D) of the last layer's spatial means, from their mean on."""
        return F.normalize(x.double() - self.centre, dim=1).float()

    def readings(self, features):
        """All readings (N, R), confidences in float64, from `features`; their names are `names`."""
        distances = {name: one.score(features[f"mean/{name}"])[:, None] for name, one in self.gaussians.items()}
        last = features[f"mean/{self.model.layers[-1]}"]
        without = distances[self.model.layers[-1]]  # layers are named in any order, and called in another
        relative = self.classes.score(last)[:, None] - without if self.classes else 0 * without
        cosines = self.directions(last) @ self.bank.float().T
        nearest = cosines.topk(min(NEIGHBOURS, len(self.bank)), 1).values[:, -1:]
        parts = (features["early"], *distances.values(), relative, nearest, features["logits"])
        return torch.cat([x.double() for x in parts], 1)

    @property
    def names(self):
        """The readings' names, "LAYER SCORE", in the order of their parts."""
        early = [f"{layer} {score}" for layer in self.early for score in ("max of MSP", "min of MiSP")]
        return [*early, *(f"{x} Mahalanobis" for x in self.gaussians), "relative Mahalanobis", "neighbours", "energy"]

    @property
    def sizes(self):
        """Numbers of readings of each part."""
        return 2 * len(self.early), len(self.gaussians), 1, 1, 1

    # --- from readings to p-values ----------------------------------------------------------------------

    def refer(self, reference):
        """The reference of the parts, from its images' readings."""
        self.median = reference.median(0).values
        deviation = (reference - self.median).abs().median(0).values
        self.deviation = torch.where(deviation > 0, deviation, 1.0)
        self.reference = self.confidences(reference).sort(0).values

    def standardised(self, readings):
        """Readings in deviations from the reference's median, (N, R): the lower, the more they speak for an outlier."""
        early, features, *others = ((readings - self.median) / self.deviation).split(self.sizes, 1)
        return torch.cat([-early.abs(), -features.abs(), *others], 1)

    def confidences(self, readings):
        """One confidence a part, (N, 5): the sum of the early readings, the least of the layers' features."""
        early, features, *others = self.standardised(readings).split(self.sizes, 1)
        return torch.cat([early.sum(1, keepdim=True), features.amin(1, keepdim=True), *others], 1)

    def log_p(self, confidences):
        """Logs of the parts' p-values (N, 5): their `shares` among the reference images.

        Below the reference's lowest tenth they go on as an exponential tail with that tenth's mean: by ranks alone all
        images beyond the last reference image would be equally odd.
        """
        count = int(TAIL * len(self.reference))
        edge = self.reference[count]
        scale = (edge - self.reference[:count]).mean(0).clamp_min(1e-9)
        beyond = np.log((count + 1) / (len(self.reference) + 1)) - (edge - confidences) / scale
        return torch.where(confidences < edge, beyond, shares(self.reference, confidences).log())

    # --- what a user calls ------------------------------------------------------------------------------

    def fit(self, images, calibration=None):
        """Fits the parts on `images` and the threshold on `calibration`, all of them in-distribution; returns itself.

        A random half of the calibration images gives the parts' p-values, the other the combination's. The guarantee
        holds for calibration images that the network was NOT trained on, drawn like those to come and in any order:
        images that it knows by heart say little about new ones. Without `calibration` a random fifth of `images`, at
        most 2,000, is set aside: sound only where the network was trained on none of them. Streams: memory holds the
        last features of at most 10,000 images, all features of 4,000, and eight bytes an image. Fewer than 20 images to
        calibrate are an InputError, some that repeat or were fitted on a warning. With too few images for a covariance
        within the predicted classes the part `classes` says nothing: its p-value is always 1.
        """
        self.shape, self.probe, self.images, gaussians = None, None, 0, {}
        self.weights, seen, classes = checksum(self.model), [], TiedGaussian()
        aside, bank = Sample(SET_ASIDE if calibration is None else 0), Sample(BANK)
        for features in self.parted(images, aside):
            if not len(features["logits"]):
                continue
            self.images += len(features["logits"])
            seen.append(features["hash"])
            of_one_class = torch.zeros(len(features["logits"]), device=self.device)
            for key in (key for key in features if key.startswith("mean/")):
                gaussians.setdefault(key[5:], TiedGaussian()).partial_fit(features[key], of_one_class)
            last = features[f"mean/{self.model.layers[-1]}"]
            classes.partial_fit(last, features["class"][:, 0])
            bank.add({"key": features["key"], "last": last})
        bank.cut(BANK)
        resolution = torch.finfo(self.precision).eps
        self.gaussians = {name: gaussian.finish(resolution) for name, gaussian in gaussians.items()}
        of_classes = int((classes.counts > 0).sum())
        enough = of_classes > 1 and self.images - of_classes >= ENOUGH * last.shape[1]
        self.classes = classes.finish(resolution) if enough else None
        self.centre = self.gaussians[self.model.layers[-1]].means[0]
        self.bank = self.directions(bank.tables[0]["last"]).half()
        held, readings, others = aside.tables, [], []
        if calibration is not None:
            held = self.stream(calibration, "calibrating", fitting=True)
        for features in held:
            readings.append(self.readings(features))
            others.append(features["hash"])
        self.calibrate(torch.cat(readings))
        checks.warn_of_repeats(torch.cat(others).numpy(), torch.cat(seen).numpy())
        return self

    def calibrate(self, readings):
        """The reference of the parts and the calibration of their combination, from calibration images' readings."""
        if len(readings) < FEWEST:
            raise InputError(f"{len(readings)} calibration image(s) are too few; give at least {FEWEST}")
        reference, rest = (readings[half.to(readings.device)] for half in halves(len(readings)))
        self.refer(reference)
        self.calibration = self.log_p(self.confidences(rest)).sum(1).sort().values
        self.probe = self.probed()
        return self

    def p_values_of(self, features):
        """Conformal p-values (N,) from `features`."""
        return shares(self.calibration, self.log_p(self.confidences(self.readings(features))).sum(1))

    def parts(self, images):
        """(standardised readings, logs of the parts' p-values) of all images."""
        self.unchanged()
        readings = torch.cat([self.readings(features) for features in self.stream(images, "reading")])
        return self.standardised(readings), self.log_p(self.confidences(readings))

    def fitted(self):
        if self.probe is None:
            raise InputError("the detector is not fitted yet; call fit(images, calibration) or Detector.load")

    def unchanged(self):
        """Refuses a detector that is not fitted, or whose network is no longer what it was."""
        self.fitted()
        device = next((p.device for p in self.model.parameters() if p.is_floating_point()), self.device)
        if device != self.device:
            raise InputError(f"the network has moved to {device}, the detector is on {self.device}; move it back")
        if checksum(self.model) != self.weights:
            raise InputError("the network's weights have changed since the detector was fitted; fit it anew")

    def score(self, images):
        """Fisher's statistic, the sum of the parts' log p, (N,): larger = more in-distribution."""
        return self.parts(images)[1].sum(1).cpu().numpy()

    def p_values(self, images):
        """Conformal p-values (N,): of new in-distribution images at most a share alpha has p <= alpha."""
        return shares(self.calibration, self.parts(images)[1].sum(1)).cpu().numpy()

    def outliers(self, images, alpha=None, fdr=None):
        """Which images are called out-of-distribution, bool (N,): by `alpha` (0.05 if neither is given) or by `fdr`.

        `alpha` bounds the share of in-distribution images that are called so, whatever the network and whatever else
        comes. `fdr` bounds instead, in expectation, the share of in-distribution images among those called so
        (Benjamini and Hochberg 1995; Bates et al. 2023 show that it holds for conformal p-values).
        """
        if alpha is not None and fdr is not None:
            raise InputError("give alpha or fdr, not both")
        if fdr is None:
            threshold = self.threshold(0.05 if alpha is None else alpha)
            return self.p_values(images) <= threshold
        from scipy.stats import false_discovery_control  # costs a second

        threshold = self.threshold(fdr, "fdr")
        return false_discovery_control(self.p_values(images)) <= threshold

    def threshold(self, alpha, name="alpha"):
        """The p-value up to which an image is called an outlier: alpha, but for rounding; refuses one out of reach."""
        if not 0 < alpha < 1:
            raise InputError(f"{name} must lie between 0 and 1, not {alpha}")
        self.fitted()
        least = 1 / (len(self.calibration) + 1)
        if alpha < least * (1 - 1e-9):
            raise InputError(
                f"an {name} of {alpha} needs {2 * int(np.ceil(1 / alpha - 1 - 1e-9))} calibration images, half of them "
                f"for the combination, which here has {len(self.calibration)}; they allow {least:.3g} and above"
            )
        return alpha + 1e-12

    def explain(self, images, alpha=None):
        """A DataFrame, one row an image: each part's p-value, the p-value, and the reading that gave it away.

        `given_away_by` is, in the part with the smallest p-value, the reading farthest on the outliers' side. Parts'
        p-values below 1 / (n + 1) are extrapolated; only `p_value` is guaranteed. With `alpha` there is a column
        `outlier`, what `outliers` says.
        """
        threshold = None if alpha is None else self.threshold(alpha)
        z, log_p = self.parts(images)
        part = torch.arange(len(PARTS), device=self.device).repeat_interleave(torch.tensor(self.sizes).to(self.device))
        names = np.array(self.names)[z.masked_fill(part != log_p.argmin(1)[:, None], torch.inf).argmin(1).cpu()]
        table = pd.DataFrame(log_p.exp().cpu().numpy(), columns=PARTS)
        table = table.assign(p_value=shares(self.calibration, log_p.sum(1)).cpu().numpy(), given_away_by=names)
        return table if alpha is None else table.assign(outlier=table.p_value <= threshold)

    def report(self):
        """What this detector is and promises, as a DataFrame with one row a fact.

        False alarms: of new in-distribution images a share of alpha is called outliers on average over calibrations. Of
        this one it is a draw from Beta(k, n + 1 - k) with k = floor(alpha (n + 1)), given by its central 95 %.
        """
        from scipy.stats import beta

        self.fitted()
        n = len(self.calibration)
        rows = {
            "network": type(unhooked(self.model)).__name__,
            "layers that are read": len(self.gaussians),
            "size of an image": " x ".join(map(str, self.shape)) + f", {self.kind}",
            "images fitted on": self.images,
            "calibration images, for the parts": len(self.reference),
            "calibration images, for their combination": n,
            "least alpha": 1 / (n + 1),
        }
        for alpha in (0.01, 0.05, 0.1):
            k = int(alpha * (n + 1) + 1e-9)
            if k:
                rows[f"false alarms at alpha = {alpha}, expected"] = k / (n + 1)
                for end, share in (("low", 0.025), ("high", 0.975)):
                    rows[f"false alarms at alpha = {alpha}, {end}"] = beta.ppf(share, k, n + 1 - k)
        return pd.DataFrame({"value": rows.values()}, index=pd.Index(rows, name="fact"), dtype=object)

    # --- files ------------------------------------------------------------------------------------------

    def examples(self):
        """Four made-up images, two of fine and two of coarse noise, of the fitted size and type."""
        generator = torch.Generator().manual_seed(0)
        fine = torch.rand(2, *self.shape, generator=generator, dtype=torch.float32)
        coarse = F.interpolate(torch.rand(2, 1, 4, 4, 4, generator=generator, dtype=torch.float32), self.shape)[:, 0]
        scale = 255 if self.kind == "uint8" else 1
        return (scale * torch.cat([fine, coarse])).to(getattr(torch, self.kind))

    def probed(self):
        """All readings of `examples`, (4, R): what tells another transform, activation or padding apart."""
        return self.readings(self.features(self.examples()))

    def computes_as_fitted(self):
        try:
            off = (self.probed() - self.probe).abs()
        except Exception:  # the network does not take what the transform gives
            return False
        return bool((off <= self.tolerance * (self.probe.abs() + self.deviation)).all())

    def save(self, path):
        """Writes what was fitted, not the network: tensors that `torch.load` reads with `weights_only`."""
        self.unchanged()
        stored.save(self, Path(path))

    @classmethod
    def load(cls, path, model, transform=None, **options):
        """A detector from its file, for the network and the transform that it was fitted with; others are refused.

        The network is the same if its weights are and if it makes the same readings of made-up images. `options` are
        `batch_size` and `key`.
        """
        return stored.load(cls, path, model, transform, options)

    def export(self, path):
        """Writes network, transform and detector as one ONNX file: images -> logits (N, K) and p_values (N,).

        Any number of images, of the size that was fitted: for another one the detector promises nothing.
        Where onnxruntime is installed, the file is refused if its p-values of made-up images differ from this
        detector's by more than a rank, in a batch or alone.
        """
        self.unchanged()
        stored.export(self, Path(path))
