"""`evals judge` and `evals calibrate`: a model's verdicts as votes, and whether people would have said the same.

evals judge --judge gpt-4o --run 20261123-054512-nightly --pairs our-llama,gpt-4o-mini
evals judge --judge gpt-4o --recording serving/recordings/llmfao.jsonl.gz --prompts arena/data/llmfao-prompts.jsonl --votes VOTES.csv
evals judge --resume 20261124-101500-gpt-4o
evals calibrate 20261124-101500-gpt-4o VOTES.csv
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from serving.command import RESULTS, AsJson, Results, emit, emit_json, say

if TYPE_CHECKING:
    from evals.judging.answers import Contest
    from evals.judging.judge import OnProgress
    from evals.judging.judgments import Record
    from serving.endpoints import Endpoint

DASH = "–"


def judge(
    judge: Annotated[str | None, typer.Option(metavar="ID", help="The endpoint that judges.")] = None,
    run: Annotated[list[str] | None, typer.Option(metavar="RUN", help="Judge the answers of this run; repeatable.")] = None,
    recording: Annotated[Path | None, typer.Option(metavar="FILE", help="Judge the answers of a completions.jsonl[.gz].")] = None,
    pairs: Annotated[list[str] | None, typer.Option(metavar="A,B", help="Only these two endpoints; repeatable.")] = None,
    votes: Annotated[Path | None, typer.Option(metavar="CSV", help="Only the battles that people voted on, then calibrate.")] = None,
    prompts: Annotated[Path | None, typer.Option(metavar="JSONL", help="Names (id, text) of the recording's prompts; only these.")] = None,
    mode: Annotated[Literal["pairwise", "single"], typer.Option(help="Both orders of two answers, or a grade of each.")] = "pairwise",
    references: Annotated[bool, typer.Option("--references", help="Show the judge the targets of the run's samples.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N battles.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer of the judge.")] = 2048,
    no_temperature: Annotated[bool, typer.Option("--no-temperature", help="State none; reasoning models refuse 0.")] = False,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests in flight.")] = 16,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count battles and requests; ask nothing.")] = False,
    resume: Annotated[str | None, typer.Option(metavar="ID", help="Go on with judgments that did not finish.")] = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Let a model judge answers in both orders; its verdicts become votes marked as its own."""
    from evals.errors import JudgeError
    from evals.judging.answers import Sources, find_contests
    from serving.endpoints import find_endpoint

    if resume is not None:
        if judge or run or recording or dry_run:
            raise JudgeError("--resume takes everything else from the judgments; leave the other options out")
        record, endpoint = _resumed(resume, results)
        contests = find_contests(record.sources, results)
    else:
        if judge is None:
            raise JudgeError("say who judges: --judge ID ('serving ls' lists the endpoints)")
        endpoint = find_endpoint(judge, results)
        sources = Sources(
            runs=tuple(run or ()),
            recording=recording and recording.resolve(),
            prompts=prompts and prompts.resolve(),
            votes=votes and votes.resolve(),
            pairs=tuple(pairs or ()),
            references=references,
            limit=limit,
        )
        contests = find_contests(sources, results)
        record = _new_record(endpoint, sources, mode, max_tokens, None if no_temperature else 0.0, concurrency, results)
    if dry_run:
        _dry_run(record, contests, as_json)
        return
    record = _judge(endpoint, record, contests, results)
    _finish(record, results, as_json)


def calibrate(
    judgments: Annotated[str, typer.Argument(metavar="JUDGMENTS", help="Id of 'evals judge', its .jsonl, or a CSV of a model's votes.")],
    votes: Annotated[Path, typer.Argument(metavar="VOTES", help="CSV of human votes: model_a, model_b, winner, prompt_id[, voter_id].")],
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Compare a judge's verdicts with human votes on the same battles: agreement, ranks."""
    from evals.judging.calibration import calibrate as compare
    from evals.judging.calibration import find_verdicts

    document = compare(find_verdicts(judgments, results), votes)
    if as_json:
        emit_json(document)
        return
    for line in calibration_lines(document):
        emit(line)


def _new_record(
    endpoint: "Endpoint", sources: Any, mode: Any, max_tokens: int, temperature: float | None, concurrency: int, results: Path
) -> "Record":
    from evals.judging.judgments import Record, new_id
    from evals.runs import git_commit, now, versions

    return Record(
        judgments_id=new_id(endpoint.id, results),
        judge=endpoint.id,
        mode=mode,
        sources=sources,
        max_tokens=max_tokens,
        temperature=temperature,
        concurrency=concurrency,
        started_at=now(),
        git_commit=git_commit(),
        versions=versions(),
        endpoint=endpoint.model_dump(mode="json", exclude_defaults=True),
    )


def _resumed(judgments_id: str, results: Path) -> "tuple[Record, Endpoint]":
    from evals.errors import JudgeError
    from evals.judging.judgments import read_record
    from serving.endpoints import find_endpoint

    record = read_record(judgments_id, results)
    endpoint = find_endpoint(record.judge, results)
    # A server may have moved; another model is another judge.
    if endpoint.model != record.endpoint["model"]:
        raise JudgeError(
            f"{judgments_id}: judge '{record.judge}' was the model '{record.endpoint['model']}' and is now '{endpoint.model}': start anew"
        )
    return record, endpoint


def _judge(endpoint: "Endpoint", record: "Record", contests: "list[Contest]", results: Path) -> "Record":
    """Ask what is left, write everything; the finished record. Raises NothingAnswered when the judge answered nothing."""
    import asyncio
    import time

    from evals.errors import NothingAnswered
    from evals.judging.figures import judgment_figures
    from evals.judging.judge import judge_contests, left_to_ask
    from evals.judging.judgments import files_of, held, write_judgments, write_record
    from evals.judging.prompts import Sampling
    from evals.runs import now
    from serving.client import check_reachable

    files = files_of(record.judgments_id, results)
    with held(files.completions):
        sampling = Sampling(record.max_tokens, record.temperature)
        wanted, known = left_to_ask(endpoint, contests, mode=record.mode, log=files.completions, sampling=sampling)
        if len(known) < len(wanted):
            asyncio.run(check_reachable(endpoint))
        write_record(record, results)
        say(f"{record.judgments_id}: {len(contests):,} battles; if it is interrupted: evals judge --resume {record.judgments_id}")
        if own := sum(endpoint.id in (one.model_a, one.model_b) for one in contests):
            say(f"{endpoint.id} judges its own answers in {own:,} of them; judges favour themselves")
        started = time.monotonic()
        with _progress_bar(endpoint.id) as on_progress:
            judgments, said = judge_contests(
                endpoint,
                contests,
                mode=record.mode,
                log=files.completions,
                sampling=sampling,
                concurrency=record.concurrency,
                on_progress=on_progress,
            )
        if not any(one.answered for one in said.values()):
            failed = next(iter(said.values()))
            raise NothingAnswered(f"the judge answered nothing ({failed.status}: {failed.error}); {files.completions} has it all")
        write_judgments(judgments, files.judgments)
        figures = judgment_figures(judgments, said, mode=record.mode) | {"wall_s": time.monotonic() - started}
        record = record.model_copy(update={"finished_at": now(), "figures": figures})
        write_record(record, results)
        return record


def _finish(record: "Record", results: Path, as_json: bool) -> None:
    from evals.judging.calibration import calibrate as compare
    from evals.judging.calibration import find_verdicts
    from evals.judging.judgments import files_of

    path = files_of(record.judgments_id, results).judgments
    calibrated = compare(find_verdicts(str(path), results), record.sources.votes) if record.sources.votes else None
    say(f"kept in {path}; arena leaderboard --votes {path} rates by it")
    if as_json:
        emit_json({"judgments_id": record.judgments_id, "judge": record.judge, "file": str(path), **(record.figures or {}),
                   "calibration": calibrated})  # fmt: skip
        return
    for line in figure_lines(record.figures or {}) + (calibration_lines(calibrated) if calibrated else []):
        emit(line)


def _dry_run(record: "Record", contests: "list[Contest]", as_json: bool) -> None:
    from evals.judging.judge import distinct_requests
    from evals.judging.prompts import Sampling

    requests = distinct_requests(contests, record.mode, Sampling(record.max_tokens, record.temperature))
    characters = sum(len(message.content) for request in requests.values() for message in request.messages or ())
    if as_json:
        emit_json({"n_battles": len(contests), "n_requests": len(requests), "input_characters": characters})
        return
    emit(f"{len(contests):,} battles, {len(requests):,} requests to {record.judge}, {characters:,} characters of input")


def figure_lines(figures: dict[str, Any]) -> list[str]:
    """The report of a judging, as lines of text."""
    outcomes = ", ".join(f"{number:,} {name}" for name, number in figures["outcomes"].items())
    lines = [f"{figures['n_battles']:,} battles: {outcomes}; unparsed {_percent(figures['unparsed_share'])}"]
    for pair in figures["pairs"][:40]:
        lines.append(
            f"  {pair['model_a']} against {pair['model_b']}: {pair['wins_a']} won, {pair['ties']} tied, {pair['wins_b']} lost; win rate "
            f"{_share(pair['win_rate'])}, at equal length {_share(pair['win_rate_length_controlled'])}, "
            f"at equal style {_share(pair['win_rate_style_controlled'])}"
        )
    if len(figures["pairs"]) > 40:
        lines.append(f"  … {len(figures['pairs']) - 40:,} further pairs; --json has them all")
    for grade in figures.get("grades", []):
        spread = "" if grade["stderr"] is None else f" ± {grade['stderr']:.2f}"
        lines.append(f"  {grade['endpoint']}: grade {grade['mean']:.2f}{spread} (n {grade['n']})")
    if "position_consistency" in figures:
        lines.append(f"same verdict in both orders: {_share(figures['position_consistency'])}")
        lines.append(f"where the order decided, the first shown won: {_share(figures['first_shown_won_when_flipped'])}")
    lines.append(f"the longer answer won: {_share(figures['longer_won'])} of decisive battles")
    cost = DASH if figures["cost_usd"] is None else f"${figures['cost_usd']:,.4g}"
    unknown = f" ({figures['n_cost_unknown']:,} of unknown cost)" if figures["n_cost_unknown"] else ""
    seconds = DASH if figures["latency_s_p50"] is None else f"{figures['latency_s_p50']:.2f} s"
    lines.append(f"{figures['n_requests']:,} requests, {figures['n_failed']:,} failed; {cost}{unknown}; latency p50 {seconds}")
    return lines


def calibration_lines(document: dict[str, Any]) -> list[str]:
    """The report of a calibration, as lines of text."""
    lines = [
        f"beside {document['n_shared_votes']:,} human votes on {document['n_shared_battles']:,} judged battles "
        f"(of {document['n_votes']:,} votes), agreement on decisive votes and on all outcomes:"
    ]
    titles = {"judge": f"judge {', '.join(document['judges'])}", "people": "people among themselves", "longer_answer": "the longer answer"}
    for name, title in titles.items():
        if document[name] is not None:
            lines.append(f"  {title}: {_share(document[name]['decisive'])} and {_share(document[name]['all_outcomes'])}")
    lines.append(f"Cohen's kappa: {DASH if document['kappa'] is None else format(document['kappa'], '.3f')}")
    rank = document["rank_correlation"]
    told = DASH if rank is None else f"{rank['value']:.6f} ({rank['lower']:.2f} to {rank['upper']:.2f}), {rank['n']} models"
    lines.append(f"rank correlation of the ratings: {told}")
    return lines


def _share(share: dict[str, Any] | None) -> str:
    return DASH if share is None else f"{100 * share['value']:.1f} % ({100 * share['lower']:.1f} to {100 * share['upper']:.1f})"


def _percent(value: float | None) -> str:
    return DASH if value is None else f"{100 * value:.1f} %"


@contextmanager
def _progress_bar(judge: str) -> "Iterator[OnProgress]":
    """A bar on stderr for the requests to the judge."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(judge, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
