"""What a fleet serves: a small index of scenarios, and what is said about each while it sleeps."""
