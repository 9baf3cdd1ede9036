"""Architectures of Hugging Face folders that the transformer runs: their switches, defaults and names of tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rl_jax.models.architecture import TransformerConfig
from rl_jax.models.errors import ModelFileError
from rl_jax.models.loading import Names

SWITCHES = ("qkv_bias", "qk_norm", "activation", "output_norms", "offset_norms", "scaled_embeddings")
"""Fields of `TransformerConfig` that an architecture fixes."""


@dataclasses.dataclass(frozen=True)
class Architecture:
  """An architecture of the `transformers` library, beyond what config.json says.

  Attributes:
    kind: its `model_type`.
    switches: values of `SWITCHES` that differ from the defaults of `TransformerConfig`.
    activation: field and value of config.json for the activation.
    defaults: values of fields that config.json may leave out.
    only: fields of which one value can be run; one that is left out counts as it.
    windows: config.json says which layers have a sliding window, and scales queries.
    text: section of config.json for the text model; "": all of it.
    prefix: of the names of the text model's tensors.
    left_out: beginnings of the names of the tensors of other parts, which are not read.
  """

  kind: str
  switches: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  activation: tuple[str, str] = ("hidden_act", "silu")
  defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  only: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  windows: bool = False
  text: str = ""
  prefix: str = ""
  left_out: tuple[str, ...] = ()

  def fits(self, config: TransformerConfig) -> bool:
    """Return whether models of this architecture have the switches of a config."""
    fields = {field.name: field.default for field in dataclasses.fields(config)} | dict(self.switches)
    windowed = set(config.attentions) != {"full"} or config.query_scalar not in (0, config.head_width)
    return all(getattr(config, name) == fields[name] for name in SWITCHES) and (self.windows or not windowed)


_WITHOUT_WINDOWS = {"mlp_bias": False, "use_sliding_window": False, "partial_rotary_factor": 1.0}

_GEMMA3 = Architecture(
  kind="gemma3_text",
  switches={
    "qk_norm": True,
    "activation": "gelu_tanh",
    "output_norms": True,
    "offset_norms": True,
    "scaled_embeddings": True,
  },
  activation=("hidden_activation", "gelu_pytorch_tanh"),
  defaults={
    "vocab_size": 262_208,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1_000_000.0,
    "rope_local_base_freq": 10_000.0,
    "tie_word_embeddings": True,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "sliding_window_pattern": 6,
  },
  only={"attn_logit_softcapping": None, "final_logit_softcapping": None, "use_bidirectional_attention": False},
  windows=True,
)

ARCHITECTURES: dict[str, Architecture] = {
  "LlamaForCausalLM": Architecture("llama", only=_WITHOUT_WINDOWS),
  "Qwen2ForCausalLM": Architecture("qwen2", {"qkv_bias": True}, only=_WITHOUT_WINDOWS),
  "Qwen3ForCausalLM": Architecture("qwen3", {"qk_norm": True}, only=_WITHOUT_WINDOWS),
  "Gemma3ForCausalLM": _GEMMA3,
  "Gemma3ForConditionalGeneration": dataclasses.replace(
    _GEMMA3,
    kind="gemma3",
    text="text_config",
    prefix="language_model.",
    left_out=("vision_tower.", "multi_modal_projector."),
  ),
}
"""Architectures by their name in the list `architectures` of config.json."""


def of_config(config: TransformerConfig) -> tuple[str, Architecture]:
  """Name and architecture of a language model.

  Raises: ModelFileError: there is none with these switches.
  """
  for name, architecture in ARCHITECTURES.items():
    if architecture.fits(config):
      return name, architecture
  fields = (*SWITCHES, "attention_pattern", "query_scalar")
  plain = {field.name: field.default for field in dataclasses.fields(config)}
  differing = [f"model.{name}={getattr(config, name)!r}" for name in fields if getattr(config, name) != plain[name]]
  raise ModelFileError(f"no known architecture has {', '.join(differing)} together: it has no folder form")


def names(config: TransformerConfig, prefix: str = "") -> Names:
  """Names of the tensors of a model, each after a prefix."""
  after = "post_attention_layernorm.weight"
  norms = {"feed_forward_norm/scale": after}
  if config.output_norms:
    norms = {
      "attention_output_norm/scale": after,
      "feed_forward_norm/scale": "pre_feedforward_layernorm.weight",
      "feed_forward_output_norm/scale": "post_feedforward_layernorm.weight",
    }
  return Names(
    whole={
      "embedding": f"{prefix}model.embed_tokens.weight",
      "output": f"{prefix}lm_head.weight",
      "final_norm/scale": f"{prefix}model.norm.weight",
    },
    layer={
      "attention_norm/scale": "input_layernorm.weight",
      "attention/query": "self_attn.q_proj.weight",
      "attention/query_bias": "self_attn.q_proj.bias",
      "attention/query_norm/scale": "self_attn.q_norm.weight",
      "attention/key": "self_attn.k_proj.weight",
      "attention/key_bias": "self_attn.k_proj.bias",
      "attention/key_norm/scale": "self_attn.k_norm.weight",
      "attention/value": "self_attn.v_proj.weight",
      "attention/value_bias": "self_attn.v_proj.bias",
      "attention/output": "self_attn.o_proj.weight",
      "feed_forward/gate": "mlp.gate_proj.weight",
      "feed_forward/up": "mlp.up_proj.weight",
      "feed_forward/down": "mlp.down_proj.weight",
      **norms,
    },
    prefix=f"{prefix}model.layers.{{}}.",
  )
