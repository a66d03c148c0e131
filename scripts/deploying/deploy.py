"""scripts/deploy: credentials, build, upload, stacks, smoke task, result; in this order."""

import sys
from argparse import Namespace

from botocore import exceptions as boto

from . import arch, code, ecs, environment, left, options, pools, smoke, workers
from .account import Account, say
from .stack import ECS_PATIENCE_SECONDS, Deployed, Stack
from .template import MAX_BYTES, Template
from .trouble import Trouble, of


class Deployment:
    """One run of scripts/deploy."""

    def __init__(self, said: Namespace):
        self.said = said
        self.account = Account(said.region, said.endpoint_url)
        self.account.introduce(said.prefix)
        self.tags = {**said.tag, "stageline": said.prefix}
        self.tags_of_core: dict[str, str] = {}
        self.bucket = code.bucket_name(self.account, said.prefix)
        self.core = self.stack("core")

    def stack(self, part: str) -> Stack:
        """The deployment's stack of that part."""
        return Stack(self.account, f"{self.said.prefix}-{part}", self.tags, self.tags_of_core)

    def run(self) -> None:
        """Everything that was asked for."""
        said = self.said
        # What is wrong with the parameters is said before anything is built.
        templates = {"core": said.parameter, "watch": said.watch_parameter, "pool": said.pool_parameter}
        if said.workers:
            templates[f"workers-{said.workers}"] = said.worker_parameter
        for name, given in templates.items():
            Template(name).check(given)
        there = self.core.get()
        self.tags_of_core = there.tags if there else {}
        said.arch = arch.of_deployment(said, there)
        if not said.imports and there is None:
            self.check_names({"Prefix": said.prefix, **said.parameter})
        keys = self.upload_functions()
        if said.pool and said.pool != "default":
            self.deploy_pool(keys)
        else:
            self.deploy_core(keys)
        self.deploy_watch()
        if said.workers:
            self.deploy_workers()
        if said.dry_run:
            return
        self.smoke()
        self.print_result()

    # ---- Code ---------------------------------------------------------------------------------------

    def upload_functions(self) -> dict[str, str]:
        """The functions' code is where the template will look for it; its keys."""
        said = self.said
        if said.dry_run and not said.zips:
            say("The functions are not built for this; their code counts as changed")
            return {function: f"{function}/not-built.zip" for function in code.FUNCTIONS}
        folder = said.zips or code.build(said.arch, said.profile)
        zips = {function: code.zip_of(folder, function) for function in code.FUNCTIONS}
        keys = {function: code.key_of_zip(function, path, said.arch) for function, path in zips.items()}
        if not said.dry_run:
            code.make_bucket(self.account, self.bucket, said.prefix)
            for function, path in zips.items():
                code.upload(self.account, self.bucket, keys[function], path.read_bytes())
        return keys

    # ---- Stacks -------------------------------------------------------------------------------------

    def deploy_core(self, keys: dict[str, str], planned: dict[str, str] | None = None) -> None:
        """The core, with every pool that there is, and with those that a dry run did not make."""
        said, template = self.said, Template("core")
        there = self.core.ready(said.dry_run)
        given = {
            "Prefix": said.prefix,
            "CodeBucket": self.bucket,
            "DispatcherCodeKey": keys["dispatcher"],
            "SweeperCodeKey": keys["sweeper"],
            "FunctionArchitecture": said.arch,
            "EndpointUrl": said.function_endpoint_url,
            "ExtraPools": pools.joined(pools.entries(self.account, said.prefix) | (planned or {}), said.prefix),
            **said.parameter,
        }
        # The first deployment's tables can be taken back; see the parameter's description.
        later = "DeletionProtection" not in said.parameter and (
            there is None or there.parameters.get("DeletionProtection") == "later"
        )
        body = None
        if there is None:
            given.setdefault("DeletionProtection", "later")
            if said.imports:
                body = self.taking_over(template, given)
        elif said.imports:
            say("--import is for a deployment that is not there; it is, so nothing is taken over")
        if body and len(body) > MAX_BYTES:
            raise Trouble("infra/core.yaml is too large for --import")
        if there is None or not later:
            self.core.deploy(template, given, dry_run=said.dry_run, body=body, imports=body is not None)
        # A dry run has shown what the creation would make; there is nothing yet to show a second step of.
        if later and not (said.dry_run and there is None):
            say("Protecting the tables from being deleted")
            self.core.deploy(template, {**given, "DeletionProtection": "on"}, dry_run=said.dry_run)

    def taking_over(self, template: Template, given: dict[str, str]) -> str:
        """The template that takes over what is left. Emulators take over no bucket: there it is only adopted."""
        self.find_bucket(given)
        names = self.left_names(given)
        if self.account.endpoint and "ArtifactBucket" in names:
            given |= {"Artifacts": "adopt", "ArtifactBucketName": names.pop("ArtifactBucket")[1]}
        return template.with_literal_names(names)

    def find_bucket(self, given: dict[str, str]) -> None:
        """Names the bucket to take over when it has a name of its own and nobody says which."""
        if given.get("Artifacts", "create") != "create" or given.get("ArtifactBucketName"):
            return
        usual, prefix = left.default_bucket(self.account, self.said.prefix), self.said.prefix
        found = left.buckets(self.account, prefix)
        if len(found) > 1:
            raise Trouble(
                f"several buckets are of {prefix}: {', '.join(found)}\n"
                "  say which one is to be taken over: --parameter ArtifactBucketName=..."
            )
        if found and found != [usual]:
            say(f"Taking over the bucket {found[0]}: its tags say that {prefix}-core made it")
            given["ArtifactBucketName"] = found[0]
        elif not found and left.tags_of(self.account, usual) is None:
            raise Trouble(
                f"no artifact bucket of {prefix} is left: neither {usual} nor one of another name whose tags say so\n"
                "  if it has a name of its own, repeat --parameter ArtifactBucketName=... (of a name that is free, one is "
                "made); if there was none, --parameter Artifacts=none"
            )

    def left_names(self, given: dict[str, str]) -> dict[str, tuple[str, str]]:
        """The names of what a destroyed deployment leaves, by logical id."""
        prefix, account = self.said.prefix, self.account
        names = {
            "StagesTable": ("TableName", f"{prefix}-stages"),
            "ControlTable": ("TableName", f"{prefix}-control"),
        }
        if not given.get("ExistingTasksTableName"):
            names["TasksTable"] = ("TableName", f"{prefix}-tasks")
        if given.get("Artifacts", "create") == "create":
            bucket = given.get("ArtifactBucketName") or left.default_bucket(account, prefix)
            names["ArtifactBucket"] = ("BucketName", bucket)
        return names

    def check_names(self, given: dict[str, str]) -> None:
        """Fails before anything is made when a name is taken, which a rollback would cost minutes for."""
        taken = []
        for kind, name in self.left_names(given).values():
            if kind == "BucketName" and len(name) > 63:
                raise Trouble(f"the bucket's name {name} has more than 63 characters\n  give --parameter ArtifactBucketName=...")
            try:
                if kind == "TableName":
                    self.account.client("dynamodb").describe_table(TableName=name)
                else:
                    self.account.client("s3").head_bucket(Bucket=name)
                taken.append(name)
            except boto.ClientError as error:
                # A name that one may not even ask for is found out by CloudFormation.
                if error.response["Error"]["Code"] in ("403", "Forbidden") and kind == "BucketName":
                    taken.append(name)
            except boto.BotoCoreError as error:
                raise of(error, f"looking for {name}") from error
        if taken:
            raise Trouble(
                f"the name is already taken: {', '.join(taken)}\n"
                "  if a deployment of this prefix left them, take them over with --import; else choose another --prefix"
            )

    def deploy_pool(self, keys: dict[str, str]) -> None:
        """The pool's queues first, then the core is told of them: nothing is sent where nothing is."""
        said, template = self.said, Template("pool")
        core = self.core.get()
        if core is None or "TasksTableName" not in core.outputs:
            raise Trouble(f"there is no core of {said.prefix} to add a pool to\n  deploy it first: scripts/deploy")
        stack = self.stack(f"pool-{said.pool}")
        there = stack.ready(said.dry_run)
        if there is None and not said.targets:
            raise Trouble('a new pool needs --targets, such as --targets "*/gpu-required"')
        given = {
            "Prefix": said.prefix,
            "PoolName": said.pool,
            **{name: core.outputs[name] for name in ("TasksTableName", "StagesTableName", "ControlTableName")},
            "ArtifactBucketName": core.outputs.get("ArtifactBucketName", ""),
            **({"Targets": said.targets} if said.targets else {}),
            **self.topic_of_core(there),
            **self.alarms(),
            **said.pool_parameter,
        }
        # One that the core cannot be told of would be in the way of every later deployment.
        targets = given.get("Targets") or (there.parameters.get("Targets", "") if there else "")
        entry = pools.entry(core.outputs, said.prefix, said.pool, targets)
        planned = {said.pool: entry} if entry else {}
        pools.joined(pools.entries(self.account, said.prefix) | planned, said.prefix)
        stack.deploy(template, given, dry_run=said.dry_run)
        if not said.dry_run:
            planned = {}
        elif not entry:
            print(f"The pool {said.pool} is not in what follows: the names of its queues are known when they are made")
        self.deploy_core(keys, planned)

    def alarms(self) -> dict[str, str]:
        """What alarms are to be like. Emulators know no alarms that compute."""
        topic = {"AlarmTopicArn": self.said.alarm_topic} if self.said.alarm_topic else {}
        return topic | {"MetricMath": "false" if self.said.endpoint_url else "true"}

    def topic_of_core(self, pool: Deployed | None) -> dict[str, str]:
        """The topic that the alarms of the core tell, for a pool that has none."""
        watch = self.stack("watch").get()
        topic = watch.parameters.get("AlarmTopicArn") if watch else None
        if not topic or (pool and pool.parameters.get("AlarmTopicArn")):
            return {}
        return {"AlarmTopicArn": topic}

    def deploy_watch(self) -> None:
        """Alarms and the dashboard."""
        said, core = self.said, self.core.get()
        if core is None or "TasksTableName" not in core.outputs:
            # Only a dry run comes here before there is a core.
            tasks = said.parameter.get("ExistingTasksTableName") or f"{said.prefix}-tasks"
            same = {}
        else:
            tasks = core.outputs["TasksTableName"]
            same = {name: core.parameters[name] for name in ("AccountIndexName", "Metrics") if name in core.parameters}
        # A dry run comes here before the core has what was said of it.
        same |= {name: said.parameter[name] for name in ("AccountIndexName", "Metrics") if name in said.parameter}
        given = {
            "Prefix": said.prefix,
            "TasksTableName": tasks,
            **same,
            **self.alarms(),
            **said.watch_parameter,
        }
        self.stack("watch").deploy(Template("watch"), given, dry_run=said.dry_run)

    def deploy_workers(self) -> None:
        """Workers of the pool."""
        said, pool = self.said, self.said.pool or "default"
        core = self.core.outputs()
        queues = core if pool == "default" else self.stack(f"pool-{pool}").outputs()
        given = {
            "Prefix": said.prefix,
            "PoolName": pool,
            "Pool": queues["DefaultPool" if pool == "default" else "Pool"],
            **{name: queues[name] for name in ("HighQueueName", "NormalQueueName", "LowQueueName", "WorkerPolicyArn")},
            **{name: core[name] for name in ("TasksTableName", "StagesTableName", "ControlTableName")},
            **{name: core[name] for name in ("LeaseSeconds", "ForeignDispatchModes")},
            "ArtifactsUrl": core.get("ArtifactsUrl", ""),
        }
        stack, template = self.stack(f"workers-{pool}-{said.workers}"), Template(f"workers-{said.workers}")
        if said.workers == "ecs":
            stack.patience = ECS_PATIENCE_SECONDS
            now = stack.get()
            if said.replace_busy and not said.dry_run and now and "ServiceArn" in now.outputs:
                stack.meanwhile = ecs.Service(self.account, now.outputs).make_way
        there = stack.ready(said.dry_run)
        given |= arch.of_workers(said.workers, said.arch, there, said.arch_said)
        if said.workers == "ec2":
            if said.worker_binary:
                key, content = code.worker_package(said.worker_binary, said.arch)
                given |= {"WorkerPackageBucket": self.bucket, "WorkerPackageKey": key}
                if not said.dry_run:
                    code.make_bucket(self.account, self.bucket, said.prefix)
                    code.upload(self.account, self.bucket, key, content)
            elif there is None:
                raise Trouble(
                    "--workers ec2 needs --worker-binary FILE\n"
                    "  build it on a system no newer than the image's: cargo build --release -p stageline-worker"
                )
        given |= said.worker_parameter
        missing = [
            name
            for name, parameter in template.parameters.items()
            if "Default" not in parameter and name not in given and (there is None or name not in there.parameters)
        ]
        if missing:
            raise Trouble(
                "workers need " + ", ".join(f"--worker-parameter {name}=..." for name in missing)
                + f"\n  what they are is said in {template.path.name}"
            )
        if said.workers == "ecs" and not said.dry_run:
            workers.make_role_of_ecs(self.account)
        stack.deploy(template, given, dry_run=said.dry_run)
        if said.workers == "ec2" and not said.dry_run:
            workers.keep_busy_instances(self.account, stack.outputs()["GroupName"])

    # ---- Afterwards ---------------------------------------------------------------------------------

    def smoke(self) -> None:
        """The smoke task, where it is wanted."""
        said, core = self.said, self.core.outputs()
        pool = core["DefaultPool"]
        if said.pool and said.pool != "default":
            pool = self.stack(f"pool-{said.pool}").outputs()["Pool"]
        adopted = core["TasksTableName"] != f"{said.prefix}-tasks"
        if adopted and not said.smoke:
            say("No smoke task: the tasks table is somebody else's, who would see it. --smoke runs it all the same")
        elif not said.no_smoke:
            smoke.run(self.account, core["TasksTableName"], pool, said.prefix)

    def print_result(self) -> None:
        """The outputs, and how a shell gets what it needs of them."""
        outputs = self.core.outputs()
        for part in ("watch", f"pool-{self.said.pool}", f"workers-{self.said.pool or 'default'}-{self.said.workers}"):
            if deployed := self.stack(part).get():
                outputs |= {f"{part}.{name}": value for name, value in deployed.outputs.items()}
        width = max(map(len, outputs))
        for name in sorted(outputs):
            print(f"{name:<{width}}  {outputs[name]}", flush=True)
        say(f'To make a shell its client: eval "$({options.command(self.said)} --env)"')


def main() -> int:
    """The program."""
    try:
        said = options.parse(sys.argv[1:])
        if said.env:
            environment.show(said)
        else:
            Deployment(said).run()
        return 0
    except Trouble as trouble:
        say(f"error: {trouble}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; run this again to finish")
        return 130


if __name__ == "__main__":
    sys.exit(main())
