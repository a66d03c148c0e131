"""Calls that an emulator does not know, or answers at once where AWS takes its time: here AWS is played."""

from types import SimpleNamespace

from botocore.exceptions import ClientError
from deploying import trouble, workers
from deploying.deploy import Deployment
from deploying.destroy import Destruction
from deploying.stack import Deployed

GROUP = "sl-default-workers"


class Played:
    """An account of one service, whose answers are given by call; an exception is raised."""

    def __init__(self, endpoint=None, **answers):
        self.endpoint, self.answers, self.calls = endpoint, answers, []

    def client(self, _service):
        return self

    def __getattr__(self, call):
        def answer(**given):
            self.calls.append((call, given))
            found = self.answers[call]
            if isinstance(found, Exception):
                raise found
            return found

        return answer


def refusal(code: str, words: str, call: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": words}}, call)


TAKEN = "Service role name AWSServiceRoleForECS has been taken in this account, please try a different suffix."
LINKED = "CreateServiceLinkedRole"


def test_the_role_of_ecs_is_made_where_it_is_missing(bench):
    made = Played(create_service_linked_role={})
    seconds, workers.SETTLING_SECONDS = workers.SETTLING_SECONDS, 0
    try:
        workers.make_role_of_ecs(made)
    finally:
        workers.SETTLING_SECONDS = seconds
    assert made.calls == [("create_service_linked_role", {"AWSServiceName": "ecs.amazonaws.com"})], made.calls
    for code, words in (("InvalidInput", TAKEN), ("AccessDenied", "not authorized"), ("InvalidAction", "unknown")):
        workers.make_role_of_ecs(Played(create_service_linked_role=refusal(code, words, LINKED)))
    said = trouble.advice(
        "Invalid request provided: CreateCluster Invalid Request: Unable to assume the service linked role. "
        "Please verify that the ECS service linked role exists. (Service: AmazonECS; Status Code: 400)"
    )
    assert said and "aws iam create-service-linked-role --aws-service-name ecs.amazonaws.com" in said, said


def test_zones_are_not_evened_out_at_the_cost_of_busy_instances(bench):
    account = Played(suspend_processes={})
    workers.keep_busy_instances(account, GROUP)
    given = {"AutoScalingGroupName": GROUP, "ScalingProcesses": ["AZRebalance"]}
    assert account.calls == [("suspend_processes", given)], account.calls
    unknown = refusal("InvalidAction", "Unknown action SuspendProcesses", "SuspendProcesses")
    workers.keep_busy_instances(Played("http://127.0.0.1:9", suspend_processes=unknown), GROUP)
    words = "User: arn:aws:iam::1:user/u is not authorized to perform: autoscaling:SuspendProcesses on resource: it"
    try:
        workers.keep_busy_instances(Played(suspend_processes=refusal("AccessDenied", words, "SuspendProcesses")), GROUP)
    except trouble.Trouble as error:
        assert "missing permission autoscaling:SuspendProcesses" in str(error), error
    else:
        raise AssertionError("a group that may end busy instances was passed over")


def test_a_pool_counts_while_its_queues_are_there(bench):
    counts = {
        **dict.fromkeys(("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE"), True),
        # Leaving it out would leave its tasks without a queue.
        **dict.fromkeys(("UPDATE_IN_PROGRESS", "UPDATE_ROLLBACK_FAILED"), True),
        **dict.fromkeys(("DELETE_IN_PROGRESS", "DELETE_FAILED", "ROLLBACK_COMPLETE", "CREATE_FAILED"), False),
        **dict.fromkeys(("CREATE_IN_PROGRESS", "REVIEW_IN_PROGRESS", "ROLLBACK_FAILED"), False),
    }
    for status, stands in counts.items():
        assert Deployed(status).stands == stands, status


def test_a_new_pools_alarms_tell_whom_the_others_tell(bench):
    def topic(watch, pool):
        deployment = Deployment.__new__(Deployment)
        deployment.stack = lambda _part: SimpleNamespace(get=lambda: watch)
        return deployment.topic_of_core(pool)

    told, quiet = (Deployed("CREATE_COMPLETE", {"AlarmTopicArn": name}) for name in ("arn:on-call", ""))
    assert topic(told, None) == topic(told, quiet) == {"AlarmTopicArn": "arn:on-call"}
    assert topic(None, None) == topic(quiet, None) == {}
    other = Deployed("CREATE_COMPLETE", {"AlarmTopicArn": "arn:of-the-pool"})
    assert topic(told, other) == {}, "what was chosen stays"


def test_a_protected_table_is_deleted_once_its_update_is_over(bench):
    account = Played(update_table={}, delete_table={}, describe_table={"Table": {"DeletionProtectionEnabled": True}})

    def get_waiter(name):
        return SimpleNamespace(wait=lambda **_: account.calls.append((name, {})))

    account.get_waiter = get_waiter
    destruction = Destruction.__new__(Destruction)
    destruction.account = account
    destruction.delete_table("sl-tasks")
    order = [call for call, _ in account.calls]
    assert order == ["describe_table", "update_table", "table_exists", "delete_table", "table_not_exists"], order
