"""A model as judge: what it is shown, what it said, whether it can be trusted."""
