"""The entry: hands over to the command line."""

from __future__ import annotations

import sys


def main() -> None:
    """Run `edge-agent` with the arguments of this process and exit with its code."""
    from edge_agent.cli import carry_out

    sys.exit(carry_out(sys.argv[1:]))


if __name__ == "__main__":
    main()
