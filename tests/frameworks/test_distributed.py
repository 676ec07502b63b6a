"""What ranks compute together is what one process computes on the whole."""

from __future__ import annotations

import copy
import os
import pickle
import re
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest
import torch
from frameworks.ranks import CASES
from frameworks.ranks.classes import CLASSES, SLICES
from frameworks.ranks.rows import COLLECTIVES
from torch.testing import assert_close

from lossary.errors import DataError, DomainError, ParameterError, ShapeError
from lossary.frameworks.distributed import GlobalLoss, VocabularyParallel

WORLDS = (2, 3)
ROOT = Path(__file__).parents[2]
TWINS = [name for name in CASES if name.startswith("twin")]
ERRORS = {
    "error_of_a_value": (
        DomainError,
        "binary_cross_entropy: target must hold",
        "1.5 in row 2",
    ),
    "error_of_a_shape": (ShapeError, "dice: target has shape (4,)"),
    "error_of_widths": (ShapeError, "info_nce", "3 numbers of 4 bytes and 4 numbers"),
    "error_of_learned_values": (ParameterError, "scale", "DistributedDataParallel"),
    "error_of_an_accumulated_sum": (ParameterError, "huber", "gradients='summed'"),
    "error_of_nothing_left": (DomainError, "nothing is left to average"),
    "error_of_second_derivatives": (ParameterError, "create_graph"),
    "error_of_a_label": (DomainError, "focal: target must hold class", "in row 1"),
    "error_of_different_labels": (DataError, "focal: the ranks have different targets"),
    "error_of_different_rows": (ShapeError, "focal", "3 rows"),
    "error_of_a_distribution": (DomainError, "must sum to 1", "rows 0, 1"),
    "error_of_a_probability": (DomainError, "focal: target must hold", "in row 1"),
}
OTHERS = ("twin", "error", "vocabulary", "group", "accumulated", "collectives")
EQUAL = [name for name in CASES if not name.startswith(OTHERS)]
VOCABULARY = [name for name in CASES if name.startswith("vocabulary")]


@pytest.fixture(scope="module", params=WORLDS, ids=lambda n: f"{n} ranks")
def ranks(request, tmp_path_factory):
    """What each rank brings back, by case; ranks are started once per run."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    return brought_back(request.param, shared / f"{request.param} ranks")


def brought_back(world, folder):
    results = [folder / f"{rank}.pickle" for rank in range(world)]
    try:
        folder.mkdir()
    except FileExistsError:  # another worker of the run has started them
        deadline = time.monotonic() + 120
        while not (folder / "done").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
    else:
        try:
            start(world, folder)
        finally:
            (folder / "done").touch()
    return [pickle.loads(path.read_bytes()) for path in results]


def start(world, folder):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "GLOO_SOCKET_IFNAME": "lo",
        "PYTHONWARNINGS": "error",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "frameworks.ranks", str(world), str(rank), folder],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(world)
    ]
    said = [process.communicate(timeout=150)[0] for process in processes]
    assert not any(process.returncode for process in processes), "\n".join(said)


@cache
def alone(name):
    """The same case, run by one process on all rows and classes."""
    return CASES[name](0, 1)


def agree(ours, theirs):
    for x, y in zip(ours, theirs, strict=True):
        tolerance = {"rtol": 1e-12, "atol": 1e-14}
        if x.dtype != torch.float64:
            tolerance = {"rtol": 1e-6, "atol": 1e-7}
        assert_close(x, y, equal_nan=True, **tolerance)


# -- rows -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", EQUAL)
def test_ranks_are_one_process(ranks, name):
    expected = alone(name)
    for found in (results[name] for results in ranks):
        agree([found["value"]], [expected["value"]])
        agree(found["gradients"], expected["gradients"])


@pytest.mark.parametrize("name", TWINS)
def test_what_is_often_written_is_caught(ranks, name):
    expected = alone(name)
    found = ranks[0][name]
    key = "slice" if "slice" in found else "gradients"
    if key == "slice":
        found["slice"] = torch.cat([results[name]["slice"] for results in ranks], dim=1)
    with pytest.raises(AssertionError):
        agree([*found[key]], [*expected[key]])


def test_a_plain_gather_counts_gradients_once_per_rank(ranks):
    found, expected = ranks[0]["twin_plain_gather"], alone("twin_plain_gather")
    agree(found["gradients"], [len(ranks) * g for g in expected["gradients"]])


@pytest.mark.parametrize(
    "name", [name for name in CASES if name.startswith("accumulated")]
)
def test_parts_of_the_rows_are_one_step(ranks, name):
    _, reduction, _ = name.split(", ")
    whole = alone(f"step_of, huber, uneven, {reduction}")
    for results in ranks:
        agree([results[name]["value"]], [whole["value"]])
        agree(results[name]["gradients"], whole["gradients"])


@pytest.mark.parametrize("loss", COLLECTIVES)
def test_collectives_are_as_many_as_documented(ranks, loss):
    for results in ranks:
        assert results[f"collectives, {loss}"] == COLLECTIVES[loss]


@pytest.mark.parametrize("make", [GlobalLoss, VocabularyParallel])
def test_without_ranks_it_is_the_loss(make):
    criterion = make("cross_entropy")
    z, y = torch.tensor([[1.0, 2.0], [0.5, -1.0]]), torch.tensor([0, 1])
    assert_close(criterion(z, y), torch.nn.functional.cross_entropy(z, y))
    weighted = criterion(z, y, torch.tensor([1.0, 0.0]))
    assert_close(weighted, torch.nn.functional.cross_entropy(z[:1], y[:1]))


# -- classes --------------------------------------------------------------------------


@pytest.mark.parametrize("name", VOCABULARY)
def test_slices_of_classes_are_one_softmax(ranks, name):
    expected = alone(name)
    for results in ranks:
        agree([results[name]["value"]], [expected["value"]])
    together = torch.cat([results[name]["slice"] for results in ranks], dim=1)
    assert together.shape[1] == CLASSES
    agree([together], [expected["slice"]])


def test_slices_are_uneven_and_one_is_a_single_class():
    assert all(len(set(widths)) == len(widths) for widths in SLICES.values())
    assert 1 in SLICES[3]


# -- failures -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_on_one_rank_is_raised_on_all(ranks, name):
    kind, *words = ERRORS[name]
    for results in ranks:
        found, sentence = results[name]["error"]
        assert found is kind
        assert all(word in sentence for word in words), sentence
        assert results[name]["after"] == 1.5


def test_an_error_names_the_rank_that_met_it(ranks):
    for results in ranks:
        _, sentence = results["error_of_a_value"]["error"]
        assert sentence.startswith(f"rank {len(ranks) - 1}: ")


def test_an_error_of_another_library_stops_all_ranks(ranks):
    *others, last = (results["error_of_another_kind"] for results in ranks)
    assert last["error"][0] is RuntimeError
    for found in others:
        kind, sentence = found["error"]
        assert kind is DataError
        assert sentence.startswith(f"rank {len(ranks) - 1}: the loss failed with Run")
    assert {found["after"] for found in (*others, last)} == {1.5}


def test_a_group_is_its_members(ranks):
    first, *others = (results["group_of_the_first_rank"] for results in ranks)
    assert_close(first["value"], alone("group_of_the_first_rank")["value"])
    for found in others:
        kind, sentence = found["error"]
        assert kind is ParameterError
        assert "not a member" in sentence


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (GlobalLoss, {"reduction": "none"}, "single rows"),
        (GlobalLoss, {"gradients": "mean"}, "'averaged', 'summed'"),
        (VocabularyParallel, {"loss": "huber"}, "only a loss of class logits"),
    ],
)
def test_options_are_checked_at_once(make, options, words):
    options = {"loss": "cross_entropy", **options}
    with pytest.raises(ParameterError, match=words):
        make(**options)


# -- modules --------------------------------------------------------------------------


def test_it_is_copied_pickled_and_loaded_like_any_module():
    criterion = GlobalLoss("general_robust", learn=["scale"], gradients="summed")
    for twin in (copy.deepcopy(criterion), pickle.loads(pickle.dumps(criterion))):
        assert repr(twin) == repr(criterion)
        twin.load_state_dict(criterion.state_dict())
        z, y = torch.tensor([1.0, 3.0]), torch.zeros(2)
        assert_close(twin(z, y), criterion(z, y))


# -- the page -------------------------------------------------------------------------


def test_the_script_of_the_page_prints_what_the_page_says(tmp_path):
    page = (ROOT / "docs" / "distributed.md").read_text()
    (script,) = re.findall(r"```python\n# train.py\n(.*?)```", page, re.DOTALL)
    (tmp_path / "train.py").write_text(script)
    (said,) = re.findall(r"```console\n\$ torchrun (.*?)\n(.*?)```", page, re.DOTALL)
    command, output = said
    found = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *command.split()],
        cwd=tmp_path,
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=150,
    )
    # Ranks write at once, so that a line's end may follow the next line.
    lines = re.findall(r"rank \d+: \d+ rows, loss \d+\.\d{6}", found.stdout)
    assert sorted(lines) == output.splitlines(), found.stderr
