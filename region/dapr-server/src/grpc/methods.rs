//! The methods of Dapr's gRPC API, by name.
//!
//! One idea: a method that is not on this list does not exist, so no caller can invent a label; each has the group that rules
//! of a Configuration call it by. Must never hold a method that the protocol does not have.

/// The methods of the API, so that no caller can invent a label, each with its group for rules.
const METHODS: &[(&str, &str)] = &[
    ("GetState", "state"),
    ("GetBulkState", "state"),
    ("SaveState", "state"),
    ("QueryStateAlpha1", "state"),
    ("DeleteState", "state"),
    ("DeleteBulkState", "state"),
    ("ExecuteStateTransaction", "state"),
    ("GetMetadata", "metadata"),
    ("SetMetadata", "metadata"),
    ("Shutdown", "shutdown"),
    ("InvokeService", "invoke"),
    ("PublishEvent", "publish"),
    ("BulkPublishEvent", "publish"),
    ("BulkPublishEventAlpha1", "publish"),
    ("SubscribeTopicEventsAlpha1", "subscribe"),
    ("InvokeBinding", "bindings"),
    ("GetSecret", "secrets"),
    ("GetBulkSecret", "secrets"),
    ("RegisterActorTimer", "actors"),
    ("UnregisterActorTimer", "actors"),
    ("RegisterActorReminder", "actors"),
    ("UnregisterActorReminder", "actors"),
    ("UnregisterActorRemindersByType", "actors"),
    ("ListActorReminders", "actors"),
    ("GetActorReminder", "actors"),
    ("GetActorState", "actors"),
    ("ExecuteActorStateTransaction", "actors"),
    ("InvokeActor", "actors"),
    ("SubscribeActorEventsAlpha1", "actors"),
    ("GetConfiguration", "configuration"),
    ("GetConfigurationAlpha1", "configuration"),
    ("SubscribeConfiguration", "configuration"),
    ("SubscribeConfigurationAlpha1", "configuration"),
    ("UnsubscribeConfiguration", "configuration"),
    ("UnsubscribeConfigurationAlpha1", "configuration"),
    ("TryLockAlpha1", "lock"),
    ("UnlockAlpha1", "unlock"),
    ("EncryptAlpha1", "crypto"),
    ("DecryptAlpha1", "crypto"),
    ("SubtleGetKeyAlpha1", "subtlecrypto"),
    ("SubtleEncryptAlpha1", "subtlecrypto"),
    ("SubtleDecryptAlpha1", "subtlecrypto"),
    ("SubtleWrapKeyAlpha1", "subtlecrypto"),
    ("SubtleUnwrapKeyAlpha1", "subtlecrypto"),
    ("SubtleSignAlpha1", "subtlecrypto"),
    ("SubtleVerifyAlpha1", "subtlecrypto"),
    ("StartWorkflowAlpha1", "workflows"),
    ("GetWorkflowAlpha1", "workflows"),
    ("PurgeWorkflowAlpha1", "workflows"),
    ("TerminateWorkflowAlpha1", "workflows"),
    ("PauseWorkflowAlpha1", "workflows"),
    ("ResumeWorkflowAlpha1", "workflows"),
    ("RaiseEventWorkflowAlpha1", "workflows"),
    ("StartWorkflowBeta1", "workflows"),
    ("GetWorkflowBeta1", "workflows"),
    ("PurgeWorkflowBeta1", "workflows"),
    ("TerminateWorkflowBeta1", "workflows"),
    ("PauseWorkflowBeta1", "workflows"),
    ("ResumeWorkflowBeta1", "workflows"),
    ("RaiseEventWorkflowBeta1", "workflows"),
    ("ScheduleJob", "jobs"),
    ("ScheduleJobAlpha1", "jobs"),
    ("GetJob", "jobs"),
    ("GetJobAlpha1", "jobs"),
    ("DeleteJob", "jobs"),
    ("DeleteJobAlpha1", "jobs"),
    ("DeleteJobsByPrefix", "jobs"),
    ("DeleteJobsByPrefixAlpha1", "jobs"),
    ("ListJobs", "jobs"),
    ("ListJobsAlpha1", "jobs"),
    ("ConverseAlpha1", "conversation"),
    ("ConverseAlpha2", "conversation"),
];

/// A method's own name, and its group for rules.
pub(super) fn known(method: &str) -> Option<(&'static str, &'static str)> {
    METHODS.iter().find(|(name, _)| *name == method).copied()
}

/// The version that rules call a method by.
pub(super) fn version(method: &str) -> &'static str {
    match method {
        _ if method.ends_with("Alpha1") => "v1.0-alpha1",
        _ if method.ends_with("Alpha2") => "v1.0-alpha2",
        _ if method.ends_with("Beta1") => "v1.0-beta1",
        _ => "v1.0",
    }
}
