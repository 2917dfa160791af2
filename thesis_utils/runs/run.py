"""A run's folder, in `runs/` (your own) or `results/` (recorded): what it holds, and what can be computed from it.

    run = find(configure("compact"))
    run.metrics()                           # every score x data set x reading
    run.scores("svhn")                      # per-image scores

    config.json       the configuration         provenance.json      where every number came from
    history.csv       one line per epoch        metrics.csv.gz       every score x data set x reading
    checkpoint.pt     weights, normalisation    scores/NAME.parquet  per-image scores
    scorer.pt         Gaussians, ensemble       baselines.csv.gz     ODIN and ensemble under three protocols

Every file is written to a temporary name and renamed. What is read, changed and written back is changed under a lock,
so that two processes on one run lose nothing. Reading what is there needs no torch: what computes imports it.
"""

import dataclasses
import json
import os
import subprocess
import sys
from contextlib import contextmanager, suppress
from functools import cache, cached_property
from itertools import chain
from pathlib import Path

import filelock
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import thesis_utils as method  # `method.data` is loaded, and torch with it, when first asked for
from thesis_utils.errors import InputError
from thesis_utils.files import replace
from thesis_utils.runs.config import ADDED, FIELDS, OUT_DISTRIBUTIONS, Config, command, near_and_far

ROOT = Path(__file__).resolve().parent.parent.parent
OWN = ROOT / (os.environ.get("THESIS_RUNS") or "runs")  # a relative path counts from the repository
RECORDED = ROOT / "results"
CORRECT = "fc/correct"  # evaluation.CORRECT, which needs torch
CHECKSUM = b"images_sha256"  # its key in a Parquet file
METRICS, BASELINES = "metrics.csv.gz", "baselines.csv.gz"
DIGITS = {METRICS: "%.6f", BASELINES: "%.6g"}
EMPTY = ["ood", "score", "reading", "method", "protocol", "preprocessing", "auroc", "auroc_low", "auroc_high", "fpr95"]
COMPARED = {"demo": (60, 100)}  # images to tune and to test baselines on; all other profiles: 500 and 1,000 of each set


def code_version():
    """The package's version and, in a git checkout, the commit, with a + where files differ from it."""
    words = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        described = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    except OSError:  # no git on this machine
        return f"{method.__version__} unknown"
    return f"{method.__version__} {described.stdout.strip() or 'unknown'}"


CODE = code_version()  # now: a commit while a sweep runs does not change the code that it has loaded


@cache
def warn(sentence):
    """Says a sentence once."""
    print(sentence, file=sys.stderr)


def need_to_write(home):
    """Raises an InputError where the folder of runs cannot be written to; makes it where it is not there."""
    with suppress(OSError):
        home.mkdir(parents=True, exist_ok=True)
    if not (os.path.isdir(home) and os.access(home, os.W_OK)):
        raise InputError(f"{home} cannot be written to; name a folder that can in the environment variable THESIS_RUNS")


@contextmanager
def locked(folder):
    """One process at a time: the others wait, and say so."""
    need_to_write(folder.parent)
    lock = filelock.FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        held = lock.acquire(timeout=0)
    except filelock.Timeout:
        print(f"waiting for another process that is at {folder.name}", file=sys.stderr)
        held = lock.acquire()
    with held:
        yield


def write_json(path, values):
    replace(path, lambda partial: partial.write_text(json.dumps(values, indent=1)))


def write_parquet(tables, path, checksum, compression="zstd", level=None):
    """Streams DataFrames of per-image scores into one file, with the checksum of their images."""
    tables = (pa.Table.from_pandas(table, preserve_index=False) for table in tables)
    first = next(tables)
    schema = first.schema.with_metadata({**first.schema.metadata, CHECKSUM: checksum or ""})
    # floats of one column share their high bytes: split into streams of bytes they pack tightly
    how = dict(compression=compression, compression_level=level, use_dictionary=False, use_byte_stream_split=True)
    with pq.ParquetWriter(path, schema, **how) as writer:
        for table in chain([first], tables):
            writer.write_table(table)


# --- which runs there are ----------------------------------------------------------------------------


def read_config(folder):
    """The configuration of a folder; an InputError where it is not one of this version's."""
    with suppress(OSError, ValueError, TypeError):
        values = json.loads((folder / "config.json").read_text())
        if {*FIELDS} - {*ADDED} <= {*values} <= {*FIELDS}:
            return Config(**ADDED | values)
    raise InputError(
        f"{folder} has no config.json that this version of the code can read; it was left as it is: move it away, or "
        "use the version that wrote it"
    )


def is_of(folder, config):
    """Whether a folder's config.json is this configuration, neither another one nor another version's."""
    with suppress(InputError):
        return read_config(folder) == config
    return False


def opened(folder):
    """One `Run` a folder, so that what it computes is computed once; another one where the folder was made anew."""
    stat = (folder / "config.json").stat()
    return opened_once(folder, stat.st_ino, stat.st_mtime_ns)


@cache
def opened_once(folder, *_):
    return Run(folder)


def every():
    """All runs, your own before the recorded ones of the same configuration; what cannot be read is skipped aloud."""
    found = {}
    for home in (OWN, RECORDED):
        for path in sorted(home.glob("[!.]*/config.json")):
            try:
                run = opened(path.parent)
            except InputError as error:
                warn(f"skipped: {error}")
            else:
                found.setdefault(run.config, run)
    return list(found.values())


def by_name(name):
    """The run whose folder has this name, your own or the recorded one."""
    for home in (OWN, RECORDED):
        if (home / name / "config.json").exists():
            return opened(home / name)
    raise InputError(f"there is no run {name}")


def find(config):
    """The user's own run of a configuration, else the recorded one, else None."""
    for home in (OWN, RECORDED):
        folder = home / config.name
        if is_of(folder, config):
            return opened(folder)
        if folder.exists():
            warn(f"skipped: {folder} is not of {config.name}: its config.json is missing or says otherwise")
    return None


def seeds(config):
    """The runs of a configuration with whatever seed, in the order of their seeds."""
    found = [run for run in every() if dataclasses.replace(run.config, seed=config.seed) == config]
    return sorted(found, key=lambda run: run.config.seed)


class Run:
    """A finished training with whatever scores it has; a recorded one is never written to."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.config = read_config(self.folder)
        self.tables = {}  # rows of METRICS and BASELINES by out-distribution, as read or computed
        self.computed = {}  # per-image scores that the folder does not keep, by data set
        self.used = {}  # checksums of the images that this session has looked at, by data set
        self.fresh = set()  # sets whose scores are known to be of the images that there are now

    def __repr__(self):
        return f"Run({self.config.name}, {'recorded' if self.recorded else 'your own'})"

    # --- what the folder holds ---------------------------------------------------------------------------

    recorded = property(lambda self: self.folder.parent == RECORDED)
    has_weights = property(lambda self: (self.folder / "checkpoint.pt").exists())
    provenance = property(lambda self: json.loads((self.folder / "provenance.json").read_text()))

    @cached_property
    def history(self):
        return pd.read_csv(self.folder / "history.csv")

    @property
    def identity(self):
        """A short text that changes when the run is trained anew; empty for a run from before it was noted."""
        return self.provenance.get("weights", "")

    def score_path(self, name):
        return self.folder / "scores" / f"{name}.parquet"

    def scored(self):
        """Names of the data sets whose per-image scores are in the folder."""
        return sorted(path.stem for path in (self.folder / "scores").glob("*.parquet"))

    def can_score(self, name):
        """Whether `scores(name)` needs no training: the scores are there, or the weights."""
        return self.has_weights or name in self.scored()

    def out_distributions(self):
        """Names of the out-distributions to show: the usual ones, then whatever else has been scored.

        Of the usual ones those that have been scored and, for a run of your own, those that need no download.
        """
        usual = OUT_DISTRIBUTIONS.get(self.config.dataset, ())
        scored = {*self.scored(), *self.rows(METRICS)} - {self.config.dataset, "calibration"}
        there = [name for name in usual if name in scored or (not self.recorded and method.data.present(name))]
        return [*there, *sorted(scored - set(usual))]

    def checksum(self, name):
        """Of the images behind the scores of a set: as kept with them, else as noted in the provenance, else None."""
        kept = pq.read_schema(self.score_path(name)).metadata if name in self.scored() else None
        return (kept or {}).get(CHECKSUM, b"").decode() or self.provenance["data"].get(name, {}).get("sha256")

    def note_data(self, how, **sets):
        """Adds data sets' sizes and checksums, and the code that used them, to the provenance."""
        with locked(self.folder):
            provenance = self.provenance
            for name, images in sets.items():
                entry = {"images": len(images), "sha256": images.checksum, how: CODE}
                provenance["data"][name] = provenance["data"].get(name, {}) | entry
            write_json(self.folder / "provenance.json", provenance)

    def read(self, file):
        path = self.folder / file
        if not path.exists():
            return {}
        names = dict.fromkeys(("ood", "tuned_on"), str)  # NA and 2024 are names too
        table = pd.read_csv(path, dtype=names, keep_default_na=False, na_values="")
        return dict(list(table.groupby("ood", sort=False)))

    def rows(self, file):
        """{out-distribution: its rows of METRICS or BASELINES}, read once, with those computed since."""
        if file not in self.tables:
            self.tables[file] = self.read(file)
        return self.tables[file]

    def put_rows(self, file, **tables):
        """Puts the rows of some sets in place of theirs in `file`; None takes them out."""
        with locked(self.folder):
            rows = {name: table for name, table in (self.read(file) | tables).items() if table is not None}
            if rows:
                table = pd.concat(rows.values(), ignore_index=True)
                packed = {"method": "gzip", "mtime": 1}  # no time of writing: equal tables are equal files
                how = {"index": False, "float_format": DIGITS[file], "compression": packed}
                replace(self.folder / file, lambda partial: table.to_csv(partial, **how))
            else:
                (self.folder / file).unlink(missing_ok=True)

    def joined(self, file, names):
        """The rows of some out-distributions as one table; without any, an empty one, and said so."""
        if not names:
            again = command(self.config, "score --ood NAME")
            warn(f"no out-distribution is scored for {self.folder}; name one: {again}")
            return pd.DataFrame(columns=EMPTY)
        return pd.concat([self.rows(file)[name] for name in names], ignore_index=True)

    def keep(self, path, write):
        """Writes a file of your own run, never one of a recorded run."""
        if not self.recorded:
            need_to_write(self.folder)
            replace(path, write)

    # --- the network -------------------------------------------------------------------------------------

    @cached_property
    def network(self):
        """The trained network and its `data.Normalisation`."""
        if not self.has_weights:
            raise InputError(
                f"the run {self.config.name} is recorded without its weights and has scores of "
                f"{', '.join(self.scored())} only; choose one of these, or train it: {command(self.config)}"
            )
        import torch

        device = method.training.best_device()
        state = torch.load(self.folder / "checkpoint.pt", map_location=device, weights_only=True)
        build = method.architectures.ARCHITECTURES[self.config.architecture]
        model = build(len(state["model"]["fc.bias"]), self.config.width, self.config.activation, self.config.padding)
        model.load_state_dict(state["model"])
        model = model.to(device, memory_format=torch.channels_last)
        return model.eval(), method.data.Normalisation(**state["normalisation"])

    @cached_property
    def scorer(self):
        """The trained network with its Gaussians, ready to score images; fits the Gaussians if need be."""
        import torch

        scorer, path = method.evaluation.Scorer(*self.network), self.folder / "scorer.pt"
        if path.exists():
            return scorer.restore(torch.load(path, map_location="cpu", weights_only=True))
        scorer.fit(*method.data.hold_out(self.training_images()))
        self.keep(path, lambda partial: torch.save(scorer.state(), partial))
        return scorer

    @cached_property
    def detector(self):
        """The network's `Detector`: fitted on its training images, calibrated on those held out; kept in the folder."""
        path = self.folder / "fitted.detector"
        if path.exists():
            with suppress(InputError if not self.recorded else ()):  # of your own, an older version's is fitted anew
                return method.Detector.load(path, *self.network)
        detector = method.Detector(*self.network).fit(*method.data.hold_out(self.training_images()))
        self.keep(path, detector.save)
        return detector

    def detect(self, folder, alpha=0.05):
        """`Detector.explain` of a folder's images, with a column `path`; unreadable ones are left out."""
        import torch

        images = method.data.readable(folder)
        return self.detector.explain(torch.stack([*images.values()]), alpha).assign(
            path=[method.data.shown(path) for path in images]
        )

    # --- images, and their scores ------------------------------------------------------------------------

    def training_images(self):
        """The images that the network was trained on, calibration images among them; others are refused."""
        images, name = method.data.load(self.config.dataset, "train"), f"{self.config.dataset} train"
        if images.checksum != self.provenance["data"][name]["sha256"]:
            raise InputError(
                f"{self.config.name} was trained on other images than {self.config.dataset} has now; put those back, "
                "or move the run away to train it anew"
            )
        return images

    def images(self, name):
        """The images behind a name of `scores`: "calibration", or the test images of a data set or folder."""
        if name == "calibration":
            return dataclasses.replace(method.data.hold_out(self.training_images())[1], name=name)
        images = method.data.load(name, "test")
        if self.used.setdefault(name, images.checksum) != images.checksum:  # a folder changes while a notebook is open
            self.used[name] = images.checksum
            self.fresh.discard(name)
            for known in (self.computed, *self.tables.values()):
                known.pop(name, None)
        return images

    def refresh(self, *names):
        """Takes out of your own run what was computed from other images than there are now under the same name.

        Of a recorded one, what this session has computed.
        """
        for name in set(names) & set(self.used):
            self.images(name)
        for name in set(names) - self.fresh if not self.recorded else ():
            known = self.checksum(name)
            source = (self.config.dataset, "train") if name == "calibration" else (name, "test")
            if known and method.data.present(*source) and known != self.images(name).checksum:
                print(f"the images of {name} are not those that {self.config.name} was scored on: scoring them anew",
                      file=sys.stderr)  # fmt: skip
                for file in (METRICS, BASELINES):
                    gone = []
                    for ood, table in self.read(file).items():
                        if name in ("calibration", self.config.dataset, ood) or name in set(table.get("tuned_on", ())):
                            gone.append(ood)
                            self.rows(file).pop(ood, None)
                    self.put_rows(file, **dict.fromkeys(gone))
                self.score_path(name).unlink(missing_ok=True)  # last: it is what tells that the rows are stale
            self.fresh.add(name)

    def scores(self, name):
        """Per-image scores (N x columns) of "calibration" or of a data set's test images, by name or folder.

        Read from the run's folder; where it has none, computed, and kept there if the run is your own.
        """
        self.refresh(name)
        if name not in self.scored() and name not in self.computed:
            images, path = self.images(name), self.score_path(name)
            tables = self.scorer.stream(images, labelled=name in (self.config.dataset, "calibration"))
            if self.recorded or name not in {*method.data.names(), "calibration"}:
                self.computed[name] = pd.concat(tables, ignore_index=True)
            else:
                self.note_data("scored by", **{name: images})
                path.parent.mkdir(exist_ok=True)
                replace(path, lambda partial: write_parquet(tables, partial, images.checksum))
                self.fresh.add(name)
        return self.computed[name] if name in self.computed else pd.read_parquet(self.score_path(name))

    # --- what they amount to -----------------------------------------------------------------------------

    def accuracy(self):
        """Share (0 to 1) of the in-distribution test images that are classified correctly."""
        return float(self.scores(self.config.dataset)[CORRECT].mean())

    def metrics(self, *names):
        """Metrics of every score: one row per (ood, score, reading), for all out-distributions or the named ones.

        Read from the folder, and computed from the per-image scores for a set that is not in it.
        """
        chosen, known = names or self.out_distributions(), self.rows(METRICS)
        self.refresh(self.config.dataset, "calibration", *chosen)
        for name in chosen:
            if name not in known:
                tables = [self.scores(one) for one in (self.config.dataset, name, "calibration")]
                known[name] = method.evaluation.compare(*tables).assign(ood=name)
                if not self.recorded and name in self.scored():
                    self.put_rows(METRICS, **{name: known[name]})
        return self.joined(METRICS, chosen)

    def baselines(self, *names):
        """ODIN and the Mahalanobis ensemble, tuned under three protocols (`baselines.compare`), one row a result.

        For all out-distributions or the named ones; read from the folder, what is not there is computed. Without
        the images that the protocol `held_out` tunes on there are no rows of it, until these images can be had.
        """
        chosen, known = names or self.out_distributions(), self.rows(BASELINES)
        near, far = near_and_far(self.config.dataset)
        others = {name: near if name == far else far for name in chosen}  # what the protocol `held_out` tunes on
        self.refresh(self.config.dataset, "calibration", *chosen, *others.values())
        for name in chosen if not self.recorded else ():
            lacks = name in known and "held_out" not in set(known[name].protocol)
            if lacks and method.data.present(others[name]):
                del known[name]
        if missing := [name for name in chosen if name not in known]:
            known_images = {name: self.images(name) for name in (self.config.dataset, "calibration")}
            oods = {name: self.images(name) for name in missing}
            for name in missing:
                try:
                    oods[others[name]] = self.images(others[name])
                except InputError as error:
                    warn(f"{self.config.name} against {name}, without the protocol held_out: {error}")
                    others[name] = None
            tuned = {name: others[name] for name in missing}
            counts = COMPARED.get(self.config.profile, (500, 1000))
            for name, table in method.baselines.compare(self.scorer, *known_images.values(), oods, tuned, *counts):
                known[name] = table
                if not self.recorded and name in method.data.names():
                    used = {one: oods[one] for one in (name, others[name]) if one}
                    self.note_data("compared by", **known_images, **used)
                    self.put_rows(BASELINES, **{name: table})
        return self.joined(BASELINES, chosen)
