"""A loss as a scorer and a metric equals scikit-learn's own."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn import config_context, metrics
from sklearn import linear_model as skl
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

import lossary as ls
from lossary.errors import DataError, DomainError, LossaryError, ParameterError
from lossary.frameworks.sklearn import LossClassifier, LossRegressor, Metric, Scorer

RNG = np.random.default_rng(3)
N = 200
X = RNG.normal(size=(N, 3))
REAL = 2 + X @ [1.0, 2.0, 0.0] + RNG.normal(size=N)
COUNT = RNG.poisson(np.exp(X[:, 0])).astype(float)
LABEL = np.where(X[:, 0] + RNG.logistic(size=N) > 0, "spam", "ham")
COLOUR = np.array(["red", "green", "blue"])[np.digitize(X[:, 0] + X[:, 1], [-0.5, 0.5])]
WEIGHT = RNG.integers(0, 3, size=N).astype(float)

LINEAR = skl.LinearRegression().fit(X, REAL)
GLM = skl.PoissonRegressor(alpha=0).fit(X, COUNT)
LOGISTIC = skl.LogisticRegression().fit(X, LABEL)
SOFTMAX = skl.LogisticRegression().fit(X, COLOUR)
FOREST = RandomForestClassifier(20, max_depth=2, random_state=0).fit(X, LABEL)
SVM = LinearSVC().fit(X, LABEL)


def hinge_loss(y, z, sample_weight=None):
    return metrics.hinge_loss(y, z, sample_weight=sample_weight)


PAIRS = [
    ("squared_error", LINEAR, REAL, metrics.mean_squared_error, "predict"),
    ("absolute_error", LINEAR, REAL, metrics.mean_absolute_error, "predict"),
    ("2*pinball(tau=0.3)", LINEAR, REAL,
     lambda *a, **k: 2 * metrics.mean_pinball_loss(*a, alpha=0.3, **k), "predict"),
    ("squared_log_error", GLM, COUNT, metrics.mean_squared_log_error, "predict"),
    ("binary_cross_entropy", LOGISTIC, LABEL, metrics.log_loss, "predict_proba"),
    ("binary_cross_entropy", FOREST, LABEL, metrics.log_loss, "predict_proba"),
    ("cross_entropy", LOGISTIC, LABEL, metrics.log_loss, "predict_proba"),
    ("cross_entropy", SOFTMAX, COLOUR, metrics.log_loss, "predict_proba"),
    ("kl_divergence", SOFTMAX, COLOUR, metrics.log_loss, "predict_proba"),
    ("hinge", SVM, LABEL, hinge_loss, "decision_function"),
]  # fmt: skip


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize(("loss", "model", "y", "theirs", "method"), PAIRS)
def test_scorer_and_metric_are_those_of_scikit_learn(
    loss, model, y, theirs, method, weight
):
    predicted = getattr(model, method)(X)
    expected = theirs(y, predicted, sample_weight=weight)
    scorer = ls.get(loss).to_sklearn()
    assert scorer(model, X, y, sample_weight=weight) == pytest.approx(-expected)
    assert scorer.metric(y, predicted, sample_weight=weight) == pytest.approx(expected)


def test_poisson_is_scored_on_means():
    mean = GLM.predict(X)
    expected = ls.poisson(COUNT, np.log(mean))
    assert ls.poisson.to_sklearn()(GLM, X, COUNT) == pytest.approx(-float(expected))
    half_deviance = metrics.mean_poisson_deviance(COUNT, mean) / 2
    other = metrics.mean_poisson_deviance(COUNT, 2 * mean) / 2
    difference = Metric("poisson")(COUNT, 2 * mean) - Metric("poisson")(COUNT, mean)
    assert difference == pytest.approx(other - half_deviance)


@pytest.mark.parametrize(
    ("loss", "model", "y"),
    [
        ("poisson", LossRegressor("poisson"), COUNT),
        ("squared_log_error", LossRegressor("squared_log_error"), COUNT),
        ("general_robust", LossRegressor("general_robust"), REAL),
        ("binary_cross_entropy", LossClassifier(), LABEL),
        ("binary_focal", LossClassifier("binary_focal"), LABEL),
        ("hinge", LossClassifier("hinge"), LABEL),
        ("exponential", LossClassifier("exponential"), LABEL),
        ("cross_entropy", LossClassifier(), COLOUR),
        ("focal", LossClassifier("focal"), COLOUR),
    ],
)
def test_the_score_of_our_estimators_is_their_objective(loss, model, y):
    model = model.fit(X, y)
    if loss in ("binary_focal", "focal"):
        assert np.isfinite(Scorer(loss)(model, X, y))
    else:
        assert Scorer(loss)(model, X, y) == pytest.approx(-model.objective_, rel=1e-6)


def test_a_model_without_probabilities_is_scored_through_its_scores():
    z = SVM.decision_function(X)
    expected = float(ls.binary_cross_entropy((LABEL == "spam") * 1.0, z))
    assert Scorer("binary_cross_entropy")(SVM, X, LABEL) == pytest.approx(-expected)


def test_scores_that_are_no_logits_are_not_taken_for_logits():
    machine = CalibratedClassifierCV(SVC(), ensemble=False).fit(X, LABEL)
    expected = metrics.log_loss(LABEL, machine.predict_proba(X))
    assert Scorer("binary_cross_entropy")(machine, X, LABEL) == pytest.approx(-expected)


def test_a_saturated_probability_is_scored_by_its_logit():
    far = np.r_[X[:-1], [[-1e3, 0.0, 0.0]]]
    y = LABEL.copy()
    y[-1] = "spam"  # surely ham, says the model
    z = LOGISTIC.decision_function(far)
    assert LOGISTIC.predict_proba(far)[-1, 1] == 0
    expected = float(ls.binary_cross_entropy((y == "spam") * 1.0, z))
    assert Scorer("binary_cross_entropy")(LOGISTIC, far, y) == pytest.approx(-expected)


def test_a_probability_of_zero_for_what_happened_costs_infinity():
    never = DummyClassifier(strategy="constant", constant="ham").fit(X, LABEL)
    assert Scorer("binary_cross_entropy")(never, X, LABEL) == -np.inf


def test_a_formula_of_logits_alone_is_scored_on_probabilities():
    @ls.pointwise(target="fraction", prediction="logit", link="logit")
    def own(y, z):
        p = ls.ops.sigmoid(z)
        return (p - y) ** 2

    expected = metrics.brier_score_loss(LABEL == "spam", FOREST.predict_proba(X)[:, 1])
    assert Scorer(own)(FOREST, X, LABEL) == pytest.approx(-expected)


# -- labels ---------------------------------------------------------------------------


def test_the_last_label_is_positive_unless_told():
    p = LOGISTIC.predict_proba(X)
    metric = Metric("binary_cross_entropy")
    expected = metrics.log_loss(LABEL, p)
    assert metric(LABEL, p[:, 1]) == pytest.approx(expected)
    assert metric(LABEL, p[:, 0], pos_label="ham") == pytest.approx(expected)
    assert metric(LABEL, p, pos_label="ham") == pytest.approx(expected)
    assert metric(LABEL[:1], p[:1], labels=["ham", "spam"]) == pytest.approx(
        metrics.log_loss(LABEL[:1], p[:1], labels=["ham", "spam"])
    )


@pytest.mark.parametrize("low", [0, -1])
def test_labels_may_be_numbers(low):
    y = np.where(LABEL == "spam", 1, low)
    p = LOGISTIC.predict_proba(X)[:, 1]
    expected = metrics.log_loss(y, p)
    assert Metric("binary_cross_entropy")(y, p) == pytest.approx(expected)


def test_a_fold_that_lacks_a_class_is_scored():
    some = COLOUR != "red"
    expected = metrics.log_loss(
        COLOUR[some], SOFTMAX.predict_proba(X[some]), labels=SOFTMAX.classes_
    )
    found = Scorer("cross_entropy")(SOFTMAX, X[some], COLOUR[some])
    assert found == pytest.approx(-expected)


@pytest.mark.parametrize(
    ("loss", "y", "p", "options", "message"),
    [
        ("binary_cross_entropy", COLOUR, np.full(N, 0.5), {}, "loss of two classes"),
        ("binary_cross_entropy", LABEL, np.full(N, 0.5), {"pos_label": "eggs"},
         "pos_label='eggs' is not one"),
        ("binary_cross_entropy", LABEL, np.full(N, 0.5), {"labels": ["ham", "eggs"]},
         r"\['spam'\], which are not among"),
        ("binary_cross_entropy", LABEL, np.full(N, 1.5), {}, "must hold probabilities"),
        ("cross_entropy", COLOUR, np.full((N, 4), 0.25), {}, "4 columns and .* 3 l"),
        ("squared_error", REAL, REAL[:, None], {}, "nothing is broadcast"),
        ("poisson", COUNT, 0 * COUNT, {}, "must hold positive numbers"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_refused(loss, y, p, options, message):
    with pytest.raises(LossaryError, match=message):
        Metric(loss)(y, p, **options)


def test_a_model_that_gives_no_such_predictions_is_refused():
    with pytest.raises(ParameterError, match="RandomForestClassifier has no decision"):
        Scorer("hinge")(FOREST, X, LABEL)
    clusters = NearestCentroid(metric="manhattan").fit(X, LABEL)
    with pytest.raises(ParameterError, match="NearestCentroid has no predict_proba"):
        Scorer("binary_cross_entropy")(clusters, X, LABEL)
    with pytest.raises(ParameterError, match="is not a loss"):
        Scorer(3)


def test_a_target_outside_the_domain_is_named():
    with pytest.raises(DomainError, match="row 2"):
        Metric("poisson")([1.0, 0.0, -1.0], [1.0, 1.0, 1.0])
    with pytest.raises(DataError, match="labels"):
        Metric("hinge")(["only"], [0.5])


# -- in use ---------------------------------------------------------------------------


def test_a_search_picks_the_least_loss():
    search = GridSearchCV(
        make_pipeline(StandardScaler(), skl.Ridge()),
        {"ridge__alpha": [0.1, 1e6]},
        scoring=ls.absolute_error.to_sklearn(),
    ).fit(X, REAL)
    assert search.best_params_ == {"ridge__alpha": 0.1}
    theirs = GridSearchCV(
        make_pipeline(StandardScaler(), skl.Ridge()),
        {"ridge__alpha": [0.1, 1e6]},
        scoring="neg_mean_absolute_error",
    ).fit(X, REAL)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"]
    )


def test_processes_share_a_scorer():
    scores = cross_val_score(
        skl.LogisticRegression(), X, LABEL, n_jobs=2,
        scoring=ls.binary_cross_entropy.to_sklearn(),
    )  # fmt: skip
    theirs = cross_val_score(skl.LogisticRegression(), X, LABEL, scoring="neg_log_loss")
    np.testing.assert_allclose(scores, theirs)


def test_several_scorers_go_side_by_side():
    found = cross_validate(
        HistGradientBoostingClassifier(max_iter=5), X, LABEL,
        scoring={"ours": Scorer("binary_cross_entropy"), "theirs": "neg_log_loss"},
    )  # fmt: skip
    np.testing.assert_allclose(found["test_ours"], found["test_theirs"], rtol=1e-6)


@pytest.mark.parametrize("several", [False, True])
def test_a_search_hands_its_weights_to_the_scorer(several):
    scoring = {"a": Scorer("squared_error")} if several else Scorer("squared_error")
    search = GridSearchCV(
        skl.Ridge(), {"alpha": [1.0]}, scoring=scoring, refit=False,
        cv=[(np.arange(N), np.arange(N))],
    ).fit(X, REAL, sample_weight=WEIGHT)  # fmt: skip
    model = skl.Ridge().fit(X, REAL, sample_weight=WEIGHT)
    expected = -metrics.mean_squared_error(REAL, model.predict(X), sample_weight=WEIGHT)
    name = "mean_test_a" if several else "mean_test_score"
    assert search.cv_results_[name][0] == pytest.approx(expected)


def test_a_metric_is_a_metric_of_make_scorer():
    scorer = metrics.make_scorer(Metric("mae"), greater_is_better=False)
    expected = -metrics.mean_absolute_error(REAL, LINEAR.predict(X))
    assert scorer(LINEAR, X, REAL) == pytest.approx(expected)


def test_requests_need_routing_to_be_on():
    with pytest.raises(RuntimeError, match="enable_metadata_routing"):
        Scorer("mae").set_score_request(sample_weight=True)
    with config_context(enable_metadata_routing=True):
        scorer = Scorer("mae").set_score_request(sample_weight="importance")
        request = scorer.get_metadata_routing().score.requests
    assert request == {"sample_weight": "importance"}


def test_copies_are_equal():
    scorer = ls.huber(delta=2.0).to_sklearn()
    copy = pickle.loads(pickle.dumps(scorer))
    assert copy == scorer
    assert hash(copy) == hash(scorer)
    assert scorer != Scorer("huber")
    assert repr(copy) == "Scorer(huber(delta=2.0))"
    assert not scorer.greater_is_better
    assert scorer.metric.__name__ == "huber(delta=2.0)"
