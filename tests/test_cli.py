"""The command line: its main job, and one sentence for whatever is wrong."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lossary.cli import BAD_INPUT, INTERRUPTED, main

QUICK = ["--model", "linear", "--folds", "3", "--repeats", "1", "--jobs", "1"]
CSV = "a,b,y\n" + "".join(f"{i},{i % 3},{i + i % 5 + 1}\n" for i in range(30))

MISTAKES = [
    (
        "compare diabetes --metrc mape",
        "Unknown option: --metrc. Did you mean --metric?",
    ),
    ("compare diabetes", "pass --metric"),
    (
        "compare diabetes --metric mapee",
        "there is no metric 'mapee'; did you mean 'mape'",
    ),
    ("compare diabetes --metric auc", "ask for a metric of numbers"),
    ("compare diabetes --metric mae --target foo", "no column 'foo'"),
    (
        "compare none.csv --metric mae --target y",
        "no file or embedded data set 'none.csv'",
    ),
    ("compare data.csv --metric mae", "which column is the target? pass --target"),
    ("compare data.csv --metric mae --target z", "no column 'z'"),
    (
        "compare --model xgb",
        "there is no model 'xgb'; known names are lightgbm, linear",
    ),
    ("compare --folds 1", "folds must be at least 2; got 1"),
    ("compare --folds x", "unable to convert"),
    ("compare --loss huberr", "no loss is called 'huberr'; did you mean 'huber'"),
    ("compare --loss none:some", "there is no module 'none'"),
    ("compare --loss mine:some", "mine has no 'some'"),
    ("compare --report no/where.html", "cannot be written to no/where.html"),
    ("compare --store data.csv", "data.csv is a file"),
    ("choose data.csv --target y --metric log_lss", "did you mean 'log_loss'"),
    ("show hubber", "did you mean 'huber'"),
    ("show huber(delta=-1)", "delta"),
    ("show", "requires an argument"),
    ("list zzz", "no loss fits 'zzz'"),
    ("explode", 'Unknown command "explode"'),
]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder of one's own, with data and a loss in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("data.csv").write_text(CSV)
    Path("mine.py").write_text(
        "from lossary import pointwise\n\n\n"
        "@pointwise\n"
        "def lopsided(y, z):\n"
        '    """Twice as dear below."""\n'
        "    return (z - y) ** 2 + 0.5 * abs(z - y)\n"
    )


def left(command: list[str]) -> int:
    """Run a command that leaves, and give its exit code."""
    with pytest.raises(SystemExit) as leaving:
        main(command)
    assert isinstance(leaving.value.code, int)
    return leaving.value.code


@pytest.mark.parametrize(("command", "message"), MISTAKES, ids=[m[0] for m in MISTAKES])
def test_a_mistake_is_one_sentence_and_exit_code_2(
    command: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert left(command.split()) == BAD_INPUT
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.startswith("lossary: ")
    assert len(said.err.strip().splitlines()) == 1
    assert "Traceback" not in said.err
    assert said.out == ""


def test_list_and_show(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list"])
    assert "absolute_percentage_error" in capsys.readouterr().out
    main(["list", "smoothl1"])  # a name elsewhere finds it too
    assert capsys.readouterr().out.split()[1] == "huber"
    main(["show", "torch.nn.HuberLoss"])
    assert capsys.readouterr().out.startswith("huber\n")
    main(["show", "mine:lopsided"])
    assert "Twice as dear below." in capsys.readouterr().out


def test_choose(capsys: pytest.CaptureFixture[str]) -> None:
    main(["choose", "data.csv", "--target", "y", "--metric", "mape"])
    assert "absolute_percentage_error" in capsys.readouterr().out
    main(["choose", "breast_cancer", "--metric", "f1"])
    assert "threshold" in capsys.readouterr().out


def test_compare_writes_table_verdict_and_report(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["compare", *QUICK])
    said = capsys.readouterr().out
    assert said.startswith("diabetes: 442 rows, 10 features")
    assert "absolute_percentage_error" in said
    assert "squared_error" in said
    assert "Report: report.html" in said
    assert max(map(len, said.splitlines())) <= 80
    assert Path("report.html").read_text().startswith("<!doctype html>")
    (folder,) = Path(".lossary").iterdir()
    assert folder.name.startswith("diabetes-")
    assert len((folder / "trials.jsonl").read_text().splitlines()) == 4 * 3


def test_compare_twice_computes_once(capsys: pytest.CaptureFixture[str]) -> None:
    main(["compare", *QUICK])
    first = capsys.readouterr().out
    (log,) = Path(".lossary").glob("*/trials.jsonl")
    before = log.read_bytes()
    main(["compare", *QUICK])
    assert capsys.readouterr().out == first
    assert log.read_bytes() == before


def test_a_study_of_other_settings_has_a_folder_of_its_own() -> None:
    main(["compare", *QUICK])
    main(["compare", *QUICK, "--seed", "1"])
    assert len(list(Path(".lossary").iterdir())) == 2


def test_json_is_all_of_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["compare", "data.csv", "--target", "y", "--metric", "mae", "--json"]
    main([*command, *QUICK, "--report", "other.html", "--loss", "mine:lopsided"])
    found = json.loads(capsys.readouterr().out)
    assert {row["loss"] for row in found["table"]} == {"lopsided", "squared_error"}
    assert found["metric"] == "mae"
    assert Path("other.html").exists()


def test_what_the_study_says_of_itself_runs_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["compare", "data.csv", "--target", "y", "--metric", "mae"]
    main([*command, *QUICK, "--json"])
    first = json.loads(capsys.readouterr().out)
    words = shlex.split(first["reproduce"]["command"])
    main([*words[1:], "--json", "--jobs", "1"])
    again = json.loads(capsys.readouterr().out)
    assert again["verdict"] == first["verdict"]
    assert again["table"] == first["table"]


def test_a_column_may_be_called_anything() -> None:
    Path("odd.csv").write_text(CSV.replace("a,", "<script>alert(1)</script>,", 1))
    main(["compare", "odd.csv", "--target", "y", "--metric", "mae", *QUICK])
    assert "<script" not in Path("report.html").read_text()


def test_help_is_instant_and_loads_nothing_heavy() -> None:
    program = (
        "import sys; from lossary.cli import main\n"
        "try: main(['--help'])\n"
        "finally: print(sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "compare" in run.stdout
    loaded = run.stdout.splitlines()[-1]
    for heavy in ("scipy", "sklearn", "pandas", "lightgbm", "altair", "llvmlite"):
        assert f"'{heavy}'" not in loaded


def test_an_interrupted_comparison_says_how_to_go_on() -> None:
    command = ["compare", "--model", "linear", "--folds", "5", "--repeats", "20"]
    program = "from lossary.cli import main; main()"
    run = subprocess.Popen(
        [sys.executable, "-c", program, *command, "--jobs", "1"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "80"},
    )
    until = time.monotonic() + 60
    while time.monotonic() < until and not list(Path().glob(".lossary/*/trials.jsonl")):
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert run.returncode == INTERRUPTED
    assert out == ""
    assert "finished trials are kept in .lossary/diabetes-" in err
    assert "Traceback" not in err
