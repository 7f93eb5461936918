"""How every bakeoff command behaves at the terminal: one red line for what a person can mend, data on stdout, chatter on stderr.

Each room's `cli.py` makes its typer app with `new_command` and exposes `main = entry(app)`. Exit codes: 0 done, 1 an error with a
remedy, 2 wrong usage, 130 interrupted. Nothing heavy is imported here: `--help` must answer within .3 s.
"""

import errno
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from serving.errors import BakeoffError

Results = Annotated[Path, typer.Option("--results", envvar="BAKEOFF_RESULTS", help="Folder of runs, votes, datasets, trainings.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document as the last line of stdout.")]
RESULTS = Path("results")
# A disk that takes no more is the person's to mend, whatever was being written.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


def new_command(help: str) -> typer.Typer:
    """A typer app with the house's manners: help when called bare, no shell-completion options, no decorated tracebacks."""
    return typer.Typer(help=help, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def entry(app: typer.Typer) -> Callable[[], None]:
    """The function a console script calls: runs `app`, turns BakeoffError into one red line and exit 1."""

    def main() -> None:
        logging.basicConfig(stream=sys.stderr, level=os.environ.get("BAKEOFF_LOG", "WARNING").upper(), format="%(name)s: %(message)s")
        try:
            app()
        except BakeoffError as error:
            fail(str(error))
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:
            # The reader (head, less) has gone: that is no error of ours. Keep the interpreter from complaining at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            where = f"{error.filename}: " if error.filename else ""
            fail(f"{where}{error.strerror}: what was written before is kept; make room (or name another --results) and run it again")

    return main


def fail(message: str) -> None:
    """Print one red line on stderr and exit 1."""
    line = " ".join(f"error: {message}".split())
    sys.stderr.write(f"\x1b[31m{line}\x1b[0m\n" if sys.stderr.isatty() else f"{line}\n")
    sys.exit(1)


def say(message: str) -> None:
    """A line of chatter, on stderr."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


def emit(line: str) -> None:
    """A line of data, on stdout."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def emit_json(document: Any) -> None:
    """One JSON document on one line of stdout; NaN and infinity are refused (they are not JSON)."""
    emit(json.dumps(document, ensure_ascii=False, allow_nan=False, default=str))
