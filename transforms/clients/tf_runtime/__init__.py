"""SavedModels run by TensorFlow's C library, as TensorFlow Serving runs them, without importing the Python package.

Below the clients: the model in the worker (``transforms/clients/saved_model/client.py``) and the embedded model server
(``pipeline/embedded``) both stand on it. Whether TensorFlow is installed shows when ``session`` is imported.
"""
