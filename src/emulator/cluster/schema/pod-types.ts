export const POD_TYPES = `
package io.k8s.api.core.v1
Pod: A collection of containers that run together on one node.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec PodSpec : The desired behavior of the pod.
  3 status PodStatus : The most recently observed state of the pod. Read-only.
PodTemplateSpec: The pod that is created from a template.
  1 metadata ObjectMeta : Standard object's metadata.
  2 spec PodSpec : The desired behavior of the pod.
PodSpec: A description of a pod.
  1 volumes []Volume map(name) retain : Volumes that the pod's containers may mount.
  2 containers* []Container map(name) : The containers of the pod; at least one. Cannot be added or removed later.
  3 restartPolicy string : Always, OnFailure or Never. Default to Always.
  4 terminationGracePeriodSeconds int64 ptr : Seconds that the pod needs to end gracefully. Defaults to 30.
  5 activeDeadlineSeconds int64 ptr : Seconds that the pod may run before it is failed.
  6 dnsPolicy string : ClusterFirst, ClusterFirstWithHostNet, Default or None.
  7 nodeSelector {}string atomic : Labels that a node must have to run the pod.
  8 serviceAccountName string : The service account as which the pod runs.
  9 serviceAccount string : Deprecated: use serviceAccountName.
  10 nodeName string : The node on which the pod runs; filled in by the scheduler.
  11 hostNetwork bool : Use the node's network.
  12 hostPID bool : Use the node's process namespace.
  13 hostIPC bool : Use the node's IPC namespace.
  14 securityContext PodSecurityContext : Security attributes of the pod and defaults for its containers.
  15 imagePullSecrets []LocalObjectReference map(name) : Secrets for pulling the images.
  16 hostname string : The pod's hostname.
  17 subdomain string : The pod's subdomain.
  18 affinity Affinity : Scheduling constraints.
  19 schedulerName string : Who schedules the pod.
  20 initContainers []Container map(name) : Containers that run one after the other before the others are started.
  21 automountServiceAccountToken bool ptr : Whether a service account token is mounted.
  22 tolerations []Toleration : The taints that the pod tolerates.
  23 hostAliases []HostAlias map(ip) : Extra lines of the hosts file.
  24 priorityClassName string : The pod's priority class.
  25 priority int32 ptr : The priority itself; filled in by the server.
  26 dnsConfig object : DNS parameters beside those of the policy.
  27 shareProcessNamespace bool : Share one process namespace between the containers.
  28 readinessGates []PodReadinessGate : Conditions that must be True for the pod to be ready.
  29 runtimeClassName string : The runtime class that runs the pod.
  30 enableServiceLinks bool ptr : Whether services are told to the containers as environment variables.
  31 preemptionPolicy string : Never or PreemptLowerPriority.
  32 overhead {}quantity : Resources of the sandbox itself; filled in by the server.
  33 topologySpreadConstraints []TopologySpreadConstraint map(topologyKey,whenUnsatisfiable) : How pods spread over domains.
  34 ephemeralContainers []EphemeralContainer map(name) : Containers added to the running pod for debugging.
  35 setHostnameAsFQDN bool : Use the full name as hostname.
  36 os object : The operating system of the containers.
  37 hostUsers bool : Use the node's user namespace.
  38 schedulingGates []PodSchedulingGate map(name) : Holds the pod back from scheduling while any is set.
  39 resourceClaims []object map(name) retain : Claims that must be allocated before the pod starts.
  40 resources ResourceRequirements : The pod's total of resources.
  41 hostnameOverride string : The hostname, whatever the pod is called.
Container: One application container that runs in a pod.
  1 name* string : The container's name, unique in the pod. Cannot be changed.
  2 image string : The container image.
  3 command []string : The entrypoint; the image's is used when this is empty.
  4 args []string : Arguments of the entrypoint.
  5 workingDir string : The working directory.
  6 ports []ContainerPort map(containerPort,protocol) : Ports that the container serves.
  7 env []EnvVar map(name) : Environment variables.
  8 resources ResourceRequirements : Compute resources that the container needs.
  9 volumeMounts []VolumeMount map(mountPath) : Volumes mounted into the container.
  10 livenessProbe Probe : Whether the container is alive; it is restarted when this fails.
  11 readinessProbe Probe : Whether the container may get traffic.
  12 lifecycle Lifecycle : What is done after start and before the end.
  13 terminationMessagePath string : The file whose content is the final message.
  14 imagePullPolicy string : Always, Never or IfNotPresent.
  15 securityContext SecurityContext : Security attributes of the container.
  16 stdin bool : Keep a buffer for the container's stdin; without it reads end at once.
  17 stdinOnce bool : Close stdin when the first attach has ended.
  18 tty bool : Give the container a terminal.
  19 envFrom []EnvFromSource : Sources whose keys become environment variables.
  20 terminationMessagePolicy string : File or FallbackToLogsOnError.
  21 volumeDevices []VolumeDevice map(devicePath) : Block devices of the container.
  22 startupProbe Probe : Whether the container has started; the others wait for it.
  23 resizePolicy []object : How the container's resources may be changed.
  24 restartPolicy string : Always makes an init container a sidecar.
  25 restartPolicyRules []object : Rules by exit code.
EphemeralContainer: A container that is added to a running pod for debugging.
  1 inline EphemeralContainerCommon
  2 targetContainerName string : The container whose namespaces are used.
EphemeralContainerCommon: What an ephemeral container has in common with a container.
  1 name* string : The container's name, unique in the pod.
  2 image string : The container image.
  3 command []string : The entrypoint.
  4 args []string : Arguments of the entrypoint.
  5 workingDir string : The working directory.
  6 ports []ContainerPort map(containerPort,protocol) : Not allowed.
  7 env []EnvVar map(name) : Environment variables.
  8 resources ResourceRequirements : Must be empty.
  9 volumeMounts []VolumeMount map(mountPath) : Volumes mounted into the container.
  13 terminationMessagePath string : The file whose content is the final message.
  14 imagePullPolicy string : Always, Never or IfNotPresent.
  15 securityContext SecurityContext : Security attributes.
  16 stdin bool : Keep a buffer for stdin.
  17 stdinOnce bool : Close stdin after the first attach.
  18 tty bool : Give the container a terminal.
  19 envFrom []EnvFromSource : Sources whose keys become environment variables.
  20 terminationMessagePolicy string : File or FallbackToLogsOnError.
ContainerPort: A port of a container.
  1 name string : A name that services may refer to.
  2 hostPort int32 : The port on the node.
  3 containerPort* int32 : The port on the pod's address.
  4 protocol string : UDP, TCP or SCTP. Defaults to TCP.
  5 hostIP string : The address on the node.
EnvVar: An environment variable.
  1 name* string : Its name.
  2 value string : Its value; $(NAME) is replaced by earlier variables.
  3 valueFrom EnvVarSource : Where the value comes from.
EnvVarSource: Where the value of a variable comes from.
  1 fieldRef ObjectFieldSelector : A field of the pod.
  2 resourceFieldRef object : A resource of the container.
  3 configMapKeyRef ConfigMapKeySelector : A key of a config map.
  4 secretKeyRef SecretKeySelector : A key of a secret.
  5 fileKeyRef object : A key of a file.
ObjectFieldSelector atomic: A field of an object.
  1 apiVersion string : The version in which the path is written.
  2 fieldPath* string : The path of the field.
ConfigMapKeySelector atomic: A key of a config map.
  1 inline LocalObjectReference
  2 key* string : The key.
  3 optional bool ptr : Whether it may be missing.
SecretKeySelector atomic: A key of a secret.
  1 inline LocalObjectReference
  2 key* string : The key.
  3 optional bool ptr : Whether it may be missing.
EnvFromSource: All keys of a config map or a secret.
  1 prefix string : Put in front of each name.
  2 configMapRef EnvSourceRef : The config map.
  3 secretRef EnvSourceRef : The secret.
ResourceRequirements: Compute resources.
  1 limits {}quantity : The most that may be used.
  2 requests {}quantity : The least that is needed.
  3 claims []object map(name) : Claims that the container uses.
VolumeMount: A volume mounted into a container.
  1 name* string : The volume.
  2 readOnly bool : Mounted read-only.
  3 mountPath* string : Where it is mounted.
  4 subPath string : The path in the volume.
  5 mountPropagation string : How mounts propagate.
  6 subPathExpr string : The path in the volume, with variables.
  7 recursiveReadOnly string : Whether the mount is read-only all the way down.
VolumeDevice: A block device of a container.
  1 name* string : The volume claim.
  2 devicePath* string : Where the device appears.
Probe: A health check of a container.
  1 inline ProbeHandler
  2 initialDelaySeconds int32 : Seconds before the first check.
  3 timeoutSeconds int32 : Seconds after which a check has failed.
  4 periodSeconds int32 : Seconds between checks.
  5 successThreshold int32 : Successes needed after a failure.
  6 failureThreshold int32 : Failures needed after a success.
  7 terminationGracePeriodSeconds int64 ptr : Seconds to end when the check has failed.
ProbeHandler: The check itself.
  1 exec ExecAction : Run a command.
  2 httpGet HTTPGetAction : Make an HTTP request.
  3 tcpSocket TCPSocketAction : Open a TCP connection.
  4 grpc object : Make a gRPC health call.
ExecAction: Run a command in the container.
  1 command []string : The command; not run in a shell.
HTTPGetAction: An HTTP GET.
  1 path string : The path.
  2 port* intstr : The port, by number or name.
  3 host string : The host; the pod's address when empty.
  4 scheme string : HTTP or HTTPS.
  5 httpHeaders []object : Extra headers.
TCPSocketAction: A TCP connection.
  1 port* intstr : The port, by number or name.
  2 host string : The host; the pod's address when empty.
Lifecycle: What is done after start and before the end.
  1 postStart object : After the container has started.
  2 preStop object : Before the container is ended.
  3 stopSignal string : The signal that ends the container.
SecurityContext: Security attributes of a container.
  1 capabilities Capabilities : Capabilities to add and drop.
  2 privileged bool ptr : Run privileged.
  3 seLinuxOptions object : SELinux labels.
  4 runAsUser int64 ptr : The user id.
  5 runAsNonRoot bool ptr : Refuse to run as root.
  6 readOnlyRootFilesystem bool : Make the root file system read-only.
  7 allowPrivilegeEscalation bool : Whether a process may gain more privileges.
  8 runAsGroup int64 ptr : The group id.
  9 procMount string : How /proc is mounted.
  10 windowsOptions object : Windows settings.
  11 seccompProfile SeccompProfile : The seccomp profile.
  12 appArmorProfile object : The AppArmor profile.
PodSecurityContext: Security attributes of a pod.
  1 seLinuxOptions object : SELinux labels.
  2 runAsUser int64 ptr : The user id.
  3 runAsNonRoot bool ptr : Refuse to run as root.
  4 supplementalGroups []int64 : Further groups.
  5 fsGroup int64 : The group that owns volumes.
  6 runAsGroup int64 ptr : The group id.
  7 sysctls []object : Kernel parameters.
  8 windowsOptions object : Windows settings.
  9 fsGroupChangePolicy string : When ownership is changed.
  10 seccompProfile SeccompProfile : The seccomp profile.
  11 appArmorProfile object : The AppArmor profile.
  12 supplementalGroupsPolicy string : How further groups are found.
  13 seLinuxChangePolicy string : How labels are applied.
Affinity: Scheduling constraints.
  1 nodeAffinity object : Which nodes.
  2 podAffinity object : Near which pods.
  3 podAntiAffinity object : Far from which pods.
Toleration: A taint that is tolerated.
  1 key string : The taint's key; empty matches all with operator Exists.
  2 operator string : Exists or Equal.
  3 value string : The taint's value.
  4 effect string : NoSchedule, PreferNoSchedule or NoExecute.
  5 tolerationSeconds int64 ptr : How long a NoExecute taint is tolerated.
HostAlias: A line of the hosts file.
  1 ip* string : The address.
  2 hostnames []string : The names.
PodReadinessGate: A condition that must be True.
  1 conditionType* string : The condition.
PodSchedulingGate: Holds the pod back.
  1 name* string : The gate.
TopologySpreadConstraint: How pods spread over domains.
  1 maxSkew* int32 : How unevenly.
  2 topologyKey* string : The node label that names the domain.
  3 whenUnsatisfiable* string : DoNotSchedule or ScheduleAnyway.
  4 labelSelector LabelSelector : Which pods count.
  5 minDomains int32 : How many domains there must be.
  6 nodeAffinityPolicy string : Whether affinity counts.
  7 nodeTaintsPolicy string : Whether taints count.
  8 matchLabelKeys []string : Pod labels that also select.
LocalObjectReference atomic: An object in the same namespace.
  1 name string : Its name.
Volume: A named volume of a pod.
  1 name* string : Its name, unique in the pod.
  2 inline VolumeSource
VolumeSource: Where a volume comes from.
  2 emptyDir EmptyDirVolumeSource : A folder that lives as long as the pod.
  1 hostPath HostPathVolumeSource : A path of the node.
  19 configMap ConfigMapVolumeSource : A config map.
  6 secret SecretVolumeSource : A secret.
  26 projected object : Several sources in one.
  16 downwardAPI object : Fields of the pod.
  10 persistentVolumeClaim PersistentVolumeClaimVolumeSource : A claim in the same namespace.
  29 ephemeral object : A claim that lives as long as the pod.
  30 image object : An image as a volume.
  28 csi object : A CSI driver.
  7 nfs object : An NFS export.
  8 iscsi object : An iSCSI disk.
  17 fc object : A Fibre Channel disk.
  14 cephfs object : A Ceph file system.
  11 rbd object : A Rados block device.
  9 glusterfs object : A Glusterfs volume.
  5 gitRepo object : Deprecated.
  4 awsElasticBlockStore object : Deprecated.
  3 gcePersistentDisk object : Deprecated.
  22 azureDisk object : Deprecated.
  18 azureFile object : Deprecated.
  13 cinder object : Deprecated.
  20 vsphereVolume object : Deprecated.
  24 portworxVolume object : Deprecated.
  12 flexVolume object : Deprecated.
  15 flocker object : Deprecated.
  23 photonPersistentDisk object : Deprecated.
  21 quobyte object : Deprecated.
  25 scaleIO object : Deprecated.
  27 storageos object : Deprecated.
EmptyDirVolumeSource: A folder that lives as long as the pod.
  1 medium string : Memory, or empty for the node's disk.
  2 sizeLimit quantity : How much it may hold.
  3 mode int32 ptr : The mode of the folder.
HostPathVolumeSource: A path of the node.
  1 path* string : The path.
  2 type string ptr : What must be there.
ConfigMapVolumeSource: The keys of a config map as files.
  1 inline LocalObjectReference
  2 items []KeyToPath : Which keys; all when empty.
  3 defaultMode int32 ptr : The mode of the files.
  4 optional bool ptr : Whether the config map may be missing.
  5 defaultUser int64 ptr : The owner of the files.
SecretVolumeSource: The keys of a secret as files.
  1 secretName string : The secret.
  2 items []KeyToPath : Which keys; all when empty.
  3 defaultMode int32 ptr : The mode of the files.
  4 optional bool ptr : Whether the secret may be missing.
  5 defaultUser int64 ptr : The owner of the files.
PersistentVolumeClaimVolumeSource: A claim in the same namespace.
  1 claimName* string : The claim.
  2 readOnly bool : Whether it is mounted read-only.
KeyToPath: A key as a file.
  1 key* string : The key.
  2 path* string : The file.
  3 mode int32 ptr : The mode of the file.
  4 user int64 ptr : The owner of the file.
EnvSourceRef: A config map or secret whose keys become environment variables.
  1 inline LocalObjectReference
  2 optional bool ptr : Whether it may be missing.
Capabilities: Capabilities to add and drop.
  1 add []string : Those added.
  2 drop []string : Those dropped.
SeccompProfile: Which system calls are allowed.
  1 type* string : Unconfined, RuntimeDefault or Localhost.
  2 localhostProfile string : The profile's file on the node.
PodStatus: The observed state of a pod.
  1 phase string : Pending, Running, Succeeded, Failed or Unknown.
  2 conditions []PodCondition map(type) : The current conditions.
  3 message string : Why the pod is in this state, for people.
  4 reason string : Why the pod is in this state, for programs.
  5 hostIP string : The node's address.
  6 podIP string : The pod's address.
  7 startTime time : When the node took up the pod.
  8 containerStatuses []ContainerStatus : The state of each container.
  9 qosClass string : Guaranteed, Burstable or BestEffort.
  10 initContainerStatuses []ContainerStatus : The state of each init container.
  11 nominatedNodeName string : Where the pod will run after a preemption.
  12 podIPs []PodIP map(ip) : All addresses of the pod.
  13 ephemeralContainerStatuses []ContainerStatus : The state of each ephemeral container.
  14 resize string : Deprecated.
  15 resourceClaimStatuses []object map(name) retain : The state of the claims.
  16 hostIPs []HostIP patch(ip) : All addresses of the node.
  17 observedGeneration int64 : The generation that the status belongs to.
  18 extendedResourceClaimStatus object : The state of claims for extended resources.
  19 allocatedResources {}quantity : Resources set aside for the pod.
  20 resources ResourceRequirements : Resources in force for the pod.
PodCondition: One aspect of a pod's state.
  1 type* string : The aspect.
  2 status* string : True, False or Unknown.
  3 lastProbeTime time : When it was last checked.
  4 lastTransitionTime time : When it last changed.
  5 reason string : Why, for programs.
  6 message string : Why, for people.
  7 observedGeneration int64 : The generation that the condition belongs to.
PodIP: An address of a pod.
  1 ip* string : The address.
HostIP: An address of a node.
  1 ip* string : The address.
ContainerStatus: The state of a container.
  1 name* string : The container.
  2 state ContainerState : Its state now.
  3 lastState ContainerState : How it last ended.
  4 ready* bool : Whether it may get traffic.
  5 restartCount* int32 : How often it was restarted.
  6 image* string : The image it runs.
  7 imageID* string : The image's digest.
  8 containerID string : Its id.
  9 started bool : Whether it has started.
  10 allocatedResources {}quantity : Resources set aside for it.
  11 resources ResourceRequirements : Resources in force.
  12 volumeMounts []object map(mountPath) : The mounts in force.
  13 user ContainerUser : The user it runs as.
  14 allocatedResourcesStatus []object map(name) : The state of its resources.
  15 stopSignal string : The signal that ends it.
ContainerUser: The user a container runs as.
  1 linux LinuxContainerUser : On Linux.
LinuxContainerUser: A user and groups of Linux.
  1 uid* int64 : The user.
  2 gid* int64 : The first group.
  3 supplementalGroups []int64 : Further groups.
ContainerState: One of waiting, running, terminated.
  1 waiting ContainerStateWaiting : Not running yet.
  2 running ContainerStateRunning : Running.
  3 terminated ContainerStateTerminated : Ended.
ContainerStateWaiting: A container that does not run yet.
  1 reason string : Why, for programs.
  2 message string : Why, for people.
ContainerStateRunning: A container that runs.
  1 startedAt time : Since when.
ContainerStateTerminated: A container that has ended.
  1 exitCode* int32 : Its exit code.
  2 signal int32 : The signal that ended it.
  3 reason string : Why, for programs.
  4 message string : Its last words.
  5 startedAt time : When it started.
  6 finishedAt time : When it ended.
  7 containerID string : Its id.
`;
