"""The page: its template, its style and its script in one file, and what the file may do."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from compiler.ir.changes import Diff
from compiler.ir.plan import Plan
from compiler.views.diff import headline
from compiler.views.effects import fleet_lines, verdict
from compiler.views.report.content import (
    arrows,
    cards_of,
    changes_of,
    services_touched,
)
from compiler.views.report.devices import MEANINGS, NAMES
from compiler.views.report.figures import figures_of
from compiler.views.report.folding import blocks_of
from compiler.views.report.totals import kinds_of, tiles_of
from compiler.views.terminal import safe_text
from compiler.views.words import fleet_words, gap_lines, roomier_words

MARKER = "<!doctype html>\n<!-- modelc report -->\n"
"""How the file begins, by which it is known to be ours."""

# Of more hosts and figures a browser lays out only what is seen. Of fewer it lays out all, so that
# a jump lands where it should at once.
_MANY = 200

# Most texts are such, and a look at them is quicker than a search for what is not.
_PLAIN = re.compile(r"(?! *::)[ !\"$-~]*")

# Inside the package once installed, beside it in a checkout.
_FOLDERS = (Path(__file__).parents[2] / "templates", Path(__file__).parents[3] / "templates")


def report_html(plan: Plan, previous: Plan | None, diff: Diff) -> str:
    """The page of a plan, against the previous one where there is one."""
    # Against no plan everything is new, and nobody needs to read so at every replica.
    changes, positions = changes_of(diff) if previous else ([], {})
    blocks = blocks_of(previous, plan, diff.fleet, positions)
    figures = figures_of(blocks)
    cards = cards_of(blocks, figures, changes)
    against = _against(diff) if previous else dict.fromkeys(_against(diff), ())
    return MARKER + _render(
        {
            **against,
            "compared": previous is not None,
            "fleet_words": fleet_words(plan),
            "gaps": gap_lines(plan) if plan.optimality == "feasible" else [],
            "roomier": [words for each in plan.replicas if (words := roomier_words(each))],
            "unplaced": plan.unplaced,
            "tiles": tiles_of(previous, plan),
            "changes": changes,
            "kinds": kinds_of(blocks),
            "cards": cards,
            "many": len(cards) + len(figures.shown) > _MANY,
            "figures": figures,
            "names": NAMES,
            "meanings": MEANINGS,
            "inputs": plan.inputs,
        }
    )


def _against(diff: Diff) -> dict[str, object]:
    """What there is to say beside a previous plan alone."""
    return {
        "verdict": verdict(diff),
        "headline": headline(diff),
        "noticed": services_touched(diff),
        "fleet_lines": list(map(arrows, fleet_lines(diff.fleet))),
        "notes": diff.notes,
    }


def _render(values: Mapping[str, object]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader([str(folder / "report") for folder in _FOLDERS])
    environment = Environment(
        loader=loader,
        undefined=StrictUndefined,
        autoescape=True,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    style, script = (loader.get_source(environment, name)[0] for name in ("page.css", "page.js"))
    own = {"style": style, "script": script, "policy": _policy(style, script)}
    return environment.get_template("page.html.j2").render(values, **own)


def _shown(value: object) -> object:
    """Every text on its way into the page: nothing in it hides or turns the reading order."""
    # Style and script are texts of a class of their own, and ours.
    if type(value) is not str or _PLAIN.fullmatch(value):
        return value
    return safe_text(value)


def _policy(style: str, script: str) -> str:
    """What a browser lets the page do: show this style and run this script, and nothing else."""
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
