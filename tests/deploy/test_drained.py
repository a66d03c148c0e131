"""The program by which an instance whose worker has drained ends the wait of its lifecycle hook, with an AWS that
only writes down what it is asked."""

import os
import subprocess
import tempfile
import textwrap
from pathlib import Path

TEMPLATE = Path(__file__).parents[2] / "infra" / "workers-ec2.yaml"

CURL = """#!/bin/bash
case "$*" in
  *api/token*) [ -n "$NO_METADATA" ] && exit 7; echo a-token ;;
  *"token: a-token"*target-lifecycle-state*) echo -n "$TARGET" ;;
  *"token: a-token"*instance-id*) echo -n i-0123 ;;
  *) exit 22 ;;
esac
"""
AWS = """#!/bin/bash
echo "$*" >>"$ASKED"
[ "$(wc -l <"$ASKED")" -gt "$REFUSALS" ]
"""


def drained(folder, **variables):
    """What AWS is asked when the unit has stopped."""
    body = TEMPLATE.read_text().partition("<<'DRAINED'\n")[2].partition("              DRAINED\n")[0]
    script = textwrap.dedent(body)
    for name, value in (("AWS::Region", "eu-west-1"), ("Prefix", "sl"), ("PoolName", "big")):
        script = script.replace("${%s}" % name, value)
    assert script.startswith("#!/bin/bash\n") and "${" not in script, script
    asked = folder / "asked"
    asked.write_text("")
    for name, text in (("curl", CURL), ("aws", AWS), ("sleep", "#!/bin/bash\n"), ("drained", script)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "ASKED": str(asked), "REFUSALS": "0", "TARGET": "Terminated"}
    environment |= {"SERVICE_RESULT": "success", **variables}
    subprocess.run([str(folder / "drained")], env=environment, timeout=30, check=False)
    return asked.read_text().splitlines()


def test_a_drained_instance_ends_its_hooks_wait_and_no_other_does(bench):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (once,) = drained(folder)
        assert once.startswith("autoscaling complete-lifecycle-action --region eu-west-1 "), once
        for words in ("--lifecycle-action-result CONTINUE", "--lifecycle-hook-name drain", "--instance-id i-0123"):
            assert words in once, once
        assert "--auto-scaling-group-name sl-big-workers" in once, once
        assert len(drained(folder, REFUSALS="2")) == 3, "the hook may begin to wait a little later"
        assert len(drained(folder, REFUSALS="9")) == 4, "and it ends by itself"
        for instead in ({"TARGET": "InService"}, {"TARGET": ""}, {"SERVICE_RESULT": "exit-code"}, {"NO_METADATA": "1"}):
            assert drained(folder, **instead) == [], instead
