"""What `edge-agent keys` and a signing `edge-agent order` say to people: the catalogue's second sheet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

KEYS: Final[Mapping[str, tuple[str, str]]] = {
    "keys_made": (
        "Đã tạo khóa riêng {key} (chỉ chủ tệp đọc được; cất kỹ, đừng gửi cho ai) và khóa công khai {pub}. Dấu vân tay:\n{fingerprint}",
        "Made the private key {key} (for its owner's eyes only; lock it away, send it to nobody) and the public key {pub}. Fingerprint:\n{fingerprint}",
    ),
    "keys_key": (
        "Khóa {name}, cơ quan {authority}.\nKhóa công khai: {pub}\nDấu vân tay: {fingerprint}",
        "Key {name}, authority {authority}.\nPublic key: {pub}\nFingerprint: {fingerprint}",
    ),
    "keys_drafted": (
        "Đã soạn {path}, phiên bản {version}. Đọc lại, rồi đem ký bằng khóa gốc ({roots}): edge-agent keys sign",
        "Drafted {path}, version {version}. Read it, then have it signed by the roots ({roots}): edge-agent keys sign",
    ),
    "keys_signed": ("Đã ký {path}, phiên bản {version}.", "Signed {path}, version {version}."),
    "keys_document": (
        "Danh mục khóa, phiên bản {version}, lập {issued}. Số chữ ký cần cho mỗi lớp: {thresholds}.",
        "Keys document, version {version}, issued {issued}. Signatures that an order needs: {thresholds}.",
    ),
    "keys_roots": ("Khóa gốc, cần {count} chữ ký: {roots}.", "Roots, {count} must sign: {roots}."),
    "keys_authority": (
        "{name} ({tier}): lệnh {verbs}; đến lớp {klass}; nhóm {groups}; giờ {hours}; địa bàn {areas}.",
        "{name} ({tier}): may order {verbs}; up to class {klass}; groups {groups}; hours {hours}; areas {areas}.",
    ),
    "keys_all": ("tất cả", "all"),
    "keys_line": (
        "    {name}: {status}, từ {begin} đến {end}",
        "    {name}: {status}, from {begin} to {end}",
    ),
    "keys_revoked": ("Đã thu hồi: {names}.", "Revoked: {names}."),
    "keys_count": (
        "Chữ ký của khóa gốc phiên bản {version}: {count}/{most} ({names}).",
        "Signatures by the roots of version {version}: {count} of {most} ({names}).",
    ),
    "keys_complete": ("Đủ chữ ký: các nút sẽ nhận.", "Complete: nodes will take it."),
    "keys_incomplete": (
        "Chưa dùng được: thiếu chữ ký, hoặc không mới hơn bản đang dùng. Chưa nút nào nhận.",
        "Not yet of use: signatures are lacking, or it is not newer than the one in force. No node takes it.",
    ),
    "keys_fault": ("Danh mục khóa sai ở {path}: {text}", "The keys document is wrong at {path}: {text}"),
    "keys_file": (
        "Không đọc hoặc ghi được {path} ({why}).",
        "{path} cannot be read or written ({why}).",
    ),
    "bad_kid": (
        "Tên khóa {name} không đúng dạng: 2-64 ký tự a-z 0-9 . _ -",
        "The key's name {name} does not have the right form: 2-64 of a-z 0-9 . _ -",
    ),
    "bad_authority": (
        "Mã cơ quan {name} không đúng dạng: 2-64 ký tự a-z 0-9 . _ - (bắt đầu bằng chữ hoặc số).",
        "The authority's id {name} does not have the right form: 2-64 of a-z 0-9 . _ - (a letter or digit first).",
    ),
    "file_exists": (
        "Đã có {path}; không ghi đè. Chọn tên khác.",
        "{path} is there already and is never written over. Choose another name.",
    ),
    "no_signing_key": (
        "{path} không phải khóa ký Ed25519 dùng được (PEM, không mật khẩu). Tạo khóa bằng edge-agent keys.",
        "{path} is no Ed25519 key that can be used (PEM, no passphrase). Make one with edge-agent keys.",
    ),
    "key_mismatch": (
        "{path} và {beside} không phải một cặp. Đặt đúng tệp công khai bên cạnh khóa riêng.",
        "{path} and {beside} are not a pair. Put the right public file beside the private key.",
    ),
    "no_public_key": (
        "{path} không phải khóa công khai (JSON có kid và pub).",
        "{path} is no public key (JSON with kid and pub).",
    ),
    "seq_unreadable": (
        "Bộ đếm {path} bị hỏng. Xóa tệp ấy: bộ đếm mới sẽ bắt đầu từ giờ hiện tại, cao hơn mọi số đã dùng.",
        "The counter {path} is damaged. Remove it: a new one begins with the time of day, above every number used.",
    ),
    "issuer_unknown": (
        "Không biết khóa {path} là của cơ quan nào. Thêm --issuer.",
        "It is not known whose key {path} is. Give --issuer.",
    ),
    "cap_or_message": ("Cần --cap TỆP hoặc --message TÊN.", "Give --cap FILE or --message NAME."),
    "key_twice": ("Khóa {name} được nêu hai lần.", "The key {name} was given twice."),
    "authority_known": (
        "Cơ quan {name} đã có trong danh mục; quyền của nó chỉ sửa được trong bản nháp.",
        "The authority {name} is in the document; edit the draft to change its rights.",
    ),
    "authority_new": (
        "Cơ quan {name} chưa có trong danh mục: cần --verb và --max-class.",
        "The authority {name} is new to the document: give --verb and --max-class.",
    ),
    "whose_key": (
        "{path} không ghi là khóa của cơ quan nào. Thêm --id.",
        "{path} does not say whose key it is. Give --id.",
    ),
    "roots_or_from": (
        "Cần đúng một trong --root (danh mục mới) và --from (danh mục đã có).",
        "Give exactly one of --root (a first document) and --from (go on from one).",
    ),
    "root_not_kept": (
        "{name} là khóa gốc: thay là bỏ khóa cũ, không dùng --keep.",
        "{name} is a root: the old one leaves, so --keep cannot be used.",
    ),
    "root_needed": (
        "Bỏ khóa gốc {name} thì không còn đủ khóa gốc để ký. Dùng rotate để thay.",
        "Without the root {name} there are not enough roots left to sign. Use rotate to replace it.",
    ),
    "no_root": (
        "{name} không phải khóa gốc của danh mục này. Nếu là khóa gốc của bản trước, thêm --previous.",
        "{name} is no root of this document. If it is one of the version before, give --previous.",
    ),
    "no_such_kid": ("Danh mục không có khóa {name}.", "The document has no key {name}."),
    "bad_verb": ("Không có lệnh {name}. Có: {known}.", "There is no verb {name}. There are: {known}."),
    "bad_hours": (
        "Giờ {text} không đúng dạng. Ví dụ: 05:00-21:30",
        "The hours {text} do not have the right form. Example: 05:00-21:30",
    ),
    "bad_threshold": (
        "{text} không đúng dạng. Ví dụ: emergency=2",
        "{text} does not have the right form. Example: emergency=2",
    ),
}
"""Vietnamese, English."""

LIVE: Final[Mapping[str, tuple[str, str]]] = {
    "one_live": (
        "Cần đúng một nguồn: --port hoặc --relay (RTP), hoặc --stream URL.",
        "Give exactly one origin: --port or --relay (RTP), or --stream URL.",
    ),
    "bad_moment": (
        "Thời điểm {text} không đúng dạng. Ví dụ: 2026-11-27T17:00:00+07:00, hoặc 30s, 5m.",
        "The moment {text} does not have the right form. Examples: 2026-11-27T17:00:00+07:00, or 30s, 5m.",
    ),
    "bad_srtp_key": (
        "{path} không chứa khóa SRTP (một dòng, 40 ký tự base64). Tạo khóa: edge-agent send --new-key TỆP",
        "{path} holds no SRTP key (one line, 40 characters of base64). Make one: edge-agent send --new-key FILE",
    ),
    "bad_relay": (
        "{text} không đúng dạng MÁY:CỔNG. Ví dụ: relay.example.vn:7000",
        "{text} is not HOST:PORT. Example: relay.example.vn:7000",
    ),
    "one_input": (
        "Cần đúng một nguồn: TỆP, - (đầu vào chuẩn) hoặc --mic.",
        "Give exactly one input: FILE, - (standard input) or --mic.",
    ),
    "to_or_listen": (
        "Cần --to MÁY:CỔNG, hoặc --listen CỔNG (nút ở sau NAT tự gọi đến).",
        "Give --to HOST:PORT, or --listen PORT (nodes behind a NAT call it).",
    ),
    "cannot_send": ("Không phát được: {why}", "It cannot be sent: {why}"),
    "srtp_key_made": (
        "Đã tạo khóa SRTP {path} (chỉ chủ tệp đọc được). Dùng cho send --key-file và order live_start --srtp-file.",
        "Made the SRTP key {path} (for its owner's eyes only). For send --key-file and order live_start --srtp-file.",
    ),
    "sending": (
        "{packets} gói, {kbit} kbit/s, {listeners} nơi nhận, mất {lost} %, jitter {jitter} ms",
        "{packets} packets, {kbit} kbit/s, {listeners} receivers, {lost} % lost, jitter {jitter} ms",
    ),
    "watch_nothing": ("Không có buổi trực tiếp nào.", "There is no live session."),
    "watch_session": (
        "Lệnh {order}: đang phát {stage}, {since_s} giây.",
        "Order {order}: {stage} is heard, for {since_s} s.",
    ),
    "watch_stage": ("    {name}: {figures}", "    {name}: {figures}"),
}
"""Of `edge-agent order live_start`, `send` and `watch`. Vietnamese, English."""

OFFLINE: Final[Mapping[str, tuple[str, str]]] = {
    "class_routine": ("thường", "routine"),
    "class_priority": ("ưu tiên", "priority"),
    "class_emergency": ("khẩn cấp", "emergency"),
    "next_turn": (
        "{at}  {class_word:9}  {rule}  {title} ({parts} phần)",
        "{at}  {class_word:9}  {rule}  {title} ({parts} part(s))",
    ),
    "next_nothing": (
        "Lịch không có gì trong {days} ngày tới.",
        "The schedule has nothing in the next {days} days.",
    ),
    "next_no_date": (
        "Nút không biết ngày giờ nên không biết lượt phát tới. Xem mạng, hoặc dịch vụ thời gian.",
        "The node does not know the date, so it cannot tell. See its network, or the time service.",
    ),
    "next_waits": (
        "Các lượt này đang CHỜ: đồng hồ chưa đáng tin ({clock}). Xem mạng, hoặc dịch vụ thời gian.",
        "These turns WAIT: the clock is not trusted ({clock}). See the network, or the time service.",
    ),
    "cache_sum": (
        "{count} tệp, {mib} MiB; còn thiếu {missing} tệp.",
        "{count} file(s), {mib} MiB; {missing} wanted and missing.",
    ),
    "cache_surplus": (
        "Các tài liệu cần hơn kho {mib} MiB: tăng cache.quota_mib, hoặc bớt tệp.",
        "The documents want {mib} MiB more than fits: raise cache.quota_mib, or list fewer.",
    ),
    "cache_held_word": ("có", "held"),
    "cache_missing_word": ("thiếu", "missing"),
    "cache_spoilt_word": ("hỏng", "spoilt"),
    "cache_wanted_word": ("cần cho lịch", "wanted"),
    "cache_verifying": ("Đang kiểm tra", "Verifying"),
    "cache_copying": ("Đang chép", "Copying"),
    "cache_spoilt": (
        "Hỏng: {media} ({fault}). Tệp đã bị bỏ, nút sẽ tải lại nếu còn cần.",
        "Spoilt: {media} ({fault}). It was taken away; the node fetches it again if it is wanted.",
    ),
    "cache_verified": (
        "Đã kiểm tra {count} tệp, {spoilt} tệp hỏng.",
        "Verified {count} file(s), {spoilt} spoilt.",
    ),
    "cache_collected": ("Đã xóa {count} tệp, {mib} MiB.", "Removed {count} file(s), {mib} MiB."),
    "import_kept": ("{name}: đã nhận vào kho.", "{name}: kept."),
    "import_known": ("{name}: đã có.", "{name}: already here."),
    "import_applied": ("{name}: đã áp dụng.", "{name}: applied."),
    "import_pending": (
        "{name}: đúng chữ ký, đang chờ nội dung (tệp trên USB, hoặc mạng).",
        "{name}: signed well, its content is awaited (from the stick, or the network).",
    ),
    "import_refused": ("{name}: KHÔNG nhận. {why}", "{name}: REFUSED. {why}"),
    "bad_document": (
        "Không có tài liệu {name!r}; dùng schedule, media, board hoặc config.",
        "There is no document {name!r}; use schedule, media, board or config.",
    ),
    "desired_good": ("{path}: tốt.", "{path}: good."),
    "desired_fault": ("dòng {line}: {path}: {text}", "line {line}: {path}: {text}"),
    "desired_warning": ("chú ý, dòng {line}: {path}: {text}", "note, line {line}: {path}: {text}"),
}
"""What `edge-agent next`, `events`, `cache` and `desired` say."""

BOX: Final[Mapping[str, tuple[str, str]]] = {
    # ---- edge-agent stop, release, status
    "not_both": ("Không dùng {one} cùng với {other}.", "{one} and {other} do not go together."),
    "box_unreachable": (
        "Không nói chuyện được với nút qua {path} ({why}). Cách sửa: xem nút có đang chạy không: systemctl status edge-agent",
        "The node cannot be reached through {path} ({why}). Remedy: see whether it runs: systemctl status edge-agent",
    ),
    "box_forbidden": (
        "Bạn không có quyền dùng {path} ({why}). Cách sửa: dùng sudo, hoặc vào nhóm edge-agent.",
        "You may not use {path} ({why}). Remedy: use sudo, or join the group edge-agent.",
    ),
    "box_refused": ("Nút từ chối ({reason}): {text}", "The node refused ({reason}): {text}"),
    "box_stopped": ("Đã dừng {count} lệnh.", "{count} order(s) stopped."),
    "box_stands": (
        "Giữ im đến {until}. Bỏ sớm hơn: edge-agent release {stop}",
        "Silence is kept until {until}. To end it sooner: edge-agent release {stop}",
    ),
    "box_released": ("Đã bỏ lệnh dừng {stop}.", "Stop {stop} is released."),
    "box_none_stands": ("Không có lệnh dừng nào.", "No stop stands."),
    "box_node": (
        "Nút {node}, phiên bản {agent}, chạy được {up_s} giây.",
        "Node {node}, version {agent}, up for {up_s} s.",
    ),
    "box_online": (
        "Nối với máy chủ: {online}. Giờ: {wall} ({clock}).",
        "Connected to the server: {online}. Time: {wall} ({clock}).",
    ),
    "box_sounding": (
        "Đang phát: {sounding}; chờ: {waiting}; bị ngắt: {suspended}. Ampli: {amplifier}. Âm lượng: {volume}.",
        "Sounding: {sounding}; waiting: {waiting}; interrupted: {suspended}. Amplifier: {amplifier}. Volume: {volume}.",
    ),
    "box_quiet": ("Giờ yên tĩnh: {hours}; lúc này: {quiet}.", "Quiet hours: {hours}; now: {quiet}."),
    "box_today": (
        "Hôm nay đã phát {used}/{most} phút, khẩn cấp {emergency_used}/{emergency_most} phút.",
        "Sounded today: {used}/{most} min, emergencies {emergency_used}/{emergency_most} min.",
    ),
    "box_alerts": ("Cảnh báo: {alerts}.", "Alerts: {alerts}."),
    "box_muted_class": (
        "Lệnh dừng {stop} của {issuer}: không phát gì từ lớp {klass} trở xuống, đến {until}.",
        "Stop {stop} of {issuer}: nothing of class {klass} and lower until {until}.",
    ),
    "box_muted_order": (
        "Lệnh dừng {stop} của {issuer}: không phát lệnh {order}, đến {until}.",
        "Stop {stop} of {issuer}: nothing of order {order} until {until}.",
    ),
    "until_released": ("khi được bỏ", "it is released"),
    "yes": ("có", "yes"),
    "no": ("không", "no"),
    "not_known": ("không rõ", "not known"),
    # ---- edge-agent silence
    "silence_done": ("Đã hạ {count} chân ra của ampli.", "{count} amplifier line(s) driven inactive."),
    "silence_skipped": (
        "Chân {name} đang được tiến trình khác giữ hoặc không có: {why}",
        "Line {name} is held by someone else or is not there: {why}",
    ),
}
"""The commands that talk to the node beside which they are typed."""
