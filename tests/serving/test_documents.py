"""A YAML that does not fit is told in one line: file, key, value, remedy."""

from pathlib import Path

import pytest

from serving import documents
from serving.documents import read_document, reread_document, reread_if_there, write_text_atomically
from serving.endpoints import Catalogue, load_catalogue
from serving.errors import DocumentError

GOOD = "endpoints:\n- {id: a, wire: openai, model: m, base_url: 'http://127.0.0.1:1/v1'"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            GOOD + ", pricee: {usd_per_hour: 2}}",
            r"x\.yaml: endpoints\[0\]\.pricee: unknown key\. Did you mean 'price'\? Known keys: .*api_key_env",
        ),
        (GOOD + ", price: {usd_per_hou: 2}}", r"endpoints\[0\]\.price\.usd_per_hou: unknown key\. Did you mean 'usd_per_hour'\?"),
        (GOOD + ", price: {input_usd_per_mtok: 2}}", "needs both input_usd_per_mtok and output_usd_per_mtok"),
        (GOOD + ", open_weights: maybe}", r"open_weights: .*boolean.*\(got 'maybe'\)"),
        ("endpoints:\n- {id: a, wire: openai}", r"endpoints\[0\]\.model: missing; add this key"),
        ("endpoints:\n- {id: a, wire: openai, model: m, base_url: localhost}", r"needs base_url: http"),
        ("endpoints:\n- {id: a/b, wire: recorded, model: m, recording: r}", r"endpoints\[0\]\.id: .*\(got 'a/b'\)"),
        ("endpoints: [", "not valid YAML"),
        ("- a\n- b", "must hold 'key: value' lines, holds list"),
    ],
)
def test_the_first_thing_that_does_not_fit_is_named(tmp_path: Path, text: str, told: str):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(DocumentError, match=told) as caught:
        read_document(path, Catalogue)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path):
    with pytest.raises(DocumentError, match="none.yaml: no such file"):
        read_document(tmp_path / "none.yaml", Catalogue)
    with pytest.raises(DocumentError, match="is a folder"):
        read_document(tmp_path, Catalogue)


def test_a_failed_write_leaves_the_old_file_whole(tmp_path: Path):
    path = tmp_path / "x.yaml"
    write_text_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text_atomically(path, "new \ud800")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_file_is_parsed_once_until_it_changes_and_an_error_is_told_each_time(tmp_path: Path):
    path = tmp_path / "x.yaml"
    path.write_text(GOOD + "}")
    first = reread_document(path, Catalogue)
    assert reread_document(path, Catalogue) is first and load_catalogue(path)[0] is load_catalogue(path)[0]
    write_text_atomically(path, GOOD.replace("id: a", "id: b") + "}")
    assert reread_document(path, Catalogue).endpoints[0].id == load_catalogue(path)[0].id == "b"
    path.write_text("- a")
    for _ in range(2):
        with pytest.raises(DocumentError, match="must hold"):
            reread_document(path, Catalogue)
    path.unlink()
    with pytest.raises(DocumentError, match="no such file"):
        load_catalogue(path)


def test_a_file_that_goes_while_it_is_looked_at_is_none_and_a_wrong_one_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "x.yaml"
    assert reread_if_there(path, Catalogue) is None
    path.write_text("- a")
    with pytest.raises(DocumentError, match="must hold"):
        reread_if_there(path, Catalogue)
    path.write_text(GOOD + "}")
    found = reread_if_there(path, Catalogue)
    assert found is not None and found.endpoints[0].id == "a"

    def gone(path: Path) -> object:
        path.unlink()
        return read_yaml(path)

    read_yaml = documents.read_yaml
    monkeypatch.setattr(documents, "read_yaml", gone)
    path.write_text(GOOD.replace("id: a", "id: c") + "}")
    assert reread_if_there(path, Catalogue) is None
