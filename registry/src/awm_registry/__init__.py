"""Scenario names to MCP URLs, and the light client of trainers and tools."""
