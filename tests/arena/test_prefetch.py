"""The scripts of the pages that come later are loaded while the first is read: all of them, in their order, and of none else."""

import re
from pathlib import Path

import pytest
import streamlit
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from arena import app as arena
from arena.prefetch import Prefetching, route, scripts
from dashboards import app as dashboards

STATIC = Path(streamlit.__file__).parent / "static"


@pytest.mark.parametrize("app", [arena, dashboards])
def test_the_installed_streamlit_has_a_script_for_every_element(app):
    found = scripts(app.ELEMENTS)
    known = set(re.findall(r"static/js/([\w.-]+\.js)", (STATIC / "index.html").read_text()))
    for element in app.ELEMENTS:
        assert any(name.startswith(f"{element}.") for name in (*found, *known)), element
    assert found and not known & set(found) and len(found) == len(set(found))


def test_what_a_script_imports_comes_before_it():
    found = scripts(dashboards.ELEMENTS)
    for place, name in enumerate(found):
        imported = set(re.findall(r'from"\./([\w.-]+\.js)"', (STATIC / "static" / "js" / name).read_text())) & set(found)
        assert imported <= set(found[:place]), name


def test_an_arena_does_not_load_what_only_charts_need():
    assert not any(name.startswith("ArrowVegaLiteChart") for name in scripts(arena.ELEMENTS))


def test_every_page_has_the_tag_once_and_nothing_else_is_changed():
    page = "<html><head><title>Ü</title></head><body>and </head> in a text</body></html>"

    def parts():
        yield from (page[:20], page[20:])

    answers = {
        "/page": lambda request: HTMLResponse(page),
        "/parts": lambda request: StreamingResponse(parts(), media_type="text/html"),
        "/text": lambda request: PlainTextResponse(page),
        "/packed": lambda request: Response(page, media_type="text/html", headers={"content-encoding": "identity"}),
        "/unchanged": lambda request: Response(status_code=304, media_type="text/html"),
    }
    app = Starlette(routes=[*(Route(path, answer) for path, answer in answers.items()), route(["Slider"])])
    app.add_middleware(GZipMiddleware, minimum_size=10)
    app.add_middleware(Prefetching)
    with TestClient(app) as client:
        told = client.get("/page", headers={"accept": "text/html,*/*"})
        assert told.text == page.replace("</head>", '<script src="./prefetch.js" async></script></head>', 1)
        assert int(told.headers["content-length"]) == len(told.content)
        assert client.get("/parts", headers={"accept": "text/html"}).text == told.text
        assert client.get("/page", headers={"accept": "*/*"}).headers["content-encoding"] == "gzip"
        assert client.get("/text").text == client.get("/packed").text == page
        assert client.get("/unchanged").status_code == 304 and not client.get("/unchanged").content
        # A page that is only asked about is as long as it is.
        assert client.head("/page").headers["content-length"] == str(len(page.encode()))
        script = client.get("/prefetch.js")
        assert script.headers["content-type"].startswith("text/javascript") and '"Slider.' in script.text
