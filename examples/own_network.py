"""A detector for your own network and your own images: copy it, and put yours where the comments say so.

python examples/own_network.py        # half a minute on a CPU, no download
"""

import torch
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import resnet18

from thesis_utils import Detector, data


def loader(images):  # yours: any DataLoader; of what it yields the images are taken, labels are not looked at
    return DataLoader(TensorDataset(images.pixels.permute(0, 3, 1, 2) / 255, images.labels), batch_size=64)


training, held_out = data.hold_out(data.load("digits_0_4", "train"))  # yours; the network never sees `held_out`
new = data.load("photo_patches")  # yours, of whatever kind

model = resnet18(num_classes=5)  # yours, trained already: then leave out the next five lines
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for images, labels in [*loader(training)] * 3:
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()

detector = Detector(model.eval()).fit(loader(training), loader(held_out))
print(detector.p_values(loader(new))[:5])  # small: unlike the images held out
print(detector.outliers(loader(new), alpha=0.05).mean())  # the share called out-of-distribution
print(detector.explain(loader(new)).head())  # which part of the detector, and which layer, gave each away
detector.save("own_network.detector")  # later: Detector.load("own_network.detector", model)
