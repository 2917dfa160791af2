"""Are scenes far from CIFAR-10, or merely aliased? results/aliasing*.csv.

    THESIS_DATA=... python -m experiments.aliasing        # a quarter of an hour on two CPU cores

- aliasing_images.csv: without a network, of each set's first 2,000 test images: `power` by cycles an image, how many,
  `median` high-frequency energy, `auroc` of an energy as a score against as many CIFAR-10 images, and against all.
- aliasing_within.csv: within CIFAR-10, Spearman's rank correlation of min of MiSP (MiSP at `fc`) with a property of
  the image that needs no network, in every run that has its weights, as in all that follow.
- aliasing_matched.csv: AUROC of the recorded scores, of all pairs of a CIFAR-10 image and another, and only of those
  of about the same energy (both are in the same of `STRATA` groups by it); `pairs`, their share.
- aliasing.csv: AUROC at each layer against images made for this question.
- aliasing_sharpened.csv: scores of a photograph that is blurred and sharpened, beside quantiles of whole sets' scores.

Expected, if fine detail is what the first layers see: the score falls with high-frequency energy; CIFAR-10 images with
the spectra of scenes are told apart like scenes, scenes with the spectra of CIFAR-10 no longer; nor are images of equal
energy. Each could have come out otherwise. Near-Nyquist energy was added when the last had. An AUROC is above a half
where the other set's score is higher, or its energy lower.
"""

from functools import cache

import numpy as np
import torch
from PIL import Image
from scipy.stats import spearmanr
from torch.nn import functional as F

from experiments.misp import misp_everywhere, networks
from experiments.recording import on_cpu, record, recorded
from thesis_utils import data, metrics
from thesis_utils.book import spectra
from thesis_utils.book.spectra import FINE, FINEST, RADII, energy, grey, radial, radii
from thesis_utils.evaluation import BATCH
from thesis_utils.models import LAYERS

COUNT, STRATA = 2000, 50
KNOWN, SCENES = "cifar10", ("places9_resize", "places9_fix")
OTHERS = ("cifar100", "svhn", *SCENES)
EXCHANGED = [  # images, whose spectra they get
    *((KNOWN, giver) for giver in (KNOWN, "svhn", *SCENES)), *((own, KNOWN) for own in ("svhn", *SCENES)), SCENES,
]  # fmt: skip
SCORES = {layer: f"{layer}/min_of_misp" for layer in LAYERS} | {"fc": "fc/misp"}
AMOUNTS = np.arange(-10, 11) / 10  # of sharpening


# --- images -------------------------------------------------------------------------------------------


@cache
def first(name):
    return data.load(name).pixels[:COUNT]


def resized(pixels, size, mode):
    """Images (N, H, W, 3) in another size; only "lanczos" and "area" have antialiasing."""
    if mode == "lanczos":
        images = (Image.fromarray(one).resize((size, size), Image.Resampling.LANCZOS) for one in pixels.numpy())
        return torch.from_numpy(np.stack([np.asarray(one) for one in images]))
    found = F.interpolate(pixels.permute(0, 3, 1, 2).float(), (size, size), mode=mode)
    return found.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def with_spectrum(pixels, givers):
    """Images (N, 32, 32, 3), each with the radial power spectrum of the brightness of one of as many `givers`.

    All frequencies of about one radius have their amplitudes times one factor; phases and means stay, so does what is
    to be seen. Images are mirrored at their edges, and cut off at 0 and 255 afterwards.
    """
    own, wanted = (torch.from_numpy(radial(grey(one))).float().clamp_min(1e-6) for one in (pixels, givers))
    gain = (wanted / own).sqrt()
    at = torch.from_numpy(radii(2 * data.SIZE)).float().div(2).clamp(1, max(RADII)) - 1  # of the mirrored, in `gain`
    low, share = at.long(), at.frac()
    factors = torch.lerp(gain[:, low], gain[:, (low + 1).clamp(max=len(RADII) - 1)], share)[:, None]
    factors[..., 0, 0] = 1
    x = pixels.float().permute(0, 3, 1, 2)
    x = torch.cat([x, x.flip(2)], 2)
    x = torch.cat([x, x.flip(3)], 3)
    x = torch.fft.ifft2(torch.fft.fft2(x) * factors).real[..., : data.SIZE, : data.SIZE]
    return x.clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def made():
    """(name, images) of one set after another; CIFAR-10's are none of the first 2,000, the in-distribution."""
    everything = data.load(KNOWN).pixels
    other, spare = everything[COUNT : 2 * COUNT], everything[2 * COUNT : 3 * COUNT]
    yield "cifar10, unchanged", other
    for name in (*OTHERS, "noise"):
        yield name, first(name)
    for mode, how in {"nearest": "every second pixel", "area": "means of 2 x 2 pixels"}.items():
        yield f"cifar10, {how}, enlarged again", resized(resized(other, data.SIZE // 2, mode), data.SIZE, "bilinear")
    for mode, how in {"bilinear": "bilinearly", "nearest": "by repeating pixels"}.items():
        yield f"cifar10, middle enlarged {how}", resized(other[:, 8:24, 8:24], data.SIZE, mode)
    tiles = everything[COUNT:].view(500, 4, 4, 32, 32, 3)  # mosaics of 128 x 128 pixels, like the scenes
    for ood, mode in zip(SCENES, ("bilinear", "lanczos")):
        mosaics = resized(tiles.transpose(2, 3).reshape(500, 128, 128, 3), data.SIZE, mode)
        yield f"cifar10 mosaic, shrunk like {ood}", mosaics
    for own, giver in EXCHANGED:
        images = with_spectrum(other if own == KNOWN else first(own), spare if giver == KNOWN else first(giver))
        yield f"{own}, spectra of {giver}", images


# --- what is measured ---------------------------------------------------------------------------------

PROPERTIES = {
    "brightness": lambda x: x.mean((1, 2)),
    "contrast": lambda x: x.std((1, 2), ddof=1),
    "low-frequency energy": lambda x: energy(x, 0, 8),
    FINE: energy,
    FINEST: lambda x: energy(x, spectra.ABOVE[FINEST]),
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
            yield {"set": name, "variant": str(radius), "metric": "power", "value": value}
    known = grey(first(KNOWN))
    for name, pixels in made():
        brightness = grey(pixels)
        yield {"set": name, "variant": "number", "metric": "images", "value": len(pixels)}
        yield {"set": name, "variant": FINE, "metric": "median", "value": np.median(energy(brightness))}
        for which in (FINE, FINEST):
            value = metrics.auroc(PROPERTIES[which](known), PROPERTIES[which](brightness))
            yield {"set": name, "variant": which, "metric": "auroc", "value": value}
            if name in OTHERS:
                value = metrics.auroc(measured(KNOWN, which), measured(name, which))
                yield {"set": name, "variant": which, "metric": "auroc of all images", "value": value}


def within(run):
    """Rows of aliasing_within.csv."""
    scores = run.scores(KNOWN)
    for which in PROPERTIES:
        for layer, score in SCORES.items():
            value = spearmanr(scores[score], measured(KNOWN, which)).statistic
            yield {"layer": layer, "variant": which, "metric": "rank_correlation", "value": value}


def area(known, unknown):
    return metrics.auroc(-known, -unknown)  # MiSP is low where a network is sure


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
    if which == "nothing":
        return [np.zeros(len(data.load(name))) for name in (KNOWN, ood)]
    values = measured(KNOWN, which), measured(ood, which)
    weights = np.concatenate([np.full(len(one), 1 / len(one)) for one in values])  # both sets count equally
    order = np.concatenate(values).argsort()
    group = np.empty(len(order))
    group[order] = np.ceil(weights[order].cumsum() / 2 * STRATA - 1e-9)
    return np.split(group, [len(values[0])])


def matched(run):
    """Rows of aliasing_matched.csv."""
    for ood in (one for one in OTHERS if run.can_score(one)):
        for which in ("nothing", FINE, FINEST):
            row = {"set": ood, "variant": which}
            for layer, score in SCORES.items():
                pair = (run.scores(one)[score].to_numpy() for one in (KNOWN, ood))
                value, share = stratified(*pair, groups_of(ood, which))
                yield row | {"layer": layer, "metric": "auroc", "value": value}
            yield row | {"layer": "all", "metric": "pairs", "value": share}


def scores_of(run, pixels):
    """Min of MiSP at each layer, MiSP at `fc`: {layer: (N,)}."""
    model, normalise = on_cpu(run).network
    found = [misp_everywhere(model, normalise(batch)) for batch in pixels.split(BATCH)]
    return {layer: torch.cat([one[layer] for one in found]).numpy() for layer in SCORES}


def against_made(run):
    """Rows of aliasing.csv."""
    known = scores_of(run, first(KNOWN))
    for name, pixels in made():
        for layer, values in scores_of(run, pixels).items():
            yield {"set": name, "layer": layer, "metric": "auroc", "value": area(known[layer], values)}


def of_photograph(run):
    """Rows of aliasing_sharpened.csv: a photograph's scores, and quantiles of those of whole sets of test images."""
    photo = spectra.shrunk(spectra.photographs()["china"])
    pixels = torch.from_numpy(np.stack([spectra.sharpened(photo, amount) for amount in AMOUNTS]))
    for layer, values in scores_of(run, pixels).items():
        for amount, value in zip(AMOUNTS, values):
            yield {"set": "china", "layer": layer, "variant": amount, "metric": "score", "value": value}
        for ood in (KNOWN, *OTHERS):
            for share in (0.025, 0.5, 0.975):
                value = run.scores(ood)[SCORES[layer]].quantile(share)
                yield {"set": ood, "layer": layer, "variant": share, "metric": "quantile", "value": value}


if __name__ == "__main__":
    if not recorded("aliasing_images", {"metric": "auroc"}):
        record("aliasing_images", ["set", "variant", "metric"], of_images())
    tables = {"aliasing_within": within, "aliasing_matched": matched, "aliasing": against_made,
              "aliasing_sharpened": of_photograph}  # fmt: skip
    for run in networks(KNOWN):
        for name, measure in tables.items():
            if not recorded(name, {"run": run.config.name}):
                rows = [{"run": run.config.name} | row for row in measure(run)]
                record(name, [key for key in rows[0] if key != "value"], rows)
