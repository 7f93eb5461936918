"""The battle page: a prompt, two blind answers that grow side by side, a vote, then the names.

The loop that tails the answers (arena/views/tail.py) comes last in the script.
"""

import html

import streamlit as st

from arena.battle import Arena, Round, Side, current
from arena.display import as_label
from arena.errors import ArenaError
from arena.views import frame
from arena.views.tail import tail
from arena.votes import Winner

CHOICES: tuple[tuple[Winner, str, str], ...] = (
    ("model_a", "A is better", "1"),
    ("model_b", "B is better", "2"),
    ("tie", "Tie", "3"),
    ("both_bad", "Both are bad", "4"),
)
ICONS = {
    "code": ":material/code:",
    "creativity": ":material/brush:",
    "instruct": ":material/checklist:",
    "knowledge": ":material/menu_book:",
    "reflexion": ":material/psychology:",
}
VERDICT = {"model_a": "You preferred A", "model_b": "You preferred B", "tie": "You called it a tie", "both_bad": "You found both bad"}


def page() -> None:
    """Show the round named in the address, or ask for a prompt."""
    arena, voter = current(), frame.voter_id()
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
    if len(arena.live()) >= 2:
        with st.form("ask", border=False):
            st.text_area("Your prompt", key="prompt", height=120, max_chars=8000, placeholder="Ask anything…", label_visibility="collapsed")
            if st.form_submit_button("Start the battle", type="primary"):
                _start(arena, voter, str(st.session_state.prompt))
    if arena.prompts:
        _offer(arena, voter)
    elif len(arena.live()) < 2:
        frame.empty(
            "No two models are here yet.",
            "Start one with <code>serving up DIR --engine transformers</code>, set the API keys of two catalogue endpoints, "
            "or look around with <code>arena up --demo</code>.",
        )


def _offer(arena: Arena, voter: str) -> None:
    lead = "Or pick a recorded prompt" if len(arena.live()) >= 2 else "Pick a prompt"
    st.html(f'<p class="note">{lead}: {arena.recorded_count()} real models answered these {len(arena.prompts)}, and were recorded.</p>')
    with st.container(key="prompts"):
        for prompt in arena.prompts:
            label, icon = as_label(_short(prompt.text)), ICONS.get(prompt.type)
            if st.button(label, key=f"prompt-{prompt.id}", icon=icon, help=as_label(prompt.text), width="stretch"):
                _start(arena, voter, prompt.text)


def _start(arena: Arena, voter: str, prompt: str) -> None:
    try:
        round_ = arena.start(prompt, voter)
    except ArenaError as error:
        st.session_state.problem = str(error)
    else:
        st.query_params["battle"] = round_.battle_id
    st.rerun()


def _fight(arena: Arena, voter: str, round_: Round) -> None:
    vote = arena.store.vote_of(round_.battle_id) if round_.ended else None
    asked = (round_.request.messages or ())[-1].content
    st.html(f'<div class="prompt"><span>Prompt</span><div dir="auto">{html.escape(asked)}</div></div>')
    slots = []
    for column, letter, side in zip(st.columns(2, gap="medium"), "AB", round_.sides, strict=True):
        won = vote is not None and vote.winner == f"model_{letter.lower()}"
        with column.container(border=True, height="stretch", key=f"side-{letter.lower()}{'-won' if won else ''}"):
            st.html(_side_head(letter, side if vote is not None else None, won=won))
            slots.append(st.empty())
    with st.container(key="verdict"):
        if vote is not None:
            st.html(f'<p class="verdict">{VERDICT[vote.winner]}. Thank you, the vote is counted.</p>')
            _new_battle()
        elif round_.ended and not round_.votable:
            st.html('<p class="verdict">One of the two models could not answer, so this battle does not count.</p>')
            _new_battle()
        else:
            _vote_bar(arena, voter, round_)
    tail(round_, slots, revealed=vote is not None)


def _vote_bar(arena: Arena, voter: str, round_: Round) -> None:
    # While the answers grow the buttons stand there, disabled, so that nothing jumps when they become live.
    live = "live" if round_.votable else "waiting"
    with st.container(key="votes", horizontal=True, horizontal_alignment="center"):
        for winner, label, shortcut in CHOICES:
            st.button(
                label,
                key=f"{live}-{winner}",
                disabled=not round_.votable,
                on_click=_vote,
                args=(arena, round_, voter, winner),
                shortcut=shortcut if round_.votable else None,
            )


def _vote(arena: Arena, round_: Round, voter: str, winner: Winner) -> None:
    try:
        arena.vote(round_, voter, winner)
    except ArenaError as error:
        st.session_state.problem = str(error)


def _new_battle() -> None:
    with st.container(horizontal=True, horizontal_alignment="center"):
        st.button("New battle", type="primary", on_click=_leave, shortcut="N", key="new")


def _leave() -> None:
    st.query_params.clear()


def _side_head(letter: str, side: Side | None, *, won: bool) -> str:
    if side is None or side.completion is None:
        return f'<div class="side-head"><b>{letter}</b><span>Model {letter}</span></div>'
    facts = []
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


def _short(text: str) -> str:
    line = " ".join(text.replace("`", "").split())
    return line if len(line) <= 84 else line[:83].rsplit(" ", 1)[0] + "…"
