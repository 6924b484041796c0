"""The benchmark harness: ``python -m tests.bench [--quick] [--only W1,W4a] [--json FILE]``.

Every goal of PERFORMANCE.md is a ratio of two contenders measured side by side in one run, so the
harness can be believed on a shared machine.  Speed is checked here and nowhere else.
"""
