"""A version as a folder that others run: in a container, on Kubernetes, Azure ML, Databricks or SageMaker.

Knows nothing of stages, policies or pages. Its face: `package.write_package`.
"""
