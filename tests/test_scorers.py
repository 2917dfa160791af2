import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thesis_utils import scorers


def test_nine_scores_by_hand():
    # one image, 3 channels, 1 x 2 pixels: columns are pixels
    z = torch.tensor([[-1.0, -2.0], [-3.0, -9.0], [-5.0, -4.0]]).view(1, 3, 1, 2)
    expected = {
        "max_of_msp": -1.0, "min_of_msp": -2.0, "avg_of_msp": -1.5,
        "max_of_misp": -5.0, "min_of_misp": -9.0, "avg_of_misp": -7.0,
        "max_of_asp": -3.0, "min_of_asp": -5.0, "avg_of_asp": -4.0,
    }  # fmt: skip
    values = dict(zip(scorers.AGGREGATIONS, scorers.aggregate(z)[0].tolist()))
    assert values == expected


@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_aggregate_is_reduce_then_aggregate(n, c, h, w, channels_last):
    z = torch.randn(n, c, h, w, generator=torch.Generator().manual_seed(n + 7 * c + 31 * h)).log_softmax(1)
    if channels_last:
        z = z.contiguous(memory_format=torch.channels_last)
    reduced = {"msp": z.amax(1), "misp": z.amin(1), "asp": z.mean(1)}
    spatial = {"max": lambda x: x.amax((1, 2)), "min": lambda x: x.amin((1, 2)), "avg": lambda x: x.mean((1, 2))}
    for column, name in zip(scorers.aggregate(z).T, scorers.AGGREGATIONS, strict=True):
        how, what = name.split("_of_")
        torch.testing.assert_close(column, spatial[how](reduced[what]))


def test_final_layer_by_hand():
    logits = torch.tensor([[0.5, 0.25, 0.25], [0.8, 0.1, 0.1]]).log() + 3  # a constant changes nothing
    half, tenth = torch.tensor([0.5, 0.8]).log(), torch.tensor([0.25, 0.1]).log()
    torch.testing.assert_close(scorers.msp(logits), half)
    torch.testing.assert_close(scorers.misp(logits), tenth)
    torch.testing.assert_close(scorers.asp(logits), (half + 2 * tenth) / 3)


def test_confidences_of_logits_by_hand():
    logits = torch.tensor([[0.5, 0.25, 0.25], [8.0, 1.0, 1.0]]).log()
    torch.testing.assert_close(scorers.max_logit(logits), torch.tensor([0.5, 8.0]).log())
    torch.testing.assert_close(scorers.energy(logits), torch.tensor([1.0, 10.0]).log())  # log of the sum
    # at T = 1/2 the summands are squared: log(3/8) / 2, log(66) / 2
    torch.testing.assert_close(scorers.energy(logits, 0.5), torch.tensor([3 / 8, 66.0]).log() / 2)


def test_a_temperature_of_1000_costs_no_digits():
    logits = np.random.default_rng(0).normal(0, 5, (500, 10)).astype(np.float32)
    z = logits.astype(np.float64) / 1000
    # float32 throughout would be off by a last digit here and there
    exact = z.max(1) - np.log(np.exp(z).sum(1))
    found = scorers.odin(lambda x: x.flatten(1), torch.from_numpy(logits)[..., None, None], 1000.0, (0.0,))[:, 0]
    assert found.dtype == torch.float32 and (found.numpy() == exact.astype(np.float32)).all()


def test_log_probabilities_do_not_underflow():
    logits = torch.tensor([[0.0, 500.0], [0.0, 600.0]])
    assert scorers.misp(logits).tolist() == [-500.0, -600.0]  # both probabilities are 0 in float32


@pytest.mark.parametrize(
    "name, sign",
    [("fc/msp", 1), ("fc/misp", -1), ("fc/asp", -1), ("layer1.1/min_of_misp", -1), ("layer4.3/max_of_msp", 1),
     ("layer2.1/avg_of_asp", -1), ("stem/mahalanobis", 1), ("ensemble/mahalanobis_none", 1)],
)  # fmt: skip
def test_sign(name, sign):
    assert scorers.sign(name) == sign
