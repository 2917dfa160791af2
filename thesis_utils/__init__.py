"""Out-of-distribution detection with log-softmax layers: see README.md for a map of the modules."""

from thesis_utils.detector import Detector

__version__ = "0.1.0"
__all__ = ["Detector"]
