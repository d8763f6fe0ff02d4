//! Rules for events of other engines: what they were can be told from their type, what would confirm it is elsewhere.

use super::classify::{How, Try};
use super::event::{NormEvent, key};
use super::report::{Class, FieldDiff};
use aos_format::frame::Kind;

/// What a type of event is to the workflow that it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// It says what the run was started with.
    Started,
    /// It came from outside.
    Answer,
    /// The workflow's code asked for it.
    Command,
}

/// Types whose role is known, by the name that importers give them.
const ROLES: &[(Role, &[&str])] = &[
    (Role::Started, &["WorkflowExecutionStarted"]),
    (
        Role::Answer,
        &[
            "ActivityTaskCompleted",
            "ActivityTaskFailed",
            "ActivityTaskTimedOut",
            "ActivityTaskCanceled",
            "ChildWorkflowExecutionStarted",
            "ChildWorkflowExecutionCompleted",
            "ChildWorkflowExecutionFailed",
            "ChildWorkflowExecutionTimedOut",
            "ChildWorkflowExecutionCanceled",
            "ChildWorkflowExecutionTerminated",
            "NexusOperationCompleted",
            "NexusOperationFailed",
            "NexusOperationCanceled",
            "NexusOperationTimedOut",
            "WorkflowExecutionSignaled",
            "WorkflowExecutionCancelRequested",
            "WorkflowExecutionUpdateAccepted",
            "TimerFired",
        ],
    ),
    (
        Role::Command,
        &[
            "ActivityTaskScheduled",
            "TimerStarted",
            "TimerCanceled",
            "MarkerRecorded",
            "StartChildWorkflowExecutionInitiated",
            "SignalExternalWorkflowExecutionInitiated",
            "NexusOperationScheduled",
            "UpsertWorkflowSearchAttributes",
            "WorkflowPropertiesModified",
            "WorkflowExecutionContinuedAsNew",
            "WorkflowExecutionCompleted",
            "WorkflowExecutionFailed",
        ],
    ),
];

/// What could be behind the difference of two imported events that stand for one another. All before them is equal.
pub(crate) fn differs(a: &NormEvent, b: &NormEvent, diffs: &[FieldDiff]) -> Option<Try> {
    if a.kind != Kind::Foreign || b.kind != Kind::Foreign || key(a) != key(b) {
        return None;
    }
    let foreign_type = b.text("foreign_type");
    let role = ROLES
        .iter()
        .find(|(_, types)| types.contains(&foreign_type.as_str()))
        .map(|(role, _)| *role)?;
    let (class, rule, what) = match role {
        Role::Started => (
            Class::InputDrift,
            "the event that starts an imported run differs",
            "the runs were started with something else",
        ),
        Role::Answer => (
            Class::EffectDrift,
            "an imported answer from outside differs, all before it is equal",
            "another answer",
        ),
        Role::Command => (
            Class::CodeDrift,
            "an imported command differs, all that its code had seen is equal",
            "the code asked for something else",
        ),
    };
    let paths: Vec<&str> = diffs
        .iter()
        .map(|diff| diff.path.as_str())
        .take(5)
        .collect();
    Some(Try {
        class,
        rule,
        subject: format!("{}: {what}", b.activation()),
        evidence: vec![paths.join(", ")],
        exchanged: String::new(),
        how: How::Missing("the workflow's code, in the engine that it comes from".into()),
        benign: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_has_one_role() {
        let mut all: Vec<&str> = ROLES
            .iter()
            .flat_map(|(_, types)| types.iter().copied())
            .collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
