"""XGBoost's scikit-learn classes, with a loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from numpy.typing import NDArray

from lossary.errors import ParameterError
from lossary.frameworks.boosting.ranking import listwise
from lossary.frameworks.boosting.signatures import called_as, named, with_loss
from lossary.frameworks.boosting.targets import coded, labels_of, weights_of
from lossary.frameworks.boosting.tasks import check_regression
from lossary.frameworks.bundle import Array
from lossary.frameworks.xgboost.objective import Objective
from lossary.frameworks.xgboost.stored import Trained
from lossary.frameworks.xgboost.training import Run, Watch, xgboost

_MODEL: Any = xgboost.XGBModel
_DEFAULTS = {
    xgboost.XGBRegressor: "reg:squarederror",
    xgboost.XGBClassifier: "binary:logistic",
    xgboost.XGBRanker: "rank:ndcg",
}
"""What XGBoost's classes have as ``objective`` if it is not given."""


@contextmanager
def _lent(model: Any, **attributes: Any) -> Iterator[None]:
    """Give an object attributes for a while."""
    before = {name: vars(model).get(name) for name in attributes}
    vars(model).update(attributes)
    try:
        yield
    finally:
        vars(model).update(before)


class WithLoss:
    """What the estimators share: parameters, one training run, what is stored."""

    parent: ClassVar[Any]
    loss: Any
    objective: Any
    _run: Run | None = None
    _trained: Trained | None = None

    # -- parameters -------------------------------------------------------------------

    def get_xgb_params(self) -> dict[str, Any]:
        """Return XGBoost's parameters: those of the training run, while there is one.

        A trained booster keeps its objective and its start.
        """
        params: dict[str, Any] = super().get_xgb_params()  # type: ignore[misc]
        if self._run is not None:
            return self._run.configured(params)
        settled = ("loss", "objective", "base_score")
        return {k: v for k, v in params.items() if k not in settled}

    def _objective(self, default: str) -> tuple[Objective, bool]:
        """Return the objective, and whether XGBoost's own may take its place."""
        if self.objective != _DEFAULTS[self.parent]:
            raise ParameterError(
                f"{type(self).__name__} trains on loss=, so that objective= must be "
                "left out; xgboost's own class takes an objective"
            )
        given = default if self.loss is None else self.loss
        if isinstance(given, Objective):
            return given, False
        return Objective(given), True

    # -- training ---------------------------------------------------------------------

    def _train(
        self,
        X: Any,
        objective: tuple[Objective, bool],
        labels: NDArray[Any],
        options: dict[str, Any],
        **how: Any,
    ) -> None:
        """Fit by XGBoost's method, on labels; `how` is that of a run."""
        weight = options.get("sample_weight")
        run = Run(
            objective[0],
            labels,
            None if how.get("ranks") else weights_of(weight, len(labels)),
            _MODEL.get_xgb_params(self),
            direct=objective[1],
            first=_booster(options.get("xgb_model")),
            **how,
        )
        if run.train_weight is not None:
            options["sample_weight"] = run.train_weight
        self._offset(run.trained, len(labels), options)

        def pull(y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            return run.pull(y_pred)

        watched: Sequence[Any] = [Watch(run), *(getattr(self, "callbacks", None) or ())]
        own = run.own["objective"] if run.own is not None else pull
        with _lent(self, objective=own, callbacks=watched, _run=run):
            _MODEL.fit(self, X, labels, **options)
        self._trained = run.finish(self._Booster)  # type: ignore[attr-defined]
        self.loss_ = self._trained.loss

    def _offset(self, trained: Trained, rows: int, options: dict[str, Any]) -> None:
        """Give XGBoost the start row by row, where boosters have no place for it."""
        if trained.offset is None or options.get("base_margin") is not None:
            return
        options["base_margin"] = trained.margin(rows)
        sets = options.get("eval_set")
        if sets is not None and options.get("base_margin_eval_set") is None:
            options["base_margin_eval_set"] = [trained.margin(len(y)) for _, y in sets]

    def _configure_fit(self, booster: Any, params: Any, *rest: Any) -> Any:
        found = super()._configure_fit(booster, params, *rest)  # type: ignore[misc]
        model, metric, params, *others = found
        assert self._run is not None
        by_name = "eval_metric" in params
        return model, self._run.metric(metric, by_name), params, *others

    def _create_dmatrix(self, ref: Any, **parts: Any) -> Any:
        made = self._made(ref, parts)
        if self._run is not None and self._run.data is None:
            self._run.data = made
        return made

    def _made(self, ref: Any, parts: dict[str, Any]) -> Any:
        return super()._create_dmatrix(ref=ref, **parts)  # type: ignore[misc]

    # -- prediction -------------------------------------------------------------------

    @property
    def stored(self) -> Trained:
        """What the booster remembers of the loss."""
        _MODEL.get_booster(self)  # or say that there is none yet
        assert self._trained is not None
        return self._trained

    def _scores(self, X: Any, **options: Any) -> Array:
        """Predict raw scores."""
        stored = self.stored
        if stored.offset is not None and options.get("base_margin") is None:
            rows = X.shape[0] if hasattr(X, "shape") else len(X)
            options["base_margin"] = stored.margin(rows)
        options["output_margin"] = True
        scores: Array = _MODEL.predict(self, X, **options)
        return scores

    def load_model(self, fname: Any) -> None:
        """Load a model, and the loss that it was trained on."""
        settings = ("objective", "base_score")
        before = {name: getattr(self, name) for name in settings}
        super().load_model(fname)  # type: ignore[misc]
        self._trained = Trained.read(self.get_booster())  # type: ignore[attr-defined]
        if self._trained is None:
            raise ParameterError(
                f"the model {fname!s:.60} was not trained on a loss of lossary; load "
                "it by xgboost's own class"
            )
        vars(self).update(before)
        self.loss = self.loss_ = self._trained.loss


class XGBRegressor(WithLoss, xgboost.XGBRegressor):
    """XGBoost's regressor, trained on any loss.

    Training starts at the best constant, weights are applied once, and predictions
    are on the response scale; with ``output_margin=True`` they are what start and trees
    add up to. On an ``eval_set`` the mean loss is shown, lower is better, where
    XGBoost shows its default metric; ``eval_metric`` as in XGBoost, and metrics
    see predictions on the response scale.

    Parameters
    ----------
    loss : str, Loss, weighted sum or Objective, default "squared_error"
        A loss of numbers, or of fractions, such as "binary_cross_entropy". Where
        XGBoost has the loss itself, XGBoost's own objective trains; an `Objective`
        is trained by its gradient and curvature in any case.
    **options
        Those of `xgboost.XGBRegressor`, but for ``objective``. ``base_score`` is on
        the response scale, and takes the place of the best constant.

    Attributes
    ----------
    loss_ : Loss
        What it was trained on, beside XGBoost's own attributes.

    Raises
    ------
    ParameterError
        For a loss of classes.
    DomainError
        For a target that the loss is not defined on, naming rows.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> y = rng.poisson(np.exp(X[:, 0]))
    >>> model = XGBRegressor("poisson", n_estimators=20, n_jobs=1)
    >>> bool(model.fit(X, y).predict(X).min() > 0)
    True
    """

    parent = xgboost.XGBRegressor

    @with_loss(xgboost.XGBRegressor)
    def __init__(self, loss: Any = "squared_error", **options: Any) -> None:
        super().__init__(**options)
        self.loss = loss

    @called_as(xgboost.XGBRegressor.fit)
    def fit(self, X: Any, y: Any, *given: Any, **options: Any) -> XGBRegressor:
        """Fit the trees; arguments are those of XGBoost's."""
        objective = self._objective("squared_error")
        bundle = objective[0].bundle
        check_regression(bundle, "XGBClassifier")
        options = named(self.parent.fit, 3, self, X, y, *given, **options)
        labels = labels_of(X, y, options.get("sample_weight"))
        labels, options = coded(
            X, labels, y, options, bundle.target, "sample_weight_eval_set"
        )
        self._train(X, objective, labels, options)
        return self

    @called_as(xgboost.XGBRegressor.predict)
    def predict(self, X: Any, *given: Any, **options: Any) -> Any:
        """Predict on the response scale; arguments are those of XGBoost's."""
        options = named(_MODEL.predict, 2, self, X, *given, **options)
        raw = options.pop("output_margin", False)
        z = self._scores(X, **options)
        return z if raw else self.stored.response(z)


def _booster(model: Any) -> Any:
    """Return the booster that is trained further, in whatever form it is given."""
    if model is None or isinstance(model, xgboost.Booster):
        return model
    if isinstance(model, xgboost.XGBModel):
        return model.get_booster()
    return xgboost.Booster(model_file=model)


class XGBRanker(WithLoss, xgboost.XGBRanker):
    """XGBoost's ranker, trained on a loss of a distribution over documents.

    The documents of a query are its classes, and their relevance, divided by its sum,
    the distribution to predict: ListNet's top-one loss for "cross_entropy".
    Predictions are scores; the higher, the earlier.

    Parameters
    ----------
    loss : str, Loss or Objective, default "cross_entropy"
        A loss of a distribution over classes.
    **options
        Those of `xgboost.XGBRanker`, but for ``objective``.

    Attributes
    ----------
    loss_ : Loss
        What it was trained on, beside XGBoost's own attributes.

    Raises
    ------
    ParameterError
        For another kind of loss.
    DomainError
        For a relevance below 0, naming rows.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.integers(0, 5, size=(200, 2))
    >>> relevance = (X[:, 0] > 2).astype(int)
    >>> model = XGBRanker(n_estimators=20, n_jobs=1)
    >>> scores = model.fit(X, relevance, group=[10] * 20).predict(X)
    >>> bool(scores[relevance == 1].min() > scores[relevance == 0].max())
    True
    """

    parent = xgboost.XGBRanker

    @with_loss(xgboost.XGBRanker)
    def __init__(self, loss: Any = "cross_entropy", **options: Any) -> None:
        super().__init__(**options)
        self.loss = loss

    @called_as(xgboost.XGBRanker.fit)
    def fit(self, X: Any, y: Any, *given: Any, **options: Any) -> XGBRanker:
        """Fit the trees; arguments are those of XGBoost's."""
        objective = self._objective("cross_entropy")
        listwise(objective[0].loss)
        options = named(self.parent.fit, 3, self, X, y, *given, **options)
        options.setdefault("verbose", False)
        pairs = [(X, y), *(options.get("eval_set") or [])]
        self._queries = [
            (*pair, group, qid)
            for pair, group, qid in zip(
                pairs,
                [options.pop("group", None), *_each(options, "eval_group", pairs)],
                [options.pop("qid", None), *_each(options, "eval_qid", pairs)],
                strict=True,
            )
        ]
        try:
            self._train(X, objective, y, options, ranks=True)
        finally:
            del self._queries
        return self

    # XGBoost's general fit knows nothing of queries: the data sets are told here.
    def _made(self, ref: Any, parts: dict[str, Any]) -> Any:
        group, qid = next(
            (group, qid) for X, y, group, qid in self._queries
            if X is parts["data"] and y is parts["label"]
        )  # fmt: skip
        return self._create_ltr_dmatrix(ref, **{**parts, "group": group, "qid": qid})


def _each(options: dict[str, Any], name: str, pairs: list[Any]) -> list[Any]:
    """Return what an option holds for each set to evaluate on."""
    given = options.pop(name, None)
    return [None] * (len(pairs) - 1) if given is None else list(given)
