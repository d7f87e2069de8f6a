"""The models that the tests' MLServer serves; runs in MLServer's environment, without this project."""

from __future__ import annotations

from typing import Any

import numpy as np
from mlserver import MLModel  # type: ignore[import-not-found]  # only there
from mlserver.codecs import NumpyCodec, StringCodec  # type: ignore[import-not-found]  # only there
from mlserver.errors import InferenceError  # type: ignore[import-not-found]  # only there
from mlserver.types import InferenceRequest, InferenceResponse  # type: ignore[import-not-found]  # only there

POISON = -999.0


class HalfPlusTwo(MLModel):
    """y = 0.5 * x + 2; a row that holds -999 fails as an exception nobody foresaw does: HTTP 500, gRPC INTERNAL."""

    error: Any = ValueError

    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        x = NumpyCodec.decode_input(payload.inputs[0])
        if (x == POISON).any():
            raise self.error("a row is poison")
        y = (np.float32(0.5) * x + np.float32(2)).astype(np.float32)
        return self._response([NumpyCodec.encode_output("y", y)])

    def _response(self, outputs: list[Any]) -> InferenceResponse:
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)


class PoliteHalfPlusTwo(HalfPlusTwo):
    """The same, but it refuses poison with the error that MLServer has for it: HTTP 400, gRPC INVALID_ARGUMENT."""

    error = InferenceError


class Shout(HalfPlusTwo):
    """Text in upper case: BYTES in, BYTES out."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        words = StringCodec.decode_input(payload.inputs[0])
        return self._response([StringCodec.encode_output("loud", [word.upper() for word in words])])


class Echo(HalfPlusTwo):
    """Every input as an output of its name, as it came."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        outputs = [NumpyCodec.encode_output(given.name, NumpyCodec.decode_input(given)) for given in payload.inputs]
        return self._response(outputs)
