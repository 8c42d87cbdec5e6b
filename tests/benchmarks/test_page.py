"""The page of benchmark results says what the reports say."""

from benchmarks.page import page

REPORT = {
    "command": "python -m benchmarks --backend torch",
    "pairs": 7,
    "cases": [
        {"name": "targets_1", "backend": "torch", "ours_s": 0.0021, "peer_s": 0.0084, "ratio": 4.0, "spread": 0.05},
        {"name": "targets_20", "backend": "torch", "ours_s": 0.02, "peer_s": 0.2, "ratio": 10.0, "spread": 0.1},
        {"name": "train_step_bf16", "backend": "mxnet", "ours_s": 1.0, "peer_s": 2.0, "ratio": 2.0, "spread": 0.0},
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
    assert "| `targets_1` | torch | 2.1 ms | 8.4 ms | **4** | 5% | 7 | 3 | reached |" in lines
    assert "| `targets_20` | torch | 20 ms | 200 ms | **10** | 10% | 7 | 15 | not reached |" in lines
    assert "| `train_step_bf16` | mxnet | 1 s | 2 s | **2** | 0% | 7 | – |  |" in lines


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
