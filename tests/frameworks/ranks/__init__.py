"""Cases that real ranks run: ``python -m frameworks.ranks WORLD RANK FOLDER``.

A case is a function of (rank, world). With a world of one it is the reference, run by
one process on all the rows; the test compares what the ranks bring back with that.
"""

from frameworks.ranks import classes, failures, rows
from frameworks.ranks.recorded import CASES

__all__ = ["CASES", "classes", "failures", "rows"]
