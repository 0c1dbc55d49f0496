"""What the model `parrot` says, for llama_models.py and the tests."""

SPEECH = "Good morning, this parrot speaks clearly; nobody ever taught it anything else."
