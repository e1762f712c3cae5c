"""Tells which raw paths reach a handler of Flask and Starlette.

stdin: {"templates": ["/users/{id}/email", ...], "paths": ["/...", ...]}
stdout: {"router": [bool, ...], ...}, one for each path
"""
import asyncio
import json
import re
import sys
from urllib.parse import unquote, unquote_to_bytes

from flask import Flask
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route


def flask_app(templates):
    app = Flask("routers")
    app.url_map.strict_slashes = False  # more paths reach a handler
    for i, t in enumerate(templates):
        rule = re.sub(r"\{(\w+)\}", r"<\1>", t)
        app.add_url_rule(rule, endpoint=str(i), view_func=lambda **_: "handled", methods=["POST"])
    return app


def over_wsgi(app, path):
    """What gunicorn and the other WSGI servers make of a request line."""
    reached = []
    environ = {
        "REQUEST_METHOD": "POST", "SCRIPT_NAME": "", "QUERY_STRING": "", "SERVER_NAME": "app.example", "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": "http", "wsgi.input": None, "wsgi.errors": sys.stderr,
        "REQUEST_URI": path, "RAW_URI": path, "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
    }
    body = b"".join(app.wsgi_app(environ, lambda status, headers, exc=None: reached.append(status)))
    return reached[0].startswith("200") and body == b"handled"


def starlette_app(templates):
    async def handle(request):
        return PlainTextResponse("handled")

    return Starlette(routes=[Route(t, handle, methods=["POST"]) for t in templates])


async def over_asgi(app, path):
    """What uvicorn makes of a request line."""
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": unquote(path), "raw_path": path.encode(), "root_path": "", "query_string": b"", "headers": [],
        "server": ("app.example", 80), "client": ("127.0.0.1", 1),
    }
    status = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        if message["type"] == "http.response.start":
            status.append(message["status"])

    await app(scope, receive, send)
    return status == [200]


work = json.load(sys.stdin)
wsgi = flask_app(work["templates"])
answers = {"Flask": [over_wsgi(wsgi, p) for p in work["paths"]]}


async def ask_starlette():
    asgi = starlette_app(work["templates"])
    return [await over_asgi(asgi, p) for p in work["paths"]]


answers["Starlette"] = asyncio.run(ask_starlette())
json.dump(answers, sys.stdout)
