"""What people read: every code has both languages, every pattern words, and nothing is left unfilled."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import inspect as mi

from edge_agent import catalogue
from edge_agent.catalogue import Language, explain, say, where
from edge_agent.config import ConfigInvalid, Problem, Settings, parse

EDGE_AGENT = Path(catalogue.__file__).parent

BAD = """\
id = 1
[node]
id = "X"
nam = 1
groups = "a"
[playot]
[playout]
volume = 700
[log]
level = "loud"
[sound]
device = 3
"""


def problems() -> tuple[Problem, ...]:
    with pytest.raises(ConfigInvalid) as caught:
        parse(BAD, ["x", "node.name.a=1", "sense.inputs.a.offset=1"])
    return caught.value.problems


@pytest.mark.parametrize("language", Language)
def test_every_problem_is_told_whole_in_both_languages(language: Language) -> None:
    for problem in problems():
        advice = explain(problem.code, problem.details, language)
        for sentence in (advice.reason, advice.remedy):
            assert len(sentence) > 10
            assert not re.search(r"\{[a-z_]+\}", sentence)
            assert sentence[0].isupper()


def test_the_languages_differ() -> None:
    (problem,) = (p for p in problems() if p.key == "playout.volume")
    vietnamese = explain(problem.code, problem.details, Language.VI)
    english = explain(problem.code, problem.details, Language.EN)
    assert vietnamese.reason == "Giá trị 700 nằm ngoài giới hạn."
    assert english.reason == "The value 700 is out of bounds."
    assert "100" in vietnamese.remedy
    assert "100" in english.remedy


def test_a_suggestion_is_made_when_there_is_one() -> None:
    near = explain("unknown_key", {"name": "a", "suggestion": "b", "valid": "b, c"}, Language.EN)
    far = explain("unknown_key", {"name": "a", "suggestion": "", "valid": "b, c"}, Language.EN)
    assert "Did you mean b?" in near.remedy
    assert far.remedy == "Valid keys here: b, c."


def test_places_are_named_in_both_languages() -> None:
    assert where(key="a.b", line=3, override=None, language=Language.VI) == "dòng 3: a.b"
    assert (
        where(key="a.b", line=None, override="--set a.b=1", language=Language.EN)
        == "argument --set a.b=1: a.b"
    )
    assert where(key="", line=None, override=None, language=Language.EN) == "file"


def test_every_code_used_in_the_config_room_has_sentences() -> None:
    used: set[str] = {"unknown_key", "unknown_section"}
    for path in (EDGE_AGENT / "config").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            if ast.unparse(node.func).endswith("report") and len(node.args) > 1:
                used |= constant(node.args[1])
            if ast.unparse(node.func) == "Problem":
                used |= {
                    code for word in node.keywords if word.arg == "code" for code in constant(word.value)
                }
    used |= {"cannot_hand_back", "not_with"}  # said by the board's own settings
    assert len(used) > 12
    assert used <= catalogue.CODES, used - catalogue.CODES
    assert catalogue.CODES - used <= {"unreadable"}, "sentences that nobody says"


def constant(node: ast.expr) -> set[str]:
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def test_both_languages_quote_the_same_facts() -> None:
    for code, entry in catalogue._PROBLEMS.items():
        quoted = [names(advice.reason + advice.remedy) for advice in (entry.vi, entry.en)]
        assert quoted[0] == quoted[1], code
    for code, (vietnamese, english) in catalogue._SENTENCES.items():
        if code != "broker_lost":
            assert names(vietnamese) == names(english), code


def names(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template.replace("{…}", "")) if name}


def test_sentences_take_facts() -> None:
    assert say("config_bad", Language.VI, path="a", count=2) == "a: 2 lỗi."
    assert say("config_bad", Language.EN, path="a", count=2) == "a: 2 problem(s)."


def test_every_pattern_of_the_settings_is_in_words() -> None:
    patterns = set(patterns_in(mi.type_info(Settings)))
    assert len(patterns) >= 4
    assert patterns <= set(catalogue.FORMS), patterns - set(catalogue.FORMS)


def test_a_pattern_is_told_in_words() -> None:
    pattern, (vietnamese, english) = next(iter(catalogue.FORMS.items()))
    details = {"found": "x y", "pattern": pattern, "note": ""}
    for language, words in ((Language.VI, vietnamese), (Language.EN, english)):
        remedy = explain("bad_form", details, language).remedy
        assert words in remedy
        assert pattern not in remedy


def patterns_in(kind: mi.Type) -> Iterator[str]:
    match kind:
        case mi.StrType(pattern=str(pattern)):
            yield pattern
        case mi.Metadata(type=inner):
            yield from patterns_in(inner)
        case mi.StructType(fields=fields):
            for field in fields:
                yield from patterns_in(field.type)
        case mi.UnionType(types=members):
            for member in members:
                yield from patterns_in(member)
        case mi.DictType(key_type=key, value_type=value):
            yield from patterns_in(key)
            yield from patterns_in(value)
        case mi.ListType(item_type=item) | mi.VarTupleType(item_type=item):
            yield from patterns_in(item)
        case _:
            return
