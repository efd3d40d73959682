"""The file of `--policy`: rules of review as the user writes them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compiler.diagnostics import Diagnostic
from compiler.ir.document import Document
from compiler.ir.review import Quota, ReviewRules
from compiler.load.faults import validate
from compiler.load.fields import Entry, Share, Size, Slug, Text


class QuotaEntry(Entry):
    """How much GPU memory the services of a team may take."""

    label: Text = Field(
        "team", description="Label of services whose values have a limit each. Default: `team`."
    )
    limits: dict[Text, Size] = Field(
        description="GPU memory that all services with this value of the label may take together. "
        "Required. A service without the label, or with another value, breaks the rule."
    )


class ReviewFile(Entry):
    """Rules that a plan must keep; what is not written is not asked."""

    version: Literal[1] = Field(description="Version of this file's format: 1. Required.")
    headroom: Share | None = Field(
        None, description="Share of its budget that each GPU in use keeps free. Default: not asked."
    )
    unmoved: list[Slug] = Field(
        [],
        description="Services of which no replica moves, starts again or goes. Default: none.",
    )
    max_restarts: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="How many replicas that run may start again, moves included. Default: any "
        "number.",
    )
    pinned_revisions: bool = Field(
        default=False,
        description="Whether every model of a hub has its revision in modelc.lock. Default: "
        "`false`.",
    )
    quota: QuotaEntry | None = Field(
        None, description="Limits of GPU memory by a label of services. Default: none."
    )
    survives_host: list[Slug] | Literal["all"] | None = Field(
        None,
        description="Services that are left with a replica whichever host is lost, or `all`. "
        "Default: none.",
    )


def load_review(document: Document) -> tuple[ReviewRules | None, list[Diagnostic]]:
    """The rules of a document, and every fault."""
    file, faults = validate(ReviewFile, document)
    if file is None:
        return None, faults
    surviving = file.survives_host
    quota = None
    if file.quota is not None:
        limits_bytes = dict(sorted(file.quota.limits.items()))
        quota = Quota(label=file.quota.label, limits_bytes=limits_bytes)
    return ReviewRules(
        headroom_permille=file.headroom,
        unmoved=tuple(file.unmoved),
        max_restarts=file.max_restarts,
        pinned_revisions=file.pinned_revisions,
        quota=quota,
        survives_host=None if surviving is None else () if surviving == "all" else tuple(surviving),
    ), faults
