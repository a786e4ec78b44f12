"""`make bench`: what a row says, and that a run of tiny sizes writes what it measured. How fast it is, no test asks."""

import json
import sys

import pytest
from click.testing import CliRunner

from benchmarks import rows
from benchmarks.__main__ import main, table
from benchmarks.rows import Row, require_equal, side_by_side


def test_ratio_and_aim():
    faster = Row("a", 2.0, 8.0, "b", "s", 3)
    assert faster.ratio == 4 and faster.reached and faster.as_dict()["ratio"] == 4
    assert not Row("a", 2.0, 8.0, "b", "s", 5).reached
    alone = Row("a", 1.5, None, "", "GiB", 2)
    assert alone.ratio is None and alone.reached and not Row("a", 2.5, None, "", "GiB", 2).reached
    assert table([Row("a", 2.0, 8.0, "b", "s", 5, "c")]).endswith(
        "| a | 2 s | 8 s | b | 4.00 | ≥ 5 (not reached) | c |\n"
    )
    assert table([alone]).endswith("| a | 1.5 GiB |  |  |  | ≤ 2 |  |\n")


def test_both_sides_run_in_turn_and_their_medians_count(monkeypatch):
    spent = {"ours": [50.0, 1.0, 9.0, 2.0], "peer": [70.0, 5.0, 4.0, 30.0]}  # the first round warms up
    ran = []
    monkeypatch.setattr(rows, "seconds_of", lambda function: spent[function()].pop(0))
    assert side_by_side(lambda: ran.append("ours") or "ours", lambda: ran.append("peer") or "peer", 3) == (2.0, 5.0)
    assert ran == ["ours", "peer"] * 4


def test_another_number_than_the_peer_s_is_refused():
    require_equal("score", [1.0, 2.0], [1.0, 2.0], 0)
    with pytest.raises(Exception, match="score: 5.0e-01 from the peer's; 1e-06 is allowed"):
        require_equal("score", [1.0, 3.0], [1.0, 2.0], 1e-6)


def test_a_quick_run_writes_its_rows_and_leaves_out_what_lacks_a_library(tmp_path, monkeypatch):
    for library in ("pytorch_fid", "torchmetrics"):
        monkeypatch.setitem(sys.modules, library, None)
    output = tmp_path / "results.json"
    chosen = [name for name in rows.ROWS if name not in ("speak_cold", "data_stages")]  # whose processes take a minute
    only = [word for name in chosen for word in ("--only", name)]
    result = CliRunner().invoke(main, ["--quick", "--output", str(output), *only], catch_exceptions=False)
    assert result.exit_code == 0
    assert [line for line in result.stderr.splitlines() if "left out" in line] == [
        f"frechet_{library}: left out, no {library} here; python -m pip install -e '.[bench]'"
        for library in ("pytorch_fid", "torchmetrics")
    ]
    found = json.loads(output.read_text())
    assert {row["peer_name"] for row in found} == {
        "efficientnet_lite0 in the loop", "padded to the longest", "librosa and .npy", "eSpeak NG alone",
        "JPEG and .npy, DataLoader", "torch-fidelity", "scikit-learn in a loop", "the generator alone",
        "the same networks, stepped as published, float32",
    }  # fmt: skip
    for row in found:
        assert row.keys() == {"name", "ours", "peer", "peer_name", "unit", "ratio", "aim", "note"}
        assert row["ratio"] == row["peer"] / row["ours"] > 0
    assert output.with_suffix(".md").read_text().count("\n| ") == 1 + len(found)
