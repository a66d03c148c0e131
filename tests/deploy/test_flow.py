"""What a deployment does when it is let."""

import base64
import json
import subprocess

from bench import ROOT, elf
from deploying.options import host
from deploying.template import Template
from proxy import Proxy


def test_a_dry_run_shows_the_change_set_and_creates_nothing(bench):
    said = bench.deploy("--dry-run")
    assert "Add     TasksTable" in said and "AWS::CloudWatch::Dashboard" in said, said
    assert bench.status("core") is None and bench.status("watch") is None
    assert not bench.tables() and not bench.buckets()


def test_a_deployment_is_repeated_without_a_change_and_protects_its_tables(bench):
    bench.deploy()
    assert all(bench.is_protected(table) for table in ("tasks", "stages", "control"))
    before = bench.stack("core").get("LastUpdatedTime")
    said = bench.deploy()
    assert f"The stack {bench.prefix}-core is as it should be" in said, said
    assert "Uploading" not in said, said
    assert bench.stack("core").get("LastUpdatedTime") == before
    # What was chosen once stays.
    bench.deploy("--parameter", "LeaseSeconds=7", "--parameter", "DeletionProtection=off")
    bench.deploy()
    assert bench.outputs("core")["LeaseSeconds"] == "7" and not bench.is_protected("tasks")


def test_a_smoke_task_goes_through_the_real_functions_of_each_pool(bench):
    zips = bench.real_zips()
    said = bench.run("deploy", "--zips", zips)
    assert "Smoke task cancelled: table, stream, dispatcher and queue work" in said, said
    said = bench.run("deploy", "--zips", zips, "--pool", "gpu", "--targets", "*/gpu-required training/*")
    assert "for smoke/gpu-required" in said and "Smoke task cancelled" in said, said
    queue = json.loads(bench.outputs("pool-gpu")["Pool"])["queues"]["normal"]
    received = bench.client("sqs").receive_message(QueueUrl=queue).get("Messages", [])
    assert len(received) == 1 and "smoke-" in received[0]["Body"], received
    left = bench.client("dynamodb").scan(TableName=f"{bench.prefix}-tasks")["Items"]
    assert left == [], left


def test_the_core_learns_of_each_pool_and_keeps_it(bench):
    bench.deploy()
    said = bench.deploy("--pool", "gpu", fails=True)
    assert "a new pool needs --targets" in said, said
    bench.deploy("--pool", "gpu", "--targets", "*/gpu-required")
    bench.deploy("--pool", "train", "--targets", "training/*")
    bench.deploy()
    pools = {pool["name"]: pool for pool in json.loads(bench.outputs("core")["Pools"])}
    assert set(pools) == {"default", "gpu", "train"} and pools["train"]["targets"] == ["training/*"], pools
    functions = bench.client("lambda")
    for function in ("dispatcher", "sweeper"):
        found = functions.get_function_configuration(FunctionName=f"{bench.prefix}-{function}")
        assert json.loads(found["Environment"]["Variables"]["STAGELINE_POOLS"]) == list(pools.values())


def test_a_dashboards_table_is_adopted_and_never_deleted(bench):
    name = f"Task-{bench.prefix}-NONE"
    table = bench.client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )["TableDescription"]
    named = ("--parameter", f"ExistingTasksTableName={name}")
    said = bench.refused(*named)
    assert "ExistingTasksTableName needs ExistingTasksStreamArn" in said, said
    said = bench.deploy(*named, "--parameter", f"ExistingTasksStreamArn={table['LatestStreamArn']}")
    outputs, resources = bench.outputs("core"), bench.resources("core")
    assert outputs["TasksTableName"] == name and "TasksTable" not in resources, resources
    mappings = bench.client("lambda").list_event_source_mappings(FunctionName=f"{bench.prefix}-dispatcher")
    assert [m["EventSourceArn"] for m in mappings["EventSourceMappings"]] == [table["LatestStreamArn"]]
    policies = bench.client("iam").list_role_policies(RoleName=resources["DispatcherRole"])["PolicyNames"]
    role = {"RoleName": resources["DispatcherRole"], "PolicyName": policies[0]}
    assert f":table/{name}" in json.dumps(bench.client("iam").get_role_policy(**role)["PolicyDocument"])
    bench.run("destroy", "--delete-data", typed=bench.prefix)
    assert bench.client("dynamodb").describe_table(TableName=name)["Table"]["TableStatus"] == "ACTIVE"
    assert not bench.tables()


def test_destroying_keeps_the_data_until_the_prefix_is_typed(bench):
    bench.deploy()
    dynamodb, bucket = bench.client("dynamodb"), bench.outputs("core")["ArtifactBucketName"]
    dynamodb.put_item(TableName=f"{bench.prefix}-tasks", Item={"id": {"S": "kept"}, "status": {"S": "COMPLETED"}})
    bench.client("s3").put_object(Bucket=bucket, Key="artifacts/kept", Body=b"kept")
    said = bench.run("destroy", "--dry-run")
    assert f"delete  stack   {bench.prefix}-core" in said and f"keep    table   {bench.prefix}-tasks" in said, said
    said = bench.run("destroy", "--delete-data", typed="another\n", fails=True)
    assert "that is not the prefix" in said and bench.status("core") == "UPDATE_COMPLETE", said
    bench.run("destroy")
    assert bench.status("core") is None and len(bench.tables()) == 3
    # The names are taken now, and --import takes them over with what is in them.
    said = bench.refused()
    assert "already taken" in said and "--import" in said, said
    bench.deploy("--import")
    assert "kept" in str(dynamodb.scan(TableName=f"{bench.prefix}-tasks")["Items"])
    assert bench.resources("core")["TasksTable"] == f"{bench.prefix}-tasks" and bench.is_protected("tasks")
    assert bench.client("s3").get_object(Bucket=bucket, Key="artifacts/kept")["Body"].read() == b"kept"
    said = bench.run("destroy", "--delete-data", typed=bench.prefix)
    assert not bench.tables(), said


def test_a_deployment_that_was_killed_is_finished_by_the_next(bench):
    """Killed by SIGKILL before or after one of its calls has an effect."""
    moments = [("CreateBucket", "after"), ("PutObject", "after"), ("CreateChangeSet", "after"), ("ExecuteChangeSet", "before"), ("ExecuteChangeSet", "after")]
    sent = []
    for action, when in moments:
        proxy = Proxy(bench.endpoint)
        process = bench.start("deploy", "--zips", bench.zips(), "--no-smoke", endpoint=proxy.url)
        getattr(proxy, when)[action] = process.kill
        said, _ = process.communicate(timeout=60)
        proxy.close()
        sent += [seen for seen in proxy.seen if seen == "PutObject"]
        assert process.returncode == -9, f"not killed {when} {action}:\n{said}"
    assert bench.status("watch") is None
    said = bench.deploy()
    assert len(sent) == 2, "each function is sent once"
    assert bench.status("core").endswith("_COMPLETE") and bench.status("watch") == "CREATE_COMPLETE", said
    assert bench.is_protected("tasks"), "what the killed one had still to do is done"
    (bucket,) = (name for name in bench.buckets() if "-code-" in name)
    assert bench.tags_of_bucket(bucket) == {"stageline": bench.prefix} and bench.is_closed(bucket), said


def test_the_bucket_of_the_code_keeps_the_tags_of_others_and_is_written_only_when_it_has_to_be(bench):
    bench.deploy("--parameter", "Artifacts=none")
    (bucket,) = bench.buckets()
    others = {"TagSet": [{"Key": "CostCenter", "Value": "7"}]}
    bench.client("s3").put_bucket_tagging(Bucket=bucket, Tagging=others)
    puts = []
    for _ in range(2):
        proxy = Proxy(bench.endpoint)
        bench.deploy("--function-endpoint-url", bench.endpoint, endpoint=proxy.url)
        proxy.close()
        puts.append([seen for seen in proxy.seen if seen.startswith("PutBucket")])
    assert puts == [["PutBucketTagging"], []], puts
    assert bench.tags_of_bucket(bucket) == {"CostCenter": "7", "stageline": bench.prefix}


def test_a_stack_that_is_busy_is_waited_for(bench):
    bench.deploy()
    proxy, answers = Proxy(bench.endpoint), []

    def busy(answer):
        answers.append(answer)
        return answer.replace(b"UPDATE_COMPLETE<", b"UPDATE_IN_PROGRESS<") if len(answers) < 6 else answer

    proxy.change["DescribeStacks"] = busy
    said = bench.deploy("--function-endpoint-url", bench.endpoint, endpoint=proxy.url)
    proxy.close()
    assert "is in state UPDATE_IN_PROGRESS" in said and f"{bench.prefix}-core is as it should be" in said, said


def test_a_first_deployment_that_failed_makes_room_for_the_next(bench):
    # The emulator knows no alarms that compute: on it, that is a resource that fails.
    said = bench.refused("--watch-parameter", "MetricMath=true")
    assert "ROLLBACK_COMPLETE" in said and "is not supported" in said, said
    said = bench.deploy()
    assert f"Removing the stack {bench.prefix}-watch" in said and bench.status("watch") == "CREATE_COMPLETE", said


def test_workers_get_what_the_core_and_the_pool_put_out(bench):
    bench.deploy()
    place = ("--worker-parameter", "VpcId=vpc-1", "--worker-parameter", "SubnetIds=subnet-1,subnet-2")
    said = bench.refused("--workers", "ecs", *place)
    assert "--worker-parameter Image=" in said, said
    said = bench.refused("--workers", "ec2", *place)
    assert "needs --worker-binary" in said, said
    program = bench.folder / "stageline-worker"
    other = {"arm64": "x86_64", "x86_64": "arm64"}[host()]
    program.write_bytes(elf(other))
    said = bench.refused("--workers", "ec2", "--worker-binary", program, *place)
    assert f"is for {other} and would run on {host()}" in said, said
    program.write_bytes(elf(host()))
    # The emulator cannot make all of their resources; it can say which ones there would be.
    bench.client("ssm").put_parameter(Name=bench.prefix, Value="ami-1", Type="String")
    place += ("--worker-parameter", f"ImageId={bench.prefix}")
    said = bench.deploy("--dry-run", "--workers", "ec2", "--worker-binary", program, *place)
    assert "AWS::AutoScaling::AutoScalingGroup" in said and "AWS::EC2::LaunchTemplate" in said, said
    place = place[:4]
    image = ("--worker-parameter", "Image=worker@sha256:0")
    try:
        said = bench.deploy("--dry-run", "--workers", "ecs", *image, *place)
    except AssertionError as error:
        said = str(error)
        # This one does not know Application Auto Scaling at all, and says so after it has taken the parameters.
        assert "Unrecognized resource types: [AWS::ApplicationAutoScaling" in said, said
    else:
        assert "AWS::ECS::Service" in said and "AWS::ApplicationAutoScaling::ScalableTarget" in said, said


def test_an_instance_starts_a_worker_of_its_pool(bench):
    """The group on the emulator, without the alarms and the policy that compute."""
    bench.deploy()
    template = json.loads(json.dumps(Template("workers-ec2").content))
    for beyond in ("WakeAlarm", "IdleAlarm", "BacklogPolicy"):
        del template["Resources"][beyond]
    core, ec2, cloudformation = bench.outputs("core"), bench.client("ec2"), bench.client("cloudformation")
    bench.client("ssm").put_parameter(Name=bench.prefix, Value="ami-1", Type="String")
    given = {name: core[name] for name in template["Parameters"] if name in core} | {
        "Prefix": bench.prefix,
        "Pool": core["DefaultPool"],
        "VpcId": ec2.describe_vpcs()["Vpcs"][0]["VpcId"],
        "SubnetIds": ec2.describe_subnets()["Subnets"][0]["SubnetId"],
        "ImageId": bench.prefix,
        "WorkerPackageBucket": "b",
        "WorkerPackageKey": "worker/k.tar.gz",
        "AllowedPrograms": '["python3"]',
        "MetricsAddress": "0.0.0.0:9464",
        "OtlpEndpoint": "http://collector.internal:4318",
    }
    cloudformation.create_stack(
        StackName=f"{bench.prefix}-workers",
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=f"{bench.prefix}-workers", WaiterConfig={"Delay": 1}
    )
    resources = bench.resources("workers")
    versions = ec2.describe_launch_template_versions(LaunchTemplateId=resources["LaunchTemplate"])
    data = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    assert data["MetadataOptions"]["HttpTokens"] == "required" and data["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert data["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
    assert data["NetworkInterfaces"][0]["Groups"] == [resources["SecurityGroup"]], data
    script = base64.b64decode(data["UserData"]).decode()
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0, script
    # The variables that the unit reads, as a shell reads them too.
    lines = script.partition("<<'VARIABLES'\n")[2].partition("\nVARIABLES\n")[0]
    read = subprocess.run(
        ["bash", "-c", f"set -a\n{lines}\nenv -0"], env={}, capture_output=True, text=True, check=True
    ).stdout
    variables = dict(pair.partition("=")[::2] for pair in read.split("\0") if pair)
    assert json.loads(variables["STAGELINE_POOLS"]) == [json.loads(core["DefaultPool"])], variables
    assert json.loads(variables["STAGELINE_WORKER_ALLOWED_PROGRAMS"]) == ["python3"], variables
    assert variables["STAGELINE_WORKER_ARTIFACTS_URL"] == core["ArtifactsUrl"], variables
    assert (variables["STAGELINE_WORKER_METRICS_ADDRESS"], variables["OTEL_EXPORTER_OTLP_ENDPOINT"]) == (
        "0.0.0.0:9464",
        "http://collector.internal:4318",
    )


def test_what_functions_show_of_themselves_is_a_parameter(bench):
    collector = ("OtlpEndpoint=https://otlp.example.com", "OtlpHeaders=x-api-key=k", "TraceRatio=0.01")
    bench.deploy(*(argument for value in ("Metrics=off", *collector) for argument in ("--parameter", value)))
    functions = bench.client("lambda")

    def variables(function):
        return functions.get_function_configuration(FunctionName=f"{bench.prefix}-{function}")["Environment"]["Variables"]

    for function in ("dispatcher", "sweeper"):
        found = variables(function)
        assert found["STAGELINE_METRICS"] == "off" and found["OTEL_TRACES_SAMPLER"] == "parentbased_traceidratio", found
        assert found["OTEL_EXPORTER_OTLP_ENDPOINT"] == "https://otlp.example.com", found
        assert (found["OTEL_EXPORTER_OTLP_HEADERS"], found["OTEL_TRACES_SAMPLER_ARG"]) == ("x-api-key=k", "0.01"), found
    # An alarm on what nobody publishes would sound for ever.
    assert "SweeperStillAlarm" not in bench.resources("watch") and "SweeperErrorsAlarm" in bench.resources("watch")
    # A later run keeps them; taken back, nothing of them is left.
    bench.deploy()
    assert variables("sweeper")["STAGELINE_METRICS"] == "off"
    # The emulator sees no change where only a condition does, so the alarms are not looked at again.
    bench.deploy("--parameter", "Metrics=on", "--parameter", "OtlpEndpoint=")
    assert variables("sweeper")["STAGELINE_METRICS"] == "on"
    assert not any(name.startswith("OTEL_") for name in variables("sweeper")), variables("sweeper")


def test_one_function_alone_is_deployed_by_cargo_lambda(bench):
    zips = bench.real_zips()
    bench.run("deploy", "--zips", zips, "--no-smoke")
    name = f"{bench.prefix}-dispatcher"
    functions = bench.client("lambda")
    before = functions.get_function_configuration(FunctionName=name)
    command = ["cargo", "lambda", "deploy", "--endpoint-url", bench.endpoint, "--lambda-dir", str(zips)]
    command += ["--binary-name", "stageline-dispatcher", name]
    environment = bench.environment(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_REGION="us-east-1")
    done = subprocess.run(
        command, cwd=ROOT / "lambdas" / "dispatcher", env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    after = functions.get_function_configuration(FunctionName=name)
    for same in ("Role", "Environment", "MemorySize", "Timeout", "Runtime", "Architectures", "LoggingConfig"):
        assert before.get(same) == after.get(same), (same, before.get(same), after.get(same))
