import math

import pytest
import torch

from thesis_utils.errors import InputError
from thesis_utils.losses import energy_margins, entropy, entropy_loss, outlier_exposure


def test_entropy_of_known_distributions():
    uniform = torch.full((1, 4, 1, 1), -math.log(4))
    certain = torch.tensor([0.0, -math.inf, -math.inf, -math.inf]).view(1, 4, 1, 1)
    skewed = torch.tensor([0.5, 0.25, 0.25, 0.0]).log().view(1, 4, 1, 1)
    for z, value in [(uniform, math.log(4)), (certain, 0.0), (skewed, 1.5 * math.log(2))]:
        assert entropy(z).item() == pytest.approx(value)


def test_entropy_loss_averages_the_batch_and_sums_the_layers():
    # two images; layer a: 2 channels, 1 x 2 pixels; layer b: 4 channels, 1 pixel
    half, sure = math.log(0.5), torch.tensor([1.0, 0.0]).log()
    a = torch.full((2, 2, 1, 2), half)
    a[1, :, 0, 0] = sure  # image 1 is certain at one of its two pixels
    b = torch.full((2, 4, 1, 1), -math.log(4))
    # sums over pixels: a gives 2 log 2 and log 2, b gives log 4 twice
    assert entropy_loss([a, b], "sum").item() == pytest.approx((2 + 1) / 2 * math.log(2) + math.log(4))
    assert entropy_loss([a, b], "mean").item() == pytest.approx((1 + 0.5) / 2 * math.log(2) + math.log(4))
    assert entropy_loss([a, b]).item() == entropy_loss([a, b], "mean").item()


def test_the_gradient_makes_a_pixel_more_confident():
    logits = torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1).requires_grad_()
    entropy_loss([torch.log_softmax(logits, 1)]).backward()
    assert logits.grad.flatten()[0] < 0 < logits.grad.flatten()[2]


def test_a_certain_pixel_has_a_finite_gradient():
    z = torch.tensor([0.0, -math.inf]).view(1, 2, 1, 1).requires_grad_()
    entropy_loss([z]).backward()
    assert z.grad.isfinite().all()


def test_bad_arguments():
    with pytest.raises(InputError, match="choose from mean, sum"):
        entropy_loss([torch.zeros(1, 1, 1, 1)], "avg")
    with pytest.raises(InputError, match="at least one map"):
        entropy_loss([])


def test_fine_tuning_losses_by_hand():
    certain, uniform = torch.tensor([[30.0, 0.0]]), torch.zeros(3, 2)
    assert outlier_exposure(certain, uniform).item() == pytest.approx(0.5 * math.log(2))  # its least value
    assert outlier_exposure(uniform, certain).item() == pytest.approx(0.5 * 15, rel=1e-6)
    # energies: -30 is within the margin -23; -log 2, -1 - log 2 are above -5, hence no hinge at all
    outliers = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    assert energy_margins(certain, outliers).item() == 0
    # of the images 23 - log 2 and 22 - log 2 above -23; of the outliers 25 (-30) and 0 (-log 2) below -5
    hinges = ((23 - math.log(2)) ** 2 + (22 - math.log(2)) ** 2) / 2 + (25**2 + 0) / 2
    assert energy_margins(outliers, torch.cat([certain, outliers[:1]])).item() == pytest.approx(0.1 * hinges)
