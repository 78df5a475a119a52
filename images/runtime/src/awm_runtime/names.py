"""Names of scenarios: one rule that joins AWM files, one that names images and Kubernetes objects."""

import hashlib
import re

SLUG_LENGTH = 50


def normalise(name: str) -> str:
    """The name that AWM files are joined on: `"Rover (Pets)"` -> `"rover_pets"`.

    Lower case; anything outside `[a-z0-9_]` becomes `_`; runs are collapsed and the ends trimmed.
    """
    return re.sub(r"_+", "_", re.sub(r"[^a-z0-9_]", "_", name.lower())).strip("_")


def slug(name: str) -> str:
    """The name in image repositories and Kubernetes: lower case and `-`, at most 50 characters.

    A hash of the name is appended when anything was changed but `_` to `-`, so that two names never share a slug. It
    comes after `--`, which a slug without a hash never has.
    """
    plain = re.sub(r"-+", "-", re.sub(r"[^a-z0-9]", "-", name.lower())).strip("-")
    if plain and plain == name.replace("_", "-") and len(plain) <= SLUG_LENGTH and "-" not in name:
        return plain
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{plain[:SLUG_LENGTH].strip('-') or 'scenario'}--{digest}"
