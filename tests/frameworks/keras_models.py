"""Models that the Keras checks train, save and load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

import lossary as ls
import lossary.frameworks.keras  # so that Keras knows the classes that it loads

RNG = np.random.default_rng(1)
X = RNG.normal(size=(96, 3)).astype("float32")
NOISE = 0.3 * RNG.standard_t(2, size=96)
Y = (X @ np.array([1.0, 2.0, -1.0]) + NOISE).astype("float32")


def dense(*last: Any, units: int = 1) -> Any:
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(units), *last])


def compiled(model: Any, loss: Any, **options: Any) -> Any:
    jit = keras.backend.backend() == "jax"  # elsewhere it takes longer than it saves
    options = {"jit_compile": jit, **options}
    model.compile(keras.optimizers.Adam(0.05), loss=loss, **options)
    return model


def learning() -> tuple[Any, Any]:
    keras.utils.set_random_seed(0)
    criterion = ls.general_robust.to_keras(learn=("alpha", "scale"))
    return criterion, compiled(dense(criterion.layer), criterion)


@ls.pointwise
def own(y: Any, z: Any, width: float = 1.0) -> Any:
    return abs(z - y) / width


def losses_to_save() -> dict[str, Any]:
    return {
        "huber": ls.huber(delta=2.0).to_keras(name="named", reduction="sum"),
        "third": (ls.squared_error / 3).to_keras(check="off"),
        "own": own(width=2.0).to_keras(),
        "sum": (0.5 * ls.squared_error + ls.dice).to_keras(),
    }


def save(folder: Path) -> None:
    """Save a trained model for each loss, and what it evaluates to."""
    values = {}
    criterion, learned = learning()
    models = {name: compiled(dense(), loss) for name, loss in losses_to_save().items()}
    for name, model in {**models, "learned": learned}.items():
        y = (Y > 0).astype(float) if name == "sum" else Y
        model.fit(X, y, verbose=0)
        values[name] = model.evaluate(X, y, verbose=0)
        model.save(folder / f"{name}.keras")
    values["parameters"] = criterion.layer.values
    (folder / "values.json").write_text(json.dumps(values))


def load(folder: Path) -> dict[str, Any]:
    """Load the models in another process, and evaluate and train them again."""
    found = {}
    for path in sorted(folder.glob("*.keras")):
        model = keras.models.load_model(path)
        y = (Y > 0).astype(float) if path.stem == "sum" else Y
        found[path.stem] = model.evaluate(X, y, verbose=0)
        if path.stem == "learned":
            found["parameters"] = model.layers[-1].values
        model.fit(X, y, verbose=0)
    return found
