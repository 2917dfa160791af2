"""Out-of-distribution detection with log-softmax layers: see README.md for a map of the modules."""

__version__ = "0.1.0"
__all__ = ["Detector"]


def __getattr__(name):
    """`Detector` when it is asked for (PEP 562): reading recorded numbers needs no torch."""
    if name == "Detector":
        from thesis_utils.detector import Detector

        return Detector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
