"""The user data of an instance, run with programs that do nothing: one that gets no worker ends itself."""

import os
import re
import subprocess
import tempfile
from pathlib import Path

from deploying.template import Template

LOG = '#!/bin/bash\necho "$(basename "$0") $*" >>"$ASKED"\n'
PROGRAMS = {
    "curl": "#!/bin/bash\necho i-0123\n",
    "aws": LOG + '[ "$(grep -c "^aws " "$ASKED")" -gt "$REFUSALS" ]\n',
    "tar": LOG + 'exit "$TAR"\n',
    "systemctl": LOG + 'exit "$SYSTEMCTL"\n',
    # The image's own, which the parameter SetupScript names.
    "given": LOG + 'exit "$SETUP"\n',
    **{name: LOG for name in ("shutdown", "sleep", "useradd", "install")},
}


def boot(folder, **variables):
    """What the user data asked for, and what it wrote for the worker."""
    data = Template("workers-ec2").content["Resources"]["LaunchTemplate"]["Properties"]["LaunchTemplateData"]
    script = re.sub(r"\$\{[\w:]+\}", "given", data["UserData"]["Fn::Base64"]["Fn::Sub"][0])
    # Below the folder, whatever the machine has.
    script = re.sub(r"/(etc|opt|usr/local/bin)/", rf"{folder}/\1/", script)
    for made in ("bin", "opt/stageline", "etc/stageline", "etc/systemd/system/stageline-worker.service.d"):
        (folder / made).mkdir(parents=True, exist_ok=True)
    for name, text in PROGRAMS.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    asked = folder / "asked"
    asked.write_text("")
    environment = {"PATH": f"{folder}/bin:{os.environ['PATH']}", "ASKED": str(asked), "TMPDIR": str(folder)}
    environment |= {"REFUSALS": "0", "TAR": "0", "SETUP": "0", "SYSTEMCTL": "0", **variables}
    done = subprocess.run(
        ["bash", "-c", script], env=environment, timeout=60, check=False, capture_output=True, text=True
    )
    return done, asked.read_text().splitlines()


def test_an_instance_that_gets_no_worker_ends_itself(bench):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        done, asked = boot(folder)
        assert done.returncode == 0, done
        assert "systemctl enable --now stageline-worker.service" in asked and "shutdown -h now" not in asked, asked
        assert "STAGELINE_WORKER_INSTANCE='i-0123'" in (folder / "etc/stageline/worker.env").read_text()
        done, asked = boot(folder, REFUSALS="3")
        assert done.returncode == 0 and "sleep 30" in asked and "shutdown -h now" not in asked, (done, asked)
        for failure in ({"REFUSALS": "99"}, {"TAR": "2"}, {"SETUP": "3"}, {"SYSTEMCTL": "1"}):
            done, asked = boot(folder, **failure)
            assert done.returncode != 0 and asked[-1] == "shutdown -h now", (failure, done, asked)
            assert "no worker: the user data failed" in done.stdout, done
            assert len([line for line in asked if line.startswith("aws s3 cp")]) == (8 if "REFUSALS" in failure else 1)
