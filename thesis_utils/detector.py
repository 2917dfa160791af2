"""One threshold for an open world: a detector for any trained convolutional classifier.

    detector = Detector(model).fit(images, calibration)     # in-distribution images only, no labels
    detector.outliers(new, alpha=0.05)                      # at most 5 % of in-distribution images are called outliers

One forward pass gives a few readings of an image, each a confidence, in four parts:

    early       max of MSP and min of MiSP of the first fifth of the layers, each read two-sided
    features    at every layer the Mahalanobis confidence of the spatial means (Lee et al. 2018), without classes,
                two-sided too: an image may lie suspiciously close to the mean
    neighbours  cosine to the k-th nearest training image in the last layer's spatial means (Sun et al. 2022), centred
    logits      energy (Liu et al. 2020)

Readings are standardised and put together within a part, each part is turned into a p-value among in-distribution
images, and the parts are combined by Fisher's statistic, sum of log p, as Haroush et al. (2022), Magesh et al. (2022)
and Dadalto et al. (2024) did with other scores. The parts depend on each other, so the combination is not read off a
chi-squared table but calibrated once more, on images of its own: the conformal p-value of Bates et al. (2023).
What the parts are was chosen without any out-of-distribution data set: `experiments/parts.py`.
"""

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import false_discovery_control
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from thesis_utils import data
from thesis_utils.errors import InputError
from thesis_utils.evaluation import BATCH, float32, pooled
from thesis_utils.files import replace
from thesis_utils.mahalanobis import TiedGaussian
from thesis_utils.models import Hooked, channel_log_softmax, fingerprint, unhooked
from thesis_utils.scorers import energy

FORMAT = 1  # of a detector's file
PARTS = ("early", "features", "neighbours", "logits")
EARLY = 0.2  # share of the layers whose maps are read
NEIGHBOURS, BANK = 10, 5000  # the k-th nearest of so many training images
TAIL = 0.1  # share of the reference below which log p goes on in a straight line
SET_ASIDE, EVERY = 2000, 5  # without calibration images: every fifth image, at most so many
FEWEST = 20  # calibration images
KEPT = ("median", "deviation", "reference", "calibration", "bank", "centre", "probe")  # beside the Gaussians


def refuse_infinite(rows, count, what):
    """Refuses NaN and infinity among rows (N, ...), the first of which belongs to image `count`."""
    finite = rows.flatten(1).isfinite().all(1)
    if not finite.all():
        raise InputError(f"image {count + int(finite.int().argmin())} {what} that is no finite number; leave it out")


def digest(arrays, about):
    """SHA-256 of what a file holds."""
    found = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(arrays):
        found.update(name.encode() + arrays[name].tobytes())
    return found.hexdigest()


def refuse_training(model):
    if any(module.training for module in unhooked(model).modules()):
        raise InputError("the network is in training mode: BatchNorm would change it; call model.eval() first")


def refuse_level(name, level):
    if not 0 < level < 1:
        raise InputError(f"{name} must lie between 0 and 1, not {level}")


def shares(known, x):
    """(1 + #{known <= x}) / (n + 1) of x (N, ...) among n known (n, ...), column by column: p-values, (N, ...)."""
    return (1 + (known[:, None] <= x).sum(0)).double() / (len(known) + 1)


class Sample:
    """A random sample of at most `size` rows of a stream: those whose random keys are the largest."""

    def __init__(self, size):
        self.size, self.generator, self.keys, self.kept = size, torch.Generator().manual_seed(0), torch.zeros(0), None

    def add(self, rows):
        keys = torch.cat([self.keys, torch.rand(len(rows), generator=self.generator)])
        rows = rows if self.kept is None else torch.cat([self.kept, rows])
        self.keys, places = keys.topk(min(self.size, len(keys)))
        self.kept = rows[places.to(rows.device)]


class Detector:
    """Tells whether an image is of the kind that a network was trained on, by one threshold set beforehand.

    `model` is a classifier in evaluation mode, images (N, C, H, W) -> logits (N, K): a `ResNet34`, a `Hooked`, or any
    module, which is then hooked (`layers` as there). `transform` turns batches of images, as you have them, into what
    the model takes, for example `data.Normalisation`; without it the model takes them as they are.

    Images are given as a tensor or array (N, ...), `data.Images`, a Dataset, or an iterable of batches, such as a
    DataLoader (of a tuple the first entry counts). Bad input is an InputError.
    """

    def __init__(self, model, transform=None, layers=None):
        self.model = model if hasattr(model, "forward_layers") else Hooked(model, layers)
        self.transform = transform or (lambda images: images)
        self.device = next((p.device for p in model.parameters()), torch.device("cpu"))
        self.shape = self.probe = self.calibration = None

    # --- from images to readings ------------------------------------------------------------------------

    @torch.inference_mode()
    @float32()
    def features(self, images):
        """What is read of a batch in one forward pass: {name: (N, D)}, the layers' spatial means among them."""
        return self.read(*self.model.forward_layers(self.transform(images)))

    def read(self, logits, layers):
        early = []
        for name in self.early:
            z = channel_log_softmax(layers[name]).flatten(2)
            early += [z.amax((1, 2)), z.amin((1, 2))]
        means = {f"mean/{name}": x for name, x in pooled(layers).items()}
        return {"early": torch.stack(early, 1), "logits": energy(logits)[:, None], **means}

    @property
    def early(self):
        return self.model.layers[: max(1, round(EARLY * len(self.model.layers)))]

    def stream(self, images, what):
        """`features` of all images, batch by batch, with a progress bar; refuses what cannot be read."""
        refuse_training(self.model)
        count = 0
        for batch in tqdm(data.loose_batches(images, BATCH), what, delay=2, mininterval=2, unit=" batches"):
            batch = torch.as_tensor(batch[0] if isinstance(batch, (tuple, list)) else batch)
            self.check(batch, count)
            try:
                features = self.features(batch.to(self.device))
            except RuntimeError as error:
                reason = str(error).splitlines()[0]
                raise InputError(f"the network does not take images of shape {self.shape}: {reason}") from None
            refuse_infinite(torch.cat([*features.values()], 1), count, "makes the network's outputs something")
            count += len(batch)
            yield features
        if not count:
            raise InputError("there is no image to read; give at least one")

    def check(self, batch, count):
        """Refuses a batch that is no batch, of another size or type than the fitted one, or not finite."""
        shape, kind = tuple(batch.shape[1:]), str(batch.dtype).removeprefix("torch.")
        if len(shape) != 3:
            raise InputError(f"images come in batches of four axes, such as (N, C, H, W), not {tuple(batch.shape)}")
        if self.shape and (shape, kind) != (self.shape, self.kind):
            raise InputError(
                f"the detector was fitted on images {self.kind} {self.shape}, not {kind} {shape}; bring them to those"
            )
        refuse_infinite(batch, count, "has a pixel")
        self.shape, self.kind = shape, kind

    def directions(self, x):
        """Unit vectors (N, D) of the last layer's spatial means, from their mean on."""
        return F.normalize(x.double() - self.centre, dim=1).float()

    def readings(self, features):
        """All readings (N, R), confidences in float64, from `features`; their names are `names`."""
        distances = [one.score(features[f"mean/{name}"])[:, None] for name, one in self.gaussians.items()]
        cosines = self.directions(features[f"mean/{self.model.layers[-1]}"]) @ self.bank.float().T
        nearest = cosines.topk(min(NEIGHBOURS, len(self.bank)), 1).values[:, -1:]
        return torch.cat([x.double() for x in (features["early"], *distances, nearest, features["logits"])], 1)

    @property
    def names(self):
        """The readings' names, "LAYER SCORE", in the order of their parts."""
        early = [f"{layer} {score}" for layer in self.early for score in ("max of MSP", "min of MiSP")]
        return [*early, *(f"{layer} Mahalanobis" for layer in self.gaussians), "neighbours", "energy"]

    @property
    def sizes(self):
        """Numbers of readings of each part."""
        return 2 * len(self.early), len(self.gaussians), 1, 1

    # --- from readings to p-values ----------------------------------------------------------------------

    def standardised(self, readings):
        """Readings in deviations from the reference's median, (N, R): the lower, the more they speak for an outlier."""
        early, features, *others = ((readings - self.median) / self.deviation).split(self.sizes, 1)
        return torch.cat([-early.abs(), -features.abs(), *others], 1)

    def confidences(self, readings):
        """One confidence a part, (N, 4): the sum of the early readings, the least of the layers' features."""
        early, features, neighbours, logits = self.standardised(readings).split(self.sizes, 1)
        return torch.cat([early.sum(1, keepdim=True), features.amin(1, keepdim=True), neighbours, logits], 1)

    def log_p(self, confidences):
        """Logs of the parts' p-values (N, 4): their `shares` among the reference images.

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

        One half of the calibration images (every second one) gives the parts' p-values, the other the combination's.
        The guarantee holds for calibration images that the network was NOT trained on, drawn like those to come:
        images that it knows by heart say little about new ones. Without `calibration` a fifth of `images`, at most
        2,000, is set aside: sound only where the network was trained on none of them. Streams: memory holds 5,000
        images' last features and those set aside. Fewer than 20 images to calibrate are an InputError.
        """
        self.shape, self.probe, gaussians, sample, aside, count = None, None, {}, Sample(BANK), [], 0
        for features in self.stream(images, "fitting"):
            place = torch.arange(count, count + len(features["logits"]), device=self.device)
            count += len(place)
            if calibration is None:
                out = (place % EVERY == 0) & (place < EVERY * SET_ASIDE)
                aside.append({name: x[out] for name, x in features.items()})
                features = {name: x[~out] for name, x in features.items()}
            if not len(features["logits"]):
                continue
            of_one_class = torch.zeros(len(features["logits"]), device=self.device)
            for key in (key for key in features if key.startswith("mean/")):
                gaussians.setdefault(key[5:], TiedGaussian()).partial_fit(features[key], of_one_class)
            sample.add(features[f"mean/{self.model.layers[-1]}"])
        if not gaussians:
            raise InputError("0 calibration image(s) are too few beside 1 to fit; give more images")
        self.gaussians = {name: gaussian.finish() for name, gaussian in gaussians.items()}
        self.centre = self.gaussians[self.model.layers[-1]].means[0]
        self.bank = self.directions(sample.kept).half()
        held = aside if calibration is None else self.stream(calibration, "calibrating")
        return self.calibrate(torch.cat([self.readings(features) for features in held]))

    def calibrate(self, readings):
        """The reference of the parts and the calibration of their combination, from calibration images' readings."""
        if len(readings) < FEWEST:
            raise InputError(f"{len(readings)} calibration image(s) are too few; give at least {FEWEST}")
        reference, rest = readings[::2], readings[1::2]
        self.median = reference.median(0).values
        deviation = (reference - self.median).abs().median(0).values
        self.deviation = torch.where(deviation > 0, deviation, 1.0)
        self.reference = self.confidences(reference).sort(0).values
        self.calibration = self.log_p(self.confidences(rest)).sum(1).sort().values
        self.probe = self.probed()
        return self

    def parts(self, images):
        """(standardised readings, logs of the parts' p-values) of all images."""
        self.fitted()
        readings = torch.cat([self.readings(features) for features in self.stream(images, "reading")])
        return self.standardised(readings), self.log_p(self.confidences(readings))

    def fitted(self):
        if self.probe is None:
            raise InputError("the detector is not fitted yet; call fit(images, calibration) or Detector.load")

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
        refuse_level("fdr", fdr)
        return false_discovery_control(self.p_values(images)) <= fdr

    def threshold(self, alpha):
        """The p-value up to which an image is called an outlier: alpha, but for rounding; refuses one out of reach."""
        refuse_level("alpha", alpha)
        self.fitted()
        least = 1 / (len(self.calibration) + 1)
        if alpha < least * (1 - 1e-9):
            raise InputError(
                f"an alpha of {alpha} needs {2 * int(np.ceil(1 / alpha - 1 - 1e-9))} calibration images, half of them "
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

    # --- files ------------------------------------------------------------------------------------------

    def probed(self):
        """The early readings and the energy of one fixed image of noise: what tells another transform apart."""
        scale = 255 if self.kind == "uint8" else 1
        noise = scale * torch.rand(1, *self.shape, generator=torch.Generator().manual_seed(0))
        features = self.features(noise.to(self.device, getattr(torch, self.kind)))
        return torch.cat([features["early"], features["logits"]], 1).double()[0]

    def save(self, path):
        """Writes what was fitted, not the network: a NumPy archive without pickled objects."""
        self.fitted()
        arrays = {name: getattr(self, name) for name in KEPT}
        for name, gaussian in self.gaussians.items():
            arrays |= {f"gaussian/{name}/{key}": value for key, value in gaussian.state().items()}
        about = {
            "format": FORMAT, "network": fingerprint(self.model), "layers": self.model.layers,
            "gaussians": [*self.gaussians], "shape": self.shape, "kind": self.kind,
        }  # fmt: skip
        arrays = {key: value.cpu().numpy() for key, value in arrays.items()}
        about["digest"] = digest(arrays, json.loads(json.dumps(about | {"digest": None})))
        arrays["about"] = np.array(json.dumps(about))

        def write(unfinished):
            with open(unfinished, "wb") as file:
                np.savez(file, **arrays)

        replace(Path(path), write)

    @classmethod
    def load(cls, path, model, transform=None):
        """A detector from its file, for the network and the transform that it was fitted with; others are refused."""
        refuse_training(model)
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in archive.files if key != "about"}
                about = json.loads(str(archive["about"]))
            if about["format"] == FORMAT and about["digest"] != digest(arrays, {**about, "digest": None}):
                raise ValueError("it was changed")
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} is not a detector's file ({error}); write one with detector.save") from None
        if about["format"] != FORMAT:
            raise InputError(f"{path} has format {about['format']}, this version reads {FORMAT}; fit and save it anew")
        if about["network"] != fingerprint(model):
            raise InputError(f"{path} belongs to another network: its weights differ; load those, or fit a detector")
        one = cls(model, transform, about["layers"])
        one.shape, one.kind = tuple(about["shape"]), about["kind"]
        arrays = {name: torch.from_numpy(value) for name, value in arrays.items()}
        for name in KEPT:
            setattr(one, name, arrays[name].to(one.device))
        one.gaussians = {}
        for name in about["gaussians"]:
            state = {key: arrays[f"gaussian/{name}/{key}"] for key in ("means", "whitening", "origin")}
            one.gaussians[name] = TiedGaussian.from_state(state, one.device)
        try:
            alike = torch.allclose(one.probed(), one.probe, rtol=1e-2, atol=1e-2)
        except (RuntimeError, InputError):  # the network does not take what the transform gives
            alike = False
        if not alike or [*one.model.layers] != about["layers"]:
            raise InputError(f"{path} was fitted with another transform or other layers; give the same to load")
        return one

    def export(self, path):
        """Writes network, transform and detector as one ONNX file: images -> logits (N, K) and p_values (N,)."""
        self.fitted()

        class Whole(nn.Module):
            def __init__(self, detector):
                super().__init__()
                self.model, self.detector = detector.model, detector

            def forward(self, images):
                logits, layers = self.model.forward_layers(self.detector.transform(images))
                readings = self.detector.readings(self.detector.read(logits, layers))
                log_p = self.detector.log_p(self.detector.confidences(readings))
                return logits, shares(self.detector.calibration, log_p.sum(1))

        try:
            import onnxscript  # noqa: F401, torch's exporter needs it
        except ImportError:
            raise InputError("to export takes two more packages: pip install onnx onnxscript") from None
        example = (torch.zeros(2, *self.shape, dtype=getattr(torch, self.kind), device=self.device),)
        program = torch.onnx.export(
            Whole(self).eval(), example, input_names=["images"], output_names=["logits", "p_values"],
            dynamic_shapes=({0: torch.export.Dim("count")},), dynamo=True, verbose=False,
        )  # fmt: skip
        replace(Path(path), lambda unfinished: program.save(unfinished, external_data=False))
