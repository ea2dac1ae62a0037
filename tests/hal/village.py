"""A village's authority and broker, made by the very commands and files of config/mosquitto, with the paths of a test."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from edge_agent.cli import enrol
from hal.linux.broker import MqttBroker
from tests.certificates import Pair
from tests.mosquitto import Mosquitto

SHIPPED: Final = Path(__file__).resolve().parents[2] / "config" / "mosquitto"
README: Final = (SHIPPED / "README.md").read_text(encoding="utf-8")
BLOCKS: Final = dict(re.findall(r"^## (\d)\..*?^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE))
"""The commands of each step."""
PASSPHRASE: Final = "mật khẩu rất dài"
HOST: Final = "localhost"


class Village:
    """A directory with an authority in it. Whoever it certifies has NAME.pem and NAME.key."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.etc = directory / "etc"
        directory.mkdir()
        self.etc.mkdir()
        for name in ("ca.cnf", "acl", "mosquitto.conf"):
            shutil.copy(SHIPPED / name, directory)

    def step(self, number: int, *, node: str = "thon-1") -> str:
        """Carry out a step of the README; returns what its commands printed."""
        text = BLOCKS[str(number)]
        for written, here in (
            ("mqtt.xa-vi-huong.example", HOST),
            ("/etc/mosquitto", str(self.etc)),
            ("-o mosquitto", f"-o {getpass.getuser()}"),
            ("systemctl", ": systemctl"),
        ):
            text = text.replace(written, here)
        text = re.sub(r"^NODE=.*$", f"NODE={node}", text, flags=re.MULTILINE)
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        if number > 1:
            environment["CA_PASS"] = PASSPHRASE
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"umask 077\n{text}"],
            cwd=self.directory,
            env=environment,
            input=f"{PASSPHRASE}\n",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"step {number}: {done.stderr}"
        return done.stdout

    def enrol(self, node: str, *, calls_itself: str | None = None) -> str:
        """What happens at a node: its key and its request come to be; returns the key's fingerprint."""
        key, csr = self.directory / f"{node}.key", self.directory / f"{node}.csr"
        enrol.make_key(key)
        pair = enrol.read_key(key)
        csr.write_bytes(enrol.make_request(pair, calls_itself or node))
        return enrol.fingerprint(pair)

    def pair(self, name: str) -> Pair:
        """Somebody's certificate and key."""
        return Pair(cert=self.directory / f"{name}.pem", key=self.directory / f"{name}.key")

    def config(self, directory: Path) -> str:
        """The broker's own, with this place's paths."""
        text = (self.etc / "mosquitto.conf").read_text(encoding="utf-8")
        for written, here in (
            ("/etc/mosquitto", str(self.etc)),
            ("/var/lib/mosquitto", str(directory)),
            ("log_dest syslog", f"log_dest file {directory}/mosquitto.log"),
        ):
            assert written in text
            text = text.replace(written, here)
        return text

    def door(self, broker: Mosquitto, own: Pair | None, *, ca_file: Path | None = None) -> MqttBroker:
        """The way of somebody to that broker."""
        return MqttBroker(
            f"mqtts://{HOST}:{broker.port}",
            ca_file=str(ca_file or self.directory / "ca.pem"),
            cert_file=None if own is None else str(own.cert),
            key_file=None if own is None else str(own.key),
        )
