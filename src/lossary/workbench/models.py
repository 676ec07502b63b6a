"""The models that losses are compared on, each trainable with any loss.

What a loss brings along (its scale, its start) is equalised here, so that equal
settings mean equal regularisation: see `lossary.frameworks.bundle.scale_of`.
"""

from __future__ import annotations

import ast
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from lossary.errors import NameLookupError, ParameterError, nearest
from lossary.frameworks.bundle import Bundle, Scale, scale_of
from lossary.workbench.scores import Array

if TYPE_CHECKING:
    import pandas as pd

Predict = Callable[[Any], Array]
Trained = tuple[Predict, dict[str, Any]]


@dataclass(frozen=True)
class Fitted:
    """A trained model.

    Attributes
    ----------
    predictor : callable
        From features to the response scale.
    calibrated : bool
        Whether responses of classes are probabilities; a margin has only its
        boundary, at 0.5.
    info : mapping
        "seconds", "iterations", "converged", "curvature" (its mode, for models that
        use it) and "factor": what the loss was multiplied by.
    """

    predictor: Predict
    calibrated: bool
    info: Mapping[str, Any]

    def predict(self, X: Any) -> Array:
        """Predict on the response scale.

        Returns
        -------
        array
            Shape (n,): means, medians …, or P(y = 1) of two classes; shape (n, k):
            one probability per class of several.
        """
        p = self.predictor(X)
        return p[:, 1] if p.ndim == 2 and p.shape[1] == 2 else p


@dataclass(frozen=True)
class Task:
    """One training job, as a model sees it."""

    bundle: Bundle
    X: pd.DataFrame
    y: Any
    weight: Array | None
    n_classes: int | None
    scale: Scale
    seed: int


@dataclass(frozen=True)
class Model:
    """A model and its settings; ``str(model)`` is the spec that gives it again.

    Attributes
    ----------
    name : str
    settings : mapping
        Every setting and its value.
    trainer : callable
        What trains it.

    Examples
    --------
    >>> get_model("linear(alpha=0.01)")
    linear(alpha=0.01)
    """

    name: str
    settings: Mapping[str, Any] = field(hash=False)
    trainer: Callable[[Task, Mapping[str, Any]], Trained] = field(compare=False)

    def __repr__(self) -> str:
        default = MODELS[self.name].settings
        given = [f"{k}={v!r}" for k, v in self.settings.items() if v != default[k]]
        return f"{self.name}({', '.join(given)})" if given else self.name

    def fit(
        self,
        loss: Any,
        X: pd.DataFrame,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        seed: int = 0,
        n_classes: int | None = None,
    ) -> Fitted:
        """Train with a loss.

        Parameters
        ----------
        loss : str, Loss or weighted sum
        X : pandas.DataFrame, shape (n, d)
            Numbers and categories, as `lossary.workbench.data.load` gives them.
        y : array-like, shape (n,)
            Numbers, or class numbers from 0.
        sample_weight : array-like, shape (n,), optional
        seed : int
        n_classes : int, optional
            The number of classes, where `y` may lack one.

        Raises
        ------
        DomainError
            Targets that the loss is not defined on.
        """
        bundle = Bundle(loss)
        labels = np.asarray(y)
        if bundle.task != "multiclass":
            n_classes = None
        elif n_classes is None:
            n_classes = int(labels.max()) + 1
        weight = None if sample_weight is None else np.asarray(sample_weight, float)
        scale = scale_of(bundle, bundle.target(labels, n_classes), weight, n_classes)
        task = Task(bundle, X, labels, weight, n_classes, scale, seed)
        before = time.perf_counter()
        predictor, info = self.trainer(task, self.settings)
        info["seconds"] = time.perf_counter() - before
        return Fitted(predictor, bundle.calibrated, info)


def get_model(spec: str | Model) -> Model:
    """Return a model by its name, with settings where some are given.

    Raises
    ------
    NameLookupError
        For a name that is not known; the nearest ones are given.
    ParameterError
        For a setting that the model does not have, or text that is no spec.

    Examples
    --------
    >>> get_model("lightgbm(num_leaves=15, learning_rate=0.05)").settings["num_leaves"]
    15
    """
    if isinstance(spec, Model):
        return spec
    name, given = _parsed(spec)
    if name not in MODELS:
        raise NameLookupError(f"there is no model {name!r}; {nearest(name, MODELS)}")
    model = MODELS[name]
    for key in given:
        if key not in model.settings:
            raise ParameterError(
                f"model {name} has no setting {key!r}; {nearest(key, model.settings)}"
            )
    return replace(model, settings={**model.settings, **given})


def _parsed(spec: str) -> tuple[str, dict[str, Any]]:
    try:
        tree = ast.parse(spec.strip(), mode="eval").body
        if isinstance(tree, ast.Name):
            return tree.id, {}
        if isinstance(tree, ast.Call) and not tree.args:
            given = {str(k.arg): ast.literal_eval(k.value) for k in tree.keywords}
            return ast.unparse(tree.func), given
    except (SyntaxError, ValueError):
        pass
    raise ParameterError(
        f"{spec!r} is not a model; write a name, or one with settings such as "
        "'linear(penalty=\"l1\", alpha=0.01)'"
    )


# -- linear ---------------------------------------------------------------------------


def _train_linear(task: Task, settings: Mapping[str, Any]) -> Trained:
    """Encode, impute and standardise inside the training part, then fit."""
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from lossary.frameworks.sklearn import LossClassifier, LossRegressor

    scale, options = task.scale, dict(settings)
    # alpha is in units of the equalised loss and of standardised coefficients: the
    # estimator's is in units of the loss and of the target.
    factor = 1 / (scale.slope * scale.spread)
    units = scale.spread ** {"l1": 1, "l2": 2}.get(settings["penalty"], 0)
    options["alpha"] = settings["alpha"] / (factor * units)
    regression = task.bundle.task == "regression"
    estimator = (LossRegressor if regression else LossClassifier)(
        task.bundle.loss, random_state=task.seed, **options
    )
    encoder = _encoder(task.X)
    # Trials run side by side, and L-BFGS on small arrays waits for threads more than
    # it computes.
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is in the info
        columns = encoder.fit_transform(task.X)
        estimator.fit(columns, task.y, sample_weight=task.weight)

    def predict(X: Any) -> Array:
        z = estimator.raw_scores(encoder.transform(X))
        p = task.bundle.response(z)
        if p.ndim == 1:
            return p
        every = np.zeros((len(p), task.n_classes or p.shape[1]))
        every[:, estimator.classes_] = p  # a class may be missing from these rows
        return every

    return predict, {
        "iterations": estimator.n_iter_,
        "converged": estimator.converged_,
        "curvature": "not used",
        "factor": factor,
    }


def _encoder(X: pd.DataFrame) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    categories = [c for c in X if X[c].dtype.name == "category"]
    numbers = [c for c in X if c not in categories]
    impute = SimpleImputer(strategy="median", keep_empty_features=True)
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_column_transformer(
        (make_pipeline(impute, StandardScaler()), numbers), (one_hot, categories)
    )


# -- LightGBM -------------------------------------------------------------------------


def _train_lightgbm(task: Task, settings: Mapping[str, Any]) -> Trained:
    """Boost trees; categories and missing values are LightGBM's own affair."""
    from lossary.frameworks.lightgbm import Objective, train

    factor = 1 / task.scale.curvature
    params = {k: v for k, v in settings.items() if k != "n_estimators"}
    model = train(
        Objective(task.bundle.loss, scale=factor, curvature=task.bundle.mode),
        _plainly_named(task.X),
        task.y,
        sample_weight=task.weight,
        # One thread and a fixed order of sums: the same numbers wherever it runs.
        params={**params, "seed": task.seed, "num_threads": 1, "verbosity": -1,
                "deterministic": True, "force_col_wise": True},
        num_boost_round=settings["n_estimators"],
        n_classes=task.n_classes,
    )  # fmt: skip
    info = {
        "iterations": model.booster.num_trees() // (task.n_classes or 1),
        "converged": True,
        "curvature": task.bundle.mode,
        "factor": factor,
    }
    return lambda X: model.predict(_plainly_named(X)), info


def _plainly_named(X: pd.DataFrame) -> pd.DataFrame:
    """Name columns f0, f1, …: LightGBM refuses commas, quotes and brackets."""
    return X.set_axis([f"f{i}" for i in range(X.shape[1])], axis="columns")


MODELS = {
    model.name: model
    for model in (
        Model(
            "linear",
            {
                "penalty": "l2",
                "alpha": 1e-3,
                "fit_intercept": True,
                "solver": "auto",
                "max_iter": None,
                "tol": 1e-5,
                "learning_rate": None,
                "batch_size": 32,
            },
            _train_linear,
        ),
        Model(
            "lightgbm",
            {
                "n_estimators": 100,
                "learning_rate": 0.1,
                "num_leaves": 31,
                "max_depth": -1,
                "min_child_samples": 20,
                "min_child_weight": 1e-3,
                "min_split_gain": 0.0,
                "reg_alpha": 0.0,
                "reg_lambda": 0.0,
                "subsample": 1.0,
                "subsample_freq": 0,
                "colsample_bytree": 1.0,
            },
            _train_lightgbm,
        ),
    )
}
"""The models by name, with their defaults."""
