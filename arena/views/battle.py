"""The battle page: a prompt, two blind answers that grow side by side, a vote, then the names.

Answers that have ended are drawn with the conversation, before there is a vote bar; the loop that tails growing ones (arena/views/tail.py)
comes last in the script.
"""

import html
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from arena.battle import Arena, current
from arena.casting import REASONS, WHY_UNRATED, explain
from arena.display import as_html
from arena.errors import ArenaError
from arena.moderation import WITHHELD
from arena.ratings import bradley_terry
from arena.rounds import Round, Side, Turn
from arena.settings import Mode
from arena.views import entrance, frame
from arena.views.kept import Kept
from arena.views.offer import offer
from arena.views.tail import tail, whole
from arena.votes import Vote, Winner

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

MODE_NAMES = {"blind": "Blind battle", "side_by_side": "Side by side", "direct": "Direct chat"}
CHOICES: tuple[tuple[Winner, str, str], ...] = (
    ("model_a", "A is better", "1"),
    ("model_b", "B is better", "2"),
    ("tie", "Tie", "3"),
    ("both_bad", "Both are bad", "4"),
)
ARROWS: dict[Winner, str] = {"model_a": "Left", "model_b": "Right"}
_RATINGS: Kept[dict[str, float]] = Kept(1)
VERDICT = {"model_a": "You preferred A", "model_b": "You preferred B", "tie": "You called it a tie", "both_bad": "You found both bad"}


def page() -> None:
    """Show the round named in the address, or ask for a prompt."""
    arena, voter = current(), frame.voter_id()
    if token := st.query_params.get("shared"):
        _shared(arena, token)
        return
    round_ = arena.find(st.query_params.get("battle"), voter)
    if round_ is None:
        _ask(arena, voter)
    else:
        _fight(arena, voter, round_)


def _ask(arena: Arena, voter: str) -> None:
    arena.refresh()
    frame.heading("Which answer is better?", "Two models answer blind, side by side. You vote; then you learn who they were.")
    if problem := st.session_state.pop("problem", None):
        st.error(problem)
    if not entrance.passed(arena, voter):
        return
    mode, models = _mode(arena)
    if len(arena.live()) >= 2:
        with st.form("ask", border=False):
            st.text_area(
                "Your prompt",
                key="prompt",
                height=120,
                max_chars=arena.settings.limits.prompt_characters,
                placeholder="Ask anything…",
                label_visibility="collapsed",
            )
            limits = arena.settings.limits
            st.caption(f"Up to {limits.prompt_characters:,} characters and {limits.turns} turns.")
            label = "Start the battle" if mode != "direct" else "Start the chat"
            st.form_submit_button(label, type="primary", on_click=_start, args=(arena, voter, None, mode, models))
    if arena.prompts or len(arena.live()) >= 2:
        offer(arena, lambda prompt: _start(arena, voter, prompt, mode, models))
    else:
        frame.empty(
            "No two models are here yet.",
            "Start one with <code>serving up DIR --engine transformers</code>, set the API keys of two catalogue endpoints, "
            "or look around with <code>arena up --demo</code>.",
        )


def _mode(arena: Arena) -> tuple[Mode, list[str]]:
    """The kind of battle, and the models that the voter chose for it."""
    modes = arena.settings.modes
    mode: Mode = modes[0]
    if len(modes) > 1:
        chosen = st.segmented_control(
            "Kind", modes, default=mode, key="mode", format_func=MODE_NAMES.__getitem__, required=True, label_visibility="collapsed"
        )
        mode = chosen or mode
    if mode == "blind":
        return mode, []
    names = sorted(arena.endpoints)
    if mode == "direct":
        return mode, [name for name in [st.selectbox("Model", names, key="model")] if name]
    left, right = st.columns(2)
    pair = (left.selectbox("Left", names, key="left"), right.selectbox("Right", names, key="right", index=min(1, len(names) - 1)))
    return mode, [name for name in pair if name]


def _start(arena: Arena, voter: str, prompt: str | None, mode: Mode, models: list[str]) -> None:
    # Before the page is drawn, not in the middle of it: one run less. Without a prompt, the one that was typed.
    if not entrance.may_begin(arena, voter):
        return
    asked = str(st.session_state.prompt) if prompt is None else prompt
    try:
        round_ = arena.start(asked, voter, mode=mode, models=models, address=st.context.ip_address)
    except ArenaError as error:
        st.session_state.problem = str(error)
    else:
        st.query_params["battle"] = round_.battle_id


def _again(arena: Arena, round_: Round, voter: str) -> None:
    if not entrance.may_begin(arena, voter):
        # The page that asks says what is missing.
        st.query_params.clear()
        return
    try:
        fresh = arena.start(round_.turns[0].asked, voter, parent_battle_id=round_.battle_id, address=st.context.ip_address)
    except ArenaError as error:
        st.session_state.problem = str(error)
    else:
        st.query_params["battle"] = fresh.battle_id


def _fight(arena: Arena, voter: str, round_: Round) -> None:
    # Asked once: answers may end while the page is drawn, and a vote bar must not be live before they are on it.
    over = round_.ended
    vote = arena.store.vote_of(round_.battle_id) if over and round_.mode != "direct" else None
    if problem := st.session_state.pop("problem", None):
        st.error(problem)
    if round_.resumed:
        st.info("The arena was started anew while these answers were written. What was cut off is asked again, of the same models.")
    slots = _conversation(round_, vote, over=over)
    with st.container(key="vote-bar"):
        if vote is not None:
            _after_the_vote(arena, round_, voter, vote)
        elif round_.mode == "direct":
            pass
        elif over and not round_.votable:
            withheld = any(side.completion and side.completion.finish_reason == WITHHELD for side in round_.sides)
            why = "An answer is not shown" if withheld else "One of the two models could not answer"
            st.html(f'<p class="verdict">{why}, so this battle does not count.</p>')
            if round_.mode == "blind":
                with st.container(horizontal=True, horizontal_alignment="center"):
                    st.button("Ask another pair", key="again", on_click=_again, args=(arena, round_, voter))
        else:
            _vote_bar(arena, voter, round_, live=over)
        # Terms that changed in mid-battle keep nobody from voting, only from asking more.
        if vote is None and (not over or entrance.passed(arena, voter)):
            _tools(arena, round_, voter, over=over)
        if vote is not None or not (over and round_.votable):
            _new_battle(over=over)
    # Another tab may have asked for new answers since.
    if not (over and round_.ended):
        tail(round_, slots, revealed=round_.mode != "blind", pace=arena.settings.pace, slow_s=arena.settings.slow_notice_s)


def _conversation(round_: Round, vote: Vote | None, *, over: bool) -> "list[DeltaGenerator]":
    """All turns; returns the slots of the last one's answers, which stay empty until they are `over`."""
    slots: list[DeltaGenerator] = []
    for turn in round_.turns:
        slots = _turn(turn, round_, vote, last=turn is round_.turn, over=over)
    return slots


def _turn(turn: Turn, round_: Round, vote: Vote | None, *, last: bool, over: bool) -> "list[DeltaGenerator]":
    st.html(f'<div class="prompt"><span>Prompt</span><div dir="auto">{html.escape(turn.asked)}</div></div>')
    slots = []
    for column, letter, side in zip(st.columns(len(turn.sides), gap="medium"), "AB"[: len(turn.sides)], turn.sides, strict=True):
        won = last and vote is not None and vote.winner == f"model_{letter.lower()}"
        key = f"side-{letter.lower()}{'-won' if won else ''}{'' if last else f'-{turn.number}'}"
        named = vote is not None or round_.mode != "blind"
        with column.container(border=True, height="stretch", key=key):
            st.html(_side_head(letter, side, won=won, named=named, rating=_ratings(current()).get(side.model) if vote and last else None))
            slot = st.empty()
            slots.append(slot)
            if not last:
                slot.html(as_html(side.text))
            elif over:
                slot.html(whole(round_, side, revealed=named))
            if last and over and side.answered:
                copy = st.popover("Copy", type="tertiary", icon=":material/content_copy:", key=f"copy-{letter}", on_change="rerun")
                if copy.open:
                    copy.code(side.text, language=None, wrap_lines=True)
    return slots


def _vote_bar(arena: Arena, voter: str, round_: Round, *, live: bool) -> None:
    # While the answers grow the buttons stand there, disabled, so that nothing jumps when they become live.
    if live and st.session_state.get("form", ("", ""))[0] != round_.stage:
        st.session_state.form = (round_.stage, arena.vote_form(round_, voter))
    with st.container(key="votes", horizontal=True, horizontal_alignment="center"):
        for winner, label, shortcut in CHOICES:
            st.button(
                label,
                key=f"{'live' if live else 'waiting'}-{winner}",
                disabled=not live,
                on_click=_vote,
                args=(arena, round_, voter, winner),
                shortcut=shortcut if live else None,
            )
    if live:
        # A button has one key: these two, out of sight, take the arrows. Up and down go on scrolling.
        with st.container(key="arrows"):
            for winner, arrow in ARROWS.items():
                st.button(arrow, key=f"arrow-{winner}", on_click=_vote, args=(arena, round_, voter, winner), shortcut=arrow)
        st.html('<p class="keys">Keys: 1 to 4 vote, ← A, → B; Esc stops the answers, N starts anew.</p>')


def _vote(arena: Arena, round_: Round, voter: str, winner: Winner) -> None:
    # The form leaves the session with the first click: whatever event comes after it finds none.
    _, token = st.session_state.pop("form", ("", ""))
    try:
        arena.vote(round_, voter, winner, token=token)
    except ArenaError as error:
        st.session_state.problem = str(error)


def _tools(arena: Arena, round_: Round, voter: str, *, over: bool) -> None:
    """Stop while the answers grow; afterwards new answers, or one more turn."""
    with st.container(horizontal=True, horizontal_alignment="center", key="tools"):
        if not over:
            st.button("Stop", key="stop", icon=":material/stop:", on_click=_act, args=(arena.stop, round_, voter), shortcut="Esc")
        elif all(name in arena.live() for name in round_.models):
            redo = (arena, round_, voter)
            st.button("New answers (unrated)", key="redo", type="tertiary", icon=":material/refresh:", on_click=_redo, args=redo)
    if over and arena.why_no_turn(round_) is None:
        st.chat_input(
            f"Go on: turn {len(round_.turns) + 1} of at most {arena.settings.limits.turns}",
            key="more",
            max_chars=arena.settings.limits.prompt_characters,
            on_submit=_go_on,
            args=(arena, round_, voter),
        )


def _act(step: Callable[[Round, str], None], round_: Round, voter: str) -> None:
    try:
        step(round_, voter)
    except ArenaError as error:
        st.session_state.problem = str(error)


def _redo(arena: Arena, round_: Round, voter: str) -> None:
    if entrance.may_begin(arena, voter):
        _act(lambda one, who: arena.regenerate(one, who, address=st.context.ip_address), round_, voter)


def _go_on(arena: Arena, round_: Round, voter: str) -> None:
    if entrance.may_begin(arena, voter):
        _act(lambda one, who: arena.go_on(one, who, str(st.session_state.more), address=st.context.ip_address), round_, voter)


def _after_the_vote(arena: Arena, round_: Round, voter: str, vote: Vote) -> None:
    # Cast as one to be rated, it was kept from counting later: by an audit.
    why = WHY_UNRATED.get(vote.unrated_reason or "", "an audit keeps it from counting")
    counted = "the vote is counted" if vote.rated else f"the vote is kept, and not rated: {why}"
    st.html(f'<p class="verdict">{VERDICT[vote.winner]}. Thank you, {counted}.</p>')
    chosen = st.pills("Why? (optional)", REASONS, selection_mode="multi", default=vote.reasons or None, key=f"why-{round_.battle_id}")
    if tuple(chosen) != vote.reasons:
        explain(arena.store, round_, voter, chosen)
    if st.button("Share", key="share", type="tertiary", icon=":material/link:"):
        address = (st.context.url or "").partition("?")[0]
        st.caption("Anybody who has this link can read this battle.")
        st.code(f"{address}?shared={arena.share(round_, voter)}", language=None, wrap_lines=True)


def _shared(arena: Arena, token: str) -> None:
    """A finished battle, for anybody to read."""
    round_ = arena.shared(token)
    vote = arena.store.vote_of(round_.battle_id) if round_ is not None else None
    if round_ is None or vote is None:
        frame.empty("There is no battle under this link.", "Was it copied whole?")
        return
    _conversation(round_, vote, over=True)
    st.html(f'<p class="verdict">{VERDICT[vote.winner].replace("You", "The voter", 1)}.</p>')


def _new_battle(*, over: bool) -> None:
    # While answers grow it is not what one is invited to press.
    with st.container(horizontal=True, horizontal_alignment="center"):
        st.button("New battle", type="primary" if over else "tertiary", on_click=_leave, shortcut="N", key="new")


def _leave() -> None:
    st.query_params.clear()


def _ratings(arena: Arena) -> dict[str, float]:
    """The ratings of a minute ago at most: a fit for each vote would cost more than the battle."""

    def fitted() -> dict[str, float]:
        try:
            ratings = bradley_terry(arena.store.vote_counts())
        except ArenaError:
            return {}
        return {rating.model: rating.rating for rating in ratings if rating.rating is not None}

    return _RATINGS.get((arena.store.name, time.monotonic() // 60), fitted)


def _side_head(letter: str, side: Side, *, won: bool, named: bool, rating: float | None = None) -> str:
    if not named:
        return f'<div class="side-head"><b>{letter}</b><span>Model {letter}</span></div>'
    facts = []
    if side.completion is None:
        return f'<div class="side-head"><b>{letter}</b><span class="name">{html.escape(side.model)}</span></div>'
    if rating is not None:
        facts.append(f"rated {rating:.0f}")
    if side.completion.ttft_s is not None:
        facts.append(f"first word {side.completion.ttft_s:.2g} s")
    if side.completion.latency_s is not None:
        facts.append(f"{side.completion.latency_s:.3g} s")
    if side.completion.usage.output_tokens is not None:
        facts.append(f"{side.completion.usage.output_tokens} tokens")
    if side.completion.cost_usd is not None:
        facts.append(f"${side.completion.cost_usd:.2g}")
    crown = '<i class="won">preferred</i>' if won else ""
    return (
        f'<div class="side-head"><b>{letter}</b><span class="name">{html.escape(side.model)}</span>{crown}'
        f'<span class="facts">{" · ".join(facts)}</span></div>'
    )
