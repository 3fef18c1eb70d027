"""The few calls of onnxruntime-genai's C interface that generate, through ctypes.

The Python interface holds the GIL through every call, so that an event loop in the same process stands still while a
prompt is read; ctypes gives it back (docs/decisions/0004). Both are the same library from the same wheel. Source:
``ort_genai_c.h`` of onnxruntime-genai 0.18.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime_genai as og

_Handle = ctypes.c_void_p
_Out = ctypes.POINTER(_Handle)
_Ints = ctypes.POINTER(ctypes.c_int32)
_FLOAT = 1  # OgaElementType_float32


def _library() -> ctypes.CDLL:
    names = ("libonnxruntime-genai.so", "libonnxruntime-genai.dylib", "onnxruntime-genai.dll")
    folder = Path(og.__file__).parent
    return ctypes.CDLL(str(next(folder / name for name in names if (folder / name).is_file())))


_lib = _library()


def _declare(name: str, *arguments: Any, result: Any = _Handle) -> Any:
    function = getattr(_lib, name)
    function.argtypes, function.restype = arguments, result
    return function


_error_text = _declare("OgaResultGetError", _Handle, result=ctypes.c_char_p)
_destroy_result = _declare("OgaDestroyResult", _Handle, result=None)
_create_config = _declare("OgaCreateConfig", ctypes.c_char_p, _Out)
_destroy_config = _declare("OgaDestroyConfig", _Handle, result=None)
_clear_providers = _declare("OgaConfigClearProviders", _Handle)
_append_provider = _declare("OgaConfigAppendProvider", _Handle, ctypes.c_char_p)
_overlay = _declare("OgaConfigOverlay", _Handle, ctypes.c_char_p)
_create_model = _declare("OgaCreateModelFromConfig", _Handle, _Out)
_destroy_model = _declare("OgaDestroyModel", _Handle, result=None)
_create_params = _declare("OgaCreateGeneratorParams", _Handle, _Out)
_destroy_params = _declare("OgaDestroyGeneratorParams", _Handle, result=None)
_set_number = _declare("OgaGeneratorParamsSetSearchNumber", _Handle, ctypes.c_char_p, ctypes.c_double)
_create_generator = _declare("OgaCreateGenerator", _Handle, _Handle, _Out)
_destroy_generator = _declare("OgaDestroyGenerator", _Handle, result=None)
_append_tokens = _declare("OgaGenerator_AppendTokens", _Handle, _Ints, ctypes.c_size_t)
_get_logits = _declare("OgaGenerator_GetLogits", _Handle, _Out)
_get_output = _declare("OgaGenerator_GetOutput", _Handle, ctypes.c_char_p, _Out)
_shape_rank = _declare("OgaTensorGetShapeRank", _Handle, ctypes.POINTER(ctypes.c_size_t))
_shape = _declare("OgaTensorGetShape", _Handle, ctypes.POINTER(ctypes.c_int64), ctypes.c_size_t)
_element_type = _declare("OgaTensorGetType", _Handle, ctypes.POINTER(ctypes.c_int32))
_rewind_to = _declare("OgaGenerator_RewindTo", _Handle, ctypes.c_size_t)
_tensor_data = _declare("OgaTensorGetData", _Handle, _Out)
_destroy_tensor = _declare("OgaDestroyTensor", _Handle, result=None)


def _check(result: int | None) -> None:
    if result:
        text = _error_text(result).decode(errors="replace")
        _destroy_result(result)
        raise RuntimeError(text)


class Model:
    """Loaded weights. overlay: laid over genai_config.json. cuda: run on the first CUDA device.

    Raises RuntimeError where they can't be loaded.
    """

    def __init__(self, folder: Path, overlay: str = "{}", cuda: bool = False) -> None:
        self.handle = _Handle()
        config = _Handle()
        _check(_create_config(str(folder).encode(), config))
        try:
            _check(_overlay(config, overlay.encode()))
            if cuda:
                _check(_clear_providers(config))
                _check(_append_provider(config, b"cuda"))
            _check(_create_model(config, self.handle))
        finally:
            _destroy_config(config)

    def __del__(self) -> None:
        if self.handle:
            _destroy_model(self.handle)


class Generator:
    """A sequence of tokens with its KV cache, which is taken whole when it is made: `capacity` tokens of it."""

    inseparable = 0

    def __init__(self, model: Model, capacity: int, vocabulary: int) -> None:
        self._model, self._vocabulary = model, vocabulary  # the model must outlive this
        self._length, self._waiting = 0, False
        self._handle, self._floats = _Handle(), ctypes.c_float * vocabulary
        self._one = np.zeros(1, np.int32)
        self._one_pointer = self._one.ctypes.data_as(_Ints)
        params = _Handle()
        _check(_create_params(model.handle, params))
        try:
            _check(_set_number(params, b"max_length", capacity))
            _check(_create_generator(model.handle, params, self._handle))
        finally:
            _destroy_params(params)

    def append(self, tokens: np.ndarray[Any, Any]) -> None:
        """Run the model over these token ids (int32)."""
        self._compute()
        held = np.ascontiguousarray(tokens, np.int32)
        _check(_append_tokens(self._handle, held.ctypes.data_as(_Ints), len(held)))
        self._length += len(held)

    def append_all(self, tokens: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The same, with float32[tokens, vocabulary] after each token. Raises NotImplementedError for other graphs."""
        self.append(tokens)
        tensor, data, kind = _Handle(), _Handle(), ctypes.c_int32()
        _check(_get_output(self._handle, b"logits", tensor))
        try:
            rank = ctypes.c_size_t()
            _check(_shape_rank(tensor, rank))
            shape = (ctypes.c_int64 * rank.value)()
            _check(_shape(tensor, shape, rank.value))
            _check(_element_type(tensor, kind))
            if tuple(shape) != (1, len(tokens), self._vocabulary) or kind.value != _FLOAT:
                raise NotImplementedError("The graph gives the logits of a piece's last token alone.")
            _check(_tensor_data(tensor, data))
            held: Any = (self._floats * len(tokens)).from_address(data.value or 0)
            return np.frombuffer(held, np.float32).reshape(len(tokens), -1).copy()
        finally:
            _destroy_tensor(tensor)

    def append_one(self, token: int) -> None:
        """Take a token; it is computed when its logits are asked for."""
        self._compute()
        self._one[0], self._waiting = token, True

    def _compute(self) -> None:
        if self._waiting:
            self._waiting = False
            _check(_append_tokens(self._handle, self._one_pointer, 1))
            self._length += 1

    def logits(self) -> np.ndarray[Any, Any]:
        """float32[vocabulary] after the last token; a copy."""
        self._compute()
        tensor, data = _Handle(), _Handle()
        _check(_get_logits(self._handle, tensor))
        try:
            _check(_tensor_data(tensor, data))
            held: Any = self._floats.from_address(data.value or 0)
            return np.frombuffer(held, np.float32).copy()
        finally:
            _destroy_tensor(tensor)

    def rewind(self, length: int) -> None:
        if length <= self._length:
            self._length, self._waiting = length, False
            _check(_rewind_to(self._handle, length))

    def __del__(self) -> None:
        if self._handle:
            _destroy_generator(self._handle)
