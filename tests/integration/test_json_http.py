"""Kafka → apps with JSON of their own, MLflow → Kafka: each record once, with rows they can't take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import topics
from tests.integration.conftest import NewJob
from tests.integration.process import Job
from tests.servers import apps
from tests.servers.litserve import litserve
from tests.servers.mlflow import ASKED_FOR, mlflow

ROWS, WRONG = 150, (0, 77, 78)


def value_of(n: int) -> bytes:
    return json.dumps({"amount": n if n not in WRONG else "secret", "country": "DE", "age": 30}).encode()


def scored(job: Job, *flags: str) -> dict[bytes, dict[str, str]]:
    """Runs a job over all records; returns the headers of its dead letters."""
    topics.produce(job.bootstrap, job.inputs[0], map(value_of, range(ROWS)), keys=[b"%d" % n for n in range(ROWS)])
    job.run("--until_end", *flags)
    assert job.report().ok, job.report()
    letters = {record.key or b"": {k: (v or b"").decode() for k, v in record.headers} for record in job.dead_letters()}
    assert letters.keys() == {b"%d" % n for n in WRONG}
    assert all("secret" not in headers["inference.error.message"] for headers in letters.values())
    return letters


def test_fastapi(new_job: NewJob, tmp_path: Path) -> None:
    """A batch a request; FastAPI refuses the whole of it with 422 for one row, and names the field."""
    (tmp_path / "request.json").write_text('{"$rows": "$row"}')
    with litserve("fastapi_rows.py") as address:  # FastAPI comes with LitServe
        job = new_job(f"json+http://{address}/score?health=/health")
        letters = scored(job, f"--request={tmp_path / 'request.json'}", "--response=$.scores[*]")
    assert {headers["inference.error.class"] for headers in letters.values()} == {"Rejected"}
    assert "body.0.amount: Input should be a valid number" in letters[b"77"]["inference.error.message"]
    for record in job.predictions():
        assert json.loads(record.value or b"") == {"of": "DE", "score": int(record.key or b"") / 2}


def test_litserve(new_job: NewJob) -> None:
    """A record a request, as it is; the app answers 500 where it raises, and others meanwhile."""
    with litserve("litserve_json.py") as address:
        job = new_job(f"json+http://{address}/predict?health=/health")
        letters = scored(job, "--retry_deadline_s=2", "--response=score=$.score")
    assert {headers["inference.error.class"] for headers in letters.values()} == {"ServerError"}
    for record in job.predictions():
        assert json.loads(record.value or b"") == {"score": int(record.key or b"") / 2}


@pytest.mark.skipif(not apps.BENTOML_ASKED_FOR, reason="REAL_BENTOML=1 makes its environment, of 0.1 GB")
def test_bentoml(new_job: NewJob, tmp_path: Path) -> None:
    """A batch a request; it answers 500 to the whole of it for one row, and says nothing of which."""
    (tmp_path / "request.json").write_text('{"rows": {"$rows": "$row"}}')
    with apps.bentoml() as address:
        job = new_job(f"json+http://{address}/predict?health=/readyz")
        letters = scored(job, f"--request={tmp_path / 'request.json'}", "--response=$[*]")
    assert {headers["inference.error.class"] for headers in letters.values()} == {"ServerError"}
    for record in job.predictions():
        assert json.loads(record.value or b"") == {"score": int(record.key or b"") / 2}


@pytest.mark.skipif(not apps.RAY_ASKED_FOR, reason="REAL_RAY=1 makes its environment, of 0.3 GB")
def test_ray_serve(new_job: NewJob) -> None:
    """A record a request, as it is; it answers 500 where the deployment raises."""
    with apps.ray_serve() as address:
        job = new_job(f"json+http://{address}/?health=/-/healthz")
        letters = scored(job, "--response=score=$.score")
    assert {headers["inference.error.class"] for headers in letters.values()} == {"ServerError"}
    for record in job.predictions():
        assert json.loads(record.value or b"") == {"score": int(record.key or b"") / 2}


@pytest.mark.skipif(not ASKED_FOR, reason="REAL_MLFLOW=1 makes its environment, of 0.6 GB")
def test_mlflow(new_job: NewJob, tmp_path: Path) -> None:
    """MLflow 3 with a scikit-learn model: by its MLmodel file, with records as they are, and by a template."""
    columns = {"columns": ["amount", "age"], "data": {"$rows": ["$row.amount", "$row.age"]}}
    (tmp_path / "request.json").write_text(json.dumps({"dataframe_split": columns}))
    template = (f"--request={tmp_path / 'request.json'}", "--response=predictions=$.predictions[*]")
    with mlflow() as (address, model):
        for uri, flags, error_class in (
            (f"mlflow+http://{address}", (f"--signature={model / 'MLmodel'}",), "FieldError"),
            (f"mlflow+http://{address}?form=dataframe_records", (), "Rejected"),
            (f"json+http://{address}/invocations?health=/ping", template, "Rejected"),
        ):
            job = new_job(uri)
            letters = scored(job, *flags)
            assert {headers["inference.error.class"] for headers in letters.values()} == {error_class}
            for record in job.predictions():
                score = pytest.approx(int(record.key or b"") / 2 + 30)
                assert json.loads(record.value or b"") == {"predictions": score}
