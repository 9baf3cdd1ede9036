"""Workers are confined, or it is said why not."""

from __future__ import annotations

import sys

import pytest

from rl_jax.tasks.verifiers import confinement
from rl_jax.tasks.verifiers.errors import CannotVerify
from rl_jax.tasks.verifiers.isolation import namespaces
from rl_jax.tasks.verifiers.pool import Pool

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="namespaces of Linux")


@pytest.fixture
def unchecked():
  confinement.check.cache_clear()
  yield
  confinement.check.cache_clear()


def test_this_machine_confines_workers(unchecked):
  confinement.check()


def test_a_proof_that_fails_is_told(unchecked, monkeypatch):
  monkeypatch.setattr(confinement, "_PROBE", confinement._PROBE.replace("os.getuid() == 0", "True"))
  with pytest.raises(CannotVerify, match="no proof of a user of its own, or set task.isolation=none"):
    confinement.check()


def test_another_system_is_told(unchecked, monkeypatch):
  monkeypatch.setattr(sys, "platform", "darwin")
  with pytest.raises(CannotVerify, match="it needs Linux, this is darwin, or set task.isolation=none"):
    confinement.check()


def test_a_view_that_cannot_be_made_ends_in_a_line(monkeypatch):
  monkeypatch.setattr(confinement, "_SYSTEM", ())
  monkeypatch.setattr(confinement, "_shown", lambda: ["/etc/passwd"])
  scorer = Pool("rl_jax.tasks.scoring:equal_numbers", {"answer": "number"}, workers=1, seconds=1.0)
  with pytest.raises(CannotVerify, match="verifiers cannot be isolated here: .*user namespaces"):
    scorer([("1", {"answer": "1"})])
  scorer.close()


def test_folders_inside_others_are_shown_once():
  assert namespaces.outermost(["/usr/lib", "/usr", "/usr/libexec", "/no/folder", "/usr"]) == ("/usr",)
