"""`edge-agent report`: the commune's monthly statistics, from the as-run log of the node at the box.

Exit codes: 0 done; 1 the node refused; 2 wrong usage, or the file cannot be written; 3 the node cannot be reached.
"""

from __future__ import annotations

import json
import re
import sys
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from edge_agent import catalogue
from edge_agent.catalogue import Language
from edge_agent.cli import box, speech

if TYPE_CHECKING:
    from edge_agent.cli.month import BootSpan, Month
    from edge_agent.report.asrun import AsRunEntry

PAGE: Final = 50
"""Entries are asked for so many at a time."""

_MONTH: Final = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])", re.ASCII)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("report", help="Thống kê phát thanh của một tháng / a month's broadcasting report.")(report)


def report(
    *,
    month: Annotated[str, typer.Option("--month", metavar="2026-11", help="Tháng nào / which month.")],
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Bảng tính, mỗi lượt một dòng / a spreadsheet, one row a turn.")
    ] = False,
    as_html: Annotated[
        bool, typer.Option("--html", help="Trang A4 để in và ký / an A4 page to print and sign.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Ghi ra tệp này / write it to this file."),
    ] = None,
    config_file: box.ConfigFile = box.DEFAULT,
    state_dir: box.StateDir = None,
    sim_dir: box.SimDir = None,
    hardware: box.HardwareOption = None,
    socket_file: box.SocketOption = None,
    as_json: box.Json = False,
    lang: box.Lang = None,
) -> int:
    """Ask for every entry, count, and write it down."""
    tongue = speech.language(lang)
    found = _MONTH.fullmatch(month)
    if found is None:
        raise speech.Usage("bad_month", text=month)
    kinds = [kind for kind, asked in (("csv", as_csv), ("html", as_html), ("json", as_json)) if asked]
    for one, other in combinations(kinds, 2):
        raise speech.Usage("not_both", one=f"--{one}", other=f"--{other}")
    path = socket_file or box.socket_path(config_file, state_dir, sim_dir, hardware)
    entries, boots, node = gather(path, tongue)

    from edge_agent.cli.month import month_of

    figures = month_of(entries, boots, year=int(found[1]), month=int(found[2]))
    _deliver(_written(figures, kinds[0] if kinds else "text", node, tongue), out, tongue)
    return 0


def gather(path: Path, tongue: Language) -> tuple[list[AsRunEntry], list[BootSpan], str]:
    """Every entry of the as-run log, the boots, and the node's name.

    Raises typer.Exit when nobody answers, the node refuses, or the answer is not understood; why was told then.
    """
    import msgspec

    from edge_agent.cli.month import BootSpan
    from edge_agent.report.asrun import AsRunEntry

    entries: list[AsRunEntry] = []
    boots: dict[str, BootSpan] = {}
    after = 0
    while True:
        answer = box.answer_to({"do": "entries", "after": after, "limit": PAGE}, path, tongue)
        try:
            page = msgspec.convert(answer.get("entries"), list[AsRunEntry])
            spans = msgspec.convert(answer.get("boots"), list[BootSpan])
            node = msgspec.convert(answer.get("node"), str)
        except msgspec.ValidationError as error:
            speech.complain(catalogue.say("report_unreadable", tongue, why=error))
            raise typer.Exit(box.UNREACHABLE) from None
        boots |= {span.boot: span for span in spans}
        page = [entry for entry in page if entry.number > after]
        if not page:
            return entries, list(boots.values()), node
        entries += page
        after = max(entry.number for entry in page)


def _written(figures: Month, kind: str, node: str, tongue: Language) -> str:
    from edge_agent.cli import month_page

    match kind:
        case "csv":
            return month_page.as_csv(figures, tongue)
        case "html":
            return month_page.as_html(figures, tongue, node=node)
        case "json":
            return json.dumps({"node": node} | month_page.as_json(figures), ensure_ascii=False) + "\n"
        case _:
            return month_page.as_text(figures, tongue)


def _deliver(text: str, out: Path | None, tongue: Language) -> None:
    """To the terminal, or byte for byte into a file."""
    if out is None:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    try:
        out.write_bytes(text.encode())
    except OSError as error:
        raise speech.Usage("report_file", path=out, why=error.strerror) from error
    speech.complain(catalogue.say("report_written", tongue, path=out))
