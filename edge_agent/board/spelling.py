"""Text from outside, cleaned without changing what it says, or refused with the reason (pure).

Facts about Vietnamese text that arrives here:

- The same letter may come composed (NFC) or as base letter and marks (NFD). NFC makes them one;
  NFKC would also rewrite things that somebody meant (superscripts, ligatures).
- Đ has two look-alikes in Unicode: Ð (U+00D0, Icelandic) and Ɖ (U+0189, African). Old converters
  produce them; they are folded. `Thủy` and `Thuỷ` are both legal spellings and stay as they came.
- Before Unicode there were TCVN3 (font tricks on Latin-1, one byte a letter) and VNI (base letter
  and a Latin-1 letter as its mark). Read as Latin-1 they look like `ViÖt Nam` and `Vieät Nam`.
  Showing that to a village is worse than showing nothing, and guessing it back may err on a mark.
"""

from __future__ import annotations

import re
import unicodedata

from edge_agent.errors import TextRefused
from edge_agent.model import ReasonCode

GLUE = "\N{NO-BREAK SPACE}"
"""A space at which a line is not broken."""

CHARACTERS_MAX = 5_000
"""More than the largest board shows on the most pages; a longer text is not worth the time to read it."""

_FOLD = str.maketrans({"Ð": "Đ", "Ɖ": "Đ", "ð": "đ"})
_LINE_ENDS = re.compile(r"\r\n|[\n\r\v\f\x85\u2028\u2029]")
_GLUES = re.compile("[\u00a0\u2007\u202f]")
_SPACES = re.compile(f"[ {GLUE}]+")
_INVISIBLE = re.compile("[\u034f\ufe00-\ufe0f]")
"""Joiners and variation selectors that are marks by category, but draw nothing."""

_TONES = ("", "\u0300", "\u0301", "\u0309", "\u0303", "\u0323")
_PLAIN = "aeiouyAEIOUY"
LETTERS = "".join(
    letter
    for base in "aăâeêioôơuưyAĂÂEÊIOÔƠUƯY"
    for letter in (unicodedata.normalize("NFC", base + tone) for tone in _TONES)
    if letter not in _PLAIN
) + "đĐ"  # fmt: skip
"""The 134 letters that Vietnamese has beyond ASCII, composed."""
assert len(LETTERS) == 134

_OWN_LETTERS = frozenset(letter for letter in LETTERS if letter > "\u00ff")
_LATIN1_STRANGERS = frozenset(chr(code) for code in range(0xA1, 0x100)) - frozenset(LETTERS + "Ðð°±²³´º¿")
"""What old encodings put where Vietnamese letters belong."""
_VNI_PAIRS = re.compile("a[âêùõàáã]|e[âùõàáã]|o[âùõ]|[iuy][ùõ]", re.IGNORECASE)
"""A vowel and a letter that VNI puts behind it as its mark; no Vietnamese syllable has these side by side."""
_QUOTES = frozenset("«»")
_WORDS_OF_DOUBT = 2


def clean(text: str) -> str:
    """The text as it will be drawn: composed, folded, without invisible characters.

    Spaces are single; `GLUE` stays glue; line ends stay as newlines, none of them empty.
    Idempotent, and the same for composed (NFC) and decomposed (NFD) input.

    Raises:
        TextRefused: BAD_ARGS when nothing is left, or the text is in an old encoding.
    """
    if len(text) > CHARACTERS_MAX:
        raise TextRefused(
            ReasonCode.BAD_ARGS,
            f"The text has {len(text)} characters and {CHARACTERS_MAX} are the most that is looked at. Shorten it.",
        )
    _refuse_old_encodings(unicodedata.normalize("NFC", text))
    text = _GLUES.sub(GLUE, _LINE_ENDS.sub("\n", text)).replace("\t", " ")
    text = _INVISIBLE.sub(
        "", "".join(c for c in text if c == "\n" or unicodedata.category(c) not in {"Cc", "Cf"})
    )
    text = unicodedata.normalize("NFC", text).translate(_FOLD)
    text = "".join(" " if c != GLUE and unicodedata.category(c) == "Zs" else c for c in text)
    lines = (_SPACES.sub(_one_space, line).strip(" " + GLUE) for line in text.split("\n"))
    text = "\n".join(line for line in lines if line)
    if not text:
        raise TextRefused(
            ReasonCode.BAD_ARGS,
            "The text is empty. Send at least one visible character, or clear the board instead.",
        )
    for character in text:
        _refuse_undrawable(character)
    _refuse_old_encodings(text)  # again: what is invisible may have stood between what belongs together
    return text


def _one_space(run: re.Match[str]) -> str:
    """A run of spaces is glue only if all of it is."""
    return " " if " " in run.group() else GLUE


def name(character: str) -> str:
    """How a refusal names a character: itself, its code point, and its Unicode name if it has one."""
    code = f"U+{ord(character):04X}"
    known = unicodedata.name(character, "")
    seen = f"'{character}' " if character.isprintable() and not unicodedata.combining(character) else ""
    return f"{seen}({code}{' ' + known if known else ''})"


def _refuse_undrawable(character: str) -> None:
    """Refuse what no cell of dots can stand for, whatever the font has for it."""
    category = unicodedata.category(character)
    if character in {"\n", " ", GLUE}:
        return
    if category.startswith("M"):
        raise TextRefused(
            ReasonCode.BAD_ARGS,
            f"The mark {name(character)} does not belong to the letter before it, and cannot be drawn alone. "
            "Type that letter anew with a Vietnamese keyboard.",
        )
    if character == "\N{REPLACEMENT CHARACTER}":
        raise TextRefused(
            ReasonCode.BAD_ARGS,
            "The text holds U+FFFD, the sign of a letter lost on its way. Send the text again as UTF-8.",
        )
    if category.startswith("C") or unicodedata.bidirectional(character) in {"R", "AL"}:
        raise TextRefused(
            ReasonCode.BAD_ARGS,
            f"The character {name(character)} cannot be shown on this board. Write the notice without it.",
        )


def _refuse_old_encodings(text: str) -> None:
    """Refuse TCVN3, VNI and UTF-8 read as if they were Latin-1."""
    if _is_utf8_misread(text):
        found = "UTF-8 read as Latin-1"
    elif _is_font_trick(text):
        found = "TCVN3 or VNI"
    else:
        return
    raise TextRefused(
        ReasonCode.BAD_ARGS,
        f"The text looks like {found}, not Unicode: {_excerpt(text)!r}. Convert it to Unicode and send it again.",
    )


def _is_utf8_misread(text: str) -> bool:
    """Whether the text, written as one byte a character, reads as UTF-8 with Vietnamese letters."""
    for encoding in ("cp1252", "latin-1"):
        try:
            again = text.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
        if again != text:
            return True
    return False


def _is_font_trick(text: str) -> bool:
    """Whether Latin-1 letters that Vietnamese has not stand inside its words, and no letter that only it has."""
    if any(character in _OWN_LETTERS for character in text):
        return False
    words = text.split()
    doubtful = sum(_is_doubtful(word) for word in words)
    return doubtful >= _WORDS_OF_DOUBT or (doubtful > 0 and len(words) <= 2 * doubtful)


def _is_doubtful(word: str) -> bool:
    """Whether a stranger stands beside an ASCII letter (quotes only between two), or a vowel has a VNI mark."""
    if _VNI_PAIRS.search(word):
        return True
    for at, character in enumerate(word):
        if character not in _LATIN1_STRANGERS:
            continue
        before = word[at - 1 : at] if at else ""
        after = word[at + 1 : at + 2]
        sides = [side.isascii() and side.isalpha() for side in (before, after)]
        if all(sides) if character in _QUOTES else any(sides):
            return True
    return False


def _excerpt(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
