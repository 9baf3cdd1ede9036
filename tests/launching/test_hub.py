"""Push to a server on this machine that answers the calls of huggingface_hub."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import sys
import threading

import pytest

from rl_jax.errors import UserError
from rl_jax.launching.hub import check_name, push

constants = pytest.importorskip("huggingface_hub.constants")
BIG = ".safetensors"


class Hub(http.server.BaseHTTPRequestHandler):
  """The part of the hub's interface that one commit needs. `server` keeps what it got."""

  def _answer(self, body=None, status=200):
    content = b"" if body is None else json.dumps(body).encode()
    self.send_response(status)
    self.send_header("Content-Type", "application/json")
    self.send_header("Content-Length", str(len(content)))
    self.end_headers()
    self.wfile.write(content)

  def _body(self):
    return self.rfile.read(int(self.headers.get("Content-Length", 0)))

  def do_POST(self):
    body, server = self._body(), self.server
    if self.headers.get("Authorization") != "Bearer hf_secret":
      return self._answer({"error": "Invalid username or password."}, 401)
    if self.path == "/api/repos/create":
      server.created.append(json.loads(body))
      return self._answer({"url": f"{server.url}/me/model", "name": "me/model"})
    if self.path == "/api/validate-yaml":
      return self._answer({"errors": [], "warnings": []})
    if self.path.startswith("/api/models/me/model/preupload/main"):
      files = [file["path"] for file in json.loads(body)["files"]]
      mode = lambda path: "lfs" if path.endswith(BIG) else "regular"
      return self._answer({"files": [{"path": p, "uploadMode": mode(p), "shouldIgnore": False} for p in files]})
    if self.path == "/me/model.git/info/lfs/objects/batch":
      objects = json.loads(body)["objects"]
      return self._answer(
        {
          "transfer": "basic",
          "objects": [o | {"actions": {"upload": {"href": f"{server.url}/lfs/{o['oid']}"}}} for o in objects],
        }
      )
    if self.path.startswith("/api/models/me/model/commit/main"):
      server.commits.append([json.loads(line) for line in body.splitlines()])
      return self._answer(
        {"commitUrl": f"{server.url}/me/model/commit/{'c' * 40}", "commitOid": "c" * 40, "hookOutput": ""}
      )
    return self._answer({"error": self.path}, 404)

  def do_PUT(self):
    self.server.stored[self.path.rpartition("/")[2]] = self._body()
    self._answer()

  def log_message(self, *_):
    """Say nothing."""


@pytest.fixture
def server(monkeypatch):
  made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
  made.url, made.created, made.commits, made.stored = f"http://127.0.0.1:{made.server_address[1]}", [], [], {}
  threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
  monkeypatch.setattr(constants, "ENDPOINT", made.url)
  monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # which has a protocol of its own
  monkeypatch.setenv("HF_TOKEN", "hf_secret")
  monkeypatch.setenv("NO_PROXY", "127.0.0.1")
  yield made
  made.shutdown()
  made.server_close()


@pytest.fixture
def folder(tmp_path):
  made = tmp_path / "model"
  made.mkdir()
  (made / "README.md").write_text("---\nlibrary_name: transformers\n---\n# run\n")
  (made / "config.json").write_text("{}\n")
  (made / f"model{BIG}").write_bytes(b"weights" * 100)
  return made


def test_all_files_are_one_commit(server, folder):
  url = push(folder, "me/model", public=False, message="run, exported by rl_jax")
  assert url == f"{server.url}/me/model"
  (created,), (commit,) = server.created, server.commits
  assert (created["name"], created["organization"]) == ("model", "me")
  assert created.get("visibility", created.get("private")) in ("private", True)
  header, *operations = commit
  assert header["value"]["summary"] == "run, exported by rl_jax"
  files = {o["value"]["path"]: o["value"] for o in operations}
  assert sorted(files) == ["README.md", "config.json", f"model{BIG}"]
  assert base64.b64decode(files["README.md"]["content"]) == (folder / "README.md").read_bytes()
  digest = hashlib.sha256(b"weights" * 100).hexdigest()
  assert files[f"model{BIG}"]["oid"] == digest and server.stored == {digest: b"weights" * 100}


def test_public_is_asked_for(server, folder):
  push(folder, "me/model", public=True, message="m")
  assert server.created[0].get("visibility", server.created[0].get("private")) in ("public", False)


def test_a_refusal_is_one_line_that_says_how_to_try_again(server, folder, monkeypatch):
  monkeypatch.setenv("HF_TOKEN", "hf_wrong")
  with pytest.raises(UserError, match="was exported, but not pushed to me/model: .*401") as raised:
    push(folder, "me/model", public=False, message="m")
  assert f"try again with: hf upload me/model {folder}" in str(raised.value) and "hf_wrong" not in str(raised.value)
  assert server.commits == []


def test_a_hub_that_does_not_answer_is_one_line(server, folder, monkeypatch):
  monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
  with pytest.raises(UserError, match="not pushed to me/model"):
    push(folder, "me/model", public=False, message="m")


def test_a_missing_client_is_one_line(folder, monkeypatch):
  monkeypatch.setitem(sys.modules, "huggingface_hub", None)
  with pytest.raises(
    UserError, match="no package 'huggingface_hub', which pushes a model: pip install huggingface_hub"
  ):
    push(folder, "me/model", public=False, message="m")


@pytest.mark.parametrize("name", ["model", "a/b/c", "a b/c", ""])
def test_a_repository_has_an_owner_and_a_name(name):
  check_name("me/model-1.0")
  with pytest.raises(UserError, match="is written owner/name"):
    check_name(name)


@pytest.mark.parametrize("name", ["me/a--b", "me/..", "me/-a", "mé/a", "me/a.git", "me/" + "a" * 100])
def test_a_name_that_the_hub_refuses_ends_before_an_export(name):
  with pytest.raises(UserError, match=f"^--push={name}: ") as error:
    check_name(name)
  assert "\n" not in str(error.value)
