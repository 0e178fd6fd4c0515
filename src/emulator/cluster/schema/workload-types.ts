export const WORKLOAD_TYPES = `
package io.k8s.api.apps.v1
Deployment: Declarative updates for pods and replica sets.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec DeploymentSpec : The desired behavior of the deployment.
  3 status DeploymentStatus : The state of the deployment.
DeploymentSpec: The desired behavior of a deployment.
  1 replicas int32 ptr : How many pods are wanted. Defaults to 1.
  2 selector* LabelSelector : Which pods belong to the deployment; must match the template's labels. Cannot be changed.
  3 template* PodTemplateSpec : The pods that are created.
  4 strategy DeploymentStrategy retain : How old pods are replaced by new ones.
  5 minReadySeconds int32 : Seconds that a pod must be ready to count as available.
  6 revisionHistoryLimit int32 ptr : How many old replica sets are kept. Defaults to 10.
  7 paused bool : Whether the deployment is paused.
  9 progressDeadlineSeconds int32 ptr : Seconds without progress after which the deployment has failed. Defaults to 600.
  10 podReplacementPolicy string : When replacements are created.
DeploymentStrategy: How old pods are replaced by new ones.
  1 type string : Recreate or RollingUpdate.
  2 rollingUpdate RollingUpdateDeployment : Settings of RollingUpdate.
RollingUpdateDeployment: How fast pods are replaced.
  1 maxUnavailable intstr : How many pods may be missing, by number or percentage. Defaults to 25%.
  2 maxSurge intstr : How many pods may be too many, by number or percentage. Defaults to 25%.
DeploymentStatus: The state of a deployment.
  1 observedGeneration int64 : The generation that the status belongs to.
  2 replicas int32 : All pods.
  3 updatedReplicas int32 : Pods of the current template.
  4 availableReplicas int32 : Available pods.
  5 unavailableReplicas int32 : Pods still missing.
  6 conditions []WorkloadCondition map(type) : The current conditions.
  7 readyReplicas int32 : Ready pods.
  8 collisionCount int32 : Collisions of names.
  9 terminatingReplicas int32 : Pods that end.
WorkloadCondition as DeploymentCondition: One aspect of the state.
  1 type* string : The aspect.
  2 status* string : True, False or Unknown.
  6 lastUpdateTime time : When it was last updated.
  7 lastTransitionTime time : When it last changed.
  4 reason string : Why, for programs.
  5 message string : Why, for people.
ReplicaSet: Keeps a number of pods running.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec ReplicaSetSpec : The desired behavior of the replica set.
  3 status ReplicaSetStatus : The state of the replica set.
ReplicaSetSpec: The desired behavior of a replica set.
  1 replicas int32 ptr : How many pods are wanted. Defaults to 1.
  2 selector* LabelSelector : Which pods belong to it.
  3 template PodTemplateSpec : The pods that are created.
  4 minReadySeconds int32 : Seconds that a pod must be ready to count as available.
ReplicaSetStatus: The state of a replica set.
  1 replicas* int32 : All pods.
  2 fullyLabeledReplicas int32 : Pods with the template's labels.
  3 observedGeneration int64 : The generation that the status belongs to.
  4 readyReplicas int32 : Ready pods.
  5 availableReplicas int32 : Available pods.
  6 conditions []Condition map(type) : The current conditions.
  7 terminatingReplicas int32 : Pods that end.
StatefulSet: Pods with stable names.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec StatefulSetSpec : The desired behavior of the set.
  3 status StatefulSetStatus : The state of the set.
StatefulSetSpec: The desired behavior of a stateful set.
  1 replicas int32 ptr : How many pods are wanted. Defaults to 1.
  2 selector* LabelSelector : Which pods belong to it.
  3 template* PodTemplateSpec : The pods that are created.
  4 volumeClaimTemplates []PersistentVolumeClaim : Claims that each pod gets.
  5 serviceName string : The service that governs the set.
  6 podManagementPolicy string : OrderedReady or Parallel.
  7 updateStrategy object : How pods are replaced.
  8 revisionHistoryLimit int32 ptr : How many revisions are kept.
  9 minReadySeconds int32 : Seconds that a pod must be ready to count as available.
  10 persistentVolumeClaimRetentionPolicy object : When claims are deleted.
  11 ordinals object : How pods are numbered.
StatefulSetStatus: The state of a stateful set.
  1 observedGeneration int64 : The generation that the status belongs to.
  2 replicas* int32 : All pods.
  3 readyReplicas int32 : Ready pods.
  4 currentReplicas int32 : Pods of the current revision.
  5 updatedReplicas int32 : Pods of the update revision.
  6 currentRevision string : The current revision.
  7 updateRevision string : The update revision.
  9 collisionCount int32 : Collisions of names.
  10 conditions []Condition map(type) : The current conditions.
  11 availableReplicas int32 : Available pods.
DaemonSet: One pod on each node.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec DaemonSetSpec : The desired behavior of the set.
  3 status DaemonSetStatus : The state of the set.
DaemonSetSpec: The desired behavior of a daemon set.
  1 selector* LabelSelector : Which pods belong to it.
  2 template* PodTemplateSpec : The pods that are created.
  3 updateStrategy object : How pods are replaced.
  4 minReadySeconds int32 : Seconds that a pod must be ready to count as available.
  6 revisionHistoryLimit int32 ptr : How many revisions are kept.
DaemonSetStatus: The state of a daemon set.
  1 currentNumberScheduled* int32 : Nodes that run the pod and should.
  2 numberMisscheduled* int32 : Nodes that run the pod and should not.
  3 desiredNumberScheduled* int32 : Nodes that should run the pod.
  4 numberReady* int32 : Nodes with a ready pod.
  5 observedGeneration int64 : The generation that the status belongs to.
  6 updatedNumberScheduled int32 : Nodes with an updated pod.
  7 numberAvailable int32 : Nodes with an available pod.
  8 numberUnavailable int32 : Nodes without an available pod.
  9 collisionCount int32 : Collisions of names.
  10 conditions []Condition map(type) : The current conditions.
package io.k8s.api.batch.v1
Job: Pods that run to completion.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec JobSpec : The desired behavior of the job.
  3 status JobStatus : The state of the job.
JobSpec: The desired behavior of a job.
  1 parallelism int32 ptr : How many pods run at once.
  2 completions int32 ptr : How many pods must succeed.
  3 activeDeadlineSeconds int64 ptr : Seconds that the job may run.
  4 selector LabelSelector : Which pods belong to it; filled in by the server.
  5 manualSelector bool : Whether the selector is given by hand.
  6 template* PodTemplateSpec : The pods that are created.
  7 backoffLimit int32 ptr : How many pods may fail.
  8 ttlSecondsAfterFinished int32 ptr : Seconds after which a finished job is deleted.
  9 completionMode string : NonIndexed or Indexed.
  10 suspend bool ptr : Whether the job is suspended.
  11 podFailurePolicy object : What is done about failed pods.
  12 backoffLimitPerIndex int32 : How many pods of an index may fail.
  13 maxFailedIndexes int32 : How many indexes may fail.
  14 podReplacementPolicy string : When replacements are created.
  15 managedBy string : Who runs the job.
  16 successPolicy object : When the job has succeeded.
JobStatus: The state of a job.
  1 conditions []object patch(type) : The current conditions.
  2 startTime time : When the job was started.
  3 completionTime time : When the job was completed.
  4 active int32 : Pods that run.
  5 succeeded int32 : Pods that have succeeded.
  6 failed int32 : Pods that have failed.
  7 completedIndexes string : Indexes that have succeeded.
  8 uncountedTerminatedPods object : Pods not counted yet.
  9 ready int32 : Ready pods.
  10 failedIndexes string : Indexes that have failed.
  11 terminating int32 : Pods that end.
CronJob: A job that runs on a schedule.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec CronJobSpec : The desired behavior of the cron job.
  3 status CronJobStatus : The state of the cron job.
CronJobSpec: The desired behavior of a cron job.
  1 schedule* string : When, in cron format.
  2 startingDeadlineSeconds int64 : How late a job may start.
  3 concurrencyPolicy string : Allow, Forbid or Replace.
  4 suspend bool ptr : Whether it is suspended.
  5 jobTemplate* JobTemplateSpec : The job that is created.
  6 successfulJobsHistoryLimit int32 ptr : How many succeeded jobs are kept.
  7 failedJobsHistoryLimit int32 ptr : How many failed jobs are kept.
  8 timeZone string : The time zone of the schedule.
JobTemplateSpec: The job that is created.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec JobSpec : The desired behavior of the job.
CronJobStatus: The state of a cron job.
  1 active []ObjectReference : Jobs that run.
  4 lastScheduleTime time : When it last ran.
  5 lastSuccessfulTime time : When it last succeeded.
package io.k8s.api.autoscaling.v1
Scale: A request to scale a resource.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec ScaleSpec : How many are wanted.
  3 status ScaleStatus : How many there are.
ScaleSpec: How many are wanted.
  1 replicas int32 ptr : How many are wanted.
ScaleStatus: How many there are.
  1 replicas* int32 : How many there are.
  2 selector string : Which pods are counted, as text.
package io.k8s.api.policy.v1
Eviction: A request to evict a pod from its node.
  1 metadata ObjectMeta : Names the pod.
  2 deleteOptions DeleteOptions : How the pod is deleted.
`;
