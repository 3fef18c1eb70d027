"""What a version needs before it may move: a model's policy, its checklist, requests and decisions.

Moves nothing. Its face: `policy.read`, `policy.write`, `checks.checklist`, `requests.ask`, `requests.decide`.
"""
