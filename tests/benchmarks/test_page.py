"""The page of benchmark results says what the reports say."""

from benchmarks.cases import GOALS
from benchmarks.page import INTRODUCTION, page

REPORT = {
    "command": "python -m benchmarks --backend torch",
    "pairs": 7,
    "cases": [
        {"name": "epoch", "backend": "torch", "ours_s": 0.0021, "peer_s": 0.0105, "ratio": 5.0, "spread": 0.05},
        {"name": "epoch", "backend": "mxnet", "ours_s": 0.2, "peer_s": 0.36, "ratio": 1.8, "spread": 0.1},
        {"name": "targets_20", "backend": "mxnet", "ours_s": 1.0, "peer_s": 2.0, "ratio": 2.0, "spread": 0.0},
    ],
    "notes": ["a note"],
    "skipped": ["a case: skipped"],
    "void": [],
    "machine": {"cores": 2, "processor": "a processor"},
    "versions": {"torch": "2.12.1", "mxnet": "1.9.1", "numpy": "1.23.5", "d2l": "1.0.3"},
    "extras": {"lines": ["a measurement"]},
}


def test_each_case_is_a_row_with_its_goal_and_whether_it_is_reached():
    lines = page([REPORT]).splitlines()
    assert "| `epoch` | torch | 2.1 ms | 10.5 ms | **5** | 5% | 7 | 4.5 | reached |" in lines
    assert "| `epoch` | mxnet | 200 ms | 360 ms | **1.8** | 10% | 7 | 1.9 | not reached |" in lines
    assert "| `targets_20` | mxnet | 1 s | 2 s | **2** | 0% | 7 | – |  |" in lines


def test_the_page_in_the_documentation_has_the_goals_of_today(request):
    """The page is written by hand-started measurements of hours; its goals and its introduction must not lag behind."""
    text = (request.config.rootpath / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert text.startswith(INTRODUCTION)
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) > len(GOALS)
    for _, case, backend, *_, ratio, _, _, goal, verdict, _ in rows:
        wanted = GOALS.get((case.strip("`"), backend))
        reached = float(ratio.strip("*")) >= (wanted or 0)
        assert goal == ("–" if wanted is None else f"{wanted:g}")
        assert verdict == ("" if wanted is None else "reached" if reached else "not reached")


def test_commands_machine_and_messages_of_every_report_are_there():
    other = {**REPORT, "command": "python -m benchmarks --backend mxnet", "skipped": [], "notes": ["another note"]}
    text = page([REPORT, other])
    for line in (
        "    python -m benchmarks --backend torch",
        "    python -m benchmarks --backend mxnet",
        "- a note",
        "- another note",
    ):
        assert line in text.splitlines()
    assert "- a case: skipped\n" in text
    assert "2 cores of a processor, torch 2.12.1, mxnet 1.9.1" in text
    assert text.endswith("- a measurement\n")
