"""The model server of one version: an ASGI app that speaks OpenAI's protocol, and the thread that runs the model.

Knows nothing of the registry, the pool or other versions. Its face: `app.create_app`, `app.run_app`; `main` is the
program of the child process.
"""
