"""Broken model files, of every kind that could be thought of: each ends in one line that names the file."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct

import pytest

from rl_jax.models import gguf, gguf_file, huggingface, pretrained_files, tokenizer
from rl_jax.models.errors import ModelFileError
from tests.models import gguf_files, tiny

SOURCE = huggingface.open_folder(tiny.GOLDENS / "tiny" / "smollm2")
DEEP = "[" * 100_000
WRONG = [
  None, True, "many", "", [], [1], [[1]], ["x"], {}, {"a": 1}, -1, 0, 1.5, 1e308, 2**31, 2**63, 10**30, float("nan"),
  float("inf"), "x" * 5000, "\ud83d", "\x1b[2J",
]  # fmt: skip


def line_of(attempt, path):
  """The line that an attempt ends in; "": it succeeds."""
  try:
    attempt()
  except ModelFileError as error:
    assert str(path) in str(error) and str(error).isprintable() and len(str(error)) <= 1000
    return str(error)
  return ""


def refused(attempt, path):
  line = line_of(attempt, path)
  assert line, "it was accepted"
  return line


@pytest.fixture
def copy(tmp_path):
  def make(name="smollm2"):
    return shutil.copytree(tiny.GOLDENS / "tiny" / name, tmp_path / name)

  return make


@pytest.fixture
def with_tokenizer(copy):
  """A folder with a tokenizer, and what loads it."""
  folder = copy()
  gguf_files.write(folder.parent / "m.gguf", SOURCE)
  tokenizer.load(str(folder.parent / "m.gguf")).backend.save(str(folder / "tokenizer.json"))
  (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>"}))

  def use():
    words = tokenizer.load(str(folder))
    words.decode(words.encode("abc 12"))
    if words.chat_template:
      words.apply_chat_template([{"role": "user", "content": "a"}])

  use()
  return folder, use


@pytest.mark.parametrize(
  ("field", "value", "said"),
  [
    ("architectures", [1], "architectures=[1]: want a list of text"),
    ("architectures", [["LlamaForCausalLM"]], "architectures=[['LlamaForCausalLM']]: want a list of text"),
    ("architectures", "LlamaForCausalLM", "architectures='LlamaForCausalLM': want a list of text"),
    ("architectures", [], "architecture none: known are "),
    ("max_position_embeddings", "many", "max_position_embeddings='many': want a whole number from 1 to 2147483647"),
    ("max_position_embeddings", 2**31, "max_position_embeddings=2147483648: want a whole number"),
    ("rope_parameters", [1], "rope_parameters=[1]: want an object"),
    ("rope_parameters", {"rope_type": 1}, "rope scaling: rope_type=1: want text"),
    ("rope_parameters", {"rope_type": "llama3", "factor": "8"}, "rope scaling 'llama3': factor='8': want a number"),
    ("rope_parameters", {"rope_theta": [1]}, "rope scaling: rope_theta=[1]: want a number above 0"),
    ("num_hidden_layers", 10**4, "has no tensor 'model.layers.2."),
    ("num_hidden_layers", 10**5, "num_hidden_layers=100000 (model.layers=100000): want a whole number from 1 to 10000"),
    ("hidden_size", 2**40, "hidden_size=1099511627776 (model.width=1099511627776): want a whole number"),
    ("hidden_size", 16.0, "hidden_size=16.0 (model.width=16.0): want a whole number"),
    ("vocab_size", True, "vocab_size=True (model.vocabulary=True): want a whole number"),
    ("rms_norm_eps", float("nan"), "rms_norm_eps=nan: want a number above 0 and at most 1"),
    ("tie_word_embeddings", "no", "tie_word_embeddings='no': want true or false"),
    ("hidden_act", ["silu"], "hidden_act=['silu']: only 'silu' can be run"),
  ],
)
def test_a_field_of_config_json_is_named(copy, field, value, said):
  path = copy() / "config.json"
  path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
  assert said in refused(lambda: huggingface.open_folder(path.parent), path.parent)


@pytest.mark.parametrize("name", ["llama3", "qwen2"])
def test_no_field_of_config_json_ends_in_anything_but_a_line(copy, name):
  path = copy(name) / "config.json"
  values = json.loads(path.read_text())
  rope = values.pop("rope_parameters")
  changed = [{field: wrong} for field in [*values, "head_dim", "rope_scaling"] for wrong in WRONG]
  changed += [{"rope_parameters": rope | {field: wrong}} for field in [*rope, "type"] for wrong in WRONG]
  refusals = 0
  for change in changed:
    path.write_text(json.dumps(values | {"rope_parameters": rope} | change))
    refusals += bool(line_of(lambda: huggingface.open_folder(path.parent), path.parent))
  assert refusals > 100


NO_OBJECTS = [DEEP, '{"a":' * 50_000, "{", "[1]", "null", '{"a": 1' + "0" * 5000 + "}", b"\xff\xfe"]


@pytest.mark.parametrize("text", NO_OBJECTS, ids=range(len(NO_OBJECTS)))
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"])
def test_what_is_no_object_of_json(with_tokenizer, name, text):
  folder, use = with_tokenizer
  (folder / "tokenizer_config.json").write_text("{}")
  (folder / "generation_config.json").write_text('{"eos_token_id": 0}')
  (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
  attempt = (lambda: huggingface.open_folder(folder)) if name == "config.json" else use
  assert f"{folder / name} " in refused(attempt, folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors.index.json"])
def test_what_is_no_file_is_not_waited_for(with_tokenizer, name):
  folder, use = with_tokenizer
  (folder / name).unlink(missing_ok=True)
  os.mkfifo(folder / name)
  if "index" in name:  # the weights are in one file
    huggingface.open_folder(folder)
  else:
    attempt = (lambda: huggingface.open_folder(folder)) if name == "config.json" else use
    assert refused(attempt, folder) == f"{folder / name} is no file"


FILES = [1, ["x"], None, "", ".", "../../x", "a/../../x", "/etc/passwd", "x" * 5000, "\0", "\ud83d", {}]


@pytest.mark.parametrize("file", FILES, ids=range(len(FILES)))
def test_an_index_names_files_of_its_folder(copy, file):
  path = copy("qwen3") / "model.safetensors.index.json"
  path.write_text(json.dumps({"weight_map": {"a": file}}))
  line = refused(lambda: huggingface.open_folder(path.parent), path.parent)
  assert f"{path}: weight_map: a=" in line or f"{path}: weight_map has no field 'a'" in line


def test_a_header_of_safetensors_that_lies(copy):
  folder = copy()
  path = folder / "model.safetensors"
  content = path.read_bytes()
  (size,) = struct.unpack("<Q", content[:8])
  header, body = json.loads(content[8 : 8 + size]), content[8 + size :]
  tensor = next(name for name in header if name != "__metadata__")
  spoiled = [{**header, tensor: {**header[tensor], field: wrong}} for field in header[tensor] for wrong in WRONG]
  for change in [*spoiled, {}, {**header, tensor: {**header[tensor], "shape": [2**32, 2**32]}}]:
    text = json.dumps(change).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    refused(lambda: huggingface.open_folder(folder), folder)
  lengths = [struct.pack("<Q", length) + content[8:] for length in (0, 1, size - 1, size + 1, 2**40, 2**64 - 1)]
  for spoilt in [*lengths, *(content[:cut] for cut in (0, 4, 8, 20, size, len(content) - 1)), DEEP.encode()]:
    path.write_bytes(spoilt)
    refused(lambda: huggingface.open_folder(folder), folder)


TEMPLATES = [
  "{{ 1//0 }}", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{{ range(1000000) }}", "{{ 'a' * 10**11 }}",
  "{% if %}", "{{ a.b.c }}", "{{ messages[7].x.y }}", "{% include 'x' %}", "{{ messages.append(1) }}",
  "{{ 1|nothing }}",
  "{{ ''.__class__.__mro__ }}", "{{ '%d' % 'a' }}", "{{ raise_exception('a\n\x1b[2J') }}", "{{ raise_exception(1) }}",
  "{{" + "(" * 5000 + "1" + ")" * 5000 + "}}", "{{ now() }}",
]  # fmt: skip


@pytest.mark.parametrize("template", TEMPLATES, ids=range(len(TEMPLATES)))
def test_a_template_that_ends_in_an_error(with_tokenizer, template):
  folder, use = with_tokenizer
  (folder / "chat_template.jinja").write_text(template)
  assert "the chat template does not take these messages: " in refused(use, folder)


@pytest.mark.parametrize(
  ("settings", "said"),
  [
    ({"eos_token": ["a"]}, "tokenizer_config.json: eos_token=['a']: want text or an object with its text"),
    ({"eos_token": 0}, "eos_token=0: want text"),
    ({"eos_token": {"content": 1}}, "tokenizer_config.json: eos_token: content=1: want text"),
    ({"pad_token": "\ud83d"}, "pad_token='\\ud83d': want text"),
    ({"bos_token": True}, "bos_token=True: want text"),
    ({"chat_template": {"a": 1}}, "chat_template={'a': 1}: want text or a list of named templates"),
    ({"chat_template": ["x"]}, "chat_template=['x']: want text or a list of objects with name and template"),
    ({"chat_template": [{"template": "x"}]}, "tokenizer_config.json: chat_template[0] has no field 'name'"),
    ({"chat_template": [{"name": "default"}]}, "chat_template[0] has no field 'template'"),
    ({"chat_template": [{"name": ["x"], "template": "y"}]}, "chat_template[0]: name=['x']: want text"),
  ],
)
def test_a_field_of_the_tokenizers_settings_is_named(with_tokenizer, settings, said):
  folder, use = with_tokenizer
  (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>"} | settings))
  assert said in refused(use, folder)


@pytest.mark.parametrize("ids", [13, 99, -1, 2**32, 2**70, [0, 99], [[0]], [True], True, 0.5, "0", {}])
def test_an_end_is_a_token_of_the_vocabulary(with_tokenizer, ids):
  folder, use = with_tokenizer
  (folder / "tokenizer_config.json").write_text("{}")
  (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ids}))
  assert "generation_config.json: eos_token_id=" in refused(use, folder)


def test_a_tokenizer_of_unknown_kind(with_tokenizer):
  folder, use = with_tokenizer
  path = folder / "tokenizer.json"
  values = json.loads(path.read_text())
  path.write_text(json.dumps(values | {"model": {"type": "Odd"}}))
  assert f"{path} is no tokenizer of the package tokenizers: " in refused(use, folder)
  for field in values["model"]:
    for wrong in WRONG:
      if (field, wrong) != ("continuing_subword_prefix", "many"):
        path.write_text(json.dumps(values | {"model": {**values["model"], field: wrong}}))
        line_of(use, folder)


@pytest.mark.parametrize("number", [2**24, 2**31, 2**32 - 1])
def test_the_ids_of_a_vocabulary_have_a_size_that_can_be(with_tokenizer, number):
  folder, use = with_tokenizer
  path = folder / "tokenizer.json"
  values = json.loads(path.read_text())
  values["model"]["vocab"]["c"] = number
  path.write_text(json.dumps(values))
  assert f"{folder}: the token 'c' has the id {number}: want at most 16777215" in refused(use, folder)


def test_a_text_that_the_vocabulary_cannot_write(with_tokenizer):
  folder, use = with_tokenizer
  path = folder / "tokenizer.json"
  values = json.loads(path.read_text())
  values["model"]["unk_token"] = "many"
  path.write_text(json.dumps(values))
  use()
  words = tokenizer.load(str(folder))
  assert "'z' cannot be encoded: Unk token `many` not found" in refused(lambda: words.encode("z"), folder)


def test_control_tokens_that_cannot_be_told_apart_from_text(with_tokenizer):
  folder, use = with_tokenizer
  path = folder / "tokenizer.json"
  values = json.loads(path.read_text())
  values["model"]["vocab"] |= dict.fromkeys("abc", 0)  # whichever of them the copy has, "ab" is none of its pairs
  path.write_text(json.dumps(values))
  words = tokenizer.load(str(folder))
  assert "the tokenizer cannot be copied: " in refused(lambda: words.encode(words.quoted("<|end|>")), folder)


def opened(path):
  """Everything of a GGUF file that a run reads."""
  source = gguf.open_file(path)
  for tensor, shape in list(source.tensors.shapes.items())[:2]:
    source.tensors.read(tensor, tuple(slice(0, n) for n in shape))
  tokenizer.from_gguf(path).apply_chat_template([{"role": "user", "content": "a"}])


@pytest.mark.parametrize(
  ("field", "value", "said"),
  [
    ("llama.block_count", 10**4, "has no tensor 'blk.2."),
    ("llama.block_count", 2**31, "llama.block_count=2147483648 (model.layers=2147483648): want a whole number"),
    ("llama.block_count", "two", "llama.block_count='two'"),
    ("llama.attention.head_count", 0, "llama.attention.head_count=0 (model.heads=0): want a whole number"),
    ("llama.context_length", 4e9, "llama.context_length=4000000000.0: want a whole number"),
    ("llama.rope.freq_base", float("nan"), "llama.rope.freq_base=nan: want a number above 0"),
    ("llama.rope.scaling.type", 3, "llama.rope.scaling.type=3: want text"),
    ("tokenizer.ggml.eos_token_id", 14, "tokenizer.ggml.eos_token_id=14: want a whole number from 0 to 13"),
    ("tokenizer.ggml.bos_token_id", "a", "tokenizer.ggml.bos_token_id='a': want a whole number from 0 to 13"),
    ("tokenizer.ggml.pre", 1, "tokenizer.ggml.pre=1: want text"),
    ("tokenizer.chat_template", 1, "tokenizer.chat_template=1: want text"),
    ("tokenizer.chat_template", "{{ 1//0 }}", "the chat template does not take these messages: "),
    ("general.alignment", 3, "general.alignment=3: want a power of two"),
  ],
)
def test_a_field_of_gguf_is_named(tmp_path, field, value, said):
  path = tmp_path / "m.gguf"
  gguf_files.write(path, SOURCE, metadata={field: value})
  assert said in refused(lambda: opened(path), path)


def test_lengths_of_gguf_that_lie(tmp_path):
  path = tmp_path / "m.gguf"
  gguf_files.write(path, SOURCE)
  content = path.read_bytes()
  places = [8, 16, 24, content.index(b"tokenizer.ggml.tokens") + 29, content.index(b"token_embd.weight") + 21]
  for place in places:  # counts of tensors and fields, a name's length, an array's, an axis
    for lie in (2**24, 2**40, 2**63, 2**64 - 1):
      path.write_bytes(content[:place] + struct.pack("<Q", lie) + content[place + 8 :])
      assert f"{path} is damaged or no GGUF file: " in refused(lambda: opened(path), path)
  for cut in [*range(0, 200, 7), *range(200, len(content), 4999), len(content) - 1]:
    path.write_bytes(content[:cut])
    refused(lambda: opened(path), path)


def test_no_bytes_of_gguf_end_in_anything_but_a_line(tmp_path):
  path, draw = tmp_path / "m.gguf", random.Random(0)
  gguf_files.write(path, SOURCE)
  content = path.read_bytes()
  header = min(tensor.start for tensor in gguf_file.read(path).tensors.values())
  refusals = 0
  for _ in range(200):
    spoilt = bytearray(content)
    for _ in range(draw.choice([1, 2, 8])):
      spoilt[draw.randrange(header)] = draw.randrange(256)
    path.write_bytes(spoilt)
    refusals += bool(line_of(lambda: opened(path), path))
  assert refusals > 50


NAMES = ["x" * 5000, "a/" * 3000 + "b", "a" * 300 + "/b", "~no-such-user/x", "\0", "\ud83d", "\x1b[2J", "a/b@c@d"]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_name_that_can_be_no_model(name):
  assert refused(lambda: pretrained_files.open_source(name), "no model ")
