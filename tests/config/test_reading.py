"""Reading a config: everything wrong is named at once, with its line, or the argument it came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.config import ConfigInvalid, Problem, Settings, load, parse

LEAST = """\
[node]
id = "thon-3"
[broker]
url = "mqtt://127.0.0.1:1883"
[amplifier.power]
offset = 17
"""


def problems_of(text: str, *overrides: str, hardware: str | None = None) -> tuple[Problem, ...]:
    with pytest.raises(ConfigInvalid) as caught:
        parse(text, overrides, hardware)
    return caught.value.problems


def facts(problem: Problem) -> tuple[str, str, int | None]:
    return problem.code, problem.key, problem.line


def test_the_least_config_is_enough() -> None:
    settings = parse(LEAST)
    assert settings.node.id == "thon-3"
    assert settings.amplifier.power is not None
    assert settings.amplifier.power.offset == 17
    assert settings.playout.volume == 70
    assert settings.hardware.sound == "linux"


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    text = """\
[node]
id = "Thôn 3"
nam = "x"

[broker]
url = "http://x"

[playot]
volume = 1

[playout]
volume = "70"
gap_s = -1

[amplifier]
power = { offset = 17, ofset = 3 }
zones = { cho = { offset = 999 } }

[sense.inputs.nut]
meaning = "stop_buton"
offset = true
"""
    assert [facts(problem) for problem in problems_of(text)] == [
        ("bad_form", "node.id", 2),
        ("unknown_key", "node.nam", 3),
        ("bad_form", "broker.url", 6),
        ("unknown_section", "playot", 8),
        ("wrong_type", "playout.volume", 12),
        ("out_of_bounds", "playout.gap_s", 13),
        ("unknown_key", "amplifier.power.ofset", 16),
        ("out_of_bounds", "amplifier.zones.cho.offset", 17),
        ("bad_choice", "sense.inputs.nut.meaning", 20),
        ("wrong_type", "sense.inputs.nut.offset", 21),
    ]


def test_an_empty_file_lacks_what_no_node_can_do_without() -> None:
    found = problems_of("")
    assert [facts(p) for p in found if p.code == "missing"] == [
        ("missing", "node.id", None),
        ("missing", "broker.url", None),
    ]


def test_a_missing_key_has_the_line_of_its_table() -> None:
    (problem,) = problems_of(LEAST.replace("offset = 17", "chip = 0"))
    assert facts(problem) == ("missing", "amplifier.power.offset", 5)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("[playuot]", "playout"),
        ("[sound]\ndevise = 'x'", "device"),
        ("[playout]\ndevice = 'x'", "sound.device"),
        ("[hardware]\nsound = 'linx'", "linux"),
        ("[log]\nlevel = 'warn'", "warning"),
    ],
)
def test_a_near_name_is_suggested(wrong: str, meant: str) -> None:
    (problem,) = problems_of(f"{LEAST}{wrong}\n")
    assert problem.details["suggestion"] == meant


def test_a_value_that_may_carry_a_password_is_not_quoted() -> None:
    (problem,) = problems_of(LEAST.replace("mqtt://127", "mqtt://me:hunter2@127"))
    assert problem.key == "broker.url"
    assert "hunter2" not in str(problem)


@pytest.mark.parametrize("port", ["0", "65536", "99999", "x"])
def test_a_port_that_does_not_exist_is_refused(port: str) -> None:
    (problem,) = problems_of(LEAST.replace(":1883", f":{port}"))
    assert facts(problem) == ("bad_form", "broker.url", 4)
    assert parse(LEAST.replace(":1883", ":65535")).broker.url.endswith(":65535")


# ---------------------------------------------------------------- syntax


def test_what_is_nested_beyond_measure_is_one_problem() -> None:
    assert [problem.code for problem in problems_of("a = " + "[" * 5000 + "]" * 5000)] == ["too_deep"]
    assert problems_of(LEAST, "sound.device=" + "[" * 5000)
    assert problems_of(LEAST, "a." * 5000 + "b=1")


def test_a_syntax_error_does_not_hide_the_rest() -> None:
    text = LEAST.replace('id = "thon-3"', 'id = "thon-3') + "[playout]\nvolume = 700\nvolum_max = 1\n"
    assert [facts(problem) for problem in problems_of(text)] == [
        ("syntax", "", 2),
        ("out_of_bounds", "playout.volume", 8),
        ("unknown_key", "playout.volum_max", 9),
    ]


def test_several_syntax_errors_are_all_named() -> None:
    text = LEAST + "[playout]\nvolume = 7O\n[log]\nlevel info\n"
    assert [facts(problem) for problem in problems_of(text)] == [("syntax", "", 8), ("syntax", "", 10)]


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        ("[playout\nvolume = 700\n", 7),
        ("[playout]\nauthorities = [ 'a',\nvolume = 700\n", 9),
        ('[sound]\ndevice = """abc\n', 9),
    ],
)
def test_what_stands_behind_an_open_bracket_is_not_guessed_at(broken: str, line: int) -> None:
    (problem,) = problems_of(LEAST + broken)
    assert problem.code == "syntax"
    assert problem.line is not None
    assert abs(problem.line - line) <= 1


def test_the_same_key_twice_is_named_at_its_second_line() -> None:
    problem, *_ = problems_of(LEAST + '[log]\nlevel = "info"\nlevel = "debug"\n')
    assert facts(problem) == ("syntax", "", 9)


# ---------------------------------------------------------------- the file


def test_a_file_that_is_not_there_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        load(tmp_path / "none.toml")
    assert caught.value.unreadable
    assert [problem.code for problem in caught.value.problems] == ["unreadable"]


def test_a_directory_and_a_huge_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        load(tmp_path)
    assert caught.value.unreadable
    (tmp_path / "huge.toml").write_bytes(b"#" * 300_000)
    with pytest.raises(ConfigInvalid) as caught:
        load(tmp_path / "huge.toml")
    assert caught.value.problems[0].code == "too_large"


def test_text_of_another_encoding_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_bytes(LEAST.encode() + "name = 'Thôn'".encode("cp1252"))
    with pytest.raises(ConfigInvalid) as caught:
        load(path)
    assert facts(caught.value.problems[0]) == ("not_utf8", "", 7)


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_bytes(b"\xef\xbb\xbf" + LEAST.replace("\n", "\r\n").encode())
    assert load(path).node.id == "thon-3"
    path.write_bytes(b"\xef\xbb\xbf" + (LEAST + "[log]\nlevl = 1\n").replace("\n", "\r\n").encode())
    with pytest.raises(ConfigInvalid) as caught:
        load(path)
    assert facts(caught.value.problems[0]) == ("unknown_key", "log.levl", 8)


# ---------------------------------------------------------------- overrides


def test_an_override_is_toml_or_else_text() -> None:
    settings = parse(
        LEAST, ["playout.volume=30", "sound.device=hw:1,0", 'node.groups=["xa-1"]', "sim.drift_ppm=-80"]
    )
    assert settings.playout.volume == 30
    assert settings.sound.device == "hw:1,0"
    assert settings.node.groups == ("xa-1",)
    assert settings.sim.drift_ppm == -80.0


def test_text_that_looks_like_a_number_stays_text_where_text_is_wanted() -> None:
    settings = parse(
        LEAST, ["sound.device=1", "broker.username=007", "node.name=true", "board.sign_address=12"]
    )
    assert settings.sound.device == "1"
    assert settings.broker.username == "007"
    assert settings.node.name == "true"
    assert settings.board.sign_address == "12"


def test_an_override_reaches_tables_that_are_not_in_the_file() -> None:
    settings = parse(LEAST, ["sense.status_led.offset=4", "amplifier.zones.cho.offset=5"])
    assert settings.sense.status_led is not None
    assert settings.amplifier.zones["cho"].offset == 5


def test_the_last_of_two_overrides_counts() -> None:
    assert parse(LEAST, ["playout.volume=1", "playout.volume=2"]).playout.volume == 2


@pytest.mark.parametrize(
    ("override", "code", "key"),
    [
        ("playout.volume=300", "out_of_bounds", "playout.volume"),
        ("playout.volum=3", "unknown_key", "playout.volum"),
        ("log.level=inf", "bad_choice", "log.level"),
        ("nosuch.key=1", "unknown_section", "nosuch"),
        ("amplifier.power.offset=x", "wrong_type", "amplifier.power.offset"),
        ("playout", "override_form", ""),
        ("=3", "override_form", ""),
        ("a b=3", "override_form", ""),
        ("node.id.x=3", "override_path", "node.id.x"),
    ],
)
def test_a_problem_of_an_override_names_the_override(override: str, code: str, key: str) -> None:
    (problem,) = problems_of(LEAST, override)
    assert (problem.code, problem.key, problem.line) == (code, key, None)
    assert problem.override == f"--set {override}"


def test_problems_of_file_and_overrides_come_together() -> None:
    found = problems_of(LEAST + "[log]\nlevl = 1\n", "playout.volume=-1", "x")
    assert [(p.line, p.override) for p in found] == [
        (8, None),
        (None, "--set x"),
        (None, "--set playout.volume=-1"),
    ]


def test_virtual_hardware_is_one_option_and_each_door_can_differ() -> None:
    settings = parse(LEAST, ["hardware.sound=linux"], hardware="sim")
    assert (settings.hardware.sound, settings.hardware.gpio) == ("linux", "sim")
    assert (settings.hardware.board, settings.hardware.clock) == ("sim", "sim")


def test_the_hardware_option_beats_the_file() -> None:
    settings = parse(LEAST + '[hardware]\nsound = "linux"\nboard = "none"\n', hardware="sim")
    assert (settings.hardware.sound, settings.hardware.board) == ("sim", "sim")


# ---------------------------------------------------------------- keys that contradict each other


def test_one_gpio_line_has_one_purpose_across_all_sections() -> None:
    text = (
        LEAST + "[sense]\nstatus_led = { offset = 4 }\n[sense.inputs.nut]\nmeaning = 'mains'\noffset = 17\n"
    )
    (problem,) = problems_of(text)
    assert facts(problem) == ("line_twice", "sense.inputs.nut.offset", 11)
    assert problem.details["other"] == "amplifier.power"
    other_chip = parse(text.replace("offset = 17\n", "offset = 17\nchip = 1\n", 1))
    assert isinstance(other_chip, Settings)


def test_real_sound_without_any_amplifier_line_is_refused() -> None:
    text = LEAST.partition("[amplifier.power]")[0]
    (problem,) = problems_of(text)
    assert (problem.code, problem.key) == ("no_amplifier_line", "amplifier")
    assert parse(text, ["hardware.gpio=sim"]).hardware.gpio == "sim"
    assert parse(text, hardware="sim").hardware.sound == "sim"


def test_real_relays_obey_no_unsigned_order_whatever_the_config_says() -> None:
    text = LEAST + "[trust]\naccept_unsigned = true\n"
    (problem,) = problems_of(text)
    assert (problem.code, problem.key) == ("unsigned_needs_sim", "trust.accept_unsigned")
    settings = parse(text + '[hardware]\ngpio = "sim"\n')
    assert settings.trust.takes_unsigned(real_lines=False)
    assert not settings.trust.takes_unsigned(real_lines=True)


@pytest.mark.parametrize(
    ("trust", "taken"),
    [
        ("", True),
        ('keys_file = "/etc/edge-agent/keys.json"', False),
        ("accept_unsigned = false", False),
        ('keys_file = "/etc/edge-agent/keys.json"\naccept_unsigned = true', True),
    ],
)
def test_a_bench_takes_unsigned_orders_until_it_has_keys(trust: str, *, taken: bool) -> None:
    settings = parse(f'{LEAST}[hardware]\ngpio = "sim"\n[trust]\n{trust}\n')
    assert settings.trust.takes_unsigned(real_lines=False) is taken


def test_a_certificate_needs_its_key_and_tls() -> None:
    codes = [facts(p) for p in problems_of(LEAST.replace('1883"', '1883"\ncert_file = "c.pem"'))]
    assert codes == [("needs_other_key", "broker.cert_file", 5)] * 2


def test_bounds_that_depend_on_another_key() -> None:
    (problem,) = problems_of(LEAST + "[playout]\nvolume = 90\nvolume_max = 80\n")
    assert facts(problem) == ("above_other", "playout.volume", 8)


def test_an_emergency_may_always_do_what_the_rest_may() -> None:
    text = (
        LEAST + '[governor]\nturn_max_s = 3600\nemergency_minutes_a_day = 60\nquiet_hours = ["22:00-05:00"]\n'
    )
    assert sorted(facts(problem) for problem in problems_of(text)) == [
        ("above_other", "governor.minutes_a_day", 7),
        ("above_other", "governor.turn_max_s", 8),
    ]


def test_a_bench_has_only_the_house_rules_that_its_config_names() -> None:
    village, bench = parse(LEAST).governor, parse(LEAST, hardware="sim").governor
    assert village.quiet_hours == ("21:30-05:00",)
    assert (bench.quiet_hours, bench.repeats_a_day, bench.turn_max_s) == ((), 1000, 86_400)
    named = '[governor]\nquiet_hours = ["22:00-04:00"]\nemergency_turn_max_s = 60\nturn_max_s = 30\nemergency_minutes_a_day = 90\n'
    bench = parse(LEAST + named, hardware="sim").governor
    assert bench.quiet_hours == ("22:00-04:00",)
    assert (bench.turn_max_s, bench.emergency_turn_max_s) == (30, 60)
    assert (bench.minutes_a_day, bench.emergency_minutes_a_day) == (90, 90)
    assert parse(LEAST, ("hardware.gpio=sim", 'governor.quiet_hours=["20:00-06:00"]')).governor.quiet_hours


@pytest.mark.parametrize(
    ("hours", "code"), [("25:00-05:00", "bad_form"), ("9:00-10:00", "bad_form"), ("12:00-12:00", "no_span")]
)
def test_quiet_hours_are_two_different_times(hours: str, code: str) -> None:
    (problem,) = problems_of(LEAST + f'[governor]\nquiet_hours = ["21:30-05:00", "{hours}"]\n')
    assert facts(problem) == (code, "governor.quiet_hours[1]", 8)


def test_contradictions_and_bad_values_come_together() -> None:
    text = LEAST + "[playout]\nvolume = 90\nvolume_max = 80\n[log]\nlevel = 3\n"
    assert [p.code for p in problems_of(text)] == ["above_other", "bad_choice"]


def test_a_section_with_bad_values_causes_no_second_problem() -> None:
    (problem,) = problems_of(LEAST.replace("offset = 17", 'offset = "17"'))
    assert facts(problem) == ("wrong_type", "amplifier.power.offset", 6)


def test_what_is_good_in_a_bad_config_can_still_be_used() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        parse(LEAST + "[log]\nlevel = 3\n")
    assert caught.value.sections["amplifier"].power.offset == 17
    assert "log" not in caught.value.sections
