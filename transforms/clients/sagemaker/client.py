"""Amazon SageMaker's real-time endpoints: ``sagemaker://ENDPOINT?region=…``; ``uri.py`` lists the parameters.

InvokeEndpoint passes bodies and content types to the model's container and its answers back, and says which variant
answered: that is the version. What is in the bodies is said by ``--request`` and ``--response``, as with ``json+http://``,
or it is CSV, or the record's bytes. An endpoint publishes no signature.

Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html. This package is written
from AWS's documents and botocore's description of the service. It was not run against the service, for lack of an account.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import yarl

from transforms.clients.base import ClientOptions, ModelClient, RequestPreview
from transforms.clients.json_bodies.bodies import Bodies
from transforms.clients.sagemaker.errors import CREDENTIALS_REFUSED, error_name, error_of, is_of_container
from transforms.clients.sagemaker.uri import SageMakerAddress, parse
from transforms.clients.wire.http import Connect, HttpConnection, HttpResponse
from transforms.clients.wire.metadata_errors import as_metadata_errors
from transforms.clients.wire.request_size import check_size
from transforms.clients.wire.row_body import Body
from transforms.errors import UnavailableError
from transforms.printable import MOST_SAID, shortened
from transforms.retry import Deadline
from transforms.types import Answer, ModelMetadata

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials

    from transforms.clients.sagemaker.credentials import Credentials

__all__ = ["SageMakerClient", "open", "parse"]

MOST_BYTES = 6_291_456
"""Of a request: 6 MB."""

MOST_WAIT_S = 70.0
"""A container must answer within 60 seconds, and SageMaker gives up then. AWS advises clients to wait these 10 more."""

_TARGET_VARIANT = "X-Amzn-SageMaker-Target-Variant"
_COMPONENT = "X-Amzn-SageMaker-Inference-Component"
_VARIANT = "X-Amzn-Invoked-Production-Variant"


def open(uri: str, options: ClientOptions) -> SageMakerClient:  # every protocol's module has a function of this name
    """Makes the client of a URI. Does no I/O.

    Requests are signed with the credentials of AWS's chain, unless ``options.headers`` has an ``authorization`` of its own.

    Raises:
        ConfigError: The URI or the template is wrong.
        ImportError: botocore is missing; the registry says what to install.
    """
    address = parse(uri)
    if any(name.lower() == "authorization" for name, _ in options.headers):
        return SageMakerClient(address, options, None)
    # Here, because only this scheme needs botocore.
    from transforms.aws import load_default
    from transforms.clients.sagemaker.credentials import AwsCredentials

    return SageMakerClient(address, options, AwsCredentials(lambda: load_default(address.region)))


class SageMakerClient(ModelClient):
    """A client of one endpoint.

    Args:
        address: The endpoint and its address.
        options: The template and the paths, TLS files, headers and the number of connections.
        credentials: What requests are signed with; ``None`` to sign none.
        connect: Makes the connections.

    Raises:
        ConfigError: The template is wrong.
    """

    def __init__(
        self,
        address: SageMakerAddress,
        options: ClientOptions,
        credentials: Credentials | None,
        connect: Connect = HttpConnection,
    ):
        self._address, self._credentials = address, credentials
        self._where = str(address)
        self._http = connect(self._where, address.secure, options)
        self._bodies = Bodies(self._where, options, address.form)
        self._url = yarl.URL(address.url, encoded=True)
        asked = {
            "X-Amzn-SageMaker-Target-Variant": address.variant,
            "X-Amzn-SageMaker-Inference-Component": address.component,
        }
        self._headers = {"Accept": address.accept, **{name: value for name, value in asked.items() if value is not None}}
        self._closed = False
        self._metadata_requests = 0

    @property
    def metadata_requests(self) -> int:
        """See ``ModelClient``."""
        return self._metadata_requests

    async def metadata(self, timeout_s: float) -> ModelMetadata:
        """See ``ModelClient``. An endpoint publishes no signature.

        It sends an empty request. Whatever the container makes of it, the address, the credentials and the endpoint are then
        right. The call that describes an endpoint would need one more permission.
        """
        with as_metadata_errors("is it SageMaker's API?", refusals_too=False, where=self._where):
            self._metadata_requests += 1
            answer = await self._send(Body(b"", self._address.form.content_type), timeout_s)
            if not _is_good(answer) and not is_of_container(answer):
                raise error_of(self._where, answer)
        return self._bodies.metadata(self._address.endpoint)

    async def predict(self, inputs: Mapping[str, np.ndarray], rows: int, timeout_s: float) -> Answer:
        """See ``ModelClient``. A request above the endpoint's size limit raises ``RequestTooLargeError`` and is not sent."""
        answer = await self._send(self._request(inputs, rows), timeout_s)
        if not _is_good(answer):
            raise error_of(self._where, answer)
        found = self._bodies.answer(answer.body, rows, answer.content_type)
        found.version = shortened(answer.headers.get(_VARIANT, ""), MOST_SAID)
        return found

    def preview(self, inputs: Mapping[str, np.ndarray], rows: int) -> RequestPreview:
        """See ``ModelClient``."""
        return RequestPreview("HTTP", "POST", self._address.url, len(self._request(inputs, rows).content))

    def _request(self, inputs: Mapping[str, np.ndarray], rows: int) -> Body:
        body = self._bodies.request(inputs, rows)
        check_size(self._where, len(body.content), rows, MOST_BYTES)
        return body

    async def _send(self, body: Body, timeout_s: float) -> HttpResponse:
        if self._closed:
            raise UnavailableError(f"{self._where}: the client is closed")
        deadline = Deadline(min(timeout_s, MOST_WAIT_S))
        if self._credentials is None:
            return await self._http.send("POST", self._url, deadline.left_s, body.content, body.content_type, self._headers)
        # Here, because without botocore a gateway before the endpoint can still be asked.
        from transforms.clients.sagemaker.credentials import current_within

        used = await current_within(self._credentials, deadline.left_s, self._where)
        answer = await self._send_signed(body, used, deadline)
        if not _is_good(answer) and error_name(answer) in CREDENTIALS_REFUSED:
            self._credentials.refused(used)
            found = await current_within(self._credentials, deadline.left_s, self._where)
            if found != used:
                return await self._send_signed(body, found, deadline)
        return answer

    async def _send_signed(self, body: Body, credentials: ReadOnlyCredentials, deadline: Deadline) -> HttpResponse:
        from transforms.clients.sagemaker.signing import signed_headers

        headers = {**self._headers, "Content-Type": body.content_type}
        signed = signed_headers(credentials, self._address.region, self._address.url, headers, body.content)
        return await self._http.send("POST", self._url, deadline.left_s, body.content, body.content_type, signed)

    async def close(self) -> None:
        """Closes the connections; requests in flight end with ``UnavailableError``."""
        self._closed = True
        await self._http.close()
        if self._credentials is not None:
            await self._credentials.close()


def _is_good(answer: HttpResponse) -> bool:
    return 200 <= answer.status < 300
