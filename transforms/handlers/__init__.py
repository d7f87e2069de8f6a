"""Model handlers for Beam's own ``RunInference``, over the same clients as the pipeline.

    from apache_beam.ml.inference.base import RunInference
    from transforms.handlers import TFServingModelHandler, is_failure

    results = elements | RunInference(TFServingModelHandler("grpc://serving:8500/fraud"))

``base.py`` says what an element is, what comes out, and what becomes of failures.
"""

from transforms.handlers.base import UriModelHandler, is_failure
from transforms.handlers.named import (
    JsonHttpModelHandler,
    MlflowModelHandler,
    MmsModelHandler,
    OpenAiModelHandler,
    OpenInferenceModelHandler,
    SageMakerModelHandler,
    SavedModelHandler,
    TFServingModelHandler,
    VertexModelHandler,
)

__all__ = [
    "JsonHttpModelHandler",
    "MlflowModelHandler",
    "MmsModelHandler",
    "OpenAiModelHandler",
    "OpenInferenceModelHandler",
    "SageMakerModelHandler",
    "SavedModelHandler",
    "TFServingModelHandler",
    "UriModelHandler",
    "VertexModelHandler",
    "is_failure",
]
