#!/usr/bin/env python3
"""A server of OpenAI's API that answers at a known pace, or wrongly: the model's name says how. Prints its port.

    steady   a first token after 100 ms, nine more 20 ms apart, each event in two pieces; usage
    plain    the same without usage, and with no cached tokens told
    busy     429
    cut      hangs up behind three tokens
    broken   an event that tells an error behind two
    empty    a finish_reason, and no text

It ends when its standard input is closed."""
import http.server
import json
import sys
import threading
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def refuse(self, status, message):
        body = json.dumps({"error": {"message": message}}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def event(self, text):
        """One event as one HTTP chunk a half, with CR LF and a ping in front."""
        data = (": ping\r\n\r\ndata: " + text + "\r\n\r\n").encode()
        for half in (data[: len(data) // 2], data[len(data) // 2:]):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(half), half))
            self.wfile.flush()

    def token(self, i):
        time.sleep(0.1 if i == 0 else 0.02)
        self.event(json.dumps({"choices": [{"index": 0, "delta": {"content": "caf\u00e9 "}, "finish_reason": None}]},
                              ensure_ascii=False))

    def do_GET(self):
        self.refuse(404, "no such page")

    def do_POST(self):
        model = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["model"]
        if model == "busy":
            return self.refuse(429, "the queue is full")
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for i in range({"cut": 3, "broken": 2, "empty": 0}.get(model, 10)):
            self.token(i)
        if model == "cut":
            self.close_connection = True
            return None
        if model == "broken":
            self.event('{"error": {"message": "out of blocks"}}')
        self.event('{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}')
        if model == "steady":
            self.event('{"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 10}}')
        self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024  # many clients connect at once


server = Server(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
