"""Puts a model together: the endpoint, and around it each wrapper with its one addition."""

import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from awm_generator.model import caching, completing, endpoints, language, ledger, limits, prices, shaping


@dataclass(frozen=True, kw_only=True)
class Terms:
    """On what terms a run asks its model.

    Attributes:
        max_concurrency: How many requests may be under way.
        max_cost: US dollars that all runs of the folder may cost together; None for no limit.
        table: What tokens cost.
        patience: How long one request is tried.
    """

    max_concurrency: int = 32
    max_cost: float | None = None
    table: prices.Prices = field(default_factory=prices.load)
    patience: limits.Patience = field(default_factory=limits.Patience)


def wrapped(model: language.LanguageModel, replies: Path, book: ledger.Ledger, terms: Terms) -> language.LanguageModel:
    """`model` with limits, cost, cache, JSON and whole replies, from the inside out.

    Args:
        model: The model to ask.
        replies: The folder of the cache.
        book: What replies are written down in.
        terms: On what terms.

    Raises:
        GenerationError: there is a cost limit, and no price.
    """
    limited = limits.Limited(model, terms.max_concurrency, patience=terms.patience, dice=random.Random(0))  # noqa: S311
    metered = ledger.Metered(limited, book, table=terms.table, most=terms.max_cost)
    return completing.Completing(shaping.Shaped(caching.Cached(metered, replies)))


@contextlib.asynccontextmanager
async def opened(
    where: endpoints.Endpoints, replies: Path, book: ledger.Ledger, terms: Terms
) -> AsyncIterator[language.LanguageModel]:
    """The model behind some endpoints, ready to be asked; connections are closed at the end.

    Raises:
        GenerationError: there is a cost limit, and no price.
    """
    from awm_generator.model import openai_models  # half a second that other commands need not wait

    async with openai_models.OpenAIModel(where) as model:
        yield wrapped(model, replies, book, terms)
