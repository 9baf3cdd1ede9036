"""Chat templates: what those of transformers may use, and lines for what they refuse."""

from __future__ import annotations

import pytest

from rl_jax.models.chat_template import OURS, render
from rl_jax.models.errors import ModelFileError

REFUSED = "m: the chat template does not take these messages: "
TALK = [{"role": "user", "content": "é<b>"}]


def rendered(template, **more):
  return render(template, "m", {"messages": TALK, "add_generation_prompt": True}, more)


@pytest.mark.parametrize(
  ("template", "text"),
  [
    ("{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}.", "é<b>."),
    ("a{%- generation -%} b {%- endgeneration -%} c", "abc"),
    ("{{ messages[0] | tojson }}", '{"role": "user", "content": "é<b>"}'),
    ("{{ messages[0] | tojson(separators=(',', ':')) }}", '{"role":"user","content":"é<b>"}'),
    ("{{ messages[0] | tojson(sort_keys=True) }}", '{"content": "é<b>", "role": "user"}'),
    ("{{ messages[0].content | tojson(ensure_ascii=True) }}", '"\\u00e9<b>"'),
    ("{{ [1] | tojson(indent=1) }}", "[\n 1\n]"),
    ("{% if tools is not none %}TOOLS{% else %}none{% endif %}", "none"),
    ("{% if documents is none %}none{% endif %}{% if tools is defined %}, defined{% endif %}", "none, defined"),
    ("[{{ bos_token }}{{ unk_token }}{{ mask_token }}]", "[]"),
    ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
    ("{{ add_generation_prompt }}{{ what | default('nothing') }}", "Truenothing"),
  ],
)
def test_what_templates_of_transformers_use(template, text):
  assert rendered(template) == text


def test_variables_of_a_persons_choice():
  template = "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}{{ tools | tojson }}"
  assert rendered(template) == "null"
  assert rendered(template, enable_thinking=False, tools=[{"name": "f"}]) == '<think></think>[{"name": "f"}]'


@pytest.mark.parametrize(
  ("template", "more", "said"),
  [
    ("{{ a }}", {"b": 1}, "m: the chat template reads no variable 'b': it knows a"),
    ("x", {"tools": []}, "m: the chat template reads no variable 'tools': it knows none"),
    ("{{ raise_exception('no ' + messages[0].role) }}", {}, f"{REFUSED}no user"),
    ("{% generation %}", {}, REFUSED),
    ("{% endgeneration %}", {}, REFUSED),
  ],
)
def test_what_does_not_fit_is_one_line(template, more, said):
  with pytest.raises(ModelFileError) as error:
    rendered(template, **more)
  assert str(error.value).startswith(said) and str(error.value).isprintable()


@pytest.mark.parametrize("name", OURS)
def test_what_every_template_is_given_is_no_choice(name):
  with pytest.raises(ModelFileError, match=f"reads no variable '{name}'"):
    rendered(f"{{{{ {name} }}}}", **{name: ""})
