"""Self-made outliers, in-distribution images distorted: on these is chosen what must not see any other data set."""

import torch
from torchvision.transforms.v2 import functional as transforms

KINDS = ("mixture of two", "blurred", "noisy", "rotated", "inverted", "shuffled patches", "noise only")


def shuffled_patches(pixels, generator):
    """Images (N, H, W, 3) cut into 4 x 4 patches, each image's in a random order of its own."""
    count, height, width, _ = pixels.shape
    patches = pixels.reshape(count, 4, height // 4, 4, width // 4, 3).transpose(2, 3).flatten(1, 2)
    order = torch.stack([torch.randperm(16, generator=generator) for _ in range(count)])
    patches = patches[torch.arange(count)[:, None], order]
    return patches.reshape(count, 4, 4, height // 4, width // 4, 3).transpose(2, 3).reshape(pixels.shape)


def distorted(pixels):
    """{kind: images} of images (N, H, W, 3), uint8, with a fixed seed. Height and width must be divisible by 4.

    Blur has a standard deviation of a twentieth of the width, noise of 20 grey levels; rotation is by 90 degrees.
    """
    generator = torch.Generator().manual_seed(0)
    other = pixels[torch.randperm(len(pixels), generator=generator)]
    noise = 20 * torch.randn(pixels.shape, generator=generator)
    width = pixels.shape[2]
    blurred = transforms.gaussian_blur(pixels.permute(0, 3, 1, 2), [width // 4 - 1, width // 4 - 1], [width / 20] * 2)
    return {
        "mixture of two": ((pixels.int() + other.int()) // 2).to(torch.uint8),
        "blurred": blurred.permute(0, 2, 3, 1),
        "noisy": (pixels + noise).clamp(0, 255).to(torch.uint8),
        "rotated": pixels.rot90(1, (1, 2)),
        "inverted": 255 - pixels,
        "shuffled patches": shuffled_patches(pixels, generator),
        "noise only": torch.randint(256, pixels.shape, generator=generator, dtype=torch.uint8),
    }
