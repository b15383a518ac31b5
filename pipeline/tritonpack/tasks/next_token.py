"""The tokens that may follow a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tritonpack.core.padding import last_token
from tritonpack.core.tensors import TensorSpec
from tritonpack.tasks import Answer, TaskOptions
from tritonpack.tasks._head import Head, hidden_of, logits_of, wrapped

if TYPE_CHECKING:
    from tritonpack.core.model import ModelTraits


class NextTokenOptions(TaskOptions):
    """How many tokens."""

    kind: Literal["next_token"]
    top_k: int = Field(10, ge=1, le=1000, description="How many tokens, the best first.")


class NextToken(Head):
    """``tokens (batch, k) BYTES, token_ids int32, scores float32``: probabilities after the last token."""

    version = 1
    options = NextTokenOptions
    inputs = ("text",)
    auto_class = "AutoModelForCausalLM"
    heads = ("LMHeadModel", "ForCausalLM")
    optional_weights = ()

    def outputs(self, options: NextTokenOptions, model: ModelTraits) -> list[TensorSpec]:
        """A score per token of the vocabulary."""
        del options, model
        return [TensorSpec("logits_output", "float32", ("batch", "vocabulary"))]

    def wrap(self, module: Any, inputs: list[str], options: NextTokenOptions, model: ModelTraits) -> Any:
        """The vocabulary's scores at each row's last token only; a plain module's at every token, then the last."""
        del options, model

        def forward(module: Any, tensors: dict[str, Any]) -> Any:
            mask = tensors["attention_mask"]
            head = getattr(module, "get_output_embeddings", lambda: None)()
            if head is None:
                return last_token(logits_of(module(**tensors)), mask)
            return head(last_token(hidden_of(module.base_model(**tensors)), mask))

        return wrapped(module, inputs, forward)

    def answer(self, options: NextTokenOptions, model: ModelTraits) -> Answer:
        """Tokens, best first."""
        del model
        shape = ("batch", options.top_k)
        return Answer(
            (
                TensorSpec("tokens", "bytes", shape),
                TensorSpec("token_ids", "int32", shape),
                TensorSpec("scores", "float32", shape),
            ),
            file="vocabulary",
            parameters={"top_k": str(options.top_k)},
            needs_tokenizer=True,
        )


TASK = NextToken()
