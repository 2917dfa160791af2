"""Mahalanobis confidence (Lee et al. 2018): class-conditional Gaussians with one tied covariance.

    gaussian = TiedGaussian().fit(features, labels)
    gaussian.score(features)        # (N,): minus the smallest squared distance to a class mean

Features are the spatial means of a layer's output. The ensemble weighs five blocks' scores by logistic
regression; under the protocol `none` it sees no out-of-distribution image, only FGSM-perturbed
in-distribution ones.
"""

import torch
from torch.nn import functional as F

from thesis_utils.errors import InputError
from thesis_utils.scorers import ascent

FGSM_EPSILON = 0.05  # of the pixel range [0, 1], as in Lee et al.'s code


class Fitted:
    """What is fitted once and kept: `state` is a dict of tensors."""

    @classmethod
    def from_state(cls, state, device="cpu"):
        one = cls()
        vars(one).update({key: value.to(device) for key, value in state.items()})
        return one


class TiedGaussian(Fitted):
    """K Gaussians with means mu_k and the covariance S = (1/N) sum_n (x_n - mu_k(n)) (x_n - mu_k(n))^T.

    Float64 throughout. `partial_fit` adds a batch, so that memory does not grow with the data; it keeps, per class,
    a count and a sum, and one matrix of second moments about the first batch's mean.
    """

    origin = None  # before the first batch

    def partial_fit(self, features, labels):
        """Adds features (N, D) with labels (N,) from 0 to K - 1."""
        features, labels = torch.as_tensor(features).double(), torch.as_tensor(labels).long()
        if features.ndim != 2 or len(features) != len(labels) or len(labels) == 0:
            raise InputError(
                f"features must be (N, D) and labels (N,), not {tuple(features.shape)} and {tuple(labels.shape)}"
            )
        if not features.isfinite().all():
            raise InputError("features must be finite numbers; some are NaN or infinite")
        if self.origin is None:
            self.origin = features.mean(0)
            self.counts = features.new_zeros(0)
            self.sums = features.new_zeros(0, features.shape[1])
            self.moments = features.new_zeros(features.shape[1], features.shape[1])
        missing = int(labels.max()) + 1 - len(self.counts)
        if missing > 0:
            self.counts = F.pad(self.counts, (0, missing))
            self.sums = F.pad(self.sums, (0, 0, 0, missing))
        shifted = features - self.origin
        self.counts.index_add_(0, labels, torch.ones_like(shifted[:, 0]))
        self.sums.index_add_(0, labels, shifted)
        self.moments += shifted.T @ shifted
        return self

    def finish(self, resolution=0.0):
        """Class means and whitening from what `partial_fit` has gathered; labels without an image are left out.

        `resolution` is the relative precision of the features (`torch.finfo(dtype).eps`): directions in which they
        deviate by less than 64 of its steps are left out, since there rounding is what varies.
        """
        seen = self.counts > 0
        counts, sums = self.counts[seen, None], self.sums[seen]
        means = sums / counts
        self.covariance = (self.moments - sums.T @ means) / counts.sum()
        self.means = means + self.origin
        # S = U diag(v) U^T; distances use only directions in which features vary, as with the pseudo-inverse
        variances, directions = torch.linalg.eigh(self.covariance)
        least = variances.max() * len(variances) * torch.finfo(torch.float64).eps
        size = self.means.square().max() + self.covariance.diagonal().max()
        kept = variances > max(least, size * (64 * resolution) ** 2)
        self.whitening = directions[:, kept] / variances[kept].sqrt()
        return self

    def fit(self, features, labels):
        """Fits features (N, D) with labels (N,)."""
        self.origin = None
        return self.partial_fit(features, labels).finish()

    def score(self, features):
        """Confidence (N,) of features (N, D): minus the smallest squared distance to a class mean."""
        whitened = (torch.as_tensor(features).double() - self.origin) @ self.whitening
        means = (self.means - self.origin) @ self.whitening
        return -torch.stack([((whitened - mean) ** 2).sum(1) for mean in means], 1).amin(1)

    def state(self):
        return {"means": self.means, "whitening": self.whitening, "origin": self.origin}


def fgsm(model, pixels, labels, normalise, epsilon=FGSM_EPSILON):
    """Fast gradient sign method (Goodfellow et al. 2015): a step of `epsilon` up the cross-entropy, per pixel.

    Takes uint8 (N, H, W, 3), returns normalised inputs (N, 3, H, W), clipped to the pixel range, of which `epsilon` is
    a share.
    """

    def loss(inputs):
        return F.cross_entropy(model(inputs), labels, reduction="sum")

    inputs = normalise(pixels)
    perturbed = inputs + epsilon * ascent(loss, inputs, normalise.std)
    black, white = (normalise(torch.full_like(pixels[:1, :1, :1], value)) for value in (0, 255))
    return perturbed.maximum(black).minimum(white)


class Ensemble(Fitted):
    """Logistic regression over the Mahalanobis scores (N, B) of B blocks; `score` is its logit, (N,)."""

    def fit(self, id_scores, ood_scores):
        from sklearn.linear_model import LogisticRegression  # costs a second

        both = torch.cat([torch.as_tensor(id_scores), torch.as_tensor(ood_scores)]).double()
        self.centre, self.scale = both.mean(0), both.std(0).clamp_min(1e-12)
        is_id = torch.cat([torch.ones(len(id_scores)), torch.zeros(len(ood_scores))])
        fitted = LogisticRegression(max_iter=1000).fit(((both - self.centre) / self.scale).numpy(), is_id.numpy())
        self.weights, self.intercept = torch.from_numpy(fitted.coef_[0]), torch.from_numpy(fitted.intercept_)
        return self

    def score(self, scores):
        return ((torch.as_tensor(scores).double() - self.centre) / self.scale) @ self.weights + self.intercept

    def state(self):
        return vars(self)
