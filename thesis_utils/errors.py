"""The two ways in which a run can fail through no fault of the code."""


class InputError(ValueError):
    """What was asked for cannot be had; the message is one sentence that says what would work."""


class Diverged(RuntimeError):
    """The training loss or its gradient is no longer a finite number."""
