"""What there is on a fleet, for people, programs and MCP clients. Answering wakes nothing."""
