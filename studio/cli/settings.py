"""`studio settings`: the schema as a page of text."""

from __future__ import annotations

import argparse
import sys

from studio.config.kinds import all_groups
from studio.config.reference import settings_page


def settings(options: argparse.Namespace) -> int:
    """Print every setting, or those of one section."""
    try:
        print(settings_page(options.section), end="")
    except KeyError:
        known = ", ".join(all_groups())
        print(f"There is no section {options.section!r}. Sections: {known}", file=sys.stderr)
        return 2
    return 0
