"""Writes what we publish for others: `docs/schemas`, `docs/asyncapi.yaml`, `docs/test-vectors` (`make publish`)."""

from __future__ import annotations

from pathlib import Path

from tests.publish import asyncapi, schemas, vectors

DOCS = Path(__file__).resolve().parents[2] / "docs"


def published() -> dict[str, str]:
    """The text of every file, by its path below `docs`."""
    found = {"asyncapi.yaml": asyncapi.text()}
    found |= {f"schemas/{name}": text for name, text in schemas.texts().items()}
    return found | {f"test-vectors/{name}": text for name, text in vectors.texts().items()}


def generated() -> set[str]:
    """What lies there now and would be written."""
    places = [*(DOCS / "schemas").glob("*.json"), *(DOCS / "test-vectors").glob("*.json")]
    return {str(path.relative_to(DOCS)) for path in places}


def main() -> None:
    """Write what is new or other, remove what is no longer made."""
    wanted = published()
    for name in generated() - wanted.keys():
        (DOCS / name).unlink()
    for name, text in wanted.items():
        path = DOCS / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
