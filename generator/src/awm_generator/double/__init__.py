"""A model server without a model: it speaks the OpenAI API, answers from scripts, and fails on cue."""
