"""What is checked on each backend of Keras; `test_keras_backends` runs it.

``python -m frameworks.keras_checks FOLDER`` runs every check on the backend that
KERAS_BACKEND names, leaves models in the folder, and prints what failed as JSON;
``… load FOLDER`` loads those models, as a fresh process.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import keras
from frameworks import (  # noqa: F401 - each lists its checks
    keras_errors,
    keras_learned,
    keras_numbers,
    keras_training,
)
from frameworks.keras_models import load, save
from frameworks.keras_support import CHECKS, TENSORFLOW_CHECKS


def outcome(act: Callable[[], None]) -> str:
    """Return how an act failed; nothing if it did not."""
    try:
        act()
    except Exception:
        return traceback.format_exc()
    return ""


def run(folder: Path) -> dict[str, str]:
    """Run the checks of this backend; on two processors, where TensorFlow has them."""
    checks = dict(CHECKS)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        two = [tf.config.LogicalDeviceConfiguration()] * 2
        processor = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(processor, two)
        checks |= TENSORFLOW_CHECKS
    save(folder)
    return {name: outcome(act) for name, act in checks.items()}


if __name__ == "__main__":
    *command, where = sys.argv[1:]
    print(json.dumps((load if command else run)(Path(where))))
