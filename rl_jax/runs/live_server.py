"""Server of a live page, built on the standard library: `/` is the page, `/state` its state as JSON.

It reads runs and changes nothing. On a loopback address it answers only requests whose Host is one, so that a foreign
web page cannot read it through a name that resolves to this machine (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import json
import secrets
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rl_jax.errors import UserError
from rl_jax.runs.following import Follower
from rl_jax.runs.live_page import live

HOST, PORT = "127.0.0.1", 6060
"""Defaults: only this machine."""
_POLICY = (
  "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; connect-src 'self'; base-uri 'none'; "
  "form-action 'none'; frame-ancestors 'none'"
)


class LiveServer(ThreadingHTTPServer):
  """Server of the page of a `Follower`; `serve_forever` runs it.

  Args:
    host: address to bind; other machines are answered too unless it is a loopback address.
    port: port to bind; 0: any free port.

  Raises:
    UserError: the port is taken, or the address does not belong to this machine.
  """

  daemon_threads = True

  def __init__(self, follower: Follower, host: str = HOST, port: int = PORT) -> None:
    self.follower, self.host = follower, host
    self.is_local = is_loopback(host)
    self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
      super().__init__((host, port), _Handler)
    except (OSError, UnicodeError) as error:  # the latter of a name that cannot be written in punycode
      reason = getattr(error, "strerror", None) or str(error)
      raise UserError(f"cannot serve at {host}, port {port}: {reason}: choose another --port, or 0 for any") from error

  @property
  def url(self) -> str:
    """Address of the page."""
    host = f"[{self.host}]" if ":" in self.host else self.host
    return f"http://{host}:{self.server_address[1]}/"

  def allows(self, host: str) -> bool:
    """Return whether a request with this Host header is answered."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return not self.is_local or is_loopback(name.strip("[]"))

  def handle_error(self, request: Any, client_address: Any) -> None:
    """Ignore readers that disconnect before they get their answer."""
    if not isinstance(sys.exc_info()[1], ConnectionError):
      super().handle_error(request, client_address)


def is_loopback(host: str) -> bool:
  """Return whether a name or address can be reached only from this machine."""
  try:
    return ipaddress.ip_address(host).is_loopback
  except ValueError:
    return host == "localhost"


class _Handler(BaseHTTPRequestHandler):
  server: LiveServer

  def do_GET(self) -> None:
    """Answer with the page or its state."""
    path = self.path.partition("?")[0]
    if not self.server.allows(self.headers.get("Host", "")):
      self._answer(403, "text/plain", "this server is for its own machine: open it by localhost\n")
    elif path == "/":
      rendered, nonce = self.server.follower.current(), secrets.token_urlsafe(16)
      document = live(rendered.document, rendered.version, nonce)
      self._answer(200, "text/html", document, {"Content-Security-Policy": _POLICY.format(nonce=nonce)})
    elif path == "/state":
      self._answer(200, "application/json", json.dumps(self.server.follower.state(), allow_nan=False))
    else:
      self._answer(404, "text/plain", "no such page\n")

  def _answer(self, status: int, kind: str, text: str, headers: dict[str, str] = {}) -> None:  # noqa: B006
    body = text.encode()
    fixed = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
    self.send_response(status)
    for name, value in {
      "Content-Type": f"{kind}; charset=utf-8",
      "Content-Length": str(len(body)),
      **fixed,
      **headers,
    }.items():
      self.send_header(name, value)
    self.end_headers()
    self.wfile.write(body)

  def log_message(self, format: str, *arguments: Any) -> None:
    """Print nothing: a page polls every few seconds."""
