"""A command as a person at the terminal meets it, in this process: what it imports is there already.

done = call("arena", "leaderboard", "--results", results, "--json")
json.loads(done.stdout.splitlines()[-1])
"""

import importlib
import io
import logging
import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch


@dataclass(frozen=True)
class Said:
    stdout: str
    stderr: str


def call(room: str, *arguments: object, code: int = 0, environment: Mapping[str, str] | None = None) -> Said:
    """Run `ROOM ARGUMENTS` with these variables of the environment beside those that are set; it must end with `code`."""
    main = importlib.import_module(f"{room}.cli").main
    out, err = io.StringIO(), io.StringIO()
    handlers, ended = logging.root.handlers[:], 0
    argv, variables = patch.object(sys, "argv", [room, *map(str, arguments)]), patch.dict(os.environ, environment or {})
    with argv, variables, redirect_stdout(out), redirect_stderr(err):
        # Only where none is set yet does the command log to its stderr.
        logging.root.handlers[:] = []
        try:
            main()
        except SystemExit as stopped:
            ended = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
        finally:
            logging.root.handlers[:] = handlers
    assert ended == code, err.getvalue()
    return Said(out.getvalue(), err.getvalue())
