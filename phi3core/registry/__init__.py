"""Reads the Model Registry: models, versions, files and signatures, and the index of all versions in memory.

Moves no stage and no alias (promotion/ does). Its face: `reader.get_version`, `reader.list_versions`,
`reader.get_details`, `index.get_index`, `artifacts.list_files`, `artifacts.download`,
`signature.breaking_changes`, `compare.compare_versions`; the data is in `models`.
"""
