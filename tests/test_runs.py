"""Training and runs in the real thing: the demo profile, from the shell, killed and resumed."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch

from thesis_utils import data, evaluation, runs, training
from thesis_utils.errors import Diverged, InputError
from thesis_utils.models import LAYERS, resnet34

TINY = dict(width=8, epochs=3, seed=5)


def test_an_interrupted_training_ends_with_the_same_history(tmp_path):
    """Killed with SIGKILL within its second epoch, then started again; against one that was left alone."""
    words = [
        sys.executable,
        "-m",
        "thesis_utils",
        "train",
        "--profile",
        "demo",
        "--epochs",
        "3",
        "--entropy-factor",
        "0.01",
    ]
    name = runs.configure("demo", epochs=3, entropy_factor=0.01).name
    histories, killed = [], 0
    for kill in (True, False):
        environment = os.environ | {"THESIS_RUNS": str(tmp_path / str(kill))}
        checkpoint = tmp_path / str(kill) / f".{name}.partial" / "training.pt"
        process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
        while kill and process.poll() is None:
            if checkpoint.exists():
                time.sleep(0.2)
                process.send_signal(signal.SIGKILL)
                assert process.wait() == -signal.SIGKILL
                killed += 1
                process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
                break
            time.sleep(0.02)
        assert process.wait() == 0
        histories.append((tmp_path / str(kill) / name / "history.csv").read_text())
    assert killed == 1
    assert histories[0] == histories[1]
    assert len(histories[0].splitlines()) == 4


@pytest.mark.parametrize(
    "instructions, precision",
    [({"avx2"}, "float32"), ({"avx2", "avx512_bf16"}, "bfloat16"), ({"neon", "bf16"}, "bfloat16")],
)
def test_bfloat16_only_where_the_processor_computes_in_it(monkeypatch, instructions, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(instructions, True) | {"avx512_f": False})
    assert training.precision_on("cpu", "bfloat16") == precision
    assert training.precision_on("cpu", "float32") == "float32"
    assert training.precision_on("cuda", "bfloat16") == "bfloat16"


def test_nan_stops_the_training_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    config = runs.configure("demo", **TINY)
    calls = []

    def poisoned(pixels, generator, flip):
        calls.append(None)
        return real(pixels, generator, flip)

    real, normalise = data.augment, data.Normalisation.__call__
    monkeypatch.setattr(data, "augment", poisoned)
    bad = lambda self, pixels: normalise(self, pixels) * (torch.nan if len(calls) == 18 else 1)  # noqa: E731
    monkeypatch.setattr(data.Normalisation, "__call__", bad)
    with pytest.raises(
        Diverged, match="not finite at step 3 of epoch 2; the checkpoint of epoch 1 is kept in .*training.pt"
    ):
        training.train(config, tmp_path)
    state = torch.load(tmp_path / "training.pt", weights_only=True)
    assert len(state["history"]) == 1 and all(
        v.isfinite().all() for v in state["model"].values() if v.is_floating_point()
    )


def test_seeds_make_the_training(tmp_path):
    first, second, other = (
        training.train(runs.configure("demo", **{**TINY, "epochs": 1, "seed": seed}), tmp_path / str(k))[2]
        for k, seed in enumerate((5, 5, 6))
    )
    assert first.equals(second) and not first.equals(other)


def test_progressive_images_grow_in_thirds():
    images = torch.randn(2, 3, 32, 32)
    sizes = [training.resized(images, step / 9).shape[-1] for step in range(9)]
    assert sizes == [16] * 3 + [24] * 3 + [32] * 3
    torch.testing.assert_close(training.resized(torch.ones(1, 3, 32, 32), 0.0), torch.ones(1, 3, 16, 16))


def test_one_class_cannot_be_trained_on(tmp_path):
    with pytest.raises(InputError, match="noise has images of one class only"):
        training.train(runs.configure("demo", dataset="noise"), tmp_path)


@pytest.fixture(scope="module")
def tiny():
    """A small trained run, scored by the test below."""
    torch.manual_seed(0)
    model = resnet34(5, 2).eval()
    fit, calibration = data.hold_out(data.load("digits_0_4", "train"))
    return evaluation.Scorer(model, data.Normalisation.of(fit)).fit(fit, calibration)


def test_all_scores_come_from_one_forward_pass(tiny, monkeypatch):
    passes = []
    forward = type(tiny.model).forward_layers
    monkeypatch.setattr(type(tiny.model), "forward_layers", lambda *a: passes.append(None) or forward(*a))
    images = data.load("digits_5_9")
    table = pd.concat(tiny.stream(images, labelled=True))
    assert len(passes) == -(-len(images) // evaluation.BATCH)
    assert list(table) == [*evaluation.COLUMNS, evaluation.CORRECT] and len(table) == len(images)
    assert len(evaluation.AGGREGATED) == 9 * len(LAYERS) and table.notna().all(axis=None)


def test_scores_do_not_depend_on_the_batch(tiny, monkeypatch):
    images = data.load("digits_5_9").subset(torch.arange(60))
    whole = pd.concat(tiny.stream(images), ignore_index=True)
    monkeypatch.setattr(evaluation, "BATCH", 7)
    pd.testing.assert_frame_equal(whole, pd.concat(tiny.stream(images), ignore_index=True), rtol=1e-3, atol=1e-3)


def test_a_restored_scorer_gives_the_same_scores(tiny):
    images = data.load("noise").subset(torch.arange(5))
    restored = evaluation.Scorer(tiny.model, tiny.normalise).restore(tiny.state())
    pd.testing.assert_frame_equal(next(tiny.stream(images)), next(restored.stream(images)))


@pytest.mark.parametrize("overrides, message", [
    (dict(width=7), "width must be a whole number, at least 8, not 7"),
    (dict(epochs=0), "epochs must be a whole number, at least 1, not 0"),
    (dict(entropy_factor=-1.0), "entropy_factor must be a number, at least 0"),
    (dict(entropy_factor=float("nan")), "entropy_factor must be a number"),
    (dict(activation="relu", entropy_factor=0.1), "needs activation log_softmax, not relu"),
    (dict(activation="gelu"), "activation must be one of relu, softmax, log_softmax"),
    (dict(learning_rate=0.0), "learning_rate must be a number above 0"),
    (dict(lamda=0.1), "unknown configuration key 'lamda'; there are activation, .*entropy_factor"),
    (dict(fine_tuning="magic"), "fine_tuning must be one of none, outlier_exposure, energy"),
    (dict(entropy_factor=0.1, entropy_reduction="sum", progressive=True), "set progressive to false"),
    (dict(outliers="svhn"), "fine_tuning and outliers go together"),
    (dict(profile="huge"), "choose from demo, compact, thesis"),
])  # fmt: skip
def test_a_configuration_that_makes_no_sense(overrides, message):
    with pytest.raises(InputError, match=message):
        runs.configure(**overrides)


def test_a_name_changes_with_every_value_but_not_with_the_defaults():
    base = runs.configure("demo")
    assert base.name == runs.configure("demo", entropy_factor=0.0).name == runs.configure("demo", entropy_factor=0).name
    changes = dict(seed=1, epochs=9, width=9, learning_rate=1e-3, entropy_factor=0.1, entropy_reduction="sum")
    others = [runs.configure("demo", **{key: value}).name for key, value in changes.items()]
    assert len({base.name, *others}) == 7


def test_the_command_of_a_configuration_gives_it_back():
    config = runs.configure("demo", activation="relu", seed=3, flip=True)
    assert runs.command(config) == "python -m thesis_utils train --profile demo --activation relu --seed 3 --flip True"


def test_a_fine_tuned_run_records_the_final_layer_only(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RECORDED", tmp_path)
    for config, layers in [
        (runs.configure("compact"), len(LAYERS)),
        (runs.configure("compact", fine_tuning="energy"), 0),
    ]:
        run = runs.find(config, [runs.ROOT / "results"]).record()
        table = run.scores("cifar10")
        assert run.folder.parent == tmp_path and run.metrics("svhn").score.nunique() == len(evaluation.COLUMNS)
        assert sum(column.startswith("layer") for column in table) == layers
        assert {*evaluation.FINAL, evaluation.CORRECT} <= set(table)


def test_the_seeds_of_a_network_are_found(monkeypatch):
    config = runs.configure("compact", seed=5)
    monkeypatch.setattr(runs, "find", lambda config: config if config.seed in (3, 1) else None)
    assert [(one.seed, one.base == dataclasses.replace(config, seed=one.seed)) for one in runs.seeds(config)] == [
        (1, True),
        (3, True),
    ]


def test_recorded_scores_keep_sixteen_bits():
    column = pd.Series(torch.randn(1000).numpy() * 30)
    rounded = runs.shorten(column)
    assert ((rounded - column).abs() <= column.abs() * 2.0**-16).all()


def test_the_shell_trains_scores_and_says_what_is_wrong(tmp_path, shell):
    common = ["--profile", "demo", "--width", "16", "--epochs", "1"]
    python = [sys.executable, "-m", "thesis_utils"]
    here = dict(THESIS_RUNS=str(tmp_path))
    early = shell([*python, "score", *common], check=False, **here)
    assert early.returncode == 1
    assert early.stderr.strip().endswith("train it: python -m thesis_utils train --profile demo --width 16 --epochs 1")
    shell([*python, "train", *common], **here)
    done = shell([*python, "score", *common], **here)
    assert "photo_patches: AUROC" in done.stdout and "accuracy" in done.stdout
    (folder,) = tmp_path.glob("demo-*")
    assert {p.name for p in folder.iterdir()} == {
        "config.json", "provenance.json", "history.csv", "metrics.csv", "checkpoint.pt", "scorer.pt", "scores",
    }  # fmt: skip
    table = pd.read_csv(folder / "metrics.csv")
    assert len(table) == 3 * 3 * len(evaluation.COLUMNS) and table.notna().all(axis=None)
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["data"]["noise"]["images"] == 2000 and len(provenance["data"]["noise"]["sha256"]) == 64
    tuned = shell([*python, "train", *common, "--fine-tuning", "energy"], **here)
    assert "demo-digits_0_4-log_softmax-el0-energy-seed0-" in tuned.stdout
    (other,) = tmp_path.glob("demo-*-energy-*")
    provenance = json.loads((other / "provenance.json").read_text())
    assert provenance["base"] == folder.name and provenance["data"]["photo_patches train"]["images"] == 600
    before, after = (torch.load(path / "checkpoint.pt")["model"]["fc.weight"] for path in (folder, other))
    assert 0 < (after - before).abs().max() < 0.1  # it went on from the trained network, at a small learning rate
    wrong = shell([*python, "score", *common, "--ood", "svnh"], check=False, **here)
    assert wrong.returncode == 1 and wrong.stderr.strip().splitlines()[-1].startswith(
        "error: unknown data set 'svnh'; there are"
    )
    own = shell([*python, "score", *common, "--ood", str(tmp_path)], check=False, **here)
    assert "needs at least one readable image" in own.stderr
    bad = shell([*python, "train", "--profile", "demo", "--entropy-factor", "-1"], check=False, **here)
    assert bad.stderr.strip() == "error: entropy_factor must be a number, at least 0, not -1.0"


def test_every_recorded_run_is_whole_and_small():
    folders = sorted(path.parent for path in runs.RECORDED.glob("*/config.json"))
    for folder in folders:
        run = runs.Run(folder)
        assert folder.name == run.config.name
        epochs = run.config.epochs if run.config.fine_tuning == "none" else max(run.config.epochs // 6, 1)
        assert len(run.history) == epochs and run.provenance["data"]
        assert {run.config.dataset, "calibration"} < set(run.scored())
        for name in run.out_distributions():
            assert run.provenance["data"][name]["images"] == len(run.scores(name))
            assert len(run.metrics(name)) == 3 * len(evaluation.COLUMNS)
            # the recorded per-image scores give the recorded metrics
            row = run.metrics(name).set_index(["score", "reading"]).loc[("fc/misp", "fixed_direction")]
            again = evaluation.compare(
                run.scores(run.config.dataset), run.scores(name), run.scores("calibration"), ["fc/misp"]
            )
            assert again[again.reading.eq("fixed_direction")].auroc.item() == pytest.approx(row.auroc, abs=1e-4)
    assert sum(path.stat().st_size for path in runs.RECORDED.rglob("*") if path.is_file()) < 60e6


def test_a_run_without_weights_says_so():
    for path in runs.RECORDED.glob("*/config.json"):
        run = runs.Run(path.parent)
        if not run.has_weights:
            with pytest.raises(
                InputError, match="recorded without its weights and has scores of .* or train it: python -m"
            ):
                run.scores("noise")
            return
    pytest.skip("every recorded run has its weights")
