"""Votes health: who votes, whether pairs are drawn as the policy says, whether a side is favoured, what does not count and why.

Voters stand under pseudonyms that mean nothing outside this arena (a keyed hash of their id).
"""

import html
from contextlib import nullcontext
from typing import Any

import streamlit as st

from arena.audit import REASONS, Findings, audit, audit_votes_of
from arena.battle import Arena, current
from arena.errors import ArenaError
from arena.store import Counts
from arena.views import frame
from arena.views.kept import Kept
from dashboards.charts import number
from dashboards.figure import downloads, figure
from dashboards.health_figures import Health, drawn, pseudonym
from dashboards.links import link
from dashboards.standings import figures
from dashboards.vote_charts import bars, by_day, shares
from dashboards.vote_figures import health_of

# Up to so many votes an audit takes a few seconds; beyond, it is the command's work.
AUDITED = 20_000
_FOUND: Kept[Findings] = Kept(2)


def page() -> None:
    """All of it, cheapest first; the audit comes last."""
    arena = current()
    counts = arena.store.counts()
    frame.heading("Votes health", "Who votes, how pairs are drawn, and what does not count.")
    if not counts.n_votes:
        frame.empty("No vote has been cast yet.", "Fight a battle, or bring votes along: <code>arena import FILE --format csv</code>.")
        return
    health = health_of(arena, counts)
    st.html(figures(cards(health)))
    _days(health)
    left, right = st.columns(2, gap="large")
    with left:
        _unrated(health)
    with right:
        _sources(health)
    _voters(arena, health)
    _pairing(arena)
    st.html("<h2>Audit</h2>")
    if counts.n_votes <= AUDITED:
        _audit(arena, counts)
    else:
        told = f"{health.n_flagged:,} votes are flagged by the last <code>arena audit --apply</code>; <code>arena audit</code> looks anew."
        frame.empty(f"An audit of {counts.n_votes:,} votes takes minutes.", told)
    link("leaderboard", "Leaderboard")


def cards(health: Health) -> list[tuple[str, str, str]]:
    """The figures at the top."""
    rated = health.n_votes - health.n_unrated
    position = "not enough votes" if health.position is None else f"{health.position[0]:+.0f} ± {health.position[1]:.0f} rating points"
    side = "–" if health.left is None else f"{health.left[0]:.1%}"
    interval = "" if health.left is None else f"{health.left[1]:.1%} to {health.left[2]:.1%}; "
    return [
        ("Votes", f"{health.n_votes:,}", f"{rated:,} rated, {health.n_unrated:,} not"),
        ("Voters", f"{health.n_voters:,}", f"{number(health.n_known / health.n_voters)} votes each" if health.n_voters else "not recorded"),
        ("Votes of the busiest tenth", "–" if health.top_share is None else f"{health.top_share:.0%}", "of all whose voter is known"),
        ("Won by the left side", side, f"{interval}{position}"),
    ]


def _days(health: Health) -> None:
    st.html("<h2>Votes a day</h2>")
    if not health.days:
        frame.empty("No vote says when it was cast.", "Votes cast in this arena do; imported ones only where their file does.")
        return
    rows = [
        {"day": day, "kind": kind, "votes": count}
        for day, n, rated in health.days
        for kind, count in (("rated", rated), ("not rated", n - rated))
        if count
    ]
    timed = sum(n for _, n, _ in health.days)
    told = f"{timed:,} of {health.n_votes:,} votes say when they were cast. Days are UTC."
    figure(by_day(rows), rows, name="votes-by-day", origin=told, alt=f"Votes a day, {len(health.days)} days")


def _unrated(health: Health) -> None:
    st.html("<h2>Not rated, and why</h2>")
    rows = [{"reason": reason, "votes": count} for reason, count in health.unrated]
    if not rows:
        frame.empty("Every vote counts.", "Votes after names were shown, on stopped answers or flagged by an audit would stand here.")
        return
    origin = f"{health.n_unrated:,} of {health.n_votes:,} votes; they are kept and rate no model."
    figure(
        bars(rows, x="votes", y="reason", x_title="votes"), rows, name="not-rated", origin=origin, alt="Votes that are not rated, by reason"
    )


def _sources(health: Health) -> None:
    st.html("<h2>Where votes are from</h2>")
    rows = [{"source": f"{source}, {mode}", "votes": count} for source, mode, count, _ in health.sources]
    origin = "By source and mode, rated or not."
    figure(bars(rows, x="votes", y="source", x_title="votes"), rows, name="sources", origin=origin, alt="Votes by source")


def _voters(arena: Arena, health: Health) -> None:
    st.html("<h2>Voters</h2>")
    if not health.busiest:
        frame.empty("No vote says who cast it.", "Votes cast in this arena do; imported ones only where their file does.")
        return
    left, right = st.columns([2, 3], gap="large")
    with left:
        origin = f"{health.n_voters:,} voters by how many votes they cast."
        chart = bars(health.sizes, x="voters", y="votes each", x_title="voters")
        figure(chart, health.sizes, name="voters-by-votes", origin=origin, alt="Voters by number of votes")
    rows = [
        {
            "voter": pseudonym(arena.secret, voter),
            "votes": n,
            "share": n / health.n_known,
            "rated": rated,
            "flagged": flagged,
            "even": even / n,
        }
        for voter, n, rated, flagged, even, _, _ in health.busiest
    ]
    with right:
        body = "".join(
            f'<tr><td>{row["voter"]}</td><td class="num">{row["votes"]:,}</td><td class="num">{row["share"]:.1%}</td>'
            f'<td class="num">{row["rated"]:,}</td><td class="num">{row["flagged"]:,}</td><td class="num">{row["even"]:.0%}</td></tr>'
            for row in rows
        )
        names = "".join(f'<th class="num">{name}</th>' for name in ("Votes", "Of all", "Rated", "Flagged", "Ties, both bad"))
        head = f"<thead><tr><th>Voter</th>{names}</tr></thead>"
        st.html(f'<div class="scroll" tabindex="0"><table class="board voters">{head}<tbody>{body}</tbody></table></div>')
        downloads(rows, name="busiest-voters", origin=f"The {len(rows)} voters with most votes, under pseudonyms.")


def _pairing(arena: Arena) -> None:
    st.html("<h2>Pairing</h2>")
    total, rows = drawn(arena)
    if not total:
        frame.empty("No pair has been drawn here.", "Imported battles were drawn elsewhere. A battle in this arena draws one.")
        return
    if not rows:
        frame.empty(f"{total:,} pairs were drawn.", "None of their models takes part now: there is no policy to set them against.")
        return
    origin = (
        f"{total:,} draws. Bars: what the policy as it is now ({arena.policy.kind}) gives each model, give or take chance "
        "(95 % over all models together); a dot outside is orange. Who joined or was weighed anew meanwhile lies outside with reason."
    )
    figure(shares(rows), rows, name="pairing", origin=origin, alt=f"Share of draws of {len(rows)} models beside the policy's")


def _audit(arena: Arena, counts: Counts) -> None:
    try:
        found = _audited(arena, counts)
    except ArenaError as error:
        st.warning(str(error))
        return
    if not found.flags:
        frame.empty("Nothing is flagged.", f"{found.n_votes:,} votes and {found.n_tested:,} voters with votes enough were tested.")
        return
    rows = flag_rows(found, arena.secret)
    body = "".join(
        f'<tr><td>{html.escape(row["voter"])}</td><td title="{html.escape(REASONS[row["reason"]])}">{html.escape(row["reason"])}</td>'
        f'<td class="text">{html.escape(row["why"])}</td><td class="num">{row["votes"]:,}</td></tr>'
        for row in rows
    )
    head = '<thead><tr><th>Voter</th><th>Reason</th><th>Why</th><th class="num">Votes</th></tr></thead>'
    st.html(f'<div class="scroll" tabindex="0"><table class="board audit">{head}<tbody>{body}</tbody></table></div>')
    told = (
        f"{len(found.voters):,} of {found.n_voters:,} voters and {len(found.vote_ids):,} of {found.n_votes:,} votes are flagged "
        f"({found.n_tested:,} voters had votes enough to be tested). Evidence, not proof; 'arena audit --apply' unrates the votes."
    )
    downloads(rows, name="audit", origin=told)


def flag_rows(found: Findings, secret: str) -> list[dict[str, Any]]:
    """A row per flag: no voter's id, and no prompt."""
    return [
        {
            "voter": "–" if flag.voter_id is None else pseudonym(secret, flag.voter_id),
            "reason": flag.reason,
            # This reason quotes the prompt.
            "why": REASONS[flag.reason] if flag.reason == "frequent_prompt" else flag.why,
            "q": flag.q,
            "votes": len(flag.vote_ids),
        }
        for flag in found.flags
    ]


def _audited(arena: Arena, counts: Counts) -> Findings:
    """What an audit finds; kept until `counts` changes."""
    key = (arena.store.name, counts)
    with nullcontext() if _FOUND.has(key) else st.spinner("Auditing …"):
        return _FOUND.get(key, lambda: audit(audit_votes_of(arena.store)))
