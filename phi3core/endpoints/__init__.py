"""Models that are served elsewhere: written down in the secrets file, asked over HTTP.

Two kinds: servers of OpenAI's protocol, which the openai client asks (chat/answer.py), and MLflow models behind a
scoring URL, which `client.invoke_endpoint` asks: ``mlflow models serve``, Azure ML's managed online endpoints,
Databricks' model serving. Those answer in one piece. A key goes to its own URL and nowhere else: into no text, no log,
no redirect. Its face: `config.load_endpoints`, `config.find_endpoint`, `client.check_endpoint`.
"""
