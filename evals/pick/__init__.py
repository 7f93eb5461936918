"""Which endpoint to choose, how sure that is, and what to measure next. Started by `evals pick`."""
