"""A real nginx for tests, with the lines that docs/arena.md shows: only addresses, port and folders are this test's own.

with Nginx(folder, [first.port, second.port]) as url: ...
"""

import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Self

from serving.listening import free_port

DOCS = Path(__file__).parent.parent / "docs" / "arena.md"
PROGRAM = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
_AROUND = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
{user}
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    add_header X-Arena $upstream_addr;
    {lines}
}}
"""


def why_not() -> str | None:
    """Why no nginx can be started here; None when one can."""
    return None if PROGRAM else "needs Debian's nginx (apt-get install nginx-light)"


class Nginx:
    """In front of arenas at these ports of loopback, for the length of a `with`. Every answer says in X-Arena who gave it."""

    def __init__(self, folder: Path, ports: list[int]) -> None:
        folder.mkdir()
        self.folder, self.url = folder, f"http://127.0.0.1:{(port := free_port())}"
        found = re.search(r"```nginx\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
        assert found, f"{DOCS} shows how nginx is set up"
        documented = re.findall(r"server [\d.]+:\d+ ", found[1])
        assert len(documented) == len(ports) and "listen 80;" in found[1]
        lines = found[1].replace("listen 80;", f"listen 127.0.0.1:{port};")
        for old, new in zip(documented, ports, strict=True):
            lines = lines.replace(old, f"server 127.0.0.1:{new} ")
        # Workers of a master that is root would be nobody, who may not enter a test's folder.
        user = "user root;" if os.getuid() == 0 else ""
        (folder / "nginx.conf").write_text(_AROUND.format(folder=folder, user=user, lines=lines))

    def __enter__(self) -> Self:
        command = [str(PROGRAM), "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", str(self.folder / "error.log")]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        limit = time.monotonic() + 20
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=5).read()
                return self
            except OSError:
                assert self._process.poll() is None and time.monotonic() < limit, self.errors()
                time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(10) == 0, self.errors()

    def errors(self) -> str:
        """What it complained of."""
        return (self.folder / "error.log").read_text()

    def arena_of(self, cookies: dict[str, str]) -> int:
        """The port of the arena that a browser with these cookies is sent to."""
        cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
        request = urllib.request.Request(f"{self.url}/_stcore/health", headers={"Cookie": cookie})
        with urllib.request.urlopen(request, timeout=10) as answer:
            # Whoever was tried in vain stands before the one that answered.
            return int(answer.headers["X-Arena"].rpartition(":")[2])
