"""Saves a scikit-learn model with its signature in MLflow's form: ``python mlflow_model.py FOLDER``."""

import sys

import mlflow  # type: ignore[import-not-found]  # only there
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from sklearn.linear_model import LinearRegression

if __name__ == "__main__":
    orders = pd.DataFrame({"amount": np.linspace(0, 9, 40), "age": np.linspace(20, 60, 40)[::-1] ** 2})
    model = LinearRegression().fit(orders, orders.amount / 2 + orders.age)
    signature = mlflow.models.infer_signature(orders, model.predict(orders))
    mlflow.sklearn.save_model(model, sys.argv[1], signature=signature)
