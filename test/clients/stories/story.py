"""One short story told by the unmodified Python client; the kubeconfig is the daemon's own. Prints one JSON object."""

import json
import socket
import sys
import threading

from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import portforward, stream

config.load_kube_config(context="prod")
core = client.CoreV1Api()
told = {}

told["pods"] = sorted(pod.metadata.name.split("-")[0] for pod in core.list_namespaced_pod("default").items)
try:
    core.read_namespaced_pod("nonesuch", "default")
except ApiException as error:
    told["missing"] = [error.status, json.loads(error.body)["message"]]

NAME = "told-by-python"
core.create_namespaced_config_map("default", {"metadata": {"name": NAME}, "data": {"n": "0"}})


def count():
    for number in range(1, 31):
        core.patch_namespaced_config_map(NAME, "default", {"data": {"n": str(number)}})
        threading.Event().wait(0.05)


writer = threading.Thread(target=count)
numbers = []
events = watch.Watch()
for event in events.stream(core.list_namespaced_config_map, "default", field_selector=f"metadata.name={NAME}"):
    numbers.append(int(event["object"].data["n"]))
    if numbers[-1] == 0:
        writer.start()
    if numbers[-1] == 30:
        events.stop()
writer.join()
told["watched"] = numbers
core.delete_namespaced_config_map(NAME, "default")

lines = []
for line in watch.Watch().stream(core.read_namespaced_pod_log, "two", "default", container="main", tail_lines=1):
    lines.append(int(line.split(" ")[0]))
    if len(lines) == 4:
        break
told["log"] = [number - lines[0] for number in lines]

command = ["sh", "-c", "echo out; echo err >&2; exit 3"]
run = stream(
    core.connect_get_namespaced_pod_exec, "box", "default", command=command,
    stderr=True, stdin=False, stdout=True, tty=False, _preload_content=False,
)
run.run_forever(timeout=20)
told["exec"] = [run.read_stdout(), run.read_stderr(), run.returncode]

run = stream(
    core.connect_get_namespaced_pod_exec, "box", "default", command=["head", "-n", "1"],
    stderr=True, stdin=True, stdout=True, tty=False, _preload_content=False,
)
run.write_stdin("typed\n")
run.run_forever(timeout=20)
told["stdin"] = [run.read_stdout(), run.returncode]
told["simple"] = stream(
    core.connect_get_namespaced_pod_exec, "box", "default", command=["echo", "simple"],
    stderr=True, stdin=False, stdout=True, tty=False,
)

if "--port-forward" in sys.argv:

    def fetch(connection, path):
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while True:
            chunk = connection.recv(65536)
            if not chunk:
                return answer
            answer += chunk

    tunnel = portforward(core.connect_get_namespaced_pod_portforward, "two", "default", ports="8080")
    connection = tunnel.socket(8080)
    connection.setblocking(True)
    told["forwarded"] = fetch(connection, "/").decode().splitlines()[0]
    tunnel = portforward(core.connect_get_namespaced_pod_portforward, "two", "default", ports="8080")
    connection = tunnel.socket(8080)
    connection.setblocking(True)
    head, _, body = fetch(connection, "/bytes/3000000").partition(b"\r\n\r\n")
    told["large"] = len(body)
    tunnel = portforward(core.connect_get_namespaced_pod_portforward, "two", "default", ports="9")
    connection = tunnel.socket(9)
    connection.setblocking(True)
    try:
        connection.recv(1)
    except socket.error:
        pass
    told["refused"] = "refused" in (tunnel.error(9) or "")

print(json.dumps(told))
