"""A client's end of a WebSocket (RFC 6455), as much as tests need."""

import os
import socket


class WebSocket:
    def __init__(self, address, path, header=None, patience=20):
        host, _, port = address.partition(":")
        self.conn = socket.create_connection((host, int(port)), timeout=patience)
        self.stream = self.conn.makefile("rb")
        lines = [
            f"GET {path} HTTP/1.1", f"Host: {address}", f"Origin: http://{address}", "Connection: Upgrade", "Upgrade: websocket",
            "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *(f"{k}: {v}" for k, v in (header or {}).items()),
        ]
        self.conn.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        status = self.stream.readline().decode().split(" ", 2)[1]
        while self.stream.readline().strip():
            pass
        if status != "101":
            raise AssertionError(f"a WebSocket at {address}{path} was answered with {status}")

    def send(self, text):
        self._frame(0x81, text.encode())

    def _frame(self, kind, data):
        mask = os.urandom(4)
        size = bytes([0x80 | len(data)]) if len(data) < 126 else bytes([0x80 | 126]) + len(data).to_bytes(2, "big")
        self.conn.sendall(bytes([kind]) + size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))

    def receive(self):
        """The next message; pings are answered and passed over."""
        while True:
            head = self.stream.read(2)
            if len(head) < 2:
                raise AssertionError("the other end has closed the WebSocket")
            size = head[1] & 0x7F
            if size > 125:
                size = int.from_bytes(self.stream.read(2 if size == 126 else 8), "big")
            data = self.stream.read(size)
            kind = head[0] & 0x0F
            if kind == 8:
                raise AssertionError(f"the other end closes the WebSocket: {data!r}")
            if kind == 9:
                self._frame(0x8A, data)
            elif kind in (1, 2):
                return data.decode(errors="replace")

    def echoes(self, text):
        self.send(text)
        return self.receive() == text

    def close(self):
        self.stream.close()
        self.conn.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
