"""Runs SavedModels with TensorFlow's C library, as TensorFlow Serving does. The Python package is not imported.

Two users: the client of the model in the worker (``transforms/clients/saved_model/client.py``) and the embedded model server
(``pipeline/embedded``). Importing ``session`` without TensorFlow raises
``ImportError``, because ``ml_dtypes`` is installed with TensorFlow. The first ``TensorFlowSession`` loads the C library.
"""
