"""Flask, with a small JSON document."""

from flask import Flask, jsonify

application = Flask(__name__)
application.debug = False


@application.route("/json")
def document():
    return jsonify(id=7, name="Jane Roe", groups=["staff", "editors"], active=True, balance=12.5)
