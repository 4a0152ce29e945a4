import os
import time

from flask import Flask, Response, jsonify, make_response, request

application = Flask(__name__)


@application.get("/")
def index():
    group = request.environ["mod_wsgi.process_group"]
    where = f"process group {group}" if group else "nginx's worker"
    thread = request.environ["mod_wsgi.thread_id"]
    return f"<p>Flask, in {where}: process {os.getpid()}, thread {thread}.</p>\n"


@application.post("/echo")
def echo():
    return jsonify(got=request.get_json(), path=request.path, root=request.script_root)


@application.get("/stream")
def stream():
    count, pause = int(request.args.get("n", 5)), float(request.args.get("pause", 0.2))

    def lines():
        for number in range(count):
            yield f"line {number}\n"
            time.sleep(pause)

    return Response(lines(), mimetype="text/plain")


@application.get("/visits")
def visits():
    count = int(request.cookies.get("visits", 0)) + 1
    answer = make_response(f"visit {count}\n")
    answer.set_cookie("visits", str(count))
    answer.set_cookie("last", "now")
    return answer
