"""The live view: what is rendered when, what the server answers, and what a reader in a browser keeps."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import threading
import urllib.error
import urllib.request

import pytest

from rl_jax import report as entry
from rl_jax.errors import UserError
from rl_jax.launching import vouching
from rl_jax.runs import live_page, page
from rl_jax.runs.advisory_section import advisory_section
from rl_jax.runs.comparison_report import write_comparison
from rl_jax.runs.directory import open_run
from rl_jax.runs.following import SHARE, Follower, stamp
from rl_jax.runs.live_page import live
from rl_jax.runs.live_server import LiveServer
from rl_jax.runs.record import load
from rl_jax.runs.report import write_report
from tests.runs import fabricated

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
  "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
  "--disable-component-update --disable-sync --hide-scrollbars --virtual-time-budget=15000"
).split()
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


class _Pages:
  """A renderer whose pages count, and whose next page costs this many seconds."""

  def __init__(self):
    self.number, self.clock, self.cost, self.fault = 0, 0.0, 0.0, ""

  def __call__(self):
    if self.fault:
      raise UserError(self.fault)
    self.number += 1
    self.cost += 2.0
    return page.page(f"page {self.number}", [f"<h1>page {self.number}</h1>"])


@pytest.fixture
def run(tmp_path):
  with open_run(tmp_path / "x", {}, "a", {}) as directory:
    return directory


@pytest.fixture
def pages():
  return _Pages()


def _follower(run, pages):
  return Follower([run], pages, clock=lambda: pages.clock, cost=lambda: pages.cost)


def _write(run, text='{"kind": "train", "iteration": 1, "reward": [1.0]}\n'):
  with run.metrics.open("a") as file:
    file.write(text)


@pytest.fixture
def serve():
  servers = []

  def start(follower, host="127.0.0.1"):
    server = LiveServer(follower, host, 0)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    servers.append(server)
    return server.url

  yield start
  for server in servers:
    server.shutdown()
    server.server_close()


def _get(url, host=None):
  request = urllib.request.Request(url, headers={"Host": host} if host else {})
  with urllib.request.urlopen(request, timeout=60) as answer:
    return answer.read().decode(), answer.headers


def test_a_page_is_rendered_anew_only_where_files_have_changed(run, pages):
  follower = _follower(run, pages)
  first = follower.current()
  pages.clock = 1e6
  assert follower.current() is first and pages.number == 1
  _write(run)
  assert follower.version() == stamp([run]) != first.version
  assert "page 2" in follower.current().document


def test_rendering_takes_a_bounded_share_of_a_processor(run, pages):
  follower = _follower(run, pages)
  first = follower.current()
  _write(run)
  wait = 2.0 * (1 / SHARE - 1)
  pages.clock = 0.99 * wait
  assert follower.version() == first.version and follower.current() is first
  pages.clock = wait
  assert follower.version() != first.version and "page 2" in follower.current().document


def test_a_damaged_file_leaves_the_last_page_with_the_reason(run, pages):
  follower = _follower(run, pages)
  first = follower.current()
  _write(run)
  pages.clock, pages.fault = 1e6, "metrics.jsonl, line 1"
  broken = follower.current()
  assert broken.document == first.document and broken.version != first.version
  assert follower.state()["error"] == "metrics.jsonl, line 1"
  _write(run)
  pages.clock, pages.fault = 2e6, ""
  assert "page 2" in follower.current().document and follower.state()["error"] == ""


def test_damage_before_the_first_page_is_a_page_with_the_name(run, pages):
  pages.fault = "damaged"
  rendered = _follower(run, pages).current()
  assert "<h1>x</h1>" in rendered.document and rendered.error == "damaged"


def test_the_state_says_how_old_and_whether_ended(run, pages, tmp_path):
  state = _follower(run, pages).state()
  assert (state["age"], state["ended"], state["error"]) == (None, False, "")
  ended = Follower([fabricated.run(tmp_path / "ended")], pages)
  ended.current()
  assert ended.state()["ended"] and 0 <= ended.state()["age"] < 600
  assert not Follower([run, fabricated.run(tmp_path / "other")], pages).state()["ended"]


def test_the_live_page_is_the_page_with_a_bar_and_one_script():
  plain = page.page("title", ["<h1>a</h1>", "<p>b</p>"])
  text = live(plain, 'v"1', "abc")
  assert text.count("<script") == 1 and '<script nonce="abc">' in text and 'data-version="v&quot;1"' in text
  assert "<main>\n<h1>a</h1>\n<p>b</p>\n</main>" in text and text.endswith("\n</body>\n</html>\n")
  assert "http" not in text and "src=" not in text, "it needs nothing but its server"


def test_the_server_answers_page_state_and_nothing_else(run, pages, serve):
  url = serve(_follower(run, pages))
  before = sorted(run.path.iterdir())
  text, headers = _get(url)
  (nonce,) = re.findall('<script nonce="([^"]+)">', text)
  assert f"script-src 'nonce-{nonce}'" in headers["Content-Security-Policy"] and headers["Cache-Control"] == "no-store"
  assert nonce not in _get(url)[0], "a nonce is used once"
  assert json.loads(_get(f"{url}state")[0])["version"] in text
  for path in ("metrics.jsonl", "../x", "state/"):
    with pytest.raises(urllib.error.HTTPError, match="404"):
      _get(f"{url}{path}")
  assert sorted(run.path.iterdir()) == before


def test_on_loopback_other_names_are_refused(run, pages, serve):
  url = serve(_follower(run, pages))
  port = url.rpartition(":")[2].strip("/")
  for host in (f"localhost:{port}", f"127.0.0.1:{port}", "localhost", f"[::1]:{port}"):
    _get(f"{url}state", host)
  for host in (f"evil.example:{port}", "127.0.0.1.evil.example", "[2001:db8::1]"):
    with pytest.raises(urllib.error.HTTPError, match="403"):
      _get(f"{url}state", host)
  everywhere = serve(_follower(run, pages), "0.0.0.0").replace("0.0.0.0", "127.0.0.1")
  _get(f"{everywhere}state", "cluster.example")


def test_a_taken_port_is_one_line(run, pages):
  with LiveServer(_follower(run, pages), port=0) as server:
    port = server.server_address[1]
    with pytest.raises(UserError, match=rf"cannot serve at 127\.0\.0\.1, port {port}: .*: choose another --port"):
      LiveServer(_follower(run, pages), port=port)


@pytest.mark.parametrize(
  ("flags", "said"),
  [
    (["--follow", "--output=y"], "--follow writes no file: leave --output out"),
    (["--port=1"], "--port and --host are of --follow: add it, or leave them out"),
    (["--follow", "--port=65536"], "'65536' is no port: a whole number from 0 to 65535"),
    (["--follow", "--host=a..b", "--port=0"], "cannot serve at a..b, port 0"),
    (["--follow", "--host=no.such.name.example", "--port=0"], "cannot serve at no.such.name.example, port 0"),
  ],
)
def test_flags_that_do_not_fit(run, flags, said, capsys):
  assert entry.main([str(run.path), *flags]) == 1
  error = capsys.readouterr().err
  assert said in error and error.count("\n") == 1


def _two_iterations(path):
  """A run with one curve, which is soon drawn."""
  with open_run(path, {}, path.name, {}) as directory:
    for i in (1, 2):
      _write(directory, f'{{"kind": "train", "iteration": {i}, "reward": [{i / 2}]}}\n')
  return directory


def test_the_followed_page_is_the_report(tmp_path):
  runs = [_two_iterations(tmp_path / name) for name in "ab"]
  faults = [vouching.record_faults(run) for run in runs]
  assert write_report(runs[0], faults=faults[0])[1].read_text() == entry.page_of(runs[:1], "iteration")
  assert write_comparison(runs, faults=faults)[1].read_text() == entry.page_of(runs, "iteration")


def test_advisories_are_on_the_pages(tmp_path):
  records = {name: load(fabricated.run(tmp_path / name)) for name in "ab"}
  (section,) = advisory_section(records)
  assert section.startswith("<h2>Advisories</h2>") and "None. Looked for: " in section
  reward = records["b"].series["train"]["reward"]
  nothing = reward._replace(values=0 * reward.values)
  bad = records["b"]._replace(series={"train": {"reward": nothing, "accuracy": nothing}})
  (section,) = advisory_section({"a": records["a"], "<b>": bad})
  assert "<li><b>&lt;b&gt;: Verifier never pays.</b> All scored responses of 8 iterations" in section
  (section,) = advisory_section({"b": bad})
  assert "<li><b>Verifier never pays.</b>" in section
  short = records["a"]._replace(series={})
  assert advisory_section({"a": short}) == []
  assert "Not of a, which has fewer than 5 iterations." in advisory_section({"a": short, "b": bad})[0]


DRIVER = """
(() => {
  const at = () => [...document.querySelectorAll("h2")].find(h => h.textContent === "Section 5");
  const fold = () => document.querySelector("details"), table = () => document.querySelector(".scroll");
  fold().open = true;
  table().scrollLeft = 70;
  scrollTo(0, at().getBoundingClientRect().top + scrollY - 10);
  const before = at().getBoundingClientRect().top, kept = document.querySelector("#same");
  const wait = setInterval(() => {
    if (document.title !== "page 2") return;
    clearInterval(wait);
    document.body.dataset.result = JSON.stringify({
      moved: Math.round(at().getBoundingClientRect().top - before), scrolled: scrollY > 1000, open: fold().open,
      left: table().scrollLeft, cell: table().querySelector("td").textContent,
      same: document.querySelector("#same") === kept, bar: document.getElementById("live").textContent,
      sections: document.querySelectorAll("h2").length,
    });
  }, 200);
})();
"""


def _grown(run):
  """A renderer whose second page has more above the reader and a new number in a wide table."""
  calls = []

  def render():
    calls.append(0)
    _write(run)
    more = len(calls) > 1
    wide = page.table([(f"column {i}" * 9, "name") for i in range(30)], [[len(calls)] * 30])
    filler = '<p style="height: 700px"></p>'
    body = ["<h1>run</h1>", '<p id="same">same</p>', wide, page.section("Config", "text", folded=True)]
    body += [page.section(f"Section {i}", filler * (3 if more and i < 5 else 1)) for i in range(12 if more else 10)]
    return page.page(f"page {min(len(calls), 2)}", body)

  return render


def _chromium(tmp_path, url, *flags):
  folder = tmp_path / "chromium"
  done = subprocess.run(
    [CHROMIUM, *FLAGS, f"--user-data-dir={folder}", *flags, url], capture_output=True, text=True, timeout=240
  )
  shutil.rmtree(folder, ignore_errors=True)
  return done.stdout


@in_a_browser
def test_a_reader_keeps_the_place(run, tmp_path, serve, monkeypatch):
  monkeypatch.setattr(live_page, "_SCRIPT", live_page._SCRIPT + DRIVER)
  follower = Follower([run], _grown(run), cost=lambda: 0.0)
  text = _chromium(tmp_path, serve(follower), "--dump-dom", "--window-size=1000,800")
  found = json.loads(re.search('data-result="([^"]*)"', text)[1].replace("&quot;", '"'))
  assert found.pop("bar").startswith("live, last written ")
  assert int(found.pop("cell")) >= 2
  assert found == {"moved": 0, "scrolled": True, "open": True, "left": 70, "same": True, "sections": 12}


@in_a_browser
@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_desktop_and_phone_light_and_dark(tmp_path, serve, width, dark):
  run = fabricated.run(tmp_path / "run")
  follower = Follower([run], lambda: entry.page_of([run], "iteration"))
  probe = (
    "<script nonce='n'>document.body.dataset.wide = document.documentElement.scrollWidth > innerWidth;"
    "document.body.dataset.page = getComputedStyle(document.body).backgroundColor;</script></body>"
  )
  file = tmp_path / "page.html"
  file.write_text(live(follower.current().document, "v", "n").replace("</body>", probe))
  scheme = f"--blink-settings=preferredColorScheme={int(not dark)}"
  text = _chromium(tmp_path, file.as_uri(), "--dump-dom", f"--window-size={width},900", scheme)
  assert 'data-wide="false"' in text, "the page scrolls sideways"
  assert f'data-page="rgb({"20, 23, 27" if dark else "255, 255, 255"})"' in text
  picture = tmp_path / "picture.png"
  _chromium(tmp_path, serve(follower), f"--screenshot={picture}", f"--window-size={width},900", scheme)
  assert struct.unpack(">II", picture.read_bytes()[16:24]) == (width, 900)
