"""The demo, run once for all the tests that look at it; and `evals` as a person at the terminal meets it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evals.cli import main
from evals.quality import run_suite
from evals.runs import RunFiles
from evals.suite import choose_endpoints, find_suite, load_suite

Evals = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunFiles]:
    """`evals run suites/demo.yaml`, from the shipped data alone."""
    path = find_suite("demo")
    suite = load_suite(path)
    results = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("BAKEOFF_CATALOGUE", raising=False)
        yield run_suite(suite, choose_endpoints(suite, []), folder=path.parent, results=results)


@pytest.fixture
def evals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Evals:
    """Run the command; gives (exit code, stdout, stderr)."""
    monkeypatch.setenv("TQDM_DISABLE", "1")

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["evals", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
