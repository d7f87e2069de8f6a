"""The stub against AWS's own client: what ours is tested with has to be what botocore speaks."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import Session

from transforms.clients.sagemaker.signing import signed_headers
from transforms.testing.sagemaker.stub import REGION, STUB_CREDENTIALS, SageMakerStub, container_error


@pytest.fixture
def stub() -> Iterator[SageMakerStub]:
    with SageMakerStub() as stub:
        yield stub


@pytest.fixture
def official(stub: SageMakerStub) -> Any:
    return Session().create_client(
        "sagemaker-runtime", REGION, endpoint_url=f"http://{stub.address}", config=Config(retries={"total_max_attempts": 1})
    )


def test_botocores_client_is_answered(stub: SageMakerStub, official: Any) -> None:
    stub.variant = "blue"
    answer = official.invoke_endpoint(
        EndpointName="model", ContentType="application/json", Body=b'{"rows": [{"x": [1.0]}]}', TargetVariant="blue"
    )
    assert json.loads(answer["Body"].read()) == {"result": {"rows": [{"y": [2.5]}]}}
    assert answer["InvokedProductionVariant"] == "blue"
    assert stub.seen[2]["x-amzn-sagemaker-target-variant"] == "blue", "the name of the header is AWS's"


def test_botocores_client_reads_its_errors(stub: SageMakerStub, official: Any) -> None:
    stub.error = container_error(400, "no column a")
    with pytest.raises(ClientError) as caught:
        official.invoke_endpoint(EndpointName="model", Body=b"{}")
    assert caught.value.response["Error"]["Code"] == "ModelError"
    assert (caught.value.response["OriginalStatusCode"], caught.value.response["OriginalMessage"]) == (400, "no column a")
    stub.error = None
    with pytest.raises(official.exceptions.ValidationError):
        official.invoke_endpoint(EndpointName="other", Body=b"{}")


@pytest.mark.parametrize("changed", ["body", "path", "header", "unsigned", "date", "nothing"])
def test_what_was_changed_after_it_was_signed_is_refused(stub: SageMakerStub, changed: str) -> None:
    body, url = b'{"x": [1.0]}', f"http://{stub.address}/endpoints/model/invocations"
    signed = signed_headers(STUB_CREDENTIALS, REGION, url, {"Content-Type": "application/json", "Accept": "a"}, body)
    if changed == "header":
        signed["Accept"] = "b"
    if changed == "unsigned":
        signed["X-Amzn-SageMaker-Target-Variant"] = "blue"
    if changed == "date":
        signed["X-Amz-Date"] = "20200101T000000Z"

    async def send() -> tuple[int, str]:
        where = url.replace("model", "other") if changed == "path" else url
        data = body + b" " if changed == "body" else body
        async with aiohttp.ClientSession() as session, session.post(where, data=data, headers=signed) as answer:
            return answer.status, answer.headers.get("x-amzn-ErrorType", "")

    status, name = asyncio.run(send())
    assert status == (200 if changed == "nothing" else 403)
    assert changed == "nothing" or "Signature" in name


def test_the_signature_is_what_awss_documents_say() -> None:
    """The hash of the body is in what is signed, and the scope is that of the service and its region."""
    signed = signed_headers(STUB_CREDENTIALS, REGION, "https://h/endpoints/e/invocations", {"Content-Type": "a/b"}, b"x")
    date = signed["X-Amz-Date"][:8]
    assert signed["Authorization"].startswith(
        f"AWS4-HMAC-SHA256 Credential=stub/{date}/eu-west-1/sagemaker/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, Signature="
    )
    canonical = "\n".join([
        "POST", "/endpoints/e/invocations", "", "content-type:a/b", "host:h", f"x-amz-date:{signed['X-Amz-Date']}", "",
        "content-type;host;x-amz-date", hashlib.sha256(b"x").hexdigest(),
    ])  # fmt: skip
    key = b"AWS4stub-secret"
    for part in (date, REGION, "sagemaker", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    scope = f"{date}/{REGION}/sagemaker/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{signed['X-Amz-Date']}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    assert signed["Authorization"].endswith(hmac.new(key, text.encode(), "sha256").hexdigest())
