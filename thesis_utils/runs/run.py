"""What a finished run can tell: scores, metrics and baselines, read from its folder or computed.

run = get(configure("compact"))
run.metrics()                               # every score x data set x reading
run.scores("svhn")                          # per-image scores
"""

import dataclasses
import sys
from functools import cached_property

import pandas as pd
import torch

from thesis_utils import Detector, baselines, data, evaluation
from thesis_utils.architectures import ARCHITECTURES
from thesis_utils.errors import InputError
from thesis_utils.files import replace
from thesis_utils.runs.config import OUT_DISTRIBUTIONS, command, compared_images, near_and_far
from thesis_utils.runs.store import BASELINES, METRICS, Folder
from thesis_utils.training import best_device


class Run:
    """A finished training with whatever scores it has; a recorded one is never written to."""

    def __init__(self, folder):
        self.store = Folder(folder)
        self.folder, self.config, self.history = self.store.path, self.store.config, self.store.history
        self.computed = {}  # per-image scores that the folder does not keep, by data set
        self.fresh = set()  # sets whose scores are known to be of the images that there are now

    def __repr__(self):
        return f"Run({self.config.name}, {'recorded' if self.recorded else 'your own'})"

    recorded = property(lambda self: self.store.recorded)
    has_weights = property(lambda self: self.store.has_weights)
    provenance = property(lambda self: self.store.provenance)

    # --- what there is ----------------------------------------------------------------------------------

    def scored(self):
        """Names of the data sets whose per-image scores are in the folder."""
        return self.store.scored()

    def scored_oods(self):
        """Names of the out-distributions whose metrics are in the folder."""
        return [*self.store.metrics]

    def can_score(self, name):
        """Whether `scores(name)` needs no training: the scores are there, or the weights."""
        return self.has_weights or name in self.scored()

    def out_distributions(self):
        """Names of the out-distributions to show: the usual ones, then whatever else has been scored.

        Of the usual ones those that have been scored and, for a run of your own, those that need no download.
        """
        usual = OUT_DISTRIBUTIONS.get(self.config.dataset, ())
        scored = set(self.scored()) - {self.config.dataset, "calibration"}
        mine = set() if self.recorded else {name for name in usual if data.present(name)}
        return [*(name for name in usual if name in scored | mine), *sorted(scored - set(usual))]

    def chosen(self, names):
        """The named out-distributions, or else all that there are."""
        chosen = names or self.out_distributions()
        if not chosen:
            raise InputError(
                f"no out-distribution is scored for {self.config.name}; name one: "
                f"{command(self.config).replace(' train ', ' score ')} --ood NAME"
            )
        return chosen

    # --- per-image scores -------------------------------------------------------------------------------

    @cached_property
    def network(self):
        """The trained network and its `data.Normalisation`."""
        if not self.has_weights:
            raise InputError(
                f"the run {self.config.name} is recorded without its weights and has scores of "
                f"{', '.join(self.scored())} only; choose one of these, or train it: {command(self.config)}"
            )
        device = best_device()
        state = torch.load(self.folder / "checkpoint.pt", map_location=device, weights_only=True)
        build = ARCHITECTURES[self.config.architecture]
        model = build(len(state["model"]["fc.bias"]), self.config.width, self.config.activation, self.config.padding)
        model.load_state_dict(state["model"])
        model = model.to(device, memory_format=torch.channels_last)
        return model.eval(), data.Normalisation(**state["normalisation"])

    @cached_property
    def scorer(self):
        """The trained network with its Gaussians, ready to score images; fits the Gaussians if need be."""
        scorer = evaluation.Scorer(*self.network)
        path = self.folder / "scorer.pt"
        if path.exists():
            return scorer.restore(torch.load(path, map_location="cpu", weights_only=True))
        scorer.fit(*data.hold_out(self.training_images()))
        if not self.recorded:
            replace(path, lambda partial: torch.save(scorer.state(), partial))
        return scorer

    @cached_property
    def detector(self):
        """The network's `Detector`: fitted on its training images, calibrated on those held out; kept in the folder."""
        path = self.folder / "fitted.detector"
        if path.exists():
            return Detector.load(path, *self.network)
        detector = Detector(*self.network).fit(*data.hold_out(self.training_images()))
        if not self.recorded:
            detector.save(path)
        return detector

    def detect(self, folder, alpha=0.05):
        """`Detector.explain` of a folder's images, with a column `path`; unreadable ones are left out."""
        images = data.readable(folder)
        return self.detector.explain(torch.stack([*images.values()]), alpha).assign(path=[*map(str, images)])

    def training_images(self):
        """The images that the network was trained on, calibration images among them; others are refused."""
        images, name = data.load(self.config.dataset, "train"), f"{self.config.dataset} train"
        if images.checksum != self.provenance["data"][name]["sha256"]:
            raise InputError(
                f"{self.config.name} was trained on other images than {self.config.dataset} has now; put those back, "
                "or move the run away to train it anew"
            )
        return images

    def images(self, name):
        """The images behind a name of `scores`: "calibration", or the test images of a data set or folder."""
        if name == "calibration":
            return dataclasses.replace(data.hold_out(self.training_images())[1], name=name)
        return data.load(name, "test")

    def refresh(self, *names):
        """Takes out of your own run what was computed from other images than there are now under the same name."""
        for name in set(names) - self.fresh if not self.recorded else ():
            known = (name in self.scored() and self.store.checksum(name)) or self.noted(name)
            source = (self.config.dataset, "train") if name == "calibration" else (name, "test")
            if known and data.present(*source) and known != self.images(name).checksum:
                print(f"the images of {name} are not those that {self.config.name} was scored on: scoring them anew",
                      file=sys.stderr)  # fmt: skip
                everything = name in ("calibration", self.config.dataset)
                for file, cached in ((METRICS, self.store.metrics), (BASELINES, self.store.baselines)):
                    rows = self.store.rows(file)
                    tuned_on = {ood for ood, table in rows.items() if table.get("tuned_on", table.ood).eq(name).any()}
                    gone = rows if everything else {name, *tuned_on} & {*rows}
                    self.store.put_rows(file, **dict.fromkeys(gone))
                    for ood in gone:
                        cached.pop(ood, None)
                self.store.score_path(name).unlink(missing_ok=True)  # last: it is what tells that the rows are stale
            self.fresh.add(name)

    def noted(self, name):
        """The checksum of a data set's images in the provenance, or None."""
        return self.provenance["data"].get(name, {}).get("sha256")

    def scores(self, name):
        """Per-image scores (N x columns) of "calibration" or of a data set's test images, by name or folder.

        Read from the run's folder; where it has none, computed, and kept there if the run is your own.
        """
        self.refresh(name)
        if name in self.scored():
            return self.store.scores(name)
        if name not in self.computed:
            images, scorer = self.images(name), self.scorer
            tables = scorer.stream(images, labelled=name in (self.config.dataset, "calibration"))
            if not self.recorded and name in {*data.names(), "calibration"}:
                self.store.note_data("scored by", **{name: images})
                self.store.write_scores(name, tables, images.checksum)
                self.fresh.add(name)
                return self.store.scores(name)
            self.computed[name] = pd.concat(tables, ignore_index=True)
        return self.computed[name]

    # --- what they amount to ----------------------------------------------------------------------------

    def accuracy(self):
        """Share (0 to 1) of the in-distribution test images that are classified correctly."""
        return float(self.scores(self.config.dataset)[evaluation.CORRECT].mean())

    def metrics(self, *names):
        """Metrics of every score: one row per (ood, score, reading), for all out-distributions or the named ones.

        Read from the folder's metrics.csv, and computed from the per-image scores for a set that is not in it.
        """
        return pd.concat([self.metrics_of(name) for name in self.chosen(names)], ignore_index=True)

    def metrics_of(self, name):
        self.refresh(self.config.dataset, "calibration", name)
        known = self.store.metrics
        if name not in known:
            id_scores, ood_scores = self.scores(self.config.dataset), self.scores(name)
            known[name] = evaluation.compare(id_scores, ood_scores, self.scores("calibration")).assign(ood=name)
            if not self.recorded and name in self.scored():
                self.store.put_rows(METRICS, **{name: known[name]})
        return known[name]

    def held_out(self, ood):
        """What the protocol `held_out` tunes on where `ood` is tested: the far set, for that one the near."""
        near, far = near_and_far(self.config.dataset)
        return near if ood == far else far

    def compared(self, oods):
        """Those of `oods` whose `baselines` are there or, in a run of your own, can be computed."""

        def possible(ood):
            needed = (self.config.dataset, ood, self.held_out(ood))
            return self.has_weights and not self.recorded and all(data.present(name) for name in needed)

        return [ood for ood in oods if ood in self.store.baselines or possible(ood)]

    def baselines(self, *names):
        """ODIN and the Mahalanobis ensemble, tuned under three protocols (`baselines.compare`), one row a result.

        For all out-distributions or the named ones; read from baselines.csv, what is not there is computed.
        """
        chosen, known = self.chosen(names), self.store.baselines
        self.refresh(self.config.dataset, "calibration", *chosen, *map(self.held_out, chosen))
        if missing := [name for name in chosen if name not in known]:
            others = {name: self.held_out(name) for name in missing}
            oods = {name: self.images(name) for name in {*missing, *others.values()}}
            images = {name: self.images(name) for name in (self.config.dataset, "calibration")}
            counts = compared_images(self.config.profile)
            for name, table in baselines.compare(self.scorer, *images.values(), oods, others, *counts):
                known[name] = table
                if not self.recorded and name in data.names():
                    used = {one: oods[one] for one in (name, others[name])}
                    self.store.note_data("compared by", **images | used)
                    self.store.put_rows(BASELINES, **{name: table})
        return pd.concat([known[name] for name in chosen], ignore_index=True)
