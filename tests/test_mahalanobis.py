import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance
from sklearn.linear_model import LogisticRegression

from thesis_utils.data import Normalisation
from thesis_utils.errors import InputError
from thesis_utils.mahalanobis import Ensemble, TiedGaussian, fgsm
from thesis_utils.models import resnet34


def clouds(dimensions=6, classes=3, count=400, seed=0):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(dimensions, dimensions))
    labels = rng.integers(0, classes, count)
    features = rng.normal(size=(count, dimensions)) @ mixing + 5 * labels[:, None]
    return torch.from_numpy(features), torch.from_numpy(labels)


def scikit_learn_score(features, labels, new):
    """Minus the smallest squared distance, from scikit-learn's covariance of the class-centred features."""
    features, labels = features.numpy(), labels.numpy()
    means = np.stack([features[labels == k].mean(0) for k in np.unique(labels)])
    centred = features - means[np.searchsorted(np.unique(labels), labels)]
    covariance = EmpiricalCovariance(assume_centered=True).fit(centred)
    return covariance, -np.min([covariance.mahalanobis(new.numpy() - mean) for mean in means], axis=0)


def test_by_hand():
    # class 0 at -1 +- 1, class 1 at 5 +- 1: the tied variance is 1
    gaussian = TiedGaussian().fit(torch.tensor([[-2.0], [0.0], [4.0], [6.0]]), torch.tensor([0, 0, 1, 1]))
    assert gaussian.means.flatten().tolist() == pytest.approx([-1, 5])
    assert gaussian.covariance.item() == pytest.approx(1)
    assert gaussian.score(torch.tensor([[-1.0], [2.0], [8.0]])).tolist() == pytest.approx([0, -9, -9])


def test_agreement_with_scikit_learn():
    features, labels = clouds()
    new = clouds(seed=1)[0]
    gaussian = TiedGaussian().fit(features, labels)
    covariance, expected = scikit_learn_score(features, labels, new)
    np.testing.assert_allclose(gaussian.covariance, covariance.covariance_, rtol=1e-10)
    np.testing.assert_allclose(gaussian.score(new), expected, rtol=1e-9)


def test_a_dead_channel_does_not_matter():
    features, labels = clouds()
    new = clouds(seed=1)[0]
    with_dead, new_dead = (torch.cat([x, torch.zeros(len(x), 1)], 1) for x in (features, new))
    dead = TiedGaussian().fit(with_dead, labels).score(new_dead)
    np.testing.assert_allclose(dead, TiedGaussian().fit(features, labels).score(new), rtol=1e-9)
    np.testing.assert_allclose(dead, scikit_learn_score(with_dead, labels, new_dead)[1], rtol=1e-9)


def test_streaming_equals_one_batch_even_far_from_the_origin():
    features, labels = clouds()
    features = features + 1e6
    streamed = TiedGaussian()
    for part, names in zip(features.split(37), labels.split(37)):
        streamed.partial_fit(part, names)
    whole = TiedGaussian().fit(features, labels)
    torch.testing.assert_close(streamed.finish().score(features), whole.score(features), rtol=1e-6, atol=1e-6)


def test_a_label_without_images_is_left_out():
    features, labels = clouds(classes=2)
    torch.testing.assert_close(
        TiedGaussian().fit(features, labels * 2).score(features), TiedGaussian().fit(features, labels).score(features)
    )


@pytest.mark.parametrize(
    "features, labels, message",
    [
        (torch.zeros(3), torch.zeros(3), r"features must be \(N, D\)"),
        (torch.zeros(3, 2), torch.zeros(2), r"features must be \(N, D\)"),
        (torch.full((2, 2), torch.nan), torch.zeros(2), "finite"),
    ],
)
def test_bad_features(features, labels, message):
    with pytest.raises(InputError, match=message):
        TiedGaussian().fit(features, labels)


def test_ensemble_learns_which_block_tells():
    rng = np.random.default_rng(0)
    known, unknown = rng.normal(size=(500, 2)), rng.normal(size=(500, 2)) - [2, 0]
    ensemble = Ensemble().fit(torch.from_numpy(known), torch.from_numpy(unknown))
    assert ensemble.weights[0] > 10 * abs(ensemble.weights[1])
    # the score is the logit: its sigmoid is the probability of a logistic regression fitted by scikit-learn itself
    both = np.concatenate([known, unknown])
    scaled = (both - both.mean(0)) / both.std(0, ddof=1)
    fitted = LogisticRegression().fit(scaled, [1] * 500 + [0] * 500)
    assert ensemble.score(both).sigmoid().numpy() == pytest.approx(fitted.predict_proba(scaled)[:, 1], abs=1e-3)


def test_fgsm_takes_a_step_of_epsilon_that_raises_the_loss():
    torch.manual_seed(0)
    model, normalise = resnet34(3, 2, "relu").eval(), Normalisation((0.5, 0.4, 0.3), (0.2, 0.3, 0.25))
    pixels = torch.randint(0, 256, (8, 32, 32, 3), dtype=torch.uint8)
    labels = torch.arange(8) % 3
    perturbed = fgsm(model, pixels, labels, normalise, epsilon=0.01)
    step = (perturbed - normalise(pixels)).abs() * torch.tensor(normalise.std)[:, None, None]
    assert step.max().item() == pytest.approx(0.01, rel=1e-3)
    back = perturbed * torch.tensor(normalise.std)[:, None, None] + torch.tensor(normalise.mean)[:, None, None]
    assert back.min() > -1e-6 and back.max() < 1 + 1e-6  # still an image
    loss = torch.nn.functional.cross_entropy
    assert loss(model(perturbed), labels) > loss(model(normalise(pixels)), labels)
