"""Names and labels of what the fleet has in a cluster."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from awm_runtime import names

GROUP = "awm.dev"
VERSION = "v1alpha1"
PLURAL = "environments"
KIND = "Environment"

MANAGER = "awm-fleet"
"""The field manager of everything that the controller writes, and the value of the label below."""

MANAGED_BY = "app.kubernetes.io/managed-by"
ENVIRONMENT = f"{GROUP}/environment"
REVISION = f"{GROUP}/revision"
GENERATION = f"{GROUP}/generation"
BUNDLE = f"{GROUP}/bundle"
DRAINED = f"{GROUP}/drained"
"""A pod with this label opens no more episodes and has none open."""
CATALOG_GENERATION = f"{GROUP}/catalog-generation"
TEAM_ANCHOR = "awm-fleet-team"
"""The ConfigMap that owns a team's environments: who deletes it has them collected."""

KEYS = "awm-keys"
"""The ConfigMap in a team's namespace with the public keys of its tokens, and the team's name."""

LONGEST = 63
_REVISION_DIGITS = 10


def environment(scenario: str) -> str:
    """What the `Environment` of a scenario is called: its slug, at most 60 characters."""
    return names.slug(scenario)


def revision(of: str, template: Mapping[str, Any]) -> str:
    """What a revision of an environment is told apart by: a hash of its name and its pods.

    The name is part of it, so that two environments never share a revision, however their names are cut.
    """
    content = json.dumps([of, template], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()[:_REVISION_DIGITS]


def deployment(of: str, revision: str) -> str:
    """What the Deployment of a revision is called: at most 63 characters, since pods take their labels from it."""
    return f"{of[: LONGEST - 1 - len(revision)].rstrip('-')}-{revision}"


def labels(of: str) -> dict[str, str]:
    """The labels of everything that belongs to an environment."""
    return {"app.kubernetes.io/name": "awm-environment", MANAGED_BY: MANAGER, ENVIRONMENT: of}


def selector() -> str:
    """Selects everything that belongs to any environment."""
    return f"{MANAGED_BY}={MANAGER},{ENVIRONMENT}"
