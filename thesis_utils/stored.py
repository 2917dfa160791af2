"""A detector in files: its own, which holds what was fitted, and ONNX, which holds network and detector."""

import zipfile

import numpy as np
import torch
from torch import nn

from thesis_utils.checks import first_line, refuse_training
from thesis_utils.errors import InputError
from thesis_utils.files import replace
from thesis_utils.mahalanobis import TiedGaussian
from thesis_utils.models import checksum, fingerprint

FORMAT = 3  # of a detector's file
KEPT = ("median", "deviation", "reference", "calibration", "bank", "centre", "probe")  # beside the Gaussians


def save(detector, path):
    """Writes what was fitted as tensors, texts and numbers: nothing that a pickle could run."""
    state = {name: getattr(detector, name).cpu() for name in KEPT}
    for name, gaussian in detector.gaussians.items():
        state[f"gaussian/{name}"] = {key: value.cpu() for key, value in gaussian.state().items()}
    state |= {
        "format": FORMAT, "network": fingerprint(detector.model), "layers": tuple(detector.model.layers),
        "gaussians": tuple(detector.gaussians), "shape": detector.shape, "kind": detector.kind,
        "images": detector.images,
        "classes": {key: value.cpu() for key, value in detector.classes.state().items()} if detector.classes else None,
    }  # fmt: skip
    replace(path, lambda unfinished: torch.save(state, unfinished))


def opened(path):
    """What `save` wrote; anything else, also a damaged file, is an InputError."""
    try:
        with zipfile.ZipFile(path) as file:  # torch.load does not look at its sums
            if damaged := file.testzip():
                raise ValueError(f"{damaged} is damaged")
        state = dict(torch.load(path, map_location="cpu", weights_only=True))
        version = state["format"]
    except Exception as error:  # a damaged file fails in any way
        reason = first_line(error)
        raise InputError(f"{path} is not a detector's file ({reason}); write one with detector.save") from None
    if version != FORMAT:
        raise InputError(f"{path} has format {version}, this version reads {FORMAT}; fit and save it anew")
    return state


def load(kind, path, model, transform, options):
    """A detector of the class `kind` as `kind.load` gives it."""
    refuse_training(model)
    state = opened(path)
    if state["network"] != fingerprint(model):
        raise InputError(f"{path} belongs to another network: its weights differ; load those, or fit a detector")
    one = kind(model, transform, state["layers"], **options)
    one.shape, one.kind, one.images, one.weights = state["shape"], state["kind"], state["images"], checksum(model)
    for name in KEPT:
        setattr(one, name, state[name].to(one.device))
    gaussians = {name: state[f"gaussian/{name}"] for name in state["gaussians"]}
    one.gaussians = {name: TiedGaussian.from_state(kept, one.device) for name, kept in gaussians.items()}
    one.classes = TiedGaussian.from_state(state["classes"], one.device) if state["classes"] else None
    if one.model.layers != state["layers"] or not one.computes_as_fitted():
        raise InputError(
            f"{path} was fitted with another transform or other layers; give the same to load, and a network that "
            "computes the same from these weights"
        )
    return one


class Whole(nn.Module):
    """Network, transform and detector: images -> logits (N, K), p-values (N,)."""

    def __init__(self, detector):
        super().__init__()
        self.model, self.detector = detector.model, detector

    def forward(self, images):
        logits, layers = self.model.forward_layers(self.detector.transform(images))
        return logits, self.detector.p_values_of(self.detector.read(logits, layers))


def export(detector, path):
    """Writes `Whole` as ONNX, for any number of images, and only if it answers as the detector does."""
    try:
        import onnxscript  # noqa: F401, torch's exporter needs it
    except ImportError:
        raise InputError("to export takes two more packages: pip install onnx onnxscript") from None
    images = detector.examples().to(detector.device)
    program = torch.onnx.export(
        Whole(detector).eval(), (images,), input_names=["images"], output_names=["logits", "p_values"],
        dynamic_shapes=({0: torch.export.Dim("count")},), dynamo=True, verbose=False,
    )  # fmt: skip

    def write(unfinished):
        program.save(unfinished, external_data=False)
        refuse_otherwise(unfinished, detector, images.cpu())

    replace(path, write)


def refuse_otherwise(path, detector, images):
    """Refuses an ONNX file whose p-values differ by more than a rank, in a batch or alone."""
    try:
        import onnxruntime
    except ImportError:
        return
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (images, images[:1]):
        found = session.run(["p_values"], {"images": batch.numpy()})[0]
        ranks = np.abs(found - detector.p_values(batch)) * (len(detector.calibration) + 1)
        if not (ranks <= 1 + 1e-6).all():
            raise InputError(
                f"the exported file's p-values differ by {np.nanmax(ranks):.0f} ranks from the detector's: the network "
                "or the transform computes otherwise in ONNX; nothing was written"
            )
