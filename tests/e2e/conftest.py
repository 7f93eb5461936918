"""What the browser tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots are kept: BAKEOFF_PICTURES, else a folder that goes with the run."""
    folder = Path(os.environ.get("BAKEOFF_PICTURES") or tmp_path_factory.mktemp("pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
