"""MLflow's client: made once per store, its errors in our words, and how long a silent store is waited for.

Knows nothing of models, versions or what is kept in the store. Its face: `client.mlflow_client`,
`client.translate_errors`, `client.search_pages`, `client.experiment_id`, `client.find_abilities`.
"""
