"""Generation on the artifact of a version; the model server drives it.

An engine knows one model and nothing of HTTP, MLflow's registry or conversations. Streaming is the primitive: a whole
answer is its join. Its face: `interface.Engine` with its data, `loader.open_artifact`, `weights.open_weights`,
`weight_files.check_weights`.
`tokens.TokenEngine` generates on the weights of a version that our wrappers made, through a `runtime.Runtime`
(onnx, transformers); `pyfunc.PyfuncEngine` drives any other MLflow model.
"""
