"""``check_size``: requests above the known limit of an endpoint are not sent."""

from __future__ import annotations

from transforms.errors import RequestTooLargeError


def check_size(where: str, size: int, rows: int, limit: int) -> None:
    """Checks that a request is not larger than the endpoint takes.

    Args:
        where: The endpoint and its address, for the message.
        size: The size of the request in bytes.
        rows: How many rows it has.
        limit: The endpoint's limit in bytes.

    Raises:
        RequestTooLargeError: It is larger.
    """
    if size > limit:
        what = f"{rows} records make" if rows > 1 else "this record alone makes"
        message = f"{where}: {what} a request of {size} bytes, and the endpoint takes {limit} at most"
        raise RequestTooLargeError(message, limit / size)
