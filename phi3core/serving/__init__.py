"""Serving versions over OpenAI's protocol.

server.py is the ASGI app of one version (worker.py runs its model, protocol.py has its data, guard.py stands before
it); child.py is a process that runs it; pool.py keeps the children (model_server.py and process.py are one of them,
memory.py tells what fits); gateway.py puts all versions behind the app's own port (catalogue.py, relay.py).
"""
