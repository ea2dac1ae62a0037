"""A Vietnamese voice by espeak-ng, and how much of it is left: PESQ-WB (ITU-T P.862.2) and STOI against the original."""

from __future__ import annotations

import importlib.util
import io
import shutil
import subprocess
import wave
from typing import TYPE_CHECKING

import numpy as np
import soxr

if TYPE_CHECKING:
    from hal.ports import Frames

RATE_HZ = 48_000
_SCORED_HZ = 16_000
_PART = 4 * _SCORED_HZ
_REACH = _SCORED_HZ * 6 // 100
TEXT = (
    "Xin mời bà con chú ý theo dõi bản tin của đài truyền thanh xã. Sáng thứ Bảy tuần này, từ bảy giờ đến mười một giờ, "
    "trạm y tế tổ chức tiêm phòng cho trẻ em dưới năm tuổi tại nhà văn hóa thôn Đông. "
    "Bà con nhớ mang theo sổ tiêm chủng. Chiều cùng ngày, hợp tác xã mở cửa kho giống, phân phát thóc giống vụ xuân "
    "cho các hộ đã đăng ký. Do ảnh hưởng của không khí lạnh, đêm nay nhiệt độ xuống dưới mười độ; "
    "bà con che chắn chuồng trại và giữ ấm cho trâu bò. Xin cảm ơn bà con đã lắng nghe."
)


def missing() -> str | None:
    """Why there is no voice or no score here; None when there are."""
    if shutil.which("espeak-ng") is None:
        return "espeak-ng is not installed"
    absent = [name for name in ("pesq", "pystoi") if importlib.util.find_spec(name) is None]
    return f"pip install '.[bench]' is needed for {' and '.join(absent)}" if absent else None


def voice() -> Frames:
    """About half a minute at 48 kHz, RMS 0.08."""
    spoken = subprocess.run(
        ["espeak-ng", "-v", "vi", "-s", "150", "--stdout", TEXT], capture_output=True, check=True
    ).stdout
    with wave.open(io.BytesIO(spoken)) as reader:
        rate = reader.getframerate()
        raw = spoken[44:]
    frames = np.frombuffer(raw[: len(raw) // 2 * 2], "<i2").astype(np.float32) / np.float32(32_768)
    at_48k = soxr.resample(frames, rate, RATE_HZ)
    made: Frames = (at_48k * 0.08 / np.sqrt(np.mean(at_48k**2))).astype(np.float32)
    return made


def scores(pair: tuple[Frames, Frames]) -> tuple[float, float]:
    """(PESQ-WB, STOI) of (original, heard), both at 48 kHz, brought over each other by cross-correlation."""
    from pesq import pesq
    from pystoi import stoi

    original, made = (soxr.resample(frames, RATE_HZ, _SCORED_HZ).astype(np.float64) for frames in pair)
    made = _aligned(original, made)
    return float(pesq(_SCORED_HZ, original, made, "wb")), float(stoi(original, made, _SCORED_HZ))


def _aligned(original: np.ndarray, made: np.ndarray) -> np.ndarray:
    """`made` over `original`: as a whole, then each few seconds by up to 60 ms, which no listener compares."""
    padded = np.concatenate((np.zeros(_PART + _REACH), made, np.zeros(original.size + 2 * _PART)))
    begin = _PART + _REACH + max(-_PART, _lag(original, made))
    parts = []
    for at in range(0, original.size, _PART):
        part = original[at : at + _PART]
        around = padded[begin + at - _REACH : begin + at + part.size + _REACH]
        likeness = np.correlate(around, part, "valid") if part.any() else np.zeros(1)
        off = int(np.argmax(likeness)) if likeness.max() > 0 else _REACH
        parts.append(around[off : off + part.size])
    return np.concatenate(parts)


def _lag(original: np.ndarray, made: np.ndarray) -> int:
    """How many samples `made` comes later."""
    size = 1 << (original.size + made.size).bit_length()
    across = np.fft.irfft(np.fft.rfft(made, size) * np.conj(np.fft.rfft(original, size)), size)
    at = int(np.argmax(across))
    return at if at < size // 2 else at - size
