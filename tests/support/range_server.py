#!/usr/bin/env python3
"""A web server for tests of downloads: serves the files of a folder on 127.0.0.1, with ranges and ETags, and
misbehaves on request.

    range_server.py FOLDER        prints the port, then one line a request: PATH RANGE STATUS

A file FOLDER/behave holds words, read at every request:
    cut=N      close the connection after N bytes of a body
    cuts=N     ... but only for the first N bodies (default: always)
    busy=N     answer 503 to the first N requests
    no-tags    send neither ETag nor Last-Modified
    no-ranges  always send the whole file
It ends when its standard input is closed."""
import hashlib
import http.server
import os
import pathlib
import sys
import threading
import urllib.parse

folder = pathlib.Path(sys.argv[1])
counts = {"cuts": 0, "busy": 0}


def behaviour():
    path = folder / "behave"
    words = path.read_text().split() if path.exists() else []
    return {w.split("=")[0]: int((w + "=1").split("=")[1]) for w in words}


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def note(self, status):
        print(self.path, self.headers.get("Range", "-"), status, flush=True)

    def refuse(self, status, headers=()):
        self.note(status)
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def first_byte(self, how, tag, size):
        """Where the answer starts: None for a range behind the end."""
        wanted = self.headers.get("Range")
        if not wanted or "no-ranges" in how or self.headers.get("If-Range", tag) != tag:
            return 0
        first = int(wanted.removeprefix("bytes=").split("-")[0])
        return first if first < size else None

    def send_body(self, how, body):
        limit = how.get("cut", len(body))
        if counts["cuts"] >= how.get("cuts", 1 << 30):
            limit = len(body)
        if limit < len(body):
            counts["cuts"] += 1
        self.wfile.write(body[:limit])
        self.close_connection = True

    def do_GET(self):
        how = behaviour()
        path = folder / urllib.parse.unquote(self.path).lstrip("/")
        if path.is_dir():
            path = path / "index.html"
        if counts["busy"] < how.get("busy", 0):
            counts["busy"] += 1
            return self.refuse(503)
        if not path.is_file():
            return self.refuse(404)
        body = path.read_bytes()
        tag = '"' + hashlib.sha1(body).hexdigest() + '"'
        first = self.first_byte(how, tag, len(body))
        if first is None:
            return self.refuse(416, [("Content-Range", f"bytes */{len(body)}")])
        self.note(206 if first else 200)
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        if "no-tags" not in how:
            self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(body) - first))
        self.end_headers()
        self.send_body(how, body[first:])


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
os._exit(0)
