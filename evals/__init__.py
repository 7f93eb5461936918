"""Which model is right more often, how fast and at what cost: suites of tasks, asked through serving's client, kept in results/runs/."""
