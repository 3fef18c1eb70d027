"""Public benchmarks on a registered version, by EleutherAI's harness (`lm-eval`) in an environment of its own.

The harness asks the version's model server over OpenAI's protocol and knows nothing of us; this package knows nothing
of how it scores. Its face: `suites.find_suite`, `benchmark.run_benchmark`, `scores.read_scores`, `jobs.start`.
"""
