"""One handler class for each protocol: a ``UriModelHandler`` that takes only the URIs of that protocol."""

from __future__ import annotations

from transforms.handlers.base import UriModelHandler


class TFServingModelHandler(UriModelHandler):
    """TensorFlow Serving's gRPC and REST APIs, and KServe V1.

    ``grpc://HOST:PORT/MODEL[@VERSION][?signature=NAME]``, ``http://HOST:PORT/v1/models/MODEL``; with TLS ``grpcs://`` and
    ``https://``.
    """

    schemes = ("grpc", "grpcs", "http", "https")


class OpenInferenceModelHandler(UriModelHandler):
    """The Open Inference Protocol, V2: Triton, MLServer, KServe. ``oip+grpc://HOST:PORT/MODEL``, ``oip+http://…``."""

    schemes = ("oip+grpc", "oip+grpcs", "oip+http", "oip+https")


class VertexModelHandler(UriModelHandler):
    """Vertex AI online prediction. ``vertex://PROJECT/REGION/ENDPOINT``."""

    schemes = ("vertex",)


class MmsModelHandler(UriModelHandler):
    """multi-model-server and TorchServe. ``mms+http://HOST:PORT/MODEL``."""

    schemes = ("mms+http", "mms+https")


class OpenAiModelHandler(UriModelHandler):
    """OpenAI-compatible servers. ``openai+http://HOST[:PORT][/PATH]/MODEL?task=embeddings|chat|completions|rerank``."""

    schemes = ("openai+http", "openai+https")


class MlflowModelHandler(UriModelHandler):
    """MLflow's scoring server, Databricks, Azure ML. ``mlflow+http://HOST[:PORT][/PATH][?form=…]``."""

    schemes = ("mlflow+http", "mlflow+https")


class JsonHttpModelHandler(UriModelHandler):
    """Any endpoint that answers JSON. ``json+http://HOST[:PORT]/PATH``, with ``ClientOptions(request=…, response=…)``."""

    schemes = ("json+http", "json+https")


class SageMakerModelHandler(UriModelHandler):
    """Amazon SageMaker's real-time endpoints. ``sagemaker://ENDPOINT?region=REGION``."""

    schemes = ("sagemaker",)


class SavedModelHandler(UriModelHandler):
    """A TensorFlow SavedModel in the worker itself. ``saved_model:///PATH``."""

    schemes = ("saved_model",)
