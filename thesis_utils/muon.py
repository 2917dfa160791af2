"""Muon: SGD whose momentum is orthogonalised, for the kernels of convolutions (Jordan et al. 2024).

    optimizer = Muon(kernels, lr=0.02)

A kernel (out, in, h, w) is a matrix of `out` rows. Its update is the nearest matrix whose singular values are all
about one, so that rare directions of the gradient move as far as common ones. Each kernel keeps the Frobenius norm
sqrt(out): BatchNorm makes its scale arbitrary, and so the rate alone decides how far a step turns it. As in the
CIFAR-10 speed record airbench94_muon.py, from which the constants are.
"""

import torch


def orthogonalised(matrix, steps=3):
    """The nearest matrix with singular values of about 1 (0.5 to 1.2 after 3 steps): (R, C) -> (R, C).

    Newton-Schulz: the singular values s of matrix / norm are iterated by 3.4445 s - 4.7750 s^3 + 2.0315 s^5.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonalised(matrix.T, steps).T
    x = matrix / (matrix.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = 3.4445 * x + (2.0315 * gram @ gram - 4.7750 * gram) @ x
    return x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, for parameters of at least two axes, the first of them the outputs."""

    def __init__(self, kernels, lr, momentum=0.95):
        super().__init__(kernels, dict(lr=lr, momentum=momentum))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for kernel in group["params"]:
                if kernel.grad is None:
                    continue
                state = self.state[kernel]
                if not state:
                    state["momentum"] = torch.zeros_like(kernel)
                average = state["momentum"].lerp_(kernel.grad, 1 - group["momentum"])
                update = orthogonalised(kernel.grad.lerp(average, group["momentum"]).flatten(1))
                kernel.mul_(len(kernel) ** 0.5 / kernel.norm())
                kernel.add_(update.view_as(kernel), alpha=-group["lr"])
