"""What everything here runs in; set by importing it, before anything heavy is.

`laws` imports it too, whose modules also run as commands.
"""

from __future__ import annotations

import importlib
import os
from importlib.util import find_spec

ENVIRONMENT = {
    # pytest-xdist fills the cores: each worker computes on one thread.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    # The laws are about the CPU, and devices announce themselves at length.
    "CUDA_VISIBLE_DEVICES": "",
    "TRITON_INTERPRET": "1",  # what runs on a card otherwise, step by step
    "JAX_PLATFORMS": "cpu",
    "JAX_ENABLE_X64": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)

if find_spec("triton"):  # loaded after TensorFlow, its compiler crashes the process
    importlib.import_module("triton._C.libtriton")
