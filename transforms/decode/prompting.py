"""``--prompt``: parsed documents → documents of the model's one text, in place of ``--features``."""

from __future__ import annotations

from typing import Any

from transforms.errors import ContractError
from transforms.formats.codecs import takes_one_string
from transforms.formats.options import Paths
from transforms.formats.prompt import Prompt, PromptError
from transforms.types import Signature

BOTH = "--prompt: is the model's whole input, and so is what --features picks; leave one of them out"


class Prompting:
    """Makes the text of one signature's input.

    Args:
        signature: What the model takes: one text a row.
        template: The template's text.
        features: What ``--features`` says; it must be nothing.

    Raises:
        ContractError: The model takes anything else, the template can't be used, or there are features.
    """

    def __init__(self, signature: Signature, template: str, features: Paths = ()):
        if features:
            raise ContractError(BOTH)
        if not signature.known:
            raise ContractError(
                "--prompt: the server publishes no signature, so that the model takes a text is not known; "
                "give --signature=FILE, or leave the prompt out"
            )
        if signature.takes_examples or not takes_one_string(signature):
            inputs = ", ".join(f"{name}: {spec}" for name, spec in signature.inputs.items()) or "tf.Example records"
            raise ContractError(
                f"--prompt: makes one text of a record, but '{signature.name}' takes {inputs}; use --features in its place, "
                "or another model"
            )
        self._name = next(iter(signature.inputs))
        try:
            self._prompt = Prompt(template)
        except PromptError as error:
            raise ContractError(f"--prompt: {error}") from error

    def inputs(self, document: Any) -> dict[str, str]:
        """Returns the model's input by its name.

        Raises:
            FieldMismatch: The record does not fit the template.
        """
        return {self._name: self._prompt.render(document)}
