"""``MskTokens``: the tokens by which Amazon MSK lets an IAM identity in, signed by AWS's Signature Version 4.

A token is the URL of a GET request for ``kafka-cluster:Connect``, signed in its query, in base64 without padding. AWS's own
aws-msk-iam-sasl-signer-python makes the same, of the same signer (botocore's); a test compares the two.

Source: https://github.com/aws/aws-msk-iam-sasl-signer-python.
"""

from __future__ import annotations

import base64
import datetime
import functools
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any

from transforms.aws import CURE, load_default
from transforms.errors import ConfigError, SecretError, is_sick
from transforms.printable import one_line

log = logging.getLogger(__name__)

LIFETIME_S = 900
"""Seconds that a token is good for: the most that MSK takes."""

RENEW_S = 300
"""A token that is good for fewer seconds than this is made anew; one whose credentials end sooner, in its last third."""

SERVICE = "kafka-cluster"
MISSING = "AWS_MSK_IAM: botocore is missing: pip install 'kafka-model-scoring[msk]'"


class MskTokens:
    """The tokens of a process for one region: all its clients share them, from any thread.

    The credentials are searched for anew with each token, so that a file with others is seen. Where there are none for a
    while, the token before serves until its end.

    Args:
        region: The region of the cluster.
        load: Returns botocore's credentials for a region, or ``None``.
        clock: Returns the seconds since 1970.
    """

    def __init__(self, region: str, load: Callable[[str], Any] = load_default, clock: Callable[[], float] = time.time):
        self._region, self._load, self._clock = region, load, clock
        self._lock = threading.Lock()
        self._token, self._ends_at, self._renew_at = "", 0.0, 0.0

    def current(self) -> tuple[str, float]:
        """Returns a token and its end, in seconds since 1970.

        Raises:
            ConfigError: botocore is not installed.
            SecretError: There are no credentials.
        """
        with self._lock:
            now = self._clock()
            if now > self._renew_at:
                try:
                    self._token, credentials_end = self._signed()
                    self._ends_at = min(float(int(now) + LIFETIME_S), credentials_end)
                    self._renew_at = self._ends_at - min(RENEW_S, (self._ends_at - now) / 3)
                except SecretError as error:
                    if self._ends_at <= now:
                        raise
                    log.warning("%s; the token before is used for %.0f s yet", error, self._ends_at - now)
            return self._token, self._ends_at

    def ensure(self) -> None:
        """Makes the first token. Once there was one, it is up to librdkafka to ask for others, and nothing is raised.

        Raises:
            ConfigError: botocore is not installed.
            SecretError: There are no credentials.
        """
        if not self._token:
            self.current()

    def for_librdkafka(self, _config: object) -> tuple[str, float]:
        """Is confluent_kafka's ``oauth_cb``, which a thread of librdkafka calls: it asks again 10 s after a failure."""
        try:
            return self.current()
        except Exception as error:
            # Nothing of it reaches an error of librdkafka's.
            log.warning("no token to log in to Kafka with; asking again: %s", one_line(str(error)))
            raise

    def _signed(self) -> tuple[str, float]:
        """Returns a token, and when its credentials end, in seconds since 1970: infinity if they don't say it."""
        try:
            from botocore.auth import SigV4QueryAuth
            from botocore.awsrequest import AWSRequest
        except ImportError as error:
            raise ConfigError([f"--kafka_config sasl.mechanism: {MISSING}"]) from error
        try:
            found = self._load(self._region)
            credentials = None if found is None else found.get_frozen_credentials()
            if credentials is None or not credentials.access_key or not credentials.secret_key:
                raise SecretError(f"--kafka_config sasl.mechanism: AWS_MSK_IAM: no AWS credentials: {CURE}")
            url = f"https://kafka.{self._region}.amazonaws.com/"
            request = AWSRequest(method="GET", url=url, params={"Action": f"{SERVICE}:Connect"})
            SigV4QueryAuth(credentials, SERVICE, self._region, expires=LIFETIME_S).add_auth(request)
        except SecretError:
            raise
        except Exception as error:  # the chain raises anything: a process that gives credentials is anybody's
            if is_sick(error):
                raise
            text = one_line(str(error)) or type(error).__name__
            raise SecretError(f"--kafka_config sasl.mechanism: AWS_MSK_IAM: no AWS credentials: {text}; {CURE}") from error
        signed = f"{request.url}&User-Agent=kafka-model-scoring"  # beside the signature: MSK's log shows it
        end = getattr(found, "_expiry_time", None)  # of botocore's credentials that are renewed: it shows it nowhere else
        ends_at = end.timestamp() if isinstance(end, datetime.datetime) else math.inf
        return base64.urlsafe_b64encode(signed.encode()).decode().rstrip("="), ends_at


@functools.lru_cache
def msk_tokens(region: str) -> MskTokens:
    """Returns the tokens of this process for a region."""
    return MskTokens(region)
