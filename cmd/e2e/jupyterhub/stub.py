"""A user's server without Jupyter: small, so that hundreds run at once.

It listens where the Hub wants it to, and serves below its base path:
  whoami/...   whose server this is, and the path it was asked for
  status/NNN   an answer with that status, after the body was read
  hang         nothing, after the body was read, until the client leaves
  stream       a byte every 100 ms, until the client leaves
  ws/echo      a WebSocket that sends back what it is sent
  ws/push      a WebSocket that sends "tick" every 100 ms, and reads nothing
  ws/quiet     a WebSocket on which nothing comes
Anything else is 200. It ends with any signal.
"""

import base64
import os
import signal
import socket
import threading
import time

url = os.environ["JUPYTERHUB_SERVICE_URL"]
user = os.environ["JUPYTERHUB_USER"]
address, _, base = url.removeprefix("http://").partition("/")
base = "/" + base


def serve(conn):
    stream = conn.makefile("rb")
    with conn, stream:
        try:
            while answer(conn, stream):
                pass
        except OSError:
            pass  # the client has left


def answer(conn, stream):
    """Answers one request; false when the connection is over."""
    request = stream.readline().decode("latin-1").split()
    if len(request) != 3:
        return False
    header = {}
    while line := stream.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        header[name.lower()] = value.strip()
    stream.read(int(header.get("content-length", "0")))
    path = request[1].partition("?")[0].removeprefix(base)
    if path.startswith("ws/"):
        upgrade(conn, stream, path, header["sec-websocket-key"])
        return False
    if path == "hang":
        stream.read(1)
        return False
    if path == "stream":
        conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            conn.sendall(b"1\r\n.\r\n")
            time.sleep(0.1)
    status = path.removeprefix("status/") if path.startswith("status/") else "200"
    text = f"{user} {request[1]}\n".encode() if status not in ("204", "304") else b""
    length = f"Content-Length: {len(text)}\r\n" if text else ""
    conn.sendall(f"HTTP/1.1 {status} Stub\r\n{length}Location: {base}\r\n\r\n".encode() + text)
    return True


def upgrade(conn, stream, path, key):
    import hashlib  # takes time and memory that most servers here need not spend

    accept = base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    conn.sendall(b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    while path == "ws/push":
        conn.sendall(b"\x81\x04tick")
        time.sleep(0.1)
    while head := stream.read(2):
        size = head[1] & 0x7F  # what tests send is short
        mask, data = stream.read(4), stream.read(size)
        plain = bytes(b ^ mask[i % 4] for i, b in enumerate(data))
        if path == "ws/echo":
            conn.sendall(bytes([head[0], size]) + plain)


signal.signal(signal.SIGINT, signal.SIG_DFL)  # the Hub's way to ask first
host, _, port = address.partition(":")
listener = socket.create_server((host, int(port)), backlog=128)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
