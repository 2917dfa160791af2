"""Out-of-distribution detection with log-softmax layers: see README.md for a map of the modules."""

__version__ = "0.1.0"
