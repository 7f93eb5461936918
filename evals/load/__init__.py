"""How fast an endpoint is under a load that we decide: `evals load`."""
