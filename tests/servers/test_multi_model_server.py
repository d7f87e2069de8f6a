"""The client against a real multi-model-server (AWS, MXNet)."""

from __future__ import annotations

import aiohttp

from tests.clients.tfserving.test_rest import instances
from tests.servers.multi_model_server import MODEL, Address, multi_model_server
from tests.servers.predictions import HALF_PLUS_TWO, ROW, TIMEOUT_S, PredictionsServer
from transforms.clients.base import ModelClient
from transforms.types import Answer


class TestMultiModelServer(PredictionsServer):
    """One request a call of the handler: with more, its front end now and then can't read what a worker answers.

    (``ModelResponseDecoder`` reads a length of which not all bytes have come yet, and the worker is ended: "Worker died" for
    the whole batch, and a second until there is another.) Retries cure it, but not within the time that a test has.
    """

    start = staticmethod(multi_model_server)
    batch_size = 1

    def test_json_that_can_not_be_parsed_ends_the_worker(self, server: Address) -> None:
        """Why nothing is sent as JSON that was not parsed: everybody waits about a second, until there is another worker."""

        async def work(client: ModelClient) -> Answer:
            url = f"http://{server.inference}/predictions/{MODEL}"
            headers = {"Content-Type": "application/json"}
            async with aiohttp.ClientSession() as session, session.post(url, data=b"{bad", headers=headers) as answer:
                assert (answer.status, (await answer.json())["message"]) == (500, "Worker died.")
            return await client.predict(instances(ROW), 1, TIMEOUT_S)

        assert self.use(self.uri(server), work).outputs == {"predictions": [HALF_PLUS_TWO]}
