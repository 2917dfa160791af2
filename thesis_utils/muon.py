"""Muon: SGD whose momentum is orthogonalised, for the kernels of convolutions (Jordan et al. 2024).

    optimizer = Muon(kernels, lr=0.02)

A kernel (out, in, h, w) is a matrix of `out` rows. Its update is the nearest matrix whose singular values are all
about one, so that rare directions of the gradient move as far as common ones. Each kernel keeps the Frobenius norm
sqrt(out): BatchNorm makes its scale arbitrary, and so the rate alone decides how far a step turns it. All this is as in
the CIFAR-10 speed record airbench94_muon.py, but for the momentum, which there is 0.6.
"""

from collections import defaultdict

import torch


def orthogonalised(matrices, steps=3):
    """The nearest matrices with singular values of about 1: (N, R, C) -> (N, R, C).

    Newton-Schulz: the singular values s of matrix / norm are iterated by 3.4445 s - 4.7750 s^3 + 2.0315 s^5. Three
    steps bring those above 0.013 to between 0.5 and 1.2; a smaller one grows 41-fold.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonalised(matrices.mT, steps).mT
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (2.0315 * gram @ gram - 4.7750 * gram) @ x
    return x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, for parameters of at least two axes, the first of them the outputs.

    Kernels of one shape are stepped together: a GPU is busy with few large products.
    """

    def __init__(self, kernels, lr, momentum=0.95):
        super().__init__(kernels, dict(lr=lr, momentum=momentum))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            alike = defaultdict(list)
            for kernel in group["params"]:
                if kernel.grad is not None:
                    alike[kernel.shape].append(kernel)
            for kernels in alike.values():
                directions = torch.stack([self.direction(kernel, group["momentum"]) for kernel in kernels])
                updates = orthogonalised(directions.flatten(2)) * group["lr"]
                for kernel, update in zip(kernels, updates):
                    kernel.mul_(len(kernel) ** 0.5 / kernel.norm()).sub_(update.view_as(kernel))

    def direction(self, kernel, momentum):
        """Nesterov's: the gradient, moved towards its running mean."""
        state = self.state[kernel]
        if not state:
            state["momentum"] = torch.zeros_like(kernel)
        average = state["momentum"].lerp_(kernel.grad, 1 - momentum)
        return kernel.grad.lerp(average, momentum)
