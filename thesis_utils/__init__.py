"""Out-of-distribution detection with log-softmax layers: see README.md for a map of the modules."""

import importlib

__version__ = "0.2.0"
__all__ = ["Detector"]
METHOD = ("architectures", "baselines", "data", "detector", "evaluation", "models", "training")


def __getattr__(name):
    """`Detector`, and a module of the method, when first asked for (PEP 562): they load torch, which takes seconds."""
    if name == "Detector":
        return importlib.import_module("thesis_utils.detector").Detector
    if name in METHOD:
        return importlib.import_module(f"thesis_utils.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
