"""Every code that a diagnostic can have: its fixed summary, what usually causes it, what helps.

docs/errors.md is made of this (`make tables`). What exactly is wrong goes into the detail of a
diagnostic, and what helps in that very case into its hints.
"""

from __future__ import annotations

from compiler.codes.code import Code
from compiler.codes.inputs import DISCOVERY, FILES, MODELS, NAMES_AND_RULES
from compiler.codes.plans import OUTPUT, PLACEMENT, PREVIOUS

# By the part of modelc that finds them, in the order in which a compile comes upon them.
CHAPTERS: dict[str, dict[str, Code]] = {
    "Reading files": FILES,
    "Names and rules": NAMES_AND_RULES,
    "Models and modelc.lock": MODELS,
    "This host's GPUs": DISCOVERY,
    "The previous plan": PREVIOUS,
    "Placement and estimates": PLACEMENT,
    "compiled/": OUTPUT,
}

CODES: dict[str, Code] = {
    code: text for chapter in CHAPTERS.values() for code, text in chapter.items()
}
