"""A private PulseAudio daemon with a null sink, for tests and benchmarks of the real sound driver.

Facts about the null sink: it renders 2 s ahead when it is fresh, so nothing is timed in its first
3 s (`settled`), and it does so again whenever nobody asks it for low latency, so time things only
while a `record` runs; its monitor is what was heard, bit for bit at its own rate; without a sound card in the machine ALSA reaches it
through its pulse plugin, by an `asoundrc` that `environment()` points to.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_ASOUND = """
pcm.!default { type pulse
  hint { show on
         description "Default ALSA output (private null sink)" } }
ctl.!default { type pulse }
pcm.village { type pulse
  hint { show on
         description "The village's loudspeaker" } }
"""


def missing() -> str | None:
    """Why the daemon cannot run here, or None."""
    lacking = [name for name in ("pulseaudio", "parec", "pactl") if shutil.which(name) is None]
    if lacking:
        return f"not installed: {', '.join(lacking)} (apt install pulseaudio pulseaudio-utils)"
    plugins = list(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so"))
    return None if plugins else "no ALSA pulse plugin (apt install libasound2-plugins)"


class PulseDaemon:
    """Start with `with`; programs run with `environment()` play into the null sink by ALSA or by Pulse."""

    def __init__(self, *, sink: str = "village", rate_hz: int = 48_000) -> None:
        self.sink = sink
        self.rate_hz = rate_hz
        self._dir = Path(tempfile.mkdtemp(prefix="pulse-"))
        self._daemon: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._recordings = 0

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        assert self._daemon is not None
        return self._daemon.pid

    def environment(self) -> dict[str, str]:
        """This process's environment with home, runtime and ALSA configuration of the daemon."""
        runtime = str(self._dir / "run")
        return os.environ | {
            "HOME": str(self._dir),
            "XDG_RUNTIME_DIR": runtime,
            "XDG_CONFIG_HOME": str(self._dir / "config"),
            "PULSE_RUNTIME_PATH": runtime,
            "PULSE_SERVER": f"unix:{runtime}/native",
            "PULSE_STATE_PATH": str(self._dir / "state"),
            "DBUS_SESSION_BUS_ADDRESS": "disabled:",
        }

    def __enter__(self) -> Self:
        for name in ("run", "config", "state"):
            (self._dir / name).mkdir(mode=0o700)
        (self._dir / ".asoundrc").write_text(_ASOUND)
        self._daemon = subprocess.Popen(
            [
                *("pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", "--system=false"),
                *("--exit-idle-time=-1", "--disallow-exit", "--log-target=stderr", "--log-level=error"),
                *("-L", f"module-native-protocol-unix socket={self._dir}/run/native auth-anonymous=1"),
                *(
                    "-L",
                    f"module-null-sink sink_name={self.sink} rate={self.rate_hz} channels=1 format=float32le",
                ),
            ],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._await_answer()
        except BaseException:
            self.kill()
            shutil.rmtree(self._dir, ignore_errors=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self._dir, ignore_errors=True)

    def kill(self) -> None:
        """End the daemon at once, as if the card were pulled out."""
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()
            self._daemon = None

    def settled(self) -> None:
        """Wait until the sink's first 3 s are over."""
        _pause(max(0.0, self._started + 3.0 - time.perf_counter()))

    def record(self) -> Recording:
        """Record what is heard from now on."""
        self._recordings += 1
        return Recording(self, self._dir / f"heard-{self._recordings}.f32")

    def _await_answer(self) -> None:
        assert self._daemon is not None
        for _ in range(200):
            assert self._daemon.poll() is None, "pulseaudio ended at once"
            asked = subprocess.run(
                ["pactl", "info"], env=self.environment(), capture_output=True, check=False
            )
            if asked.returncode == 0:
                self._started = time.perf_counter()
                return
            _pause(0.05)
        raise TimeoutError("pulseaudio did not answer within 10 s")


class Recording:
    """The sink's monitor, recorded by `parec` until `stop`, or until the end of a `with`."""

    def __init__(self, daemon: PulseDaemon, path: Path) -> None:
        self._path = path
        self._parec = subprocess.Popen(
            [
                *("parec", "--raw", "--format=float32le", f"--rate={daemon.rate_hz}", "--channels=1"),
                *("--latency-msec=20", f"--device={daemon.sink}.monitor"),
                str(path),
            ],
            env=daemon.environment(),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(200):
            if self._path.exists() and self._path.stat().st_size > 0:
                return
            _pause(0.05)
        raise TimeoutError("parec recorded nothing within 10 s")

    def stop(self) -> npt.NDArray[np.float32]:
        """End the recording and return its frames, float32 mono."""
        import numpy as np

        _pause(0.3)
        self.end()
        raw = self._path.read_bytes()
        return np.frombuffer(raw[: len(raw) // 4 * 4], dtype=np.float32)

    def end(self) -> None:
        """End the recording. Idempotent."""
        self._parec.terminate()
        self._parec.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


def _pause(seconds: float) -> None:
    if seconds > 0:
        time.sleep(seconds)  # noqa: TID251 - a real daemon lives in real time
