"""The scenario stage: seed names in, many different scenarios that suit out."""

import collections
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from awm_generator import errors, prompts
from awm_generator.awm_files import rows
from awm_generator.model import endpoints, language
from awm_generator.stages import asking, journals, outcomes, row_files, running, similarity
from awm_runtime import names

STAGE = "scenario"
_LONGEST_NAME = 80
_ROUND = "round "  # normalised names have no spaces


class _Judged(asking.Reply):
    name: str
    suitable: bool
    category: str
    description: str
    reason: str


class _Classified(asking.Reply):
    verdicts: tuple[_Judged, ...]


class _Idea(asking.Reply):
    name: str
    description: str
    category: str


class _Ideas(asking.Reply):
    scenarios: tuple[_Idea, ...]


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How seeds are grown. The names are those of the command's flags."""

    target_count: int = 1000
    batch_size: int = 50
    num_parallel_requests: int = 5
    scenarios_per_request: int = 10
    num_few_shot: int = 8
    temperature: float | None = 1.0
    max_retries: int = 3
    diversity_check_batch: int = 80
    classify_only: bool = False
    skip_classification: bool = False
    embedding_similarity_threshold: float = 0.85
    embedding_warning_threshold: float = 0.75
    embedding_batch_size: int = 50
    max_per_category: int = 80
    max_stall_iterations: int = 10
    max_total_iterations: int = 1000


@dataclass
class _Grown:
    """What is accepted so far."""

    kept: list[rows.ScenarioRow] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    vectors: similarity.Collection = field(default_factory=similarity.Collection)
    categories: collections.Counter[str] = field(default_factory=collections.Counter)


class Grower:
    """Grows scenarios into an output file, from where an earlier run ended.

    Args:
        model: Who is asked.
        target: The output.
        settings: How.
        watcher: Sees how it goes.
    """

    def __init__(
        self, model: language.LanguageModel, target: running.RowTarget, settings: Growth, watcher: running.Watcher
    ) -> None:
        self._model, self._target, self._settings, self._watcher = model, target, settings, watcher
        self._local = model.embedding_name == endpoints.LOCAL_EMBEDDINGS
        self._grown = _Grown()
        self._summary = running.Summary(STAGE)

    async def grow(self, seeds: Sequence[rows.ScenarioRow]) -> running.Summary:
        """Takes the seeds in, then asks for more until there are enough.

        Raises:
            AwmError: what stops the whole run.
        """
        await self._restore()
        self._watcher.begin(STAGE, max(0, self._settings.target_count - len(self._grown.kept)))
        await self._take_in_seeds(seeds)
        if not self._settings.classify_only:
            await self._ask_for_more()
        self._summary.left_out = sum(bool(entry.reason) for entry in self._target.journal.entries.values())
        self._watcher.end(self._summary)
        return self._summary

    async def _restore(self) -> None:
        found = [row for name in self._target.output for row in self._target.output.of(name)]
        kept = [row for row in found if isinstance(row, rows.ScenarioRow)]
        self._summary.earlier = len(kept)
        for row, vector in zip(kept, await self._vectors(kept), strict=True):
            self._keep(row, vector)

    async def _take_in_seeds(self, seeds: Sequence[rows.ScenarioRow]) -> None:
        fresh: dict[str, rows.ScenarioRow] = {}
        for seed in seeds:
            name = names.normalise(seed.scenario)
            if name in self._grown.names or self._target.has(name):
                continue
            if name in fresh:
                self._watcher.note(f"seed {seed.scenario!r} is there twice; the first counts")
            else:
                fresh[name] = seed
        left = list(fresh.values())
        while left and (room := self._settings.target_count - len(self._grown.kept)) > 0:
            size = min(room, self._settings.batch_size)  # no more are judged than there is room for
            await self._admit(left[:size])
            left = left[size:]

    async def _ask_for_more(self) -> None:
        stalled = 0
        for number in range(self._next_round(), self._settings.max_total_iterations + 1):
            before = len(self._grown.kept)
            if before >= self._settings.target_count:
                return
            if not before:
                raise errors.GenerationError("there is nothing to grow from: no seed suits; see the reasons above")
            await self._admit(await self._ideas(number), round_number=number)
            stalled = 0 if len(self._grown.kept) > before else stalled + 1
            if stalled >= self._settings.max_stall_iterations:
                self._watcher.note(
                    f"stopped at {len(self._grown.kept)} of {self._settings.target_count} scenarios: {stalled} rounds "
                    "brought nothing new; give more seeds, or loosen --max_per_category or "
                    "--embedding_similarity_threshold"
                )
                return
        self._watcher.note(
            f"stopped at {len(self._grown.kept)} of {self._settings.target_count} scenarios after "
            f"{self._settings.max_total_iterations} rounds (--max_total_iterations)"
        )

    async def _ideas(self, number: int) -> list[rows.ScenarioRow]:
        """What several requests of one round think up. A round that is done again asks the same again."""
        dice = random.Random(f"{number} {len(self._grown.kept)}")  # noqa: S311 - examples, not secrets
        asked = [self._asked(number, part, dice) for part in range(self._settings.num_parallel_requests)]
        found = await running.all_of(asked)
        return [idea for ideas in found for idea in ideas]

    async def _asked(self, number: int, part: int, dice: random.Random) -> list[rows.ScenarioRow]:
        shown = dice.sample(self._grown.kept, min(self._settings.num_few_shot, len(self._grown.kept)))
        full = sorted(
            category for category, count in self._grown.categories.items() if count >= self._settings.max_per_category
        )
        messages = prompts.conversation(
            "grow",
            examples="\n".join(_item(row) for row in shown),
            full=", ".join(full) or "none",
            count=self._settings.scenarios_per_request,
            round=f"{number}.{part + 1}",
        )

        async def attempt(text: str) -> list[rows.ScenarioRow]:
            return [_row(idea) for idea in asking.parsed(text, _Ideas).scenarios if _usable(idea.name)]

        try:
            return await self._session().settle(
                messages, attempt, shape=asking.shape(_Ideas), temperature=self._settings.temperature
            )
        except outcomes.Quarantined as exc:
            self._watcher.note(f"round {number}: {exc}")
            return []

    def _next_round(self) -> int:
        """The first round whose scenarios are not in the output; one that a kill cut off comes again."""
        begun = [entry for name, entry in self._target.journal.entries.items() if name.startswith(_ROUND)]
        if not begun:
            return 1
        number = len(begun)
        return number if len(self._grown.kept) < int(begun[-1].input) else number + 1

    async def _admit(self, candidates: Sequence[rows.ScenarioRow], *, round_number: int | None = None) -> None:
        """Keeps those candidates that suit and are like none that is kept; written once for all of them.

        Args:
            candidates: Seeds, or what a round brought.
            round_number: Which; None for seeds, whose reasons to be left out are written down.
        """
        are_seeds = round_number is None
        unseen: dict[str, rows.ScenarioRow] = {}
        for row in candidates:
            name = names.normalise(row.scenario)
            if name and name not in self._grown.names:
                unseen.setdefault(name, row)
        suitable = await self._suitable(list(unseen.values()), are_seeds=are_seeds)
        vectors = await self._vectors(suitable)
        accepted = []
        for row, vector in zip(suitable, vectors, strict=True):
            if len(self._grown.kept) >= self._settings.target_count:
                break
            reason = self._objection(row, vector)
            if reason is None:
                self._keep(row, vector)
                accepted.append(row)
            elif are_seeds:
                self._drop(row, reason)
        if round_number is not None:
            self._target.journal.add(journals.Entry(f"{_ROUND}{round_number}", str(len(self._grown.kept))))
        if accepted:
            self._target.output.append(accepted)
        for row in accepted:
            entry = journals.Entry(names.normalise(row.scenario), "")
            self._summary.done += 1
            self._watcher.settled(STAGE, entry)

    async def _suitable(self, candidates: Sequence[rows.ScenarioRow], *, are_seeds: bool) -> list[rows.ScenarioRow]:
        if self._settings.skip_classification or not candidates:
            return list(candidates)
        kept = []
        size = self._settings.diversity_check_batch
        for start in range(0, len(candidates), size):
            batch = candidates[start : start + size]
            verdicts = await self._classified(batch)
            for row in batch:
                verdict = verdicts[names.normalise(row.scenario)]
                if verdict.suitable:
                    kept.append(_row(verdict, given=row))
                elif are_seeds:
                    self._drop(row, f"does not suit: {verdict.reason}")
        return kept

    async def _classified(self, batch: Sequence[rows.ScenarioRow]) -> dict[str, _Judged]:
        messages = prompts.conversation("classify", items="\n".join(_item(row) for row in batch))
        wanted = {names.normalise(row.scenario): row.scenario for row in batch}

        async def attempt(text: str) -> dict[str, _Judged]:
            found = {names.normalise(each.name): each for each in asking.parsed(text, _Classified).verdicts}
            missing = [title for name, title in wanted.items() if name not in found]
            if missing:
                raise asking.Broken(asking.summary("These services have no verdict", missing))
            return found

        try:
            return await self._session().settle(messages, attempt, shape=asking.shape(_Classified))
        except outcomes.Quarantined as exc:
            raise errors.GenerationError(f"the scenarios cannot be classified: {exc}") from exc

    async def _vectors(self, found: Sequence[rows.ScenarioRow]) -> list[Sequence[float]]:
        """Their vectors: the endpoint's, or ours from the first time on that it has none."""
        texts = [f"{row.scenario}: {row.description}" for row in found]
        vectors: list[Sequence[float]] = []
        size = self._settings.embedding_batch_size
        for start in range(0, len(texts), size):
            if not self._local:
                try:
                    vectors += (await self._model.embed(texts[start : start + size])).vectors
                    continue
                except (errors.ModelRefused, errors.RequestRefused) as exc:
                    if vectors or self._grown.kept:
                        raise  # half of them by one measure and half by another cannot be compared
                    self._watcher.note(f"no embeddings there ({exc}); character n-grams tell near-duplicates instead")
                    self._local = True
            vectors += [similarity.local(text) for text in texts[start : start + size]]
        return vectors

    def _objection(self, row: rows.ScenarioRow, vector: Sequence[float]) -> str | None:
        category = _category(row)
        if category and self._grown.categories[category] >= self._settings.max_per_category:
            return f"its category, {category}, is full (--max_per_category)"
        closest = self._grown.vectors.closest(vector)
        if closest is None or closest.cosine <= self._settings.embedding_warning_threshold:
            return None
        if closest.cosine > self._settings.embedding_similarity_threshold:
            return f"is too much like {closest.label} (cosine {closest.cosine:.2f})"
        self._watcher.note(f"{row.scenario} is much like {closest.label} (cosine {closest.cosine:.2f}); kept")
        return None

    def _keep(self, row: rows.ScenarioRow, vector: Sequence[float]) -> None:
        self._grown.kept.append(row)
        self._grown.names.add(names.normalise(row.scenario))
        self._grown.vectors.add(row.scenario, vector)
        if category := _category(row):
            self._grown.categories[category] += 1

    def _drop(self, row: rows.ScenarioRow, reason: str) -> None:
        entry = journals.Entry(names.normalise(row.scenario), "", reason)
        self._target.journal.add(entry)
        self._watcher.settled(STAGE, entry)

    def _session(self) -> asking.Session:
        return asking.Session(model=self._model, stage=STAGE, scenario="", max_retry=self._settings.max_retries)


def usable_seeds(found: Iterable[Any], watcher: running.Watcher) -> list[rows.ScenarioRow]:
    """Seeds with a name that files and folders can be named by; the others are named to the watcher."""
    kept = []
    for value in found:
        name = value.get("name") if isinstance(value, dict) else None
        if isinstance(name, str) and _usable(name):
            kept.append(rows.ScenarioRow.model_validate(value))
        else:
            shown = repr(name if isinstance(name, str) else value)[:_LONGEST_NAME]
            watcher.note(
                f"seed {shown} is left out: names have a Latin letter or digit, and {_LONGEST_NAME} characters at most"
            )
    return kept


def _usable(name: str) -> bool:
    return bool(names.normalise(name)) and len(name) <= _LONGEST_NAME


def _category(row: rows.ScenarioRow) -> str:
    return str(row_files.carried(row, "category") or "")


def _row(idea: _Idea | _Judged, *, given: rows.ScenarioRow | None = None) -> rows.ScenarioRow:
    described = given.description if given is not None and given.description else idea.description
    title = given.scenario if given is not None else idea.name
    extras = {**(given.model_extra or {})} if given is not None else {}
    value = {**extras, "name": title, "description": described, "category": idea.category.strip().lower()}
    return rows.ScenarioRow.model_validate(value)


def _item(row: rows.ScenarioRow) -> str:
    """A scenario as a line of a prompt."""
    value = {"name": row.scenario, "description": row.description}
    if category := _category(row):
        value["category"] = category
    return json.dumps(value, ensure_ascii=False)
