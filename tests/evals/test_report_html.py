"""The HTML report needs nothing but itself, and its numbers are those of the run's files, to the digit."""

import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from paced_server import PacedServer

from evals.load.plan import Load, Shape
from evals.load.run import Settings, read_summary, run_load, summarise_again
from evals.load.slo import parse_slo
from evals.measures import read_measures
from evals.report_html import to_html
from evals.runs import RunFiles, read_run_record
from serving.endpoints import register
from tests.evals.conftest import Evals

# What prints a page, and reads the print; and a reader's screen that is dark.
TOOLS = ("chromium", "pdftotext", "pdftoppm")
DARK = "--blink-settings=preferredColorScheme=0"


class Cells(HTMLParser):
    """The rows of the tables: what each row names itself, and its fields' exact values; and every address the page names."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[tuple[dict[str, str], dict[str, float | None]]] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        self.addresses += [values[name] for name in ("src", "href", "xlink:href") if name in values]
        if tag == "tr":
            self.rows.append((values, {}))
        elif "data-field" in values:
            text = values["data-value"]
            self.rows[-1][1][values["data-field"]] = float(text) if text else None


@pytest.fixture(scope="module")
def load_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of three levels over a paced server."""
    results = tmp_path_factory.mktemp("load") / "results"
    with PacedServer(ttft_ms=5, gap_ms=1, tokens=8) as server:
        register(server.endpoint(), results)
        settings = Settings(
            endpoint=server.endpoint(), load=Load(concurrency=1, requests=30), sweep=True, most_levels=3, seed=1, processes=1,
            shape=Shape(input_tokens=20, output_tokens=8), slo=parse_slo("latency=0.5,p=90"),
        )  # fmt: skip
        return run_load(settings, results)


def test_each_score_is_that_of_scores_jsonl_to_the_digit(demo: RunFiles) -> None:
    found = {(row["data-endpoint"], row["data-task"], row["data-metric"]): values for row, values in Cells(to_html([demo])).rows if row}
    stored = [json.loads(line) for line in (demo.folder / "scores.jsonl").read_text().splitlines()]
    assert len(stored) == len(found) == 16
    for score in stored:
        values = found[score["endpoint"], score["task"], score["metric"]]
        for field in ("value", "stderr", "n", "n_failed", "coverage"):
            assert values[field] == score.get(field), (score, field)
    for measure in read_measures(demo.folder):
        values = next(values for (endpoint, task, _), values in found.items() if (endpoint, task) == (measure.endpoint, measure.task))
        for field in ("latency_s_p50", "output_tokens_mean", "cost_usd_per_1000"):
            assert values[field] == getattr(measure, field)


def test_each_level_is_that_of_load_json_and_of_load_jsonl_to_the_digit(load_folder: Path) -> None:
    summary = read_summary(load_folder)
    rows = [(int(row["data-point"]), values) for row, values in Cells(to_html([(read_run_record(load_folder), summary)])).rows if row]
    assert [point for point, _ in rows] == [0, 1, 2]
    stored = json.loads((load_folder / "load.json").read_text())["levels"]
    again = summarise_again(load_folder, summary.slo).levels
    for point, values in rows:
        assert values["n_measured"] == stored[point]["n_measured"] == again[point].n_measured
        assert values["requests_per_s"] == stored[point]["requests_per_s"]["value"] == again[point].requests_per_s.value
        for name in ("ttft_from_schedule_s", "latency_from_schedule_s"):
            percentile = stored[point]["figures"][name]["percentiles"]["p50"]
            raw = again[point].figures[name].percentiles["p50"]
            assert raw is not None and values[f"{name}.p50"] == percentile["value"] == raw.value
            assert values[f"{name}.p99"] is None and stored[point]["figures"][name]["percentiles"]["p99"] is None
        assert values["goodput"] == stored[point]["goodput"]["value"]


def test_the_page_needs_no_network_no_script_and_less_than_two_megabytes(demo: RunFiles, load_folder: Path) -> None:
    page = to_html([demo, (read_run_record(load_folder), read_summary(load_folder))])
    found = Cells(page)
    assert not {"script", "link", "iframe", "img"} & found.tags
    assert all(address.startswith("#") for address in found.addresses)
    assert "@import" not in page and "url(http" not in page.replace("&quot;", "")
    assert len(page.encode()) < 2_000_000
    assert page.count("<svg ") == 4 and page.count("<article") == 2
    assert "Run " + demo.run.run_id in page and "n = 1,319" in page


def test_a_name_from_a_file_is_no_markup(demo: RunFiles) -> None:
    score = demo.scores[0].model_copy(update={"endpoint": "<script>x</script>"})
    page = to_html([RunFiles(demo.folder, demo.run, (score,), demo.samples, demo.completions)])
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_the_command_writes_both_kinds_into_one_page(evals: Evals, demo: RunFiles, load_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    code, out, err = evals("report", demo.folder, load_folder, "--html", path)
    assert (code, out) == (0, "") and "wrote" in err
    assert Cells(path.read_text()).rows and "Load on" in path.read_text()
    code, _, err = evals("report", demo.folder, "--html", path / "report.html")
    assert code == 1 and "cannot be written" in err


def test_markdown_and_json_still_take_both_kinds(evals: Evals, demo: RunFiles, load_folder: Path) -> None:
    code, out, _ = evals("report", load_folder, "--markdown")
    assert code == 0 and "# Load on" in out
    code, out, _ = evals("report", demo.folder, "--json")
    document: Any = json.loads(out.splitlines()[-1])
    assert code == 0 and document["run_id"] == demo.run.run_id


@pytest.mark.skipif(any(shutil.which(tool) is None for tool in TOOLS), reason="apt-get install chromium poppler-utils")
def test_on_paper_each_run_begins_a_page_and_every_column_is_on_it(demo: RunFiles, load_folder: Path, tmp_path: Path) -> None:
    page, pdf = tmp_path / "report.html", tmp_path / "report.pdf"
    load = (read_run_record(load_folder), read_summary(load_folder))
    page.write_text(to_html([demo, load, demo]), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", DARK, "--no-pdf-header-footer", f"--user-data-dir={tmp_path / 'profile'}"]
    subprocess.run(["chromium", *flags, f"--print-to-pdf={pdf}", page.as_uri()], check=True, capture_output=True, timeout=100)
    pages = subprocess.run(["pdftotext", "-layout", pdf, "-"], check=True, capture_output=True, text=True).stdout.split("\f")[:-1]
    firsts = [text.split("\n")[0].strip() for text in pages]
    assert firsts.count("demo") == 2 and sum(first.startswith("Load on") for first in firsts) == 1
    # The demo's tables: the last column is whole, and what a table is from stands below it.
    assert sum(text.count("$13.8") for text in pages) >= 4
    assert not [first for first in firsts if first.startswith("Run ")]
    subprocess.run(["pdftoppm", "-r", "10", "-gray", "-singlefile", pdf, tmp_path / "first"], check=True)
    _, size, most, rest = (tmp_path / "first.pgm").read_bytes().split(b"\n", 3)
    width = int(size.split()[0])
    assert int(most) == 255 and rest[0] == rest[width - 1] == 255
