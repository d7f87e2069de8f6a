"""A FastAPI app of its author's own: a batch of orders in, their scores out. Run as ``python fastapi_rows.py PORT``."""

import sys

import uvicorn  # type: ignore[import-not-found]  # only there
from fastapi import FastAPI  # type: ignore[import-not-found]  # only there
from pydantic import BaseModel

app = FastAPI()


class Order(BaseModel):
    """One order."""

    amount: float
    country: str


@app.get("/health")
def health() -> dict[str, bool]:
    """Answers when the model is loaded."""
    return {"ok": True}


@app.post("/score")
def score(orders: list[Order]) -> dict[str, list[dict[str, float | str]]]:
    """Scores a batch."""
    return {"scores": [{"score": order.amount / 2, "of": order.country} for order in orders]}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
