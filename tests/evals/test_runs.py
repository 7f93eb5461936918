"""A run is never overwritten, is written line by line while it lasts, and is read back as it was."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from evals.errors import RunExists, UnknownRun
from evals.measures import measures, read_measures
from evals.runs import RunFiles, completions_log, find_run, git_commit, new_run_folder, read_run, run_folders, write_run
from serving.completion import Completion, Request
from serving.errors import DocumentError

AT = datetime(2026, 11, 23, 5, 45, 12, tzinfo=UTC)


def test_run_ids_sort_by_time_and_never_collide(results: Path) -> None:
    made = [new_run_folder("demo", AT, results) for _ in range(3)]
    assert [run_id for run_id, _ in made] == ["20261123-054512-demo", "20261123-054512-demo-2", "20261123-054512-demo-3"]
    assert all(folder.is_dir() for _, folder in made)


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    assert new_run_folder("demo", AT, tmp_path, full) == ("20261123-054512-demo", full)
    (full / "precious").touch()
    with pytest.raises(RunExists, match="never overwrites"):
        new_run_folder("demo", AT, tmp_path, full)
    with pytest.raises(RunExists):
        new_run_folder("demo", AT, tmp_path, full / "precious")


def test_each_completion_is_on_disk_as_soon_as_it_is_recorded(tmp_path: Path) -> None:
    with completions_log(tmp_path) as record:
        for number in range(1, 4):
            record(Completion(endpoint="e", request=Request.user(str(number)), text="two\nlines"))
            lines = (tmp_path / "completions.jsonl").read_text().splitlines()
            assert [Completion.model_validate_json(line).request.messages[0].content for line in lines][-1] == str(number)  # type: ignore[index]
            assert len(lines) == number


def test_a_run_is_found_by_id_or_folder_and_read_back_whole(demo: RunFiles) -> None:
    results = demo.folder.parents[1]
    assert run_folders(results) == [demo.folder]
    assert find_run(demo.run.run_id, results) == demo.folder
    again = read_run(find_run(str(demo.folder), results / "elsewhere"))
    assert (again.run, again.scores, again.samples) == (demo.run, demo.scores, demo.samples)
    with pytest.raises(UnknownRun, match=f"Did you mean '{demo.run.run_id}'"):
        find_run(demo.run.run_id[:-1], results)


def test_one_endpoints_part_of_a_run_is_what_the_whole_says_of_it(demo: RunFiles) -> None:
    part = read_run(demo.folder, endpoint="gpt-4-0314")
    for mine, all_of_them in ((part.scores, demo.scores), (part.samples, demo.samples), (part.completions, demo.completions)):
        assert mine and list(mine) == [one for one in all_of_them if one.endpoint == "gpt-4-0314"]


def test_a_run_writes_down_what_its_answers_took(demo: RunFiles, tmp_path: Path) -> None:
    assert (demo.folder / "measures.jsonl").is_file()
    assert list(read_measures(demo.folder)) == measures(demo)
    shutil.copytree(demo.folder, tmp_path / "older")
    (tmp_path / "older" / "measures.jsonl").unlink()
    assert list(read_measures(tmp_path / "older")) == measures(demo)


def test_a_run_that_did_not_finish_has_no_scores_to_show(demo: RunFiles, tmp_path: Path) -> None:
    write_run(demo.run.model_copy(update={"finished_at": None}), tmp_path)
    with pytest.raises(UnknownRun, match="did not finish"):
        read_run(tmp_path)


def test_a_line_that_does_not_fit_is_told_with_its_number(demo: RunFiles, tmp_path: Path) -> None:
    write_run(demo.run, tmp_path)
    (tmp_path / "scores.jsonl").write_text('{"metrik": 1}\n')
    with pytest.raises(DocumentError, match=r"scores\.jsonl:1: metrik: unknown key. Did you mean 'metric'"):
        read_run(tmp_path)


def test_the_commit_is_told_only_for_a_checkout_of_this_code() -> None:
    commit = git_commit()
    assert commit is None or len(commit.removesuffix("-dirty")) == 40
