"""Prompts to choose from, for whoever has none: by category, or by chance.

In the demo all of them are on the page: nothing else can be asked there. A live arena shows those of a category once it is chosen.
"""

import secrets
from collections.abc import Callable
from typing import NamedTuple

import streamlit as st

from arena.battle import Arena
from arena.display import as_label
from arena.prompts import on_offer

ICONS = {
    "code": ":material/code:",
    "creativity": ":material/brush:",
    "instruct": ":material/checklist:",
    "knowledge": ":material/menu_book:",
    "reflexion": ":material/psychology:",
}


class Offered(NamedTuple):
    """A prompt, its category, and a key for its button."""

    key: str
    category: str
    text: str


def offer(arena: Arena, start: Callable[[str], None]) -> None:
    """Show the prompts; `start` is called with the one that is pressed, before the page is drawn."""
    prompts = offered(arena)
    if not prompts:
        return
    with st.container(key="offer"):
        if arena.prompts:
            lead = "Or pick a recorded prompt" if len(arena.live()) >= 2 else "Pick a prompt"
            st.html(f'<p class="note">{lead}: {arena.recorded_count()} real models answered these {len(prompts)}, and were recorded.</p>')
        else:
            st.html('<p class="note">No question at hand? Take one of these.</p>')
        with st.container(horizontal=True, vertical_alignment="center", key="chips"):
            chosen = st.pills(
                "Category", list(dict.fromkeys(prompt.category for prompt in prompts)), key="kind-of-prompt",
                format_func=_chip, label_visibility="collapsed", width="content",
            )  # fmt: skip
            among = [prompt for prompt in prompts if chosen in (None, prompt.category)] or prompts
            st.button("Surprise me", key="surprise", icon=":material/casino:", on_click=start, args=(secrets.choice(among).text,))
        if chosen is not None or arena.prompts:
            with st.container(key="prompts"):
                for prompt in among:
                    label, icon = as_label(_short(prompt.text)), ICONS.get(prompt.category)
                    st.button(
                        label, key=f"prompt-{prompt.key}", icon=icon, help=as_label(prompt.text), width="stretch",
                        on_click=start, args=(prompt.text,),
                    )  # fmt: skip


def offered(arena: Arena) -> list[Offered]:
    """The prompts of this arena, by category in a live one."""
    if arena.prompts:
        return [Offered(prompt.id, prompt.type, prompt.text) for prompt in arena.prompts]
    examples = on_offer(arena.settings.examples)
    return [Offered(f"{category}-{number}", category, text) for category, texts in examples.items() for number, text in enumerate(texts)]


def _chip(category: str) -> str:
    label = as_label(category.replace("_", " ").capitalize())
    return f"{icon} {label}" if (icon := ICONS.get(category)) else label


def _short(text: str) -> str:
    line = " ".join(text.replace("`", "").split())
    return line if len(line) <= 84 else line[:83].rsplit(" ", 1)[0] + "…"
