"""Runs in the real thing: the demo profile, killed and resumed; what a folder keeps, and what it never loses."""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import DEPTHS, interrupted
from PIL import Image

from experiments import recording
from thesis_utils import data, evaluation, metrics, runs, training
from thesis_utils.errors import InputError
from thesis_utils.runs import publish
from thesis_utils.runs import run as store
from thesis_utils.runs import train as trains


def columns(layers):
    """How many scores: nine a layer, those of the logits, Mahalanobis at the stem and each layer, its ensemble."""
    return 9 * layers + 5 + (layers + 1) + 1


CONFIG = runs.configure("demo", width=8, epochs=1, seed=5)


@pytest.fixture
def run(own):
    return runs.train_run(CONFIG)


def write_config(home, config, **changes):
    """A folder with a config.json and nothing else."""
    folder = home / config.name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(dataclasses.asdict(config) | changes))
    return folder


def test_a_killed_training_ends_with_the_same_history_and_weights(tmp_path):
    """Killed with SIGKILL within its second epoch, then started again; against one that was left alone."""
    arguments = "-m thesis_utils train --profile demo --epochs 3 --entropy-factor 0.01"
    words = [sys.executable, *arguments.split()]
    name = runs.configure("demo", epochs=3, entropy_factor=0.01).name
    histories, weights = [], []
    for kill in (True, False):
        environment = os.environ | {"THESIS_RUNS": str(tmp_path / str(kill))}
        checkpoint = tmp_path / str(kill) / f".{name}.partial" / "training.pt"
        process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
        if kill:
            while not checkpoint.exists():
                assert process.poll() is None
                time.sleep(0.02)
            time.sleep(0.2)
            process.kill()
            assert process.wait() == -signal.SIGKILL
            process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
        assert process.wait() == 0
        histories.append((tmp_path / str(kill) / name / "history.csv").read_text())
        weights.append(torch.load(tmp_path / str(kill) / name / "checkpoint.pt")["model"])
    assert histories[0] == histories[1]
    assert len(histories[0].splitlines()) == 4
    assert all(torch.equal(one, weights[1][key]) for key, one in weights[0].items())


def test_what_a_training_will_be_is_written_before_its_first_step(own, monkeypatch):

    def look(_, partial, *others):
        assert json.loads((partial / "config.json").read_text()) == dataclasses.asdict(CONFIG)
        provenance = json.loads((partial / "provenance.json").read_text())
        assert provenance["precision"] == "float32" and provenance["data"]["digits_0_4 train"]["images"] == 600
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", look)
    for _ in range(2):  # the second time it goes on in the same folder
        with pytest.raises(KeyboardInterrupt):
            runs.train_run(CONFIG)
    assert [path.name for path in own.iterdir() if path.is_dir()] == [f".{CONFIG.name}.partial"]


@pytest.mark.parametrize("place", ["finished", "unfinished"])
@pytest.mark.parametrize("content", [None, "{}", dict(epochs=7)])
def test_a_folder_of_another_configuration_is_never_resumed_and_never_deleted(own, place, content):
    folder = own / CONFIG.name if place == "finished" else runs.unfinished(CONFIG)
    folder.mkdir(parents=True)
    (folder / "precious").write_text("weights")
    if content:
        other = content if isinstance(content, str) else json.dumps(dataclasses.asdict(CONFIG) | content)
        (folder / "config.json").write_text(other)
    with pytest.raises(InputError, match="does not belong to demo-.*it was left as it is, move it away to train"):
        runs.train_run(CONFIG)
    assert (folder / "precious").read_text() == "weights"


def test_a_recorded_run_of_another_configuration_is_not_overwritten(own, tmp_path, monkeypatch):
    run = runs.Run(write_config(own, CONFIG))
    monkeypatch.setattr(run, "metrics", lambda: pd.DataFrame({"auroc": [0.9]}))
    monkeypatch.setattr(store, "RECORDED", tmp_path)
    (tmp_path / CONFIG.name).mkdir()
    with pytest.raises(InputError, match="belongs to another configuration; it was left as it is"):
        publish.record(run)
    assert (tmp_path / CONFIG.name).exists()


def test_a_kill_at_the_very_end_costs_no_epoch(own, monkeypatch):
    """Between the renaming of the folder and the removal of its checkpoint."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        replace = os.replace

        def rename(source, target):
            replace(source, target)
            if str(target) == str(own / CONFIG.name):
                raise KeyboardInterrupt

        patch.setattr(trains.os, "replace", rename)
        runs.train_run(CONFIG)
    assert (own / CONFIG.name / "training.pt").exists()
    monkeypatch.setattr(training, "train", lambda *_: pytest.fail("trains what is there"))
    run = runs.train_run(CONFIG)
    assert not (run.folder / "training.pt").exists() and len(run.history) == 1


def test_a_second_process_waits_and_finds_the_run(own, capsys):
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(runs.train_run, [CONFIG, CONFIG])
    said = f"waiting for another process that is at {CONFIG.name}"
    assert first is second and capsys.readouterr().err.count(said) == 1


def test_two_processes_neither_lose_nor_double_rows(run):
    """As many as eight at once, each with rows of its own and a set that all of them have."""

    def write(k):
        mine = runs.Run(run.folder)
        for turn in range(5):
            rows = {name: pd.DataFrame({"ood": [name] * 2, "auroc": [k, turn]}) for name in (f"set{k}", "common")}
            mine.put_rows(store.METRICS, **rows)
            mine.note_data("scored by", **{f"set{k}": data.load("noise")})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    counts = {name: len(rows) for name, rows in runs.Run(run.folder).rows(store.METRICS).items()}
    assert counts == {"common": 2, **{f"set{k}": 2 for k in range(8)}}
    assert {f"set{k}" for k in range(8)} < set(run.provenance["data"])
    assert not list(run.folder.glob(".*"))


def test_another_set_under_the_same_name_is_scored_anew_and_said_so(own, tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    monkeypatch.setenv("THESIS_DATA", str(tmp_path))
    areas = []
    for dark in (1, 8):
        images = rng.integers(0, 256 // dark, (20, 32, 32, 3), dtype=np.uint8)
        np.savez(tmp_path / "mine.npz", test_images=images)
        data.loaded.cache_clear()
        store.opened_once.cache_clear()
        run = runs.train_run(CONFIG)
        areas.append(run.metrics("mine").auroc)
        assert run.checksum("mine") == run.provenance["data"]["mine"]["sha256"] == data.load("mine").checksum
        assert len(run.metrics("mine", "noise")) == 2 * len(areas[0])
        said = f"the images of mine are not those that {CONFIG.name} was scored on: scoring them anew"
        assert (said in capsys.readouterr().err) == (dark == 8)
    assert not areas[0].equals(areas[1])
    table = pd.read_csv(run.folder / store.METRICS)
    assert table.ood.value_counts().nunique() == 1 and set(table.ood) == {"mine", "noise"}


@pytest.mark.parametrize("recorded", [True, False])
def test_images_that_come_to_a_folder_count_at_once(run, tmp_path, monkeypatch, recorded):
    monkeypatch.setattr(store, "RECORDED", run.folder.parent if recorded else tmp_path)
    counts = []
    for shades in ((30, 60), (90,), (200,)):
        for shade in shades:
            Image.new("RGB", (32, 32), (shade, 0, 255 - shade)).save(tmp_path / f"{shade}.png")
        counts.append((len(run.scores(str(tmp_path))), *run.metrics(str(tmp_path)).n_ood.unique()))
    assert counts == [(2, 2), (3, 3), (4, 4)]


def test_a_set_may_be_called_by_a_number_or_na(run, tmp_path, monkeypatch):
    monkeypatch.setenv("THESIS_DATA", str(tmp_path))
    for name in ("NA", "2024"):
        np.savez(tmp_path / name, test_images=np.zeros((3, 32, 32, 3), dtype=np.uint8))
        runs.Run(run.folder).metrics(name)
    assert [*runs.Run(run.folder).rows(store.METRICS)] == ["NA", "2024"]
    assert runs.Run(run.folder).metrics("2024", "NA").ood.unique().tolist() == ["2024", "NA"]


@pytest.fixture
def turned(monkeypatch):
    """turned(name, split) turns the images of that split upside down from then on."""
    load, changed = data.load, set()

    def later(name, split="test"):
        images = load(name, split)
        return dataclasses.replace(images, pixels=images.pixels.flip(1)) if (name, split) in changed else images

    monkeypatch.setattr(data, "load", later)
    return lambda *which: changed.add(which)


def test_other_test_images_take_every_metric_with_them(run, turned, capsys):
    run.metrics("noise", "digits_5_9")
    turned("digits_0_4", "test")
    again = runs.Run(run.folder)
    again.refresh("digits_0_4")
    assert "scoring them anew" in capsys.readouterr().err
    assert again.rows(store.METRICS) == {} and not (run.folder / store.METRICS).exists()
    assert "digits_0_4" not in again.scored() and "noise" in again.scored()


def test_a_training_killed_before_its_first_epoch_says_what_it_was_made_of_in_the_end(own, monkeypatch, turned):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "train", Mock(side_effect=KeyboardInterrupt))
        runs.train_run(CONFIG)
    turned("digits_0_4", "train")
    provenance = runs.train_run(CONFIG).provenance
    assert provenance["data"]["digits_0_4 train"]["sha256"] == data.load("digits_0_4", "train").checksum
    assert "resumed" not in provenance


def test_a_training_that_goes_on_with_other_code_says_so(own, monkeypatch):
    config = dataclasses.replace(CONFIG, epochs=2)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupted(patch, after=20)  # in the second epoch of 15 steps
        runs.train_run(config)
    monkeypatch.setattr(store, "CODE", "another one")
    with monkeypatch.context() as patch, pytest.raises(InputError, match="begun in float32"):
        patch.setattr(training, "precision_on", lambda *_: "bfloat16")
        runs.train_run(config)
    assert "resumed" not in json.loads((runs.unfinished(config) / "provenance.json").read_text())
    provenance = runs.train_run(config).provenance
    assert [entry["code"] for entry in provenance["resumed"]] == ["another one"] != [provenance["code"]]


def test_a_network_is_neither_fitted_nor_fine_tuned_on_images_it_was_not_trained_on(run, turned):
    turned("digits_0_4", "train")
    for ask in (lambda: run.metrics("noise"), lambda: runs.train_run(runs.fine_tunings(run.config)["energy"])):
        with pytest.raises(InputError, match="was trained on other images than digits_0_4 has now; put those back"):
            ask()


def test_a_folder_that_was_made_anew_is_opened_anew(own, run):
    run.folder.rename(own / "elsewhere")
    assert runs.train_run(CONFIG) is not run and runs.find(CONFIG) is runs.find(CONFIG)


def test_baselines_do_not_outlive_the_images_they_were_made_on(run, turned, capsys):
    """Those of the set itself, and those that were tuned on it, but not the others."""
    others = {"noise": "digits_5_9", "digits_5_9": "noise", "photo_patches": "noise"}
    rows = {name: pd.DataFrame({"ood": [name], "tuned_on": [other]}) for name, other in others.items()}
    run.put_rows(store.BASELINES, **rows)
    run.note_data("compared by", **{name: data.load(name) for name in rows})
    turned("digits_5_9", "test")
    again = runs.Run(run.folder)
    again.refresh(*rows)
    assert list(again.rows(store.BASELINES)) == list(runs.Run(run.folder).rows(store.BASELINES)) == ["photo_patches"]
    assert capsys.readouterr().err.count("scoring them anew") == 1


def test_stale_rows_go_before_the_scores_that_tell_that_they_are_stale(run, monkeypatch, turned):
    before = run.metrics("digits_5_9").auroc
    turned("digits_5_9", "test")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(runs.Run, "put_rows", Mock(side_effect=KeyboardInterrupt))
        runs.Run(run.folder).metrics("digits_5_9")
    again = runs.Run(run.folder)
    assert not again.metrics("digits_5_9").auroc.equals(before)
    assert again.checksum("digits_5_9") == data.load("digits_5_9").checksum


def test_without_git_the_code_version_is_unknown(monkeypatch):
    assert store.code_version().split()[1] not in ("", "unknown")
    monkeypatch.setenv("PATH", "")
    assert store.code_version().endswith(" unknown")


@pytest.mark.parametrize("of, drawn", [
    (dict(activation="relu"), True), (dict(profile="compact"), False), (dict(entropy_factor=0.1), False),
    (dict(profile="compact", fine_tuning="energy"), False),
])  # fmt: skip
def test_what_is_recorded_image_by_image(of, drawn):
    table = pd.DataFrame(columns=[*publish.DRAWN, "layer4.3/avg_of_asp", "fc/energy", store.CORRECT])
    config = runs.configure(**of)
    assert publish.columns(table, config, "svhn") == [*publish.DRAWN] * drawn
    assert publish.columns(table, config, "cifar10") == [store.CORRECT, *[*publish.DRAWN] * drawn]
    assert {"fc/msp", "fc/misp"} < {*publish.DRAWN}


def test_the_seeds_of_a_network_are_found(own, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "RECORDED", tmp_path)
    config = runs.configure("compact", seed=5)
    for home, other in ((own, dict(seed=30)), (tmp_path, dict(seed=1)), (own, dict(seed=2, epochs=1))):
        write_config(home, dataclasses.replace(config, **other))
    found = runs.seeds(config)
    assert [run.config.seed for run in found] == [1, 30]
    assert all(dataclasses.replace(run.config, seed=5) == config for run in found)


def test_kernels_in_half_precision_leave_the_ranks_of_every_score(own):
    own.mkdir()
    config = runs.configure("demo", epochs=2)
    cpu = torch.device("cpu")
    trained, normalise, *rest = training.train(config, trains.begin(config, cpu), cpu)
    fit, images = data.hold_out(data.load("digits_0_4", "train")), data.load("digits_0_4", "test")

    def scores():
        scorer = evaluation.Scorer(trained, normalise)
        scorer.fit(*fit)
        return pd.concat(scorer.stream(images))

    exact = scores()
    trains.finish(trains.unfinished(config), trained, normalise, *rest)
    kept = torch.load(trains.unfinished(config) / "checkpoint.pt")["model"]
    assert all(value.dtype == torch.float16 for key, value in kept.items() if "conv" in key)
    trained.load_state_dict(kept)
    assert scores().corrwith(exact, method="spearman").min() > 0.999


def test_recorded_scores_keep_sixteen_bits():
    column = pd.Series(torch.randn(1000).numpy() * 30)
    rounded = publish.shorten(column)
    assert ((rounded - column).abs() <= column.abs() * 2.0**-16).all()
    assert (rounded.to_numpy().view(np.uint32) % 256 == 0).all()  # of a float32's 24 bits the last eight


def test_the_shell_trains_scores_and_says_what_is_wrong(tmp_path, shell):
    common = ["--profile", "demo", "--seed", "3", "--epochs", "1"]
    python = [sys.executable, "-m", "thesis_utils"]
    here = dict(THESIS_RUNS=str(tmp_path))
    early = shell([*python, "score", *common], check=False, **here)
    assert early.returncode == 1
    assert early.stderr.strip().endswith("train it: python -m thesis_utils train --profile demo --seed 3 --epochs 1")
    shell([*python, "train", *common], **here)
    done = shell([*python, "score", *common], **here)
    assert "photo_patches: AUROC" in done.stdout and "accuracy" in done.stdout
    (folder,) = tmp_path.glob("demo-*")
    assert {p.name for p in folder.iterdir()} == {
        "config.json", "provenance.json", "history.csv", "metrics.csv.gz", "checkpoint.pt", "scorer.pt", "scores",
    }  # fmt: skip
    table = pd.read_csv(folder / "metrics.csv.gz")
    assert len(table) == 3 * 3 * columns(DEPTHS["resnet34"]) and table.notna().all(axis=None)
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["data"]["noise"]["images"] == 2000 and len(provenance["data"]["noise"]["sha256"]) == 64
    weights = hashlib.sha256((folder / "checkpoint.pt").read_bytes()).hexdigest()
    assert runs.Run(folder).identity == weights[:12]
    tuned = shell([*python, "train", *common, "--fine-tuning", "energy"], **here)
    assert "demo-digits_0_4-log_softmax-el0-energy-seed3-" in tuned.stdout
    (other,) = tmp_path.glob("demo-*-energy-*")
    provenance = json.loads((other / "provenance.json").read_text())
    assert provenance["base"] == folder.name and provenance["data"]["photo_patches train"]["images"] == 600
    before, after = (torch.load(path / "checkpoint.pt")["model"]["fc.weight"] for path in (folder, other))
    assert 0 < (after - before).abs().max() < 0.1  # it went on from the trained network, at a small learning rate
    wrong = shell([*python, "score", *common, "--ood", "svnh"], check=False, **here)
    *_, last = wrong.stderr.strip().splitlines()
    assert wrong.returncode == 1 and last.startswith("error: unknown data set 'svnh'; there are")
    own = shell([*python, "score", *common, "--ood", str(tmp_path)], check=False, **here)
    assert "needs at least one readable image" in own.stderr
    bad = shell([*python, "train", "--profile", "demo", "--entropy-factor", "-1"], check=False, **here)
    assert bad.stderr.strip() == "error: entropy_factor must be a number, at least 0, not -1.0"


def test_every_recorded_run_is_whole_and_small_and_says_where_it_has_no_weights():
    without = "recorded without its weights and has scores of .* or train it: python -m"
    folders = sorted(path.parent for path in store.RECORDED.glob("*/config.json"))
    for folder in folders:
        run = runs.Run(folder)
        assert folder.name == run.config.name
        lost = run.provenance.get("history") == "not kept"
        epochs = 0 if lost else run.config.tuning_epochs or run.config.epochs
        assert len(run.history) == epochs and run.provenance["precision"] in ("float32", "bfloat16")
        assert len(run.scores(run.config.dataset)) == 10_000 and 0 < run.accuracy() < 1
        if not run.has_weights:
            with pytest.raises(InputError, match=without):
                run.scores("noise")
        covariances = pd.read_csv(folder / "covariance.csv")
        for name in run.out_distributions():
            assert run.provenance["data"][name]["images"] == run.metrics(name).n_ood.iloc[0]
            assert len(run.metrics(name)) == 3 * columns(DEPTHS[run.config.architecture])
            # the recorded covariances and per-image scores give the recorded metrics
            row = run.metrics(name).set_index(["score", "reading"]).loc[("fc/msp", "fixed_direction")]
            own = covariances[covariances.ood.eq(name)].set_index("score")["fc/msp"]["fc/msp"]
            assert 2 * 1.95996 * own**0.5 == pytest.approx(row.auroc_high - row.auroc_low, rel=0.02)
            if name in run.scored():
                known, unknown = (run.scores(one)["fc/msp"] for one in (run.config.dataset, name))
                assert metrics.auroc(known, unknown) == pytest.approx(row.auroc, abs=1e-4)
    sizes = {True: 0, False: 0}  # of the weights that wait for their baselines, and of all else
    for path in store.RECORDED.rglob("*"):
        sizes[path.parent.name == "weights_to_come"] += path.stat().st_size if path.is_file() else 0
    assert sizes[False] < 50e6 and sizes[True] < 44e6


# --- what is missing or damaged is said in a line, and stops nothing ----------------------------------


@pytest.mark.parametrize("content", ["{", "{}", None])
def test_a_folder_that_cannot_be_read_is_skipped_and_named(own, tmp_path, monkeypatch, capsys, content):
    monkeypatch.setattr(store, "RECORDED", tmp_path / "recorded")
    good = write_config(own, dataclasses.replace(CONFIG, seed=6))
    bad = write_config(own, CONFIG, later_field=1)
    if content:
        (bad / "config.json").write_text(content)
    for _ in range(2):
        assert [run.folder for run in runs.every()] == [good]
        assert runs.seeds(CONFIG) == runs.every()
    assert runs.find(CONFIG) is None
    said = [line for line in capsys.readouterr().err.splitlines() if str(bad) in line]
    assert [line.split(":")[0] for line in said] == ["skipped", "skipped"]  # by the two ways of looking, once each


def test_a_run_without_a_scored_out_distribution_has_empty_tables(own, monkeypatch, capsys):
    monkeypatch.setattr(data, "present", lambda *_: False)
    run = runs.opened(write_config(own, runs.configure("compact", seed=5)))
    (run.folder / "provenance.json").write_text('{"data": {}}')
    assert run.out_distributions() == []
    assert run.metrics().query("score == 'fc/msp'").empty and run.baselines().query("protocol == 'none'").empty
    assert capsys.readouterr().err.count(f"no out-distribution is scored for {run.folder}; name one: python -m") == 1
    with pytest.raises(InputError, match="has no scores to record; score it first"):
        publish.record(run)


def test_runs_that_cannot_be_written_are_one_sentence(tmp_path, shell):
    (tmp_path / "file").touch()
    words = [sys.executable, "-m", "thesis_utils", "train", "--profile", "demo"]
    done = shell(words, check=False, THESIS_RUNS=str(tmp_path / "file" / "runs"))
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"error: {tmp_path / 'file' / 'runs'} cannot be written to; name a folder that can in the environment variable "
        "THESIS_RUNS"
    )


@pytest.mark.parametrize("again", range(1, 6))
@pytest.mark.parametrize("kill_at", range(1, 5))
def test_a_recorded_run_survives_two_kills_while_it_is_replaced(tmp_path, monkeypatch, kill_at, again):
    """At each of the renamings and removals; the next recording goes on from whatever was left."""
    target, calls, rename, remove = tmp_path / "run", [], os.replace, shutil.rmtree

    def new(text):
        folder = tmp_path / f"new {text}"
        folder.mkdir()
        (folder / "config.json").write_text(text)
        return folder

    def killed(function, place, *paths, **how):
        calls.append(paths)
        if len(calls) == place:
            raise KeyboardInterrupt
        return function(*paths, **how)

    publish.put(new("first"), target)
    for text, place in (("second", kill_at), ("third", again)):
        calls.clear()
        kills = pytest.raises(KeyboardInterrupt) if text == "second" else contextlib.suppress(KeyboardInterrupt)
        with monkeypatch.context() as patch, kills:
            patch.setattr(publish.os, "replace", lambda *paths, place=place: killed(rename, place, *paths))
            patch.setattr(
                publish.shutil, "rmtree", lambda *paths, place=place, **how: killed(remove, place, *paths, **how)
            )
            publish.put(new(text), target)
        left = [path.read_text() for path in tmp_path.glob("*run*/config.json")]
        assert "first" in left or "second" in left or (text, *left) == ("third", "third")
    publish.put(new("fourth"), target)
    assert [path.read_text() for path in tmp_path.glob("*run*/config.json")] == ["fourth"]


def test_one_missing_held_out_set_costs_the_rows_that_need_it(run, monkeypatch, capsys):
    monkeypatch.setitem(store.COMPARED, "demo", (20, 20))
    load, present = data.load, data.present
    with monkeypatch.context() as patch:

        def missing(name, split="test"):
            if name == "noise":
                raise InputError("noise could not be downloaded")
            return load(name, split)

        patch.setattr(data, "load", missing)
        patch.setattr(data, "present", lambda name, split="test": name != "noise" and present(name, split))
        table = run.baselines("digits_5_9")
        assert set(table.protocol) == {"oracle", "none", "grid"}
        assert "against digits_5_9, without the protocol held_out: noise could not be" in capsys.readouterr().err
        assert run.baselines("digits_5_9").equals(table)
    assert set(run.baselines("digits_5_9").protocol) == {"oracle", "held_out", "none", "grid"}  # now it can be had


def test_what_was_measured_on_former_weights_is_measured_again(own, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "RECORDED", tmp_path)
    folder, measured = write_config(own, CONFIG), []

    def add(**provenance):
        (folder / "provenance.json").write_text(json.dumps(provenance))
        if not recording.recorded("table", {"run": CONFIG.name}):
            measured.append(1)
            recording.record("table", ["run", "layer"], [{"run": CONFIG.name, "layer": "fc", "value": len(measured)}])
        return pd.read_csv(tmp_path / "table.csv", dtype=str)

    assert list(add()) == ["run", "layer", "value"] and len(add()) == 1 and len(measured) == 1  # before it was noted
    for weights in ("12e4", "0123", "0123"):
        table = add(weights=weights)
        assert table.weights.tolist() == [weights] and table.value.tolist() == [str(len(measured))]
    assert len(measured) == 3


# --- what is quick to read stays quick ----------------------------------------------------------------


@pytest.mark.parametrize("what", [
    "from thesis_utils import runs; assert len(runs.find(runs.configure('half')).metrics()) > 1000; "
    "assert runs.find(runs.configure('half')).accuracy() > 0.5 and runs.seeds(runs.configure('half'))",
    "import sys; sys.argv = ['thesis_utils', 'sweep', '--list']; from runpy import run_module; "
    "run_module('thesis_utils', run_name='__main__')",
])  # fmt: skip
def test_reading_what_is_recorded_loads_no_torch(shell, what):
    heavy = "{'torch', 'torchvision', 'sklearn', 'scipy.stats', 'distributed', 'matplotlib'}"
    shell(
        [sys.executable, "-c", f"{what}; import sys; assert not {heavy} & {{*sys.modules}}, {heavy} & {{*sys.modules}}"]
    )
