"""From votes to a challenger: recipes in TRL's own keys, LoRA, merge, and the record of what was trained from what."""
