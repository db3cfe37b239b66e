"""A callable plugin that needs only Python's standard library."""
import json
import sys


def greet(say, name):
    return {"greeting": "hello " + name}


def count(say, n):
    for i in range(1, n + 1):
        say(i)
    return n


commands = {"greet": greet, "count": count}
print("ready", file=sys.stderr)  # the plugin's log

for line in sys.stdin:
    request = json.loads(line)
    if request.get("cancel"):
        continue  # what is asked for here is over soon

    def answer(**what):
        print(json.dumps({"id": request["id"], **what}), flush=True)

    try:
        run = commands[request["command"]]
        answer(result=run(lambda text: answer(output=text), **request["params"]))
    except Exception as e:
        answer(error=str(e))
