#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""etc/vip.d/rest-cloud against an API of our own: vip_rest.py SCRIPT. Exit 77: no curl."""
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading

ADDRESS = "192.0.2.100"


class Cloud(http.server.BaseHTTPRequestHandler):
    machine, requests, broken = None, [], False

    def reply(self, code, body):
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        Cloud.requests.append((self.command, self.path, self.headers.get("Authorization")))
        if Cloud.broken:
            return self.reply(503, {"error": "out of order"})
        if self.command == "PUT":
            wish = json.loads(body)
            if wish.get("if", Cloud.machine) != Cloud.machine:
                return self.reply(412, {"error": "it has moved"})
            Cloud.machine = wish["machine"]
        return self.reply(200, {"address": ADDRESS, "machine": Cloud.machine})

    do_GET = do_PUT = handle_request

    def log_message(self, *_):
        pass


def main(script):
    if shutil.which("curl") is None:
        print("no curl")
        return 77
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cloud)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as where:
        # ip(8) of our own: what the script does to an interface is not for this machine's.
        with open(os.path.join(where, "ip"), "w", encoding="ascii") as f:
            f.write(f'#!/bin/sh\necho "$*" >>{where}/ip.log\n')
        os.chmod(f.name, 0o755)
        conf = os.path.join(where, "conf")
        with open(conf, "w", encoding="ascii") as f:
            f.write(f"api=http://127.0.0.1:{server.server_port}/v1\ntoken=secret\nmachine=i-a\n")

        def run(*words):
            return subprocess.run(
                [script, *words], check=False, timeout=60,
                env={"PATH": f"{where}:{os.environ['PATH']}", "VIP_CLOUD_CONF": conf,
                     "no_proxy": "*"}).returncode

        def ip_log():
            with open(os.path.join(where, "ip.log"), encoding="ascii") as f:
                return f.read().splitlines()

        call = (ADDRESS, "eth7")
        assert run("check", *call) == 1, "nobody has it"
        assert run("acquire", *call) == 0 and Cloud.machine == "i-a"
        assert ip_log()[-1] == f"addr replace {ADDRESS}/32 dev eth7", ip_log()
        assert run("acquire", *call) == 0, "again"
        assert run("check", *call) == 0
        assert run("release", *call) == 0 and Cloud.machine is None
        assert ip_log()[-1] == f"addr del {ADDRESS}/32 dev eth7", ip_log()
        Cloud.machine = "i-b"
        assert run("check", *call) == 1, "it is elsewhere"
        assert run("release", *call) == 0 and Cloud.machine == "i-b", "not ours to release"
        Cloud.broken = True
        assert run("check", *call) not in (0, 1), "cannot tell"
        assert run("acquire", *call) != 0
        assert run("release", *call) != 0
        assert run("conquer", *call) not in (0, 1)
        assert run("check", ADDRESS) not in (0, 1), "no interface"
        assert all(r[1:] == (f"/v1/addresses/{ADDRESS}", "Bearer secret") for r in Cloud.requests)
    print("rest-cloud: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main(os.path.abspath(sys.argv[1])))
