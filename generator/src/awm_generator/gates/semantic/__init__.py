"""Gates over its tasks: what their verifiers say of solutions, of near misses and of nothing at all."""
