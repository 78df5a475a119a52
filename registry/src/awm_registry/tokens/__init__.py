"""Keys that sign tokens, and who may do what with a token. Private keys stay with the router."""
