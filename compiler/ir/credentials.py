"""How keys and passwords look, so that none enters a repository, a plan or an artifact."""

from __future__ import annotations

import re

# By the prefixes that their issuers give them, so that a leaked one is found; then forms that
# nothing else has: a password inside a URL, a signed token, a private key.
_LOOKS = re.compile(
    r"(?<![A-Za-z0-9])(?:hf_|sk-|gsk_|nvapi-|gh[opsu]_|github_pat_|glpat-|npm_|AKIA|xox[abp]-)"
    r"[A-Za-z0-9_-]{12,}"
    r"|(?<![A-Za-z0-9])AIza[A-Za-z0-9_-]{30,}"
    r"|[a-z][a-z0-9+.-]{0,20}://[^/\s:@]{1,200}:[^/\s:@]{1,200}@"
    r"|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\."
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"
)
_NAMED = re.compile(r"(?i)(?:.*_)?(?:token|secret|password|passwd|api_key|apikey|access_key)")


def looks_secret(text: str) -> bool:
    """Whether a text holds something that looks like a key or a password."""
    return _LOOKS.search(text) is not None


def names_secret(name: str) -> bool:
    """Whether the value of a variable or argument of this name is a secret."""
    return _NAMED.fullmatch(name) is not None
