"""What `edge-agent board` and `edge-agent sim` say to people: the catalogue's fourth sheet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

BOARDS: Final[Mapping[str, tuple[str, str]]] = {
    # ---- preview
    "board_page": (
        "Trang {page}/{pages}: “{text}” — đứng {seconds:.1f} giây, sáng {percent:.0f} %: {path}",
        "Page {page}/{pages}: “{text}” — stands {seconds:.1f} s, {percent:.0f} % lit: {path}",
    ),
    "board_refused": ("Bảng không hiện được: {text}", "The board cannot show it: {text}"),
    "board_unwritable": ("Không ghi được {path} ({why}).", "{path} cannot be written ({why})."),
    "board_no_content": (
        "Cho biết một nội dung: câu chữ, --image, --qr hoặc --clock.",
        "Say what to draw: a text, --image, --qr or --clock.",
    ),
    "board_no_model": (
        "Không có mẫu bảng {name}. Các mẫu: {known}.",
        "There is no board model {name}. There are: {known}.",
    ),
    "board_bad_model": (
        "Mẫu bảng {name} không dùng được: {why}",
        "The board model {name} cannot be used: {why}",
    ),
    "board_no_board": (
        "Cấu hình không có bảng {name}. Các bảng: {known}.",
        "The config has no board {name}. It has: {known}.",
    ),
    "board_bad_file": ("Không đọc được {path} ({why}).", "{path} cannot be read ({why})."),
    "board_model_line": (
        "{name}: {protocol}, {columns}x{rows}, {colours}",
        "{name}: {protocol}, {columns}x{rows}, {colours}",
    ),
    # ---- test
    "test_begins": (
        "Thử bảng {name} ({protocol}, {columns}x{rows}) qua {place}. Đứng trước bảng mà nhìn.",
        "Testing board {name} ({protocol}, {columns}x{rows}) on {place}. Stand in front of it and look.",
    ),
    "test_reached": (
        "✓ Đã mở cổng, bảng nhận lệnh ({grade}).",
        "✓ The port is open, the board takes commands ({grade}).",
    ),
    "test_oneway": (
        "! Dây chỉ một chiều: không biết bảng có nhận hay không, chỉ mắt thấy.",
        "! The line runs one way: only your eyes can tell whether the board takes it.",
    ),
    "test_failed": ("✗ {text}", "✗ {text}"),
    "test_status": ("✓ Bảng báo: {text}", "✓ The board says: {text}"),
    "test_dead": (
        "! {count} điểm không sáng, theo chính bảng.",
        "! {count} dots do not light, as the board says.",
    ),
    "test_frame": (
        "Bước {step}/{steps}: khung viền. Cả bốn cạnh phải liền; thiếu cạnh là sai columns hay rows.",
        "Step {step}/{steps}: a frame. All four edges must be whole; a missing one means wrong columns or rows.",
    ),
    "test_columns": (
        "Bước {step}/{steps}: cột {which}. Cột tối hay sáng đôi là hỏng mô-đun hay cáp dẹt.",
        "Step {step}/{steps}: columns {which}. A dark or doubled column is a bad module or ribbon cable.",
    ),
    "test_rows": (
        "Bước {step}/{steps}: các hàng. Hàng lệch hay lặp là sai kiểu quét của bảng.",
        "Step {step}/{steps}: rows. Shifted or repeated rows mean a wrong scan mode of the board.",
    ),
    "colour_red": ("đỏ", "red"),
    "colour_green": ("xanh lá", "green"),
    "colour_amber": ("vàng cam", "amber"),
    "colour_blue": ("xanh dương", "blue"),
    "colour_magenta": ("hồng tím", "magenta"),
    "colour_cyan": ("xanh lơ", "cyan"),
    "colour_white": ("trắng", "white"),
    "test_colour": (
        "Bước {step}/{steps}: màu {colour}.",
        "Step {step}/{steps}: colour {colour}.",
    ),
    "test_letters": (
        "Bước {step}/{steps}: chữ Việt. Mọi dấu phải rõ: “{text}”.",
        "Step {step}/{steps}: Vietnamese letters. Every mark must be clear: “{text}”.",
    ),
    "test_pattern": (
        "Bước {step}/{steps}: hình thử của chính bảng.",
        "Step {step}/{steps}: the board's own test pattern.",
    ),
    "test_done": (
        "Xong: {steps} bước, {sent} byte đã gửi, {refusals} lần bị từ chối, {silences} lần im lặng.",
        "Done: {steps} steps, {sent} bytes sent, {refusals} refusals, {silences} silences.",
    ),
    "test_held": (
        "Nút đang dùng bảng này. Dừng nút trước: sudo systemctl stop edge-agent; thử xong: sudo systemctl start edge-agent",
        "The node is using this board. Stop it first: sudo systemctl stop edge-agent; afterwards: sudo systemctl start edge-agent",
    ),
    # ---- status
    "box_board": (
        "Bảng {name}: {state}; đang hiện: {page} ({grade}).",
        "Board {name}: {state}; showing: {page} ({grade}).",
    ),
    "box_board_ok": ("tốt", "well"),
    "box_board_degraded": ("hiện được, nhưng có điều phải xem", "works, but needs a look"),
    "box_board_dark": ("không tới được", "cannot be reached"),
    "box_board_unknown": ("chưa biết chắc", "not known for sure"),
    "box_board_nothing": ("không gì", "nothing"),
    "box_board_help": (
        "Xem nguồn và dây của bảng; rồi dừng nút và thử: sudo edge-agent board test {name}",
        "Look at the board's power and cable; then stop the node and try: sudo edge-agent board test {name}",
    ),
    "box_grade_none": ("chưa gửi", "not sent"),
    "box_grade_sent": ("đã gửi", "sent"),
    "box_grade_acked": ("bảng đã nhận", "the board has confirmed"),
    "box_grade_read_back": ("đã đọc lại từ bảng", "read back from the board"),
    "box_grade_seen": ("camera hay cảm biến đã thấy", "seen by a sensor"),
    # ---- release
    "board_released": (
        "Bảng {name}: đã bỏ tin khẩn cấp và để tối.",
        "Board {name}: emergency released, dark now.",
    ),
    "board_not_released": (
        "Bảng {name}: không bỏ được: {text}",
        "Board {name} could not be released: {text}",
    ),
    # ---- sim board
    "sim_board": (
        'Bảng ảo {protocol} {columns}x{rows} ở {path}. Đặt vào cấu hình: device = "{path}". Gõ trợ giúp: help',
        'A virtual {protocol} board of {columns}x{rows} at {path}. In the config: device = "{path}". Type help for faults.',
    ),
    "sim_size": (
        "Kích thước {text} không đúng dạng. Ví dụ: 96x16",
        "The size {text} does not have the right form. Example: 96x16",
    ),
    "sim_minded": ("Bảng thật sẽ không chịu: {text}", "A real board would mind: {text}"),
    "sim_help": (
        "Lỗi giả: late GIÂY, nak SỐ, deaf GIÂY, drop N, noise, silent, power-cycle, dead X,Y, foreign CHỮ, well, quit",
        "Faults: late SECONDS, nak COUNT, deaf SECONDS, drop N, noise, silent, power-cycle, dead X,Y, foreign TEXT, well, quit",
    ),
    "sim_unknown": ("Không hiểu “{text}”.", "“{text}” is not understood."),
}
