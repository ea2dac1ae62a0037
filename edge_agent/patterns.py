"""How things are spelt that come in from outside, wherever they come in; and the same in words, for refusals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from edge_agent.errors import DocumentRefused, Fault
from edge_agent.model import ReasonCode

T = TypeVar("T")

MEDIA: Final = r"^sha256:[0-9a-f]{64}\Z"
URL: Final = r"^https?://[^\s/?#]+[^\s\x00-\x1f\x7f]*\Z"
ZONE: Final = r"^[a-z0-9_-]{1,32}\Z"
BOARD: Final = r"^[a-z0-9][a-z0-9-]{0,19}\Z"
SPAN: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]\Z"
"""Hours of the day: from-to."""
LANGUAGE: Final = r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}\Z"

FORMS: Final[Mapping[str, str]] = {
    MEDIA: "`sha256:` and 64 hex digits in lower case",
    URL: "an address that begins with http:// or https:// and has no spaces",
    ZONE: "a zone's name of a-z, 0-9, `_`, `-`",
    BOARD: "a board's name of 1 to 20 of a-z, 0-9, `-`",
    LANGUAGE: "a language tag such as vi or en-US",
}


def fault_of(error: Exception, forms: Mapping[str, str] = FORMS, *, at: str = "$") -> Fault:
    """What msgspec found wrong in a document, with its place below `at`, and patterns told in words."""
    text = str(error)
    for pattern, words in forms.items():
        text = text.replace(f"`str` matching regex {pattern!r}", words)
    message, _, path = text.partition(" - at `")
    return Fault(at + path.rstrip("`").removeprefix("$"), message[:300] + ".")


def decoded(body: bytes, form: type[T], *, what: str, forms: Mapping[str, str] = FORMS) -> T:
    """A document's body in its form. Raises DocumentRefused that says what is wrong with the `what` document."""
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        fault = fault_of(error, forms)
        text = f"The {what} document is wrong at {fault.path}: {fault.message}"
        raise DocumentRefused(ReasonCode.BAD_ARGS, text, [fault]) from None
