"""Scenarios in a user's integration tests: a container on testcontainers, and pytest fixtures."""
