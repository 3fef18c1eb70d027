"""Where weights come from: the embedded model, a folder on this machine, a Hugging Face repository; adapters merged.

Knows nothing of MLflow, nor what the weights are for. Its face: `source.parse_source`, `fetch.fetch_weights`.
"""
