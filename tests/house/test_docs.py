"""The documents: links lead somewhere, commands exist, every decision is in the index, every code is explained."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.cli import app
from edge_agent.command.messages import ARGS_OF_VERB
from edge_agent.config import Settings
from edge_agent.model import OrderState, Outcome

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DECISIONS = ROOT / "docs" / "decisions"
PROTOCOL = ROOT / "docs" / "protocol.md"
VIETNAMESE_GUIDE = ROOT / "docs" / "ky-thuat-vien.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NOTES = sorted(DECISIONS.glob("[0-9]*.md"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def links(page: Path) -> Iterator[str]:
    """Where a page's links and pictures lead, code blocks left out; other machines' addresses too."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    yield from re.findall(r"\]\(([^)\s]+)\)", text)


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.is_relative_to(ROOT), f"{name_of(page)} leads out of the house: {link}"
        assert target.exists(), f"{name_of(page)}: {link} leads nowhere"
        if anchor:
            assert anchor in anchors(target), f"{name_of(page)}: {link} names no heading"


def test_every_document_is_reached_from_the_readme() -> None:
    reached, waiting = set[Path](), [README]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        places = (link.partition("#")[0] for link in links(page) if not re.match(r"[a-z]+:", link))
        waiting += [(page.parent / place).resolve() for place in places if place]
    assert set(PAGES) <= reached, sorted(name_of(page) for page in set(PAGES) - reached)


def verbs_of_the_command_line() -> dict[str, set[str]]:
    """Each verb of `edge-agent` with the verbs below it; a module may register several."""
    whole = app.build()
    verbs = {str(each.name): set[str]() for each in whole.registered_commands}
    for group in whole.registered_groups:
        assert group.typer_instance is not None
        verbs[str(group.name)] = {str(each.name) for each in group.typer_instance.registered_commands}
    return verbs


def test_the_command_line_has_the_verbs_that_the_documents_are_held_to() -> None:
    verbs = verbs_of_the_command_line()
    assert set(verbs) == {
        "run", "silence", "board", "sim", "check", "order", "stop", "release", "status", "next", "events", "watch", "cache", "desired", "report", "send", "enrol", "keys", "demo",
    }  # fmt: skip
    assert verbs["order"] == set(ARGS_OF_VERB)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_that_are_named_exist(page: Path) -> None:
    verbs = verbs_of_the_command_line()
    for verb, below in re.findall(
        r"edge-agent ([a-z][a-z_]*)(?:[ \t]+([a-z_]+))?", page.read_text(encoding="utf-8")
    ):
        assert verb in verbs, f"{name_of(page)}: there is no `edge-agent {verb}`"
        if verbs[verb] and below:
            assert below in verbs[verb], f"{name_of(page)}: there is no `edge-agent {verb} {below}`"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_and_files_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for line in re.findall(r"(?:^|`)make ((?:[a-z-]+ ?)+)", text, re.MULTILINE):
        assert set(line.split()) <= targets, f"{name_of(page)}: make {line}"
    for path in re.findall(r"(?<![\w/.-])((?:config|systemd)/[\w./-]*\w)", text):
        assert (ROOT / path).exists(), f"{name_of(page)}: there is no {path}"


def test_the_index_has_every_decision_once_and_by_its_title() -> None:
    index = re.findall(r"^- \[(\d{4})\]\((.+?)\) (.+)$", (DECISIONS / "README.md").read_text(), re.MULTILINE)
    titled = []
    for note in NOTES:
        heading = note.read_text(encoding="utf-8").splitlines()[0]
        number, title = re.fullmatch(r"# (\d{4}) (.+)", heading, re.DOTALL).groups()  # type: ignore[union-attr] # a heading of another form fails here, by name
        titled.append((number, note.name, title))
        assert note.name.startswith(f"{number}-"), note.name
    assert index == titled
    assert len({number for number, _, _ in index}) == len(index), "a number is used twice"


def test_the_readme_names_every_section_of_the_config() -> None:
    table = README.read_text(encoding="utf-8").partition("## Configuration")[2].partition("\n## ")[0]
    assert set(Settings.__struct_fields__) <= set(re.findall(r"`([a-z]+)`", table))


def codes_in_use() -> set[str]:
    """The reason codes that some room gives."""
    found: set[str] = set()
    for path in (ROOT / "edge_agent").rglob("*.py"):
        found |= {code.lower() for code in re.findall(r"ReasonCode\.([A-Z_]+)", path.read_text())}
    return found


def alerts_in_use() -> set[str]:
    """The alert ids that some room raises."""
    shapes = (
        r'(?:raised|solved|_tell)\(\s*"([a-z_]+)"',
        r'^ALERT = "([a-z_]+)"',
        r'Meaning\.[A-Z_]+: \(\s*"([a-z_]+)"',
        r'^ {8}\(\n {12}"([a-z_]+)",\n',
    )
    text = "\n".join(path.read_text() for path in (ROOT / "edge_agent").rglob("*.py"))
    return {alert for shape in shapes for alert in re.findall(shape, text, re.MULTILINE)}


@pytest.mark.parametrize("page", [PROTOCOL, VIETNAMESE_GUIDE], ids=name_of)
def test_every_code_that_people_meet_is_explained(page: Path) -> None:
    explained = set(re.findall(r"`([a-z_]+|[A-Z]+)`", page.read_text(encoding="utf-8")))
    alerts = alerts_in_use()
    assert {"amplifier_lines", "board_dark", "config_invalid", "rejected_orders", "tamper"} <= alerts
    assert {"emergency_muted", "key_expiring", "message_missing", "no_keys", "sound_missing"} <= alerts
    wanted = codes_in_use() | alerts | {str(outcome) for outcome in Outcome}
    wanted |= {str(state) for state in OrderState if state is not OrderState.RECEIVED}
    assert wanted <= explained, sorted(wanted - explained)
