"""What `arena leaderboard` does: votes from the store or a CSV, rated as the options say, as a table or one JSON document.

arena leaderboard --method davidson --position --cluster both --anchor "GPT 4=1200" --json
arena leaderboard --style-control --category code --fragility
arena leaderboard --cluster voter --publish          # also results/leaderboard.json, which `evals pick` reads
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from arena.ballots import BOTH_BAD, Ballots, ballots_of
from arena.errors import ArenaError, NothingToRate
from arena.intervals import clusters
from arena.ratings import Board, Method, rate, win_probabilities
from arena.style import STYLE, read_columns
from arena.votes import now
from serving.command import emit_json, say
from serving.documents import write_text_atomically
from serving.errors import did_you_mean

METHODS = {"bt": "Bradley-Terry", "davidson": "Davidson (ties as a parameter)", "elo": "online Elo (K = 4)"}


@dataclass(frozen=True)
class Choice:
    """Which votes: of a file or of the store, of one voter, in one category."""

    votes: Path | None
    database: Path | str
    results: Path
    voter: str | None = None
    category: str | None = None


def show(choice: Choice, method: Method, *, matrix: bool, as_json: bool, publish: bool = False) -> None:
    """Rate, print and, if asked, publish. Raises ArenaError."""
    if publish and method.name == "elo":
        raise ArenaError("--publish needs --method bt or davidson: ratings without intervals decide nothing")
    method = replace(method, covariance=publish)
    ballots, counts = _of_file(choice, method) if choice.votes else _of_store(choice, method)
    if not counts["n_votes"]:
        raise NothingToRate("there are no votes to rate: vote with 'arena up', or bring some in with 'arena import'")
    if not len(ballots):
        which = [f"of voter '{choice.voter}'"] * bool(choice.voter) + [f"in category '{choice.category}'"] * bool(choice.category)
        raise NothingToRate(f"there is no rated vote {' '.join(which)}".rstrip() + ": leave --voter or --category out")
    board = rate(ballots, method)
    document = {"voter": choice.voter, "category": choice.category, **counts, **published(board, method, ballots)}
    if publish:
        path = choice.results / "leaderboard.json"
        write_text_atomically(path, json.dumps({"published_at": now().isoformat(), **document}, ensure_ascii=False) + "\n")
        say(f"{path}: {len(board.ratings)} models; 'evals pick' reads it")
    if matrix:
        models, chances = win_probabilities(board.ratings)
        document["win_probability"] = {"models": models, "matrix": chances.tolist()}
    if as_json:
        emit_json(document)
    else:
        _print(board, document, matrix)


def published(board: Board, method: Method, ballots: Ballots) -> dict[str, Any]:
    """A board as results/leaderboard.json has it, with the covariance of the ratings where the method asked for it.

    `n_clusters` is how many voters, prompts or single votes the covariance is from, as equally busy ones (Σn)²/Σn²; of two ways the fewer.
    """
    sizes = []
    for member in (member for sign, member in clusters(ballots, method.cluster) if sign > 0):
        together = np.bincount(member[member >= 0], ballots.counts[member >= 0])
        alone = float(ballots.counts[member < 0].sum())
        sizes.append((together.sum() + alone) ** 2 / max((together**2).sum() + alone, 1.0))
    return {
        "method": method.name, "cluster": method.cluster, "n_clusters": round(min(sizes)),
        "options": {key: value for key, value in asdict(method).items() if key not in ("name", "cluster", "covariance")},
        **board.model_dump(mode="json", exclude={"ratings", *(["covariance"] if board.covariance is None else [])}),
        "ratings": [rating.model_dump(mode="json") | {"both_bad_share": rating.both_bad_share} for rating in board.ratings],
    }  # fmt: skip


def parse_anchor(text: str | None) -> tuple[str, float] | None:
    """MODEL=RATING as a pair. Raises ArenaError."""
    if text is None:
        return None
    model, equals, rating = text.rpartition("=")
    try:
        value = float(rating)
    except ValueError:
        value = np.nan
    if not equals or not model or not np.isfinite(value):
        raise ArenaError(f"--anchor '{text}': write MODEL=RATING, such as \"GPT 4=1200\"")
    return model, value


def _of_store(choice: Choice, method: Method) -> tuple[Ballots, dict[str, int]]:
    from arena.categories import questions, rule
    from arena.reading import open_for_reading

    where = rule(choice.category, choice.results) if choice.category else None
    with open_for_reading(choice.database, choice.results) as store:
        if choice.category in questions(choice.results) and not store.n_judged(choice.category or ""):
            raise ArenaError(f"--category {choice.category}: no prompt has been labelled; 'arena label --judge ID' has a model do it")
        counts = store.counts()
        columns = bool(method.style) or method.weights == "pairing"
        ballots = store.ballots(voter=choice.voter, columns=columns, counted=method.counted, by_voter=method.by_voter, where=where)
    return ballots, _summary(counts.n_votes, counts.n_unrated, ballots)


def _of_file(choice: Choice, method: Method) -> tuple[Ballots, dict[str, int]]:
    from arena.importers import read_votes

    assert choice.votes
    if choice.category:
        raise ArenaError(
            f"--category {choice.category}: a CSV of votes has no prompts to go by; import it together with them, or leave it out"
        )
    rows = read_votes(choice.votes)
    voters = [row.voter_id for row in rows]
    ballots = ballots_of(
        [row.outcome for row in rows],
        voters=voters,
        prompts=[row.prompt_id for row in rows],
        columns=read_columns(choice.votes, method.style),
    )
    if choice.voter is not None:
        keep = np.array([voter == choice.voter for voter in voters], dtype=bool)
        if rows and not keep.any():
            near = did_you_mean(choice.voter, sorted({voter for voter in voters if voter}))
            raise ArenaError(f"{choice.votes}: voter_id: nobody is '{choice.voter}'.{near}")
        ballots = ballots.where(keep)
    return ballots, _summary(len(rows), 0, ballots)


def _summary(n_votes: int, n_unrated: int, ballots: Ballots) -> dict[str, int]:
    n_both_bad = int(ballots.counts[ballots.winner == BOTH_BAD].sum())
    return {"n_votes": n_votes, "n_battles": int(ballots.counts.sum()) - n_both_bad, "n_unrated": n_unrated, "n_both_bad": n_both_bad}


def _print(board: Board, document: Mapping[str, Any], matrix: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    fragile = board.fragility_by is not None
    bad = any(rating.n_both_bad for rating in board.ratings)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("rank", "places"):
        table.add_column(name, justify="right")
    table.add_column("model", overflow="fold")
    for name in ("rating", "95 % interval", "battles", *(["both bad"] * bad), *(["votes to flip"] * fragile)):
        table.add_column(name, justify="right")
    for row in (rating for rating in board.ratings if rating.rating is not None):
        known = row.rating_lower is not None and row.rating_upper is not None
        interval = f"{row.rating_lower:.0f} to {row.rating_upper:.0f}" if known else "-"
        places = f"{row.rank_lower}-{row.rank_upper}" if row.rank_lower is not None else "-"
        more = [f"{row.both_bad_share or 0:.0%}"] * bad + ["-" if row.n_to_flip is None else f"{row.n_to_flip:,}"] * fragile
        table.add_row(str(row.rank), places, escape(row.model), f"{row.rating:.0f}", interval, f"{row.n_battles:,}", *more)
    console = Console()
    if not console.is_terminal:
        # A pipe is no narrow terminal: names stay whole there.
        console = Console(width=120)
    console.print(table)
    _print_terms(board, console)
    if matrix:
        _print_matrix(document["win_probability"], console)
    for row in (rating for rating in board.ratings if rating.note):
        console.print(f"{row.model}: {row.note}", markup=False, highlight=False, soft_wrap=True)
    counted = f"{document['n_battles']:,} of {document['n_votes']:,} votes counted"
    aside = f" ({document['n_both_bad']:,} found both bad, {document['n_unrated']:,} not rated)"
    say(f"{METHODS[document['method']]} · {counted}{aside if document['n_battles'] < document['n_votes'] else ''}")
    if board.n_without_columns:
        say(f"{board.n_without_columns:,} votes left out: not all of their style columns are known")
    if fragile:
        how = "each shown by a refit" if board.fragility_by == "refit" else "predicted by influence"
        say(f"votes to flip: at most so many dropped votes put the next model above ({how})")


def _print_terms(board: Board, console: Any) -> None:
    units = {"position": "points for the left slot", "tie": "log odds of a tie between equals (log ν)"}
    for term in board.terms:
        unit = units.get(term.name, "log odds per standard deviation")
        text = f"{term.name}: {term.estimate:+.5g} ± {term.standard_error:.3g} ({term.lower:+.4g} to {term.upper:+.4g}) {unit}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _print_matrix(found: Mapping[str, Any], console: Any) -> None:
    console.print("\nHow likely a row's model beats a column's (in this order), in %:", highlight=False)
    for model, chances in zip(found["models"], found["matrix"], strict=True):
        figures = " ".join(f"{100 * chance:3.0f}" for chance in chances)
        console.print(f"{figures}  {model}", markup=False, highlight=False, soft_wrap=True)


def style_columns(control: bool, columns: str | None) -> tuple[str, ...]:
    """The columns that --style-control and --style-columns ask for. Raises ArenaError."""
    if columns is None:
        return STYLE if control else ()
    if not control:
        raise ArenaError("--style-columns needs --style-control")
    names = tuple(dict.fromkeys(name.strip() for name in columns.split(",") if name.strip()))
    if not names:
        raise ArenaError(f"--style-columns '{columns}': name columns, such as tokens,headers,lists,bold,latency_s")
    return names
