"""A stub of SageMaker's InvokeEndpoint that checks signatures: it signs what has arrived by botocore, and compares.

The container behind it takes and answers what ``json_http/app.py`` says, or CSV: a line a row, for one input and one output.

    python -m transforms.testing.sagemaker.stub --port 0 --latency_ms 20

prints its port as the first line and serves until SIGINT or SIGTERM. It knows the credentials ``stub`` and ``stub-secret``.
"""

from __future__ import annotations

import csv
import datetime
import hmac
import io
import re
from typing import Any

import numpy as np
from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from transforms.testing.command import parser, serve
from transforms.testing.faults import StubError
from transforms.testing.http_stub import HTTP_STATUSES, HttpStub, hang_up
from transforms.testing.json_http.app import read_request, written
from transforms.testing.stub_model import StubModel
from transforms.types import Signature

REGION = "eu-west-1"
STUB_CREDENTIALS = ReadOnlyCredentials("stub", "stub-secret", None)

MOST_SKEW_S = 300
"""Seconds between a signature's time and now: AWS refuses more."""

_PATH = re.compile(r"/endpoints/([^/]+)/invocations")
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<date>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, "
    r"SignedHeaders=(?P<names>[a-z0-9;-]+), Signature=(?P<signature>[0-9a-f]{64})"
)
_MUST_BE_SIGNED = ("content-type", "x-amz-", "x-amzn-")
"""How the names of headers begin that must be signed, if they are there."""

# SageMaker's own errors; the others are the container's, whose status stands in a ModelError.
_OWN = {
    "RESOURCE_EXHAUSTED": ("ThrottlingException", 400),
    "UNAVAILABLE": ("ServiceUnavailable", 503),
    "INTERNAL": ("InternalFailure", 500),
    "UNKNOWN": ("InternalDependencyException", 530),
    "PERMISSION_DENIED": ("AccessDeniedException", 403),
    "UNAUTHENTICATED": ("InvalidSignatureException", 403),
}


class AwsError(Exception):
    """An answer in AWS's form.

    Attributes:
        name: The name of the error.
        status: Its HTTP status.
        fields: Further fields of the body.
    """

    def __init__(self, name: str, status: int, message: str, **fields: Any):
        super().__init__(message)
        self.name, self.status, self.fields = name, status, fields


class SageMakerStub(HttpStub):
    """One endpoint. See ``StubServer``.

    Attributes:
        credentials: Those whose signatures are taken.
        expired: Whether they have expired.
        gateway: The authorization that a gateway before it takes; requests with it need no signature.
        variant: The production variant that answers, if it says one.
        error: What every request is answered with, if set.
        seen: Content type, body and headers of the latest request whose signature was right.
        signatures: How many signatures were right.
        came: How many requests came, whatever became of them.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.credentials = STUB_CREDENTIALS
        self.expired = False
        self.gateway = ""
        self.variant = ""
        self.error: AwsError | None = None
        self.seen: tuple[str, bytes, dict[str, str]] = ("", b"", {})
        self.signatures = self.came = 0

    def uri(
        self, model: str | None = None, version: int | None = None, label: str | None = None, signature: str | None = None
    ) -> str:
        """See ``StubServer``; an endpoint has neither versions nor signatures that could be asked for."""
        address = f"{'https' if self._tls else 'http'}://{self.address}"
        return f"sagemaker://{model or self.model.name}?region={REGION}&endpoint={address}"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.came += 1
        headers = {"x-amzn-RequestId": "stub"}
        try:
            return await self._invoked(request)
        except AwsError as error:
            answer = error
        except StubError as error:
            if error.retry_after_s is not None:
                headers["Retry-After"] = f"{error.retry_after_s:g}"
            answer = _as_aws(error)
        headers["x-amzn-ErrorType"] = f"{answer.name}:http://internal.amazon.com/coral/com.amazonaws.sagemaker/"
        return web.json_response({"Message": str(answer), **answer.fields}, status=answer.status, headers=headers)

    async def _invoked(self, request: web.Request) -> web.StreamResponse:
        matched, body = _PATH.fullmatch(request.path), await request.read()
        if matched is None or request.method != "POST":
            raise AwsError("UnknownOperationException", 404, "")
        if not self.gateway or request.headers.get("Authorization") != self.gateway:
            self._check_signature(request, body)
        self.seen = request.content_type, body, {name.lower(): value for name, value in request.headers.items()}
        if self.error is not None:
            raise self.error
        if matched[1] != self.model.name or not self.model.versions:
            raise AwsError("ValidationError", 400, f"Endpoint {matched[1]} of account 123456789012 not found.")
        if "AVAILABLE" not in self.model.versions.values():
            raise AwsError("ModelNotReadyException", 429, "The model is still loading. Wait and try again.")
        if not self.model.signatures:
            raise StubError("NOT_FOUND", "no model")
        signature, function = next(iter(self.model.signatures.values()))
        of_csv = request.content_type == "text/csv"
        inputs, rows, many = _read_csv(body, signature) if of_csv else read_request(body, signature)
        outputs, fault = await self._respond(function, inputs, rows, request.headers.items(), lambda: hang_up(request))
        content = _written_csv(outputs) if of_csv else written(outputs, fault, signature, many)
        kind = "text/csv" if of_csv else "application/json"
        headers = {"x-Amzn-Invoked-Production-Variant": self.variant} if self.variant else {}
        return web.Response(body=content, content_type=kind, headers=headers)

    def _check_signature(self, request: web.Request, body: bytes) -> None:
        """Raises ``AwsError`` unless the request is signed as botocore signs it, in this region and about now."""
        given = _AUTHORIZATION.fullmatch(request.headers.get("Authorization", ""))
        if given is None:
            raise AwsError("MissingAuthenticationTokenException", 403, "Missing Authentication Token")
        if given["key"] != self.credentials.access_key:
            raise AwsError("UnrecognizedClientException", 403, "The security token included in the request is invalid.")
        if request.headers.get("X-Amz-Security-Token") != self.credentials.token:
            raise AwsError("UnrecognizedClientException", 403, "The security token included in the request is invalid.")
        if (given["region"], given["service"]) != (REGION, "sagemaker"):
            raise AwsError("InvalidSignatureException", 403, f"Credential should be scoped to a valid region: {REGION}")
        names = given["names"].split(";")
        signed = {name: request.headers[name] for name in names if name in request.headers}
        must = {name.lower() for name in request.headers if name.lower().startswith(_MUST_BE_SIGNED)}
        if not must | {"host", "x-amz-date"} <= signed.keys() or signed.keys() != set(names):
            raise AwsError("IncompleteSignatureException", 403, "headers that must be signed are not")
        if not hmac.compare_digest(self._signature(request, signed, body), given["signature"]):
            raise AwsError("InvalidSignatureException", 403, "The request signature we calculated does not match")
        if self.expired:
            raise AwsError("ExpiredTokenException", 403, "The security token included in the request is expired")
        self.signatures += 1

    def _signature(self, request: web.Request, signed: dict[str, str], body: bytes) -> str:
        again = AWSRequest(request.method, f"{request.scheme}://{request.host}{request.raw_path}", signed, body)
        again.context["timestamp"] = signed["x-amz-date"]
        at = datetime.datetime.strptime(signed["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
        if abs((datetime.datetime.now(datetime.UTC) - at).total_seconds()) > MOST_SKEW_S:
            raise AwsError("InvalidSignatureException", 403, f"Signature expired: {signed['x-amz-date']} is not about now")
        signer = SigV4Auth(self.credentials, "sagemaker", REGION)
        signature: str = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
        return signature


def _as_aws(error: StubError) -> AwsError:
    if error.code in _OWN and error.http_status is None:
        name, status = _OWN[error.code]
        return AwsError(name, status, error.message)
    return container_error(error.http_status or HTTP_STATUSES.get(error.code, 500), error.message)


def container_error(status: int, message: str) -> AwsError:
    """Returns what SageMaker makes of a container's error.

    Args:
        status: The container's HTTP status; 0 if it did not answer in time.
        message: The body of its answer.
    """
    kind = "client" if 400 <= status < 500 else "server"
    said = f'Received {kind} error ({status}) from primary with message "{message}". See CloudWatch for more information.'
    return AwsError("ModelError", 424, said, OriginalMessage=message, OriginalStatusCode=status, LogStreamArn="arn:aws:logs")


def _read_csv(body: bytes, signature: Signature) -> tuple[dict[str, np.ndarray], int, bool]:
    name, spec = next(iter(signature.inputs.items()))
    lines = list(csv.reader(io.StringIO(body.decode())))
    try:
        values = np.array(lines, np.dtype(spec.dtype))
    except ValueError as error:
        raise StubError("INVALID_ARGUMENT", "could not convert string to float") from error
    if not lines:
        raise StubError("INVALID_ARGUMENT", "no lines")
    return {name: values}, len(lines), True


def _written_csv(outputs: dict[str, Any]) -> bytes:
    lines = np.asarray(next(iter(outputs.values()))).tolist()
    return "".join(f"{','.join(map(str, line if isinstance(line, list) else [line]))}\n" for line in lines).encode()


def main() -> None:
    """Serves until SIGINT or SIGTERM."""
    flags = parser(__doc__).parse_args()
    serve(flags, lambda: SageMakerStub(StubModel(name=flags.model), flags.port))


if __name__ == "__main__":
    main()
