"""Printed modules, run without a file: Triton reads their text as Python's own does."""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Callable
from typing import Any

HEADER = "import triton\nimport triton.language as tl\n"


def load(text: str, name: str) -> Callable[..., Any]:
    """Return the function ``kernel`` of a printed module.

    Triton asks Python for the source of each function, and Python looks it up in
    `linecache`, where text that is in no file may stand. What Triton compiles of it is
    kept in Triton's own folder.

    Parameters
    ----------
    text
        The module, without the lines that import Triton.
    name
        What tracebacks and profiles call it, before a hash of the text.
    """
    text = HEADER + text
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    file = f"<lossary {name} {digest}>"
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
    namespace: dict[str, Any] = {"__name__": f"lossary_{name}_{digest}"}
    exec(compile(text, file, "exec"), namespace)
    kernel: Callable[..., Any] = namespace["kernel"]
    return kernel
