"""Power spectra of images, and what they have to do with min of MiSP: the chapter on aliased scenes.

From scikit-learn's photographs, recorded runs and the CSVs of `experiments/aliasing.py`. AUROCs in percent. What is
not recorded leaves "not recorded yet" in its place.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from PIL import Image
from scipy.stats import spearmanr
from sklearn.datasets import load_sample_images
from torch.nn import functional as F

from thesis_utils.book import differences, plots
from thesis_utils.book.experiments import experiment
from thesis_utils.book.formatting import MISSING, model_label, not_recorded
from thesis_utils.data import SIZE
from thesis_utils.models import LAYERS

RADII = range(1, SIZE // 2 + 1)
GREY_WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601
SCENES = {"places9_resize": "without antialiasing", "places9_fix": "with antialiasing"}
PLACES = [*LAYERS, "fc"]


# --- spectra ------------------------------------------------------------------------------------------


def grey(pixels):
    """Brightness of images (N, H, W, 3), 0 to 255: (N, H, W)."""
    return pixels.float() @ torch.tensor(GREY_WEIGHTS)


def radii(size=SIZE):
    """The frequency, in cycles an image, of each place of a two-dimensional FFT: (size, size)."""
    frequencies = size * torch.fft.fftfreq(size)
    return torch.hypot(frequencies[:, None], frequencies)


def power(brightness):
    """Power |F|^2 / (H W) of square images (N, H, H) less their mean, times a Hann window: (N, H, H).

    The window takes away the step between opposite edges, which would look like fine detail.
    """
    size = brightness.shape[-1]
    window = torch.hann_window(size)
    centred = brightness - brightness.mean((1, 2), keepdim=True)
    return torch.fft.fft2(centred * window[:, None] * window).abs().square() / size**2


def radial(brightness):
    """The radially averaged power spectrum: images (N, 32, 32) -> (N, 16), of 1 to 16 cycles an image."""
    spectrum, rings = power(brightness), radii().round()
    return torch.stack([spectrum[:, rings == radius].mean(1) for radius in RADII], 1)


def energy(brightness, above=SIZE / 4, up_to=SIZE):
    """log10 of the power between two frequencies in cycles an image: (N, 32, 32) -> (N,).

    By default what lies above half of the Nyquist frequency, which is 16 cycles along rows and columns.
    """
    frequencies = radii()
    inside = (frequencies > above) & (frequencies <= up_to)
    return power(brightness)[:, inside].sum(1).clamp_min(1e-6).log10()


def sets():
    """The mean radial power spectra of the data sets, of `experiments/aliasing.py`."""
    rows = experiment("aliasing_spectra")
    if rows.empty:
        return plots.not_recorded()
    figure, axis = plt.subplots(figsize=(8, 3.8))
    for name, values in rows.set_index("set").iterrows():
        paint = plots.GREY if name == "noise" else "black" if name == "cifar10" else plots.colour(name)
        axis.plot(RADII, values, "--" if name == "noise" else "-", color=paint, label=name)
    axis.set(yscale="log", xlabel="cycles an image", ylabel="power", title="Mean radial power spectrum of brightness")
    axis.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def shrunk(photo):
    """A square photograph (H, H, 3) at 32 x 32 pixels: {how: pixels}."""
    flat = F.interpolate(torch.from_numpy(photo).permute(2, 0, 1)[None].float(), (SIZE, SIZE), mode="bilinear")
    smooth = Image.fromarray(photo).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    both = flat[0].round().to(torch.uint8).permute(1, 2, 0), torch.from_numpy(np.array(smooth))
    return dict(zip(SCENES.values(), both))


def photographs():
    """scikit-learn's two photographs, shrunk without antialiasing (bilinear) and with (Lanczos), and their spectra."""
    figure, axes = plots.grown(2, 4, width=9.5, height=2.4)
    for row, photo in zip(axes, load_sample_images().images):
        side = min(photo.shape[:2])
        left = (photo.shape[1] - side) // 2
        photo = np.ascontiguousarray(photo[:side, left : left + side])
        row[0].imshow(photo)
        row[0].set_title(f"{side} pixels wide")
        for axis, ood, (how, pixels) in zip(row[1:], SCENES, shrunk(photo).items()):
            axis.imshow(pixels)
            axis.set_title(how)
            row[3].plot(RADII, radial(grey(pixels[None]))[0], color=plots.colour(ood), label=how)
        for axis in row[:3]:
            axis.axis("off")
        row[3].set(yscale="log", xlabel="cycles an image", title="power")
    figure.legend(*row[3].get_legend_handles_labels(), ncols=2, fontsize="small", loc="outside upper right")
    return figure


# --- the same scenes, shrunk in two ways, in recorded runs --------------------------------------------


def with_both(models):
    """Of {network: its runs, one a seed} those runs that scored the scenes both ways; networks without any left out."""
    found = {
        network: [run for run in group if {*SCENES} <= {*run.out_distributions()}] for network, group in models.items()
    }
    return {network: group for network, group in found.items() if group}


def layerwise(models):
    """Min of MiSP at each layer, then MiSP at `fc`, against the scenes shrunk in two ways; a band spans the seeds."""
    models = with_both(models)
    if not models:
        return plots.not_recorded()
    figure, axes = plots.grown(1, len(models), width=9.5, height=3.0, sharey=True)
    for axis, (network, group) in zip(axes[0], models.items()):
        for ood, how in SCENES.items():
            curves = [[*differences.layers(run, ood)[:, 0], differences.area(run, ood, "fc/misp")[0]] for run in group]
            low, mean, high = np.min(curves, 0), np.mean(curves, 0), np.max(curves, 0)
            axis.plot(mean[:-1], "o-", ms=3, color=plots.colour(ood), label=how)
            axis.fill_between(range(len(LAYERS)), low[:-1], high[:-1], color=plots.colour(ood), alpha=0.2, lw=0)
            axis.plot(len(LAYERS), mean[-1], "s", color=plots.colour(ood))
            axis.vlines(len(LAYERS), low[-1], high[-1], color=plots.colour(ood))
        axis.set(ylim=(plots.lowest("best_direction"), 101), title=f"{model_label(*network)} ({len(group)} seeds)")
        plots.stage_axis(axis, extra=("fc",))
    axes[0, 0].set_ylabel("AUROC, %")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), ncols=2, fontsize="small", loc="outside upper center")
    return figure


def leads(models):
    """{(network, set): block 1's mean AUROC of min of MiSP minus that of MiSP at `fc`, one number a seed}."""
    return {
        (network, ood): [
            (differences.mean(differences.layers(run, ood), 1) - differences.area(run, ood, "fc/misp"))[0]
            for run in group
        ]
        for network, group in with_both(models).items()
        for ood in SCENES
    }


def lead(models):
    """The lead of block 1 over the final layer on both sets, one number a seed."""
    rows = {}
    for (network, ood), values in leads(models).items():
        text = ", ".join(f"{value:+.1f}" for value in values)
        rows.setdefault(model_label(*network), {})[f"{ood}: {SCENES[ood]}"] = text
    return pd.DataFrame.from_dict(rows, orient="index") if rows else not_recorded()


def lead_in_words(models):
    """In how many of the runs block 1 is ahead, on either set."""
    found = leads(models)
    if not found:
        return Markdown(f"Scenes shrunk in two ways: {MISSING}.")
    counts = {}
    for ood, how in SCENES.items():
        values = np.concatenate([one for (_, name), one in found.items() if name == ood])
        counts[how] = f"{how} in {(values > 0).sum()} of {len(values)} runs (mean {values.mean():+.1f} points)"
    return Markdown(f"Block 1 is ahead of MiSP at the final layer {' and '.join(counts.values())}.")


# --- what the experiment found ------------------------------------------------------------------------


def within():
    """Within CIFAR-10: rank correlation of min of MiSP (MiSP at `fc`) with properties; bands span the recorded runs."""
    rows = experiment("aliasing_within")
    if rows.empty:
        return plots.not_recorded()
    figure, axis = plt.subplots(figsize=(8, 4.0))
    for (name, found), line in zip(rows.groupby("property", sort=False), ["-", "-", "-", "-", "--", ":"]):
        values = found[PLACES]
        (drawn,) = axis.plot(values.mean().to_numpy(), line, marker="o", ms=3, label=name)
        axis.fill_between(range(len(PLACES)), values.min(), values.max(), color=drawn.get_color(), alpha=0.12, lw=0)
    axis.axhline(0, color=plots.GREY, lw=0.8)
    axis.set(ylabel="Spearman's ρ", title=f"CIFAR-10 test images, mean and range of {rows.run.nunique()} networks")
    plots.layer_axis(axis, extra=("fc",))
    axis.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def better(values):
    """AUROCs in their better direction (an oracle), as text."""
    return np.maximum(values, 100 - values).map("{:.1f}".format)


def exchanged(layers=("layer1.1", "layer1.3", "layer4.3", "fc")):
    """Sets as they are and with the spectra of another set: AUROC against CIFAR-10 in the better direction."""
    rows = experiment("aliasing")
    if rows.empty:
        return not_recorded()
    chosen = rows[rows.images.str.contains("spectra of|unchanged") | rows.images.isin([*SCENES, "svhn"])]
    parts = {model_label(name): found.set_index("images") for name, found in chosen.groupby("activation", sort=False)}
    table = pd.concat({name: found[[*layers]].apply(better) for name, found in parts.items()}, axis=1)
    return table.rename_axis(index=None, columns=[None, None])


def made(layer="layer1.1"):
    """All sets by their high-frequency energy: AUROC at `layer` and at `fc`, one direction for all."""
    rows = experiment("aliasing")
    if rows.empty:
        return plots.not_recorded()
    figure, axes = plots.grown(1, 2, width=9.5, height=5.6, sharey=True)
    for axis, (name, found) in zip(axes[0], rows.groupby("activation", sort=False)):
        found = found.sort_values("energy", ascending=False, kind="stable")
        y = np.arange(len(found))
        axis.axvline(50, color=plots.GREY, lw=0.8)
        axis.plot(found[layer], y, "o", color=plots.BLUE, label=f"min of MiSP at {layer}")
        axis.plot(found.fc, y, "s", color=plots.ORANGE, ms=4, mfc="none", label="MiSP at the final layer")
        axis.set_yticks(y, [f"{row.images}  {row.energy:.1f}" for row in found.itertuples()], fontsize=7)
        axis.set(xlim=(-3, 103), xlabel="score above CIFAR-10's, % of pairs", title=model_label(name))
        axis.grid(axis="y")
    figure.legend(*axis.get_legend_handles_labels(), ncols=2, fontsize="small", loc="outside upper center")
    return figure


def made_in_words(layer="layer1.1"):
    """How closely a set's AUROC follows its high-frequency energy."""
    rows = experiment("aliasing")
    if rows.empty:
        return Markdown(f"The images that were made: {MISSING}.")
    texts = [
        f"{model_label(name)}: {spearmanr(found.energy, found[layer]).statistic:+.2f} at {layer} and "
        f"{spearmanr(found.energy, found.fc).statistic:+.2f} at the final layer"
        for name, found in rows.groupby("activation", sort=False)
    ]
    return Markdown(f"Rank correlation of the two over the {rows.images.nunique()} sets. {'; '.join(texts)}.")


def matched(layer="layer1.1"):
    """By set: AUROC of all pairs, of energy alone without a network, and of pairs of about the same energy only.

    In the better direction; of a network the mean over all recorded runs, and from the lowest to the highest.
    """
    rows = experiment("aliasing_matched")
    if rows.empty:
        return not_recorded()
    table = {}
    for (ood, which), found in rows.groupby(["ood", "matched"], sort=False):
        areas = found[layer] if found[layer].mean() > 50 else 100 - found[layer]
        text = f"{areas.mean():.1f}\n({areas.min():.1f}\N{WORD JOINER}–\N{WORD JOINER}{areas.max():.1f})"
        alone = {} if which == "nothing" else {("no network, all pairs", which): better(found.alone).iloc[0]}
        pairs = "all pairs" if which == "nothing" else f"pairs of equal {which}"
        table.setdefault(ood, {}).update(alone | {(f"min of MiSP at {layer}", pairs): text})
    table = pd.DataFrame.from_dict(table, orient="index")
    table.columns = pd.MultiIndex.from_tuples(table.columns)
    return table[sorted(table.columns, key=lambda column: column[0], reverse=True)]
