"""The two ways to make Phi-3 an MLflow model.

pipeline.py logs a Transformers pipeline; onnx.py logs onnx_model.py, the custom ``PythonModel`` on
onnxruntime-genai. onnx_model.py is a template: it is copied into the logged model and never imported here.
"""
