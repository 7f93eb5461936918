"""A page that breaks says so kindly: no traceback, no path, in the words of what is wrong."""

import pytest
from streamlit.testing.v1 import AppTest


@pytest.mark.parametrize(("raised", "words"), [("ArenaError", "cannot read or keep votes"), ("ValueError", "This page broke")])
def test_what_a_person_sees_names_no_path(raised: str, words: str):
    def app(raised: str) -> None:
        from arena.errors import ArenaError
        from arena.views import trouble

        assert trouble.tell({"ArenaError": ArenaError, "ValueError": ValueError}[raised]("/srv/arena.duckdb: disk full"))

    page = AppTest.from_function(app, default_timeout=60, args=(raised,)).run()
    shown = "".join(element.proto.body for element in page.get("html"))
    assert not page.exception and words in shown and "/srv" not in shown and page.button(key="try-again").label == "Try again"
