"""Tasks in lm-eval's own YAML format over data shipped here; verdicts.py holds the functions that they name with `!function`."""
