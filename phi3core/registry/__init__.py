"""Reads the Model Registry: models, versions, files and signatures, and the index of all versions in memory.

Moves no stage and no alias (promotion/ does). Its face: `reader.resolve`, `reader.versions`, `reader.detail`,
`index.index`, `artifacts.files`, `signature.breaks`, `compare.compare`; the data is in `models`.
"""
