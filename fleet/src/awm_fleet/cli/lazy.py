"""Commands that are imported when they are run: nobody who asks for help, or starts a fleet, pays for all the others.

Typer has no such thing; this is the lazy group of Click's documentation, on Typer's group. A command's line in the help
of its group is given here, so that the help imports nothing either.
"""

import importlib
from typing import Any

from typer import core, main

from awm_runtime import errors


class Command(core.TyperCommand):
    """A name and a line of help that stand for a command.

    Args:
        name: The command's name.
        module: The module of this package with its `app`: a group of this name, or with a command of this name in it.
        summary: The first line of its help.
    """

    def __init__(self, name: str, module: str, summary: str) -> None:
        super().__init__(name, help=summary)
        self._module = module

    def loaded(self) -> core.TyperCommand | core.TyperGroup:
        """The command itself.

        Raises:
            PermanentError: A package that it needs is not installed, as generating is not where only a fleet is served.
        """
        try:
            group = main.get_group(importlib.import_module(f"{__package__}.{self._module}").app)
        except ModuleNotFoundError as exc:
            package = (exc.name or "").partition(".")[0]
            raise errors.PermanentError(f"`awm {self.name}` cannot run here: {package} is not installed") from exc
        found: Any = group if group.name == self.name else group.commands[str(self.name)]
        return found  # type: ignore[no-any-return]


class Group(core.TyperGroup):
    """A group of such commands; subclass it to say which.

    Attributes:
        LATER: Its commands, in the order of its help.
    """

    LATER: tuple[Command, ...] = ()

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for each in self.LATER:
            self.add_command(each)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that a line names: what runs, and what is completed."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, found.loaded() if isinstance(found, Command) else found, rest

    def load(self) -> None:
        """Imports all of them, for who reads the whole tree."""
        for each in self.LATER:
            found = each.loaded()
            if isinstance(found, Group):
                found.load()
            self.add_command(found, each.name)
