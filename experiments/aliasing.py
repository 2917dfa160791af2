"""Are scenes far from CIFAR-10, or merely aliased? results/aliasing*.csv.

    THESIS_DATA=... python -m experiments.aliasing        # a quarter of an hour on two CPU cores

- aliasing_images.csv: without a network, of each set's first 2,000 test images: `power`, the radially averaged power
  spectrum by cycles an image; `images`, how many; the `median` of the high-frequency energy; `auroc` of an energy as a
  score against as many CIFAR-10 test images, and of all test images: above a half where the other set has less of it.
- aliasing_within.csv: within CIFAR-10's test images, Spearman's rank correlation of min of MiSP at each layer (MiSP at
  `fc`) with a property of the image that needs no network, in every recorded run.
- aliasing_matched.csv: AUROC of the recorded scores, of all pairs of a CIFAR-10 image and another, and only of those
  that have about the same high-frequency energy (both are in the same of `STRATA` groups by it); `pairs`, their share.
- aliasing.csv: AUROC at each layer, of the networks that have their weights, against images made for this question.
- aliasing_sharpened.csv: scores of a photograph that is blurred and sharpened, beside quantiles of whole sets' scores.

Expected, if fine detail is what the first layers see: within CIFAR-10 the score falls with high-frequency energy;
CIFAR-10 images with the spectra of scenes are told apart like scenes, and scenes with the spectra of CIFAR-10 no
longer; nor are images of equal high-frequency energy. Each could have come out otherwise. Near-Nyquist energy was
added when the last had. An AUROC is `fixed_direction`: above a half where the other set's score is higher.
"""

from functools import cache

import numpy as np
import torch
from PIL import Image
from scipy.stats import spearmanr
from torch.nn import functional as F

from experiments.misp import misp_everywhere
from experiments.recording import record, recorded
from thesis_utils import data, metrics, runs, scorers
from thesis_utils.book.spectra import (
    ABOVE,
    FINE,
    FINEST,
    RADII,
    energy,
    grey,
    photographs,
    radial,
    radii,
    sharpened,
    shrunk,
)
from thesis_utils.evaluation import BATCH
from thesis_utils.models import LAYERS
from thesis_utils.runs.config import GRID

COUNT, STRATA = 2000, 50
KNOWN, SCENES = "cifar10", ("places9_resize", "places9_fix")
OTHERS = ("cifar100", "svhn", *SCENES)
SCORES = {layer: f"{layer}/min_of_misp" for layer in LAYERS} | {"fc": "fc/misp"}
AMOUNTS = np.arange(-10, 11) / 10  # of sharpening


# --- images -------------------------------------------------------------------------------------------


@cache
def first(name):
    return data.load(name).pixels[:COUNT]


def other():
    """CIFAR-10's second 2,000 test images: the first are the in-distribution."""
    return data.load(KNOWN).pixels[COUNT : 2 * COUNT]


def resized(pixels, size, mode):
    """Images (N, H, W, 3) in another size; only "lanczos" and "area" have antialiasing."""
    if mode == "lanczos":
        images = (Image.fromarray(one).resize((size, size), Image.Resampling.LANCZOS) for one in pixels.numpy())
        return torch.from_numpy(np.stack([np.asarray(one) for one in images]))
    found = F.interpolate(pixels.permute(0, 3, 1, 2).float(), (size, size), mode=mode)
    return found.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def there_and_back(mode):
    return resized(resized(other(), data.SIZE // 2, mode), data.SIZE, "bilinear")


def cut_out(mode):
    """The middle 16 x 16 pixels, enlarged."""
    return resized(other()[:, 8:24, 8:24], data.SIZE, mode)


def mosaics(mode):
    """500 mosaics of 4 x 4 CIFAR-10 images each, 128 x 128 like the scenes, shrunk to 32 x 32 like them."""
    tiles = data.load(KNOWN).pixels[COUNT:].view(500, 4, 4, 32, 32, 3)
    return resized(tiles.transpose(2, 3).reshape(500, 128, 128, 3), data.SIZE, mode)


def with_spectrum(pixels, givers):
    """Images (N, 32, 32, 3), each with the radial power spectrum of the brightness of one of as many `givers`.

    All frequencies of about one radius have their amplitudes times one factor; phases and means stay, so does what is
    to be seen. Images are mirrored at their edges, and cut off at 0 and 255 afterwards.
    """
    own, wanted = (torch.from_numpy(radial(grey(one))).clamp_min(1e-6) for one in (pixels, givers))
    gain = (wanted / own).sqrt().float()
    at = (
        torch.from_numpy(radii(2 * data.SIZE) / 2).float().clamp(1, max(RADII)) - 1
    )  # of the mirrored images, in `gain`
    low, share = at.long(), at.frac()
    factors = torch.lerp(gain[:, low], gain[:, (low + 1).clamp(max=len(RADII) - 1)], share)[:, None]
    factors[..., 0, 0] = 1
    x = pixels.float().permute(0, 3, 1, 2)
    x = torch.cat([x, x.flip(2)], 2)
    x = torch.cat([x, x.flip(3)], 3)
    x = torch.fft.ifft2(torch.fft.fft2(x) * factors).real[..., : data.SIZE, : data.SIZE]
    return x.clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def exchanged(own, giver):
    """Images of one set, each with the spectrum of some image of another; CIFAR-10's are none of the known ones."""
    givers = data.load(KNOWN).pixels[2 * COUNT : 3 * COUNT] if giver == KNOWN else first(giver)
    return with_spectrum(other() if own == KNOWN else first(own), givers)


EXCHANGES = [
    *((KNOWN, giver) for giver in (KNOWN, "svhn", *SCENES)),
    *((own, KNOWN) for own in ("svhn", *SCENES)),
    SCENES,
]


def made():
    """(name, images) of one set after another."""
    yield "cifar10, unchanged", other()
    for name in (*OTHERS, "noise"):
        yield name, first(name)
    yield "cifar10, every second pixel, enlarged again", there_and_back("nearest")
    yield "cifar10, means of 2 x 2 pixels, enlarged again", there_and_back("area")
    yield "cifar10, middle enlarged bilinearly", cut_out("bilinear")
    yield "cifar10, middle enlarged by repeating pixels", cut_out("nearest")
    yield "cifar10 mosaic, shrunk like places9_resize", mosaics("bilinear")
    yield "cifar10 mosaic, shrunk like places9_fix", mosaics("lanczos")
    for own, giver in EXCHANGES:
        yield f"{own}, spectra of {giver}", exchanged(own, giver)


# --- what is measured ---------------------------------------------------------------------------------

PROPERTIES = {
    "brightness": lambda x: x.mean((1, 2)),
    "contrast": lambda x: x.std((1, 2)),
    "low-frequency energy": lambda x: energy(x, 0, 8),
    FINE: energy,
    FINEST: lambda x: energy(x, ABOVE[FINEST]),
    "steepest edge": lambda x: np.maximum(np.abs(np.diff(x, axis=1)).max((1, 2)), np.abs(np.diff(x)).max((1, 2))),
}


@cache
def measured(name, which):
    """A property of all of a set's test images."""
    return np.concatenate([PROPERTIES[which](grey(pixels)) for pixels in data.load(name).pixels.split(1000)])


def of_images():
    """Rows of aliasing_images.csv."""
    for name in (KNOWN, *OTHERS, "noise"):
        for radius, value in zip(RADII, radial(grey(first(name))).mean(0)):
            yield {"set": name, "variant": radius, "metric": "power", "value": value}
    known = grey(first(KNOWN))
    for name, pixels in made():
        brightness = grey(pixels)
        yield {"set": name, "variant": "number", "metric": "images", "value": len(pixels)}
        yield {"set": name, "variant": FINE, "metric": "median", "value": np.median(energy(brightness))}
        for which in (FINE, FINEST):
            value = metrics.auroc(PROPERTIES[which](known), PROPERTIES[which](brightness))
            yield {"set": name, "variant": which, "metric": "auroc", "value": value}
    for name in OTHERS:
        for which in (FINE, FINEST):
            value = metrics.auroc(measured(KNOWN, which), measured(name, which))
            yield {"set": name, "variant": which, "metric": "auroc of all images", "value": value}


def within(run):
    """Rows of aliasing_within.csv."""
    scores = run.scores(KNOWN)
    for which in PROPERTIES:
        for layer, score in SCORES.items():
            value = spearmanr(scores[score], measured(KNOWN, which)).statistic
            yield {
                "run": run.config.name,
                "layer": layer,
                "variant": which,
                "metric": "rank_correlation",
                "value": value,
            }


def area(known, unknown):
    return metrics.fixed_direction(known, unknown, scorers.sign("layer1.1/min_of_misp"))


def stratified(known, unknown, groups):
    """The AUROC over those pairs (known, unknown) only that are in the same group, and their share of all pairs."""
    found = []
    for group in np.unique(groups[0]):
        inside, outside = known[groups[0] == group], unknown[groups[1] == group]
        if len(outside):
            found.append((len(inside) * len(outside), area(inside, outside)))
    weights, areas = np.array(found).T
    return np.average(areas, weights=weights), weights.sum() / (len(known) * len(unknown))


@cache
def groups_of(ood, which):
    """Of each CIFAR-10 image and each image of `ood` the group of about equal values of a property."""
    values = measured(KNOWN, which), measured(ood, which)
    everything = np.concatenate(values)
    weights = np.concatenate([np.full(len(one), 1 / len(one)) for one in values])  # both sets count equally
    order = everything.argsort()
    group = np.empty(len(order))
    group[order] = np.ceil(weights[order].cumsum() / 2 * STRATA - 1e-9)
    return np.split(group, [len(values[0])])


def matched(run):
    """Rows of aliasing_matched.csv."""
    for ood in (one for one in OTHERS if run.can_score(one)):
        known, unknown = run.scores(KNOWN), run.scores(ood)
        for which in ("nothing", FINE, FINEST):
            alike = [np.zeros(len(one)) for one in (known, unknown)] if which == "nothing" else groups_of(ood, which)
            row = {"run": run.config.name, "set": ood, "variant": which}
            for layer, score in SCORES.items():
                value, share = stratified(known[score].to_numpy(), unknown[score].to_numpy(), alike)
                yield row | {"layer": layer, "metric": "auroc", "value": value}
            yield row | {"layer": "all", "metric": "pairs", "value": share}


def scores_of(run, pixels):
    """Min of MiSP at each layer, MiSP at `fc`: {layer: (N,)}."""
    model, normalise = run.network
    found = [misp_everywhere(model, normalise(batch)) for batch in pixels.split(BATCH)]
    return {layer: torch.cat([one[layer] for one in found]).numpy() for layer in SCORES}


def against_made(run):
    """Rows of aliasing.csv."""
    known = scores_of(run, first(KNOWN))
    for name, pixels in made():
        for layer, values in scores_of(run, pixels).items():
            value = area(known[layer], values)
            yield {"run": run.config.name, "set": name, "layer": layer, "metric": "auroc", "value": value}


def of_photograph(run, name="china"):
    """Rows of aliasing_sharpened.csv: a photograph's scores, and quantiles of those of whole sets of test images."""
    photo = shrunk(photographs()[name])
    pixels = torch.from_numpy(np.stack([sharpened(photo, amount) for amount in AMOUNTS]))
    row = {"run": run.config.name}
    for layer, values in scores_of(run, pixels).items():
        for amount, value in zip(AMOUNTS, values):
            yield row | {"set": name, "layer": layer, "variant": amount, "metric": "score", "value": value}
        for ood in (KNOWN, *OTHERS):
            for share in (0.025, 0.5, 0.975):
                value = run.scores(ood)[SCORES[layer]].quantile(share)
                yield row | {"set": ood, "layer": layer, "variant": share, "metric": "quantile", "value": value}


if __name__ == "__main__":
    if not recorded("aliasing_images", {"metric": "auroc"}):
        record("aliasing_images", ["set", "variant", "metric"], of_images())
    for profile in ("compact", "half", "thesis"):
        for activation, factor in GRID:
            for run in runs.seeds(runs.configure(profile, activation=activation, entropy_factor=factor)):
                name, keys = {"run": run.config.name}, ["run", "set", "layer", "variant", "metric"]
                if not recorded("aliasing_within", name) and run.can_score(KNOWN):
                    record("aliasing_within", ["run", "layer", "variant"], within(run))
                if not recorded("aliasing_matched", name) and run.can_score(KNOWN):
                    record("aliasing_matched", keys, matched(run))
                if not recorded("aliasing", name) and run.has_weights:
                    record("aliasing", ["run", "set", "layer"], against_made(run))
                if not recorded("aliasing_sharpened", name) and run.has_weights:
                    record("aliasing_sharpened", keys, of_photograph(run))
