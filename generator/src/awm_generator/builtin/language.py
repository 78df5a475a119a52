"""The blueprint language: what a blueprint or module file may hold, as frozen models.

`docs/blueprints.md` explains it by an example; here is the definition.
"""

from typing import Annotated, Any, Literal

import pydantic

from awm_generator.builtin import shorthand

Key = Annotated[str, pydantic.Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Range = Annotated[str, pydantic.AfterValidator(lambda text: shorthand.bounds(text) and text)]
Words = Annotated[tuple[str, ...], pydantic.BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]
ToolKind = Literal["list", "get", "create", "update", "delete", "summary"]


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Field(_Part):
    """A column: what it holds, how its seed values are made, and who may set, find and sort by it.

    Attributes:
        type: `money` is whole cents, `stamp` a time of record that verifiers do not compare.
        make: How seed values are made; its form depends on the type.
        when: Another `make` by state of the row; null for no value in that state.
        like: For texts: a pattern with `{list}` and `{field}` in it.
        values: For choices: the values with their weights.
        to: For references: the entity that is referred to.
        set: An expression that computes the value when a row is made.
        begins: An expression for the value that the create tool gives; seed rows have `make` instead.
        label: What people call it; its key with spaces by default.
        about: What tool schemas say about it.
        ask: How people ask for it, with `{it}` for the row, where "what is the ... of ...?" does not do.
        words: For flags: how people say true and false, where "yes" and "no" would sound like a form.
        create, edit: Whether the create and update tools take it.
        least, most: Bounds of a number that a tool takes.
        maybe: Left out of about half of the scenarios.
    """

    type: Literal["text", "integer", "money", "date", "moment", "choice", "flag", "ref", "stamp"]
    make: str | None = None
    when: dict[str, str | None] = {}
    like: str | None = None
    values: dict[str, int] = {}
    to: str | None = None
    set: str | None = None
    begins: str | None = None
    label: str = ""
    about: str = ""
    ask: str = ""
    words: tuple[str, str] | None = None
    unique: bool = False
    optional: bool = False
    search: bool = False
    filter: bool = False
    sort: bool = False
    create: bool = False
    edit: bool = False
    least: int | None = None
    most: int | None = None
    maybe: bool = False

    @pydantic.field_validator("begins", "set", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value

    @pydantic.model_validator(mode="before")
    @classmethod
    def _expanded(cls, value: Any) -> Any:
        if isinstance(value, str):
            return shorthand.expand(value)
        if isinstance(value, dict) and isinstance(value.get("is"), str):
            return {**shorthand.expand(value["is"]), **{key: each for key, each in value.items() if key != "is"}}
        return value


class Rule(_Part):
    """What must hold for an operation to go through.

    Attributes:
        require: The expression that must hold.
        otherwise: The message where it does not; `{expression}` in it is filled in.
        reason: Phrases of which an answer that gives this reason has one.
        always: Whether seed rows keep it too.
    """

    require: str
    otherwise: str = pydantic.Field(alias="else")
    reason: Words = ()
    always: bool = False


class Creation(_Part):
    """How rows are made through a tool.

    Attributes:
        verb: The tool's verb; by default one of the scenario's style.
        say: Clauses in which people ask for it, with the inputs as `{placeholders}`.
        rules: What must hold for a new row, beside the entity's own rules.
        do: Assignments that happen along with it.
    """

    verb: Key | None = None
    say: Words = ()
    rules: tuple[Rule, ...] = ()
    do: Words = ()


class Action(_Part):
    """A state change, or another operation on one row.

    Attributes:
        start: The states in which it may happen; empty for all.
        to: The state that it leads to; none where the state stays.
        inputs: What the tool takes beside the row.
        bulk: Whether there is a tool for several rows at once, too.
        maybe: Left out of about a third of the scenarios.
    """

    start: Words = pydantic.Field((), alias="from")
    to: str | None = None
    say: Words
    about: str = ""
    inputs: dict[Key, Field] = {}
    rules: tuple[Rule, ...] = ()
    do: Words = ()
    bulk: bool = False
    maybe: bool = False


class States(_Part):
    """The life cycle of an entity's rows: its states, with how often each is found in seed rows."""

    field: Key = "status"
    seed: dict[str, int]
    start: str
    final: Words = ()


class Selection(_Part):
    """Rows that people describe instead of naming them.

    Attributes:
        say: How: `the cheapest free kayak`, `every booking that waits`.
        where: Which rows are meant.
        lowest, highest: One row only: the one with the lowest or highest value of this field.
        each: All of them.
        given: Values for placeholders in `say` and `where`.
    """

    say: str
    where: str = "True"
    lowest: str | None = None
    highest: str | None = None
    each: bool = False
    given: dict[str, tuple[int | str, ...]] = {}


class Question(_Part):
    """What people ask for, answered from the rows.

    Attributes:
        say: The question.
        where: Which rows count.
        count, total, lowest, highest: What about them: their number, a field's sum, or the row at one end.
        tell: For lowest and highest: the field that is the answer.
        given: Values for placeholders in `say` and `where`.
    """

    say: str
    where: str = "True"
    count: bool = False
    total: str | None = None
    lowest: str | None = None
    highest: str | None = None
    tell: str | None = None
    given: dict[str, tuple[int | str, ...]] = {}

    @pydantic.model_validator(mode="after")
    def _asks_one_thing(self) -> "Question":
        if sum([self.count, self.total is not None, self.lowest is not None, self.highest is not None]) != 1:
            raise ValueError("a question has exactly one of count, total, lowest and highest")
        if (self.lowest or self.highest) and not self.tell:
            raise ValueError("a question for the lowest or highest says with tell which field is the answer")
        return self


class Entity(_Part):
    """A kind of things: a table, its tools, its rules, and how people talk about its rows."""

    label: str = ""
    plural: Key
    about: str = ""
    it: str
    user: bool = False
    owner: str | None = None
    rows: Range = "6..9"
    per: dict[str, Range] = {}
    fields: dict[Key, Field]
    states: States | None = None
    unique: tuple[tuple[str, ...], ...] = ()
    rules: tuple[Rule, ...] = ()
    create: Creation | None = None
    actions: dict[Key, Action] = {}
    delete: Words = ()
    tools: tuple[str, ...] = ("list", "get")
    shows: dict[Key, str] = {}
    seeded: Words = ()
    selections: tuple[Selection, ...] = ()
    questions: tuple[Question, ...] = ()
    maybe: bool = False
    group: str = ""


class Blueprint(_Part):
    """A blueprint file."""

    blueprint: Key
    category: str
    titles: tuple[str, ...]
    about: str
    currency: str = "$"
    modules: Range = "3..5"
    attach: dict[str, tuple[str, ...]] = {}
    vocabulary: dict[str, tuple[str, ...]] = {}
    entities: dict[Key, Entity]


class Module(_Part):
    """A module file: entities that combine with any blueprint. `<subject>` stands for the entity it is attached to."""

    module: Key
    about: str
    slots: Literal["none", "subject"] = "subject"
    vocabulary: dict[str, tuple[str, ...]] = {}
    entities: dict[str, Entity]
