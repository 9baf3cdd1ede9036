"""Tokenizers of both forms, small; the real one of SmolLM2 is in test_smollm2.py."""

from __future__ import annotations

import json
import pickle

import pytest

from rl_jax.models import huggingface, tokenizer
from rl_jax.models.errors import ModelFileError
from tests.models import gguf_files, tiny

SOURCE = huggingface.open_folder(tiny.GOLDENS / "tiny" / "smollm2")


def gguf_tokenizer(tmp_path, split="smollm", **metadata):
  gguf_files.write(tmp_path / "m.gguf", SOURCE, split=split, metadata=metadata)
  return tokenizer.load(str(tmp_path / "m.gguf"))


@pytest.fixture
def folder(tmp_path):
  """A folder with tokenizer.json; `settings` is put beside it."""

  def make(settings=None, generation=None, template=None):
    made = tmp_path / "folder"
    made.mkdir(exist_ok=True)
    gguf_tokenizer(tmp_path).backend.save(str(made / "tokenizer.json"))
    for name, values in (("tokenizer_config.json", settings), ("generation_config.json", generation)):
      if values is not None:
        (made / name).write_text(json.dumps(values))
    if template is not None:
      (made / "chat_template.jinja").write_text(template)
    return made

  return make


def test_gguf_splits_digits_and_knows_special_tokens(tmp_path):
  words = gguf_tokenizer(tmp_path)
  assert len(words) == 13, "unused tokens only pad the embedding"
  ids = [7, 8, 6, 10, 11, 0, 2, 3]  # "a b" comes before "Ġ a" among the merges
  assert words.encode("abc ab12<|end|><extra>a") == ids
  assert words.decode(ids) == "abc ab12<|end|><extra>a"
  assert words.decode([13, 999, 3]) == "a", "ids of padding give no text"
  assert (words.end_id, words.pad_id) == (0, 0)
  assert gguf_tokenizer(tmp_path, "llama-bpe").encode("12") == [12], "up to three digits stay together"
  assert gguf_tokenizer(tmp_path, "qwen2").encode("12") == [10, 11]


def test_it_survives_a_trip_to_another_process(tmp_path):
  words = gguf_tokenizer(tmp_path)
  assert pickle.loads(pickle.dumps(words)).encode("abc") == [7]


@pytest.mark.parametrize(
  ("written", "said"),
  [
    ({"tokenizer.ggml.model": "llama"}, "tokenizer 'llama' with split 'smollm': known are 'gpt2' with smollm, "),
    ({"tokenizer.ggml.pre": "tekken"}, "split 'tekken'"),
    ({"tokenizer.ggml.eos_token_id": None}, "has no 'tokenizer.ggml.eos_token_id'"),
  ],
)
def test_another_kind_of_gguf_tokenizer_is_refused(tmp_path, written, said):
  with pytest.raises(ModelFileError, match=said):
    gguf_tokenizer(tmp_path, **written)


def test_a_folder_tells_ends_padding_and_template(folder):
  words = tokenizer.load(str(folder({"eos_token": {"content": "<|end|>"}, "pad_token": "c", "bos_token": None})))
  assert (words.end_id, words.pad_id, words.start_token, words.chat_template) == (0, 5, "", "")
  words = tokenizer.load(str(folder({"eos_token": "<|start|>"}, {"eos_token_id": 0})))
  assert (words.end_id, words.pad_id, words.more_end_ids) == (1, 1, (0,))
  words = tokenizer.load(str(folder({}, {"eos_token_id": [2, 0]}, template="from the file")))
  assert (words.end_id, words.more_end_ids, words.chat_template) == (2, (0,), "from the file")
  words = tokenizer.load(str(folder({"eos_token": "<|end|>"}, {"eos_token_id": [1, 0]})))
  assert (words.end_id, words.more_end_ids) == (0, (1,)), "each ends a response"


def test_a_gguf_may_have_an_end_of_turn_beside_the_end(tmp_path):
  assert gguf_tokenizer(tmp_path).more_end_ids == ()
  assert gguf_tokenizer(tmp_path, **{"tokenizer.ggml.eot_token_id": 2}).more_end_ids == (2,)
  assert gguf_tokenizer(tmp_path, **{"tokenizer.ggml.eot_token_id": 0}).more_end_ids == ()


def test_a_list_of_templates_has_a_default(folder):
  templates = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "y"}]
  assert tokenizer.from_folder(folder({"eos_token": "a", "chat_template": templates})).chat_template == "y"


def test_chat_template_is_rendered_as_transformers_does(folder):
  template = """{%- for message in messages %}
    {%- if message['role'] not in ['user', 'system'] %}
        {{- raise_exception('no ' + message['role'] + ' here') }}
    {%- endif %}
    {{- bos_token + message['role'] + ':' + (message['content'] | trim) + eos_token }}
{% endfor %}
{% if strftime_now is defined %}{{ strftime_now('%Y') }}{% endif %}
{%- if add_generation_prompt %}{{ {'é': enable | default(false)} | tojson }}{% endif %}"""
  words = tokenizer.from_folder(folder({"eos_token": "<|end|>", "bos_token": "<|start|>", "chat_template": template}))
  messages = [{"role": "system", "content": " a "}, {"role": "user", "content": "{{ b }}"}]
  text = "<|start|>system:a<|end|>\n<|start|>user:{{ b }}<|end|>\n"
  assert words.apply_chat_template(messages) == text
  assert words.apply_chat_template(messages, add_generation_prompt=True, enable=True) == text + '{"é": true}'
  with pytest.raises(ModelFileError, match="no tool here"):
    words.apply_chat_template([{"role": "tool", "content": ""}])
  with pytest.raises(ModelFileError, match="reads no variable 'enabled': it knows enable, strftime_now"):
    words.apply_chat_template(messages, enabled=True)


def test_a_template_may_name_every_special_token(folder):
  template = "{% for t in [bos_token, eos_token, pad_token, unk_token, sep_token, cls_token] %}[{{ t }}]{% endfor %}"
  settings = {"eos_token": "<|end|>", "unk_token": {"content": "<extra>"}, "sep_token": "a", "chat_template": template}
  words = tokenizer.from_folder(folder(settings))
  assert words.apply_chat_template([]) == "[][<|end|>][<|end|>][<extra>][a][]"


def test_the_special_tokens_of_gguf(tmp_path):
  more = {f"tokenizer.ggml.{name}_token_id": i + 2 for i, name in enumerate(["unknown", "seperator", "cls", "mask"])}
  words = gguf_tokenizer(tmp_path, **more)
  assert words.more_tokens == {"unk_token": "<extra>", "sep_token": "a", "cls_token": "b", "mask_token": "c"}
  assert words.text_start == words.start_token == "<|start|>"
  assert gguf_tokenizer(tmp_path, **{"tokenizer.ggml.add_bos_token": False}).text_start == ""


@pytest.mark.parametrize(
  ("settings", "start"),
  [({}, ""), ({"bos_token": "<|start|>"}, "<|start|>"), ({"bos_token": "<|start|>", "add_bos_token": False}, "")],
)
def test_what_begins_plain_text_and_a_saved_tokenizer_says_the_same(folder, tmp_path, settings, start):
  words = tokenizer.from_folder(folder({"eos_token": "<|end|>", "unk_token": "<extra>"} | settings))
  assert words.text_start == start
  (tmp_path / "saved").mkdir()
  words.save(tmp_path / "saved")
  saved = tokenizer.from_folder(tmp_path / "saved")
  assert (saved.text_start, saved.start_token, saved.more_tokens) == (start, words.start_token, words.more_tokens)


CONTROL = "a<|end|>b<|start|> a"


def test_control_tokens_in_quoted_text_are_text(folder):
  template = "{% for m in messages %}{{ bos_token + (m['content'] | trim) + eos_token }}{% endfor %}"
  words = tokenizer.from_folder(folder({"eos_token": "<|end|>", "bos_token": "<|start|>"}, template=template))
  chat = lambda text: words.apply_chat_template([{"role": "user", "content": text}])
  assert words.encode(CONTROL) == [3, 0, 4, 1, 9]
  assert words.encode(words.quoted(CONTROL)) == [3, 4, 3, 9], "of the tokens' letters the vocabulary has the a of start"
  for blank in ("", " ", "\n"):
    assert words.encode(chat(words.quoted(f"{blank}{CONTROL}{blank}"))) == [1, 3, 4, 3, 9, 0], "trimmed as other text"
  for text in ("abc", " ab ", "", "<|end", "|end|>", "<extra>"):
    assert words.quoted(text) == text, "nothing changes; an added token that is no control token is text of a kind"
  assert pickle.loads(pickle.dumps(words)).encode(words.quoted(CONTROL)) == [3, 4, 3, 9]


def test_a_template_that_cuts_quoted_text_is_refused(folder):
  for cut in ("[:4]", "[4:]", ".split('b')[-1]"):
    template = f"{{{{ messages[0]['content']{cut} + eos_token }}}}"
    words = tokenizer.from_folder(folder({"eos_token": "<|end|>", "bos_token": "<|start|>"}, template=template))
    text = words.apply_chat_template([{"role": "user", "content": words.quoted(CONTROL)}])
    with pytest.raises(ModelFileError, match="the chat template cuts a message in which control tokens are written"):
      words.encode(text)


def test_a_control_token_that_any_text_may_become_is_found_after_normalisation(folder):
  path = folder({"eos_token": "<|end|>"}) / "tokenizer.json"
  values = json.loads(path.read_text())
  for token in values["added_tokens"]:
    token["normalized"] = True
  path.write_text(json.dumps(values | {"normalizer": {"type": "Lowercase"}}))
  words = tokenizer.from_folder(path.parent)
  assert words.encode("a<|END|>") == [3, 0] and words.encode(words.quoted("a<|END|>")) == [3]


@pytest.mark.parametrize(
  ("settings", "said"),
  [
    (None, "neither .*tokenizer_config.json has eos_token nor .*generation_config.json eos_token_id"),
    ({"eos_token": "<eos>"}, "names the token '<eos>', which is not in .*tokenizer.json"),
    ({"eos_token": "a", "pad_token": "<pad>"}, "names the token '<pad>'"),
  ],
)
def test_a_folder_without_an_end_is_refused(folder, settings, said):
  with pytest.raises(ModelFileError, match=said):
    tokenizer.from_folder(folder(settings))


def test_a_missing_file_or_template_is_named(folder, tmp_path):
  with pytest.raises(ModelFileError, match=f"cannot read {tmp_path}/tokenizer.json: No such file"):
    tokenizer.load(str(tmp_path))
  (tmp_path / "tokenizer.json").write_text('{"a": 1}')
  with pytest.raises(ModelFileError, match="tokenizer.json has no field 'model'"):
    tokenizer.load(str(tmp_path))
  with pytest.raises(ModelFileError, match="no chat template"):
    tokenizer.from_folder(folder({"eos_token": "a"})).apply_chat_template([])
