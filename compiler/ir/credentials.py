"""How keys and passwords look, so that none enters a repository, a plan or an artifact."""

from __future__ import annotations

import re

# By the prefixes that their issuers give them, so that a leaked one is found, each with as many
# signs after it as no name of a model has; then forms that nothing else has: a password inside a
# URL, a signed token, a header that authorizes, a private key.
_ISSUED = (
    r"(?:hf|gsk|npm|gh[oprsu]|api_org|dckr_pat)_[A-Za-z0-9]{16,}",
    r"github_pat_[A-Za-z0-9_]{16,}",
    r"(?:nvapi|glpat|xapp|xox[a-z])-[A-Za-z0-9_-]{12,}",
    r"sk-[A-Za-z0-9_-]{12,}",
    r"[rs]k_(?:live|test)_[A-Za-z0-9]{12,}",
    r"A[KS]IA[A-Z0-9]{12,}",
    r"AIza[A-Za-z0-9_-]{30,}",
    r"(?:xai|pplx|csk)-[A-Za-z0-9]{24,}",
    r"(?:r8|jina|dop_v1|lsv2_(?:pt|sk))_[A-Za-z0-9]{24,}",
    r"pypi-AgE[A-Za-z0-9_-]{12,}",
    r"hv[bs]\.[A-Za-z0-9_-]{20,}",
    r"tskey-[a-z]{1,20}-[A-Za-z0-9-]{12,}",
    r"AGE-SECRET-KEY-1[A-Z0-9]{12,}",
)
_FORMS = (
    r"[a-z][a-z0-9+.-]{0,20}://[^/\s:@]{0,200}:[^/\s:@]{1,200}@",
    r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.",
    r"[Aa]uthorization: (?:Basic|Bearer) [A-Za-z0-9._~+/-]{8,}",
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----",
)
_LOOKS = re.compile("|".join([f"(?<![A-Za-z0-9])(?:{'|'.join(_ISSUED)})", *_FORMS]))
_NAMED = re.compile(
    r"(?i)(?:.*_)?(?:token|secret|api_?key|(?:access|secret|private)_key)|.*(?:password|passwd|passphrase)"
)


def looks_secret(text: str) -> bool:
    """Whether a text holds something that looks like a key or a password."""
    return _LOOKS.search(text) is not None


def without_secrets(text: str) -> str:
    """The text for a screen, which others may read: `(secret)` where something looks like one."""
    return _LOOKS.sub("(secret)", text)


def names_secret(name: str) -> bool:
    """Whether the value of a variable or argument of this name is a secret."""
    return _NAMED.fullmatch(name) is not None
