"""Agreement with pytorch-ood, an independent implementation, on random networks, logits and features.

pytorch-ood's scores are outlier scores (larger = more out-of-distribution), ours are confidences or raw
log-probabilities; where more than the sign differs, the test says how.
"""

import pytest
import torch
from pytorch_ood import detector
from pytorch_ood.loss import EnergyRegularizedLoss, OutlierExposureLoss
from torch.nn import functional as F

from thesis_utils import baselines, evaluation, losses, scorers
from thesis_utils.data import Normalisation
from thesis_utils.mahalanobis import TiedGaussian
from thesis_utils.models import ACTIVATIONS, resnet34

LOGITS = torch.randn(50, 10, generator=torch.Generator().manual_seed(0)) * 5


def test_scores_of_logits_of_which_msp_is_a_logarithm():
    for t in (1.0, 0.5, 100.0):
        torch.testing.assert_close(scorers.energy(LOGITS, t), -detector.EnergyBased.score(LOGITS, t=t))
    torch.testing.assert_close(scorers.max_logit(LOGITS), -detector.MaxLogit.score(LOGITS))
    torch.testing.assert_close(scorers.msp(LOGITS).exp(), -detector.MaxSoftmax.score(LOGITS))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("std", [None, [0.2, 0.3, 0.25]])
def test_odin_is_a_logarithm_too(activation, std):
    torch.manual_seed(0)
    model, images = resnet34(4, 2, activation).eval(), torch.randn(6, 3, 32, 32)
    for temperature, epsilon in [(1000.0, 0.0014), (10.0, 0.02), (1.0, 0.0)]:
        theirs = detector.ODIN(model, eps=epsilon, temperature=temperature, norm_std=std).predict(images)
        torch.testing.assert_close(scorers.odin(model, images, temperature, (epsilon,), std)[:, 0].exp(), -theirs)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("epsilon", [0.0, 0.01])
def test_mahalanobis_is_the_same_up_to_a_factor(epsilon):
    """Of what was preprocessed by so much: pytorch-ood halves the distance and does not divide the covariance by N.

    Its score is ours / -2N. It adds a ridge of 1e-6 to that sum and inverts it in float32, hence the tolerance.
    """
    torch.manual_seed(0)
    model, images, std = resnet34(4, 2, "relu").eval(), torch.randn(12, 3, 32, 32), (0.2, 0.3, 0.25)
    scorer = evaluation.Scorer(model, Normalisation((0.5, 0.5, 0.5), std))
    labels = torch.arange(400) % 4
    with torch.no_grad():
        layers = model.forward_layers(torch.randn(400, 3, 32, 32))[1]
    features = evaluation.pooled(layers)
    scorer.gaussians = {name: TiedGaussian().fit(features[name], labels) for name in model.stages}
    ours = baselines.blocks(scorer, images, (epsilon,))[:, 0]
    for k, name in enumerate(model.stages):
        extract = lambda x, name=name: evaluation.pooled(model.forward_layers(x)[1])[name]  # noqa: E731
        theirs = detector.MahalanobisODIN(extract, eps=epsilon, norm_std=list(std)).fit_features(features[name], labels)
        torch.testing.assert_close((ours[:, k] / -2 / 400).float(), theirs.predict(images), rtol=5e-3, atol=1e-5)


def test_fine_tuning_losses():
    """pytorch-ood averages Outlier Exposure over the whole batch, as we do over the outliers; it adds cross-entropy."""
    outliers = torch.randn(30, 10, generator=torch.Generator().manual_seed(1)) * 5
    both, labels = torch.cat([LOGITS, outliers]), torch.cat([torch.arange(50) % 10, torch.full((30,), -1)])
    cross_entropy = F.cross_entropy(LOGITS, labels[:50])
    theirs = OutlierExposureLoss(alpha=0.5, reduction="none")(outliers, labels[50:]).mean()
    torch.testing.assert_close(losses.outlier_exposure(LOGITS, outliers), theirs)
    theirs = EnergyRegularizedLoss(alpha=0.1, margin_in=-23, margin_out=-5)(both, labels)
    torch.testing.assert_close(cross_entropy + losses.energy_margins(LOGITS, outliers), theirs)
