"""The model endpoints that OpenAI clients know: routes, types, errors, and which models there are."""
