"""What clients and servers agree on: episodes, verdicts and problems. Needs pydantic only."""
