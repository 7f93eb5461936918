"""Training: what was trained from what, how it went, whether the gate let it in, and where it answers now."""

import html
from pathlib import Path
from typing import Any

import streamlit as st

from arena.battle import current
from arena.views import frame
from dashboards.charts import number
from dashboards.curves import SHARES, Curves, Verdict, read_curves, read_verdict
from dashboards.figure import figure
from dashboards.links import link
from dashboards.standings import figures
from dashboards.vote_charts import curves as curve_chart
from serving.errors import BakeoffError
from trainers.record import Training, lineage, read_training, training_folders

MEASURED = {
    "eval_rewards/accuracies": "Preferred answer more likely",
    "eval_rewards/margins": "Reward margin",
    "eval_loss": "Loss on held-out rows",
}
AS_SHARES = {"eval_rewards/accuracies"}


def page() -> None:
    """The list, then one training in full."""
    results: Path = current().results
    frame.heading("Training", "From votes to a challenger: curves, the gate's verdict, and where it came from.")
    records, problems = finished(results)
    for problem in problems:
        st.warning(problem)
    running = unfinished(results)
    if not records and not running:
        frame.empty(
            "Nothing has been trained yet.",
            "Take the votes out with <code>arena export --format dpo --out results/datasets/votes</code>, then "
            "<code>trainers dpo --dataset results/datasets/votes</code>.",
        )
        return
    if records:
        st.html(table(list(records.values()), results))
    names = [*running, *reversed(records)]
    chosen = st.selectbox("Training", names, key="training", bind="query-params")
    folder = results / "trainings" / chosen
    if (record := records.get(chosen)) is None:
        st.html('<p class="note">It has no record: it runs now, or was interrupted. Press R to look again.</p>')
    else:
        st.html(figures(cards(record, results)))
        _verdict(read_verdict(record.gate), record)
    _curves(read_curves(folder), chosen, folder)
    if record is not None:
        _lineage(record, results)


def finished(results: Path) -> tuple[dict[str, Training], list[str]]:
    """(trainings by id, oldest first; what is wrong with records that cannot be read)."""
    records, problems = {}, []
    for folder in training_folders(results):
        try:
            records[folder.name] = read_training(folder)
        except (BakeoffError, OSError) as error:
            problems.append(str(error))
    return records, problems


def unfinished(results: Path) -> list[str]:
    """Ids of trainings that have curves and no record, newest first."""
    folders = sorted((results / "trainings").glob("*/metrics.jsonl"), reverse=True)
    return [path.parent.name for path in folders if not (path.parent / "training.json").is_file()]


def table(records: list[Training], results: Path) -> str:
    """The trainings, newest first."""
    names = "".join(f"<th>{name}</th>" for name in ("Training", "Method", "Base", "Gate"))
    head = f'{names}<th class="num">Rows</th><th class="num">Took</th>'
    body = "".join(_row(record, results) for record in reversed(records))
    return (
        f'<div class="scroll" tabindex="0"><table class="board trainings"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _row(record: Training, results: Path) -> str:
    gate = said(read_verdict(record.gate).passed)
    cells = (record.training_id, record.method, _base(record), gate)
    words = "".join(
        f'<td class="model">{html.escape(cell)}</td>' if place == 0 else f"<td>{html.escape(cell)}</td>" for place, cell in enumerate(cells)
    )
    return f'<tr>{words}<td class="num">{record.n_train:,}</td><td class="num">{_took(record)}</td></tr>'


def said(passed: bool | None) -> str:
    """A verdict in a word, which does not need a colour."""
    return {None: "not judged", True: "✓ passed", False: "✗ refused"}[passed]


def cards(record: Training, results: Path) -> list[tuple[str, str, str]]:
    """The figures at the top: size, time, and what was measured before and after."""
    told = [
        ("Rows to learn from", f"{record.n_train:,}", f"{record.n_test:,} held out; {within(record.dataset, results)}"),
        ("Took", _took(record), f"{record.finished_at:%d %b %Y, %H:%M} UTC; seed {record.seed}"),
    ]
    for name, title in MEASURED.items():
        before, after = record.metrics.get(f"{name}_before"), record.metrics.get(name)
        if isinstance(before, int | float) and isinstance(after, int | float):
            now, then = (f"{value:.1%}" if name in AS_SHARES else number(float(value)) for value in (after, before))
            told.append((title, now, f"{then} before"))
    return told


def within(place: str, results: Path) -> str:
    """A dataset's or a model's place; what lies in the results folder, from there on."""
    path = Path(place)
    return str(path.relative_to(results.resolve())) if path.is_absolute() and path.is_relative_to(results.resolve()) else place


def _verdict(verdict: Verdict, record: Training) -> None:
    st.html("<h2>Gate</h2>")
    if verdict.passed is None:
        frame.empty("The gate was not asked.", f"Ask it: <code>trainers gate {html.escape(record.training_id)}</code>.")
        return
    st.html(f'<p class="firm"><b>{said(verdict.passed)}</b></p>{listed(verdict)}<p class="note">{html.escape(verdict.origin)}.</p>')


def listed(verdict: Verdict) -> str:
    """Each check with what was measured."""
    rows = "".join(
        f'<tr><td class="model">{html.escape(name)}</td><td>{said(passed)}</td><td class="text">{html.escape(told)}</td></tr>'
        for name, passed, told in verdict.checks
    )
    head = "<thead><tr><th>Check</th><th>Verdict</th><th>Measured, tuned model against its base</th></tr></thead>"
    return f'<div class="scroll" tabindex="0"><table class="board gate">{head}<tbody>{rows}</tbody></table></div>' if rows else ""


def _curves(found: Curves, training_id: str, folder: Path) -> None:
    st.html("<h2>Curves</h2>")
    if not found.n_lines:
        frame.empty("No curve was written.", f"{html.escape(training_id)} has no metrics.jsonl: it was trained before curves were kept.")
        return
    origin = f"{training_id}, {found.n_lines:,} log steps"
    if any(row["name"].startswith("eval_") for rows in found.groups.values() for row in rows):
        origin += "; dashed: held-out rows"
    origin += f"; {found.n_broken} line{'s' * (found.n_broken != 1)} could not be read." if found.n_broken else "."
    columns = st.columns(2, gap="large")
    for place, (title, rows) in enumerate(found.groups.items()):
        with columns[place % 2]:
            name = title.split(" (")[0].lower().replace(" ", "-")
            chart = curve_chart(rows, title=title, format=".0%" if title in SHARES else None)
            figure(chart, rows, name=name, origin=origin, alt=f"{title} by step")
    if found.others:
        other = st.selectbox("Another measure", list(found.others), index=None, placeholder="Choose one", key="measure")
        if other:
            rows = found.others[other]
            figure(curve_chart(rows, title=other), rows, name="another-measure", origin=origin, alt=f"{other} by step")


def _lineage(record: Training, results: Path) -> None:
    st.html("<h2>Where it came from</h2>")
    try:
        chain: list[Training] = list(lineage(record.training_id, results))
    except BakeoffError as error:
        st.warning(str(error))
        chain = [record]
    st.html(chain_of(chain, served(results), results))
    link("leaderboard", "Its place on the leaderboard")


def chain_of(chain: list[Training], endpoints: dict[str, str], results: Path) -> str:
    """From the first base to the training, a step each, as an ordered list; `endpoints` say which training answers where."""
    steps = [f"<li><b>{html.escape(chain[-1].base)}</b> <small>the first base{_hash(chain[-1].base_hash)}</small></li>"]
    for link_ in reversed(chain):
        more = f"{link_.method} on {html.escape(within(link_.dataset, results))}{_hash(link_.dataset_hash)}, {link_.n_train:,} rows"
        where = endpoints.get(link_.training_id)
        answers = f" <small>answers as <b>{html.escape(where)}</b></small>" if where else ""
        steps.append(f"<li><b>{html.escape(link_.training_id)}</b> <small>{more}</small>{answers}</li>")
    return f'<ol class="chain">{"".join(steps)}</ol>'


def served(results: Path) -> dict[str, str]:
    """Endpoint by training: those endpoints of results/endpoints/ whose model lies in a training's folder."""
    from serving.endpoints import load_endpoints

    found: dict[str, str] = {}
    try:
        endpoints = load_endpoints(results)
    except BakeoffError:
        return found
    for name, endpoint in endpoints.items():
        told: dict[str, Any] = endpoint.model_dump(mode="json")
        text = " ".join(str(value) for value in told.values())
        for folder in (results / "trainings").glob("*/training.json"):
            if folder.parent.name in text:
                found.setdefault(folder.parent.name, name)
    return found


def _hash(value: str | None) -> str:
    return f" ({html.escape(value[:12])})" if value else ""


def _base(record: Training) -> str:
    return record.parent or (record.base if len(record.base) <= 48 else f"…{record.base[-46:]}")


def _took(record: Training) -> str:
    seconds = (record.finished_at - record.started_at).total_seconds()
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
