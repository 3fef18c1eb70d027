"""How far a version is from the weights it came from, or from another version: both read the same texts.

The words and definitions are those of llama.cpp's report on KL divergence. The version reads first and leaves its
logits in a file, then the base reads and is held against it, each in a process of its own (the modules
reading and comparing). Knows nothing of pages. Its face: `parity.run_parity`, `results.read_results`.
"""
