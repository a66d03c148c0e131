"""What a change set would do, for people."""

REPLACEMENT = {"True": "REPLACED", "Conditional": "MAY BE REPLACED"}
# What becomes of the resource that goes, or of the old one of two.
POLICY = {
    "Delete": "deleted with what is in it",
    "Retain": "kept, outside of the stack",
    "Snapshot": "deleted, a snapshot is kept",
    "ReplaceAndDelete": "the old one is deleted with what is in it",
    "ReplaceAndRetain": "the old one is kept, outside of the stack",
    "ReplaceAndSnapshot": "the old one is deleted, a snapshot is kept",
}


def line(change: dict) -> str:
    """One change of a resource. CloudFormation says Conditional where it finds out only while it updates."""
    said = [REPLACEMENT.get(change.get("Replacement", ""), "")]
    if policy := change.get("PolicyAction"):
        said.append(POLICY.get(policy, policy))
    marks = ", ".join(filter(None, said))
    text = f"  {change['Action']:<8}{change['LogicalResourceId']:<28}{change['ResourceType']}"
    return f"{text}  {marks}" if marks else text
