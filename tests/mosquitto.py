"""A real Mosquitto on a free loopback port, started and stopped by a test."""

from __future__ import annotations

import contextlib
import getpass
import shutil
import signal
import socket
import subprocess
from pathlib import Path

PROGRAM = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/opt/homebrew/sbin")
MISSING = "mosquitto is not installed (apt install mosquitto)"


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Mosquitto:
    """One broker with its own directory; it keeps its port over `stop` and `start`.

    `persistence` keeps sessions and retained messages over a clean stop. `acl` is the text of an
    ACL file. `accounts` are user names and passwords; without them anybody may connect. `tls` is
    (CA file, certificate file, key file). `extra` are further lines of configuration. `config` is a whole
    configuration in place of all these; in it, "listener 8883" stands for the port that was found.
    """

    def __init__(
        self,
        directory: Path,
        *,
        persistence: bool = False,
        acl: str | None = None,
        accounts: dict[str, str] | None = None,
        tls: tuple[Path, Path, Path] | None = None,
        extra: tuple[str, ...] = (),
        config: str | None = None,
    ) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"{'mqtts' if tls else 'mqtt'}://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"allow_anonymous {'false' if accounts else 'true'}",
            f"persistence {'true' if persistence else 'false'}",
            f"persistence_location {directory}/",
            "set_tcp_nodelay true",
            f"log_dest file {directory}/mosquitto.log",
            "log_type all",
            f"user {getpass.getuser()}",  # started by root it would become `mosquitto` and not read its files
            *extra,
        ]
        if acl is not None:
            lines.append(f"acl_file {self._file('acl', acl)}")
        if accounts is not None:
            lines.append(f"password_file {self._accounts(accounts)}")
        if tls is not None:
            lines += [f"cafile {tls[0]}", f"certfile {tls[1]}", f"keyfile {tls[2]}"]
        if config is not None:
            assert "\nlistener 8883\n" in config
            here = f"listener {self.port} 127.0.0.1\nuser {getpass.getuser()}"
            lines = [config.replace("listener 8883", here)]
        self._config = self._file("mosquitto.conf", "\n".join(lines) + "\n")

    def start(self) -> None:
        """Start it and wait until it listens."""
        assert PROGRAM is not None, MISSING
        assert self._process is None, "it runs already"
        self._process = subprocess.Popen(
            [PROGRAM, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.01)
                break
        log = self.directory / "mosquitto.log"
        raise AssertionError(f"mosquitto did not start: {log.read_text() if log.exists() else 'no log'}")

    def reload(self) -> None:
        """Let it read its files again, as `systemctl reload` does; it does so between two messages."""
        assert self._process is not None, "it does not run"
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """Stop it properly (it saves what it keeps). Idempotent."""
        self._end(kill=False)

    def kill(self) -> None:
        """End it at once, as a power cut would. Idempotent."""
        self._end(kill=True)

    def signal(self, number: signal.Signals) -> None:
        """SIGHUP makes it read its ACL again."""
        assert self._process is not None, "it does not run"
        self._process.send_signal(number)

    def _end(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if kill:
            process.kill()
        else:
            process.terminate()
        process.wait(10)

    def _file(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return path

    def _accounts(self, accounts: dict[str, str]) -> Path:
        path = self._file("accounts", "".join(f"{user}:{word}\n" for user, word in accounts.items()))
        subprocess.run(["mosquitto_passwd", "-U", str(path)], check=True, capture_output=True)
        return path
