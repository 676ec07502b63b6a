from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from workbench import toy as toy_module

import lossary as ls
from lossary.errors import DataError
from lossary.workbench.compare import compare
from lossary.workbench.data import load
from lossary.workbench.models import MODELS, Model
from lossary.workbench.splits import repeated_splits

TRIALS = 48  # four losses, 4 folds, 3 repeats


def everything(study):
    """All that a study holds, times and places aside."""
    told = study.to_dict()
    for record in (*told["trials"], *told["table"]):
        record["seconds"] = 0
        record.get("info", {}).pop("seconds", None)
    oof = {loss: p.tobytes() for loss, p in study.oof.items()}
    return told, oof


def lines(folder):
    file = Path(folder, "trials.jsonl")
    return file.read_bytes().count(b"\n") if file.exists() else 0


def start(folder, pause):
    return subprocess.Popen(
        [sys.executable, toy_module.__file__, str(folder), str(pause)],
        env=os.environ | {"PYTHONPATH": str(Path(toy_module.__file__).parents[1])},
    )


def test_a_killed_run_resumes_and_computes_nothing_twice(toy, tmp_path):
    folder = tmp_path / "study"
    process = start(folder, 0.1)
    deadline = time.monotonic() + 60
    while lines(folder) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = lines(folder)
    assert 5 <= kept < TRIALS
    resumed = toy.study(store=folder)
    assert len(toy.fits) == TRIALS - kept
    assert everything(resumed) == everything(toy.study())


def test_a_finished_study_is_read_back_bit_for_bit(toy, tmp_path):
    first = toy.study(store=tmp_path / "study")
    toy.fits.clear()
    again = toy.study(store=tmp_path / "study")
    assert toy.fits == []
    assert again.to_dict() == first.to_dict()
    assert everything(again) == everything(first)
    assert again.path == tmp_path / "study"


def test_a_line_cut_short_is_no_trial(toy, tmp_path):
    whole = toy.study(store=tmp_path)
    file = tmp_path / "trials.jsonl"
    file.write_bytes(file.read_bytes()[:-30])
    toy.fits.clear()
    assert everything(toy.study(store=tmp_path)) == everything(whole)
    assert len(toy.fits) == 1
    toy.fits.clear()
    toy.study(store=tmp_path)
    assert toy.fits == []


def test_more_losses_and_repeats_compute_what_is_new(toy, tmp_path):
    toy.study(store=tmp_path, losses=["mape"])
    toy.fits.clear()
    toy.study(store=tmp_path, losses=["mape", "huber"], repeats=4)
    counts = {loss: toy.fits.count(loss) for loss in set(toy.fits)}
    assert counts == {
        "squared_error": 4,
        "absolute_percentage_error": 4,
        "huber": 16,
    }
    toy.fits.clear()
    study = toy.study(store=tmp_path, losses=["huber"], control="mape", rope=0.5)
    assert toy.fits == []
    assert study.control == "absolute_percentage_error"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "mae"}, "metric mape there, mae here"),
        ({"folds": 3}, "folds 4 there, 3 here"),
        ({"seed": 7}, "seed 0 there, 7 here"),
        ({"model": "linear"}, "model toy there, linear here"),
    ],
)
def test_the_store_of_another_study_is_refused_untouched(
    toy, tmp_path, change, message
):
    toy.study(store=tmp_path)
    before = {f: f.read_bytes() for f in tmp_path.rglob("*.*")}
    with pytest.raises(DataError, match=f"holds another study .{message}"):
        toy.study(store=tmp_path, **change)
    assert {f: f.read_bytes() for f in tmp_path.rglob("*.*")} == before


def test_the_store_of_other_data_is_refused(toy, tmp_path):
    toy.study(store=tmp_path)
    X, y = toy.data(seed=1)
    options = {"metric": "mape", "model": "toy", "folds": 4, "repeats": 3}
    with pytest.raises(DataError, match=r"holds another study .data \w+ there"):
        compare(X, y, store=tmp_path, **options)


def test_a_folder_of_other_things_is_refused(toy, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(DataError, match="holds other files"):
        toy.study(store=tmp_path)
    with pytest.raises(DataError, match="is a file; a study is stored in a folder"):
        toy.study(store=tmp_path / "thesis.tex")
    (tmp_path / "thesis.tex").rename(tmp_path / "study.json")
    with pytest.raises(DataError, match="cannot be read as a study"):
        toy.study(store=tmp_path)


def test_a_formula_that_changed_is_trained_again(toy, tmp_path):
    @ls.pointwise
    def mine(y, z):
        return abs(z - y) ** 1.5

    first = toy.study(store=tmp_path, losses=[mine])

    @ls.pointwise
    def mine(y, z):
        return abs(z - y) ** 1.6

    toy.fits.clear()
    second = toy.study(store=tmp_path, losses=[mine])
    assert toy.fits == ["mine"] * 12
    assert first.oof["mine"].tobytes() != second.oof["mine"].tobytes()


def test_a_failure_is_on_record_and_tried_again(toy, tmp_path, monkeypatch):
    def train(task, settings):
        raise OSError("out of disk")

    def picky(task, settings):
        fails = repr(task.bundle.loss) == "huber"
        return (train if fails else toy.train)(task, settings)

    monkeypatch.setitem(MODELS, "toy", Model("toy", {}, picky))
    study = toy.study(store=tmp_path, losses=["huber"])
    assert "OSError: out of disk" in study.table[-1].failures
    assert "out of disk" in (tmp_path / "trials.jsonl").read_text()
    monkeypatch.setitem(MODELS, "toy", toy.TOY)
    toy.fits.clear()
    assert not toy.study(store=tmp_path, losses=["huber"]).table[-1].failures
    assert toy.fits == ["huber"] * 12


def test_progress_counts_what_was_stored(toy, tmp_path):
    told = []
    toy.study(
        store=tmp_path, losses=["mape"], repeats=1, progress=lambda *a: told.append(a)
    )
    assert told[0] == (0, 8, "")
    assert told[-1] == (8, 8, "absolute_percentage_error, repeat 1, fold 4")
    assert [done for done, _, _ in told] == list(range(9))
    told.clear()
    toy.study(
        store=tmp_path, losses=["mape"], repeats=1, progress=lambda *a: told.append(a)
    )
    assert told == [(8, 8, "stored before")]


def test_a_study_says_what_it_found_and_how(toy):
    study = toy.study(losses=["mape", "huber"])
    assert json.loads(json.dumps(study.to_dict()))["winner"] == study.winner
    assert study.losses == ("squared_error", "absolute_percentage_error", "huber")
    assert study.oof["huber"].shape == (3, 120)
    assert len(study.trials) == 36
    assert study.data["rows"] == 120
    assert study.protocol["repeats"] == 3
    assert study.reproduce["command"] == ""
    page = str(study).splitlines()
    assert " ".join(page).startswith(study.verdict[:60])
    assert max(map(len, page)) <= 80
    assert "constant" in page[-1]


def test_a_study_is_reproduced_by_what_it_says(tmp_path):
    options = {"folds": 3, "repeats": 1, "rope": 0.02, "seed": 5}
    study = compare("diabetes", metric="mape", model="linear(alpha=0.1)", **options)
    namespace: dict[str, object] = {}
    exec(study.reproduce["python"], namespace)
    assert everything(namespace["study"]) == everything(study)
    assert study.reproduce["command"].startswith("lossary compare diabetes --target")


def test_the_report_is_written(toy, tmp_path):
    file = toy.study(losses=["mape"]).to_html(tmp_path / "report.html")
    assert "absolute_percentage_error" in file.read_text("utf-8")


def test_weights_are_used_in_training_and_in_scores(toy):
    X, y = toy.data()
    w = np.random.default_rng(0).uniform(0.1, 3, size=len(y))
    options = {"metric": "mape", "model": "toy", "folds": 3, "repeats": 1}
    data = load(X, y=y, weight=w, task="regression")
    weighed, plain = compare(data, **options), compare(X, y, **options)
    assert weighed.data["weighted"]
    assert weighed.table[0].mean != plain.table[0].mean
    p, (trial, *_) = weighed.oof["squared_error"][0], weighed.trials
    rows = repeated_splits(y, folds=3, repeats=1)[0].test
    errors = np.abs(p[rows] - y[rows]) / y[rows]
    assert trial.scores["mape"] == pytest.approx(np.average(errors, weights=w[rows]))
