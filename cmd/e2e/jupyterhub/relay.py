"""What stands between a Hub and the proxy's API, and fails as it is told."""

import http.server
import threading
import urllib.parse

import requests

from processes import PATIENCE, free_address


class Relay:
    """Sends calls on, but for those of routes with a fault, by their key.

    A fault is a status, "silent" for no answer ever, or "drop" for a connection
    that is closed instead.
    """

    def __init__(self, api):
        self.api, self.address = api, free_address()
        self.faults, self.failed, self.over = {}, {}, threading.Event()
        relay = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do(self):
                relay._answer(self)

            do_GET = do_POST = do_DELETE = do

            def log_message(self, *_):
                pass

        host, port = self.address.split(":")
        self.server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def _answer(self, call):
        key = urllib.parse.unquote(call.path.removeprefix("/api/routes"))
        body = call.rfile.read(int(call.headers.get("Content-Length") or 0))
        fault = self.faults.get((call.command, key))
        if fault is not None:
            self.failed[key] = self.failed.get(key, 0) + 1
        call.close_connection = True
        if fault == "drop":
            return
        if fault == "silent":
            self.over.wait()
            return
        if fault:
            status, said = fault, b""
        else:
            r = requests.request(call.command, f"http://{self.api}{call.path}", data=body, headers={"Authorization": call.headers["Authorization"]}, timeout=PATIENCE)
            status, said = r.status_code, r.content
        call.send_response(status)
        call.send_header("Content-Length", str(len(said)))
        call.send_header("Connection", "close")
        call.end_headers()
        call.wfile.write(said)
