//! Which attributes of Temporal's events count. Names are those of its public API in JSON.
//!
//! Volatile is what two runs of the same workflow on the same input differ in anyway: times, task and request ids, who
//! worked, run ids, checksums of the worker, and where a task was sent. Everything else counts.

use crate::rules::Attribute;
use crate::rules::Rule::{Count, Hashed, Integer, Name, Open, Reference, Volatile};

/// Members of an event beside its attributes.
pub(super) const EVENT: &[Attribute] = &[
    ("eventId", Volatile),
    ("eventTime", Volatile),
    ("eventType", Name("EVENT_TYPE_", "")),
    ("version", Volatile),
    ("taskId", Volatile),
    ("workerMayIgnore", Hashed),
    ("userMetadata", Hashed),
    ("links", Volatile),
];

/// Members inside attributes, wherever they stand.
pub(super) const INSIDE: &[Attribute] = &[
    ("runId", Volatile),
    ("identity", Volatile),
    ("requestId", Volatile),
    ("stackTrace", Volatile),
    ("scheduledEventId", Reference),
    ("startedEventId", Reference),
    ("initiatedEventId", Reference),
    ("kind", Name("TASK_QUEUE_KIND_", "Normal")),
    ("retryState", Name("RETRY_STATE_", "Unspecified")),
    ("timeoutType", Name("TIMEOUT_TYPE_", "Unspecified")),
    ("fields", Open),
    ("indexedFields", Open),
    ("metadata", Open),
];

const INITIATOR: crate::Rule = Name("CONTINUE_AS_NEW_INITIATOR_", "Unspecified");
const RETRY_STATE: crate::Rule = Name("RETRY_STATE_", "Unspecified");
const REUSE: crate::Rule = Name("WORKFLOW_ID_REUSE_POLICY_", "Unspecified");
const CLOSE: crate::Rule = Name("PARENT_CLOSE_POLICY_", "Unspecified");
const TASK_FAILED: crate::Rule = Name("WORKFLOW_TASK_FAILED_CAUSE_", "Unspecified");
const TIMEOUT: crate::Rule = Name("TIMEOUT_TYPE_", "Unspecified");
const CHILD_FAILED: crate::Rule = Name(
    "START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_",
    "Unspecified",
);
const CANCEL_FAILED: crate::Rule = Name(
    "CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_",
    "Unspecified",
);
const SIGNAL_FAILED: crate::Rule = Name(
    "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_",
    "Unspecified",
);

macro_rules! types {
    ($($name:literal { $($attribute:ident $rule:expr,)* })*) => {
        /// Attributes by type of event.
        pub(super) const TYPES: &[(&str, &[Attribute])] = &[
            $(($name, &[$((stringify!($attribute), $rule),)*]),)*
        ];
    };
}

types! {
    "WorkflowExecutionStarted" {
        workflowType Hashed, input Hashed, header Hashed, taskQueue Hashed, attempt Count, initiator INITIATOR,
        workflowExecutionTimeout Hashed, workflowRunTimeout Hashed, workflowTaskTimeout Hashed, retryPolicy Hashed,
        cronSchedule Hashed, firstWorkflowTaskBackoff Hashed, memo Hashed, searchAttributes Hashed,
        lastCompletionResult Hashed, continuedFailure Hashed, parentWorkflowNamespace Hashed,
        parentWorkflowExecution Hashed, rootWorkflowExecution Hashed, parentInitiatedEventId Integer,
        completionCallbacks Hashed, priority Hashed,
        workflowId Volatile, originalExecutionRunId Volatile, firstExecutionRunId Volatile,
        continuedExecutionRunId Volatile, identity Volatile, workflowExecutionExpirationTime Volatile,
        prevAutoResetPoints Volatile, parentWorkflowNamespaceId Volatile, parentInitiatedEventVersion Volatile,
        sourceVersionStamp Volatile, inheritedBuildId Volatile, versioningOverride Volatile,
        parentPinnedWorkerDeploymentVersion Volatile, inheritedPinnedVersion Volatile,
        inheritedAutoUpgradeInfo Volatile, eagerExecutionAccepted Volatile,
    }
    "WorkflowExecutionCompleted" {
        result Hashed, workflowTaskCompletedEventId Reference, newExecutionRunId Volatile,
    }
    "WorkflowExecutionFailed" {
        failure Hashed, retryState RETRY_STATE, workflowTaskCompletedEventId Reference, newExecutionRunId Volatile,
    }
    "WorkflowExecutionTimedOut" { retryState RETRY_STATE, newExecutionRunId Volatile, }
    "WorkflowExecutionCanceled" { details Open, workflowTaskCompletedEventId Reference, }
    "WorkflowExecutionTerminated" { reason Hashed, details Open, identity Volatile, links Volatile, }
    "WorkflowExecutionContinuedAsNew" {
        workflowType Hashed, input Hashed, header Hashed, taskQueue Hashed, initiator INITIATOR,
        workflowRunTimeout Hashed, workflowTaskTimeout Hashed, backoffStartInterval Hashed, failure Hashed,
        lastCompletionResult Hashed, memo Hashed, searchAttributes Hashed, inheritBuildId Hashed,
        workflowTaskCompletedEventId Reference, newExecutionRunId Volatile,
    }
    "WorkflowExecutionSignaled" {
        signalName Hashed, input Hashed, header Hashed, skipGenerateWorkflowTask Hashed,
        externalWorkflowExecution Hashed, identity Volatile, requestId Volatile,
    }
    "WorkflowExecutionCancelRequested" {
        cause Hashed, externalInitiatedEventId Integer, externalWorkflowExecution Hashed, identity Volatile,
    }
    "WorkflowExecutionOptionsUpdated" {
        attachedCompletionCallbacks Hashed, priority Hashed, versioningOverride Volatile,
        unsetVersioningOverride Volatile, attachedRequestId Volatile, identity Volatile,
    }
    "WorkflowExecutionUpdateAccepted" {
        acceptedRequest Hashed, protocolInstanceId Volatile, acceptedRequestMessageId Volatile,
        acceptedRequestSequencingEventId Reference,
    }
    "WorkflowExecutionUpdateRejected" {
        rejectedRequest Hashed, failure Hashed, protocolInstanceId Volatile, rejectedRequestMessageId Volatile,
        rejectedRequestSequencingEventId Reference,
    }
    "WorkflowExecutionUpdateAdmitted" { request Hashed, origin Hashed, }
    "WorkflowExecutionUpdateCompleted" { meta Hashed, outcome Hashed, acceptedEventId Reference, }
    "WorkflowTaskScheduled" { startToCloseTimeout Hashed, attempt Count, taskQueue Volatile, }
    "WorkflowTaskStarted" {
        scheduledEventId Reference, suggestContinueAsNew Hashed, suggestContinueAsNewReasons Hashed,
        historySizeBytes Volatile, identity Volatile, requestId Volatile, workerVersion Volatile,
        buildIdRedirectCounter Volatile,
    }
    "WorkflowTaskCompleted" {
        scheduledEventId Reference, startedEventId Reference, binaryChecksum Volatile, identity Volatile,
        workerVersion Volatile, workerVersioningId Volatile, sdkMetadata Volatile, meteringMetadata Volatile,
        deployment Volatile, versioningBehavior Volatile, workerDeploymentVersion Volatile,
        workerDeploymentName Volatile, deploymentVersion Volatile,
    }
    "WorkflowTaskTimedOut" { scheduledEventId Reference, startedEventId Reference, timeoutType TIMEOUT, }
    "WorkflowTaskFailed" {
        scheduledEventId Reference, startedEventId Reference, cause TASK_FAILED, failure Hashed,
        forkEventVersion Volatile, identity Volatile, baseRunId Volatile, newRunId Volatile, binaryChecksum Volatile,
        workerVersion Volatile,
    }
    "ActivityTaskScheduled" {
        activityId Hashed, activityType Hashed, input Hashed, header Hashed, taskQueue Hashed,
        scheduleToCloseTimeout Hashed, scheduleToStartTimeout Hashed, startToCloseTimeout Hashed,
        heartbeatTimeout Hashed, retryPolicy Hashed, priority Hashed, useWorkflowBuildId Hashed,
        workflowTaskCompletedEventId Reference,
    }
    "ActivityTaskStarted" {
        scheduledEventId Reference, attempt Count, lastFailure Hashed, identity Volatile, requestId Volatile,
        workerVersion Volatile, buildIdRedirectCounter Volatile,
    }
    "ActivityTaskCompleted" {
        result Hashed, scheduledEventId Reference, startedEventId Reference, identity Volatile, workerVersion Volatile,
    }
    "ActivityTaskFailed" {
        failure Hashed, scheduledEventId Reference, startedEventId Reference, retryState RETRY_STATE,
        identity Volatile, workerVersion Volatile,
    }
    "ActivityTaskTimedOut" {
        failure Hashed, scheduledEventId Reference, startedEventId Reference, retryState RETRY_STATE,
    }
    "ActivityTaskCancelRequested" { scheduledEventId Reference, workflowTaskCompletedEventId Reference, }
    "ActivityTaskCanceled" {
        details Open, latestCancelRequestedEventId Reference, scheduledEventId Reference, startedEventId Reference,
        identity Volatile, workerVersion Volatile,
    }
    "TimerStarted" { timerId Hashed, startToFireTimeout Hashed, workflowTaskCompletedEventId Reference, }
    "TimerFired" { timerId Hashed, startedEventId Reference, }
    "TimerCanceled" {
        timerId Hashed, startedEventId Reference, workflowTaskCompletedEventId Reference, identity Volatile,
    }
    "MarkerRecorded" {
        markerName Hashed, details Open, header Hashed, failure Hashed, workflowTaskCompletedEventId Reference,
    }
    "UpsertWorkflowSearchAttributes" { searchAttributes Hashed, workflowTaskCompletedEventId Reference, }
    "WorkflowPropertiesModified" { upsertedMemo Hashed, workflowTaskCompletedEventId Reference, }
    "WorkflowPropertiesModifiedExternally" {
        newTaskQueue Hashed, newWorkflowTaskTimeout Hashed, newWorkflowRunTimeout Hashed,
        newWorkflowExecutionTimeout Hashed, upsertedMemo Hashed,
    }
    "ActivityPropertiesModifiedExternally" { scheduledEventId Reference, newRetryPolicy Hashed, }
    "StartChildWorkflowExecutionInitiated" {
        workflowId Hashed, workflowType Hashed, input Hashed, header Hashed, taskQueue Hashed, namespace Hashed,
        workflowExecutionTimeout Hashed, workflowRunTimeout Hashed, workflowTaskTimeout Hashed,
        parentClosePolicy CLOSE, workflowIdReusePolicy REUSE, retryPolicy Hashed, cronSchedule Hashed, memo Hashed,
        searchAttributes Hashed, inheritBuildId Hashed, priority Hashed, control Hashed,
        workflowTaskCompletedEventId Reference, namespaceId Volatile,
    }
    "StartChildWorkflowExecutionFailed" {
        workflowId Hashed, workflowType Hashed, namespace Hashed, cause CHILD_FAILED, control Hashed,
        initiatedEventId Reference, workflowTaskCompletedEventId Reference, namespaceId Volatile,
    }
    "ChildWorkflowExecutionStarted" {
        workflowExecution Hashed, workflowType Hashed, header Hashed, namespace Hashed, initiatedEventId Reference,
        namespaceId Volatile,
    }
    "ChildWorkflowExecutionCompleted" {
        result Hashed, workflowExecution Hashed, workflowType Hashed, namespace Hashed, initiatedEventId Reference,
        startedEventId Reference, namespaceId Volatile,
    }
    "ChildWorkflowExecutionFailed" {
        failure Hashed, retryState RETRY_STATE, workflowExecution Hashed, workflowType Hashed, namespace Hashed,
        initiatedEventId Reference, startedEventId Reference, namespaceId Volatile,
    }
    "ChildWorkflowExecutionCanceled" {
        details Open, workflowExecution Hashed, workflowType Hashed, namespace Hashed, initiatedEventId Reference,
        startedEventId Reference, namespaceId Volatile,
    }
    "ChildWorkflowExecutionTimedOut" {
        retryState RETRY_STATE, workflowExecution Hashed, workflowType Hashed, namespace Hashed,
        initiatedEventId Reference, startedEventId Reference, namespaceId Volatile,
    }
    "ChildWorkflowExecutionTerminated" {
        workflowExecution Hashed, workflowType Hashed, namespace Hashed, initiatedEventId Reference,
        startedEventId Reference, namespaceId Volatile,
    }
    "SignalExternalWorkflowExecutionInitiated" {
        workflowExecution Hashed, signalName Hashed, input Hashed, header Hashed, childWorkflowOnly Hashed,
        namespace Hashed, control Hashed, workflowTaskCompletedEventId Reference, namespaceId Volatile,
    }
    "SignalExternalWorkflowExecutionFailed" {
        workflowExecution Hashed, cause SIGNAL_FAILED, namespace Hashed, control Hashed, initiatedEventId Reference,
        workflowTaskCompletedEventId Reference, namespaceId Volatile,
    }
    "ExternalWorkflowExecutionSignaled" {
        workflowExecution Hashed, namespace Hashed, control Hashed, initiatedEventId Reference, namespaceId Volatile,
    }
    "RequestCancelExternalWorkflowExecutionInitiated" {
        workflowExecution Hashed, childWorkflowOnly Hashed, reason Hashed, namespace Hashed, control Hashed,
        workflowTaskCompletedEventId Reference, namespaceId Volatile,
    }
    "RequestCancelExternalWorkflowExecutionFailed" {
        workflowExecution Hashed, cause CANCEL_FAILED, namespace Hashed, control Hashed, initiatedEventId Reference,
        workflowTaskCompletedEventId Reference, namespaceId Volatile,
    }
    "ExternalWorkflowExecutionCancelRequested" {
        workflowExecution Hashed, namespace Hashed, initiatedEventId Reference, namespaceId Volatile,
    }
    "NexusOperationScheduled" {
        endpoint Hashed, service Hashed, operation Hashed, input Hashed, nexusHeader Open,
        scheduleToCloseTimeout Hashed, scheduleToStartTimeout Hashed, startToCloseTimeout Hashed,
        workflowTaskCompletedEventId Reference, requestId Volatile, endpointId Volatile,
    }
    "NexusOperationStarted" {
        scheduledEventId Reference, operationId Volatile, operationToken Volatile, requestId Volatile,
    }
    "NexusOperationCompleted" { result Hashed, scheduledEventId Reference, requestId Volatile, }
    "NexusOperationFailed" { failure Hashed, scheduledEventId Reference, requestId Volatile, }
    "NexusOperationCanceled" { failure Hashed, scheduledEventId Reference, requestId Volatile, }
    "NexusOperationTimedOut" { failure Hashed, scheduledEventId Reference, requestId Volatile, }
    "NexusOperationCancelRequested" { scheduledEventId Reference, workflowTaskCompletedEventId Reference, }
    "NexusOperationCancelRequestCompleted" {
        requestedEventId Reference, scheduledEventId Reference, workflowTaskCompletedEventId Reference,
    }
    "NexusOperationCancelRequestFailed" {
        requestedEventId Reference, scheduledEventId Reference, failure Hashed, workflowTaskCompletedEventId Reference,
    }
}

/// Attributes of a type; none for a type that the table does not know.
pub(super) fn attributes(foreign_type: &str) -> &'static [Attribute] {
    TYPES
        .iter()
        .find(|(name, _)| *name == foreign_type)
        .map_or(&[], |(_, attributes)| attributes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn nothing_stands_twice_in_the_table() {
        let types: BTreeSet<_> = TYPES.iter().map(|(name, _)| name).collect();
        assert_eq!(types.len(), TYPES.len());
        for (name, attributes) in TYPES {
            let names: BTreeSet<_> = attributes.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), attributes.len(), "{name}");
        }
    }

    #[test]
    fn what_the_documentation_calls_volatile_is_volatile_in_every_type() {
        for (name, attributes) in TYPES {
            for (attribute, rule) in *attributes {
                let run_id = attribute.ends_with("RunId");
                let named = ["identity", "requestId", "binaryChecksum", "workerVersion"];
                if run_id || named.contains(attribute) {
                    assert!(!rule.counts(), "{name}.{attribute}");
                }
                if [
                    "input",
                    "result",
                    "failure",
                    "details",
                    "activityType",
                    "markerName",
                ]
                .contains(attribute)
                {
                    assert!(rule.counts(), "{name}.{attribute}");
                }
            }
        }
    }
}
