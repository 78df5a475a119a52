"""The CustomResourceDefinition of `Environment`. The chart's copy is made from it (`helm/generate.py`)."""

from typing import Any

from awm_fleet.backends.kubernetes import names

_DIGEST = r"^sha256:[0-9a-f]{64}$"
_IMAGE = r"^[^\s@]+@sha256:[0-9a-f]{64}$"
_DURATION = r"^([0-9]+(s|m|h))+$"
_STATES = ["asleep", "starting", "ready", "draining", "failed"]
_MOST_REPLICAS = 100


def definition() -> dict[str, Any]:
    """The definition, ready to be applied."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.KIND.lower(),
                "shortNames": ["awmenv"],
            },
            "versions": [_version()],
        },
    }


def _version() -> dict[str, Any]:
    return {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [
            _column("State", "string", ".status.state"),
            _column("Generation", "integer", ".status.bundleGeneration"),
            _column("Tools", "integer", ".status.tools"),
            _column("Revision", "integer", ".status.revision"),
            _column("URL", "string", ".status.url"),
            _column("Age", "date", ".metadata.creationTimestamp"),
        ],
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "description": "One scenario that is served as MCP: its image, and how many of it are awake.",
                "required": ["spec"],
                "properties": {"spec": _spec(), "status": _status()},
            }
        },
    }


def _column(name: str, kind: str, path: str) -> dict[str, str]:
    return {"name": name, "type": kind, "jsonPath": path}


def _text(meaning: str, **rules: Any) -> dict[str, Any]:
    return {"type": "string", "description": meaning, **rules}


def _number(meaning: str, **rules: Any) -> dict[str, Any]:
    return {"type": "integer", "format": "int32", "description": meaning, **rules}


def _spec() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["scenario", *_bundle()],
        "properties": {
            "scenario": _text("The scenario's name; never changes.", minLength=1, maxLength=200),
            **_bundle(),
            "metadata": _text("The catalogue's metadata, as an artifact by digest.", maxLength=512),
            "replicas": _number("How many pods; 0 is asleep.", minimum=0, maximum=_MOST_REPLICAS, default=0),
            "idleTimeout": _text(
                "Falls asleep after so long without use, for example 15m; 0s: never.", pattern=_DURATION, default="15m"
            ),
        },
        "x-kubernetes-validations": [
            {"rule": "self.scenario == oldSelf.scenario", "message": "scenario never changes: make a new Environment"}
        ],
    }


def _bundle() -> dict[str, Any]:
    return {
        "bundleGeneration": _number("The generation of the bundle in the image.", minimum=1),
        "image": _text("The scenario's image, by digest.", pattern=_IMAGE, maxLength=512),
        "bundleDigest": _text("The digest of the bundle in the image.", pattern=_DIGEST),
        "toolsHash": _text("The hash of the tool list that it must serve.", pattern=_DIGEST),
    }


def _status() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "state": _text("What it is doing.", enum=_STATES),
            "url": _text("Where agents reach it."),
            "revision": _number("The number of the newest revision."),
            "revisionHash": _text("The hash of the newest revision."),
            "serving": _text("The hash of the revision that new episodes are opened on."),
            "bundleGeneration": _number("The generation that serves."),
            "catalogGeneration": _number("The newest generation that came from the catalogue."),
            "tools": _number("How many tools it serves."),
            "replicas": _number("How many pods of the revision that serves are ready."),
            "selector": _text("Selects its pods."),
            "drainingSince": _text("Since when an older revision is being emptied.", format="date-time"),
            "observedGeneration": {"type": "integer", "format": "int64", "description": "What this status speaks of."},
            "toolLists": {
                "type": "array",
                "description": "What the pods listed as their tools when they were asked.",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["pod"],
                "items": {
                    "type": "object",
                    "required": ["pod", "toolsHash", "tools"],
                    "properties": {
                        "pod": _text("The pod's UID."),
                        "toolsHash": _text("The hash of what it listed."),
                        "tools": _number("How many tools it listed."),
                    },
                },
            },
            "history": {
                "type": "array",
                "description": "What served, newest first; a rollback goes to the second.",
                "items": {"type": "object", "required": list(_bundle()), "properties": _bundle()},
            },
            "conditions": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": _condition(),
            },
        },
    }


def _condition() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["type", "status", "reason", "message", "lastTransitionTime"],
        "properties": {
            "type": _text("Accepted, Available, Verified or Ready."),
            "status": _text("Whether it is so.", enum=["True", "False", "Unknown"]),
            "reason": _text("Why, in one word.", pattern="^[A-Za-z]+$"),
            "message": _text("Why, for a person.", maxLength=2048),
            "observedGeneration": {"type": "integer", "format": "int64"},
            "lastTransitionTime": _text("When it last changed.", format="date-time"),
        },
    }
