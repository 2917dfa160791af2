"""Muon: orthogonalised updates, kernels of a fixed norm."""

import pytest
import torch

from thesis_utils.muon import Muon, orthogonalised


def test_singular_values_become_about_one_and_singular_vectors_stay():
    generator = torch.Generator().manual_seed(0)
    for shape in ((6, 40), (40, 6), (12, 108)):
        matrix = torch.randn(shape, generator=generator, dtype=torch.float64)
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        found = left.T @ orthogonalised(matrix[None])[0] @ right.T
        torch.testing.assert_close(found, torch.diag(found.diagonal()), atol=1e-9, rtol=0)
        assert found.diagonal().min() > 0.5 and found.diagonal().max() < 1.25
    # one singular value: the polynomial by hand, at 1: 3.4445 - 4.7750 + 2.0315 = 0.701, and twice more
    s = 1.0
    for _ in range(3):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    torch.testing.assert_close(orthogonalised(torch.tensor([[[3.0, 4.0]]])), s * torch.tensor([[[0.6, 0.8]]]))


@pytest.mark.parametrize("scale", [1, 1e3])
def test_a_step_by_hand(scale):
    """With two orthogonal rows of equal length the update is the gradient, up to one factor, whatever its scale."""
    kernel = torch.nn.Parameter(torch.tensor([[[[2.0, 0.0]]], [[[0.0, 2.0]]]]))  # (2, 1, 1, 2), of norm sqrt(8)
    optimizer = Muon([kernel], lr=0.1)
    kernel.grad = scale * torch.tensor([[[[3.0, 4.0]]], [[[-4.0, 3.0]]]])
    optimizer.step()
    factor = orthogonalised(torch.eye(2)[None])[0, 0, 0]
    expected = torch.eye(2) - 0.1 * factor * torch.tensor([[0.6, 0.8], [-0.8, 0.6]])  # its norm is sqrt(2), then a step
    torch.testing.assert_close(kernel.detach().flatten(1), expected)
    assert optimizer.state[kernel]["momentum"].equal((1 - 0.95) * kernel.grad)


def test_the_momentum_is_nesterovs_by_hand():
    kernel, found = torch.nn.Parameter(torch.zeros(1, 1, 1, 1)), []
    optimizer = Muon([kernel], lr=0.1)
    for gradient in (1.0, 3.0):  # their running means: 0.5 and 1.75
        kernel.grad = torch.full_like(kernel, gradient)
        found.append(optimizer.direction(kernel, 0.5).item())
    assert found == [0.75, 2.375]


def test_kernels_of_one_shape_are_stepped_together_as_they_would_be_alone():
    torch.manual_seed(0)
    shapes = [(4, 3, 3, 3), (6, 4, 1, 1), (4, 3, 3, 3)]
    kernels, alone = ([torch.nn.Parameter(torch.randn(shape)) for shape in shapes] for _ in range(2))
    for one, other in zip(kernels, alone):
        other.data.copy_(one.data)
        one.grad = other.grad = torch.randn(one.shape)
    together, others = Muon(kernels, lr=0.05), [Muon([kernel], lr=0.05) for kernel in alone]
    for _ in range(2):
        for optimizer in (together, *others):
            optimizer.step()
    torch.testing.assert_close([*kernels], [*alone])
