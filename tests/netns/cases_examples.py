# SPDX-License-Identifier: MIT
"""The schedulers of etc/examples, as Debian ships them, under supd on two hosts; skipped where the
package is not installed."""
import glob
import os
import re
import shutil
import subprocess

from case import case
from lab import ADDRESS, HERE, VIP, Lab, Skip, alive, stays, wait_until

EXAMPLES = os.path.join(HERE, "../../etc/examples")
CATALINA = "/usr/share/tomcat10/bin/catalina.sh"

SERVER_XML = """<Server port="-1" shutdown="SHUTDOWN"><Service name="Catalina">
<Connector address="{vip}" port="8080" protocol="HTTP/1.1"/>
<Engine name="Catalina" defaultHost="localhost"><Host name="localhost" appBase="webapps"/></Engine>
</Service></Server>
"""

PAYROLL = """
import os, time
from celery import Celery
here = os.path.dirname(os.path.abspath(__file__))
app = Celery("payroll", broker="filesystem://")
app.conf.broker_transport_options = {{
    "data_folder_in": here + "/queue", "data_folder_out": here + "/queue",
    "control_folder": here + "/control"}}
app.conf.task_ignore_result = True
app.conf.beat_schedule = {{"pay": {{"task": "payroll.pay", "schedule": 1.0}}}}

@app.task(name="payroll.pay")
def pay():
    with open(here + "/paid", "a") as f:
        f.write("%.3f %s\\n" % (time.time(), os.environ["SUPD_NODE"]))
"""


def write_example(lab, name, changes):
    """The example's text with the lab's addresses, files and users in it."""
    with open(os.path.join(EXAMPLES, name), encoding="utf-8") as f:
        text = f.read()
    changes = {"cluster = sched": f"cluster = {lab.id}\nuser = nobody\nsocket_group = nogroup\n"
                                  "log_target = stderr",
               "/etc/supd/key": lab.key, "192.0.2.11": ADDRESS["a"], "192.0.2.12": ADDRESS["b"],
               "virtual_ipaddress = 192.0.2.100": f"virtual_ipaddress = {VIP}",
               "[service:scheduler]": "[service:sched]", "service = scheduler": "service = sched",
               **changes}
    for old, new in changes.items():
        assert old in text, f"{name} has no {old!r}"
        text = re.sub(rf"{re.escape(old)}(?![0-9])", lambda _, new=new: new, text)
    with open(lab.config, "w", encoding="utf-8") as f:
        f.write(text)


def settle(lab):
    lab.start_all()
    wait_until(lambda: lab.a.state() == "active", 15, "a active")
    lab.wait_standby("b")
    wait_until(lab.a.target_answered, 10, "the gateway answered")
    wait_until(lab.b.target_answered, 10, "the gateway answered b")


def processes(word):
    """Pids of what has `word` in its command line."""
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        if word.encode() in words:
            found.append(int(path.split("/")[2]))
    return found


@case
def example_tomcat_moves_as_one(bin_dir):
    java = glob.glob("/usr/lib/jvm/java-*/bin/java")
    if not os.path.exists(CATALINA) or not java:
        raise Skip("tomcat10-common and a JVM are not installed")
    with Lab(bin_dir) as lab:
        base = os.path.join(lab.dir, "tomcat")
        for name in ("conf", "logs", "temp", "webapps", "work"):
            os.makedirs(os.path.join(base, name))
        subprocess.run(["chown", "-R", "nobody", base], check=True)
        with open(os.path.join(base, "conf/server.xml"), "w", encoding="utf-8") as f:
            f.write(SERVER_XML.format(vip=VIP))
        write_example(lab, "tomcat.ini", {
            "user = tomcat": "user = nobody", "/var/lib/tomcat10": base,
            "CATALINA_TMPDIR=/tmp": f"CATALINA_TMPDIR={base}/temp",
            "/usr/lib/jvm/default-java": os.path.dirname(os.path.dirname(java[0]))})
        settle(lab)

        def jvm(node):
            """The JVM itself is the program's main process, and the only one of its base."""
            mine = processes(f"-Dcatalina.base={base}")
            return mine == [node.program("tomcat")["pid"]] and mine[0]

        def serves():
            done = subprocess.run(
                ["nsenter", f"--net={lab.ns_path('cl')}", "python3", "-c",
                 "import http.client,sys; c=http.client.HTTPConnection(sys.argv[1],8080,timeout=1);"
                 "c.request('GET','/'); sys.exit(c.getresponse().status!=404)", VIP],
                capture_output=True, check=False)
            return done.returncode == 0
        first = wait_until(lambda: jvm(lab.a), 15, "a JVM on a")
        wait_until(serves, 30, "Tomcat answers at the virtual address", 0.1)
        os.kill(first, 9)
        second = wait_until(lambda: jvm(lab.a) not in (False, first) and jvm(lab.a), 15,
                            "another JVM on a")
        wait_until(serves, 30, "Tomcat answers again", 0.1)
        lab.a.supctl_ok("failover")
        assert not alive(second), "the JVM of a outlived the failover"
        wait_until(lambda: jvm(lab.b), 15, "a JVM on b")
        wait_until(serves, 30, "Tomcat answers from b", 0.1)
        assert lab.a.program("tomcat")["last_exit"]["code"] == 143, "not a clean stop"


@case
def example_celery_beat_runs_once_and_workers_everywhere(bin_dir):
    celery = shutil.which("celery")
    if celery is None:
        raise Skip("celery is not installed")
    with Lab(bin_dir) as lab:
        home = os.path.join(lab.dir, "payroll")
        for name in ("queue", "control", "shared"):
            os.makedirs(os.path.join(home, name))
        with open(os.path.join(home, "payroll.py"), "w", encoding="utf-8") as f:
            f.write(PAYROLL.format())
        subprocess.run(["chown", "-R", "nobody", home], check=True)
        write_example(lab, "celery.ini", {
            "user = celery": "user = nobody", "/srv/payroll": home, "/srv/shared": f"{home}/shared",
            # Here both hosts have one host name.
            "/usr/bin/celery -A payroll worker --concurrency 2 --hostname payroll@%h":
                f"/bin/sh -c 'exec {celery} -A payroll worker --concurrency 2"
                " --hostname payroll@$SUPD_NODE'",
            "/usr/bin/celery": celery})
        settle(lab)

        def beat(node):
            mine = processes(f"{home}/shared/beat-schedule")
            return mine == [node.program("beat")["pid"]] and mine[0]

        def paid():
            try:
                with open(os.path.join(home, "paid"), encoding="ascii") as f:
                    return len(f.readlines())
            except FileNotFoundError:
                return 0
        first = wait_until(lambda: beat(lab.a), 15, "beat on a")
        for node in (lab.a, lab.b):
            assert node.program("worker")["state"] == "running", f"no worker on {node.name}"
        wait_until(lambda: paid() >= 2, 30, "jobs carried out", 0.1)
        lab.a.supctl_ok("failover")
        assert not alive(first), "beat of a outlived the failover"
        wait_until(lambda: beat(lab.b), 15, "beat on b")
        done = paid()
        wait_until(lambda: paid() >= done + 2, 30, "jobs carried out after the failover", 0.1)
        stays(lambda: beat(lab.b), 1, "one beat")
        assert lab.a.program("worker")["restarts"]["total"] == 0
