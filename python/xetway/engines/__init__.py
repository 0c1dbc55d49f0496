"""Where a model's answers come from: for now servers that run elsewhere."""
