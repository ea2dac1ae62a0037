"""What the technician may set about public alerts (CAP)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

_LANGUAGE = r"^[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*\Z"
_DIGEST = r"^sha256:[0-9a-f]{64}\Z"
_URL = r"^https?://[^\s/?#]+[^\s\x00-\x1f\x7f]*\Z"
_MESSAGE = r"^[a-z0-9][a-z0-9_-]{0,31}\Z"
_VOICE = r"^[A-Za-z0-9][A-Za-z0-9_+-]{0,39}\Z"
_HOST = r"^[a-z0-9][a-z0-9.-]{0,252}\Z"

Language = Annotated[str, Meta(pattern=_LANGUAGE, description="language tag, such as vi or en-US")]
MessageName = Annotated[str, Meta(pattern=_MESSAGE, description="name of a stored message")]


class StoredMessage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A recording that is always here."""

    media: Annotated[str, Meta(pattern=_DIGEST, description="sha256 of the recording")]
    url: (
        Annotated[str, Meta(pattern=_URL, max_length=2048, description="where it may be fetched, once")]
        | None
    ) = None
    text: Annotated[str, Meta(max_length=4000, description="what the board shows with it")] = ""


class AlertSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where this node stands, what it airs, in which languages, for how long."""

    geocodes: Annotated[
        dict[
            Annotated[str, Meta(min_length=1, max_length=100, description="valueName of the code")],
            Annotated[
                tuple[Annotated[str, Meta(min_length=1, max_length=100)], ...],
                Meta(max_length=64, description="values that include this node"),
            ],
        ],
        Meta(max_length=16, description="codes of the areas that include this node, by the code's valueName"),
    ] = {}
    latitude: (
        Annotated[float, Meta(ge=-90, le=90, description="where this node stands, degrees north")] | None
    ) = None
    longitude: (
        Annotated[float, Meta(ge=-180, le=180, description="where this node stands, degrees east")] | None
    ) = None
    languages: Annotated[
        tuple[Language, ...],
        Meta(min_length=1, max_length=8, description="languages that are spoken, in this order"),
    ] = ("vi",)
    voices: Annotated[
        dict[Language, Annotated[str, Meta(pattern=_VOICE, description="name of an espeak-ng voice")]],
        Meta(max_length=16, description="espeak-ng voice by language, where its name is another"),
    ] = {}
    words_per_minute: Annotated[
        int, Meta(ge=80, le=260, description="how fast the voice speaks, words a minute")
    ] = 140
    times: Annotated[int, Meta(ge=1, le=10, description="how often an alert is said")] = 2
    gap_s: Annotated[float, Meta(ge=0, le=60, description="silence between two times, seconds")] = 5.0
    volume: (
        Annotated[int, Meta(ge=0, le=100, description="volume of alerts, 0-100; the node's when not set")]
        | None
    ) = None
    default_expiry_min: Annotated[
        int, Meta(ge=1, le=10_080, description="how long an alert without `expires` holds, minutes")
    ] = 60
    max_expiry_min: Annotated[
        int, Meta(ge=1, le=10_080, description="no alert holds longer than this after it was sent, minutes")
    ] = 1440
    exercise: Annotated[
        bool, Meta(description="air alerts of status Exercise, announced as such (diễn tập)")
    ] = False
    test: Annotated[bool, Meta(description="air alerts of status Test, announced as such")] = False
    audio_hosts: Annotated[
        tuple[Annotated[str, Meta(pattern=_HOST, description="a host's name in lower case")], ...],
        Meta(
            max_length=16, description="hosts from which an alert's own recording (sha256 given) is fetched"
        ),
    ] = ()
    messages: Annotated[
        dict[MessageName, StoredMessage],
        Meta(max_length=32, description="recordings kept for emergencies, by name"),
    ] = {}

    @property
    def position(self) -> tuple[float, float] | None:
        """Latitude and longitude, if both are known."""
        if self.latitude is None or self.longitude is None:
            return None
        return self.latitude, self.longitude

    def problems(self) -> Iterator[tuple[str, str, dict[str, object]]]:
        """(key, code, facts) of what contradicts itself."""
        for key, other in (("latitude", "longitude"), ("longitude", "latitude")):
            if getattr(self, key) is not None and getattr(self, other) is None:
                yield key, "needs_other_key", {"other": f"alerts.{other}"}
        if self.default_expiry_min > self.max_expiry_min:
            yield (
                "default_expiry_min",
                "above_other",
                {
                    "found": self.default_expiry_min,
                    "other": "alerts.max_expiry_min",
                    "limit": self.max_expiry_min,
                },
            )
