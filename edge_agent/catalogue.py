"""What the agent says to people about config and commands, in Vietnamese and English, by stable code.

Pure: codes and facts in, sentences out. `{…}` in a sentence quotes a fact. A problem has a reason (what is
wrong) and a remedy (what to do); both are whole sentences, because they are read out over the telephone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from edge_agent import patterns
from edge_agent.board import settings as boards
from edge_agent.cache import settings as cache
from edge_agent.sentences import BOX, KEYS, LIVE, OFFLINE
from edge_agent.sentences_boards import BOARDS
from edge_agent.sentences_report import REPORT


class Language(StrEnum):
    """What people read."""

    VI = "vi"
    EN = "en"


@dataclass(frozen=True, slots=True)
class Advice:
    """What is wrong, and what to do about it."""

    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class _Entry:
    vi: Advice
    en: Advice


def explain(code: str, details: Mapping[str, str], language: Language) -> Advice:
    """The sentences of a problem. `details` must hold what the code's sentences quote."""
    entry = _PROBLEMS[_variant(code, details)]
    advice = entry.vi if language is Language.VI else entry.en
    facts = {name: _worded(name, text, language) for name, text in details.items()}
    return Advice(advice.reason.format_map(facts).strip(), advice.remedy.format_map(facts).strip())


def say(code: str, language: Language, **facts: object) -> str:
    """One sentence of the command line."""
    return _SENTENCES[code][0 if language is Language.VI else 1].format_map(facts)


def where(*, key: str, line: int | None, override: str | None, language: Language) -> str:
    """The place of a problem, for the start of a line."""
    vietnamese = language is Language.VI
    if override is not None:
        place = f"tham số {override}" if vietnamese else f"argument {override}"
    elif line is not None:
        place = f"dòng {line}" if vietnamese else f"line {line}"
    else:
        place = "tệp" if vietnamese else "file"
    return f"{place}: {key}" if key else place


def _variant(code: str, details: Mapping[str, str]) -> str:
    """A code with a suggestion to make has sentences of its own."""
    suggested = f"{code}+"
    return suggested if details.get("suggestion") and suggested in _PROBLEMS else code


def _worded(name: str, text: str, language: Language) -> str:
    """A fact as people read it: kinds of value and patterns in words, the rest as it is."""
    if name.endswith("_kind"):
        return _kinds(text, language)
    if name == "pattern" and text in FORMS:
        return FORMS[text][0 if language is Language.VI else 1]
    return text


def _kinds(tokens: str, language: Language) -> str:
    words = [_KINDS[token][0 if language is Language.VI else 1] for token in tokens.split("|")]
    return (" hoặc " if language is Language.VI else " or ").join(words)


_KINDS: Final = {
    "bool": ("true hoặc false", "true or false"),
    "int": ("số nguyên", "a whole number"),
    "float": ("số", "a number"),
    "str": ('chữ trong ngoặc kép "…"', 'text in quotes "…"'),
    "list": ("danh sách […]", "a list […]"),
    "table": ("bảng {…} hoặc [mục]", "a table {…} or [section]"),
    "date": ("ngày giờ", "a date or time"),
}

FORMS: Final = {
    r"^[a-z0-9-]{3,40}$": (
        "3-40 ký tự a-z 0-9 -, không dấu, không cách",
        "3-40 of a-z 0-9 -, without spaces",
    ),
    r"^[a-z0-9_-]{1,32}$": ("1-32 ký tự a-z 0-9 _ -", "1-32 of a-z 0-9 _ -"),
    (
        r"^mqtts?://(\[[0-9a-fA-F:.]+\]|[^\s/:@\[\]]+)"
        r"(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?/?\Z"
    ): (
        "mqtt://máy-chủ:1883 hoặc mqtts://máy-chủ:8883",
        "mqtt://host:1883 or mqtts://host:8883",
    ),
    r"^[a-z0-9_-]{1,30}(/[a-z0-9_-]{1,30}){0,3}\Z": (
        "pa/v1: 1-4 phần a-z 0-9 _ -",
        "pa/v1: 1-4 parts of a-z 0-9 _ -",
    ),
    r"^(up|down|none)$": ("up, down hoặc none", "up, down or none"),
    r"^[!-~]\Z": ("một chữ cái hoặc dấu ASCII", "one ASCII letter or sign"),
    patterns.SPAN: (
        "từ-đến, ví dụ 21:30-05:00",
        "from-to, for example 21:30-05:00",
    ),
    r"^[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*\Z": (
        "mã ngôn ngữ, ví dụ vi hoặc en-US",
        "a language tag, such as vi or en-US",
    ),
    r"^[A-Za-z0-9][A-Za-z0-9_+-]{0,39}\Z": (
        "tên giọng của espeak-ng, ví dụ vi-vn-x-south",
        "the name of an espeak-ng voice, such as vi-vn-x-south",
    ),
    r"^[a-z0-9][a-z0-9_-]{0,31}\Z": (
        "1-32 ký tự a-z 0-9 _ -, bắt đầu bằng chữ hoặc số",
        "1-32 of a-z 0-9 _ -, beginning with a letter or digit",
    ),
    r"^[a-z0-9][a-z0-9.-]{0,252}\Z": ("tên máy chủ viết thường", "a host's name in lower case"),
    r"^https?://[^\s/?#]+[^\s\x00-\x1f\x7f]*\Z": (
        "địa chỉ http:// hoặc https://, không có dấu cách",
        "an address that begins with http:// or https://, without spaces",
    ),
    r"^sha256:[0-9a-f]{64}\Z": (
        "sha256: và 64 chữ số thập lục phân viết thường",
        "sha256: and 64 hex digits in lower case",
    ),
    cache.HOST: ("tên máy chủ bằng chữ thường, ví dụ xa.vn", "a host name in lower case, for example xa.vn"),
    boards.ADDRESS: ("hai hoặc bốn chữ số thập lục phân, ví dụ 0A", "two or four hex digits, for example 0A"),
    boards.MODEL: ("tên một mẫu bảng: a-z, 0-9 và -", "the name of a board model: a-z, 0-9 and -"),
    boards.CONNECTOR: ("tên đầu nối như HDMI-A-1", "a connector such as HDMI-A-1"),
    boards.LEVEL: ("giờ và độ sáng, ví dụ 18:30 50", "a time of day and a percentage, for example 18:30 50"),
    patterns.BOARD: ("1 đến 20 ký tự a-z, 0-9 và -", "1 to 20 of a-z, 0-9 and -"),
}
"""Patterns of the settings in words: a technician does not read regular expressions."""

_PROBLEMS: Final[Mapping[str, _Entry]] = {
    # ---- the file
    "unreadable": _Entry(
        Advice("Không đọc được tệp {path} ({why}).", "Kiểm tra đường dẫn và quyền đọc của tệp."),
        Advice("The file {path} cannot be read ({why}).", "Check the path and the right to read it."),
    ),
    "too_large": _Entry(
        Advice("Tệp lớn hơn {limit}.", "Đây có phải tệp cấu hình không? Bắt đầu lại từ config/node.toml."),
        Advice(
            "The file is larger than {limit}.", "Is it the config file? Start again from config/node.toml."
        ),
    ),
    "too_deep": _Entry(
        Advice("Tệp có quá nhiều ngoặc lồng nhau.", "Bắt đầu lại từ config/node.toml."),
        Advice("The file is nested too deep.", "Start again from config/node.toml."),
    ),
    "not_utf8": _Entry(
        Advice("Tệp không phải là chữ UTF-8.", "Trong trình soạn thảo, lưu lại với bảng mã UTF-8."),
        Advice("The file is not UTF-8 text.", "Save it again in your editor with encoding UTF-8."),
    ),
    "syntax": _Entry(
        Advice(
            "Dòng này sai cú pháp TOML ở cột {column} ({what}).",
            'Viết mỗi dòng một khóa = giá trị; chữ phải nằm trong ngoặc kép "…", ngoặc mở phải có ngoặc đóng.',
        ),
        Advice(
            "This line is not valid TOML at column {column} ({what}).",
            'Write one key = value a line; text stands in quotes "…", and what is opened must be closed.',
        ),
    ),
    # ---- names
    "unknown_section": _Entry(
        Advice("Không có mục nào tên là {name}.", "Các mục hợp lệ: {valid}."),
        Advice("There is no section called {name}.", "Valid sections: {valid}."),
    ),
    "unknown_section+": _Entry(
        Advice("Không có mục nào tên là {name}.", "Có phải ý bạn là {suggestion}? Sửa lại tên."),
        Advice("There is no section called {name}.", "Did you mean {suggestion}? Correct the name."),
    ),
    "unknown_key": _Entry(
        Advice("Mục này không có khóa nào tên là {name}.", "Các khóa hợp lệ ở đây: {valid}."),
        Advice("This section has no key called {name}.", "Valid keys here: {valid}."),
    ),
    "unknown_key+": _Entry(
        Advice("Mục này không có khóa nào tên là {name}.", "Có phải ý bạn là {suggestion}? Sửa lại tên."),
        Advice("This section has no key called {name}.", "Did you mean {suggestion}? Correct the name."),
    ),
    "missing": _Entry(
        Advice("Thiếu khóa bắt buộc này.", "Thêm khóa vào tệp; xem mẫu trong config/node.toml."),
        Advice("This key is required and missing.", "Add it to the file; config/node.toml has an example."),
    ),
    # ---- values
    "wrong_type": _Entry(
        Advice("Giá trị {found} sai kiểu: đây là {found_kind}.", "Cần {expected_kind}."),
        Advice("The value {found} has the wrong type: it is {found_kind}.", "Write {expected_kind}."),
    ),
    "out_of_bounds": _Entry(
        Advice("Giá trị {found} nằm ngoài giới hạn.", "Chọn một số {bounds}."),
        Advice("The value {found} is out of bounds.", "Choose a number {bounds}."),
    ),
    "bad_multiple": _Entry(
        Advice("Giá trị {found} không chia hết cho {step}.", "Chọn một bội số của {step}."),
        Advice("The value {found} is not a multiple of {step}.", "Choose a multiple of {step}."),
    ),
    "bad_length": _Entry(
        Advice("Độ dài {found} nằm ngoài giới hạn.", "Độ dài phải {bounds}."),
        Advice("The length {found} is out of bounds.", "The length must be {bounds}."),
    ),
    "bad_choice": _Entry(
        Advice("Giá trị {found} không nằm trong các lựa chọn.", "Chọn một trong: {choices}."),
        Advice("The value {found} is not one of the choices.", "Choose one of: {choices}."),
    ),
    "bad_choice+": _Entry(
        Advice(
            "Giá trị {found} không nằm trong các lựa chọn.",
            "Có phải ý bạn là {suggestion}? Chọn một trong: {choices}.",
        ),
        Advice(
            "The value {found} is not one of the choices.",
            "Did you mean {suggestion}? Choose one of: {choices}.",
        ),
    ),
    "bad_form": _Entry(
        Advice(
            "Giá trị {found} không đúng dạng.",
            "Viết theo dạng: {pattern}.",
        ),
        Advice(
            "The value {found} does not have the right form.",
            "Write it as: {pattern}.",
        ),
    ),
    "room_refused": _Entry(
        Advice("Mục này không dùng được như đã viết: {text}", "Sửa các khóa được nêu tên trong câu trên."),
        Advice("This section cannot be used as it is: {text}", "Correct the keys named in that sentence."),
    ),
    # ---- across sections
    "line_twice": _Entry(
        Advice(
            "Chân GPIO {offset} (chip {chip}) đã được {other} dùng.",
            "Mỗi chân chỉ có một việc: xem sơ đồ đấu dây và đổi offset của một trong hai.",
        ),
        Advice(
            "GPIO line {offset} (chip {chip}) is already used by {other}.",
            "Each line has one purpose: look at the wiring and change the offset of one of the two.",
        ),
    ),
    "no_such_model": _Entry(
        Advice(
            "Không có mẫu bảng {found}.", "Chọn một trong: {valid}; hoặc đặt tệp vào /etc/edge-agent/boards."
        ),
        Advice(
            "There is no board model {found}.",
            "Choose one of: {valid}; or put a file into /etc/edge-agent/boards.",
        ),
    ),
    "bad_model": _Entry(
        Advice("Tệp của mẫu bảng {found} không đọc được: {why}", "Sửa tệp đó, hoặc chọn mẫu khác."),
        Advice(
            "The file of board model {found} cannot be read: {why}", "Correct it, or choose another model."
        ),
    ),
    "device_twice": _Entry(
        Advice("Cổng {found} đã được {other} dùng.", "Mỗi bảng một cổng: đổi cổng của một trong hai."),
        Advice("{found} is already used by {other}.", "Each board has its own: change one of the two."),
    ),
    "not_with": _Entry(
        Advice(
            "Khóa này không đi cùng {other}: bảng mượn phải trả lại đúng như cũ.",
            "Bỏ khóa này, hoặc bỏ {other}.",
        ),
        Advice(
            "This key cannot stand with {other}: a lent board is handed back as it was found.",
            "Leave this key out, or {other}.",
        ),
    ),
    "cannot_hand_back": _Entry(
        Advice(
            "Bảng dùng giao thức {found} không trả lại được nội dung của chủ nó.",
            "Chỉ trưng dụng được bảng dùng: {valid}. Đặt requisitioned = false, hoặc đổi bảng.",
        ),
        Advice(
            "A board that speaks {found} cannot be handed back as it was found.",
            "Only these can be requisitioned: {valid}. Set requisitioned = false, or take another board.",
        ),
    ),
    "name_taken": _Entry(
        Advice("Tên {found} là tên của bảng ở mục {other}.", "Đặt tên khác cho bảng này."),
        Advice("The name {found} is that of the board in {other}.", "Give this board another name."),
    ),
    "needs_other_key": _Entry(
        Advice("Khóa này chỉ dùng được cùng với {other}.", "Thêm {other}, hoặc bỏ khóa này."),
        Advice("This key only works together with {other}.", "Add {other}, or leave this key out."),
    ),
    "no_amplifier_line": _Entry(
        Advice(
            "Không có rơ-le nguồn, chân tắt tiếng hay vùng loa nào, nên nút không thể làm loa im được.",
            'Khai báo [amplifier.power] theo sơ đồ đấu dây; nếu không đấu dây gì, đặt hardware.gpio = "sim".',
        ),
        Advice(
            "There is no power relay, no mute line and no zone, so the node has no way to silence the amplifier.",
            'Describe [amplifier.power] as it is wired; if nothing is wired, set hardware.gpio = "sim".',
        ),
    ),
    "unsigned_needs_sim": _Entry(
        Advice(
            "Nút điều khiển rơ-le thật không được nhận lệnh không có chữ ký.",
            'Bỏ khóa này và đặt trust.keys_file; muốn thử trên bàn thì đặt hardware.gpio = "sim".',
        ),
        Advice(
            "A node that drives real relays must not take orders without a signature.",
            'Leave this key out and set trust.keys_file; to try things on a bench, set hardware.gpio = "sim".',
        ),
    ),
    "above_other": _Entry(
        Advice("Giá trị {found} lớn hơn {other} ({limit}).", "Giảm khóa này hoặc tăng {other}."),
        Advice("The value {found} is above {other} ({limit}).", "Lower this key or raise {other}."),
    ),
    "no_span": _Entry(
        Advice(
            "Khoảng giờ {found} bắt đầu và kết thúc cùng lúc.", "Viết hai giờ khác nhau, ví dụ 21:30-05:00."
        ),
        Advice(
            "The span {found} begins and ends at once.", "Write two different times, for example 21:30-05:00."
        ),
    ),
    # ---- the command line
    "override_form": _Entry(
        Advice("Tham số {text} không có dạng mục.khóa=giá-trị.", "Ví dụ: --set hardware.sound=sim"),
        Advice("The argument {text} is not section.key=value.", "For example: --set hardware.sound=sim"),
    ),
    "override_path": _Entry(
        Advice("Tham số đi qua một khóa không phải là bảng.", "Chỉ đặt được khóa nằm trong một mục."),
        Advice(
            "The argument goes through a key that is not a table.", "Only a key inside a section can be set."
        ),
    ),
}

_SENTENCES: Final[Mapping[str, tuple[str, str]]] = {
    "remedy": ("Cách sửa: {remedy}", "Remedy: {remedy}"),
    "config_good": ("{path}: tốt, không có lỗi nào.", "{path}: good, no problems."),
    "config_bad": ("{path}: {count} lỗi.", "{path}: {count} problem(s)."),
    "start_refused": (
        "Không khởi động được: tệp cấu hình {path} có {count} lỗi, và chưa có bản cấu hình tốt nào được lưu trong {directory}.",
        "Cannot start: the config file {path} has {count} problem(s), and {directory} holds no last good config.",
    ),
    "start_degraded": (
        "Tệp cấu hình {path} có {count} lỗi; đang chạy bằng bản tốt gần nhất lưu trong {directory}.",
        "The config file {path} has {count} problem(s); running with the last good one kept in {directory}.",
    ),
    "sim_dir_unwritable": (
        "Không ghi được vào thư mục mô phỏng {directory} ({why}). Cách sửa: đặt --sim-dir sang thư mục khác.",
        "The directory of the simulation {directory} cannot be written ({why}). Remedy: give another --sim-dir.",
    ),
    "state_unwritable": (
        "Không ghi được vào thư mục trạng thái {directory} ({why}). Cách sửa: dùng --state-dir, sửa quyền của thư mục hoặc dọn đĩa.",
        "The state directory {directory} cannot be written ({why}). Remedy: give --state-dir, correct its permissions or free space on its disk.",
    ),
    "usage": ("Dùng sai lệnh: {text}", "Wrong usage: {text}"),
    "see_help": ("Xem: {command} --help", "See: {command} --help"),
    "interrupted": ("Đã dừng theo yêu cầu.", "Stopped as asked."),
    # ---- edge-agent order
    "bad_arguments": (
        "Tham số của lệnh không dùng được: {text}",
        "The order's arguments cannot be used: {text}",
    ),
    "one_target": ("Cần đúng một trong --node và --group.", "Give exactly one of --node and --group."),
    "bad_name": (
        "Tên {name} không đúng dạng: 3-40 ký tự a-z 0-9 -.",
        "The name {name} does not have the right form: 3-40 of a-z 0-9 -.",
    ),
    "bad_expires": (
        "Thời hạn {text} không đúng dạng. Ví dụ: 90s, 5m, 2h, 1d; nhiều nhất 30d.",
        "The time {text} does not have the right form. Examples: 90s, 5m, 2h, 1d; at most 30d.",
    ),
    "bad_broker_url": (
        "Địa chỉ broker {url} không đúng dạng. Ví dụ: mqtt://máy-chủ:1883 hoặc mqtts://máy-chủ:8883",
        "The broker's address {url} does not have the right form. Examples: mqtt://host:1883 or mqtts://host:8883",
    ),
    "bad_root": (
        "Gốc topic {name} không đúng dạng, ví dụ: pa/v1",
        "The root {name} does not have the right form, for example: pa/v1",
    ),
    "bad_issuer": (
        "Tên nơi ra lệnh {name} không đúng dạng: 2-64 ký tự a-z 0-9 . _ -, ví dụ: xa-vi-huong",
        "The issuer {name} does not have the right form: 2-64 of a-z 0-9 . _ -, for example: xa-vi-huong",
    ),
    "bad_class": (
        "Không có lớp {name}: chọn routine (thường), priority (ưu tiên) hoặc emergency (khẩn cấp).",
        "There is no class {name}: choose routine, priority or emergency.",
    ),
    "one_media": (
        "Cần đúng một trong --media sha256:… và --file.",
        "Give exactly one of --media sha256:… and --file.",
    ),
    "bad_digest": (
        "Mã băm {text} không đúng dạng: sha256: và 64 chữ số thập lục phân thường.",
        "The digest {text} does not have the right form: sha256: and 64 lower-case hex digits.",
    ),
    "file_unreadable": ("Không đọc được tệp {path} ({why}).", "The file {path} cannot be read ({why})."),
    "one_stop": (
        "Cần đúng một trong --order ID và --below LỚP.",
        "Give exactly one of --order ID and --below CLASS.",
    ),
    "bad_order_id": ("Mã lệnh {text} không đúng dạng.", "The order id {text} does not have the right form."),
    "broker_unreachable": (
        "Không nối được với broker {url} ({why}). Cách sửa: kiểm tra địa chỉ, mạng, và broker có đang chạy không.",
        "The broker {url} cannot be reached ({why}). Remedy: check the address, the network, and that the broker runs.",
    ),
    "broker_refused": (
        "Broker {url} từ chối ({why}). Cách sửa: kiểm tra --username, --password-file và quyền (ACL) trên broker.",
        "The broker {url} refused ({why}). Remedy: check --username, --password-file and the rights (ACL) on the broker.",
    ),
    "broker_lost": (
        "Mất kết nối với broker {url} ({why}). Cách sửa: xem lệnh đã tới chưa bằng cách gửi lại với --id.",
        "The connection to the broker {url} was lost ({why}). Remedy: send it again with --id; a node never runs one twice.",
    ),
    "no_answer": (
        "Hết {seconds} giây mà chưa có kết quả cuối. Lệnh {id} vẫn còn hiệu lực đến khi hết hạn. Nút không trả lời lệnh thiếu chữ ký mà nó tin (--key).",
        "No final state within {seconds} s. Order {id} stays valid until it expires. A node does not answer an order that nobody it believes has signed (--key).",
    ),
    # ---- edge-agent enrol
    "enrol_key_new": (
        "Đã tạo khóa riêng {path}, chỉ chủ tệp đọc được. Đừng chép nó đi đâu.",
        "Made the private key {path}, for its owner's eyes only. Copy it nowhere.",
    ),
    "enrol_key_kept": (
        "Giữ khóa riêng đã có {path}. Muốn khóa mới thì đặt tên khác bằng --key.",
        "Kept the private key that was there, {path}. For a new one give another name with --key.",
    ),
    "enrol_request": (
        "Yêu cầu chứng thư cho nút {node}: {path}. Gửi tệp này cho nơi cấp, và đọc cho họ dấu vân tay của khóa qua điện thoại:\n{fingerprint}",
        "Certificate request for node {node}: {path}. Send this file to the authority, and read the key's fingerprint to them over the telephone:\n{fingerprint}",
    ),
    "enrol_failed": (
        "Không đọc hoặc ghi được {path} ({why}). Cách sửa: chạy với quyền root (sudo), hoặc chọn nơi khác bằng --key và --csr.",
        "{path} cannot be read or written ({why}). Remedy: run it as root (sudo), or choose another place with --key and --csr.",
    ),
    "key_open": (
        "Khóa riêng {path} người khác đọc được. Nếu chắc chắn chưa ai đọc: chmod 600 {path}; nếu không thì tạo khóa mới với tên khác.",
        "Others may read the private key {path}. If surely nobody has: chmod 600 {path}; else make a new one of another name.",
    ),
    "key_unusable": (
        "{path} không phải khóa riêng dùng được: cần tệp PEM không có mật khẩu. Tạo khóa mới với tên khác bằng --key.",
        "{path} is no private key that can be used: a PEM file without a passphrase is needed. Make a new one of another name with --key.",
    ),
    **KEYS,
    **OFFLINE,
    **LIVE,
    **REPORT,
    **BOARDS,
    **BOX,
}

CODES: Final = frozenset(code.rstrip("+") for code in _PROBLEMS)
"""Every code a problem may have."""
