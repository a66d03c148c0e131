"""What a dry run says of a change. Nothing of AWS is asked."""

from deploying import changes


def marks(**more) -> str:
    change = {"Action": "Modify", "LogicalResourceId": "TasksTable", "ResourceType": "AWS::DynamoDB::Table", **more}
    start, line = "  Modify  TasksTable                  AWS::DynamoDB::Table", changes.line(change)
    assert line.startswith(start), line
    return line.removeprefix(start)


def test_a_change_says_what_may_be_replaced_and_what_becomes_of_the_old(bench):
    assert marks() == marks(Replacement="False") == ""
    assert marks(Replacement="True") == "  REPLACED"
    assert marks(Replacement="Conditional") == "  MAY BE REPLACED"
    for policy, words in (
        ("Delete", "deleted with what is in it"),
        ("Retain", "kept, outside of the stack"),
        ("Snapshot", "deleted, a snapshot is kept"),
        ("OfTomorrow", "OfTomorrow"),
    ):
        assert marks(PolicyAction=policy) == f"  {words}", policy
    for policy, words in (
        ("ReplaceAndDelete", "the old one is deleted with what is in it"),
        ("ReplaceAndRetain", "the old one is kept, outside of the stack"),
        ("ReplaceAndSnapshot", "the old one is deleted, a snapshot is kept"),
    ):
        assert marks(Replacement="True", PolicyAction=policy) == f"  REPLACED, {words}", policy
        assert marks(Replacement="Conditional", PolicyAction=policy) == f"  MAY BE REPLACED, {words}", policy
