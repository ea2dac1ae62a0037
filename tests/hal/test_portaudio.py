"""What the sound driver does to its own process before PortAudio looks around."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hal.linux import memory
from tests.hal.pulse import PulseDaemon, missing

REASON = missing()
pytestmark = [
    pytest.mark.realtime,
    pytest.mark.skipif(REASON is not None, reason=f"PortAudio cannot run here: {REASON}"),
]

LOADS = """
import os
from hal.linux.portaudio import LIBRARY
assert LIBRARY.sees("village", otherwise=False)
print(os.environ.get("ALSA_CONFIG_PATH", ""))
print(*{line.split("/")[-1].strip() for line in open("/proc/self/maps") if "/lib" in line})
"""


def loaded(**environment: str) -> tuple[str, str]:
    """ALSA_CONFIG_PATH and the libraries of a process that has looked for the card."""
    with PulseDaemon() as pulse:
        out = subprocess.run(
            [sys.executable, "-c", LOADS],
            env=pulse.environment() | environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    path, libraries = out.splitlines()
    return path, libraries


def test_looking_for_cards_loads_no_second_ffmpeg_and_no_jack_plugin() -> None:
    path, libraries = loaded()
    assert Path(path).name == "alsa.conf"
    assert "libasound_module_pcm_pulse" in libraries
    assert "libavcodec" not in libraries
    assert "libasound_module_pcm_jack" not in libraries


def test_a_configuration_that_the_technician_named_is_left_alone() -> None:
    theirs = "/usr/share/alsa/alsa.conf"
    assert loaded(ALSA_CONFIG_PATH=theirs)[0] == theirs


def test_glibc_takes_the_bound_on_its_arenas() -> None:
    assert memory.keep_it_together() == (os.confstr("CS_GNU_LIBC_VERSION") is not None)
