"""Where scenarios run: one protocol, a fake, and a folder per backend."""
