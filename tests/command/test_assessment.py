"""What an alert means here: every row of the table, languages, words, time, and whose recording is played."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from edge_agent.command import cap
from edge_agent.command.alert_settings import AlertSettings, StoredMessage
from edge_agent.command.assessment import CHARACTERS_MAX, Advice, advise, turned_away
from edge_agent.model import Precedence, Reason, ReasonCode, Voice
from tests import alerts

NOW = datetime(2026, 11, 24, 1, 30, tzinfo=UTC)
SETTINGS = AlertSettings(geocodes={alerts.CODE[0]: (alerts.CODE[1],)})
DIGEST = "ab" * 32


def judged(text: str, settings: AlertSettings = SETTINGS, **more: object) -> Advice | Reason:
    fixed = {"now": NOW, "highest": Precedence.EMERGENCY} | more
    return advise(cap.parse(text), settings=settings, **fixed)  # type: ignore[arg-type] # a test's shorthand


def advice(
    *blocks: str, settings: AlertSettings = SETTINGS, status: str = "Actual", **more: object
) -> Advice:
    found = judged(alerts.alert("x", NOW, *blocks, status=status), settings, **more)
    assert isinstance(found, Advice), found
    return found


def reason(*blocks: str, settings: AlertSettings = SETTINGS, sent: datetime = NOW, **more: object) -> Reason:
    found = judged(alerts.alert("x", sent, *blocks), settings, **more)
    assert isinstance(found, Reason), found
    return found


@pytest.mark.parametrize(
    ("grade", "precedence", "audible"),
    [
        (("Immediate", "Extreme", "Observed"), Precedence.EMERGENCY, True),
        (("Expected", "Severe", "Likely"), Precedence.EMERGENCY, True),
        (("Immediate", "Extreme", "Possible"), Precedence.ROUTINE, False),
        (("Immediate", "Moderate", "Observed"), Precedence.ROUTINE, False),
        (("Past", "Extreme", "Observed"), Precedence.ROUTINE, False),
        (("Unknown", "Unknown", "Unknown"), Precedence.ROUTINE, False),
        (("Future", "Moderate", "Possible"), Precedence.PRIORITY, True),
        (("Future", "Severe", "Unknown"), Precedence.PRIORITY, True),
        (("Future", "Extreme", "Likely"), Precedence.PRIORITY, True),
        (("Future", "Severe", "Unlikely"), Precedence.ROUTINE, False),
        (("Future", "Minor", "Observed"), Precedence.ROUTINE, False),
    ],
)
def test_urgency_severity_and_certainty_make_the_class(
    grade: tuple[str, str, str], precedence: Precedence, *, audible: bool
) -> None:
    found = advice(alerts.block(grade=grade))
    assert (found.precedence, found.audible) == (precedence, audible)


def test_the_orders_class_an_exercise_and_a_test_set_ceilings() -> None:
    assert advice(alerts.block(), highest=Precedence.PRIORITY).precedence is Precedence.PRIORITY
    assert advice(alerts.block(), status="Exercise").precedence is Precedence.PRIORITY
    found = advice(alerts.block(), status="Test")
    assert (found.precedence, found.audible) == (Precedence.ROUTINE, True)


def test_what_is_turned_away_is_so_by_status_scope_and_kind() -> None:
    def code(settings: AlertSettings = SETTINGS, **changes: str) -> ReasonCode | None:
        text = alerts.alert("x", NOW, alerts.block(), references=[("y", NOW)], **changes)
        found = turned_away(cap.parse(text), settings)
        return None if found is None else found.code

    everything = msgspec.structs.replace(SETTINGS, exercise=True, test=True)
    assert code() is None
    assert code(kind="Update") is code(kind="Cancel") is None
    assert code(kind="Ack") is code(kind="Error") is ReasonCode.UNSUPPORTED
    assert code(status="Test") is code(status="Exercise") is ReasonCode.OUT_OF_SCOPE
    assert code(everything, status="Test") is code(everything, status="Exercise") is None
    assert code(everything, status="Draft") is code(everything, status="System") is ReasonCode.OUT_OF_SCOPE
    assert code(scope="Private") is code(scope="Restricted") is ReasonCode.OUT_OF_SCOPE


def test_areas_that_cannot_be_judged_are_told_apart() -> None:
    assert "gives no geocode" in reason(alerts.block(area="")).text
    assert "does not stand" in reason(alerts.block(area=alerts.ELSEWHERE)).text
    lost = reason(alerts.block(), settings=AlertSettings())
    assert (lost.code, "does not know where" in lost.text) == (ReasonCode.WRONG_AUDIENCE, True)


def test_a_block_for_elsewhere_is_neither_said_nor_counted() -> None:
    found = advice(
        alerts.block(area=alerts.ELSEWHERE, headline="Ở đâu đó"),
        alerts.block(grade=alerts.RAIN, headline="Ở đây"),
    )
    assert found.precedence is Precedence.PRIORITY
    assert [voice.text.split(".")[0] for voice in found.voices] == ["Ở đây"]


def test_of_one_language_the_gravest_block_counts() -> None:
    found = advice(alerts.block(grade=alerts.FOG, headline="Nhẹ"), alerts.block(headline="Nặng"))
    assert found.title == "Nặng"
    assert len(found.voices) == 1


def test_languages_are_said_in_the_configured_order() -> None:
    blocks = [alerts.block(language="en", headline="Flood"), alerts.block(language="VI", headline="Lũ")]
    found = advice(*blocks, settings=msgspec.structs.replace(SETTINGS, languages=("vi-VN", "tay", "en-US")))
    assert [voice.language for voice in found.voices] == ["VI", "en"]
    assert found.texts[-2] == "Lũ quét"
    first = advice(*blocks, settings=msgspec.structs.replace(SETTINGS, languages=("tay",)))
    assert [voice.language for voice in first.voices] == ["en"]


def test_without_a_language_the_letters_tell() -> None:
    assert advice(alerts.block(language=None)).voices[0].language == "vi"
    plain = alerts.block(language=None, event="Flood", headline="Flood", description="", instruction="")
    assert advice(plain).voices == (Voice("Flood.", "en-US"),)


def test_exercise_and_test_are_said_before_and_after_in_the_languages_own_words() -> None:
    english = alerts.block(language="en", headline="Flood", description="", instruction="")
    tay = alerts.block(language="tay", headline="Nặm", description="", instruction="")
    settings = msgspec.structs.replace(SETTINGS, languages=("en", "tay"))
    said = advice(english, tay, settings=settings, status="Exercise").voices
    assert [voice.language for voice in said] == ["en", "en", "en", "vi", "tay", "vi"]
    assert "exercise" in said[0].text
    assert "diễn tập" in said[3].text
    assert all(text.startswith("DIỄN TẬP: ") for text in advice(alerts.block(), status="Exercise").texts)
    assert "thử nghiệm" in advice(alerts.block(), status="Test").voices[0].text


def test_the_board_has_shorter_and_shorter_texts_to_choose_from() -> None:
    assert advice(alerts.block()).texts == (
        f"{alerts.HEADLINE}. {alerts.INSTRUCTION}",
        alerts.HEADLINE,
        "Lũ quét",
        "CẢNH BÁO KHẨN CẤP",
    )


def test_a_long_text_ends_with_a_sentence() -> None:
    found = advice(alerts.block(description="Nước lên nhanh. " * 400))
    assert len(found.voices[0].text) <= CHARACTERS_MAX
    assert found.voices[0].text.endswith("nhanh.")


# ---------------------------------------------------------------- time


def test_an_end_is_the_alerts_own_or_ours_and_has_a_ceiling() -> None:
    assert advice(alerts.block()).until == NOW + timedelta(minutes=60)
    assert advice(alerts.block(expires=NOW + timedelta(minutes=5))).until == NOW + timedelta(minutes=5)
    assert advice(alerts.block(expires=NOW + timedelta(days=9))).until == NOW + timedelta(days=1)


def test_a_late_delivery_does_not_prolong_an_alert() -> None:
    text = alerts.alert("x", NOW - timedelta(minutes=50), alerts.block())
    found = judged(text)
    assert isinstance(found, Advice)
    assert found.until == NOW + timedelta(minutes=10)
    assert reason(alerts.block(), sent=NOW - timedelta(minutes=61)).code is ReasonCode.EXPIRED


def test_a_date_in_the_future_gives_no_more_than_the_ceiling() -> None:
    text = alerts.alert("x", NOW + timedelta(days=300), alerts.block(expires=NOW + timedelta(days=400)))
    found = judged(text)
    assert isinstance(found, Advice)
    assert found.until == NOW + timedelta(days=1)


# ---------------------------------------------------------------- recordings


def resource(uri: str, digest: str = DIGEST, mime: str = "audio/mpeg") -> str:
    return (
        f"<resource><resourceDesc>lời</resourceDesc><mimeType>{mime}</mimeType><uri>{uri}</uri>"
        f"<digest>{digest}</digest></resource>"
    )


@pytest.mark.parametrize(
    ("extra", "taken"),
    [
        (resource("https://am-thanh.example/a.mp3"), True),
        (resource("https://am-thanh.example:8443/a.mp3", f"SHA256:{DIGEST}".lower()), True),
        (resource("https://khac.example/a.mp3"), False),
        (resource("https://am-thanh.example@khac.example/a.mp3"), False),
        (resource("https://am-thanh.example.khac.example/a.mp3"), False),
        (resource("https://khac.example/https://am-thanh.example/a.mp3"), False),
        (resource("file://am-thanh.example/etc/passwd"), False),
        (resource("https://am-thanh.example/a.mp3", "ab" * 20), False),
        (resource("https://am-thanh.example/a.mp3", ""), False),
        (resource("https://am-thanh.example/a.jpg", mime="image/jpeg"), False),
    ],
)
def test_a_recording_is_taken_only_by_its_sha256_and_from_a_host_that_is_allowed(
    extra: str, *, taken: bool
) -> None:
    settings = msgspec.structs.replace(SETTINGS, audio_hosts=("am-thanh.example",))
    found = advice(alerts.block(more=extra), settings=settings)
    assert (found.recording is not None) is taken
    assert advice(alerts.block(more=extra)).recording is None, "no host is allowed by default"
    assert found.voices, "the words are there if the recording is not"


def test_a_stored_message_goes_first() -> None:
    settings = msgspec.structs.replace(
        SETTINGS,
        audio_hosts=("am-thanh.example",),
        messages={
            "lu": StoredMessage(media="sha256:" + "cd" * 32),
            "bao": StoredMessage(media="sha256:" + "ef" * 32),
        },
    )
    named = "<parameter><valueName>pa-message</valueName><value>lu</value></parameter>"
    block = alerts.block(more=named + resource("https://am-thanh.example/a.mp3"))
    assert advice(block, settings=settings).recording == "sha256:" + "cd" * 32
    assert advice(block, settings=settings, message="bao").recording == "sha256:" + "ef" * 32
    unknown = alerts.block(more=named.replace(">lu<", ">dong-dat<"))
    assert advice(unknown, settings=settings).recording is None


@pytest.mark.parametrize("status", ["Exercise", "Test"])
def test_no_recording_stands_for_an_exercise_because_it_cannot_say_that_it_is_one(status: str) -> None:
    settings = msgspec.structs.replace(
        SETTINGS,
        audio_hosts=("am-thanh.example",),
        messages={"lu": StoredMessage(media="sha256:" + "cd" * 32)},
    )
    block = alerts.block(more=resource("https://am-thanh.example/a.mp3"))
    for message in ("lu", None):
        found = advice(block, settings=settings, message=message, status=status)
        assert found.recording is None
        assert len(found.voices) == 3, "the voice reads it, announced before and after"
