"""The prompts: template files, read and filled in, with a hash that says which ones a bundle was made with."""

import functools
import hashlib
import importlib.resources
import string

from awm_generator.model import language

_USER = "=== user\n"
_END = "=== end\n"


@functools.cache
def _text(name: str) -> str:
    return importlib.resources.files(__name__).joinpath(f"{name}.md").read_text(encoding="utf-8")


def filled(name: str, **values: object) -> str:
    """A template that is one message, with its places filled in."""
    return string.Template(_text(name)).substitute({key: str(value) for key, value in values.items()}).strip()


def conversation(name: str, **values: object) -> tuple[language.Message, ...]:
    """A template of two messages, the system's and the user's, with their places filled in."""
    system, _, user = _text(name).removesuffix(_END).partition(_USER)
    texts = {key: str(value) for key, value in values.items()}
    return (
        language.Message("system", string.Template(system).substitute(texts).strip()),
        language.Message("user", string.Template(user).substitute(texts).strip()),
    )


@functools.cache
def version() -> str:
    """The hash of all prompts, as `sha256:...`: part of the provenance of what is made with them."""
    folder = importlib.resources.files(__name__)
    names = sorted(each.name for each in folder.iterdir() if each.name.endswith(".md"))
    parts = [f"{name}\0{folder.joinpath(name).read_text(encoding='utf-8')}\0" for name in names]
    return f"sha256:{hashlib.sha256(''.join(parts).encode()).hexdigest()}"
