"""Scenarios in a user's integration tests: `ScenarioContainer` on testcontainers, and pytest fixtures."""

from awm_fleet.testing.containers import Episode, ScenarioContainer

__all__ = ["Episode", "ScenarioContainer"]
