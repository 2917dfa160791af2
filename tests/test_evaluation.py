"""All scores of all layers from one forward pass; and the recorded network's scores, pinned."""

from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT

from thesis_utils import data, evaluation, metrics, runs
from thesis_utils.models import LAYERS
from thesis_utils.runs import run as store
from thesis_utils.scorers import AGGREGATIONS, sign

GOLDEN = ROOT / "tests" / "golden_noise.parquet"


def test_all_scores_come_from_one_forward_pass(scorer):
    images = data.load("digits_5_9")
    with mock.patch.object(scorer.model, "forward_layers", wraps=scorer.model.forward_layers) as forward:
        table = pd.concat(scorer.stream(images, labelled=True))
    assert forward.call_count == -(-len(images) // evaluation.BATCH)
    assert len(table) == len(images) and table.notna().all(axis=None)
    assert list(table) == [
        *(f"{layer}/{score}" for layer in LAYERS for score in AGGREGATIONS),
        *("fc/msp", "fc/misp", "fc/asp", "fc/max_logit", "fc/energy"),
        *(f"{layer}/mahalanobis" for layer in ("stem", *LAYERS)),
        *("ensemble/mahalanobis_none", "fc/correct"),
    ]


def test_scores_do_not_depend_on_the_batch(scorer, monkeypatch):
    images = data.load("digits_5_9").subset(torch.arange(60))
    whole = pd.concat(scorer.stream(images), ignore_index=True)
    monkeypatch.setattr(evaluation, "BATCH", 7)
    pd.testing.assert_frame_equal(whole, pd.concat(scorer.stream(images), ignore_index=True), rtol=1e-3, atol=1e-3)


def test_a_restored_scorer_gives_the_same_scores(scorer):
    images = data.load("noise").subset(torch.arange(5))
    restored = evaluation.Scorer(scorer.model, scorer.normalise).restore(scorer.state())
    pd.testing.assert_frame_equal(next(scorer.stream(images)), next(restored.stream(images)))


def test_a_column_is_what_its_name_says(scorer):
    """Each kind of column once, computed the long way."""
    images = data.load("digits_5_9").subset(torch.arange(7))
    table = next(scorer.stream(images))
    with torch.inference_mode():
        logits, layers = scorer.model.forward_layers(scorer.normalise(images.pixels))
        expected = {
            "layer2.3/min_of_misp": layers["layer2.3"].amin((1, 2, 3)),
            "layer4.3/max_of_msp": layers["layer4.3"].amax((1, 2, 3)),
            "layer1.1/avg_of_asp": layers["layer1.1"].mean((1, 2, 3)),
            "fc/misp": logits.log_softmax(1).amin(1),
            "fc/max_logit": logits.amax(1),
            "stem/mahalanobis": scorer.gaussians["stem"].score(layers["stem"].mean((2, 3))),
        }
    for name, values in expected.items():
        assert table[name].to_numpy() == pytest.approx(values.float().numpy(), rel=1e-4, abs=1e-4), name


def test_the_scores_of_the_recorded_network_have_not_moved():
    """Every column of 32 images, to what float32 allows on another processor. After a new recording of the network:
    PYTHONPATH=tests python -c "import test_evaluation as t; t.shipped_scores().to_parquet(t.GOLDEN)"
    """
    found, golden = shipped_scores(), pd.read_parquet(GOLDEN)
    assert list(found) == list(golden) and len(golden) == 32
    for column in golden:
        scale = max(golden[column].std(), 1e-3 * golden[column].abs().max())
        assert (found[column] - golden[column]).abs().max() < 0.02 * scale, column


def shipped_scores():
    """All scores of `noise`'s first 32 images by the log-softmax network that is recorded with its weights."""
    shipped = runs.opened(store.RECORDED / runs.configure().name)
    return next(shipped.scorer.stream(data.load("noise").subset(torch.arange(32))))


def test_the_covariance_of_what_is_compared_gives_the_interval_of_a_difference():
    """In the direction of `sign`: MSP is high, MiSP low where a prediction is sure."""
    rng = np.random.default_rng(0)
    names = ["fc/msp", "fc/misp", "layer1.1/max_of_msp", "layer1.1/min_of_misp", evaluation.CORRECT]
    known, unknown = (pd.DataFrame(rng.normal(size=(80, 5)), columns=names) for _ in range(2))
    table = evaluation.covariance(known, unknown.drop(columns=evaluation.CORRECT))
    assert list(table) == list(table.index) == ["fc/msp", "fc/misp", "layer1.1/min_of_misp"]
    pairs = [[sign(name) * scores[name] for scores in (known, unknown)] for name in ("fc/misp", "layer1.1/min_of_misp")]
    placements = [metrics.placements(*pair) for pair in pairs]
    differences = [one - other for one, other in zip(*placements)]
    variance = table.iloc[1, 1] + table.iloc[2, 2] - 2 * table.iloc[1, 2]
    assert variance == pytest.approx(sum(part.var(ddof=1) / len(part) for part in differences))
