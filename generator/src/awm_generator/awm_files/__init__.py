"""AWM's JSON Lines files: import to bundles, and export from them."""
